"""The small file beside the partitions: terms, kept records, conflicts, what was dropped.

Every commit here is FULL: a term is on the disk before it is used, an intent before bytes leave.
The kept records are a copy (their originals are in the partitions, a commit over two files is not
atomic), so they are copied anew at each start from the partitions that there are.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.errors import UNDECODABLE
from gateway.journal.database import (
    UNREADABLE,
    Database,
    checkpoint,
    execute,
    is_damage,
    open_writer,
)
from gateway.journal.database import set_aside as set_file_aside
from gateway.journal.records import DIGEST_SIZE, Adopted, Body, Record, decode
from gateway.journal.schema import (
    INSERT_CONFLICT,
    INSERT_DROPPED,
    INSERT_META,
    STATE_ADDED,
    STATE_TABLES,
    kept_rows_statement,
    kept_statements,
    nonce_text,
)
from gateway.model import Position, Term

FILE_NAME: Final = "state.sqlite"
_UNBOUNDED_KINDS: Final = ("a", "r")
_KEPT_MAX: Final = 200_000
_DROPPED_MAX: Final = 10_000
_KEPT_CALL_MAX: Final = 10_000
_KEPT_CALL_BYTES: Final = 8 * 1024 * 1024
KEPT_COLUMNS: Final = "number, node, nonce, seq, wire, digest"
_TERM: Final = "number = ? AND node = ? AND nonce = ?"


class Remembered(NamedTuple):
    """What the state file knows at the start; a body is None when its wire is damaged."""

    kept: list[tuple[Position, Body | None, bytes]]
    floor_ns: int | None
    dropped: dict[Term, int]
    terms: list[Term]
    conflicts: int


class StateFile:
    """The state file, held by its one writer."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database = database
        self.path = path

    @classmethod
    async def open(
        cls, directory: Path, mark: str, rows: list[tuple[Any, ...]]
    ) -> tuple[StateFile, Remembered, Path | None]:
        """The state file with the kept records of partitions copied in, and what it knows then.

        And where a damaged one was set aside. A large file is not checked as a whole, so whatever
        the start reads of it may be what shows the damage. Raises sqlite3.Error.
        """
        path = directory / FILE_NAME
        try:
            return *await cls._begin(path, rows), None
        except UNREADABLE as error:
            if not is_damage(error):
                raise
        aside = set_file_aside(path, mark)
        return *await cls._begin(path, rows), aside

    @classmethod
    async def _begin(cls, path: Path, rows: list[tuple[Any, ...]]) -> tuple[StateFile, Remembered]:
        database = await open_writer(path, STATE_TABLES, "FULL")
        try:
            await database.run(lambda c: execute(c, [(sql, [()]) for sql in STATE_ADDED]))
            state = cls(database, path)
            await state._keep_rows(rows)
            return state, await state._load()
        except BaseException:  # a connection left behind would hang the exit for ever
            await database.close()
            raise

    async def open_term(
        self, node: str, rng: random.Random, now_ns: int, number: int, seen: Iterable[int]
    ) -> Term:
        """A new term of at least `number` and above all seen, durable when this returns."""

        def work(connection: sqlite3.Connection) -> Term:
            (known,) = connection.execute("SELECT coalesce(max(number), 0) FROM term").fetchone()
            above = max(known, *seen, 0) + 1
            term = Term(max(above, number), node, rng.getrandbits(64))
            row = (term.number, term.node, nonce_text(term), now_ns)
            execute(connection, [("INSERT INTO term VALUES(?,?,?,?)", [row])])
            return term

        return await self._database.run(work)

    async def keep(self, records: Sequence[Record]) -> int:
        """Copy the kept ones among `records`; how many were new. Repeating it changes nothing."""
        statements = kept_statements(records)

        def work(connection: sqlite3.Connection) -> int:
            before = connection.total_changes
            execute(connection, statements)
            return connection.total_changes - before

        return await self._database.run(work) if statements else 0

    async def conflicts_among(self, records: Sequence[Record]) -> list[Record]:
        """Those whose position is kept with another digest."""
        sql = f"SELECT 1 FROM kept WHERE {_TERM} AND seq = ? AND digest <> ?"

        def work(connection: sqlite3.Connection) -> list[Record]:
            return [
                record
                for record in records
                if connection.execute(
                    sql, (*term_key(record.position.term), record.position.seq, record.digest)
                ).fetchone()
            ]

        return await self._database.run(work)

    async def set_against(self, records: Sequence[Record], at_ns: int) -> int:
        """Keep records that came with the position of another one; how many were new."""
        rows: list[tuple[Any, ...]] = [
            (*term_key(r.position.term), r.position.seq, r.digest, r.wire, at_ns) for r in records
        ]

        def work(connection: sqlite3.Connection) -> int:
            before = connection.total_changes
            execute(connection, [(INSERT_CONFLICT, rows)])
            return connection.total_changes - before

        return await self._database.run(work)

    async def _keep_rows(self, rows: list[tuple[Any, ...]]) -> None:
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

    async def _load(self) -> Remembered:
        """The facts, maintenance, rulings and revisions kept, in order; and the rest."""

        def work(connection: sqlite3.Connection) -> Remembered:
            rows = connection.execute(
                f"SELECT {KEPT_COLUMNS} FROM kept WHERE kind IN ('f', 'm', 'v', 's')"
                " ORDER BY number, nonce, seq"
            ).fetchall()
            floor = connection.execute("SELECT value FROM meta WHERE key = 'floor_ns'").fetchone()
            terms = connection.execute("SELECT number, node, nonce FROM term").fetchall()
            (conflicts,) = connection.execute("SELECT count(*) FROM conflict").fetchone()
            return Remembered(
                [(*kept_record(row), row[-1]) for row in rows],
                None if floor is None else floor[0],
                _dropped(connection),
                [Term(number, node, int(nonce, 16)) for number, node, nonce in terms],
                conflicts,
            )

        return await self._database.run(work)

    async def let_go(self, dropped: Mapping[Term, int], floor_ns: int | None, at_ns: int) -> None:
        """History before `floor_ns`, and records up to a seq of each term, are about to go."""
        rows: list[tuple[Any, ...]] = [
            (*term_key(term), seq, at_ns) for term, seq in dropped.items()
        ]

        def work(connection: sqlite3.Connection) -> None:
            statements = [(INSERT_DROPPED, rows)] if rows else []
            if floor_ns is not None:
                statements.append((INSERT_META, [("floor_ns", floor_ns)]))
            execute(connection, statements)
            connection.execute(
                "DELETE FROM dropped WHERE at_ns < (SELECT at_ns FROM dropped"
                " ORDER BY at_ns DESC LIMIT 1 OFFSET ?)",
                (_DROPPED_MAX,),
            )

        await self._database.run(work)

    async def close(self) -> None:
        """Empty the WAL and close."""
        try:
            await self._database.run(checkpoint)
        except sqlite3.Error:
            pass  # the WAL is read again at the next start
        finally:
            await self._database.close()


