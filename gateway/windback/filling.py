"""What a page of a log means for the journal: samples for the gaps, and what was judged.

Pure. A gap begins with what the log had in force there: the value polled last is older than that.
Samples appear only where nothing was polled: a page is cut to the gaps that it was read for,
class by class. Each stretch of a gap that the page went over is judged once, for the points that
the log has: filled, coarse where the log is slower than the scan, lost where it lacks the stretch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.driver.log import Lacking, LogPage, LogSpec
from gateway.driver.spec import DeviceSpec, Observation
from gateway.journal.coverage import Interval, Intervals, intersect, is_in, union
from gateway.journal.records import Batch, Body, Event, Fill, SampleRow
from gateway.model import NS_PER_S, Gap, GapState, Origin
from gateway.windback.planner import NOT_LOGGED

SAMPLES_MAX: Final = 2_000
"""Samples in one batch: what is dealt out in one turn of the loop."""


def class_points(device: DeviceSpec) -> dict[str, tuple[str, ...]]:
    """The names of a device's points by scan class; all in one where it is subscribed."""
    if device.subscribed:
        return {name: tuple(p.name for p in device.points) for name in device.scan_classes}
    found: dict[str, list[str]] = {}
    for point in device.points:
        found.setdefault(point.scan_class, []).append(point.name)
    return {name: tuple(points) for name, points in found.items()}


def by_class(gaps: Sequence[Gap]) -> dict[str, Intervals]:
    """The stretches of gaps by scan class, in order and disjoint."""
    found: dict[str, Intervals] = {}
    for gap in gaps:
        found.setdefault(gap.scan_class, []).append((gap.from_ns, gap.to_ns))
    return {name: union(intervals) for name, intervals in found.items()}


class Target:
    """What a read is for: a device of a revision, one of its logs, its gaps by scan class.

    `logged` names the points that any log of the device has: the others are lost wherever this log
    was read.
    """

    def __init__(
        self,
        device: DeviceSpec,
        revision: int,
        log: LogSpec,
        logged: frozenset[str],
        gaps: Mapping[str, Sequence[Interval]],
    ) -> None:
        self.device = device
        self.revision = revision
        self.log = log
        self.gaps = gaps
        self.classes = class_points(device)
        own = frozenset(log.points)
        self.judged = {
            name: tuple(p for p in points if p in own) for name, points in self.classes.items()
        }
        self.others = {
            name: tuple(p for p in points if p in logged and p not in own)
            for name, points in self.classes.items()
        }
        self.unlogged = {
            name: tuple(p for p in points if p not in logged)
            for name, points in self.classes.items()
        }
        names = {point.name: point.number for point in device.points}
        self.class_of = {names[p]: name for name, own_ in self.classes.items() for p in own_}


class Filled(NamedTuple):
    """What a page is to the journal, in the order of appending, and what it comes to."""

    bodies: list[Body]
    samples: int


def fill(target: Target, page: LogPage, now_ns: int) -> Filled:
    """The records of a page: batches of samples first, then what was judged.

    They belong together: appended in one turn of the loop they are of one term.
    """
    window: list[Interval] = [(page.from_ns, page.through_ns)]
    parts = {name: intersect(gaps, window) for name, gaps in target.gaps.items()}
    rows = _rows(target, page, parts)
    if begun := _begun(target, page):
        rows = sorted([*rows, *begun], key=lambda row: row[1])
    bodies: list[Body] = [
        _batch(target, page, rows[at : at + SAMPLES_MAX], now_ns)
        for at in range(0, len(rows), SAMPLES_MAX)
    ]
    bodies += [
        Event(target.device.name, event.severity, event.text, event.time_ns)
        for event in page.events
    ]
    for name, stretches in parts.items():
        for judged in _judge(target, page, name, stretches, now_ns):
            bodies.append(replace(judged, span=len(bodies)))
    return Filled(bodies, len(rows))


def _rows(
    target: Target, page: LogPage, parts: Mapping[str, Sequence[Interval]]
) -> Sequence[SampleRow]:
    """The observations that fall into a gap of their point's class."""
    whole = (page.from_ns, page.through_ns)
    if all(list(parts.get(name, ())) == [whole] for name in target.classes):
        return page.observations  # the usual case: nothing of it was polled
    class_of = target.class_of
    return [
        o for o in page.observations if is_in(parts.get(class_of.get(o.point, ""), ()), o.time_ns)
    ]


