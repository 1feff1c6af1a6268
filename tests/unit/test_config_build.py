"""What a good configuration becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from test_config_scenarios import DRIVERS, ROOT, SOURCE, loaded_of, outline, run, shipped, site_of

from gateway.config import points
from gateway.config.build import build, build_site
from gateway.config.devices import DEVICES_MAX
from gateway.config.drafts import Source
from gateway.config.explain import Place, explain
from gateway.config.found import Found
from gateway.config.lines import endpoint_of
from gateway.config.node import HostPort, parse_host_port
from gateway.config.points_csv import CELL_MAX, COLUMNS_MAX, kinds, parse, settings, sniff
from gateway.config.site import better_name
from gateway.config.texts import build_texts
from gateway.driver import SUBSCRIPTION_CLASS, PointSettings
from gateway.model import NS_PER_MS, NS_PER_S, DataType, Settings
from gateway.pair.certificate import read_certificate
from profiles.schema import ModbusPoint
from profiles.windback import Windback

PLC = "site: s\ndevices: {plc1: {driver: modbus, line: {tcp: {host: 10.0.0.1}}, points: {%s}}}\n"


def test_a_whole_plant_becomes_lines_devices_and_points() -> None:
    result = run(ROOT / "plant_ok")
    site, node = result.site, result.node
    assert site is not None and node is not None
    assert outline(site) == {
        "bus1": ["meter1", "meter2"],
        "opcua plc2": ["plc2"],
        "tcp 10.0.0.11:502": ["plc1"],
    }
    assert [p.id for p in site.points] == [
        "meter1/voltage_l1",
        "meter1/voltage_l2",
        "meter2/power",
        "plc1/level",
        "plc1/start",
        "plc1/state",
        "plc1/t1",
        "plc2/flow",
    ]
    assert [p.number for p in site.points] == list(range(8))
    by_id = {point.id: point for point in site.points}
    level = by_id["plc1/level"]
    assert (level.data_type, level.scan_class, level.deadband) == (DataType.FLOAT64, "fast", 0.1)
    t1 = by_id["plc1/t1"]
    assert (t1.eu_range, t1.deadband, t1.unit) == ((-50.5, 150.0), 0.1, "°C")
    assert by_id["plc1/state"].enum == {0: "off", 1: "on"}
    assert by_id["plc1/state"].settings.nan == (65535,)
    assert by_id["plc1/start"].pulse_ns == 500 * NS_PER_MS
    power = by_id["meter2/power"]
    assert (power.scan_class, power.deadband, power.unit) == ("slow", 5.0, "W")
    assert power.settings.address == 16
    plc1, plc2 = (next(d for d in site.devices if d.name == n) for n in ("plc1", "plc2"))
    assert dict(plc1.scan_classes) == {"fast": 200 * NS_PER_MS, "normal": NS_PER_S}
    assert dict(plc2.scan_classes) == {SUBSCRIPTION_CLASS: 250 * NS_PER_MS}
    assert plc2.subscribed and plc2.points[0].scan_class == SUBSCRIPTION_CLASS
    assert plc1.settings.windback == {"method": "ring", "address": 1000, "columns": ["level"]}
    assert next(line for line in site.lines if line.name == "bus1").port == "/dev/ttyUSB0"
    assert list(site.files) == ["site.yaml", "acme/meter", "own.yaml", "points.csv"]
    assert site.namespace == "urn:hotpair:pump-station-7"
    assert site.users["alice"].role == "operator"
    assert node.data_dir == ROOT / "plant_ok" / "data" / "a"
    assert node.opcua.listen == HostPort("0.0.0.0", 4840)
    assert node.link is not None and node.link.tls is not None
    assert node.link.tls.cert == ROOT / "plant_ok" / "a.crt"


def test_a_revision_can_be_built_again_from_the_texts_it_holds() -> None:
    site = run(ROOT / "plant_ok").site
    assert site is not None
    files = site.files
    source = Source(lambda p: files[p.name], lambda name: files[name], ("acme/meter",))
    found = Found()
    again = build_site(Path("elsewhere/site.yaml"), source, DRIVERS, found)
    assert again is not None and found.count == 0
    assert again.points == site.points
    assert replace(again, lines=()) == replace(site, lines=())


def test_a_users_certificate_is_part_of_the_revision() -> None:
    pem = (ROOT / "users" / "alice.pem").read_text()
    text = "site: s\ndevices: {}\nusers: {alice: {role: observer, certificate: alice.pem}}\n"
    site = site_of({"site.yaml": text, "alice.pem": pem})
    known_by = site.users["alice"].certificate
    assert known_by == read_certificate(pem).sha256
    assert site.users["alice"].password_hash == ""
    again = build_texts(site.files, DRIVERS).site
    assert again is not None and again.users == site.users
    colons = ":".join(known_by[n : n + 2] for n in range(0, 64, 2)).upper()
    assert site_of({"site.yaml": text.replace("alice.pem", f"'{colons}'")}).users == site.users


def test_yaml_scalars_mean_what_yaml_1_2_says() -> None:
    text = (ROOT / "yaml_scalars" / "site.yaml").read_text().replace(", access: on", "")
    site = site_of({"site.yaml": text})
    assert site.site == "on"
    a, b, c = site.points
    assert (a.settings.address, a.description, a.unit) == (10, "yes", "1:30")
    assert (b.settings.address, b.deadband, c.settings.address) == (16, 10.0, "43001")


def test_units_behind_one_socket_share_a_line() -> None:
    site = site_of(
        {
            "site.yaml": "site: s\ndevices:\n"
            "  a: {driver: modbus, line: {tcp: {host: h}}, unit_id: 1}\n"
            "  b: {driver: modbus, line: {tcp: {port: 502, host: h}}, unit_id: 2}\n"
            "  c: {driver: modbus, line: {tcp: {host: h, port: 503}}, unit_id: 1}\n"
        }
    )
    assert outline(site) == {"tcp h:502": ["a", "b"], "tcp h:503": ["c"]}


def test_a_profile_point_left_out_comes_back_when_it_is_named() -> None:
    device = "  m: {driver: modbus, line: {tcp: {host: h}}, profile: acme/meter, include: [power]"
    text = f"site: s\ndevices:\n{device}, points: {{current_l1: {{scan: slow}}}}}}\n"
    csv = "device,point,unit\nm,power,kW\nm,voltage_l1,kV\nm,own,V\n"
    result = loaded_of({"site.yaml": text + "points_csv: [p.csv]\n", "p.csv": csv})
    assert [str(p) for p in result.problems] == [
        "p.csv:4: m/own, column address: `address` is missing. Add it, such as `address: 0` "
        "(0-based; hex; or a quoted Modicon number such as '43001')."
    ]
    site = site_of({"site.yaml": text + "points_csv: [p.csv]\n", "p.csv": csv[:-8]})
    assert {p.name: p.unit for p in site.points} == {
        "power": "kW",
        "voltage_l1": "kV",
        "current_l1": "A",
    }


def test_mistakes_of_a_profile_are_said_in_the_profile() -> None:
    text = (
        "site: s\ndevices:\n  m:\n    driver: modbus\n    line: {tcp: {host: h}}\n"
        "    profile: acme/meter\n    points: {power: {scan: slow}}\n"
    )
    profile = shipped("acme/meter") + "  odd: 5\n"
    source = Source(lambda _: text, lambda _: profile, ("acme/meter",))
    found = Found()
    assert build_site(Path("site.yaml"), source, DRIVERS, found) is None
    assert [str(problem) for problem in found.problems()] == [
        "acme/meter:8: points.odd: must be a mapping (found 5). Write `{key: value, …}`."
    ]


def test_what_does_not_fit_a_profile_is_said_where_the_profile_is_named() -> None:
    device = "driver: modbus, line: {tcp: {host: h}}, profile: acme/meter"
    text = f"site: s\ndevices:\n  m: {{{device}, points: {{power: {{access: rw}}}}}}\n"
    said = str(loaded_of({"site.yaml": text}).problems[0])
    assert said.startswith("site.yaml:3: devices.m.profile (acme/meter, point power).address: ")


def test_bounds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(f"  d{i}: {{}}\n" for i in range(DEVICES_MAX + 1))
    result = loaded_of({"site.yaml": f"site: s\ndevices:\n{many}"})
    assert "2001 devices are more than 2000" in str(result.problems[0])
    monkeypatch.setattr(points, "POINTS_MAX", 1)
    two = PLC % "a: {register: coil, address: 1, type: bool}, b: {address: 2}"
    assert "2 points are more than 1" in str(loaded_of({"site.yaml": two}).problems[0])


def test_a_name_whose_history_goes_on_elsewhere_is_taken() -> None:
    point = "b: {address: 2, renamed_from: %s}"
    assert site_of({"site.yaml": PLC % (point % "a")}).points[0].settings.renamed_from == "a"


def test_everything_wrong_in_node_and_site_is_said_at_once() -> None:
    files = {"node.yaml": "node: a\nsite: site.yaml\n", "site.yaml": "site: s\n"}
    source = replace(SOURCE, read=lambda path: files[path.name])
    result = build(Path("node.yaml"), source, DRIVERS)
    assert [f"{p.file}:{p.line} {p.message}" for p in result.problems] == [
        "node.yaml:1 `data_dir` is missing",
        "site.yaml:1 `devices` is missing",
    ]
    files["node.yaml"] = "[]"
    assert len(build(Path("node.yaml"), source, DRIVERS).problems) == 1


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("address: 1, deadband: lots", "deadband: can't be read (found 'lots')"),
        ("address: 1, deadband: .nan", "deadband: can't be read"),
        ("address: 1, unit: 5, deadband: 1%", "a percentage needs the range"),
        ("address: 1, scan: slow, max_interval: 1s", "shorter than the scan class `slow` (10s)"),
        (
            "address: 1, publish_as: bool, range: {raw: [0, 1], eu: [0, 1]}",
            "a scaled value is no bool",
        ),
        ("address: 1, range: {raw: [4, 4], eu: [0, 1]}", "range.raw needs two different ends"),
        ("address: 1, range: {eu: [3, 3]}", "range.eu needs two different ends"),
        ("address: 1, type: string, length: 2, scan: no", "there is no scan class `no`"),
    ],
)
def test_points_are_checked(point: str, said: str) -> None:
    result = loaded_of({"site.yaml": PLC % f"a: {{{point}}}"})
    assert result.site is None
    assert said in "\n".join(map(str, result.problems))


def test_what_a_range_holds_may_be_published_as_a_whole_number() -> None:
    point = "a: {address: 1, publish_as: uint8, range: {raw: [0, 1], eu: [0, 255]}}"
    assert site_of({"site.yaml": PLC % point}).points[0].data_type is DataType.UINT8


RING = "{method: ring, columns: [a], %s}"


@pytest.mark.parametrize(
    ("windback", "said"),
    [
        ("{method: rign}", "windback: `method` is not one of the choices. Did you mean `ring`?"),
        ("{adress: 1}", "windback: `method` is missing"),
        (RING % "adress: 1", "windback.adress: unknown key `adress`. Did you mean `address`?"),
        (RING % "address: x", "windback"),
        ("{method: ring, address: 1, columns: [b]}", "`plc1` has no point `b`"),
        ("{method: ring, columns: [a]}", "`address` is missing. Add `address:`"),
    ],
)
def test_the_log_of_a_device_is_checked_before_it_is_needed(windback: str, said: str) -> None:
    text = PLC.replace("points:", f"windback: {windback}, points:") % "a: {address: 1}"
    result = loaded_of({"site.yaml": text})
    assert result.site is None
    assert said in "\n".join(map(str, result.problems))


def test_the_site_completes_the_log_of_a_profile() -> None:
    text = (
        "site: s\ndevices: {m: {driver: modbus, line: {tcp: {host: h}}, profile: own.yaml, %s}}\n"
    )
    profile = "profile: own\nwindback: {method: ring, magic: 7}\npoints: {a: {address: 1}}\n"
    drivers = {**DRIVERS, "modbus": replace(DRIVERS["modbus"], profile=LoggingProfile)}

    def said(windback: str) -> str:
        files = {"site.yaml": text % f"windback: {windback}", "own.yaml": profile}
        return "\n".join(map(str, loaded_of(files, drivers).problems))

    assert said("{address: 1000, columns: [a]}") == ""
    assert said("{method: none}") == ""
    assert "`address` is missing" in said("{columns: [a]}")
    profile = profile.replace("profile: own", "profile: 5")
    assert "windback" not in said("{columns: [b]}")


def test_a_line_belongs_to_one_driver() -> None:
    drivers = {**DRIVERS, "dnp3": DRIVERS["modbus"]}
    text = (
        "site: s\nlines: {gw: {tcp: {host: h}}, idle: {odd: 1}}\ndevices:\n"
        "  a: {driver: modbus, line: gw, unit_id: 1}\n  b: {driver: dnp3, line: gw, unit_id: 2}\n"
    )
    result = loaded_of({"site.yaml": text}, drivers)
    assert [str(problem) for problem in result.problems] == [
        "site.yaml:5: devices.b.line: the line `gw` already belongs to the driver modbus. "
        "Give it a line of its own."
    ]


def test_devices_on_a_named_line_share_it() -> None:
    text = (
        "site: s\nlines: {gw: {tcp: {host: h}}}\ndevices:\n"
        "  a: {driver: modbus, line: gw, unit_id: 1}\n  b: {driver: modbus, line: gw, unit_id: 2}\n"
    )
    assert outline(site_of({"site.yaml": text})) == {"gw": ["a", "b"]}


def test_a_port_for_a_line_that_is_wrong_is_not_a_second_mistake() -> None:
    files = {
        "node.yaml": "node: a\ndata_dir: d\nports: {bus1: /dev/ttyS0}\n",
        "site.yaml": "site: s\nlines: {bus1: {rut: {}}}\n"
        "devices: {a: {driver: modbus, line: bus1}}\n",
    }
    source = replace(SOURCE, read=lambda path: files[path.name])
    result = build(Path("node.yaml"), source, DRIVERS)
    assert [problem.where for problem in result.problems] == ["lines.bus1.rut"]


def test_a_csv_file_named_twice_defines_its_points_twice() -> None:
    text = PLC % "" + "points_csv: [p.csv, p.csv]\n"
    result = loaded_of({"site.yaml": text, "p.csv": "device,point,address\nplc1,a,1\n"})
    assert "`plc1/a` is already defined in p.csv:2" in str(result.problems[0])


def test_a_finding_about_a_nested_key_is_said_at_its_line() -> None:
    def review(line: object) -> list[tuple[str, str, str, str, str]]:
        return [("plc1", "", "line.tcp.port", "no such port", ""), ("plc1", "", "", "odd", "")]

    drivers = {**DRIVERS, "modbus": replace(DRIVERS["modbus"], review=review)}
    text = (
        "site: s\ndevices:\n  plc1:\n    driver: modbus\n    line:\n      tcp:\n        host: h\n"
    )
    result = loaded_of({"site.yaml": text + "        port: 99\n"}, drivers)
    assert [problem.line for problem in result.problems] == [3, 8]


def test_points_over_a_profile_that_cannot_be_had_are_checked_as_far_as_they_go() -> None:
    text = (
        "site: s\ndevices:\n  m: {driver: modbus, line: {tcp: {host: h}}, profile: acme/metre, "
        "points: {power: {deadband: 5}, gone: null, odd: {scna: fast}}}\n"
    )
    result = loaded_of({"site.yaml": text})
    assert [problem.where for problem in result.problems] == [
        "devices.m.points.odd.scna",
        "devices.m.profile",
    ]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("devices: 5", "devices: must be a mapping (found 5)"),
        ("devices: {}\nlines: [1]", "lines: must be a mapping"),
        ("devices: {}\nhistory: {retention: 1h}", "retention is counted in whole days"),
        ("devices: {}\nhistory: {max_size: 1MB}", "max_size must hold one day"),
        ("devices: {}\npair: {heartbeat: 1ms}", "Write a time of at least 10ms."),
        ("devices: {}\nnamespace: a b", "has a form that is not taken"),
        ("devices: {}\nscan_classes: {Ä b: 1s}", "Write `Ae_b` instead"),
        ("devices: {p q: {driver: opcua, endpoint: e}}", "Write `p_q` instead"),
        ("devices: {}\npair: {witness: {etcd: {endpoints: []}}}", "Write at least 1."),
        ("devices: {}\nusers: {al: {role: admin}}", "a user needs a password or a certificate"),
    ],
)
def test_sections_are_checked(section: str, said: str) -> None:
    result = loaded_of({"site.yaml": f"site: s\n{section}\n"})
    assert result.site is None
    assert said in "\n".join(map(str, result.problems))


def test_a_port_is_beside_node_yaml_unless_it_is_a_url() -> None:
    ports = "ports: {bus1: ./run/bus1, bus2: 'socket://h:1'}"
    files = {
        "node.yaml": f"node: a\ndata_dir: d\n{ports}\n",
        "site.yaml": "site: s\nlines: {bus1: {rtu: {}}, bus2: {rtu: {}}}\ndevices:\n"
        "  a: {driver: modbus, line: bus1}\n  b: {driver: modbus, line: bus2}\n",
    }
    source = replace(SOURCE, read=lambda path: files[path.name])
    site = build(Path("there/node.yaml"), source, DRIVERS).site
    assert site is not None
    assert [line.port for line in site.lines] == ["there/run/bus1", "socket://h:1"]


def test_names_are_bettered() -> None:
    assert better_name("Kühlung 1") == "Kuehlung_1"
    assert better_name("°") == "name1"


@pytest.mark.parametrize("text", ["10.0.0.1", 5, "[::1]", "h:0", "h:x", "a b:1", "::1:80", ":80"])
def test_what_is_no_host_and_port_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="write "):
        parse_host_port(text)


def test_host_and_port_are_parted() -> None:
    address = parse_host_port("[::1]:80")
    assert address == HostPort("::1", 80) and str(address) == "[::1]:80"
    assert parse_host_port(address) is address
    assert str(HostPort("h", 1)) == "h:1"
    assert HostPort("localhost", 1).is_loopback and not HostPort("gw", 1).is_loopback


class LoggingProfile(Settings):
    profile: str
    windback: Windback
    points: dict[str, ModbusPoint]


# ---------------------------------------------------------------------------- points by CSV


def test_the_delimiter_is_taken_from_the_header_alone() -> None:
    assert sniff("a;b;c,d") == ";"
    assert sniff("a\tb") == "\t"
    assert sniff("device") == ","


COLUMNS = frozenset(kinds(ModbusPoint))


def one_row(header: str, cells: str) -> dict[str, object]:
    found = Found()
    table = parse(f"{header}\n{cells}\n", "p.csv", COLUMNS, found)
    assert table is not None and found.count == 0, found.problems()
    return settings(table.rows[0], table, ModbusPoint)


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("device,point,address", "d,p,0x10", {"address": 16}),
        ("device,point,address", "d,p,'43001", {"address": "43001"}),
        ("device,point,description", "d,p,'007", {"description": "007"}),
        ("device,point,volatile", "d,p,TRUE", {"volatile": True}),
        ("device,point,volatile", "d,p,true", {"volatile": True}),
        ("device,point,range", "d,p,0..10", {"range": {"eu": [0.0, 10.0]}}),
        (
            "device,point,range",
            "d,p,4000..20000 -> 0..10",
            {"range": {"raw": [4000.0, 20000.0], "eu": [0.0, 10.0]}},
        ),
        ("device;point;range", "d;p;-0,5..1", {"range": {"eu": [-0.5, 1.0]}}),
        ("device;point;deadband", "d;p;0,5", {"deadband": 0.5}),
        ("device;point;deadband", "d;p;1%", {"deadband": "1%"}),
        ("device,point,nan", "d,p,32768|0x8000", {"nan": [32768, 32768]}),
        ("device,point,enum", "d,p,0=off|1=on", {"enum": {0: "off", 1: "on"}}),
        ("device,point,enum", "d,p,off", {"enum": "off"}),
        ("device,point,eu_max", "d,p,5", {"range": {"eu": [None, 5]}}),
        ("device,point,range,eu_max", "d,p,junk,5", {"range": "junk"}),
        ('"device"\t"name"\tunit', 'd\tp\t"a ""b"""', {"unit": 'a "b"'}),
        ("device,point,unit,", "d,p,m,", {"unit": "m"}),
    ],
)
def test_cells_become_what_yaml_would_say(
    header: str, cells: str, expected: dict[str, object]
) -> None:
    assert one_row(header, cells) == expected


