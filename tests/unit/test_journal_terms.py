"""Reigns and diaries, rulings on Main-Main, and what a Standby calls a gap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from journal_pair import (
    POINTS,
    T0,
    Side,
    adopted,
    all_rows,
    batch,
    covered,
    pull,
    revision,
    until,
    values,
)

from gateway.errors import JournalError
from gateway.journal.coverage import Ruled
from gateway.journal.holdings import difference
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.partitions import NS_PER_DAY
from gateway.journal.records import (
    Batch,
    Coverage,
    Event,
    Fact,
    Loss,
    Record,
    Revision,
    Role,
    Ruling,
)
from gateway.model import NS_PER_S, Cause, Gap, Term

AT = [T0 + second * NS_PER_S for second in range(100)]


@pytest.fixture
def a(tmp_path: Path) -> Side:
    return Side(tmp_path, "a")


@pytest.fixture
def b(tmp_path: Path) -> Side:
    return Side(tmp_path, "b")


async def test_a_diary_takes_no_observations_and_outranks_nobody(a: Side) -> None:
    async with a.journal() as journal:
        diary = journal.term
        assert (diary.number, diary.node, journal.term_seen) == (0, "a", 0)
        for body in (batch(0, 1.0), covered(0, 1)):
            with pytest.raises(JournalError, match="does not reign"):
                journal.append(body)
        record = await journal.append(Event("pair", 100, "hello", T0))
        assert record.position == (diary, 1)
        reign = await journal.begin_term(7)
        assert (reign.number, journal.term_seen) == (7, 7)
        futures = [journal.append(batch(n, float(n))) for n in range(20)]
        resting = asyncio.create_task(journal.rest())
        await asyncio.sleep(0)  # paces: the call is made
        with pytest.raises(JournalError, match="does not reign"):
            journal.append(covered(0, 1))
        late = journal.append(Role("a", "standby (syncing)", T0, "a test", reign))
        new = await resting
        assert {future.result().position.term for future in futures} == {reign}
        assert new == journal.term
        assert (new.number, new.node) == (0, "a")
        assert new != diary
        assert (await late).position == (new, 1)
        assert (await journal.begin_term(3)).number == 8
    async with a.journal() as journal:
        assert journal.term not in (diary, new)
        assert journal.term_seen == 8
        assert (await journal.begin_term()).number == 9
        assert [held.last for held in journal.holdings.terms.values()] == [1, 20, 1]


async def test_what_a_loss_declares_at_the_end_of_a_reign_stays_in_it(a: Side) -> None:
    async with a.journal(reigns=True) as journal:
        reign = journal.term
        heard: list[Record] = []
        journal.on_commit(lambda records, stored: heard.extend(records))
        first = journal.append(batch(0, 1.0))
        resting = asyncio.create_task(journal.rest())
        await asyncio.sleep(0)  # paces: the call is made
        journal._writer._declare(Loss(0, 1, "store", "a test"))
        await resting
        assert (await first).position.term == reign
        assert {record.position.term for record in heard} == {reign}


async def test_limits_of_history_are_changed_in_place_and_nothing_is_dropped_at_the_start(
    a: Side,
) -> None:
    async with a.journal(reigns=True) as journal:
        await journal.append(revision())
        a.clock.now_ns += 40 * NS_PER_DAY
        await journal.append(Event("x", 1, "later", a.clock.now_ns))
        journal.apply(HistorySettings(retention_ns=400 * NS_PER_DAY))
        a.clock.now_ns += 60 * NS_PER_S
        await journal.append(Event("x", 1, "a turn", a.clock.now_ns))
        await until(lambda: journal._shelf.partitions[0].database is None)
        assert len(journal._shelf.partitions) == 2
        journal.apply(a.settings)
        a.clock.now_ns += 60 * NS_PER_S
        await journal.append(Event("x", 1, "a turn", a.clock.now_ns))
        await until(lambda: len(journal._shelf.partitions) == 1)


async def test_on_a_standby_what_its_main_has_yet_to_send_is_no_gap(a: Side, b: Side) -> None:
    span = ("plc1", T0, T0 + 500 * NS_PER_S)
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        main.append(batch(0, 1.0))
        await main.append(covered(0, 10))
        b.clock.now_ns = AT[60]
        await pull(main, standby)
        assert standby.coverage_end_ns == AT[10]
        assert await standby.gaps(*span) == [], "its Main lives; the stream is late"
        b.clock.now_ns = AT[64]
        assert await standby.gaps(*span) == []
        b.clock.now_ns = AT[66]
        down = Gap("plc1", "normal", AT[10], AT[61], Cause.NODE_DOWN)
        assert await standby.gaps(*span) == [down]
        b.clock.now_ns = AT[12]
        assert await standby.gaps(*span) == []
        b.clock.now_ns = AT[70]
        await standby.begin_term()
        assert await standby.gaps(*span) == [down._replace(to_ns=AT[70])]


async def split(a: Side, b: Side, one: Journal, other: Journal) -> tuple[Term, Term]:
    """Both reign from second 10 to 20: a's stream has tens, b's has hundreds."""
    await one.append(revision())
    low = one.term
    for second in range(10):
        one.append(batch(second, float(second)))
    await one.append(covered(0, 10))
    await pull(one, other)
    high = await other.begin_term()
    for second in range(10, 20):
        one.append(batch(second, float(second)))
        other.append(batch(second, 100.0 + second))
    await one.append(covered(10, 20))
    await other.append(covered(10, 20))
    points = (("plc2/count", "int32"), ("plc1/level", "float64"))
    await other.append(Revision(2, b"", AT[15], "b", {}, points))
    other.append(Batch("plc2", "normal", 2, 0, AT[16], AT[16], ((0, AT[16], 5, 0),)))
    await one.append(Revision(2, b"", AT[14], "a", {}, POINTS))
    assert high.number > low.number
    return low, high


def ruling(winner: Term, loser: Term, duty: str) -> Ruling:
    return Ruling(winner, loser, AT[10], AT[20], duty, "longer reign", AT[20])


@pytest.mark.parametrize("late", [False, True])
async def test_after_a_split_the_winners_branch_holds_on_both_nodes(
    a: Side, b: Side, late: bool
) -> None:
    async with a.journal(reigns=True) as one, b.journal() as other:
        low, high = await split(a, b, one, other)
        await other.rest()
        if late:  # the loser's revision is here before the ruling is
            await pull(other, one)
            await one.begin_term()
            await one.append(again(21, 2))
            assert values(await all_rows(one, "plc2/count")) == [5, 21.0]
            await one.append(ruling(low, high, "merge"))
        else:
            await one.append(ruling(low, high, "merge"))
            await one.begin_term()
            await pull(other, one)
            await one.append(again(21, 2))
        await pull(one, other)
        await pull(other, one)
        assert difference(one.holdings.terms, other.holdings.terms) == []
        for journal in (one, other):
            assert journal.head is not None
            assert (journal.head.position.term, journal.head.revision.who) == (low, "a")
            assert [(p.term, r.who) for p, r in journal.diverged] == [(high, "b")]
            assert {r.who for _, r in await journal.revisions()} == {"test", "a", "b"}
            assert journal.rulings == (Ruled(low, high, AT[10], AT[20], False),)
            assert values(await all_rows(journal, "plc2/count")) == [5]
            level = await all_rows(journal, "plc1/level")
            assert [row.value for row in level if row.time_ns == AT[12]] == [12.0, 112.0, 12.0]
            assert len(level) == 41, "every observation, and the winner's after each of the loser's"
            assert level[-1].value == 21.0
            assert await journal.gaps("plc1", T0, AT[20]) == []


def again(second: int, number: int) -> Batch:
    """A sample of the first point of a revision."""
    time_ns = AT[second]
    return Batch("plc1", "normal", number, 0, time_ns, time_ns, ((0, time_ns, float(second), 0),))


async def test_discard_withdraws_coverage_and_view_of_the_loser_not_its_records(
    a: Side, b: Side
) -> None:
    async with a.journal(reigns=True) as one, b.journal() as other:
        low, high = await split(a, b, one, other)
        a.clock.now_ns = b.clock.now_ns = AT[22]
        await one.append(ruling(high, low, "discard"))
        await one.rest()
        await pull(one, other)
        await pull(other, one)
        records = [await adopted(one, low, 1, 20), await adopted(other, low, 1, 20)]
        assert records[0] == records[1], "the records stay"
        for flushes in range(2):
            for journal in (one, other):
                assert values(await all_rows(journal, "plc1/level", limit=3)) == [
                    *(float(n) for n in range(10)),
                    *(100.0 + n for n in range(10, 20)),
                ]
                last = await journal.at_or_before("plc1/level", AT[13])
                assert last is not None and last.value == 113.0
                then = await journal.after("plc1/level", AT[9])
                assert then is not None and then.value == 110.0
                newest = await journal.last_values(["plc1/level", "plc2/count", "plc1/x"])
                assert {k: r.value for k, r in newest.items()} == {
                    "plc1/level": 119.0,
                    "plc2/count": 5,
                }
                assert await journal.at_or_before("plc1/nothing", AT[13]) is None
                assert await journal.after("plc1/nothing", AT[13]) is None
                assert await journal.gaps("plc1", T0, AT[20]) == []
                if not flushes:
                    journal._shelf._freeze(journal._shelf.current)
                    await until(lambda journal=journal: journal._shelf.flushing is None)  # type: ignore[misc]


async def test_what_only_the_loser_has_is_a_gap_when_it_is_discarded(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as one:
        await one.append(revision())
        one.append(batch(0, 1.0))
        one.append(batch(12, 2.0))
        await one.append(covered(0, 20))
        winner = Term(9, "b", 1)
        a.clock.now_ns = AT[20]
        await one.append(ruling(winner, one.term, "discard"))
        assert await one.gaps("plc1", T0, AT[20]) == [
            Gap("plc1", "normal", AT[10], AT[20], Cause.OTHER_MASTER)
        ]
        rows = await all_rows(one, "plc1/level")
        assert [(row.time_ns, row.value) for row in rows] == [(T0, 1.0), (AT[10], None)]
        newest = await one.last_values(["plc1/level"])
        assert newest["plc1/level"].value == 1.0
    async with a.journal() as one:
        assert len(one.rulings) == 1
        assert await all_rows(one, "plc1/level") == rows


async def test_a_standby_that_could_store_nothing_for_a_while_declares_no_loss(b: Side) -> None:
    async with b.journal() as standby:
        heard: list[Record] = []
        standby.on_commit(lambda records, stored: heard.extend(records))
        standby._writer.store_failed_since_ns = AT[0]
        standby._writer._wake.set()
        await until(lambda: standby.store_failed_since_ns is None)
        await standby.append(Fact("x", "y", 1, T0))
        assert not any(isinstance(record.body, Loss | Coverage) for record in heard)
        assert await standby.gaps("plc1", T0, AT[20]) == []


async def test_a_new_term_claims_from_where_it_says_though_the_clock_went_back(a: Side) -> None:
    async with a.journal() as journal:
        await journal.begin_term()
        a.clock.now_ns = AT[50]
        journal._writer.store_failed_since_ns = AT[40]
        journal._writer._wake.set()
        await until(lambda: journal.store_failed_since_ns is None)
        a.clock.now_ns = AT[20]
        await journal.begin_term()
        await journal.append(revision())
        record = await journal.append(covered(21, 60))
        assert isinstance(record.body, Coverage)
        assert record.body.since_ns == AT[21], "its first values are stamped then"
