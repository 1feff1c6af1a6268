"""The driver's methods against the emulated logs, both from the same profiles: judged by the truth.

What is judged is when each record was really made, which the emulator knows and the driver must
find out from stamps of a clock that may be off.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from log_device import Device, a_device, joined, lacking, read_known, read_log, read_patiently
from log_world import T0, Logged, S

from drivers.modbus import frames
from drivers.modbus.log.ops import Answer, Call, Op, Read, Refusal, Release, Write
from drivers.modbus.log.paging import CLEARED, NOT_RECORDED, OVERWRITTEN, RECONFIGURED
from gateway.driver import DeviceSpec, LogPage, LogWanted
from gateway.errors import LogUnavailable
from hil.outstation.devicelog import DeviceLog
from hil.settings import LogSettings
from profiles.load import load

LEVEL = {"level": {"address": 5, "type": "float32"}}
FILE = {
    "method": "file_record",
    "file": 3,
    "first_record": 2,
    "records": 400,
    "record": {
        "words": 6,
        "time": {"at": 0, "format": "packed_ymdhms_ms"},
        "columns_at": 4,
        "column_type": "float32",
    },
}
LOG = {"id": "log", "columns": ["level"]}
TIMES = {
    "method": "time_select",
    "moment": {"address": 104, "format": "packed_ymdhms"},
    "direction": {"address": 107},
    "next": {"address": 100},
    "channel": {"address": 103},
    "data": {"address": 120},
    "data_words": 40,
    "newest_first": True,
    "record": {
        "words": 8,
        "time": {"at": 0, "format": "packed_ymdhms"},
        "quality": {"at": 3},
        "columns_at": 4,
        "column_type": "float32",
    },
}
KINDS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "ring": ("generic/plc-ring", {"address": 1000, "columns": ["level"]}),
    "ion": (
        "schneider/ion-recorder",
        {"logs": [{"id": "log", "select": 1, "columns": ["level"]}]},
    ),
    "cet": (
        "cet/pmc-53a",
        {"zone": "utc", "logs": [{"id": "recorder2", "columns": ["level"]}]},
    ),
    "enron": (
        "cameron/scanner-2000",
        {"zone": "utc", "logs": [{"id": "interval", "columns": ["level"]}]},
    ),
    "satec": (
        "satec/pm172",
        {
            "zone": "utc",
            "logs": [{"id": "data1", "columns": [{"point": "level", "type": "float32"}]}],
        },
    ),
    "shark": ("electro-industries/shark-200", {"zone": "utc", "logs": [{"id": "historical2"}]}),
    "words": (None, {**FILE, "logs": [LOG]}),
    "records": (None, {**FILE, "unit_is_record": True, "logs": [LOG]}),
    "times": (None, {**TIMES, "logs": [{**LOG, "select": 3}]}),
}
CLOCKLESS = {"words", "records", "times", "enron", "satec", "shark"}
"""Their times are as the device has them."""
CAPACITY = 400


class Emulated(Device):
    """An emulated unit; each request takes its round trip of the emulator's time."""

    def of(self, logged: Logged, now_ns: int) -> Emulated:
        self.logged, self.now_ns = logged, now_ns
        return self

    @property
    def log(self) -> DeviceLog:
        return self.logged.logs.books[0].log

    def carry_out(self, op: Op) -> Answer | Refusal | None:
        if isinstance(op, Release):
            for write in op.writes:
                self._answer(write)
        return super().carry_out(op)

    def _answer(self, op: Read | Write | Call) -> int | tuple[tuple[int, ...], bytes]:
        if isinstance(op, Call):
            pdu = bytes([op.function]) + op.payload
        elif isinstance(op, Write):
            pdu = b"\x10" + frames.registers_payload(op.address, op.words)
        else:
            pdu = b"\x03" + frames.read_payload(op.address, op.size)
        reply = self.logged.unit.answer(pdu, self.now_ns)
        if reply[0] & 0x80:
            return reply[1]
        if isinstance(op, Read):
            return struct.unpack(f">{op.size}H", reply[2:]), b""
        return (), reply[1:]


def made(kind: str, **rig: Any) -> tuple[Emulated, DeviceSpec]:
    """A device that has recorded for 500 s, 400 records of which it holds."""
    profile, said = KINDS[kind]
    windback = {**said, "resolution": "1s"}
    settings = LogSettings(**{"start": 1, "capacity": CAPACITY, **rig})
    logged = Logged(windback, LEVEL, {"level": 1.5}, profile, settings)
    spec = a_device(windback, LEVEL, load(profile) if profile else None)
    return Emulated().of(logged, T0 + 500 * S), spec


def wanted_of(spec: DeviceSpec, begin: int, end: int) -> LogWanted:
    logs = (spec.settings.windback or {}).get("logs")
    name = logs[0]["id"] if logs else "ring"
    return LogWanted(name, T0 + begin * S, T0 + end * S)


