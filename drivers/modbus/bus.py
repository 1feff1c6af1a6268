"""One request at a time on a line: locked, connected, sent, counted, and cleaned up after."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from drivers.modbus import frames
from drivers.modbus.backoff import link_wait_ns
from drivers.modbus.pdu import RawCall, RawRequest, byte_count, data_of
from drivers.modbus.resync import Suspects, probe_counts
from drivers.modbus.session import OtherMaster, Session, Sink
from drivers.modbus.settings import ModbusLine
from drivers.modbus.unit import Unit
from gateway.driver import DriverContext, Frame, LineSpec
from gateway.errors import InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_S

OTHER_MASTER_WAIT_NS = 5 * NS_PER_S
ALARM_OTHER_MASTER = 800


class Bus:
    """The session of a line and whoever wants to speak on it.

    The lock is held for one request and its answer (and the probe after a time-out), so that a hung
    unit costs a neighbour one time-out at most.
    """

    def __init__(self, spec: LineSpec, context: DriverContext, units: Mapping[str, Unit]) -> None:
        self._context = context
        self._clock = context.clock
        settings: ModbusLine = spec.settings
        self._rtu_framed = settings.is_rtu_framed
        self.session = Session(
            settings,
            spec.port,
            context.clock,
            context.base_dir,
            context.bind,
            context.may_send,
            context.reign_ns,
        )
        self.lock = asyncio.Lock()
        self.link_error: LinkError | None = None
        self.link_until_ns = 0
        """When the next attempt to connect may be made, while there is a `link_error`."""
        self.closed = False
        """Set when the line is closed: then nothing is said any more."""
        self._units = units
        self._suspects = Suspects()
        self._link_failures = 0

    async def exchange(self, unit: Unit, request: RawRequest, size: int | None) -> bytes:
        """Send one request of a unit and give the data of its reply; the line is held meanwhile."""
        async with self.lock:
            await self._connect(unit)
            if self._rtu_framed:
                await self._resync(unit, request, size)
            return await self._ask(unit, request, size)

    async def _connect(self, unit: Unit) -> None:
        self._still_open()
        if self.session.connected:
            return
        now_ns = self._clock.monotonic_ns()
        if self.link_error is not None and now_ns < self.link_until_ns:
            raise self.link_error
        try:
            await self.session.open(unit.settings.timeout_ns)
        except LinkError as error:
            # Counted from the beginning of the attempt: a host that swallowed our SYN has cost
            # its wait already.
            self._link_failed(unit, error, now_ns)
            raise
        self._still_open()

    def _still_open(self) -> None:
        """Whether the line was closed while we were connecting. Raises LinkError."""
        if self.closed:
            self.session.close()
            raise LinkError("the line is closed")

    async def _resync(self, unit: Unit, request: RawRequest, size: int | None) -> None:
        """After a time-out, first ask what no late answer can be taken for (see resync.py)."""
        unit_id, now_ns = request.dev_id, self._clock.monotonic_ns()
        if not self._suspects.is_suspect(unit_id, now_ns):
            return
        question = unit.anchor
        if question is None and size is not None and not isinstance(request, RawCall):
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
        unit.asked_ns = self._clock.utc_ns()
        diagnostics.requests += 1
        answered = False
        try:
            reply = await self.session.transact(
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
            self.session.distrust()
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
                    length = byte_count(request, size) or 0
                    self._suspects.timed_out(request.dev_id, request.function_code, length, now_ns)
                self.session.recover()
        return data

    def _answered(self, unit: Unit, request: RawRequest, sent_ns: int) -> None:
        diagnostics = unit.diagnostics
        unit.resets = 0
        diagnostics.replies += 1
        diagnostics.round_trip(self._clock.monotonic_ns() - sent_ns)
        unit.answered_ns = self._clock.utc_ns()
        diagnostics.connected = True
        diagnostics.consecutive_failures = 0
        diagnostics.last_good_ns = self._clock.utc_ns()
        self._link_failures = 0
        self.link_error = None
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

    def _link_failed(
        self, unit: Unit, error: LinkError, began_ns: int, *, first_free: bool = False
    ) -> None:
        """Leave the connection alone for a while; `first_free`: reconnect once without a wait."""
        self._link_failures += 1
        failures = self._link_failures - first_free
        wait_ns = link_wait_ns(failures, self._context.rng.random()) if failures else 0
        if isinstance(error, OtherMaster):
            wait_ns = OTHER_MASTER_WAIT_NS
            if not isinstance(self.link_error, OtherMaster):
                self._context.alarm(unit.spec.name, ALARM_OTHER_MASTER, str(error))
        self.link_until_ns = began_ns + wait_ns
        self.link_error = error
        unit.diagnostics.link_failures += 1
        for each in self._units.values():
            each.diagnostics.connected = False
            each.forget()
