"""What is asked of which log next: order, danger, bounds, retries."""

from __future__ import annotations

import pytest

from gateway.driver.log import LogSpec, LogWanted
from gateway.errors import BadInput, ControlError
from gateway.model import NS_PER_S, Cause, Gap, GapState
from gateway.windback.planner import (
    BACKOFF_MAX_NS,
    ENDED_TRIES,
    SLICE_NS,
    SLICE_RECORDS,
    Ask,
    Declare,
    DeviceView,
    LogMemory,
    Rest,
    check_asked,
    decide,
    estimate_ms,
)

S = NS_PER_S
NOW = 100_000 * S
RING = LogSpec("ring", "ring", ("level", "flow"), resolution_ns=S)


def gap(from_s: float, to_s: float, scan_class: str = "fast", **more: object) -> Gap:
    cause = more.pop("cause", Cause.LINK)
    return Gap("plc1", scan_class, int(from_s * S), int(to_s * S), cause, **more)  # type: ignore[arg-type]


def view(*gaps: Gap, logs: tuple[LogSpec, ...] = (RING,), **more: object) -> DeviceView:
    classes = {"fast": ("level",), "slow": ("flow",), "other": ("text",)}
    given: dict[str, object] = {"memory": {}} | more
    return DeviceView("plc1", logs, classes, gaps, **given)  # type: ignore[arg-type]


def asked(decision: object) -> LogWanted:
    assert isinstance(decision, Ask)
    return decision.wanted


def test_without_gaps_there_is_nothing_to_do() -> None:
    assert decide(NOW, [view()]) == Rest(None)


def test_classes_of_one_log_are_read_together() -> None:
    found = decide(NOW, [view(gap(10, 20), gap(15, 30, "slow"))])
    assert asked(found) == LogWanted("ring", 10 * S, 30 * S)
    assert isinstance(found, Ask) and found.span == (10 * S, 30 * S)


@pytest.mark.parametrize(("order", "first"), [("newest", 50), ("oldest", 10)])
def test_gaps_come_in_the_order_that_the_site_wants(order: str, first: int) -> None:
    log = LogSpec("ring", "ring", ("level",), resolution_ns=S, order=order)
    found = decide(NOW, [view(gap(10, 20), gap(50, 60), logs=(log,))])
    assert asked(found).from_ns == first * S


def test_a_log_that_waits_to_be_acknowledged_is_not_read_and_still_has_its_points() -> None:
    waiting = view(gap(10, 20), gap(15, 30, "slow"), waiting=["ring"])
    assert decide(NOW, [waiting]) == Rest(None), "nothing of it is lost"
    assert isinstance(decide(NOW, [view(gap(10, 20), waiting=["another"])]), Ask)


def test_what_the_log_is_about_to_overwrite_comes_first() -> None:
    log = LogSpec("ring", "ring", ("level",), resolution_ns=S, depth_records=5_000)
    old = NOW / S - 4_900
    found = decide(NOW, [view(gap(old, old + 10), gap(NOW / S - 20, NOW / S - 10), logs=(log,))])
    assert asked(found).from_ns == int(old * S)


def test_a_depth_in_time_is_a_depth_too() -> None:
    log = LogSpec("h", "opcua_history", ("level",), depth_ns=3_600 * S)
    found = decide(NOW, [view(gap(NOW / S - 3_500, NOW / S - 3_400), gap(1, 2), logs=(log,))])
    assert asked(found).from_ns == 1 * S, "the older is in greater danger"


def test_one_read_is_bounded_by_records_or_by_time() -> None:
    long = gap(0, 50_000)
    assert asked(decide(NOW, [view(long)])) == LogWanted(
        "ring", 50_000 * S - SLICE_RECORDS * S, 50_000 * S
    )
    log = LogSpec("h", "opcua_history", ("level",), order="oldest")
    assert asked(decide(NOW, [view(long, logs=(log,))])) == LogWanted("h", 0, SLICE_NS)


def test_a_read_goes_on_where_it_broke_off() -> None:
    found = decide(NOW, [view(gap(10, 20), resume={("ring", 10 * S): 4711})])
    assert asked(found).next_record == 4711


def test_lost_and_disabled_gaps_are_read_by_hand_only() -> None:
    gone = gap(10, 20, state=GapState.LOST)
    off = gap(30, 40, cause=Cause.DISABLED)
    assert decide(NOW, [view(gone, off)]) == Rest(None)
    assert asked(decide(NOW, [view(gone, off, forced=((15 * S, 35 * S),))])).from_ns == 30 * S
    full = gap(10, 20, state=GapState.FILLED)
    assert decide(NOW, [view(full, forced=((15 * S, 35 * S),))]) == Rest(None)


