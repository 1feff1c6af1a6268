"""What the writer does for its files besides commits: failure and return, retention, flushing.

When the store fails, batches go to the sinks unstored, coverage is refused until the store works
again (it would claim what is not kept), and everything else waits its turn, records of the peer
too. What lies between is declared by a Loss record, so that the gap has its cause whatever the
collector knows; a node that did not reign lost nothing, so it declares nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.journal.coverage import complete_ns
from gateway.journal.damage import DamageReports
from gateway.journal.database import Ballast, is_damage, is_full, probe, size_of
from gateway.journal.holdings import EMPTY_HOLDING
from gateway.journal.partition_file import Partition
from gateway.journal.partitions import ClockTrust, HistorySettings
from gateway.journal.records import EMPTY_DIGEST, Coverage, Loss
from gateway.journal.shelf import Shelf
from gateway.journal.sinks import Sinks
from gateway.journal.state import StateFile
from gateway.journal.waiting import WaitingLine
from gateway.model import NS_PER_S, Cause, Term

TICK_S: Final = 1.0
_RETENTION_NS: Final = 30 * NS_PER_S
_COMPLAIN_NS: Final = 3_600 * NS_PER_S
_DAMAGES_MAX: Final = 3


class StoreCare:
    """The files' well-being; every method is called by the writer's task."""

    def __init__(
        self,
        shelf: Shelf,
        state: StateFile,
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
        self.claim: Coverage | None = None
        self.settings = settings
        self._shelf = shelf
        self._state = state
        self._clock = clock
        self._ballast = ballast
        self._on_event = on_event
        self._pending = WaitingLine(settings.queue_max)
        self._urgent = False
        self._wake = asyncio.Event()
        self.damage = DamageReports(self._wake.set)
        self._seq = 0
        self._digest = EMPTY_DIGEST
        self._damages = 0
        self._retry_s = 0.0
        self._resume_s = 0.0
        self._retention_ns = clock.utc_ns()
        self._clock_trust = ClockTrust.at_start(clock.utc_ns(), clock.monotonic_ns())
        self._told_of_jump = False
        self._complained_ns: int | None = None
        self._resumed_ns = -(2**63)
        self._failed_reigning = False
        self._partition_began = False
        self._loop = asyncio.get_running_loop()

    @property
    def reigns(self) -> bool:
        """Whether the term is a reign's; else it is a diary."""
        return self.term.number > 0

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
        self._retry_s = self._loop.time() + (TICK_S if again else 0.0)
        if again:
            self._shed()
            return
        # What was stored after the last claim is claimed by nobody: the failure reaches back to it.
        self.store_failed_since_ns = self._pending.oldest_claim_ns(now_ns)
        if self.claim is not None:
            self.store_failed_since_ns = min(self.store_failed_since_ns, complete_ns(self.claim))
        self._failed_reigning = self.reigns
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
        await self._shelf.replace_damaged(partition, why, now_ns, self.reigns)
        self._declare_losses()
        if in_use:
            self._pending.refuse_claims()
            self._resumed_ns = now_ns
            self.sinks.store_changed(None)
            self.sinks.partition_began()

    def _shed(self) -> None:
        """Hand the waiting batches out unstored: live values go on; refuse coverage."""
        batches = self._pending.shed(self.term)
        if batches:
            self.sinks.committed(batches, False)

    async def _resync(self) -> None:
        """After a failed commit, ask the file what is stored: a seq is never used twice."""
        await self._shelf.reread()
        own = self._shelf.holdings.of(self.term) or EMPTY_HOLDING
        if own.last > self._seq:
            self._seq, self._digest = own.last, own.digest

    async def _try_resume(self) -> None:
        """Each second while the store is out: is there room again?"""
        if self._loop.time() < self._resume_s:
            return
        self._resume_s = self._loop.time() + TICK_S
        database = self._shelf.current.database
        try:
            await asyncio.to_thread(self._ballast.ensure, self.settings.ballast_bytes)
            if database is not None:
                await database.run(probe)
            await self._resync()
        except (sqlite3.Error, OSError):
            try:
                self._ballast.release()
                await self._retain()
            except (sqlite3.Error, OSError):
                return  # it was loud when it began; it stays so by `store_failed_since_ns`
            return
        self._pending.refuse_claims()  # said while room was being made: of what was not kept
        now_ns = self._clock.utc_ns()
        if self.store_failed_since_ns is not None and self._failed_reigning:
            loss = Loss(self.store_failed_since_ns, now_ns, Cause.STORE, "the store took nothing")
            self._declare(loss)
        self.store_failed_since_ns = None
        self._resumed_ns = now_ns
        self._on_event(500, "the store works again: history goes on")
        self.sinks.store_changed(None)

    # ------------------------------------------------------------------ housekeeping

    async def _roll(self, now_ns: int, size_bytes: int = 0) -> None:
        """Begin a new file when it is time to. Raises sqlite3.Error."""
        if await self._shelf.roll_if_due(now_ns, self.reigns, size_bytes):
            self._partition_began = True

    def _tell_of_partition(self) -> None:
        if self._partition_began:
            self._partition_began = False
            self.sinks.partition_began()

    async def _keep_house(self) -> None:
        now_ns = self._clock.utc_ns()
        if self.store_failed_since_ns is not None:
            await self._try_resume()
            return
        flushing: Partition | None = None
        try:
            for file_name, why in self.damage:
                for partition in list(self._shelf.partitions):
                    if partition.path.name == file_name:
                        await self._replace(partition, why, now_ns)
            self.damage.dealt_with()
            self._shelf.freeze_if_due(now_ns)
            flushing = self._shelf.flushing
            await self._shelf.flush_step()
            flushing = None  # what fails from here on is no fault of that file
            if abs(now_ns - self._retention_ns) >= _RETENTION_NS:
                self._retention_ns = now_ns
                await self._try_retention()
                size = size_of(self._shelf.current.path)
                await self._roll(now_ns, size)
                self._tell_of_partition()
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, now_ns, flushing)

    async def _try_retention(self) -> None:
        """Retain; what fails is told once an hour, harms nothing stored, and has its next turn."""
        try:
            await self._retain()
        except (sqlite3.Error, OSError) as error:
            now_ns = self._clock.monotonic_ns()
            if self._complained_ns is None or now_ns - self._complained_ns >= _COMPLAIN_NS:
                self._complained_ns = now_ns
                self._on_event(800, f"retention can't drop history, and tries again: {error}")

    async def _retain(self) -> None:
        """Drop what age and size no longer allow; the floors are durable before a file goes."""
        now_ns, monotonic_ns = self._clock.utc_ns(), self._clock.monotonic_ns()
        self._clock_trust = self._clock_trust.looked(now_ns, monotonic_ns)
        trusted = self._clock_trust.holds(monotonic_ns)
        expired = self._shelf.expired(now_ns, trusted)
        if trusted:
            self._told_of_jump = False
        elif self._clock_trust.jumped and not self._told_of_jump:
            self._tell_of_jump([p for p in self._shelf.expired(now_ns, True) if p not in expired])
        if not expired:
            return
        left = [p for p in self._shelf.partitions if p not in expired]
        floor_ns = max(left[0].alone_ns, self.floor_ns or 0)
        dropped: dict[Term, int] = {}
        for partition in expired:
            for term, holding in partition.held.terms.items():
                if not holding.stretches:
                    continue
                known = self._shelf.holdings.of(term) or EMPTY_HOLDING
                dropped[term] = max(dropped.get(term, known.floor - 1), holding.last)
        await self._state.let_go(dropped, floor_ns, now_ns)
        self.floor_ns = floor_ns
        await self._shelf.drop(expired)
        names = ", ".join(partition.path.stem for partition in expired)
        self._on_event(100, f"history of {names} was dropped by the retention")

    def _tell_of_jump(self, put_off: Sequence[Partition]) -> None:
        if put_off:
            self._told_of_jump = True
            self._on_event(
                500,
                f"the clock has jumped, and calls history up to {put_off[-1].path.stem} too old:"
                " for six hours none is dropped by age; look whether the time is right",
            )

    def _declare_losses(self) -> None:
        losses, self._shelf.losses = self._shelf.losses, []
        for loss in losses:
            self._declare(loss)

    def _declare(self, loss: Loss) -> None:
        """Put a record of the journal's own before all others."""
        self._pending.join_first(loss)
        self._urgent = True
