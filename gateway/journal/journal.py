"""The journal as the rest of the gateway sees it: append, adopt, be told of commits, read back.

It *is* the history, the replication log and the merge: see DESIGN.md in this folder.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import JournalError, StoreFull
from gateway.journal.holdings import EMPTY_HOLDING, Holdings
from gateway.journal.opening import Parts, open_parts
from gateway.journal.partitions import HistorySettings, day_of
from gateway.journal.reading import JournalReading
from gateway.journal.records import Adopted, Body, Loss, Record
from gateway.journal.sinks import CommitSink, PartitionSink, StoreSink
from gateway.model import Cause, Term

__all__ = ["HistorySettings", "Journal", "day_of"]


class Journal(JournalReading):
    """One node's journal. Made by `open`, ended by `close`; used from one event loop."""

    def __init__(self, node: str, clock: Clock, rng: random.Random, parts: Parts) -> None:
        super().__init__(parts, clock)
        self._node = node
        self._rng = rng

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
        """Open or make the journal under `directory` (a node's data_dir) and begin a diary.

        `on_event(severity 1..1000, text)` is called on the loop. Damaged files are set aside; on a
        full disk the ballast makes room. Raises JournalError when nothing can be stored at all.
        """
        parts = await open_parts(directory, node, clock, settings, on_event, rng)
        return cls(node, clock, rng, parts)

    async def close(self) -> None:
        """Commit what waits and close every file; nothing may be appended any more."""
        await self._writer.close()
        await self._reader.close()
        await self._slow_reader.close()
        await self._shelf.close()
        await self._state.close()

    def apply(self, settings: HistorySettings) -> None:
        """Keep history by these limits from now on; the bounds of the queues stay."""
        self._writer.settings = self._shelf.settings = settings

    # ------------------------------------------------------------------ terms

    @property
    def term(self) -> Term:
        """The term that records are sealed in: a reign's, or a diary (number 0)."""
        return self._writer.term

    @property
    def term_seen(self) -> int:
        """The highest term number known, own or adopted; 0 when nobody ever reigned."""
        return self._writer.term_seen

    @property
    def coverage_end_ns(self) -> int:
        """The newest instant (ns UTC) that coverage of any term claims; 0 in a blank journal."""
        return self._writer.coverage_end_ns

    async def begin_term(self, number: int = 0) -> Term:
        """Take a new term above all seen, and of at least this number, durable on return.

        For a promotion, and for a new stream within a reign. What was appended before is sealed in
        the term before. Raises JournalError.
        """
        now_ns = spoken_ns = self._clock.utc_ns()

        async def open_term() -> Term:
            nonlocal spoken_ns
            if self._writer.claim is not None:  # what followed it is this term's to declare
                spoken_ns = min(now_ns, self._writer.claim.through_ns)
            seen = (self._writer.term_seen,)
            return await self._state.open_term(self._node, self._rng, now_ns, number, seen)

        term = await self._writer.begin_term(open_term)
        self._term_opened_ns = spoken_ns
        return term

    async def rest(self) -> Term:
        """The reign is over: what was appended before is sealed in it, then a diary is begun.

        Batches and coverage are refused from the call on. Raises JournalError after `close`.
        """

        async def open_diary() -> Term:
            return Term(0, self._node, self._rng.getrandbits(64))

        return await self._writer.begin_term(open_diary, rest=True)

    # ------------------------------------------------------------------ writing

    def append(self, body: Body) -> asyncio.Future[Record]:
        """Queue a body; the future resolves once it is committed, or fails with JournalError.

        Positions follow the order of the calls. Never waits: raises StoreFull when the queue is
        full (await `room()`), JournalError after `close`, or for batches and coverage outside of
        a reign. A control command's records (any kind but Batch and Coverage) are committed
        without waiting for company.
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

    async def make_durable(self) -> None:
        """All that was committed outlives a loss of power when this returns. Raises OSError.

        Commits of partitions are synchronous NORMAL: what they hold is in the WAL, which is brought
        to the disk here (SQLite, "Write-Ahead Logging", section 2.2).
        """
        written = [p.path for p in self._shelf.partitions if p.database is not None]
        await asyncio.to_thread(sync_files, [Path(f"{path}-wal") for path in written])

    def set_durable(self, on: bool) -> None:
        """While on, commits are on the disk before they are acknowledged (synchronous FULL)."""
        self._writer.durable = on

    def on_commit(self, sink: CommitSink) -> None:
        """Have `sink(records, stored)` called on the loop after each commit, in order.

        Own records and those of the peer alike: tell them by their term. With `stored` false the
        records are batches that the failing store could not take: they have seq 0, go out as live
        values, and are no history: the collector declares the gap.
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

    # ------------------------------------------------------------------ the peer's records

    @property
    def holdings(self) -> Holdings:
        """What is held of every term, exact after each commit. For reading only."""
        return self._shelf.holdings

    @property
    def conflicts(self) -> int:
        """How many records came with the position of another one (kept in the state file)."""
        return self._writer.conflicts

    @property
    def floor_ns(self) -> int:
        """History before this instant (ns UTC) was dropped by the retention; 0: none was."""
        return self._writer.floor_ns or 0

    def adopt(self, records: Sequence[Adopted]) -> asyncio.Future[int]:
        """Queue records that the peer wrote; the future gives how many of them were new.

        It fails with ReplicaError when a digest does not follow from the record before (if that
        is held) or a wire can't be decoded; none of the call's records is taken then. What is
        held, or lies below the floor, is passed over. While the store fails the future waits.
        Raises StoreFull when the queue is full (await `adopt_room()`), JournalError after `close`.
        """
        return self._writer.adopt(records, kept_only=False)

    def keep(self, records: Sequence[Adopted]) -> asyncio.Future[int]:
        """Take over kept records whose originals no longer exist; the future counts new ones.

        Sinks hear of them as of commits, since a head revision may be among them.
        It fails with ReplicaError for other kinds, with JournalError when the state file can't be
        written. Raises as `adopt` does.
        """
        return self._writer.adopt(records, kept_only=True)

    async def adopt_room(self) -> None:
        """Wait until less than half of the queue of the peer's records is taken."""
        await self._writer.adopt_room()

    async def forgo(self, term: Term, through_seq: int, before_ns: int) -> None:
        """The peer's retention dropped a term's records up to a seq, so nobody has those lacking.

        They are not wanted any more, durably, and a Loss up to `before_ns` (ns UTC) tells why;
        nothing that is held is deleted. Raises JournalError.
        """
        if through_seq < (self.holdings.of(term) or EMPTY_HOLDING).floor:
            return
        detail = f"term {term} up to record {through_seq} was dropped before it was replicated"
        self.append(Loss(0, before_ns, Cause.RETENTION, detail))
        try:
            await self._state.let_go({term: through_seq}, None, self._clock.utc_ns())
        except sqlite3.Error as error:
            raise JournalError(f"the state file can't be written: {error}") from error
        self.holdings.drop(term, through_seq)


def sync_files(paths: Sequence[Path]) -> None:
    """Bring files to the disk; one that is gone was checkpointed, and is there already.

    Only WAL files: to close a second descriptor of a database drops SQLite's locks on it.
    """
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
