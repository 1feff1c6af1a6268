"""The small file beside the partitions: terms, the kept records, and how far history was dropped.

Every commit here is FULL: a term is on the disk before it is used, an intent before bytes leave.
The kept records are a copy (their originals are in the partitions, a commit over two files is not
atomic), so they are copied anew at each start from the partitions that there are.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.journal.database import Database, checkpoint, execute, is_damage, open_writer
from gateway.journal.database import set_aside as set_file_aside
from gateway.journal.records import Body, Record, decode
from gateway.journal.schema import (
    INSERT_META,
    STATE_TABLES,
    kept_rows_statement,
    kept_statements,
    nonce_text,
)
from gateway.model import Position, Term

FILE_NAME: Final = "state.sqlite"
_UNBOUNDED_KINDS: Final = ("a", "r")
_KEPT_MAX: Final = 200_000
KEPT_COLUMNS: Final = "number, node, nonce, seq, wire"


class StateFile:
    """The state file, held by its one writer."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database = database
        self.path = path

    @classmethod
    async def open(cls, directory: Path, mark: str) -> tuple[StateFile, Path | None]:
        """The state file, and where a damaged one was set aside. Raises sqlite3.Error."""
        path = directory / FILE_NAME
        try:
            return cls(await open_writer(path, STATE_TABLES, "FULL"), path), None
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        aside = set_file_aside(path, mark)
        return cls(await open_writer(path, STATE_TABLES, "FULL"), path), aside

    async def open_term(
        self, node: str, rng: random.Random, now_ns: int, seen: Iterable[int]
    ) -> Term:
        """A new term above all seen, durable when this returns."""

        def work(connection: sqlite3.Connection) -> Term:
            (known,) = connection.execute("SELECT coalesce(max(number), 0) FROM term").fetchone()
            term = Term(max(known, *seen, 0) + 1, node, rng.getrandbits(64))
            row = (term.number, term.node, nonce_text(term), now_ns)
            execute(connection, [("INSERT INTO term VALUES(?,?,?,?)", [row])])
            return term

        return await self._database.run(work)

    async def keep(self, records: Sequence[Record], at_ns: int) -> None:
        """Copy the kept ones among `records`; repeating it changes nothing."""
        statements = kept_statements(records, at_ns)
        if statements:
            await self._database.run(lambda connection: execute(connection, statements))

    async def keep_rows(self, rows: list[tuple[Any, ...]]) -> None:
        """Copy rows that were read from a partition, and let go of the oldest audit entries."""

        def work(connection: sqlite3.Connection) -> None:
            if rows:
                execute(connection, [kept_rows_statement(rows)])
            for kind in _UNBOUNDED_KINDS:
                connection.execute(
                    "DELETE FROM kept WHERE kind = ? AND at_ns < (SELECT at_ns FROM kept"
                    " WHERE kind = ? ORDER BY at_ns DESC LIMIT 1 OFFSET ?)",
                    (kind, kind, _KEPT_MAX),
                )

        await self._database.run(work)

    async def load(self) -> tuple[list[tuple[Position, Body | None]], int | None]:
        """The facts, maintenance and revisions kept, in order; and the floor of history.

        A body is None when its wire form is damaged.
        """

        def work(
            connection: sqlite3.Connection,
        ) -> tuple[list[tuple[Position, Body | None]], int | None]:
            rows = connection.execute(
                f"SELECT {KEPT_COLUMNS} FROM kept WHERE kind IN ('f', 'm', 'v')"
                " ORDER BY number, nonce, seq"
            ).fetchall()
            floor = connection.execute("SELECT value FROM meta WHERE key = 'floor_ns'").fetchone()
            return [kept_record(row) for row in rows], None if floor is None else floor[0]

        return await self._database.run(work)

    async def set_floor(self, floor_ns: int) -> None:
        """History before this instant is about to be dropped."""
        await self._database.run(
            lambda connection: execute(connection, [(INSERT_META, [("floor_ns", floor_ns)])])
        )

    async def close(self) -> None:
        """Empty the WAL and close."""
        try:
            await self._database.run(checkpoint)
        except sqlite3.Error:
            pass  # the WAL is read again at the next start
        finally:
            await self._database.close()


def kept_record(row: tuple[Any, ...]) -> tuple[Position, Body | None]:
    """A row of KEPT_COLUMNS as a position and its body, None when that is damaged."""
    number, node, nonce, seq, wire = row
    position = Position(Term(number, node, int(nonce, 16)), seq)
    try:
        return position, decode(wire)
    except msgspec.MsgspecError:
        return position, None


def newest_kept(connection: sqlite3.Connection, kind: str, limit: int) -> list[Any]:
    """The newest kept records of a kind with their positions, newest first."""
    rows = connection.execute(
        f"SELECT {KEPT_COLUMNS} FROM kept WHERE kind = ? ORDER BY at_ns DESC, seq DESC LIMIT ?",
        (kind, limit),
    ).fetchall()
    found = [kept_record(row) for row in rows]
    return [(position, body) for position, body in found if body is not None]
