"""Raw reads: every observation in order of time, and the value that holds restated beside it.

Where one stream alone has samples, which is nearly always, they are given as they are stored. Where
several have (`View.contested`), `Reconstruction` weighs them; a page does so for its own rows, so
that it costs what it returns there, too. Run in a reader's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.journal import history, ledger
from gateway.journal.contested import MARGIN_NS
from gateway.journal.coverage import Interval, Intervals, Run, streams, union
from gateway.journal.cursor import Cursor, beyond
from gateway.journal.cursor import after as cursor_after
from gateway.journal.history import PAGE_MAX, Files, View
from gateway.journal.reconstruct import (
    Reconstruction,
    reading_order,
    shown_order,
    time_of,
)
from gateway.model import NS_PER_S, HistoryPage, HistoryRow, Origin, Term

_FOREVER: Final = 2**63 - 1
_REACH_NS: Final = 86_400 * NS_PER_S
"""How far before a contested stretch what was declared can matter: each day is restated."""
_LOOK_BACK_ROWS: Final = 16
_CLASS_TRIES_MAX: Final = 32


def page(
    files: Files,
    view: View,
    point: str,
    from_ns: int,
    to_ns: int,
    limit: int,
    cursor: Cursor | None,
    reverse: bool,
) -> HistoryPage:
    """The rows in [from, to), at most `limit`; damaged files are reported and passed over.

    The cursor is (time, term number, nonce, seq, index) of the last row given; a restated row
    stands behind every observation of its time.
    """
    found = history.page(files, view, point, from_ns, to_ns, limit, cursor, reverse)
    if not view.contested:
        return found
    if cursor is not None and reverse:
        to_ns = min(to_ns, cursor[0] + 1)
    elif cursor is not None:
        from_ns = max(from_ns, cursor[0])
    seen_from_ns, seen_to_ns = from_ns, to_ns
    if found.cursor is not None and reverse:
        seen_from_ns = found.rows[-1].time_ns
    elif found.cursor is not None:
        seen_to_ns = found.rows[-1].time_ns + 1
    if not _meets(view.contested, seen_from_ns, seen_to_ns):
        return found
    loom = _Loom(files, view, point)
    return loom.page(from_ns, to_ns, max(1, min(limit, PAGE_MAX)), cursor, reverse, found)


def at_or_before(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The last row at or before an instant, as the last of a page up to it."""
    found = history.at_or_before(files, view, point, time_ns)
    if found is None or not _meets(view.contested, found.time_ns, time_ns + 1):
        return found
    rows = page(files, view, point, -_FOREVER, time_ns + 1, 1, None, True).rows
    return rows[0] if rows else None


