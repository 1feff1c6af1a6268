"""A Modbus line as the collector sees it: units with a breaker each around one session.

Whoever wants to speak waits for the lock; it is held for one request and its answer (and the
probe after a time-out), so that a hung unit costs a neighbour one time-out at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from drivers.modbus import frames
from drivers.modbus.backoff import link_wait_ns, unit_wait_ns
from drivers.modbus.heartbeat import beat
from drivers.modbus.pdu import RawRequest, data_of
from drivers.modbus.rehearsal import rehearse
from drivers.modbus.resync import Suspects, probe_counts
from drivers.modbus.session import OtherMaster, Session, Sink
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
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_S, Cause, Status, Value
from profiles.schema import Area, parse_address

OTHER_MASTER_WAIT_NS = 5 * NS_PER_S
ALARM_OTHER_MASTER = 800
RESETS_MAX = 1
"""Connections that one unit may cost in a row before it is taken for the cause."""


class OpenLine:
    """Fulfils gateway.driver.Line on one session."""

    def __init__(self, spec: LineSpec, context: DriverContext) -> None:
        self._spec = spec
        self._context = context
        self._clock = context.clock
        settings: ModbusLine = spec.settings
        self._rtu_framed = settings.is_rtu_framed
        self._session = Session(
            settings,
            spec.port,
            context.clock,
            context.base_dir,
            context.bind,
            context.may_send,
            context.reign_ns,
        )
        shared = len(spec.devices) > 1
        serial = settings.rtu is not None
        self._units = {
            device.name: Unit(device, context, self._exchange, serial=serial, shared=shared)
            for device in spec.devices
        }
        self._lock = asyncio.Lock()
        self._suspects = Suspects()
        self._link_failures = 0
        self._link_until_ns = 0
        self._link_error: LinkError | None = None
        self._heartbeats: list[asyncio.Task[None]] = []
        self._closed = False

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
            found = await unit.scan(scan_class, self._session.generation)
        except DeviceError as error:
            fault = self._fault(unit, error)
            return Scan(requested_ns, self._clock.utc_ns(), (), fault)
        unit.breaker.succeeded()
        unit.fault = None
        return Scan(requested_ns, self._clock.utc_ns(), found, complete=unit.complete)

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        """Modbus has no subscriptions: configuration never asks for one."""
        raise LinkError(f"{device}: Modbus devices are scanned, they do not report by themselves")

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point and read it back. Raises DeviceError or WriteRefused."""
        unit = self._units[point.device]
        async with unit.write_lock:
            return await write_point(unit, point, value)

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
        """None yet."""
        return ()

    async def read_log(
        self, device: str, wanted: LogWanted, turn: Turn
    ) -> AsyncGenerator[LogPage, None]:
        """Nothing yet."""
        return
        yield

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Nothing yet."""

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
        async with self._lock:
            if all(unit.withdrawn for unit in self._units.values()):
                self._session.close()
                for unit in self._units.values():
                    unit.diagnostics.connected = False

    async def rehearse(self, device: str) -> Rehearsal:
        """Knock at a device once, on a connection of its own; what it said."""
        if self._session.connected and self._units[device].diagnostics.connected:
            return Rehearsal(device, True, True, "connected: this node polls it")
        return await rehearse(self._spec, self._units[device], self._context)

    async def close(self) -> None:
        """Send nothing more, close what is open. Idempotent."""
        self._closed = True
        for task in self._heartbeats:
            task.cancel()
        await asyncio.gather(*self._heartbeats, return_exceptions=True)
        self._heartbeats.clear()
        self._session.close()
        for unit in self._units.values():
            unit.diagnostics.connected = False
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    # ---------------------------------------------------------------------------------- one request

    async def _exchange(self, unit: Unit, request: RawRequest, size: int | None) -> bytes:
        """Send one request of a unit and give the data of its reply; the line is held meanwhile."""
        async with self._lock:
            await self._connect(unit)
            if self._rtu_framed:
                await self._resync(unit, request, size)
            return await self._ask(unit, request, size)

    async def _connect(self, unit: Unit) -> None:
        self._still_open()
        if self._session.connected:
            return
        now_ns = self._clock.monotonic_ns()
        if self._link_error is not None and now_ns < self._link_until_ns:
            raise self._link_error
        try:
            await self._session.open(unit.settings.timeout_ns)
        except LinkError as error:
            # Counted from the beginning of the attempt: a host that swallowed our SYN has cost
            # its wait already.
            self._link_failed(unit, error, now_ns)
            raise
        self._still_open()

    def _still_open(self) -> None:
        """Whether the line was closed while we were connecting. Raises LinkError."""
        if self._closed:
            self._session.close()
            raise LinkError("the line is closed")

    async def _resync(self, unit: Unit, request: RawRequest, size: int | None) -> None:
        """After a time-out, first ask what no late answer can be taken for (see resync.py)."""
        unit_id, now_ns = request.dev_id, self._clock.monotonic_ns()
        if not self._suspects.is_suspect(unit_id, now_ns):
            return
        question = unit.anchor
        if question is None and size is not None:
            address, count = request.span
            question = (request.function_code, address, count)
        if question is None:
            return
        function, address, count = question
        bits = function in (frames.READ_COILS, frames.READ_DISCRETE)
        limits = unit.layout.holds.limits
        limit = limits.max_read_bits if bits else limits.max_read_words
        chosen = self._suspects.probe(unit_id, function, probe_counts(count, limit), bits)
        if chosen is None:
            return
        probe = RawRequest(unit_id, function, frames.read_payload(address, chosen))
        try:
            await self._ask(unit, probe, frames.read_size(function, chosen))
        except Refused:
            # An exception is an answer too, and all that was late came before it.
            self._suspects.answered(unit_id)

    async def _ask(self, unit: Unit, request: RawRequest, size: int | None) -> bytes:
        diagnostics = unit.diagnostics
        sent_ns = self._clock.monotonic_ns()
        diagnostics.requests += 1
        answered = False
        try:
            reply = await self._session.transact(
                request,
                size,
                unit.settings.timeout_ns,
                unit.gap_ns(),
                unit.holds.quirks.ignore_tid,
                self._sink(unit),
            )
            data = data_of(request, size, reply)
            answered = True
        except Refused as refused:
            answered = True
            diagnostics.exceptions[refused.code] = diagnostics.exceptions.get(refused.code, 0) + 1
            raise
        except ReplyTimeout:
            diagnostics.timeouts += 1
            raise
        except InvalidReply:
            diagnostics.invalid_replies += 1
            self._session.distrust()
            raise
        except LinkError as error:
            unit.resets += 1
            self._link_failed(unit, error, self._clock.monotonic_ns(), first_free=True)
            raise
        finally:
            if answered:
                self._answered(unit, request, sent_ns)
            else:
                # Time-out, wrong answer, lost link, or cancelled while waiting: in any case the
                # answer may still come, and must not meet the next question.
                if self._rtu_framed:
                    now_ns = self._clock.monotonic_ns()
                    self._suspects.timed_out(
                        request.dev_id, request.function_code, size or 0, now_ns
                    )
                self._session.recover()
        return data

    def _answered(self, unit: Unit, request: RawRequest, sent_ns: int) -> None:
        diagnostics = unit.diagnostics
        unit.resets = 0
        diagnostics.replies += 1
        diagnostics.round_trip(self._clock.monotonic_ns() - sent_ns)
        diagnostics.connected = True
        diagnostics.consecutive_failures = 0
        diagnostics.last_good_ns = self._clock.utc_ns()
        self._link_failures = 0
        self._link_error = None
        if self._rtu_framed:
            self._suspects.answered(request.dev_id)

    def _sink(self, unit: Unit) -> Sink | None:
        if not unit.sinks:
            return None

        def show(sent: bool, data: bytes, text: str) -> None:
            frame = Frame(self._clock.utc_ns(), unit.spec.name, sent, data, text)
            for sink in tuple(unit.sinks):
                sink(frame)

        return show

    # ------------------------------------------------------------------------------------- failures

    def _link_failed(
        self, unit: Unit, error: LinkError, began_ns: int, *, first_free: bool = False
    ) -> None:
        """Leave the connection alone for a while; `first_free`: reconnect once without a wait."""
        self._link_failures += 1
        failures = self._link_failures - first_free
        wait_ns = link_wait_ns(failures, self._context.rng.random()) if failures else 0
        if isinstance(error, OtherMaster):
            wait_ns = OTHER_MASTER_WAIT_NS
            if not isinstance(self._link_error, OtherMaster):
                self._context.alarm(unit.spec.name, ALARM_OTHER_MASTER, str(error))
        self._link_until_ns = began_ns + wait_ns
        self._link_error = error
        unit.diagnostics.link_failures += 1
        for each in self._units.values():
            each.diagnostics.connected = False
            each.forget()

    def _waiting(self, unit: Unit) -> Fault | None:
        """The fault of a unit that may not be asked yet, else None."""
        now_ns = self._clock.monotonic_ns()
        error = self._link_error
        if error is not None and not self._session.connected and now_ns < self._link_until_ns:
            return self._link_fault(error, self._link_until_ns - now_ns)
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
            unit.fault = self._link_fault(error, max(0, self._link_until_ns - now_ns))
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
        if self._heartbeats or self._closed:
            return
        for unit in self._units.values():
            if unit.settings.heartbeat is not None:
                pulse = beat(unit, unit.settings.heartbeat, self._context.rng)
                self._heartbeats.append(asyncio.create_task(pulse, name=f"{unit.spec.name} beat"))
