"""What `rig.yaml` says, and how the rig reads YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML

from gateway.model import NS_PER_S, parse_duration
from profiles.schema import Area

ODD: Final = frozenset(
    {
        "cut_off",
        "empty_pages",
        "forget_points",
        "good_without",
        "newest_first",
        "outside",
        "repeat_point",
        "same_point",
    }
)
"""What a PLC's HistoryRead may do wrong; see DESIGN.md."""


class SiteError(ValueError):
    """A site that the rig can't emulate; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What `logs:` in rig.yaml says of the log that a device keeps.

    `start` is the number of its first record, `capacity` how many it holds (else what the profile
    says), `age` since when it records, before the rig started.
    """

    start: int = 1
    capacity: int | None = None
    age_ns: int = 0
    clock_offset_ns: int = 0
    clock_drift_ppm: float = 0.0


@dataclass(frozen=True, slots=True)
class PlcHistory:
    """What an OPC UA outstation records by itself, and how its server hands it over.

    `depth` is how far back it reaches; `page` the most values of a node in one answer; `points` how
    many continuation points a session has; `nodes` the most of one call (0: any). Points `without`
    are not recorded. A `volatile` history is gone after a power cycle. `before` is how long the PLC
    had been running when the rig began. `clock` is how far its clock is ahead; `slow` how long each
    HistoryRead takes; `odd` names what the server does wrong.
    """

    depth_ns: int = parse_duration("1d")
    page: int = 1_000
    points: int = 10
    nodes: int = 0
    without: frozenset[str] = frozenset()
    volatile: bool = False
    before_ns: int = 0
    clock_ns: int = 0
    slow_ns: int = 0
    odd: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RealDevice:
    """A device that the rig does not emulate: where a proxy before it listens and carries to.

    Both are empty where no proxy stands.
    """

    at: tuple[tuple[str, int], ...] = ()
    to: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Rig:
    """What `rig.yaml` beside the site says about its outstations; the gateway never reads it.

    `refuse` are inclusive stretches of registers that answer exception 2, by device and area;
    `scratch` are registers that exist without a point. `strict` devices refuse every register
    that no point declares; `whole` devices refuse a read that begins or ends inside a value. `tls`
    names the files `cert`, `key` and `ca` that outstations with TLS show and ask for. `logs` says
    what the devices' own logs are like, `opcua_history` which OPC UA devices record by themselves.
    `real` devices are not emulated; a scenario's `outstation:` writes them here.
    """

    seed: int = 0
    change: float = 0.05
    dead: frozenset[str] = frozenset()
    refuse: Mapping[str, Mapping[Area, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    scratch: Mapping[str, Mapping[Area, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    strict: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    max_connections: Mapping[str, int] = field(default_factory=dict)
    evict_oldest: frozenset[str] = frozenset()
    tls: Mapping[str, str] = field(default_factory=dict)
    logs: Mapping[str, LogSettings] = field(default_factory=dict)
    opcua_history: Mapping[str, PlcHistory] = field(default_factory=dict)
    real: Mapping[str, RealDevice] = field(default_factory=dict)

    @property
    def absent(self) -> frozenset[str]:
        """The devices for which no outstation runs."""
        return self.dead | frozenset(self.real)


def load_yaml(text: str) -> Any:
    """Plain data of a YAML 1.2 document; raises ruamel's YAMLError."""
    return YAML(typ="safe", pure=True).load(text) or {}


def plc_history(device: str, said: Mapping[str, Any]) -> PlcHistory:
    """The settings under `opcua_history:` of one device. Raises SiteError."""
    given = dict(said)
    clock = str(given.pop("clock", "0s"))
    found = PlcHistory(
        depth_ns=parse_duration(given.pop("depth", "1d")),
        page=int(given.pop("page", 1_000)),
        points=int(given.pop("points", 10)),
        nodes=int(given.pop("nodes", 0)),
        without=frozenset(given.pop("without", ())),
        volatile=bool(given.pop("volatile", False)),
        before_ns=parse_duration(given.pop("before", "0s")),
        clock_ns=parse_duration(clock.lstrip("-")) * (-1 if clock.startswith("-") else 1),
        slow_ns=parse_duration(given.pop("slow", "0s")),
        odd=frozenset(given.pop("odd", ())),
    )
    if given or not found.odd <= ODD:
        unknown = sorted([*given, *(found.odd - ODD)])
        raise SiteError(f"rig.yaml: opcua_history of {device}: unknown {unknown}")
    return found


def read_rig(text: str) -> Rig:
    """The rig settings of a `rig.yaml`."""
    data = load_yaml(text)

    def stretches(key: str) -> dict[str, dict[Area, tuple[tuple[int, int], ...]]]:
        return {
            device: {
                Area(area): tuple((int(low), int(high)) for low, high in pairs)
                for area, pairs in areas.items()
            }
            for device, areas in data.pop(key, {}).items()
        }

    refuse, scratch = stretches("refuse"), stretches("scratch")
    found = Rig(
        seed=int(data.pop("seed", 0)),
        change=float(data.pop("change", 0.05)),
        dead=frozenset(data.pop("dead", ())),
        refuse=refuse,
        scratch=scratch,
        strict=frozenset(data.pop("strict", ())),
        whole=frozenset(data.pop("whole", ())),
        latency_ms=data.pop("latency_ms", {}),
        max_connections=data.pop("max_connections", {}),
        evict_oldest=frozenset(data.pop("evict_oldest", ())),
        tls=data.pop("tls", {}),
        logs={device: _log(said) for device, said in data.pop("logs", {}).items()},
        opcua_history={
            device: plc_history(device, said or {})
            for device, said in data.pop("opcua_history", {}).items()
        },
        real={
            device: RealDevice(_addresses(said.get("at")), _addresses(said.get("to")))
            for device, said in data.pop("real", {}).items()
        },
    )
    if data:
        raise SiteError(f"rig.yaml: unknown keys {sorted(data)}")
    return found


def _addresses(said: Sequence[str] | None) -> tuple[tuple[str, int], ...]:
    parts = [text.rpartition(":") for text in said or ()]
    return tuple((host, int(port)) for host, _, port in parts)


def _log(said: Mapping[str, Any]) -> LogSettings:
    data = dict(said)
    found = LogSettings(
        start=int(data.pop("start", 1)),
        capacity=int(data.pop("capacity")) if "capacity" in data else None,
        age_ns=parse_duration(data.pop("age", "0s")),
        clock_offset_ns=round(float(data.pop("clock_offset", 0)) * NS_PER_S),
        clock_drift_ppm=float(data.pop("clock_drift_ppm", 0)),
    )
    if data:
        raise SiteError(f"rig.yaml, logs: unknown keys {sorted(data)}")
    return found
