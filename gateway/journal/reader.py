"""A reader: one thread with read-only connections to the files it was asked for.

Each call is one hop into the thread and short statements there, so that no read transaction lasts:
a long one would keep the writer's WAL from being reused.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar, cast

from gateway.errors import JournalError
from gateway.journal.database import Database, connect_reader, is_damage, open_reader, why_of
from gateway.journal.history import FileView, Segment, read_segment
from gateway.model import Term

T = TypeVar("T")
_FILES_MAX: Final = 40
_TRIES_MAX: Final = 4
_SAMPLES_MAX: Final = 100_000
"""Of all remembered segments together; some 12 MB."""


class Reader:
    """Runs functions over the journal's files; `on_broken(file name, why)` hears of damage."""

    def __init__(self, database: Database, on_broken: Callable[[str, str], None]) -> None:
        self._database = database
        self._on_broken = on_broken
        self._connections: OrderedDict[Path, sqlite3.Connection] = OrderedDict()
        self._terms: dict[Path, dict[int, Term]] = {}
        self._segments: OrderedDict[tuple[Path, int], Segment] = OrderedDict()
        self._remembered = 0
        self._forgotten: set[Path] = set()

    @classmethod
    async def begin(cls, state_path: Path, on_broken: Callable[[str, str], None]) -> Reader:
        """A reader that stands on the state file. Raises sqlite3.Error."""
        return cls(await open_reader(state_path), on_broken)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the thread, with the connection to the state file."""

        def guarded(connection: sqlite3.Connection) -> T:
            self._drop_forgotten()
            return work(connection)

        return await self._database.run(guarded)

    async def ask(
        self, work: Callable[[], Callable[[], T]], met_damage: Callable[[], Awaitable[bool]]
    ) -> T:
        """Run what `work` makes, and and make it anew while it met damage that is now set aside.

        Else what was read past a broken file would look whole, with no gap that says why not.
        """
        for _ in range(_TRIES_MAX):
            do = work()
            found = await self._database.run(lambda _, do=do: self._done(do))  # type: ignore[misc]
            if not await met_damage():
                break
        return cast(T, found)

    def _done(self, work: Callable[[], T]) -> T:
        self._drop_forgotten()
        return work()

    def forget(self, path: Path) -> None:
        """Close the connection to a file that goes away, at the next call."""
        self._forgotten.add(path)

    # ------------------------------------------------------------------ in the thread

    def open(self, view: FileView) -> sqlite3.Connection:
        """A read-only connection to a file. Raises sqlite3.Error."""
        connection = self._connections.get(view.path)
        if connection is None:
            connection = self._connections[view.path] = connect_reader(view.path)
            if len(self._connections) > _FILES_MAX:
                path, oldest = self._connections.popitem(last=False)
                self._terms.pop(path, None)
                oldest.close()
        else:
            self._connections.move_to_end(view.path)
        return connection

    def term(self, view: FileView, term_id: int) -> Term:
        """The term that a file calls by this number. Raises ValueError when it names none."""
        terms = self._terms.setdefault(view.path, {})
        if term_id not in terms:
            found = self.open(view).execute("SELECT * FROM term").fetchall()
            terms.update({row[0]: Term(row[1], row[2], int(row[3], 16)) for row in found})
        if term_id not in terms:
            raise ValueError(f"it has no term {term_id}")
        return terms[term_id]

    def segment(self, view: FileView, segment_id: int) -> Segment:
        """A segment, unpacked; the last ones are remembered, since pages and bounds meet again."""
        key = (view.path, segment_id)
        found = self._segments.get(key)
        if found is not None:
            self._segments.move_to_end(key)
            return found
        found = self._segments[key] = read_segment(self, view, segment_id)
        self._remembered += len(found.columns.times)
        while self._remembered > _SAMPLES_MAX:
            self._let_go(next(iter(self._segments)))
        return found

    def _let_go(self, key: tuple[Path, int]) -> None:
        self._remembered -= len(self._segments.pop(key).columns.times)

    def broken(self, view: FileView, error: Exception) -> None:
        """Report a file that is damaged; one that was dropped meanwhile is no news.

        Raises JournalError when it is sound for all that is known, and can't be read now.
        """
        if not view.path.exists():
            return
        if not is_damage(error):
            raise JournalError(
                f"{view.path.name} can't be read now: {error}",
                "Try again; if it stays so, look at the limit of open files and at the disk",
            ) from error
        self._on_broken(view.path.name, why_of(error))

    def _drop_forgotten(self) -> None:
        while self._forgotten:
            path = self._forgotten.pop()
            connection = self._connections.pop(path, None)
            self._terms.pop(path, None)
            for key in [key for key in self._segments if key[0] == path]:
                self._let_go(key)
            if connection is not None:
                connection.close()

    async def close(self) -> None:
        """Close every connection and end the thread."""

        def work(connection: sqlite3.Connection) -> None:
            for known in self._connections.values():
                known.close()
            self._connections.clear()

        try:
            await self._database.run(work)
        finally:
            await self._database.close()
