"""Records by number: ION, PMC-53A and PM172, word by word from their documents."""

from __future__ import annotations

from typing import Any

from log_world import T0, Logged, S

from hil.settings import LogSettings

MS = S // 1000


def ion(start: int = 70_000, capacity: int = 1000, columns: int = 1) -> Logged:
    points = {f"v{n}": {"address": 10 + 2 * n, "type": "float32"} for n in range(columns)}
    log = {"id": "recorder1", "select": 1, "columns": list(points)}
    return Logged(
        {"resolution": "1s", "logs": [log, {**log, "id": "recorder2", "select": 7}]},
        points,
        dict.fromkeys(points, 401.0),
        "schneider/ion-recorder",
        LogSettings(start=start, capacity=capacity),
    )


def test_ion_status_and_records() -> None:
    meter, now = ion(), T0 + 2250 * MS  # records 70000 to 70002
    assert meter.write(3000, 1, at_ns=now) == 0
    assert meter.write(3001, 1, 0x1170, at_ns=now) == 0
    assert meter.words(3000, 11, now) == [1, 1, 0x1170, 1, 1, 14, 3, 1, 0x1170, 1, 0x1172]
    assert meter.words(3011, 26, now) == [
        1, 0x1170, 0x6955, 0xB90A, 0, 0, 0x43C8, 0x8000,
        1, 0x1171, 0x6955, 0xB90B, 0, 0, 0x43C8, 0x8000,
        1, 0x1172, 0x6955, 0xB90C, 0, 0, 0x43C8, 0x8000,
        0xFFFF, 0xFFFF,
    ]  # fmt: skip
    # What was asked for is kept: newer records don't come into it.
    assert meter.words(3006, 1, now + 9 * S) == [3]
    assert meter.words(3010, 1, now + 9 * S) == [0x117B]


def test_ion_gives_as_many_records_as_fit() -> None:
    for columns, most in ((1, 14), (16, 3)):
        meter = ion(columns=columns)
        assert meter.write(3001, 1, 0x1170, at_ns=T0 + 99 * S) == 0
        assert meter.words(3005, 2, T0 + 99 * S) == [most, most]


def test_ion_refuses_what_is_not_there_and_keeps_what_was_asked() -> None:
    meter, now = ion(capacity=2), T0 + 2 * S
    assert meter.write(3001, 1, 0x1172, at_ns=now) == 0
    assert meter.write(3001, 1, 0x1170, at_ns=now) == 3, "overwritten"
    assert meter.write(3001, 1, 0x1173, at_ns=now) == 3, "not yet made"
    assert meter.words(3011, 2, now) == [1, 0x1172]
    assert meter.write(3000, 2, at_ns=now) == 3, "no such recorder"
    assert meter.write(3001, 1, at_ns=now) == 3, "half a number"
    assert meter.write(3003, 1, at_ns=now) == 2, "read only"


def test_ion_choosing_and_setting_up_clear_what_was_asked() -> None:
    meter = ion()
    assert meter.write(3000, 7, 1, 0x1170, at_ns=T0) == 0
    assert meter.words(3000, 1, T0) == [7]
    assert meter.words(3011, 2, T0) == [1, 0x1170]
    assert meter.write(3000, 1, at_ns=T0) == 0
    assert meter.words(3011, 2, T0) == [0, 0]
    meter.write(3001, 1, 0x1170, at_ns=T0)
    meter.logs.disturb("reconfigure", {}, T0 + S)
    assert meter.words(3004, 3, T0 + S) == [2, 14, 0]
    assert meter.words(3011, 2, T0 + S) == [0, 0]
    assert meter.words(3007, 2, T0 + S) == [1, 0x1171]
    meter.write(3001, 1, 0x1171, at_ns=T0 + S)
    meter.logs.power(False, T0 + 2 * S)
    meter.logs.power(True, T0 + 3 * S)
    assert meter.words(3011, 2, T0 + 3 * S) == [0, 0]


def test_ion_numbers_wrap_at_32_bits() -> None:
    meter, now = ion(start=2**32 - 1), T0 + S
    assert meter.words(3007, 4, now) == [0xFFFF, 0xFFFF, 0, 0]
    assert meter.write(3001, 0, 0, at_ns=now) == 0
    assert meter.words(3011, 4, now) == [0, 0, 0x6955, 0xB90B]


