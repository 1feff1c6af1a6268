"""The one writer: a queue of bodies in, committed records out.

One task owns the files. It commits at once when idle and every 50 ms under load; between commits it
flushes tails, rolls partitions and keeps to the retention. Effects of a commit come in this order:
file, copy of the kept kinds, tail, futures, sinks; so whoever hears of a record can read it.

When the store fails, batches go to the sinks unstored, coverage is refused until the store works
again (it would claim what is not kept), and everything else waits its turn. What lies between is
declared by a Loss record, so that the gap has its cause whatever the collector knows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.errors import JournalError
from gateway.journal.damage import DamageReports
from gateway.journal.database import Ballast, execute, is_damage, is_full, probe
from gateway.journal.kept import KeptState
from gateway.journal.partition_file import Partition, last_record
from gateway.journal.partitions import HistorySettings
from gateway.journal.records import (
    EMPTY_DIGEST,
    KEPT,
    Batch,
    Body,
    Coverage,
    Loss,
    Record,
    chain,
)
from gateway.journal.schema import SEQ_BITS, transaction
from gateway.journal.shelf import Shelf
from gateway.journal.sinks import Sinks
from gateway.journal.state import StateFile
from gateway.journal.waiting import Waiting, WaitingLine
from gateway.model import NS_PER_S, Cause, Position, Term

_GROUP_MAX: Final = 2_000
_KEPT_BACKLOG_MAX: Final = 1_000
_TICK_S: Final = 1.0
_FLUSH_PACE_S: Final = 0.05
_RETENTION_NS: Final = 30 * NS_PER_S
_DAMAGES_MAX: Final = 3
_RESTATED_NS: Final = 5 * NS_PER_S
"""How long after its beginning a file stands alone: until then values in force are restated."""

OpenTerm = Callable[[], Awaitable[Term]]


class Writer:
    """The journal's task; `term` is the one that records are sealed in."""

    def __init__(
        self,
        shelf: Shelf,
        state: StateFile,
        kept: KeptState,
        term: Term,
        clock: Clock,
        settings: HistorySettings,
        ballast: Ballast,
        on_event: Callable[[int, str], None],
    ) -> None:
        self.term = term
        self.sinks = Sinks(on_event)
        self.store_failed_since_ns: int | None = None
        self.floor_ns: int | None = None
        self.through_ns: int | None = None
        self._shelf = shelf
        self._state = state
        self._kept = kept
        self._clock = clock
        self._settings = settings
        self._ballast = ballast
        self._on_event = on_event
        self._seq = 0
        self._digest = EMPTY_DIGEST
        self._pending = WaitingLine(settings.queue_max)
        self.withdraw = self._pending.withdraw
        self._urgent = False
        self._closing = False
        self._wake = asyncio.Event()
        self.damage = DamageReports(self._wake.set)
        self._new_term: tuple[int, OpenTerm, asyncio.Future[Term]] | None = None
        self._kept_backlog: deque[Record] = deque(maxlen=_KEPT_BACKLOG_MAX)
        self._damages = 0
        self._last_commit_s = 0.0
        self._retry_s = 0.0
        self._retention_ns = 0
        self._resumed_ns = -(2**63)
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(self._run(), name="journal-writer")
        self.task.add_done_callback(self._ended)

    # ------------------------------------------------------------------ called from outside

    def append(self, body: Body) -> asyncio.Future[Record]:
        """Queue a body. Raises JournalError when closed or the queue is full; TypeError if bad."""
        if self._closing or self.task.done():
            raise JournalError("the journal is closed")
        if isinstance(body, Coverage) and body.since_ns < self._resumed_ns:
            since_ns = min(self._resumed_ns, body.through_ns)
            body = msgspec.structs.replace(body, since_ns=since_ns)
        future = self._pending.join(body, self.store_failed_since_ns is not None)
        if not isinstance(body, Batch | Coverage):
            self._urgent = True
        if len(self._pending) in (1, _GROUP_MAX) or self._urgent:
            self._wake.set()
        return future

    async def room(self) -> None:
        """Wait until less than half the queue is taken."""
        await self._pending.room()

    async def begin_term(self, open_term: OpenTerm) -> Term:
        """Commit what waits, then seal what is appended from now on in a new term."""
        while self._new_term is not None:
            await asyncio.wait([self._new_term[2]])
        if self._closing or self.task.done():
            raise JournalError("the journal is closed")
        future: asyncio.Future[Term] = self._loop.create_future()
        self._new_term = (self._pending.joined, open_term, future)
        self._urgent = True
        self._wake.set()
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Commit what waits and end the task."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self.task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._on_event(1000, f"the journal's writer ended: {task.exception()!r}")

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        self._declare_losses()
        try:
            while True:
                await self._wait()
                if self._pending:
                    await self._commit_group()
                await self._change_term()
                if self._closing and (not self._pending or self.store_failed_since_ns is not None):
                    break
                await self._keep_house()
        finally:
            self._pending.close()
            if self._new_term is not None and not self._new_term[2].done():
                self._new_term[2].set_exception(JournalError("the journal closed"))

    async def _wait(self) -> None:
        """Until there is something to do: a commit that is due, or a turn of housekeeping."""
        while not self._closing and (delay_s := self._delay_s()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _delay_s(self) -> float:
        now_s = self._loop.time()
        if self.store_failed_since_ns is not None:
            return 0.0 if self._pending.holds_observations else self._retry_s - now_s
        if self._urgent or self.damage or len(self._pending) >= _GROUP_MAX:
            return 0.0
        if self._pending:
            return self._last_commit_s + self._settings.commit_interval_ms / 1000 - now_s
        return _TICK_S if self._shelf.flushing is None else _FLUSH_PACE_S

    async def _change_term(self) -> None:
        """Open the term that was asked for, once all that was queued before is out of the way."""
        self._urgent = self._urgent and bool(self._pending)
        if self._new_term is None:
            return
        target, open_term, future = self._new_term
        if self._pending and self._pending.left < target and self.store_failed_since_ns is None:
            self._urgent = True
            return
        self._new_term = None
        try:
            self.term = await open_term()
        except (sqlite3.Error, OSError) as error:
            future.set_exception(JournalError(f"no term could be opened: {error}"))
            return
        self._seq, self._digest = 0, EMPTY_DIGEST
        self.through_ns = None
        if not future.done():
            future.set_result(self.term)

    async def _commit_group(self) -> None:
        if self.store_failed_since_ns is not None:
            self._shed()
            if self._loop.time() < self._retry_s:
                return
            self._retry_s = self._loop.time() + _TICK_S
        self._urgent = False
        group = self._pending.take(_GROUP_MAX)
        if not group:
            return
        self._last_commit_s = self._loop.time()
        now_ns = max(self._clock.utc_ns(), self._shelf.latest_ns)
        began = False
        try:
            began = await self._shelf.roll_if_due(now_ns)
            if self.store_failed_since_ns is not None:
                await self._resync()
            records = self._sealed(group)
            statements, state = transaction(records, now_ns, self._shelf.current.state)
            database = self._shelf.current.database
            assert database is not None
            await database.run(lambda connection: execute(connection, statements))
        except (sqlite3.Error, OSError) as error:
            self._pending.put_back(group)
            await self._failed(error, now_ns, self._shelf.current)
            return
        if self.store_failed_since_ns is None:
            self._damages = 0
        self._seq, self._digest = records[-1].position.seq, records[-1].digest
        for record in records:
            self._kept.apply(record.position, record.body)
        self._shelf.committed(records, now_ns, state)
        await self._keep(records, now_ns)
        for waiting, record in zip(group, records, strict=True):
            if isinstance(record.body, Coverage):
                self.through_ns = record.body.through_ns
            if not waiting.future.done():
                waiting.future.set_result(record)
        self.sinks.committed(records, True)
        if began:
            self.sinks.partition_began()
        self._pending.done(len(group))

    def _sealed(self, group: Sequence[Waiting]) -> list[Record]:
        records: list[Record] = []
        seq, digest = self._seq, self._digest
        for body, wire, _ in group:
            seq += 1
            position = Position(self.term, seq)
            digest = chain(digest, position, wire)
            records.append(Record(position, wire, digest, body))
        return records

    async def _keep(self, records: Sequence[Record], now_ns: int) -> None:
        """Copy the kept kinds into the state file; what fails there is tried again."""
        kept = [*self._kept_backlog, *(r for r in records if isinstance(r.body, KEPT))]
        if not kept:
            return
        self._kept_backlog.clear()
        try:
            await self._state.keep(kept, now_ns)
        except sqlite3.Error as error:
            self._kept_backlog.extend(kept)
            self._on_event(800, f"the state file can't be written: {error}")

    # ------------------------------------------------------------------ failure

    async def _failed(self, error: Exception, now_ns: int, partition: Partition | None) -> None:
        """A commit or flush failed: replace a damaged file, else go on without the store."""
        if partition is not None and is_damage(error) and self._damages < _DAMAGES_MAX:
            self._damages += 1
            try:
                await self._replace(partition, str(error), now_ns)
                return
            except (sqlite3.Error, OSError) as worse:
                error = worse
        again = self.store_failed_since_ns is not None
        self._retry_s = self._loop.time() + (_TICK_S if again else 0.0)
        if again:
            self._shed()
            return
        # What was stored after the last claim is claimed by nobody: the failure reaches back to it.
        oldest_ns = self._pending.oldest_claim_ns(now_ns)
        self.store_failed_since_ns = min(oldest_ns, self.through_ns or oldest_ns)
        what = "the disk is full" if is_full(error) else f"the store failed ({error})"
        self._on_event(950, f"{what}: history pauses under a declared gap, live values go on")
        try:
            self._ballast.release()
        except OSError as worse:
            self._on_event(900, f"the ballast file could not be given away: {worse}")
        self._shed()
        self.sinks.store_changed(self.store_failed_since_ns)

    async def _replace(self, partition: Partition, why: str, now_ns: int) -> None:
        """Set a damaged file aside; of the one in use: as if the store failed and came back."""
        in_use = partition is self._shelf.current
        await self._shelf.replace_damaged(partition, why, now_ns)
        self._declare_losses()
        if in_use:
            self._pending.refuse_coverage()
            self._resumed_ns = now_ns
            self.sinks.store_changed(None)
            self.sinks.partition_began()

    def _shed(self) -> None:
        """Hand the waiting batches out unstored: live values go on; refuse coverage."""
        batches = self._pending.shed(self.term)
        if batches:
            self.sinks.committed(batches, False)

    async def _resync(self) -> None:
        """After a failed commit, ask the file what was stored last: a seq is never used twice."""
        current = self._shelf.current
        term_id = current.state.terms.get(self.term)
        if term_id is None or current.database is None:
            return
        low, high = term_id << SEQ_BITS, (term_id + 1) << SEQ_BITS

        last = await current.database.run(partial(last_record, low, high))
        if last is not None and last[0] - low > self._seq:
            self._seq, self._digest = last[0] - low, last[1]

    async def _try_resume(self) -> None:
        """Each second while the store is out: is there room again?"""
        if self._loop.time() < self._retry_s and self._pending:
            return
        self._retry_s = self._loop.time() + _TICK_S
        database = self._shelf.current.database
        try:
            await asyncio.to_thread(self._ballast.ensure, self._settings.ballast_bytes)
            if database is not None:
                await database.run(probe)
        except (sqlite3.Error, OSError):
            try:
                self._ballast.release()
                await self._retain(self._clock.utc_ns())
            except (sqlite3.Error, OSError):
                return  # it was loud when it began; it stays so by `store_failed_since_ns`
            return
        now_ns = self._clock.utc_ns()
        if self.store_failed_since_ns is not None:
            loss = Loss(self.store_failed_since_ns, now_ns, Cause.STORE, "the store took nothing")
            self._pending.join_first(loss)
            self._urgent = True
        self.store_failed_since_ns = None
        self._resumed_ns = now_ns
        self._on_event(500, "the store works again: history goes on")
        self.sinks.store_changed(None)

    # ------------------------------------------------------------------ housekeeping

    async def _keep_house(self) -> None:
        now_ns = self._clock.utc_ns()
        if self.store_failed_since_ns is not None:
            await self._try_resume()
            return
        try:
            for file_name, why in self.damage:
                for partition in list(self._shelf.partitions):
                    if partition.path.name == file_name:
                        await self._replace(partition, why, now_ns)
            self.damage.dealt_with()
            self._shelf.freeze_if_due(now_ns)
            await self._shelf.flush_step()
            if abs(now_ns - self._retention_ns) >= _RETENTION_NS:
                self._retention_ns = now_ns
                await self._retain(now_ns)
                if await self._shelf.split_if_large(now_ns):
                    self.sinks.partition_began()
            if self._kept_backlog:
                await self._keep((), now_ns)
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, now_ns, self._shelf.flushing)

    async def _retain(self, now_ns: int) -> None:
        """Drop what age and size no longer allow; the floor is durable before a file goes."""
        expired = self._shelf.expired(now_ns)
        if not expired:
            return
        left = [p for p in self._shelf.partitions if p not in expired]
        floor_ns = max(left[0].begun_ns + _RESTATED_NS, self.floor_ns or 0)
        await self._state.set_floor(floor_ns)
        self.floor_ns = floor_ns
        self._shelf.drop(expired)
        names = ", ".join(partition.path.stem for partition in expired)
        self._on_event(100, f"history of {names} was dropped by the retention")

    def _declare_losses(self) -> None:
        losses, self._shelf.losses = self._shelf.losses, []
        for loss in losses:
            self._pending.join_first(loss)
            self._urgent = True