def after(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The first row after an instant, as the first of a page from it."""
    found = history.after(files, view, point, time_ns)
    end_ns = _FOREVER if found is None else found.time_ns + 1
    if not _meets(view.contested, time_ns + 1, end_ns):
        return found
    rows = page(files, view, point, time_ns + 1, _FOREVER, 1, None, False).rows
    return rows[0] if rows else None


def _meets(intervals: Sequence[Interval], from_ns: int, to_ns: int) -> bool:
    return any(start < to_ns and end > from_ns for start, end in intervals)


class _Loom:
    """Weaves the streams of one point, for one page."""

    def __init__(self, files: Files, view: View, point: str) -> None:
        self._files = files
        self._view = view
        self._point = point

    def page(
        self,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: Cursor | None,
        reverse: bool,
        found: HistoryPage,
    ) -> HistoryPage:
        """As the page above, of which `found` is what is stored.

        Whole instants are woven until there are rows enough: what a page leaves out, or an earlier
        one gave, decides whether something is restated behind it.
        """
        given: list[HistoryRow] = []
        while True:
            rows, begin_ns, end_ns = self._whole(found, from_ns, to_ns, cursor, reverse)
            part = self._woven(rows, begin_ns, end_ns)
            if reverse:
                part.reverse()
                to_ns = begin_ns
            else:
                from_ns = end_ns
            given += part if cursor is None else beyond(part, cursor, reverse, shown_order)
            if len(given) > limit:
                del given[limit:]
                return HistoryPage(given, cursor_after(given, cursor, shown_order))
            if from_ns >= to_ns:
                return HistoryPage(given, None)
            found = self._stored(from_ns, to_ns, limit + 1, None, reverse)

    def _stored(
        self, from_ns: int, to_ns: int, limit: int, cursor: Cursor | None, reverse: bool
    ) -> HistoryPage:
        return history.page(
            self._files, self._view, self._point, from_ns, to_ns, limit, cursor, reverse
        )

    def _rows(self, from_ns: int, to_ns: int) -> list[HistoryRow]:
        return self._stored(from_ns, to_ns, PAGE_MAX, None, False).rows

    def _whole(
        self, found: HistoryPage, from_ns: int, to_ns: int, cursor: Cursor | None, reverse: bool
    ) -> tuple[list[HistoryRow], int, int]:
        """The stored rows of a page in order, its first and last instants whole, and their span."""
        rows = found.rows[::-1] if reverse else found.rows
        cut = {cursor[0]} if cursor is not None and from_ns <= cursor[0] < to_ns else set()
        if found.cursor is not None:
            edge_ns = found.rows[-1].time_ns
            cut.add(edge_ns)
            from_ns, to_ns = (edge_ns, to_ns) if reverse else (from_ns, edge_ns + 1)
        for at_ns in cut:
            low = bisect_left(rows, at_ns, key=time_of)
            rows[low : bisect_left(rows, at_ns + 1, key=time_of)] = self._rows(at_ns, at_ns + 1)
        return rows, from_ns, to_ns

    def _woven(self, rows: list[HistoryRow], from_ns: int, to_ns: int) -> list[HistoryRow]:
        """All rows of [from, to) as a raw read gives them; `rows` are those stored."""
        found: list[HistoryRow] = []
        at = 0
        for stretch in self._view.contested:
            start_ns, end_ns = max(stretch[0], from_ns), min(stretch[1], to_ns)
            if start_ns < end_ns:
                begin = bisect_left(rows, start_ns, key=time_of)
                end = bisect_left(rows, end_ns, key=time_of)
                found += rows[at:begin]
                found += self._weighed(rows[begin:end], start_ns, end_ns, stretch)
                at = end
        return found + rows[at:]

    def _weighed(
        self, own: Sequence[HistoryRow], from_ns: int, to_ns: int, stretch: Interval
    ) -> list[HistoryRow]:
        by_term = self._streams(stretch)
        before = self._before(from_ns, by_term)
        whole = Reconstruction([*before, *own], by_term, self._view.rulings)
        return whole.raw_view(from_ns, to_ns)

    def _before(self, at_ns: int, by_term: Mapping[Term, Intervals]) -> list[HistoryRow]:
        """The rows before an instant that may be in force at it, or just before it."""
        near_ns = at_ns - MARGIN_NS
        rows = self._rows(near_ns, at_ns)
        open_ = [
            (term, start_ns)
            for term, intervals in by_term.items()
            for start_ns, end_ns in intervals
            if start_ns <= at_ns <= end_ns
        ]
        for term, start_ns in open_:
            mine = [row for row in rows if row.position.term == term]
            if not any(
                row.received_ns >= start_ns and row.origin is not Origin.WINDBACK for row in mine
            ):
                rows += self._back(term, start_ns, near_ns)
        if not open_:
            covered = union(interval for intervals in by_term.values() for interval in intervals)
            ended_ns = max((end for _, end in covered if end <= at_ns), default=-_FOREVER)
            rows += self._back(None, ended_ns, near_ns)
        return sorted(rows, key=reading_order)

    def _back(self, term: Term | None, start_ns: int, before_ns: int) -> list[HistoryRow]:
        """A stream's rows back from an instant to the one that was learned after its start."""
        view, rows = self._view.of(term), list[HistoryRow]()
        cursor: Cursor | None = None
        while True:
            found = history.page(
                self._files,
                view,
                self._point,
                start_ns if term is None else start_ns - MARGIN_NS,
                before_ns,
                _LOOK_BACK_ROWS,
                cursor,
                True,
            )
            rows += found.rows
            cursor = found.cursor
            if cursor is None or any(row.received_ns >= start_ns for row in found.rows):
                return rows

    # ------------------------------------------------------------------ what was declared

    def _streams(self, stretch: Interval) -> dict[Term, Intervals]:
        """What each term covered of the point around a contested stretch."""
        device = self._point.partition("/")[0]
        reach = (stretch[0] - _REACH_NS, stretch[1])
        declared = ledger.coverage(self._files, self._view.files, device, *reach)
        by_class: dict[str, list[Run]] = {}
        for scan_class, run in self._classed(declared.runs):
            by_class.setdefault(scan_class, []).append(run)
        found: dict[Term, Intervals] = {}
        for scan_class, runs in by_class.items():
            rulings = self._view.rulings
            covered = streams(runs, declared.holes, device, scan_class, rulings=rulings)
            for term, intervals in covered.items():
                found[term] = union([*found.get(term, ()), *intervals])
        return found

    def _classed(self, runs: Iterable[Run]) -> list[tuple[str, Run]]:
        """The scan class that the point was read in, for each run of a term that read it.

        Of a run that has no sample of its own the class of the run before it is taken.
        """
        by_term: dict[Term, list[Run]] = {}
        for run in sorted(runs, key=lambda run: run.since_ns):
            by_term.setdefault(run.term, []).append(run)
        found: list[tuple[str, Run]] = []
        for own in by_term.values():
            classes = [self._class_of(run) for run in own]
            last = next((known for known in classes if known is not None), None)
            for run, known in zip(own, classes, strict=True):
                last = known or last
                if last is not None:
                    found.append((last, run))
        return found

    def _class_of(self, run: Run) -> str | None:
        """The scan class that the first batches of a run name; None if only faults speak in it."""
        rows = history.page(
            self._files,
            self._view.of(run.term),
            self._point,
            run.since_ns,
            run.through_ns,
            _CLASS_TRIES_MAX,
            None,
            False,
        ).rows
        for row in rows:
            batch = ledger.batch_at(self._files, self._view.files, row.position)
            if batch is not None and batch.scan_class and batch.revision == run.revision:
                return batch.scan_class
        return None
