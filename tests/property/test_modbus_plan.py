"""The read planner against brute force on small maps, and its invariants on larger ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.plan import (
    AddressRange,
    Request,
    bisect,
    passed_over,
    plan,
    unreadable,
    volatile_ranges,
)
from profiles.schema import (
    Area,
    Defaults,
    Limits,
    ModbusPoint,
    PointMap,
    Quirks,
    WireType,
    resolve,
)

SIZES = {1: WireType.UINT16, 2: WireType.UINT32, 4: WireType.UINT64}


@st.composite
def maps(draw: st.DrawFn, most: int, span: int) -> list[PointMap]:
    """Points of one area, overlapping or not, some volatile, some with a scale factor."""
    points = []
    for number in range(draw(st.integers(1, most))):
        words = draw(st.sampled_from([1, 1, 2, 4]))
        sf = None
        if number and draw(st.integers(0, 4)) == 0:
            sf = f"p{draw(st.integers(0, number - 1))}"
        point = ModbusPoint(
            address=draw(st.integers(0, span)),
            type=SIZES[words],
            sf=sf,
            volatile=draw(st.integers(0, 7)) == 0,
        )
        points.append(resolve(f"p{number}", point, Defaults()))
    return points


@st.composite
def limits(draw: st.DrawFn, most: int, span: int) -> Limits:
    ranges: dict[Area, tuple[tuple[int, int], ...]] = {}
    if draw(st.booleans()):
        ends = sorted(draw(st.lists(st.integers(0, span + 4), min_size=2, max_size=4)))
        ranges[Area.HOLDING] = tuple(zip(ends[::2], ends[1::2], strict=False))
    return Limits(
        max_read_words=draw(st.integers(2, most)),
        max_gap_words=draw(st.integers(0, 6)),
        allowed_ranges=ranges,
    )


def barriers(span: int) -> st.SearchStrategy[list[AddressRange]]:
    stretch = st.tuples(st.integers(0, span), st.integers(0, 2))
    return st.lists(
        stretch.map(lambda pair: (Area.HOLDING, pair[0], pair[0] + pair[1])), max_size=2
    )


def registers(point: PointMap) -> set[int]:
    return set(range(point.address, point.address + point.words))


def legal(
    points: Sequence[PointMap],
    readable: Sequence[int],
    group: Sequence[int],
    limits: Limits,
    barred: Sequence[AddressRange],
    known: Sequence[AddressRange] = (),
) -> bool:
    """Whether one request may read exactly these points: written from the words of the rule."""
    mine: set[int] = set().union(*(registers(points[i]) for i in group))
    first, last = min(mine), max(mine)
    stretch = set(range(first, last + 1))
    if len(stretch) > limits.max_read_words:
        return False
    ranges = limits.allowed_ranges.get(Area.HOLDING, ())
    if ranges and not any(a <= first and last <= b for a, b in ranges):
        return False
    others = [points[i] for i in readable if i not in group]
    if any(stretch & registers(other) for other in others if other.point.volatile):
        return False
    if any(stretch & set(range(a, b + 1)) for _, a, b in barred):
        return False
    declared = set(mine)
    for other in others:
        declared |= registers(other)
    for _, a, b in known:
        declared |= set(range(a, b + 1))
    hole = 0
    for register in sorted(stretch):
        hole = 0 if register in declared else hole + 1
        if hole > limits.max_gap_words:
            return False
    return True


def partitions(items: list[tuple[int, ...]]) -> list[list[list[tuple[int, ...]]]]:
    if not items:
        return [[]]
    head, *tail = items
    found = []
    for smaller in partitions(tail):
        found.append([[head], *smaller])
        for at, group in enumerate(smaller):
            found.append([*smaller[:at], [head, *group], *smaller[at + 1 :]])
    return found


def together(points: Sequence[PointMap], readable: Sequence[int]) -> list[tuple[int, ...]]:
    """The sets of points that must not be parted, by naive closure."""
    sets = [{i} for i in readable]
    names = {points[i].name: i for i in readable}

    def linked(one: set[int], other: set[int]) -> bool:
        for i in one:
            for j in other:
                if names.get(points[i].point.sf or "") == j:
                    return True
                overlap = registers(points[i]) & registers(points[j])
                if overlap and (volatile(i) or volatile(j)):
                    return True
        return False

    def volatile(index: int) -> bool:
        return index in infected

    # Whoever shares registers with a volatile point is as good as volatile.
    infected = {i for i in readable if points[i].point.volatile}
    for _ in readable:
        infected |= {
            i for i in readable for j in infected if registers(points[i]) & registers(points[j])
        }
    merged = True
    while merged:
        merged = False
        for a in range(len(sets)):
            for b in range(len(sets)):
                if a != b and (linked(sets[a], sets[b]) or linked(sets[b], sets[a])):
                    sets[a] |= sets.pop(b)
                    merged = True
                    break
            if merged:
                break
    return [tuple(sorted(one)) for one in sets]


def cost(requests: Sequence[Request], request_cost: int) -> int:
    return sum(request_cost + request.count for request in requests)


@settings(max_examples=150)
@given(st.data())
def test_a_plan_costs_no_more_than_the_best_of_all_partitions(data: st.DataObject) -> None:
    points = data.draw(maps(6, 24))
    rules = data.draw(limits(16, 24))
    refused = data.draw(barriers(24))
    known = data.draw(barriers(24))
    price = data.draw(st.integers(0, 12))
    found = plan(points, rules, Quirks(), refused, known=known, request_cost=price)
    reasons = unreadable(points, rules, refused, known=known)
    readable = [i for i in range(len(points)) if i not in reasons]
    assert sorted(i for request in found for i in request.points) == readable
    units = together(points, readable)
    alone = [unit for unit in units if any(points[i].point.volatile for i in unit)]
    shared = [unit for unit in units if unit not in alone]
    closed = [*refused, *volatile_ranges(points[i] for unit in alone for i in unit)]
    calm = [i for unit in shared for i in unit]
    best = None
    for partition in partitions(shared):
        groups = [[i for unit in group for i in unit] for group in partition]
        if all(legal(points, calm, group, rules, closed, known) for group in groups):
            total = sum(
                price
                + max(points[i].address + points[i].words for i in group)
                - min(points[i].address for i in group)
                for group in groups
            )
            best = total if best is None else min(best, total)
    planned = [
        request for request in found if not {*request.points} & {i for u in alone for i in u}
    ]
    assert best == cost(planned, price)
    assert {request.points for request in found} >= {
        tuple(sorted(unit, key=lambda i: (points[i].address, i))) for unit in alone
    }


@settings(max_examples=60)
@given(st.data())
def test_every_request_of_a_plan_keeps_every_rule(data: st.DataObject) -> None:
    points = data.draw(maps(40, 200))
    rules = data.draw(limits(125, 200))
    refused = data.draw(barriers(200))
    found = plan(points, rules, Quirks(), refused)
    reasons = unreadable(points, rules, refused)
    seen = [i for request in found for i in request.points]
    assert sorted(seen + list(reasons)) == list(range(len(points)))
    by_name = {point.name: i for i, point in enumerate(points)}
    for request in found:
        read = set(range(request.address, request.last + 1))
        assert request.count <= rules.max_read_words
        ranges = rules.allowed_ranges.get(Area.HOLDING)
        assert not ranges or any(a <= request.address and request.last <= b for a, b in ranges)
        assert not any(read & set(range(a, b + 1)) for _, a, b in refused)
        for i in request.points:
            assert registers(points[i]) <= read
            assert by_name.get(points[i].point.sf or "", i) in request.points
        for i, point in enumerate(points):
            if point.point.volatile and i not in reasons and i not in request.points:
                assert not read & registers(point)


@settings(max_examples=40)
@given(st.data())
def test_bisecting_ends_at_units_and_loses_no_point(data: st.DataObject) -> None:
    points = data.draw(maps(12, 60))
    for request in plan(points, Limits(), Quirks()):
        parts, leaves = [request], []
        for _ in range(64):
            if not parts:
                break
            part = parts.pop()
            halves = bisect(part, points)
            assert len(halves) in (0, 2)
            if halves:
                covered = set(range(part.address, part.last + 1))
                for area, first, last in passed_over(part, halves):
                    assert area is part.area
                    covered -= set(range(first, last + 1))
                assert covered == set().union(
                    *(range(half.address, half.last + 1) for half in halves)
                )
                parts += halves
            else:
                leaves.append(part)
        assert sorted(i for leaf in leaves for i in leaf.points) == sorted(request.points)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True))
def test_bits_are_planned_with_sixteen_to_a_register(addresses: list[int]) -> None:
    points = [
        resolve(f"c{n}", ModbusPoint(address=a, type=WireType.BOOL, register=Area.COIL), Defaults())
        for n, a in enumerate(sorted(addresses))
    ]
    found = plan(points, Limits(max_gap_words=1, max_read_bits=100), Quirks())
    for request in found:
        assert request.count <= 100
        ordered = [points[i].address for i in request.points]
        assert all(b - a - 1 <= 16 for a, b in pairwise(ordered))
