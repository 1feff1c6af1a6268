"""Recorders whose records are selected by number: those that tell what they have, and others."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND, Device, a_device, joined, lacking, read_log, rows

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.ops import Op, Read, Wait, Write
from drivers.modbus.log.paging import CLEARED, OVERWRITTEN, RECONFIGURED, TORN
from gateway.driver import DeviceSpec, LogWanted
from gateway.errors import InvalidReply, LogUnavailable, ReplyTimeout
from profiles.schema import Profile

FLOATS = {"flow": {"address": 0, "type": "float32"}, "level": {"address": 2, "type": "float32"}}


def floats(*values: float) -> tuple[int, ...]:
    return struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values))


PROFILE = {
    "profile": "a/b",
    "version": 1,
    "vendor": "a",
    "models": ["b"],
    "status": "manual",
    "source": "a manual of ours",
}


class Recorder(Device):
    """Tells oldest, newest and configuration, and shows a block of records from the chosen one."""

    def build(self, oldest: int, newest: int) -> Recorder:
        self.oldest, self.newest, self.config = oldest, newest, 7
        self.columns = 2
        self.forgets_to_move = 0
        self.put(3000, *[0] * 125)
        self.written = self.on_write
        self.before_read = lambda op: self.show_status()
        self.put(1925, 0, 0, 0, 0)
        return self

    def time_of(self, number: int) -> int:
        return NOW_NS - (self.newest_made - number) * 10 * SECOND

    newest_made = 399

    def show_status(self) -> None:
        self.put(3003, self.columns, self.config)
        self.long(3007, self.oldest)
        self.long(3009, self.newest)
        self.long(1925, self.now_ns // SECOND)
        self.long(1927, self.now_ns % SECOND // 1000)

    def on_write(self, write: Write) -> int | None:
        if write.address == 3000 and write.words[0] != 1:
            return 2
        if write.address == 3000 and len(write.words) == 1:
            return None
        number = write.words[-2] << 16 | write.words[-1]
        if not self.oldest <= number <= self.newest:
            return 3
        if self.forgets_to_move:
            self.forgets_to_move -= 1
            return None
        self.show(number)
        return None

    def show(self, number: int) -> None:
        there = min(self.newest - number + 1, 11)
        self.put(3006, there)
        for at in range(there):
            time_ns = self.time_of(number + at)
            self.long(3011 + 10 * at, number + at)
            self.long(3013 + 10 * at, time_ns // SECOND)
            self.long(3015 + 10 * at, time_ns % SECOND // 1000)
            self.put(3017 + 10 * at, *floats(float(number + at), -1.5))


def ion(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "record_select",
        "resolution": "10s",
        "select": {"log": {"address": "43001"}, "start": {"address": "43002", "type": "uint32"}},
        "status": {
            "columns": {"address": "43004"},
            "config_id": {"address": "43005"},
            "available": {"address": "43007"},
            "oldest": {"address": "43008", "type": "uint32"},
            "newest": {"address": "43010", "type": "uint32"},
        },
        "data": {"address": "43012"},
        "data_words": 114,
        "header_words": 6,
        "record": {
            "key": {"at": 0, "type": "uint32"},
            "time": {
                "at": 2,
                "type": "uint32",
                "format": "unix_s",
                "fraction": {"at": 4, "type": "uint32", "unit": "us"},
            },
            "columns_at": 6,
            "column_type": "float32",
        },
        "logs": [{"id": "recorder1", "select": 1, "columns": ["flow", "level"]}],
    }
    return a_device(windback | said, FLOATS)


def since(seconds: int, until: int = 0) -> LogWanted:
    return LogWanted("recorder1", NOW_NS - seconds * SECOND, NOW_NS - until * SECOND)


def test_a_block_brings_several_records() -> None:
    device = Recorder().build(100, 399)
    wanted = since(1000, 500)
    pages = read_log(ion(), device, wanted)
    assert joined(pages, wanted)
    assert [value for point, _, value in rows(pages) if point == 0] == [
        float(n) for n in range(299, 349)
    ]
    assert {value for point, _, value in rows(pages) if point == 1} == {-1.5}
    assert not lacking(pages)
    assert pages[0].oldest_ns == device.time_of(100)
    selections = [op for op in device.seen if isinstance(op, Write) and len(op.words) == 3]
    # Two ends, the search, and a block for each 11 records.
    assert len(selections) < 2 + 9 + 6
    assert device.facts == [{"meaning": [7, 2], "depth_records": None}]


def test_what_it_no_longer_has_is_lacking() -> None:
    device = Recorder().build(350, 399)
    pages = read_log(ion(), device, since(1000, 100))
    assert lacking(pages) == [(NOW_NS - 1000 * SECOND, device.time_of(350), OVERWRITTEN)]
    assert read_log(ion(), Recorder().build(1, 0), since(10))[0].lacking[0].why == EMPTY


def test_records_that_go_while_others_are_read_are_answered_with_an_exception() -> None:
    device = Recorder().build(100, 399)

    def advance(_: Device, op: Op) -> None:
        if len(device.seen) > 12:
            device.oldest = max(device.oldest, 320)

    device.rules.append(advance)
    pages = read_log(ion(), device, since(2900))
    assert joined(pages, since(2900))
    assert {why for *_, why in lacking(pages)} == {OVERWRITTEN}
    assert [value for point, _, value in rows(pages) if point == 0][-79:] == [
        float(n) for n in range(320, 399)
    ]


def test_a_window_that_did_not_move_is_noticed_by_its_number() -> None:
    device = Recorder().build(100, 399)
    device.show(100)
    device.forgets_to_move = 2
    pages = read_log(ion(), device, since(500, 400))
    assert [value for point, _, value in rows(pages) if point == 0] == [
        float(n) for n in range(349, 359)
    ]
    device.show(100)
    device.forgets_to_move = 10_000
    pages = read_log(ion(), device, since(500, 400))
    assert rows(pages) == []
    assert {why for *_, why in lacking(pages)} <= {TORN, OVERWRITTEN}


@pytest.mark.parametrize("error", [ReplyTimeout("no answer"), InvalidReply("nonsense")])
def test_a_selection_that_was_not_answered_is_made_once_more(error: Exception) -> None:
    device = Recorder().build(100, 399)
    once: list[Any] = [error]

    def fail(_: Device, op: Op) -> Any:
        return once.pop() if once and isinstance(op, Write) and len(op.words) == 3 else None

    device.rules.append(fail)
    assert len(rows(read_log(ion(), device, since(500, 400)))) == 20
    device.rules[:] = [lambda _, op: ReplyTimeout("no") if isinstance(op, Write) else None]
    with pytest.raises(ReplyTimeout):
        read_log(ion(), device, since(500, 400))


def test_a_busy_device_is_given_time() -> None:
    device = Recorder().build(100, 399)
    busy = 0

    def often(_: Device, op: Op) -> int | None:
        nonlocal busy
        if isinstance(op, Wait):
            return None
        busy += 1
        return 6 if busy % 3 else None

    device.rules.append(often)
    assert len(rows(read_log(ion(), device, since(500, 400)))) == 20
    assert any(isinstance(op, Wait) for op in device.seen)
    device.rules[:] = [lambda _, op: None if isinstance(op, Wait) else 6]
    with pytest.raises(LogUnavailable, match="exception 6") as caught:
        read_log(ion(), device, since(500, 400))
    assert caught.value.retry_after_ns < 60 * SECOND


@pytest.mark.parametrize(
    ("words", "at", "code", "tells"),
    [
        (1, 3000, 2, "log 1 was refused: exception 2"),
        (3, 3000, 4, "record 100 was refused: exception 4"),
        (0, 3003, 2, "the log's status was refused"),
        (0, 3011, 4, "record 100 was refused"),
    ],
)
def test_a_refusal_says_what_was_refused(words: int, at: int, code: int, tells: str) -> None:
    device = Recorder().build(100, 399)

    def refuse(_: Device, op: Op) -> int | None:
        written = len(op.words) if isinstance(op, Write) else 0
        meant = isinstance(op, Read | Write) and (op.address, written) == (at, words)
        return code if meant else None

    device.rules.append(refuse)
    with pytest.raises(LogUnavailable, match=tells):
        read_log(ion(), device, since(500, 400))


def test_another_configuration_makes_its_columns_doubtful() -> None:
    device = Recorder().build(100, 399)
    device.config = 8
    fact = {"meaning": [7, 2], "depth_records": None}
    ((_, until_ns, why),) = lacking(read_log(ion(), device, since(500), fact))
    assert (why, until_ns) == (RECONFIGURED, NOW_NS)
    assert device.facts[0]["since_ns"] > NOW_NS

    def changed(_: Device, op: Op) -> None:
        if isinstance(op, Read) and op.address == 3011 and len(device.seen) > 9:
            device.config = 9

    device.rules.append(changed)
    assert {why for *_, why in lacking(read_log(ion(), device, since(2000)))} == {RECONFIGURED}


def test_a_recorder_that_was_reset_lacks_what_it_had() -> None:
    device = Recorder().build(100, 399)

    def reset(_: Device, op: Op) -> None:
        if isinstance(op, Read) and op.address == 3011 and len(device.seen) > 30:
            device.oldest, device.newest, device.newest_made = 1, 3, 4

    device.rules.append(reset)
    pages = read_log(ion(), device, since(2000))
    assert {why for *_, why in lacking(pages)} == {CLEARED}
    assert [value for point, _, value in rows(pages) if point == 0] == [1.0, 2.0, 3.0]
    with pytest.raises(LogUnavailable, match="recorder has 3 columns"):
        device.columns = 3
        read_log(ion(), device, since(2000))
    with pytest.raises(LogUnavailable, match="has no `select:`"):
        read_log(ion(logs=[{"id": "recorder1", "columns": ["flow"]}]), device, since(9))
    with pytest.raises(LogUnavailable, match="`select:` 70000 is no uint16"):
        read_log(
            ion(logs=[{"id": "recorder1", "select": 70000, "columns": ["flow"]}]), device, since(9)
        )
    with pytest.raises(LogUnavailable, match="is outside 0"):
        profile = Profile.model_validate(PROFILE | {"defaults": {"address_base": 1}})
        data = {"data": {"address": 0}}
        further = {name: said | {"address": 5} for name, said in FLOATS.items()}
        spec = a_device(ion(**data).settings.windback, further, profile)
        read_log(spec, device, since(9))
    with pytest.raises(LogUnavailable, match="does not fit in a block of 8"):
        device.columns = 2
        read_log(ion(data_words=8), device, since(9))


# ------------------------------------------------------------------------------- found by asking


class Finder(Device):
    """Shows one record; refuses the numbers that it hasn't, and tells no other way."""

    def build(self, oldest: int, newest: int, pointer: int = 0) -> Finder:
        self.oldest, self.newest = oldest, newest
        self.put(20000, *[0] * 38)
        self.long(20000, pointer)
        self.written = self.on_write
        return self

    def time_of(self, number: int) -> int:
        return NOW_NS - (1_000_000 - number) * 10 * SECOND

    def on_write(self, write: Write) -> int | None:
        number = write.words[0] << 16 | write.words[1]
        if not self.oldest <= number <= self.newest:
            return 3
        seconds = self.time_of(number) // SECOND
        self.long(20002, seconds)
        self.put(20004, *floats(float(number)))
        return None


