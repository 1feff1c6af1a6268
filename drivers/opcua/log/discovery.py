"""Which points a server keeps history of, and what a device fact remembers of that. Pure.

By attributes only, never by vendor: many servers answer Good without values for a node of which
they keep nothing (asyncua 2.1 does), which looks like "nothing changed".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drivers.opcua.observe import Reading
from gateway.model import NS_PER_S, is_bad, status_name

POINTS_FACT: Final = "history"
STARTS_FACT: Final = "starts"
STARTS_MAX: Final = 32
SAME_START_NS: Final = NS_PER_S
HISTORY_READ: Final = 0x04
"""Of AccessLevel and UserAccessLevel (OPC 10000-3 section 8.57)."""
KEPT: Final = "kept"
SETTLED_NS: Final = 60 * NS_PER_S
"""A server that starts may have its nodes before their history: until a session is so old, what was
kept before and is missing now is only late."""
LOOK_LATEST_NS: Final = 3600 * NS_PER_S
"""What is missing is looked for again when the session has settled, then each time that it is twice
as old, but after this at the latest."""


class Attributes(NamedTuple):
    """AccessLevel, UserAccessLevel and Historizing of one node, as read."""

    access: Reading
    user: Reading
    historizing: Reading


def verdict(node: Attributes | None) -> str:
    """`kept`, or why no history of a node can be read; None: the server lacks its namespace."""
    if node is None:
        return "the server lacks its namespace"
    if is_bad(node.access.status):
        return f"AccessLevel reads as {status_name(node.access.status)}"
    if not _has(node.access):
        return "the server keeps no history of it (AccessLevel without HistoryRead)"
    if not is_bad(node.user.status) and not _has(node.user):
        return "our user may not read its history (UserAccessLevel without HistoryRead)"
    if not is_bad(node.historizing.status) and node.historizing.value is False:
        return "the server has stopped keeping its history (Historizing is false)"
    return KEPT


def _has(level: Reading) -> bool:
    return isinstance(level.value, int) and bool(level.value & HISTORY_READ)


def known_points(fact: object) -> dict[str, str]:
    """The fact `history`: a verdict by name of point, however it was stored."""
    return {str(k): str(v) for k, v in fact.items()} if isinstance(fact, Mapping) else {}


def known_starts(fact: object) -> list[int]:
    """The fact `starts`: when the server was started, by its own clock, in order."""
    if not isinstance(fact, Sequence) or isinstance(fact, str | bytes):
        return []
    return sorted(start for start in fact if isinstance(start, int))


def with_start(starts: Sequence[int], start_ns: int | None) -> list[int]:
    """The starts with a further one; the last 32 are kept."""
    known = list(starts)
    if start_ns is None or any(abs(start_ns - other) < SAME_START_NS for other in known):
        return known
    return sorted([*known, start_ns])[-STARTS_MAX:]


@dataclass(slots=True)
class Discovery:
    """What a session has been told of the history of points; instants are monotonic, in ns.

    `verdicts` by name of point are what is believed, and at first what earlier sessions learned;
    `found` is what this one was told. `late` are points of which both can't be so. A look is due at
    `due_ns`; None: all is there.
    """

    verdicts: dict[str, str]
    begun_ns: int
    found: dict[str, str] = field(default_factory=dict)
    late: tuple[str, ...] = ()
    due_ns: int | None = None

    def __post_init__(self) -> None:
        self.due_ns = self.begun_ns

    def take(self, found: Mapping[str, str], now_ns: int) -> None:
        """Be told of some points, or of all at first."""
        self.found |= found
        missing = [name for name, why in self.found.items() if why != KEPT]
        settled = now_ns - self.begun_ns >= SETTLED_NS
        kept = [name for name in missing if self.verdicts.get(name) == KEPT]
        self.late = () if settled else tuple(kept)
        self.verdicts = self.found | dict.fromkeys(self.late, KEPT)
        self.postpone(now_ns)
        if not missing:
            self.due_ns = None

    def postpone(self, now_ns: int) -> None:
        """Look again later."""
        age_ns = now_ns - self.begun_ns
        self.due_ns = now_ns + min(max(age_ns, SETTLED_NS), LOOK_LATEST_NS)

    def asks(self, name: str) -> bool:
        """Whether the next look asks of a point: not of what is there."""
        return self.found.get(name) != KEPT
