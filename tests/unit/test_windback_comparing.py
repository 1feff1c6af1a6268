"""A device's log held against history."""

from __future__ import annotations

from gateway.driver.spec import Observation, PointSpec
from gateway.model import Access, DataType, HistoryRow, Origin, Position, Status, Term, Value
from gateway.windback.comparing import DIFFERENCES_MAX, Comparison, Difference, compare

POINT = PointSpec(1, "plc1", "level", DataType.FLOAT64, "fast", Access.READ, None, deadband=0.5)


def row(time_ns: int, value: Value, status: int = 0) -> HistoryRow:
    return HistoryRow(time_ns, value, status, 0, Origin.POLL, Position(Term(1, "a", 1), 1))


def seen(time_ns: int, value: Value, status: int = 0) -> Observation:
    return Observation(1, time_ns, value, status)


def test_a_value_in_force_within_the_slack_is_equal() -> None:
    rows = [row(0, 1.0), row(100, 5.0)]
    logged = [seen(50, 1.4), seen(95, 5.0), seen(150, 5.0), seen(150, 1.0)]
    found = compare(POINT, logged, rows, [], 10)
    assert found[:4] == (4, 3, 0, 1)
    assert found.differences == (Difference("plc1/level", 150, 1.0, (5.0,)),)


def test_a_gap_excuses() -> None:
    assert compare(POINT, [seen(50, 9.0)], [row(0, 1.0)], [(40, 60)], 1)[:4] == (1, 0, 1, 0)


def test_values_of_any_type_are_compared_as_what_they_are() -> None:
    nan = float("nan")
    bad = Status.BAD_SENSOR_FAILURE
    pairs = [
        (seen(5, True), row(0, True), True),
        (seen(5, True), row(0, 1), False),
        (seen(5, nan), row(0, nan), True),
        (seen(5, nan), row(0, 1.0), False),
        (seen(5, "on"), row(0, "on"), True),
        (seen(5, "on"), row(0, "off"), False),
        (seen(5, None, bad), row(0, None, bad), True),
        (seen(5, 1.0), row(0, None, bad), False),
    ]
    for logged, held, same in pairs:
        assert (compare(POINT, [logged], [held], [], 1).equal == 1) is same, (logged, held)


def test_comparisons_add_up_and_their_evidence_is_bounded() -> None:
    many = compare(POINT, [seen(5, 9.0)] * 80, [row(0, 1.0)], [], 1)
    both = many.plus(many)
    assert both[:4] == (160, 0, 0, 160) and len(both.differences) == DIFFERENCES_MAX
    assert Comparison().plus(Comparison()) == Comparison()


def test_what_the_log_has_from_before_history_began_is_no_difference() -> None:
    logged = [seen(5, 9.0), seen(38, 9.0), seen(45, 9.0)]
    assert compare(POINT, logged, [row(40, 1.0)], [], 5)[:4] == (3, 0, 2, 1)
    assert compare(POINT, logged, [], [], 5)[:4] == (3, 0, 3, 0)
