"""What is damaged is set aside, whatever shows it; what is sound stays, whatever else fails."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from test_journal import DAY, T0, HandClock, World, all_rows, batch, covered, revision, until

from gateway.errors import JournalError
from gateway.journal.database import checkpoint
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.partitions import NS_PER_DAY, PartitionKey
from gateway.journal.records import Batch, Event, Fill, Revision
from gateway.journal.schema import split_record_id
from gateway.model import NS_PER_S, Cause, Origin, Status

FIRST = PartitionKey(DAY).file_name
LARGE_MB = 65
"""SQLite checks no file as a whole from 64 MB on."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def threads() -> Iterator[None]:
    """No thread is left behind, which would keep the process from ending."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and not t.daemon]
    assert [t.name for t in left if not t.name.startswith("asyncio_")] == []


def edit(path: Path, *statements: str) -> None:
    """Change a closed or sealed file; its own check finds no fault with it then."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def enlarge(path: Path) -> None:
    """Make a file too large to be checked as a whole."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE more(x)")
        for _ in range(LARGE_MB):
            connection.execute("INSERT INTO more VALUES(zeroblob(1 << 20))")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def spoil_page(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek((number - 1) * 4096)
        file.write(b"\xff" * 4096)


def root_of(connection: sqlite3.Connection, name: str) -> int:
    sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
    return int(connection.execute(sql, (name,)).fetchone()[0])


def spoil_root(path: Path, name: str) -> None:
    """Overwrite the first page of a table or an index."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        page = root_of(connection, name)
    spoil_page(path, page)


def set_aside(world: World) -> list[str]:
    """The files that were taken for damaged, by the names that they had."""
    return sorted(
        path.name.split(".damaged-")[0] for path in world.folder.rglob("*.damaged-*[0-9]")
    )


async def a_day(world: World) -> None:
    """One day with a bit of everything, closed."""
    async with world.journal() as journal:
        await journal.append(revision())
        for second in range(5):
            journal.append(batch(second, float(second)))
        await journal.append(covered(0, 60))
    world.clock.now_ns = T0 + 300 * NS_PER_S


async def next_day(world: World, journal: Journal) -> Path:
    """Begin the next day and let the first one be sealed; where that lies."""
    path = journal._shelf.current.path
    world.clock.now_ns = T0 + NS_PER_DAY
    await journal.append(batch(86_400, 2.0))
    await journal.append(covered(86_400, 86_460))
    await until(lambda: journal._shelf.partitions[0].database is None)
    return path


# ---------------------------------------------------------------------- what readers meet


