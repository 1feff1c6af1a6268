"""What the devices of a world log by themselves: rings as hil emulates them, of the plant's truth.

A log is a function of truth and time, so it costs nothing until somebody reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final, NamedTuple, cast

from drivers.modbus.settings import ModbusDevice
from gateway.driver import DeviceSpec
from gateway.model import NS_PER_MS, NS_PER_S
from hil.outstation.devicelog import DeviceLog
from hil.outstation.layout import memory_of
from hil.outstation.logs import DeviceLogs
from hil.outstation.unit import Unit
from hil.plant import PlantDevice, PlantLine, modbus_device
from hil.settings import LogSettings, Rig
from hil.truth import Signal
from profiles.schema import ModbusPoint
from tests.simulation.agenda import EPOCH_NS
from tests.simulation.plant import CLASSES, POINTS, devices, value_at

RING_AT: Final = 1_000
WORDS: Final = 4


class LogKept(NamedTuple):
    """One device's log: every `resolution_ns` a record, `capacity` of them; how its clock runs.

    `page` is how many records the reader puts into a page: a read has several steps. One that
    `forgets` holds what is not acknowledged, the newest `capacity` records of it.
    """

    resolution_ns: int
    capacity: int
    offset_ns: int = 0
    drift_ppm: int = 0
    page: int = 4
    forgets: bool = False


class Page(NamedTuple):
    """What a log that forgets answers: (number, stamp, values) of records, the newest one's number,
    the device's time, how full the log is."""

    records: list[tuple[int, int, list[int]]]
    newest: int
    clock_ns: int
    fullness: float


class _Truth:
    """A signal as hil's points have it: what the plant holds."""

    def __init__(self, point: str) -> None:
        self._point = point

    def value_at(self, time_ns: int) -> int:
        return value_at(self._point, time_ns)


class Logged:
    """A device's log in the world: what it answers, and what it holds in truth."""

    def __init__(self, device: str, kept: LogKept) -> None:
        self.kept = kept
        settings = LogSettings(
            capacity=kept.capacity, clock_offset_ns=kept.offset_ns, clock_drift_ppm=kept.drift_ppm
        )
        plant = _plant_device(device, kept)
        self._logs = DeviceLogs(_true(plant), settings, EPOCH_NS)
        self._points = [f"{device}/{name}" for owner, name, _, _ in POINTS if owner == device]
        self._base = 0
        self._set_ns: list[int] = []
        self._unit = Unit(memory_of(plant, Rig()), faces=self._logs.faces)

    @property
    def _log(self) -> DeviceLog:
        return self._logs.books[0].log

    def held(self, true_ns: int) -> range:
        """The numbers of the records that it holds then."""
        span = self._log.span(true_ns)
        return range(max(span.oldest, self._base), span.end)

    def made_ns(self, number: int) -> int:
        """When a record was made: true UTC."""
        return self._log.moment(number).true_ns

    def records_in(self, from_ns: int, to_ns: int, true_ns: int) -> int:
        """How many records made in [from, to) it holds at an instant; true UTC."""
        return sum(from_ns <= self.made_ns(n) < to_ns for n in self.held(true_ns))

    def answer(self, pdu: bytes, true_ns: int) -> bytes:
        """The reply to a request PDU that arrives then."""
        return self._unit.answer(pdu, true_ns)

    def page(self, number: int, count: int, true_ns: int) -> Page:
        """The first records from a number on that it holds; nothing is forgotten by that."""
        held = self.held(true_ns)
        moments = [
            (n, self._log.moment(n)) for n in range(max(number, held.start), held.stop)[:count]
        ]
        records = [
            (n, m.device_ns, [value_at(point, m.true_ns) for point in self._points])
            for n, m in moments
        ]
        clock_ns = self._logs.books[0].clock.device_at(true_ns)
        return Page(records, held.stop - 1, clock_ns, len(held) / self.kept.capacity)

    def forget(self, through: int) -> None:
        """The records through a number are acknowledged, and gone."""
        self._base = max(self._base, through + 1)

    def set_back(self, by_ns: int, true_ns: int) -> None:
        """The device's clock is set back."""
        self._logs.set_clock({"step": -by_ns / NS_PER_S}, true_ns)
        self._set_ns.append(true_ns)

    def hides_a_step(self, true_ns: int) -> bool:
        """Whether its clock was set so lately that no record tells of it yet."""
        lately_ns = true_ns - 2 * self.kept.resolution_ns - NS_PER_S
        return any(lately_ns < set_ns <= true_ns for set_ns in self._set_ns)

    def disturb(self, what: str, true_ns: int) -> None:
        """`clear`, `stop`, `go`: see hil/DESIGN.md."""
        self._logs.disturb(what, {}, true_ns)


def _section(device: str, kept: LogKept) -> dict[str, Any]:
    names = [name for owner, name, _, _ in POINTS if owner == device]
    resolution = f"{kept.resolution_ns // NS_PER_MS}ms"
    return {"method": "ring", "address": RING_AT, "columns": names, "resolution": resolution}


def _points(device: str) -> dict[str, dict[str, Any]]:
    names = [name for owner, name, _, _ in POINTS if owner == device]
    return {name: {"address": WORDS * at, "type": "int64"} for at, name in enumerate(names)}


def _plant_device(device: str, kept: LogKept) -> PlantDevice:
    line = PlantLine(device, "tcp", ("127.0.0.1",), 1502)
    said = {"windback": _section(device, kept)}
    periods = {**CLASSES[device], "normal": NS_PER_S}
    return modbus_device(device, said, _points(device), None, line, Rig(), periods)


def _true(device: PlantDevice) -> PlantDevice:
    """The device with the truth of this plant in its points; its memory is never read."""
    points: list[Any] = [replace(p, signal=cast(Signal, _Truth(p.id))) for p in device.points]
    return replace(device, points=tuple(points))


@cache
def _spec(device: str, kept: LogKept) -> DeviceSpec:
    settings = ModbusDevice.model_validate(
        {
            "driver": "modbus",
            "line": device,
            "timeout": "300ms",
            "windback": _section(device, kept),
        }
    )
    places = {n: ModbusPoint.model_validate(said) for n, said in _points(device).items()}
    spec = next(spec for spec in devices() if spec.name == device)
    points = tuple(replace(p, settings=places[p.name]) for p in spec.points)
    return replace(spec, driver="modbus", settings=settings, points=points)


def specs(logs: Mapping[str, LogKept]) -> dict[str, DeviceSpec]:
    """The devices that keep a log, as the gateway's driver has them."""
    return {device: _spec(device, kept) for device, kept in logs.items()}
