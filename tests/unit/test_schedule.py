"""The grid of scan instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.schedule import Job, LineSchedule, next_instant, phase_of
from gateway.driver import DeviceSpec
from gateway.model import NS_PER_S

S = NS_PER_S


def device(name: str, subscribed: bool = False, **classes: int) -> DeviceSpec:
    return DeviceSpec(name, "modbus", "line", None, (), classes, subscribed=subscribed)


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**18))
def test_the_next_instant_is_the_first_on_the_grid_that_is_later(
    period: int, phase: int, after: int
) -> None:
    found = next_instant(period, phase, after)
    assert after < found <= after + period
    assert (found - phase) % period == 0


def test_the_phase_of_a_class_is_the_same_on_every_node_and_inside_the_period() -> None:
    assert phase_of("plc1", "fast", S) == phase_of("plc1", "fast", S)
    assert 0 <= phase_of("plc1", "fast", S) < S
    assert phase_of("plc1", "fast", S) != phase_of("plc2", "fast", S)


def test_everything_is_due_at_the_start_and_then_on_its_grid() -> None:
    schedule = LineSchedule([device("a", fast=S), device("b", slow=10 * S)], now_ns=5)
    first = schedule.first()
    assert first == Job("a", "fast", 5)
    done = schedule.done(first, 6)
    assert done.skipped_from_ns is None
    assert done.next_due_ns == next_instant(S, phase_of("a", "fast", S), 5)
    assert schedule.first() == Job("b", "slow", 5)


def test_a_scan_that_ends_a_period_late_is_an_overrun_and_names_the_skipped_stretch() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    job = schedule.first()
    assert job is not None
    expected = next_instant(S, phase_of("a", "fast", S), 0)
    done = schedule.done(job, expected + 3 * S)
    assert done.skipped_from_ns == expected
    assert expected + 3 * S < done.next_due_ns <= expected + 4 * S


def test_a_scan_that_ends_after_the_next_instant_but_within_a_period_is_only_late() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    job = schedule.first()
    assert job is not None
    expected = next_instant(S, phase_of("a", "fast", S), 0)
    assert schedule.done(job, expected + 1).skipped_from_ns is None


def test_a_failed_device_waits_for_its_retry_in_all_classes_and_recovers_in_all() -> None:
    schedule = LineSchedule([device("a", fast=S, slow=10 * S)], now_ns=0)
    schedule.failed("a", 700)
    job = schedule.first()
    assert job == Job("a", "fast", 700)
    schedule.recovered("a", 800)
    schedule.done(Job("a", "fast", 800), 801)
    assert schedule.first() == Job("a", "slow", 800)


def test_a_paused_device_is_not_due_until_it_is_resumed() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    schedule.pause("a")
    assert schedule.first() is None
    schedule.resume("a", 42)
    assert schedule.first() == Job("a", "fast", 42)


def test_a_subscribed_device_has_no_scans() -> None:
    assert LineSchedule([device("a", subscribed=True, subscription=S)], 0).first() is None
