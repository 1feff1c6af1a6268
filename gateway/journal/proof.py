"""What a copy of a journal holds, proven by its digests: read only, by nobody but `sqlite3`.

The files of a copy are closed ones: whoever proves them opens no WAL and writes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from gateway.journal.partitions import parse_file_name
from gateway.journal.records import EMPTY_DIGEST, chain
from gateway.journal.schema import split_record_id
from gateway.journal.state import FILE_NAME
from gateway.model import Position, Term

FOLDER = "journal"


class Run(NamedTuple):
    """Records [first, last] of a term that follow on one another; `start` is the first one."""

    first: int
    last: int
    start: tuple[bytes, bytes]
    digest: bytes


class Proof(NamedTuple):
    """Term -> its stretches (first, last, digest of the last), and what does not follow."""

    terms: dict[str, list[tuple[int, int, str]]]
    records: int
    wrong: list[str]


def files_of(folder: Path) -> list[Path]:
    """The files of a copy in the order in which they were written, the state file last."""
    known = [
        (key, p) for p in (folder / FOLDER).glob("*.sqlite") if (key := parse_file_name(p.name))
    ]
    return [*(path for _, path in sorted(known)), folder / FILE_NAME]


def prove(folder: Path) -> Proof:
    """Compute every chain of a copy anew. Raises sqlite3.Error, OSError."""
    runs: dict[Term, list[Run]] = {}
    wrong: list[str] = []
    *partitions, state = files_of(folder)
    for path in partitions:
        with closing(_open(path)) as connection:
            for term_id, number, node, nonce in connection.execute(
                "SELECT term_id, number, node, nonce FROM term"
            ).fetchall():
                term = Term(number, node, int(nonce, 16))
                runs.setdefault(term, []).extend(_runs(connection, term_id, term, wrong))
    with closing(_open(state)) as connection:
        connection.execute("SELECT count(*) FROM kept").fetchone()
    terms = {str(term): _joined(term, found, wrong) for term, found in sorted(runs.items())}
    count = sum(last - first + 1 for found in terms.values() for first, last, _ in found)
    return Proof({term: found for term, found in terms.items() if found}, count, wrong)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _runs(
    connection: sqlite3.Connection, term_id: int, term: Term, wrong: list[str]
) -> Iterator[Run]:
    """The runs of a term in one file, each record checked against the one before it."""
    run: Run | None = None
    for row_id, wire, digest in connection.execute(
        "SELECT record_id, wire, digest FROM record WHERE record_id >> 40 = ? ORDER BY record_id",
        (term_id,),
    ):
        seq = split_record_id(row_id)[1]
        if run is not None and seq == run.last + 1:
            if chain(run.digest, Position(term, seq), wire) != digest:
                wrong.append(str(Position(term, seq)))
            run = run._replace(last=seq, digest=digest)
            continue
        if run is not None:
            yield run
        run = Run(seq, seq, (wire, digest), digest)
    if run is not None:
        yield run


def _joined(term: Term, runs: list[Run], wrong: list[str]) -> list[tuple[int, int, str]]:
    """The stretches of a term over all files; where runs touch, the chain must hold, too."""
    found: list[tuple[int, int, str]] = []
    before, end = EMPTY_DIGEST, 0
    for run in sorted(runs):
        wire, digest = run.start
        if run.first == end + 1:
            if chain(before, Position(term, run.first), wire) != digest:
                wrong.append(str(Position(term, run.first)))
            if found:
                found[-1] = (found[-1][0], run.last, run.digest.hex())
            else:
                found.append((run.first, run.last, run.digest.hex()))
        elif run.first <= end:
            wrong.append(str(Position(term, run.first)))
            continue
        else:
            found.append((run.first, run.last, run.digest.hex()))
        before, end = run.digest, run.last
    return found
