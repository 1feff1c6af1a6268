"""A connected non-blocking socket, in clear or under TLS: what lies unread can be had at once.

asyncio's transports keep bytes to themselves until the next turn of the loop; after a freeze the
role machine must know them before it decides (rules.md 5). So TLS is done here, over two buffers,
and `read` goes down to the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.pair.tls import Security

READ_SIZE: Final = 1 << 16
READ_AT_ONCE_MAX: Final = 1 << 18
_SLICE: Final = 1 << 16
PART_S: Final = 1.0


def words(error: Exception) -> str:
    """What failed, as the system says it: without the number, the file and the line of OpenSSL."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _happened(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Stream:
    """Plain bytes on this side. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket, security: Security | None, dialled: bool) -> None:
        self.sock = sock
        self._security = security
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._secured = (
            None if security is None else security.wrap(self._incoming, self._outgoing, dialled)
        )
        self._out = bytearray()
        self._loop = asyncio.get_running_loop()
        self.closed = False

    # ----------------------------------------------------------------------- now, or never

    def read(self) -> bytes:
        """What arrived, empty when nothing did; at most some 256 KiB.

        Raises EOFError at the end, OSError (ssl.SSLError is one).
        """
        found = bytearray()
        try:
            if self._incoming.pending:
                self._open(b"", found)  # It came with the end of the handshake.
            while len(found) < READ_AT_ONCE_MAX:
                data = self.sock.recv(READ_SIZE)
                if not data and not found:
                    raise EOFError("the peer closed the connection")
                self._open(data, found)
                if len(data) < READ_SIZE:
                    break  # That was all: one call to the kernel less.
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            if not found:
                raise  # Else what came before it is read first; the end shows with the next read.
        return bytes(found)

    def _open(self, data: bytes, found: bytearray) -> None:
        if self._secured is None:
            found += data
            return
        if data:
            self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self._secured.read(READ_SIZE):
                found += part
        if self._outgoing.pending:  # An answer to a change of keys.
            self._out += self._outgoing.read()
            self.flush()

    def write(self, data: bytes) -> None:
        """Keep bytes for `flush`."""
        if self._secured is None:
            self._out += data
            return
        view = memoryview(data)
        while view:
            view = view[self._secured.write(view[:_SLICE]) :]
        self._out += self._outgoing.read()

    def flush(self) -> bool:
        """Give the kernel what it takes; whether that was all. Raises OSError."""
        while self._out:
            try:
                sent = self.sock.send(memoryview(self._out)[:_SLICE])
            except (BlockingIOError, InterruptedError):
                return False
            del self._out[:sent]
        return True

    @property
    def secured(self) -> bool:
        """Whether it speaks TLS."""
        return self._secured is not None

    @property
    def pending(self) -> int:
        """Bytes that the kernel did not take yet."""
        return len(self._out)

    # -------------------------------------------------------------------------- in the loop

    def watch(self, arrived: Callable[[], None]) -> None:
        """Call back whenever there is something to read."""
        self._loop.add_reader(self.sock, arrived)

    def unwatch(self) -> None:
        """Call back no more."""
        self._loop.remove_reader(self.sock)

    def when_writable(self, ready: Callable[[], None] | None) -> None:
        """Call back whenever the kernel takes bytes; None: no more."""
        if ready is None:
            self._loop.remove_writer(self.sock)
        else:
            self._loop.add_writer(self.sock, ready)

    async def readable(self) -> None:
        """Wait until there is something to read."""
        waiting = self._loop.create_future()
        self.watch(partial(_happened, waiting))
        try:
            await waiting
        finally:
            if not self.closed:
                self.unwatch()

    async def flushed(self) -> None:
        """Wait until the kernel has all. Raises OSError."""
        while not self.flush():
            waiting = self._loop.create_future()
            self.when_writable(partial(_happened, waiting))
            try:
                await waiting
            finally:
                if not self.closed:
                    self.when_writable(None)

    async def peek(self) -> bytes:
        """The first bytes, left where they are. Raises EOFError, OSError."""
        await self.readable()
        first = self.sock.recv(64, socket.MSG_PEEK)
        if not first:
            raise EOFError("it closed the connection without a word")
        return first

    async def secure(self) -> None:
        """The TLS handshake. Raises OSError, EOFError, HelloRefused for an unpinned certificate."""
        if self._secured is None or self._security is None:
            return
        while True:
            try:
                self._secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._exchange()
            finally:
                # An alert must leave too, for the peer to know why.
                self._out += self._outgoing.read()
                self.flush()
        await self.flushed()
        self._security.check(self._secured)

    async def _exchange(self) -> None:
        self._out += self._outgoing.read()
        await self.flushed()
        await self.readable()
        data = self.sock.recv(READ_SIZE)
        if not data:
            raise EOFError("it closed the connection during the TLS handshake")
        self._incoming.write(data)

    async def part(self) -> None:
        """Close so that what was said last arrives: a close with bytes unread would cut it off."""
        try:
            async with asyncio.timeout(PART_S):
                await self.flushed()
                self.sock.shutdown(socket.SHUT_WR)
                while True:
                    await self.readable()
                    if not self.sock.recv(READ_SIZE):
                        break
        except (OSError, TimeoutError):
            pass  # It is being closed anyway.
        finally:
            self.close()

    def close(self) -> None:
        """Close at once, any number of times."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
