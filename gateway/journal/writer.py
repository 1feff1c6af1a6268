"""The one writer: bodies of this node and records of the peer in, committed records out.

One task owns the files. It commits at once when idle and every 50 ms under load; records of the
peer never wait for company. Between commits it takes care of the files. Effects of a commit come in
this order: file, copy of the kept kinds, tail, futures, sinks; so whoever hears of a record can
read it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.errors import JournalError
from gateway.journal.adoption import AdoptionLine, Call, sort_out
from gateway.journal.care import TICK_S, StoreCare
from gateway.journal.coverage import cut
from gateway.journal.database import Ballast, execute
from gateway.journal.kept import KeptState
from gateway.journal.partitions import HistorySettings
from gateway.journal.records import (
    EMPTY_DIGEST,
    KEPT,
    Adopted,
    Batch,
    Body,
    Coverage,
    Fill,
    Loss,
    Record,
    chain,
)
from gateway.journal.schema import transaction
from gateway.journal.shelf import Shelf
from gateway.journal.state import StateFile
from gateway.journal.waiting import Waiting
from gateway.model import NS_PER_S, Position, Term

_GROUP_MAX: Final = 2_000
_ADOPTED_A_ROUND: Final = 32
_KEPT_BACKLOG_MAX: Final = 10_000
_FLUSH_PACE_S: Final = 0.05
_NEAR_NS: Final = 600 * NS_PER_S
"""A peer's clock that is further off does not say to which day's file its records go."""

OpenTerm = Callable[[], Awaitable[Term]]


class Writer(StoreCare):
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
        super().__init__(shelf, state, term, clock, settings, ballast, on_event)
        self.term_seen = 0
        self.coverage_end_ns = shelf.through_ns
        self.newest_claim: Coverage | None = None
        self.adopted_coverage_ns: int | None = None
        self.conflicts = 0
        self.durable = False
        self._kept = kept
        self._adopting = AdoptionLine(settings.queue_max)
        self.withdraw = self._pending.withdraw
        self._closing = False
        self._resting = False
        self._doubtful = False
        self._new_term: tuple[int, OpenTerm, asyncio.Future[Term]] | None = None
        self._kept_backlog: deque[Record] = deque(maxlen=_KEPT_BACKLOG_MAX)
        self._last_commit_s = 0.0
        self.task = asyncio.create_task(self._run(), name="journal-writer")
        self.task.add_done_callback(self._ended)

    # ------------------------------------------------------------------ called from outside

    def append(self, body: Body) -> asyncio.Future[Record]:
        """Queue a body. Raises JournalError when closed or the queue is full; TypeError if bad."""
        self._refuse_when_closed()
        if isinstance(body, Batch | Coverage | Fill) and (not self.reigns or self._resting):
            raise JournalError("a node that does not reign collects nothing", "Begin a term first")
        if isinstance(body, Coverage) and self._new_term is None:  # a new one begins anew
            body = cut(body, self._resumed_ns)
        future = self._pending.join(body, self.store_failed_since_ns is not None)
        if not isinstance(body, Batch | Coverage):
            self._urgent = True
        if len(self._pending) in (1, _GROUP_MAX) or self._urgent:
            self._wake.set()
        return future

    def adopt(self, records: Sequence[Adopted], kept_only: bool) -> asyncio.Future[int]:
        """Queue records of the peer. Raises JournalError when closed, StoreFull when full."""
        self._refuse_when_closed()
        future = self._adopting.join(records, kept_only)
        self._wake.set()
        return future

    async def room(self) -> None:
        """Wait until less than half the queue is taken."""
        await self._pending.room()

    async def adopt_room(self) -> None:
        """Wait until less than half the queue of the peer's records is taken."""
        await self._adopting.room()

    async def begin_term(self, open_term: OpenTerm, rest: bool = False) -> Term:
        """Commit what waits, then seal what is appended from now on in a new term."""
        while self._new_term is not None:
            await asyncio.wait([self._new_term[2]])
        self._refuse_when_closed()
        future: asyncio.Future[Term] = self._loop.create_future()
        self._new_term = (self._pending.joined, open_term, future)
        self._resting = rest
        self._urgent = True
        self._wake.set()
        return await asyncio.shield(future)

    def _refuse_when_closed(self) -> None:
        if self._closing or self.task.done():
            raise JournalError("the journal is closed")

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
                await self._adopt_groups()
                await self._change_term()
                if self._closing and (not self._pending or self.store_failed_since_ns is not None):
                    break
                await self._keep_house()
                if self._kept_backlog and self.store_failed_since_ns is None:
                    await self._keep(())
        finally:
            self._pending.close()
            self._adopting.close()
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
            due_s = min(self._retry_s, self._resume_s) if self._pending else self._resume_s
            return 0.0 if self._pending.holds_observations else due_s - now_s
        if self._urgent or self.damage or self._adopting or len(self._pending) >= _GROUP_MAX:
            return 0.0
        if self._pending:
            return self._last_commit_s + self.settings.commit_interval_ms / 1000 - now_s
        return TICK_S if self._shelf.flushing is None else _FLUSH_PACE_S

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
        self._resting = False
        try:
            self.term = await open_term()
        except (sqlite3.Error, OSError) as error:
            future.set_exception(JournalError(f"no term could be opened: {error}"))
            return
        self._seq, self._digest = 0, EMPTY_DIGEST
        self.claim = None
        self._resumed_ns = -(2**63)  # a new term claims nothing older; the clock may go back
        self.term_seen = max(self.term_seen, self.term.number)
        self._failed_reigning = self._failed_reigning or self.reigns
        if not future.done():
            future.set_result(self.term)

    def _declare(self, loss: Loss) -> None:
        super()._declare(loss)
        if self._new_term is not None:  # one more that belongs to the old term
            target, open_term, future = self._new_term
            self._new_term = (target + 1, open_term, future)

    # ------------------------------------------------------------------ commits

    async def _commit_group(self) -> None:
        if self.store_failed_since_ns is not None:
            self._shed()
            if self._loop.time() < self._retry_s:
                return
            self._retry_s = self._loop.time() + TICK_S
        self._urgent = False
        limit = _GROUP_MAX
        if self._new_term is not None:  # what came after the call belongs to the new term
            limit = min(limit, self._new_term[0] - self._pending.left)
        group = self._pending.take(limit)
        if not group:
            return
        self._last_commit_s = self._loop.time()
        now_ns = max(self._clock.utc_ns(), self._shelf.latest_ns)
        try:
            await self._roll(now_ns)
            if self.store_failed_since_ns is not None:
                await self._resync()
            records = self._sealed(group)
            await self._store(records, now_ns)
        except (sqlite3.Error, OSError) as error:
            self._pending.put_back(group)
            await self._failed(error, now_ns, self._shelf.current)
            return
        self._seq, self._digest = records[-1].position.seq, records[-1].digest
        await self._take_over(records)
        for waiting, record in zip(group, records, strict=True):
            if isinstance(record.body, Coverage):
                self.claim = record.body
            if not waiting.future.done():
                waiting.future.set_result(record)
        self.sinks.committed(records, True)
        self._tell_of_partition()
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

    async def _adopt_groups(self) -> None:
        """A few groups, while nothing but the care of the files waits."""
        for _ in range(_ADOPTED_A_ROUND):
            if not self._adopting or self.store_failed_since_ns is not None:
                return
            await self._adopt_group()
            if self._pending or self._new_term is not None or self._closing:
                return

    async def _adopt_group(self) -> None:
        taken, now_ns = self._adopting.take(), max(self._clock.utc_ns(), self._shelf.latest_ns)
        for call in taken:
            if call.kept_only:
                await self._keep_for_peer(call, now_ns)
        calls = [call for call in taken if not call.kept_only]
        own = Position(self.term, self._seq)
        accepted, refused, new, known = sort_out(calls, self._shelf.holdings, own)
        try:
            if new:
                await self._roll(_day_ns(new, now_ns))
                await self._store(new, now_ns)
        except (sqlite3.Error, OSError) as error:
            self._adopting.put_back(calls)
            self._doubtful = True
            await self._failed(error, now_ns, self._shelf.current)
            return
        if known:
            await self._compare(known, now_ns)
        if self._doubtful:  # a commit that failed was stored all the same: it is news by now
            self._note_bodies(known)
            new = [*known, *new]
        if new:
            await self._take_over(new)
            for record in new:
                self.term_seen = max(self.term_seen, record.position.term.number)
                if isinstance(record.body, Coverage):
                    self.adopted_coverage_ns = now_ns
        for bad, why in refused:
            bad.fail(why)
        for call, count in accepted:
            call.done(len(call.records) if self._doubtful else count)
        self._doubtful = False
        if new:
            self.sinks.committed(new, True)
            self._tell_of_partition()

    async def _compare(self, known: Sequence[Record], now_ns: int) -> None:
        """What came again must be what is stored."""
        try:
            stored = await self._shelf.digests([record.position for record in known])
            other = [r for r in known if stored.get(r.position, r.digest) != r.digest]
            await self._set_against(other, now_ns)
        except sqlite3.Error as error:
            self._on_event(800, f"records that came again could not be compared: {error}")

    async def _keep_for_peer(self, call: Call, now_ns: int) -> None:
        """Take over kept records whose originals no longer exist anywhere."""
        try:
            other = await self._state.conflicts_among(call.records)
            await self._set_against(other, now_ns)
            taken = [record for record in call.records if record not in other]
            count = await self._state.keep(taken)
        except sqlite3.Error as error:
            call.fail(JournalError(f"the state file can't be written: {error}"))
            return
        for record in taken:
            self._kept.apply(record.position, record.body, record.digest)
            self.term_seen = max(self.term_seen, record.position.term.number)
        await self._catch_up()
        call.done(count)
        if count:
            self.sinks.committed(taken, True)

    async def _set_against(self, records: Sequence[Record], now_ns: int) -> None:
        """One position, two records: this never happens to healthy nodes. Both are kept."""
        if records:
            self.conflicts += await self._state.set_against(records, now_ns)
            self._on_event(
                950,
                f"the peer has another record at {records[0].position} and {len(records) - 1}"
                " more; both are kept: a disk, a clone of a node or a backup is at fault",
            )

    async def _store(self, records: Sequence[Record], now_ns: int) -> None:
        """Commit, and take over what that changes. Raises sqlite3.Error, OSError."""
        await self._shelf.set_durable(self.durable)
        statements, state = transaction(records, now_ns, self._shelf.current.state)
        database = self._shelf.current.database
        assert database is not None
        await database.run(lambda connection: execute(connection, statements))
        if self.store_failed_since_ns is None:
            self._damages = 0
        self._note_bodies(records)
        self._shelf.committed(records, now_ns, state)

    def _note_bodies(self, records: Sequence[Record]) -> None:
        for position, _, digest, body in records:
            self._kept.apply(position, body, digest)
            if isinstance(body, Coverage) and body.through_ns >= self.coverage_end_ns:
                self.coverage_end_ns, self.newest_claim = body.through_ns, body

    async def _take_over(self, records: Sequence[Record]) -> None:
        """What follows a commit and can't undo it."""
        await self._catch_up()
        await self._keep(records)

    async def _catch_up(self) -> None:
        try:
            await self._shelf.catch_up()
        except sqlite3.Error as error:
            self._on_event(800, f"samples that waited for their revision wait on: {error}")

    async def _keep(self, records: Sequence[Record]) -> None:
        """Copy the kept kinds into the state file; what fails there is tried again."""
        kept = [*self._kept_backlog, *(r for r in records if isinstance(r.body, KEPT))]
        if not kept:
            return
        self._kept_backlog.clear()
        try:
            await self._state.keep(kept)
        except sqlite3.Error as error:
            self._kept_backlog.extend(kept)
            self._on_event(800, f"the state file can't be written: {error}")


def _day_ns(records: Sequence[Record], now_ns: int) -> int:
    """By which time adopted records choose their file: the writing node's, if it is near enough.

    It restates every point when its own day begins, and that must be in the new day's file.
    """
    times = [
        body.received_ns if isinstance(body, Batch) else body.through_ns
        for body in (record.body for record in records)
        if isinstance(body, Batch | Coverage)
    ]
    newest_ns = max(times, default=now_ns)
    return newest_ns if abs(newest_ns - now_ns) <= _NEAR_NS else now_ns
