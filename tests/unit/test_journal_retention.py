"""Files come and go under a collector that works: what is claimed is held, whatever was dropped."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_collector import FakeLine
from test_journal import T0, World, limit_pages, spoil, until

from gateway.acquisition.collector import Collector
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.schedule import Job
from gateway.driver import DeviceSpec, LineSpec, Observation, PointSpec, Scan
from gateway.journal.database import Ballast, checkpoint
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.partitions import NS_PER_DAY
from gateway.journal.records import Batch, Body, Event, Revision
from gateway.model import NS_PER_S, Access, Cause, DataType, Status

LEVEL, STILL, PH = "plc1/level", "plc1/still", "meter/ph"


def spec(number: int, device: str, name: str) -> PointSpec:
    return PointSpec(number, device, name, DataType.INT32, "normal", Access.READ, None)


class Plant:
    """A journal and a collector on a clock that only the test moves; scans are handed in."""

    def __init__(self, world: World, journal: Journal) -> None:
        self.world = world
        self.journal = journal
        periods = {"normal": NS_PER_S}
        level, still, ph = (spec(n, *p.split("/")) for n, p in enumerate((LEVEL, STILL, PH)))
        devices = [
            DeviceSpec("plc1", "fake", "line", None, (level, still), periods),
            DeviceSpec("meter", "fake", "line", None, (ph,), periods),
        ]
        line = FakeLine(world.clock)
        line.spec = LineSpec("line", "fake", None, tuple(devices))
        house = House(world.clock, self.append, self.append, journal.room, lambda *_: None)
        self.live = LiveTable(devices)
        self.collector = Collector(devices, [line], self.live, MaintenanceState(), 1, house)
        journal.on_partition(self.collector.partition_began)
        journal.on_store(self.collector.store_failed)
        self.waiting: list[asyncio.Future[Any]] = []
        self.truth: dict[int, int] = {}

    def append(self, body: Body) -> asyncio.Future[Any]:
        self.waiting.append(self.journal.append(body))
        return self.waiting[-1]

    async def stored(self) -> None:
        """All that was appended is committed, what the commit set off included."""
        while self.waiting or self.collector._passing:
            waiting, self.waiting = self.waiting, []
            await asyncio.gather(*waiting, *self.collector._passing, return_exceptions=True)

    async def second(self, level: int, steps: int = 1, meter: bool = True) -> None:
        """Let seconds pass, each with a good scan of the devices, and claim them."""
        for _ in range(steps):
            self.said(level, meter)
            await self.stored()

    def said(self, level: int, meter: bool = True, age_ns: int = 0) -> None:
        """A second passes whose scans (that old) and claim wait for the journal."""
        self.world.clock.now_ns += NS_PER_S
        now_ns = self.world.clock.now_ns
        self.truth[now_ns] = level
        self._scan("plc1", [(0, level), (1, 7)], age_ns)
        if meter:
            self._scan("meter", [(2, 70)], age_ns)
        self.collector.outcomes.record(now_ns)

    def _scan(self, device: str, found: list[tuple[int, int]], age_ns: int = 0) -> None:
        now_ns = self.world.clock.now_ns - age_ns
        seen = [Observation(n, now_ns, value, Status.GOOD) for n, value in found]
        schedule = self.collector.lines.pollers["line"].schedule
        job = Job(device, "normal", now_ns)
        self.collector.outcomes.answered(schedule, job, Scan(now_ns, now_ns, seen))

    async def missing(self, from_ns: int, to_ns: int) -> list[str]:
        """The seconds at which a point has neither its value nor a gap."""
        wrong = []
        for point, truth in ((LEVEL, self.truth.get), (STILL, lambda _: 7), (PH, lambda _: 70)):
            gaps = await self.journal.gaps(point.split("/")[0], from_ns, to_ns)
            for at_ns in range(from_ns, to_ns, NS_PER_S):
                row = await self.journal.at_or_before(point, at_ns)
                if row is not None and row.value == truth(at_ns):
                    continue
                if not any(gap.from_ns <= at_ns < gap.to_ns for gap in gaps):
                    wrong.append(f"{point} at {(at_ns - T0) / NS_PER_S}: {row}")
        return wrong


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Plant]:
    async with world.journal() as journal:
        points = tuple((point, "int32") for point in (LEVEL, STILL, PH))
        await journal.append(Revision(1, b"", world.clock.now_ns, "test", {}, points))
        yield Plant(world, journal)


async def sealed(plant: Plant) -> None:
    await until(lambda: all(p.database is None for p in plant.journal._shelf.partitions[:-1]))


async def midnight(plant: Plant, day: int, level: int) -> None:
    """Work from five seconds before the end of a day until ten after it."""
    plant.world.clock.now_ns = (T0 // NS_PER_DAY + day) * NS_PER_DAY - 5 * NS_PER_S
    for n in range(15):
        await plant.second(level + n // 2)
    await sealed(plant)


async def test_values_in_force_outlive_the_day_that_stored_them_and_ingest_goes_on(
    world: World,
) -> None:
    world.settings = HistorySettings(retention_ns=NS_PER_DAY, ballast_bytes=4096)
    async with running(world) as plant:
        await plant.second(1)
        for day in range(1, 4):
            await midnight(plant, day, 100 * day)
        plant.journal._writer._retention_ns = 0
        for n in range(5):  # while files are being dropped
            await plant.second(900 + n)
        await until(lambda: len(world.files()) == 2)
        floor_ns = plant.journal._writer.floor_ns
        assert floor_ns is not None
        assert await plant.missing(floor_ns - 60 * NS_PER_S, floor_ns + 60 * NS_PER_S) == []
        now_ns = world.clock.now_ns
        assert await plant.missing(now_ns - 60 * NS_PER_S, now_ns) == []
        gaps = await plant.journal.gaps("plc1", floor_ns - NS_PER_S, floor_ns)
        assert [gap.cause for gap in gaps] == [Cause.RETENTION]
        row = await plant.journal.at_or_before(STILL, floor_ns)
        assert row is not None
        assert row.value == 7, "it was last changed in a file that is gone"
        assert await plant.journal.verify() == []


async def test_a_small_size_splits_days_and_drops_the_oldest_parts(world: World) -> None:
    limit = 16 * 1024 * 1024
    world.settings = HistorySettings(max_size_bytes=limit, ballast_bytes=4096)
    async with running(world) as plant:
        for n in range(150):
            for _ in range(4):
                plant.append(Event("x", 1, "x" * 100_000, world.clock.now_ns))
            await plant.second(n)
            if n % 5 == 0:
                plant.journal._writer._retention_ns = 0
        await sealed(plant)
        plant.journal._writer._retention_ns = 0
        await until(lambda: plant.journal._writer._retention_ns != 0)
        await plant.second(1)  # its commit comes after the retention is through
        size = sum(p.stat().st_size for p in (world.folder / "journal").iterdir())
        assert len(world.files()) > 3
        assert size < limit * 1.3
        floor_ns = plant.journal._writer.floor_ns
        assert floor_ns is not None
        assert await plant.missing(floor_ns - 10 * NS_PER_S, world.clock.now_ns) == []
        assert await plant.journal.verify() == []


@pytest.mark.parametrize("by", ["writer", "reader"])
async def test_a_file_damaged_in_use_takes_nothing_that_is_not_declared(
    world: World, by: str
) -> None:
    async with running(world) as plant:
        for n in range(10):
            await plant.second(n)
        journal = plant.journal
        partition = journal._shelf.current
        journal._shelf._freeze(partition)
        await until(lambda: partition.frozen is None)
        assert partition.database is not None

        def ruin(connection: sqlite3.Connection) -> None:
            checkpoint(connection)
            spoil(partition.path, 4096, partition.path.stat().st_size - 4096)
            connection.execute("PRAGMA shrink_memory")

        await partition.database.run(ruin)
        if by == "reader":
            assert await plant.missing(T0, world.clock.now_ns) == []
            await until(lambda: partition not in journal._shelf.partitions)
        for n in range(10, 30):
            await plant.second(n)
        assert partition not in journal._shelf.partitions
        assert any("damaged" in text for _, text in world.events)
        assert await plant.missing(T0, world.clock.now_ns) == []
        gaps = await journal.gaps("plc1", T0, world.clock.now_ns)
        assert {gap.cause for gap in gaps} == {Cause.STORE}
        assert gaps[-1].to_ns < T0 + 15 * NS_PER_S, "it is over with the next good scan"
        assert journal.store_failed_since_ns is None
        assert await journal.verify() == []


class SlowBallast(Ballast):
    """The disk has room again, and takes as long to give it as the test wants."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        super().__init__(path, size_bytes)
        self.asked, self.given = threading.Event(), threading.Event()

    def ensure(self, spare_bytes: int = 0) -> None:
        super().ensure(spare_bytes)
        self.asked.set()
        assert self.given.wait(20)


