"""The shell around the pure parts of acquisition: what lines say, and what is claimed of it.

The collector has lines ask what is due and hands what they say to `Outcomes`. What it needs of the
house comes as callables in `House`; it knows no journal, no server and no driver by name. Nothing
here waits for the disk, except when the journal has no room left. One object serves every reign
and every revision of a node: `ready`, `start`, `swap` while it polls, `drain` or `halt`, `stop`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from gateway.acquisition.begin import Begin
from gateway.acquisition.carried import CarriedLine
from gateway.acquisition.coverage import CoverageTracker
from gateway.acquisition.house import Commit, DeviceState, House
from gateway.acquisition.lines import Lines
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.outcomes import Outcomes
from gateway.acquisition.poller import Poller
from gateway.acquisition.schedule import Job
from gateway.driver import Delivery, DeviceSpec, Line, PointSpec, Scan
from gateway.ending import end
from gateway.journal.records import Maintenance
from gateway.model import NS_PER_S, Cause, Value

DRAIN_S: Final = 1.0
"""How long a drain waits for scans under way, and then for their commit: a device's time-out."""


class Collector:
    """Runs the lines of the revision in force."""

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        lines: Sequence[Line],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
        house: House,
        since_ns: int | None = None,
        reached: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._house = house
        self._reached = reached
        self._since_ns = since_ns
        self._claiming: asyncio.Task[None] | None = None
        self._draining_ns: int | None = None
        self._over = False
        self._passing: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()
        self.ready(devices, lines, live, maintenance, revision)

    def ready(
        self,
        devices: Sequence[DeviceSpec],
        lines: Sequence[Line],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
    ) -> None:
        """Stand by with a revision, and with lines that nobody used yet."""
        self.outcomes = self._outcomes(devices, live, maintenance, revision)
        self.lines = Lines(lines, self._house, self._took, self._heard)

    def _outcomes(
        self,
        devices: Sequence[DeviceSpec],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
    ) -> Outcomes:
        targets = {d.name for d in devices} | {p.id for d in devices for p in d.points}
        return Outcomes(
            devices,
            live,
            maintenance.within(targets),
            revision,
            self._house,
            lambda device: self.line_of(device).forget(device),
            self._reached,
            self._house.clock.utc_ns(),
        )

    # ------------------------------------------------------------------------------ looking

    @property
    def polling(self) -> bool:
        """Whether what lines say is taken in and claimed."""
        return self._claiming is not None

    @property
    def devices(self) -> Mapping[str, DeviceSpec]:
        """The devices of the revision, by name."""
        return self.outcomes.devices

    @property
    def points(self) -> Mapping[str, PointSpec]:
        """The points of the revision, by id."""
        return self.outcomes.points

    @property
    def states(self) -> Mapping[str, DeviceState]:
        """How each device fares, by name."""
        return self.outcomes.states

    @property
    def maintenance(self) -> MaintenanceState:
        """What people took out of service."""
        return self.outcomes.maintenance

    @property
    def coverage(self) -> CoverageTracker:
        """What may be claimed."""
        return self.outcomes.coverage

    @property
    def answers(self) -> int:
        """How often any device answered since this node stood ready."""
        return self.outcomes.answers

    def in_service(self) -> list[tuple[CarriedLine, list[str]]]:
        """The lines, and the devices on each that are not disabled."""
        disabled = self.maintenance.disabled
        return [
            (p.line, [d.name for d in p.line.spec.devices if d.name not in disabled])
            for p in self.lines.pollers.values()
        ]

    def line_of(self, device: str) -> CarriedLine:
        """The line that a device is on."""
        return self.poller_of(device).line

    def poller_of(self, device: str) -> Poller:
        """What scans the line that a device is on."""
        return self.lines.pollers[self.devices[device].line]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task that must not end by itself: the node watches them."""
        return [] if self._claiming is None else [*self.lines.tasks, self._claiming]

    # ------------------------------------------------------------------------------ beginning

    def start(self, begin: Begin | None = None) -> None:
        """Begin to poll, to listen and to claim."""
        now_ns = self._house.clock.utc_ns()
        begin = (begin or Begin(since_ns=self._since_ns)).by(now_ns)
        granted_ns = begin.granted_through_ns
        since_ns = now_ns if begin.since_ns is None else begin.since_ns
        if granted_ns is not None:
            since_ns = granted_ns + 1
        self.outcomes.begin(since_ns, max(since_ns, begin.not_before_ns))
        self.lines.begin_grid(now_ns, self.maintenance.disabled)
        if granted_ns is not None:
            for poller in self.lines.pollers.values():
                dues = poller.schedule.grant(granted_ns, begin.unanswered)
                for key, due_ns in dues.items():
                    self.coverage.vouched(key, due_ns)
        self._take_out_of_service(self.devices, now_ns)
        self.lines.start(self.maintenance.disabled)
        self._draining_ns = None
        self._begin_claims()

    def _begin_claims(self) -> None:
        self._over = False
        self._claiming = asyncio.create_task(self._claim(), name="coverage")

    async def _claim(self) -> None:
        """Four times a second, by the clock, say what is complete."""
        clock = self._house.clock
        while True:
            await asyncio.sleep(self.coverage.wait_ns(clock.utc_ns()) / NS_PER_S)
            self.outcomes.record(clock.utc_ns())

    def _took(self, poller: Poller, job: Job, scan: Scan) -> None:
        if not self._house.reigns():
            self.outcomes.outlived(self.devices[job.device], poller.schedule)
        elif scan.fault is not None:
            retry_ns = self._house.clock.utc_ns() + scan.fault.retry_after_ns
            poller.schedule.failed(job.device, retry_ns)
            self.outcomes.failed(self.devices[job.device], scan.fault)
        else:
            self.outcomes.answered(poller.schedule, job, scan)
        self._moved.set()

    def _heard(self, device: str, delivery: Delivery) -> None:
        if self.polling and device in self.lines.listening:
            self.outcomes.delivered(self.devices[device], delivery)

    # ------------------------------------------------------------------------------ ending

    async def drain(self, patience_s: float = DRAIN_S) -> int:
        """Answer for every scan instant up to now and begin no later one; that time, in ns UTC.

        All is committed then, the last claim included. A scan that takes longer than `patience_s`
        is given up and its class has a hole, as have subscriptions from their last sign of life.
        """
        if not self.polling:
            return self._draining_ns or self._house.clock.utc_ns()
        through_ns = self._draining_ns = self._house.clock.utc_ns()
        self.lines.settle(through_ns)
        await asyncio.gather(self.lines.deafen_all(), self._settled(through_ns, patience_s))
        if not self._drains(through_ns):
            return through_ns
        now_ns = self._house.clock.utc_ns() + 1  # a claim ends before its last moment
        for poller in self.lines.pollers.values():
            for job in poller.schedule.outstanding(through_ns):
                self.coverage.failed((job.device, job.scan_class), Cause.OVERRUN, now_ns)
        self.outcomes.turn(now_ns)  # another term goes on from here: the next Main's, or our own
        await end(self._end_claims())
        # A store that fails has declared its gap by itself.
        if (said := self.outcomes.said) is not None:
            await asyncio.wait([asyncio.ensure_future(said)], timeout=patience_s)
        return through_ns

    def _drains(self, through_ns: int) -> bool:
        return self.polling and self._draining_ns == through_ns

    async def _settled(self, through_ns: int, patience_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._drains(through_ns) and not self.lines.settled:
                    self._moved.clear()
                    await self._moved.wait()

    def _end_claims(self) -> set[asyncio.Task[None]]:
        """From now on nothing is said any more. The tasks that are still to be ended."""
        if self._claiming is None:
            return set()
        self.lines.disown()
        ending = {self._claiming, *self._passing}
        self._claiming = None
        self._over = True
        for task in ending:
            task.cancel()
        return ending

    def resume(self) -> None:
        """Go on after a drain that led to nothing, in a new term: what is late is due now."""
        self._draining_ns = None
        self.lines.resume()
        self.lines.listen_all(self.maintenance.disabled)
        if self._claiming is None:
            self._begin_claims()
        self._moved.set()

    def halt(self) -> None:
        """Ask nothing more, at once, and make the last claim."""
        if self.polling:
            self.outcomes.record(self._house.clock.utc_ns(), Cause.NODE_DOWN)
        self._passing |= self._end_claims()
        self.lines.halt()
        self._moved.set()

    async def stop(self) -> None:
        """Send nothing more, make a last claim, and close the lines."""
        self.halt()
        await end(self._passing)
        self._passing.clear()
        await self.lines.stop()

    # ------------------------------------------------------------------------------ revisions

    def swap(
        self,
        devices: Sequence[DeviceSpec],
        lines: Sequence[CarriedLine],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
        kept: Collection[str],
    ) -> None:
        """Go on under another revision, at once.

        A line that is among `lines` again goes on. The devices in `kept` are the same as before,
        whatever became of their line: they keep their instants, counters and claims.
        """
        now_ns = self._house.clock.utc_ns()
        self.outcomes.record(now_ns)
        before = self.outcomes
        self.outcomes = self._outcomes(devices, live, maintenance, revision)
        stay = {name: self.devices[name] for name in kept}
        self.outcomes.succeed(before, stay)
        self.lines.swap(lines, stay, self.maintenance.disabled)
        self._take_out_of_service(set(self.devices) - set(kept), now_ns)
        self.outcomes.look_around()

    # ------------------------------------------------------------------------------ the house

    def store_failed(self, since_ns: int | None) -> None:
        """History lost what came since, or (None) the store takes samples again from now on."""
        self.outcomes.store_failed(since_ns)

    def turn(self) -> None:
        """What is said from now on is of a new term: each class's next scan stores every point.

        A drain that is under way led to nothing, then: it returns, and all waits for `resume`.
        """
        if self.polling:
            self._draining_ns = None
            self._moved.set()
            self.outcomes.turn(self._house.clock.utc_ns())

    def clock_stepped(self, step_ns: int) -> None:
        """The clock was set by `step_ns`: a new stream of claims begins on the new time.

        Claims end at the old time of the step. When the clock was set forward, what it jumped over
        is declared; a scan under way is dropped. The caller begins a new term at once.
        """
        if not self.polling:
            return
        now_ns = self._house.clock.utc_ns()
        self.outcomes.record(now_ns - step_ns, Cause.CLOCK)
        since_ns = min(now_ns, self.coverage.through_ns)
        self.outcomes.begin(since_ns, 0)
        self.coverage.failed_all(Cause.CLOCK, since_ns)
        self.lines.begin_grid(now_ns, self.maintenance.disabled)

    def partition_began(self) -> None:
        """A new file stands alone (rules.md 2): state all that is in force, class by class."""
        if not self._over:
            self._aside(self._restate(), "restate")

    async def _restate(self) -> None:
        outcomes = self.outcomes
        for device, scan_class in outcomes.coverage.classes:
            if self.outcomes is not outcomes:
                return  # another revision, which states all by itself
            now_ns = self._house.clock.utc_ns()
            if not outcomes.coverage.in_hole((device, scan_class)):
                outcomes.keep(outcomes.devices[device], scan_class, True, [], now_ns, now_ns)
                await self._house.room()

    def _aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    # ------------------------------------------------------------------------------ commands

    def read_back(self, point: PointSpec, value: Value, time_ns: int) -> Commit:
        """Take in the value that a write read back, if it is a new one: its commit."""
        return self.outcomes.read_back(point, value, time_ns)

    def maintain(self, record: Maintenance) -> None:
        """Carry out a maintenance action that was checked and journalled."""
        self.maintenance.apply(record)
        now_ns = self._house.clock.utc_ns()
        match record.action:
            case "disable":
                self._disable(record.target, now_ns)
            case "enable":
                self._enable(record.target, now_ns)
            case "substitute":
                self.outcomes.substitute(record.target, record, now_ns)
            case "release":
                self.outcomes.restore(record.target, now_ns)

    def _take_out_of_service(self, devices: Collection[str], now_ns: int) -> None:
        """Carry out what maintenance says of `devices`."""
        for target in self.maintenance.disabled:
            if target.partition("/")[0] in devices:
                self._disable(target, now_ns)
        for target, record in self.maintenance.substituted.items():
            if target.partition("/")[0] in devices:
                self.outcomes.substitute(target, record, now_ns)

    def _disable(self, target: str, now_ns: int) -> None:
        if target in self.points:
            self.outcomes.disable_point(target, now_ns)
        elif target in self.devices:
            self.poller_of(target).schedule.pause(target)
            self.lines.deafen(target)
            self.outcomes.disable_device(target, now_ns)
            self._aside(self._withdraw(target), f"withdraw from {target}")

    async def _withdraw(self, device: str) -> None:
        """Free a disabled device: others may want the only socket that it has."""
        if device in self.maintenance.disabled:
            await self.line_of(device).withdraw(device)

    def _enable(self, target: str, now_ns: int) -> None:
        if target not in self.devices:
            self.outcomes.restore(target, now_ns)
            return
        device, poller = self.devices[target], self.poller_of(target)
        poller.line.forget(target)
        if device.subscribed:
            self.lines.listen(poller.line, device)
        else:
            poller.schedule.resume(target, now_ns)
            poller.wake()
