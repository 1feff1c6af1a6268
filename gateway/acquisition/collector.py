"""The shell around the pure parts of acquisition: one task a line, and the writes.

The collector asks lines what is due, keeps what changed, and hands batches to the journal. What it
needs of the house comes as callables in `House`; it knows no journal, no server and no driver by
name. Nothing here waits for the disk, except when the journal has no room left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from gateway.acquisition.changes import ChangeFilter
from gateway.acquisition.coverage import PATIENCE_NS, CoverageTracker, Key
from gateway.acquisition.ending import end
from gateway.acquisition.house import BUG_RETRY_NS, Commit, DeviceState, House, broken
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.schedule import Job, LineSchedule
from gateway.driver import SUBSCRIPTION_CLASS, Delivery, DeviceSpec, Fault, Line, Scan
from gateway.journal.records import Batch, Maintenance, SampleRow
from gateway.model import NS_PER_S, Cause, Origin, Status

SUBSCRIPTION_PATIENCE_NS: Final = 12 * NS_PER_S
"""A quiet subscription proves itself only by its keep-alives, so its claims may lag this far."""
DAY_NS: Final = 86_400 * NS_PER_S
FAILED: Final = ""
"""The scan class of a batch that speaks of a device as a whole."""


class Collector:
    """Runs the lines of one revision."""

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        lines: Sequence[Line],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
        house: House,
        since_ns: int | None = None,
    ) -> None:
        self.devices = {device.name: device for device in devices}
        self.states = {device.name: DeviceState() for device in devices}
        self.maintenance = maintenance
        self._points = {p.id: (device, p.number) for device in devices for p in device.points}
        self._lines = {line.spec.name: line for line in lines}
        self._house = house
        self._live = live
        self._revision = revision
        self._filter = ChangeFilter(live.points)
        start_ns = house.clock.utc_ns() if since_ns is None else since_ns
        self._wake = {line.spec.name: asyncio.Event() for line in lines}
        self._schedules: dict[str, LineSchedule] = {}
        self._begin_grid(start_ns)
        self.coverage = CoverageTracker(self._keys(), revision, start_ns)
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._passing: set[asyncio.Task[None]] = set()
        self._era = 0

    def _keys(self) -> list[tuple[Key, int]]:
        return [
            ((d.name, scan_class), SUBSCRIPTION_PATIENCE_NS if d.subscribed else PATIENCE_NS)
            for d in self.devices.values()
            for scan_class in d.scan_classes
        ]

    def line_of(self, device: str) -> Line:
        """The line that a device is on."""
        return self._lines[self.devices[device].line]

    # ------------------------------------------------------------------------------ running

    def _begin_grid(self, now_ns: int) -> None:
        for name, line in self._lines.items():
            schedule = LineSchedule(line.spec.devices, now_ns)
            for device in self.maintenance.disabled:
                schedule.pause(device)
            self._schedules[name] = schedule
            self._wake[name].set()

    def start(self) -> None:
        """Begin to poll and to listen."""
        self._begin_grid(now_ns := self._house.clock.utc_ns())
        for target in self.maintenance.disabled:
            self._disable(target, now_ns)
        for target, record in self.maintenance.substituted.items():
            self._substitute(target, record, now_ns)
        for line in self._lines.values():
            self._tasks.append(asyncio.create_task(self._poll(line), name=f"line {line.spec.name}"))
            for device in line.spec.devices:
                if device.subscribed and device.name not in self.maintenance.disabled:
                    self._listen(device)
        self._tasks.append(asyncio.create_task(self._claim(), name="coverage"))

    def _listen(self, device: DeviceSpec) -> None:
        task = asyncio.create_task(self._hear(device), name=f"subscription {device.name}")
        self._listening[device.name] = task

    async def _hear(self, device: DeviceSpec) -> None:
        while True:
            try:
                await self.line_of(device.name).listen(
                    device.name, partial(self._delivered, device)
                )
            except Exception as error:  # as for a scan: one driver's bug is one device's fault
                self._failed(device, broken(device.name, error))
            await asyncio.sleep(BUG_RETRY_NS / NS_PER_S)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task that must not end by itself: the node watches them."""
        return [*self._tasks, *self._listening.values()]

    async def stop(self) -> None:
        """Send nothing more, make a last claim, and close the lines."""
        await end([*self.tasks, *self._passing])
        self._record()
        await asyncio.gather(*(line.close() for line in self._lines.values()))

    async def _poll(self, line: Line) -> None:
        wake, clock = self._wake[line.spec.name], self._house.clock
        while True:
            schedule = self._schedules[line.spec.name]
            job = schedule.first()
            wait_ns = None if job is None else job.due_ns - clock.utc_ns()
            if job is None or wait_ns is None or wait_ns > 0:
                wake.clear()
                try:
                    async with asyncio.timeout(None if wait_ns is None else wait_ns / NS_PER_S):
                        await wake.wait()
                except TimeoutError:
                    pass
                continue
            era = self._era
            scan = await self._scan(line, job)
            if era != self._era:
                line.forget(job.device)  # its stamps are of the clock before the step
            elif scan.fault is not None:
                schedule.failed(job.device, clock.utc_ns() + scan.fault.retry_after_ns)
                self._failed(self.devices[job.device], scan.fault)
            else:
                self._answered(schedule, job, scan)
            await self._house.room()

    async def _scan(self, line: Line, job: Job) -> Scan:
        try:
            return await line.scan(job.device, job.scan_class)
        except Exception as error:  # a bug in a driver must not end the other devices' polling
            now_ns = self._house.clock.utc_ns()
            return Scan(now_ns, now_ns, fault=broken(job.device, error))

    async def _claim(self) -> None:
        """Each second, on the second, say what is complete."""
        clock = self._house.clock
        while True:
            await asyncio.sleep((NS_PER_S - clock.utc_ns() % NS_PER_S) / NS_PER_S)
            self._record()

    def _record(self, now_ns: int | None = None) -> None:
        record = self.coverage.record(now_ns or self._house.clock.utc_ns())
        if record is not None:
            self._house.append(record)

    # ------------------------------------------------------------------------------ outcomes

    def _answered(self, schedule: LineSchedule, job: Job, scan: Scan) -> None:
        device = self.devices[job.device]
        state = self.states[job.device]
        if device.name in self.maintenance.disabled:
            return
        if state.fault is not None:
            schedule.recovered(device.name, scan.received_ns)
            self._recovered(device, scan.received_ns)
        done = schedule.done(job, scan.received_ns)
        key = (device.name, job.scan_class)
        if done.skipped_from_ns is not None:
            self._overrun(key, done.skipped_from_ns, scan.received_ns)
        if not scan.complete:
            self.coverage.failed(key, Cause.DEVICE, scan.received_ns)
        begins = scan.complete and self.coverage.scanned(key, scan.received_ns, done.next_due_ns)
        state.scans += 1
        state.last_scan_ns = scan.received_ns
        rows = self._filter.accept(scan.observations)
        self._keep(device, job.scan_class, begins, rows, scan.requested_ns, scan.received_ns)

    def _keep(
        self,
        device: DeviceSpec,
        scan_class: str,
        begins: bool,
        rows: list[SampleRow],
        requested_ns: int,
        received_ns: int,
    ) -> None:
        state = self.states[device.name]
        day = received_ns // DAY_NS
        begins = begins or state.days.get(scan_class) != day
        if begins:
            state.days[scan_class] = day
            just_kept = {row[0] for row in rows}
            rows += self._filter.restate(device.name, scan_class, received_ns, just_kept)
        else:
            rows += self._filter.overdue(device.name, scan_class, received_ns)
        if not rows:
            self._live.polled(device.name, scan_class, received_ns)
            return
        state.samples += len(rows)
        origin = Origin.SUBSCRIPTION if device.subscribed else Origin.POLL
        self._house.append(
            Batch(
                device.name,
                scan_class,
                self._revision,
                origin,
                requested_ns,
                received_ns,
                tuple(rows),
                begins,
            )
        )

    def _failed(self, device: DeviceSpec, fault: Fault) -> None:
        if device.name in self.maintenance.disabled:
            return
        state = self.states[device.name]
        now_ns = self._house.clock.utc_ns()
        for scan_class in device.scan_classes:
            self.coverage.failed((device.name, scan_class), fault.cause, now_ns)
        known, state.fault = state.fault, fault
        if known is None:
            state.down_since_ns = now_ns
            self.line_of(device.name).forget(device.name)
            self._house.alarm(device.name, 700, f"lost: {fault.detail}")
        if known is None or known.status != fault.status:
            numbers = self._filter.numbers(device.name)
            self._say(device, self._filter.fail(numbers, fault.status, now_ns), Origin.POLL, now_ns)

    def _recovered(self, device: DeviceSpec, now_ns: int) -> None:
        state = self.states[device.name]
        away_s = (now_ns - state.down_since_ns) / NS_PER_S
        state.fault, state.down_since_ns = None, 0
        self._house.alarm(device.name, 300, f"back after {away_s:.1f} s")

    def _overrun(self, key: Key, from_ns: int, to_ns: int) -> None:
        self.coverage.skipped(key, from_ns, to_ns, Cause.OVERRUN)
        state = self.states[key[0]]
        state.overruns += 1
        if to_ns - state.told_overrun_ns > 60 * NS_PER_S:
            state.told_overrun_ns = to_ns
            late_ms = (to_ns - from_ns) // 1_000_000
            text = f"scan class {key[1]} can't keep its period ({late_ms} ms skipped)"
            self._house.alarm(key[0], 500, f"{text}: {state.overruns} overrun(s) so far")

    def _delivered(self, device: DeviceSpec, delivery: Delivery) -> None:
        if device.name in self.maintenance.disabled:
            return
        if delivery.fault is not None:
            self._failed(device, delivery.fault)
            return
        now_ns = self._house.clock.utc_ns()
        state = self.states[device.name]
        if state.fault is not None:
            self._recovered(device, now_ns)
        key = (device.name, SUBSCRIPTION_CLASS)
        if not delivery.complete:
            self.coverage.failed(key, Cause.OVERRUN, now_ns)
            self._house.alarm(device.name, 500, "the server dropped values (queue overflow)")
        # After a hole history is right from the restatement on, which is stamped now.
        at_ns = now_ns if self.coverage.in_hole(key) else delivery.through_ns
        begins = self.coverage.scanned(key, at_ns, delivery.through_ns)
        state.scans += 1
        state.last_scan_ns = now_ns
        rows = self._filter.accept(delivery.observations)
        self._keep(device, SUBSCRIPTION_CLASS, begins, rows, delivery.through_ns, now_ns)

    def _say(self, device: DeviceSpec, rows: list[SampleRow], origin: Origin, at_ns: int) -> Commit:
        """Journal samples that no scan brought (a fault, maintenance, a write): their commit."""
        if not rows:
            return None
        said = Batch(device.name, FAILED, self._revision, origin, at_ns, at_ns, tuple(rows))
        return self._house.append(said)

    # ------------------------------------------------------------------------------ the store

    def store_failed(self, since_ns: int) -> None:
        """History lost what came since: nothing is claimed until the store takes samples again."""
        self.coverage.failed_all(Cause.STORE, since_ns)
        self._begin_streams()

    def clock_stepped(self, step_ns: int) -> None:
        """The clock was set by `step_ns`: a new stream of claims begins on the new time.

        Claims end at the old time of the step. When the clock was set forward, what it jumped over
        is declared; a scan under way is dropped. The caller begins a new term at once.
        """
        now_ns = self._house.clock.utc_ns()
        self._record(now_ns - step_ns)
        since_ns = min(now_ns, self.coverage.through_ns)
        self._era += 1
        self.coverage = CoverageTracker(self._keys(), self._revision, since_ns)
        self.coverage.failed_all(Cause.CLOCK, since_ns)
        self._begin_grid(now_ns)
        self._begin_streams()

    def _begin_streams(self) -> None:
        """Make each class's next scan begin a stream: the store is back, or the clock was set."""
        for state in self.states.values():
            state.days.clear()

    def partition_began(self) -> None:
        """A new file stands alone (rules.md 2): state all that is in force, class by class."""
        self._aside(self._restate(), "restate")

    async def _restate(self) -> None:
        for device, scan_class in self.coverage.classes:
            now_ns = self._house.clock.utc_ns()
            if not self.coverage.in_hole((device, scan_class)):
                self._keep(self.devices[device], scan_class, True, [], now_ns, now_ns)
                await self._house.room()

    # ------------------------------------------------------------------------------ commands

    def observed(self, device: str, rows: Sequence[Any], origin: Origin, now_ns: int) -> Commit:
        """Take in what a command learned about a device (a value read back after a write)."""
        return self._say(self.devices[device], self._filter.accept(rows), origin, now_ns)

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
                self._substitute(record.target, record, now_ns)
            case "release":
                self._restore(record.target, now_ns)

    def _disable(self, target: str, now_ns: int) -> None:
        found = self._points.get(target)
        if found is not None:
            device, number = found
            rows = self._filter.override(number, None, Status.BAD_OUT_OF_SERVICE, now_ns)
            self._say(device, rows, Origin.SUBSTITUTE, now_ns)
        elif target in self.devices:
            device = self.devices[target]
            self._schedules[device.line].pause(target)
            if (task := self._listening.pop(target, None)) is not None:
                task.cancel()
            for scan_class in device.scan_classes:
                self.coverage.failed((target, scan_class), Cause.DISABLED, now_ns)
            numbers = self._filter.numbers(target)
            rows = self._filter.fail(numbers, Status.BAD_OUT_OF_SERVICE, now_ns)
            self._say(device, rows, Origin.SUBSTITUTE, now_ns)
            state = self.states[target]
            state.fault, state.down_since_ns = None, 0
            self._aside(self._withdraw(target), f"withdraw from {target}")

    async def _withdraw(self, device: str) -> None:
        """Free a disabled device: others may want the only socket that it has."""
        if device in self.maintenance.disabled:
            await self.line_of(device).withdraw(device)

    def _aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    def _enable(self, target: str, now_ns: int) -> None:
        if target not in self.devices:
            self._restore(target, now_ns)
            return
        device = self.devices[target]
        self.line_of(target).forget(target)
        if device.subscribed:
            self._listen(device)
        else:
            self._schedules[device.line].resume(target, now_ns)
            self._wake[device.line].set()

    def _substitute(self, target: str, record: Maintenance, now_ns: int) -> None:
        found = self._points.get(target)
        if found is not None:
            device, number = found
            status = Status.GOOD_LOCAL_OVERRIDE
            rows = self._filter.override(number, record.value, status, now_ns)
            self._say(device, rows, Origin.SUBSTITUTE, now_ns)

    def _restore(self, target: str, now_ns: int) -> None:
        found = self._points.get(target)
        if found is not None:
            device, number = found
            self._say(device, self._filter.release(number, now_ns), Origin.SUBSTITUTE, now_ns)
