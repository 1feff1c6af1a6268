"""Reading records, coverage and events back: plain functions, run in a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.journal.coverage import Except, Lost, OwnRun, Run, cause_of
from gateway.journal.database import UNREADABLE, has_table
from gateway.journal.fills import Written
from gateway.journal.history import Files, FileView
from gateway.journal.kept import rank
from gateway.journal.records import EMPTY_DIGEST, Batch, Delivered, Event, Fill, chain, decode
from gateway.journal.schema import SEQ_BITS, named, nonce_text, record_id, split_record_id
from gateway.model import Position, Term

_CHUNK: Final = 2_000
_CHUNK_BYTES: Final = 8 * 1024 * 1024


class Declared(NamedTuple):
    """What the records say about a device's coverage."""

    scan_classes: list[str]
    runs: list[Run | OwnRun]
    holes: list[Except]
    losses: list[Lost]


def coverage(
    files: Files, views: Sequence[FileView], device: str, from_ns: int, to_ns: int
) -> Declared:
    """What was declared about a device for [from, to)."""
    classes: set[str] = set()
    runs: list[Run | OwnRun] = []
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
            runs += _own_runs(files, view, connection, device, from_ns, to_ns)
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
        except UNREADABLE as error:
            files.broken(view, error)
    return Declared(sorted(classes), runs, holes, losses)


def _own_runs(
    files: Files,
    view: FileView,
    connection: sqlite3.Connection,
    device: str,
    from_ns: int,
    to_ns: int,
) -> list[OwnRun]:
    """Of a device, in one file; a file that an earlier version sealed has no such table."""
    if not has_table(connection, "own_run"):
        return []
    return [
        OwnRun(files.term(view, term_id), revision, device, *rest)
        for term_id, revision, *rest in connection.execute(
            "SELECT term_id, revision, scan_class, from_ns, to_ns, since_ns, through_ns"
            " FROM own_run WHERE device = ? AND to_ns > ? AND min(since_ns, from_ns) < ?",
            (device, from_ns, to_ns),
        ).fetchall()
    ]


_FILLS: Final = (
    "SELECT f.record_id, r.wire, f.span, (SELECT count(*) FROM record b"
    " WHERE b.record_id BETWEEN f.record_id - f.span AND f.record_id - 1)"
    " FROM fill f JOIN record r ON r.record_id = f.record_id"
    " WHERE f.device = ? AND f.to_ns > ? AND f.from_ns < ?"
)


def fills(
    files: Files, views: Sequence[FileView], device: str, from_ns: int, to_ns: int
) -> list[Written]:
    """What was judged of a device for [from, to), by term and seq.

    Only what holds: a record whose samples are not all held (they are yet to be replicated, or
    are lost to damage or retention) tells nothing.
    """
    found: list[Written] = []
    for view in views:
        try:
            connection = files.open(view)
            if not has_table(connection, "fill"):
                continue
            for row_id, wire, span, here in connection.execute(
                _FILLS, (device, from_ns, to_ns)
            ).fetchall():
                term_id, seq = split_record_id(row_id)
                position = Position(files.term(view, term_id), seq)
                if here < span and _held(files, views, position, span) < span:
                    continue
                if isinstance(body := decode(wire), Fill):
                    found.append(Written(position, body))
        except UNREADABLE as error:
            files.broken(view, error)
    return sorted(found, key=lambda written: rank(written.position))


def _held(files: Files, views: Sequence[FileView], position: Position, span: int) -> int:
    """How many of the records before one are held, in whichever files."""
    count = 0
    for view in views:
        try:
            term_id = _term_id(files, view, position.term)
            if term_id is None:
                continue
            low = record_id(term_id, position.seq)
            counted = files.open(view).execute(
                "SELECT count(*) FROM record WHERE record_id BETWEEN ? AND ?", (low - span, low - 1)
            )
            count += counted.fetchone()[0]
        except UNREADABLE as error:  # of this file: the one with the Fill is another
            files.broken(view, error)
    return count


def events(
    files: Files, views: Sequence[FileView], from_ns: int, to_ns: int, limit: int
) -> list[Event]:
    """The events of [from, to), oldest first; those of the peer lie where they arrived."""
    found: list[tuple[int, bytes, FileView]] = []
    for view in views:
        try:
            rows = files.open(view).execute(
                "SELECT n.at_ns, r.wire FROM note n JOIN record r ON r.record_id = n.record_id"
                " WHERE n.kind = 'e' AND n.at_ns >= ? AND n.at_ns < ?"
                " ORDER BY n.at_ns, n.record_id LIMIT ?",
                (from_ns, to_ns, limit),
            )
            found += [(at_ns, wire, view) for at_ns, wire in rows]
        except UNREADABLE as error:
            files.broken(view, error)
    found.sort(key=lambda row: row[0])
    told: list[Event] = []
    for _, wire, view in found[:limit]:
        try:
            body = decode(wire)
        except UNREADABLE as error:
            files.broken(view, error)
            continue
        if isinstance(body, Event):
            told.append(body)
    return told


