"""The grid of scan instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.schedule import (
    LATE_MAX_NS,
    Done,
    Job,
    LineSchedule,
    next_instant,
    phase_of,
)
from gateway.driver import DeviceSpec
from gateway.model import NS_PER_MS, NS_PER_S

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
    done = schedule.done(first, 5, 6)
    assert done.skipped_from_ns is None
    assert done.next_due_ns == next_instant(S, phase_of("a", "fast", S), 5)
    assert schedule.first() == Job("b", "slow", 5)


def on_its_grid(period_ns: int) -> tuple[LineSchedule, Job]:
    """A class of that period, scanned at its instants; the job is the next."""
    schedule = LineSchedule([device("a", fast=period_ns)], now_ns=0)
    for _ in range(2):
        job = schedule.first()
        assert job is not None
        schedule.done(job, job.due_ns, job.due_ns)
    job = schedule.first()
    assert job is not None
    return schedule, job


def test_a_scan_that_ends_after_the_next_instant_has_missed_that_one_and_all_since() -> None:
    for late in (1, 3 * S):
        schedule, job = on_its_grid(S)
        expected = job.due_ns + S
        done = schedule.done(job, job.due_ns, expected + late)
        assert done.skipped_from_ns == job.due_ns + LATE_MAX_NS
        assert expected + late < done.next_due_ns <= expected + late + S
    schedule, job = on_its_grid(S)
    done = schedule.done(job, job.due_ns, job.due_ns + S // 5)
    assert done.skipped_from_ns is None, "just in time"


def test_a_fast_class_may_be_late_by_what_the_judges_allow() -> None:
    period = 200 * NS_PER_MS
    schedule, job = on_its_grid(period)
    latest_ns = job.due_ns + LATE_MAX_NS
    done = schedule.done(job, latest_ns, latest_ns)
    assert done == Done(job.due_ns + period, None, job.due_ns + period)
    schedule, job = on_its_grid(period)
    done = schedule.done(job, latest_ns, latest_ns + 1)
    assert done.skipped_from_ns == latest_ns, "what was there before is too old since then"
    assert done.next_due_ns == job.due_ns + period, "an instant that just passed is made up for"
    schedule, job = on_its_grid(period)
    done = schedule.done(job, job.due_ns + 2 * period, job.due_ns + 2 * period + 1)
    assert done.next_due_ns == job.due_ns + 3 * period


def test_values_are_as_old_as_the_beginning_of_their_scan() -> None:
    period = 200 * NS_PER_MS
    schedule, job = on_its_grid(period)
    asked_ns = job.due_ns
    slow = schedule.done(job, asked_ns, asked_ns + 500 * NS_PER_MS)
    assert slow.holds_ns == asked_ns + period + LATE_MAX_NS, "before the next instant"
    job = Job("a", "fast", slow.next_due_ns)
    done = schedule.done(job, slow.next_due_ns, slow.next_due_ns + 1)
    assert done.skipped_from_ns == slow.holds_ns


def test_a_slow_class_that_begins_late_is_told_though_no_instant_of_it_passed() -> None:
    schedule, late = on_its_grid(10 * S)
    done = schedule.done(late, late.due_ns + S, late.due_ns + S + 1)
    assert done.skipped_from_ns == late.due_ns + LATE_MAX_NS
    assert done.next_due_ns == late.due_ns + 10 * S


def test_what_the_other_node_answered_for_grows_old_too() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    due_ns = schedule.grant(5 * S)["a", "fast"]
    done = schedule.done(Job("a", "fast", due_ns), due_ns + S // 2, due_ns + S // 2)
    assert done.skipped_from_ns == due_ns + LATE_MAX_NS


def test_a_retry_that_ends_after_an_instant_missed_nothing_that_was_not_declared() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    job = schedule.first()
    assert job is not None
    expected = next_instant(S, phase_of("a", "fast", S), 0)
    done = schedule.done(job, expected, expected + 5)
    assert done == Done(expected + S, None, expected + S)


def test_a_failed_device_waits_for_its_retry_in_all_classes_and_recovers_in_all() -> None:
    schedule = LineSchedule([device("a", fast=S, slow=10 * S)], now_ns=0)
    schedule.failed("a", 700)
    job = schedule.first()
    assert job == Job("a", "fast", 700)
    schedule.recovered("a", 800)
    schedule.done(Job("a", "fast", 800), 800, 801)
    assert schedule.first() == Job("a", "slow", 800)


def test_a_paused_device_is_not_due_until_it_is_resumed() -> None:
    schedule = LineSchedule([device("a", fast=S)], now_ns=0)
    schedule.pause("a")
    assert schedule.first() is None
    schedule.resume("a", 42)
    assert schedule.first() == Job("a", "fast", 42)


def test_a_subscribed_device_has_no_scans() -> None:
    assert LineSchedule([device("a", subscribed=True, subscription=S)], 0).first() is None
