"""What `hotpair check` says about Modbus lines that no single model can see."""

from __future__ import annotations

from typing import Any

from drivers.modbus.driver import driver
from drivers.modbus.review import review
from drivers.modbus.serial import character_ns, frame_gap_ns
from drivers.modbus.settings import ModbusDevice, ModbusLine, Rtu
from gateway.driver import DeviceSpec, LineSpec, PointSpec
from gateway.model import NS_PER_S
from profiles.schema import ModbusPoint, Profile, published_type

TCP = {"tcp": {"host": "127.0.0.1"}}


def device(points: dict[str, dict[str, Any]], name: str = "plc", **keys: Any) -> DeviceSpec:
    settings = ModbusDevice(driver="modbus", line="bus", **keys)
    models = {point: ModbusPoint(**point_keys) for point, point_keys in points.items()}
    specs = tuple(
        PointSpec(i, name, point, published_type(model), "normal", model.access, model)
        for i, (point, model) in enumerate(models.items())
    )
    profile = None
    if keys.get("profile"):
        profile = Profile(
            profile=keys["profile"],
            version=1,
            vendor="x",
            models=("y",),
            status="manual",
            source="a manual of ours",
        )
    return DeviceSpec(name, "modbus", "bus", settings, specs, {"normal": NS_PER_S}, profile)


def found(*devices: DeviceSpec, line: Any = TCP, port: str | None = None) -> list[tuple[str, str]]:
    spec = LineSpec("bus", "modbus", ModbusLine(**line), devices, port)
    return [(f"{where}/{point}".rstrip("/"), key) for where, point, key, _, _ in review(spec)]


def test_a_time_out_that_would_make_a_neighbour_miss_instants_is_a_warning() -> None:
    quick = device({"a": {"address": 1}}, "quick", unit_id=1)
    slow = device({"a": {"address": 1}}, "slow", unit_id=2, timeout="2s")
    assert found(quick, slow) == [("slow", "timeout")]
    assert found(slow) == []
    (finding,) = review(LineSpec("bus", "modbus", ModbusLine(**TCP), (quick, slow)))
    assert finding[3].startswith("warning: ")
    assert "normal (1s) of quick" in finding[3]


def test_a_sound_line_has_no_findings() -> None:
    sound = device({"a": {"address": 1}, "b": {"address": 2, "access": "rw"}})
    assert found(sound) == []
    assert found(sound, line={"rtu": {}}, port="/dev/ttyS0") == []
    assert found() == []
    assert not driver.schema.subscribed(sound.settings)


def test_a_serial_line_needs_a_port_on_this_node() -> None:
    assert found(device({}), line={"rtu": {}}) == [("plc", "line")]


def test_two_devices_of_a_line_need_two_unit_ids() -> None:
    assert found(device({}), device({}, "other")) == [("other", "unit_id")]


def test_broadcast_and_reserved_units_are_refused_on_serial_lines_only() -> None:
    for unit_id in (0, 248):
        assert found(device({}, unit_id=unit_id), line={"rtu": {}}, port="p") == [
            ("plc", "unit_id")
        ]
        assert found(device({}, unit_id=unit_id)) == []


def test_a_pac3200_does_not_answer_as_unit_255() -> None:
    assert found(device({}, unit_id=255, profile="siemens/pac3200")) == [("plc", "unit_id")]


def test_a_point_that_contradicts_itself_or_its_limits_is_found() -> None:
    points = {
        "no_bit": {"register": "holding", "address": 1, "type": "bool"},
        "far": {"address": 900},
        "long": {"address": 1, "type": "string", "length": 20},
    }
    limits = {"allowed_ranges": {"holding": [(0, 99)]}, "max_read_words": 10}
    assert sorted(found(device(points, limits=limits))) == [
        ("plc/far", "address"),
        ("plc/long", "address"),
        ("plc/no_bit", "address"),
    ]


def test_a_writable_point_that_cannot_be_written_is_found() -> None:
    points = {
        "bit": {"address": 1, "type": "bool", "bit": 1, "access": "rw"},
        "rmw": {"address": 1, "type": "bool", "bit": 2, "access": "rw", "read_modify_write": True},
        "wide": {"address": 10, "type": "float64", "access": "rw"},
    }
    assert found(device(points, limits={"max_write_words": 2})) == [
        ("plc/bit", "read_modify_write"),
        ("plc/wide", "access"),
    ]


def test_writable_values_that_share_registers_are_found() -> None:
    points = {
        "a": {"address": 1, "type": "int32", "access": "rw"},
        "b": {"address": 2, "access": "rw"},
        "c": {"address": 3},
    }
    assert found(device(points)) == [("plc/b", "address")]


def test_integers_that_look_like_modicon_numbers_are_found_with_the_remedy() -> None:
    points = {"a": {"address": 40001}, "b": {"address": 43001}}
    assert found(device(points)) == [("plc/a", "address"), ("plc/b", "address")]
    assert found(device(points | {"c": {"address": 0}})) == []
    assert found(device({"a": {"address": "40001"}})) == []
    assert found(device({"a": {"address": 1, "register": "coil", "type": "bool"}})) == []
    spec = LineSpec("bus", "modbus", ModbusLine(**TCP), (device(points),), None)
    assert "Write '43001' in quotes, or 3000" in review(spec)[1][4]


