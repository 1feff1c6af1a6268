"""Somebody without a certificate at the doors of a node: `python -m hil.stranger HOST:PORT...`.

At each door, every `PERIOD_S`, one after the other of: garbage; a TLS client with no certificate;
the beginning of a message of each protocol spoken there, and then nothing; a connection that says
nothing at all. The silent ones are held, up to `HELD_MAX` a door. Ends by SIGINT or SIGTERM and
says what it did: connections made, and how many of them the node ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import ssl
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final

PERIOD_S: Final = 0.1
HELD_MAX: Final = 20
PATIENCE_S: Final = 1.0
GARBAGE_BYTES: Final = 4096
BEGINNINGS: Final = (
    b"HOTP",
    b"HELF\xff\xff\xff\x7f",
    b"\x16\x03\x01\x40\x00",
    b"GET / HTTP/1.1\r\nHost: ",
    b"\x00\x01\x00\x00\x00\x06\x01\x03",
)
"""A link's, an OPC UA message of 2 GiB, a TLS record, HTTP, Modbus TCP: never continued."""

Address = tuple[str, int]


class Stranger:
    """What is done at one door."""

    def __init__(self, at: Address) -> None:
        self._at = at
        self._held: deque[asyncio.StreamWriter] = deque()
        self.made = self.ended = 0

    async def knock_for_ever(self) -> None:
        """Every way of knocking in turn, until cancelled."""
        ways = (self._garbage, self._without_certificate, self._beginning, self._silent)
        try:
            while True:
                for way in ways:
                    with contextlib.suppress(OSError, TimeoutError):
                        await way()
                    await asyncio.sleep(PERIOD_S)
        finally:
            while self._held:
                self._held.popleft().transport.abort()

    async def _connected(
        self, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.open_connection(*self._at, ssl=tls)
        self.made += 1
        return found

    async def _garbage(self) -> None:
        reader, writer = await self._connected()
        try:
            writer.write(random.randbytes(GARBAGE_BYTES))
            async with asyncio.timeout(PATIENCE_S):
                await reader.read()
            self.ended += 1
        except ConnectionError:
            self.ended += 1
        finally:
            writer.transport.abort()

    async def _without_certificate(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await self._connected(context)
        try:
            writer.write(b"HOTP")
            async with asyncio.timeout(PATIENCE_S):
                await reader.read()
            self.ended += 1
        except (ConnectionError, ssl.SSLError):
            self.ended += 1
        finally:
            writer.transport.abort()

    async def _beginning(self) -> None:
        _, writer = await self._connected()
        writer.write(random.choice(BEGINNINGS))
        self._hold(writer)

    async def _silent(self) -> None:
        _, writer = await self._connected()
        self._hold(writer)

    def _hold(self, writer: asyncio.StreamWriter) -> None:
        self._held.append(writer)
        if len(self._held) > HELD_MAX:
            self._held.popleft().transport.abort()


async def run(doors: Sequence[Address]) -> None:
    """Knock at every door until SIGINT or SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    strangers = [Stranger(at) for at in doors]
    tasks = [asyncio.create_task(stranger.knock_for_ever()) for stranger in strangers]
    print("ready", flush=True)
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for (host, port), stranger in zip(doors, strangers, strict=True):
        made, sent_away = stranger.made, stranger.ended
        print(f"{host}:{port}: {made} connections, {sent_away} of them ended", file=sys.stderr)


def address(text: str) -> Address:
    """HOST:PORT. Raises ValueError."""
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(run([address(text) for text in sys.argv[1:]]))
