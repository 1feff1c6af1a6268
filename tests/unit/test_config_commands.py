"""`hotpair check`, `hotpair schema` and loading from the disk, with the shipped drivers' models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from test_config_scenarios import ROOT

from drivers.modbus import driver as modbus
from drivers.opcua import driver as opcua
from gateway.cli.check import check, is_node_file
from gateway.cli.schema import schema
from gateway.config.editor import SCHEMAS
from gateway.config.files import data_dir_of, load, load_site
from gateway.driver import Schema
from gateway.errors import BadInput, ConfigError, ControlError
from profiles.load import names

SHIPPED: Mapping[str, Schema] = {
    "modbus": replace(modbus.schema, requests=lambda device, scan_class: 2),
    "opcua": opcua.schema,
}
NODE = "node: a\ndata_dir: data\nsite: plant/site.yaml\n"
SITE = """\
site: plant
devices:
  plc1:
    driver: modbus
    line: {tcp: {hosts: [10.0.0.11, 10.0.2.11], port: 502}}
    retries: 1
    points:
      level: {register: holding, address: 0, type: float32, unit: m, scan: fast}
      start: {register: coil, address: 3, type: bool, access: rw, pulse: 500ms}
  spare: {driver: modbus, line: {tcp: {host: 10.0.0.12}}, enabled: false, points: {a: {address: 1}}}
  plc2:
    driver: opcua
    endpoint: opc.tcp://10.0.0.12:4840
    security: {policy: Basic256Sha256, mode: SignAndEncrypt, user: gw, password: {file: plc2.pw}}
    points:
      flow: {node: "nsu=urn:plc2:app;s=Flow", type: double, unit: m3/h, max_interval: 60s}
