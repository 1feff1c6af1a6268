"""The value in force at an instant, out of samples and coverage (rules.md 2, Reconstruction).

A stream (one term of one device) stores changes only, and is complete by itself: within one of its
coverage intervals the value in force is its newest sample, and the first poll of an interval states
every point anew. So at each instant exactly one stream speaks: of those that cover it the winner
of the arbitration between them, else the one of the higher term; and where none does, what was
wound back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.journal.coverage import Interval, Ruled, is_in, union
from gateway.model import HistoryRow, Origin, Term


class Held(NamedTuple):
    """What is known of an instant: the row in force, and whether it was wound back."""

    row: HistoryRow
    wound_back: bool


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
        covering = [t for t, parts in self._by_term.items() if is_in(parts, time_ns)]
        ruled = [r for r in self._rulings if r.from_ns <= time_ns < r.to_ns]
        beaten = {r.loser for r in ruled if r.winner in covering}
        return next((t for t in covering if t not in beaten), next(iter(covering), None))

    def raw_view(self, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """Every observation in [from, to), and the other stream's value where a stream ends.

        The restated row has the time of the end; its receipt and position stay those of the sample.
        """
        result = [row for row in self._rows if from_ns <= row.time_ns < to_ns]
        for end, speaker in self._ends():
            if not from_ns <= end < to_ns:
                continue
            held = self.at(end)
            if held is None or held.wound_back:
                continue
            if held.row.position.term != speaker and held.row.time_ns < end:
                result.append(held.row._replace(time_ns=end))
        result.sort(key=reading_order)
        return result

    def _ends(self) -> list[tuple[int, Term]]:
        """Where the stream that speaks stops, and which it was."""
        return [
            (end, term)
            for term, parts in self._by_term.items()
            for _, end in parts
            if self.speaker(end - 1) == term
        ]

    def _interval(self, term: Term, time_ns: int) -> Interval:
        return self._by_term[term][bisect_right(self._starts[term], time_ns) - 1]

    def _in_force(self, term: Term, interval: Interval, time_ns: int) -> HistoryRow | None:
        """The newest row that was learned since the interval began.

        A row learned before it may have been overtaken in the hole. The poll that opened the
        interval may be stamped a moment after it: its value counts from the beginning, since the
        device held it between request and reply (rules.md 1).
        """
        rows = self._polled[term]
        index = bisect_right(rows, time_ns, key=lambda row: row.time_ns)
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
        index = bisect_right(self._wound, time_ns, key=lambda row: row.time_ns) - 1
        if index < 0:
            return None
        row = self._wound[index]
        before = bisect_right(self._covered_ends, time_ns) - 1
        if before >= 0 and row.time_ns < self._covered_ends[before]:
            return None
        return row


def _rank(term: Term) -> tuple[int, int, str]:
    return term.number, term.nonce, term.node


def reading_order(row: HistoryRow) -> tuple[int, int, int, int]:
    term = row.position.term
    return row.time_ns, term.number, term.nonce, row.position.seq
