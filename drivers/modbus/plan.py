"""Read planning: which requests fetch a set of points at the least cost.

Pure. A request is an interval of one area; it costs `request_cost` plus one for every register.
Every point lies in exactly one request, whole. A request never

- exceeds what the device allows in one request, or leaves the allowed range it starts in;
- touches a refused address, or in passing a volatile one;
- crosses a hole (registers that no point declares) wider than `max_gap_words`.

Points that must be read together are one *span*: a point with its SunSpec scale factor, and the
points that share a volatile register. Sorted by where they begin, with spans inside other spans
set aside, an optimal solution always takes neighbours together: of two requests that interleave,
the later can take over what begins inside it. So the best partition is found in one pass.

Bits are counted as sixteen to a register, because that is what they cost on the wire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from drivers.modbus.reach import (
    BITS_PER_WORD,
    AddressRange,
    Span,
    Terrain,
    spans_of,
    survey,
    taken,
    volatile_ranges,
)
from profiles.schema import Area, Limits, PointMap, Quirks

__all__ = [
    "REQUEST_COST",
    "AddressRange",
    "Request",
    "bisect",
    "passed_over",
    "plan",
    "scale_factors",
    "unreadable",
    "volatile_ranges",
]

REQUEST_COST: Final = 60
"""What a request costs, in registers read: meant for TCP; a serial line wants less."""


@dataclass(frozen=True, slots=True)
class Request:
    """One read: `count` registers, or bits of coils and discrete inputs.

    `points` are indices into the points that were planned, by address.
    """

    area: Area
    address: int
    count: int
    points: tuple[int, ...]

    @property
    def last(self) -> int:
        return self.address + self.count - 1


def plan(
    points: Sequence[PointMap],
    limits: Limits,
    quirks: Quirks,
    refused: Collection[AddressRange] = (),
    *,
    untouched: Collection[AddressRange] = (),
    known: Collection[AddressRange] = (),
    request_cost: int = REQUEST_COST,
) -> tuple[Request, ...]:
    """The requests of least cost that read every readable point once, by area and address.

    `refused` are addresses that the device refused: a point there is left out (see `unreadable`).
    `untouched` are addresses never to be read in passing: volatile points that are not among
    `points` (see `volatile_ranges`). `known` are registers of other declared points: they may be
    read in passing, since the device is known to have them, and make no hole. Addresses of SunSpec
    points must be absolute already.
    """
    spans, _ = survey(points, limits, refused, untouched, known)
    requests: list[Request] = []
    for area in Area:
        mine = sorted(
            (span for span in spans if span.area is area), key=lambda span: (span.first, -span.end)
        )
        alone = [span for span in mine if span.volatile or quirks.one_request_per_point]
        shared = [span for span in mine if not span.volatile and not quirks.one_request_per_point]
        chosen = [[span] for span in alone]
        if shared:
            terrain = Terrain.of(
                points, shared, limits, [*refused, *untouched, *taken(points, alone)], known
            )
            cost = request_cost * (BITS_PER_WORD if area.is_bits else 1)
            chosen += _partition(shared, terrain, cost)
        requests += sorted(
            (_request(points, group) for group in chosen), key=lambda request: request.address
        )
    return tuple(requests)


def unreadable(
    points: Sequence[PointMap],
    limits: Limits,
    refused: Collection[AddressRange] = (),
    *,
    untouched: Collection[AddressRange] = (),
    known: Collection[AddressRange] = (),
) -> dict[int, str]:
    """The points that no legal request can read (index), each with the reason for a person."""
    return survey(points, limits, refused, untouched, known)[1]


def scale_factors(points: Sequence[PointMap], wanted: Collection[int]) -> tuple[int, ...]:
    """The points (indices) not in `wanted` that must be read with it: scale factors."""
    by_name = {point.name: index for index, point in enumerate(points)}
    needed = {by_name.get(points[index].point.sf or "", -1) for index in wanted}
    return tuple(sorted(needed - {-1} - set(wanted)))


def bisect(request: Request, points: Sequence[PointMap]) -> tuple[Request, ...]:
    """A refused request in two halves, by points; () when it can't be split further.

    Points linked by a scale factor, or lying in the same registers, stay together.
    """
    units = _units(request, points)
    if len(units) < 2:
        return ()
    middle = len(units) // 2
    halves = (units[:middle], units[middle:])
    return tuple(
        _hull(request.area, points, [index for unit in half for index in unit]) for half in halves
    )


def passed_over(request: Request, parts: Iterable[Request]) -> tuple[AddressRange, ...]:
    """The addresses of `request` that none of `parts` reads.

    If every part succeeds where the whole was refused, the bad address is among these.
    """
    ranges: list[AddressRange] = []
    cursor = request.address
    for part in sorted(parts, key=lambda part: part.address):
        if part.address > cursor:
            ranges.append((request.area, cursor, part.address - 1))
        cursor = max(cursor, part.last + 1)
    if cursor <= request.last:
        ranges.append((request.area, cursor, request.last))
    return tuple(ranges)


def _partition(spans: Sequence[Span], terrain: Terrain, cost: int) -> list[list[Span]]:
    """The spans (sorted by first, widest first) in groups of least total cost.

    best(i) = min over j of best(j) + cost + end(i) - first(j), a sliding-window minimum: both
    ends grow once spans inside others are set aside, and so does the leftmost j that fits.
    """
    outer: list[list[Span]] = []
    for span in spans:
        if outer and span.end <= outer[-1][0].end:
            outer[-1].append(span)
        else:
            outer.append([span])
    # (cost, number of requests): among equal costs the fewest requests.
    best: list[tuple[int, int]] = [(0, 0)]
    came_from: list[int] = []
    window: deque[tuple[tuple[int, int], int]] = deque()
    left = 0
    for right, (head, *_) in enumerate(outer):
        entry = (best[right][0] - head.first, best[right][1])
        while window and window[-1][0] > entry:
            window.pop()
        window.append((entry, right))
        while not terrain.fits(outer[left][0].first, head.end):
            left += 1
        while window[0][1] < left:
            window.popleft()
        (saved, requests), begin = window[0]
        best.append((saved + head.end + cost, requests + 1))
        came_from.append(begin)
    groups: list[list[Span]] = []
    right = len(outer)
    while right:
        begin = came_from[right - 1]
        groups.append([span for nest in outer[begin:right] for span in nest])
        right = begin
    return groups


# -------------------------------------------------------------------------------------- small parts


def _request(points: Sequence[PointMap], group: Sequence[Span]) -> Request:
    return _hull(group[0].area, points, [index for span in group for index in span.members])


def _hull(area: Area, points: Sequence[PointMap], members: Sequence[int]) -> Request:
    ordered = tuple(sorted(members, key=lambda i: (points[i].address, i)))
    first = points[ordered[0]].address
    end = max(points[i].address + points[i].words for i in ordered)
    return Request(area, first, end - first, ordered)


def _units(request: Request, points: Sequence[PointMap]) -> list[tuple[int, ...]]:
    """The points of a request in the smallest sets that stay together, by address."""
    units: dict[tuple[int, int], list[int]] = {}
    for span in spans_of(points, request.points):
        units.setdefault((span.first, span.end), []).extend(span.members)
    return [tuple(units[key]) for key in sorted(units)]
