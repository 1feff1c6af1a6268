"""Enron archives and events, files of function 20, logs that are asked by time, and stamps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from log_world import T0, Logged, S

from gateway.model import NS_PER_MS
from hil.outstation.frames import Rtu, crc16
from hil.outstation.stamps import fraction, stamp
from hil.settings import LogSettings, SiteError
from profiles.records import Fraction, TimeFormat
from profiles.registers import ByteOrder, WireType

H = 3600 * S


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * S


# ------------------------------------------------------------------------------------ Enron

SCANNER = {"first": 401.8646545410156, "second": 513.0534057617188, "third": 67.99999237060547}


def scanner(now_ns: int = T0, log: str = "daily", resolution: str = "1h", **said: Any) -> Logged:
    points = {n: {"address": 10 * at, "type": "float32"} for at, n in enumerate(SCANNER)}
    logs = [{"id": log, "resolution": resolution, "columns": list(SCANNER)}]
    windback = {"zone": "utc", "logs": logs, **said}
    return Logged(windback, points, SCANNER, "cameron/scanner-2000", now_ns=now_ns)


def test_the_frame_of_the_document_comes_out_to_the_last_byte() -> None:
    # Record 10 of an hourly archive at 701 that began at 23:00 is the one of 08:00.
    meter = scanner(ns("2004-12-02T23:00:00+00:00"))
    now = ns("2004-12-03T08:00:00+00:00")
    frame = bytes.fromhex("010302BD000A5451")
    (asked,) = Rtu().receive(frame)
    assert asked.pdu == frame[1:-2]
    reply = b"\1" + meter.unit.answer(asked.pdu, now)
    assert (reply + crc16(reply)).hex().upper() == (
        "01031447EAF800479C400043C8EEAD4400436B4287FFFFB61E"
    )


def test_enron_places_and_pointers() -> None:
    meter = scanner(log="interval", resolution="1s", capacity=100)
    now = T0 + 249 * S  # records 1 to 250 in 100 places: 50 is the newest
    assert meter.ask("031b580001", now) == "030442480000", "7000: 50.0, one register, four bytes"
    newest = meter.ask("0302bc0032", now)
    assert newest[:4] == "0314"
    oldest = meter.ask("0302bc0033", now)
    assert newest[4:12] == "461e3800" == oldest[4:12], "10126.0: 1 January 26"
    assert newest[12:20] == "43d18000", "00:04:19 is 419.0"
    assert oldest[12:20] == "43700000", "00:02:40 is 240.0"
    assert meter.ask("0302bc0065", now) == "8303"
    assert meter.ask("0302bc0000", now) == "8303"
    assert meter.ask("0302bc0032", T0) == "8303", "not yet made"
    assert meter.ask("031b580002", now) == "8303", "7001 is the daily log's, which isn't kept"
    assert meter.ask("031b580001", T0) == "03043f800000"


def test_a_pointer_may_be_to_the_next_record() -> None:
    meter = scanner(log="interval", resolution="1s", pointer_is="next", capacity=100)
    assert meter.ask("031b580001", T0 + 98 * S) == "030442c80000"
    assert meter.ask("031b580001", T0 + 99 * S) == "03043f800000"
    empty = scanner(log="interval", resolution="1h")
    assert empty.ask("031b580001", T0) == "030400000000"
    assert empty.ask("0302bc0001", T0) == "8303"
    whole = {"address": 7000, "type": "uint32"}
    assert scanner(log="interval", resolution="1s", pointer=whole).ask("031b580001", T0) == (
        "030400000001"
    )


def test_enron_events_until_they_are_acknowledged() -> None:
    meter = scanner()
    event = {"register": 7100, "old": 1.5, "new": 2.5}
    meter.logs.disturb("event", event, T0 + S)
    meter.logs.disturb("event", {"bits": 0x9000}, T0 + 2 * S)
    # bits, register, time 11.0, date 10126.0, old, new
    first = "0200 1bbc 41300000 461e3800 3fc00000 40200000".replace(" ", "")
    second = "9000 0000 41400000 461e3800 00000000 00000000".replace(" ", "")
    assert meter.ask("0300200001", T0 + 3 * S) == "0328" + first + second
    assert meter.ask("0300200001", T0 + 3 * S) == "0328" + first + second
    assert meter.ask("050020ff00", T0 + 4 * S) == "050020ff00"
    assert meter.ask("0300200001", T0 + 5 * S) == "0300"
    assert meter.ask("0500200000", T0 + 5 * S) == "8503"
    assert meter.ask("050021ff00", T0 + 5 * S) == "8502"


def test_enron_refuses_and_mistakes_on_command() -> None:
    meter, now = scanner(log="interval", resolution="1s"), T0 + 9 * S
    meter.logs.disturb("wrong_index", {}, now)
    assert meter.ask("0302bc0001", now) == meter.ask("0302bc0002", now)
    meter.logs.disturb("refuse", {"code": 3}, now)
    for pdu in ("0302bc0001", "031b580001", "0300200001"):
        assert meter.ask(pdu, now) == "8303"
    assert meter.ask("0300000002", now) == "030443c8eead"
    assert meter.ask("11", now)[:2] == "11"
    meter.logs.power(True, now)
    meter.logs.disturb("answer", {}, now)
    two = [{"id": "interval", "columns": ["first"]}, {"id": "daily", "columns": ["second"]}]
    both = scanner(logs=two, pointer={"address": 7000, "type": "float32"})
    assert both.ask("031b580002", T0 + 9 * S) == "0308" + "41200000" + "00000000"
    bare = scanner(pointer=None)
    assert bare.ask("031b580001", T0) == "8302"


# ------------------------------------------------------------------------------------ files


def files(unit_is_record: bool, **said: Any) -> Logged:
    windback = {
        "method": "file_record",
        "file": 2,
        "records": 10,
        "unit_is_record": unit_is_record,
        "newest": {"address": 900},
        "resolution": "1s",
        "record": {"time": {"at": 0, "format": "words_ymdhms"}, "columns_at": 6},
        "logs": [
            {"id": "a", "columns": ["v"]},
            {"id": "b", "columns": ["w"], "shift": {"file": 1, "newest": 1}},
        ],
        **said,
    }
    points = {"v": {"address": 0}, "w": {"address": 1}}
    return Logged(windback, points, {"v": 0x1234, "w": 0x5678})


def record(second: int, value: str = "1234") -> str:
    return f"07ea000100010000{second // 60:04x}{second % 60:04x}{value}"


def test_a_file_whose_unit_is_the_record() -> None:
    meter, now = files(True), T0 + 3 * S
    # byte count, then reference type 6, file, record, length
    assert meter.ask("1407 06 0002 0000 0001".replace(" ", ""), now) == "14100f06" + record(10)
    assert meter.ask("1407060002000100 02".replace(" ", ""), now) == (
        "141e1d06" + record(11) + record(12)
    )
    two = meter.ask("140e 06 0002 0000 0001 06 0003 0003 0001".replace(" ", ""), now)
    assert two == "1420" + "0f06" + record(10) + "0f06" + record(13, "5678")
    assert meter.words(900, 2, now) == [3, 3]


def test_a_file_whose_unit_is_the_word() -> None:
    meter, now = files(False), T0 + 3 * S
    assert meter.ask("140706000200000007", now) == "14100f06" + record(10)
    assert meter.ask("140706000200050003", now) == "14080706" + "000a" + "1234" + "07ea"
    assert meter.ask("140706000200150002", now)[8:] == "07ea0001"
    assert meter.ask("1407060002001c0007", now)[8:] == "00" * 14, "nothing lies there yet"
    assert meter.ask("140706000200460001", now) == "9402"
    assert meter.ask("14070600020000007b", now) == "9402", "longer than a reply"


def test_places_are_used_again() -> None:
    meter, now = files(True), T0 + 12 * S  # 13 records in 10 places
    assert meter.words(900, 1, now) == [2]
    assert meter.ask("140706000200020001", now)[8:] == record(22)
    assert meter.ask("140706000200030001", now)[8:] == record(13)
    shifted = files(True, first_record=5)
    assert shifted.ask("140706000200050001", T0)[8:] == record(10)
    assert shifted.words(900, 1, T0) == [5]
    assert shifted.ask("140706000200040001", T0) == "9402"
    words = files(False, first_record=5)
    assert words.ask("140706000200230007", T0)[8:] == record(10)
    assert words.ask("140706000200220007", T0) == "9402"


def test_what_a_file_refuses() -> None:
    meter, now = files(True), T0
    for pdu, reply in {
        "1407060002000a0001": "9402",  # beyond the last place
        "140706000200010001": "9402",  # not yet made
        "140706000900000001": "9402",  # no such file
        "140705000200000001": "9402",  # not reference type 6
        "1406060002000000": "9403",
        "140806000200000001": "9403",
        "140706000200000011": "9402",
    }.items():
        assert meter.ask(pdu, now) == reply, pdu
    later = now + 99 * S
    many = files(True, records=1000)
    assert many.ask("14070600020000000a", later)[:4] == "148e"
    assert many.ask("140706000200000012", later) == "9403", "18 records don't fit"
    group = "0600020000000a"
    assert many.ask("140e" + group * 2, later) == "9403", "nor do ten and ten"
    meter.logs.disturb("wrong_index", {}, later)
    assert meter.ask("140706000200000001", later)[8:] == meter.ask("140706000200010001", later)[8:]
    meter.logs.disturb("refuse", {"code": 6}, later)
    assert meter.ask("140706000200000001", later) == "9406"
    none = files(True, not_there=[], newest=None)
    assert none.ask("140706000200010001", now) == "9402"


# ------------------------------------------------------------------------------------ by time


def by_time(newest_first: bool = False) -> Logged:
    windback = {
        "method": "time_select",
        "moment": {"address": 100, "type": "uint32", "format": "unix_s"},
        "direction": {"address": 102},
        "next": {"address": 103},
        "channel": {"address": 104},
        "data": {"address": 110},
        "data_words": 10,
        "newest_first": newest_first,
        "resolution": "1s",
        "record": {"time": {"at": 0, "format": "unix_s", "type": "uint32"}, "columns_at": 2},
        "logs": [
            {"id": "a", "select": 1, "columns": ["v"]},
            {"id": "b", "select": 2, "columns": ["w"]},
        ],
    }
    return Logged(windback, {"v": {"address": 0}, "w": {"address": 1}}, {"v": 7, "w": 8})


def test_a_log_that_is_asked_by_time() -> None:
    meter, now = by_time(), T0 + 9 * S  # 0xB90A to 0xB913
    assert meter.words(110, 10, now) == [0xFFFF] * 10
    assert meter.write(103, 1, at_ns=now) == 3, "nothing was asked"
    assert meter.write(100, 0x6955, 0xB910, at_ns=now) == 0
    assert meter.words(100, 5, now) == [0x6955, 0xB910, 1, 0, 1]
    assert meter.words(110, 10, now) == [
        0x6955, 0xB910, 7, 0x6955, 0xB911, 7, 0x6955, 0xB912, 7, 0xFFFF,
    ]  # fmt: skip
    assert meter.write(103, 1, at_ns=now) == 0
    assert meter.words(110, 10, now) == [0x6955, 0xB913, 7, *[0xFFFF] * 7]
    assert meter.write(103, 1, at_ns=now) == 0
    assert meter.words(110, 10, now) == [0xFFFF] * 10
    assert meter.write(103, 2, at_ns=now) == 3
    assert meter.write(100, 0x6955, at_ns=now) == 3


def test_a_log_that_is_asked_backwards() -> None:
    meter, now = by_time(), T0 + 9 * S
    assert meter.write(102, 0, at_ns=now) == 0
    assert meter.write(100, 0x6955, 0xB90C, at_ns=now) == 0
    assert meter.words(102, 1, now) == [0]
    assert meter.words(110, 9, now) == [
        0x6955, 0xB90A, 7, 0x6955, 0xB90B, 7, 0x6955, 0xB90C, 7,
    ]  # fmt: skip
    assert meter.write(100, 0x6955, 0xB999, at_ns=now) == 0
    assert meter.words(110, 9, now)[7] == 0xB913
    assert meter.write(103, 1, at_ns=now) == 0
    assert meter.words(110, 9, now)[7] == 0xB910


def test_channels_and_the_newest_first() -> None:
    meter, now = by_time(newest_first=True), T0 + 9 * S
    assert meter.write(104, 2, at_ns=now) == 0
    assert meter.write(104, 3, at_ns=now) == 3
    assert meter.write(100, 0x6955, 0xB910, at_ns=now) == 0
    assert meter.words(110, 9, now) == [
        0x6955, 0xB912, 8, 0x6955, 0xB911, 8, 0x6955, 0xB910, 8,
    ]  # fmt: skip
    assert meter.words(104, 1, now) == [2]
    meter.logs.power(True, now)
    assert meter.words(110, 9, now) == [0xFFFF] * 9


# ------------------------------------------------------------------------------------ stamps

WALL = ns("2026-11-22T09:30:05+00:00") + 250 * NS_PER_MS


@pytest.mark.parametrize(
    ("form", "wire", "data"),
    [
        (TimeFormat.UNIX_S, WireType.UINT32, "6b02b61d"),
        (TimeFormat.UNIX_S, WireType.UINT16, "6b02b61d"),
        (TimeFormat.UNIX_MS, WireType.UINT64, "000001a202976242"),
        (TimeFormat.SINCE_2000_S, WireType.UINT32, "3295729d"),
        (TimeFormat.BYTES_YMDHMS, WireType.UINT16, "1a0b16091e05"),
        (TimeFormat.PACKED_YMDHMS, WireType.UINT16, "1a0b16091e05"),
        (TimeFormat.PACKED_YMDHMS_MS, WireType.UINT16, "1a0b16091e0500fa"),
        (TimeFormat.WORDS_YMDHMS, WireType.UINT16, "07ea000b00160009001e0005"),
        (TimeFormat.INT_YYMMDD_HHMMSS, WireType.INT32, "0003fc0200016b4d"),
        (TimeFormat.FLOAT_MMDDYY_HHMMSS, WireType.FLOAT32, "47db310047b5a680"),
        (TimeFormat.FLOAT_HHMMSS_MMDDYY, WireType.FLOAT32, "47b5a68047db3100"),
    ],
)
def test_stamps(form: TimeFormat, wire: WireType, data: str) -> None:
    assert stamp(form, WALL, wire).hex() == data


def test_fractions_and_summer() -> None:
    assert stamp(TimeFormat.BYTES_YMDHMS, WALL, summer=True).hex() == "1a0b16491e05"
    ms = Fraction(at=4, unit="ms")
    us = Fraction(at=4, type=WireType.UINT32, unit="us")
    assert fraction(ms, WALL).hex() == "00fa"
    assert fraction(us, WALL, ByteOrder.CDAB).hex() == "d0900003"
    assert datetime.fromtimestamp(WALL // S, UTC).second == 5


# ------------------------------------------------------------------------------------ commands


def test_what_a_log_cannot_do_is_told() -> None:
    meter = files(True)
    with pytest.raises(SiteError, match="a log can't dance; there are answer, clear"):
        meter.logs.disturb("dance", {}, T0)
    with pytest.raises(SiteError, match="no event log"):
        meter.logs.disturb("event", {}, T0)
    for said in ({}, {"zone": 1}):
        with pytest.raises(SiteError, match="offset, step"):
            meter.logs.set_clock(said, T0)
    windback = {"method": "opcua_history"}
    with pytest.raises(SiteError, match="no log by opcua_history"):
        Logged(windback, {"v": {"address": 0}}, {})
    with pytest.raises(SiteError, match="20 records, but there are 10 places"):
        Logged(
            {
                "method": "file_record",
                "file": 1,
                "records": 10,
                "record": {"time": {"at": 0, "format": "unix_s"}, "columns_at": 2},
                "logs": [{"id": "a", "columns": ["v"]}],
            },
            {"v": {"address": 0}},
            {},
            None,
            LogSettings(capacity=20),
        )


def test_an_overrun_leaves_the_newest_and_it_goes_on_recording() -> None:
    meter, now = files(True), T0 + 8 * S
    meter.logs.disturb("overrun", {"kept": 2}, now)
    runs = meter.logs.recorded(T0, T0 + 99 * S, now + 3 * S)["b"]["runs"]
    assert (runs[0][0], runs[-1][1]) == (now - 2 * S, now + 3 * S)


def test_shrink_and_grow_and_drift_and_truth() -> None:
    meter, now = files(True), T0 + 8 * S
    meter.logs.disturb("shrink", {"capacity": 2}, now)
    held = meter.logs.recorded(T0, T0 + 99 * S, now)
    assert held["a"] == {
        "points": ["v"],
        "resolution_ns": S,
        "runs": [[T0 + 7 * S, T0 + 7 * S], [T0 + 8 * S, T0 + 8 * S]],
    }
    assert meter.ask("140706000200000001", now) == "9402"
    meter.logs.disturb("grow", {}, now)
    assert meter.logs.recorded(T0, T0 + 99 * S, now + 3 * S)["b"]["runs"][-1][1] == now + 3 * S
    meter.logs.set_clock({"drift_ppm": 1000, "offset": 5}, now)
    (_, last) = meter.logs.recorded(T0, T0 + 9999 * S, now + 1000 * S)["a"]["runs"][-1]
    assert last <= now + 1000 * S
    assert meter.words(0, 1, now) == [0x1234]
