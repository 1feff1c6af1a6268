"""The value in force at an instant, out of samples and coverage (rules.md 2, Reconstruction).

A stream (one term of one device) stores changes only, and is complete by itself: within one of its
coverage intervals the value in force is its newest sample, and the first poll of an interval states
every point anew. So at each instant exactly one stream speaks: of those that cover it the winner
of the arbitration between them, else the one of the higher term; and where none does, what was
wound back.

A raw read gives every observation of every stream, in order of time. Where several streams have
something to say, one that does not speak (a node without its field that says Bad, an interval that
ended) would hide the value that holds, if rows are read as steps; so that value is *restated*.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.journal.coverage import Interval, Ruled, is_in, union
from gateway.journal.cursor import Key
from gateway.model import HistoryRow, Origin, Term

_AFTER_ALL = 2**63 - 1
"""Above every term's number."""


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
    rulings, so that what they withdraw is not in it).
    """

    def __init__(
        self,
        rows: Sequence[HistoryRow],
        by_term: Mapping[Term, Sequence[Interval]],
        rulings: Sequence[Ruled] = (),
    ) -> None:
        self._rulings = sorted(rulings)
        self._by_term = dict(sorted(by_term.items(), key=lambda item: _rank(item[0]), reverse=True))
        self._starts = {term: [s for s, _ in parts] for term, parts in self._by_term.items()}
        self._rows = rows
        self._polled: dict[Term, list[HistoryRow]] = {term: [] for term in self._by_term}
        self._wound: list[HistoryRow] = []
        for row in rows:
            if row.origin is Origin.WINDBACK:
                self._wound.append(row)
            elif row.position.term in self._polled:
                self._polled[row.position.term].append(row)
        covered = union(i for parts in self._by_term.values() for i in parts)
        self._covered_ends = [end for _, end in covered]
        edges = {edge for parts in self._by_term.values() for part in parts for edge in part}
        edges |= {edge for ruled in rulings for edge in (ruled.from_ns, ruled.to_ns)}
        self._edges = sorted(edges)
        self._speakers: dict[int, Term | None] = {}

    def at(self, time_ns: int) -> Held | None:
        """What the device held at an instant, or None where only a gap can be declared."""
        term = self.speaker(time_ns)
        if term is None:
            row = self._wound_back(time_ns)
            return None if row is None else Held(row, True)
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
        sample. What was wound back is left out where somebody polled. A part of the view does not
        depend on where it was cut.
        """
        low, high = (bisect_left(self._rows, t, key=time_of) for t in (from_ns, to_ns))
        edges = self._edges[bisect_left(self._edges, from_ns) : bisect_left(self._edges, to_ns)]
        result: list[HistoryRow] = []
        index = low
        for at_ns in sorted({*edges, *map(time_of, self._rows[low:high])}):
            last: HistoryRow | None = None
            while index < high and (row := self._rows[index]).time_ns == at_ns:
                index += 1
                if row.origin is not Origin.WINDBACK or self.speaker(at_ns) is None:
                    result.append(row)
                    last = row
            if (held := self._hidden(at_ns, last)) is not None:
                result.append(Restated(at_ns, *held[1:]))
        return result

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

    def _wound_back(self, time_ns: int) -> HistoryRow | None:
        """The newest wound-back row of the same uncovered stretch."""
        index = bisect_right(self._wound, time_ns, key=time_of) - 1
        if index < 0:
            return None
        row = self._wound[index]
        before = bisect_right(self._covered_ends, time_ns) - 1
        if before >= 0 and row.time_ns < self._covered_ends[before]:
            return None
        return row


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
    """The order of a raw read: what is restated comes last at its time."""
    if isinstance(row, Restated):
        return row.time_ns, _AFTER_ALL, 0, 0
    return reading_order(row)
