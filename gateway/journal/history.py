"""Reading what is stored: plain functions over read-only connections, run in a reader's thread.

A page merges the segments of all partitions with the tails, in the order (time, term, seq, index).
Segments come in the order of their first sample, and reading stops as soon as no later segment can
hold anything that belongs before the end of the page: a page costs what it returns.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from gateway.journal.columns import Columns, rows, unpack
from gateway.journal.coverage import Interval, Intervals, Ruled, is_in
from gateway.journal.cursor import after as cursor_after
from gateway.journal.cursor import beyond
from gateway.journal.database import UNREADABLE
from gateway.journal.reconstruct import reading_order
from gateway.journal.schema import named as named_term
from gateway.model import HistoryPage, HistoryRow, Origin, Term

PAGE_MAX: Final = 20_000
_FOREVER: Final = 2**63 - 1


class FileView(NamedTuple):
    """A partition as a reader may see it: segments up to `segments`, their times in `span`."""

    path: Path
    segments: int
    span: tuple[int, int] | None


class Seen(NamedTuple):
    """Which samples are looked at: of one term or of all, polled or wound back or both (None)."""

    term: Term | None = None
    wound: bool | None = False

    def has(self, term: Term, origin: Origin) -> bool:
        """Whether samples of a term and an origin are."""
        return (self.term is None or term == self.term) and (
            self.wound is None or self.wound is (origin is Origin.WINDBACK)
        )

    @property
    def condition(self) -> str:
        """The same of a segment, in SQL; `named` are its parameters."""
        found = ""
        if self.wound is not None:
            found = f" AND origin {'=' if self.wound else '<>'} {int(Origin.WINDBACK)}"
        if self.term is not None:
            found += (
                " AND term_id = (SELECT term_id FROM term"
                " WHERE number = :number AND node = :node AND nonce = :nonce)"
            )
        return found

    @property
    def named(self) -> dict[str, int | str]:
        """The parameters of the condition."""
        return {} if self.term is None else named_term(self.term)


class View(NamedTuple):
    """All that is known of one point, at one moment.

    `withdrawn` is what a ruling took out of the view: times of a term's samples (rules.md 7).
    `weighed` is where more than one stream may have samples or where there may be a gap, and
    `rulings` say who speaks there. Gaps are looked for in `window`, and for classes in `behind` up
    to when they are claimed; only revisions in `having` have the point's device. What was wound
    back is not `seen` unless it is asked for: outside of gaps it has nothing to say.
    """

    files: list[FileView]
    tails: list[tuple[Term, Origin, Columns]]
    withdrawn: Mapping[Term, Intervals]
    weighed: Sequence[Interval] = ()
    rulings: Sequence[Ruled] = ()
    window: Interval = (0, 0)
    behind: Mapping[str, int] = {}
    having: frozenset[tuple[Term, int]] = frozenset()
    seen: Seen = Seen()

    def of(self, term: Term | None = None, wound: bool | None = None) -> View:
        """The same with other samples seen: of one term or all, polled or wound back or both."""
        return self._replace(seen=Seen(term, wound))

    @property
    def tails_seen(self) -> list[tuple[Term, Origin, Columns]]:
        """The tails that are looked at."""
        return [tail for tail in self.tails if self.seen.has(tail[0], tail[1])]


class Segment(NamedTuple):
    """Stored samples of one point, of one term and origin."""

    term: Term
    origin: Origin
    columns: Columns


class Files(Protocol):
    """The reader's connections, by file."""

    def open(self, view: FileView) -> sqlite3.Connection:
        """A read-only connection. Raises sqlite3.Error."""

    def term(self, view: FileView, term_id: int) -> Term:
        """The term that a file calls by this number."""

    def segment(self, view: FileView, segment_id: int) -> Segment:
        """A segment, as `read_segment` reads it; it may be remembered: it never changes."""

    def broken(self, view: FileView, error: Exception) -> None:
        """A file can't be read. Raises JournalError when that is no fault of the file."""


class _Block(NamedTuple):
    """Samples that are read together: a segment not yet loaded, or columns in memory."""

    first_ns: int
    last_ns: int
    file: FileView | None
    segment_id: int
    term: Term | None
    origin: Origin
    columns: Columns | None


_Queue = list[tuple[int, tuple[int, ...], "_Block | FileView"]]


