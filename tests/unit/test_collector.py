"""The collector with lines that do as they are told, and a clock that can be set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gateway.acquisition.collector import Collector
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.writes import PULSE, Writer
from gateway.clock import SystemClock
from gateway.driver import (
    Delivery,
    DeviceSpec,
    Diagnostics,
    Fault,
    Frame,
    LineSpec,
    Observation,
    PointSpec,
    Rehearsal,
    Scan,
    WriteOutcome,
)
from gateway.errors import ReplyTimeout
from gateway.journal.records import Audit, Batch, Body, Coverage, Event, Fact, Maintenance
from gateway.model import NS_PER_MS, NS_PER_S, Access, Cause, DataType, Origin, Status, Value

PERIOD_NS = 20 * NS_PER_MS
PULSE_NS = 60 * NS_PER_MS
START = PointSpec(0, "plc", "start", DataType.BOOL, "fast", Access.READ_WRITE, None)
PULSED = PointSpec(
    1, "plc", "pulsed", DataType.BOOL, "fast", Access.READ_WRITE, None, pulse_ns=PULSE_NS
)
PLC = DeviceSpec("plc", "fake", "line", None, (START, PULSED), {"fast": PERIOD_NS})


class Clock(SystemClock):
    """A clock that somebody sets."""

    ahead_ns = 0

    def utc_ns(self) -> int:
        return super().utc_ns() + self.ahead_ns


class FakeLine:
    """Answers each scan by `answer`, and remembers what it was told."""

    def __init__(self, clock: Clock) -> None:
        self.spec = LineSpec("line", "fake", None, (PLC,))
        self.clock = clock
        self.holding: asyncio.Event | None = None
        self.scanning = asyncio.Event()
        self.fault: Fault | None = None
        self.complete = True
        self.scans = 0
        self.withdrawn: list[str] = []
        self.written: list[Value] = []
        self.write_error: Exception | None = None
        self.hanging = False
        self.value: Value = True
        self.told: Value = None

    def prepare(self, device: str) -> None:
        pass

    async def scan(self, device: str, scan_class: str) -> Scan:
        asked_ns = self.clock.utc_ns()
        seen = (
            [] if self.told == self.value else [Observation(0, asked_ns, self.value, Status.GOOD)]
        )
        self.told = self.value
        self.scanning.set()
        if self.holding is not None:
            await self.holding.wait()
        self.scans += 1
        if self.fault is not None:
            return Scan(asked_ns, self.clock.utc_ns(), fault=self.fault)
        return Scan(asked_ns, self.clock.utc_ns(), seen, complete=self.complete)

    async def scanned_again(self) -> None:
        """Wait until two more scans have begun: the first of them has been taken in."""
        for _ in range(2):
            self.scanning.clear()
            await self.scanning.wait()

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        raise AssertionError("nobody subscribes here")

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        self.written.append(value)
        self.told = None
        if self.hanging:
            await asyncio.Event().wait()
        if self.write_error is not None:
            raise self.write_error
        return WriteOutcome(Status.GOOD, value, read_back_ns=self.clock.utc_ns())

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        return []

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        return lambda: None

    def diagnostics(self, device: str) -> Diagnostics:
        return Diagnostics()

    def forget(self, device: str) -> None:
        self.told = None

    async def withdraw(self, device: str) -> None:
        self.withdrawn.append(device)

    async def rehearse(self, device: str) -> Rehearsal:
        return Rehearsal(device, True, True, "", "")

    async def close(self) -> None:
        pass


class Rig:
    """A collector, its line, and everything that it journalled."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.line = FakeLine(self.clock)
        self.journal: list[Body] = []
        self.grown = asyncio.Event()
        self.reigns = True
        house = House(
            self.clock, self.append, self.append, self._room, self._alarm, lambda: self.reigns
        )
        live = LiveTable([PLC])
        self.collector = Collector([PLC], [self.line], live, MaintenanceState(), 1, house)
        self.writer = Writer(self.collector, house, lambda: None)

    def append(self, body: Body) -> asyncio.Future[object]:
        self.journal.append(body)
        self.grown.set()
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def _room(self) -> None:
        return None

    def _alarm(self, source: str, severity: int, text: str, kind: str = "") -> None:
        self.append(Event(source, severity, text, self.clock.utc_ns(), kind))

    def of(self, kind: type[Any]) -> list[Any]:
        return [body for body in self.journal if isinstance(body, kind)]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(3):
            while not holds():
                self.grown.clear()
                await self.grown.wait()

    def maintain(self, action: str, target: str = "plc") -> None:
        at_ns = self.clock.utc_ns()
        self.collector.maintain(Maintenance(action, target, at_ns, "test", "why", None))


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.collector.start()
    try:
        await rig.until(lambda: bool(rig.of(Batch)))
        yield rig
    finally:
        await rig.writer.stop()
        await rig.collector.stop()


