"""Logs in files of records (function 20): both meanings of its numbers, turned or not."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import (
    NOW_NS,
    SECOND,
    Device,
    a_device,
    joined,
    lacking,
    read_log,
    read_patiently,
    rows,
)

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.ops import Call, Op, Read
from drivers.modbus.log.paging import CLEARED, OVERWRITTEN
from gateway.driver import DeviceSpec, LogWanted
from gateway.errors import LogUnavailable

WORDS = 5


class Files(Device):
    """A file of places that are written in turn: seconds, milliseconds, a float."""

    def build(self, places: int, first: int = 0, by_record: bool = False) -> Files:
        self.places: list[bytes | None] = [None] * places
        self.first, self.by_record, self.made = first, by_record, 0
        self.calls = self.on_call
        return self

    def make(self, time_ns: int) -> None:
        place = self.made % len(self.places)
        self.places[place] = struct.pack(
            ">IHf", time_ns // SECOND, time_ns % SECOND // 1_000_000, float(self.made)
        )
        self.made += 1
        self.put(500, place + self.first)

    def on_call(self, call: Call) -> bytes | int:
        size, reference, file, record, length = struct.unpack(">BBHHH", call.payload)
        assert (call.function, size, reference) == (20, 7, 6)
        if file != 4:
            return 2
        place = record if self.by_record else record // WORDS
        count = 1 if self.by_record else length // WORDS
        assert self.by_record or (record % WORDS, length % WORDS) == (0, 0)
        assert not self.by_record or length == 1
        at = place - self.first
        if at + count > len(self.places):
            return 3
        found = [each or b"\xff" * 2 * WORDS for each in self.places[at : at + count]]
        if self.places[at] is None and self.by_record:
            return 3
        data = b"".join(found)
        assert len(data) <= 243
        return bytes([len(data) + 2, len(data) + 1, 6]) + data


def spec(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "file_record",
        "resolution": "1s",
        "file": 4,
        "records": 30,
        "record": {
            "time": {
                "at": 0,
                "type": "uint32",
                "format": "unix_s",
                "fraction": {"at": 2, "unit": "ms"},
            },
            "columns_at": 3,
            "column_type": "float32",
        },
        "logs": [{"id": "file", "columns": ["level"]}],
    }
    return a_device(windback | said, {"level": {"address": 0, "type": "float32"}})


@given(
    made=st.integers(0, 90),
    places=st.integers(2, 30),
    first=st.integers(0, 3),
    by_record=st.booleans(),
    named=st.booleans(),
    begin=st.integers(1, 100),
)
def test_whatever_a_file_holds_comes_out_once(
    made: int, places: int, first: int, by_record: bool, named: bool, begin: int
) -> None:
    device = Files().build(places, first, by_record)
    device.put(500, 0)
    for at in range(made):
        device.make(NOW_NS - (made - at) * SECOND)
    said: dict[str, Any] = {"records": places, "first_record": first, "unit_is_record": by_record}
    if named:
        said["newest"] = {"address": 500}
    wanted = LogWanted("file", NOW_NS - begin * SECOND, NOW_NS)
    pages = read_log(spec(**said), device, wanted)
    assert joined(pages, wanted)
    expected = range(max(made - begin, made - places, 0), made)
    assert [value for *_, value in rows(pages)] == [float(n) for n in expected]
    assert pages[-1].through_ns == wanted.to_ns
    if not made:
        assert [why for *_, why in lacking(pages)] == [EMPTY]
    elif begin > len(expected):
        assert lacking(pages) == [(wanted.from_ns, NOW_NS - len(expected) * SECOND, OVERWRITTEN)]
    else:
        assert not lacking(pages)


def test_a_file_that_is_written_while_it_is_read() -> None:
    device = Files().build(30)
    for at in range(40):
        device.make(NOW_NS - (40 - at) * SECOND)
    made = 40

    def advance(_: Device, op: object) -> None:
        nonlocal made
        if len(device.seen) == 25:
            for _ in range(8):
                device.make(NOW_NS + (made - 40) * SECOND)
                made += 1

    device.rules.append(advance)
    wanted = LogWanted("file", NOW_NS - 30 * SECOND, NOW_NS)
    pages = read_log(spec(), device, wanted)
    assert joined(pages, wanted)
    got = [value for *_, value in rows(pages)]
    assert got == sorted(set(got))
    assert got[-1] == 39.0
    assert {why for *_, why in lacking(pages)} <= {OVERWRITTEN}
    for _, time_ns, value in rows(pages):
        assert time_ns == NOW_NS - (40 - int(value)) * SECOND


@pytest.mark.parametrize("look", [1, 2])
def test_a_record_made_during_a_look_is_not_taken_for_the_oldest(look: int) -> None:
    device = Files().build(2_000)
    for at in range(40):
        device.make(NOW_NS - (40 - at) * SECOND)
    looks = 0

    def advance(_: Device, op: object) -> None:
        nonlocal looks
        if isinstance(op, Read):
            looks += 1
        elif looks == look:
            looks += 10
            device.make(NOW_NS)

    device.rules.append(advance)
    wanted = LogWanted("file", NOW_NS - 30 * SECOND, NOW_NS)
    pages = read_log(spec(records=2_000, newest={"address": 500}), device, wanted)
    assert joined(pages, wanted)
    assert [value for *_, value in rows(pages)] == [float(n) for n in range(10, 40)]
    assert not lacking(pages)
    assert looks >= 10
    assert len(device.seen) < 40


@pytest.mark.parametrize("made", [2, 7, 30, 31, 37, 60, 61])
@pytest.mark.parametrize("named", [True, False])
def test_a_newest_record_that_is_half_written_does_not_hide_the_older_ones(
    made: int, named: bool
) -> None:
    device = Files().build(30)
    for at in range(made):
        device.make(NOW_NS - (made - at) * SECOND)
    device.places[(made - 1) % 30] = None
    said = {"newest": {"address": 500}} if named else {}
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    pages = read_log(spec(**said), device, wanted)
    assert joined(pages, wanted)
    assert [value for *_, value in rows(pages)] == [
        float(n) for n in range(max(0, made - 20), made - 1)
    ]


@pytest.mark.parametrize("named", [True, False])
def test_two_newest_records_that_cannot_be_read_make_a_file_empty(named: bool) -> None:
    device = Files().build(10)
    device.make(NOW_NS - SECOND)
    device.make(NOW_NS)
    device.places[:2] = [None, None]
    said = {"newest": {"address": 500}} if named else {}
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    pages = read_log(spec(**said), device, wanted)
    assert joined(pages, wanted)
    assert (rows(pages), lacking(pages)) == ([], [(*wanted[1:3], EMPTY)])


def refusing(first: int, last: int = 10**6, until_ns: int = 2 * NOW_NS) -> Any:
    """Refuse requests for records, the first of them being number 1: a PLC in download."""
    count = 0

    def rule(device: Device, op: Op) -> int | None:
        nonlocal count
        count += isinstance(op, Call)
        refuses = first <= count <= last and device.now_ns < until_ns
        return 2 if refuses and isinstance(op, Call) else None

    return rule


def file_with(made: int, places: int = 30, by_record: bool = False) -> Files:
    device = Files().build(places, by_record=by_record)
    for at in range(made):
        device.make(NOW_NS - (made - at) * SECOND)
    return device


@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_is_refused_during_a_download_is_not_lost(named: bool) -> None:
    said = {"newest": {"address": 500}} if named else {}
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    whole = file_with(28)
    read_log(spec(**said, unit_is_record=False), whole, wanted)
    fact, requests = whole.facts[-1], sum(isinstance(op, Call) for op in whole.seen)
    for begins in range(1, requests + 1):
        device = file_with(28)
        device.facts.append(fact)
        device.rules.append(refusing(begins, until_ns=NOW_NS + 300 * SECOND))
        pages = read_patiently(spec(**said), device, wanted)
        assert [value for *_, value in rows(pages)] == [float(n) for n in range(8, 28)], begins
        assert not lacking(pages)


def test_a_download_that_passes_between_two_looks_loses_nothing() -> None:
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    whole = file_with(28, by_record=True)
    by_record = spec(unit_is_record=True, newest={"address": 500})
    read_log(by_record, whole, wanted)
    fact, requests = whole.facts[-1], sum(isinstance(op, Call) for op in whole.seen)
    for begins in range(1, requests + 1):
        device = file_with(28, by_record=True)
        device.facts.append(fact)
        device.rules.append(refusing(begins, begins + 2))
        pages = read_patiently(by_record, device, wanted)
        assert [value for *_, value in rows(pages)] == [float(n) for n in range(8, 28)], begins
        assert not lacking(pages)


def test_a_file_that_refuses_now_and_then_is_not_asked_for_ever() -> None:
    device, before = file_with(28, by_record=True), -1

    def whim(_: Device, op: Op) -> int | None:
        nonlocal before
        if not isinstance(op, Call):
            return None
        after, before = before, struct.unpack(">BBHHH", op.payload)[3]
        return 2 if (after, before) == (14, 15) else None

    device.rules.append(whim)
    by_record = spec(unit_is_record=True)
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    with pytest.raises(LogUnavailable, match="records were refused for a while"):
        read_patiently(by_record, device, wanted, tries=9)
    began_ns = device.now_ns
    pages = read_patiently(by_record, device, wanted)
    assert [lack[2] for lack in lacking(pages)] == [OVERWRITTEN]
    assert len(rows(pages)) == 19
    assert 600 * SECOND <= device.now_ns - began_ns < 720 * SECOND


def test_a_file_that_stays_empty_was_cleared() -> None:
    device = file_with(28)
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    read_log(spec(), device, wanted)
    device.places = [None] * 30
    began_ns = device.now_ns
    with pytest.raises(LogUnavailable, match="seems to be empty, though it had records") as caught:
        read_patiently(spec(), device, wanted, tries=9)
    assert caught.value.retry_after_ns is None
    pages = read_patiently(spec(), device, wanted)
    assert lacking(pages) == [(wanted.from_ns, wanted.to_ns, CLEARED)]
    assert device.now_ns - began_ns > 600 * SECOND


def test_a_register_that_names_a_record_is_believed_more_than_a_refusal() -> None:
    device = file_with(28)
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    device.rules.append(refusing(1))
    with pytest.raises(LogUnavailable, match="seems to be empty, though it had records"):
        read_log(spec(newest={"address": 500}), device, wanted)
    assert [why for *_, why in lacking(read_log(spec(), device, wanted))] == [EMPTY]


@pytest.mark.parametrize("said", [30, 40, 65535])
def test_a_newest_record_beyond_the_file_is_told(said: int) -> None:
    device = file_with(28)
    device.put(500, said)
    wanted = LogWanted("file", NOW_NS - 20 * SECOND, NOW_NS)
    with pytest.raises(LogUnavailable, match=f"record {said}, the file is said to have 30") as told:
        read_log(spec(newest={"address": 500}), device, wanted)
    assert told.value.retry_after_ns is None
    assert "`newest:`" in told.value.remedy


def test_a_log_of_its_own_lies_files_further() -> None:
    device = Files().build(10)
    device.make(NOW_NS - SECOND)
    logs = [{"id": "file", "columns": ["level"], "shift": {"file": 1}, "depth_records": 10}]
    wanted = LogWanted("file", NOW_NS - SECOND, NOW_NS)
    assert len(rows(read_log(spec(file=3, logs=logs), device, wanted))) == 1


def test_replies_that_do_not_fit_say_so() -> None:
    device = Files().build(10)
    wanted = LogWanted("file", NOW_NS - SECOND, NOW_NS)
    device.calls = lambda call: b"\x04\x03\x06\x00\x00"
    with pytest.raises(LogUnavailable, match="2 bytes of records where 10 were asked"):
        read_log(spec(), device, wanted)
    device.calls = lambda call: 4
    with pytest.raises(LogUnavailable, match="record 0 of file 4 was refused: exception 4"):
        read_log(spec(), device, wanted)
    with pytest.raises(LogUnavailable, match="newest record was refused: exception 2") as caught:
        read_log(spec(newest={"address": 1}), device, wanted)
    assert "`newest:`" in caught.value.remedy
    device.rules.append(lambda _, op: 6 if isinstance(op, Read) else None)
    with pytest.raises(LogUnavailable, match="newest record was refused: exception 6"):
        read_log(spec(newest={"address": 500}), device, wanted)
    device.rules.clear()
    columns = [{"point": "level", "at": 121}]
    with pytest.raises(LogUnavailable, match="does not fit in a reply"):
        read_log(spec(logs=[{"id": "file", "columns": columns}]), device, wanted)
