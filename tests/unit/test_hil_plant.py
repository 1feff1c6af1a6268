"""The plant as the rig reads it: lines shared, profiles changed, CSVs in every dialect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.model import NS_PER_S, Access, DataType
from hil.plant import Plant, deadband_of, read_site
from hil.runs import Happening, judged, value_faults
from hil.settings import Rig, SiteError, read_rig
from hil.site import find_profile, load_site, localise, serial_ports
from hil.tables import read_csv
from hil.truth import EPOCH_NS, Span, Wave
from profiles.load import load
from profiles.schema import Area

T0 = EPOCH_NS + 86_400 * NS_PER_S
HEAD = "driver: modbus, line: {tcp: {host: 127.0.0.1}}"


def plant_of(devices: str, files: dict[str, str] | None = None, **rig: Any) -> Plant:
    named = "".join(f"  {line}\n" for line in devices.strip().splitlines())
    csvs = f"points_csv: {list(files or {})}\n"
    texts = files or {}
    return read_site(
        f"site: test\nscan_classes: {{fast: 200ms, slow: 10s}}\n{csvs}devices:\n{named}",
        texts.__getitem__,
        load,
        Rig(**rig),
    )


def test_devices_of_one_endpoint_share_its_line() -> None:
    plant = plant_of(
        f"a: {{{HEAD}, unit_id: 1}}\nb: {{{HEAD}, unit_id: 2}}\n"
        "c: {driver: modbus, line: {tls: {hosts: [127.0.0.1, 127.0.0.2]}}}"
    )
    assert set(plant.lines) == {"tcp 127.0.0.1:502", "tls 127.0.0.1:802"}
    assert plant.lines["tls 127.0.0.1:802"].hosts == ("127.0.0.1", "127.0.0.2")
    assert plant.devices["b"].line == plant.devices["a"].line


def test_a_device_has_the_log_of_its_profile_and_site() -> None:
    said = "windback: {address: 5, columns: [a]}, points: {a: {address: 0}}"
    plant = plant_of(
        f"ring: {{{HEAD}, profile: generic/plc-ring, {said}}}\n"
        f"bare: {{{HEAD}, profile: generic/plc-ring}}\n"
        f"none: {{{HEAD}, profile: eastron/sdm120}}\n"
        f"ion: {{{HEAD}, profile: schneider/ion-recorder, defaults: {{address_base: 0}}}}"
    )
    found = plant.devices["ring"].windback
    assert found is not None
    assert found.method == "ring"
    assert plant.devices["bare"].windback is None, "nobody says where it is"
    assert plant.devices["none"].windback is None
    assert plant.devices["ion"].clock is not None
    assert plant.devices["ion"].address_base == 0
    with pytest.raises(SiteError, match="device ring: windback ring still needs `address:`"):
        plant_of(f"ring: {{{HEAD}, profile: generic/plc-ring, windback: {{resolution: 1s}}}}")


def test_rig_yaml_says_what_logs_are_like() -> None:
    rig = read_rig("logs: {m: {start: 65530, capacity: 7, age: 1h, clock_offset: -1.5}}")
    assert rig.logs["m"].start == 65530
    assert rig.logs["m"].capacity == 7
    assert rig.logs["m"].age_ns == 3600 * NS_PER_S
    assert rig.logs["m"].clock_offset_ns == -1_500_000_000
    assert read_rig("logs: {m: {clock_drift_ppm: 20}}").logs["m"].clock_drift_ppm == 20
    with pytest.raises(SiteError, match=r"unknown keys \['depth'\]"):
        read_rig("logs: {m: {depth: 1}}")


def test_a_site_changes_adds_and_drops_points_of_a_profile() -> None:
    plant = plant_of(
        f"m: {{{HEAD}, profile: eastron/sdm120, scan: slow, defaults: {{byte_order: CDAB}}, "
        "limits: {max_gap_words: 0}, quirks: {reads_by_fc03_only: true}, points: {"
        "voltage: null, extra: {address: 900, type: int16, scan: fast}}}"
    )
    device = plant.devices["m"]
    points = {point.name: point for point in device.points}
    assert "voltage" not in points
    assert points["extra"].period_ns == NS_PER_S // 5
    assert points["extra"].place.byte_order == "CDAB"
    assert device.limits.max_gap_words == 0
    assert device.quirks.reads_by_fc03_only
    assert {point.scan_class for point in device.points} == {"fast", "slow"}
    assert device.identity[0] == "Eastron"


def test_scaling_is_that_of_the_point() -> None:
    points = (
        "a: {address: 0, type: int16, range: {raw: [4000, 20000], eu: [0, 10]}}, "
        "b: {address: 1, type: uint16, scale: 0.5, offset: -3}, "
        "c: {address: 2, type: uint16, scale: 0.5, publish_as: int32}, "
        "d: {address: 3, type: string, length: 4}, e: {address: 7, type: uint16}"
    )
    device = plant_of(f"p: {{{HEAD}, points: {{{points}}}}}").devices["p"]
    found = {point.name: point for point in device.points}
    assert found["a"].engineering(12_000, T0) == 5.0
    assert found["b"].engineering(4, T0) == -1.0
    assert found["c"].engineering(5, T0) == 2
    assert isinstance(found["c"].engineering(5, T0), int)
    assert found["d"].engineering("x", T0) == "x"
    assert found["e"].engineering(7, T0) == 7
    raw = found["a"].raw_at(T0)
    assert isinstance(raw, int)
    assert 4_000 <= raw <= 20_000
    assert found["a"].steps(T0, T0 + 600 * NS_PER_S)[0].value == found["a"].expected(T0)


def test_points_that_overlap_are_refused() -> None:
    for points in (
        "a: {address: 0, type: float32}, b: {address: 1}",
        "a: {address: 0, type: float32}, b: {address: 0, type: bool, bit: 3}",
    ):
        with pytest.raises(SiteError, match=r"overlap|lies inside"):
            plant_of(f"p: {{{HEAD}, points: {{{points}}}}}")


def test_two_points_on_the_same_registers_hold_the_same() -> None:
    points = "a: {address: 0, type: uint32, scale: 0.1}, b: {address: 0, type: uint32}"
    found = plant_of(f"p: {{{HEAD}, points: {{{points}}}}}").devices["p"].points
    assert found[0].raw_at(T0) == found[1].raw_at(T0)


def test_energy_counts_and_enums_keep_their_keys() -> None:
    points = (
        "e: {address: 0, type: uint32, unit: kWh}, f: {address: 2, type: float32, unit: kWh}, "
        "s: {address: 4, enum: {1: a, 9: b}}, w: {address: 5, type: int16, range: {eu: [3, 3.5]}}"
    )
    found = {
        p.name: p for p in plant_of(f"p: {{{HEAD}, points: {{{points}}}}}").devices["p"].points
    }
    assert found["e"].signal.wave is found["f"].signal.wave is Wave.COUNTER
    assert found["s"].expected(T0) in (1, 9)
    assert isinstance(found["w"].expected(T0), int)


def test_a_point_of_a_profile_keeps_what_the_site_does_not_change() -> None:
    plant = plant_of(f"m: {{{HEAD}, profile: eastron/sdm120, points: {{voltage: {{scan: slow}}}}}}")
    (voltage,) = [point for point in plant.points() if point.name == "voltage"]
    assert voltage.scan_class == "slow"
    assert voltage.place.point.unit == "V"


def test_a_serial_line_has_a_name() -> None:
    text = "lines: {bus: {rtu: {baudrate: 9600}}}\ndevices: {a: {driver: modbus, line: bus}}"
    plant = read_site(text, lambda name: "", load)
    assert plant.lines["bus"].options == {"baudrate": 9600}


OPCUA = "p: {driver: opcua, endpoint: 'opc.tcp://127.0.0.1:4841/x', mode: poll, points: {%s}}"


def test_opcua_points_are_read() -> None:
    plant = plant_of(
        OPCUA % "a: {node: 'ns=2;s=A', type: Double, deadband: 1%, range: {eu: [0, 50]}}, "
        "b: {node: 'ns=2;s=B', type: int32, index: 3, access: rw, scan: fast, enum: {0: a, 1: b}}, "
        "c: {node: i=3, type: uint16, unit: h}, d: {node: i=4, type: int16}, "
        "e: {node: i=5, type: boolean}, f: {node: i=6, type: float, unit: kWh}, "
        "g: {node: i=7, type: text}"
    )
    found = {point.name: point for point in plant.points()}
    assert found["a"].data_type is DataType.FLOAT64
    assert found["a"].deadband == 0.5
    assert found["b"].place == ("ns=2;s=B", 3)
    assert found["b"].access is Access.READ_WRITE
    assert found["b"].period_ns == NS_PER_S // 5
    assert found["a"].expected(T0) == found["a"].raw_at(T0)
    assert plant.lines["opcua p"].port == 4841
    with pytest.raises(SiteError, match="no datetime"):
        plant_of(OPCUA % "a: {node: i=1, type: datetime}")


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ("p: {driver: modbus}", "'line'"),
        ("p: {driver: modbus, line: ghost}", "'ghost'"),
        ("p: {driver: modbus, line: {pigeon: {}}}", "no known transport"),
        (f"p: {{{HEAD}, points: {{a: {{address: 0, deadband: 1%}}}}}}", "needs range.eu"),
        (f"p: {{{HEAD}, points: {{a: {{address: 0, sf: b}}}}}}", "'b'"),
        (f"p: {{{HEAD}, points: {{a: {{address: 0, scan: never}}}}}}", "never"),
    ],
)
def test_a_device_that_can_not_be_emulated_is_named(devices: str, why: str) -> None:
    with pytest.raises(SiteError, match=f"device p: .*{why}"):
        plant_of(devices)


def test_deadbands_are_absolute_or_of_the_span() -> None:
    assert deadband_of(None, None) == 0
    assert deadband_of("0.5", None) == 0.5
    assert deadband_of("2%", {"eu": [10, -10]}) == 0.4


# ---------------------------------------------------------------------------------- CSV


CSVS = [
    "device,point,address,type,range\np,a,0,uint16,\n",
    "\ufeffdevice;point;address;type;raw_min;raw_max;eu_min;eu_max\np;a;0x10;int16;0;10;0;1\n",
    "sep=\t\ndevice\tname\taddress\ttype\teu_min\teu_max\np\ta\t5\tfloat32\t0\t1\n",
]


@pytest.mark.parametrize("text", CSVS)
def test_csvs_of_every_dialect_are_read(text: str) -> None:
    ((device, point, settings),) = list(read_csv(text))
    assert (device, point) == ("p", "a")
    assert settings["type"] in ("uint16", "int16", "float32")
    if "raw_min" in text:
        assert settings["address"] == 16
        assert settings["range"] == {"raw": [0, 10], "eu": [0, 1]}


def test_cells_are_numbers_lists_and_maps_where_they_must_be() -> None:
    text = (
        "device,point,address,enum,nan,bits,read_modify_write,access\n"
        "# a comment,,,,,,,\n"
        "p,a,4x0003,0=off|1=on,0x8000|nan,0=a|5=b,true,rw\n"
        ",,,,,,,\n"
    )
    ((_, _, settings),) = list(read_csv(text))
    assert settings == {
        "address": "4x0003",
        "enum": {0: "off", 1: "on"},
        "nan": [0x8000, "nan"],
        "bits": {0: "a", 5: "b"},
        "read_modify_write": True,
        "access": "rw",
    }


def test_a_csv_gives_points_and_yaml_wins() -> None:
    files = {"a.csv": CSVS[0] + "p,b,1,uint16,\n"}
    plant = plant_of(f"p: {{{HEAD}, points: {{b: {{address: 7}}}}}}", files)
    assert {p.name: p.place.address for p in plant.points()} == {"a": 0, "b": 7}
    with pytest.raises(SiteError, match="does not have"):
        plant_of(f"q: {{{HEAD}}}", files)


# ---------------------------------------------------------------------------------- files


def test_rig_yaml_says_what_is_wrong_on_purpose() -> None:
    rig = read_rig(
        "seed: 3\nchange: 0.2\ndead: [a]\nrefuse: {b: {holding: [[1, 2]]}}\n"
        "scratch: {b: {coil: [[5, 6]]}}\nstrict: [c]\nmax_connections: {a: 1}\n"
    )
    assert rig.refuse == {"b": {Area.HOLDING: ((1, 2),)}}
    assert rig.scratch == {"b": {Area.COIL: ((5, 6),)}}
    assert rig.dead == {"a"}
    with pytest.raises(SiteError, match="seeed"):
        read_rig("seeed: 1")


def test_ports_move_and_nothing_else_does() -> None:
    text = (
        "line: {tcp: {host: 127.0.0.1, port: 15020}}\n"
        "endpoint: opc.tcp://127.0.0.1:4841/path # 127.0.0.1 port 3\n"
        "listen: 127.0.0.1:4840\naddress: 15020\nports: {bus: /dev/tty5020}\nat: 10.0.0.1:4840\n"
    )
    assert localise(text, 100) == text.replace("15020}", "15120}").replace(
        "127.0.0.1:484", "127.0.0.1:494"
    )


def test_profiles_are_found_by_name_or_by_file(tmp_path: Path) -> None:
    assert find_profile("abb/b23").vendor == "ABB"
    own = tmp_path / "own.yaml"
    own.write_text(
        "profile: own/p\nversion: 1\nvendor: me\nmodels: [x]\nstatus: manual\n"
        "source: written by hand\npoints: {a: {address: 1}}\n"
    )
    assert find_profile("own.yaml", tmp_path).profile == "own/p"
    with pytest.raises(SiteError, match="no profile ghost/x"):
        find_profile("ghost/x")


def test_node_yaml_names_the_serial_ports(tmp_path: Path) -> None:
    node = tmp_path / "node.yaml"
    node.write_text("node: a\nports: {bus: ./run/bus, far: /dev/ttyUSB0}\n")
    other = tmp_path / "b" / "node.yaml"
    other.parent.mkdir()
    other.write_text("node: b\nports: {bus: bus}\n")
    far = Path("/dev/ttyUSB0")
    assert serial_ports(node) == {"bus": (tmp_path / "run/bus",), "far": (far,)}
    assert serial_ports(node, other)["bus"] == (tmp_path / "run/bus", tmp_path / "b/bus")
    assert serial_ports() == {}


def test_a_site_without_a_rig_file_is_a_healthy_one(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("device,point,register,address\np,a,holding,0\n")
    site = tmp_path / "site.yaml"
    site.write_text(f"points_csv: [p.csv]\ndevices:\n  p: {{{HEAD}, profile: eastron/sdm120}}\n")
    plant = load_site(site)
    assert plant.rig == Rig()
    assert "p/a" in {point.id for point in plant.points()}


# ---------------------------------------------------------------------------------- runs


def test_faults_of_values_become_part_of_the_truth() -> None:
    S = NS_PER_S  # noqa: N806
    journal = [
        Happening(T0, "p", "fault silence"),
        Happening(T0 + S, "p", "fault nan"),
        Happening(T0 + 2 * S, "q", "clear"),
        Happening(T0 + 2 * S, "p", "log run"),
        Happening(T0 + 2 * S, "p", "clock step -60.0"),
        Happening(T0 + 3 * S, "p", "clear"),
        Happening(T0 + 5 * S, "p", "fault stuck"),
    ]
    spans = [("nan", Span(T0 + S, T0 + 3 * S, None)), ("stuck", Span(T0 + 5 * S, T0 + 9 * S, None))]
    assert value_faults(journal, "p", T0 + 9 * S) == spans
    points = "f: {address: 0, type: float32}, w: {address: 2}, x: {address: 3, access: w}"
    plant = plant_of(f"p: {{{HEAD}, points: {{{points}}}}}", change=1.0)
    f, w = judged(plant, journal, T0 + 9 * S)
    assert (f.id, w.id) == ("p/f", "p/w")
    held = {step.time_ns: step.value for step in f.truth(T0, T0 + 9 * S)}
    assert held[T0 + S] is None
    assert T0 + 3 * S in held
    assert all(at <= T0 + 5 * S for at in held)
    assert None not in [step.value for step in w.truth(T0, T0 + 9 * S)]


def test_a_refused_point_holds_no_value_and_a_healthy_one_its_signal() -> None:
    refuse = {"p": {Area.HOLDING: ((1, 4),)}}
    plant = plant_of(
        f"p: {{{HEAD}, points: {{a: {{address: 0}}, b: {{address: 4}}}}}}", refuse=refuse
    )
    a, b = judged(plant)
    assert [step.value for step in b.truth(T0, T0 + NS_PER_S)] == [None]
    assert a.truth(T0, T0 + NS_PER_S)[0].value is not None
    (plc,) = judged(
        plant_of(OPCUA % "a: {node: i=1, type: int16}"), [Happening(T0, "p", "fault nan")], T0 + 9
    )
    assert plc.truth(T0 - 1, T0 + 9)[-1].value is None
