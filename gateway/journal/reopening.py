"""A partition's file is opened again: what it says of itself, and what the start needs of it.

Above a size SQLite does not check a file as a whole. So all that is read of it at once is read
here, where damage is known for what it is; and once, since a takeover waits for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from gateway.journal.database import (
    Database,
    Emptied,
    connect_reader,
    execute,
    has_table,
    open_writer,
)
from gateway.journal.partition_file import Loaded, load, read_kept
from gateway.journal.schema import PARTITION_ADDED, PARTITION_TABLES


async def open_partition(
    path: Path, with_kept: bool
) -> tuple[Database | None, Loaded, list[tuple[Any, ...]]]:
    """Open a file, for writing unless it is sealed, with what it says and its kept records.

    Kept records are read of files that aren't sealed, if they are asked for. Raises what is in
    UNREADABLE; nothing is open then.
    """
    loaded = await asyncio.to_thread(_load_sealed, path)
    if loaded is not None:
        return None, loaded, []

    def work(connection: sqlite3.Connection) -> tuple[Loaded, list[tuple[Any, ...]]]:
        execute(connection, [(sql, [()]) for sql in PARTITION_ADDED])
        return load(connection), read_kept(connection) if with_kept else []

    database = await open_writer(path, PARTITION_TABLES, "NORMAL")
    try:
        return database, *await database.run(work)
    except BaseException:  # a connection left behind would hang the exit for ever
        await database.close()
        raise


def _load_sealed(path: Path) -> Loaded | None:
    """What a sealed file says of itself; None if it isn't sealed. Raises sqlite3.Error."""
    connection = connect_reader(path)
    try:
        if not has_table(connection, "meta"):  # all tables are made at once
            raise Emptied(f"{path.name} is empty: its disk lost what it held")
        sealed = connection.execute("SELECT value FROM meta WHERE key = 'sealed'").fetchone()
        return load(connection) if sealed else None
    finally:
        connection.close()
