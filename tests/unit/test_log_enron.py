"""Enron's modified Modbus, from a device whose archives are overwritten while they are read."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import (
    NOW_NS,
    SECOND,
    Device,
    a_device,
    drive,
    joined,
    lacking,
    read_log,
    read_patiently,
    rows,
)

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import Call, Op, Write
from drivers.modbus.log.paging import CLEARED, NOT_RECORDED, OVERWRITTEN
from gateway.driver import DeviceSpec, LogWanted
from gateway.errors import InvalidReply, LinkError, LogUnavailable, ReplyTimeout

ARCHIVE, POINTER = 700, 7000


def decimal(ns: int) -> tuple[float, float]:
    """MMDDYY and HHMMSS."""
    at = datetime.fromtimestamp(ns // SECOND, UTC)
    return float(f"{at:%m%d%y}"), float(f"{at:%H%M%S}")


class Flow(Device):
    """A flow computer: records of a date, a time and a float, in places that are overwritten."""

    def build(self, capacity: int, pointer_is: str = "newest") -> Flow:
        self.places: list[bytes | None] = [None] * (capacity + 1)
        self.made, self.pointer_is = 0, pointer_is
        self.pointer: float | None = None
        self.pointer_type = ">f"
        self.calls = self.on_call
        return self

    def make(self, time_ns: int) -> None:
        self.made += 1
        self.places[self.place] = struct.pack(">3f", *decimal(time_ns), float(self.made))

    @property
    def place(self) -> int:
        return (self.made - 1) % (len(self.places) - 1) + 1

    def on_call(self, call: Call) -> bytes | int:
        address, count = struct.unpack(">HH", call.payload)
        assert call.function == 3
        if address == POINTER:
            assert count == 1
            said = self.pointer
            if said is None:
                empty = 1.0 if self.pointer_is == "next" else 0.0
                ahead = self.pointer_is == "next"
                said = float((self.made + ahead - 1) % (len(self.places) - 1) + 1)
                said = said if self.made else empty
            number = int(said) if self.pointer_type == ">H" else said
            data = struct.pack(self.pointer_type, number)
            return bytes([len(data)]) + data
        if address != ARCHIVE or not 1 <= count < len(self.places):
            return 2
        found = self.places[count]
        return 3 if found is None else bytes([len(found)]) + found


def flow_with(count: int, capacity: int = 400, pointer_is: str = "newest") -> Flow:
    """A record a second, the last one second ago."""
    flow = Flow().build(capacity, pointer_is)
    for at in range(count):
        flow.make(NOW_NS - (count - at) * SECOND)
    return flow


def spec(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "enron",
        "archive": ARCHIVE,
        "pointer": {"address": POINTER, "type": "float32"},
        "capacity": 400,
        "resolution": "1s",
        "record": {
            "time": {"at": 0, "type": "float32", "format": "float_mmddyy_hhmmss"},
            "columns_at": 4,
            "column_type": "float32",
        },
        "logs": [{"id": "interval", "columns": ["flow"]}],
    }
    return a_device(windback | said, {"flow": {"address": 9, "type": "float32"}})


def last(seconds: int, until: int = 0) -> LogWanted:
    return LogWanted("interval", NOW_NS - seconds * SECOND, NOW_NS - until * SECOND)


def on_record(number: int, act: Any) -> Any:
    """Do something before the n-th request for a record."""
    count = 0

    def rule(device: Device, op: Op) -> Any:
        nonlocal count
        if isinstance(op, Call) and op.payload[:2] == struct.pack(">H", ARCHIVE):
            count += 1
            if count == number:
                return act()
        return None

    return rule


@given(
    made=st.integers(0, 90),
    capacity=st.integers(2, 30),
    named=st.booleans(),
    pointer_is=st.sampled_from(["newest", "next"]),
    begin=st.integers(1, 100),
)
def test_whatever_an_archive_holds_comes_out_once(
    made: int, capacity: int, named: bool, pointer_is: str, begin: int
) -> None:
    flow = flow_with(made, capacity, pointer_is)
    said: dict[str, Any] = {"capacity": capacity, "pointer_is": pointer_is}
    if not named:
        said["pointer"] = None
    wanted = last(begin)
    pages = read_log(spec(**said), flow, wanted)
    held = range(max(1, made - capacity + 1), made + 1)
    assert rows(pages) == [
        (0, NOW_NS - (made - n + 1) * SECOND, float(n)) for n in held if made - n + 1 <= begin
    ]
    assert joined(pages, wanted)
    whole = not made or len(held) >= begin
    if whole and made:
        assert not lacking(pages)
    elif not made:
        assert [why for *_, why in lacking(pages)] == [EMPTY]
    else:
        first_ns = NOW_NS - len(held) * SECOND
        assert lacking(pages) == [(wanted.from_ns, first_ns, OVERWRITTEN)]


def test_the_count_of_a_request_is_the_number_of_the_record() -> None:
    flow = flow_with(300)
    pages = read_log(spec(), flow, last(3))
    assert [(page.first_record, page.next_record) for page in pages] == [(298, 301)]
    payloads = [op.payload for op in flow.seen if isinstance(op, Call)]
    assert struct.pack(">HH", ARCHIVE, 300) in payloads, "far beyond the 125 of ordinary reads"
    assert not any(isinstance(op, Write) for op in flow.seen)
    assert flow.facts == [{"meaning": [], "depth_records": 400, "had": True}]


def test_a_pointer_may_be_a_whole_number() -> None:
    flow = flow_with(30)
    flow.pointer_type = ">H"
    pages = read_log(spec(pointer={"address": POINTER}), flow, last(3))
    assert [value for *_, value in rows(pages)] == [28.0, 29.0, 30.0]


def test_other_archives_are_shifted() -> None:
    log = {"id": "interval", "columns": ["flow"], "shift": {"archive": 1, "pointer": 1}}
    moved = spec(archive=ARCHIVE - 1, pointer={"address": POINTER - 1}, logs=[log])
    flow = flow_with(5)
    flow.pointer_type = ">H"
    assert len(rows(read_log(moved, flow, last(3)))) == 3


@pytest.mark.parametrize(("says", "means"), [("newest", "next"), ("next", "newest")])
def test_a_pointer_that_means_something_else_is_told(says: str, means: str) -> None:
    flow = flow_with(60, 20, means)
    with pytest.raises(LogUnavailable, match="the record after it is newer") as caught:
        read_log(spec(capacity=20, pointer_is=says), flow, last(10))
    assert f"pointer_is: {means}" in caught.value.remedy


def test_a_record_made_while_the_pointer_is_read_is_no_contradiction() -> None:
    flow = flow_with(60, 20)
    flow.rules.append(on_record(1, lambda: flow.make(NOW_NS)))
    pages = read_log(spec(capacity=20), flow, last(10))
    assert [value for *_, value in rows(pages)] == [float(n) for n in range(51, 61)]


def test_the_record_that_is_just_written_does_not_hide_the_older_ones() -> None:
    flow = flow_with(50, 20)
    flow.places[flow.place + 1] = bytes(12)
    wanted = last(25)
    pages = read_log(spec(capacity=20), flow, wanted)
    assert [value for *_, value in rows(pages)] == [float(n) for n in range(32, 51)]
    assert lacking(pages) == [(wanted.from_ns, NOW_NS - 19 * SECOND, OVERWRITTEN)]


def test_a_pointer_to_nothing_is_an_empty_archive() -> None:
    flow = Flow().build(400)
    for flow.pointer in (0.0, float("nan")):
        pages = read_log(spec(), flow, last(10))
        assert [why for *_, why in lacking(pages)] == [EMPTY]
    flow.pointer = 17.0
    with pytest.raises(LogUnavailable, match="seems to be empty, though it had records") as caught:
        read_log(spec(), flow, last(10))
    assert caught.value.retry_after_ns is None
    began_ns = flow.now_ns
    pages = read_patiently(spec(), flow, last(10))
    assert [why for *_, why in lacking(pages)] == [EMPTY]
    assert 600 * SECOND <= flow.now_ns - began_ns < 720 * SECOND


def in_download(device: Device, op: Op) -> int | None:
    return 2 if isinstance(op, Call) and op.payload[:2] == struct.pack(">H", ARCHIVE) else None


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("begins", ["before", "meanwhile", "with a pointer of 0"])
def test_an_archive_that_is_refused_during_a_download_is_not_lost(named: bool, begins: str) -> None:
    flow, wanted = flow_with(300), last(40)
    flow.facts.append({"meaning": [], "depth_records": 400, "had": True})
    said: dict[str, Any] = {} if named else {"pointer": None}
    if begins == "meanwhile":
        flow.rules.append(on_record(30, lambda: flow.rules.append(in_download)))
    else:
        flow.rules.append(in_download)
    if begins == "with a pointer of 0":
        flow.pointer = 0.0
    for _ in range(5):
        with pytest.raises(LogUnavailable, match="seems to be empty, though it had records"):
            read_patiently(spec(**said), flow, wanted, tries=4)
    flow.rules.clear()
    flow.pointer = None
    pages = read_log(spec(**said), flow, wanted, flow.facts[-1])
    assert len(rows(pages)) == 40
    assert not lacking(pages)


def test_an_archive_that_stays_empty_was_cleared() -> None:
    flow, wanted = flow_with(300), last(40)
    flow.rules.append(on_record(30, lambda: flow.build(400)))
    began_ns = flow.now_ns
    pages = read_patiently(spec(), flow, wanted)
    assert 600 * SECOND <= flow.now_ns - began_ns < 720 * SECOND
    assert lacking(pages) == [(wanted.from_ns, wanted.to_ns, CLEARED)]
    assert "had" not in flow.facts[-1], "nor is it doubted any more"
    assert lacking(read_log(spec(), flow, wanted, flow.facts[-1]))[0][2] == EMPTY


def test_an_archive_that_is_deserted_while_it_is_doubted_is_not_lost_for_that() -> None:
    """A device that is out of reach for long was not seen to be empty meanwhile."""
    flow, wanted = flow_with(300), last(40)
    fact = {"meaning": [], "depth_records": 400, "had": True}
    logs = Logs(spec())
    flow.rules.append(in_download)
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            drive(logs.read(logs.job(wanted, fact, flow.now_ns)), flow)
        flow.now_ns += 3600 * SECOND
    flow.now_ns -= 7200 * SECOND
    with pytest.raises(LogUnavailable):
        drive(logs.read(logs.job(wanted, fact, flow.now_ns)), flow)
    flow.rules.clear()
    assert drive(logs.read(logs.job(wanted, fact, flow.now_ns)), flow)


def test_a_pointer_beyond_the_archive_is_told() -> None:
    flow = flow_with(60, 20)
    flow.pointer = 500.0
    with pytest.raises(LogUnavailable, match=r"says 500, .* 400 places"):
        read_log(spec(), flow, last(10))
    flow.rules.append(lambda device, op: 2)
    with pytest.raises(LogUnavailable, match="the pointer 7000 was refused: exception 2"):
        read_log(spec(), flow, last(10))


def test_a_torn_record_is_lacking() -> None:
    flow = flow_with(60)
    flow.places[50] = bytes(12)
    wanted = last(20)
    pages = read_log(spec(), flow, wanted)
    assert lacking(pages) == [(NOW_NS - 11 * SECOND, NOW_NS - 10 * SECOND, "torn")]
    assert joined(pages, wanted)


def test_what_is_overwritten_while_it_is_read_is_lacking() -> None:
    flow = flow_with(20, 20)

    def overrun() -> None:
        for at in range(6):
            flow.make(NOW_NS + at * SECOND)

    flow.rules.append(on_record(12, overrun))
    wanted = last(20)
    pages = read_log(spec(capacity=20), flow, wanted)
    assert joined(pages, wanted)
    assert lacking(pages) == [(wanted.from_ns, NOW_NS - 14 * SECOND, OVERWRITTEN)]
    assert [value for *_, value in rows(pages)] == [float(n) for n in range(7, 21)]


def test_an_archive_that_was_cleared_in_the_middle() -> None:
    flow = flow_with(60)

    def clear() -> None:
        flow.build(400)
        for at in (3, 2, 1):
            flow.make(NOW_NS - at * SECOND)

    flow.rules.append(on_record(20, clear))
    wanted = last(40)
    pages = read_log(spec(), flow, wanted)
    assert joined(pages, wanted)
    assert lacking(pages) == [(wanted.from_ns, NOW_NS - 3 * SECOND, CLEARED)]
    assert [value for *_, value in rows(pages)] == [1.0, 2.0, 3.0]


def test_power_that_was_off_is_a_pause() -> None:
    flow = Flow().build(400)
    for seconds in (20, 19, 18, 8, 7, 6, 5, 4, 3, 2, 1):
        flow.make(NOW_NS - seconds * SECOND)
    pages = read_log(spec(), flow, last(20))
    assert lacking(pages) == [(NOW_NS - 17 * SECOND, NOW_NS - 8 * SECOND, NOT_RECORDED)]


def test_a_busy_device_is_asked_again_and_then_left_alone() -> None:
    flow = flow_with(30)
    for at in (3, 8):
        flow.rules.append(on_record(at, lambda: 6))
    assert len(rows(read_log(spec(), flow, last(10)))) == 10
    flow.rules.append(lambda device, op: 6 if isinstance(op, Call) else None)
    with pytest.raises(LogUnavailable, match="exception 6"):
        read_log(spec(), flow, last(10))
    flow.rules = [on_record(1, lambda: 4)]
    with pytest.raises(LogUnavailable, match="record 30 of archive 700 was refused: exception 4"):
        read_log(spec(), flow, last(10))


def test_a_record_of_another_length_names_the_columns() -> None:
    flow = flow_with(30)
    flow.rules.append(on_record(1, lambda: InvalidReply("a reply of 17 bytes where 13 came")))
    with pytest.raises(LogUnavailable, match="a reply of 17 bytes") as caught:
        read_log(spec(), flow, last(10))
    assert "every column" in caught.value.remedy
    columns = [{"point": "flow", "at": 124}]
    with pytest.raises(LogUnavailable, match="126 words does not fit"):
        read_log(spec(logs=[{"id": "interval", "columns": columns}]), flow, last(10))


def test_a_device_that_does_not_answer_ends_the_read() -> None:
    flow = flow_with(30)
    flow.rules.append(on_record(9, lambda: ReplyTimeout("no answer")))
    with pytest.raises(ReplyTimeout):
        read_log(spec(), flow, last(10))
    flow.rules = [on_record(9, lambda: LinkError("reset"))]
    with pytest.raises(LinkError):
        read_log(spec(), flow, last(10))
