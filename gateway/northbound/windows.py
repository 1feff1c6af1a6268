"""What is to be handed on next: what is held, less what was delivered, window by window.

What was delivered is a set of stretches of terms, as what is held is (journal/holdings.py): so it
doesn't matter in which order records came, who delivered them, or what was told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from gateway.journal.holdings import Holding, Holdings, without
from gateway.journal.records import EMPTY_DIGEST, Delivered, Delivery
from gateway.model import Position, Term

RECORDS_MAX: Final = 1_000
"""Records of a window; its size in bytes is bounded where it is read."""


class Window(NamedTuple):
    """The records [first, last] of a term; `live` are those after the feed's session began."""

    term: Term
    first: int
    last: int
    live: bool

    @property
    def delivery(self) -> Delivery:
        """As a record tells it."""
        return (*self.term, self.first, self.last)


def deliver(done: Holdings, term: Term, first: int, last: int) -> None:
    """Records were delivered; telling it twice changes nothing."""
    done.hold(term, first, last, EMPTY_DIGEST)


def delivered(told: Iterable[Delivered]) -> Holdings:
    """All that a feed delivered, as far as it told."""
    done = Holdings()
    for record in told:
        for number, node, nonce, first, last in record.spans:
            deliver(done, Term(number, node, nonce), first, last)
    return done


def births_of(told: Iterable[Delivered]) -> int:
    """How many sessions there were; 0 before the first."""
    return max((record.births for record in told), default=0)


def spans(done: Holdings, held: Mapping[Term, Holding]) -> tuple[Delivery, ...]:
    """All deliveries that still matter: a term of which nothing is held any more is left out."""
    return tuple(
        (*term, first, last)
        for term, holding in sorted(done.terms.items())
        if term in held and held[term].stretches
        for first, last in holding.stretches
        if last >= held[term].floor
    )


def joined(deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
    """Deliveries with what touches put together."""
    done = Holdings()
    for number, node, nonce, first, last in deliveries:
        deliver(done, Term(number, node, nonce), first, last)
    return tuple(
        (*term, first, last)
        for term, holding in sorted(done.terms.items())
        for first, last in holding.stretches
    )


def windows(
    held: Mapping[Term, Holding],
    done: Holdings,
    since: Position,
    limit: Callable[[Term], int | None],
    size: int = RECORDS_MAX,
) -> Iterator[Window]:
    """What is to be delivered, at most two windows: the oldest of what is live, then of the rest.

    Live is what is written after `since`, by the node that wrote that: what is new never waits for
    what is caught up with. `limit` is the seq through which a term may be shown, None: all of it.
    Diaries (number 0) hold nothing that is handed on.
    """
    live: Window | None = None
    rest: Window | None = None
    for term in sorted(held):
        if not term.number:
            continue
        for first, last in _open(held[term], done.of(term), limit(term)):
            border = _border(term, since)
            if rest is None and first <= border:
                rest = Window(term, first, min(last, border, first + size - 1), False)
            if live is None and last > border:
                start = max(first, border + 1)
                live = Window(term, start, min(last, start + size - 1), True)
        if live is not None and rest is not None:
            break
    yield from (window for window in (live, rest) if window is not None)


def _border(term: Term, since: Position) -> int:
    """The last seq of a term that is caught up with, not live."""
    if term == since.term:
        return since.seq
    later = term.node == since.term.node and term > since.term
    return 0 if later else 1 << 62


def _open(held: Holding, done: Holding | None, limit: int | None) -> list[tuple[int, int]]:
    found = without(held.stretches, done.stretches if done is not None else (), held.floor)
    if limit is None:
        return found
    return [(first, min(last, limit)) for first, last in found if first <= limit]


def outstanding(
    held: Mapping[Term, Holding], done: Holdings, limit: Callable[[Term], int | None]
) -> int:
    """How many records are yet to be delivered."""
    return sum(
        last - first + 1
        for term, holding in held.items()
        if term.number
        for first, last in _open(holding, done.of(term), limit(term))
    )


def dropped(held: Mapping[Term, Holding], done: Holdings) -> dict[Term, int]:
    """How many records of each term the retention dropped before they were delivered."""
    found = {}
    for term, holding in held.items():
        if term.number and holding.floor > 1:
            own = done.of(term)
            gone = without([(1, holding.floor - 1)], own.stretches if own is not None else ())
            if count := sum(last - first + 1 for first, last in gone):
                found[term] = count
    return found
