"""One line's task: what is due on it is asked, one scan at a time, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from gateway.acquisition.carried import CarriedLine
from gateway.acquisition.house import House, broken
from gateway.acquisition.schedule import Job, LineSchedule
from gateway.driver import Scan
from gateway.ending import end
from gateway.errors import LinkError
from gateway.model import NS_PER_S

REPLY_MAX_S: Final = 5.0
"""How long the end of a poller waits for the reply to what was asked last."""

Take = Callable[["Poller", Job, Scan], None]
"""Gets each scan that was answered or failed."""


class Poller:
    """The scans of one line; `speaks_for` limits whose outcomes still count (None: everybody's)."""

    def __init__(self, line: CarriedLine, schedule: LineSchedule, house: House, take: Take) -> None:
        self.line = line
        self.schedule = schedule
        self.speaks_for: Collection[str] | None = None
        self.task: asyncio.Task[None] | None = None
        self._house = house
        self._take = take
        self._wake = asyncio.Event()
        self._scanned = asyncio.Event()
        self._through_ns: int | None = None
        self._running: Job | None = None
        self._finishing = False

    def start(self) -> None:
        """Begin to poll."""
        self.task = asyncio.create_task(self._run(), name=f"line {self.line.spec.name}")

    def wake(self) -> None:
        """Look at the schedule again: something in it changed."""
        self._wake.set()

    # ---------------------------------------------------------------------------- beside it

    async def turn(self, expected_ns: int, share: float) -> None:
        """Wait until a request that takes `expected_ns` comes between no scan and its instant.

        Where scans leave no such room the request goes all the same as soon as it has waited so
        long that it takes no more than `share` (0 to 1) of the line's time.
        """
        clock = self._house.clock
        due_ns = clock.monotonic_ns() + round(expected_ns * (1 - share) / share)
        while not self._leaves(expected_ns):
            if self._finishing:  # nobody scans here any more: a turn would never come
                raise LinkError("the line is closed")
            patience_ns = due_ns - clock.monotonic_ns()
            if patience_ns <= 0 and not self._ending:
                return
            self._scanned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._ending else patience_ns / NS_PER_S):
                    await self._scanned.wait()

    @property
    def _ending(self) -> bool:
        return self._finishing or self._through_ns is not None

    def _leaves(self, expected_ns: int) -> bool:
        """Whether no scan runs, and none is due before the request is answered."""
        if self._running is not None or self._ending:
            return False
        job = self.schedule.first()
        return job is None or job.due_ns - self._house.clock.utc_ns() > expected_ns

    # ---------------------------------------------------------------------------- ending

    def disown(self) -> None:
        """What the scan under way brings is not wanted: its time or its reign is over."""
        self._running = None

    def settle(self, through_ns: int) -> None:
        """Answer for the instants up to `through_ns`, and begin no scan of a later one."""
        self._through_ns = through_ns
        self._wake.set()

    @property
    def settled(self) -> bool:
        """Whether every instant up to the end is answered for."""
        return self._through_ns is not None and not self.schedule.outstanding(self._through_ns)

    def resume(self) -> None:
        """Go on after `settle`."""
        self._through_ns = None
        self._wake.set()
        self._scanned.set()

    def halt(self) -> None:
        """Ask nothing more, at once.

        On a network the connection is thrown away; on a serial line a reply may still come, and
        nobody else should speak before it is in: there the scan ends by itself.
        """
        self._finishing = True
        self.disown()
        self._wake.set()
        self._scanned.set()
        if not self.line.serial and self.task is not None:
            self.task.cancel()

    async def finish(self) -> None:
        """End after the scan that is under way."""
        self._finishing = True
        self._wake.set()
        self._scanned.set()
        if self.task is not None:
            await asyncio.wait({self.task}, timeout=REPLY_MAX_S)
            await end([self.task])

    async def stop(self) -> None:
        """End now: on a serial line after the reply, or the time-out, of what was asked."""
        self.halt()
        if self.line.serial:
            await self.finish()
        elif self.task is not None:
            await end([self.task])

    # ---------------------------------------------------------------------------- running

    async def _run(self) -> None:
        await self.line.ready()
        clock = self._house.clock
        while not self._finishing:
            job = self._next()
            wait_ns = None if job is None else job.due_ns - clock.utc_ns()
            if job is None or wait_ns is None or wait_ns > 0:
                await self._sleep(wait_ns)
                continue
            self._running = job
            scan = await self._scan(job)
            self._scanned.set()
            if self._running is not job:
                self.line.forget(job.device)
                continue
            self._running = None
            if self.speaks_for is None or job.device in self.speaks_for:
                self._tell(job, scan)
            await self._house.room()

    def _tell(self, job: Job, scan: Scan) -> None:
        try:
            self._take(self, job, scan)
        except Exception as error:  # whatever a device said must not end the others' polling
            self._take(self, job, self._broken(job, error))

    def _broken(self, job: Job, error: Exception) -> Scan:
        """The fault that a bug is; what its scan had told already nobody has kept."""
        self.line.forget(job.device)
        now_ns = self._house.clock.utc_ns()
        return Scan(now_ns, now_ns, fault=broken(job.device, error))

    def _next(self) -> Job | None:
        if self._through_ns is not None:
            return next(iter(self.schedule.outstanding(self._through_ns)), None)
        return self.schedule.first()

    async def _sleep(self, wait_ns: int | None) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if wait_ns is None else wait_ns / NS_PER_S):
                await self._wake.wait()

    async def _scan(self, job: Job) -> Scan:
        try:
            return await self.line.scan(job.device, job.scan_class)
        except Exception as error:  # a bug in a driver must not end the other devices' polling
            return self._broken(job, error)
