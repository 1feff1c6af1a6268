"""Where Modbus outstations listen: TCP, TLS, RTU over TCP, UDP, and serial lines (ptys).

Requests are answered in the order they came, several in one segment included. A connection that
asks faster than delayed answers leave is closed at `PENDING_MAX`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import serial_asyncio

from hil.outstation.bus import Bus
from hil.outstation.faults import Piece, Plan
from hil.outstation.frames import Framing, Mbap, Rtu

PENDING_MAX: Final = 256
BACKLOG: Final = 64
PTY_MASTER: Final = "/dev/ptmx"
TIOCSPTLCK: Final = 0x40045431
TIOCGPTN: Final = 0x80045430
SILENCE_S: Final = 0.05
"""A half frame older than this is noise: 3.5 characters at 1200 baud are 32 ms."""


class Sender:
    """Sends plans in order, pauses included, and keeps the order when later answers are ready."""

    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._write = write
        self._close = close
        self._waiting: deque[Plan] = deque()
        self._task: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._held: list[bytes] = []

    def send(self, plan: Plan) -> None:
        """Send a plan now, or after those before it."""
        if plan.overtaken:
            if len(self._late) < PENDING_MAX:
                task = asyncio.get_running_loop().create_task(self._carry_out(plan))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            return
        if plan.merged > 1:
            self._held.extend(piece.data for piece in plan.pieces)
            if len(self._held) < plan.merged:
                return
            plan = replace(plan, pieces=())
        if self._held:  # what waited leaves in one segment with what comes after it
            whole = b"".join((*self._held, *(piece.data for piece in plan.pieces)))
            delay_s = sum(piece.delay_s for piece in plan.pieces)
            plan = replace(plan, pieces=(Piece(delay_s, whole),))
            self._held.clear()
        if self._task is None and not plan.close and all(p.delay_s == 0 for p in plan.pieces):
            for piece in plan.pieces:
                self._write(piece.data)
            return
        self._waiting.append(plan)
        if len(self._waiting) > PENDING_MAX:
            self._close()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._waiting:
            await self._carry_out(self._waiting.popleft())
        self._task = None

    async def _carry_out(self, plan: Plan) -> None:
        for piece in plan.pieces:
            if piece.delay_s:
                await asyncio.sleep(piece.delay_s)
            self._write(piece.data)
        if plan.close:
            self._close()

    def stop(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        for task in (self._task, *self._late):
            if task is not None:
                task.cancel()


class Connection(asyncio.Protocol):
    """One master on a stream: a TCP or TLS connection, or a serial line."""

    def __init__(self, bus: Bus, framing: Framing, owner: Listener | None, peer: str = "") -> None:
        self._bus = bus
        self._framing = framing
        self._owner = owner
        self._peer = peer
        self._transport: asyncio.WriteTransport | None = None
        self._sender = Sender(self._write, self.abort)
        self._quiet: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        name = transport.get_extra_info("peername")
        if name:
            self._peer = f"{name[0]}:{name[1]}"
        if self._owner is not None:
            self._owner.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        try:
            requests = self._framing.receive(data)
        except ValueError:
            self.abort()
            return
        for asked in requests:
            plan = self._bus.respond(asked, self._framing, self._peer)
            if plan.pieces or plan.close:
                self._sender.send(plan)
        if isinstance(self._framing, Rtu):
            loop = asyncio.get_running_loop()
            self._quiet = loop.call_later(SILENCE_S, self._framing.silence)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._sender.stop()
        if self._quiet is not None:
            self._quiet.cancel()
        if self._owner is not None:
            self._owner.left(self)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        """Close at once; what is unsent is lost (TCP sends RST when data is unread).

        A serial line has no connection that could be closed: it stays silent instead.
        """
        if self._transport is not None and self._owner is not None:
            self._transport.abort()


class Listener:
    """A TCP or TLS port. `limit` connections at most: one more is refused, or evicts the oldest."""

    def __init__(
        self,
        bus: Bus,
        host: str,
        port: int,
        rtu: bool = False,
        tls: ssl.SSLContext | None = None,
        limit: int = 64,
        evict_oldest: bool = False,
    ) -> None:
        self.bus, self.host, self.port = bus, host, port
        self._rtu, self._tls = rtu, tls
        self._allowed = self._always = (limit, evict_oldest)
        self._connections: list[Connection] = []
        self._server: asyncio.Server | None = None

    @property
    def listening(self) -> bool:
        return self._server is not None

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def open(self) -> None:
        """Listen; port 0 takes a free one, which `port` then tells. Raises OSError."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection,
            self.host,
            self.port,
            ssl=self._tls,
            backlog=BACKLOG,
            reuse_address=True,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _connection(self) -> Connection:
        return Connection(self.bus, Rtu() if self._rtu else Mbap(), self)

    def joined(self, connection: Connection) -> None:
        """A master connected."""
        self._connections.append(connection)
        self._keep_to_limit()

    def restrict(self, limit: int | None = None, evict_oldest: bool = False) -> None:
        """Allow fewer connections from now on; None: as many as at first."""
        self._allowed = self._always if limit is None else (limit, evict_oldest)
        self._keep_to_limit()

    def _keep_to_limit(self) -> None:
        limit, evict_oldest = self._allowed
        surplus = len(self._connections) - limit
        if surplus > 0:
            newest = self._connections[limit:]
            for connection in self._connections[:surplus] if evict_oldest else newest:
                connection.abort()

    def left(self, connection: Connection) -> None:
        """A connection ended."""
        if connection in self._connections:
            self._connections.remove(connection)

    def drop(self) -> None:
        """Close every connection; the port stays open."""
        for connection in list(self._connections):
            connection.abort()

    async def close(self) -> None:
        """Close the port and every connection; it can be opened again on the same port."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.drop()
        if server is not None:
            await server.wait_closed()


class _Datagrams(asyncio.DatagramProtocol):
    """Modbus over UDP: a datagram is one MBAP frame."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._senders: dict[Any, Sender] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        framing = Mbap()
        try:
            requests = framing.receive(data)
        except ValueError:
            return
        for asked in requests:
            plan = self._bus.respond(asked, framing, f"{addr[0]}:{addr[1]}")
            self._sender(addr).send(plan)

    def _sender(self, addr: Any) -> Sender:
        if addr not in self._senders:
            if len(self._senders) >= PENDING_MAX:
                self._senders.pop(next(iter(self._senders))).stop()
            self._senders[addr] = Sender(lambda data: self._write(data, addr), lambda: None)
        return self._senders[addr]

    def _write(self, data: bytes, addr: Any) -> None:
        if self._transport is not None:
            self._transport.sendto(data, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        for sender in self._senders.values():
            sender.stop()


class UdpListener:
    """A UDP port."""

    def __init__(self, bus: Bus, host: str, port: int) -> None:
        self.bus, self.host, self.port = bus, host, port
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def listening(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        """Listen; port 0 takes a free one. Raises OSError."""
        if self._transport is not None:
            return
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self.bus), local_addr=(self.host, self.port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    def drop(self) -> None:
        """There are no connections to close."""

    async def close(self) -> None:
        """Close the port."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class SerialLine:
    """Units on a serial line: on a real port, or on one end of a pty whose other end is linked.

    `link` is where the gateway will look for its port; without it `port` must be a real one.
    """

    def __init__(self, bus: Bus, link: Path | None = None, port: str = "", **settings: Any) -> None:
        self.bus = bus
        self.name = str(link or port)
        self._port = port
        self._link = link
        self._settings = settings
        self._transport: Any = None
        self._other_fd: int | None = None

    @property
    def listening(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        """Open the port, or make a pty and link its other end. Raises OSError."""
        if self._transport is not None:
            return
        loop = asyncio.get_running_loop()
        port = self._port if self._link is None else PTY_MASTER
        self._transport, _ = await serial_asyncio.create_serial_connection(
            loop, lambda: Connection(self.bus, Rtu(), None, self.name), port, **self._settings
        )
        if self._link is not None:
            self._other_fd, other = _other_end(self._transport.serial.fd)
            _relink(self._link, other)

    def drop(self) -> None:
        """A serial line has no connections to close."""

    async def close(self) -> None:
        """Close the port; the link of a pty goes too, as when an adapter is unplugged."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._other_fd is not None and self._link is not None:
            os.close(self._other_fd)
            self._other_fd = None
            self._link.unlink(missing_ok=True)


def _other_end(master_fd: int) -> tuple[int, str]:
    """Unlock the other end of a pty and hold it open, so that the line lives while nobody is on it.

    Returns its descriptor and path.
    """
    fcntl.ioctl(master_fd, TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("I", fcntl.ioctl(master_fd, TIOCGPTN, bytes(4)))[0]
    path = f"/dev/pts/{number}"
    return os.open(path, os.O_RDWR | os.O_NOCTTY), path


def _relink(link: Path, target: str) -> None:
    """Point a symbolic link at a pty, in one step."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