def cet(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "record_select",
        "resolution": "10s",
        "select": {"start": {"address": 20000, "type": "uint32"}},
        "data": {"address": 20002},
        "data_words": 36,
        "record": {
            "words": 36,
            "time": {"at": 0, "type": "uint32", "format": "unix_s"},
            "columns_at": 2,
            "column_type": "float32",
        },
        "logs": [{"id": "recorder1", "columns": ["flow"]}],
    }
    return a_device(windback | said, FLOATS)


@given(
    oldest=st.integers(1, 2000),
    count=st.integers(1, 400),
    pointer=st.sampled_from([0, 5, 100, 3000]),
    landmark=st.one_of(st.none(), st.integers(1, 2500)),
    depth=st.sampled_from([None, 400]),
)
def test_the_ends_are_found_by_asking(
    oldest: int, count: int, pointer: int, landmark: int | None, depth: int | None
) -> None:
    # Without a word on its depth, a log that has lost records holds 256 at least.
    count = count if depth or oldest == 1 else max(count, 256)
    count = 400 if depth and oldest > 1 else count
    newest = oldest + count - 1
    device = Finder().build(oldest, newest, pointer)
    fact: Mapping[str, Any] | None = None if landmark is None else {"landmark": landmark}
    last = device.time_of(newest)
    wanted = LogWanted("recorder1", device.time_of(max(oldest, newest - 5)), last + SECOND)
    pages = read_log(cet(depth_records=depth), device, wanted, fact)
    assert joined(pages, wanted)
    expected = range(max(oldest, newest - 5), newest + 1)
    assert [value for *_, value in rows(pages)] == [float(n) for n in expected]
    assert pages[0].oldest_ns == device.time_of(oldest)
    assert pages[0].newest_ns == last
    (learned,) = device.facts or [dict(fact or {})]
    assert 0 <= newest - learned["landmark"] < 100


