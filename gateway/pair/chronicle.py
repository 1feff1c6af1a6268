"""Who was Main, from when to when, and why: what the journalled roles of both nodes add up to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gateway.journal.records import Role as RoleTaken
from gateway.model import Position, Term
from gateway.pair.words import RAN_OUT, Role


class ReignSpan(NamedTuple):
    """A reign: [from, to) in ns UTC by its own node's clock; `to_ns` None while it lasts.

    A node that was killed tells no end, and a frozen one tells it when it wakes up: then `to_ns` is
    when the other became Main, and `ended` says so.
    """

    node: str
    term: Term | None
    from_ns: int
    to_ns: int | None
    why: str
    ended: str


def reigns(taken: Iterable[tuple[Position, RoleTaken]]) -> list[ReignSpan]:
    """The reigns among journalled roles (in any order), oldest first."""
    roles = sorted((role for _, role in taken), key=lambda role: role.at_ns)
    found: list[ReignSpan] = []
    for index, role in enumerate(roles):
        if role.role != Role.MAIN.shown:
            continue
        later = roles[index + 1 :]
        own = next((r for r in later if r.node == role.node), None)
        other = next((r for r in later if r.node != role.node and r.role == Role.MAIN.shown), None)
        to_ns, ended = None, ""
        if own is not None:
            to_ns, ended = own.at_ns, own.why
        if other is not None and (own is None or _was_cut(own)):
            to_ns, ended = other.at_ns, f"{other.node} became Main: {other.why}"
        elif other is not None and own is not None and _slept(own) and other.at_ns < own.at_ns:
            to_ns, ended = other.at_ns, f"{own.why}; {other.node} became Main: {other.why}"
        found.append(ReignSpan(role.node, role.term, role.at_ns, to_ns, role.why, ended))
    return found


def _slept(own: RoleTaken) -> bool:
    """A frozen node sent nothing after its reign, though it says so only now."""
    return own.why == RAN_OUT


def _was_cut(own: RoleTaken) -> bool:
    """A node that began anew didn't tell when the reign before ended."""
    return own.role in (Role.STARTING.shown, Role.SYNCING.shown) and own.term is None
