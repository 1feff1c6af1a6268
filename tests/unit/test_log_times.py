"""Stamps of every format, zones with their two odd hours, and clocks that are off."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND, Device, a_device, a_job

from drivers.modbus.log.clock import read_clock
from drivers.modbus.log.ops import Asking
from drivers.modbus.log.places import Place, big_endian, get, number, place_of, put, words_of
from drivers.modbus.log.times import (
    agree,
    applied,
    clock_reading,
    moment_words,
    moments,
    settle,
    shown,
    stamp_words,
    wall_ns,
    with_fraction,
    zone_of,
)
from gateway.driver import ClockReading, LogPage, LogWanted
from profiles.records import Clock, Register, TimeFormat
from profiles.registers import Area, ByteOrder, WireType

F = TimeFormat
PRAGUE = "Europe/Prague"


def ns(*fields: int, ms: int = 0) -> int:
    year, month, day, hour, minute, second = fields
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return round(moment.timestamp()) * SECOND + ms * 1_000_000


def f32(*values: float) -> list[int]:
    return list(struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values)))


@pytest.mark.parametrize(
    ("format_", "words", "expected"),
    [
        (F.UNIX_S, [0x6955, 0xB900], ns(2026, 1, 1, 0, 0, 0)),
        (F.UNIX_S, [0, 0], None),
        (F.UNIX_S, [0xFFFF, 0xFFFF], None),
        (F.UNIX_MS, [0, 0x19B, 0x76DA, 0xA81A], ns(2026, 1, 1, 0, 0, 0, ms=26)),
        (F.UNIX_MS, [0x7FFF, 0, 0, 0], None),
        (F.SINCE_2000_S, [0, 60], ns(2000, 1, 1, 0, 1, 0)),
        (F.BYTES_YMDHMS, [0x0C07, 0x1710, 0x1600], ns(2012, 7, 23, 16, 22, 0)),
        (F.BYTES_YMDHMS, [0x8CF7, 0xF7D0, 0xD6C0], ns(2012, 7, 23, 16, 22, 0)),
        (F.BYTES_YMDHMS, [0xFFFF, 0xFFFF, 0xFFFF], None),
        (F.PACKED_YMDHMS, [0x1A0B, 0x1609, 0x1E00], ns(2026, 11, 22, 9, 30, 0)),
        (F.PACKED_YMDHMS, [0x1A0B, 0x1618, 0x1E00], None),
        (F.PACKED_YMDHMS, [0x1A0B, 0x1609, 0x3C00], None),
        (F.PACKED_YMDHMS, [0x1A02, 0x1E09, 0x1E00], None),
        (F.PACKED_YMDHMS_MS, [0x1A0B, 0x1609, 0x1E00, 500], ns(2026, 11, 22, 9, 30, 0, ms=500)),
        (F.PACKED_YMDHMS_MS, [0x1A0B, 0x1609, 0x1E00, 1000], None),
        # simplymodbus.ca enron_history: 120304.0, 80000.0
        (F.FLOAT_MMDDYY_HHMMSS, [0x47EA, 0xF800, 0x479C, 0x4000], ns(2004, 12, 3, 8, 0, 0)),
        (F.FLOAT_HHMMSS_MMDDYY, f32(80000.0, 120304.0), ns(2004, 12, 3, 8, 0, 0)),
        (F.FLOAT_MMDDYY_HHMMSS, f32(float("nan"), 0.0), None),
        (F.FLOAT_MMDDYY_HHMMSS, f32(-1.0, 0.0), None),
        (F.INT_YYMMDD_HHMMSS, [3, 0xFC02, 1, 0x3880], ns(2026, 11, 22, 8, 0, 0)),
        (F.WORDS_YMDHMS, [2026, 11, 22, 9, 30, 1], ns(2026, 11, 22, 9, 30, 1)),
        (F.WORDS_YMDHMS, [26, 11, 22, 9, 30, 1], ns(2026, 11, 22, 9, 30, 1)),
        (F.WORDS_YMDHMS, [2226, 11, 22, 9, 30, 1], None),
        (F.WORDS_YMDHMS, [2026, 11, 22, 9, 60, 1], None),
    ],
)
def test_a_stamp_of_every_format(
    format_: TimeFormat, words: list[int], expected: int | None
) -> None:
    assert wall_ns(format_, words) == expected
    assert stamp_words(format_) == len(words)


def test_a_count_may_have_the_type_that_is_declared() -> None:
    seconds = 1_767_225_600
    double = list(struct.unpack(">4H", struct.pack(">d", seconds + 0.5)))
    assert wall_ns(F.UNIX_S, double, type_=WireType.FLOAT64) == seconds * SECOND + SECOND // 2
    assert stamp_words(F.UNIX_S, WireType.UINT64) == 4
    assert wall_ns(F.UNIX_S, [0xB900, 0x6955], ByteOrder.CDAB) == seconds * SECOND


@given(
    format_=st.sampled_from(TimeFormat),
    wall=st.integers(ns(2000, 1, 2, 0, 0, 0), ns(2099, 12, 31, 23, 59, 59)),
    order=st.sampled_from(ByteOrder),
)
def test_a_moment_is_written_as_it_is_read(
    format_: TimeFormat, wall: int, order: ByteOrder
) -> None:
    fine_ns = SECOND // 1000 if format_ in (F.UNIX_MS, F.PACKED_YMDHMS_MS) else SECOND
    words = moment_words(format_, wall, order)
    assert len(words) == stamp_words(format_)
    assert wall_ns(format_, words, order) == wall - wall % fine_ns


@pytest.mark.parametrize("format_", [F.PACKED_YMDHMS, F.SINCE_2000_S, F.UNIX_S])
def test_a_moment_that_has_no_words(format_: TimeFormat) -> None:
    for wall in (-SECOND, ns(2150, 1, 1, 0, 0, 0)):
        with pytest.raises(ValueError, match=r"does not fit|is no"):
            moment_words(format_, wall)


@pytest.mark.parametrize(
    ("part", "unit", "expected"),
    [
        (250, "ms", 250_000_000),
        (250_000, "us", 250_000_000),
        (1000, "ms", None),
        (None, "ms", None),
    ],
)
def test_a_fraction_belongs_to_its_second(
    part: int | None, unit: str, expected: int | None
) -> None:
    found = with_fraction(SECOND, part, unit)
    assert found == (None if expected is None else SECOND + expected)
    assert with_fraction(None, part, unit) is None


# -------------------------------------------------------------------------------------------- zones


@pytest.fixture
def prague(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", PRAGUE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", [PRAGUE, "local"])
def test_the_hour_that_comes_twice_and_the_one_that_is_skipped(name: str, prague: None) -> None:
    zone = zone_of(name)
    winter, summer = ns(2026, 1, 1, 12, 0, 0), ns(2026, 7, 1, 12, 0, 0)
    assert moments(winter, zone) == (winter - 3600 * SECOND,) * 2
    assert moments(summer, zone) == (summer - 7200 * SECOND,) * 2
    twice = ns(2026, 10, 25, 2, 30, 0)
    assert moments(twice, zone) == (twice - 7200 * SECOND, twice - 3600 * SECOND)
    skipped = ns(2026, 3, 29, 2, 30, 0)
    assert moments(skipped, zone) == (skipped - 3600 * SECOND,) * 2
    assert zone is not None
    assert zone.tzname(datetime(2026, 7, 1)) in ("CEST", None)  # noqa: DTZ001
    assert zone.tzname(None) is None
    assert zone.dst(None) is None
    assert zone.utcoffset(None) is None


@pytest.mark.parametrize("name", [PRAGUE, "local", "utc"])
@pytest.mark.parametrize("around", [ns(2026, 10, 25, 1, 0, 0), ns(2026, 3, 29, 1, 0, 0)])
def test_what_a_clock_shows_may_be_the_moment_it_is(name: str, around: int, prague: None) -> None:
    zone = zone_of(name)
    for minutes in range(-180, 180, 7):
        moment = around + minutes * 60 * SECOND + 5
        assert moment in moments(shown(moment, zone), zone)


def test_a_zone_nobody_knows() -> None:
    assert zone_of("utc") is None
    for name in ("Europe/Atlantis", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="no zone"):
            zone_of(name)


def local(utc: int) -> int:
    """What a clock in Prague shows at an instant, as a wall time."""
    shown = datetime.fromtimestamp(utc // SECOND, ZoneInfo(PRAGUE)).replace(tzinfo=UTC)
    return round(shown.timestamp()) * SECOND


CHANGE = ns(2026, 10, 25, 1, 0, 0)
"""When summer time ends: what follows shows 2 o'clock again."""


