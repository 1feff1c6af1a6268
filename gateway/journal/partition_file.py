"""One partition's file: what it says of itself when opened, and how tails become segments in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.journal.columns import Columns, pack
from gateway.journal.database import Database, connect_reader, execute
from gateway.journal.partitions import PartitionKey
from gateway.journal.schema import (
    INSERT_META,
    INSERT_POINT,
    INSERT_SEGMENT,
    INSERT_TERM,
    SEQ_BITS,
    PartitionState,
    Statement,
    nonce_text,
    split_record_id,
)
from gateway.journal.tail import Piece, TailSet
from gateway.model import Term


class Loaded(NamedTuple):
    """What a partition's file says of itself when it is opened."""

    state: PartitionState
    points: dict[str, int]
    flushed: dict[Term, int]
    segments: int
    span: tuple[int, int] | None
    sealed: bool
    begun_ns: int | None
    latest_ns: int


@dataclass(slots=True)
class Partition:
    """One file. `database` is None once it is sealed: complete, closed, read-only."""

    key: PartitionKey
    path: Path
    database: Database | None
    state: PartitionState
    points: dict[str, int]
    flushed: dict[Term, int]
    segments: int
    span: tuple[int, int] | None
    begun_ns: int
    live: TailSet = field(default_factory=TailSet)
    frozen: TailSet | None = None


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
            self.flushed = {**partition.flushed, **partition.frozen.seqs}
            for term in self.flushed:
                self._number(terms, term)
        self.state = PartitionState(
            terms,
            partition.state.runs,
            partition.state.holes,
            partition.state.scans,
            partition.state.next_run,
            partition.state.next_hole,
        )
        self._meta = self._meta_rows(terms) if last else []

    def _number(self, terms: dict[Term, int], term: Term) -> int:
        term_id = terms.get(term)
        if term_id is None:
            term_id = terms[term] = len(terms) + 1
            row = (term_id, term.number, term.node, nonce_text(term))
            self._head.append((INSERT_TERM, [row]))
        return term_id

    def _meta_rows(self, terms: dict[Term, int]) -> list[tuple[Any, ...]]:
        flushed = {terms[term]: seq for term, seq in self.flushed.items()}
        rows: list[tuple[Any, ...]] = [
            ("flushed", msgspec.msgpack.encode(flushed)),
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


def load_sealed(path: Path) -> Loaded | None:
    """What a sealed file says of itself; None if it isn't sealed. Raises sqlite3.Error."""
    connection = connect_reader(path)
    try:
        sealed = connection.execute("SELECT value FROM meta WHERE key = 'sealed'").fetchone()
        return load(connection) if sealed else None
    finally:
        connection.close()


def load(connection: sqlite3.Connection) -> Loaded:
    """Read what a partition says of itself; an unfinished flush is taken back."""
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    terms = {
        Term(number, node, int(nonce, 16)): term_id
        for term_id, number, node, nonce in connection.execute("SELECT * FROM term").fetchall()
    }
    names = {term_id: term for term, term_id in terms.items()}
    segments = meta.get("segments", 0)
    if connection.execute(
        "SELECT 1 FROM segment WHERE segment_id > ? LIMIT 1", (segments,)
    ).fetchone():
        connection.execute("DELETE FROM segment WHERE segment_id > ?", (segments,))
    (runs,) = connection.execute("SELECT coalesce(max(run_id), 0) FROM run").fetchone()
    (holes,) = connection.execute("SELECT coalesce(max(hole_id), 0) FROM hole").fetchone()
    scans = frozenset(connection.execute("SELECT device, scan_class FROM scan").fetchall())
    latest_ns = meta.get("begun_ns", 0)
    for term_id in names:
        row = connection.execute(
            "SELECT at_ns FROM record WHERE record_id < ? ORDER BY record_id DESC LIMIT 1",
            ((term_id + 1) << SEQ_BITS,),
        ).fetchone()
        latest_ns = max(latest_ns, row[0] if row else 0)
    flushed: dict[int, int] = (
        msgspec.msgpack.decode(meta["flushed"], type=dict[int, int]) if "flushed" in meta else {}
    )
    return Loaded(
        PartitionState(terms, {}, {}, scans, runs + 1, holes + 1),
        dict(connection.execute("SELECT name, point_id FROM point").fetchall()),
        {names[term_id]: seq for term_id, seq in flushed.items()},
        segments,
        (meta["first_ns"], meta["last_ns"]) if "first_ns" in meta else None,
        bool(meta.get("sealed")),
        meta.get("begun_ns"),
        latest_ns,
    )


def last_record(low: int, high: int, connection: sqlite3.Connection) -> tuple[int, bytes] | None:
    """(row number, digest) of the last record between two row numbers, or None."""
    row: tuple[int, bytes] | None = connection.execute(
        "SELECT record_id, digest FROM record WHERE record_id > ? AND record_id < ?"
        " ORDER BY record_id DESC LIMIT 1",
        (low, high),
    ).fetchone()
    return row


def read_kept(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The kept records of a partition as rows of the state file."""
    rows = connection.execute(
        "SELECT t.number, t.node, t.nonce, r.record_id, r.kind, r.at_ns, r.wire, r.digest"
        " FROM note n JOIN record r ON r.record_id = n.record_id"
        f" JOIN term t ON t.term_id = r.record_id >> {SEQ_BITS}"
        " WHERE n.kind IN ('r', 'v', 'f', 'm', 'a')"
    ).fetchall()
    return [(*row[:3], split_record_id(row[3])[1], *row[4:]) for row in rows]
