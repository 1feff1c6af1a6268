"""How a connection between the nodes begins, on the side that dials and on the one that listens.

TCP, TLS, one hello each way; whoever refuses says why before it closes, so that both nodes know.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.clock import Clock
from gateway.config.node import HostPort
from gateway.pair.hello import (
    HEARTBEATS,
    MAGIC,
    NOBODY,
    Hello,
    HelloRefused,
    LinkIdentity,
    check_answer,
    check_dialler,
    decode_hello,
    encode_hello,
    hello_of,
    judge,
    refusal_of,
)
from gateway.pair.stream import Stream, words
from gateway.pair.tls import Security
from gateway.pair.wire import FRAME_SIZE_MAX, FrameReader, frame

GREET_S: Final = 3.0
"""How long TLS and the hellos may take."""
ADDRESSES_MAX: Final = 4
_DEAD_MS: Final = 1_000
_IDLE_S: Final = 1
_BULK_DEAD_MS: Final = 10_000


Target = tuple[int, tuple[Any, ...]]
"""(address family, address) as a socket takes them."""


@dataclass(slots=True)
class Greeted:
    """A connection on which both know who the other is; `reader` may hold bytes that follow."""

    stream: Stream
    reader: FrameReader
    theirs: Hello
    protocol: int


class Addresses:
    """Names of the peer to addresses: one look-up of a name at a time, and none for an address.

    A look-up can't be taken back while its thread waits for a name server that is gone.
    """

    def __init__(self) -> None:
        self._asking: dict[str, asyncio.Future[list[Target]]] = {}

    async def of(self, to: HostPort) -> list[Target]:
        """Where to connect to, at most `ADDRESSES_MAX`. Raises OSError."""
        try:
            ipaddress.ip_address(to.host)
        except ValueError:
            return await self._look_up(to)
        kind = socket.AF_INET6 if ":" in to.host else socket.AF_INET
        return [(kind, (to.host, to.port))]

    async def _look_up(self, to: HostPort) -> list[Target]:
        asking = self._asking.get(str(to))
        if asking is None:
            asking = asyncio.ensure_future(self._ask(to))
            asking.add_done_callback(partial(self._asked, str(to)))
            self._asking[str(to)] = asking
        return await asyncio.shield(asking)

    async def _ask(self, to: HostPort) -> list[Target]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter for `a..b`
            raise OSError(f"{to.host} can't be resolved: {words(error)}") from error
        return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]

    def _asked(self, name: str, asking: asyncio.Future[list[Target]]) -> None:
        del self._asking[name]
        if not asking.cancelled():
            asking.exception()  # Whoever waited may have given up.


@dataclass(frozen=True, slots=True)
class Greeter:
    """What every connection of this node begins with."""

    me: LinkIdentity
    security: Security | None
    clock: Clock
    addresses: Addresses

    async def dial(self, to: HostPort, kind: str, connect_s: float) -> Greeted:
        """A connection to the peer.

        Raises ConnectionRefusedError when nothing listens there, HelloRefused, OSError, EOFError,
        TimeoutError, WireError.
        """
        async with asyncio.timeout(connect_s):
            sock = await connect(await self.addresses.of(to))
        stream = self._stream(sock, True, kind)
        try:
            async with asyncio.timeout(GREET_S):
                return await self._greet(stream, kind, str(to))
        except ssl.SSLError as error:
            stream.close()
            raise self.explain(error) from error
        except BaseException:  # whatever it is, the socket is closed first
            stream.close()
            raise

    async def _greet(self, stream: Stream, kind: str, path: str) -> Greeted:
        mine = hello_of(self.me, kind, path)
        if self.security is None:
            stream.write(MAGIC + frame(encode_hello(mine)))
            await stream.flushed()
            check_answer(await stream.peek())
        else:
            await self._check_tls_answer(stream)
            stream.write(MAGIC + frame(encode_hello(mine)))
            await stream.flushed()
        return await self._hear(stream, mine)

    async def _check_tls_answer(self, stream: Stream) -> None:
        try:
            await stream.secure()
        except ssl.SSLError as error:
            if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
                raise HelloRefused(
                    "what answers there speaks no TLS", "Give both nodes `link: tls:`"
                ) from error
            raise

    async def welcome(self, sock: socket.socket) -> Greeted:
        """A connection that came in, greeted up to its hello, which is judged but not answered.

        Raises HelloRefused (the dialler was told), OSError, EOFError, TimeoutError, WireError.
        """
        stream = Stream(sock, None, False)
        try:
            async with asyncio.timeout(GREET_S):
                check_dialler(await stream.peek(), self.security is not None)
                stream = Stream(sock, self.security, False)
                await stream.secure()
                mine = hello_of(self.me, "")
                return await self._hear(stream, mine)
        except ssl.SSLError as error:
            why = self.explain(error)
            await stream.part()  # The alert is out; it must not be cut off by a reset.
            raise why from error
        except HelloRefused as why:
            await self.refuse(stream, why)
            raise
        except BaseException:  # whatever it is, the socket is closed first
            stream.close()
            raise

    async def answer(self, greeted: Greeted) -> None:
        """Say who this node is: the connection is taken. Raises OSError."""
        mine = hello_of(self.me, greeted.theirs.kind)
        tune(greeted.stream.sock, greeted.theirs.kind)
        greeted.stream.write(MAGIC + frame(encode_hello(mine)))
        await greeted.stream.flushed()

    async def refuse(self, stream: Stream, why: HelloRefused) -> None:
        """Tell the dialler why it is refused, unless it is a stranger, and close."""
        if not why.stranger:
            proved = stream.secured or self.security is None
            refusal = refusal_of(self.me if proved else NOBODY, why)
            stream.write(MAGIC + frame(encode_hello(refusal)))
        await stream.part()

    async def _hear(self, stream: Stream, mine: Hello) -> Greeted:
        reader = FrameReader(FRAME_SIZE_MAX, greeting=True)
        while True:
            if data := stream.read():
                reader.feed(data)
            if (body := reader.next()) is not None:
                theirs = decode_hello(body)
                return Greeted(stream, reader, theirs, judge(mine, theirs))
            if not data:
                await stream.readable()

    def explain(self, error: ssl.SSLError) -> HelloRefused:
        """What failed in TLS."""
        assert self.security is not None
        return self.security.explain(error, self.clock.utc_ns())

    def _stream(self, sock: socket.socket, dialled: bool, kind: str) -> Stream:
        tune(sock, kind)
        return Stream(sock, self.security, dialled)


async def connect(targets: Sequence[Target]) -> socket.socket:
    """A connected socket. Raises OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError("it has no address")
    for family, address in targets:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:  # a time-out or the end of the program: the socket is closed first
            sock.close()
            raise
        else:
            return sock
    raise failure


def tune(sock: socket.socket, kind: str) -> None:
    """No waiting for company, and a dead path is noticed; bulk may wait for a slow reader."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _IDLE_S)
    dead_ms = _DEAD_MS if kind == HEARTBEATS else _BULK_DEAD_MS
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_ms)