def page(
    files: Files,
    view: View,
    point: str,
    from_ns: int,
    to_ns: int,
    limit: int,
    cursor: tuple[int, ...] | None,
    reverse: bool,
) -> HistoryPage:
    """The stored samples in [from, to), at most `limit`; damaged files are passed over."""
    limit = max(1, min(limit, PAGE_MAX))
    if cursor is not None:
        if reverse:
            to_ns = min(to_ns, cursor[0] + 1)
        else:
            from_ns = max(from_ns, cursor[0])
    queue = _queue(view, from_ns, to_ns, reverse)
    wanted = limit + 1
    most = None if view.withdrawn else wanted
    found: list[HistoryRow] = []
    in_order = True
    while queue:
        key_ns, _, block = heapq.heappop(queue)
        if len(found) >= wanted:
            if not in_order:
                found.sort(key=reading_order, reverse=reverse)
                in_order = True
            edge_ns = found[wanted - 1].time_ns
            if key_ns > (-edge_ns if reverse else edge_ns):
                break
        if isinstance(block, FileView):
            for number, part_block in enumerate(
                _segments(files, view, block, point, from_ns, to_ns)
            ):
                _push(queue, part_block, reverse, number)
            continue
        part = _left(_load(files, block, from_ns, to_ns, most, reverse), view.withdrawn)
        if reverse:
            part.reverse()
        if cursor is not None and part:
            part = beyond(part, cursor, reverse, reading_order)
        if found and part:
            last_ns, next_ns = found[-1].time_ns, part[0].time_ns
            in_order = in_order and (last_ns > next_ns if reverse else last_ns < next_ns)
        found += part
    if not in_order:
        found.sort(key=reading_order, reverse=reverse)
    if len(found) < wanted:
        return HistoryPage(found, None)
    del found[limit:]
    return HistoryPage(found, cursor_after(found, cursor, reading_order))


