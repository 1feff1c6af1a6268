"""Raw reads: every observation in order of time, and the value that holds restated beside it.

Where one stream alone has samples, which is nearly always, they are given as they are stored. Where
several have, or where there may be a gap (`View.weighed`), `Reconstruction` weighs them; a page
does so for its own rows, so that it costs what it returns there, too. Run in a reader's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gateway.journal import history
from gateway.journal.contested import MARGIN_NS
from gateway.journal.coverage import Interval
from gateway.journal.cursor import Cursor, beyond
from gateway.journal.cursor import after as cursor_after
from gateway.journal.declared import Declared, look_up
from gateway.journal.history import PAGE_MAX, Files, View
from gateway.journal.reconstruct import (
    Reconstruction,
    is_restatement,
    reading_order,
    shown_order,
    time_of,
)
from gateway.model import HistoryPage, HistoryRow, Origin, Term, is_bad

_FOREVER: Final = 2**63 - 1
_LOOK_BACK_ROWS: Final = 16


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
    if not view.weighed:
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
    if not _meets(view.weighed, seen_from_ns, seen_to_ns):
        return found
    loom = _Loom(files, view, point)
    return loom.page(from_ns, to_ns, max(1, min(limit, PAGE_MAX)), cursor, reverse)


def at_or_before(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The last row at or before an instant, as the last of a page up to it."""
    found = history.at_or_before(files, view, point, time_ns)
    begin_ns = -_FOREVER if found is None else found.time_ns
    if not _meets(view.weighed, begin_ns, time_ns + 1):
        return found
    rows = page(files, view, point, -_FOREVER, time_ns + 1, 1, None, True).rows
    return rows[0] if rows else None


def after(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The first row after an instant, as the first of a page from it."""
    found = history.after(files, view, point, time_ns)
    end_ns = _FOREVER if found is None else found.time_ns + 1
    if not _meets(view.weighed, time_ns + 1, end_ns):
        return found
    rows = page(files, view, point, time_ns + 1, _FOREVER, 1, None, False).rows
    return rows[0] if rows else None


def _meets(intervals: Sequence[Interval], from_ns: int, to_ns: int) -> bool:
    return any(start < to_ns and end > from_ns for start, end in intervals)


class _Loom:
    """Weaves the streams of one point, for one page."""

    def __init__(self, files: Files, view: View, point: str) -> None:
        self._files = files
        self._view = view.of()
        self._point = point
        self._known: Declared | None = None
        self._began_ns: int | None = None

    def page(
        self, from_ns: int, to_ns: int, limit: int, cursor: Cursor | None, reverse: bool
    ) -> HistoryPage:
        """As the page above: whole instants are woven until there are rows enough.

        What a page leaves out, or an earlier one gave, decides whether something is restated behind
        it.
        """
        given: list[HistoryRow] = []
        found = self._stored(from_ns, to_ns, limit + 1, cursor, reverse)
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
        stretches = [s for s in self._view.weighed if s[0] < to_ns and s[1] > from_ns]
        at = 0
        for stretch in stretches:
            start_ns, end_ns = max(stretch[0], from_ns), min(stretch[1], to_ns)
            begin = bisect_left(rows, start_ns, key=time_of)
            end = bisect_left(rows, end_ns, key=time_of)
            declared = self._look_up((stretches[0][0], stretches[-1][1]))
            found += _plain(rows[at:begin])
            found += self._weighed(rows[begin:end], start_ns, end_ns, declared)
            at = end
        return found + _plain(rows[at:])

    def _look_up(self, reach: Interval) -> Declared:
        """What was declared around a stretch; looked up once for a page."""
        known = self._known
        if known is None or reach[0] < known.reach[0] or reach[1] > known.reach[1]:
            known = self._known = look_up(self._files, self._view, self._point, reach)
        return known

    def _weighed(
        self, own: Sequence[HistoryRow], from_ns: int, to_ns: int, declared: Declared
    ) -> list[HistoryRow]:
        before = self._before(from_ns, declared)
        whole = Reconstruction(
            [*before, *own],
            declared.by_term,
            self._view.rulings,
            declared.missing,
            self._began(),
            declared.until_ns,
        )
        return whole.raw_view(from_ns, to_ns)

    def _began(self) -> int:
        """When the point was heard of first."""
        if self._began_ns is None:
            first = history.after(self._files, self._view, self._point, -_FOREVER)
            self._began_ns = _FOREVER if first is None else first.time_ns
        return self._began_ns

    def _before(self, at_ns: int, declared: Declared) -> list[HistoryRow]:
        """The rows before an instant that may be in force at it, or just before it."""
        near_ns = at_ns - MARGIN_NS
        rows = self._rows(near_ns, at_ns)
        for term, start_ns in declared.covering(at_ns - 1, at_ns):
            mine = [row for row in rows if row.position.term == term]
            if not any(
                row.received_ns >= start_ns and row.origin is not Origin.WINDBACK for row in mine
            ):
                rows += self._back(term, start_ns, near_ns)
        return sorted([*rows, *self._back_in_fills(at_ns - 1, declared)], key=reading_order)

    def _back(self, term: Term, start_ns: int, before_ns: int) -> list[HistoryRow]:
        """A stream's rows back from an instant to the one that was learned after its start."""
        view = self._view.of(term, wound=False)
        return self._read_back(
            view, start_ns - MARGIN_NS, before_ns, lambda row: row.received_ns >= start_ns
        )

    def _back_in_fills(self, time_ns: int, declared: Declared) -> list[HistoryRow]:
        """What is in force in a filled stretch: its newest row, or else what was before it."""
        rows: list[HistoryRow] = []
        while (part := declared.part(time_ns)) is not None and part.term is not None:
            seen = partial(_speaks, part.term)
            rows += self._read_back(self._view, part.from_ns, time_ns + 1, seen)
            if any(seen(row) and row.time_ns >= part.from_ns for row in rows):
                return rows
            time_ns = part.from_ns - 1
            for term, start_ns in declared.covering(time_ns, time_ns):
                rows += self._back(term, start_ns, time_ns + 1)
        return rows

    def _read_back(
        self, view: View, from_ns: int, before_ns: int, enough: Callable[[HistoryRow], bool]
    ) -> list[HistoryRow]:
        """The rows of [from, before), newest first, up to one that is enough."""
        rows: list[HistoryRow] = []
        cursor: Cursor | None = None
        while True:
            found = history.page(
                self._files,
                view,
                self._point,
                from_ns,
                before_ns,
                _LOOK_BACK_ROWS,
                cursor,
                True,
            )
            rows += found.rows
            cursor = found.cursor
            if cursor is None or any(enough(row) for row in found.rows):
                return rows


def _speaks(term: Term, row: HistoryRow) -> bool:
    """Whether a row may be in force where a term's fill speaks."""
    if row.origin is Origin.WINDBACK:
        return row.position.term == term
    return not is_bad(row.status) and not is_restatement(row)


def _plain(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """Rows where one stream alone was polled: as they are."""
    return [row for row in rows if row.origin is not Origin.WINDBACK]