def test_a_log_without_any_record_that_can_be_found_is_not_judged() -> None:
    device = Finder().build(1, 0)
    wanted = LogWanted("recorder1", NOW_NS - SECOND, NOW_NS)
    with pytest.raises(LogUnavailable, match="no record was found"):
        read_log(cet(), device, wanted)


def test_a_log_that_was_cleared_and_counts_on_is_found_again() -> None:
    device = Finder().build(5000, 5020)
    fact = {"meaning": [], "depth_records": None, "landmark": 4990}
    wanted = LogWanted("recorder1", device.time_of(5000), device.time_of(5021))
    pages = read_log(cet(), device, wanted, fact)
    assert sum(page.records for page in pages) == 21


def test_a_log_that_goes_on_and_forgets_while_it_is_read() -> None:
    device = Finder().build(1000, 1399)

    def advance(_: Device, op: Op) -> None:
        if len(device.seen) % 20 == 0:
            device.oldest, device.newest = device.oldest + 1, device.newest + 1

    device.rules.append(advance)
    wanted = LogWanted("recorder1", device.time_of(1000), device.time_of(1300))
    pages = read_log(cet(), device, wanted)
    assert joined(pages, wanted)
    assert pages[-1].through_ns == wanted.to_ns
    got = [value for *_, value in rows(pages)]
    assert got == sorted(set(got))
    assert got[-1] == 1299.0
    held = sum(to - begin for begin, to, _ in lacking(pages)) // (10 * SECOND)
    assert len(got) + held == 300