def test_a_stretch_from_before_all_time_is_refused() -> None:
    with pytest.raises(BadInput, match="before 1970"):
        check_asked(-1, NOW, NOW)
    check_asked(0, NOW, NOW)


def test_what_retention_dropped_is_never_asked_for() -> None:
    assert decide(NOW, [view(gap(10, 20, cause=Cause.RETENTION))]) == Rest(None)


def test_a_class_that_no_log_has_is_lost_at_once() -> None:
    found = decide(NOW, [view(gap(10, 20, "other"))])
    assert found == Declare("plc1", "other", (10 * S, 20 * S), ("text",))


def test_of_a_device_that_keeps_no_log_now_nothing_is_judged() -> None:
    assert decide(NOW, [view(gap(10, 20), gap(10, 20, "other"), logs=())]) == Rest(None)


def test_points_that_another_log_filled_are_not_asked_for_again() -> None:
    one = LogSpec("one", "ring", ("level",), resolution_ns=S)
    two = LogSpec("two", "ring", ("flow",), resolution_ns=S)
    classes = {"fast": ("level", "flow")}
    left = gap(10, 20, points=("flow",))
    found = decide(NOW, [DeviceView("plc1", (one, two), classes, (left,), {})])
    assert asked(found).log == "two"


def test_a_log_that_can_not_be_read_now_is_tried_again_later() -> None:
    memory = LogMemory()
    memory.failed(NOW, "locked", 7 * S)
    assert decide(NOW, [view(gap(10, 20), memory={"ring": memory})]) == Rest(NOW + 7 * S)
    later = decide(NOW + 7 * S, [view(gap(10, 20), memory={"ring": memory})])
    assert isinstance(later, Ask)


def test_failures_double_the_wait_up_to_a_minute() -> None:
    memory = LogMemory()
    waits = []
    for _ in range(20):
        memory.failed(NOW, "silent")
        waits.append(memory.retry_ns - NOW)
    assert waits[0] == 2 * S and waits[1] == 4 * S and waits[-1] == BACKOFF_MAX_NS
    memory.read(NOW, LogWanted("ring", 0, S), S, S)
    assert memory.failures == 0 and memory.why == ""


def test_a_log_that_told_what_it_records_did_not_fail_unless_it_does_so_again() -> None:
    memory = LogMemory()
    for _ in range(2):
        memory.failed(NOW, "just found out", 0)
        assert (memory.retry_ns, memory.failures, memory.why) == (0, 0, "")
        memory.read(NOW, LogWanted("ring", 0, S), S, S)
    waits = []
    for _ in range(6):
        memory.failed(NOW, "just found out", 0)
        waits.append(max(0, memory.retry_ns - NOW) // S)
    assert waits == [0, 2, 0, 4, 0, 8]


def test_a_log_that_ends_too_early_is_asked_again_and_then_the_rest_is_lost() -> None:
    memory, wanted = LogMemory(), LogWanted("ring", 0, 10 * S)
    lost = [memory.read(NOW, wanted, 4 * S, S) for _ in range(ENDED_TRIES)]
    assert lost == [False] * (ENDED_TRIES - 1) + [True]
    assert not memory.read(NOW, wanted, 5 * S, S), "it went on: counted anew"
    assert memory.retry_ns > NOW


def test_no_stateful_log_is_read_while_the_other_node_could_read_it() -> None:
    log = LogSpec("w", "window_session", ("level",), stateful=True)
    assert decide(NOW, [view(gap(10, 20), logs=(log,))], "split") == Rest(None)
    assert isinstance(decide(NOW, [view(gap(10, 20), logs=(log,))], None), Ask)


def test_the_rest_takes_as_long_as_the_part_before() -> None:
    assert estimate_ms(30 * S, 10 * S, 2 * S) == 6_000
    assert estimate_ms(30 * S, 0, 2 * S) is None


@pytest.mark.parametrize(
    ("begin", "end", "why", "remedy"),
    [
        (20, 10, "before it begins at 1970-01-01T00:00:20.000Z", "--from before --to"),
        (10, 10, "the stretch ends at 1970-01-01T00:00:10.000Z", "--from before --to"),
        (10, 100 + 61, "1970-01-01T00:02:41.000Z is in the future", "what has passed"),
    ],
)
def test_a_stretch_that_nobody_can_mean_is_refused(
    begin: int, end: int, why: str, remedy: str
) -> None:
    with pytest.raises(ControlError) as told:
        check_asked(begin * S, end * S, 100 * S)
    assert why in told.value.message
    assert remedy in told.value.remedy
    check_asked(10 * S, (100 + 60) * S, 100 * S)
