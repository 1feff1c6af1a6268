"""The peer as this node knows it: what it last told, since when it is silent, whether it is dead.

Heartbeats come over several links, doubled, reordered, late. Each is counted once, by the boot
number of the process that sent it and its sequence; what an earlier process sent is never news.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.pair.heartbeat import Heartbeat
from gateway.pair.roles import Links, PeerView
from gateway.pair.words import Identity, Role, Timing

BOOTS_MAX: Final = 16
"""Earlier processes of the peer that are remembered, so that nothing of theirs is taken for new."""


class Peer:
    """What was heard of the peer; times are ns of this node's monotonic clock."""

    def __init__(self, identity: Identity, timing: Timing, now_ns: int) -> None:
        self._identity = identity
        self._timing = timing
        self._silent_from_ns = now_ns
        self._silent_until_ns = 0
        self._refused: set[str] = set()
        self._past_boots: deque[int] = deque(maxlen=BOOTS_MAX)
        self._one_way_from_ns: int | None = None
        self.last: Heartbeat | None = None
        self.heard_ns = 0
        self.unbroken_from_ns = now_ns
        self.heard_on_ns: dict[str, int] = {}
        self.round_trip_ns = 0
        self.clock_ahead_ns = 0

    def hear(self, now_ns: int, link: str, heartbeat: Heartbeat, utc_ns: int = 0) -> bool:
        """Take in a heartbeat; False when it is no news (doubled, overtaken, of a dead process)."""
        last = self.last
        if heartbeat.boot in self._past_boots:
            return False
        if last is not None and last.boot == heartbeat.boot and heartbeat.seq <= last.seq:
            if heartbeat.seq == last.seq:
                self.heard_on_ns[link] = now_ns
            return False
        if last is not None and last.boot != heartbeat.boot:
            self._past_boots.append(last.boot)
            last = None
        silent = last is not None and now_ns - self.heard_ns > self._timing.missed_ns
        if last is None or silent:
            # What was one-way before a silence says nothing of now.
            self.unbroken_from_ns, self._one_way_from_ns = now_ns, None
        if silent:
            self._silent_until_ns = now_ns
        self.last = heartbeat
        self.heard_ns = self._silent_from_ns = now_ns
        self.heard_on_ns[link] = now_ns
        self._refused.clear()
        if heartbeat.hears_you:
            self._one_way_from_ns = None
        elif self._one_way_from_ns is None:
            self._one_way_from_ns = now_ns
        # What was sent into a silence may have waited for its end: that is no time of travel.
        if self.echoes_me(heartbeat, now_ns) and heartbeat.echo_ns >= self._silent_until_ns:
            self.round_trip_ns = now_ns - heartbeat.echo_ns - heartbeat.held_ns
            self.clock_ahead_ns = heartbeat.utc_ns + self.round_trip_ns // 2 - utc_ns
        return True

    def refuse(self, link: str) -> None:
        """A connection on that path was refused since the peer was last heard."""
        self._refused.add(link)

    def restart(self, now_ns: int) -> None:
        """Begin the silence anew, since this node did not listen until now."""
        self._silent_from_ns = now_ns
        self._one_way_from_ns = None
        self._refused.clear()

    def hears_me(self, now_ns: int) -> bool:
        """The peer is heard, and said that it hears this node."""
        return self.heard(now_ns) and self.last is not None and self.last.hears_you

    def age_ns(self, now_ns: int) -> int:
        """Time since the last heartbeat was sent, taken as half the round trip."""
        return now_ns - self.heard_ns + self.round_trip_ns // 2

    def heard(self, now_ns: int) -> bool:
        """A heartbeat arrived within two periods, on any link."""
        return self.last is not None and now_ns - self.heard_ns <= self._timing.missed_ns

    def echoes_me(self, heartbeat: Heartbeat, now_ns: int) -> bool:
        """Its echo is of this very process: only then does `echo_ns` mean this node's clock."""
        mine = heartbeat.echo_boot == self._identity.boot
        return mine and heartbeat.echo_ns + heartbeat.held_ns <= now_ns

    def answers_since(self, now_ns: int, age_ns: int) -> bool:
        """The last heartbeat was said after this node sent something at most `age_ns` ago."""
        last = self.last
        return last is not None and self.echoes_me(last, now_ns) and now_ns - last.echo_ns <= age_ns

    def links(self, now_ns: int) -> Links:
        """What the links carry; one-way only when that lasted half of takeover_after.

        The first heartbeats after a healed cut say `hears_you: false` on both sides.
        """
        if not self._identity.linked:
            return Links.ABSENT
        if not self.heard(now_ns):
            return Links.DOWN
        if self.hears_me(now_ns):
            return Links.TWO_WAY
        since_ns = self._one_way_from_ns
        lasted = since_ns is not None and now_ns - since_ns >= self._timing.takeover_after_ns // 2
        return Links.ONE_WAY if lasted else Links.DOWN

    def view(self, now_ns: int, patience_ns: int) -> PeerView:
        """The peer's role, or what kind of silence there is."""
        if self.last is None:
            return PeerView.NEVER
        if self.last.goodbye or self._all_paths_refused(now_ns):
            return PeerView.DEAD
        if now_ns - self._silent_from_ns >= patience_ns:
            return PeerView.SILENT
        if self.last.role is Role.MAIN:
            return PeerView.MAIN
        return PeerView.STARTING if self.last.role is Role.STARTING else PeerView.STANDBY

    def _all_paths_refused(self, now_ns: int) -> bool:
        paths = self._identity.paths
        return bool(paths) and paths <= self._refused and not self.heard(now_ns)
