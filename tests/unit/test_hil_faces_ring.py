"""The ring of a PLC, word by word as profiles/README.md lays it out."""

from __future__ import annotations

from typing import Any

import pytest
from log_world import T0, Logged, S

from hil.settings import LogSettings, SiteError

MS = S // 1000
LEVEL = {"level": {"address": 0, "type": "float32"}}


def ring(start: int = 1, capacity: int = 4, **said: Any) -> Logged:
    windback = {"address": 1000, "columns": ["level"], "resolution": "1s", **said}
    rig = LogSettings(start=start, capacity=capacity)
    return Logged(windback, LEVEL, {"level": 1.5}, "generic/plc-ring", rig)


def test_header_and_slots() -> None:
    plc = ring()
    now = T0 + 5500 * MS  # records 1 to 6, at :10 to :15
    assert plc.words(1000, 12, now) == [
        0x5742, 1, 9, 4, 0, 6, 0, 3, 0x6955, 0xB90F, 500, 1,
    ]  # fmt: skip
    assert plc.words(1012, 36, now) == [
        0, 4, 0x6955, 0xB90D, 0, 0, 0x3FC0, 0, 4,
        0, 5, 0x6955, 0xB90E, 0, 0, 0x3FC0, 0, 5,
        0, 6, 0x6955, 0xB90F, 0, 0, 0x3FC0, 0, 6,
        0, 3, 0x6955, 0xB90C, 0, 0, 0x3FC0, 0, 3,
    ]  # fmt: skip
    assert plc.words(1010, 5, now) == [500, 1, 0, 4, 0x6955]
    assert plc.words(1020, 2, now) == [4, 0]


def test_an_empty_ring_has_no_numbers() -> None:
    plc = ring()
    plc.logs.disturb("clear", {}, T0 + S)
    now = T0 + S + 1
    assert plc.words(1000, 12, now)[4:8] == [0, 2, 0, 2]
    plc.logs.disturb("stop", {}, now)
    plc.logs.disturb("clear", {}, now)
    assert plc.words(1000, 12, now)[4:8] == [0, 0, 0, 0]
    assert plc.words(1012, 36, now) == [0] * 36


def test_ms_and_a_clock_that_is_ahead() -> None:
    plc = ring(resolution="250ms")
    plc.logs.set_clock({"offset": 90}, T0)
    now = T0 + 800 * MS
    assert plc.words(1000, 12, now)[8:11] == [0x6955, 0xB90A + 90, 800]
    # Record 1 was made before the clock was set; 5 is the one at .750.
    assert plc.words(1012, 9, now)[:5] == [0, 4, 0x6955, 0xB90A + 90, 750]


def test_numbers_wrap_at_32_bits() -> None:
    plc = ring(start=2**32 - 2)
    now = T0 + 3 * S
    assert plc.words(1000, 12, now)[4:8] == [0, 1, 0xFFFF, 0xFFFE]
    slots = plc.words(1012, 36, now)
    assert [slots[at : at + 2] for at in (0, 9, 18, 27)] == [
        [0, 0],
        [0, 1],
        [0xFFFF, 0xFFFE],
        [0xFFFF, 0xFFFF],
    ]
    assert [slots[at + 8] for at in (0, 9, 18, 27)] == [0, 1, 0xFFFE, 0xFFFF]


def test_a_torn_record_does_not_repeat_its_number() -> None:
    plc = ring()
    plc.logs.disturb("torn", {}, T0)
    now = T0 + 5 * S
    slots = plc.words(1012, 36, now)
    assert slots[18:27] == [0, 6, 0x6955, 0xB90F, 0, 0, 0, 0, 0]
    assert slots[9:18][-1] == 5
    plc.logs.disturb("whole", {}, now)
    assert plc.words(1012 + 18, 9, now)[-1] == 6


