"""Thinning a point's history for a trend, in slices: run in a reader's thread.

Where one stream alone has samples, which is nearly always, whole columns are taken as they are
stored, in any order. Where several have, or where there may be a gap (`View.weighed`), the rows of
a raw read are, so that a trend shows what a raw read shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.journal import history, raw
from gateway.journal.buckets import Buckets
from gateway.journal.columns import Columns
from gateway.journal.coverage import Interval, union
from gateway.journal.history import Files, View
from gateway.model import Origin, Term

SLICE_SAMPLES: Final = 20_000
"""What is worked on between two turns of others: some 10 ms."""
ROWS: Final = 5_000


class Thinning:
    """One point's way into its buckets; `go_on` until it says that all is done."""

    def __init__(
        self, files: Files, view: View, point: str, from_ns: int, to_ns: int, buckets: Buckets
    ) -> None:
        self._files, self._view, self._point, self._buckets = files, view, point, buckets
        # Stretches nearer than a bucket are read as one: there are never more than buckets.
        near_ns = buckets.step_ns
        span = (max(from_ns, buckets.from_ns), min(to_ns, buckets.to_ns))
        joined: list[Interval] = []
        for start_ns, end_ns in clipped(view.weighed, *span):
            if joined and start_ns - joined[-1][1] < near_ns:
                joined[-1] = (joined[-1][0], end_ns)
            else:
                joined.append((start_ns, end_ns))
        self._weighed = joined
        self._plain = outside(joined, *span)
        self._steps = self._work()

    def go_on(self) -> bool:
        """Work on a slice; whether all is done."""
        left = SLICE_SAMPLES
        for samples in self._steps:
            left -= samples
            if left <= 0:
                return False
        return True

    def _work(self) -> Iterator[int]:
        """Takes a piece at each step, and says how many samples that was, or cost as much as."""
        view, plain = self._view, self._plain
        for term, origin, columns in view.tails_seen:
            yield self._fold(term, origin, columns, plain)
        if plain:
            from_ns, to_ns = plain[0][0], plain[-1][1]
            for file in view.files:
                if file.span is None or file.span[0] >= to_ns or file.span[1] < from_ns:
                    continue
                for at in history.segments(self._files, view, file, self._point, from_ns, to_ns):
                    segment = history.loaded(self._files, file, at)
                    if segment is not None:
                        yield self._fold(*segment, plain) + 100
        for start_ns, end_ns in self._weighed:
            cursor: tuple[int, ...] | None = None
            while True:
                span = (start_ns, end_ns, ROWS, cursor, False)
                page = raw.page(self._files, view, self._point, *span)
                self._buckets.add(page.rows)
                yield 10 * len(page.rows) + 100
                cursor = page.cursor
                if cursor is None:
                    break

    def _fold(self, term: Term, origin: Origin, columns: Columns, plain: Sequence[Interval]) -> int:
        if origin is Origin.WINDBACK or not columns.times:
            return 0
        gone, taken = self._view.withdrawn.get(term, []), 0
        for start_ns, end_ns in clipped(plain, columns.first_ns, columns.last_ns + 1):
            for part in outside(clipped(union(gone), start_ns, end_ns), start_ns, end_ns):
                taken += self._buckets.fold(columns, *part)
        return taken


def clipped(intervals: Sequence[Interval], from_ns: int, to_ns: int) -> list[Interval]:
    """What of ordered intervals lies in [from, to)."""
    found = [(max(start, from_ns), min(end, to_ns)) for start, end in intervals]
    return [(start, end) for start, end in found if start < end]


def outside(intervals: Sequence[Interval], from_ns: int, to_ns: int) -> list[Interval]:
    """What of [from, to) lies in none of some ordered intervals that lie in it."""
    edges = [from_ns, *(edge for interval in intervals for edge in interval), to_ns]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if start < end]
