"""Where more than one stream may speak: what each term claims, and where two of them meet.

Pure, and generous: outside of what is told here one stream alone can have samples, so that raw
reads give them as they are stored. Inside it they are weighed, which costs more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Final

from gateway.journal.coverage import Interval, Intervals, intersect, union
from gateway.journal.records import Batch, Body, Coverage
from gateway.model import NS_PER_S, Term

MARGIN_NS: Final = 15 * NS_PER_S
"""How far a term's samples may lie outside its claims as the other node sees them: a claim waits
12 s for a subscription that is late, and clocks are a little off."""


Claim = tuple[Term, int, int]
"""A term, and the first and the last time (ns UTC) that it says something of."""


class Claims:
    """The whole time of each term, from its first claim or sample to its last; ns UTC.

    Bounded by the terms that the journal knows.
    """

    def __init__(self) -> None:
        self._spans: dict[Term, Interval] = {}
        self._contested: Intervals | None = []

    def take(self, term: Term, from_ns: int, to_ns: int) -> None:
        """A term has something to say about [from, to]."""
        known = self._spans.get(term)
        if known is None:
            self._spans[term] = (from_ns, to_ns)
        elif from_ns < known[0] or to_ns > known[1]:
            self._spans[term] = (min(from_ns, known[0]), max(to_ns, known[1]))
        else:
            return
        self._contested = None

    def take_all(self, claims: Iterable[Claim]) -> None:
        """The same of several."""
        for claim in claims:
            self.take(*claim)

    def hear(self, term: Term, body: Body) -> None:
        """A record of a term is there."""
        if isinstance(body, Batch):
            self.take(term, body.received_ns, body.received_ns)
        elif isinstance(body, Coverage):
            self.take(term, body.since_ns, body.through_ns)

    @property
    def contested(self) -> Intervals:
        """Where two terms or more may have something to say, ordered and disjoint."""
        if self._contested is None:
            self._contested = _contested(self._spans)
        return self._contested


def _contested(spans: Mapping[Term, Interval]) -> Intervals:
    """A node's own terms follow one another on one clock: only between nodes a margin counts.

    Where one of them ends what the other holds may be restated: that instant belongs to it.
    """
    found = [(from_ns, to_ns + 1) for from_ns, to_ns in meeting(spans.values())]
    by_node: dict[str, Intervals] = {}
    for term, (from_ns, to_ns) in spans.items():
        around = (from_ns - MARGIN_NS, to_ns + MARGIN_NS)
        by_node.setdefault(term.node, []).append(around)
    for one, other in combinations(map(union, by_node.values()), 2):
        found += intersect(one, other)
    return union(found)


def meeting(spans: Iterable[Interval]) -> Intervals:
    """Where two of these spans meet."""
    found: Intervals = []
    reach_ns: int | None = None
    for from_ns, to_ns in sorted(spans):
        if reach_ns is not None and from_ns < reach_ns:
            found.append((from_ns, min(to_ns, reach_ns)))
        reach_ns = to_ns if reach_ns is None else max(reach_ns, to_ns)
    return union(found)
