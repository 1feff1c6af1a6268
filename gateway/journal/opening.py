"""A journal's files are opened: state, partitions, tails and readers, or nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gateway.clock import Clock
from gateway.errors import JournalError
from gateway.journal.database import Ballast
from gateway.journal.kept import KeptState
from gateway.journal.partitions import HistorySettings
from gateway.journal.reader import Reader
from gateway.journal.records import Loss
from gateway.journal.shelf import Shelf
from gateway.journal.state import StateFile
from gateway.journal.writer import Writer
from gateway.model import Term


class Parts(NamedTuple):
    """What a journal is made of, open and running."""

    state: StateFile
    shelf: Shelf
    kept: KeptState
    writer: Writer
    reader: Reader
    slow_reader: Reader


async def open_parts(
    directory: Path,
    node: str,
    clock: Clock,
    settings: HistorySettings,
    on_event: Callable[[int, str], None],
    rng: random.Random,
) -> Parts:
    """Open or make the files under `directory`; on a full disk the ballast makes room.

    Damaged files are set aside. Raises JournalError when nothing can be stored at all.
    """
    ballast = Ballast(directory / "ballast", settings.ballast_bytes)
    try:
        ballast.ensure()
    except OSError as error:
        on_event(900, f"no room for the ballast file: {error}")
    diary = Term(0, node, rng.getrandbits(64))
    try:
        return await _open(directory, diary, clock, settings, on_event, ballast)
    except JournalError as error:
        if not ballast.exists():
            raise
        on_event(950, f"{error.message}: the ballast file is given away to make room")
        ballast.release()
    return await _open(directory, diary, clock, settings, on_event, ballast)


async def _open(
    directory: Path,
    diary: Term,
    clock: Clock,
    settings: HistorySettings,
    on_event: Callable[[int, str], None],
    ballast: Ballast,
) -> Parts:
    loop = asyncio.get_running_loop()
    folder = directory / "journal"
    readers: list[Reader] = []
    writers: list[Writer] = []

    def forget(path: Path) -> None:
        for known in readers:
            known.forget(path)

    def broken(file_name: str, why: str) -> None:
        for known in writers:
            loop.call_soon_threadsafe(known.damage.report, file_name, why)

    kept = KeptState()
    shelf = Shelf(folder, settings, kept, on_event, forget)
    state: StateFile | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        now_ns = clock.utc_ns()
        rows = await shelf.open(now_ns)
        state, remembered, aside = await StateFile.open(directory, str(now_ns), rows)
        shelf.let_go(remembered.dropped)
        if aside is not None:
            on_event(900, f"the state file is damaged; it was set aside as {aside.name}")
            shelf.losses.append(Loss(0, now_ns, "store", f"{aside.name}: the state file"))
        for position, body, digest in remembered.kept:
            if body is None:
                on_event(900, f"the kept record {position} is damaged and was left out")
            else:
                kept.apply(position, body, digest)
        await shelf.replay(now_ns)
        readers += [await Reader.begin(state.path, broken) for _ in range(2)]
    except BaseException as error:  # a thread left behind would hang the exit for ever
        for reader in readers:
            await reader.close()
        await shelf.close()
        if state is not None:
            await state.close()
        if not isinstance(error, sqlite3.Error | OSError):
            raise
        raise JournalError(
            f"the journal in {directory} can't be opened: {error}",
            "Look for room on the disk and for the rights of the folder",
        ) from error
    writer = Writer(shelf, state, kept, diary, clock, settings, ballast, on_event)
    writer.floor_ns = remembered.floor_ns
    writer.conflicts = remembered.conflicts
    known = [*remembered.terms, *shelf.holdings.terms]
    writer.term_seen = max((term.number for term in known), default=0)
    writers.append(writer)
    return Parts(state, shelf, kept, writer, readers[0], readers[1])