def test_the_requests_of_a_scan_are_foretold() -> None:
    points = {"a": {"address": 1}, "b": {"address": 2}, "c": {"address": 2000}}
    assert driver.schema.requests is not None
    assert driver.schema.requests(device(points), "normal") == 2
    assert driver.schema.requests(device(points), "slow") == 0


def test_a_heartbeat_needs_an_address_of_its_kind() -> None:
    assert found(device({}, heartbeat={"address": "4x0001"})) == []
    for address in ("nonsense", "0x0001"):
        assert found(device({}, heartbeat={"address": address})) == [("plc", "heartbeat.address")]


def test_frames_on_a_serial_line_are_parted_by_three_and_a_half_characters() -> None:
    """Modbus over Serial Line V1.02 section 2.5.1.1."""
    assert character_ns(Rtu(baudrate=9600)) == 11 * 10**9 // 9600
    assert character_ns(Rtu(baudrate=9600, parity="N")) == 10 * 10**9 // 9600
    assert frame_gap_ns(Rtu(baudrate=9600)) == 4_010_415
    assert frame_gap_ns(Rtu(baudrate=115200)) == 1_750_000


# ----------------------------------------------------------------------------------------- windback

FLOW = {"flow": {"address": 1, "type": "float32"}}
RING: dict[str, Any] = {"method": "ring", "address": 0, "columns": ["flow"], "resolution": "1s"}
RECORD = {"time": {"at": 0, "type": "uint32", "format": "unix_s"}, "columns_at": 2}
SELECT: dict[str, Any] = {
    "method": "record_select",
    "resolution": "1s",
    "select": {"log": {"address": 1}, "start": {"address": 2, "type": "uint32"}},
    "data": {"address": 10},
    "record": RECORD,
    "logs": [{"id": "one", "select": 1, "columns": ["flow"]}],
}


def told(windback: dict[str, Any], **points: dict[str, Any]) -> list[tuple[str, str]]:
    spec = LineSpec("bus", "modbus", ModbusLine(**TCP), (device(FLOW | points, windback=windback),))
    return [(key, message) for _, _, key, message, _ in review(spec)]


def test_a_sound_log_has_no_findings() -> None:
    assert told(RING) == []
    assert told(SELECT) == []
    assert told({"method": "none"}) == []
    assert told({"method": "ring"}) == []  # configuration tells this
    file = {"method": "file_record", "file": 1, "records": 9, "resolution": "1s", "record": RECORD}
    assert told(file | {"logs": [{"id": "f", "columns": ["flow"]}]}) == []


def test_a_log_that_is_asked_by_time() -> None:
    section: dict[str, Any] = {
        "method": "time_select",
        "resolution": "1m",
        "moment": {"address": 4},
        "next": {"address": 1},
        "channel": {"address": 3},
        "data": {"address": 10},
        "record": RECORD,
        "logs": [{"id": "one", "select": 1, "columns": ["flow"]}],
    }
    assert told(section) == []
    ((_, message),) = told(section | {"logs": [{"id": "one", "columns": ["flow"]}]})
    assert message == "log one has no `select:`, so it can't be chosen"
    ((key, message),) = told({**section, "data_words": 7, "next": None})
    assert (key, message) == (
        "windback.next",
        "log one: a block has one record, and nothing leads to the next one",
    )
    tight = device(FLOW, windback=section, limits={"max_read_words": 100})
    ((_, _, key, message, _),) = review(LineSpec("bus", "modbus", ModbusLine(**TCP), (tight,)))
    assert (key, message) == (
        "windback.data_words",
        "log one: a block has 124 words, one request brings 100",
    )


def test_a_log_that_no_method_reads_is_a_warning() -> None:
    ((key, message),) = told({"method": "opcua_history"})
    assert key == "windback.method"
    assert message.startswith("warning: `opcua_history` is no way to read")


def test_a_zone_that_this_node_does_not_know() -> None:
    ((key, message),) = told(RING | {"zone": "Europe/Atlantis"})
    assert (key, message) == ("windback.zone", "this node knows no zone `Europe/Atlantis`")


def test_a_log_whose_interval_nobody_tells_is_a_warning() -> None:
    ((key, message),) = told({k: v for k, v in RING.items() if k != "resolution"})
    assert key == "windback.resolution"
    assert message.startswith("warning: nobody says how often log ring is written")


def test_columns_that_do_not_fit() -> None:
    column = {"point": "flow", "at": 124}
    ((_, message),) = told(SELECT | {"logs": [{"id": "one", "select": 1, "columns": [column]}]})
    assert message == "log one: its records have 126 words, one request brings 125"
    ((_, message),) = told(SELECT | {"header_words": 1, "column_words": 1})
    assert message == "log one: its columns need 4 words, a record has 2"


def test_a_log_that_can_not_be_chosen() -> None:
    ((_, message),) = told(SELECT | {"logs": [{"id": "one", "columns": ["flow"]}]})
    assert message == "log one has no `select:`, so it can't be chosen"


def test_a_value_without_its_scale_factor_means_nothing() -> None:
    points = {"power": {"address": 5, "sf": "factor"}, "factor": {"address": 6, "type": "int16"}}
    ((_, message),) = told(RING | {"columns": ["power"]}, **points)
    assert message.startswith("warning: log ring has power without its scale factor factor")
    assert told(RING | {"columns": ["power", "factor"]}, **points) == []