def test_ion_clock() -> None:
    meter, now = ion(), T0 + 2250 * MS
    assert meter.words(1925, 4, now) == [0x6955, 0xB90C, 0x0003, 0xD090]
    meter.logs.set_clock({"step": 90}, now)
    assert meter.words(1925, 2, now) == [0x6955, 0xB90C + 90]
    meter.logs.set_clock({"dst": True}, now)
    assert meter.words(1925, 2, now) == [0x6955, 0xB90C + 90], "it runs on UTC"


# ------------------------------------------------------------------------------------ PMC-53A


def cet(zone: str = "utc") -> Logged:
    points: dict[str, dict[str, Any]] = {
        "u": {"address": 0, "type": "float32"},
        "i": {"address": 2, "type": "float32"},
    }
    logs = [{"id": "recorder2", "columns": ["u", "i"]}]
    return Logged(
        {"resolution": "1s", "zone": zone, "logs": logs},
        points,
        {"u": 230.5, "i": 12.5},
        "cet/pmc-53a",
        LogSettings(start=1234, capacity=5),
    )


def test_cet_loads_the_record_that_is_written() -> None:
    meter, now = cet(), T0 + 500 * MS
    assert meter.ask("104e460002040000 04d2".replace(" ", ""), now) == "104e460002"
    assert meter.words(20038, 10, now) == [
        0, 1234, 0x1A01, 0x0100, 0x000A, 0, 0x4366, 0x8000, 0x4148, 0,
    ]  # fmt: skip
    assert meter.words(20044, 32, now)[-1] == 0
    assert meter.write(20038, 0, 1233, at_ns=now) == 3
    assert meter.write(20038, 0, 1235, at_ns=now) == 3
    assert meter.write(20038, 0, 1234, at_ns=now + 9 * S) == 3, "expired"
    assert meter.ask("0300004e26"[:6] + "0001", now)[:4] == "0302"


def test_cet_clock_is_the_one_of_the_stamps() -> None:
    meter, now = cet(), T0 + 500 * MS
    assert meter.words(60000, 4, now) == [0x1A01, 0x0100, 0x000A, 500]
    prague = cet("Europe/Prague")
    assert prague.words(60000, 4, now) == [0x1A01, 0x0101, 0x000A, 500]
    prague.logs.set_clock({"dst": True}, now)
    assert prague.words(60000, 4, now) == [0x1A01, 0x0102, 0x000A, 500]
    prague.write(20038, 0, 1234, at_ns=now)
    assert prague.words(20041, 1, now) == [0x0101], "made before the hour was added"
    prague.write(20038, 0, 1235, at_ns=now + S)
    assert prague.words(20041, 1, now + S) == [0x0102]


# ------------------------------------------------------------------------------------ PM172


def satec(start: int = 65_534, capacity: int = 4) -> Logged:
    points = {
        "p": {"address": 0, "type": "int32"},
        "e": {"address": 2, "type": "uint32"},
    }
    columns = ["p", {"point": "e", "type": "uint32"}]
    return Logged(
        {"resolution": "1s", "zone": "utc", "logs": [{"id": "data1", "columns": columns}]},
        points,
        {"p": -1000, "e": 100_000},
        "satec/pm172",
        LogSettings(start=start, capacity=capacity),
    )


FIRST = [0, 0xFFFE, 0x6955, 0xB90A, 0, 0, 0xFFFF, 0xFC18, 0x0001, 0x86A0]


def test_satec_control_block_and_window() -> None:
    meter, now = satec(), T0 + 2 * S  # 65534, 65535, 0
    # +2 unread, +3 next, +4 oldest, +5 not named, +6 current
    assert meter.words(28170, 5, now) == [3, 1, 65534, 0, 65534]
    assert meter.words(29696, 10, now) == FIRST
    assert meter.words(28174, 1, now) == [65534], "a part of a record moves nothing"
    assert meter.words(29696, 38, now) == [*FIRST, *[0] * 28]
    assert meter.words(28170, 5, now) == [2, 1, 65534, 0, 65535]
    assert meter.words(29696, 38, now)[:4] == [0, 0xFFFF, 0x6955, 0xB90B]
    assert meter.words(29696, 38, now)[:4] == [1, 0, 0x6955, 0xB90C], "bit 0: the newest"
    assert meter.words(29696, 38, now)[:2] == [0x8700, 0], "read behind the end"
    assert meter.words(28170, 5, now) == [0, 1, 65534, 0, 1]