@given(
    begin=st.integers(-7200, 3600),
    steps=st.lists(st.integers(1, 1700), max_size=30),
    anchored=st.booleans(),
)
def test_the_order_of_records_settles_the_hour_that_comes_twice(
    begin: int, steps: list[int], anchored: bool
) -> None:
    times = [CHANGE + begin * SECOND]
    for step in steps:
        times.append(times[-1] + step * SECOND)
    walls = [local(each) for each in times]
    zone = zone_of(PRAGUE)
    after_ns = times[0] - SECOND if anchored else None
    found = settle(walls, zone, after_ns, times[-1] + SECOND)
    assert found == sorted(found)
    if anchored or any(moments(wall, zone)[0] == moments(wall, zone)[1] for wall in walls):
        assert found == times
    else:
        # Only the hour itself: the present alone tells that it can't be later.
        assert all(each in moments(w, zone) for each, w in zip(found, walls, strict=True))
        assert found[-1] <= times[-1] + SECOND


def test_an_hour_all_by_itself_is_settled_by_a_step_back() -> None:
    walls = [local(CHANGE + s * SECOND) for s in (-1200, -600, 0, 600)]
    assert settle(walls, zone_of(PRAGUE)) == [CHANGE + s * SECOND for s in (-1200, -600, 0, 600)]
    assert settle([], zone_of(PRAGUE)) == []


