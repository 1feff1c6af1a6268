"""What the kept records add up to: device facts, maintenance in force, configuration revisions.

Applied in any order the result is the same: for each key the record of the highest position wins.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.journal.records import Body, Fact, Maintenance, Revision
from gateway.model import Position, Term

_REVISIONS_MAX: Final = 64
_ASPECT: Final = {"disable": "enabled", "enable": "enabled"}
_WITHDRAWS: Final = frozenset({"enable", "release"})

Rank = tuple[int, int, int]


def rank(position: Position) -> Rank:
    """The order in which positions outrank each other: term number, nonce, seq."""
    return position.term.number, position.term.nonce, position.seq


class KeptState:
    """The running total of the kept records; bounded by what is configured."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], tuple[Rank, Any]] = {}
        self._maintenance: dict[tuple[str, str], tuple[Rank, Maintenance]] = {}
        self._names: dict[tuple[int, Term], tuple[str, ...]] = {}
        self._devices: dict[tuple[int, Term], frozenset[str]] = {}
        self._head: tuple[Rank, Revision] | None = None
        self.born_ns: int | None = None
        """When the site got its first revision: before that there was nothing to miss."""

    def apply(self, position: Position, body: Body) -> None:
        """Take a record into account; other kinds than the kept ones change nothing."""
        if isinstance(body, Fact):
            key = (body.device, body.key)
            if key not in self._facts or rank(position) >= self._facts[key][0]:
                self._facts[key] = (rank(position), body.value)
        elif isinstance(body, Maintenance):
            aspect = (body.target, _ASPECT.get(body.action, "value"))
            known = self._maintenance.get(aspect)
            if known is None or rank(position) >= known[0]:
                self._maintenance[aspect] = (rank(position), body)
        elif isinstance(body, Revision):
            self._learn(position, body)

    def _learn(self, position: Position, body: Revision) -> None:
        self.born_ns = body.at_ns if self.born_ns is None else min(self.born_ns, body.at_ns)
        if self._head is None or rank(position) >= self._head[0]:
            self._head = (rank(position), body)
        key = (body.number, position.term)
        self._names[key] = tuple(name for name, _ in body.points)
        self._devices[key] = frozenset(name.partition("/")[0] for name, _ in body.points)
        if len(self._names) > _REVISIONS_MAX:
            oldest = min(self._names, key=lambda item: (item[1].number, item[1].nonce, item[0]))
            del self._names[oldest], self._devices[oldest]

    @property
    def facts(self) -> dict[tuple[str, str], Any]:
        """(device, key) -> value, as last learned."""
        return {key: value for key, (_, value) in self._facts.items()}

    @property
    def maintenance(self) -> list[Maintenance]:
        """What is disabled or substituted now, oldest first."""
        known = sorted(self._maintenance.values(), key=lambda item: item[0])
        return [body for _, body in known if body.action not in _WITHDRAWS]

    @property
    def head(self) -> Revision | None:
        """The revision of the highest position."""
        return None if self._head is None else self._head[1]

    def names(self, number: int, term: Term) -> tuple[str, ...] | None:
        """The points of a revision as a term knew it, by number; None if it isn't known."""
        key = self._key(number, term)
        return None if key is None else self._names[key]

    def has_device(self, number: int, term: Term, device: str) -> bool:
        """Whether a revision has a device; of one that isn't known it is assumed."""
        key = self._key(number, term)
        return key is None or device in self._devices[key]

    def _key(self, number: int, term: Term) -> tuple[int, Term] | None:
        """A revision is taken over from term to term: the newest up to this one is meant."""
        if (number, term) in self._names:
            return number, term
        same = [key for key in self._names if key[0] == number]
        before = [key for key in same if key[1] <= term]
        return max(before or same, key=lambda key: key[1], default=None)
