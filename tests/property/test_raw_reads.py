"""Raw reads of streams and fills that meet: whatever the page, one view that says what held.

The records lie in two files and in memory, as a journal's do; the tables are real, in memory.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.journal import raw
from gateway.journal.buckets import Buckets
from gateway.journal.columns import pack
from gateway.journal.contested import Claims
from gateway.journal.coverage import (
    Except,
    Interval,
    Ruled,
    Run,
    is_in,
    streams,
    subtract,
    union,
    withdrawn,
)
from gateway.journal.database import execute
from gateway.journal.fills import Written as JudgedAt
from gateway.journal.fills import judged, missing
from gateway.journal.history import FileView, Segment, View, read_segment
from gateway.journal.outline import Outline, Unsettled
from gateway.journal.reconstruct import Reconstruction, reading_order
from gateway.journal.records import EMPTY_DIGEST, Batch, Body, Coverage, Fill, Hole, Record, seal
from gateway.journal.schema import (
    INSERT_POINT,
    INSERT_SEGMENT,
    PARTITION_TABLES,
    PartitionState,
    Statement,
    transaction,
)
from gateway.journal.tail import TailSet
from gateway.journal.thinning import Thinning
from gateway.model import NS_PER_S, Cause, HistoryRow, Origin, Status, Term, is_bad

POINT, NAMES = "plc1/level", ("plc1/level",)
STEP_NS = 10 * NS_PER_S
"""Beyond what is always read: only what is sought further back is found."""
END = 10
WINDOW = (STEP_NS, (END - 1) * STEP_NS)
"""Where gaps are looked for."""
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5)]
ticks = st.integers(0, END)
spans = st.tuples(ticks, ticks).map(sorted).map(tuple).filter(lambda span: span[0] < span[1])


class Wound(NamedTuple):
    """A stretch that a term judged against the device's log, and what that held at which tick."""

    span: Interval
    kind: str
    held: dict[int, int]


class Stream(NamedTuple):
    """What a term polled: from when to when, where not, and what it said at which tick."""

    term: Term
    span: Interval
    holes: list[Interval]
    good: dict[int, int]
    bad: list[int]
    wound: list[Wound]
    early: bool
    """Whether the reply that ends a hole is to a request from before the hole."""
    late: int = 0
    """How long after its stamp a sample was received, ns; 0: it only states anew."""


class Written(NamedTuple):
    """A record of a term, in which file it lies, and whether its samples are in a segment."""

    record: Record
    file: int
    flushed: bool


