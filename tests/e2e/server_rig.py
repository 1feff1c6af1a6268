"""A server over a plant in memory, and a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import bisect
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import (
    header_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
)

from gateway.acquisition.live import LiveTable
from gateway.clock import SystemClock
from gateway.driver import DeviceSettings, DeviceSpec, PointSpec
from gateway.errors import ControlError
from gateway.journal.records import EMPTY_DIGEST, Body, Record, seal
from gateway.model import (
    NS_PER_S,
    Access,
    DataType,
    Gap,
    HistoryPage,
    HistoryRow,
    Origin,
    Position,
    Status,
    Term,
    Value,
)
from gateway.server.alarms import Trouble, Watched
from gateway.server.opcua import OpcUaServer
from gateway.server.passwords import hash_password
from gateway.server.redundancy import ALONE, UNHEARD, Standing, Told
from gateway.server.service_level import Situation
from gateway.server.settings import Limits, OpcUaSettings, Role, User
from gateway.server.trust_folder import TrustFolder

START_NS = 1_790_000_000 * NS_PER_S
OWN, OTHER = Term(3, "a", 7), Term(2, "b", 9)
PASSWORD = "correct horse"
USERS = {
    name: User(name, role, hash_password(PASSWORD, b"0123456789abcdef"))
    for name, role in (
        ("olga", Role.OBSERVER),
        ("otto", Role.OPERATOR),
        ("erna", Role.ENGINEER),
        ("anna", Role.ADMIN),
    )
}


def points(device: str, first: int) -> tuple[PointSpec, ...]:
    def spec(offset: int, name: str, kind: DataType, **more: Any) -> PointSpec:
        access = more.pop("access", Access.READ_WRITE)
        return PointSpec(first + offset, device, name, kind, "fast", access, None, **more)

    return (
        spec(0, "level", DataType.FLOAT64, unit="m", eu_range=(0.0, 10.0), description="Level"),
        spec(1, "count", DataType.INT16),
        spec(2, "name", DataType.STRING),
        spec(3, "mode", DataType.UINT8, enum={0: "off", 1: "auto"}),
        spec(4, "pump", DataType.BOOL, enum={0: "stopped", 1: "running"}),
        spec(5, "since", DataType.DATETIME),
        spec(6, "setpoint", DataType.FLOAT64, access=Access.WRITE),
        spec(7, "sensor", DataType.FLOAT32, access=Access.READ, unit="furlong"),
    )


def plant(extra: int = 0) -> list[DeviceSpec]:
    settings = DeviceSettings(driver="modbus", area="plant/intake", description="A pump")
    tags = tuple(
        PointSpec(16 + n, "big", f"t{n}", DataType.FLOAT64, "fast", Access.READ, None)
        for n in range(extra)
    )
    return [
        DeviceSpec("plc1", "modbus", "line", settings, points("plc1", 0), {"fast": NS_PER_S}),
        DeviceSpec("plc2", "modbus", "line", settings, points("plc2", 8), {"fast": NS_PER_S}),
        DeviceSpec("big", "modbus", "line", settings, tags, {"fast": NS_PER_S}),
    ]


class MemoryHistory:
    """A history of rows in memory; what it is asked is kept, and it can be made slow."""

    def __init__(self) -> None:
        self.rows: dict[str, list[HistoryRow]] = {}
        self.reads = 0
        self.rows_read = 0

    def fill(self, point: str, count: int, step_ns: int = NS_PER_S) -> None:
        position = Position(Term(1, "a", 1), 1)
        self.rows[point] = [
            HistoryRow(
                START_NS + n * step_ns,
                float(n),
                Status.GOOD,
                START_NS + n * step_ns + 5_000_000,
                Origin.POLL,
                position,
            )
            for n in range(count)
        ]

    def _at(self, point: str, time_ns: int) -> int:
        return bisect.bisect_left(self.rows.get(point, []), time_ns, key=lambda row: row.time_ns)

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        self.reads += 1
        rows = self.rows.get(point, [])
        low, high = self._at(point, from_ns), self._at(point, to_ns)
        if reverse:
            high = cursor[0] if cursor else high
            begin = max(low, high - limit)
            self.rows_read += high - begin
            return HistoryPage(rows[begin:high][::-1], (begin,) if begin > low else None)
        low = cursor[0] if cursor else low
        end = min(high, low + limit)
        self.rows_read += end - low
        return HistoryPage(rows[low:end], (end,) if end < high else None)

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        self.rows_read += 1
        index = self._at(point, time_ns + 1)
        return self.rows[point][index - 1] if index else None

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        index = self._at(point, time_ns + 1)
        rows = self.rows.get(point, [])
        return rows[index] if index < len(rows) else None

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        return []


@dataclass
class MemoryPair:
    """The pair as a server is told of it: what it stands for, and what was ordered."""

    now: Standing = ALONE
    refused: str = ""
    ordered: list[str] = field(default_factory=list)
    troubles: list[Trouble] | None = field(default_factory=list)
    disabled: frozenset[str] = frozenset()
    audits: list[tuple[str, str, str]] = field(default_factory=list)

    def standing(self) -> Standing:
        return self.now

    def refusal(self) -> str:
        return self.refused

    def watched(self) -> Watched | None:
        return None if self.troubles is None else Watched(self.troubles, self.disabled)

    async def failover(self, who: str) -> None:
        if self.refused:
            raise ControlError(self.refused)
        self.ordered.append(who)

    def audit(self, action: str, who: str, outcome: str) -> None:
        self.audits.append((action, who, outcome))


@dataclass
class Plant:
    """A server, and the hands that move what it shows."""

    server: OpcUaServer
    live: LiveTable
    history: MemoryHistory
    pair: MemoryPair
    writes: list[tuple[str, str, Value]] = field(default_factory=list)
    write_status: int = Status.GOOD
    write_error: Exception | None = None
    may_write: asyncio.Event = field(default_factory=asyncio.Event)
    diagnostics: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    audit: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def pki_dir(self) -> Path:
        return self.server.context.settings.pki_dir

    def number(self, point: str) -> int:
        return next(spec.number for spec in self.live.points if spec.id == point)

    def stands(self, situation: Situation, reason: str = "", peer: Told = UNHEARD) -> None:
        """The server stands otherwise from now on."""
        self.pair.now = Standing(situation, reason, peer)
        self.server.look()

    def wrong(self, *troubles: Trouble) -> None:
        """The field is so from now on."""
        self.pair.troubles = list(troubles)
        self.server.look()

    def set(self, point: str, value: Value, status: int = 0, time_ns: int = 0) -> None:
        number = self.number(point)
        self.live.apply([(number, time_ns or time.time_ns(), value, status)])
        self.server.publish([number])

    def tell(self, *bodies: Body, own: bool = True) -> None:
        """Commit records as this node, or as the other one."""
        first = len(self.records) + 1
        made = [
            seal(OWN if own else OTHER, first + n, EMPTY_DIGEST, body)
            for n, body in enumerate(bodies)
        ]
        self.records += made
        self.server.events.committed(made, lambda record: record.position.term == OWN)

    async def write(self, user: str, point: PointSpec, value: Value) -> int:
        await self.may_write.wait()
        if self.write_error is not None:
            raise self.write_error
        self.writes.append((user, point.id, value))
        return self.write_status

    @property
    def url(self) -> str:
        return self.server.endpoint


def trusted(pki_dir: Path, certificate: Path) -> None:
    """Put a client's certificate where `hotpair trust accept` puts it."""
    TrustFolder(pki_dir).accept(str(certificate))


