"""The journal as the rest of the gateway sees it: append, be told of commits, read back.

It *is* the history, the replication log and the merge: see DESIGN.md in this folder.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.clock import Clock
from gateway.errors import JournalError, StoreFull
from gateway.journal import history, ledger
from gateway.journal.coverage import Lost
from gateway.journal.coverage import gaps as gaps_of
from gateway.journal.database import Ballast
from gateway.journal.kept import KeptState
from gateway.journal.ledger import Standing
from gateway.journal.partitions import HistorySettings, day_of
from gateway.journal.reader import Reader
from gateway.journal.records import Audit, Body, Event, Loss, Maintenance, Record, Revision, Role
from gateway.journal.shelf import Shelf
from gateway.journal.sinks import CommitSink, PartitionSink, StoreSink
from gateway.journal.state import StateFile, newest_kept
from gateway.journal.writer import Writer
from gateway.model import NS_PER_S, Cause, Gap, HistoryPage, HistoryRow, Position, Term

__all__ = ["HistorySettings", "Journal", "day_of"]

_HORIZON_NS = 5 * NS_PER_S
_RECORDS_MAX = 10_000
T = TypeVar("T")


class Journal:
    """One node's journal. Made by `open`, ended by `close`; used from one event loop."""

    def __init__(
        self,
        node: str,
        clock: Clock,
        rng: random.Random,
        state: StateFile,
        shelf: Shelf,
        kept: KeptState,
        writer: Writer,
        reader: Reader,
        slow_reader: Reader,
    ) -> None:
        self._node = node
        self._clock = clock
        self._rng = rng
        self._state = state
        self._shelf = shelf
        self._kept = kept
        self._writer = writer
        self._reader = reader
        self._slow_reader = slow_reader
        self._term_opened_ns = clock.utc_ns()

    @classmethod
    async def open(
        cls,
        directory: Path,
        node: str,
        clock: Clock,
        settings: HistorySettings,
        on_event: Callable[[int, str], None],
        rng: random.Random,
    ) -> Journal:
        """Open or make the journal under `directory` (a node's data_dir) and take a new term.

        `on_event(severity 1..1000, text)` is called on the loop. Damaged files are set aside; on a
        full disk the ballast makes room. Raises JournalError when nothing can be stored at all.
        """
        ballast = Ballast(directory / "ballast", settings.ballast_bytes)
        try:
            ballast.ensure()
        except OSError as error:
            on_event(900, f"no room for the ballast file: {error}")
        try:
            return await cls._open(directory, node, clock, settings, on_event, rng, ballast)
        except JournalError as error:
            if not ballast.exists():
                raise
            on_event(950, f"{error.message}: the ballast file is given away to make room")
            ballast.release()
        return await cls._open(directory, node, clock, settings, on_event, rng, ballast)

    @classmethod
    async def _open(
        cls,
        directory: Path,
        node: str,
        clock: Clock,
        settings: HistorySettings,
        on_event: Callable[[int, str], None],
        rng: random.Random,
        ballast: Ballast,
    ) -> Journal:
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
            state, aside = await StateFile.open(directory, str(now_ns))
            await shelf.open(now_ns)
            if aside is not None:
                on_event(900, f"the state file is damaged; it was set aside as {aside.name}")
                shelf.losses.append(Loss(0, now_ns, "store", f"{aside.name}: the state file"))
            await state.keep_rows(await shelf.kept_rows())
            bodies, floor_ns = await state.load()
            for position, body in bodies:
                if body is None:
                    on_event(900, f"the kept record {position} is damaged and was left out")
                else:
                    kept.apply(position, body)
            await shelf.replay()
            seen = {term.number for p in shelf.partitions for term in p.state.terms}
            term = await state.open_term(node, rng, now_ns, seen)
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
        writer = Writer(shelf, state, kept, term, clock, settings, ballast, on_event)
        writer.floor_ns = floor_ns
        writers.append(writer)
        return cls(node, clock, rng, state, shelf, kept, writer, readers[0], readers[1])

    async def close(self) -> None:
        """Commit what waits and close every file; nothing may be appended any more."""
        await self._writer.close()
        await self._reader.close()
        await self._slow_reader.close()
        await self._shelf.close()
        await self._state.close()

    # ------------------------------------------------------------------ writing

    @property
    def term(self) -> Term:
        """The term that records are sealed in."""
        return self._writer.term

    async def begin_term(self) -> Term:
        """Take a new term: after a step of the clock, or a promotion. Raises JournalError."""
        seen = {term.number for p in self._shelf.partitions for term in p.state.terms}
        now_ns = self._clock.utc_ns()
        term = await self._writer.begin_term(
            lambda: self._state.open_term(self._node, self._rng, now_ns, seen)
        )
        self._term_opened_ns = now_ns
        return term

    def append(self, body: Body) -> asyncio.Future[Record]:
        """Queue a body; the future resolves once it is committed, or fails with JournalError.

        Positions follow the order of the calls. Never waits: raises StoreFull when the queue is
        full (await `room()`), JournalError after `close`. A control command's records (any kind
        but Batch and Coverage) are committed without waiting for company.
        """
        return self._writer.append(body)

    async def commit(self, body: Body, patience_s: float) -> Record:
        """Append, and wait for the commit: for what must be durable before it is done.

        What the store does not take in time is withdrawn, so that nothing that was refused comes
        into force later. Raises StoreFull then, and whatever `append` raises.
        """
        future = self.append(body)
        while not (await asyncio.wait([future], timeout=patience_s))[0]:
            if self._writer.withdraw(future):
                raise StoreFull("the store takes no records", "Make room on the disk, try again")
        return future.result()

    @property
    def task(self) -> asyncio.Task[None]:
        """The writer's task: when it has ended nothing is stored or shown any more."""
        return self._writer.task

    async def room(self) -> None:
        """Wait until less than half the queue is taken: back-pressure for whoever appends much."""
        await self._writer.room()

    def on_commit(self, sink: CommitSink) -> None:
        """Have `sink(records, stored)` called on the loop after each commit, in order.

        With `stored` false the records are batches that the failing store could not take: they
        have seq 0, go out as live values, and are no history: the collector declares the gap.
        """
        self._writer.sinks.commit.append(sink)

    def on_store(self, sink: StoreSink) -> None:
        """Have `sink(failed_since_ns)` called when the store fails, `sink(None)` when it is back.

        In between coverage is refused and a Loss record tells why. Once it is back every scan class
        must be declared uncovered until its next good scan, and that scan be kept whole: changes
        were dropped meanwhile.
        """
        self._writer.sinks.store.append(sink)

    def on_partition(self, sink: PartitionSink) -> None:
        """Have `sink()` called when a new file begins (day, size, damage): restate every point."""
        self._writer.sinks.partition.append(sink)

    @property
    def store_failed_since_ns(self) -> int | None:
        """The first instant of which nothing is kept while the store fails, or None."""
        return self._writer.store_failed_since_ns

    # ------------------------------------------------------------------ what was kept

    @property
    def facts(self) -> dict[tuple[str, str], Any]:
        """(device, key) -> value of every device fact."""
        return self._kept.facts

    @property
    def maintenance(self) -> list[Maintenance]:
        """What is disabled or substituted now."""
        return self._kept.maintenance

    @property
    def revision(self) -> Revision | None:
        """The head revision of the configuration."""
        return self._kept.head

    async def revisions(self, limit: int = 100) -> list[tuple[Position, Revision]]:
        """The newest revisions, newest first."""
        return await self._reader.run(lambda c: newest_kept(c, "v", limit))

    async def roles(self, limit: int = 100) -> list[tuple[Position, Role]]:
        """The newest role changes, newest first."""
        return await self._reader.run(lambda c: newest_kept(c, "r", limit))

    async def audit(self, limit: int = 100) -> list[tuple[Position, Audit]]:
        """The newest audit entries, newest first."""
        return await self._reader.run(lambda c: newest_kept(c, "a", limit))

    async def events(self, from_ns: int, to_ns: int, limit: int = 1000) -> list[Event]:
        """The events stored in [from, to), oldest first."""
        return await self._ask(
            lambda: partial(ledger.events, self._reader, self._shelf.files(), from_ns, to_ns, limit)
        )

    async def _ask(self, work: Callable[[], Callable[[], T]]) -> T:
        return await self._reader.ask(work, self._writer.damage.met)

    # ------------------------------------------------------------------ HistoryReader

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        """The samples in [from, to), oldest first, or newest first with `reverse`.

        A page holds at most `limit` (and 20,000) rows; the cursor stays good over restarts.
        """
        span = (from_ns, to_ns, limit, cursor, reverse)
        return await self._ask(
            lambda: partial(history.page, self._reader, self._shelf.view(point), point, *span)
        )

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        """The last sample at or before an instant, or None."""
        return await self._ask(
            lambda: partial(
                history.at_or_before, self._reader, self._shelf.view(point), point, time_ns
            )
        )

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        """The first sample after an instant, or None."""
        return await self._ask(
            lambda: partial(history.after, self._reader, self._shelf.view(point), point, time_ns)
        )

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        """The stretches of [from, to) that coverage does not cover, by scan class, in order.

        What this term has yet to declare (its newest seconds at most) is not a gap, nor is the
        time before the site's first revision.
        """
        found = await self._ask(
            lambda: partial(
                ledger.coverage, self._reader, self._shelf.files(), device, from_ns, to_ns
            )
        )
        now_ns = self._clock.utc_ns()
        through_ns = self._writer.through_ns or self._term_opened_ns
        horizon_ns = max(through_ns, now_ns - _HORIZON_NS)
        losses = list(found.losses)
        failed_ns = self._writer.store_failed_since_ns
        if failed_ns is not None:
            horizon_ns = now_ns
            losses.append(Lost(Cause.STORE, failed_ns, now_ns))
        born_ns = self._kept.born_ns
        begin_ns = from_ns if born_ns is None else max(from_ns, born_ns)
        window = (begin_ns, max(begin_ns, min(to_ns, horizon_ns)))

        def configured(term: Term, revision: int) -> bool:
            return self._kept.has_device(revision, term, device)

        return [
            gap
            for scan_class in found.scan_classes
            for gap in gaps_of(
                device,
                scan_class,
                window,
                found.runs,
                found.holes,
                losses,
                self._writer.floor_ns,
                configured,
            )
        ]

    async def last_values(self, points: Sequence[str]) -> dict[str, HistoryRow]:
        """The newest sample of each point that has any: what the live table starts from."""
        tails, view = self._shelf.last_in_memory(points), self._shelf.view("")
        return await self._reader.run(
            lambda _: history.last_values(self._reader, view, tails, points)
        )

    # ------------------------------------------------------------------ replication and care

    async def records(
        self, term: Term, from_seq: int, limit: int = 1000
    ) -> list[tuple[int, bytes, bytes]]:
        """(seq, wire, digest) of a term's records from a seq on, in order."""
        files = self._shelf.files()
        limit = min(limit, _RECORDS_MAX)
        return await self._slow_reader.run(
            lambda _: ledger.records(self._slow_reader, files, term, from_seq, limit)
        )

    async def vector(self) -> Mapping[Term, Standing]:
        """What is held of each term: floor, last contiguous seq, and the digest there."""
        files = self._shelf.files()
        return await self._slow_reader.run(lambda _: ledger.vector(self._slow_reader, files))

    async def verify(self) -> list[Position]:
        """Compute every chain anew; the positions whose digest does not follow from the wire."""
        files = self._shelf.files()
        return await self._slow_reader.run(lambda _: ledger.verify(self._slow_reader, files))

    async def backup(self, target: Path) -> None:
        """Copy the journal as it stands into a folder; collecting goes on. Raises JournalError."""
        files = self._shelf.files()

        def work(state: sqlite3.Connection) -> None:
            ledger.backup(self._slow_reader, files, state, target)

        try:
            await self._slow_reader.run(work)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the backup to {target} failed: {error}") from error