def _begun(target: Target, page: LogPage) -> list[SampleRow]:
    """What the log had in force where gaps begin within the page, at their beginnings.

    Only what is at most a scan period old there: older than that, what was polled last is newer.
    Observations of the whole page are gone through once, for all gaps together.
    """
    starts = sorted(
        (start_ns, name)
        for name, gaps in target.gaps.items()
        for start_ns, _ in gaps[bisect_left(gaps, (page.from_ns,)) :]
        if start_ns < page.through_ns
    )
    numbers = {point.name: point.number for point in target.device.points}
    latest: dict[int, Observation] = {row.point: row for row in page.before}
    begun: list[SampleRow] = []
    at = 0
    for start_ns, name in starts:
        while at < len(page.observations) and page.observations[at].time_ns <= start_ns:
            latest[page.observations[at].point] = page.observations[at]
            at += 1
        lacks = [part for part in page.lacking if part.from_ns <= start_ns]
        oldest_ns = start_ns - target.device.scan_classes.get(name, 0)
        for point in target.judged.get(name, ()):
            row = latest.get(numbers[point])
            if row is None or not oldest_ns <= row.time_ns < start_ns:
                continue
            if not any(p.to_ns > row.time_ns and point in (p.points or (point,)) for p in lacks):
                begun.append(row._replace(time_ns=start_ns))
    return begun


def _batch(target: Target, page: LogPage, rows: Sequence[SampleRow], now_ns: int) -> Batch:
    clock = page.clock
    return Batch(
        target.device.name,
        "",
        target.revision,
        Origin.WINDBACK,
        now_ns,
        now_ns,
        tuple(rows),
        clock_trusted=clock is not None,
        offset_ns=clock.offset_ns if clock is not None else 0,
    )


def _judge(
    target: Target, page: LogPage, scan_class: str, stretches: Sequence[Interval], now_ns: int
) -> Iterator[Fill]:
    points = target.judged.get(scan_class, ())
    if not points:
        return
    period_ns = target.device.scan_classes.get(scan_class, 0)
    resolution_ns = page.resolution_ns or target.log.resolution_ns or 0
    kind, coarse = GapState.FILLED, ""
    if 0 < period_ns < resolution_ns:
        kind = GapState.COARSE
        coarse = f"the log has one record each {resolution_ns / NS_PER_S:g} s"
    for stretch, lacks in _pieces(stretches, page.lacking):
        gone = {p for part in lacks for p in part.points or points}
        held = tuple(p for p in points if p not in gone)
        lost_ = tuple(p for p in points if p in gone)
        if held:
            yield _fill(target, page, scan_class, stretch, kind, held, coarse, now_ns)
        if lost_:
            why = "; ".join(dict.fromkeys(part.why for part in lacks))
            yield _fill(target, page, scan_class, stretch, GapState.LOST, lost_, why, now_ns)
    for stretch in stretches:
        if unlogged := target.unlogged[scan_class]:
            yield lost(target, scan_class, stretch, unlogged, NOT_LOGGED, now_ns)
        if others := target.others[scan_class]:
            yield _fill(target, page, scan_class, stretch, GapState.OPEN, others, "", now_ns)


def _pieces(
    stretches: Sequence[Interval], lacking: Sequence[Lacking]
) -> Iterator[tuple[Interval, list[Lacking]]]:
    """The stretches, cut wherever what the log lacks changes, each with what it lacks there."""
    for start, end in stretches:
        parts = [part for part in lacking if part.from_ns < end and part.to_ns > start]
        edges = {start, end}
        for part in parts:
            edges |= {max(start, part.from_ns), min(end, part.to_ns)}
        for from_ns, to_ns in pairwise(sorted(edges)):
            yield (
                (from_ns, to_ns),
                [part for part in parts if part.from_ns < to_ns and part.to_ns > from_ns],
            )


def lost(
    target: Target,
    scan_class: str,
    stretch: Interval,
    points: tuple[str, ...],
    why: str,
    now_ns: int,
) -> Fill:
    """What no log can give: the stretch is lost for these points."""
    page = LogPage(*stretch)
    return _fill(target, page, scan_class, stretch, GapState.LOST, points, why, now_ns)


def _fill(
    target: Target,
    page: LogPage,
    scan_class: str,
    stretch: Interval,
    kind: GapState,
    points: tuple[str, ...],
    why: str,
    now_ns: int,
) -> Fill:
    from_ns, to_ns = stretch
    goes_on = to_ns == page.through_ns and page.next_record is not None
    return Fill(
        device=target.device.name,
        scan_class=scan_class,
        log=target.log.name,
        from_ns=from_ns,
        to_ns=to_ns,
        kind=kind.value,
        points=points,
        at_ns=now_ns,
        why=why,
        resolution_ns=page.resolution_ns or target.log.resolution_ns or 0,
        records=page.records,
        next_record=page.next_record if goes_on and page.next_record is not None else -1,
        offset_ns=page.clock.offset_ns if page.clock is not None else 0,
        uncertainty_ns=page.clock.uncertainty_ns if page.clock is not None else -1,
    )
