"""A Modbus line as the collector sees it: units with a breaker each around one session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from drivers.modbus import frames
from drivers.modbus.backoff import unit_wait_ns
from drivers.modbus.bus import Bus
from drivers.modbus.heartbeat import beat
from drivers.modbus.log.methods import FACT, Logs
from drivers.modbus.log.reader import read_pages
from drivers.modbus.rehearsal import rehearse
from drivers.modbus.session import OtherMaster
from drivers.modbus.settings import ModbusLine
from drivers.modbus.unit import Unit
from drivers.modbus.writing import write_point
from gateway.driver import (
    Delivery,
    Diagnostics,
    DriverContext,
    Fault,
    Frame,
    LineSpec,
    LogPage,
    LogSpec,
    LogWanted,
    PointSpec,
    Rehearsal,
    Scan,
    Turn,
    WriteOutcome,
)
from gateway.ending import end
from gateway.errors import DeviceError, LinkError, LogUnavailable, Refused
from gateway.model import NS_PER_S, Cause, Status, Value
from profiles.schema import Area, parse_address

RESETS_MAX = 1
"""Connections that one unit may cost in a row before it is taken for the cause."""
LOOK_AGAIN_NS = 60 * NS_PER_S
"""A clock that doesn't answer must not cost every connection."""


