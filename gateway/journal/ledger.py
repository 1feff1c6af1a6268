"""Reading records, coverage and events back: plain functions, run in a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.journal.coverage import Except, Lost, Run, cause_of
from gateway.journal.history import Files
from gateway.journal.records import EMPTY_DIGEST, Event, chain, decode
from gateway.journal.schema import SEQ_BITS, split_record_id
from gateway.journal.shelf import FileView
from gateway.model import Position, Term

_CHUNK: Final = 2_000


class Standing(NamedTuple):
    """What is held of a term: [floor, last] without a hole, and the digest of `last`."""

    floor: int
    last: int
    digest: bytes


class Declared(NamedTuple):
    """What the records say about a device's coverage."""

    scan_classes: list[str]
    runs: list[Run]
    holes: list[Except]
    losses: list[Lost]


def coverage(
    files: Files, views: Sequence[FileView], device: str, from_ns: int, to_ns: int
) -> Declared:
    """What was declared about a device for [from, to)."""
    classes: set[str] = set()
    runs: list[Run] = []
    holes: list[Except] = []
    losses: list[Lost] = []
    for view in views:
        try:
            connection = files.open(view)
            classes.update(
                row[0]
                for row in connection.execute(
                    "SELECT scan_class FROM scan WHERE device = ? AND scan_class <> ''", (device,)
                )
            )
            for term_id, revision, since_ns, through_ns in connection.execute(
                "SELECT term_id, revision, since_ns, through_ns FROM run"
                " WHERE through_ns > ? AND since_ns < ?",
                (from_ns, to_ns),
            ).fetchall():
                runs.append(Run(files.term(view, term_id), revision, since_ns, through_ns))
            for term_id, scan_class, cause, start_ns, end_ns in connection.execute(
                "SELECT term_id, scan_class, cause, from_ns, to_ns FROM hole"
                " WHERE device = ? AND to_ns > ? AND from_ns < ?",
                (device, from_ns, to_ns),
            ).fetchall():
                term = files.term(view, term_id)
                holes.append(Except(term, device, scan_class, cause_of(cause), start_ns, end_ns))
            losses += [
                Lost(cause_of(cause), start_ns, end_ns)
                for cause, start_ns, end_ns in connection.execute(
                    "SELECT cause, from_ns, to_ns FROM loss WHERE to_ns > ? AND from_ns < ?",
                    (from_ns, to_ns),
                ).fetchall()
            ]
        except (sqlite3.Error, ValueError) as error:
            files.broken(view, str(error))
    return Declared(sorted(classes), runs, holes, losses)


def events(
    files: Files, views: Sequence[FileView], from_ns: int, to_ns: int, limit: int
) -> list[Event]:
    """The events stored in [from, to), oldest first."""
    found: list[Event] = []
    for view in views:
        if len(found) >= limit:
            break
        try:
            rows = (
                files.open(view)
                .execute(
                    "SELECT r.wire FROM note n JOIN record r ON r.record_id = n.record_id"
                    " WHERE n.kind = 'e' AND n.at_ns >= ? AND n.at_ns < ?"
                    " ORDER BY n.at_ns, n.record_id LIMIT ?",
                    (from_ns, to_ns, limit - len(found)),
                )
                .fetchall()
            )
        except sqlite3.Error as error:
            files.broken(view, str(error))
            continue
        found += [body for (wire,) in rows if isinstance(body := decode(wire), Event)]
    return found


def records(
    files: Files, views: Sequence[FileView], term: Term, from_seq: int, limit: int
) -> list[tuple[int, bytes, bytes]]:
    """(seq, wire, digest) of a term's records from a seq on, in order, over all files."""
    found: list[tuple[int, bytes, bytes]] = []
    for view in views:
        term_id = _term_id(files, view, term)
        if term_id is None or len(found) >= limit:
            continue
        rows = (
            files.open(view)
            .execute(
                "SELECT record_id, wire, digest FROM record WHERE record_id >= ? AND record_id < ?"
                " ORDER BY record_id LIMIT ?",
                (term_id << SEQ_BITS | from_seq, (term_id + 1) << SEQ_BITS, limit - len(found)),
            )
            .fetchall()
        )
        found += [(split_record_id(row)[1], wire, digest) for row, wire, digest in rows]
    return found


def vector(files: Files, views: Sequence[FileView]) -> dict[Term, Standing]:
    """What is held of each term: the last stretch without a hole, over all files."""
    standings: dict[Term, Standing] = {}
    for view in views:
        connection = files.open(view)
        for (term_id,) in connection.execute("SELECT term_id FROM term").fetchall():
            term = files.term(view, term_id)
            bounds = (term_id << SEQ_BITS, (term_id + 1) << SEQ_BITS)
            first, last = connection.execute(
                "SELECT (SELECT min(record_id) FROM record WHERE record_id > ? AND record_id < ?),"
                " (SELECT max(record_id) FROM record WHERE record_id > ? AND record_id < ?)",
                bounds * 2,
            ).fetchone()
            if first is None:
                continue
            (digest,) = connection.execute(
                "SELECT digest FROM record WHERE record_id = ?", (last,)
            ).fetchone()
            floor, end = split_record_id(first)[1], split_record_id(last)[1]
            known = standings.get(term)
            if known is not None and known.last + 1 == floor:
                floor = known.floor
            standings[term] = Standing(floor, end, digest)
    return standings


def verify(files: Files, views: Sequence[FileView]) -> list[Position]:
    """The positions whose digest does not follow from the one before and the wire, or lacks one.

    The first record that is held of a term can be checked only when it is the term's first.
    """
    wrong: list[Position] = []
    for term, standing in vector(files, views).items():
        before: bytes | None = EMPTY_DIGEST
        expected = 1
        while chunk := records(files, views, term, expected, _CHUNK):
            for seq, wire, digest in chunk:
                position = Position(term, seq)
                if seq != expected:
                    before = None
                    if seq > standing.floor:
                        wrong.append(Position(term, expected))
                if before is not None and chain(before, position, wire) != digest:
                    wrong.append(position)
                before, expected = digest, seq + 1
    return wrong


def backup(
    files: Files, views: Sequence[FileView], state: sqlite3.Connection, target: Path
) -> None:
    """Copy every file into `target` as a node's data_dir would have it. Raises sqlite3.Error."""
    folder = target / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    sources = [(files.open(view), folder / view.path.name) for view in views]
    for source, path in [*sources, (state, target / "state.sqlite")]:
        copy = sqlite3.connect(path)
        try:
            source.backup(copy)
        finally:
            copy.close()


def _term_id(files: Files, view: FileView, term: Term) -> int | None:
    row = (
        files.open(view)
        .execute(
            "SELECT term_id FROM term WHERE number = ? AND node = ? AND nonce = ?",
            (term.number, term.node, f"{term.nonce:016x}"),
        )
        .fetchone()
    )
    return None if row is None else row[0]