def judge(
    device: Emulated, pages: list[LogPage], wanted: LogWanted, within_ns: int = S // 50
) -> list[int]:
    """Every record of the stretch is there, at its true time, or its time is called lacking."""
    assert joined(pages, wanted)
    observations = [o for page in pages for o in page.observations]
    assert {o.value for o in observations} <= {1.5}
    through_ns = max((page.through_ns for page in pages), default=wanted.from_ns)
    holes = lacking(pages)
    span = device.log.span(device.now_ns)
    true = [device.log.moment(index).true_ns for index in range(*span)]
    for observation in observations:
        assert any(abs(observation.time_ns - each) <= within_ns for each in true) or (
            observation.time_ns < true[0]
        )
    got = [observation.time_ns for observation in observations]
    assert got == sorted(set(got))
    for each in true:
        if wanted.from_ns + within_ns <= each < through_ns - within_ns:
            there = any(abs(time_ns - each) <= within_ns for time_ns in got)
            assert there or any(a <= each + within_ns and each < b for a, b, _ in holes)
    return got


def on_request(number: int, act: Callable[[Emulated], Any]) -> Callable[[Device, Op], None]:
    def rule(device: Device, op: Op) -> None:
        if len(device.seen) == number:
            assert isinstance(device, Emulated)
            act(device)

    return rule


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("begin", "end"), [(200, 300), (50, 150), (450, 600), (120, 121)])
def test_a_stretch_is_read_as_it_was(kind: str, begin: int, end: int) -> None:
    device, spec = made(kind)
    wanted = wanted_of(spec, begin, end)
    pages = read_known(spec, device, wanted)
    got = judge(device, pages, wanted)
    assert len(got) >= min(end, 500) - max(begin, 102)
    assert {why for *_, why in lacking(pages)} == ({OVERWRITTEN} if begin < 100 else set())


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_is_ninety_seconds_off(kind: str) -> None:
    device, spec = made(kind, clock_offset_ns=-90 * S)
    wanted = wanted_of(spec, 200, 300)
    pages = read_known(spec, device, wanted)
    if kind in CLOCKLESS:
        assert pages[0].clock is None  # the file alone tells no clock
        return
    clock = pages[0].clock
    assert clock is not None
    assert abs(clock.offset_ns + 90 * S) <= clock.uncertainty_ns
    assert len(judge(device, pages, wanted, clock.uncertainty_ns)) in (99, 100, 101)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_was_set_back_inside_the_log(kind: str) -> None:
    device, spec = made(kind, clock_offset_ns=90 * S)
    device.logged.logs.set_clock({"offset": 0}, T0 + 350 * S)
    for begin, end in ((200, 300), (340, 360), (300, 500)):
        wanted = wanted_of(spec, begin, end)
        pages = read_known(spec, device, wanted)
        assert len(judge(device, pages, wanted, S)) in range(end - begin - 2, end - begin + 2)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - CLOCKLESS))