@asynccontextmanager
async def coming_back(plant: Plant) -> AsyncIterator[None]:
    """The store has failed for some seconds; in the body it finds room, then it works again."""
    journal, writer = plant.journal, plant.journal._writer
    for n in range(5):
        await plant.second(n)
    await limit_pages(journal, 0)
    now_ns = plant.world.clock.now_ns
    journal.append(Batch("plc1", "", 1, 0, now_ns, now_ns, ((0, now_ns, "x" * 200_000, 0),)))
    await until(lambda: journal.store_failed_since_ns is not None)
    for n in range(5, 10):
        await plant.second(n)
    writer._ballast = slow = SlowBallast(plant.world.folder / "ballast", 65_536)
    await until(slow.asked.is_set)
    await limit_pages(journal, None)
    yield
    slow.given.set()
    await until(lambda: journal.store_failed_since_ns is None)
    await plant.stored()


async def test_what_is_claimed_while_a_full_disk_finds_room_is_refused(world: World) -> None:
    async with running(world) as plant:
        async with coming_back(plant):
            for n in range(10, 13):
                plant.said(n)
        for n in range(13, 20):
            await plant.second(n)
        assert await plant.missing(T0, world.clock.now_ns) == []
        gaps = await plant.journal.gaps("plc1", T0 + NS_PER_S, world.clock.now_ns)
        assert [gap.cause for gap in gaps] == [Cause.STORE]
        assert gaps[0].to_ns == T0 + 14 * NS_PER_S, "it is over with the next good scan"


async def test_a_scan_from_before_the_store_was_back_begins_no_stream(world: World) -> None:
    async with running(world) as plant:
        async with coming_back(plant):
            pass
        back_ns = world.clock.now_ns
        plant.said(10, age_ns=NS_PER_S + 1)  # it was received a moment before the store was back
        await plant.stored()
        for n in range(11, 15):
            await plant.second(n)
        gaps = await plant.journal.gaps("plc1", T0 + NS_PER_S, world.clock.now_ns)
        assert [(gap.cause, gap.to_ns) for gap in gaps] == [(Cause.STORE, back_ns + 2 * NS_PER_S)]
        row = await plant.journal.at_or_before(STILL, world.clock.now_ns)
        assert row is not None
        assert row.received_ns == gaps[0].to_ns, "the stream states every point where it begins"
