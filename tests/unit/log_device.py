"""A dumb device for methods of reading logs: a dict of registers, and rules for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.modbus.log.job import Job
from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import (
    Answer,
    Call,
    GivenUp,
    Learn,
    Op,
    Read,
    Reading,
    Refusal,
    Release,
    Wait,
    Write,
)
from drivers.modbus.settings import ModbusDevice
from gateway.driver import DeviceSpec, LogPage, LogWanted, PointSpec
from gateway.errors import DeviceError, LogUnavailable
from gateway.model import NS_PER_MS
from profiles.schema import ModbusPoint, Profile, published_type

NOW_NS = 1_767_225_600_000_000_000
"""2026-01-01, where the device and this node begin."""
SECOND = 1_000_000_000
ROUND_TRIP_NS = 10 * NS_PER_MS

Rule = Callable[["Device", Op], "int | DeviceError | None"]
"""An exception code, what a request fails with, or None; it may change the device."""


@dataclass
class Device:
    """Registers that lie where they were put; what lies nowhere is refused with exception 2."""

    words: dict[int, int] = field(default_factory=dict)
    now_ns: int = NOW_NS
    rules: list[Rule] = field(default_factory=list)
    calls: Callable[[Call], bytes | int] | None = None
    written: Callable[[Write], int | None] | None = None
    before_read: Callable[[Read], None] | None = None
    seen: list[Op] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def put(self, address: int, *words: int) -> None:
        for at, word in enumerate(words):
            self.words[address + at] = word & 0xFFFF

    def long(self, address: int, value: int) -> None:
        self.put(address, value >> 16, value)

    def carry_out(self, op: Op) -> Answer | Refusal | None:
        self.seen.append(op)
        if isinstance(op, Wait):
            self.now_ns += op.ns
            return None
        if isinstance(op, Learn):
            self.facts.append(op.fact)
            return None
        if isinstance(op, Release):
            for write in op.writes:
                self.put(write.address, *write.words)
            return None
        sent_ns = self.now_ns
        self.now_ns += ROUND_TRIP_NS
        for rule in tuple(self.rules):
            wrong = rule(self, op)
            if isinstance(wrong, DeviceError):
                raise wrong
            if wrong is not None:
                return Refusal(wrong, sent_ns, self.now_ns)
        found = self._answer(op)
        if isinstance(found, int):
            return Refusal(found, sent_ns, self.now_ns)
        words, data = found
        return Answer(words, data, sent_ns, self.now_ns)

    def _answer(self, op: Read | Write | Call) -> int | tuple[tuple[int, ...], bytes]:
        if isinstance(op, Write):
            code = self.written(op) if self.written is not None else None
            if code is None:
                self.put(op.address, *op.words)
            return ((), b"") if code is None else code
        if isinstance(op, Call):
            assert self.calls is not None
            reply = self.calls(op)
            return reply if isinstance(reply, int) else ((), reply)
        assert 1 <= op.size <= 125
        if self.before_read is not None:
            self.before_read(op)
        wanted = range(op.address, op.address + op.size)
        if any(address not in self.words for address in wanted):
            return 2
        return tuple(self.words[address] for address in wanted), b""

    def reads(self) -> list[Read]:
        return [op for op in self.seen if isinstance(op, Read)]


def drive(reading: Reading, device: Device, ops_max: int = 20_000) -> list[LogPage]:
    """Run a method to its end; what it raises goes on."""
    pages: list[LogPage] = []
    told: Answer | Refusal | None = None
    failure: DeviceError | None = None
    for _ in range(ops_max):
        try:
            op = reading.send(told) if failure is None else reading.throw(failure)
        except StopIteration:
            return pages
        told = failure = None
        if isinstance(op, LogPage):
            pages.append(op)
            continue
        try:
            told = device.carry_out(op)
        except DeviceError as error:
            failure = error
    raise AssertionError("the method finds no end")


def give_up(reading: Reading, device: Device) -> None:
    """Throw in that nobody wants the rest, and see that only locks are given back."""
    try:
        op = reading.throw(GivenUp())
        while True:
            assert isinstance(op, Release)
            device.carry_out(op)
            op = reading.send(None)
    except (StopIteration, GivenUp):
        return


def a_device(
    windback: Mapping[str, Any],
    points: Mapping[str, Mapping[str, Any]],
    profile: Profile | None = None,
) -> DeviceSpec:
    """A device with points numbered from 0."""
    settings = ModbusDevice.model_validate(
        {"driver": "modbus", "line": "bus", "windback": dict(windback) or None}
    )
    specs = []
    for number, (name, said) in enumerate(points.items()):
        point = ModbusPoint.model_validate(said)
        specs.append(
            PointSpec(number, "plc", name, published_type(point), "normal", point.access, point)
        )
    return DeviceSpec("plc", "modbus", "bus", settings, tuple(specs), {"normal": SECOND}, profile)


def a_job(
    spec: DeviceSpec,
    wanted: LogWanted,
    fact: Mapping[str, Any] | None = None,
    now_ns: int = NOW_NS,
    clock_run: str = "",
) -> tuple[Logs, Job]:
    """What a method is given."""
    logs = Logs(spec)
    assert not logs.problem
    return logs, logs.job(wanted, fact, now_ns, clock_run)


def read_log(
    spec: DeviceSpec,
    device: Device,
    wanted: LogWanted,
    fact: Mapping[str, Any] | None = None,
    clock_run: str = "",
) -> list[LogPage]:
    """All pages of what is wanted."""
    logs, job = a_job(spec, wanted, fact, device.now_ns, clock_run)
    return drive(logs.read(job), device)


def read_known(spec: DeviceSpec, device: Device, wanted: LogWanted) -> list[LogPage]:
    """The same; where the device must tell what it records, it is asked for that first."""
    facts = len(device.facts)
    try:
        return read_log(spec, device, wanted)
    except LogUnavailable as error:
        if len(device.facts) == facts or error.retry_after_ns != 0:
            raise
        return read_log(spec, device, wanted, device.facts[-1])


def read_patiently(
    spec: DeviceSpec,
    device: Device,
    wanted: LogWanted,
    fact: Mapping[str, Any] | None = None,
    tries: int = 60,
) -> list[LogPage]:
    """The same, asked again as windback does: after 2 s, doubled to a minute; by one node."""
    logs, wait_ns = Logs(spec), 2 * SECOND
    assert not logs.problem
    for tried in range(tries):
        known = device.facts[-1] if device.facts else fact
        try:
            return drive(logs.read(logs.job(wanted, known, device.now_ns)), device)
        except LogUnavailable as error:
            if tried == tries - 1:
                raise
            soon = error.retry_after_ns
            device.now_ns += wait_ns if soon is None else soon
            wait_ns = min(2 * wait_ns, 60 * SECOND)
    raise AssertionError("it is tried at least once")


def rows(pages: Sequence[LogPage]) -> list[tuple[int, int, Any]]:
    """(point, time in ns, value) of every observation."""
    return [(o.point, o.time_ns, o.value) for page in pages for o in page.observations]


def lacking(pages: Sequence[LogPage]) -> list[tuple[int, int, str]]:
    return [(lack.from_ns, lack.to_ns, lack.why) for page in pages for lack in page.lacking]


def joined(pages: Sequence[LogPage], wanted: LogWanted) -> bool:
    """Whether pages are joined, in order, and hold only what lies in them."""
    through_ns = wanted.from_ns
    for page in pages:
        inside = all(page.from_ns <= o.time_ns < page.through_ns for o in page.observations)
        if page.from_ns != through_ns or page.through_ns <= page.from_ns or not inside:
            return False
        through_ns = page.through_ns
    return through_ns <= wanted.to_ns
