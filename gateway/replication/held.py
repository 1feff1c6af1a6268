"""Carries out what the sync gate wants, for one reign."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.errors import JournalError
from gateway.journal.records import Body, Event, Record
from gateway.model import format_time
from gateway.replication.effects import Acked, Alarm
from gateway.replication.gate import Declare, GateEffect, Release, SyncGate

TICK_S: Final = 0.05
RETRY_S: Final = 1.0


class HeldBack:
    """Between the journal's commits and whoever shows values to clients.

    `publish(records, stored)` shows them. `commit(body)` journals, and raises JournalError when it
    can't. `follows()` says whether the peer commits FULL and lacks nothing; `alarm(severity, text)`
    tells a person.
    """

    def __init__(
        self,
        gate: SyncGate,
        publish: Callable[[Sequence[Record], bool], None],
        commit: Callable[[Body], Awaitable[object]],
        follows: Callable[[], bool],
        clock: Clock,
        alarm: Callable[[int, str], None],
    ) -> None:
        self.gate = gate
        self._publish = publish
        self._commit = commit
        self._follows = follows
        self._clock = clock
        self._alarm = alarm
        self._declaring: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The reign begins."""
        self._carry_out(self.gate.begin())
        self._ticking = asyncio.create_task(self._tick(), name="sync gate")

    async def stop(self) -> None:
        """The reign is over: what waits is in history, and is shown to nobody any more."""
        tasks = [task for task in (self._ticking, self._declaring) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def committed(self, records: Sequence[Record], stored: bool) -> None:
        """For the journal's `on_commit`."""
        self._carry_out(self.gate.committed(records, stored, self._clock.monotonic_ns()))

    def acknowledged(self, acked: Acked) -> None:
        """For the replication server's `acked`."""
        now_ns = self._clock.monotonic_ns()
        self._carry_out(self.gate.acknowledged(acked.position, acked.durable, now_ns))

    def _carry_out(self, effects: Sequence[GateEffect]) -> None:
        for effect in effects:
            match effect:
                case Release(records, stored):
                    self._publish(records, stored)
                case Alarm(severity, text):
                    self._alarm(severity, text)
                case Declare():
                    self._declaring = asyncio.create_task(self._declare(effect), name="sync gate")

    async def _declare(self, declare: Declare) -> None:
        while True:
            now_ns = self._clock.utc_ns()
            what = "sync again" if declare.synchronous else "async"
            text = f"replication is {what} since {format_time(now_ns)}: {declare.why}"
            try:
                await self._commit(Event("replication", 600, text, now_ns))
                break
            except JournalError:  # the store tells of itself; the values wait for this record
                await asyncio.sleep(RETRY_S)
        self._carry_out(self.gate.journalled())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._carry_out(self.gate.tick(self._clock.monotonic_ns(), self._follows()))
