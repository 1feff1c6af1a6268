"""The tables of the journal, and what a set of records writes to them: a transaction as data.

`transaction(records, at_ns, state)` gives the statements and the state after them; whoever runs
them (the writer through aiosqlite, a simulation through sqlite3) takes the new state over once they
are committed, and keeps the old one if they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from gateway.journal.records import (
    KEPT,
    Audit,
    Batch,
    Behind,
    Coverage,
    Delivered,
    Event,
    Fact,
    Fill,
    Hole,
    Loss,
    Maintenance,
    Record,
    Revision,
    Role,
    Ruling,
)
from gateway.model import Term

Statement = tuple[str, list[tuple[Any, ...]]]
"""SQL and the rows to run it with, in order."""

SEQ_BITS: Final = 40

PARTITION_ADDED: Final = (
    # The classes that coverage records claimed in a stretch of their own (coverage.OwnRun).
    "CREATE TABLE IF NOT EXISTS own_run(own_run_id INTEGER PRIMARY KEY, term_id INTEGER NOT NULL,"
    " device TEXT NOT NULL, scan_class TEXT NOT NULL, revision INTEGER NOT NULL,"
    " from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, since_ns INTEGER NOT NULL,"
    " through_ns INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS own_run_by_device ON own_run(device, to_ns)",
    # What was judged against a device's log; the samples are in the `span` records before it.
    "CREATE TABLE IF NOT EXISTS fill(record_id INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, span INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS fill_by_device ON fill(device, to_ns)",
)
"""Tables of a partition that earlier versions did not have; sealed ones of theirs lack them."""
PARTITION_TABLES: Final = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE term(term_id INTEGER PRIMARY KEY, number INTEGER NOT NULL, node TEXT NOT NULL,"
    " nonce TEXT NOT NULL, UNIQUE(number, node, nonce))",
    # record_id = term_id << 40 | seq: appended at the end of the file, found without an index
    "CREATE TABLE record(record_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at_ns INTEGER NOT NULL,"
    " wire BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE note(at_ns INTEGER NOT NULL, record_id INTEGER NOT NULL, kind TEXT NOT NULL,"
    " PRIMARY KEY(at_ns, record_id)) WITHOUT ROWID",
    "CREATE TABLE run(run_id INTEGER PRIMARY KEY, term_id INTEGER NOT NULL,"
    " revision INTEGER NOT NULL, since_ns INTEGER NOT NULL, through_ns INTEGER NOT NULL)",
    "CREATE TABLE hole(hole_id INTEGER PRIMARY KEY, term_id INTEGER NOT NULL, device TEXT NOT NULL,"
    " scan_class TEXT NOT NULL, cause TEXT NOT NULL, from_ns INTEGER NOT NULL,"
    " to_ns INTEGER NOT NULL)",
    "CREATE INDEX hole_by_device ON hole(device, to_ns)",
    "CREATE TABLE scan(device TEXT NOT NULL, scan_class TEXT NOT NULL,"
    " PRIMARY KEY(device, scan_class)) WITHOUT ROWID",
    "CREATE TABLE loss(record_id INTEGER PRIMARY KEY, from_ns INTEGER NOT NULL,"
    " to_ns INTEGER NOT NULL, cause TEXT NOT NULL)",
    "CREATE TABLE point(point_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE segment(segment_id INTEGER PRIMARY KEY, point_id INTEGER NOT NULL,"
    " term_id INTEGER NOT NULL, origin INTEGER NOT NULL, first_ns INTEGER NOT NULL,"
    " last_ns INTEGER NOT NULL, columns BLOB NOT NULL)",
    "CREATE INDEX segment_by_point ON segment(point_id, last_ns, first_ns)",
    *PARTITION_ADDED,
)
STATE_TABLES: Final = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE term(number INTEGER NOT NULL, node TEXT NOT NULL, nonce TEXT NOT NULL,"
    " opened_ns INTEGER NOT NULL, PRIMARY KEY(number, node, nonce)) WITHOUT ROWID",
    "CREATE TABLE kept(number INTEGER NOT NULL, node TEXT NOT NULL, nonce TEXT NOT NULL,"
    " seq INTEGER NOT NULL, kind TEXT NOT NULL, at_ns INTEGER NOT NULL, wire BLOB NOT NULL,"
    " digest BLOB NOT NULL, PRIMARY KEY(number, node, nonce, seq))",
    "CREATE INDEX kept_by_kind ON kept(kind, at_ns)",
)
STATE_ADDED: Final = (
    # Retention let go of everything up to `seq` of a term.
    "CREATE TABLE IF NOT EXISTS dropped(number INTEGER NOT NULL, node TEXT NOT NULL,"
    " nonce TEXT NOT NULL, seq INTEGER NOT NULL, at_ns INTEGER NOT NULL,"
    " PRIMARY KEY(number, node, nonce)) WITHOUT ROWID",
    # Records that came with the position of another one.
    "CREATE TABLE IF NOT EXISTS conflict(number INTEGER NOT NULL, node TEXT NOT NULL,"
    " nonce TEXT NOT NULL, seq INTEGER NOT NULL, digest BLOB NOT NULL, wire BLOB NOT NULL,"
    " at_ns INTEGER NOT NULL, PRIMARY KEY(number, node, nonce, seq, digest))",
)
"""Tables of the state file that earlier versions did not have."""

KINDS: Final[dict[type, str]] = {
    Batch: "b",
    Coverage: "c",
    Role: "r",
    Revision: "v",
    Fact: "f",
    Maintenance: "m",
    Audit: "a",
    Event: "e",
    Loss: "l",
    Ruling: "s",
    Fill: "w",
    Delivered: "d",
}
KEPT_KINDS: Final = tuple(KINDS[kind] for kind in KEPT)

INSERT_RECORD: Final = "INSERT INTO record VALUES(?,?,?,?,?)"
INSERT_META: Final = "INSERT OR REPLACE INTO meta VALUES(?,?)"
INSERT_SEGMENT: Final = "INSERT INTO segment VALUES(?,?,?,?,?,?,?)"
INSERT_POINT: Final = "INSERT INTO point VALUES(?,?)"
INSERT_DROPPED: Final = "INSERT OR REPLACE INTO dropped VALUES(?,?,?,?,?)"
INSERT_CONFLICT: Final = "INSERT OR IGNORE INTO conflict VALUES(?,?,?,?,?,?,?)"
_INSERT_KEPT: Final = "INSERT OR IGNORE INTO kept VALUES(?,?,?,?,?,?,?,?)"
_INSERT_NOTE: Final = "INSERT INTO note VALUES(?,?,?)"
_INSERT_RUN: Final = "INSERT OR REPLACE INTO run VALUES(?,?,?,?,?)"
_INSERT_HOLE: Final = "INSERT OR REPLACE INTO hole VALUES(?,?,?,?,?,?,?)"
_INSERT_OWN_RUN: Final = "INSERT OR REPLACE INTO own_run VALUES(?,?,?,?,?,?,?,?,?)"
INSERT_SCAN: Final = "INSERT OR IGNORE INTO scan VALUES(?,?)"
_INSERT_LOSS: Final = "INSERT INTO loss VALUES(?,?,?,?)"
_INSERT_FILL: Final = "INSERT INTO fill VALUES(?,?,?,?,?)"
INSERT_TERM: Final = "INSERT INTO term VALUES(?,?,?,?)"


class OpenRun(NamedTuple):
    """The run of coverage that the next record of its term may extend."""

    run_id: int
    revision: int
    since_ns: int
    through_ns: int


class OpenHole(NamedTuple):
    """A hole that the next coverage record of its term may extend."""

    hole_id: int
    from_ns: int
    to_ns: int


class OpenOwnRun(NamedTuple):
    """A class's own run that the next coverage record of its term may extend."""

    own_run_id: int
    revision: int
    from_ns: int
    to_ns: int
    since_ns: int
    through_ns: int


