"""Devices reached without a node: for `hotpair probe`, `browse` and `profiles lint`.

Like `running`, this is a place where concrete drivers are known. Nothing here writes to a device,
polls it, or keeps what it says.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import drivers.modbus
from drivers.modbus.rehearsal import remedy_of
from drivers.modbus.settings import ModbusLine
from drivers.modbus.survey import Surveyor, Unit
from drivers.modbus.worked import wrong_values
from gateway.clock import SystemClock
from gateway.config.build import NodeDraft, build_site
from gateway.config.drafts import Source
from gateway.config.explain import Place
from gateway.config.files import source
from gateway.config.found import Found
from gateway.config.node import parse_host_port
from gateway.driver import DriverContext, LineSpec
from gateway.errors import BadInput, ConfigError, LinkError
from gateway.model import NS_PER_MS, Value, status_name
from profiles.load import load, names
from profiles.schema import Area, Profile

Login = tuple[str, Path | None, str, bool]
"""OPC UA: user, file of the password, security policy, whether any server certificate is taken."""
KINDS: Final = ("tcp", "udp", "rtu_over_tcp", "rtu")
PORT: Final = 502
LINE: Final = "line"
_PORT: Final = "Check that it is there, and that this user may open it (group dialout)"
REMEDY: Final = (
    "Write tcp:10.0.0.11:502, udp:…, rtu_over_tcp:…, rtu:/dev/ttyUSB0 or opc.tcp://10.0.0.12:4840"
)


class Target(NamedTuple):
    """A Modbus line as a site would have it; `port` is its serial port."""

    line: dict[str, Any]
    port: str | None
    shown: str

    @property
    def is_serial(self) -> bool:
        return self.port is not None


class Tried(NamedTuple):
    """A point as a profile decodes it."""

    point: str
    value: Value
    unit: str
    status: str
    label: str | None


def parse_target(text: str, baudrate: int = 19_200, parity: str = "E") -> Target:
    """`tcp:HOST[:PORT]` and its likes. Raises BadInput."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS or not rest:
        raise BadInput(f"{text!r} names no device", REMEDY)
    if kind == "rtu":
        return Target({"rtu": {"baudrate": baudrate, "parity": parity}}, rest, rest)
    with_port = rest if rest.rpartition(":")[2].isdigit() and rest[-1] != "]" else f"{rest}:{PORT}"
    try:
        host, port = parse_host_port(with_port)
    except ValueError as error:
        raise BadInput(f"{text!r} names no device: {error}", REMEDY) from None
    return Target({kind: {"host": host, "port": port}}, None, f"{host}:{port}")


def is_opcua(target: str) -> bool:
    """Whether a target is an OPC UA server's URL."""
    return target.startswith("opc.tcp://")


def visitor(base_dir: Path = Path(), data_dir: Path | None = None) -> DriverContext:
    """What a driver gets from a house that is none: it may speak, and nothing is remembered."""
    return DriverContext(
        clock=SystemClock(),
        rng=random.Random(),
        base_dir=base_dir,
        data_dir=data_dir or Path.home() / ".local" / "share" / "hotpair",
        bind=None,
        facts={},
        learned=lambda device, key, value: None,
        alarm=lambda device, severity, text: None,
        may_send=lambda: True,
    )


def site_of(target: Target, unit_id: int, profile: str, timeout_ns: int) -> LineSpec:
    """A site of one device, checked as any site is. Raises ConfigError."""
    line = target.line | {"listen": "500ms"} if target.is_serial else target.line
    device: dict[str, Any] = {
        "driver": "modbus",
        "line": LINE,
        "unit_id": unit_id,
        "timeout": f"{timeout_ns // NS_PER_MS}ms",
        "retries": 0,
    }
    folder = Path()
    if profile:
        own = profile.endswith((".yaml", ".yml"))
        folder = Path(profile).parent if own else folder
        device["profile"] = Path(profile).name if own else profile
    text = json.dumps({"site": "probe", "lines": {LINE: line}, "devices": {"device": device}})
    disk, site = source(), folder / "(probe)"

    def read(file: Path) -> str:
        return text if file == site else disk.read(file)

    found = Found()
    ports = {LINE: target.port} if target.port is not None else {}
    draft = NodeDraft("(probe)", ports, {}, Place("(probe)", 0, ""))
    schemas = {"modbus": drivers.modbus.driver.schema}
    built = build_site(site, Source(read, disk.profile, disk.shipped), schemas, found, draft)
    if built is None:
        raise ConfigError(found.problems())
    return built.lines[0]


