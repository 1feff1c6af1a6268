"""What is held of each term: exact stretches, in memory, and what two nodes tell each other of it.

A node asks its peer for what it lacks, so remembered acknowledgements are never needed: `wanted` is
a set difference. Below a term's floor the retention has dropped records on purpose; they are never
asked for again, and whether two nodes are equal is judged above the higher floor (rules.md 7).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from gateway.journal.records import DIGEST_SIZE, EMPTY_DIGEST
from gateway.model import Position, Term

Stretch = tuple[int, int]
"""[first, last], both held."""

_SHOWN_MAX: Final = 4


class Holding(NamedTuple):
    """What is held of one term.

    `floor` is the first seq that may still be wanted; `stretches` are in order, disjoint and not
    touching; `digest` is that of the last record of the last stretch, EMPTY_DIGEST without any.
    """

    floor: int = 1
    stretches: tuple[Stretch, ...] = ()
    digest: bytes = EMPTY_DIGEST

    @property
    def last(self) -> int:
        """The highest seq that is held; 0 when none is."""
        return self.stretches[-1][1] if self.stretches else 0


class Want(NamedTuple):
    """A stretch that the other node has and this one lacks: [first, last]."""

    term: Term
    first: int
    last: int


EMPTY_HOLDING: Final = Holding()


class _Held:
    """The stretches of one term, each with the digest of its last record."""

    __slots__ = ("digests", "firsts", "floor", "lasts", "seen")

    def __init__(self) -> None:
        self.floor = 1
        self.firsts: list[int] = []
        self.lasts: list[int] = []
        self.digests: list[bytes] = []
        self.seen: Holding | None = None

    def add(self, first: int, last: int, digest: bytes) -> None:
        self.seen = None
        if self.lasts and first == self.lasts[-1] + 1:  # the next record, nearly always
            self.lasts[-1], self.digests[-1] = last, digest
            return
        low = bisect_left(self.lasts, first - 1)  # the first that touches it, or lies behind it
        high = low
        while high < len(self.firsts) and self.firsts[high] <= last + 1:
            high += 1
        if low < high:
            first = min(first, self.firsts[low])
            if self.lasts[high - 1] > last or (self.lasts[high - 1] == last and not any(digest)):
                last, digest = self.lasts[high - 1], self.digests[high - 1]
        self.firsts[low:high] = [first]
        self.lasts[low:high] = [last]
        self.digests[low:high] = [digest]

    def remove(self, first: int, last: int) -> None:
        self.seen = None
        left = list(zip(self.firsts, self.lasts, self.digests, strict=True))
        self.firsts, self.lasts, self.digests = [], [], []
        for start, end, digest in left:
            if end < first or start > last:
                self._append(start, end, digest)
                continue
            if start < first:
                self._append(start, first - 1, EMPTY_DIGEST)
            if end > last:
                self._append(last + 1, end, digest)

    def _append(self, first: int, last: int, digest: bytes) -> None:
        self.firsts.append(first)
        self.lasts.append(last)
        self.digests.append(digest)

    def holds(self, seq: int) -> bool:
        index = bisect_left(self.lasts, seq)
        return index < len(self.firsts) and self.firsts[index] <= seq

    def holding(self) -> Holding:
        if self.seen is None:
            stretches = tuple(zip(self.firsts, self.lasts, strict=True))
            digest = self.digests[-1] if self.digests else EMPTY_DIGEST
            self.seen = Holding(self.floor, stretches, digest)
        return self.seen


class Holdings:
    """What a journal holds of every term; changed at each commit, so always exact."""

    def __init__(self) -> None:
        self._held: dict[Term, _Held] = {}
        self._terms: dict[Term, Holding] | None = {}

    def note(self, position: Position, digest: bytes) -> None:
        """A record is held now; noting it again changes nothing. Below the floor it is ignored."""
        self.hold(position.term, position.seq, position.seq, digest)

    def hold(self, term: Term, first: int, last: int, digest: bytes) -> None:
        """The records [first, last] are held now; `digest` is the last one's."""
        held = self._of(term)
        first = max(first, held.floor)
        if first <= last:
            held.add(first, last, digest)

    def drop(self, term: Term, through_seq: int) -> None:
        """Retention let go of everything up to this seq: it is never wanted again."""
        held = self._of(term)
        held.floor = max(held.floor, through_seq + 1)
        held.remove(1, held.floor - 1)

    def lose(self, term: Term, first: int, last: int) -> None:
        """Damage: [first, last] is not held any more, but wanted back.

        Where that cuts a stretch its digest is unknown (EMPTY_DIGEST) until the record that is now
        its last is noted again.
        """
        if first <= last:
            self._of(term).remove(first, last)

    def holds(self, position: Position) -> bool:
        """Whether a record is held."""
        held = self._held.get(position.term)
        return held is not None and held.holds(position.seq)

    def of(self, term: Term) -> Holding | None:
        """What is held of a term, or None when it is not known."""
        held = self._held.get(term)
        return None if held is None else held.holding()

    def stretches(self, term: Term) -> list[tuple[int, int, bytes]]:
        """(first, last, digest of the last) of each stretch of a term, in order."""
        held = self._held.get(term)
        return [] if held is None else list(zip(held.firsts, held.lasts, held.digests, strict=True))

    def digest_at(self, position: Position) -> bytes | None:
        """The digest of a record that is the last of a stretch; None of any other."""
        held = self._held.get(position.term)
        if held is None:
            return None
        index = bisect_left(held.lasts, position.seq)
        if index == len(held.lasts) or held.lasts[index] != position.seq:
            return None
        return held.digests[index] if any(held.digests[index]) else None

    @property
    def terms(self) -> Mapping[Term, Holding]:
        """What is held of every known term, as of now: a later change does not show in it."""
        if self._terms is None:
            self._terms = {term: held.holding() for term, held in self._held.items()}
        return self._terms

    def _of(self, term: Term) -> _Held:
        self._terms = None
        held = self._held.get(term)
        if held is None:
            held = self._held[term] = _Held()
        return held