@contextmanager
def no_descriptor() -> Iterator[None]:
    """The process may open no file more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE,
        (max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 8, hard),
    )
    taken: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("what", ["gaps", "rows", "events"])
async def test_a_reader_that_finds_no_descriptor_takes_no_sound_day_for_damaged(
    world: World, what: str
) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await journal.append(batch(0, 1.0))
        await next_day(world, journal)

        async def asked() -> None:
            if what == "gaps":
                await journal.gaps("plc1", T0, T0 + NS_PER_DAY)
            elif what == "rows":
                await journal.read("plc1/level", 0, 2**62, 100)
            else:
                await journal.events(0, 2**62)

        with no_descriptor(), pytest.raises(JournalError, match="can't be read now"):
            await asked()
        await journal.append(Event("x", 1, "the writer has had its turn", world.clock.now_ns))
        assert set_aside(world) == []
        rows = await all_rows(journal, "plc1/level")
        assert [row.value for row in rows if row.value is not None] == [1.0, 2.0]
        await asked()


@pytest.mark.parametrize("what", ["gaps", "fills"])
async def test_a_term_that_is_none_sets_the_file_aside_and_answers_all_the_same(
    world: World, what: str
) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await journal.append(batch(0, 1.0))
        span = (T0 + 60 * NS_PER_S, T0 + 70 * NS_PER_S)
        await journal.append(Fill("plc1", "normal", "log", *span, "lost", ("level",), T0))
        path = await next_day(world, journal)
        edit(path, "UPDATE term SET nonce = 'x' || substr(nonce, 2)")
        if what == "gaps":
            assert await journal.gaps("plc1", T0, T0 + NS_PER_DAY)
        else:
            assert await journal.fills("plc1", T0, T0 + NS_PER_DAY) == []
        assert set_aside(world) == [FIRST]


async def test_an_event_that_cannot_be_decoded_sets_its_own_file_aside(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await journal.append(Event("x", 1, "lost", T0))
        path = await next_day(world, journal)
        await journal.append(Event("x", 1, "held", T0 + NS_PER_DAY))
        edit(path, "UPDATE record SET wire = x'c1' WHERE kind = 'e'")
        assert [event.text for event in await journal.events(0, 2**62)] == ["held"]
        assert set_aside(world) == [FIRST]


async def test_of_two_files_of_a_fill_the_one_that_is_damaged_is_set_aside(world: World) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        await journal.append(batch(0, 1.0, origin=Origin.WINDBACK))
        path = journal._shelf.current.path
        world.clock.now_ns = T0 + NS_PER_DAY
        span = (T0, T0 + 5 * NS_PER_S)
        fill = Fill("plc1", "normal", "log", *span, "filled", ("level",), T0, span=1)
        await journal.append(fill)
        await until(lambda: journal._shelf.partitions[0].database is None)
        assert await journal.fills("plc1", T0, T0 + NS_PER_DAY) == [fill]
        journal._reader.forget(path)
        spoil_root(path, "record")
        assert await journal.fills("plc1", T0, T0 + NS_PER_DAY) == []
        assert set_aside(world) == [FIRST]


# ---------------------------------------------------------------------- what a start meets


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE scan SET scan_class = CAST(x'e1' AS TEXT) WHERE scan_class <> ''",
        "UPDATE run SET term_id = term_id | 64",
        "UPDATE term SET nonce = 'x' || substr(nonce, 2)",
        "UPDATE meta SET value = x'c1' WHERE key = 'begun_ns'",
    ],
)
async def test_a_file_with_a_wrong_byte_that_sqlite_finds_no_fault_with_is_set_aside(
    world: World, threads: None, change: str
) -> None:
    await a_day(world)
    path = world.folder / "journal" / FIRST
    edit(path, "INSERT OR IGNORE INTO scan VALUES('plc1', 'normal')", change)
    async with world.journal() as journal:
        assert set_aside(world) == [FIRST]
        assert any("is damaged" in text for severity, text in world.events if severity == 900)
        await journal.append(batch(300, 1.0))
        assert [gap.cause for gap in await journal.gaps("plc1", T0, T0 + 300 * NS_PER_S)] == [
            Cause.STORE
        ]
        assert journal.revision == revision(), "the copy in the state file outlives it"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE term SET node = CAST(x'e1' AS TEXT)",
        "UPDATE term SET nonce = 'x' || substr(nonce, 2)",
        "UPDATE kept SET nonce = 'x' || substr(nonce, 2)",
    ],
)
async def test_a_state_file_with_a_wrong_byte_is_set_aside_and_rebuilt(
    world: World, threads: None, change: str
) -> None:
    await a_day(world)
    edit(world.folder / "state.sqlite", change)
    async with world.journal() as journal:
        assert set_aside(world) == ["state.sqlite"]
        assert journal.revision == revision()
        assert journal.term.number == 2


async def test_a_large_file_whose_kept_records_cannot_be_read_is_set_aside(
    world: World, threads: None
) -> None:
    await a_day(world)
    path = world.folder / "journal" / FIRST
    enlarge(path)
    spoil_root(path, "note")
    async with world.journal() as journal:
        assert set_aside(world) == [FIRST]
        gaps = await journal.gaps("plc1", T0, T0 + 300 * NS_PER_S)
        assert [gap.cause for gap in gaps] in ([], [Cause.STORE])
        assert journal.revision == revision()


async def test_a_large_file_whose_records_cannot_be_dealt_out_is_set_aside(
    world: World, threads: None
) -> None:
    async with world.journal() as journal:
        await journal.append(revision())
        for second, value in enumerate((1.0, "y" * 100_000, 1.0)):
            await journal.append(batch(second, value))
    path = world.folder / "journal" / FIRST
    with closing(sqlite3.connect(path)) as connection:  # as after a flush while records came
        held: dict[int, list[tuple[int, int]]] = {}
        for (row_id,) in connection.execute("SELECT record_id FROM record ORDER BY record_id"):
            term_id, seq = split_record_id(row_id)
            held[term_id] = [(1, seq)]
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES('held', ?)", (msgspec.msgpack.encode(held),)
        )
        connection.commit()
    enlarge(path)
    spoil_page(path, path.read_bytes().index(b"y" * 4_000) // 4096 + 2)
    async with world.journal() as journal:
        assert set_aside(world) == [FIRST]
        assert journal._shelf.current.path.name == PartitionKey(DAY, 1).file_name
        await journal.append(batch(300, 1.0))


@pytest.mark.parametrize("name", ["kept_by_kind", "dropped"])
async def test_a_large_state_file_that_cannot_be_read_is_set_aside(
    world: World, threads: None, name: str
) -> None:
    await a_day(world)
    path = world.folder / "state.sqlite"
    enlarge(path)
    spoil_root(path, name)
    async with world.journal() as journal:
        assert set_aside(world) == ["state.sqlite"]
        assert journal.revision == revision()
        assert journal.term.number == 2


# ---------------------------------------------------------------------- what retention meets


async def days(world: World, journal: Journal) -> None:
    """Four days of which two are kept; what follows is due at once."""
    points = tuple((f"plc1/p{number}", "float64") for number in range(600))
    await journal.append(Revision(1, b"", T0, "test", {}, points))
    for day in range(4):
        world.clock.now_ns = T0 + day * NS_PER_DAY
        await journal.append(batch(day * 86_400, float(day)))
        await until(lambda: all(p.database is None for p in journal._shelf.partitions[:-1]))


async def retained(world: World, journal: Journal) -> None:
    """Retention has had a turn."""
    journal._writer._retention_ns = 0
    await until(lambda: journal._writer._retention_ns != 0)
    await journal.append(Event("x", 1, "its commit comes after that turn", world.clock.now_ns))


def held(journal: Journal) -> list[str]:
    """The files that there are: one that is dropped is deleted a moment later."""
    return [partition.path.name for partition in journal._shelf.partitions]


async def in_state(journal: Journal, work: Callable[[sqlite3.Connection], object]) -> None:
    await journal._state._database.run(work)


def complaints(world: World) -> list[str]:
    return [text for severity, text in world.events if severity == 800]


async def test_a_damaged_state_file_costs_no_day_that_is_being_flushed(world: World) -> None:
    world.settings = HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=65_536)
    async with world.journal() as journal:
        journal.apply(HistorySettings(ballast_bytes=65_536))
        await days(world, journal)
        now_ns = world.clock.now_ns
        samples = tuple((number, now_ns, 1.0, Status.GOOD) for number in range(600))
        await journal.append(Batch("plc1", "normal", 1, 0, now_ns, now_ns, samples))

        def ruin(connection: sqlite3.Connection) -> None:
            checkpoint(connection)
            spoil_page(world.folder / "state.sqlite", root_of(connection, "dropped"))
            connection.execute("PRAGMA cache_size=0")
            connection.execute("PRAGMA shrink_memory")

        await in_state(journal, ruin)
        journal.apply(world.settings)
        before = held(journal)
        journal._shelf._freeze(journal._shelf.current)  # more than one turn's flush
        for _ in range(3):
            await retained(world, journal)
            assert journal.store_failed_since_ns is None
        assert set_aside(world) == []
        assert held(journal) == before
        assert len(complaints(world)) == 1
        world.clock.now_ns += 3_600 * NS_PER_S
        await retained(world, journal)
        assert len(complaints(world)) == 2


async def test_retention_that_failed_is_tried_again_while_history_goes_on(world: World) -> None:
    async with world.journal() as journal:
        await days(world, journal)
        with closing(sqlite3.connect(world.folder / "state.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody else can write it
            journal.apply(HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=65_536))
            for _ in range(3):
                await retained(world, journal)
                assert journal.store_failed_since_ns is None
            assert len(held(journal)) == 4
            assert len(complaints(world)) == 1
        await retained(world, journal)
        assert len(held(journal)) == 3


class SetClock(HandClock):
    """A clock that stands still unless time passes, and can be set wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong_ns = 0

    def utc_ns(self) -> int:
        return self.now_ns + self.wrong_ns