async def survey(
    target: Target,
    unit_ids: Sequence[int],
    only_first: bool,
    timeout_ns: int,
    told: Callable[[int], None],
) -> list[Unit]:
    """The units that answer, and who they are; `told` hears which one is asked.

    `only_first` stops at the first that answers. Raises DeviceError, ConfigError.
    """
    surveyor = _surveyor(target, timeout_ns)
    try:
        answers: dict[int, str] = {}
        for unit_id in unit_ids:
            told(unit_id)
            if answer := await surveyor.answers(unit_id):
                answers[unit_id] = answer
                if only_first:
                    break
        return [await surveyor.describe(unit, answer) for unit, answer in answers.items()]
    except LinkError as error:
        remedy = error.remedy or remedy_of(error.message) or _PORT
        raise LinkError(error.message, remedy) from error
    finally:
        surveyor.close()


def _surveyor(target: Target, timeout_ns: int) -> Surveyor:
    line = site_of(target, 1, "", timeout_ns)
    settings: ModbusLine = line.settings
    return Surveyor(settings, line.port, visitor(), timeout_ns)


async def registers(
    target: Target, unit_id: int, area: Area, address: int, count: int, timeout_ns: int
) -> list[int]:
    """Registers as they are. Raises DeviceError, ConfigError."""
    surveyor = _surveyor(target, timeout_ns)
    try:
        return await surveyor.words(unit_id, area, address, count)
    finally:
        surveyor.close()


async def decoded(
    target: Target, unit_id: int, profile: str, timeout_ns: int
) -> tuple[list[Tried], str]:
    """Every point of a profile as the device gives it, and why the device failed as a whole.

    Raises ConfigError.
    """
    spec = site_of(target, unit_id, profile, timeout_ns)
    (device,) = spec.devices
    points = {point.number: point for point in device.points}
    line = drivers.modbus.driver.open_line(spec, visitor(Path(profile).parent))
    found: dict[int, Tried] = {}
    fault = ""
    try:
        for scan_class in device.scan_classes:
            scan = await line.scan("device", scan_class)
            fault = scan.fault.detail if scan.fault is not None else fault
            for seen in scan.observations:
                point = points[seen.point]
                enum = point.enum if isinstance(seen.value, int) else None
                label = enum.get(int(seen.value or 0)) if enum else None
                status = status_name(seen.status)
                found[seen.point] = Tried(point.name, seen.value, point.unit, status, label)
    finally:
        await line.close()
    return [found[number] for number in sorted(found)], fault


def wrong_examples(profile: Profile) -> Iterator[tuple[int, str, str]]:
    """(example, point, what is wrong) of every worked example that does not come out."""
    for number, example in enumerate(profile.examples):
        for point, message in wrong_values(profile, example):
            yield number, point, message


# ---------------------------------------------------------------------------------- suggestions


class Suggestion(NamedTuple):
    """A shipped profile that may fit, and what speaks for it."""

    profile: str
    why: str


def suggest_profiles(told: Sequence[str], models: Sequence[int]) -> list[Suggestion]:
    """The shipped profiles whose vendor or model a device names, best first.

    `told` are the texts of its identity, `models` its SunSpec models.
    """
    ranked: list[tuple[int, Suggestion]] = []
    said = " ".join(told).lower()
    for name in names():
        profile = load(name)
        shared = sorted({p.model for p in profile.points.values() if p.model} & set(models))
        shared = [model for model in shared if model != 1]
        if profile.sunspec is not None and shared:
            why = f"it has SunSpec model {', '.join(map(str, shared))}"
            ranked.append((len(shared), Suggestion(name, why)))
            continue
        vendor = profile.vendor.split()[0].lower()
        hits = [model for model in profile.models if _names(model) and _names(model) in _bare(said)]
        if hits:
            ranked.append((10 + len(hits), Suggestion(name, f"it names {', '.join(hits)}")))
        elif vendor in said.split():
            ranked.append((0, Suggestion(name, f"it is made by {profile.vendor}")))
    return [suggestion for _, suggestion in sorted(ranked, key=lambda pair: -pair[0])]


def _bare(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _names(model: str) -> str:
    """A model as it is compared; "" for one that is too short to tell anything."""
    bare = _bare(model)
    return bare if len(bare) > 2 else ""
