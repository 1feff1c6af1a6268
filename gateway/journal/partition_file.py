"""One partition's file: what it says of itself when opened, and how tails become segments in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gateway.errors import UNDECODABLE
from gateway.journal.columns import Columns, pack
from gateway.journal.contested import Claim
from gateway.journal.database import Database, connect_reader, execute, has_table
from gateway.journal.holdings import Holdings, Stretch, without
from gateway.journal.outline import HOUR_NS, Outline
from gateway.journal.partitions import PartitionKey
from gateway.journal.records import EMPTY_DIGEST, Batch, decode
from gateway.journal.schema import (
    INSERT_META,
    INSERT_POINT,
    INSERT_SEGMENT,
    INSERT_TERM,
    SEQ_BITS,
    PartitionState,
    Statement,
    nonce_text,
    record_id,
    split_record_id,
)
from gateway.journal.tail import Piece, TailSet
from gateway.model import Position, Term

_SEQ_MAX: Final = (1 << SEQ_BITS) - 1
_RECORDS_A_CALL: Final = 500


class Loaded(NamedTuple):
    """What a partition's file says of itself when it is opened."""

    state: PartitionState
    points: dict[str, int]
    flushed: Holdings
    held: Holdings
    segments: int
    span: tuple[int, int] | None
    begun_ns: int | None
    alone_ns: int | None
    latest_ns: int
    through_ns: int
    claims: list[Claim]
    outline: Outline


@dataclass(slots=True)
class Partition:
    """One file. `database` is None once it is sealed: complete, closed, read-only.

    `held` are its records, `flushed` those whose samples are in its segments. From `alone_ns` on
    every value in force is stated in it, and it needs no file before it.
    """

    key: PartitionKey
    path: Path
    database: Database | None
    state: PartitionState
    begun_ns: int
    alone_ns: int
    points: dict[str, int] = field(default_factory=dict)
    flushed: Holdings = field(default_factory=Holdings)
    held: Holdings = field(default_factory=Holdings)
    segments: int = 0
    span: tuple[int, int] | None = None
    outline: Outline = field(default_factory=Outline)
    live: TailSet = field(default_factory=TailSet)
    frozen: TailSet | None = None

    def dealt(self, position: Position) -> bool:
        """Whether the samples of a record are in a segment or a tail here."""
        return (
            self.live.dealt.holds(position)
            or self.flushed.holds(position)
            or (self.frozen is not None and self.frozen.dealt.holds(position))
        )

    def not_dealt(self) -> list[tuple[Term, Stretch]]:
        """The records here whose samples are in no segment and no tail."""
        sets = [self.flushed, self.live.dealt, *([self.frozen.dealt] if self.frozen else ())]
        found: list[tuple[Term, Stretch]] = []
        for term, holding in self.held.terms.items():
            left = list(holding.stretches)
            for dealt in sets:
                known = dealt.of(term)
                left = without(left, known.stretches) if known is not None else left
            found += [(term, stretch) for stretch in left]
        return found