def test_a_record_without_a_number_is_counted_by_what_is_available() -> None:
    device = Finder().build(1, 5)
    device.put(20060, 0)
    status = {"available": {"address": 20060}}
    wanted = LogWanted("recorder1", device.time_of(1), device.time_of(6))
    pages = read_log(cet(status=status), device, wanted)
    assert rows(pages) == []
    device.put(20060, 1)
    pages = read_log(cet(status=status), device, wanted)
    assert [value for *_, value in rows(pages)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    device.rules.append(lambda _, op: 2 if isinstance(op, Read) and op.address == 20060 else None)
    with pytest.raises(LogUnavailable, match="status"):
        read_log(cet(status=status), device, wanted)


def test_a_block_that_is_not_there_is_an_answer() -> None:
    device = Finder().build(1, 5)
    device.rules.append(lambda _, op: 3 if isinstance(op, Read) and op.address == 20002 else None)
    wanted = LogWanted("recorder1", device.time_of(1), device.time_of(6))
    assert rows(read_log(cet(), device, wanted)) == []


def test_a_log_chosen_apart_from_its_record_is_chosen_first() -> None:
    device = Finder().build(1, 5)
    select = {"log": {"address": 19000}, "start": {"address": 20000, "type": "uint32"}}
    logs = [{"id": "recorder1", "columns": ["flow"], "select": 3}]
    chosen: list[int] = []

    def write(op: Write) -> int | None:
        if op.address == 19000:
            chosen.append(op.words[0])
            return None
        return device.on_write(op)

    device.written = write
    wanted = LogWanted("recorder1", device.time_of(1), device.time_of(6))
    assert len(rows(read_log(cet(select=select, logs=logs), device, wanted))) == 5
    assert set(chosen) == {3}


def test_a_search_ends_at_what_a_register_can_name() -> None:
    device = Finder().build(65_000, 65_535, pointer=0)
    device.written = lambda op: None if 65_000 <= op.words[0] <= 65_535 else 3
    device.put(20000, 65_100)
    device.long(20002, NOW_NS // SECOND)
    select = {"start": {"address": 20000}}
    wanted = LogWanted("recorder1", NOW_NS - SECOND, NOW_NS + SECOND)
    pages = read_log(cet(select=select, resolution=None), device, wanted)
    assert sum(page.records for page in pages) == 536
