"""When a device's clock was set: by stamps that go back, and by readings that differ."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND

from drivers.modbus.log.clock_steps import Sets, clock_sets
from drivers.modbus.log.times import KNOWN_MAX, SEEN_NS, Known, Step, Unplaced, known_clock
from gateway.driver import ClockReading

RECORDS = 100


def sets(
    ahead: list[int],
    known: list[Known],
    blind: frozenset[int] = frozenset(),
    gone: frozenset[int] = frozenset(),
) -> Sets:
    """Of records made each second, the last at NOW; `ahead`: by how many s each was stamped.

    `blind` can't be read, `gone` not twice.
    """
    read: set[int] = set()

    def wall_of(number: int) -> Generator[Any, Any, int | None]:
        yield from ()
        if number in gone & read:
            return None
        read.add(number)
        made_ns = NOW_NS - (RECORDS - 1 - number) * SECOND
        return None if number in blind else made_ns + ahead[number] * SECOND

    search = clock_sets(0, RECORDS - 1, SECOND, None, wall_of, known, NOW_NS)
    try:
        next(search)
    except StopIteration as done:
        found: Sets = done.value
        return found
    raise AssertionError("it asks for records by `wall_of` only")


def at(seconds: int, ahead_s: float) -> Known:
    return Known(NOW_NS - seconds * SECOND, round(ahead_s * SECOND))


def test_what_is_known_of_a_clock_grows_only_where_it_changed() -> None:
    assert known_clock((), 5, None, SECOND) == []
    assert known_clock((), 5, ClockReading(90, 3), SECOND) == [Known(5, 90)]
    same = ClockReading(90 + SECOND, 3)
    assert known_clock([[5, 90]], 7, same, SECOND) == [Known(5, 90)]
    unsure = ClockReading(90 + 3 * SECOND, 2 * SECOND)
    assert known_clock([[5, 90]], 7, unsure, SECOND) == [Known(5, 90)]
    other = ClockReading(90 + 2 * SECOND, 3)
    assert known_clock([[5, 90]], 7, other, SECOND) == [Known(5, 90), Known(7, 90 + 2 * SECOND)]
    once_more = known_clock([[5, 90, "a", "a"]], 7, same, SECOND, "b")
    assert once_more == [Known(5, 90, "a", "b", 7)], "by the clock of b it is what a had found"
    later = 7 + SEEN_NS
    assert known_clock(once_more, later - 1, same, SECOND, "b") == once_more
    assert known_clock(once_more, later, same, SECOND, "b") == [Known(5, 90, "a", "b", later)]
    assert known_clock(once_more, 8, None, SECOND, "c") == once_more
    many = [[n, 9 * n * SECOND] for n in range(KNOWN_MAX)]
    newest = [*(Known(*each) for each in many[1:]), Known(9, 0)]
    assert known_clock(many, 9, ClockReading(0, 1), SECOND) == newest


@given(st.integers(5, 90), st.integers(3, 500), st.integers(-1, 1))
def test_a_clock_set_forward_between_two_readings_is_found(
    record: int, by: int, measured: int
) -> None:
    ahead = [-by] * record + [0] * (RECORDS - record)
    ago = RECORDS - record  # before the record that was stamped first by the new time
    known = [at(ago + 2, -by), at(0, measured / 10)]
    steps, unplaced = sets(ahead, known)
    assert not unplaced
    assert steps == [Step(record, known[0].offset_ns - known[1].offset_ns)]
    assert sets(ahead, known[1:]) == Sets([], []), "without two readings it is a pause"


def test_the_clocks_of_two_nodes_may_differ_and_place_nothing() -> None:
    ahead = [-40] * 60 + [0] * 40
    one, other = at(50, -40), at(0, 0)
    for since, until, by in [("b", "b", "a"), ("a", "b", "a"), ("a", "a", "a later run of a")]:
        known = [one._replace(since=since, until=until), other._replace(since=by, until=by)]
        assert sets(ahead, known) == Sets([], [Unplaced(NOW_NS, 40 * SECOND)])
    known = [one._replace(since="b", until="a"), other._replace(since="a", until="b")]
    assert sets(ahead, known) == Sets([Step(60, -40 * SECOND)], []), "a knew both"


def test_a_clock_that_was_set_back_and_forward_again() -> None:
    ahead = [0] * 20 + [-90] * 30 + [-50] * 50
    found = sets(ahead, [at(90, 0), at(60, -90), at(0, -50)])
    assert sorted(found.steps) == [Step(20, 90 * SECOND), Step(50, -40 * SECOND)]
    assert not found.unplaced
    as_before = sets([0] * 20 + [-40] * 30 + [0] * 50, [at(90, 0), at(60, -40), at(0, 0)])
    assert as_before == Sets([Step(20, 40 * SECOND), Step(50, -40 * SECOND)], [])
    unknown = sets([0] * 20 + [-40] * 30 + [0] * 50, [at(0, 0)])
    assert unknown == Sets([], []), "nobody looked between: the one hides the other"


def test_what_was_before_a_reading_hides_nothing_after_it() -> None:
    ahead = [0] * 20 + [90] * 20 + [180] * 30 + [120] * 30
    found = sets(ahead, [at(90, 0), at(40, 180), at(0, 120)])
    steps = [Step(20, -90 * SECOND), Step(40, -90 * SECOND), Step(70, 60 * SECOND)]
    assert (sorted(found.steps), found.unplaced) == (steps, [])


@given(st.integers(0, 4), st.integers(0, 4))
def test_what_was_right_before_a_reading_hides_nothing_after_it(first: int, second: int) -> None:
    """Scenario clock_steps: a connection reads the clock at once, a second after it was set."""
    ahead = [0] * 40 + [180] * 30 + [120] * 30
    found = sets(ahead, [at(90, 0), at(59 - first, 180), at(29 - second, 120)])
    steps = [Step(40, -180 * SECOND), Step(70, 60 * SECOND)]
    assert (sorted(found.steps), found.unplaced) == (steps, [])


def test_a_pause_that_was_there_when_the_clock_was_as_it_is_is_none() -> None:
    ahead = [-40] * 20 + [0] * 80
    found = sets(ahead, [at(50, -40), at(0, 0)])  # the jump was before either reading
    assert found == Sets([], [Unplaced(NOW_NS, 40 * SECOND)])


def test_a_pause_before_the_clock_was_found_unchanged_is_not_what_it_was_set_by() -> None:
    """Campaign 20261212, round 21: a log that was stopped as long as its clock was set by."""
    ahead = [-10] * 30 + [-5] * 40 + [0] * 30  # a pause, and a clock that was set
    first = at(120, -5)
    assert sets(ahead, [first, at(0, 0)]) == Sets([], [Unplaced(NOW_NS, 5 * SECOND)])
    seen = first._replace(last_ns=NOW_NS - 50 * SECOND)
    assert sets(ahead, [seen, at(0, 0)]) == Sets([Step(70, -5 * SECOND)], [])


def test_a_change_that_drift_explains_is_none() -> None:
    day = 86_400
    assert sets([0] * RECORDS, [at(2 * day, -17), at(0, 0)]) == Sets([], [])
    found = sets([0] * RECORDS, [at(day // 2, -17), at(0, 0)])
    assert found == Sets([], [Unplaced(NOW_NS, 17 * SECOND)])
    back = sets([0] * RECORDS, [at(day // 2, 17), at(0, 0)])
    assert back == Sets([], [Unplaced(NOW_NS, 17 * SECOND)])


@given(st.lists(st.tuples(st.integers(5, 30), st.integers(3, 500)), min_size=2, max_size=3))
def test_a_clock_set_forward_in_parts_is_found_part_by_part(parts: list[tuple[int, int]]) -> None:
    ahead, total = [0] * (RECORDS - sum(records for records, _ in parts)), 0
    for records, by in reversed(parts):
        total -= by
        ahead = [total] * records + ahead
    found = sets(ahead, [at(RECORDS + 2, total), at(0, 0)])
    assert not found.unplaced
    edges = [edge for edge in range(1, RECORDS) if ahead[edge] != ahead[edge - 1]]
    assert found.steps == [Step(n, (ahead[n - 1] - ahead[n]) * SECOND) for n in edges]


def test_parts_of_a_change_that_may_be_pauses_have_no_place() -> None:
    ahead = [-120] * 20 + [-80] * 20 + [-40] * 20 + [0] * 40  # one of the three was a pause
    found = sets(ahead, [at(400, -80), at(0, 0)])
    assert found == Sets([], [Unplaced(NOW_NS, 80 * SECOND)])
    many = [-(n // 10) * 7 for n in range(RECORDS, 0, -1)]
    found = sets(many, [at(400, -14), at(0, 0)])
    assert found == Sets([], [Unplaced(NOW_NS, 14 * SECOND)])


def test_a_pause_beside_the_parts_of_a_change_is_told_from_them() -> None:
    ahead = [-115] * 30 + [-80] * 30 + [-30] * 30 + [0] * 10
    found = sets(ahead, [at(400, -80), at(0, 0)])
    assert found == Sets([Step(60, -50 * SECOND), Step(90, -30 * SECOND)], [])


def test_a_record_that_is_overwritten_meanwhile_places_nothing() -> None:
    ahead = [-40] * 50 + [0] * 50
    found = sets(ahead, [at(70, -40), at(0, 0)], gone=frozenset({50}))
    assert found == Sets([], [Unplaced(NOW_NS, 40 * SECOND)])


def test_a_record_that_cannot_be_read_places_nothing() -> None:
    ahead = [-40] * 50 + [0] * 50
    found = sets(ahead, [at(70, -40), at(0, 0)], blind=frozenset({50}))
    assert found.unplaced == [Unplaced(NOW_NS, 40 * SECOND)] or found.steps[0].at == 51
