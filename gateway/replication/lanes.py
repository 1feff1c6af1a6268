"""What the peer still lacks of one term, in order; its newest part waits in memory.

A lane never sends a later record of its term before an earlier one, so that what the peer holds of
a stream is always its beginning and stands by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.journal.holdings import Holding, Stretch, wanted
from gateway.model import Term
from gateway.replication.effects import Load, Row
from gateway.replication.frames import RECORDS_MAX, RECORDS_SIZE_MAX, samples_in

ITEM_OVERHEAD: Final = 32
"""Bytes that a record costs beside its wire form, in a frame and in memory."""


class Item(NamedTuple):
    """A record to send; `at_ns` is when it was committed (monotonic), None if it was loaded."""

    seq: int
    wire: bytes
    digest: bytes
    samples: int
    at_ns: int | None

    @property
    def size(self) -> int:
        return len(self.wire) + ITEM_OVERHEAD


class Lane:
    """One term's share of the work: stretches to send, ascending; `top` was queued last."""

    def __init__(self, term: Term, stretches: Iterable[Stretch], top: int) -> None:
        self.term = term
        self.top = top
        self.loading: Load | None = None
        self._stretches = deque(stretches)
        self._ready: deque[Item] = deque()
        self._recent: deque[Item] = deque()
        self._recent_size = 0

    @property
    def count(self) -> int:
        """Records that are still to be sent."""
        return sum(last - first + 1 for first, last in self._stretches)

    @property
    def active(self) -> bool:
        return bool(self._stretches)

    @property
    def recent_size(self) -> int:
        """Bytes held in memory of what was committed and not yet sent."""
        return self._recent_size

    @property
    def oldest_ns(self) -> int | None:
        """When the next record was committed; None unless it is in memory."""
        self._forget_stale()
        if self._recent and self._recent[0].seq == self._stretches[0][0]:
            return self._recent[0].at_ns
        return None

    def samples(self, mean: float) -> int:
        """Samples still to be sent: counted in memory, else estimated by the mean of a record."""
        known = [*self._ready, *self._recent]
        return sum(item.samples for item in known) + round((self.count - len(known)) * mean)

    # ------------------------------------------------------------------ more to send

    def commit(self, item: Item) -> None:
        """Queue a record that was committed just now; what was queued already is left alone."""
        if item.seq <= self.top:
            return
        self.top = item.seq
        if self._stretches and self._stretches[-1][1] + 1 == item.seq:
            self._stretches[-1] = (self._stretches[-1][0], item.seq)
        else:
            self._stretches.append((item.seq, item.seq))
        self._recent.append(item)
        self._recent_size += item.size

    def forget(self, size: int) -> None:
        """Let go of memory from the oldest on, until it holds at most so many bytes."""
        while self._recent and self._recent_size > size:
            self._recent_size -= self._recent.popleft().size

    def accept(self, rows: Sequence[Row]) -> bool:
        """Take what was loaded; False when it does not begin with the next record to send."""
        first, last = self._stretches[0]
        if not rows or rows[0][0] != first:
            return False
        for seq, wire, digest in rows:
            if seq != first or seq > last:
                break
            self._ready.append(Item(seq, wire, digest, samples_in(wire), None))
            first += 1
        return True

    def keep_only(self, holding: Holding) -> None:
        """Give up what is not held here any more."""
        whole = {self.term: Holding(1, tuple(self._stretches))}
        gone = wanted({self.term: Holding(holding.floor, holding.stretches)}, whole)
        left = Holding(holding.floor, tuple((want.first, want.last) for want in gone))
        held = wanted({self.term: left}, whole)
        self._stretches = deque((want.first, want.last) for want in held)
        self._ready.clear()

    # ------------------------------------------------------------------ sending

    def take(self, records: int, size: int, at_least_one: bool) -> list[Item] | Load | None:
        """The next records, contiguous, within the room given; or what must be loaded first.

        None: nothing can be sent now (no room, or a load is under way). For active lanes only.
        """
        self._forget_stale()
        first, last = self._stretches[0]
        source = self._ready
        if not source:
            if not self._recent or self._recent[0].seq != first:
                return self._load(first, last)
            source = self._recent
        taken: list[Item] = []
        while source and len(taken) < records and source[0].seq == first <= last:
            size -= source[0].size
            if size < 0 and (taken or not at_least_one):
                break
            taken.append(source.popleft())
            first += 1
        if source is self._recent:
            self._recent_size -= sum(item.size for item in taken)
        if first > last:
            self._stretches.popleft()
        else:
            self._stretches[0] = (first, last)
        return taken or None

    def _load(self, first: int, last: int) -> Load | None:
        if self.loading is not None:
            return None
        if self._recent:
            last = min(last, self._recent[0].seq - 1)
        self.loading = Load(self.term, first, min(RECORDS_MAX, last - first + 1), RECORDS_SIZE_MAX)
        return self.loading

    def _forget_stale(self) -> None:
        while self._recent and self._recent[0].seq < self._stretches[0][0]:
            self._recent_size -= self._recent.popleft().size
