"""Each folder under tests/scenarios/config is a configuration and what `hotpair check` says of it.

Set REWRITE=1 to write the expectations anew; commit the difference only if you understand it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from gateway.config.build import Loaded, build, build_site, loaded
from gateway.config.drafts import Source
from gateway.config.files import read_text
from gateway.config.found import Found
from gateway.config.site import SiteConfig
from gateway.config.text import Unreadable
from gateway.driver import DeviceSettings, LineSpec, PointSettings, Schema
from gateway.model import NS_PER_MS, DataType, Duration, Settings
from profiles.schema import Defaults, ModbusPoint, published_type, resolve

ROOT = Path(__file__).resolve().parents[1] / "scenarios" / "config"
SCENARIOS = sorted(path.name for path in ROOT.iterdir() if path.is_dir())


class TcpModel(Settings):
    host: str | None = None
    hosts: tuple[str, ...] = ()
    port: int = Field(502, ge=1, le=65535)


class RtuModel(Settings):
    baudrate: int = 19200
    parity: str = "E"


class LineModel(Settings):
    tcp: TcpModel | None = None
    rtu: RtuModel | None = None
    gap_ns: Duration | None = Field(None, alias="gap")


class BusDevice(DeviceSettings):
    line: str
    unit_id: int = Field(1, ge=1, le=247)
    timeout_ns: Duration = Field(1000 * NS_PER_MS, alias="timeout")


class BusProfile(Settings):
    profile: str
    points: dict[str, ModbusPoint] = {}


class UaDevice(DeviceSettings):
    endpoint: str
    mode: str = "subscribe"
    publishing_interval_ns: Duration = Field(250 * NS_PER_MS, alias="publishing_interval")


class UaPoint(PointSettings):
    node: str
    type: DataType


def bus_review(line: LineSpec) -> Sequence[tuple[str, str, str, str, str]]:
    findings = []
    units: dict[int, str] = {}
    for device in line.devices:
        unit = device.settings.unit_id
        if (other := units.setdefault(unit, device.name)) != device.name:
            text = f"unit {unit} on this line is already `{other}`"
            findings.append((device.name, "", "unit_id", text, "Give it a unit of its own."))
        for point in device.points:
            settings: ModbusPoint = point.settings
            try:
                resolve(point.name, settings, Defaults())
            except ValueError as error:
                findings.append((device.name, point.name, "address", str(error), ""))
            if isinstance(settings.address, int) and settings.address >= 40001:
                text = f"warning: {settings.address} looks like a Modicon number"
                remedy = "Quote it, if it is one."
                findings.append((device.name, point.name, "address", text, remedy))
        if line.settings.rtu is not None and line.port is None:
            findings.append((device.name, "", "port", "no port", "reported by configuration"))
    return findings


DRIVERS: Mapping[str, Schema] = {
    "modbus": Schema(
        device=BusDevice,
        point=ModbusPoint,
        line=LineModel,
        profile=BusProfile,
        published_type=published_type,
        subscribed=lambda settings: False,
        review=bus_review,
    ),
    "opcua": Schema(
        device=UaDevice,
        point=UaPoint,
        line=None,
        profile=None,
        published_type=lambda point: point.publish_as or point.type,
        subscribed=lambda settings: bool(settings.mode == "subscribe"),
        review=lambda line: (),
    ),
}
METER = """\
profile: acme/meter
points:
  voltage_l1: {register: input, address: 0, type: float32, unit: V}
  voltage_l2: {register: input, address: 2, type: float32, unit: V}
  current_l1: {register: input, address: 6, type: float32, unit: A}
  current_l2: {register: input, address: 8, type: float32, unit: A}
  power: {register: input, address: 12, type: float32, unit: W}
"""


def shipped(name: str) -> str:
    assert name == "acme/meter"
    return METER


SOURCE = Source(read_text, shipped, ("acme/meter",))


def run(folder: Path) -> Loaded:
    node = folder / "node.yaml"
    if node.exists():
        return build(node, SOURCE, DRIVERS)
    found = Found()
    return loaded(None, build_site(folder / "site.yaml", SOURCE, DRIVERS, found), found)


def site_of(files: Mapping[str, str], drivers: Mapping[str, Schema] = DRIVERS) -> SiteConfig:
    """A site from texts; fails with what was found wrong."""
    result = loaded_of(files, drivers)
    assert result.site is not None, "\n".join(map(str, result.problems))
    return result.site


def loaded_of(files: Mapping[str, str], drivers: Mapping[str, Schema] = DRIVERS) -> Loaded:
    def read(path: Path) -> str:
        if path.name not in files:
            raise Unreadable(f"there is no file {path}", "Write one.")
        return files[path.name]

    found = Found()
    source = replace(SOURCE, read=read)
    return loaded(None, build_site(Path("site.yaml"), source, drivers, found), found)


@pytest.mark.parametrize("name", SCENARIOS)
def test_check_says_of_a_configuration_what_is_expected(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = run(Path(name))
    lines = [str(problem) for problem in result.problems]
    lines += [f"warning: {problem}" for problem in result.warnings]
    lines.append(f"{result.problem_count} problems")
    text = "\n".join(lines) + "\n"
    expected = ROOT / name / "expected.txt"
    if os.environ.get("REWRITE"):
        expected.write_text(text)
    assert text == expected.read_text()


def outline(site: SiteConfig) -> dict[str, Any]:
    return {line.name: [device.name for device in line.devices] for line in site.lines}
