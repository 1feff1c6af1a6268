"""The journal as its users see it: what was acknowledged is there, and what failed is told."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ControlError, JournalError, StoreFull
from gateway.journal.database import Ballast
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.partitions import NS_PER_DAY
from gateway.journal.records import (
    Audit,
    Batch,
    Body,
    Coverage,
    Event,
    Fact,
    Hole,
    Loss,
    Maintenance,
    Record,
    Revision,
    Role,
)
from gateway.model import NS_PER_S, Cause, Gap, HistoryRow, Origin

DAY = 20_000
T0 = DAY * NS_PER_DAY + 36_000 * NS_PER_S
POINTS = (("plc1/level", "float64"), ("plc1/run", "bool"), ("plc2/count", "int32"))


class HandClock:
    """A clock that stands still unless it is moved."""

    def __init__(self, now_ns: int = T0) -> None:
        self.now_ns = now_ns

    def utc_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class World:
    """A folder, a clock and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.events: list[tuple[int, str]] = []
        self.settings = HistorySettings(ballast_bytes=65_536)
        self.rng = random.Random(7)

    @asynccontextmanager
    async def journal(self, reigns: bool = True) -> AsyncIterator[Journal]:
        journal = await Journal.open(
            self.folder,
            "a",
            self.clock,
            self.settings,
            lambda severity, text: self.events.append((severity, text)),
            self.rng,
        )
        try:
            if reigns:
                await journal.begin_term()
            yield journal
        finally:
            await journal.close()

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "journal").glob("*.sqlite"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def revision(number: int = 1) -> Revision:
    return Revision(number, b"", T0, "test", {"site.yaml": "site: x"}, POINTS)


def batch(second: int, value: Any, point: int = 0, origin: Origin = Origin.POLL) -> Batch:
    time_ns = T0 + second * NS_PER_S
    device = POINTS[point][0].partition("/")[0]
    sample = (point, time_ns, value, 0)
    return Batch(device, "normal", 1, origin, time_ns - 5, time_ns, (sample,))


def covered(first: int, end: int, *holes: Hole) -> Coverage:
    return Coverage(1, T0 + first * NS_PER_S, T0 + end * NS_PER_S, holes)


async def all_rows(journal: Journal, point: str, **options: Any) -> list[HistoryRow]:
    found: list[HistoryRow] = []
    cursor = None
    while True:
        page = await journal.read(point, 0, 2**62, options.get("limit", 100), cursor)
        found += page.rows
        cursor = page.cursor
        if cursor is None:
            return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the journal's task does by itself."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)  # paces: the poll of a condition


async def flushed(journal: Journal) -> None:
    """Bring the whole tail into segments."""
    for partition in journal._shelf.partitions:
        if partition.database is not None:
            journal._shelf._freeze(partition)
    await until(lambda: journal._shelf.flushing is None)


async def test_an_acknowledged_batch_is_read_back_from_the_tail_and_from_segments(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.5))
        journal.append(batch(0, True, 1))
        record = await journal.append(batch(1, 2))
        tail = await all_rows(journal, "plc1/level")
        assert [(row.value, type(row.value)) for row in tail] == [(1.5, float), (2, int)]
        assert tail[-1].position == record.position
        assert tail[-1].received_ns == T0 + NS_PER_S
        await flushed(journal)
        assert await all_rows(journal, "plc1/level") == tail
        assert [r.value for r in await all_rows(journal, "plc1/run")] == [True]
        assert await all_rows(journal, "plc1/nothing") == []


async def test_positions_follow_the_order_of_appending_and_chains_verify(world: World) -> None:
    async with world.journal() as journal:
        futures = [journal.append(revision()), *(journal.append(batch(i, i)) for i in range(50))]
        records = await asyncio.gather(*futures)
        assert [record.position.seq for record in records] == list(range(1, 52))
        assert await journal.verify() == []
        assert journal.holdings.of(journal.term) == (1, ((1, 51),), records[-1].digest)
        stored = await journal.records(journal.term, 50, 10)
        assert stored == [(r.position.seq, r.wire, r.digest) for r in records[49:]]


