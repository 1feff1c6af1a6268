"""What scans, deliveries and failures mean: for history, for coverage, and for each device.

One object a revision; the next one takes over what it knows of the devices that stay. Nothing here
waits, and nothing here speaks to a device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from gateway.acquisition.changes import ChangeFilter
from gateway.acquisition.coverage import PATIENCE_NS, CoverageTracker, Key
from gateway.acquisition.house import Commit, DeviceState, House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.schedule import Job, LineSchedule
from gateway.driver import (
    SUBSCRIPTION_CLASS,
    Delivery,
    DeviceSpec,
    Fault,
    Observation,
    PointSpec,
    Rehearsal,
    Scan,
)
from gateway.journal.records import BACK, LOST, Batch, Maintenance, SampleRow
from gateway.model import NS_PER_S, Cause, Origin, Status, Value

OUTLIVED_RETRY_NS: Final = NS_PER_S // 10
"""When a device is asked again if the reign turns out to last."""
SUBSCRIPTION_PATIENCE_NS: Final = 12 * NS_PER_S
"""A quiet subscription proves itself only by its keep-alives, so its claims may lag this far."""
DAY_NS: Final = 86_400 * NS_PER_S
FAILED: Final = ""
"""The scan class of a batch that speaks of a device as a whole."""


class Outcomes:
    """The devices of one revision; `forget` has a device's line observe every point anew."""

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
        house: House,
        forget: Callable[[str], None],
        told: Callable[[bool], None],
        since_ns: int,
    ) -> None:
        self.devices: Mapping[str, DeviceSpec] = {device.name: device for device in devices}
        self.states = {device.name: DeviceState() for device in devices}
        self.points: Mapping[str, PointSpec] = {p.id: p for d in devices for p in d.points}
        self.maintenance = maintenance
        self.answers = 0
        self.reached: bool | None = None
        self.not_before_ns = 0
        self.coverage = CoverageTracker(self.keys(), revision, since_ns)
        self.said: Commit = None
        self._house = house
        self._live = live
        self.revision = revision
        self._filter = ChangeFilter(live.points)
        self._forget = forget
        self._told = told

    def keys(self) -> list[tuple[Key, int]]:
        """Every (device, scan class) with how long its claims may lag."""
        return [
            ((d.name, scan_class), SUBSCRIPTION_PATIENCE_NS if d.subscribed else PATIENCE_NS)
            for d in self.devices.values()
            for scan_class in d.scan_classes
        ]

    def begin(self, since_ns: int, not_before_ns: int) -> None:
        """Claims begin, with a reign or a clock that was set, on this node's time as it is now.

        No scan received before `not_before_ns` ends a hole.
        """
        self.coverage = CoverageTracker(self.keys(), self.revision, since_ns)
        self.not_before_ns = not_before_ns
        self._filter.clock_set()
        self.begin_streams()

    def succeed(self, before: Outcomes, kept: Collection[str]) -> None:
        """Go on with the devices in `kept` where the revision before this one stands."""
        keys = [(name, c) for name in kept for c in self.devices[name].scan_classes]
        self.coverage = before.coverage.succeed(self.keys(), self.revision, keys)
        self.states |= {name: before.states[name] for name in kept}
        self.answers, self.reached = before.answers, before.reached
        self.not_before_ns, self.said = before.not_before_ns, before.said
        self._filter.inherit(before._filter, kept)
        self.begin_streams()

    def begin_streams(self) -> None:
        """Make each class's next scan store every point."""
        for state in self.states.values():
            state.days.clear()

    def record(self, now_ns: int, last: Cause | None = None) -> None:
        """Claim what is complete; with `last` for the last time (see CoverageTracker.record)."""
        record = self.coverage.record(now_ns, last)
        if record is not None:
            self.said = self._house.append(record)

    def turn(self, now_ns: int) -> None:
        """What is said from now on is of another term: claim what is complete, and begin anew."""
        for device in self.devices.values():
            if device.subscribed:  # only its next values, stamped then, are of the new term
                self.coverage.failed((device.name, SUBSCRIPTION_CLASS), Cause.STARTING, now_ns)
        record = self.coverage.turn(now_ns)
        if record is not None:
            self.said = self._house.append(record)
        self.begin_streams()

    def store_failed(self, since_ns: int | None) -> None:
        """History lost what came since, or (None) the store takes samples again from now on.

        Changes were dropped, so nothing holds from the last claim on until the next good scan. What
        came in before the store did can't begin a stream: later claims begin with the store.
        """
        told_ns = self.coverage.complete_ns
        if since_ns is None:
            since_ns = told_ns
            self.not_before_ns = max(self.not_before_ns, self._house.clock.utc_ns())
        self.coverage.failed_all(Cause.STORE, min(since_ns, told_ns))
        self.begin_streams()

    # ------------------------------------------------------------------------------ answers

    def answered(self, schedule: LineSchedule, job: Job, scan: Scan) -> None:
        """A scan was answered."""
        device = self.devices[job.device]
        state = self.states[job.device]
        if device.name in self.maintenance.disabled:
            return
        if state.fault is not None:
            schedule.recovered(device.name, scan.received_ns)
            self._recovered(device, scan.received_ns)
        done = schedule.done(job, scan.requested_ns, scan.received_ns)
        key = (device.name, job.scan_class)
        if done.skipped_from_ns is not None:
            self._overrun(key, done.skipped_from_ns, scan.received_ns)
        begins, received_ns = False, scan.received_ns
        if not scan.complete:
            self.coverage.failed(key, Cause.DEVICE, received_ns)
        elif received_ns < self.not_before_ns:
            schedule.hasten(job, self.not_before_ns)
        else:
            if self.coverage.in_hole(key):
                # A hole that is declared beyond the reply stays one: what begins then was heard of
                # no earlier, or it would count as learned before it.
                received_ns = max(received_ns, self.coverage.told_ns(key))
            begins = self.coverage.scanned(key, received_ns, done.holds_ns)
            begins = begins or done.skipped_from_ns is not None
        self._heard(state, scan.received_ns)
        rows = self._filter.accept(scan.observations, scan.received_ns, scan.requested_ns)
        self.keep(device, job.scan_class, begins, rows, scan.requested_ns, received_ns)

    def delivered(self, device: DeviceSpec, delivery: Delivery) -> None:
        """A subscription brought values, a sign of life, or a fault."""
        if device.name in self.maintenance.disabled:
            return
        if not self._house.reigns():
            self.outlived(device)
            return
        if delivery.fault is not None:
            self.failed(device, delivery.fault)
            return
        now_ns = self._house.clock.utc_ns()
        state = self.states[device.name]
        if state.fault is not None:
            self._recovered(device, now_ns)
        key = (device.name, SUBSCRIPTION_CLASS)
        if not delivery.complete:
            self.coverage.failed(key, Cause.OVERRUN, now_ns)
            self._house.alarm(device.name, 500, "the server dropped values (queue overflow)")
        begins = False
        if now_ns >= self.not_before_ns:
            # After a hole history is right from the restatement on, which is stamped now.
            at_ns = now_ns if self.coverage.in_hole(key) else delivery.through_ns
            begins = self.coverage.scanned(key, at_ns, delivery.through_ns)
        self._heard(state, now_ns)
        rows = self._filter.accept(delivery.observations, now_ns)
        self.keep(device, SUBSCRIPTION_CLASS, begins, rows, delivery.through_ns, now_ns)

    def _heard(self, state: DeviceState, at_ns: int) -> None:
        state.scans += 1
        state.last_scan_ns = at_ns
        self.answers += 1
        if self.reached is not True:
            self.reached = True
            self._told(True)

    def keep(
        self,
        device: DeviceSpec,
        scan_class: str,
        begins: bool,
        rows: list[SampleRow],
        requested_ns: int,
        received_ns: int,
    ) -> None:
        """Journal what is worth it of a class that was read; all of it when a stream begins."""
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
        self.said = self._house.append(
            Batch(
                device.name,
                scan_class,
                self.revision,
                origin,
                requested_ns,
                received_ns,
                tuple(rows),
                begins,
            )
        )

    # ------------------------------------------------------------------------------ failures

    def failed(self, device: DeviceSpec, fault: Fault) -> None:
        """A device as a whole could not be read."""
        if device.name in self.maintenance.disabled:
            return
        state = self.states[device.name]
        now_ns = self._house.clock.utc_ns()
        for scan_class in device.scan_classes:
            self.coverage.failed((device.name, scan_class), fault.cause, now_ns)
        known, state.fault = state.fault, fault
        if known is None:
            state.down_since_ns = now_ns
            self._forget(device.name)
            self._house.alarm(device.name, 700, f"lost: {fault.detail}", LOST)
            self.look_around()
        if known is None or known.status != fault.status:
            numbers = self._filter.numbers(device.name)
            self.say(device, self._filter.fail(numbers, fault.status, now_ns), Origin.POLL, now_ns)

    def outlived(self, device: DeviceSpec, schedule: LineSchedule | None = None) -> None:
        """Something came after the reign: it is not said, only that nothing is known from now on.

        A node that wakes too late finds time-outs and old replies: the field was not lost, and the
        other node speaks for it now. If the reign turns out to last, what was not said is told
        anew: its line takes it for told.
        """
        now_ns = self._house.clock.utc_ns()
        if schedule is not None:
            schedule.failed(device.name, now_ns + OUTLIVED_RETRY_NS)
        self._forget(device.name)
        for scan_class in device.scan_classes:
            self.coverage.failed((device.name, scan_class), Cause.NODE_DOWN, now_ns)

    def look_around(self) -> None:
        """Tell when no device answers any more: every one that is asked has failed."""
        asked = self._asked().values()
        lost = bool(asked) and all(state.fault is not None for state in asked)
        if lost and self.reached is not False:
            self.reached = False
            self._told(False)

    def _asked(self) -> dict[str, DeviceState]:
        return {n: s for n, s in self.states.items() if n not in self.maintenance.disabled}

    def any_answers(self) -> bool:
        """Whether a device in service answered and has not failed since."""
        return any(state.answers for state in self._asked().values())

    def rehearsed(self) -> list[Rehearsal]:
        """What polling says of each device in service."""
        return [
            Rehearsal(
                name,
                False,
                state.answers,
                "polled by this node" if state.fault is None else state.fault.detail,
                "",
            )
            for name, state in sorted(self._asked().items())
        ]

    def _recovered(self, device: DeviceSpec, now_ns: int) -> None:
        state = self.states[device.name]
        away_s = (now_ns - state.down_since_ns) / NS_PER_S
        state.fault, state.down_since_ns = None, 0
        self._house.alarm(device.name, 300, f"back after {away_s:.1f} s", BACK)

    def _overrun(self, key: Key, from_ns: int, to_ns: int) -> None:
        self.coverage.skipped(key, from_ns, to_ns, Cause.OVERRUN)
        state = self.states[key[0]]
        state.overruns += 1
        if to_ns - state.told_overrun_ns > 60 * NS_PER_S:
            state.told_overrun_ns = to_ns
            late_ms = (to_ns - from_ns) // 1_000_000
            text = f"scan class {key[1]} can't keep its period ({late_ms} ms skipped)"
            self._house.alarm(key[0], 500, f"{text}: {state.overruns} overrun(s) so far")

    # ------------------------------------------------------------------------------ commands

    def say(self, device: DeviceSpec, rows: list[SampleRow], origin: Origin, at_ns: int) -> Commit:
        """Journal samples that no scan brought (a fault, maintenance, a write): their commit."""
        if not rows:
            return None
        said = Batch(device.name, FAILED, self.revision, origin, at_ns, at_ns, tuple(rows))
        self.said = self._house.append(said)
        return self.said

    def read_back(self, point: PointSpec, value: Value, time_ns: int) -> Commit:
        """Take in the value that a write read back, if it is a new one: its commit."""
        device = self.devices[point.device]
        seen = Observation(point.number, time_ns, value, Status.GOOD)
        rows = self._filter.read_back(seen, scanned=not device.subscribed)
        return self.say(device, rows, Origin.WRITE, time_ns)

    def disable_point(self, target: str, now_ns: int) -> None:
        """A point is out of service."""
        point = self.points[target]
        rows = self._filter.override(point.number, None, Status.BAD_OUT_OF_SERVICE, now_ns)
        self.say(self.devices[point.device], rows, Origin.SUBSTITUTE, now_ns)

    def disable_device(self, target: str, now_ns: int) -> None:
        """A device is out of service."""
        device = self.devices[target]
        for scan_class in device.scan_classes:
            self.coverage.failed((target, scan_class), Cause.DISABLED, now_ns)
        numbers = self._filter.numbers(target)
        rows = self._filter.fail(numbers, Status.BAD_OUT_OF_SERVICE, now_ns)
        self.say(device, rows, Origin.SUBSTITUTE, now_ns)
        state = self.states[target]
        state.fault, state.down_since_ns = None, 0
        self.look_around()

    def substitute(self, target: str, record: Maintenance, now_ns: int) -> None:
        """A point shows a value that a person gave."""
        if (point := self.points.get(target)) is not None:
            status = Status.GOOD_LOCAL_OVERRIDE
            rows = self._filter.override(point.number, record.value, status, now_ns)
            self.say(self.devices[point.device], rows, Origin.SUBSTITUTE, now_ns)

    def restore(self, target: str, now_ns: int) -> None:
        """A point follows its device again."""
        if (point := self.points.get(target)) is not None:
            rows = self._filter.release(point.number, now_ns)
            self.say(self.devices[point.device], rows, Origin.SUBSTITUTE, now_ns)