def causes(rig: Rig) -> set[str]:
    return {hole.cause for record in rig.of(Coverage) for hole in record.holes}


async def test_a_scan_that_misses_a_part_keeps_the_rest_and_declares_the_instant() -> None:
    async with running() as rig:
        rig.line.complete = False
        await rig.line.scanned_again()
        assert rig.collector.coverage.in_hole(("plc", "fast"))
        assert rig.collector.states["plc"].fault is None
        rig.line.complete = True
        before = len(rig.of(Batch))
        await rig.until(lambda: len(rig.of(Batch)) > before)
        assert rig.of(Batch)[-1].complete
        assert len(rig.of(Batch)[-1].samples) == 2
        rig.collector.outcomes.record(rig.clock.utc_ns())
        assert Cause.DEVICE.value in causes(rig)


async def test_a_disabled_device_is_withdrawn_from_and_its_last_scan_says_nothing() -> None:
    async with running() as rig:
        rig.line.holding = asyncio.Event()
        rig.line.scanning.clear()
        await rig.line.scanning.wait()
        rig.maintain("disable")
        said = len(rig.journal)
        rig.line.fault = Fault(Cause.LINK, Status.BAD_NO_COMMUNICATION, "gone", NS_PER_S)
        rig.line.holding.set()
        rig.line.scanning.clear()
        for _ in range(10):
            await asyncio.sleep(0)
        assert rig.line.withdrawn == ["plc"]
        assert rig.collector.states["plc"].fault is None
        assert [b for b in rig.journal[said:] if not isinstance(b, Coverage)] == []
        rig.line.fault = None
        rig.maintain("enable")
        await rig.until(lambda: rig.of(Batch)[-1].samples[0][3] == Status.GOOD)


async def test_a_clock_set_back_ends_the_claims_and_drops_the_scan_under_way() -> None:
    async with running() as rig:
        rig.line.holding = asyncio.Event()
        rig.line.scanning.clear()
        await rig.line.scanning.wait()
        scans = rig.line.scans
        before_ns = rig.clock.utc_ns()
        rig.clock.ahead_ns = -3600 * NS_PER_S
        rig.collector.clock_stepped(-3600 * NS_PER_S)
        said = len(rig.journal)
        assert all(c.through_ns <= before_ns + NS_PER_S for c in rig.of(Coverage))
        rig.line.holding.set()
        rig.line.holding = None
        await rig.until(lambda: any(isinstance(b, Batch) for b in rig.journal[said:]))
        first = next(b for b in rig.journal[said:] if isinstance(b, Batch))
        assert rig.line.scans > scans + 1
        assert first.complete
        assert first.requested_ns < before_ns - 3000 * NS_PER_S
        rig.collector.outcomes.record(rig.clock.utc_ns())
        assert Cause.CLOCK.value in causes(rig)


async def test_a_clock_set_forward_declares_what_it_jumped_over() -> None:
    async with running() as rig:
        rig.clock.ahead_ns = 3600 * NS_PER_S
        rig.collector.clock_stepped(3600 * NS_PER_S)
        said = len(rig.journal)
        await rig.until(lambda: any(isinstance(b, Batch) for b in rig.journal[said:]))
        rig.collector.outcomes.record(rig.clock.utc_ns())
        last = rig.of(Coverage)[-1]
        (hole,) = last.holes
        assert hole.cause == Cause.CLOCK.value
        assert hole.to_ns - hole.from_ns > 3599 * NS_PER_S
        ends = [record.through_ns for record in rig.of(Coverage)[:-1]]
        assert last.since_ns == (max(ends) if ends else hole.from_ns)


async def test_a_pulse_is_remembered_while_it_runs_and_forgotten_when_it_ended() -> None:
    async with running() as rig:
        await rig.writer.write("alice", PULSED, True)
        assert [(f.key, f.value) for f in rig.of(Fact)] == [(f"{PULSE}pulsed", True)]
        await rig.until(lambda: len(rig.of(Fact)) == 2)
        assert rig.of(Fact)[-1].value is False
        assert rig.line.written == [True, False]
        assert rig.of(Event) == []


async def test_a_pulse_whose_begin_was_not_confirmed_is_an_alarm_and_never_a_second_write() -> None:
    async with running() as rig:
        rig.line.write_error = ReplyTimeout("no answer within 1s")
        await rig.writer.write("alice", PULSED, True)
        (event,) = rig.of(Event)
        assert "not confirmed" in event.text
        assert rig.of(Fact)[-1].value is False
        assert rig.line.written == [True]


