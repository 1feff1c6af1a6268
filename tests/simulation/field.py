"""A node's polling without asyncio: the real outcomes, schedules and coverage, one line a device.

It follows gateway/acquisition/collector.py and poller.py step by step. A line tells only what
changed since it last read, as those of the drivers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from gateway.acquisition.begin import Begin
from gateway.acquisition.carried import CarriedLine
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.outcomes import Outcomes
from gateway.acquisition.poller import Poller
from gateway.acquisition.schedule import Job, LineSchedule
from gateway.driver import DeviceSpec, Fault, Observation, Scan
from gateway.journal.records import Body
from gateway.model import NS_PER_MS, NS_PER_S, Cause, Status
from tests.simulation.agenda import EPOCH_NS, HostClock
from tests.simulation.plant import Plant, Request, devices, value_at
from tests.simulation.store import Store, Ticket

TIMEOUT_NS = 300 * NS_PER_MS
RETRY_NS = 700 * NS_PER_MS
DRAIN_NS = NS_PER_S
REVISION = 1


class Turns(Poller):
    """When a log may be read between the scans of a line: the real rule, told of what it polls."""

    def __init__(self, schedule: LineSchedule, house: House) -> None:
        super().__init__(cast(CarriedLine, None), schedule, house, lambda *_: None)
        self.wire = asyncio.Lock()

    def scans(self, job: Job | None) -> None:
        """A scan began, or ended (None)."""
        self._running = job
        if job is None:
            self._scanned.set()

    async def idle(self) -> None:
        """Wait until no scan is under way."""
        while self._running is not None:
            self._scanned.clear()
            await self._scanned.wait()

    def over(self) -> None:
        """Nothing is asked on this line any more."""
        self._finishing = True


@dataclass(slots=True)
class _Line:
    device: str
    schedule: LineSchedule
    turns: Turns
    running: Job | None = None
    wakes: int = 0

    def scans(self, job: Job | None) -> None:
        self.running = job
        self.turns.scans(job)


class SimField:
    """The devices as one process of a node polls them."""

    def __init__(
        self,
        node: str,
        clock: HostClock,
        plant: Plant,
        store: Store,
        later: Callable[..., None],
        may_send: Callable[[], bool],
        watch: Callable[[Request], None],
        reached: Callable[[bool], None],
        delay_ns: int,
        loss: float,
    ) -> None:
        self.node = node
        self.polling = False
        self.closing = False
        self._clock = clock
        self._plant = plant
        self._store = store
        self._later = later
        self._may_send = may_send
        self._watch = watch
        self._reached = reached
        self._delay_ns = delay_ns
        self._loss = loss
        self._lines: dict[str, _Line] = {}
        self._told: dict[str, dict[int, int]] = {}
        self._through_ns: int | None = None
        self._drained: Callable[[int], None] | None = None
        self._reign = 0
        self._scanned = False
        self.outcomes = self._fresh()

    def _fresh(self) -> Outcomes:
        specs = devices()
        self._told.clear()
        self.live = LiveTable(specs)
        house = self._house = House(self._clock, self._append, self._append, _room, lambda *_: None)
        maintenance = MaintenanceState()
        return Outcomes(
            specs, self.live, maintenance, REVISION, house, self._forget, self._reached, 0
        )

    def _forget(self, device: str) -> None:
        """Have a line observe every point anew."""
        self._told.pop(device, None)

    def _new(self, device: str, values: list[tuple[int, int]], now_ns: int) -> list[Observation]:
        told = self._told.setdefault(device, {})
        changed = [(number, value) for number, value in values if told.get(number) != value]
        told.update(changed)
        return [Observation(number, now_ns, value, Status.GOOD) for number, value in changed]

    def _append(self, body: Body) -> Ticket:
        return self._store.append(body)

    # ------------------------------------------------------------------------------ the reign

    def open(self, begin: Begin) -> None:
        """Begin to poll."""
        now_ns = self._clock.utc_ns()
        self._drained = None
        if self._through_ns is not None:  # a drain that came to nothing: the reign goes on
            self._through_ns = None
            for line in self._lines.values():
                line.turns.resume()
            self._begin_claims()
            return
        begin = begin.by(now_ns)
        self.outcomes = self._fresh()
        self._begin_grid(now_ns)
        granted_ns = begin.granted_through_ns
        since_ns = now_ns if granted_ns is None else granted_ns + 1
        self.outcomes.begin(since_ns, max(since_ns, begin.not_before_ns))
        if granted_ns is not None:
            for line in self._lines.values():
                for key, due_ns in line.schedule.grant(granted_ns, begin.unanswered).items():
                    self.outcomes.coverage.vouched(key, due_ns)
        self._begin_claims()

    def _begin_claims(self) -> None:
        if not self.polling:
            self.polling = True
            self._reign += 1
            self._later(self._until_claim_ns(), self._claim, self._reign)
        self._go()

    def _begin_grid(self, now_ns: int) -> None:
        self._lines = {device.name: self._line(device, now_ns) for device in devices()}

    def _line(self, device: DeviceSpec, now_ns: int) -> _Line:
        schedule, before = LineSchedule([device], now_ns), self._lines.get(device.name)
        turns = Turns(schedule, self._house) if before is None else before.turns
        turns.schedule = schedule
        return _Line(device.name, schedule, turns)

    def _go(self) -> None:
        for line in self._lines.values():
            self._next(line)

    def halt(self) -> None:
        """Ask nothing more, and make the last claim."""
        if self.polling:
            self.outcomes.record(self._clock.utc_ns(), Cause.NODE_DOWN)
        self._end_claims()
        for line in self._lines.values():
            line.turns.over()
        self._lines = {}
        self._through_ns = None

    def _end_claims(self) -> None:
        self.polling = False
        self._reign += 1
        for line in self._lines.values():
            line.scans(None)

    def drain(self, then: Callable[[int], None]) -> None:
        """Answer for every instant up to now, then say through when."""
        self._through_ns = self._clock.utc_ns()
        self._drained = then
        for line in self._lines.values():
            line.turns.settle(self._through_ns)
        self._later(DRAIN_NS, self._finish_drain, self._reign)
        self._go()
        self._look_drained()

    def _look_drained(self) -> None:
        through_ns = self._through_ns
        if self._drained is None or through_ns is None:
            return
        if not any(line.schedule.outstanding(through_ns) for line in self._lines.values()):
            self._finish_drain(self._reign)

    def _finish_drain(self, reign: int) -> None:
        then, through_ns = self._drained, self._through_ns
        if then is None or through_ns is None or reign != self._reign:
            return
        self._drained = None
        if not self.polling:
            then(through_ns)
            return
        now_ns = self._clock.utc_ns() + 1
        for line in self._lines.values():
            for job in line.schedule.outstanding(through_ns):
                key = (job.device, job.scan_class)
                self.outcomes.coverage.failed(key, Cause.OVERRUN, now_ns)
        self.outcomes.turn(now_ns)
        self._end_claims()
        said = self.outcomes.said
        if isinstance(said, Ticket) and not said.done:
            said.then.append(lambda _: then(through_ns))
        else:
            then(through_ns)

    def turn(self) -> None:
        """What is said from now on is of a new term of the same reign."""
        if self.polling:
            self.outcomes.turn(self._clock.utc_ns())

    @property
    def unanswered(self) -> list[str]:
        """What this node can't vouch for, as a grant names it."""
        coverage = self.outcomes.coverage
        return [f"{d}/{c}" for d, c in coverage.classes if coverage.in_hole((d, c))]

    def store_changed(self, since_ns: int | None) -> None:
        """The store failed, or works again."""
        self.outcomes.store_failed(since_ns)

    def clock_stepped(self, step_ns: int) -> None:
        """The clock was set."""
        if not self.polling:
            return
        now_ns = self._clock.utc_ns()
        self.outcomes.record(now_ns - step_ns, Cause.CLOCK)
        since_ns = min(now_ns, self.outcomes.coverage.through_ns)
        self.outcomes.begin(since_ns, 0)
        self.outcomes.coverage.failed_all(Cause.CLOCK, since_ns)
        for line in self._lines.values():
            line.scans(None)
        self._begin_grid(now_ns)
        self._go()

    # --------------------------------------------------------------------------- beside the scans

    def turns_of(self, device: str) -> Turns | None:
        """When the log of a device may be read; None while nothing is polled."""
        line = self._lines.get(device)
        return None if line is None else line.turns

    def line_free(self, device: str) -> None:
        """A request of a log has its reply, or none: what waited is asked now."""
        if (line := self._lines.get(device)) is not None:
            self._next(line)

    # ------------------------------------------------------------------------------ the lines

    def _next(self, line: _Line) -> None:
        if not self.polling or line.running is not None:
            return
        if self._through_ns is not None:
            job = next(iter(line.schedule.outstanding(self._through_ns)), None)
        else:
            job = line.schedule.first()
        line.wakes += 1
        if job is not None:
            wait_ns = job.due_ns - self._clock.utc_ns()
            self._later(max(0, wait_ns) + 1_000, self._ask, line, job, line.wakes)

    def _ask(self, line: _Line, job: Job, wakes: int) -> None:
        if self._lines.get(line.device) is not line or wakes != line.wakes:
            return
        if not self.polling or line.running is not None or line.turns.wire.locked():
            return
        if job.due_ns > self._clock.utc_ns():
            self._next(line)  # the clock was slewed meanwhile
            return
        now_ns = self._clock.utc_ns()
        line.scans(job)
        if not self._may_send():
            self._later(NS_PER_MS, self._answer, line, job, now_ns, None)
            return
        agenda = self._plant.agenda
        request = Request(job.device, self.node, agenda.now_ns)
        self._watch(request)
        there_ns = agenda.between(self._delay_ns // 2, self._delay_ns)
        if agenda.chance(self._loss) or not self._plant.reaches(self.node, job.device):
            self._later(TIMEOUT_NS, self._answer, line, job, now_ns, None)
            return
        agenda.at(there_ns, self._serve, line, job, now_ns, request)

    def _serve(self, line: _Line, job: Job, asked_ns: int, request: Request) -> None:
        agenda = self._plant.agenda
        request.arrived_ns = agenda.now_ns
        true_ns = EPOCH_NS + agenda.now_ns
        values = [
            (point.number, value_at(point.id, true_ns))
            for point in self.live.points
            if point.device == job.device and point.scan_class == job.scan_class
        ]
        back_ns = agenda.between(self._delay_ns // 2, self._delay_ns)
        back_ns += self._plant.dawdles_ns(job.device)
        self._later(back_ns, self._answer, line, job, asked_ns, values)

    def _answer(
        self, line: _Line, job: Job, asked_ns: int, values: list[tuple[int, int]] | None
    ) -> None:
        if line.running is not job:
            self._forget(line.device)
            return
        line.scans(None)
        now_ns = self._clock.utc_ns()
        seen = self._new(job.device, values or [], now_ns)
        if not self._may_send():
            self.outcomes.outlived(self.outcomes.devices[job.device], line.schedule)
        elif values is None:
            fault = Fault(Cause.DEVICE, Status.BAD_TIMEOUT, "no answer", RETRY_NS)
            line.schedule.failed(job.device, now_ns + RETRY_NS)
            self.outcomes.failed(self.outcomes.devices[job.device], fault)
        else:
            self.outcomes.answered(line.schedule, job, Scan(asked_ns, now_ns, seen))
        self._next(line)
        self._look_drained()

    def _until_claim_ns(self) -> int:
        return self.outcomes.coverage.wait_ns(self._clock.utc_ns())

    def _claim(self, reign: int) -> None:
        if reign == self._reign and self.polling:
            self.outcomes.record(self._clock.utc_ns())
            self._later(self._until_claim_ns(), self._claim, reign)


async def _room() -> None:
    await asyncio.sleep(0)
