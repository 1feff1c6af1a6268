"""The plant: values that are a pure function of (point, time), and devices that log every poll."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.driver import DeviceSpec, PointSpec
from gateway.model import NS_PER_MS, Access, DataType
from tests.simulation.agenda import Agenda

MS = NS_PER_MS
CLASSES = {"pump": {"fast": 400 * MS, "slow": 2_000 * MS}, "tank": {"normal": 1_000 * MS}}
POINTS = (
    ("pump", "flow", "fast", 370 * MS),
    ("pump", "mode", "fast", 5_300 * MS),
    ("pump", "hours", "slow", 1_900 * MS),
    ("tank", "level", "normal", 850 * MS),
    ("tank", "alarm", "normal", 11_000 * MS),
)
"""(device, point, scan class, how long a value stays)."""
PERIODS = {f"{device}/{name}": stays for device, name, _, stays in POINTS}


def devices() -> tuple[DeviceSpec, ...]:
    """The devices, as a revision of the configuration has them."""
    specs = [
        PointSpec(number, device, name, DataType.INT64, scan_class, Access.READ, None)
        for number, (device, name, scan_class, _) in enumerate(POINTS)
    ]
    return tuple(
        DeviceSpec(name, "model", name, None, tuple(p for p in specs if p.device == name), classes)
        for name, classes in CLASSES.items()
    )


def value_at(point: str, true_ns: int) -> int:
    """What the device holds; every value is held once, so a stale one is known as such."""
    return (true_ns + hash_of(point)) // PERIODS[point]


def hash_of(point: str) -> int:
    """Where in its period a point changes."""
    return sum(point.encode()) * 7 * MS


@dataclass(slots=True)
class Request:
    """One poll, as the device's side saw it; true times, 0 for never."""

    device: str
    node: str
    sent_ns: int
    arrived_ns: int = 0
    split: bool = False
    others: str = ""
    of_log: bool = False


@dataclass(slots=True)
class Plc:
    """A witness's registers."""

    words: list[int]
    boot: int = 1
    away: bool = False


@dataclass
class Plant:
    """Everything behind the field network."""

    agenda: Agenda
    requests: list[Request] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    lag_ns: dict[str, int] = field(default_factory=dict)
    unreached: set[str] = field(default_factory=set)
    plcs: list[Plc] = field(default_factory=list)
    leases: dict[str, int] = field(default_factory=dict)
    etcd_away: bool = False

    def dawdles_ns(self, device: str) -> int:
        """How much longer than usual a device takes to answer this time."""
        if device not in self.lag_ns or not self.agenda.chance(0.3):
            return 0
        return self.agenda.between(0, self.lag_ns[device])

    def reaches(self, node: str, device: str) -> bool:
        """Whether a device answers a node now."""
        return device not in self.dead and node not in self.unreached
