"""Heartbeats on one connection: beats one way, their echoes the other.

Only the newest heartbeat waits for a connection that does not take more: an older one is worth
nothing. What arrived is kept in order until it is told, so that a drain inside a telling misses
nothing and tells nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.errors import UNDECODABLE
from gateway.model import NS_PER_S
from gateway.pair.greeting import Greeted
from gateway.pair.heartbeat import Heartbeat, decode_heartbeat, encode_heartbeat
from gateway.pair.stream import words
from gateway.pair.wire import Beat, WireError, beat, echo, read_message

GOODBYES: Final = 3
ECHO_EACH_NS: Final = NS_PER_S
_ECHOES_PENDING_MAX: Final = 4_096


class Beats:
    """One connection that carries heartbeats, in either direction; it ends once."""

    def __init__(
        self,
        greeted: Greeted,
        clock: Clock,
        hear: Callable[[Heartbeat], None],
        ended: Callable[[str], None],
    ) -> None:
        self._stream = greeted.stream
        self._reader = greeted.reader
        self._clock = clock
        self._hear = hear
        self._ended = ended
        self._unheard: deque[Heartbeat] = deque()
        self._waiting: Heartbeat | None = None
        self.theirs = greeted.theirs
        self._asked_ns = -ECHO_EACH_NS
        self.rtt_ns = 0
        self.open = True

    def start(self) -> None:
        """Begin to listen; what came with the hello is told at once."""
        self._stream.watch(self.drain)
        self._take()
        self._tell()

    def send(self, heartbeat: Heartbeat) -> None:
        """Send, or keep as the newest; a goodbye leaves three times."""
        if not self.open:
            return
        if self._stream.pending:
            self._waiting = heartbeat
            return
        now_ns = self._clock.monotonic_ns()
        wire = encode_heartbeat(msgspec.structs.replace(heartbeat, utc_ns=self._clock.utc_ns()))
        # An echo costs both nodes as much as a heartbeat: one a second tells enough.
        due = now_ns - self._asked_ns >= ECHO_EACH_NS
        self._asked_ns = now_ns if due else self._asked_ns
        wire = beat(now_ns if due else 0, wire)
        self._give(wire * (GOODBYES if heartbeat.goodbye else 1))

    def drain(self) -> None:
        """Tell every heartbeat that lies unread, here or in the kernel."""
        why = ""
        while self.open:
            try:
                data = self._stream.read()
                if not data:
                    break
                self._reader.feed(data)
                self._take()
            except EOFError as error:
                why = str(error)
                break
            except (OSError, WireError, *UNDECODABLE) as error:
                why = words(error)
                break
        self._tell()
        if why:
            self.end(why)

    def _take(self) -> None:
        while (body := self._reader.next()) is not None:
            message = read_message(body)
            if isinstance(message, Beat):
                self._unheard.append(decode_heartbeat(message.heartbeat))
                if message.stamp_ns and self._stream.pending < _ECHOES_PENDING_MAX:
                    self._give(echo(message.stamp_ns))
            else:
                self.rtt_ns = max(0, self._clock.monotonic_ns() - message.stamp_ns)

    def _tell(self) -> None:
        while self._unheard:
            self._hear(self._unheard.popleft())

    def _give(self, wire: bytes) -> None:
        try:
            self._stream.write(wire)
            if not self._stream.flush():
                self._stream.when_writable(self._go_on)
        except OSError:
            # Reading says why, after what arrived before was told.
            self._stream.when_writable(None)

    def _go_on(self) -> None:
        try:
            if not self._stream.flush():
                return
        except OSError as error:
            self._stream.when_writable(None)
            self.drain()
            self.end(words(error))
            return
        self._stream.when_writable(None)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.send(waiting)

    def end(self, why: str) -> None:
        """Close, and say so once."""
        if self.open:
            self.open = False
            self._stream.close()
            self._ended(why)

    async def part(self) -> None:
        """Close so that the last heartbeat arrives; nobody is told."""
        if self.open:
            self.open = False
            self._stream.unwatch()
            await self._stream.part()