def term_key(term: Term) -> tuple[int, str, str]:
    """A term as its three columns."""
    return term.number, term.node, nonce_text(term)


def _dropped(connection: sqlite3.Connection) -> dict[Term, int]:
    rows = connection.execute("SELECT number, node, nonce, seq FROM dropped").fetchall()
    return {Term(number, node, int(nonce, 16)): seq for number, node, nonce, seq in rows}


def kept_record(row: tuple[Any, ...]) -> tuple[Position, Body | None]:
    """A row of KEPT_COLUMNS as a position and its body, None when that is damaged."""
    number, node, nonce, seq, wire, _ = row
    position = Position(Term(number, node, int(nonce, 16)), seq)
    try:
        return position, decode(wire)
    except UNDECODABLE:
        return position, None


def newest_kept(connection: sqlite3.Connection, kind: str, limit: int) -> list[Any]:
    """The newest kept records of a kind with their positions, newest first."""
    rows = connection.execute(
        f"SELECT {KEPT_COLUMNS} FROM kept WHERE kind = ?"
        " ORDER BY at_ns DESC, number DESC, nonce DESC, seq DESC LIMIT ?",
        (kind, limit),
    ).fetchall()
    found = [kept_record(row) for row in rows]
    return [(position, body) for position, body in found if body is not None]


def kept_summary(connection: sqlite3.Connection) -> dict[Term, tuple[int, bytes]]:
    """Term -> how many of its records are kept, and the exclusive or of their digests."""
    sums: dict[Term, tuple[int, int]] = {}
    rows = connection.execute("SELECT number, node, nonce, digest FROM kept")
    for number, node, nonce, digest in rows:
        term = Term(number, node, int(nonce, 16))
        count, total = sums.get(term, (0, 0))
        sums[term] = count + 1, total ^ int.from_bytes(digest, "big")
    return {t: (count, total.to_bytes(DIGEST_SIZE, "big")) for t, (count, total) in sums.items()}


def kept_records(
    connection: sqlite3.Connection, terms: Collection[Term], after: Position | None
) -> list[Adopted]:
    """The kept records of these terms in order of position, after one: 10,000 or 8 MiB a call."""
    found: list[Adopted] = []
    size = 0
    for term in sorted(terms):
        if after is not None and term < after.term:
            continue
        from_seq = after.seq if after is not None and term == after.term else 0
        for seq, wire, digest in connection.execute(
            f"SELECT seq, wire, digest FROM kept WHERE {_TERM} AND seq > ? ORDER BY seq",
            (*term_key(term), from_seq),
        ):
            size += len(wire)
            if found and (len(found) >= _KEPT_CALL_MAX or size > _KEPT_CALL_BYTES):
                return found
            found.append(Adopted(Position(term, seq), wire, digest))
    return found
