"""The rules of read planning, one by one; optimality is tested against brute force elsewhere."""

from __future__ import annotations

from typing import Any

from drivers.modbus.plan import (
    Request,
    bisect,
    passed_over,
    plan,
    scale_factors,
    unreadable,
    volatile_ranges,
)
from profiles.schema import Area, Defaults, Limits, ModbusPoint, PointMap, Quirks, resolve


def a_point(name: str, address: int, **said: Any) -> PointMap:
    return resolve(name, ModbusPoint.model_validate({"address": address, **said}), Defaults())


def stretches(requests: tuple[Request, ...]) -> list[tuple[str, int, int]]:
    return [(request.area.value, request.address, request.count) for request in requests]


def planned(points: list[PointMap], limits: Limits | None = None, **more: Any) -> list[Any]:
    return stretches(plan(points, limits or Limits(), Quirks(), **more))


def test_neighbours_share_a_request_and_areas_never_do() -> None:
    points = [
        a_point("b", 2),
        a_point("a", 0, type="float32"),
        a_point("i", 0, register="input"),
        a_point("c", 5, register="coil", type="bool"),
    ]
    found = plan(points, Limits(), Quirks())
    assert stretches(found) == [("coil", 5, 1), ("input", 0, 1), ("holding", 0, 3)]
    assert found[2].points == (1, 0)
    assert found[2].last == 2


def test_a_hole_is_crossed_only_when_that_is_allowed_and_cheaper() -> None:
    points = [a_point("a", 0), a_point("b", 9)]
    assert planned(points) == [("holding", 0, 10)]
    assert planned(points, Limits(max_gap_words=7)) == [("holding", 0, 1), ("holding", 9, 1)]
    assert planned(points, request_cost=7) == [("holding", 0, 1), ("holding", 9, 1)]
    # Equal costs: the fewest requests.
    assert planned(points, request_cost=8) == [("holding", 0, 10)]


def test_limits_cut_a_long_run_into_the_fewest_requests() -> None:
    points = [a_point(f"p{n}", 4 * n, type="uint64") for n in range(100)]
    found = plan(points, Limits(max_read_words=10), Quirks())
    assert len(found) == 50
    assert all(request.count == 8 for request in found)


def test_a_request_stays_inside_one_allowed_range() -> None:
    limits = Limits(allowed_ranges={Area.HOLDING: ((0, 4), (5, 20))})
    points = [a_point("a", 3), a_point("b", 5), a_point("c", 4, type="uint32"), a_point("d", 21)]
    assert planned(points, limits) == [("holding", 3, 1), ("holding", 5, 1)]
    reasons = unreadable(points, limits)
    assert set(reasons) == {2, 3}
    assert "outside the allowed ranges" in reasons[2]


def test_a_value_longer_than_a_request_is_unreadable() -> None:
    points = [a_point("t", 0, type="string", length=20)]
    limits = Limits(max_read_words=16)
    assert planned(points, limits) == []
    assert "don't fit" in unreadable(points, limits)[0]


def test_a_refused_address_is_avoided_and_its_points_are_named() -> None:
    points = [a_point("a", 0), a_point("b", 1, type="uint32"), a_point("c", 4)]
    refused = [(Area.HOLDING, 2, 2), (Area.INPUT, 0, 9)]
    assert planned(points, refused=refused) == [("holding", 0, 1), ("holding", 4, 1)]
    assert "refuses holding 1" in unreadable(points, Limits(), refused)[1]


def test_a_volatile_register_is_read_alone_and_never_in_passing() -> None:
    points = [a_point("a", 0), a_point("v", 1, volatile=True), a_point("c", 2)]
    assert planned(points) == [("holding", 0, 1), ("holding", 1, 1), ("holding", 2, 1)]
    others = [points[0], points[2]]
    away = volatile_ranges(points)
    assert away == ((Area.HOLDING, 1, 1),)
    assert planned(others, untouched=away) == [("holding", 0, 1), ("holding", 2, 1)]