def at_or_before(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The last sample at or before an instant: of equal times the last in reading order."""
    if view.withdrawn:
        newest = page(files, view, point, -_FOREVER, time_ns + 1, 1, None, True).rows
        return newest[0] if newest else None
    found: list[HistoryRow] = []
    for term, origin, columns in view.tails_seen:
        found += rows(columns, term, origin, -_FOREVER, time_ns + 1, 1, True)[-1:]
    spans = sorted(
        ((min(file.span[1], time_ns), n) for n, file in enumerate(view.files) if file.span),
        reverse=True,
    )
    best = max(found, key=reading_order, default=None)
    for reach_ns, number in spans:
        if best is not None and reach_ns < best.time_ns:
            break
        file = view.files[number]
        for condition in (
            "last_ns = (SELECT max(last_ns) FROM segment WHERE point_id = :point AND"
            f" last_ns <= :time AND segment_id <= :segments{view.seen.condition})",
            "last_ns > :time AND first_ns <= :time",
        ):
            for block in _where(files, view, file, point, condition, time_ns):
                last = _load(files, block, -_FOREVER, time_ns + 1, 1, True)[-1:]
                best = max([*last, best] if best else last, key=reading_order, default=None)
    return best


def after(files: Files, view: View, point: str, time_ns: int) -> HistoryRow | None:
    """The first sample after an instant: of equal times the first in reading order."""
    if view.withdrawn:
        first_row = page(files, view, point, time_ns + 1, _FOREVER, 1, None, False).rows
        return first_row[0] if first_row else None
    found: list[HistoryRow] = []
    for term, origin, columns in view.tails_seen:
        found += rows(columns, term, origin, time_ns + 1, _FOREVER, 1)[:1]
    spans = sorted(
        (max(file.span[0], time_ns), n) for n, file in enumerate(view.files) if file.span
    )
    best = min(found, key=reading_order, default=None)
    for reach_ns, number in spans:
        if best is not None and reach_ns > best.time_ns:
            break
        blocks = _where(files, view, view.files[number], point, "last_ns > :time", time_ns)
        for block in sorted(blocks, key=lambda b: b.first_ns):
            if best is not None and block.first_ns > best.time_ns:
                break
            first = _load(files, block, time_ns + 1, _FOREVER, 1)[:1]
            best = min([*first, best] if best else first, key=reading_order, default=None)
    return best


def last_values(
    files: Files, view: View, tails: dict[str, HistoryRow], points: Sequence[str]
) -> dict[str, HistoryRow]:
    """The newest sample of each point that has any; `tails` are the newest ones in memory."""
    found = dict(tails)
    if view.withdrawn:
        for point in points:
            stored = at_or_before(files, view, point, _FOREVER - 1)
            both = [row for row in (found.get(point), stored) if row is not None]
            if both:
                found[point] = max(both, key=reading_order)
        return found
    condition = (
        f"last_ns = (SELECT max(last_ns) FROM segment WHERE point_id = :point{view.seen.condition})"
    )
    for file in reversed(view.files):
        if file.span is None:
            continue
        for point in points:
            known = found.get(point)
            # What was replicated late may lie in a newer file than what is newer.
            if known is not None and known.time_ns >= file.span[1]:
                continue
            newest = [row for row in (known,) if row is not None]
            for block in _where(files, view, file, point, condition, 0):
                newest += _load(files, block, -_FOREVER, _FOREVER, 1, True)[-1:]
            if newest:
                found[point] = max(newest, key=reading_order)
    return found


def segments(
    files: Files, view: View, file: FileView, point: str, from_ns: int, to_ns: int
) -> list[int]:
    """The numbers of the segments of a point in a file that overlap [from, to)."""
    return [block.segment_id for block in _segments(files, view, file, point, from_ns, to_ns)]


def loaded(files: Files, file: FileView, segment_id: int) -> Segment | None:
    """A segment; None when it is damaged, which is reported."""
    try:
        return files.segment(file, segment_id)
    except UNREADABLE as error:
        files.broken(file, error)
        return None


def _queue(view: View, from_ns: int, to_ns: int, reverse: bool) -> _Queue:
    """What may hold samples of [from, to), ordered by where its samples begin (or end)."""
    queue: _Queue = []
    for number, (term, origin, columns) in enumerate(view.tails_seen):
        if columns.times and columns.first_ns < to_ns and columns.last_ns >= from_ns:
            first, last = columns.first_ns, columns.last_ns
            _push(queue, _Block(first, last, None, 0, term, origin, columns), reverse, number)
    for number, file in enumerate(view.files):
        if file.span is not None and file.span[0] < to_ns and file.span[1] >= from_ns:
            key_ns = -file.span[1] if reverse else file.span[0]
            heapq.heappush(queue, (key_ns, (1, number), file))
    return queue


def _push(queue: _Queue, block: _Block, reverse: bool, number: int) -> None:
    key_ns = -block.last_ns if reverse else block.first_ns
    name = (2, number) if block.file is None else (3, hash(block.file.path), block.segment_id)
    heapq.heappush(queue, (key_ns, name, block))


def _left(part: list[HistoryRow], withdrawn: Mapping[Term, Intervals]) -> list[HistoryRow]:
    """What no ruling withdrew; all rows of a part are of one term."""
    intervals = withdrawn.get(part[0].position.term) if part and withdrawn else None
    if not intervals:
        return part
    return [row for row in part if not is_in(intervals, row.time_ns)]


def _segments(
    files: Files, view: View, file: FileView, point: str, from_ns: int, to_ns: int
) -> list[_Block]:
    """The segments of a point that overlap [from, to), of the stream that the view shows."""
    condition = "last_ns >= :time AND first_ns < :to"
    return _where(files, view, file, point, condition, from_ns, to_ns)


def _where(
    files: Files,
    view: View,
    file: FileView,
    point: str,
    condition: str,
    time_ns: int,
    to_ns: int = 0,
) -> list[_Block]:
    """The segments of a point that are seen and fulfil a condition; none of a broken file."""
    try:
        connection = files.open(file)
        row = connection.execute("SELECT point_id FROM point WHERE name = ?", (point,)).fetchone()
        if row is None:
            return []
        described = connection.execute(
            "SELECT first_ns, last_ns, segment_id FROM segment INDEXED BY segment_by_point"
            " WHERE point_id = :point AND segment_id <= :segments"
            f" AND {condition}{view.seen.condition}",
            {"point": row[0], "segments": file.segments, "time": time_ns, "to": to_ns}
            | view.seen.named,
        ).fetchall()
    except UNREADABLE as error:
        files.broken(file, error)
        return []
    return [
        _Block(first_ns, last_ns, file, segment_id, None, Origin.POLL, None)
        for first_ns, last_ns, segment_id in described
    ]


def _load(
    files: Files,
    block: _Block,
    from_ns: int,
    to_ns: int,
    most: int | None = None,
    reverse: bool = False,
) -> list[HistoryRow]:
    if block.columns is not None:
        assert block.term is not None
        return rows(block.columns, block.term, block.origin, from_ns, to_ns, most, reverse)
    assert block.file is not None
    segment = loaded(files, block.file, block.segment_id)
    if segment is None:
        return []
    return rows(segment.columns, segment.term, segment.origin, from_ns, to_ns, most, reverse)


def read_segment(files: Files, view: FileView, segment_id: int) -> Segment:
    """Read a segment of a file. Raises sqlite3.Error, ValueError, TypeError."""
    term_id, origin, packed = (
        files.open(view)
        .execute("SELECT term_id, origin, columns FROM segment WHERE segment_id = ?", (segment_id,))
        .fetchone()
    )
    return Segment(files.term(view, term_id), Origin(origin), unpack(packed))
