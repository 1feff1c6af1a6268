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
    batch,
    covered,
    hole_times,
    limit_pages,
    revision,
    until,
)

from gateway.errors import JournalError, StoreFull
from gateway.journal.fills import DROPPED
from gateway.journal.journal import HistorySettings
from gateway.journal.records import Fill, Hole
from gateway.model import NS_PER_S, Cause, Gap, GapState, Origin


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(first: int, end: int, kind: str = "filled", span: int = 1, **more: object) -> Fill:
    times = hole_times(first, end)
    more = {"points": ("level", "run"), **more}
    return Fill("plc1", "normal", "log", *times, kind, at_ns=T0, span=span, **more)  # type: ignore[arg-type]


def wound(second: int, value: float, point: int = 0) -> object:
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