async def test_a_term_is_never_taken_twice_and_grows(world: World) -> None:
    terms = []
    for _ in range(3):
        async with world.journal(reigns=False) as journal:
            assert journal.term.number == 0
            assert journal.term_seen == len(terms)
            terms.append(await journal.begin_term())
            terms.append(await journal.begin_term())
            assert journal.term == terms[-1]
            record = await journal.append(Role("a", "main", T0, "test"))
            assert (record.position.term, record.position.seq) == (terms[-1], 1)
    assert [term.number for term in terms] == [1, 2, 3, 4, 5, 6]
    (world.folder / "state.sqlite").unlink()
    async with world.journal() as journal:
        assert journal.term.number == 7


async def test_what_was_appended_before_a_new_term_stays_in_the_old_one(world: World) -> None:
    async with world.journal() as journal:
        old = journal.term
        futures = [journal.append(batch(i, i)) for i in range(20)]
        new = await journal.begin_term()
        after = await journal.append(batch(21, 0))
        assert {f.result().position.term for f in futures} == {old}
        assert after.position == (new, 1)


async def test_sinks_hear_of_records_after_they_can_be_read_and_one_that_fails_harms_nobody(
    world: World,
) -> None:
    heard: list[Record] = []

    def deaf(records: Sequence[Record], stored: bool) -> None:
        raise RuntimeError("deaf")

    def sink(records: Sequence[Record], stored: bool) -> None:
        assert stored
        heard.extend(records)

    async with world.journal() as journal:
        journal.on_commit(deaf)
        journal.on_commit(sink)
        record = await journal.append(Event("x", 100, "hello", T0))
        assert heard == [record]
    assert any("deaf" in text for _, text in world.events)