def test_the_bits_of_a_volatile_register_are_read_at_once() -> None:
    points = [a_point(f"b{n}", 7, type="bool", bit=n, volatile=n == 0) for n in range(3)]
    found = plan(points, Limits(), Quirks())
    assert stretches(found) == [("holding", 7, 1)]
    assert found[0].points == (0, 1, 2)


def test_overlapping_volatile_values_too_long_for_one_request_are_unreadable() -> None:
    points = [
        a_point("v", 0, type="uint64", volatile=True),
        a_point("w", 3, type="uint64", volatile=True),
        a_point("x", 20),
    ]
    limits = Limits(max_read_words=5)
    assert planned(points, limits) == [("holding", 20, 1)]
    assert set(unreadable(points, limits)) == {0, 1}


def test_a_point_comes_with_its_scale_factor_or_not_at_all() -> None:
    points = [
        a_point("far_sf", 100, type="int16"),
        a_point("a", 0, type="int16", sf="a_sf"),
        a_point("a_sf", 5, type="int16"),
        a_point("b", 90, type="int16", sf="far_sf"),
        a_point("lost", 6, type="int16", sf="nowhere"),
        a_point("other", 7, type="int16", sf="i_sf"),
        a_point("i_sf", 7, type="int16", register="input"),
    ]
    limits = Limits(max_gap_words=5, max_read_words=8)
    found = plan(points, limits, Quirks(), request_cost=0)
    assert stretches(found) == [("input", 7, 1), ("holding", 0, 6), ("holding", 100, 1)]
    assert found[1].points == (1, 2)
    reasons = unreadable(points, limits)
    assert "no single request can read it with its scale factor far_sf" in reasons[3]
    assert "nowhere can't be read" in reasons[4]
    assert "another area" in reasons[5]


def test_scale_factors_of_other_classes_are_named() -> None:
    points = [
        a_point("a", 0, type="int16", sf="f"),
        a_point("f", 1, type="int16"),
        a_point("b", 2),
    ]
    assert scale_factors(points, [0]) == (1,)
    assert scale_factors(points, [0, 1]) == ()
    assert scale_factors(points, [2]) == ()


def test_a_device_that_wants_it_gets_one_request_a_point() -> None:
    points = [a_point("a", 0), a_point("b", 1, type="int16", sf="f"), a_point("f", 2, type="int16")]
    found = plan(points, Limits(), Quirks(one_request_per_point=True))
    assert stretches(found) == [("holding", 0, 1), ("holding", 1, 2)]


def test_a_hole_between_coils_counts_sixteen_to_a_register() -> None:
    points = [a_point(f"c{n}", n, register="coil", type="bool") for n in (0, 17, 35)]
    assert planned(points, Limits(max_gap_words=1)) == [("coil", 0, 18), ("coil", 35, 1)]


def test_nothing_needs_no_requests() -> None:
    assert planned([]) == []


def test_a_refused_block_is_halved_down_to_its_points() -> None:
    points = [
        a_point("a", 0),
        a_point("b", 1, type="int16", sf="f"),
        a_point("f", 3, type="int16"),
        *(a_point(f"bit{n}", 5, type="bool", bit=n) for n in range(4)),
    ]
    (whole,) = plan(points, Limits(), Quirks())
    first, second = bisect(whole, points)
    assert (first.points, second.points) == ((0,), (1, 2, 3, 4, 5, 6))
    assert bisect(first, points) == ()
    linked, bits = bisect(second, points)
    assert (linked.points, bits.points) == ((1, 2), (3, 4, 5, 6))
    assert bisect(linked, points) == ()
    assert bisect(bits, points) == ()
    assert passed_over(second, (linked, bits)) == ((Area.HOLDING, 4, 4),)
    assert passed_over(whole, (first,)) == ((Area.HOLDING, 1, 5),)