def test_a_declared_delimiter_counts_and_lines_stay_true() -> None:
    found = Found()
    text = 'sep=;\r\ndevice;point;unit\r\nd;p;"two\r\nlines"\r\nd;;m\r\n'
    table = parse(text, "p.csv", COLUMNS, found)
    assert table is not None and table.rows[0].line == 3
    assert [problem.line for problem in found.problems()] == [5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# only a comment\n", "the file has no header"),
        ("device,point" + ",x" * COLUMNS_MAX + "\n", "more than 100 columns"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(text: str, said: str) -> None:
    found = Found()
    assert parse(text, "p.csv", COLUMNS, found) is None
    assert said in str(found.problems()[0])


def test_a_cell_is_bounded() -> None:
    assert len(str(one_row("device,point,unit", f"d,p,{'x' * (CELL_MAX + 5)}")["unit"])) == CELL_MAX


def test_ends_of_a_range_are_named_by_their_columns() -> None:
    csv = "device,point,address,raw_min,raw_max,eu_min,eu_max\nplc1,a,1,0,,0,1\nplc1,b,2,0,1,,\n"
    text = PLC % "" + "points_csv: [p.csv]\n"
    result = loaded_of({"site.yaml": text, "p.csv": csv})
    said = [problem.where for problem in result.problems]
    assert said == ["plc1/a, column raw_max", "plc1/b, column eu_min"]


def test_ten_thousand_mistakes_are_counted_and_a_hundred_shown() -> None:
    rows = "".join(f"plc1,p{i},{i},flaot32\n" for i in range(1_000))
    text = PLC % "" + "points_csv: [p.csv]\n"
    result = loaded_of({"site.yaml": text, "p.csv": f"device,point,address,type\n{rows}"})
    assert result.problem_count == 1_000
    assert len(result.problems) == 101
    rows = rows.replace("plc1", "plc9")
    result = loaded_of({"site.yaml": text, "p.csv": f"device,point,address,type\n{rows}"})
    assert result.problem_count == 1_000


# ---------------------------------------------------------------------------- saying it


class Inner(Settings):
    size: int = Field(1, gt=0)
    top: int = Field(1, le=5)
    text: str = Field("", min_length=2, max_length=3)


class Circle(Settings):
    kind: Literal["circle"]


class Square(Settings):
    kind: Literal["square"]
    side: int


class Outer(Settings):
    inner: Inner | None = None
    listed: tuple[Inner, ...] = Field((), max_length=1)
    named: dict[str, Inner] = {}
    choice: Inner | int = 1
    flag: bool = False
    ratio: float = 1.0
    two: tuple[int, int] = (1, 2)
    tagged: Annotated[Circle | Square, Field(discriminator="kind")] | None = None
    wait_ns: int = Field(NS_PER_S, alias="wait", ge=NS_PER_MS, le=NS_PER_S)
    example: int = Field(examples=[7])
    stamp: bytes = b""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"inner": {"size": 0}},
            "inner.size: is out of range (found 0). Write a value of at least",
        ),
        ({"inner": {"top": 9}}, "Write a value of at most 5."),
        ({"inner": {"text": "x"}}, "is too short (found 'x'). Write at least 2 characters."),
        ({"inner": {"text": "xxxx"}}, "is too long (found 'xxxx'). Write at most 3 characters."),
        ({"listed": [{}, {}]}, "has too many values. Write at most 1."),
        ({"listed": [{"siez": 1}]}, "listed.0.siez: unknown key `siez`. Did you mean `size`?"),
        ({"named": {"a": {"siez": 1}}}, "named.a.siez: unknown key `siez`. Did you mean `size`?"),
        ({"choice": {"siez": 1}}, "Did you mean `size`?"),
        ({"flag": "maybe"}, "must be true or false"),
        ({"ratio": "x"}, "must be a number"),
        ({"ratio": []}, "must be a number"),
        ({"two": [1, 2, 3]}, "has too many values"),
        ({"wait": 1}, "Write a value from 1ms to 1s."),
        ({"tagged": {}}, "`kind` is missing. Add `kind:`."),
        ({"tagged": {"kind": "sqare"}}, "`kind` is not one of the choices. Did you mean `square`?"),
        ({"tagged": {"kind": "square", "sied": 1}}, "Did you mean `side`?"),
        ({"tagged": {"kind": "square"}}, "`side` is missing"),
        ({"stamp": 5}, "stamp: input should be a valid bytes (found 5)."),
    ],
)
def test_pydantic_is_translated(data: dict[str, object], said: str) -> None:
    assert said in explained(Outer, {"example": 1, **data})


def test_an_example_of_the_field_is_given_for_a_missing_key() -> None:
    assert "Add it, such as `example: 7`." in explained(Outer, {})


def explained(model: type[BaseModel], data: object) -> str:
    found = Found()
    with pytest.raises(ValueError) as caught:
        model.model_validate(data)
    explain(
        caught.value,  # type: ignore[arg-type]
        model,
        data,
        lambda loc: Place("f", 1, ".".join(map(str, loc))),
        found,
    )
    return "\n".join(map(str, found.problems()))


def test_a_line_that_reaches_no_host_is_serial() -> None:
    class Odd(Settings):
        gap: int = 1

    assert endpoint_of(Odd()) is None


def test_a_column_of_text_stays_text() -> None:
    assert kinds(ModbusPoint)["unit"] == "text"
    assert kinds(PointSettings)["enum"] == "map"
