"""Every shipped profile through planning and decoding, and every mistake one can make in one."""

from __future__ import annotations

import math
import struct
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.modbus.codec import compile_block
from drivers.modbus.plan import plan, unreadable
from drivers.modbus.sunspec import discover, place
from gateway.errors import ConfigError
from gateway.model import DataType, Status, is_bad
from profiles.load import load, load_text, names, parse, review
from profiles.schema import (
    Area,
    Defaults,
    Example,
    ModbusPoint,
    PointMap,
    Profile,
    WireType,
    parse_address,
    published_type,
    resolve,
)
from profiles.windback import ADAPTER, METHODS, NoLog, RecordSelect, Ring, WindowSession, effective

SHIPPED = names()
EXAMPLES = [(name, at) for name in SHIPPED for at in range(len(load(name).examples))]


def test_the_profiles_that_were_promised_are_shipped() -> None:
    assert set(SHIPPED) >= {
        "abb/b23",
        "carlo-gavazzi/em24-ethernet",
        "cameron/scanner-2000",
        "carlo-gavazzi/em340",
        "cet/pmc-53a",
        "eastron/sdm120",
        "eastron/sdm630",
        "electro-industries/shark-200",
        "generic/plc-ring",
        "janitza/b2x",
        "satec/pm172",
        "schneider/iem3000",
        "schneider/ion-recorder",
        "siemens/pac3200",
        "sunspec/inverter",
        "sunspec/meter",
        "victron/gx",
        "wago/identity",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_where_it_was_read_and_proves_it(name: str) -> None:
    profile = load(name)
    assert profile.profile == name
    assert profile.version >= 1
    assert profile.status in ("manual", "field-tested")
    assert profile.source
    assert profile.description
    assert profile.models
    assert profile.examples
    assert all(point.scan is None for point in profile.points.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_point_of_a_shipped_profile_can_be_read(name: str) -> None:
    profile = load(name)
    maps = [resolve(key, point, profile.defaults) for key, point in profile.points.items()]
    # SunSpec models are readable each by itself, wherever the device has them.
    for model in {one.model for one in maps}:
        mine = [one for one in maps if one.model == model]
        assert unreadable(mine, profile.limits) == {}
        requests = plan(mine, profile.limits, profile.quirks)
        assert sorted(i for request in requests for i in request.points) == list(range(len(mine)))


def registers_of(example: Example) -> dict[int, int]:
    return {
        start + at: word
        for start, stretch in example.registers.items()
        for at, word in enumerate(stretch)
    }


def located(profile: Profile, registers: dict[int, int], wanted: set[str]) -> list[PointMap]:
    """The points an example is about, with their scale factors, at absolute addresses."""
    factors = {str(profile.points[name].sf) for name in wanted if profile.points[name].sf}
    maps = [
        resolve(name, point, profile.defaults)
        for name, point in profile.points.items()
        if name in wanted | factors
    ]
    if profile.sunspec is None:
        return maps
    walker = discover(profile.sunspec)
    try:
        address, count = next(walker)
        while True:
            words = [registers.get(address + at, 0) for at in range(count)]
            address, count = walker.send(words)
    except StopIteration as done:
        fact = done.value
    assert fact is not None
    assert fact["complete"]
    placed = place(maps, fact)
    assert not placed.missing
    return [point for point in placed.points if point is not None]


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_a_worked_example_comes_out_as_expected(name: str, at: int) -> None:
    profile = load(name)
    example = profile.examples[at]
    assert example.expect or example.records
    assert example.registers or example.exchanges
    registers = registers_of(example)
    maps = located(profile, registers, set(example.expect))
    found: dict[str, tuple[Any, int]] = {}
    for request in plan(maps, profile.limits, profile.quirks):
        assert not request.area.is_bits
        words = [registers.get(request.address + n, 0) for n in range(request.count)]
        decode = compile_block(request, maps, range(len(maps)))
        for number, value, status in decode(struct.pack(f">{request.count}H", *words)):
            found[maps[number].name] = value, status
    for point, expected in example.expect.items():
        where = next(one for one in maps if one.name == point)
        assert set(range(where.address, where.address + where.words)) & set(registers) or (
            expected == ""
        ), f"the example gives no registers for {point}"
        value, status = found[point]
        if expected is None:
            assert (value, is_bad(status)) == (None, True)
        else:
            assert status == Status.GOOD
            # The decimal of a manual and a product of doubles differ by their last bit.
            assert value == (
                pytest.approx(expected, rel=1e-14) if isinstance(expected, float) else expected
            )


def ring_records(ring: Ring, registers: dict[int, int]) -> list[tuple[int, datetime, bytes]]:
    """What the layout of a ring says is in these registers, oldest first."""
    base, _ = parse_address(ring.address or 0, 0)

    def double(at: int) -> int:
        return registers[at] << 16 | registers[at + 1]

    header = ring.header
    assert registers[base + header.magic_at] == ring.magic
    assert registers[base + header.version_at] == ring.version
    size = registers[base + header.record_words_at]
    capacity = registers[base + header.capacity_at]
    head, oldest = double(base + header.head_seq_at), double(base + header.oldest_seq_at)
    records = []
    for seq in range(oldest, head + 1):
        slot = base + header.words + seq % capacity * size
        assert double(slot + ring.record.seq_at) == seq
        assert registers[slot + size - 1] == seq & 0xFFFF
        moment = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(
            seconds=double(slot + ring.record.time_at),
            milliseconds=registers[slot + ring.record.ms_at],
        )
        columns = range(slot + ring.record.columns_at, slot + size - 1)
        records.append((seq, moment, b"".join(registers[n].to_bytes(2, "big") for n in columns)))
    return records


def test_the_worked_example_of_the_ring_follows_its_layout() -> None:
    profile = load("generic/plc-ring")
    (example,) = profile.examples
    ring = effective(profile, example.site)
    assert isinstance(ring, Ring)
    assert [column.point for column in ring.columns] == ["level"]
    found = ring_records(ring, registers_of(example))
    assert [(seq, moment, struct.unpack(">f", data)[0]) for seq, moment, data in found] == [
        (record.seq, datetime.fromisoformat(record.time), record.values["level"])
        for record in example.records
    ]


# ------------------------------------------------------------------------------------- loading

GOOD = """\
profile: test/device
version: 1
vendor: Test
models: [One]
status: manual
source: "made up for a test"
points:
  level: {address: 0, type: float32}
examples:
  - {source: by hand, registers: {0: [0x3FC0, 0]}, expect: {level: 1.5}}
"""


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "device.yaml")
    assert all(problem.file == "device.yaml" for problem in caught.value.problems)
    return [(problem.line, str(problem)) for problem in caught.value.problems]


def test_a_profile_of_ones_own_is_read_from_its_text() -> None:
    profile = parse("\ufeff" + GOOD, "device.yaml")
    assert profile.points["level"].type is WireType.FLOAT32
    assert profile.limits.max_read_words == 125
    assert profile.windback is None


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = GOOD.replace("vendor: Test", "vendor: on").replace("[One]", "['1:30', 2x, no]")
    profile = parse(text.replace("address: 0,", "address: 0x10,"), "device.yaml")
    assert (profile.vendor, profile.models) == ("on", ("1:30", "2x", "no"))
    assert profile.points["level"].address == 16
    assert parse(GOOD.replace("address: 0,", "address: 010,"), "f").points["level"].address == 10


@pytest.mark.parametrize(
    ("old", "new", "line", "tells"),
    [
        ("version: 1", "version: one", 2, "version"),
        ("version: 1\n", "version: 1\nversion: 2\n", 3, "twice"),
        ("status: manual", "status: guessed", 5, "'guessed'"),
        ('source: "made up for a test"\n', "", 1, "`source:` is missing"),
        ("{address: 0, type: float32}", "{adress: 0, type: float32}", 8, "unknown key `adress`"),
        ("type: float32", "type: float32, bit: 1", 8, "`bit:` belongs"),
        ("type: float32", "type: bool", 8, "needs `bit:`"),
        ("type: float32", "type: int16, sf: levl", 8, "Did you mean level?"),
        ("type: float32", "type: int16, sf: zzzzzz", 8, "name of a point"),
        ("type: float32", "type: int16, model: 103", 8, "sunspec: {}"),
        ("address: 0,", "address: '4x99999',", 8, "outside 0..65535"),
        ("address: 0,", "address: '4000',", 8, "Modicon"),
        ("expect: {level: 1.5}", "expect: {levle: 1.5}", 10, "Did you mean level?"),
        ("points:", "windback: {method: magic}\npoints:", 7, "unknown method"),
        ("points:", "windback: {method: ring, capacty: 1}\npoints:", 7, "unknown key `capacty`"),
        ("points:", "clock: {read: {address: 1}}\npoints:", 7, "format"),
        ("points:", "limits: {allowed_ranges: {holding: [[9, 1]]}}\npoints:", 7, "no stretch"),
        ("vendor: Test", "? &k [a]\n: c\nz: *k", 3, "a key must be a word"),
        ("vendor: Test", "vendor: [unclosed", 4, ""),
        ("vendor: Test", "vendor: !!python/name:os.system x", 3, "not taken"),
        ("vendor: Test", "vendor: &v Test\nx: *v\ny: {a: &m {b: 1}, c: *m}", 5, "aliases"),
        ("vendor: Test", "? [a, b]\n: c", 3, "a key must be a word"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, tells: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(where == line and tells in text for where, text in found), found


def test_every_mistake_is_told_at_once() -> None:
    text = GOOD.replace("version: 1", "version: 0").replace("type: float32", "type: float31")
    assert [line for line, _ in problems(text)] == [2, 8]


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("", "mapping"),
        ("- a", "mapping"),
        ("a: " + "x" * (1 << 20), "1 MiB"),
        ("a: \x01", "special characters"),
        ("a: " + "[" * 20 + "]" * 20, "deep nesting"),
    ],
)
def test_a_text_that_is_no_profile_is_refused(text: str, tells: str) -> None:
    found = problems(text)
    assert any(tells in text for _, text in found), found


def test_a_scale_factor_must_be_a_plain_exponent_of_the_same_area_and_model() -> None:
    def told(factor: str, extra: str = "") -> str:
        points = f"  level: {{address: 0, type: int16, sf: f{extra}}}\n  f: {factor}"
        text = GOOD.replace("  level: {address: 0, type: float32}", points)
        return " ".join(
            found for _, found in problems(text.replace("points:", "sunspec: {}\npoints:"))
        )

    assert "plain int16" in told("{address: 1, type: uint16}")
    assert "another area" in told("{address: 1, type: int16, register: input}")
    assert "another model" in told("{address: 1, type: int16, model: 1}")
    assert "plain int16" in told("{address: 1, type: int16, sf: level}")


def test_a_profile_built_by_hand_is_reviewed_alike() -> None:
    raw: dict[str, Any] = {
        "profile": "x/y",
        "version": 1,
        "vendor": "X",
        "models": ["Y"],
        "status": "manual",
        "source": "by hand, for a test",
        "points": {"f": {"address": 65535, "type": "float32"}, "g": {"address": 1, "sf": "f"}},
    }
    told = [message for _, message, _ in review(Profile.model_validate(raw))]
    assert any("beyond address 65535" in message for message in told)


def test_an_unknown_profile_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("eastron/sdm63")
    assert "Did you mean eastron/sdm630" in str(caught.value.problems[0])
    with pytest.raises(ConfigError) as caught:
        load_text("../../etc/passwd")
    assert "Shipped: abb/b23" in str(caught.value.problems[0])


# -------------------------------------------------------------------------------------- points


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        ({"type": "string"}, "needs `length:`"),
        ({"length": 2}, "strings only"),
        ({"bit": 1}, "bool"),
        ({"scale": 0}, "lose the value"),
        ({"scale": math.inf}, "finite"),
        ({"offset": math.nan}, "finite"),
        ({"scale": 2, "sf": "x"}, "use one of"),
        ({"scale": 2, "range": {"raw": [0, 1], "eu": [0, 2]}}, "use one of"),
        ({"type": "bool", "bit": 0, "scale": 2}, "can't be scaled"),
        ({"type": "float32", "sf": "x"}, "belongs to integers"),
        ({"type": "string", "length": 1, "publish_as": "int32"}, "published as"),
        ({"publish_as": "string"}, "published as"),
        ({"nan": ["nan"]}, "raw integers"),
        ({"nan": [0x10000]}, "no raw value"),
        ({"nan": [-1]}, "no raw value"),
        ({"nan": [1.5]}, "no raw value"),
        ({"type": "float32", "nan": ["none"]}, "lists numbers"),
        ({"type": "string", "length": 1, "nan": [1]}, "lists texts"),
        ({"type": "bool", "bit": 0, "nan": [1]}, "no value to spare"),
        ({"bits": {16: "x"}}, "from 0 to 15"),
        ({"type": "float32", "bits": {1: "x"}}, "bits of an integer"),
    ],
)
def test_a_point_that_contradicts_itself_is_refused(said: dict[str, Any], tells: str) -> None:
    with pytest.raises(ValidationError, match=tells):
        ModbusPoint.model_validate({"address": 0, **said})


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        ({"register": "coil"}, "holds a bool"),
        ({"register": "coil", "type": "bool", "bit": 1}, "single bit"),
        ({"type": "bool"}, "needs `bit:`"),
        ({"register": "input", "access": "rw"}, "can't be written"),
        ({"address": "30001", "register": "holding"}, "is a input but"),
        ({"address": 65535, "type": "int32"}, "beyond address"),
        ({"address": 65536}, "outside"),
    ],
)
def test_a_point_that_can_not_lie_where_it_says_is_refused(
    said: dict[str, Any], tells: str
) -> None:
    point = ModbusPoint.model_validate({"address": 0, **said})
    with pytest.raises(ValueError, match=tells):
        resolve("p", point, Defaults())


