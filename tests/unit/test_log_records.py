"""Records to values, as the points themselves are read; and what a device has for logs."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND, a_device, a_job

from drivers.modbus.codec import compile_block
from drivers.modbus.log.job import Job
from drivers.modbus.log.methods import ACKNOWLEDGE, FACT, Logs, points_of
from drivers.modbus.log.ops import Reading, Write
from drivers.modbus.log.records import RecordForm, head_words
from drivers.modbus.plan import Request
from gateway.driver import LogPage, LogWanted
from gateway.errors import LogUnavailable
from gateway.model import Status, Value
from profiles.load import load
from profiles.records import Column, Record
from profiles.registers import ByteOrder
from profiles.schema import Area, Defaults, ModbusPoint, resolve

TIME = {"at": 0, "type": "uint32", "format": "unix_s"}


def form(
    points: dict[str, dict[str, Any]], *columns: Any, own_types: bool = False, **record: Any
) -> RecordForm:
    device = a_device({}, points)
    return RecordForm.of(
        Record.model_validate({"time": TIME, "columns_at": 2} | record),
        [Column.model_validate(column) for column in columns],
        points_of(device),
        own_types=own_types,
    )


def decoded(layout: RecordForm, *words: int) -> list[tuple[Value, int]]:
    entry = layout.decode([0x6955, 0xB900, *words])
    assert entry.wall_ns == NOW_NS
    return [(value, status) for _, value, status in entry.values]


POINTS: list[dict[str, Any]] = [
    {"type": "int16", "scale": 0.1, "nan": [0x8000]},
    {"type": "uint16", "range": {"raw": [0, 100], "eu": [0, 10]}},
    {"type": "bool", "bit": 3},
    {"type": "bcd16"},
    {"type": "uint32", "byte_order": "CDAB"},
    {"type": "int32", "byte_order": "BADC", "scale": -2, "offset": 7},
    {"type": "float32", "byte_order": "DCBA"},
    {"type": "float64"},
    {"type": "string", "length": 3},
    {"type": "uint16", "publish_as": "bool"},
    {"type": "uint32", "publish_as": "datetime"},
]


@given(said=st.sampled_from(POINTS), data=st.binary(min_size=8, max_size=8))
def test_a_column_is_read_as_the_point_itself(said: dict[str, Any], data: bytes) -> None:
    point = resolve("p", ModbusPoint.model_validate({"address": 0, **said}), Defaults())
    request = Request(Area.HOLDING, 0, point.words, (0,))
    ((_, value, status),) = compile_block(request, [point], [0])(data[: 2 * point.words])
    layout = form({"p": {"address": 9, **said}}, "p")
    words = struct.unpack(">4H", data)[: point.words]
    assert repr(decoded(layout, *words)) == repr([(value, status)])
    assert layout.words == 2 + point.words


def test_columns_follow_each_other_unless_they_say_where() -> None:
    points = {name: {"address": 0, "type": "int16"} for name in ("a", "b", "c")}
    layout = form(points, "a", {"point": "b", "at": 5}, "c", words=8)
    assert layout.decode([0x6955, 0xB900, 1, 9, 9, 2, 3, 9]).values == (
        (0, 1, 0),
        (1, 2, 0),
        (2, 3, 0),
    )


@pytest.mark.parametrize(
    ("said", "column", "record", "words", "value"),
    [
        # A record's type and order hold for its columns, a column's own before them.
        ({"type": "int16"}, {}, {"column_type": "int32"}, [0, 5], 5),
        ({"type": "int16"}, {"type": "int16"}, {"column_type": "int32"}, [5], 5),
        ({"type": "int32"}, {}, {"byte_order": "CDAB"}, [1, 0], 1),
        ({"type": "int32"}, {"byte_order": "ABCD"}, {"byte_order": "CDAB"}, [0, 1], 1),
        # What is published stays as it is.
        ({"type": "int16"}, {"type": "float32"}, {}, [0x3FC0, 0], 2),
        ({"type": "int16", "nan": [0x8000]}, {"type": "float32"}, {}, [0, 0], 0),
        ({"type": "bool", "bit": 3}, {"type": "uint16"}, {}, [1], True),
        ({"type": "string", "length": 1}, {}, {"column_type": "float32"}, [0x4142], "AB"),
        # A column is scaled first, then its point.
        ({"type": "int16", "scale": 0.5}, {"scale": 10, "offset": 2}, {}, [3], 16.0),
        ({"type": "int16"}, {"scale": 0.1}, {}, [24], 2),
        (
            {"type": "int16", "range": {"raw": [0, 100], "eu": [0, 10]}},
            {"scale": 10, "offset": 20},
            {},
            [3],
            5.0,
        ),
    ],
)
def test_a_column_of_another_form(
    said: dict[str, Any],
    column: dict[str, Any],
    record: dict[str, Any],
    words: list[int],
    value: Value,
) -> None:
    order = record.get("byte_order", "ABCD")
    layout = form({"p": {"address": 0, **said}}, {"point": "p", **column}, **record)
    head = [0x6955, 0xB900] if order == "ABCD" else [0xB900, 0x6955]
    ((_, found, status),) = layout.decode([*head, *words]).values
    assert (found, type(found), status) == (value, type(value), Status.GOOD)


def test_of_a_ring_columns_are_of_their_own_type_and_order() -> None:
    layout = form(
        {"p": {"address": 0, "type": "uint32", "byte_order": "CDAB"}},
        "p",
        own_types=True,
        column_type="float32",
        byte_order="ABCD",
    )
    assert decoded(layout, 1, 0) == [(1, Status.GOOD)]


@pytest.mark.parametrize(
    ("columns", "record", "tells"),
    [
        (["nobody"], {}, "column `nobody` is no point of the device"),
        (["p"], {"words": 3}, "need 4 words, a record has 3"),
        ([], {"words": 1}, "need 2 words"),
        ([{"point": "s", "scale": 2}], {}, "can't be scaled"),
    ],
)
def test_columns_that_make_no_sense(columns: list[Any], record: Any, tells: str) -> None:
    points = {
        "p": {"address": 0, "type": "float32"},
        "s": {"address": 2, "sf": "x"},
    }
    with pytest.raises(ValueError, match=tells):
        form(points, *columns, **record)


def test_a_record_says_what_it_is_worth() -> None:
    points = {
        "a": {"address": 0, "type": "int16", "nan": [-1]},
        "b": {"address": 0, "type": "uint16", "range": {"raw": [0, 1], "eu": [0, 1]}},
    }
    quality = {"quality": {"at": 4}}
    layout = form(points, "a", "b", **quality)
    absent, exceeded = Status.BAD_SENSOR_FAILURE, Status.UNCERTAIN_EU_EXCEEDED
    good, uncertain = Status.GOOD, Status.UNCERTAIN
    assert decoded(layout, 1, 1, 0) == [(1, good), (1.0, good)]
    assert decoded(layout, 0xFFFF, 5, 1) == [(None, absent), (5.0, exceeded)]
    assert decoded(layout, 1, 1, 1) == [(1, uncertain), (1.0, uncertain)]
    assert decoded(layout, 0xFFFF, 1, 0x8000) == [(None, absent), (None, Status.BAD)]
    bits = form(points, "a", "b", bad_bits=0x8000, last_bits=1, **quality)
    assert decoded(bits, 1, 1, 1) == [(1, good), (1.0, good)]
    entry = bits.decode([0x6955, 0xB900, 1, 1, 0x8001])
    assert (entry.wall_ns, entry.quality) == (None, 0x8001)


def test_a_key_and_a_stamp_may_lie_anywhere() -> None:
    said = {
        "key": {"at": 5, "type": "uint32"},
        "time": {"at": 2, "format": "packed_ymdhms"},
        "byte_order": "ABCD",
    }
    record = Record.model_validate(said)
    assert head_words(record) == 7
    layout = RecordForm.of(record, [], points_of(a_device({}, {})))
    entry = layout.decode([9, 9, 0x1A01, 0x0100, 0, 1, 2])
    assert (entry.number, entry.wall_ns, entry.values) == (65538, NOW_NS, ())
    assert record.byte_order is ByteOrder.ABCD


# ---------------------------------------------------------------------------- the logs of a device

RING = {"method": "ring", "address": 0, "columns": ["level"], "resolution": "1s"}
LEVEL = {"level": {"address": 0, "type": "float32"}}
WANTED = LogWanted("ring", 0, SECOND)


def test_a_device_without_a_log_has_none() -> None:
    for said in ({}, {"method": "none"}, {"method": "opcua_history"}):
        logs = Logs(a_device(said, LEVEL))
        assert logs.specs({}) == ()
        assert not logs.problem
    with pytest.raises(LogUnavailable, match="no log `ring`"):
        Logs(a_device({}, LEVEL)).job(WANTED, None, 0)


def test_what_is_wrong_with_a_section_is_told_when_it_is_read() -> None:
    logs = Logs(a_device({"method": "ring"}, LEVEL))
    assert logs.specs({}) == ()
    with pytest.raises(LogUnavailable, match="still needs"):
        logs.job(WANTED, None, 0)


def test_a_log_tells_what_it_can() -> None:
    device = a_device(RING | {"depth": "1h", "budget_percent": 30, "order": "oldest"}, LEVEL)
    (spec,) = Logs(device).specs({("plc", FACT + "ring"): {"depth_records": 100}})
    assert (spec.name, spec.method, spec.points) == ("ring", "ring", ("level",))
    assert (spec.resolution_ns, spec.depth_ns, spec.depth_records) == (SECOND, 3600 * SECOND, 100)
    assert (spec.stateful, spec.destructive, spec.share, spec.order) == (
        False,
        False,
        0.3,
        "oldest",
    )


def test_logs_by_name_with_what_is_their_own() -> None:
    profile = load("cet/pmc-53a")
    site = {
        "zone": "utc",
        "logs": [
            {"id": "recorder2", "columns": ["level"], "resolution": "15m", "depth_records": 7},
            {"id": "recorder1", "columns": ["level", "level"]},
        ],
    }
    device = a_device(site, LEVEL, profile)
    second, first = Logs(device).specs({})
    assert (second.name, second.resolution_ns, second.depth_records) == (
        "recorder2",
        900 * SECOND,
        7,
    )
    assert first.points == ("level",)
    _, job = a_job(device, WANTED._replace(log="recorder2"))
    assert (job.shift("data"), job.shift("status")) == (38, 0)
    assert job.resolution_ns == 900 * SECOND
    assert job.columns[0].point == "level"


def test_the_points_of_a_profile_can_be_columns_though_a_site_left_them_out() -> None:
    profile = load("eastron/sdm120")
    name = next(iter(profile.points))
    points = points_of(a_device({}, {}, profile))
    assert points.maps[name].name == name
    assert points.numbers == {}


def test_only_what_a_method_knows_how_to_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    page = LogPage(0, 1, acknowledge=5)
    logs = Logs(a_device(RING, LEVEL))
    assert logs.acknowledge(LogPage(0, 1), 0) is None
    assert logs.acknowledge(page, 0) is None

    def forget(job: Job, what: Any) -> Reading:
        yield Write(32, (what, job.wanted.to_ns))

    monkeypatch.setitem(ACKNOWLEDGE, "ring", forget)  # type: ignore[arg-type]
    reading = logs.acknowledge(page, 0)
    assert reading is not None
    assert next(reading) == Write(32, (5, 1))
