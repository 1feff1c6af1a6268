"""A node's journal as its files hold it: read-only SQLite, nothing of the gateway's own reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from hil.judges_journal import Journal, Where

SEQ_BITS: Final = 40
"""A record's id is its term's number in the file, then so many bits of its position."""
_RECORDS: Final = (
    "SELECT t.number, t.node, t.nonce, r.record_id, r.digest, r.at_ns FROM record r"
    " JOIN term t ON t.term_id = r.record_id >> :bits"
)
_KEPT: Final = "SELECT number, node, nonce, seq, digest, at_ns FROM kept"


def read_journal(data: Path) -> Journal:
    """All records of a node's data folder, while it runs or not.

    Raises sqlite3.Error; FileNotFoundError when there is no partition: what `state.sqlite` keeps
    beside them is no journal.
    """
    records: dict[Where, set[bytes]] = {}
    at_ns: dict[Where, int] = {}
    for where, digest, when_ns in _all(data):
        records.setdefault(where, set()).add(digest)
        at_ns[where] = when_ns
    with closing(_open(data / "state.sqlite")) as state:
        (conflicts,) = state.execute("SELECT count(*) FROM conflict").fetchone()
    return Journal({w: frozenset(own) for w, own in records.items()}, at_ns, conflicts)


def _all(data: Path) -> Iterator[tuple[Where, bytes, int]]:
    mask = (1 << SEQ_BITS) - 1
    partitions = sorted((data / "journal").glob("*.sqlite"))
    if not partitions:
        raise FileNotFoundError(f"{data / 'journal'} holds no partition of the journal")
    for path in partitions:
        with closing(_open(path)) as file:
            rows = file.execute(_RECORDS, {"bits": SEQ_BITS})
            for number, node, nonce, record, digest, when_ns in rows:
                yield (number, node, nonce, record & mask), bytes(digest), when_ns
    with closing(_open(data / "state.sqlite")) as state:
        for number, node, nonce, seq, digest, when_ns in state.execute(_KEPT):
            yield (number, node, nonce, seq), bytes(digest), when_ns


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
