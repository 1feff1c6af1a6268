"""A log behind a pointer that can be set, from a meter whose reads move it on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND, Device, a_device, joined, lacking, read_log, rows

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.ops import Op, Read, Write
from drivers.modbus.log.paging import CLEARED, OVERWRITTEN, TORN
from gateway.driver import DeviceSpec, LogWanted
from gateway.errors import LogUnavailable, ReplyTimeout

UNREAD, NEXT, OLDEST, NEWEST, POINTER, DATA = 100, 101, 102, 103, 104, 200
WORDS = 8


class Meter(Device):
    """Status, sequence, seconds, milliseconds, and a whole number of 32 bits."""

    def build(self, capacity: int, modulo: int = 65536) -> Meter:
        self.capacity, self.modulo = capacity, modulo
        self.records: dict[int, tuple[int, int]] = {}
        self.at = 0
        self.before_read = self.show
        self.written = self.set
        self.mark()
        return self

    def make(self, seq: int, time_ns: int, status: int = 0) -> None:
        self.records[seq] = (time_ns, status)
        for old in sorted(self.records)[: -self.capacity]:
            del self.records[old]
        self.mark()

    def mark(self) -> None:
        newest = max(self.records, default=-1)
        oldest = min(self.records, default=0)
        self.put(UNREAD, len(self.records), (newest + 1) % self.modulo)
        self.put(OLDEST, oldest % self.modulo, newest % self.modulo, self.at % self.modulo)

    def set(self, write: Write) -> int | None:
        (number,) = write.words
        assert write.address == POINTER
        found = [seq for seq in self.records if seq % self.modulo == number]
        if not found:
            return 3
        self.at = found[0]
        return None

    def show(self, op: Read) -> None:
        """The window from the pointer on; reading it moves the pointer."""
        if op.address != DATA:
            return
        assert op.size % WORDS == 0
        for at in range(0, op.size, WORDS):
            self.put(DATA + at, *self.words_of(self.at))
            self.at += 1

    def words_of(self, seq: int) -> tuple[int, ...]:
        if seq not in self.records:
            return (0x0100, *[0] * (WORDS - 1))
        time_ns, status = self.records[seq]
        stamp = struct.pack(">IHHi", time_ns // SECOND, time_ns % SECOND // 1_000_000, 0, seq)
        last = 1 if seq == max(self.records) else 0
        return (status | last, seq % self.modulo, *struct.unpack(">6H", stamp))


def meter_with(count: int, capacity: int = 100, start: int = 0) -> Meter:
    """A record a second, the last one second ago."""
    meter = Meter().build(capacity)
    for at in range(count):
        meter.make(start + at, NOW_NS - (count - at) * SECOND)
    return meter


def spec(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "pointer",
        "next": {"address": NEXT},
        "oldest": {"address": OLDEST},
        "pointer": {"address": POINTER},
        "modulo": 65536,
        "data": {"address": DATA},
        "data_words": WORDS,
        "resolution": "1s",
        "record": {
            "quality": {"at": 0},
            "bad_bits": 0x8700,
            "last_bits": 1,
            "key": {"at": 1},
            "time": {
                "at": 2,
                "type": "uint32",
                "format": "unix_s",
                "fraction": {"at": 4, "unit": "ms"},
            },
            "columns_at": 6,
            "column_type": "int32",
        },
        "logs": [{"id": "data", "columns": ["energy"]}],
    }
    return a_device(windback | said, {"energy": {"address": 9, "type": "int32"}})


def last(seconds: int, until: int = 0) -> LogWanted:
    return LogWanted("data", NOW_NS - seconds * SECOND, NOW_NS - until * SECOND)


def values(pages: Any) -> list[int]:
    return [value for *_, value in rows(pages)]


def on_window(number: int, act: Callable[[], Any]) -> Callable[[Device, Op], Any]:
    count = 0

    def rule(device: Device, op: Op) -> Any:
        nonlocal count
        if isinstance(op, Read) and op.address == DATA:
            count += 1
            if count == number:
                return act()
        return None

    return rule


@given(
    count=st.integers(0, 150),
    start=st.one_of(st.integers(0, 200), st.integers(65536 - 160, 65536 + 20)),
    begin=st.integers(1, 120),
    windows=st.integers(1, 4),
    names=st.sampled_from(["next", "newest"]),
)
def test_whatever_a_meter_holds_comes_out_once(
    count: int, start: int, begin: int, windows: int, names: str
) -> None:
    meter = meter_with(count, 100, start)
    said: dict[str, Any] = {"data_words": windows * WORDS}
    if names == "newest":
        said |= {"next": None, "newest": {"address": NEWEST}}
    wanted = last(begin)
    pages = read_log(spec(**said), meter, wanted)
    held = range(max(0, count - 100), count)
    assert values(pages) == [start + n for n in held if count - n <= begin]
    assert joined(pages, wanted)
    if not count:
        assert [why for *_, why in lacking(pages)] == [EMPTY]
    elif len(held) < begin:
        first_ns = NOW_NS - len(held) * SECOND
        assert lacking(pages) == [(wanted.from_ns, first_ns, OVERWRITTEN)]
    else:
        assert not lacking(pages)
    if values(pages):
        window = (meter.records and min(meter.records)) or 0
        assert pages[0].first_record == values(pages)[0] - window + window % 65536


def test_a_sequence_that_starts_again_is_unwrapped() -> None:
    meter = meter_with(20, start=65530)
    pages = read_log(spec(), meter, last(10))
    assert values(pages) == list(range(65540, 65550))
    assert (pages[0].first_record, pages[-1].next_record) == (65540, 65550)
    writes = [op.words[0] for op in meter.seen if isinstance(op, Write)]
    assert max(writes) < 65536
    again = last(10)._replace(next_record=pages[-1].next_record)
    meter.make(65550, NOW_NS)
    later = again._replace(from_ns=NOW_NS, to_ns=NOW_NS + SECOND)
    assert values(read_log(spec(), meter, later)) == [65550]


def test_next_is_zero_in_an_empty_log_and_before_the_numbers_start_again() -> None:
    meter = meter_with(20, start=65536 - 20)
    assert meter.words[NEXT] == 0
    assert len(values(read_log(spec(), meter, last(10)))) == 10
    meter.records.clear()
    meter.mark()
    meter.put(OLDEST, 500)
    pages = read_log(spec(), meter, last(10))
    assert [why for *_, why in lacking(pages)] == [EMPTY]


def test_numbers_that_never_start_again() -> None:
    pages = read_log(spec(modulo=None), meter_with(20, start=1), last(5))
    assert values(pages) == [16, 17, 18, 19, 20]
    pages = read_log(spec(modulo=None), Meter().build(9), last(5))
    assert [why for *_, why in lacking(pages)] == [EMPTY]


def test_a_number_that_the_pointer_cannot_hold_is_not_there() -> None:
    meter = meter_with(3, start=65530)
    meter.put(300, 1, 0)
    pages = read_log(
        spec(modulo=None, newest={"address": 300, "type": "uint32"}, next=None), meter, last(5)
    )
    assert all(why in (OVERWRITTEN, TORN) for *_, why in lacking(pages))


def test_an_answer_that_was_lost_moved_the_pointer_and_it_is_set_again() -> None:
    meter = meter_with(50)

    def lose() -> ReplyTimeout:
        meter.at += 1
        return ReplyTimeout("no answer")

    meter.rules.append(on_window(12, lose))
    pages = read_log(spec(), meter, last(30))
    assert values(pages) == list(range(20, 50))
    assert all(op.once for op in meter.reads() if op.address == DATA)
    meter.rules = [on_window(12, lose), on_window(12, lose)]
    with pytest.raises(ReplyTimeout):
        read_log(spec(), meter, last(30))
    still = spec(advances=False)
    meter.rules.clear()
    read_log(still, meter, last(3))
    assert not meter.reads()[-1].once


def test_another_master_that_moves_the_pointer_is_noticed() -> None:
    meter = meter_with(50)

    def meddle() -> None:
        meter.at = 3

    meter.rules.append(on_window(15, meddle))
    assert values(read_log(spec(), meter, last(30))) == list(range(20, 50))
    meter.rules = [on_window(n, meddle) for n in range(35, 200)]
    pages = read_log(spec(), meter, last(30))
    got = values(pages)
    assert 5 < len(got) < 30
    assert got == list(range(20, 20 + len(got))), "the rest is asked for later"
    assert not lacking(pages)


def test_a_record_that_the_meter_calls_bad_is_lacking() -> None:
    meter = meter_with(50)
    meter.make(30, NOW_NS - 20 * SECOND, status=0x0400)
    pages = read_log(spec(), meter, last(30))
    assert lacking(pages) == [(NOW_NS - 20 * SECOND, NOW_NS - 19 * SECOND, TORN)]
    assert values(pages) == [n for n in range(20, 50) if n != 30]


def test_a_log_that_overruns_its_reader() -> None:
    meter = meter_with(100)

    def overrun() -> None:
        for at in range(40):
            meter.make(100 + at, NOW_NS + at * SECOND)

    meter.rules.append(on_window(20, overrun))
    wanted = last(100)
    pages = read_log(spec(), meter, wanted)
    assert joined(pages, wanted)
    ((begin, end, why),) = lacking(pages)
    assert (end, why) == (NOW_NS - 60 * SECOND, OVERWRITTEN)
    assert set(values(pages)) >= set(range(40, 100))
    assert begin == NOW_NS - (100 - len([v for v in values(pages) if v < 40])) * SECOND


def test_a_log_that_was_cleared_in_the_middle() -> None:
    meter = meter_with(60)

    def clear() -> None:
        meter.records.clear()
        meter.make(0, NOW_NS - SECOND)

    meter.rules.append(on_window(20, clear))
    wanted = last(40)
    pages = read_log(spec(), meter, wanted)
    assert joined(pages, wanted)
    assert CLEARED in {why for *_, why in lacking(pages)}
    assert values(pages)[-1] == 0


def test_refusals_are_told() -> None:
    meter = meter_with(10)
    meter.rules = [lambda device, op: 2]
    with pytest.raises(LogUnavailable, match="the log's status was refused: exception 2"):
        read_log(spec(), meter, last(5))
    meter.rules = [lambda device, op: 6 if isinstance(op, Write) else None]
    with pytest.raises(LogUnavailable, match="record 0 was refused: exception 6"):
        read_log(spec(), meter, last(5))
    meter.rules = [on_window(3, lambda: 4)]
    with pytest.raises(LogUnavailable, match="was refused: exception 4"):
        read_log(spec(), meter, last(5))
    meter.rules = [lambda device, op: 3 if isinstance(op, Read) and op.address == DATA else None]
    assert not rows(read_log(spec(), meter, last(5)))


def test_a_section_that_cannot_be_read_says_why() -> None:
    with pytest.raises(LogUnavailable, match="nothing says which records") as caught:
        read_log(spec(oldest=None), meter_with(10), last(5))
    assert "oldest" in caught.value.remedy
    with pytest.raises(LogUnavailable, match="8 words does not fit in a window of 7"):
        read_log(spec(data_words=7), meter_with(10), last(5))


def test_records_without_a_number_are_read_one_by_one() -> None:
    section = spec().settings.windback or {}
    record = {key: said for key, said in section["record"].items() if key != "key"}
    meter = meter_with(100)

    def overrun() -> None:
        for at in range(30):
            meter.make(100 + at, NOW_NS + at * SECOND)

    meter.rules.append(on_window(40, overrun))
    wanted = last(100)
    pages = read_log(spec(record=record, data_words=4 * WORDS), meter, wanted)
    assert joined(pages, wanted)
    assert {op.size for op in meter.reads() if op.address == DATA} == {WORDS}
    got = values(pages)
    assert got[-70:] == list(range(30, 100))
    before = len(got) - 70
    assert got[:before] == list(range(before))
    assert lacking(pages) == [(NOW_NS - (100 - before) * SECOND, NOW_NS - 70 * SECOND, OVERWRITTEN)]