@asynccontextmanager
async def running(
    pki_dir: Path,
    extra: int = 0,
    limits: Limits | None = None,
    users: dict[str, User] | None = None,
    **settings: Any,
) -> AsyncIterator[Plant]:
    devices = plant(extra)
    live, history, pair = LiveTable(devices), MemoryHistory(), MemoryPair()
    holder: list[Plant] = []
    alarms: list[str] = []
    audit: list[tuple[Any, ...]] = []

    async def write(user: str, point: PointSpec, value: Value) -> int:
        return await holder[0].write(user, point, value)

    server = OpcUaServer(
        "s7",
        devices,
        live,
        history,
        write,
        USERS if users is None else users,
        OpcUaSettings(
            "a",
            host="127.0.0.1",
            port=0,
            pki_dir=pki_dir,
            limits=limits or Limits(),
            **settings,
        ),
        lambda: holder[0].diagnostics,
        SystemClock(),
        lambda severity, text: alarms.append(text),
        pair,
        lambda *entry: audit.append(entry),
    )
    found = Plant(server, live, history, pair, alarms=alarms, audit=audit)
    found.may_write.set()
    holder.append(found)
    await server.build()
    await server.open()
    try:
        yield found
    finally:
        await server.stop()


class Refused(Exception):
    """The peer answered with an ERR message, or closed (status 0)."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class RawPeer:
    """A client that sends what it is told to, in or out of order, without security."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.connection = SecureConnection(SecurityPolicyNone(), TransportLimits())
        self._request = 0
        self.channel_id = 0

    @classmethod
    async def connect(cls, url: str) -> RawPeer:
        port = int(url.rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> RawPeer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[bytes, bytes]:
        """The next frame: its kind and all its bytes. Raises Refused for ERR and for the end."""
        try:
            async with asyncio.timeout(10):
                head = await self.reader.readexactly(8)
                kind, size = struct.unpack("<4sI", head)
                rest = await self.reader.readexactly(size - 8)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Refused(0) from None
        if kind[:3] == b"ERR":
            raise Refused(struct.unpack_from("<I", rest)[0])
        return kind, head + rest

    async def hello(self, **fields: Any) -> None:
        message = ua.Hello(
            **{
                "ProtocolVersion": 0,
                "ReceiveBufferSize": 65535,
                "SendBufferSize": 65535,
                "EndpointUrl": "opc.tcp://127.0.0.1",
            }
            | fields
        )
        self.send(uatcp_to_binary(ua.MessageType.Hello, message))
        kind, _ = await self.frame()
        assert kind == b"ACKF"

    async def open_channel(self, lifetime_ms: int = 60_000) -> Any:
        request = ua.OpenSecureChannelRequest()
        request.Parameters.RequestType = ua.SecurityTokenRequestType.Issue
        request.Parameters.SecurityMode = ua.MessageSecurityMode.None_
        request.Parameters.RequestedLifetime = lifetime_ms
        response = await self.call(request, kind=ua.MessageType.SecureOpen)
        self.connection.security_token = response.Parameters.SecurityToken
        return response.Parameters

    def encode(
        self, request: Any, token: ua.NodeId | None = None, kind: Any = ua.MessageType.SecureMessage
    ) -> bytes:
        self._request += 1
        request.RequestHeader.RequestHandle = self._request
        if token is not None:
            request.RequestHeader.AuthenticationToken = token
        return self.connection.message_to_binary(
            struct_to_binary(request), message_type=kind, request_id=self._request
        )

    async def call(
        self, request: Any, token: ua.NodeId | None = None, kind: Any = ua.MessageType.SecureMessage
    ) -> Any:
        self.send(self.encode(request, token, kind))
        return await self.response()

    async def response(self) -> Any:
        """The next response; a ServiceFault is raised as its status."""
        body = b""
        while True:
            kind, data = await self.frame()
            buffer = Buffer(data)
            header_from_binary(buffer)
            if kind[:3] == b"OPN":
                struct_from_binary(ua.AsymmetricAlgorithmHeader, buffer)
            else:
                buffer.skip(4)
            buffer.skip(8)
            body += buffer.read(len(buffer))
            if kind[3:] == b"F":
                break
        found = Buffer(body)
        type_id = nodeid_from_binary(found)
        cls = ua.extension_objects_by_typeid.get(type_id)
        name = ua.ObjectIdNames[type_id.Identifier].removesuffix("_Encoding_DefaultBinary")
        cls = cls or getattr(ua, name)
        response = struct_from_binary(cls, Buffer(body))
        response.ResponseHeader.ServiceResult.check()
        return response

    async def session(self, user: str = "") -> ua.NodeId:
        """Create and activate a session, anonymous or of a user; its token."""
        token = await self.create_session()
        password = PASSWORD.encode()
        await self.activate(
            token, ua.UserNameIdentityToken("username", user, password, None) if user else None
        )
        return token

    async def create_session(self) -> ua.NodeId:
        request = ua.CreateSessionRequest()
        request.Parameters.RequestedSessionTimeout = 30_000
        request.Parameters.ClientNonce = bytes(32)
        request.Parameters.EndpointUrl = "opc.tcp://127.0.0.1"
        return (await self.call(request)).Parameters.AuthenticationToken

    async def activate(self, token: ua.NodeId, identity: Any = None) -> Any:
        request = ua.ActivateSessionRequest()
        request.Parameters.UserIdentityToken = identity or ua.AnonymousIdentityToken("anonymous")
        return await self.call(request, token)


def read_request(*nodes: str) -> ua.ReadRequest:
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.MaxAge = 0.0
    request.Parameters.NodesToRead = [
        ua.ReadValueId(NodeId=ua.NodeId.from_string(node), AttributeId=ua.AttributeIds.Value)
        for node in nodes
    ]
    return request