async def test_pages_continue_where_they_ended_in_both_directions(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        same = T0 + 5 * NS_PER_S
        samples = tuple((0, same, i, 0) for i in range(7))
        for i in range(12):
            journal.append(batch(i, i))
        await journal.append(Batch("plc1", "normal", 1, 1, same, same, samples))
        await flushed(journal)
        for i in range(12, 20):
            journal.append(batch(i, i))
        await journal.append(batch(3, -1, origin=Origin.WRITE))
        whole = (await journal.read("plc1/level", 0, 2**62, 1000)).rows
        assert len(whole) == 28
        assert [r.time_ns for r in whole] == sorted(r.time_ns for r in whole)
        for limit in (1, 2, 3, 5, 27, 28):
            assert await all_rows(journal, "plc1/level", limit=limit) == whole
            found: list[HistoryRow] = []
            cursor = None
            while True:
                page = await journal.read("plc1/level", 0, 2**62, limit, cursor, reverse=True)
                found += page.rows
                cursor = page.cursor
                if cursor is None:
                    break
            assert [(r.time_ns, r.position) for r in found] == [
                (r.time_ns, r.position) for r in reversed(whole)
            ]
        part = await journal.read("plc1/level", T0 + NS_PER_S, T0 + 3 * NS_PER_S, 100)
        assert [row.value for row in part.rows] == [1, 2]


async def test_bounding_values_are_found_in_tail_and_segments(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        for i in range(0, 10, 2):
            await journal.append(batch(i, i))
        for moment in range(2):
            if moment:
                await flushed(journal)
            for i in range(10):
                row = await journal.at_or_before("plc1/level", T0 + i * NS_PER_S)
                assert row is not None
                assert row.value == i // 2 * 2
                later = await journal.after("plc1/level", T0 + i * NS_PER_S)
                expected = i // 2 * 2 + 2
                assert (later.value if later else 10) == expected
            assert await journal.at_or_before("plc1/level", T0 - 1) is None
            last = await journal.last_values(["plc1/level", "plc2/count"])
            assert {k: r.value for k, r in last.items()} == {"plc1/level": 8}


async def test_kept_records_add_up_and_outlive_a_restart(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision(1))
        journal.append(revision(2))
        journal.append(Fact("plc1", "base", 40000, T0))
        journal.append(Fact("plc1", "base", 50000, T0))
        journal.append(Maintenance("disable", "plc1", T0, "bob", "repair"))
        journal.append(Maintenance("substitute", "plc1/level", T0, "bob", "stuck", 3.5))
        journal.append(Maintenance("disable", "plc2", T0, "bob", "repair"))
        journal.append(Maintenance("enable", "plc2", T0, "bob", "done"))
        journal.append(Role("a", "main", T0, "start"))
        await journal.append(Audit("write", "plc1/level", T0, "bob", "good"))
    for _ in range(2):
        async with world.journal() as journal:
            assert journal.facts == {("plc1", "base"): 50000}
            assert [(m.action, m.target) for m in journal.maintenance] == [
                ("disable", "plc1"),
                ("substitute", "plc1/level"),
            ]
            assert journal.revision == revision(2)
            assert [r.number for _, r in await journal.revisions()] == [2, 1]
            assert [r.role for _, r in await journal.roles()] == ["main"]
            assert [a.outcome for _, a in await journal.audit()] == ["good"]
        (world.folder / "state.sqlite").unlink()  # the second round lives on the partitions alone


async def test_events_are_read_back_by_time(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(Event("x", 100, "two", T0 + NS_PER_S))
        await journal.append(Event("x", 100, "one", T0))
        assert [e.text for e in await journal.events(T0, T0 + NS_PER_S)] == ["one"]
        assert [e.text for e in await journal.events(0, 2**62)] == ["one", "two"]
        assert [e.text for e in await journal.events(0, 2**62, 1)] == ["one"]


async def test_gaps_are_what_coverage_leaves_out_also_over_restarts(world: World) -> None:
    hole = Hole("plc1", "normal", T0 + 2 * NS_PER_S, T0 + 3 * NS_PER_S, "link")
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(covered(0, 2))
        journal.append(covered(2, 4, hole))
        world.clock.now_ns = T0 + 4 * NS_PER_S
        await journal.append(covered(4, 5))
        expected = [Gap("plc1", "normal", *hole_times(2, 3), Cause.LINK)]
        assert await journal.gaps("plc1", T0, T0 + 5 * NS_PER_S) == expected
        assert await journal.gaps("plc1", T0, 2**62) == expected, "the newest second is no gap"
        run_rows = await journal._reader.run(
            lambda _: (
                journal._reader.open(journal._shelf.files()[-1])
                .execute("SELECT count(*) FROM run")
                .fetchone()
            )
        )
        assert run_rows == (1,), "touching coverage is one row"
    world.clock.now_ns = T0 + 8 * NS_PER_S
    async with world.journal() as journal:
        await journal.append(covered(8, 9))
        assert await journal.gaps("plc1", T0, T0 + 9 * NS_PER_S) == [
            *expected,
            Gap("plc1", "normal", *hole_times(5, 8), Cause.NODE_DOWN),
        ]


def hole_times(first: int, end: int) -> tuple[int, int]:
    return T0 + first * NS_PER_S, T0 + end * NS_PER_S


async def test_what_a_term_within_a_reign_is_yet_to_declare_is_no_gap(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(covered(0, 2))
        world.clock.now_ns = T0 + 2 * NS_PER_S + 50_000
        await journal.begin_term()
        assert await journal.gaps("plc1", T0, 2**62) == []
        await journal.append(covered(2, 3, Hole("plc1", "normal", *hole_times(2, 3), "clock")))
        gap = Gap("plc1", "normal", *hole_times(2, 3), Cause.CLOCK)
        assert await journal.gaps("plc1", T0, 2**62) == [gap]


async def test_a_new_day_begins_a_new_file_and_the_old_one_is_sealed(world: World) -> None:
    asked: list[int] = []
    async with world.journal() as journal:
        journal.on_partition(lambda: asked.append(1))
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        world.clock.now_ns += NS_PER_DAY
        await journal.append(batch(86_400, 2.0))
        assert asked == [1]
        assert len(world.files()) == 2
        await until(lambda: journal._shelf.partitions[0].database is None)
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0, 2.0]
        world.clock.now_ns -= NS_PER_DAY
        await journal.append(batch(1, 3.0))
        assert len(world.files()) == 2, "a clock set back never reopens an older file"
        before = await journal.at_or_before("plc1/level", T0 + 86_399 * NS_PER_S)
        assert before is not None
        assert before.value == 3.0
    async with world.journal() as journal:
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0, 3.0, 2.0]
        assert (await journal.last_values(["plc1/level"]))["plc1/level"].value == 2.0
        assert await journal.verify() == []


async def test_an_old_file_left_unsealed_by_a_crash_is_sealed_at_the_next_start(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        await journal.append(batch(0, 1.0))
    world.clock.now_ns += NS_PER_DAY
    async with world.journal() as journal:
        await journal.append(batch(86_400, 2.0))
        await until(lambda: journal._shelf.partitions[0].database is None)
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0, 2.0]


async def test_retention_drops_whole_days_and_says_so_in_the_gaps(world: World) -> None:
    world.settings = HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=4096)
    async with world.journal() as journal:
        journal.append(revision())
        await journal.append(covered(0, 10))
        for day in range(4):
            world.clock.now_ns = T0 + day * NS_PER_DAY
            await journal.append(batch(day * 86_400, float(day)))
            await until(lambda: all(p.database is None for p in journal._shelf.partitions[:-1]))
        journal._writer._retention_ns = 0
        await until(lambda: len(world.files()) == 3)
        rows = await all_rows(journal, "plc1/level")
        assert [row.value for row in rows] == [1.0, None, 2.0, 3.0]
        assert rows[1].time_ns == journal.floor_ns, "after it nothing was covered"
        gaps = await journal.gaps("plc1", T0, T0 + NS_PER_DAY + 20 * NS_PER_S)
        assert gaps[0].cause is Cause.RETENTION
        assert gaps[0].to_ns == T0 + NS_PER_DAY + 5 * NS_PER_S, "until all is stated anew"
    world.clock.now_ns = T0
    async with world.journal() as journal:
        await asyncio.sleep(0)
        assert len(world.files()) == 3, "never while the clock is behind the journal"
        assert journal._writer.floor_ns == T0 + NS_PER_DAY + 5 * NS_PER_S


class Room(Ballast):
    """Counts how often the journal looked for room."""

    looked = 0

    def ensure(self, spare_bytes: int = 0) -> None:
        super().ensure(spare_bytes)
        self.looked += 1


async def test_retention_goes_on_while_a_full_disk_takes_not_even_small_records(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        for day in range(4):
            world.clock.now_ns = T0 + day * NS_PER_DAY
            await journal.append(batch(day * 86_400, float(day)))
            await until(lambda: all(p.database is None for p in journal._shelf.partitions[:-1]))
        await limit_pages(journal, 0)
        journal._writer._ballast = room = Room(world.folder / "ballast", 65_536)
        waiting = journal.append(Audit("write", "plc1/level", T0, "bob", "x" * 200_000))
        await until(lambda: room.looked == 1 and not room.exists())
        assert len(world.files()) == 4
        journal.apply(HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=65_536))
        await until(lambda: len(world.files()) == 3)
        assert not waiting.done()
        await limit_pages(journal, None)
        await waiting


async def test_a_file_that_grows_too_large_is_split_within_the_day(world: World) -> None:
    world.settings = HistorySettings(max_size_bytes=1, ballast_bytes=4096)
    async with world.journal() as journal:
        asked: list[int] = []
        journal.on_partition(lambda: asked.append(1))
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        for i in range(12):
            await journal.append(batch(i, "x" * 100_000))
        journal._writer._retention_ns = 0
        await journal.append(Event("x", 1, "wake", T0))
        await until(lambda: bool(asked))
        await journal.append(batch(20, 2.0))
        assert any(".1.sqlite" in name for name in world.files())
        await until(lambda: journal._shelf.partitions[0].database is None)
        journal._writer._retention_ns = 0
        await journal.append(Event("x", 1, "wake", T0))
        await until(lambda: len(world.files()) == 1)
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [2.0]


async def limit_pages(journal: Journal, extra: int | None) -> None:
    """Let SQLite believe that the disk is full after `extra` more pages; None: it never is."""
    database = journal._shelf.current.database
    assert database is not None

    def work(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        limit = 2**30 if extra is None else pages + extra
        connection.execute(f"PRAGMA max_page_count={limit}")

    await database.run(work)


async def test_a_full_disk_stops_history_but_not_live_values_and_heals(world: World) -> None:
    heard: list[tuple[Any, int, bool]] = []
    told: list[int | None] = []

    def sink(records: Sequence[Record], stored: bool) -> None:
        heard.extend(
            (record.body.samples[0][2], record.position.seq, stored)
            for record in records
            if isinstance(record.body, Batch)
        )

    async with world.journal() as journal:
        journal.on_commit(sink)
        journal.on_store(told.append)
        await journal.append(revision())
        await journal.append(batch(0, 1.0))
        await limit_pages(journal, 2)
        full = journal.append(batch(1, "x" * 100_000))
        claim = journal.append(covered(0, 2))
        for future in (full, claim):
            with pytest.raises(StoreFull):
                await future
        assert journal.store_failed_since_ns == T0, "the refused claim began there"
        assert told == [T0]
        assert any(severity >= 900 for severity, _ in world.events)
        with pytest.raises(StoreFull):
            await journal.append(batch(2, 3.0))
        assert [(seq, stored) for _, seq, stored in heard] == [(2, True), (0, False), (0, False)]
        with pytest.raises(StoreFull):
            await journal.append(covered(2, 3))
        small = await journal.append(Role("a", "main", T0, "still"))
        assert small.position.seq == 3, "room was made for small records, and no seq was used up"
        world.clock.now_ns = T0 + 3 * NS_PER_S
        gap = Gap("plc1", "normal", *hole_times(0, 3), Cause.STORE)
        assert await journal.gaps("plc1", *hole_times(0, 3)) == [gap]
        await limit_pages(journal, None)
        await until(lambda: journal.store_failed_since_ns is None)
        assert told == [T0, None]
        record = await journal.append(batch(3, 4.0))
        assert record.position.seq == 5, "after the Loss record"
        await journal.append(covered(1, 5))
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0, 4.0]
        assert await journal.gaps("plc1", *hole_times(0, 5)) == [gap]
        assert await journal.verify() == []


async def test_a_new_terms_claim_is_whole_though_a_clock_went_back_after_the_store_came_back(
    world: World,
) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await limit_pages(journal, 0)
        with pytest.raises(StoreFull):
            await journal.append(batch(1, "x" * 100_000))
        world.clock.now_ns = T0 + 10 * NS_PER_S
        await limit_pages(journal, None)
        await until(lambda: journal.store_failed_since_ns is None)
        cut = await journal.append(covered(4, 12))
        assert isinstance(cut.body, Coverage) and cut.body.since_ns == world.clock.now_ns
        world.clock.now_ns = T0 + 5 * NS_PER_S
        beginning = asyncio.create_task(journal.begin_term())
        await asyncio.sleep(0)  # paces: the call is made
        claim = journal.append(covered(5, 6))
        assert (await claim).position.term == await beginning
        assert (await claim).body == covered(5, 6), "what the store lost is of the old time"


async def test_a_role_record_waits_for_the_store_to_come_back(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await limit_pages(journal, 0)
        large = Audit("write", "plc1/level", T0, "bob", "x" * 200_000)
        waiting = journal.append(large)
        await until(lambda: journal.store_failed_since_ns is not None)
        assert not waiting.done()
        await limit_pages(journal, None)
        assert (await waiting).position.seq in (2, 3), "before the Loss record or after it"
        await until(lambda: journal.store_failed_since_ns is None)


def spoil(path: Path, start: int, count: int) -> None:
    """Overwrite a stretch of a file with nonsense."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * count)


async def test_a_file_damaged_while_closed_is_set_aside_and_its_loss_declared(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        for i in range(200):
            journal.append(batch(i, float(i)))
        await journal.append(covered(0, 200))
        path = journal._shelf.current.path
    spoil(path, 0, 4096)
    world.clock.now_ns = T0 + 300 * NS_PER_S
    async with world.journal() as journal:
        assert list(path.parent.glob("*.damaged-*"))
        assert any("damaged" in text for severity, text in world.events if severity >= 900)
        await journal.append(batch(300, 1.0))
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0]
        gaps = await journal.gaps("plc1", T0, T0 + 300 * NS_PER_S)
        assert [gap.cause for gap in gaps] == [Cause.STORE]
        assert journal.revision == revision(), "the copy in the state file outlives it"
        assert journal.term.number == 2


async def test_a_damaged_state_file_is_set_aside_and_rebuilt_from_the_partitions(
    world: World,
) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
    spoil(world.folder / "state.sqlite", 0, 4096)
    async with world.journal() as journal:
        assert list(world.folder.glob("state.sqlite.damaged-*"))
        assert journal.revision == revision()
        assert journal.term.number == 2


async def test_a_file_damaged_in_use_is_replaced_and_the_samples_in_memory_are_kept(
    world: World,
) -> None:
    asked: list[int] = []
    async with world.journal() as journal:
        journal.on_partition(lambda: asked.append(1))
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        partition = journal._shelf.current
        assert partition.database is not None

        def ruin(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA writable_schema=ON")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            spoil(partition.path, 4096, partition.path.stat().st_size - 4096)
            connection.execute("PRAGMA cache_size=0")
            connection.execute("PRAGMA shrink_memory")

        await partition.database.run(ruin)
        for i in range(1, 4):
            await journal.append(batch(i, float(i)))
        assert asked
        assert list(partition.path.parent.glob("*.damaged-*"))
        values = [row.value for row in await all_rows(journal, "plc1/level")]
        assert values == [0.0 + i for i in (1, 1, 2, 3)]
        await flushed(journal)
        assert len(await all_rows(journal, "plc1/level")) == 4


async def test_a_damaged_segment_found_by_a_reader_sets_its_file_aside(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        world.clock.now_ns += NS_PER_DAY
        await journal.append(batch(86_400, 2.0))
        await until(lambda: journal._shelf.partitions[0].database is None)
        path = journal._shelf.partitions[0].path
        connection = sqlite3.connect(path)
        connection.execute("UPDATE segment SET columns = x'0102'")
        connection.commit()
        connection.close()
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [2.0]
        await until(lambda: len(journal._shelf.partitions) == 1)
        assert list(path.parent.glob("*.damaged-*"))


async def test_a_broken_chain_is_found(world: World) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        for i in range(5):
            await journal.append(batch(i, i))
        path = journal._shelf.current.path
        term = journal.term
    connection = sqlite3.connect(path)
    connection.execute("UPDATE record SET wire = x'00' WHERE record_id & 255 = 2")
    connection.execute("DELETE FROM record WHERE record_id & 255 = 4")
    connection.commit()
    connection.close()
    async with world.journal() as journal:
        assert [position.seq for position in await journal.verify()] == [2]
        holding = journal.holdings.of(term)
        assert holding is not None
        assert holding.stretches[0] == (1, 3), "the fourth is missing: it is wanted back"
        assert {position.term for position in await journal.verify()} == {term}
    assert any("damaged and was left out" in text for _, text in world.events)


async def test_a_backup_opens_as_a_journal(world: World, tmp_path: Path) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        await journal.append(batch(0, 1.0))
        await journal.backup(tmp_path / "copy")
        with pytest.raises(ControlError, match="exists already"):
            await journal.backup(world.folder / "state.sqlite")
        with pytest.raises(JournalError):
            await journal.backup(world.folder / "state.sqlite" / "copy")
    world.folder = tmp_path / "copy"
    async with world.journal() as journal:
        assert journal.term.number == 2
        assert [row.value for row in await all_rows(journal, "plc1/level")] == [1.0]


async def test_a_full_queue_and_a_closed_journal_refuse(world: World) -> None:
    world.settings = HistorySettings(queue_max=4, ballast_bytes=4096)
    async with world.journal() as journal:
        futures = [journal.append(batch(i, i)) for i in range(4)]
        with pytest.raises(StoreFull):
            journal.append(batch(5, 5))
        await journal.room()
        await asyncio.gather(*futures)
        with pytest.raises(TypeError):
            journal.append(Fact("d", "k", object(), 0))
    for call in (lambda: journal.append(batch(6, 6)), journal.begin_term):
        with pytest.raises(JournalError):
            result: Any = call()
            if asyncio.iscoroutine(result):
                await result


async def test_a_folder_that_cannot_be_used_is_refused_with_a_remedy(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "journal").write_text("in the way")
    with pytest.raises(JournalError, match="can't be opened"):
        async with world.journal():
            pass


async def test_cancelling_whoever_waits_does_not_harm_the_commit(world: World) -> None:
    async with world.journal() as journal:

        async def waits(body: Body) -> None:
            await journal.append(body)

        task = asyncio.create_task(waits(batch(0, 1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        record = await journal.append(batch(1, 2))
        assert record.position.seq == 2


async def test_a_batch_of_an_unknown_revision_is_told_and_kept_as_a_record(world: World) -> None:
    async with world.journal() as journal:
        record = await journal.append(batch(0, 1.0))
        assert await all_rows(journal, "plc1/level") == []
        assert [seq for seq, _, _ in await journal.records(record.position.term, 1)] == [1]
    assert any("unknown" in text for _, text in world.events)


async def test_a_loss_record_names_the_cause_of_a_gap(world: World) -> None:
    async with world.journal() as journal:
        journal.append(batch(0, 1.0))
        await journal.append(Loss(*hole_times(0, 1), "clock", "stepped"))
        world.clock.now_ns += 60 * NS_PER_S
        gaps = await journal.gaps("plc1", *hole_times(0, 2))
        assert [(gap.cause, gap.to_ns - T0) for gap in gaps] == [
            (Cause.CLOCK, NS_PER_S),
            (Cause.NODE_DOWN, 2 * NS_PER_S),
        ]


async def test_a_crash_in_the_middle_of_a_flush_shows_each_sample_once(world: World) -> None:
    async with world.journal() as journal:
        points = tuple((f"plc1/p{i}", "float64") for i in range(600))
        journal.append(Revision(1, b"", T0, "test", {}, points))
        samples = tuple((i, T0, float(i), 0) for i in range(600))
        await journal.append(Batch("plc1", "normal", 1, 0, T0, T0, samples))
        journal._shelf._freeze(journal._shelf.current)
        await until(lambda: journal._shelf.current.segments >= 256)
        await journal._writer.close()  # stops between two chunks of 256
        assert journal._shelf.current.segments < 600
    async with world.journal() as journal:
        for i in (0, 100, 599):
            rows = await all_rows(journal, f"plc1/p{i}")
            assert [row.value for row in rows] == [float(i)]
        last = await journal.last_values([name for name, _ in points])
        assert len(last) == 600


async def test_kept_records_wait_for_a_state_file_that_cannot_be_written(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        state = journal._state._database

        def limit(connection: sqlite3.Connection, pages: int) -> None:
            connection.execute(f"PRAGMA max_page_count={pages}")

        await state.run(lambda connection: limit(connection, 1))
        await journal.append(Audit("write", "plc1/level", T0, "bob", "x" * 100_000))
        assert await journal.audit() == []
        assert any("state file" in text for _, text in world.events)
        await state.run(lambda connection: limit(connection, 2**30))
        await journal.append(Event("x", 1, "wake", T0))
        await until(lambda: not journal._writer._kept_backlog)
        assert [entry.target for _, entry in await journal.audit()] == ["plc1/level"]


async def test_closing_while_the_store_fails_tells_whoever_still_waits(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await limit_pages(journal, 0)
        waiting = journal.append(Audit("write", "x", T0, "bob", "x" * 200_000))
        await until(lambda: journal.store_failed_since_ns is not None)
    with pytest.raises(JournalError, match="closed before"):
        await waiting


async def test_ballast_is_not_taken_for_room_that_came_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 4096)
    ballast.ensure()
    ballast.ensure()
    assert (tmp_path / "ballast").stat().st_size == 4096
    with pytest.raises(OSError, match="no room yet"):
        ballast.ensure(2**62)
    ballast.release()
    ballast.ensure(8192)
    assert (tmp_path / "ballast").stat().st_size == 4096
    with pytest.raises(FileNotFoundError):
        Ballast(tmp_path / "nowhere" / "ballast", 4096).ensure()