class OpenLine:
    """Fulfils gateway.driver.Line on one session."""

    def __init__(self, spec: LineSpec, context: DriverContext) -> None:
        self._spec = spec
        self._context = context
        self._clock = context.clock
        settings: ModbusLine = spec.settings
        shared = len(spec.devices) > 1
        serial = settings.rtu is not None
        self._units: dict[str, Unit] = {}
        self._bus = Bus(spec, context, self._units)
        for device in spec.devices:
            unit = Unit(device, context, self._bus.exchange, serial=serial, shared=shared)
            self._units[device.name] = unit
        self._logs = {device.name: Logs(device) for device in spec.devices}
        self._looking: set[asyncio.Task[None]] = set()
        self._looked: dict[str, tuple[int, int]] = {}
        self._reads: set[str] = set()
        self._heartbeats: list[asyncio.Task[None]] = []

    @property
    def spec(self) -> LineSpec:
        return self._spec

    # ------------------------------------------------------------------------------------- the port

    def prepare(self, device: str) -> None:
        """Make the read plans of a device."""
        self._units[device].prepare()

    async def scan(self, device: str, scan_class: str) -> Scan:
        """Read one class of one device; faults come back in the Scan."""
        unit = self._units[device]
        requested_ns = self._clock.utc_ns()
        waiting = self._waiting(unit)
        if waiting is not None:
            return Scan(requested_ns, requested_ns, (), waiting)
        self._start_heartbeats()
        unit.withdrawn = False
        try:
            found = await unit.scan(scan_class, self._bus.session.generation)
        except DeviceError as error:
            fault = self._fault(unit, error)
            return Scan(requested_ns, self._clock.utc_ns(), (), fault)
        unit.breaker.succeeded()
        unit.fault = None
        self._look_soon(device)
        return Scan(requested_ns, self._clock.utc_ns(), found, complete=unit.complete)

    def _look_soon(self, device: str) -> None:
        """Have the clock of a device with a log read once a connection, before somebody sets it.

        Beside the scans: none that is read waits to be told.
        """
        generation, now_ns = self._bus.session.generation, self._clock.monotonic_ns()
        seen, again_ns = self._looked.get(device, (-1, now_ns))
        if seen == generation or now_ns < again_ns or device in self._reads:
            return
        self._looked[device] = generation, now_ns
        task = asyncio.create_task(self._look_at_clock(device), name=f"{device} clock")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look_at_clock(self, device: str) -> None:
        generation, now_ns = self._bus.session.generation, self._clock.monotonic_ns()
        context, unit = self._context, self._units[device]
        looks = self._logs[device].looks(context.facts, self._clock.utc_ns(), context.clock_run())
        try:
            for name, reading in looks:
                async for _ in read_pages(reading, unit, context, _at_once, name):
                    pass
        except DeviceError:  # the read of the log says what is wrong
            self._looked[device] = generation, now_ns + LOOK_AGAIN_NS
        finally:
            await self._rest()

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        """Modbus has no subscriptions: configuration never asks for one."""
        raise LinkError(f"{device}: Modbus devices are scanned, they do not report by themselves")

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point and read it back. Raises DeviceError or WriteRefused."""
        unit = self._units[point.device]
        async with unit.write_lock:
            try:
                return await write_point(unit, point, value)
            finally:
                unit.layout.forget_point(point.name)

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        """Read registers or bits as they are. Raises DeviceError or ValueError.

        `address` is 0-based, decimal or hexadecimal, or `4x3001` as Modicon counts.
        """
        unit, where = self._units[device], Area(area)
        limit = 2000 if where.is_bits else 125
        if not 1 <= count <= limit:
            raise ValueError(f"count is between 1 and {limit}")
        try:
            wire = int(address, 0)
        except ValueError:
            wire, named = parse_address(address, 0)
            if named is not None and named is not where:
                raise ValueError(f"{address} is a {named}, not a {where}") from None
        if not 0 <= wire <= 0x10000 - count:
            raise ValueError("addresses end at 65535")
        try:
            words = await unit.read_words(where, wire, count)
        finally:
            await self._rest()
        return [bool(word) for word in words] if where.is_bits else list(words)

    def logs(self, device: str) -> Sequence[LogSpec]:
        """The logs that site and profile tell of, as far as there is a method that reads them."""
        return self._logs[device].specs(self._context.facts)

    async def read_log(
        self, device: str, wanted: LogWanted, turn: Turn
    ) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of a log. Raises DeviceError, LogUnavailable."""
        unit, logs, name = self._units[device], self._logs[device], FACT + wanted.log
        waiting = self._waiting(unit)
        if waiting is not None:
            raise LogUnavailable(waiting.detail, waiting.retry_after_ns)
        fact, now_ns = self._context.facts.get((device, name)), self._clock.utc_ns()
        job = logs.job(wanted, fact, now_ns, self._context.clock_run())
        pages = read_pages(logs.read(job), unit, self._context, turn, name)
        self._reads.add(device)
        try:
            async with contextlib.aclosing(pages):
                async for page in pages:
                    yield page
        finally:
            self._reads.discard(device)
            await self._rest()

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Let the device forget what a page holds. Raises DeviceError."""
        unit, logs = self._units[device], self._logs[device]
        reading = logs.acknowledge(page, self._clock.utc_ns())
        if reading is None:
            return

        try:
            async for _ in read_pages(reading, unit, self._context, _at_once, FACT):
                pass
        finally:
            await self._rest()

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Show each frame of a device to `sink` until the returned function is called."""
        sinks = self._units[device].sinks
        sinks.append(sink)

        def stop() -> None:
            if sink in sinks:
                sinks.remove(sink)

        return stop

    def diagnostics(self, device: str) -> Diagnostics:
        """The device's counters, alive."""
        return self._units[device].diagnostics

    def forget(self, device: str) -> None:
        """Observe every point of a device again at its next scan."""
        self._units[device].forget()

    async def withdraw(self, device: str) -> None:
        """Say nothing more to a device until its next scan; the last one closes the connection."""
        unit = self._units[device]
        unit.withdrawn = True
        unit.diagnostics.connected = False
        await self._rest()

    async def _rest(self) -> None:
        """Close the connection when nobody on the line is scanned any more."""
        async with self._bus.lock:
            if all(unit.withdrawn for unit in self._units.values()):
                self._bus.session.close()
                for unit in self._units.values():
                    unit.diagnostics.connected = False

    async def rehearse(self, device: str) -> Rehearsal:
        """Knock at a device once, on a connection of its own; what it said."""
        if self._bus.session.connected and self._units[device].diagnostics.connected:
            return Rehearsal(device, True, True, "connected: this node polls it")
        return await rehearse(self._spec, self._units[device], self._context)

    async def close(self) -> None:
        """Send nothing more, close what is open. Idempotent."""
        self._bus.closed = True
        if self._looking and self._spec.port is not None:
            async with self._bus.lock:  # on a serial line the reply comes before anybody's question
                pass
        await end([*self._heartbeats, *self._looking])
        self._heartbeats.clear()
        self._bus.session.close()
        for unit in self._units.values():
            unit.diagnostics.connected = False
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    # ------------------------------------------------------------------------------------- failures

    def _waiting(self, unit: Unit) -> Fault | None:
        """The fault of a unit that may not be asked yet, else None."""
        now_ns = self._clock.monotonic_ns()
        error = self._bus.link_error
        if (
            error is not None
            and not self._bus.session.connected
            and now_ns < self._bus.link_until_ns
        ):
            return self._link_fault(error, self._bus.link_until_ns - now_ns)
        wait_ns = unit.breaker.wait_ns(now_ns)
        if wait_ns and unit.fault is not None:
            return replace(unit.fault, retry_after_ns=wait_ns)
        return None

    def _link_fault(self, error: LinkError, wait_ns: int) -> Fault:
        cause = Cause.OTHER_MASTER if isinstance(error, OtherMaster) else Cause.LINK
        return Fault(cause, error.status, str(error), wait_ns)

    def _fault(self, unit: Unit, error: DeviceError) -> Fault:
        """Count a failed scan and say when to try again."""
        unit.failed(error)
        now_ns = self._clock.monotonic_ns()
        if isinstance(error, LinkError):
            unit.fault = self._link_fault(error, max(0, self._bus.link_until_ns - now_ns))
            if unit.resets > RESETS_MAX and len(self._units) > 1:
                # Some gateways drop the connection when a dead unit is asked for: its neighbours
                # must not pay for that.
                unit.breaker.failed(now_ns, self._unit_wait_ns(unit))
            return unit.fault
        wait_ns = self._unit_wait_ns(unit)
        unit.breaker.failed(now_ns, wait_ns)
        status = error.status
        if isinstance(error, Refused) and error.code in frames.DEAD_TARGET:
            status = Status.BAD_NO_COMMUNICATION
        unit.fault = Fault(Cause.DEVICE, status, error.message, wait_ns)
        return unit.fault

    def _unit_wait_ns(self, unit: Unit) -> int:
        """How long to leave a unit alone that has just failed once more."""
        dead = 1 + sum(u.breaker.failures > 0 for u in self._units.values() if u is not unit)
        alive = sum(u.diagnostics.connected for u in self._units.values() if u is not unit)
        return unit_wait_ns(
            unit.breaker.failures + 1,
            unit.settings.timeout_ns,
            alive,
            dead,
            self._context.rng.random(),
        )

    def _start_heartbeats(self) -> None:
        if self._heartbeats or self._bus.closed:
            return
        for unit in self._units.values():
            if unit.settings.heartbeat is not None:
                pulse = beat(unit, unit.settings.heartbeat, self._context.rng)
                self._heartbeats.append(asyncio.create_task(pulse, name=f"{unit.spec.name} beat"))


async def _at_once(expected_ns: int) -> None:
    """A turn that is always due: little is asked, or the records are safe."""