DELIVERIES_MAX: Final = 512
"""A feed tells all it delivered each 60 records (gateway/northbound/DESIGN.md)."""


def deliveries(files: Files, views: Sequence[FileView], feed: str) -> list[Delivered]:
    """What a feed last told, newest first, back to a record that tells all; [] if it told nothing.

    Of every file the newest DELIVERIES_MAX are looked at.
    """
    found: list[Delivered] = []
    for view in reversed(views):
        try:
            rows = (
                files.open(view)
                .execute(
                    "SELECT r.wire FROM note n JOIN record r ON r.record_id = n.record_id"
                    " WHERE n.kind = 'd' ORDER BY n.at_ns DESC, n.record_id DESC LIMIT ?",
                    (DELIVERIES_MAX,),
                )
                .fetchall()
            )
            for (wire,) in rows:
                body = decode(wire)
                if isinstance(body, Delivered) and body.feed == feed:
                    found.append(body)
                    if body.whole:
                        return found
        except UNREADABLE as error:
            files.broken(view, error)
    return found


def batch_at(files: Files, views: Sequence[FileView], position: Position) -> Batch | None:
    """The batch at a position; None where it isn't (damage took it, its sample was saved)."""
    for view in views:
        try:
            row = (
                files.open(view)
                .execute(
                    "SELECT r.wire FROM term t JOIN record r ON r.record_id = (t.term_id << :bits)"
                    " | :seq WHERE t.number = :number AND t.node = :node AND t.nonce = :nonce",
                    {"bits": SEQ_BITS, "seq": position.seq} | named(position.term),
                )
                .fetchone()
            )
            if row is not None:
                body = decode(row[0])
                return body if isinstance(body, Batch) else None
        except UNREADABLE as error:
            files.broken(view, error)
    return None


Piece = tuple[FileView, int, int]
"""A file, and the stretch [first, last] of a term's records that lies in it."""


def records(
    files: Files, pieces: Sequence[Piece], term: Term, limit: int, size_max: int
) -> list[tuple[int, bytes, bytes]]:
    """(seq, wire, digest) of a term's records in pieces that follow on one another, in order.

    At least one, however large; else at most `limit` and `size_max` bytes of wire.
    """
    found: list[tuple[int, bytes, bytes]] = []
    size = 0
    for view, first, last in pieces:
        try:
            term_id = _term_id(files, view, term)
            if term_id is None:
                raise ValueError(f"it has no term {term}")
            rows = files.open(view).execute(
                "SELECT record_id, wire, digest FROM record WHERE record_id BETWEEN ? AND ?"
                " ORDER BY record_id",
                (record_id(term_id, first), record_id(term_id, last)),
            )
            for row_id, wire, digest in rows:
                size += len(wire)
                if found and (len(found) >= limit or size > size_max):
                    return found
                found.append((split_record_id(row_id)[1], wire, digest))
        except UNREADABLE as error:
            files.broken(view, error)
            return found  # what follows would not follow on it
    return found


def verify(files: Files, pieces_of: Mapping[Term, Sequence[Sequence[Piece]]]) -> list[Position]:
    """The positions whose digest does not follow from the one before and the wire, or lacks one.

    The first record of a stretch can be checked only when it is the term's first.
    """
    wrong: list[Position] = []
    for term, stretches in pieces_of.items():
        for pieces in stretches:
            expected, end = pieces[0][1], pieces[-1][2]
            before = EMPTY_DIGEST if expected == 1 else None
            for seq, wire, digest in _walk(files, pieces, term):
                position = Position(term, seq)
                if seq != expected:
                    wrong.append(Position(term, expected))
                    before = None
                if before is not None and chain(before, position, wire) != digest:
                    wrong.append(position)
                before, expected = digest, seq + 1
            if expected != end + 1:
                wrong.append(Position(term, expected))
    return wrong


def _walk(files: Files, pieces: Sequence[Piece], term: Term) -> Iterator[tuple[int, bytes, bytes]]:
    for view, first, last in pieces:
        while first <= last:
            chunk = records(files, [(view, first, last)], term, _CHUNK, _CHUNK_BYTES)
            if not chunk:
                break
            yield from chunk
            first = chunk[-1][0] + 1


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
    """By which number a file calls a term; None if it has nothing of it."""
    row = (
        files.open(view)
        .execute(
            "SELECT term_id FROM term WHERE number = ? AND node = ? AND nonce = ?",
            (term.number, term.node, nonce_text(term)),
        )
        .fetchone()
    )
    return None if row is None else int(row[0])
