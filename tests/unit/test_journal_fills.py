"""What was judged of a device's log: stored, replicated, and never more than is held."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from journal_pair import Side, adopted, pull
from test_journal import (
    NS_PER_DAY,
    T0,
    World,
    all_rows,
    batch,
    covered,
    flushed,
    hole_times,
    limit_pages,
    revision,
    until,
)

from gateway.errors import JournalError, StoreFull
from gateway.journal.fills import DROPPED
from gateway.journal.journal import HistorySettings
from gateway.journal.records import Batch, Fill, Hole
from gateway.journal.renamed import RenamedHistory
from gateway.model import NS_PER_S, Cause, Gap, GapState, HistoryRow, Origin, Status


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(first: int, end: int, kind: str = "filled", span: int = 1, **more: object) -> Fill:
    times = hole_times(first, end)
    more = {"points": ("level", "run"), **more}
    return Fill("plc1", "normal", "log", *times, kind, at_ns=T0, span=span, **more)  # type: ignore[arg-type]


def wound(second: int, value: object, point: int = 0) -> Batch:
    return batch(second, value, point, Origin.WINDBACK)


def hole(first: int, end: int) -> Hole:
    return Hole("plc1", "normal", *hole_times(first, end), "link")


def missing(first: int, end: int, state: GapState = GapState.OPEN, **more: object) -> Gap:
    return Gap("plc1", "normal", *hole_times(first, end), Cause.LINK, state, **more)  # type: ignore[arg-type]


SPAN = (T0, T0 + 60 * NS_PER_S)


async def test_a_gap_is_filled_where_the_log_had_it_also_over_restarts(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(covered(0, 20, hole(2, 10)))
        world.clock.now_ns = T0 + 20 * NS_PER_S
        assert await journal.gaps("plc1", *SPAN) == [missing(2, 10)]
        journal.append(wound(3, 2.0))
        journal.append(fill(2, 5, next_record=77))
        await journal.append(fill(5, 7, "lost", 0, points=("run",), why="overwritten"))
    expected = [
        missing(2, 5, GapState.FILLED),
        missing(5, 7, GapState.LOST, why="overwritten"),
        missing(7, 10),
    ]
    async with world.journal() as journal:
        await journal.append(covered(20, 21))
        assert await journal.gaps("plc1", *SPAN) == expected
        told = await journal.fills("plc1", *SPAN)
        assert [(f.kind, f.next_record) for f in told] == [("filled", 77), ("lost", -1)]
        assert await journal.fills("plc1", T0 + 6 * NS_PER_S, T0 + 7 * NS_PER_S) == told[1:]
        assert await journal.fills("plc2", *SPAN) == []
        await journal.append(fill(5, 7, span=0))
        late = await journal.fills("plc1", *SPAN)
        assert [f.kind for f in late] == ["filled", "lost", "filled"], "the later term comes last"
        whole = [missing(2, 7, GapState.FILLED), missing(7, 10)]
        assert await journal.gaps("plc1", *SPAN) == whole
        await journal.append(covered(1, 8))
        assert await journal.gaps("plc1", *SPAN) == [missing(8, 10)], "coverage overrides it"


async def test_both_nodes_say_the_same_in_whatever_order_records_arrive(tmp_path: Path) -> None:
    """And nothing is claimed before the samples are there."""
    one, two = Side(tmp_path, "a"), Side(tmp_path, "b")
    async with one.journal(reigns=True) as main, two.journal() as standby:
        main.append(revision())
        main.append(batch(0, 1.0))
        main.append(covered(0, 20, hole(2, 10)))
        main.append(wound(3, 2.0))
        main.append(wound(4, 3.0))
        await main.append(fill(2, 5, span=2))
        one.clock.now_ns = two.clock.now_ns = T0 + 20 * NS_PER_S
        term = main.term
        filled = [missing(2, 5, GapState.FILLED), missing(5, 10)]
        assert await main.gaps("plc1", *SPAN) == filled
        for seq in (1, 2, 3, 6, 4):
            await standby.adopt(await adopted(main, term, seq, seq))
        assert await standby.gaps("plc1", *SPAN) == [missing(2, 10)], "one batch is to come"
        assert await standby.fills("plc1", *SPAN) == []
        await standby.adopt(await adopted(main, term, 5, 5))
        assert await standby.gaps("plc1", *SPAN) == filled
        assert await standby.fills("plc1", *SPAN) == await main.fills("plc1", *SPAN)


async def test_samples_and_what_was_judged_may_lie_in_two_files(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(covered(0, 20, hole(2, 10)))
        await journal.append(wound(3, 2.0))
        world.clock.now_ns = T0 + NS_PER_DAY
        await journal.append(fill(2, 5))
        assert len(world.files()) == 2
        assert (await journal.gaps("plc1", *SPAN))[0] == missing(2, 5, GapState.FILLED)


async def test_of_samples_that_the_retention_dropped_nothing_is_claimed(world: World) -> None:
    world.settings = HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=4096)
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(covered(0, 20, hole(2, 10)))
        await journal.append(wound(3, 2.0))
        world.clock.now_ns = T0 + NS_PER_DAY
        await journal.append(fill(2, 5))
        for day in (2, 3):
            world.clock.now_ns = T0 + day * NS_PER_DAY
            await journal.append(batch(day * 86_400, float(day)))
            await until(lambda: all(p.database is None for p in journal._shelf.partitions[:-1]))
        journal._writer._retention_ns = 0
        await until(lambda: len(world.files()) == 3)
        assert await journal.fills("plc1", *SPAN) == []
        gaps = await journal.gaps("plc1", *SPAN)
        assert [(g.cause, g.state, g.why) for g in gaps] == [
            (Cause.RETENTION, GapState.LOST, DROPPED)
        ]


async def test_a_failing_store_refuses_what_would_claim_samples_that_it_dropped(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        await limit_pages(journal, 2)
        lost = journal.append(batch(3, "x" * 100_000, 0, Origin.WINDBACK))
        claim = journal.append(fill(2, 5))
        for future in (lost, claim):
            with pytest.raises(StoreFull):
                await future
        with pytest.raises(StoreFull):
            await journal.append(fill(5, 6))
        await limit_pages(journal, None)
        await until(lambda: journal.store_failed_since_ns is None)
        assert await journal.fills("plc1", *SPAN) == []
        await journal.rest()
        with pytest.raises(JournalError):
            journal.append(fill(2, 5))


async def test_a_file_of_a_version_that_knew_no_windback_is_read_and_written_on(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(covered(0, 20, hole(2, 10)))
        world.clock.now_ns = T0 + NS_PER_DAY
        await journal.append(batch(86_400, 2.0))
        await until(lambda: journal._shelf.partitions[0].database is None)
    for name in world.files():
        connection = sqlite3.connect(world.folder / "journal" / name)
        connection.execute("DROP TABLE fill")
        connection.close()
    async with world.journal() as journal:
        assert await journal.gaps("plc1", *hole_times(0, 11)) == [missing(2, 10)]
        await journal.append(fill(2, 10, span=0))
        filled = missing(2, 10, GapState.FILLED)
        assert await journal.gaps("plc1", *hole_times(0, 11)) == [filled]


async def test_a_pull_gives_the_peer_the_same_states(tmp_path: Path) -> None:
    one, two = Side(tmp_path, "a"), Side(tmp_path, "b")
    async with one.journal(reigns=True) as main, two.journal() as standby:
        main.append(revision())
        main.append(batch(0, 1.0))
        main.append(covered(0, 20, hole(2, 10)))
        for second in range(2, 10):
            main.append(wound(second, float(second)))
            await main.append(fill(second, second + 1))
        one.clock.now_ns = two.clock.now_ns = T0 + 20 * NS_PER_S
        await asyncio.gather(pull(main, standby, 3))
        found = await standby.gaps("plc1", *SPAN)
        assert found == [missing(2, 10, GapState.FILLED)] == await main.gaps("plc1", *SPAN)


def shown(rows: list[HistoryRow]) -> list[tuple[int, object, str]]:
    return [((row.time_ns - T0) // NS_PER_S, row.value, row.origin.name.lower()) for row in rows]


def lost(second: int) -> Batch:
    """What is polled of a device that does not answer."""
    time_ns = T0 + second * NS_PER_S
    row = (0, time_ns, None, Status.BAD_TIMEOUT)
    return Batch("plc1", "", 1, Origin.POLL, time_ns, time_ns, (row,))


LEVEL = "plc1/level"


async def test_what_was_wound_back_is_read_where_it_fills_a_gap_and_nowhere_else(
    tmp_path: Path,
) -> None:
    one, two = Side(tmp_path, "a"), Side(tmp_path, "b")
    async with one.journal(reigns=True) as main, two.journal() as standby:
        main.append(revision())
        main.append(batch(0, 1.0))
        main.append(lost(3))
        main.append(covered(0, 10, hole(2, 10)))
        main.append(batch(10, 9.0))
        await main.append(covered(10, 20))
        one.clock.now_ns = two.clock.now_ns = T0 + 20 * NS_PER_S
        polled = [(0, 1.0, "poll"), (2, None, "gap"), (3, None, "poll"), (10, 9.0, "poll")]
        assert shown(await all_rows(main, LEVEL)) == polled
        for second, value in ((1, 5.0), (4, 6.0), (6, 7.0), (12, 8.0)):
            main.append(wound(second, value))
        await main.append(lost(7))
        assert shown(await all_rows(main, LEVEL)) == [*polled[:3], (7, None, "poll"), polled[3]]
        main.append(fill(2, 5, span=5))
        await main.append(fill(8, 9, "lost", 0))
        await pull(main, standby)
        expected = [
            (0, 1.0, "poll"),
            (4, 6.0, "windback"),
            (5, None, "gap"),
            (7, None, "poll"),
            (8, None, "gap"),
            (9, None, "gap"),
            (10, 9.0, "poll"),
        ]
        for journal in (main, standby):
            for place in ("memory", "segments"):
                rows = await all_rows(journal, LEVEL, limit=2)
                assert shown(rows) == expected, place
                assert [row.status for row in rows if row.origin is Origin.GAP] == [
                    Status.BAD_DATA_UNAVAILABLE,
                    Status.BAD_DATA_LOST,
                    Status.BAD_DATA_UNAVAILABLE,
                ]
                assert rows[1].received_ns == T0 + 4 * NS_PER_S, "when it was learned"
                back = (await journal.read(LEVEL, 0, 2**62, 99, None, True)).rows
                assert back == rows[::-1]
                for at, row in enumerate(rows):
                    assert await journal.at_or_before(LEVEL, row.time_ns) == row
                    assert await journal.after(LEVEL, row.time_ns - 1) == row
                    assert at == 0 or await journal.after(LEVEL, rows[at - 1].time_ns) == row
                newest = await journal.last_values([LEVEL])
                assert newest[LEVEL].value == 9.0, "never a wound-back one as live value"
                await flushed(journal)


async def test_a_gap_that_goes_on_says_that_there_is_no_communication(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(covered(0, 10, hole(2, 10)))
        world.clock.now_ns = T0 + 10 * NS_PER_S
        mark = (await all_rows(journal, LEVEL))[1]
        assert (mark.time_ns, mark.status) == (T0 + 2 * NS_PER_S, Status.BAD_NO_COMMUNICATION)
        assert await journal.at_or_before(LEVEL, T0 + 9 * NS_PER_S) == mark
        assert await journal.after(LEVEL, T0) == mark
        assert await all_rows(journal, "plc1/run") == [], "a point that was never heard of"
        journal.append(batch(11, 2.0))
        await journal.append(covered(10, 12, hole(10, 11)))
        mark = (await all_rows(journal, LEVEL))[1]
        assert (mark.time_ns, mark.status) == (T0 + 2 * NS_PER_S, Status.BAD_DATA_UNAVAILABLE)


async def test_the_fill_of_the_higher_term_speaks_and_a_point_never_polled_has_its_log(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(covered(0, 20, hole(2, 10)))
        journal.append(wound(3, 2.0))
        journal.append(wound(5, 3.0))
        journal.append(wound(5, True, 1))
        await journal.append(fill(2, 10, span=3))
        await journal.begin_term()
        journal.append(wound(3, 20.0))
        await journal.append(fill(2, 4))
        world.clock.now_ns = T0 + 20 * NS_PER_S
        expected = [(0, 1.0, "poll"), (3, 20.0, "windback"), (5, 3.0, "windback")]
        assert shown(await all_rows(journal, LEVEL)) == expected
        assert shown(await all_rows(journal, "plc1/run")) == [(5, True, "windback")]
        names = {"plc1/new": "plc1/run"}
        renamed = RenamedHistory(journal, names)
        assert shown((await renamed.read("plc1/new", 0, 2**62, 9)).rows) == [(5, True, "windback")]


async def test_a_stretch_with_no_record_of_its_own_holds_what_was_before_it_far_back(
    world: World,
) -> None:
    """The row in force is found though pages begin long after it."""
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(covered(0, 4000, hole(100, 3000)))
        journal.append(wound(200, 2.0))
        journal.append(fill(100, 1000))
        journal.append(fill(1000, 2000, span=0))
        await journal.append(batch(3000, 3.0))
        world.clock.now_ns = T0 + 4000 * NS_PER_S
        for _ in range(2):
            assert await journal.after(LEVEL, T0 + 300 * NS_PER_S) is not None
            page = await journal.read(LEVEL, *hole_times(1500, 2500), 9)
            assert shown(page.rows) == [(2000, None, "gap")]
            row = await journal.at_or_before(LEVEL, T0 + 1900 * NS_PER_S)
            assert row is not None and row.value == 2.0
            await flushed(journal)
