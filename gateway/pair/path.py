"""One way to the peer: dialled for ever, and this node's heartbeats on it.

A path that ends is dialled again at once: when the peer's process died, its host refuses within
milliseconds, and that is the proof of death the role machine waits for (rules.md 5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from gateway.clock import Clock
from gateway.config.node import HostPort
from gateway.model import NS_PER_S
from gateway.pair.beats import Beats
from gateway.pair.greeting import Greeted, Greeter
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.hello import HEARTBEATS, HelloRefused
from gateway.pair.pace import Redialling
from gateway.pair.stream import words
from gateway.pair.wire import WireError

log = logging.getLogger(__name__)

CONNECT_S: Final = (0.1, 0.5, 0.5, 2.0)
"""Short, so that a healed path is found soon; one in four is for slow ones.

The first after a fall is the shortest: a host that is just closing a listener may drop a SYN, and
the kernel sends the next after a second only.
"""


class Path:
    """A configured address of the peer; up while a connection for heartbeats stands."""

    def __init__(
        self,
        address: HostPort,
        greeter: Greeter,
        refused: Callable[[str], None],
        changed: Callable[[Path, HelloRefused | str | None], None],
    ) -> None:
        """`changed` is told None when the path stands, else why it doesn't."""
        self.name = str(address)
        self.address = address
        self._greeter = greeter
        self._clock: Clock = greeter.clock
        self._refused = refused
        self._changed = changed
        self._ended = asyncio.Event()
        self._why = ""
        self._attempts = 0
        self._stood = False
        self._task: asyncio.Task[None] | None = None
        self.beats: Beats | None = None
        self.since_ns = self._clock.monotonic_ns()

    @property
    def up(self) -> bool:
        """Whether heartbeats can be sent on it."""
        return self.beats is not None

    def start(self) -> None:
        """Dial, from now on."""
        self._task = asyncio.create_task(self._run(), name=f"path {self.name}")

    async def stop(self) -> None:
        """Dial no more; what was sent last arrives."""
        beats, self.beats = self.beats, None
        if beats is not None:
            await beats.part()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def send(self, heartbeat: Heartbeat) -> None:
        """Send if the path stands."""
        if self.beats is not None:
            self.beats.send(heartbeat)

    def drain(self) -> None:
        """Tell what lies unread: echoes here, as a rule."""
        if self.beats is not None:
            self.beats.drain()

    async def _run(self) -> None:
        redialling = Redialling(self._clock.monotonic_ns())
        while True:
            began_ns = self._clock.monotonic_ns()
            refused = await self._attempt()
            now_ns = self._clock.monotonic_ns()
            pause_ns = redialling.pause_ns(began_ns, now_ns, self._stood, refused)
            await asyncio.sleep(pause_ns / NS_PER_S)

    async def _attempt(self) -> bool:
        """Dial once, and stay while the path stands; whether the peer and this node don't match."""
        self._stood = False
        why: HelloRefused | str
        limit_s = CONNECT_S[self._attempts % len(CONNECT_S)]
        self._attempts += 1
        try:
            greeted = await self._greeter.dial(self.address, HEARTBEATS, limit_s)
        except ConnectionRefusedError:
            self._refused(self.name)
            why = "nothing listens there"
        except HelloRefused as error:
            why = error
        except TimeoutError:
            why = "no answer"
        except (OSError, EOFError, WireError) as error:
            why = words(error)
        except Exception as error:  # a path that is dialled no more would be a silent split
            log.exception("path %s", self.name)
            why = words(error)
        else:
            why = await self._stand(greeted)
        self._changed(self, why)
        return isinstance(why, HelloRefused)

    async def _stand(self, greeted: Greeted) -> str:
        self._stood = True
        self._attempts = 0
        self._ended.clear()
        self.since_ns = self._clock.monotonic_ns()
        # Each node speaks on what it dialled, so nothing but echoes is heard here.
        self.beats = Beats(greeted, self._clock, lambda heartbeat: None, self._end)
        self.beats.start()
        self._changed(self, None)
        try:
            await self._ended.wait()
        finally:
            self.since_ns = self._clock.monotonic_ns()
        return self._why

    def _end(self, why: str) -> None:
        self.beats = None
        self._why = why
        self._ended.set()
