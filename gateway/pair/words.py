"""The words that both the wire and the tables use: roles, field health, settings of a node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S

TAKEOVER_AFTER_MAX_NS: Final = 30 * NS_PER_S
RETRY_NS: Final = NS_PER_S
RAN_OUT: Final = "the reign ran out"
"""Why a node that was frozen, or lost its votes, is no longer Main: told when it woke up."""
"""How often what failed or found nothing (a term, a probe of the field) is tried again."""


class Role(IntEnum):
    """A node's role; the two middle ones are Standby. The numbers are on the wire."""

    STARTING = 0
    SYNCING = 1
    SYNCED = 2
    MAIN = 3

    @property
    def shown(self) -> str:
        """The role as people read it."""
        return {1: "standby (syncing)", 2: "standby (synced)"}.get(self, self.name.lower())


class Field(IntEnum):
    """Whether a node reaches any field device. The numbers are on the wire."""

    UNKNOWN = 0
    REACHED = 1
    LOST = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """The site's timing, all in ns; the defaults are those of the site file.

    A lease, a reign and a promise count by `takeover_after_ns` as configured; only the patience
    with a silent peer is doubled by arbitrations.
    """

    heartbeat_ns: int = 100 * NS_PER_MS
    takeover_after_ns: int = NS_PER_S
    startup_wait_ns: int = 3 * NS_PER_S
    field_lost_after_ns: int = 10 * NS_PER_S
    stable_ns: int = 600 * NS_PER_S
    clock_apart_ns: int = NS_PER_S

    @property
    def reign_ns(self) -> int:
        """How long a reign, or the peer's consent, outlasts a heartbeat (0.8, rules.md 5)."""
        return self.takeover_after_ns * 4 // 5

    @property
    def missed_ns(self) -> int:
        """Two heartbeats missed: half a period is left for jitter."""
        return self.heartbeat_ns * 5 // 2

    @property
    def late_ns(self) -> int:
        """A step this long after the one before is late: what lies unread is older than silence.

        Shorter stalls can't hide enough heartbeats for a takeover: at most this and one period.
        """
        return max(2 * self.heartbeat_ns, self.takeover_after_ns // 2 - self.heartbeat_ns)

    @property
    def alone_ns(self) -> int:
        """The start rule's wait; it outlasts every consent given before a restart."""
        return max(self.startup_wait_ns, self.takeover_after_ns)

    def patience_ns(self, arbitrations: int) -> int:
        """Silence that counts as the peer's end after so many arbitrations without stability."""
        longest_ns = max(TAKEOVER_AFTER_MAX_NS, self.takeover_after_ns)
        return min(self.takeover_after_ns << min(arbitrations, 10), longest_ns)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is and what it has: fixed for the life of the process.

    `boot` is a random number a process; `paths` are the links on which a connection can be
    refused (TCP), by name; `linked` is false where no link is configured.
    """

    site: str
    node: str
    boot: int
    priority: int = 0
    paths: frozenset[str] = frozenset()
    linked: bool = True
    witnessed: bool = False