async def test_a_clock_that_is_set_far_ahead_costs_no_history(world: World) -> None:
    world.clock = clock = SetClock()
    world.settings = HistorySettings(retention_ns=5 * NS_PER_DAY, ballast_bytes=65_536)

    def told() -> int:
        return sum("the clock has jumped" in text for severity, text in world.events)

    async with world.journal() as journal:
        await days(world, journal)
        before = held(journal)
        for wrong_ns in (3_650 * NS_PER_DAY, 0):  # for a moment
            clock.wrong_ns = wrong_ns
            journal._writer._retention_ns = 0
            await until(lambda: journal._writer._retention_ns != 0)  # it has looked at the clock
        await retained(world, journal)
        assert held(journal)[: len(before)] == before
        assert told() == 1
        clock.now_ns += 6 * 3_600 * NS_PER_S - NS_PER_S
        await retained(world, journal)
        assert held(journal)[: len(before)] == before
        assert told() == 1


async def test_in_the_first_hour_after_a_start_nothing_is_dropped_by_age(world: World) -> None:
    async with world.journal() as journal:
        await days(world, journal)
    world.settings = HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=65_536)
    async with world.journal() as journal:
        before = held(journal)
        world.clock.now_ns += 3_599 * NS_PER_S
        await retained(world, journal)
        assert held(journal) == before
        world.clock.now_ns += NS_PER_S
        await retained(world, journal)
        assert held(journal) == before[1:]
        assert not any("jumped" in text for _, text in world.events)
