"""What must be read together, and where one request may lead: the rules beneath the planner.

Pure. Points that must be read together are one *span*. An area is cut into islands by what must
not be read; a request that begins and ends at declared registers stays on one island.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from profiles.schema import Area, Limits, PointMap

BITS_PER_WORD: Final = 16

AddressRange = tuple[Area, int, int]
"""Inclusive wire addresses of one area."""


@dataclass(frozen=True, slots=True)
class Span:
    """Points that are read together; registers [first, end)."""

    area: Area
    first: int
    end: int
    members: tuple[int, ...]
    volatile: bool


def volatile_ranges(points: Iterable[PointMap]) -> tuple[AddressRange, ...]:
    """Where the volatile points among `points` lie: not to be read on behalf of others."""
    return tuple(
        (point.area, point.address, point.address + point.words - 1)
        for point in points
        if point.point.volatile
    )


# --------------------------------------------------------------------- what must be read together


def survey(
    points: Sequence[PointMap],
    limits: Limits,
    refused: Collection[AddressRange],
    untouched: Collection[AddressRange],
    known: Collection[AddressRange] = (),
) -> tuple[list[Span], dict[int, str]]:
    """The spans of the readable points, and why the others are not readable."""
    reasons = _out_of_reach(points, limits, refused)
    # Each round either ends or sets at least one point aside.
    for _ in range(len(points) + 1):
        _orphans(points, reasons)
        spans = spans_of(points, [i for i in range(len(points)) if i not in reasons])
        broken = _unreachable(points, spans, limits, [*refused, *untouched], known)
        if not broken:
            break
        reasons.update(broken)
    return spans, reasons


def _out_of_reach(
    points: Sequence[PointMap], limits: Limits, refused: Collection[AddressRange]
) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for index, point in enumerate(points):
        last = point.address + point.words - 1
        if point.words > _limit(point.area, limits):
            reasons[index] = f"its {point.words} registers don't fit into one request"
        elif not _allowed(point.area, point.address, last, limits):
            reasons[index] = f"{point.area} {point.address} is outside the allowed ranges"
        elif any(
            area is point.area and first <= last and point.address <= end
            for area, first, end in refused
        ):
            reasons[index] = f"the device refuses {point.area} {point.address}"
    return reasons


def _orphans(points: Sequence[PointMap], reasons: dict[int, str]) -> None:
    """Add the points whose scale factor is not there to be read with them, directly or not."""
    readable = {point.name: point for i, point in enumerate(points) if i not in reasons}
    for _ in range(len(points)):
        before = len(reasons)
        for index, point in enumerate(points):
            name = point.point.sf
            if name is None or index in reasons:
                continue
            factor = readable.get(name)
            if factor is None:
                reasons[index] = f"its scale factor {name} can't be read"
            elif factor.area is not point.area:
                reasons[index] = f"its scale factor {name} lies in another area"
            if index in reasons:
                del readable[point.name]
        if len(reasons) == before:
            break


def spans_of(points: Sequence[PointMap], wanted: Sequence[int]) -> list[Span]:
    """Group points by scale factor and by shared volatile registers (union-find)."""
    root = {index: index for index in wanted}

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    by_name = {points[index].name: index for index in wanted}
    for index in wanted:
        name = points[index].point.sf
        if name is not None:
            root[find(index)] = find(by_name[name])
    for group in _overlapping(points, wanted):
        if any(points[index].point.volatile for index in group):
            for index in group[1:]:
                root[find(index)] = find(group[0])
    members: dict[int, list[int]] = {}
    for index in wanted:
        members.setdefault(find(index), []).append(index)
    return [
        Span(
            points[group[0]].area,
            min(points[i].address for i in group),
            max(points[i].address + points[i].words for i in group),
            tuple(group),
            any(points[i].point.volatile for i in group),
        )
        for group in members.values()
    ]


def _overlapping(points: Sequence[PointMap], wanted: Iterable[int]) -> Iterable[list[int]]:
    """Runs of points of one area whose registers overlap, in a chain."""
    group: list[int] = []
    area, end = None, 0
    for index in sorted(wanted, key=lambda i: (points[i].area, points[i].address)):
        point = points[index]
        if group and (point.area is not area or point.address >= end):
            yield group
            group, end = [], 0
        group.append(index)
        area, end = point.area, max(end, point.address + point.words)
    if group:
        yield group


def _unreachable(
    points: Sequence[PointMap],
    spans: Sequence[Span],
    limits: Limits,
    barred: Sequence[AddressRange],
    known: Collection[AddressRange],
) -> dict[int, str]:
    """Spans that no single request can read: the points that cause it, with the reason."""
    broken: dict[int, str] = {}
    for area in Area:
        volatile = [span for span in spans if span.volatile and span.area is area]
        shared = [span for span in spans if not span.volatile and span.area is area]
        terrains: list[tuple[list[Span], Sequence[AddressRange]]] = [
            (shared, [*barred, *taken(points, volatile)])
        ]
        terrains += [
            ([span], [*barred, *taken(points, [one for one in volatile if one is not span])])
            for span in volatile
        ]
        for group, closed in terrains:
            terrain = Terrain.of(points, group, limits, closed, known)
            for span in group:
                if len(span.members) > 1 and not terrain.fits(span.first, span.end):
                    linked = [i for i in span.members if points[i].point.sf is not None]
                    for index in linked or span.members:
                        name = points[index].point.sf
                        broken[index] = (
                            f"no single request can read it with its scale factor {name}"
                            if name is not None
                            else "no single request can read all values of its volatile registers"
                        )
    return broken


# ------------------------------------------------------------------------ where a request may lead


@dataclass(frozen=True, slots=True)
class Terrain:
    """One area cut into islands; a request that begins and ends at points stays on one.

    `starts` are where runs of declared registers begin, `islands` the island of each run.
    """

    starts: tuple[int, ...]
    islands: tuple[int, ...]
    limit: int
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls,
        points: Sequence[PointMap],
        spans: Sequence[Span],
        limits: Limits,
        barred: Iterable[AddressRange],
        known: Iterable[AddressRange] = (),
    ) -> Terrain:
        """The terrain that these spans, all of one area, stand on.

        `known` registers are declared by points that are not wanted now: no hole, no way in.
        """
        if not spans:
            return cls((), (), 0, ())
        area = spans[0].area
        closed = [(first, last) for where, first, last in barred if where is area]
        passable = _merged((first, last) for where, first, last in known if where is area)
        gap = limits.max_gap_words * (BITS_PER_WORD if area.is_bits else 1)
        declared = sorted(
            (points[i].address, points[i].address + points[i].words)
            for span in spans
            for i in span.members
        )
        starts: list[int] = []
        islands: list[int] = []
        end = island = 0
        for first, last_end in declared:
            if not starts or first > end:
                # A hole [end, first): too wide, or with an address in it that must not be read.
                wide = _widest_hole(end, first, passable) > gap
                if starts and (wide or any(a < first and end <= b for a, b in closed)):
                    island += 1
                starts.append(first)
                islands.append(island)
            end = max(end, last_end)
        ranges = limits.allowed_ranges.get(area, ())
        return cls(tuple(starts), tuple(islands), _limit(area, limits), ranges)

    def fits(self, first: int, end: int) -> bool:
        """Whether one request may read [first, end), both ends being declared registers."""
        if end - first > self.limit:
            return False
        if self.ranges and not any(a <= first and end - 1 <= b for a, b in self.ranges):
            return False
        return self._island(first) == self._island(end - 1)

    def _island(self, address: int) -> int:
        return self.islands[bisect_right(self.starts, address) - 1]


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Inclusive ranges in order, those that touch made one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _widest_hole(first: int, end: int, passable: Sequence[tuple[int, int]]) -> int:
    """The longest run of undeclared registers in [first, end); `passable` as `_merged` gives it."""
    widest, at = 0, first
    begin = max(0, bisect_right(passable, (first, 0x10000)) - 1)
    for a, b in islice(passable, begin, None):
        if a >= end:
            break
        widest = max(widest, a - at)
        at = max(at, b + 1)
    return max(widest, end - at)


def _limit(area: Area, limits: Limits) -> int:
    return limits.max_read_bits if area.is_bits else limits.max_read_words


def _allowed(area: Area, first: int, last: int, limits: Limits) -> bool:
    ranges = limits.allowed_ranges.get(area)
    return not ranges or any(a <= first and last <= b for a, b in ranges)


def taken(points: Sequence[PointMap], spans: Iterable[Span]) -> tuple[AddressRange, ...]:
    """The volatile registers of spans, which others must not read in passing."""
    return volatile_ranges(points[index] for span in spans for index in span.members)
