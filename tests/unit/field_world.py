"""A plant and the fields of two nodes in one loop, whose time passes only when all wait.

Devices are functions of time; the plant logs every request of either node and knows which ports
are open and on which wires a reply is still under way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple

from gateway.acquisition.field import Field
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.schedule import phase_of
from gateway.driver import (
    Delivery,
    DeviceSpec,
    Diagnostics,
    Fault,
    Frame,
    LineSpec,
    Observation,
    PointSpec,
    Rehearsal,
    Scan,
    WriteOutcome,
)
from gateway.journal.coverage import (
    Except,
    Interval,
    OwnRun,
    Run,
    cause_of,
    streams,
    subtract,
    unite,
)
from gateway.journal.reconstruct import Reconstruction, reading_order
from gateway.journal.records import Batch, Body, Coverage, Event
from gateway.model import (
    NS_PER_MS,
    NS_PER_S,
    Access,
    Cause,
    DataType,
    HistoryRow,
    Origin,
    Position,
    Status,
    Term,
    Value,
)

T0_NS = 1_800_000_000 * NS_PER_S
PUBLISH_S = 0.5
SCAN_MAX_NS = 250 * NS_PER_MS
"""How long a scan may take; the value is that of its beginning."""


class _Jump(selectors.SelectSelector):
    """Where a loop would wait, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits and nothing will ever happen")
        self.now_s += max(timeout, 0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop on simulated time, which begins at 0."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now_s


def simulate(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; no task may be left over but the one that makes idle lines ready."""
    loop = Loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(work)
        left = {task.get_name() for task in asyncio.all_tasks(loop)}
        assert left <= {"idle lines"}, left
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


class Clock:
    """The clock of a node: the loop's time, `ahead_ns` of the plant's."""

    def __init__(self, ahead_ns: int = 0) -> None:
        self.ahead_ns = ahead_ns

    def monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * NS_PER_S)

    def utc_ns(self) -> int:
        return T0_NS + self.monotonic_ns() + self.ahead_ns


async def pass_s(seconds: float) -> None:
    """Let simulated time pass."""
    await asyncio.sleep(seconds)  # paces: simulated time


# ------------------------------------------------------------------------------------ the site


def device(
    name: str,
    line: str,
    classes: Mapping[str, int],
    points: Sequence[tuple[str, str]],
    settings: Any = None,
    subscribed: bool = False,
) -> DeviceSpec:
    """A device; `points` are (name, scan class), numbered by `site`."""
    specs = tuple(
        PointSpec(0, name, p, DataType.INT64, c, Access.READ_WRITE, None) for p, c in points
    )
    return DeviceSpec(name, "fake", line, settings, specs, classes, subscribed=subscribed)


class Site(NamedTuple):
    """What `Field.prepare` takes."""

    devices: tuple[DeviceSpec, ...]
    lines: tuple[LineSpec, ...]

    @property
    def points(self) -> tuple[PointSpec, ...]:
        return tuple(p for d in self.devices for p in d.points)


def site(*devices: DeviceSpec, ports: Mapping[str, str] | None = None) -> Site:
    """Number the points, and put devices on lines."""
    numbers = count()
    numbered = tuple(
        replace(d, points=tuple(replace(p, number=next(numbers)) for p in d.points))
        for d in sorted(devices, key=lambda d: d.name)
    )
    names = sorted({d.line for d in numbered})
    lines = tuple(
        LineSpec(
            name,
            "fake",
            f"address of {name}",
            tuple(d for d in numbered if d.line == name),
            (ports or {}).get(name),
        )
        for name in names
    )
    return Site(numbered, lines)


# ----------------------------------------------------------------------------------- the plant


class Request(NamedTuple):
    """A request as the plant saw it; `due_ns` is the instant that the node meant."""

    node: str
    device: str
    scan_class: str
    due_ns: int
    at_ns: int
    retry: bool


@dataclass
class Plant:
    """Devices, wires and ports; times are of the plant's clock."""

    latency_s: Callable[[], float] = lambda: 0.002
    change_ns: int = 700 * NS_PER_MS
    dead: set[str] = field(default_factory=set)
    hung_s: dict[str, float] = field(default_factory=dict)
    told_late_s: dict[str, float] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)
    busy_until_ns: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    written: list[tuple[str, int, Value]] = field(default_factory=list)

    def now_ns(self) -> int:
        return T0_NS + round(asyncio.get_running_loop().time() * NS_PER_S)

    def held(self, point: str, at_ns: int) -> int:
        """What a point held at an instant."""
        return (at_ns // self.change_ns) * 1000 + sum(point.encode()) % 997

    def connect(self, who: str, spec: LineSpec) -> None:
        place = spec.port or str(spec.settings)
        if (other := self.open.setdefault(place, who)) != who:
            self.wrong.append(f"{place} was opened by {who} while {other} has it")

    def disconnect(self, who: str, spec: LineSpec) -> None:
        place = spec.port or str(spec.settings)
        if self.open.get(place) == who:
            del self.open[place]

    def speak(self, who: str, spec: LineSpec, takes_s: float) -> None:
        """A request leaves: on a serial line nobody else may be about to answer."""
        if spec.port is None:
            return
        now_ns = self.now_ns()
        if now_ns < self.busy_until_ns.get(spec.port, 0):
            self.wrong.append(f"{who} spoke on {spec.port} while a reply was under way")
        self.busy_until_ns[spec.port] = now_ns + round(takes_s * NS_PER_S) - 1000


class SimLine:
    """Fulfils gateway.driver.Line on the plant."""

    made = count()

    def __init__(self, spec: LineSpec, node: Node) -> None:
        self.spec = spec
        self.node = node
        self.plant = node.plant
        self.who = f"{node.name} line {next(SimLine.made)}"
        self.closed = False
        self.withdrawn: list[str] = []
        self.prepared: list[str] = []
        self._last: dict[tuple[str, str], tuple[int, ...]] = {}
        self.counters = {d.name: Diagnostics() for d in spec.devices}
        self._lock = asyncio.Lock()

    def _begin(self) -> None:
        assert not self.closed, f"{self.who} is closed"
        if not self.node.may_send:
            self.plant.wrong.append(f"{self.who} spoke after the reign")
        self.plant.connect(self.who, self.spec)

    async def _request(self, takes_s: float) -> int:
        """Speak and wait for the answer; what is answered is of this time."""
        async with self._lock:
            self._begin()
            self.plant.speak(self.who, self.spec, takes_s)
            held_ns = self.plant.now_ns()
            await asyncio.sleep(takes_s)  # paces: the device's answer
            return held_ns

    def prepare(self, device: str) -> None:
        self.prepared.append(device)

    async def scan(self, device: str, scan_class: str) -> Scan:
        clock = self.node.clock
        asked_ns = clock.utc_ns()
        takes_s = self.plant.hung_s.get(device, self.plant.latency_s())
        if device in self.plant.dead:
            takes_s = max(takes_s, 0.05)
        poller = self.node.poller(self)
        job = poller._running
        assert job is not None
        retry = poller.schedule._entries[device, scan_class].retrying
        now_ns = self.plant.now_ns()
        self.plant.log.append(
            Request(self.node.name, device, scan_class, job.due_ns, now_ns, retry)
        )
        self.counters[device].requests += 1
        held_ns = await self._request(takes_s)
        if device in self.plant.dead or device in self.plant.hung_s:
            fault = Fault(Cause.DEVICE, Status.BAD_NO_COMMUNICATION, "no answer", 500 * NS_PER_MS)
            return Scan(asked_ns, clock.utc_ns(), fault=fault)
        spec = next(d for d in self.spec.devices if d.name == device)
        points = [p for p in spec.points if p.scan_class == scan_class]
        values = tuple(self.plant.held(p.id, held_ns) for p in points)
        key = (device, scan_class)
        seen = []
        if self._last.get(key) != values:
            at_ns = clock.utc_ns()
            seen = [
                Observation(p.number, at_ns, value, Status.GOOD)
                for p, value in zip(points, values, strict=True)
            ]
        self._last[key] = values
        scan = Scan(asked_ns, clock.utc_ns(), seen)
        await asyncio.sleep(self.plant.told_late_s.pop(device, 0))  # paces: who tells it is busy
        return scan

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        spec = next(d for d in self.spec.devices if d.name == device)
        last: tuple[int, ...] = ()
        self._begin()
        try:
            while True:
                now_ns = self.node.clock.utc_ns()
                values = tuple(self.plant.held(p.id, self.plant.now_ns()) for p in spec.points)
                seen = [
                    Observation(p.number, now_ns, v, Status.GOOD)
                    for p, v in zip(spec.points, values, strict=True)
                ]
                deliver(Delivery(seen if values != last else [], now_ns))
                last = values
                await asyncio.sleep(PUBLISH_S)  # paces: the publishing interval
        finally:
            self.plant.disconnect(self.who, self.spec)

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        own = {p.id: p for d in self.spec.devices for p in d.points}
        assert own[point.id] == point, "a driver must get the point that it knows"
        takes_s = self.plant.hung_s.get(point.device, self.plant.latency_s())
        self.plant.written.append((point.id, point.number, value))
        await self._request(takes_s)
        return WriteOutcome(Status.GOOD, value, read_back_ns=self.node.clock.utc_ns())

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        await self._request(0.001)
        return [1] * count

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        return lambda: None

    def diagnostics(self, device: str) -> Diagnostics:
        return self.counters[device]

    def forget(self, device: str) -> None:
        self._last = {key: v for key, v in self._last.items() if key[0] != device}

    async def withdraw(self, device: str) -> None:
        self.withdrawn.append(device)

    async def rehearse(self, device: str) -> Rehearsal:
        allowed = self.spec.port is None
        reached = allowed and device not in self.plant.dead
        await asyncio.sleep(0.01)  # paces: a connection
        return Rehearsal(device, allowed, reached, "as the plant is", "")

    async def close(self) -> None:
        self.closed = True
        self.plant.disconnect(self.who, self.spec)


# ------------------------------------------------------------------------------------ the nodes


class Node:
    """A field, and a journal that keeps what it is told, commit after 5 ms."""

    def __init__(self, name: str, plant: Plant, ahead_ns: int = 0) -> None:
        self.name = name
        self.plant = plant
        self.clock = Clock(ahead_ns)
        self.term = Term(0, name, 0)
        self.journal: list[tuple[Position, Body]] = []
        self.committed = 0
        self.lines: list[SimLine] = []
        self.reached: list[bool] = []
        self.may_send = True
        self.grown = asyncio.Event()
        self.sites: dict[int, Site] = {}
        self.reigns = True
        house = House(
            self.clock, self._append, self._append, self._room, self._alarm, lambda: self.reigns
        )
        self.field = Field(self._open_line, house, lambda: None, self.reached.append)

    def _open_line(self, spec: LineSpec) -> SimLine:
        self.lines.append(SimLine(spec, self))
        return self.lines[-1]

    def poller(self, line: SimLine) -> Any:
        """The poller that asks a line, retired ones included."""
        return self._pollers[line.who]

    @property
    def _pollers(self) -> dict[str, Any]:
        known = self.__dict__.setdefault("_known", {})
        for poller in self.field.collector.lines.pollers.values():
            known[poller.line._line.who] = poller
        return known  # type: ignore[no-any-return]

    def _append(self, body: Body) -> asyncio.Future[object]:
        self.journal.append((Position(self.term, len(self.journal) + 1), body))
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.005, self._commit, done)
        return done

    def _commit(self, done: asyncio.Future[object]) -> None:
        self.committed += 1
        self.grown.set()
        if not done.done():
            done.set_result(None)

    async def _room(self) -> None:
        return None

    def _alarm(self, source: str, severity: int, text: str, kind: str = "") -> None:
        self._append(Event(source, severity, text, self.clock.utc_ns(), kind))

    def prepare(
        self, of: Site, revision: int = 1, maintenance: MaintenanceState | None = None
    ) -> None:
        """Hand a revision to the field."""
        self.sites[revision] = of
        live = LiveTable(of.devices)
        self.field.prepare(of.devices, of.lines, live, maintenance or MaintenanceState(), revision)
        assert self._pollers or not of.lines

    def begin_term(self, number: int) -> None:
        """What is appended from now on is of another term."""
        self.term = Term(number, self.name, number)

    def of(self, kind: type[Any]) -> list[Any]:
        return [body for _, body in self.journal if isinstance(body, kind)]

    async def until(self, holds: Callable[[], bool], within_s: float = 30) -> None:
        """Wait until something holds after a commit."""
        async with asyncio.timeout(within_s):
            while not holds():
                self.grown.clear()
                await self.grown.wait()


# ----------------------------------------------------------------------------------- the judge


def runs_and_holes(nodes: Sequence[Node]) -> tuple[list[Run | OwnRun], list[Except]]:
    """What the coverage records of all nodes say."""
    runs: list[Run | OwnRun] = []
    holes: list[Except] = []
    for node in nodes:
        for position, body in node.journal:
            if isinstance(body, Coverage):
                term, stretch = position.term, (body.since_ns, body.through_ns)
                runs.append(Run(term, body.revision, *stretch))
                runs += [
                    OwnRun(
                        term,
                        body.revision,
                        own.device,
                        own.scan_class,
                        *stretch,
                        own.since_ns,
                        own.through_ns,
                    )
                    for own in body.behind
                ]
                holes += [
                    Except(
                        position.term, h.device, h.scan_class, cause_of(h.cause), h.from_ns, h.to_ns
                    )
                    for h in body.holes
                ]
    return runs, holes


def covered(nodes: Sequence[Node], name: str, scan_class: str) -> dict[Term, list[Interval]]:
    """What each term covered of a class."""
    revisions = {n: s for node in nodes for n, s in node.sites.items()}

    def configured(_: Term, revision: int) -> bool:
        return any(d.name == name for d in revisions[revision].devices)

    runs, holes = runs_and_holes(nodes)
    return streams(runs, holes, name, scan_class, configured)


def gaps(
    nodes: Sequence[Node], name: str, scan_class: str, from_ns: int, to_ns: int
) -> list[Interval]:
    """Where nobody covered a class."""
    return subtract([(from_ns, to_ns)], unite(covered(nodes, name, scan_class)))


def rows(nodes: Sequence[Node]) -> dict[str, list[HistoryRow]]:
    """The history of each point, by its name."""
    found: dict[str, list[HistoryRow]] = {}
    for node in nodes:
        names = {n: [p.id for p in known.points] for n, known in node.sites.items()}
        for position, body in node.journal:
            if not isinstance(body, Batch):
                continue
            for number, time_ns, value, status in body.samples:
                origin = Origin(body.origin)
                row = HistoryRow(time_ns, value, status, body.received_ns, origin, position)
                found.setdefault(names[body.revision][number], []).append(row)
    return {point: sorted(known, key=reading_order) for point, known in found.items()}


def instants(d: DeviceSpec, scan_class: str, from_ns: int, to_ns: int) -> list[int]:
    """The scan instants in [from, to)."""
    period_ns = d.scan_classes[scan_class]
    phase_ns = phase_of(d.name, scan_class, period_ns)
    first = from_ns + (phase_ns - from_ns) % period_ns
    return list(range(first, to_ns, period_ns))


def missing(
    nodes: Sequence[Node], of: Site, from_ns: int, to_ns: int, late_ns: int, skew_ns: int = 0
) -> list[str]:
    """The scan instants that have neither their value nor a gap (rules.md 1).

    The value in force is that of the scan before; where an interval begins, that of the scan
    itself, which may come `late_ns` after its instant. The nodes' clocks are `skew_ns` apart.
    """
    wrong = []
    plant = nodes[0].plant
    told = rows(nodes)
    for d in of.devices:
        for point in d.points:
            period_ns = d.scan_classes[point.scan_class]
            by_term = covered(nodes, d.name, point.scan_class)
            declared = gaps(nodes, d.name, point.scan_class, from_ns, to_ns)
            history = Reconstruction(told.get(point.id, []), by_term)
            for at_ns in instants(d, point.scan_class, from_ns, to_ns):
                if any(start <= at_ns < end for start, end in declared):
                    continue
                held = history.at(at_ns)
                slack_ns = min(late_ns, 2 * period_ns + SCAN_MAX_NS)  # beyond that: an overrun
                slack_ns += skew_ns
                begin_ns, end_ns = at_ns - period_ns - slack_ns, at_ns + slack_ns
                window = (*range(begin_ns, end_ns, plant.change_ns // 4), end_ns)
                truth = {plant.held(point.id, t) for t in window}
                if held is None or held.row.value not in truth:
                    said = None if held is None else held.row.value
                    at_s = (at_ns - T0_NS) / NS_PER_S
                    wrong.append(f"{point.id} at {at_s:.3f}: {said} is none of {sorted(truth)}")
    return wrong


def doubled(plant: Plant) -> list[Request]:
    """Requests for an instant that was asked for before."""
    seen: set[tuple[str, str, int]] = set()
    twice = []
    for request in plant.log:
        key = (request.device, request.scan_class, request.due_ns)
        if not request.retry and key in seen:
            twice.append(request)
        if not request.retry:
            seen.add(key)
    return twice
