"""SQLite files: opened as the journal needs them, one thread hop a transaction, and their faults.

One connection writes and checkpoints each file, readers are read-only: with that the WAL-reset bug
of SQLite before 3.51.3 can't be reached.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import aiosqlite

from gateway.errors import UNDECODABLE
from gateway.journal.schema import Statement

T = TypeVar("T")
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_QUICK_CHECK_MAX_BYTES: Final = 64 * 1024 * 1024
_READER_TIMEOUT_S: Final = 2.0
_WRITER_TIMEOUT_S: Final = 0.1  # nobody else writes: only a checkpoint ever waits, for a reader
_SUFFIXES: Final = ("", "-wal", "-shm")
_WAL_PAGES: Final = 1000
_THREAD_END_S: Final = 5.0
_NO_TEXT: Final = "Could not decode to UTF-8"
"""What Python says of a TEXT cell, without a code of SQLite, whose check finds no fault there."""
UNREADABLE: Final = (sqlite3.Error, LookupError, TypeError, ValueError, *UNDECODABLE)
"""What reading a file raises: SQLite's errors, and what its rows raise when they can't be ours."""


class Damaged(sqlite3.DatabaseError):
    """A file that SQLite can open but whose check failed."""


class Emptied(Damaged):
    """A file of ours without a table: its disk lost what was written to it."""


class Database(aiosqlite.Connection):
    """An aiosqlite connection that runs whole functions in its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=1)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the raw connection in this connection's thread: one hop."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def begin(self) -> Database:
        """Start the thread and connect; on failure the thread is gone again."""
        try:
            await self
        except BaseException:  # its thread still speaks to the loop, which may be closed next
            await asyncio.to_thread(self._thread.join, _THREAD_END_S)
            raise
        return self


def is_damage(error: BaseException) -> bool:
    """Whether an error, one of UNREADABLE or another, means that the file itself is broken.

    A file that is full, locked or can't be opened for now is sound for all that is known.
    """
    if isinstance(error, Damaged) or not isinstance(error, sqlite3.Error):
        return isinstance(error, UNREADABLE)
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return str(error).startswith(_NO_TEXT)
    return isinstance(code, int) and code & 0xFF in _DAMAGED


def why_of(error: BaseException) -> str:
    """What is wrong, for people: SQLite says it itself, a KeyError only says the key."""
    return str(error) if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}"


def is_full(error: BaseException) -> bool:
    """Whether an error means that there is no room."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF == sqlite3.SQLITE_FULL


async def open_writer(path: Path, tables: Sequence[str], synchronous: str) -> Database:
    """Open or make a file for its one writer. Raises sqlite3.Error; see `is_damage`."""
    return await Database(lambda: _connect_writer(path, tables, synchronous)).begin()


async def open_reader(path: Path) -> Database:
    """Open an existing file read-only, with a thread of its own."""
    return await Database(lambda: connect_reader(path)).begin()


def connect_reader(path: Path) -> sqlite3.Connection:
    """A raw read-only connection, for use in one thread."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=_READER_TIMEOUT_S,
    )
    connection.execute("PRAGMA query_only=ON")
    return connection


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a file has a table: those that an earlier version made may lack it."""
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    return found is not None


def _connect_writer(path: Path, tables: Sequence[str], synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=_WRITER_TIMEOUT_S)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            execute(connection, [(sql, [()]) for sql in tables])
        elif path.stat().st_size <= _QUICK_CHECK_MAX_BYTES:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(f"{path.name}: {found}")
    except BaseException:  # whatever it was, nobody else can close what nobody else has seen
        connection.close()
        raise
    return connection


def execute(connection: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    """Run statements as one transaction: all of them, or none and the error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, rows in statements:
            if len(rows) == 1:
                connection.execute(sql, rows[0])
            else:
                connection.executemany(sql, rows)
        connection.execute("COMMIT")
    except BaseException:  # half a transaction must not stay open, whatever stopped it
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def synchronise(connection: sqlite3.Connection, how: str) -> None:
    """Commit with synchronous FULL or NORMAL from now on."""
    connection.execute(f"PRAGMA synchronous={how}")


def probe(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.Error unless there is room for another quarter of a megabyte."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT OR REPLACE INTO meta VALUES('probe', zeroblob(262144))")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def checkpoint(connection: sqlite3.Connection) -> None:
    """Write the WAL back and empty it, as far as readers allow."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def size_of(path: Path) -> int:
    """The bytes of a file and its WAL; a file that is gone has none."""
    total = 0
    for suffix in _SUFFIXES[:2]:
        try:
            total += path.with_name(path.name + suffix).stat().st_size
        except FileNotFoundError:
            continue
    return total


def remove(path: Path) -> None:
    """Delete a file with its WAL."""
    for suffix in reversed(_SUFFIXES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def set_aside(path: Path, mark: str) -> Path:
    """Rename a damaged file with its WAL to `<name>.damaged-<mark>`; where it lies now."""
    target = path.with_name(f"{path.name}.damaged-{mark}")
    count = 0
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.damaged-{mark}-{count}")
    for suffix in _SUFFIXES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    return target


class Ballast:
    """A file that does nothing but take up room, so that room can be made when the disk is full."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size = size_bytes

    def exists(self) -> bool:
        """Whether there is room to give away."""
        return self._path.exists()

    def release(self) -> None:
        """Give the room away."""
        self._path.unlink(missing_ok=True)

    def ensure(self, spare_bytes: int = 0) -> None:
        """Take the room (written, not sparse). Raises OSError when there isn't any.

        With `spare_bytes` that much more must be free: what was just given away by `release`
        isn't taken for a disk that has room again.
        """
        if not spare_bytes and self._path.exists() and self._path.stat().st_size == self._size:
            return
        room = os.statvfs(self._path.parent)
        wanted = self._size + spare_bytes
        if spare_bytes and room.f_bavail * room.f_frsize < wanted:
            raise OSError(errno.ENOSPC, "no room yet")  # cheap: nothing is written to find out
        self._path.parent.mkdir(parents=True, exist_ok=True)
        block = bytes(65536)
        try:
            with self._path.open("wb") as file:
                for start in range(0, wanted, len(block)):
                    file.write(block[: wanted - start])
                file.flush()
                os.fsync(file.fileno())
                file.truncate(self._size)
        except OSError:
            self.release()
            raise