def test_the_offset_of_a_clock_and_how_far_it_may_be_wrong() -> None:
    found = clock_reading(NOW_NS + 90 * SECOND, NOW_NS - 5, NOW_NS + 5, SECOND)
    assert found == ClockReading(90 * SECOND, SECOND + 5)
    assert applied(found) == 90 * SECOND
    assert applied(ClockReading(SECOND, SECOND)) == 0
    assert applied(None) == 0
    assert agree(found, ClockReading(91 * SECOND, 5))
    assert not agree(found, ClockReading(0, 5))


# ------------------------------------------------------------------------------------------- clocks


def ran(asking: Asking[Any], device: Device) -> Any:
    """The result of a part of a method."""
    told = None
    while True:
        try:
            op = asking.send(told)
        except StopIteration as done:
            return done.value
        assert not isinstance(op, LogPage)
        told = device.carry_out(op)


def a_clock(**said: Any) -> Clock:
    read = {"address": 41, "type": "uint32", "format": "unix_s"}
    return Clock.model_validate({"read": read} | said)


def test_a_device_clock_is_read_with_its_fraction() -> None:
    device = Device()
    device.long(41, NOW_NS // SECOND + 90)
    device.long(43, 250_000)
    fraction = {"address": 43, "type": "uint32"}
    whole = ran(read_clock(a_clock(), 0), device)
    assert whole == ClockReading(90 * SECOND - 5_000_000, SECOND + 5_000_000)
    device.now_ns = NOW_NS
    clock = a_clock(fraction=fraction, fraction_unit="us", resolution="1ms")
    assert ran(read_clock(clock, 0), device).offset_ns == 90 * SECOND + 245_000_000
    device.now_ns = NOW_NS
    apart = a_clock(fraction=fraction | {"address": 50}, fraction_unit="us")
    assert ran(read_clock(apart, 0), device) == whole
    device.long(41, 0)
    assert ran(read_clock(a_clock(), 0), device) is None
    assert ran(read_clock(a_clock(), 10), device) is None
    assert ran(read_clock(None, 0), device) is None


def test_a_clock_in_the_hour_that_comes_twice_is_the_nearer_one() -> None:
    for now_ns in (CHANGE - 1200 * SECOND, CHANGE + 1200 * SECOND):
        device = Device(now_ns=now_ns)
        device.long(41, local(now_ns) // SECOND)
        reading = ran(read_clock(a_clock(zone=PRAGUE), 0), device)
        assert abs(reading.offset_ns) < SECOND


@pytest.mark.parametrize(("zone", "east_h"), [("utc", 0), ("Asia/Tokyo", 9), ("local", 1)])
def test_a_clock_in_local_time_is_in_the_zone_that_the_site_names(
    zone: str, east_h: int, prague: None
) -> None:
    ring = {"method": "ring", "address": 100, "resolution": "1s", "columns": ["p"], "zone": zone}
    winter = ns(2026, 1, 1, 12, 0, 0)
    wanted = LogWanted("ring", winter - SECOND, winter)
    _, job = a_job(a_device(ring, {"p": {"address": 0}}), wanted, now_ns=winter)
    for said, hours in (("local", east_h), ("utc", 0), (PRAGUE, 1)):
        device = Device(now_ns=winter)
        device.long(41, winter // SECOND + 3600 * hours)
        reading = ran(replace(job, clock=a_clock(zone=said)).read_clock(), device)
        assert abs(reading.offset_ns) < SECOND


# --------------------------------------------------------------------------------- numbers as words


@given(
    value=st.integers(0, 9999_9999),
    type_=st.sampled_from([WireType.UINT32, WireType.INT64, WireType.BCD32, WireType.FLOAT64]),
    order=st.sampled_from(list(ByteOrder)),
)
def test_a_number_comes_back_from_its_words(value: int, type_: WireType, order: ByteOrder) -> None:
    assert number(words_of(value, type_, order), type_, order) == value


def test_words_that_are_no_number_and_numbers_that_have_no_words() -> None:
    assert number([0x00A1], WireType.BCD16, ByteOrder.ABCD) is None
    with pytest.raises(ValueError, match="70000 is no uint16"):
        words_of(70000, WireType.UINT16, ByteOrder.ABCD)
    with pytest.raises(ValueError, match="is no float32"):
        words_of(1e300, WireType.FLOAT32, ByteOrder.ABCD)
    assert big_endian([0x0102, 0x0304], ByteOrder.DCBA) == b"\x04\x03\x02\x01"


def test_a_place_is_read_and_written() -> None:
    place = place_of(Register.model_validate({"address": "43002", "type": "uint32"}), 1)
    assert place == Place(Area.HOLDING, 3001, WireType.UINT32, ByteOrder.ABCD, None)
    device = Device()
    assert ran(get(place), device).code == 2
    device.carry_out(put(place, 70001))
    assert ran(get(place), device) == 70001
