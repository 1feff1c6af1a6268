"""The value in force at an instant, out of samples and coverage (rules.md 2, Reconstruction).

A stream (one term of one device) stores changes only, and is complete by itself: within one of its
coverage intervals the value in force is its newest sample, and the first poll of an interval states
every point anew. So at each instant exactly one stream speaks: of those that cover it the winner
of the arbitration between them, else the one of the higher term. Where none does there is a gap;
where windback filled it for the point, the value in force is the newest row of the fill's term (or
a Good one of polling, which was not claimed), and before its first one the newest row before. What
a stream only states anew, as of when it was received, is not heard there: a scan that took so long
that it left a gap may have read it long before, and the log knows when it changed.

A raw read gives every observation of every stream, in order of time. Where several streams have
something to say, one that does not speak (a node without its field that says Bad, an interval that
ended) would hide the value that holds, if rows are read as steps; so that value is *restated*. What
was wound back is seen only where it speaks. Where a gap is not filled, a row without a value says
so at its beginning (OPC 10000-11 section 4.3); where it is, Bad rows of polling are left out: they
tell of the gateway, not of the device.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.journal.coverage import Interval, Ruled, is_in
from gateway.journal.cursor import Key
from gateway.journal.fills import Missing
from gateway.model import GapState, HistoryRow, Origin, Position, Status, Term, is_bad

_FOREVER: Final = 2**63 - 1
_AFTER_ALL: Final = 2**63 - 1
"""Above every term's number."""
_BEFORE_ALL: Final = -1
_NOBODY: Final = Position(Term(0, "", 0), 0)
_POLLED: Final = frozenset({Origin.POLL, Origin.SUBSCRIPTION})
_LACKS: Final = {
    GapState.LOST: Status.BAD_DATA_LOST,
    GapState.OPEN: Status.BAD_DATA_UNAVAILABLE,
}


class Held(NamedTuple):
    """What is known of an instant: the row in force, and whether it was wound back."""

    row: HistoryRow
    wound_back: bool


class Restated(HistoryRow):
    """A row of a raw read that repeats a sample at a later time; else as the sample is."""

    __slots__ = ()