class Flush:
    """One chunk of a flush: a transaction that is run in the writer's thread, then taken over."""

    def __init__(
        self,
        partition: Partition,
        pieces: Sequence[Piece],
        columns: Sequence[Columns],
        last: bool,
    ) -> None:
        assert partition.frozen is not None
        self.last = last
        self.points = dict(partition.points)
        self.segments = partition.segments
        self.span = partition.span
        self.flushed = partition.flushed
        self._columns = columns
        terms = dict(partition.state.terms)
        self._head: list[Statement] = []
        self._keys: list[tuple[int, int, int, int]] = []
        for piece in pieces:
            self.segments += 1
            term_id = self._number(terms, piece.term)
            point_id = self.points.get(piece.point)
            if point_id is None:
                point_id = self.points[piece.point] = len(self.points) + 1
                self._head.append((INSERT_POINT, [(point_id, piece.point)]))
            self._keys.append((self.segments, point_id, term_id, int(piece.origin)))
        for block in columns:
            first, end = self.span or (block.first_ns, block.last_ns)
            self.span = (min(first, block.first_ns), max(end, block.last_ns))
        if last:
            self.flushed = united(partition.flushed, partition.frozen.dealt)
            for term in self.flushed.terms:
                self._number(terms, term)
            self._held = partition.held
        self.state = replace(partition.state, terms=terms)
        self._meta = self._meta_rows(terms) if last else []

    def _number(self, terms: dict[Term, int], term: Term) -> int:
        term_id = terms.get(term)
        if term_id is None:
            term_id = terms[term] = len(terms) + 1
            row = (term_id, term.number, term.node, nonce_text(term))
            self._head.append((INSERT_TERM, [row]))
        return term_id

    def _meta_rows(self, terms: dict[Term, int]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = [
            ("flushed", _written(self.flushed, terms)),
            ("held", _written(self._held, terms)),
            ("segments", self.segments),
        ]
        if self.span is not None:
            rows += [("first_ns", self.span[0]), ("last_ns", self.span[1])]
        return rows

    def run(self, connection: sqlite3.Connection) -> None:
        """Pack and store; in the writer's thread, because packing takes its time."""
        rows = [
            (*key, block.first_ns, block.last_ns, pack(block))
            for key, block in zip(self._keys, self._columns, strict=True)
        ]
        statements = [*self._head, (INSERT_SEGMENT, rows), (INSERT_META, self._meta)]
        execute(connection, [statement for statement in statements if statement[1]])


def united(one: Holdings, other: Holdings) -> Holdings:
    """What either holds; digests are of no account."""
    whole = Holdings()
    for part in (one, other):
        for term, holding in part.terms.items():
            for first, last in holding.stretches:
                whole.hold(term, first, last, EMPTY_DIGEST)
    return whole


def _written(holdings: Holdings, terms: dict[Term, int]) -> bytes:
    return msgspec.msgpack.encode({terms[t]: h.stretches for t, h in holdings.terms.items()})


def load(connection: sqlite3.Connection) -> Loaded:
    """Read what a partition says of itself; an unfinished flush is taken back."""
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    state = _state(connection)
    terms = state.terms
    segments = meta.get("segments", 0)
    if connection.execute(
        "SELECT 1 FROM segment WHERE segment_id > ? LIMIT 1", (segments,)
    ).fetchone():
        connection.execute("DELETE FROM segment WHERE segment_id > ?", (segments,))
    (through_ns,) = connection.execute("SELECT coalesce(max(through_ns), 0) FROM run").fetchone()
    latest_ns = meta.get("begun_ns", 0)
    for term_id in terms.values():
        row = connection.execute(
            "SELECT at_ns FROM record WHERE record_id < ? ORDER BY record_id DESC LIMIT 1",
            ((term_id + 1) << SEQ_BITS,),
        ).fetchone()
        latest_ns = max(latest_ns, row[0] if row else 0)
    flushed = _read_stretches(connection, terms, meta.get("flushed"))
    # Files of earlier versions have no `held`: there it is what was flushed, and what came after.
    held = _read_stretches(connection, terms, meta.get("held", meta.get("flushed")))
    return Loaded(
        state,
        dict(connection.execute("SELECT name, point_id FROM point").fetchall()),
        flushed,
        _completed(connection, terms, held),
        segments,
        (meta["first_ns"], meta["last_ns"]) if "first_ns" in meta else None,
        meta.get("begun_ns"),
        meta.get("alone_ns"),
        latest_ns,
        through_ns,
        _claims(connection, terms),
        _outline(connection, terms),
    )


class Reread(NamedTuple):
    """What a file holds after a commit that failed."""

    state: PartitionState
    held: Holdings
    claims: list[Claim]
    outline: Outline


def reread(known: Holdings, connection: sqlite3.Connection) -> Reread:
    """What the next transaction must know, and what is held beyond what is `known` to be."""
    state = _state(connection)
    return Reread(
        state,
        _completed(connection, state.terms, known),
        _claims(connection, state.terms),
        _outline(connection, state.terms),
    )


def _outline(connection: sqlite3.Connection, terms: dict[Term, int]) -> Outline:
    """Where the records of the file leave a gap, or may."""
    outline = Outline()
    names = {term_id: term for term, term_id in terms.items()}
    for term_id, revision, since_ns, through_ns in connection.execute(
        "SELECT term_id, revision, since_ns, through_ns FROM run ORDER BY since_ns"
    ):
        outline.claim(names[term_id], revision, since_ns, through_ns)
    for device, from_ns, to_ns in connection.execute(
        "SELECT device, min(from_ns), max(to_ns) FROM hole GROUP BY device, from_ns / ?", (HOUR_NS,)
    ):
        outline.excepted(device, from_ns, to_ns)
    if has_table(connection, "own_run"):
        for device, from_ns, to_ns in connection.execute(
            "SELECT device, min(from_ns, through_ns), to_ns FROM own_run"
            " WHERE through_ns < to_ns OR since_ns > from_ns"
        ):
            outline.excepted(device, from_ns, to_ns)
    return outline


def _claims(connection: sqlite3.Connection, terms: dict[Term, int]) -> list[Claim]:
    """What each term speaks of: by its runs, or where it has none by its first and last batch."""
    runs = {
        term_id: (since_ns, through_ns)
        for term_id, since_ns, through_ns in connection.execute(
            "SELECT term_id, min(since_ns), max(through_ns) FROM run GROUP BY term_id"
        )
    }
    found: list[Claim] = []
    for term, term_id in terms.items():
        if term_id in runs:
            found.append((term, *runs[term_id]))
            continue
        for order in ("ASC", "DESC"):
            row = connection.execute(
                "SELECT wire FROM record WHERE record_id BETWEEN ? AND ? AND kind = 'b'"
                f" ORDER BY record_id {order} LIMIT 1",
                (record_id(term_id, 1), record_id(term_id, _SEQ_MAX)),
            ).fetchone()
            with suppress(*UNDECODABLE):  # who deals it out says so
                if row is not None and isinstance(body := decode(row[0]), Batch):
                    found.append((term, body.received_ns, body.received_ns))
    return found


def _state(connection: sqlite3.Connection) -> PartitionState:
    """Runs and holes of before are not extended any more: that makes no difference to the set."""
    terms = {
        Term(number, node, int(nonce, 16)): term_id
        for term_id, number, node, nonce in connection.execute("SELECT * FROM term").fetchall()
    }
    (runs,) = connection.execute("SELECT coalesce(max(run_id), 0) FROM run").fetchone()
    (holes,) = connection.execute("SELECT coalesce(max(hole_id), 0) FROM hole").fetchone()
    own_runs = 0
    if has_table(connection, "own_run"):
        found = connection.execute("SELECT coalesce(max(own_run_id), 0) FROM own_run")
        (own_runs,) = found.fetchone()
    scans = frozenset(connection.execute("SELECT device, scan_class FROM scan").fetchall())
    return PartitionState(terms, {}, {}, {}, scans, runs + 1, holes + 1, own_runs + 1)


def _read_stretches(
    connection: sqlite3.Connection, terms: dict[Term, int], written: bytes | None
) -> Holdings:
    """What `_written` wrote; earlier versions wrote the last seq of each term alone."""
    found: dict[int, int | list[Stretch]] = (
        msgspec.msgpack.decode(written, type=dict[int, int | list[Stretch]]) if written else {}
    )
    names = {term_id: term for term, term_id in terms.items()}
    holdings = Holdings()
    for term_id, stretches in found.items():
        if isinstance(stretches, int):
            low = record_id(term_id, 0)
            first = connection.execute(
                "SELECT min(record_id) FROM record WHERE record_id > ? AND record_id <= ?",
                (low, low + stretches),
            ).fetchone()[0]
            stretches = [] if first is None else [(split_record_id(first)[1], stretches)]
        for first, last in stretches:
            holdings.hold(names[term_id], first, last, EMPTY_DIGEST)
    return holdings


def _completed(connection: sqlite3.Connection, terms: dict[Term, int], known: Holdings) -> Holdings:
    """What a file holds: what it knew when it was flushed last, and what is there besides."""
    held = Holdings()
    for term, term_id in terms.items():
        holding = known.of(term)
        stretches = () if holding is None else holding.stretches
        for first, last in stretches:
            row = connection.execute(
                "SELECT digest FROM record WHERE record_id = ?", (record_id(term_id, last),)
            ).fetchone()
            held.hold(term, first, last, row[0] if row else EMPTY_DIGEST)
        for first, last in without([(1, _SEQ_MAX)], stretches):
            for row_id, digest in connection.execute(
                "SELECT record_id, digest FROM record WHERE record_id BETWEEN ? AND ?"
                " ORDER BY record_id",
                (record_id(term_id, first), record_id(term_id, last)),
            ):
                held.note(Position(term, split_record_id(row_id)[1]), digest)
    return held


def records_between(
    term_id: int, first: int, last: int, connection: sqlite3.Connection
) -> list[tuple[int, str, bytes]]:
    """(row number, kind, wire) of the first records of [first, last], in order."""
    return connection.execute(
        "SELECT record_id, kind, wire FROM record WHERE record_id BETWEEN ? AND ?"
        " ORDER BY record_id LIMIT ?",
        (record_id(term_id, first), record_id(term_id, last), _RECORDS_A_CALL),
    ).fetchall()


def digests_at(rows: Sequence[int], connection: sqlite3.Connection) -> dict[int, bytes]:
    """The digest of each of these row numbers."""
    sql = "SELECT digest FROM record WHERE record_id = ?"
    return {row: found[0] for row in rows if (found := connection.execute(sql, (row,)).fetchone())}


def digests_in(path: Path, rows: Sequence[int]) -> dict[int, bytes]:
    """The same of a file that is sealed. Raises sqlite3.Error."""
    connection = connect_reader(path)
    try:
        return digests_at(rows, connection)
    finally:
        connection.close()


def read_kept(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The kept records of a partition as rows of the state file."""
    rows = connection.execute(
        "SELECT t.number, t.node, t.nonce, r.record_id, r.kind, n.at_ns, r.wire, r.digest"
        " FROM note n JOIN record r ON r.record_id = n.record_id"
        f" JOIN term t ON t.term_id = r.record_id >> {SEQ_BITS}"
        " WHERE n.kind IN ('r', 'v', 'f', 'm', 'a', 's')"
    ).fetchall()
    return [(*row[:3], split_record_id(row[3])[1], *row[4:]) for row in rows]