def test_a_clock_that_was_set_forward_inside_the_log(kind: str) -> None:
    device, spec = made(kind, clock_offset_ns=-90 * S)
    device.now_ns = T0 + 300 * S
    read_known(spec, device, wanted_of(spec, 250, 260))
    learned = device.facts[-1]
    device.logged.logs.set_clock({"offset": 0}, T0 + 350 * S)
    device.now_ns = T0 + 500 * S
    for begin, end in ((200, 300), (330, 370), (300, 490)):
        wanted = wanted_of(spec, begin, end)
        pages = read_log(spec, device, wanted, learned)
        assert len(judge(device, pages, wanted, S)) in range(end - begin - 2, end - begin + 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_without_power_recorded_nothing(kind: str) -> None:
    device, spec = made(kind)
    device.logged.logs.power(False, T0 + 250 * S)
    device.logged.logs.power(True, T0 + 280 * S)
    wanted = wanted_of(spec, 200, 300)
    pages = read_known(spec, device, wanted)
    judge(device, pages, wanted)
    ((begin, end, why),) = lacking(pages)
    assert (why, abs(end - begin - 30 * S) <= S) == (NOT_RECORDED, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_overruns_its_reader(kind: str) -> None:
    device, spec = made(kind)

    def later(each: Emulated) -> None:
        each.now_ns += 100 * S

    device.rules.append(on_request(22, later))
    wanted = wanted_of(spec, 110, 300)
    pages = read_known(spec, device, wanted)
    judge(device, pages, wanted)
    assert {why for *_, why in lacking(pages)} <= {OVERWRITTEN}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["clear", "reconfigure"])
def test_a_log_that_is_cleared_or_set_up_anew_while_it_is_read(kind: str, what: str) -> None:
    device, spec = made(kind)
    device.rules.append(on_request(22, lambda d: d.logged.logs.disturb(what, {}, d.now_ns)))
    wanted = wanted_of(spec, 110, 490)
    pages = read_patiently(spec, device, wanted)
    assert joined(pages, wanted)
    assert {why for *_, why in lacking(pages)} <= {
        OVERWRITTEN,
        CLEARED,
        RECONFIGURED,
        "the log is empty",
    }
    assert lacking(pages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [2**32 - 400, 2**16 - 400])
def test_numbers_that_grow_large_or_start_again(kind: str, start: int) -> None:
    if kind == "cet":
        # It is found by asking, from where another read has been.
        start = min(start, 100_000)
    # Where a ring's capacity doesn't divide the range of numbers, slots are used before their turn.
    device, spec = made(kind, start=start, capacity=256)
    wanted = wanted_of(spec, 260, 490)
    pages = read_known(spec, device, wanted)
    assert len(judge(device, pages, wanted)) in (229, 230)
    assert not lacking(pages)


@pytest.mark.parametrize("kind", KINDS)
def test_a_newest_record_that_is_half_written(kind: str) -> None:
    device, spec = made(kind)
    device.logged.logs.disturb("torn", {}, T0)
    wanted = wanted_of(spec, 480, 600)
    pages = read_known(spec, device, wanted)
    assert len(judge(device, pages, wanted)) >= 19


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_refuses_is_left_alone_and_one_that_is_busy_is_waited_for(kind: str) -> None:
    device, spec = made(kind)
    wanted = wanted_of(spec, 200, 300)
    device.logged.logs.disturb("refuse", {"code": 6}, T0)
    with pytest.raises(LogUnavailable):
        read_known(spec, device, wanted)
    device.logged.logs.disturb("answer", {}, T0)
    device.rules.append(on_request(9, lambda d: d.logged.logs.disturb("wrong_index", {}, 0)))
    judge(device, read_known(spec, device, wanted), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(1, 30, 3))
def test_another_record_than_was_asked_for(kind: str, at: int) -> None:
    device, spec = made(kind)
    device.rules.append(on_request(at, lambda d: d.logged.logs.disturb("wrong_index", {}, 0)))
    wanted = wanted_of(spec, 200, 300)
    pages = read_patiently(spec, device, wanted)
    assert len(judge(device, pages, wanted)) in (99, 100)
    assert not lacking(pages)


PRAGUE = "Europe/Prague"
SUMMER_ENDS, SUMMER_BEGINS = 1_792_890_000 * S, 1_774_746_000 * S
"""2026-10-25 and 2026-03-29, 01:00 UTC: the clock goes from 3 back to 2, from 2 ahead to 3."""
LOCAL = sorted(set(KINDS) - {"ion"})
"""An ION recorder counts in UTC."""


PLACES = {"enron": "capacity", "words": "records", "records": "records"}
"""What says how many records there is room for, where the device's log doesn't."""


def local(
    kind: str, change_ns: int, reach_s: int, places: int | None = None, ahead_ns: int = 0
) -> tuple[Emulated, DeviceSpec]:
    """A device on local time that is asked so long after a change.

    Its log is full of so many records, or has its first one so long before the change.
    """
    profile, said = KINDS[kind]
    capacity = places or CAPACITY
    windback = {**said, "zone": PRAGUE, "resolution": "1m"}
    if kind in PLACES:
        windback[PLACES[kind]] = capacity
    if kind == "cet":  # it tells nobody where its records are
        windback["logs"] = [{**log, "depth_records": capacity} for log in said["logs"]]
    settings = LogSettings(capacity=capacity, clock_offset_ns=ahead_ns)
    begun_ns = change_ns - (7200 if places else reach_s) * S
    logged = Logged(windback, LEVEL, {"level": 1.5}, profile, settings, begun_ns)
    spec = a_device(windback, LEVEL, load(profile) if profile else None)
    return Emulated().of(logged, change_ns + reach_s * S), spec


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize("change_ns", [SUMMER_ENDS, SUMMER_BEGINS], ids=["autumn", "spring"])
@pytest.mark.parametrize("part", range(-3, 3))
@pytest.mark.parametrize(
    ("reach_s", "places"),
    [(7200, None), (2400, None), (2400, 80), (1860, 62)],
    ids=["hours", "within the hour", "full within the hour", "full, an hour and two records"],
)
def test_a_change_of_summer_time_in_a_device_on_local_time(
    kind: str, change_ns: int, part: int, reach_s: int, places: int | None
) -> None:
    device, spec = local(kind, change_ns, reach_s, places)
    step_s = reach_s // 240 * 60
    begin_ns = change_ns + part * step_s * S
    wanted = LogWanted(wanted_of(spec, 0, 1).log, begin_ns, begin_ns + step_s * S)
    pages = read_known(spec, device, wanted)
    assert len(judge(device, pages, wanted)) == step_s // 60
    assert not lacking(pages)


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize("ahead_s", [-90, 90])
@pytest.mark.parametrize(("begin", "places"), [(-1200, 80), (1500, 20)])
def test_a_clock_that_is_off_in_the_hour_that_comes_twice(
    kind: str, ahead_s: int, begin: int, places: int
) -> None:
    device, spec = local(kind, SUMMER_ENDS, 2400, places, ahead_s * S)
    begin_ns = SUMMER_ENDS + begin * S
    wanted = LogWanted(wanted_of(spec, 0, 1).log, begin_ns, begin_ns + 600 * S)
    pages = read_known(spec, device, wanted)
    within_ns = abs(ahead_s) * S if kind in CLOCKLESS else 2 * S
    assert len(judge(device, pages, wanted, within_ns)) in (9, 10, 11)
    assert not lacking(pages)