class Reconstruction:
    """One point's samples and the coverage of its device and scan class, ready to be asked.

    `rows` are in the order of reading (time, term, seq, index), and reach back as far as the
    oldest instant asked for needs. `by_term` is what `coverage.streams` gives (with the same
    rulings, so that what they withdraw is not in it), `missing` what `fills.missing` says of the
    time that nobody covers. Gaps are shown from `began_ns` on, when the point was heard of first;
    one that ends at `until_ns`, when this is asked, goes on.
    """

    def __init__(
        self,
        rows: Sequence[HistoryRow],
        by_term: Mapping[Term, Sequence[Interval]],
        rulings: Sequence[Ruled] = (),
        missing: Sequence[Missing] = (),
        began_ns: int = _FOREVER,
        until_ns: int = _FOREVER,
    ) -> None:
        self._rulings = sorted(rulings)
        self._by_term = dict(sorted(by_term.items(), key=lambda item: _rank(item[0]), reverse=True))
        self._starts = {term: [s for s, _ in parts] for term, parts in self._by_term.items()}
        self._missing = missing
        self._until_ns = until_ns
        self._polled: dict[Term, list[HistoryRow]] = {term: [] for term in self._by_term}
        edges = {edge for parts in self._by_term.values() for part in parts for edge in part}
        edges |= {edge for ruled in rulings for edge in (ruled.from_ns, ruled.to_ns)}
        edges |= {part.from_ns for part in missing}
        self._edges = sorted(edges)
        self._speakers: dict[int, Term | None] = {}
        self._marked = {
            part.from_ns: part for part in missing if part.term is None and part.from_ns > began_ns
        }
        self._seen: list[HistoryRow] = []
        self._filling: list[HistoryRow] = []
        for row in rows:
            self._sort_in(row)

    def _sort_in(self, row: HistoryRow) -> None:
        """Whether a row is seen; those that speak in filled stretches are remembered apart."""
        wound = row.origin is Origin.WINDBACK
        term = row.position.term
        if not wound and term in self._polled:
            self._polled[term].append(row)
        part = None
        if (wound or self._missing) and self.speaker(row.time_ns) is None:
            part = self._part(row.time_ns)
        if part is None or part.term is None:
            if not wound:
                self._seen.append(row)
            return
        if wound and term != part.term:
            return
        if not wound and row.origin in _POLLED and is_bad(row.status):
            return
        if wound:
            self._leave_out(row)
        if wound or not is_restatement(row):
            self._filling.append(row)
        self._seen.append(row)

    def _leave_out(self, row: HistoryRow) -> None:
        """Let go of the same record of the log, if it was read before in the same term."""
        for rows in (self._filling, self._seen):
            for at in range(len(rows) - 1, -1, -1):
                if rows[at].time_ns != row.time_ns:
                    break
                if rows[at].origin is row.origin and rows[at].position.term == row.position.term:
                    del rows[at]
                    break

    def at(self, time_ns: int) -> Held | None:
        """What the device held at an instant, or None where only a gap can be declared."""
        term = self.speaker(time_ns)
        if term is None:
            return self._filled(time_ns)
        row = self._in_force(term, self._interval(term, time_ns), time_ns)
        return None if row is None else Held(row, False)

    def speaker(self, time_ns: int) -> Term | None:
        """The term whose stream speaks at an instant, or None where nobody covers it."""
        part = bisect_right(self._edges, time_ns)
        if part not in self._speakers:
            self._speakers[part] = self._speaker(time_ns)
        return self._speakers[part]

    def _speaker(self, time_ns: int) -> Term | None:
        covering = [t for t, parts in self._by_term.items() if is_in(parts, time_ns)]
        ruled = [r for r in self._rulings if r.from_ns <= time_ns < r.to_ns]
        beaten = {r.loser for r in ruled if r.winner in covering}
        return next((t for t in covering if t not in beaten), next(iter(covering), None))

    def raw_view(self, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """Every observation in [from, to), and what holds restated where they would hide it.

        Read as steps, the rows say what `at` says at every instant from its row's time on: behind
        a sample of a stream that does not speak, and where another stream begins to speak, the
        value in force follows with that time; its receipt, origin and position stay those of the
        sample. A part of the view does not depend on where it was cut.
        """
        low, high = (bisect_left(self._seen, t, key=time_of) for t in (from_ns, to_ns))
        edges = self._edges[bisect_left(self._edges, from_ns) : bisect_left(self._edges, to_ns)]
        result: list[HistoryRow] = []
        index = low
        for at_ns in sorted({*edges, *map(time_of, self._seen[low:high])}):
            first = index
            while index < high and self._seen[index].time_ns == at_ns:
                index += 1
            rows = self._seen[first:index]
            if (part := self._marked.get(at_ns)) is not None and not any(
                is_bad(row.status) for row in rows
            ):
                result.append(self._mark(part))
            result += rows
            if (held := self._hidden(at_ns, rows[-1] if rows else None)) is not None:
                result.append(Restated(at_ns, *held[1:]))
        return result

    def _mark(self, part: Missing) -> HistoryRow:
        """What says that nothing is known from here on, and why."""
        lasts = part.to_ns >= self._until_ns
        status = Status.BAD_NO_COMMUNICATION if lasts else _LACKS[part.state]
        return HistoryRow(part.from_ns, None, status, part.from_ns, Origin.GAP, _NOBODY)

    def _hidden(self, at_ns: int, last: HistoryRow | None) -> HistoryRow | None:
        """The row in force at an instant, if steps up to `last` (or to before it) say otherwise."""
        held = self.at(at_ns)
        if held is None or held.row.time_ns > at_ns:
            return None
        if last is None:
            before = self.at(at_ns - 1)
            if before is None or before.row.time_ns >= at_ns:
                return held.row
            last = before.row
        return None if _says_the_same(last, held.row) else held.row

    def _interval(self, term: Term, time_ns: int) -> Interval:
        return self._by_term[term][bisect_right(self._starts[term], time_ns) - 1]

    def _in_force(self, term: Term, interval: Interval, time_ns: int) -> HistoryRow | None:
        """The newest row that was learned since the interval began.

        A row learned before it may have been overtaken in the hole. The poll that opened the
        interval may be stamped a moment after it: its value counts from the beginning, since the
        device held it between request and reply (rules.md 1).
        """
        rows = self._polled[term]
        index = bisect_right(rows, time_ns, key=time_of)
        for row in reversed(rows[:index]):
            if row.received_ns >= interval[0]:
                return row
        for row in rows[index:]:
            if row.time_ns >= interval[1]:
                break
            if row.received_ns >= interval[0]:
                return row
        return None

    def _part(self, time_ns: int) -> Missing | None:
        """The stretch that nobody covers at an instant, as it was told."""
        index = bisect_right(self._missing, time_ns, key=lambda part: part.from_ns) - 1
        part = self._missing[index] if index >= 0 else None
        return part if part is not None and time_ns < part.to_ns else None

    def _filled(self, time_ns: int) -> Held | None:
        """The newest row of the filled stretch, or what was in force just before it began."""
        while (part := self._part(time_ns)) is not None and part.term is not None:
            index = bisect_right(self._filling, time_ns, key=time_of) - 1
            if index >= 0 and self._filling[index].time_ns >= part.from_ns:
                row = self._filling[index]
                return Held(row, row.origin is Origin.WINDBACK)
            time_ns = part.from_ns - 1
            if self.speaker(time_ns) is not None:
                return self.at(time_ns)
        return None


def is_restatement(row: HistoryRow) -> bool:
    """Whether a polled row is what a stream begins with: as of its receipt, not of its reading."""
    return row.origin in _POLLED and row.time_ns == row.received_ns


def time_of(row: HistoryRow) -> int:
    """The source time of a row."""
    return row.time_ns


def _says_the_same(one: HistoryRow, other: HistoryRow) -> bool:
    return one is other or (
        one.status == other.status
        and type(one.value) is type(other.value)
        and one.value == other.value
    )


def _rank(term: Term) -> tuple[int, int, str]:
    return term.number, term.nonce, term.node


def reading_order(row: HistoryRow) -> Key:
    term = row.position.term
    return row.time_ns, term.number, term.nonce, row.position.seq


def shown_order(row: HistoryRow) -> Key:
    """The order of a raw read: what is missing comes first at its time, what is restated last."""
    if row.origin is Origin.GAP:
        return row.time_ns, _BEFORE_ALL, 0, 0
    if isinstance(row, Restated):
        return row.time_ns, _AFTER_ALL, 0, 0
    return reading_order(row)
