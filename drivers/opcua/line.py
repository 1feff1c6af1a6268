"""The line of one OPC UA device: connects, scans or listens, writes. One session at a time.

The session is made by whoever needs it first (a scan, the subscription, a command) and dropped by
whoever sees it fail; nobody repairs one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final

from drivers.opcua.backoff import Backoff, Failure
from drivers.opcua.history import History
from drivers.opcua.introduction import introduce
from drivers.opcua.listening import LOOK_AGAIN_NS, Listener
from drivers.opcua.nodes import NodeText, parse_node, resolve
from drivers.opcua.observe import Reading, has_element
from drivers.opcua.pki import BadCredentials, NotTrusted
from drivers.opcua.points import Moment, Points
from drivers.opcua.rehearsal import rehearse
from drivers.opcua.session import Session
from drivers.opcua.session_types import declared_type, type_label
from drivers.opcua.settings import OpcUaDevice
from drivers.opcua.values import (
    NATURAL,
    UNSUPPORTED,
    Builtin,
    converter,
    datetime_to_ns,
    publish,
    readable,
    to_device,
    type_name,
)
from drivers.opcua.wire import Wire
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
    Observation,
    PointSpec,
    Rehearsal,
    Scan,
    Turn,
    WriteOutcome,
)
from gateway.errors import DeviceError, LinkError, Refused, ReplyTimeout, WriteRefused
from gateway.model import Cause, Status, Value, is_bad, status_name

log = logging.getLogger(__name__)
LABELS_MAX: Final = 20
"""Structures whose type is asked for by name at each connect; the others are refused unnamed."""
_UNWANTED: Final = (Status.BAD_USER_ACCESS_DENIED, Status.BAD_CONFIGURATION_ERROR)


class OpcUaLine:
    """Fulfils gateway.driver.Line for one device."""

    def __init__(self, spec: LineSpec, context: DriverContext) -> None:
        self._spec = spec
        self._context = context
        self._device = spec.devices[0]
        self.settings: OpcUaDevice = self._device.settings
        self.wire = Wire(self._device.name, context)
        self.points = Points(self._device, context)
        self.backoff = Backoff(context.rng.uniform)
        self.history = History(self, context)
        self.nodes: list[Any] = []
        self.written: set[int] = set()
        """Nodes that were written to since the scan under way began."""
        self._listener: Listener | None = None
        self._session: Session | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self._bound_ns = 0

    @property
    def spec(self) -> LineSpec:
        return self._spec

    # ---------------------------------------------------------------------------- connection

    async def acquire(self) -> Session:
        """The open session, or a new one. Raises DeviceError."""
        async with self._connecting:
            if self._session is not None and self._session.alive:
                return self._session
            self._check_open()
            self._session = None
            self.wire.diagnostics.connected = False
            session = Session(self.settings, self.wire, self._context)
            await session.open()
            self._session = session
            if self._closed:  # while we were connecting
                self.drop(session)
            self._check_open()
            self._bind(session)
            introduce(session, self.wire, self.points)
            return session

    def _check_open(self) -> None:
        if self._closed:
            raise LinkError("the line is closed")

    def _bind(self, session: Session) -> None:
        """Find the nodes by this server's namespaces; None where it lacks one."""
        self.nodes = [
            None if found is None else session.node(*found)
            for found in self.points.resolved(session.namespaces)
        ]
        self._bound_ns = self._context.clock.monotonic_ns()

    async def bind_again(self, session: Session) -> list[int]:
        """The places of nodes whose namespace the server has only now. Raises DeviceError."""
        self._bound_ns = self._context.clock.monotonic_ns()
        lacking = [where for where, node in enumerate(self.nodes) if node is None]
        if lacking:
            await session.look_for_namespaces()
            self._bind(session)
        return [where for where in lacking if self.nodes[where] is not None]

    def drop(self, session: Session | None = None) -> None:
        """Let go of a session (the current one by default) without a word."""
        session = session or self._session
        if session is None:
            return
        session.abort()
        if session is self._session:
            self._session = None
            self.wire.diagnostics.connected = False

    def fault(self, error: DeviceError) -> Fault:
        """What a failure means for the device as a whole, and how long to leave it alone."""
        if isinstance(error, NotTrusted | BadCredentials) or error.status in _UNWANTED:
            failure = Failure.UNWANTED
        elif isinstance(error, LinkError):
            failure = Failure.REFUSED
        else:
            failure = Failure.SILENT
        cause = Cause.LINK if isinstance(error, LinkError) else Cause.DEVICE
        return Fault(cause, error.status, str(error), self.backoff.pause_ns(failure))

    # ------------------------------------------------------------------------------- polling

    def prepare(self, device: str) -> None:
        """Nothing: what a scan needs of the server, only the session tells."""

    async def scan(self, device: str, scan_class: str) -> Scan:
        """Read one class of the device, connecting first if need be."""
        clock = self._context.clock
        asked_ns = clock.utc_ns()
        self.written.clear()
        try:
            session = await self.acquire()
            if clock.monotonic_ns() - self._bound_ns >= LOOK_AGAIN_NS:
                await self.bind_again(session)
            places = self.points.of_class.get(scan_class, [])
            asked_ns = clock.utc_ns()
            readings = await self.read(session, places)
        except DeviceError as error:
            self.drop()
            self.points.lost()
            return Scan(asked_ns, clock.utc_ns(), fault=self.fault(error))
        received_ns = clock.utc_ns()
        self.backoff.succeeded()
        # A reading of before a write tells nothing new after it: the next scan observes the node.
        said = [pair for pair in zip(places, readings, strict=True) if pair[0] not in self.written]
        moment = Moment(asked_ns, received_ns)
        observations = self.observed([w for w, _ in said], [r for _, r in said], moment)
        await self.report(session, places, readings)
        await self.history.look(session)
        return Scan(asked_ns, received_ns, observations)

    async def read(self, session: Session, places: Sequence[int]) -> list[Reading | None]:
        """Read nodes by their places; None for those whose namespace the server lacks."""
        there = [where for where in places if self.nodes[where] is not None]
        readings = await session.read([self.nodes[where] for where in there])
        found = dict(zip(there, readings, strict=True))
        return [found.get(where) for where in places]

    def observed(
        self, places: Sequence[int], readings: Sequence[Reading | None], moment: Moment
    ) -> list[Observation]:
        """What readings say anew."""
        observations: list[Observation] = []
        for where, reading in zip(places, readings, strict=True):
            if reading is None:
                observations += self.points.fail(where, Status.BAD_NODE_ID_UNKNOWN, moment)
            else:
                observations += self.points.observe(where, reading, moment)
        return observations

    async def report(
        self, session: Session, places: Sequence[int], readings: Sequence[Reading | None]
    ) -> None:
        """Tell what is wrong with nodes, once, and journal their types."""
        labels_left = LABELS_MAX
        for where, reading in zip(places, readings, strict=True):
            if reading is None or not self.points.news(where, reading):
                continue
            label = ""
            if reading.builtin in UNSUPPORTED and labels_left:
                labels_left -= 1
                label = await type_label(session, self.nodes[where])
            self.points.report(where, reading, label)
        self.points.learn_types()

    # ----------------------------------------------------------------------------- listening

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        """Subscribe to the device and deliver until cancelled; reconnects by itself."""
        self._listener = Listener(self, self._context)
        try:
            await self._listener.run(deliver)
        finally:
            self._listener = None

    # ------------------------------------------------------------------------------ commands

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point and read it back.

        Raises WriteRefused when the value does not fit or nothing may be sent, DeviceError when the
        server refuses or the connection fails. Never repeated.
        """
        if not self._context.may_send():
            raise WriteRefused("the reign has ended", Status.BAD_INVALID_STATE)
        _check_span(point, value)
        session = await self.acquire()
        where = self.points.place_of(point.name)
        node, index = self.nodes[where], point.settings.index
        if node is None:
            uri = self.points.decoders[where].item.node.uri
            text = f"the server has no namespace {uri}"
            raise WriteRefused(text, Status.BAD_NODE_ID_UNKNOWN)
        builtin = await self._type_to_write(session, point, node)
        raw = to_device(value, builtin)
        if index is not None and not await session.honours_index(node, index):
            text = "the server can't write one element of an array without replacing the array"
            raise WriteRefused(text, Status.BAD_NOT_SUPPORTED, "Write it by another node")
        try:
            status = await session.write(node, raw, builtin, index)
        except ReplyTimeout as error:
            text = f"{error}: the write may or may not have been carried out"
            raise ReplyTimeout(text) from error
        if is_bad(status):
            text = f"the server refused the write: {status_name(status)}"
            raise Refused(text, status, status=status)
        return await self._read_back(session, point, where, status, value)

    async def _type_to_write(self, session: Session, point: PointSpec, node: Any) -> Builtin:
        decoder = self.points.decoders[self.points.place_of(point.name)]
        if decoder.shape is not None and (decoder.shape[1] == 1) != (
            point.settings.index is not None
        ):
            text = f"{decoder.item.text} is {decoder.type_text}"
            remedy = "Name one element of an array by `index:`"
            raise WriteRefused(text, Status.BAD_NOT_SUPPORTED, remedy)
        learned = self.points.learned_type(point.name)
        if learned is None:
            learned = await declared_type(session, node)
        return learned or NATURAL[point.data_type]

    async def _read_back(
        self, session: Session, point: PointSpec, where: int, status: int, value: Value
    ) -> WriteOutcome:
        try:
            (reading,) = await session.read([self.nodes[where]])
        except DeviceError as error:
            return WriteOutcome(status, None, f"written, but not read back: {error}")
        found = reading.value
        if point.settings.index is not None and reading.rank == 1 and not is_bad(reading.status):
            index = point.settings.index
            found = reading.value[index] if has_element(reading.value, index) else None
        if found is None or is_bad(reading.status):
            text = f"written, but reads back as {status_name(reading.status)}"
            return WriteOutcome(status, None, text)
        back, back_status = publish(converter(point.data_type), found, reading.status)
        detail = "" if back == value else f"reads back as {back!r}"
        now_ns = self._context.clock.utc_ns()
        self.points.read_back(point.name, back, back_status, reading.source_ns, now_ns)
        if self._listener is not None:
            self._listener.look_again(where)
        else:
            self.written.add(where)
        return WriteOutcome(status, back, detail, now_ns)

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        """Read a node by its NodeId (`area` is "node"); up to `count` elements of an array.

        Raises DeviceError, also when the address is no NodeId.
        """
        if area != "node":
            text = f"an OPC UA server has no {area}"
            raise DeviceError(text, "Write `node`", Status.BAD_NOT_SUPPORTED)
        try:
            text_id: NodeText = parse_node(address)
        except ValueError as error:
            raise DeviceError(str(error), "", Status.BAD_NODE_ID_UNKNOWN) from error
        session = await self.acquire()
        found = resolve(text_id, session.namespaces)
        if found is None:
            have = ", ".join(session.namespaces[:20])
            text = f"the server has no namespace {text_id.uri}"
            raise DeviceError(text, f"It has: {have}", Status.BAD_NODE_ID_UNKNOWN)
        (reading,) = await session.read([session.node(*found)])
        if is_bad(reading.status):
            text = f"{address} reads as {status_name(reading.status)}"
            raise Refused(text, reading.status, status=reading.status)
        if reading.builtin in UNSUPPORTED or reading.rank > 1:
            what = "a matrix" if reading.rank > 1 else type_name(reading.builtin)
            raise DeviceError(f"{address} is {what}", "", Status.BAD_NOT_SUPPORTED)
        values = [reading.value] if reading.rank == 0 else list(reading.value or [])
        return [_shown(value) for value in values[: max(count, 1)]]

    def logs(self, device: str) -> Sequence[LogSpec]:
        """The history that the server keeps, as far as it is known."""
        return self.history.specs()

    def read_log(self, device: str, wanted: LogWanted, turn: Turn) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of the server's history."""
        return self.history.read(wanted, turn)

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Nothing: a history forgets by itself."""

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Send each service call to `sink` until the returned function is called."""
        return self.wire.trace(sink)

    def diagnostics(self, device: str) -> Diagnostics:
        """The device's counters, alive."""
        return self.wire.diagnostics

    def forget(self, device: str) -> None:
        """Observe every point anew at the next scan or delivery."""
        self.points.owe_all()

    async def withdraw(self, device: str) -> None:
        """Free the session on the server until the next scan."""
        await self.leave()

    async def rehearse(self, device: str) -> Rehearsal:
        """Log in once on a session of its own and leave again; what the server said."""
        if self._session is not None and self._session.alive:
            return Rehearsal(device, True, True, "connected: this node reads it")
        return await rehearse(self._device, self._context)

    async def close(self) -> None:
        """Free the session on the server if that may still be said, and close. Idempotent."""
        self._closed = True
        await self.leave()

    async def leave(self) -> None:
        """Close the session, politely if that is quick and allowed."""
        session, self._session = self._session, None
        self.wire.diagnostics.connected = False
        if session is not None:
            await session.close()


def _check_span(point: PointSpec, value: Value) -> None:
    low, high = point.minimum, point.maximum
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        raise WriteRefused(f"{value} is outside {low} to {high}", Status.BAD_OUT_OF_RANGE)


def _shown(value: Any) -> Value:
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    return datetime_to_ns(value) if hasattr(value, "tzinfo") else readable(str(value))