def test_every_kind_of_point_lies_there_as_it_does_on_the_wire() -> None:
    points = {
        "a": {"address": 0, "type": "int16", "nan": [0x8000]},
        "b": {"address": 1, "type": "uint32", "byte_order": "CDAB"},
        "c": {"register": "coil", "address": 0, "type": "bool"},
        "d": {"address": 9, "type": "bool", "bit": 9},
        "e": {"address": 20, "type": "string", "length": 2},
        "f": {"address": 30, "type": "uint16", "scale": 0.1},
    }
    columns: list[Any] = ["a", "b", "c", "d", "e"]
    columns.append({"point": "f", "type": "float32", "scale": 0.5, "offset": 10})
    windback = {"method": "ring", "address": 100, "columns": columns}
    values = {"a": -2, "b": 0x12345678, "c": 1, "d": 1, "f": 90}
    plc = Logged(windback, points, values, None, LogSettings(capacity=2))
    text = next(point for point in plc.device.points if point.name == "e").raw_at(T0)
    slot = plc.words(112 + 16, 16, T0)  # record 1 lies in slot 1
    assert slot[6:11] == [0xFFFE, 0x5678, 0x1234, 1, 0x0200]
    assert b"".join(w.to_bytes(2, "big") for w in slot[11:13]).rstrip(b"\0").decode() == text
    assert slot[13:] == [0x4320, 0, 1], "(90 - 10) / 0.5 = 160"


def test_several_bits_lie_in_one_word() -> None:
    bits = {f"b{bit}": {"address": 0, "type": "bool", "bit": bit} for bit in (0, 3, 9, 15)}
    columns = [{"point": name, "at": 7} for name in bits]
    windback = {"method": "ring", "address": 100, "columns": ["level", *columns]}
    values = {"level": 7, "b0": 1, "b3": 0, "b9": 1, "b15": 1}
    points = {"level": {"address": 1}, **bits}
    plc = Logged(windback, points, values, None, LogSettings(capacity=4))
    assert plc.words(112 + 9, 9, T0)[6:8] == [7, 0x8201]


def test_a_device_that_holds_no_value_logs_none() -> None:
    points = {"a": {"address": 0, "type": "int16", "nan": [0x8000]}, "b": {"address": 1}}
    plc = Logged(
        {"method": "ring", "address": 100, "columns": ["a", "b"]},
        points,
        {"a": 7, "b": 9},
        None,
        LogSettings(capacity=4),
    )
    plc.logs.held.fault("nan", T0 + S)
    assert plc.words(112 + 9, 9, T0)[6:8] == [7, 9]
    assert plc.words(112 + 18, 9, T0 + S)[6:8] == [0x8000, 9], "b has no way to say it"


def test_two_rings_and_what_lies_between() -> None:
    points = {"a": {"address": 0}, "b": {"address": 1}}
    logs = [
        {"id": "fast", "columns": ["a"], "resolution": "200ms", "depth_records": 3},
        {"id": "slow", "columns": ["b"], "shift": {"address": 100}, "depth_records": 2},
    ]
    plc = Logged({"method": "ring", "address": 200, "logs": logs}, points, {"a": 5, "b": 6})
    assert plc.words(200, 12, T0 + S)[3:6] == [3, 0, 6]
    assert plc.words(300, 12, T0 + S)[3:6] == [2, 0, 2]
    assert plc.ask("0300f00001", T0) == "8302"
    assert plc.ask("0300e80008", T0) == "8302", "it begins in the ring and ends behind it"
    assert plc.ask("0300c70002", T0) == "8302"
    assert plc.ask("0300c8007e", T0) == "8303"
    assert plc.ask("0600c80001", T0) == "8602", "nothing is ever written to it"
    assert plc.ask("0300000001", T0) == "03020005"
    assert plc.ask("0600000001", T0) == "8602", "a point that is read only"


def test_reads_of_the_log_are_refused_while_the_points_are_read() -> None:
    plc = ring()
    plc.logs.disturb("refuse", {"code": 6}, T0)
    assert plc.ask("0303e8000c", T0) == "8306"
    assert plc.ask("0300000002", T0) == "03043fc00000"
    plc.logs.disturb("answer", {}, T0)
    assert plc.ask("0303e80001", T0) == "03025742"


def test_a_ring_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SiteError, match="10000 records doesn't fit behind 1000"):
        ring(capacity=10_000)
    with pytest.raises(SiteError, match="a column nope, which is no point"):
        ring(columns=["nope"])