wound_stretches = st.builds(
    Wound,
    spans,
    st.sampled_from(["filled", "filled", "coarse", "lost"]),
    st.dictionaries(ticks, st.integers(10, 13), max_size=4),
)
streams_of_terms = st.lists(
    st.builds(
        Stream,
        st.sampled_from(TERMS),
        spans,
        st.lists(spans, max_size=2).map(union),
        st.dictionaries(ticks, st.integers(0, 3), max_size=6),
        st.lists(ticks, max_size=3),
        st.lists(wound_stretches, max_size=3),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=3,
    unique_by=lambda stream: stream.term,
)
rulings_of_terms = st.lists(
    st.builds(
        lambda winner, loser, span, discard: Ruled(
            winner, loser, span[0] * STEP_NS, span[1] * STEP_NS, discard
        ),
        st.sampled_from(TERMS),
        st.sampled_from(TERMS),
        spans,
        st.booleans(),
    ).filter(lambda ruled: ruled.winner != ruled.loser),
    max_size=2,
)


def bodies(stream: Stream) -> list[Body]:
    """As a node journals it: an interval begins with a sample; what is Bad is not claimed.

    A scan that took too long has Good samples in the hole that it left.
    """
    (begin, end), holes = stream.span, stream.holes
    claimed = [i for i in range(begin, end) if not is_in(holes, i)]
    said: dict[int, Any] = {tick: None for tick in stream.bad if tick not in claimed}
    said |= {tick: value for tick, value in stream.good.items() if begin <= tick < end}
    for tick in claimed:
        if tick - 1 not in claimed:
            said.setdefault(tick, 9)
    found: list[Body] = []
    for tick, value in sorted(said.items()):
        at_ns, bad = tick * STEP_NS, value is None
        early = stream.early and tick - 1 not in claimed and max(1, begin) < tick < END - 1
        stamp_ns = at_ns - 1 if early else at_ns
        sample = (0, stamp_ns, value, Status.BAD_NO_COMMUNICATION if bad else 0)
        scan_class = "" if bad else "normal"
        received_ns = at_ns + (stream.late if begin < tick < end else 0)
        found.append(Batch("plc1", scan_class, 1, Origin.POLL, at_ns, received_ns, (sample,)))
    excepted = [
        Hole("plc1", name, s * STEP_NS, e * STEP_NS, "device")
        for name, parts in (("normal", holes), ("slow", [] if stream.early else [stream.span]))
        for s, e in parts
    ]
    found.append(Coverage(1, begin * STEP_NS, end * STEP_NS, tuple(excepted)))
    for (first, last), kind, held in stream.wound:
        samples = tuple((0, t * STEP_NS, v, 0) for t, v in held.items() if first <= t < last)
        now_ns = (END + 1) * STEP_NS
        found.append(Batch("plc1", "", 1, Origin.WINDBACK, now_ns, now_ns, samples))
        times = (first * STEP_NS, last * STEP_NS)
        found.append(Fill("plc1", "normal", "log", *times, kind, ("level",), now_ns, span=1))
    return found


class Store:
    """Two files and what is in memory of them; fulfils `history.Files`."""

    def __init__(self, written: Sequence[Written], rulings: Sequence[Ruled]) -> None:
        self.connections = [sqlite3.connect(":memory:") for _ in range(2)]
        self.states: list[PartitionState] = []
        claims = Claims()
        files, tails, outlines = [], [], []
        for number, connection in enumerate(self.connections):
            for sql in PARTITION_TABLES:
                connection.execute(sql)
            own = [each for each in written if each.file == number]
            statements, state = transaction([each.record for each in own], 0, PartitionState())
            execute(connection, statements)
            self.states.append(state)
            live, flushed = TailSet(), TailSet()
            outline = Outline()
            outlines.append(outline)
            for record, _, in_segment in own:
                claims.hear(record.position.term, record.body)
                outline.hear(record.position.term, record.body)
                if isinstance(record.body, Batch):
                    tail = flushed if in_segment else live
                    tail.ingest(record.position.term, record.position.seq, record.body, NAMES)
            tails += live.columns_of(POINT)
            files.append(self._flush(number, flushed))
        doubts, having = Unsettled().of("plc1", outlines, WINDOW, {}, lambda key: True, 1, rulings)
        weighed = union([*claims.contested, *doubts])
        self.view = View(files, tails, withdrawn(rulings), weighed, rulings, WINDOW, having=having)

    def _flush(self, number: int, tail: TailSet) -> FileView:
        pieces = tail.pieces(100)
        rows: list[tuple[Any, ...]] = []
        for segment, piece in enumerate(pieces, 1):
            columns = tail.columns(piece)
            term_id = self.states[number].terms[piece.term]
            ends = (columns.first_ns, columns.last_ns)
            rows.append((segment, 1, term_id, int(piece.origin), *ends, pack(columns)))
        statements: list[Statement] = [(INSERT_POINT, [(1, POINT)]), (INSERT_SEGMENT, rows)]
        execute(self.connections[number], statements)
        span = (min(r[4] for r in rows), max(r[5] for r in rows)) if rows else None
        return FileView(Path(str(number)), len(rows), span)

    def open(self, view: FileView) -> sqlite3.Connection:
        return self.connections[int(view.path.name)]

    def term(self, view: FileView, term_id: int) -> Term:
        terms = self.states[int(view.path.name)].terms
        return next(term for term, known in terms.items() if known == term_id)

    def segment(self, view: FileView, segment_id: int) -> Segment:
        return read_segment(self, view, segment_id)

    def broken(self, view: FileView, why: str) -> None:
        raise AssertionError(why)

    def pages(self, limit: int, reverse: bool, from_ns: int, to_ns: int) -> list[HistoryRow]:
        rows: list[HistoryRow] = []
        cursor: tuple[int, ...] | None = None
        while True:
            page = raw.page(self, self.view, POINT, from_ns, to_ns, limit, cursor, reverse)
            assert len(page.rows) == limit or page.cursor is None
            rows += page.rows
            cursor = page.cursor
            if cursor is None:
                return rows

    def thinned(self, from_ns: int, to_ns: int, number: int) -> list[Any]:
        buckets = Buckets(from_ns, to_ns, number)
        thinning = Thinning(self, self.view, POINT, from_ns, to_ns, buckets)
        while not thinning.go_on():
            pass
        return shown(buckets)


def drawn(rows: list[HistoryRow], from_ns: int, to_ns: int, number: int) -> list[Any]:
    """What a trend must show, row by row."""
    buckets = Buckets(from_ns, to_ns, number)
    buckets.add(rows)
    return shown(buckets)


def shown(buckets: Buckets) -> list[Any]:
    return [
        (i, b.count, b.wound, b.gap, b.least, b.greatest, b.first, b.last, b.status, b.last_status)
        for i, b in sorted(buckets.found.items())
    ]


def whole(written: Sequence[Written], given_streams: list[Stream], ruled: list[Ruled]) -> Any:
    """The reconstruction that knows everything."""
    gone = withdrawn(ruled)
    heard = [
        HistoryRow(time_ns, value, status, body.received_ns, Origin(body.origin), record.position)
        for record, _, _ in written
        if isinstance(body := record.body, Batch)
        for _, time_ns, value, status in body.samples
    ]
    rows = [r for r in heard if not is_in(gone.get(r.position.term, ()), r.time_ns)]
    runs = [Run(s.term, 1, s.span[0] * STEP_NS, s.span[1] * STEP_NS) for s in given_streams]
    holes = [
        Except(s.term, "plc1", "normal", Cause.DEVICE, b * STEP_NS, e * STEP_NS)
        for s in given_streams
        for b, e in s.holes
    ]
    by_term = streams(runs, holes, "plc1", "normal", rulings=ruled)
    rows.sort(key=reading_order)
    fills = [JudgedAt(r.position, r.body) for r, _, _ in written if isinstance(r.body, Fill)]
    covered = union(part for parts in by_term.values() for part in parts)
    parts = missing(subtract([WINDOW], covered), judged(fills, "level", gone))
    if not fills and all(is_bad(row.status) for row in heard):
        parts = []  # nobody knows which class the point is of
    began_ns = rows[0].time_ns if rows else END * STEP_NS
    return Reconstruction(rows, by_term, ruled, parts, began_ns, WINDOW[1])


@example(
    [
        Stream(TERMS[0], (0, 4), [], {}, [], [], False),
        Stream(TERMS[1], (0, 3), [(0, 2)], {}, [], [], True),
    ],
    [Ruled(TERMS[0], TERMS[1], 0, 2 * STEP_NS, True)],
    [(0, False)],
    1,
    (0, 1),
)
@example([Stream(TERMS[0], (1, 6), [(2, 3)], {}, [], [], True)], [], [(0, False)], 5, (0, 9))
@settings(max_examples=200)
@given(
    streams_of_terms,
    rulings_of_terms,
    st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=7),
    st.integers(1, 5),
    spans,
)
def test_pages_of_any_size_and_direction_are_one_view_that_says_what_held(
    given_streams: list[Stream],
    ruled: list[Ruled],
    places: list[tuple[int, bool]],
    limit: int,
    span: Interval,
) -> None:
    written: list[Written] = []
    for stream in given_streams:
        for seq, body in enumerate(bodies(stream), 1):
            record = seal(stream.term, seq, EMPTY_DIGEST, body)
            written.append(Written(record, *places[len(written) % len(places)]))
    store = Store(written, ruled)
    known = whole(written, given_streams, ruled)
    before_ns, after_ns = -STEP_NS, (END + 2) * STEP_NS
    view = known.raw_view(before_ns, after_ns)
    assert store.pages(limit, False, before_ns, after_ns) == view
    assert store.pages(limit, True, before_ns, after_ns) == view[::-1]
    from_ns, to_ns = (tick * STEP_NS for tick in span)
    cut = [row for row in view if from_ns <= row.time_ns < to_ns]
    assert store.pages(limit, False, from_ns, to_ns) == cut
    assert store.pages(limit, True, from_ns, to_ns) == cut[::-1]
    assert store.thinned(from_ns, to_ns, limit) == drawn(cut, from_ns, to_ns, limit)
    times = [row.time_ns for row in view]
    for at_ns in range(before_ns, after_ns, STEP_NS // 2):
        index = bisect_right(times, at_ns)
        at_or_before = raw.at_or_before(store, store.view, POINT, at_ns)
        assert at_or_before == (view[index - 1] if index else None)
        following = raw.after(store, store.view, POINT, at_ns)
        assert following == (view[index] if index < len(view) else None)
        held = known.at(at_ns)
        if held is not None and held.row.time_ns <= at_ns:
            assert at_or_before is not None
            assert (at_or_before.value, at_or_before.status) == held.row[1:3]
