"""A stream of messages to the peer beside the heartbeats: framed, bounded, in order, kept alive.

Both sides send an empty frame when they have nothing to say; whoever hears nothing for
`SILENCE_NS` closes. A node that did not run itself for a while reads first and judges later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.clock import Clock
from gateway.errors import LinkClosed
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.greeting import Greeted
from gateway.pair.stream import words
from gateway.pair.wire import FRAME_SIZE_MAX, KEEP_ALIVE, WireError, frame

TICK_NS: Final = 400 * NS_PER_MS
SILENCE_NS: Final = 1_400 * NS_PER_MS
SEND_MAX: Final = 1 << 20
"""Bytes that wait for the kernel; `send` waits beyond."""
RECEIVED_MAX: Final = 4 << 20
"""Bytes that wait for `receive`; beyond, nothing is read from the kernel."""


class Channel:
    """One connection of a kind; `peer` is the other node's id, `path` the way that was taken."""

    def __init__(
        self,
        greeted: Greeted,
        path: str,
        clock: Clock,
        gone: Callable[[Channel], None],
        silence_ns: int = SILENCE_NS,
    ) -> None:
        self.peer = greeted.theirs.node
        self.path = path
        self.protocol = greeted.protocol
        self._stream = greeted.stream
        self._reader = greeted.reader
        self._clock = clock
        self._gone = gone
        self._silence_ns = silence_ns
        self._loop = asyncio.get_running_loop()
        self._frames: deque[bytes] = deque()
        self._held = 0
        self._why: str | None = None
        self._received = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._paused = False
        self._sent = False
        self._heard_ns = self._ticked_ns = clock.monotonic_ns()
        self._stream.watch(self._arrived)
        self._timer = self._loop.call_later(TICK_NS / NS_PER_S, self._tick)
        self._take()

    # -------------------------------------------------------------------------- speaking

    async def send(self, body: bytes) -> None:
        """Send a message of 1 byte to 1 MiB and a bit; waits while much is on its way.

        Raises LinkClosed, ValueError for a size that can't be.
        """
        if not 0 < len(body) <= FRAME_SIZE_MAX:
            raise ValueError(f"a message of {len(body)} bytes: 1 to {FRAME_SIZE_MAX} can be sent")
        while self._why is None and self._stream.pending >= SEND_MAX:
            self._room.clear()
            await self._room.wait()
        self._must_be_open()
        self._give(frame(body))
        self._must_be_open()

    def _give(self, wire: bytes) -> None:
        self._sent = True
        try:
            self._stream.write(wire)
            if not self._stream.flush():
                self._stream.when_writable(self._go_on)
        except OSError as error:
            self._end(words(error))

    def _go_on(self) -> None:
        try:
            done = self._stream.flush()
        except OSError as error:
            self._end(words(error))
            return
        if done:
            self._stream.when_writable(None)
        if self._stream.pending < SEND_MAX:
            self._room.set()

    # -------------------------------------------------------------------------- listening

    async def receive(self) -> bytes:
        """The next message. Raises LinkClosed, after what arrived before the end was taken."""
        while not self._frames:
            self._must_be_open()
            self._received.clear()
            await self._received.wait()
        body = self._frames.popleft()
        self._held -= len(body)
        if self._paused and self._held < RECEIVED_MAX // 2 and self._why is None:
            self._paused = False
            self._heard_ns = self._clock.monotonic_ns()
            self._stream.watch(self._arrived)
        return body

    def _arrived(self) -> None:
        try:
            data = self._stream.read()
            if data:
                self._heard_ns = self._clock.monotonic_ns()
                self._reader.feed(data)
                self._take()
        except EOFError as error:
            self._end(str(error))
        except (OSError, WireError) as error:
            self._end(words(error))

    def _take(self) -> None:
        while (body := self._reader.next()) is not None:
            if body:
                self._frames.append(body)
                self._held += len(body)
        if self._frames:
            self._received.set()
        if self._held >= RECEIVED_MAX and not self._paused:
            self._paused = True
            self._stream.unwatch()

    # -------------------------------------------------------------------------- its life

    def _tick(self) -> None:
        now_ns = self._clock.monotonic_ns()
        frozen = now_ns - self._ticked_ns > 2 * TICK_NS
        self._ticked_ns = now_ns
        if not self._paused:
            self._arrived()
        if self._paused or frozen:
            self._heard_ns = now_ns
        if now_ns - self._heard_ns > self._silence_ns:
            self._end(f"silent for {(now_ns - self._heard_ns) / NS_PER_S:.1f} s")
        if self._why is None:
            if not self._sent and not self._stream.pending:
                self._give(KEEP_ALIVE)
            self._sent = False
            self._timer = self._loop.call_later(TICK_NS / NS_PER_S, self._tick)

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._why is not None

    def _must_be_open(self) -> None:
        if self._why is not None:
            raise LinkClosed(f"the channel to node {self.peer} by {self.path} ended: {self._why}")

    def close(self, why: str = "closed here") -> None:
        """Close at once, any number of times; who waits gets LinkClosed."""
        self._end(why)

    def _end(self, why: str) -> None:
        if self._why is not None:
            return
        self._why = why
        self._timer.cancel()
        self._stream.close()
        self._received.set()
        self._room.set()
        self._gone(self)

    async def finish(self) -> None:
        """Close so that what was sent last arrives."""
        if self._why is None:
            self._why = "closed here"
            self._timer.cancel()
            self._stream.unwatch()
            self._received.set()
            self._room.set()
            await self._stream.part()
            self._gone(self)
