"""Where the peer's connections come in: open as long as the node lives, whoever knocks.

A flood of strangers fills a bounded number of places; the oldest that has not said who it is makes
room, and the peer needs its place for milliseconds only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from gateway.config.node import HostPort
from gateway.errors import ControlError
from gateway.pair.greeting import Greeted, Greeter
from gateway.pair.hello import HelloRefused
from gateway.pair.stream import words
from gateway.pair.wire import WireError

log = logging.getLogger(__name__)

PLACES: Final = 32
_BACKLOG: Final = 128
_ACCEPTS_A_TURN: Final = 8
"""A TLS handshake takes a millisecond; the loop must not stall for a flood of them."""
_NO_SOCKETS_PAUSE_S: Final = 0.1


class Listener:
    """The listening sockets, in the order of `link: listen:`."""

    def __init__(
        self,
        addresses: Sequence[HostPort],
        greeter: Greeter,
        taken: Callable[[Greeted, int, str], Awaitable[None]],
        turned_away: Callable[[HelloRefused, int, str], None],
    ) -> None:
        """`taken` and `turned_away` get the number of the address, and the host that knocked."""
        self._addresses = addresses
        self._greeter = greeter
        self._taken = taken
        self._turned_away = turned_away
        self._sockets: list[socket.socket] = []
        self._greeting: dict[asyncio.Task[None], None] = {}

    def open(self) -> None:
        """Listen. Raises ControlError."""
        loop = asyncio.get_running_loop()
        for number, address in enumerate(self._addresses):
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            try:
                opened = socket.create_server(tuple(address), family=family, backlog=_BACKLOG)
            except OSError as error:
                self._close_sockets()
                raise ControlError(
                    f"the link can't listen on {address}: {words(error)}",
                    "Correct `link: listen:`, or end what uses this address",
                ) from error
            opened.setblocking(False)
            self._sockets.append(opened)
            loop.add_reader(opened, self._accept, opened, number)

    async def close(self) -> None:
        """Listen no more, and let go of whoever is being greeted."""
        self._close_sockets()
        tasks = list(self._greeting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_sockets(self) -> None:
        loop = asyncio.get_running_loop()
        for opened in self._sockets:
            loop.remove_reader(opened)
            opened.close()
        self._sockets.clear()

    def _accept(self, opened: socket.socket, number: int) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, remote = opened.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                self._pause(opened, number, error)
                return
            sock.setblocking(False)
            while len(self._greeting) >= PLACES:
                oldest = next(iter(self._greeting))
                del self._greeting[oldest]
                oldest.cancel()
            task = asyncio.create_task(self._greet(sock, number, str(remote[0])))
            self._greeting[task] = None
            task.add_done_callback(partial(self._greeted, sock))

    def _greeted(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._greeting.pop(task, None)
        if task.cancelled():
            sock.close()  # It may never have begun, so nobody else has.
        elif (error := task.exception()) is not None:
            log.error("a connection could not be greeted", exc_info=error)
            sock.close()

    def _pause(self, opened: socket.socket, number: int, error: OSError) -> None:
        # No file handles left: what knocks waits in the kernel.
        loop = asyncio.get_running_loop()
        loop.remove_reader(opened)
        self._turned_away(HelloRefused(words(error), stranger=True), number, "this node")

        def again() -> None:
            if opened in self._sockets:
                loop.add_reader(opened, self._accept, opened, number)

        loop.call_later(_NO_SOCKETS_PAUSE_S, again)

    async def _greet(self, sock: socket.socket, number: int, remote: str) -> None:
        try:
            greeted = await self._greeter.welcome(sock)
        except HelloRefused as why:
            self._turned_away(why, number, remote)
        except TimeoutError:
            self._turned_away(HelloRefused("it said nothing", stranger=True), number, remote)
        except (OSError, EOFError, WireError) as error:
            self._turned_away(HelloRefused(words(error), stranger=True), number, remote)
        else:
            await self._taken(greeted, number, remote)