"""


@pytest.fixture
def node_file(tmp_path: Path) -> Path:
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "site.yaml").write_text(SITE)
    (tmp_path / "node.yaml").write_text(NODE)
    return tmp_path / "node.yaml"


def said(file: Path, drivers: Mapping[str, Schema] = SHIPPED, as_json: bool = False) -> Any:
    lines: list[str] = []
    status = check(file, drivers, as_json, lines.append)
    return status, (json.loads(lines[0])) if as_json else lines


def test_a_good_configuration_is_summed_up(node_file: Path) -> None:
    status, lines = said(node_file)
    assert status == 0
    assert lines == [
        f"{node_file}: OK: site plant, 3 devices, 3 lines, 4 points, "
        "6 scans a second, 12 requests a second"
    ]


def test_requests_are_left_out_where_no_driver_foretells_them(node_file: Path) -> None:
    drivers = {**SHIPPED, "modbus": replace(SHIPPED["modbus"], requests=None)}
    site_file = node_file.parent / "plant" / "site.yaml"
    status, lines = said(site_file, drivers)
    assert (status, lines) == (
        0,
        [f"{site_file}: OK: site plant, 3 devices, 3 lines, 4 points, 6 scans a second"],
    )


def test_every_mistake_is_printed_and_the_status_is_one(node_file: Path) -> None:
    site_file = node_file.parent / "plant" / "site.yaml"
    site_file.write_text(SITE.replace("retries", "retrise").replace("double", "dubble"))
    status, lines = said(node_file)
    assert status == 1
    assert lines[0] == (
        f"{site_file}:6: devices.plc1.retrise: unknown key `retrise`. Did you mean `retries`?"
    )
    assert lines[1].startswith(f"{site_file}:16: devices.plc2.points.flow.type: ")
    assert lines[-1] == f"{node_file}: 2 problems"


def test_one_mistake_is_one_problem(tmp_path: Path) -> None:
    status, lines = said(tmp_path / "gone.yaml")
    assert (status, lines[-1]) == (1, f"{tmp_path / 'gone.yaml'}: 1 problem")


def test_the_same_is_told_as_json(node_file: Path) -> None:
    status, result = said(node_file, as_json=True)
    assert status == 0 and result["ok"] is True and result["problems"] == []
    assert result["summary"]["requests_per_s"] == 12.0
    (node_file.parent / "plant" / "site.yaml").write_text("site: s\ndevices: {a: {}}\n")
    status, result = said(node_file, as_json=True)
    assert status == 1 and "summary" not in result
    assert result["problems"][0]["line"] == 2
    assert result["problems"][0]["message"] == "`driver` is missing"


def test_doubts_are_printed_but_hinder_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("site: s\ndevices: {a: {driver: modbus, line: {tcp: {host: h}}}}\n")
    status, lines = said(site)
    assert status == 0
    assert lines[0] == f"warning: {site}:2: devices.a: `a` has no points. Add `points:`."


@pytest.mark.parametrize("name", ["plant_ok", "node_mistakes"])
def test_a_node_file_is_known_by_its_keys(name: str) -> None:
    assert is_node_file(ROOT / name / "node.yaml")


def test_a_site_file_is_known_by_its_keys_and_an_unreadable_one_by_its_name() -> None:
    assert not is_node_file(ROOT / "plant_ok" / "site.yaml")
    assert is_node_file(ROOT / "node_that_is_gone.yaml")
    assert not is_node_file(ROOT / "yaml_tab" / "site.yaml")


def test_loading_gives_a_node_and_a_site_or_raises_every_problem(node_file: Path) -> None:
    node, site = load(node_file, SHIPPED)
    assert node.base_dir == node_file.parent / "plant"
    assert load_site(node.site_file, SHIPPED).points == site.points
    node.site_file.write_text("site: s\ndevices: {a: {}, b: 5}\n")
    for again in (lambda: load(node_file, SHIPPED), lambda: load_site(node.site_file, SHIPPED)):
        with pytest.raises(ConfigError) as caught:
            again()
        assert len(caught.value.problems) == 2


def test_the_data_directory_is_found_even_in_a_file_with_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    with pytest.raises(ControlError, match="there is no file"):
        data_dir_of(file)
    file.write_text("node: a\nodd: 1\ndata_dir: d\n")
    assert data_dir_of(file) == tmp_path / "d"
    file.write_text("node: a\n")
    with pytest.raises(ControlError, match="names no data_dir"):
        data_dir_of(file)


def test_a_shipped_profile_is_used_by_its_name(tmp_path: Path) -> None:
    for name in names():
        site = tmp_path / "site.yaml"
        line = "{tcp: {host: 10.0.0.1}}"
        site.write_text(
            f"site: s\ndevices:\n  m: {{driver: modbus, line: {line}, profile: {name}}}\n"
        )
        loaded = load_site(site, SHIPPED)
        assert name in loaded.files
        assert loaded.devices[0].profile.profile == name


@pytest.mark.parametrize("what", sorted(SCHEMAS))
def test_a_schema_is_printed_and_refers_to_nothing_it_lacks(what: str) -> None:
    lines: list[str] = []
    schema(what, SHIPPED, lines.append)
    document = json.loads(lines[0])
    assert document["$schema"].startswith("https://json-schema.org/")
    for reference in references(document):
        assert reference.removeprefix("#/$defs/") in document["$defs"]


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for value in part.values() for ref in references(value)]
    if isinstance(part, list):
        return [ref for value in part for ref in references(value)]
    return []


def test_the_site_schema_describes_devices_by_driver() -> None:
    document = SCHEMAS["site"](SHIPPED)
    devices = document["properties"]["devices"]["additionalProperties"]["oneOf"]
    assert devices == [{"$ref": "#/$defs/modbus.device"}, {"$ref": "#/$defs/opcua.device"}]
    modbus = document["$defs"]["modbus.device"]["properties"]
    assert modbus["driver"] == {"const": "modbus"}
    assert {"timeout", "unit_id", "line", "points"} <= modbus.keys()
    assert "required" not in document["$defs"]["modbus.point"]


def test_the_points_schema_names_every_column() -> None:
    columns = SCHEMAS["points"](SHIPPED)["properties"]
    assert {"device", "point", "register", "node", "raw_min", "eu_max"} <= columns.keys()
    assert columns["address"]["type"] == "string"


def test_an_unknown_schema_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="Did you mean `site`"):
        schema("sight", SHIPPED)


def test_models_of_drivers_need_no_profile_to_have_a_schema() -> None:
    without = {name: replace(driver, profile=None) for name, driver in SHIPPED.items()}
    assert SCHEMAS["profile"](without)["oneOf"] == []
    assert issubclass(SHIPPED["modbus"].device, BaseModel)
