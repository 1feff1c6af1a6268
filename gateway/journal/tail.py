"""The newest samples of every point in memory, until they are flushed as segments.

A stored record has all samples of a batch; a reader wants all samples of a point. Between the two
stands the tail: each committed batch is dealt out to small arrays per point, and when enough is
together they are written as segments at one go. Nothing here is lost by a crash, because the
records are stored: the tail is rebuilt by replaying those above the watermark.

The set in use is *live*; one that is being flushed is *frozen* and stays readable meanwhile.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from gateway.journal.columns import Columns, in_order, rows
from gateway.journal.coverage import Intervals, is_in
from gateway.journal.holdings import Holdings
from gateway.journal.records import EMPTY_DIGEST, Batch
from gateway.model import HistoryRow, Origin, Position, Term


class _Untyped:
    """The type of a column that has no value yet; no value is of it, not even None."""


class Tail:
    """The newest samples of one point; `refs` index the batches of its group."""

    __slots__ = ("absent", "refs", "statuses", "times", "type", "values")

    def __init__(self) -> None:
        self.times = array("q")
        self.refs = array("I")
        self.statuses: array[int] | None = None
        self.absent: bytearray | None = None
        self.type: type = _Untyped
        self.values: Any = []

    def add_unlike(self, value: Any) -> None:
        """Append a value that is not of the column's type: the first, a None, or another type."""
        count = len(self.values)
        if value is None:
            if self.absent is None:
                self.absent = bytearray(count)
            self.absent.append(1)
            self.values.append(False if self.type is bool else 0)
            return
        if self.type is _Untyped:
            self._begin(type(value), count)
        else:
            self._mix()
        self._append(value)

    def _begin(self, kind: type, absent: int) -> None:
        self.type = kind
        if kind is float:
            self.values = array("d", [0.0] * absent)
        elif kind is int:
            self.values = array("q", [0] * absent)
        elif kind is bool:
            self.values = bytearray(absent)

    def _append(self, value: Any) -> None:
        try:
            self.values.append(value)
        except OverflowError:  # a uint64 above 2^63
            self._mix()
            self.values.append(value)
        if self.absent is not None:
            self.absent.append(0)

    def _mix(self) -> None:
        if self.type is not object:
            self.values = list(map(bool, self.values)) if self.type is bool else list(self.values)
            self.type = object

    def set_status(self, status: int) -> None:
        """Note that the sample appended last is not plainly Good."""
        if self.statuses is None:
            self.statuses = array("I")
        self.statuses.extend([0] * (len(self.times) - 1 - len(self.statuses)))
        self.statuses.append(status)

    def plain_values(self) -> Sequence[Any]:
        """The values as they were appended."""
        if self.absent is not None:
            shown = map(bool, self.values) if self.type is bool else self.values
            return [None if gone else value for value, gone in zip(shown, self.absent, strict=True)]
        if self.type is bool:
            return list(map(bool, self.values))
        return self.values[:]  # type: ignore[no-any-return]


class Group:
    """The tails of one (term, origin), and the batches that their samples came with."""

    __slots__ = ("by_name", "by_number", "received", "seqs")

    def __init__(self) -> None:
        self.received = array("q")
        self.seqs = array("q")
        self.by_name: dict[str, Tail] = {}
        self.by_number: dict[int, dict[int, Tail]] = {}

    def columns(self, tail: Tail) -> Columns:
        """The samples of a tail in order of time."""
        count = len(tail.times)
        statuses = None
        if tail.statuses is not None:
            statuses = tail.statuses + array("I", [0] * (count - len(tail.statuses)))
        received, seqs, refs = self.received, self.seqs, tail.refs
        return in_order(
            Columns(
                tail.times[:],
                [received[ref] for ref in refs],
                [seqs[ref] for ref in refs],
                statuses,
                tail.plain_values(),
            )
        )


class Piece(NamedTuple):
    """What becomes one segment."""

    point: str
    term: Term
    origin: Origin
    tail: Tail


