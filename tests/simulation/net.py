"""What lies between the two nodes: links that lose, delay, double and cut; channels over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.model import NS_PER_MS, NS_PER_S
from tests.simulation.agenda import Agenda

MS = NS_PER_MS
BREAKS_NS = NS_PER_S
"""TCP_USER_TIMEOUT of a channel: this long cut, and it is over."""


@dataclass(slots=True)
class Link:
    """One path; `cut` holds who can't be heard over it, `refuses` who refuses connections."""

    name: str
    cut: set[str] = field(default_factory=set)
    refuses: bool = False

    @property
    def tcp(self) -> bool:
        return self.name != "serial"

    def carries(self, node: str) -> bool:
        """Whether what a node says arrives."""
        return node not in self.cut and not self.refuses


class Net:
    """All links, and how they are today."""

    def __init__(self, agenda: Agenda, names: tuple[str, ...]) -> None:
        self.agenda = agenda
        self.links = {name: Link(name) for name in names}
        self.delay_ns = MS
        self.jitter_ns = 0
        self.loss = 0.0
        self.twice = 0.0
        self.split = False
        self.sound_from_ns = 0
        self.cut_until_ns = 0

    def changed(self) -> None:
        """A link was cut or healed: a split begins when one node can't be heard at all.

        A firewall that rejects is one too (rules.md 5): it looks like a proof of death.
        """
        heard = [any(link.carries(node) for link in self.links.values()) for node in "ab"]
        rejected = any(link.refuses for link in self.links.values())
        self.split = self.split or rejected or not all(heard)
        if all(heard) and not rejected:
            self.sound_from_ns = self.agenda.now_ns
        else:
            self.sound_from_ns = -1

    def heal(self) -> None:
        """All links carry everything again."""
        for link in self.links.values():
            link.cut.clear()
            link.refuses = False
        self.changed()

    def lag_ns(self) -> int:
        """How long a message is under way."""
        return self.delay_ns + int(self.agenda.random.random() * self.jitter_ns)

    def scatter(self, node: str, arrive: Callable[[str], None]) -> None:
        """Send a datagram on every link; `arrive(link)` is called for each copy that gets there."""
        for link in self.links.values():
            copies = 1 + self.agenda.chance(self.twice)
            for _ in range(copies):
                if link.carries(node) and not self.agenda.chance(self.loss):
                    lag_ns = self.lag_ns() + (8 * MS if not link.tcp else 0)
                    self.agenda.at(lag_ns, arrive, link.name)

    def dialable(self) -> Link | None:
        """A path on which a connection could be made now."""
        for link in self.links.values():
            if link.tcp and not link.cut and not link.refuses:
                return link
        return None


class Pipe:
    """One direction of a channel: in order, late, never lost while it stands."""

    def __init__(self, channel: Channel, sender: str) -> None:
        self._channel = channel
        self._sender = sender
        self._queue: deque[Any] = deque()
        self._last_ns = 0
        self._stuck_from_ns: int | None = None
        self.deliver: Callable[[Any], None] = lambda frame: None

    def send(self, frame: Any) -> None:
        """Put a frame on its way."""
        agenda = self._channel.net.agenda
        self._queue.append(frame)
        self._last_ns = max(self._last_ns + 1, agenda.now_ns + self._channel.net.lag_ns())
        agenda.at(self._last_ns - agenda.now_ns, self._arrive)

    def _arrive(self) -> None:
        channel = self._channel
        if not channel.open or not self._queue:
            return
        agenda = channel.net.agenda
        if channel.link.carries(self._sender):
            self._stuck_from_ns = None
            self.deliver(self._queue.popleft())
            return
        if self._stuck_from_ns is None:
            self._stuck_from_ns = agenda.now_ns
        if agenda.now_ns - self._stuck_from_ns >= BREAKS_NS:
            channel.close()
        else:
            agenda.at(50 * MS, self._arrive)


class Channel:
    """A connection between a dialler and an answerer over one link."""

    def __init__(self, net: Net, link: Link, dialler: str, answerer: str) -> None:
        self.net = net
        self.link = link
        self.open = True
        self.pipes = {node: Pipe(self, node) for node in (dialler, answerer)}
        self.ended: list[Callable[[], None]] = []

    def close(self) -> None:
        """End it on both sides."""
        if self.open:
            self.open = False
            for call in self.ended:
                self.net.agenda.at(self.net.lag_ns(), call)
