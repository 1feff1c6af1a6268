"""The revisions of a journal that may be closed or in use by a node: read, never written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.journal.kept import Head, KeptState
from gateway.journal.records import Revision
from gateway.journal.state import FILE_NAME, KEPT_COLUMNS, kept_record


def revisions_in(data_dir: Path) -> tuple[Head | None, list[Revision]]:
    """The head, which a node with this data_dir runs or will run, and all revisions, oldest first.

    None and an empty list where nobody can tell.
    """
    path = data_dir / FILE_NAME
    kept, found = KeptState(), list[Revision]()
    if not path.is_file():
        return None, found
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                f"SELECT {KEPT_COLUMNS} FROM kept WHERE kind IN ('v', 's')"
                " ORDER BY number, nonce, seq"
            ).fetchall()
    except sqlite3.Error:  # of another version, or damaged: the node itself will say so
        return None, found
    for row in rows:
        position, body = kept_record(row)
        if body is not None:
            kept.apply(position, body, row[-1])
        if isinstance(body, Revision):
            found.append(body)
    return kept.head, found