async def test_a_pulse_whose_end_meets_a_bug_is_an_alarm() -> None:
    async with running() as rig:
        await rig.writer.write("alice", PULSED, True)
        rig.line.write_error = ValueError("a driver's bug")
        await rig.until(lambda: bool(rig.of(Event)))
        (event,) = rig.of(Event)
        assert (event.severity, "was not ended" in event.text) == (900, True)
        await rig.until(lambda: rig.of(Fact)[-1].value is False)


async def test_a_pulse_that_a_crash_left_running_is_told_once_and_never_ended_late() -> None:
    async with running() as rig:
        rig.writer.tell_unfinished({("plc", f"{PULSE}pulsed"): True, ("plc", "refused"): [1]})
        (event,) = rig.of(Event)
        assert (event.source, event.severity) == ("plc", 900)
        assert "pulsed was not ended: the node ended first" in event.text
        assert [f.value for f in rig.of(Fact)] == [False]
        assert rig.line.written == []


async def test_a_write_that_a_stop_cuts_off_is_told_to_its_caller_and_journalled() -> None:
    async with running() as rig:
        rig.line.hanging = True
        write = asyncio.create_task(rig.writer.write("alice", PULSED, True))
        await rig.until(lambda: bool(rig.of(Audit)))
        for _ in range(3):
            await asyncio.sleep(0)
        await rig.writer.stop()
        outcome = await write
        assert outcome.status == Status.BAD_SHUTDOWN
        assert [audit.outcome for audit in rig.of(Audit)] == ["intent", "result BadShutdown"]
        assert "not confirmed" in rig.of(Event)[0].text
        assert (await rig.writer.write("alice", START, True)).status == Status.BAD_SHUTDOWN
        assert rig.line.written == [True]


async def test_what_a_scan_read_before_a_write_does_not_hide_what_was_read_back_after_it() -> None:
    async with running() as rig:
        rig.line.holding = asyncio.Event()
        rig.line.forget("plc")
        rig.line.scanning.clear()
        await rig.line.scanning.wait()
        said = len(rig.of(Batch))
        assert (await rig.writer.write("alice", START, False)).read_back is False
        (written,) = rig.of(Batch)[said:]
        assert (written.origin, written.samples[0][2]) == (Origin.WRITE, False)
        rig.line.holding.set()
        await rig.until(lambda: len(rig.of(Batch)) > said + 1)
        before, again = rig.of(Batch)[said + 1].samples
        assert before[1] < again[1] == written.samples[0][1], "each stands at its own time"
        assert (before[2], again[2]) == (True, False)
        rig.line.holding = None
        await rig.until(lambda: len(rig.of(Batch)) > said + 2)
        (taken_back,) = rig.of(Batch)[said + 2].samples
        assert taken_back[1] > written.samples[0][1]
        assert taken_back[2] is True, "the next scan speaks for itself"


async def test_a_write_whose_caller_left_has_its_end_journalled() -> None:
    async with running() as rig:
        rig.line.hanging = True
        write = asyncio.create_task(rig.writer.write("alice", START, True))
        await rig.until(lambda: bool(rig.of(Audit)))
        for _ in range(3):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        assert write.cancelled()
        assert "may have executed" in str(rig.of(Audit)[-1].detail)


async def test_a_new_file_gets_all_that_is_in_force_at_once() -> None:
    async with running() as rig:
        before = len(rig.of(Batch))
        rig.collector.partition_began()
        await rig.until(lambda: len(rig.of(Batch)) > before)
        batch = rig.of(Batch)[before]
        assert batch.complete
        assert len(batch.samples) == 2


async def test_what_was_not_said_while_the_reign_was_in_doubt_is_said_once_it_lasts() -> None:
    async with running() as rig:
        rig.line.value = False
        rig.reigns = False
        await rig.line.scanned_again()
        rig.reigns = True
        said = len(rig.of(Batch))
        await rig.until(lambda: len(rig.of(Batch)) > said)
        batch = rig.of(Batch)[said]
        assert batch.complete
        assert {row[0]: row[2] for row in batch.samples}[0] is False
        assert len(batch.samples) == 2


async def test_what_comes_after_the_reign_is_not_said_but_declared() -> None:
    async with running() as rig:
        await rig.line.scanned_again()
        rig.reigns = False
        rig.line.fault = Fault(Cause.LINK, Status.BAD_NO_COMMUNICATION, "time-out", NS_PER_S)
        before = len(rig.of(Batch))
        await rig.line.scanned_again()
        rig.line.fault = None
        await rig.line.scanned_again()
        assert len(rig.of(Batch)) == before
        assert rig.collector.states["plc"].fault is None
        assert rig.of(Event) == []
        rig.collector.halt()
        assert rig.of(Coverage)[-1].holes[-1].cause == Cause.NODE_DOWN