def test_satec_pointer_is_written_and_what_is_not_there_refused() -> None:
    meter, now = satec(), T0 + 5 * S  # capacity 4: 0 to 3
    assert meter.words(28170, 5, now) == [4, 4, 0, 0, 0]
    assert meter.ask("066e0e0002", now) == "066e0e0002"
    assert meter.words(29696, 38, now)[1] == 2
    for gone in (65535, 4, 70):
        assert meter.write(28174, gone, at_ns=now) == 3
    assert meter.words(28174, 1, now) == [3]
    # Records that are overwritten take the pointer along.
    assert meter.words(28174, 1, now + 9 * S) == [9]
    meter.logs.power(True, now)
    assert meter.words(28174, 1, now) == [0]


def test_satec_empty_torn_and_wrong() -> None:
    meter, now = satec(start=10), T0 + 2 * S
    meter.logs.disturb("torn", {}, now)
    meter.write(28174, 12, at_ns=now)
    assert meter.words(29696, 38, now)[:2] == [0x8701, 12]
    meter.logs.disturb("wrong_index", {}, now)
    meter.write(28174, 10, at_ns=now)
    assert meter.words(29696, 38, now)[1] == 11
    assert meter.words(29696, 38, now)[1] == 12
    meter.logs.disturb("stop", {}, now)
    meter.logs.disturb("clear", {}, now)
    assert meter.words(28171, 1, now) == [0]


def test_a_pointer_that_cannot_be_set_and_does_not_move() -> None:
    windback = {
        "method": "pointer",
        "pointer": {"address": 100},
        "newest": {"address": 101},
        "settable": False,
        "advances": False,
        "data": {"address": 110},
        "data_words": 10,
        "record": {"key": {"at": 0}, "time": {"at": 1, "format": "unix_s", "type": "uint32"},
                   "columns_at": 3},
        "logs": [{"id": "log", "columns": ["v"]}],
    }  # fmt: skip
    meter = Logged(windback, {"v": {"address": 0}}, {"v": 9}, None, LogSettings(capacity=3))
    now = T0 + 2 * S
    assert meter.write(100, 2, at_ns=now) == 2
    assert meter.words(100, 2, now) == [1, 3]
    assert meter.words(110, 8, now) == [
        1, 0x6955, 0xB90A, 9,
        2, 0x6955, 0xB90B, 9,
    ]  # fmt: skip
    assert meter.words(100, 1, now) == [1]
    assert meter.words(110, 10, T0)[4:8] == [0, 0, 0, 0], "no status word to say it with"


def test_words_the_other_way_round_and_holes_that_are_too_wide() -> None:
    windback = {
        "method": "record_select",
        "select": {"start": {"address": 100, "type": "uint32", "byte_order": "CDAB"}},
        "data": {"address": 120},
        "data_words": 6,
        "record": {
            "byte_order": "CDAB",
            "key": {"at": 0, "type": "uint32"},
            "time": {"at": 2, "format": "unix_s", "type": "uint32"},
            "columns_at": 4,
        },
        "logs": [{"id": "log", "columns": ["v"]}],
        "not_there": [],
    }
    points = {"v": {"address": 0, "type": "uint32"}}
    meter = Logged(windback, points, {"v": 0x12345678}, None, LogSettings(start=70_000))
    assert meter.write(100, 0x1170, 1, at_ns=T0) == 0
    assert meter.words(120, 6, T0) == [0x1170, 1, 0xB90A, 0x6955, 0x5678, 0x1234]
    assert meter.write(100, 0, 0, at_ns=T0) == 3
    assert meter.ask("0300640020", T0) == "8302", "they are too far apart for one read"
    assert meter.ask("160064ffff0001", T0) == "9602", "nobody masks a pointer"
    assert meter.write(99, 0, 0x1170, 1, at_ns=T0) == 2
    assert meter.write(101, 0, 0, at_ns=T0) == 3
    assert meter.write(100, 0x1170, 1, 0, at_ns=T0) == 2