HoleKey = tuple[int, str, str, str]
"""(term_id, device, scan class, cause)."""
OwnKey = tuple[int, str, str]
"""(term_id, device, scan class)."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What a transaction must know of its partition: ids, and the rows that may be extended.

    Bounded by what is configured: terms of a day, device x scan class x cause.
    """

    terms: dict[Term, int] = field(default_factory=dict)
    runs: dict[int, OpenRun] = field(default_factory=dict)
    holes: dict[HoleKey, OpenHole] = field(default_factory=dict)
    own_runs: dict[OwnKey, OpenOwnRun] = field(default_factory=dict)
    scans: frozenset[tuple[str, str]] = frozenset()
    next_run: int = 1
    next_hole: int = 1
    next_own_run: int = 1


def record_id(term_id: int, seq: int) -> int:
    """The row number of a record: ordered by term, then seq."""
    return term_id << SEQ_BITS | seq


def split_record_id(row: int) -> tuple[int, int]:
    """(term_id, seq) of a record's row number."""
    return row >> SEQ_BITS, row & (1 << SEQ_BITS) - 1


def nonce_text(term: Term) -> str:
    """A nonce as text: it has 64 bits, and SQLite's integers have a sign."""
    return f"{term.nonce:016x}"


def named(term: Term) -> dict[str, int | str]:
    """A term as the parameters of a statement: number, node, nonce."""
    return {"number": term.number, "node": term.node, "nonce": nonce_text(term)}


