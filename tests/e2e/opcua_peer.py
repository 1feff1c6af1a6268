"""A PLC with an OPC UA server in this process, and a line to it: the bench of the tests."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from asyncua import Node, Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager

from drivers.opcua import driver
from drivers.opcua.line import OpcUaLine
from drivers.opcua.settings import OpcUaDevice, OpcUaPoint
from gateway.clock import SystemClock
from gateway.driver import (
    SUBSCRIPTION_CLASS,
    Delivery,
    DeviceSpec,
    DriverContext,
    LineSpec,
    Observation,
    PointSpec,
)

URI = "urn:plc:app"
LONG_AGO = datetime(2020, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


KINDS = ua.VariantType
INITIAL = (
    ("Bool", True, KINDS.Boolean),
    ("SByte", -5, KINDS.SByte),
    ("Byte", 5, KINDS.Byte),
    ("Int16", -300, KINDS.Int16),
    ("UInt16", 300, KINDS.UInt16),
    ("Int32", -70_000, KINDS.Int32),
    ("UInt32", 70_000, KINDS.UInt32),
    ("Int64", -(2**40), KINDS.Int64),
    ("UInt64", 2**40, KINDS.UInt64),
    ("Float", 1.5, KINDS.Float),
    ("Double", 2.25, KINDS.Double),
    ("String", "on", KINDS.String),
    ("Bytes", b"\x01\x02", KINDS.ByteString),
    ("Time", LONG_AGO, KINDS.DateTime),
    ("Text", ua.LocalizedText("hello", "en"), KINDS.LocalizedText),
    ("Array", [1.0, 2.0, 3.0], KINDS.Double),
    ("Matrix", [[1, 2], [3, 4]], KINDS.Int32),
    ("Structure", ua.BuildInfo(), KINDS.ExtensionObject),
)


ANYBODY = User(role=UserRole.Anonymous)


class OneUser(UserManager):  # type: ignore[misc]
    """Lets one operator in, and nobody else."""

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if username == "gw" and password == "s3cret":
            return User(role=UserRole.User)
        return None


class IndexingSession(InternalSession):  # type: ignore[misc]
    """Reads and writes single elements of arrays, as real PLCs do and the library does not."""

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        results = await super().read(params)
        for place, wanted in enumerate(params.NodesToRead):
            if wanted.IndexRange:
                whole = results[place].Value
                part = ua.Variant([whole.Value[int(wanted.IndexRange)]], whole.VariantType)
                results[place] = ua.DataValue(part)
        return list(results)

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        for wanted in params.NodesToWrite:
            if wanted.IndexRange:
                whole = await Node(self, wanted.NodeId).read_value()
                values = list(whole)
                values[int(wanted.IndexRange)] = wanted.Value.Value.Value[0]
                variant = ua.Variant(values, wanted.Value.Value.VariantType)
                wanted.Value, wanted.IndexRange = ua.DataValue(variant), None
        return list(await super().write(params))


class InterlockSession(InternalSession):  # type: ignore[misc]
    """Takes a written value back once it was read, and tells no subscriber: none was sampled."""

    before: ClassVar[dict[ua.NodeId, ua.DataValue]] = {}

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        results = list(await super().read(params))
        for wanted in params.NodesToRead:
            if (taken_back := self.before.pop(wanted.NodeId, None)) is not None:
                self.aspace[wanted.NodeId].attributes[ua.AttributeIds.Value].value = taken_back
        return results

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        for wanted in params.NodesToWrite:
            held = self.aspace[wanted.NodeId].attributes[ua.AttributeIds.Value].value
            self.before[wanted.NodeId] = held
        return list(await super().write(params))


class BrittleSession(InternalSession):  # type: ignore[misc]
    """Answers the read after a write, and refuses the one after that."""

    left: ClassVar[list[int]] = []

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        if self.left and self.left.pop() == 0:
            raise ServiceError(ua.StatusCodes.BadInternalError)
        return list(await super().read(params))

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        self.left[:] = [0, 1]
        return list(await super().write(params))


class StingySession(InternalSession):  # type: ignore[misc]
    """Refuses to read more than three nodes at once, without having said so."""

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        if len(params.NodesToRead) > 3:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return list(await super().read(params))


def giving(session: type[InternalSession]) -> type[InternalServer]:
    """A server that gives clients sessions of this kind."""

    class Giving(InternalServer):  # type: ignore[misc]
        def create_session(
            self, name: str, user: User = ANYBODY, external: bool = False
        ) -> InternalSession:
            return session(
                self, self.aspace, self.subscription_service, name, user=user, external=external
            )

    return Giving


class Plc:
    """An OPC UA server that can be stopped, started anew, and asked to change a value."""

    def __init__(self, port: int | None = None, spare_namespaces: int = 0) -> None:
        self.port = port or free_port()
        self.spare_namespaces = spare_namespaces
        self.advertised = "127.0.0.1"
        self.make_iserver: type[InternalServer] = InternalServer
        self.user_manager: UserManager | None = None
        self.policies = [ua.SecurityPolicyType.NoSecurity]
        self.certificate: Path | None = None
        self.key: Path | None = None
        self.server: Server
        self.index = 0

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        server = Server(iserver=self.make_iserver(user_manager=self.user_manager))
        await server.init()
        server.disable_clock(True)
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        server.set_security_policy(self.policies)
        if self.certificate is not None:
            await server.load_certificate(str(self.certificate))
            await server.load_private_key(str(self.key))
        for number in range(self.spare_namespaces):
            await server.register_namespace(f"urn:spare:{number}")
        self.index = await server.register_namespace(URI)
        self.server = server
        await self._fill()
        await server.start()
        if self.advertised != "127.0.0.1":
            server.iserver.match_discovery_endpoint_url = False
            server.iserver.match_discovery_source_ip = False
            for endpoint in server.iserver.endpoints:
                endpoint.EndpointUrl = f"opc.tcp://{self.advertised}:4840"

    async def stop(self) -> None:
        await self.server.stop()

    async def _fill(self) -> None:
        self.folder = await self.server.nodes.objects.add_object(self.index, "App")
        for name, value, kind in INITIAL:
            node = await self.folder.add_variable(
                ua.NodeId(name, self.index), name, ua.Variant(value, kind)
            )
            await node.set_writable()
        await self.set_clock()

    async def reset(self) -> None:
        """Everything as it was at the start, in case an earlier test changed it."""
        for name, value, kind in INITIAL:
            await self.set(name, value, kind)
            await self.server.get_node(ua.NodeId(name, self.index)).set_writable()
        await self.limit_reads(0)
        await self.set_clock()

    async def limit_reads(self, nodes: int) -> None:
        """Announce how many nodes one read may ask for; 0: any number."""
        what = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
        limit = self.server.get_node(ua.NodeId(ua.Int32(what)))
        await limit.write_value(ua.Variant(nodes, ua.VariantType.UInt32))

    async def set_clock(self, ahead: timedelta = timedelta()) -> None:
        """Tell the time, once: the library's own clock makes each stop take a second."""
        what = ua.NodeId(ua.Int32(ua.ObjectIds.Server_ServerStatus_CurrentTime))
        now = ua.Variant(datetime.now(UTC) + ahead, ua.VariantType.DateTime)
        await self.server.write_attribute_value(what, ua.DataValue(now))

    async def add(self, name: str, value: Any, kind: ua.VariantType) -> None:
        await self.folder.add_variable(ua.NodeId(name, self.index), name, ua.Variant(value, kind))

    async def remove(self, name: str) -> None:
        await self.server.delete_nodes([self.server.get_node(ua.NodeId(name, self.index))])

    async def set(self, name: str, value: Any, kind: ua.VariantType, **more: Any) -> None:
        """Write a value with the current time as its source time, unless `more` says otherwise."""
        now = datetime.now(UTC)
        data = ua.DataValue(ua.Variant(value, kind), **({"SourceTimestamp": now} | more))
        await self.server.write_attribute_value(ua.NodeId(name, self.index), data)

    async def get(self, name: str) -> Any:
        return await self.server.get_node(ua.NodeId(name, self.index)).read_value()