def test_addresses_are_wire_addresses_or_modicon_numbers() -> None:
    assert parse_address(7, 0) == (7, None)
    assert parse_address(7, 1) == (6, None)
    assert parse_address("43001", 1) == (3000, Area.HOLDING)
    assert parse_address("300001", 0) == (0, Area.INPUT)
    assert parse_address("1x0010", 0) == (9, Area.DISCRETE)
    assert parse_address("00001", 0) == (0, Area.COIL)
    named = resolve("p", ModbusPoint(address="30005"), Defaults())
    assert (named.area, named.address) == (Area.INPUT, 4)
    counted = ModbusPoint.model_validate({"address": 2, "model": 1})
    assert resolve("p", counted, Defaults(address_base=1)).address == 2
    assert resolve("p", counted, Defaults()).model == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, DataType.UINT16),
        ({"type": "bcd32"}, DataType.UINT32),
        ({"type": "bool", "bit": 1}, DataType.BOOL),
        ({"type": "string", "length": 1}, DataType.STRING),
        ({"scale": 0.1}, DataType.FLOAT64),
        ({"offset": 1}, DataType.FLOAT64),
        ({"sf": "f"}, DataType.FLOAT64),
        ({"range": {"raw": [0, 1], "eu": [0, 2]}}, DataType.FLOAT64),
        ({"range": {"eu": [0, 2]}}, DataType.UINT16),
        ({"scale": 0.1, "publish_as": "int32"}, DataType.INT32),
    ],
)
def test_a_scaled_point_is_a_double_unless_said_otherwise(
    said: dict[str, Any], expected: DataType
) -> None:
    assert published_type(ModbusPoint.model_validate({"address": 0, **said})) is expected