def wanted(mine: Mapping[Term, Holding], theirs: Mapping[Term, Holding]) -> list[Want]:
    """What they have and I lack, never below my floor; by term (number, node, nonce), then seq."""
    wants: list[Want] = []
    for term in sorted(theirs):
        own = mine.get(term, EMPTY_HOLDING)
        for first, last in without(theirs[term].stretches, own.stretches, own.floor):
            wants.append(Want(term, first, last))
    return wants


def difference(mine: Mapping[Term, Holding], theirs: Mapping[Term, Holding]) -> list[str]:
    """One sentence for each term in which the two are not equal above the higher floor; else []."""
    found: list[str] = []
    for term in sorted({*mine, *theirs}):
        here, there = mine.get(term, EMPTY_HOLDING), theirs.get(term, EMPTY_HOLDING)
        floor = max(here.floor, there.floor)
        own, other = (without(h.stretches, (), floor) for h in (here, there))
        if own != other:
            found.append(f"term {term}: here {_shown(own)}, there {_shown(other)}")
        elif own and here.digest != there.digest:
            found.append(f"term {term}: record {here.last} has another digest there")
    return found


def fingerprint(terms: Mapping[Term, Holding]) -> bytes:
    """16 bytes over (term, last seq, digest) of every term of which something is held."""
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for term in sorted(terms):
        if terms[term].stretches:
            digest.update(f"{term}/{terms[term].last};".encode())
            digest.update(terms[term].digest)
    return digest.digest()


def without(whole: Iterable[Stretch], minus: Iterable[Stretch], floor: int = 1) -> list[Stretch]:
    """What of `whole` is at or above `floor` and not in `minus`; both in order and disjoint."""
    left: list[Stretch] = []
    taken = [*minus]
    for first, last in whole:
        first = max(first, floor)
        for start, end in taken[bisect_left(taken, first, key=lambda stretch: stretch[1]) :]:
            if start > last:
                break
            if start > first:
                left.append((first, start - 1))
            first = end + 1
        if first <= last:
            left.append((first, last))
    return left


def _shown(stretches: list[Stretch]) -> str:
    if not stretches:
        return "nothing"
    parts = [f"{first}-{last}" for first, last in stretches[-_SHOWN_MAX:]]
    if len(stretches) > _SHOWN_MAX:
        parts.insert(0, "…")
    return ", ".join(parts)