@asynccontextmanager
async def running(plc: Plc) -> AsyncIterator[Plc]:
    await plc.start()
    try:
        yield plc
    finally:
        await plc.stop()


class ShiftedClock(SystemClock):
    """A clock whose monotonic half a test may set forward, to reach what happens rarely."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    def utc_ns(self) -> int:
        return super().utc_ns() - self.ahead_ns


@dataclass
class House:
    """What a driver is given, with everything that it says kept."""

    base_dir: Path
    alarms: list[tuple[str, int, str]] = field(default_factory=list)
    facts: dict[tuple[str, str], Any] = field(default_factory=dict)
    allowed: bool = True
    clock: ShiftedClock = field(default_factory=ShiftedClock)

    def context(self) -> DriverContext:
        return DriverContext(
            clock=self.clock,
            rng=random.Random(7),
            base_dir=self.base_dir,
            data_dir=self.base_dir / "data",
            bind=None,
            facts=self.facts,
            learned=lambda device, key, value: self.facts.update({(device, key): value}),
            alarm=lambda device, severity, text: self.alarms.append((device, severity, text)),
            may_send=lambda: self.allowed,
        )

    def texts(self, part: str) -> list[str]:
        return [text for _, _, text in self.alarms if part in text]


def device_spec(device: dict[str, Any], points: dict[str, dict[str, Any]]) -> DeviceSpec:
    settings = OpcUaDevice.model_validate({"driver": "opcua"} | device)
    listens = driver.schema.subscribed(settings)
    specs = []
    for number, (name, point) in enumerate(points.items()):
        parsed = OpcUaPoint.model_validate(point)
        scan = SUBSCRIPTION_CLASS if listens else parsed.scan or "normal"
        specs.append(
            PointSpec(
                number,
                "plc",
                name,
                driver.schema.published_type(parsed),
                scan,
                parsed.access,
                parsed,
                minimum=parsed.min,
                maximum=parsed.max,
            )
        )
    classes = {spec.scan_class: settings.publishing_interval_ns for spec in specs}
    return DeviceSpec("plc", "opcua", "plc", settings, tuple(specs), classes, None, listens)


def open_line(house: House, device: dict[str, Any], points: dict[str, dict[str, Any]]) -> OpcUaLine:
    spec = LineSpec("plc", "opcua", None, (device_spec(device, points),))
    return driver.open_line(spec, house.context())


class Heard:
    """Listens to a line, keeps every delivery, and lets a test wait for what it needs."""

    def __init__(self, line: OpcUaLine) -> None:
        self.line = line
        self.deliveries: list[Delivery] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Heard:
        self._task = asyncio.create_task(self.line.listen("plc", self._take))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.line.close()

    def _take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._news.set()

    async def until(self, wanted: Callable[[Delivery], bool], after: int = 0) -> Delivery:
        """The first delivery from number `after` on that is wanted, within 15 s."""
        async with asyncio.timeout(15):
            while True:
                for delivery in self.deliveries[after:]:
                    if wanted(delivery):
                        return delivery
                self._news.clear()
                await self._news.wait()

    async def value(self, number: int, value: Any, after: int = 0) -> Observation:
        """The first observation of a point with this value."""
        found = await self.until(lambda d: _holds(d, number, value), after)
        return next(o for o in found.observations if o.point == number and o.value == value)


def _holds(delivery: Delivery, number: int, value: Any) -> bool:
    return any(o.point == number and o.value == value for o in delivery.observations)


def ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
