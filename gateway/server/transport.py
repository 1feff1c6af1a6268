"""The socket side: frames out of bytes, back-pressure, and a listener that opens and closes fast.

A frame is refused at its header when it announces more than a chunk may have, so that nobody makes
the server collect what it will throw away. Who sends faster than is served is not read from.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.ua.ua_binary import header_from_binary

from gateway.server.context import Context
from gateway.server.processor import Processor
from gateway.server.settings import Limits

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
_FRAME: Final = struct.Struct("<4sI")
_MESSAGES: Final = (b"OPN", b"MSG", b"CLO")
HELLO_MAX: Final = 8192


def transport_limits(limits: Limits) -> TransportLimits:
    """The library's form of the limits of messages."""
    return TransportLimits(
        max_recv_buffer=limits.max_chunk_bytes,
        max_send_buffer=limits.max_chunk_bytes,
        max_chunk_count=-(-limits.max_message_bytes // 4096),
        max_message_size=limits.max_message_bytes,
    )


class FrameRefused(Exception):
    """A frame that ends the connection; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


def frame_size(head: bytes, greeted: bool, chunk_max: int) -> int:
    """The size of the frame that begins with these eight bytes, itself included.

    Raises FrameRefused for an unknown kind, for anything but HEL before it, and for a size that no
    frame of that kind has (OPC 10000-6 section 7.1.2.2).
    """
    kind, size = _FRAME.unpack(head)
    if greeted:
        known, least, most = kind[:3] in _MESSAGES and kind[3:] in (b"F", b"C", b"A"), 12, chunk_max
    else:
        known, least, most = kind == b"HELF", 32, HELLO_MAX
    if not known:
        raise FrameRefused(_CODES.BadTcpMessageTypeInvalid)
    if not least <= size <= most:
        raise FrameRefused(_CODES.BadTcpMessageTooLarge)
    return int(size)


class Protocol(OPCUAProtocol):  # type: ignore[misc]
    """One connection: cuts bytes into frames and feeds them to its processor one at a time."""

    def __init__(self, context: Context, **library: Any) -> None:
        super().__init__(**library)
        self._context = context
        self._bytes = bytearray()
        self._frames_seen = 0
        self._paused = False
        self._ended = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection; of too many, the oldest on which nobody is logged in gives way."""
        self.peer_name = transport.get_extra_info("peername")
        if not self._room():
            _log.warning("refusing %s: too many connections", self.peer_name)
            transport.abort()  # type: ignore[attr-defined]
            self._ended = True
            return
        self.transport = transport
        self.processor = Processor(self._context, transport, self.limits)
        self.processor.set_policies(self.policies)
        self.iserver.asyncio_transports.append(transport)
        self.clients.append(self)
        self._task = asyncio.create_task(self._serve(), name=f"opcua-{self.peer_name}")
        self._activation_watchdog_task = asyncio.create_task(self._activation_watchdog())

    def _room(self) -> bool:
        """Whether there is room, made if need be: silent sockets must not keep clients out.

        OPC 10000-4 section 5.5.2: the oldest channel without a session is closed first.
        """
        if len(self.clients) < self._context.limits.max_connections:
            return True
        for other in self.clients:
            if not other.processor.has_session:
                _log.info("closing the connection of %s: others need the room", other.peer_name)
                other.transport.abort()
                # Its connection_lost comes later; it must not be found a second time.
                self.clients.remove(other)
                return True
        return False

    async def _activation_watchdog(self) -> None:
        await asyncio.sleep(self._context.limits.activation_ms / 1000)
        if not self.processor.has_session:
            _log.info("closing the connection of %s: nobody logged in", self.peer_name)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Cut what arrived into frames; stop at the first that is none."""
        if self._ended:
            return
        self._bytes += data
        try:
            while self._take_frame():
                pass
        except FrameRefused as refused:
            self._ended = True
            self._bytes.clear()
            self.processor.send_error(refused.status)
            self.transport.close()

    def _take_frame(self) -> bool:
        if len(self._bytes) < _FRAME.size or self._paused:
            return False
        size = frame_size(
            bytes(self._bytes[: _FRAME.size]),
            self._frames_seen > 0,
            self._context.limits.max_chunk_bytes,
        )
        if len(self._bytes) < size:
            return False
        frame = Buffer(bytes(self._bytes[:size]))
        del self._bytes[:size]
        self._frames_seen += 1
        self.messages.put_nowait((header_from_binary(frame), frame))
        if self.messages.qsize() >= self._context.limits.max_pending_messages:
            self._paused = True
            self.transport.pause_reading()
        return True

    async def _serve(self) -> None:
        while True:
            header, frame = await self.messages.get()
            if header is None:
                return
            try:
                goes_on = await self.processor.process(header, frame)
            except Exception:  # a fault of ours ends this connection, not the server
                _log.exception("serving %s failed", self.peer_name)
                goes_on = False
            if not goes_on:
                self._ended = True
                self.transport.close()
                return
            if not self.messages.empty():
                await asyncio.sleep(0)  # many small requests of one client are others' turns, too
            if (
                self._paused
                and self.messages.qsize() <= self._context.limits.max_pending_messages // 2
            ):
                self._paused = False
                self.data_received(b"")
                if not self._paused and not self.transport.is_closing():
                    self.transport.resume_reading()

    def connection_lost(self, ex: BaseException | None) -> None:
        """Forget the connection; its sessions decide for themselves whether they end with it."""
        self._ended = True
        if self.processor is not None:
            self._context.sessions.channel_lost(self.processor)
        with contextlib.suppress(ValueError):
            self.clients.remove(self)
        with contextlib.suppress(ValueError):
            self.iserver.asyncio_transports.remove(self.transport)
        for task in (self._task, self._activation_watchdog_task):
            if task is not None:
                task.cancel()


class Listener(BinaryServer):  # type: ignore[misc]
    """The listening socket; made anew at each opening of the endpoint."""

    def __init__(self, context: Context, host: str, port: int, policies: list[Any]) -> None:
        super().__init__(context.internal, host, port, transport_limits(context.limits))
        self.port: int = port
        self._context = context
        self.set_policies(policies)

    def _make_protocol(self) -> Protocol:
        return Protocol(
            self._context,
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )

    async def bind(self) -> None:
        """Take the address, and accept nobody yet. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._make_protocol, self.hostname, self.port, backlog=100, start_serving=False
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def start(self) -> None:
        """Listen on what was bound. Raises OSError when the address is taken all the same."""
        assert self._server is not None, "bind first"
        await self._server.start_serving()

    def close_expired(self) -> None:
        """Close the connections whose secure channel was not renewed in time."""
        now_ns = self._context.clock.monotonic_ns()
        for client in list(self.clients):
            if client.processor.channel_expired(now_ns):
                _log.info("closing the connection of %s: its channel expired", client.peer_name)
                client.processor.send_error(_CODES.BadSecureChannelTokenUnknown)
                client.transport.close()

    def close_listening(self) -> None:
        """Accept nobody any more."""
        if self._server is not None:
            self._server.close()

    async def stop(self, reason: str) -> None:
        """Close every connection and say why; what was written has the next turn of the loop."""
        self.close_listening()
        for client in list(self.clients):
            if client.transport is not None:
                client.processor.send_error(_CODES.BadServerHalted, reason)
                client.transport.close()
        await asyncio.sleep(0)
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.abort()
        await asyncio.sleep(0)
