"""Raw reads of two nodes' streams, through the journal: restated values, wherever records lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_pair import T0, Side, adopted, all_rows, batch, covered, pull, revision
from test_journal import flushed

from gateway.journal.contested import MARGIN_NS, Claims, meeting
from gateway.journal.journal import Journal
from gateway.journal.records import Batch, Fact, Hole, Revision
from gateway.model import NS_PER_S, HistoryRow, Origin, Status, Term

AT = [T0 + second * NS_PER_S for second in range(200)]
POINT = "plc1/level"
LOST = Status.BAD_NO_COMMUNICATION


def lost(second: int) -> Batch:
    """What a node says that has no field: a batch of no scan class."""
    time_ns = AT[second]
    return Batch("plc1", "", 1, Origin.POLL, time_ns, time_ns, ((0, time_ns, None, LOST),))


@pytest.fixture
def a(tmp_path: Path) -> Side:
    return Side(tmp_path, "a")


@pytest.fixture
def b(tmp_path: Path) -> Side:
    return Side(tmp_path, "b")


def shown(rows: list[HistoryRow]) -> list[tuple[int, object]]:
    return [((row.time_ns - T0) // NS_PER_S, row.value) for row in rows]


async def without_field(one: Journal, other: Journal) -> None:
    """`one` has its field all the time; `other` begins a reign beside it, and never claims."""
    await one.append(revision())
    await one.append(batch(0, 1.0))
    await one.append(covered(0, 60))
    await pull(one, other)
    await other.begin_term()
    await other.append(lost(60))
    one.append(batch(90, 2.0))
    await one.append(covered(60, 120))
    await pull(other, one)
    await pull(one, other)


async def test_bad_rows_of_the_node_without_its_field_hide_nothing(a: Side, b: Side) -> None:
    expected = [(0, 1.0), (60, None), (60, 1.0), (90, 2.0)]
    async with a.journal(reigns=True) as one, b.journal() as other:
        await without_field(one, other)
        for journal in (one, other):
            for place in ("memory", "segments"):
                rows = await all_rows(journal, POINT, limit=1)
                assert shown(rows) == expected, place
                assert rows[2] == rows[0]._replace(time_ns=AT[60]), "receipt and position stay"
                back = await journal.read(POINT, 0, 2**62, 2, None, True)
                assert back.rows == rows[:1:-1]
                rest = await journal.read(POINT, 0, 2**62, 9, back.cursor, True)
                assert rest.rows == rows[1::-1]
                assert await journal.at_or_before(POINT, AT[70]) == rows[2]
                assert await journal.after(POINT, AT[59]) == rows[1]
                assert await journal.after(POINT, AT[90]) is None
                await flushed(journal)
    async with a.journal() as one:
        assert shown(await all_rows(one, POINT)) == expected, "as the files say after a restart"


async def test_where_one_stream_ends_the_other_goes_on_from_that_instant(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as one, b.journal() as other:
        await one.append(revision())
        await one.append(batch(0, 1.0))
        await pull(one, other)
        await other.begin_term()
        await other.append(batch(40, 5.0))
        await other.append(covered(40, 80))
        await one.append(covered(0, 120))
        await pull(other, one)
        assert shown(await all_rows(one, POINT)) == [(0, 1.0), (40, 5.0), (80, 1.0)]
        row = await one.at_or_before(POINT, AT[100])
        assert row is not None and row.time_ns == AT[80], "no sample lies there: an end does"
        assert await one.after(POINT, AT[40]) == row
        assert await one.after(POINT, AT[41]) == row
        assert shown((await one.read(POINT, AT[50], AT[90], 5)).rows) == [(80, 1.0)]


async def test_a_point_that_moved_to_another_class_is_judged_by_the_class_it_was_read_in(
    a: Side, b: Side
) -> None:
    async with a.journal(reigns=True) as one, b.journal() as other:
        await one.append(revision())
        await one.append(batch(0, 1.0))
        await pull(one, other)
        await other.begin_term()
        holes = [
            Hole("plc1", name, AT[first], AT[end], "device")
            for name, first, end in (("normal", 50, 100), ("fast", 20, 50))
        ]
        await one.append(covered(0, 50, holes[1]))
        await one.append(Revision(2, b"", AT[50], "test", {}, revision().points))
        moved = batch(51, 2.0)
        await one.append(Batch("plc1", "fast", 2, 0, AT[51], AT[51], moved.samples))
        await one.append(type(covered(0, 1))(2, AT[50], AT[100], (holes[0],)))
        for second in (30, 70):
            await other.append(lost(second))
        await pull(other, one)
        rows = await all_rows(one, POINT)
        assert shown(rows) == [(0, 1.0), (30, None), (30, 1.0), (51, 2.0), (70, None), (70, 2.0)]


async def test_a_stream_of_which_only_faults_are_known_says_nothing(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as one, b.journal() as other:
        await one.append(revision())
        await one.append(lost(0))
        await one.append(covered(0, 60))
        await other.begin_term()
        await pull(one, other)
        await other.append(batch(30, 1.0))
        await other.append(covered(30, 60))
        assert shown(await all_rows(other, POINT)) == [(0, None), (30, 1.0)]


@pytest.mark.parametrize("later", [False, True])
async def test_a_hole_ended_by_the_reply_to_a_request_from_before_it_ends_in_history(
    a: Side, later: bool
) -> None:
    """Whether or not another hole of the same hour follows."""
    async with a.journal(reigns=True) as one:
        await one.append(revision())
        await one.append(batch(0, 1.0))
        late = ((0, AT[19], 2.0, 0),)
        await one.append(Batch("plc1", "normal", 1, Origin.POLL, AT[18], AT[21], late))
        ends = [21, 31] if later else [21]
        if later:
            await one.append(batch(31, 2.0))
        holes = [Hole("plc1", "normal", AT[end - 1], AT[end], "overrun") for end in ends]
        await one.append(covered(0, 60, *holes))
        expected = [(0, 1.0), (19, 2.0), (20, None), (21, 2.0)]
        expected += [(30, None), (31, 2.0)] if later else []
        for place in ("memory", "segments"):
            assert shown(await all_rows(one, POINT)) == expected, place
            row = await one.at_or_before(POINT, AT[25])
            assert row is not None and row.value == 2.0
            await flushed(one)


async def test_a_record_that_is_held_no_more_does_not_stop_a_read(a: Side, b: Side) -> None:
    """The class is then taken from the next sample of the run; a damaged one is reported."""
    async with a.journal(reigns=True) as one, b.journal() as other:
        await one.append(revision())
        await one.append(batch(0, 1.0))
        await one.append(batch(1, 3.0))
        await one.append(covered(0, 60))
        await other.begin_term()
        first, *rest = await adopted(one, one.term, 1, 4)
        await other.adopt([first, *rest])
        await other.append(lost(40))
        database = other._shelf.current.database
        assert database is not None
        await database.run(
            lambda c: c.execute("DELETE FROM record WHERE kind = 'b' AND record_id & 255 = 2")
        )
        assert shown(await all_rows(other, POINT))[-2:] == [(40, None), (40, 3.0)]
        await other.append(Fact("x", "y", 1, T0))


def test_claims_meet_where_two_terms_say_something_and_a_margin_around_it() -> None:
    low, high = Term(1, "a", 1), Term(2, "b", 2)
    claims = Claims()
    assert claims.contested == []
    claims.hear(low, batch(0, 1.0))
    claims.hear(low, covered(0, 100))
    claims.hear(low, Fact("x", "y", 1, 7))
    assert claims.contested == [], "one term alone"
    claims.hear(high, lost(80))
    around = (AT[80] - MARGIN_NS, AT[80] + MARGIN_NS)
    assert claims.contested == [around]
    claims.take(high, AT[80], AT[80])
    claims.take_all([(high, AT[80], AT[150])])
    assert claims.contested == [(around[0], AT[100] + MARGIN_NS)]


def test_terms_of_one_node_follow_one_another_and_meet_only_where_they_overlap() -> None:
    claims = Claims()
    claims.take(Term(1, "a", 1), AT[0], AT[50])
    claims.take(Term(2, "a", 2), AT[51], AT[100])
    assert claims.contested == [], "a restart"
    claims.take(Term(3, "a", 3), AT[90], AT[120])
    assert claims.contested == [(AT[90], AT[100] + 1)], "its clock was set back"


def test_three_spans_meet_wherever_two_of_them_do() -> None:
    assert meeting([(0, 100), (400, 500), (50, 900)]) == [(50, 100), (400, 500)]
    assert meeting([(0, 10), (10, 20)]) == []