def transaction(
    records: Sequence[Record], at_ns: int, state: PartitionState
) -> tuple[list[Statement], PartitionState]:
    """What `records` (in order of seq within each term) write, and the state after the commit."""
    work = _Work(state)
    for record in records:
        term_id = work.term(record.position.term)
        work.add(record, record_id(term_id, record.position.seq), term_id, at_ns)
    return work.statements(), work.state()


def kept_statements(records: Sequence[Record]) -> list[Statement]:
    """The copy of the kept kinds into the state file; repeating it changes nothing."""
    rows = [
        kept_row(
            r.position.term, r.position.seq, KINDS[type(r.body)], r.body.at_ns, r.wire, r.digest
        )
        for r in records
        if isinstance(r.body, KEPT)
    ]
    return [(_INSERT_KEPT, rows)] if rows else []


def kept_row(
    term: Term, seq: int, kind: str, at_ns: int, wire: bytes, digest: bytes
) -> tuple[Any, ...]:
    """A row of the state file's `kept` table."""
    return (term.number, term.node, nonce_text(term), seq, kind, at_ns, wire, digest)


def kept_rows_statement(rows: list[tuple[Any, ...]]) -> Statement:
    """The same for rows that were read back from a partition."""
    return _INSERT_KEPT, rows


class _Work:
    """The rows of one transaction, gathered table by table."""

    def __init__(self, state: PartitionState) -> None:
        self._old = state
        self._terms = dict(state.terms)
        self._runs = dict(state.runs)
        self._holes = dict(state.holes)
        self._own_runs = dict(state.own_runs)
        self._scans: set[tuple[str, str]] = set()
        self._next_run = state.next_run
        self._next_hole = state.next_hole
        self._next_own_run = state.next_own_run
        self._rows: dict[str, list[tuple[Any, ...]]] = {INSERT_TERM: [], INSERT_RECORD: []}
        self._changed_runs: set[int] = set()
        self._changed_holes: set[HoleKey] = set()
        self._changed_own_runs: set[OwnKey] = set()

    def term(self, term: Term) -> int:
        term_id = self._terms.get(term)
        if term_id is None:
            term_id = self._terms[term] = len(self._terms) + 1
            self._rows[INSERT_TERM].append((term_id, term.number, term.node, nonce_text(term)))
        return term_id

    def add(self, record: Record, row_id: int, term_id: int, at_ns: int) -> None:
        body = record.body
        kind = KINDS[type(body)]
        self._rows[INSERT_RECORD].append((row_id, kind, at_ns, record.wire, record.digest))
        if isinstance(body, Batch):
            self._see(body.device, body.scan_class)
        elif isinstance(body, Coverage):
            self._cover(term_id, body)
        else:
            # By the record's own time, which is the same on both nodes; Loss alone has none.
            noted_ns = at_ns if isinstance(body, Loss) else body.at_ns
            self._rows.setdefault(_INSERT_NOTE, []).append((noted_ns, row_id, kind))
            if isinstance(body, Loss):
                row = (row_id, body.from_ns, body.to_ns, body.cause)
                self._rows.setdefault(_INSERT_LOSS, []).append(row)
            elif isinstance(body, Fill):
                self._see(body.device, body.scan_class)
                told = (row_id, body.device, body.from_ns, body.to_ns, body.span)
                self._rows.setdefault(_INSERT_FILL, []).append(told)

    def _see(self, device: str, scan_class: str) -> None:
        if (device, scan_class) not in self._old.scans:
            self._scans.add((device, scan_class))

    def _cover(self, term_id: int, body: Coverage) -> None:
        run = self._runs.get(term_id)
        if (
            run is not None
            and run.revision == body.revision
            and run.since_ns <= body.since_ns <= run.through_ns
        ):
            through_ns = max(run.through_ns, body.through_ns)
            self._runs[term_id] = run._replace(through_ns=through_ns)
            self._changed_runs.add(term_id)
        elif body.through_ns > body.since_ns:
            self._flush_run(term_id)
            self._runs[term_id] = OpenRun(
                self._next_run, body.revision, body.since_ns, body.through_ns
            )
            self._next_run += 1
            self._changed_runs.add(term_id)
        for hole in body.holes:
            self._except(term_id, hole)
        for own in body.behind:
            self._own(term_id, body, own)

    def _own(self, term_id: int, body: Coverage, own: Behind) -> None:
        self._see(own.device, own.scan_class)
        key = (term_id, own.device, own.scan_class)
        known = self._own_runs.get(key)
        if (
            known is not None
            and known.revision == body.revision
            and known.from_ns <= body.since_ns <= known.to_ns
            and known.since_ns <= own.since_ns <= known.through_ns
        ):
            self._own_runs[key] = known._replace(
                to_ns=max(known.to_ns, body.through_ns),
                through_ns=max(known.through_ns, own.through_ns),
            )
        else:
            self._flush_own_run(key)
            stretches = (body.since_ns, body.through_ns, own.since_ns, own.through_ns)
            self._own_runs[key] = OpenOwnRun(self._next_own_run, body.revision, *stretches)
            self._next_own_run += 1
        self._changed_own_runs.add(key)

    def _except(self, term_id: int, hole: Hole) -> None:
        self._see(hole.device, hole.scan_class)
        if hole.to_ns <= hole.from_ns:
            return
        key = (term_id, hole.device, hole.scan_class, hole.cause)
        known = self._holes.get(key)
        if known is not None and known.from_ns <= hole.from_ns <= known.to_ns:
            if hole.to_ns > known.to_ns:
                self._holes[key] = known._replace(to_ns=hole.to_ns)
                self._changed_holes.add(key)
            return
        self._flush_hole(key)
        self._holes[key] = OpenHole(self._next_hole, hole.from_ns, hole.to_ns)
        self._next_hole += 1
        self._changed_holes.add(key)

    def _flush_run(self, term_id: int) -> None:
        if term_id in self._changed_runs:
            run = self._runs[term_id]
            row = (run.run_id, term_id, run.revision, run.since_ns, run.through_ns)
            self._rows.setdefault(_INSERT_RUN, []).append(row)
            self._changed_runs.discard(term_id)

    def _flush_hole(self, key: HoleKey) -> None:
        if key in self._changed_holes:
            hole = self._holes[key]
            row = (hole.hole_id, *key, hole.from_ns, hole.to_ns)
            self._rows.setdefault(_INSERT_HOLE, []).append(row)
            self._changed_holes.discard(key)

    def _flush_own_run(self, key: OwnKey) -> None:
        if key in self._changed_own_runs:
            number, *rest = self._own_runs[key]
            self._rows.setdefault(_INSERT_OWN_RUN, []).append((number, *key, *rest))
            self._changed_own_runs.discard(key)

    def statements(self) -> list[Statement]:
        for term_id in sorted(self._changed_runs):
            self._flush_run(term_id)
        for key in sorted(self._changed_holes):
            self._flush_hole(key)
        for own_key in sorted(self._changed_own_runs):
            self._flush_own_run(own_key)
        if self._scans:
            self._rows[INSERT_SCAN] = sorted(self._scans)
        return [(sql, rows) for sql, rows in self._rows.items() if rows]

    def state(self) -> PartitionState:
        return replace(
            self._old,
            terms=self._terms,
            runs=self._runs,
            holes=self._holes,
            own_runs=self._own_runs,
            scans=self._old.scans | self._scans if self._scans else self._old.scans,
            next_run=self._next_run,
            next_hole=self._next_hole,
            next_own_run=self._next_own_run,
        )
