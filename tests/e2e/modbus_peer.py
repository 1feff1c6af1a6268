"""A scripted Modbus outstation on raw bytes: right answers, and every wrong one on demand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
import struct
import tty
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.modbus.driver import driver
from drivers.modbus.line import OpenLine
from drivers.modbus.settings import ModbusDevice, ModbusLine
from gateway.clock import SystemClock
from gateway.driver import DeviceSpec, DriverContext, LineSpec, PointSpec
from gateway.model import NS_PER_S
from profiles.schema import ModbusPoint, Profile, published_type

SILENCE, CLOSE, SPLIT, GARBAGE, SHORT = "silence", "close", "split", "garbage", "short"
WRONG_TID, WRONG_UNIT, WRONG_FUNCTION, ZERO_TID = "tid", "unit", "function", "zero tid"
WRONG_ECHO, BAD_CRC = "echo", "crc"


@dataclass(frozen=True)
class Late:
    seconds: float


@dataclass(frozen=True)
class Exc:
    code: int


Fault = Any
Send = Callable[[bytes], None]


def crc(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


@dataclass
class Peer:
    """Registers hold their own address until written; `rule` or `script` say what goes wrong."""

    rtu: bool = False
    echo: bool = False
    words: dict[tuple[int, int], int] = field(default_factory=dict)
    script: deque[Fault] = field(default_factory=deque)
    rule: Callable[[int, bytes], Fault] | None = None
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def word(self, unit: int, address: int) -> int:
        return self.words.get((unit, address), address)

    def answer(self, unit: int, pdu: bytes) -> bytes:
        function, address, second = struct.unpack_from(">BHH", pdu)
        if function in (1, 2):
            bits = sum((self.word(unit, address + i) & 1) << i for i in range(second))
            data = bits.to_bytes((second + 7) // 8, "little")
            return bytes([function, len(data)]) + data
        if function in (3, 4):
            words = [self.word(unit, address + i) for i in range(second)]
            return bytes([function, 2 * second]) + struct.pack(f">{second}H", *words)
        if function in (5, 6):
            self.words[unit, address] = (second != 0) if function == 5 else second
            return pdu
        if function == 15:
            packed = int.from_bytes(pdu[6:], "little")
            for i in range(second):
                self.words[unit, address + i] = packed >> i & 1
            return pdu[:5]
        if function == 16:
            for i, word in enumerate(struct.unpack(f">{second}H", pdu[6:])):
                self.words[unit, address + i] = word
            return pdu[:5]
        if function == 22:
            or_mask = struct.unpack_from(">H", pdu, 5)[0]
            self.words[unit, address] = self.word(unit, address) & second | or_mask
            return pdu
        return bytes([function | 0x80, 1])

    def on_request(self, tid: int, unit: int, pdu: bytes, send: Send, close: Send) -> None:
        self.requests.append((unit, pdu))
        self.asked.set()
        fault = self.script.popleft() if self.script else None
        if fault is None and self.rule is not None:
            fault = self.rule(unit, pdu)
        if fault == SILENCE:
            return
        if fault == CLOSE:
            close(b"")
            return
        reply = self.answer(unit, pdu)
        if isinstance(fault, Exc):
            reply = bytes([pdu[0] | 0x80, fault.code])
        elif fault == SHORT:
            reply = bytes([reply[0], reply[1] - 2]) + reply[2:-2]
        elif fault == WRONG_FUNCTION:
            reply = bytes([reply[0] + 1]) + reply[1:]
        elif fault == WRONG_ECHO:
            reply = reply[:1] + bytes([reply[1] ^ 1]) + reply[2:]
        frame = self.frame(
            0 if fault == ZERO_TID else tid + (fault == WRONG_TID),
            unit + (fault == WRONG_UNIT),
            reply,
        )
        if fault == BAD_CRC:
            frame = frame[:-1] + bytes([frame[-1] ^ 0xFF])
        if isinstance(fault, Late):
            self.later(fault.seconds, send, frame)
        elif fault == SPLIT:
            self._tasks.add(asyncio.ensure_future(self._dribble(send, frame)))
        elif fault == GARBAGE:
            send(b"\xff\x00\x55" * 5 + (frame if self.rtu else b""))
        else:
            send(frame)

    def later(self, seconds: float, send: Send, frame: bytes) -> None:
        asyncio.get_running_loop().call_later(seconds, send, frame)

    async def _dribble(self, send: Send, frame: bytes) -> None:
        for byte in frame:
            send(bytes([byte]))
            await asyncio.sleep(0)

    def frame(self, tid: int, unit: int, pdu: bytes) -> bytes:
        if self.rtu:
            body = bytes([unit]) + pdu
            return body + crc(body)
        return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu

    def feed(self, buffer: bytes, send: Send, close: Send) -> bytes:
        """Take whole requests off the buffer; the rest is returned."""
        while True:
            if self.rtu:
                if len(buffer) < 8:
                    return buffer
                long = {15: 9 + buffer[6], 16: 9 + buffer[6], 20: 5 + buffer[2], 22: 10}
                size = long.get(buffer[1], 8)
                if len(buffer) < size:
                    return buffer
                assert crc(buffer[: size - 2]) == buffer[size - 2 : size]
                if self.echo:
                    send(buffer[:size])
                self.on_request(0, buffer[0], buffer[1 : size - 2], send, close)
            else:
                if len(buffer) < 7:
                    return buffer
                tid, _, length, unit = struct.unpack_from(">HHHB", buffer)
                size = 6 + length
                if len(buffer) < size:
                    return buffer
                self.on_request(tid, unit, buffer[7:size], send, close)
            buffer = buffer[size:]


class _Stream(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self.peer, self.buffer = peer, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peer.connections += 1

    def data_received(self, data: bytes) -> None:
        self.buffer = self.peer.feed(
            self.buffer + data, self.send, lambda _: self.transport.abort()
        )

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peer.feed(data, lambda reply: self.transport.sendto(reply, addr), lambda _: None)


@contextlib.asynccontextmanager
async def serve_tcp(
    peer: Peer, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve a peer on TCP; its connections die with it."""
    loop = asyncio.get_running_loop()
    streams: list[_Stream] = []

    def accept() -> _Stream:
        streams.append(_Stream(peer))
        return streams[-1]

    server = await loop.create_server(accept, host, port, ssl=tls, reuse_address=True)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for stream in streams:
            if hasattr(stream, "transport"):
                stream.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def serve_udp(peer: Peer) -> AsyncIterator[int]:
    """Serve a peer on UDP."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(peer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
        await asyncio.sleep(0)


@dataclass
class Bus:
    """A pty: `port` is what the driver opens, `send` speaks on the bus beside the peer."""

    port: str
    send: Send


@contextlib.asynccontextmanager
async def serve_pty(peer: Peer) -> AsyncIterator[Bus]:
    """Serve a peer on the far end of a pseudo terminal."""
    peer.rtu = True
    loop = asyncio.get_running_loop()
    far, near = os.openpty()
    tty.setraw(near)
    buffer = b""

    def send(data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(far, data)

    def ready() -> None:
        nonlocal buffer
        try:
            buffer = peer.feed(buffer + os.read(far, 1024), send, lambda _: None)
        except OSError:
            loop.remove_reader(far)

    loop.add_reader(far, ready)
    try:
        yield Bus(os.ttyname(near), send)
    finally:
        loop.remove_reader(far)
        os.close(near)
        os.close(far)


@dataclass
class House:
    """What the driver is given, and what it said."""

    facts: dict[tuple[str, str], Any] = field(default_factory=dict)
    learned: list[tuple[str, str, Any]] = field(default_factory=list)
    alarms: list[tuple[str, int, str]] = field(default_factory=list)
    may_send: bool = True
    base_dir: Path = Path()
    clock: SystemClock = field(default_factory=SystemClock)

    def context(self) -> DriverContext:
        def learn(device: str, key: str, value: Any) -> None:
            self.learned.append((device, key, value))
            self.facts[device, key] = value

        return DriverContext(
            self.clock,
            random.Random(1),
            self.base_dir,
            self.base_dir,
            None,
            self.facts,
            learn,
            lambda *alarm: self.alarms.append(alarm),
            lambda: self.may_send,
        )


def point(number: int, device: str, name: str, **keys: Any) -> PointSpec:
    """A point as configuration would hand it over."""
    settings = ModbusPoint(**{"register": "holding", **keys})
    return PointSpec(
        number,
        device,
        name,
        published_type(settings),
        settings.scan or "normal",
        settings.access,
        settings,
        minimum=settings.min,
        maximum=settings.max,
    )


def device(
    name: str, points: dict[str, dict[str, Any]], first: int = 0, profile: Any = None, **keys: Any
) -> DeviceSpec:
    """A device whose points are numbered from `first`."""
    settings = ModbusDevice(driver="modbus", line="line", **{"timeout": "200ms", **keys})
    specs = tuple(point(first + i, name, p, **k) for i, (p, k) in enumerate(points.items()))
    chosen = None if profile is None else Profile(**profile)
    classes = {spec.scan_class: NS_PER_S for spec in specs}
    return DeviceSpec(name, "modbus", "line", settings, specs, classes or {"normal": 1}, chosen)


def tcp(port: int, host: str = "127.0.0.1", **keys: Any) -> ModbusLine:
    """The settings of a plain TCP line."""
    return ModbusLine(tcp={"host": host, "port": port}, **keys)


@contextlib.asynccontextmanager
async def opened(
    house: House, settings: ModbusLine, *devices: DeviceSpec, port: str | None = None
) -> AsyncIterator[OpenLine]:
    """An open line, closed at the end."""
    spec = LineSpec("line", "modbus", settings, devices, port)
    assert list(driver.schema.review(spec)) == []
    line = driver.open_line(spec, house.context())
    assert isinstance(line, OpenLine)
    try:
        yield line
    finally:
        await line.close()


def registers(*addresses: int, **keys: Any) -> dict[str, dict[str, Any]]:
    """uint16 holding registers named by their address."""
    return {f"r{address}": {"address": address, **keys} for address in addresses}


async def values(line: OpenLine, name: str, scan_class: str = "normal") -> dict[int, Any]:
    """One scan that must succeed, as {point number: value}."""
    scan = await line.scan(name, scan_class)
    assert scan.fault is None, scan.fault
    return {each.point: each.value for each in scan.observations}