# ------------------------------------------------------------------------------------ windback

RECORD = {"time": {"at": 2, "type": "uint32", "format": "unix_s"}}
ONE = [{"id": "log", "columns": ["level"]}]
SAID: dict[str, dict[str, Any]] = {
    "none": {},
    "ring": {"address": 1000, "columns": ["level", {"point": "flow", "type": "int16"}]},
    "record_select": {
        "exclusive": "device",
        "select": {
            "log": {"address": "43001"},
            "start": {"address": "43002", "type": "uint32"},
        },
        "status": {
            "oldest": {"address": "43008", "type": "uint32"},
            "newest": {"address": "43010", "type": "uint32"},
            "available": {"address": "43007"},
            "config_id": {"address": "43005"},
            "columns": {"address": "43004"},
        },
        "data": {"address": "43012"},
        "header_words": 6,
        "column_words": 2,
        "record": {
            "key": {"at": 0, "type": "uint32"},
            "time": {
                "at": 2,
                "type": "uint32",
                "format": "unix_s",
                "fraction": {"at": 4, "type": "uint32", "unit": "us"},
            },
            "columns_at": 6,
        },
        "logs": [{"id": "recorder1", "select": 1, "columns": ["vll_avg", "i_avg"]}],
    },
    "time_select": {
        "moment": {"address": 0x8704},
        "direction": {"address": 0x8707},
        "next": {"address": 0x8700},
        "data": {"address": 0x8720},
        "record": RECORD,
        "logs": ONE,
    },
    "window_session": {
        "session": {"address": 0xC34F},
        "engage": 0x80,
        "disengage": 0x00,
        "window": {"address": 0xC351},
        "control": {"address": 0xC350},
        "record": {"time": {"at": 0, "format": "bytes_ymdhms"}},
        "logs": ONE,
    },
    "enron": {
        "archive": 700,
        "capacity": 2304,
        "event_register": 32,
        "record": {"time": {"at": 0, "type": "float32", "format": "float_mmddyy_hhmmss"}},
        "logs": ONE,
    },
    "pointer": {
        "pointer": {"address": 28166},
        "data": {"address": 29696},
        "modulo": 65536,
        "record": RECORD,
        "logs": ONE,
    },
    "file_record": {
        "file": 1,
        "records": 1000,
        "unit_is_record": True,
        "record": RECORD,
        "logs": ONE,
    },
    "opcua_history": {"page": 500, "slice": "1h", "overlap": "2s"},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_vocabulary_is_understood(method: str) -> None:
    found = effective(None, {"method": method, **SAID[method]})
    assert found is not None
    assert found.method == method


def test_a_clock_says_how_it_is_read() -> None:
    text = GOOD.replace(
        "points:",
        "limits: {allowed_ranges: {holding: [[0, 9]]}}\n"
        "clock: {read: {address: '41926', type: uint32, format: unix_s}, zone: utc}\npoints:",
    )
    profile = parse(text.replace("float32}", "uint32, bits: {0: ready, 31: fault}}", 1), "f")
    assert profile.clock is not None
    assert (profile.clock.read.format, profile.clock.set) == ("unix_s", "never")


def test_the_vocabulary_and_the_models_name_the_same_methods() -> None:
    tags = ADAPTER.json_schema()["discriminator"]["mapping"]
    assert set(tags) == set(METHODS)
    assert set(SAID) == set(METHODS)


def test_a_recorder_of_section_5_is_kept_as_it_was_said() -> None:
    found = ADAPTER.validate_python({"method": "record_select", **SAID["record_select"]})
    assert isinstance(found, RecordSelect)
    assert found.status["config_id"].address == "43005"
    assert found.record.time.fraction is not None
    assert found.logs[0].columns[1].point == "i_avg"
    assert found.lacking() == ()


def with_windback(**said: Any) -> Profile:
    raw = load("generic/plc-ring").model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Profile.model_validate(raw | {"windback": said})


def test_a_site_completes_or_replaces_what_its_profile_says() -> None:
    ring = load("generic/plc-ring")
    with pytest.raises(ValueError, match="still needs `address:`, `columns:`"):
        effective(ring, None)
    with pytest.raises(ValueError, match="still needs `columns:`"):
        effective(ring, {"address": 5})
    said = {"address": 5, "columns": ["level"], "version": 2, "resolution": "200ms"}
    done = effective(ring, said)
    assert isinstance(done, Ring)
    assert (done.version, done.magic, done.resolution_ns) == (2, 0x5742, 200_000_000)
    assert isinstance(effective(ring, {"method": "none"}), NoLog)
    assert effective(None, None) is None
    history = with_windback(method="opcua_history", slice="30m", depth="2d")
    found = effective(history, {"page": 7})
    assert found is not None
    assert found.model_dump()["slice_ns"] == 1_800_000_000_000
    assert found.depth_ns == 2 * 86_400_000_000_000


def test_a_site_chooses_among_the_logs_of_its_profile() -> None:
    meter = load("electro-industries/shark-200")
    found = effective(meter, None)
    assert isinstance(found, WindowSession)
    assert found.discovers
    assert [log.id for log in found.logs] == ["historical1", "historical2", "historical3"]
    third = {"id": "historical3", "resolution": "1m"}
    chosen = effective(meter, {"logs": [third, {"id": "own", "select": 9}]})
    assert isinstance(chosen, WindowSession)
    assert [(log.select, log.resolution_ns) for log in chosen.logs] == [(4, 60 * 10**9), (9, None)]
    assert chosen.logs[0].shift == {"owner": 32, "status": 32, "settings": 384}
    assert chosen.unlock_after_ns == 300 * 10**9
    with pytest.raises(ValueError, match="still needs `logs:`"):
        effective(load("schneider/ion-recorder"), None)
    with pytest.raises(ValueError, match="still needs `logs: columns:`"):
        effective(load("cet/pmc-53a"), None)
    with pytest.raises(ValidationError, match="dictionary"):
        effective(meter, {"logs": ["historical1"]})


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        ({"method": "ring", "address": 70000}, "outside"),
        ({"method": "ring", "address": 1, "colums": ["a"]}, "colums"),
        (
            {"method": "record_select", "data": {"address": 1}, "select": {}, "record": RECORD},
            "start",
        ),
        ({"method": "time_select", "moment": {"address": "x"}}, "Modicon"),
        ({"address": 1}, "method"),
        (
            {
                **SAID["window_session"],
                "method": "window_session",
                "settings": {"address": "x", "words": 9, "identifiers_at": 2},
            },
            "Modicon",
        ),
    ],
)
def test_a_windback_that_makes_no_sense_is_refused(said: dict[str, Any], tells: str) -> None:
    with pytest.raises(ValidationError, match=tells):
        effective(None, said)
