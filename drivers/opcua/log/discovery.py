"""Which points a server keeps history of, and what a device fact remembers of that. Pure.

By attributes only, never by vendor: many servers answer Good without values for a node of which
they keep nothing (asyncua 2.1 does), which looks like "nothing changed".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
