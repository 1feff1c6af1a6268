"""What a page of a log means for the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drivers.modbus.log.paging import Pager
from drivers.modbus.log.records import Entry
from gateway.driver import ClockReading, DeviceEvent, Lacking, LogPage, LogWanted, Observation
from gateway.driver.log import LogSpec
from gateway.driver.spec import DeviceSpec, PointSpec
from gateway.journal.records import Batch, Event, Fill
from gateway.model import NS_PER_S, Access, Cause, DataType, Gap, GapState, Origin
from gateway.windback.filling import (
    SAMPLES_MAX,
    Filled,
    Target,
    by_class,
    class_points,
    fill,
    lost,
)
from gateway.windback.planner import NOT_LOGGED

S = NS_PER_S


def point(number: int, name: str, scan_class: str) -> PointSpec:
    return PointSpec(number, "plc1", name, DataType.FLOAT64, scan_class, Access.READ, None)


POINTS = (point(3, "level", "fast"), point(4, "flow", "slow"), point(5, "text", "slow"))
PLC1 = DeviceSpec("plc1", "modbus", "l", None, POINTS, {"fast": S, "slow": 10 * S})
RING = LogSpec("ring", "ring", ("level", "flow"), resolution_ns=S)


def target(gaps: dict[str, list[tuple[int, int]]], log: LogSpec = RING) -> Target:
    return Target(PLC1, 7, log, frozenset({"level", "flow"}), gaps)


def test_points_belong_to_their_class_or_all_to_the_subscription() -> None:
    assert class_points(PLC1) == {"fast": ("level",), "slow": ("flow", "text")}
    plc2 = DeviceSpec("plc2", "opcua", "l", None, POINTS, {"subscription": S}, subscribed=True)
    assert class_points(plc2) == {"subscription": ("level", "flow", "text")}


def test_gaps_are_united_by_class() -> None:
    found = [Gap("plc1", "fast", a, b, Cause.LINK) for a, b in ((5, 9), (1, 5), (20, 21))]
    assert by_class(found) == {"fast": [(1, 9), (20, 21)]}


def test_samples_fall_into_gaps_only_and_each_stretch_is_judged_once() -> None:
    page = LogPage(
        0,
        10 * S,
        [Observation(n, t * S, float(t), 0) for t in range(10) for n in (3, 4)],
        records=10,
        first_record=1,
        next_record=11,
        clock=ClockReading(90 * S, S),
    )
    found = fill(target({"fast": [(2 * S, 5 * S)], "slow": [(4 * S, 30 * S)]}), page, 99)
    batch = found.bodies[0]
    assert isinstance(batch, Batch) and found.samples == 9
    assert batch.origin == Origin.WINDBACK and batch.scan_class == "" and batch.revision == 7
    assert batch.offset_ns == 90 * S and batch.clock_trusted and batch.received_ns == 99
    assert [(n, t // S) for n, t, _, _ in batch.samples] == [
        (3, 2), (3, 3), (3, 4), (4, 4), (4, 5), (4, 6), (4, 7), (4, 8), (4, 9),
    ]  # fmt: skip
    fills = [body for body in found.bodies if isinstance(body, Fill)]
    assert [(f.scan_class, f.from_ns, f.to_ns, f.kind, f.points) for f in fills] == [
        ("fast", 2 * S, 5 * S, "filled", ("level",)),
        ("slow", 4 * S, 10 * S, "filled", ("flow",)),
        ("slow", 4 * S, 10 * S, "lost", ("text",)),
    ]
    assert fills[0].next_record == -1, "it does not end where the page ends"
    assert fills[1].next_record == 11 and fills[1].uncertainty_ns == S
    assert fills[2].why == NOT_LOGGED


def test_a_page_that_lies_in_the_gap_whole_is_taken_as_it_is_in_bounded_batches() -> None:
    seen = [Observation(3, t, 0.0, 0) for t in range(SAMPLES_MAX + 1)]
    page = LogPage(0, SAMPLES_MAX + 1, seen)
    found = fill(target({"fast": [(0, S)], "slow": [(0, S)]}), page, 99)
    batches = [b for b in found.bodies if isinstance(b, Batch)]
    assert [len(b.samples) for b in batches] == [SAMPLES_MAX, 1]
    assert not batches[0].clock_trusted, "no clock was read"


def test_a_log_slower_than_the_scan_fills_coarsely() -> None:
    page = LogPage(0, 900 * S, [], resolution_ns=60 * S)
    found = fill(target({"fast": [(0, 900 * S)]}), page, 99)
    (record,) = found.bodies
    assert isinstance(record, Fill) and record.kind == GapState.COARSE
    assert record.why == "the log has one record each 60 s" and record.uncertainty_ns == -1


def samples(found: Filled) -> list[tuple[int, int, Any]]:
    return [row[:3] for body in found.bodies if isinstance(body, Batch) for row in body.samples]


def test_a_gap_begins_with_what_the_log_had_in_force_there() -> None:
    """A poll at 37.862 said 7.60; the log has 6.99 since 38.2996, and the gap begins at 38.301."""
    ms = S // 1000
    plc = replace(PLC1, scan_classes={"fast": 200 * ms, "slow": 10 * S})
    gap = (38_301 * ms, 38_674 * ms)
    late = Target(plc, 7, RING, frozenset({"level", "flow"}), {"fast": [gap]})
    before = (Observation(3, 38_300 * ms, 6.99, 0), Observation(4, 38_300 * ms, 1.0, 0))
    page = LogPage(*gap, [Observation(3, 38_500 * ms, 6.98, 0)], before=before)
    assert samples(fill(late, page, 99)) == [(3, 38_301 * ms, 6.99), (3, 38_500 * ms, 6.98)]
    assert samples(fill(late, replace(page, before=()), 99)) == [(3, 38_500 * ms, 6.98)]
    torn = replace(page, lacking=(Lacking(gap[0], gap[0] + 1, "torn"),))
    assert samples(fill(late, torn, 99)) == [(3, 38_500 * ms, 6.98)]
    other = replace(page, lacking=(Lacking(gap[0], gap[0] + 1, "torn", ("flow",)),))
    assert len(samples(fill(late, other, 99))) == 2, "another point is lacking"
    there = replace(page, observations=[Observation(3, gap[0], 6.98, 0)])
    assert samples(fill(late, there, 99)) == [(3, gap[0], 6.98)], "a record lies there"
    aged = replace(page, before=(Observation(3, gap[0] - 201 * ms, 6.99, 0),))
    assert samples(fill(late, aged, 99)) == [(3, 38_500 * ms, 6.98)], "it was polled since"


def test_the_record_before_a_hole_comes_from_the_log_to_the_gap() -> None:
    ms = S // 1000
    wanted = LogWanted("ring", 38_301 * ms, 38_674 * ms)
    pager = Pager(wanted, None, 200 * ms, ClockReading(0, ms), 40 * S)
    stamps = (38_099_600, 38_299_600, 38_499_600, 38_699_600)
    values = (7.60, 6.99, 6.99, 6.98)
    pager.take(
        [
            Entry(n, us * 1000, 0, ((3, value, 0),))
            for n, (us, value) in enumerate(zip(stamps, values, strict=True))
        ]
    )
    gap = {"fast": [(wanted.from_ns, wanted.to_ns)]}
    (page,) = pager.finish()
    found = samples(fill(target(gap), page, 99))
    assert found == [(3, wanted.from_ns, 6.99), (3, 38_499_600_000, 6.99)]


def test_each_class_of_a_stretch_begins_where_its_own_gap_does() -> None:
    gaps = {"fast": [(-9 * S, 2 * S), (5 * S + 1, 9 * S)], "slow": [(3 * S + 5, 20 * S)]}
    seen = [Observation(n, t * S, float(t), 0) for t in range(10) for n in (3, 4)]
    page = LogPage(0, 10 * S, seen, before=(Observation(3, -1, -1.0, 0),))
    found = samples(fill(target(gaps), page, 99))
    assert [row for row in found if row[1] % S] == [(4, 3 * S + 5, 3.0), (3, 5 * S + 1, 5.0)]
    assert [time for _, time, _ in found] == sorted(time for _, time, _ in found)
    on = LogPage(10 * S, 30 * S, [], before=tuple(seen[-2:]))
    assert samples(fill(target(gaps), on, 99)) == [], "a read that goes on begins no gap"
    hidden = replace(page, lacking=(Lacking(3 * S + 1, 3 * S + 4, "no value"),))
    assert [r for r in samples(fill(target(gaps), hidden, 99)) if r[1] % S] == [(3, 5 * S + 1, 5.0)]


def test_what_the_log_lacks_is_lost_with_its_reasons() -> None:
    lacking = (Lacking(0, 3 * S, "overwritten"), Lacking(3 * S, 4 * S, "cleared"))
    found = fill(target({"fast": [(2 * S, 9 * S)]}), LogPage(0, 9 * S, lacking=lacking), 99)
    kinds = [(f.kind, f.from_ns, f.to_ns, f.why) for f in found.bodies if isinstance(f, Fill)]
    assert kinds == [
        ("lost", 2 * S, 3 * S, "overwritten"),
        ("lost", 3 * S, 4 * S, "cleared"),
        ("filled", 4 * S, 9 * S, ""),
    ]


def test_a_log_may_lack_some_points_where_it_holds_others() -> None:
    both = LogSpec("h", "opcua_history", ("flow", "text"))
    wanted = Target(PLC1, 7, both, frozenset({"flow", "text"}), {"slow": [(0, 9 * S)]})
    page = LogPage(0, 9 * S, lacking=(Lacking(0, 3 * S, "no value", ("text",)),))
    kinds = [
        (f.kind, f.from_ns, f.to_ns, f.points)
        for f in fill(wanted, page, 99).bodies
        if isinstance(f, Fill)
    ]
    assert kinds == [
        ("filled", 0, 3 * S, ("flow",)),
        ("lost", 0, 3 * S, ("text",)),
        ("filled", 3 * S, 9 * S, ("flow", "text")),
    ]


def test_points_of_another_log_stay_open() -> None:
    one = LogSpec("one", "ring", ("flow",), resolution_ns=S)
    both = Target(PLC1, 7, one, frozenset({"flow", "text", "level"}), {"slow": [(0, 9)]})
    kinds = [(f.kind, f.points) for f in fill(both, LogPage(0, 9), 1).bodies if isinstance(f, Fill)]
    assert kinds == [("filled", ("flow",)), ("open", ("text",))]
    none = Target(PLC1, 7, one, frozenset({"flow"}), {"fast": [(0, 9)]})
    assert fill(none, LogPage(0, 9), 1).bodies == [], "this log says nothing of that class"


def test_events_of_the_device_are_journalled_at_its_time() -> None:
    page = LogPage(0, 9, events=(DeviceEvent(5, 600, "HiHi alarm", "level"),))
    (event,) = fill(target({}), page, 99).bodies
    assert event == Event("plc1", 600, "HiHi alarm", 5)


def test_a_loss_is_a_record_of_its_own() -> None:
    record = lost(target({}), "fast", (1, 2), ("level",), "gone", 99)
    assert (record.kind, record.points, record.why, record.at_ns) == (
        "lost",
        ("level",),
        "gone",
        99,
    )
