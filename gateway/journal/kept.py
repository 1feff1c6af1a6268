"""What the kept records add up to: device facts, maintenance, rulings, configuration revisions.

Applied in any order the result is the same: for each key the record of the highest position wins.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gateway.journal.coverage import Ruled
from gateway.journal.records import EMPTY_DIGEST, Body, Fact, Maintenance, Revision, Ruling
from gateway.model import Position, Term

_REVISIONS_MAX: Final = 64
_RULINGS_MAX: Final = 1_000
_ASPECT: Final = {"disable": "enabled", "enable": "enabled"}
_WITHDRAWS: Final = frozenset({"enable", "release"})

Rank = tuple[int, int, int]


def rank(position: Position) -> Rank:
    """The order in which positions outrank each other: term number, nonce, seq."""
    return position.term.number, position.term.nonce, position.seq


class Head(NamedTuple):
    """The revision that holds: where it is written, that record's digest, and what it says."""

    position: Position
    digest: bytes
    revision: Revision


class _Known(NamedTuple):
    """A revision, where it is written, and the devices that it has."""

    position: Position
    digest: bytes
    body: Revision
    points: tuple[str, ...]
    devices: frozenset[str]


class KeptState:
    """The running total of the kept records; bounded by what is configured."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], tuple[Rank, Any]] = {}
        self._maintenance: dict[tuple[str, str], tuple[Rank, Maintenance]] = {}
        self._revisions: dict[tuple[int, Term], _Known] = {}
        self._rulings: dict[Position, Ruling] = {}
        self._diverged: frozenset[tuple[int, Term]] = frozenset()
        self.rulings: tuple[Ruled, ...] = ()
        """What holds of Main-Main; of two that contradict each other the higher position's."""
        self.learned = 0
        """Grows whenever numbers of revisions may have come to mean something else."""
        self.born_ns: int | None = None
        """When the site got its first revision: before that there was nothing to miss."""

    def apply(self, position: Position, body: Body, digest: bytes = EMPTY_DIGEST) -> None:
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
            self._learn(position, body, digest)
        elif isinstance(body, Ruling):
            self._rule(position, body)

    def _learn(self, position: Position, body: Revision, digest: bytes) -> None:
        self.born_ns = body.at_ns if self.born_ns is None else min(self.born_ns, body.at_ns)
        names = tuple(name for name, _ in body.points)
        devices = frozenset(name.partition("/")[0] for name in names)
        for known in self._revisions.values():
            if known.points == names:  # most revisions change no point: keep one copy
                names, devices = known.points, known.devices
                break
        self._revisions[body.number, position.term] = _Known(position, digest, body, names, devices)
        if len(self._revisions) > _REVISIONS_MAX:
            del self._revisions[min(self._revisions, key=self._rank_of)]
        self._judge()

    def _rule(self, position: Position, body: Ruling) -> None:
        self._rulings[position] = body
        if len(self._rulings) > _RULINGS_MAX:
            del self._rulings[min(self._rulings, key=rank)]
        found: dict[frozenset[Term], Term] = {}
        ruled: set[Ruled] = set()
        for key in sorted(self._rulings, key=rank, reverse=True):
            each = self._rulings[key]
            winner = found.setdefault(frozenset((each.winner, each.loser)), each.winner)
            if winner == each.winner:
                discard = each.duty == "discard"
                ruled.add(Ruled(each.winner, each.loser, each.from_ns, each.to_ns, discard))
        self.rulings = tuple(sorted(ruled))
        self._judge()

    def _judge(self) -> None:
        """Which revisions were written in a split by who lost it."""
        self.learned += 1
        spans: dict[Term, list[Ruled]] = {}
        for ruled in self.rulings:
            spans.setdefault(ruled.loser, []).append(ruled)
        self._diverged = frozenset(
            key
            for key, known in self._revisions.items()
            if any(r.from_ns <= known.body.at_ns < r.to_ns for r in spans.get(key[1], ()))
        )

    def _rank_of(self, key: tuple[int, Term]) -> tuple[bool, Rank]:
        """Diverged ones first, then as their positions."""
        return key not in self._diverged, rank(self._revisions[key].position)

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
    def head(self) -> Head | None:
        """The revision of the highest position that did not diverge."""
        newest = max(self._revisions, key=self._rank_of, default=None)
        if newest is None or newest in self._diverged:
            return None
        known = self._revisions[newest]
        return Head(known.position, known.digest, known.body)

    @property
    def diverged(self) -> list[tuple[Position, Revision]]:
        """The revisions that the loser of a split wrote in it, newest first."""
        keys = sorted(self._diverged, key=self._rank_of, reverse=True)
        return [(self._revisions[key].position, self._revisions[key].body) for key in keys]

    @property
    def branches(self) -> frozenset[tuple[int, Term]]:
        """(number, term) of the diverged ones: when it changes, numbers may mean other points."""
        return self._diverged

    def names(self, number: int, term: Term) -> tuple[str, ...] | None:
        """The points of a revision as a term knew it, by number; None if it isn't known."""
        key = self._key(number, term)
        return None if key is None else self._revisions[key].points

    def has_device(self, number: int, term: Term, device: str) -> bool:
        """Whether a revision has a device; of one that isn't known it is assumed."""
        key = self._key(number, term)
        return key is None or device in self._revisions[key].devices

    def _key(self, number: int, term: Term) -> tuple[int, Term] | None:
        """A revision is taken over from term to term: the newest up to this one is meant.

        A diverged one is meant by its own term alone.
        """
        if (number, term) in self._revisions:
            return number, term
        same = [key for key in self._revisions if key[0] == number and key not in self._diverged]
        before = [key for key in same if key[1] <= term]
        return max(before or same, key=lambda key: key[1], default=None)