class TailSet:
    """The tails of all points; `dealt` are the records that they were dealt out of."""

    def __init__(self) -> None:
        self.groups: dict[tuple[Term, Origin], Group] = {}
        self.dealt = Holdings()
        self.begun = False
        """Whether part of it is flushed and gone from here."""
        self.count = 0
        self.since_ns: int | None = None

    def ingest(self, term: Term, seq: int, batch: Batch, names: Sequence[str]) -> None:
        """Deal out a batch; `names` are the `device/point` ids of its revision by number.

        A number that the revision doesn't have is left out: nobody could ask for it.
        """
        origin = Origin(batch.origin)
        group = self.groups.get((term, origin))
        if group is None:
            group = self.groups[term, origin] = Group()
        ref = len(group.seqs)
        group.seqs.append(seq)
        group.received.append(batch.received_ns)
        tails = group.by_number.setdefault(batch.revision, {})
        for number, time_ns, value, status in batch.samples:
            tail = tails.get(number)
            if tail is None:
                if not 0 <= number < len(names):
                    continue
                tail = tails[number] = group.by_name.setdefault(names[number], Tail())
            if type(value) is tail.type and tail.absent is None:
                try:
                    tail.values.append(value)
                except OverflowError:
                    tail.add_unlike(value)
            elif value is not None and tail.type in (object, type(value)):
                tail._append(value)
            else:
                tail.add_unlike(value)
            tail.times.append(time_ns)
            tail.refs.append(ref)
            if status:
                tail.set_status(status)
        self.count += len(batch.samples)
        if self.since_ns is None:
            self.since_ns = batch.received_ns

    def note(self, position: Position) -> None:
        """This record is dealt out (one that is no batch, too)."""
        self.dealt.note(position, EMPTY_DIGEST)

    def columns_of(self, point: str) -> list[tuple[Term, Origin, Columns]]:
        """The samples of one point, by term and origin."""
        found = []
        for (term, origin), group in self.groups.items():
            tail = group.by_name.get(point)
            if tail is not None:
                found.append((term, origin, group.columns(tail)))
        return found

    def last_rows(
        self, points: Iterable[str], withdrawn: Mapping[Term, Intervals]
    ) -> Iterator[tuple[str, HistoryRow]]:
        """The newest sample of each of `points` that has one here, by term and origin.

        What was wound back is old by nature, so it is left out; so is what a ruling withdrew.
        """
        wanted = list(points)
        for (term, origin), group in self.groups.items():
            if origin is Origin.WINDBACK:
                continue
            for point in wanted:
                tail = group.by_name.get(point)
                if tail is None:
                    continue
                columns = group.columns(tail)
                from_ns = columns.first_ns if term in withdrawn else columns.last_ns
                for row in reversed(rows(columns, term, origin, from_ns, 2**63 - 1)):
                    if not is_in(withdrawn.get(term, ()), row.time_ns):
                        yield point, row
                        break

    def pieces(self, limit: int) -> list[Piece]:
        """Up to `limit` tails that are still here."""
        return list(islice(self._pieces(), limit))

    def _pieces(self) -> Iterator[Piece]:
        for (term, origin), group in self.groups.items():
            for point, tail in group.by_name.items():
                yield Piece(point, term, origin, tail)

    def columns(self, piece: Piece) -> Columns:
        """The samples of a piece in order of time."""
        return self.groups[piece.term, piece.origin].columns(piece.tail)

    def freeze(self) -> None:
        """Nothing more will be dealt out to this set: it is to be flushed."""
        for group in self.groups.values():
            group.by_number.clear()

    def drop(self, pieces: Sequence[Piece]) -> None:
        """Forget tails that are stored as segments."""
        self.begun = self.begun or bool(pieces)
        for piece in pieces:
            del self.groups[piece.term, piece.origin].by_name[piece.point]
            self.count -= len(piece.tail.times)

    @property
    def empty(self) -> bool:
        return not any(group.by_name for group in self.groups.values())
