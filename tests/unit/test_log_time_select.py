"""A log that is asked by time, from a meter that plays tricks; its selection is one for all."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import (
    NOW_NS,
    SECOND,
    Device,
    a_device,
    a_job,
    drive,
    joined,
    lacking,
    read_log,
    rows,
)

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import Op, Read, Wait, Write
from drivers.modbus.log.paging import CLEARED, NOT_RECORDED, OVERWRITTEN, TORN
from drivers.modbus.log.time_select import TWICE
from gateway.driver import DeviceSpec, LogPage, LogWanted
from gateway.errors import DeviceError, LinkError, LogUnavailable, ReplyTimeout
from profiles.records import Clock
from profiles.schema import Limits

NEXT, CHANNEL, MOMENT, DIRECTION, DATA = 100, 103, 104, 107, 120
WORDS, MANY = 6, 4
MINUTE = 60 * SECOND
PRAGUE = "Europe/Prague"
CHANGE = 1_792_890_000 * SECOND
"""When summer time ends there: the clock goes from 3 back to 2."""
CHOSEN, OTHER = 5, 6

Row = tuple[int, int]
"""Wall time in s, and the number that is the value."""


@dataclass
class Meter(Device):
    """Records of a stamp and a float that is the record's number."""

    def build(self, many: int = MANY, newest_first: bool = False, capacity: int = 10**6) -> Meter:
        self.many, self.newest_first, self.capacity = many, newest_first, capacity
        self.rows: list[Row] = []
        self.made = self.channel = 0
        self.forward = False
        self.cursor: int | None = None
        """The number of the record that the block begins with."""
        self.last_occurrence = False
        self.torn: set[int] = set()
        self.torn_reads = 10**6
        self.before_read, self.written = self.show, self.write
        self.put(CHANNEL, 0)
        return self

    def make(self, wall_ns: int) -> None:
        self.made += 1
        self.rows = [*self.rows, (wall_ns // SECOND, self.made)][-self.capacity :]

    def clear(self) -> None:
        self.rows = []

    def choose(self, wall_s: int) -> None:
        """The first record at or after; with stamps that come twice, either place."""
        stamps = [wall for wall, _ in self.rows]
        here = [at for at, wall in enumerate(stamps) if wall >= wall_s]
        rising = [at for at in here if at == 0 or stamps[at - 1] < wall_s]
        at = len(stamps) if not rising else rising[-1 if self.last_occurrence else 0]
        self.cursor = self.rows[at][1] if at < len(stamps) else self.made + 1

    def write(self, write: Write) -> int | None:
        if write.address == CHANNEL:
            self.channel, self.cursor = write.words[0], None
        elif write.address == DIRECTION:
            self.forward = write.words == (1,)
        elif write.address == MOMENT:
            packed = struct.pack(">3H", *write.words)
            year, *rest = packed
            at = datetime(2000 + year, *rest, tzinfo=UTC)  # type: ignore[arg-type]
            self.choose(round(at.timestamp()))
        elif write.address == NEXT:
            assert write.words == (1,)
            if self.cursor is None:
                return 3
            self.cursor += self.many if self.forward else -self.many
        return None

    def show(self, op: Read) -> None:
        if op.address == CHANNEL:
            self.put(CHANNEL, self.channel)
        if op.address != DATA:
            return
        shown: list[Row] = []
        if self.cursor is not None and self.channel in (0, CHOSEN):
            end = self.cursor + self.many
            shown = [row for row in self.rows if self.cursor <= row[1] < end]
        elif self.channel == OTHER:
            shown = [(NOW_NS // SECOND, 9999)] * self.many
        words: list[int] = []
        for row in reversed(shown) if self.newest_first else shown:
            words += self.words_of(row)
        self.put(DATA, *words, *[0xFFFF] * (self.many * WORDS - len(words)))

    def words_of(self, row: Row) -> tuple[int, ...]:
        wall_s, number = row
        at = datetime.fromtimestamp(wall_s, UTC)
        value = struct.unpack(">2H", struct.pack(">f", float(number)))
        packed = bytes([at.year - 2000, at.month, at.day, at.hour, at.minute, at.second])
        if number in self.torn and self.torn_reads > 0:
            self.torn_reads -= 1
            packed = bytes(6)
        return (*struct.unpack(">3H", packed), 0, *value)


def meter_with(count: int, ago: int = 0, zone: str = "utc", **build: Any) -> Meter:
    """Records of each minute, the last of them `ago` minutes before the end of the last minute."""
    meter = Meter().build(**build)
    for at in range(count):
        meter.make(NOW_NS - (count - at + ago) * MINUTE)
    return meter


def section(**said: Any) -> dict[str, Any]:
    return {
        "method": "time_select",
        "moment": {"address": MOMENT, "format": "packed_ymdhms"},
        "direction": {"address": DIRECTION},
        "next": {"address": NEXT},
        "data": {"address": DATA},
        "data_words": MANY * WORDS + 1,
        "resolution": "1m",
        "record": {
            "time": {"at": 0, "format": "packed_ymdhms"},
            "columns_at": 4,
            "words": WORDS,
        },
        "logs": [{"id": "profile", "select": CHOSEN, "columns": ["energy"]}],
        **said,
    }


def spec(**said: Any) -> DeviceSpec:
    known = {key: value for key, value in section(**said).items() if value is not None}
    return a_device(known, {"energy": {"address": 1, "type": "float32"}})


def last(minutes: int, to: int = 0) -> LogWanted:
    """The last minutes but the last `to`."""
    return LogWanted("profile", NOW_NS - minutes * MINUTE, NOW_NS - to * MINUTE)


def values(pages: list[LogPage]) -> list[float]:
    return [value for *_, value in rows(pages)]


def numbers(first: int, end: int) -> list[float]:
    return [float(number) for number in range(first, end)]


def nth(address: int, number: int, act: Callable[[], Any]) -> Callable[[Device, Op], Any]:
    """At the `number`th request for an address: what `act` gives, or its effect."""
    seen = 0

    def rule(device: Device, op: Op) -> Any:
        nonlocal seen
        if isinstance(op, Read | Write) and op.address == address:
            seen += 1
            if seen == number:
                return act()
        return None

    return rule


def writes(meter: Meter, address: int) -> list[Write]:
    return [op for op in meter.seen if isinstance(op, Write) and op.address == address]


# ------------------------------------------------------------------------------------ what it holds


@given(
    count=st.integers(0, 40),
    begin=st.integers(1, 50),
    end=st.integers(0, 30),
    many=st.integers(1, 6),
    newest_first=st.booleans(),
    moves_on=st.booleans(),
    resolution=st.sampled_from(["1m", None]),
)
def test_whatever_a_meter_holds_comes_out_once(
    count: int,
    begin: int,
    end: int,
    many: int,
    newest_first: bool,
    moves_on: bool,
    resolution: str | None,
) -> None:
    many = many if moves_on else many + 1
    meter = meter_with(count, many=many, newest_first=newest_first)
    said: dict[str, Any] = {"data_words": many * WORDS, "newest_first": newest_first}
    if not moves_on:
        said["next"] = None
    wanted = last(begin + end, end)
    pages = read_log(spec(**said, resolution=resolution), meter, wanted)
    assert joined(pages, wanted)
    there = [n for n in range(1, count + 1) if end < count - n + 1 <= begin + end]
    assert values(pages) == [float(n) for n in there]
    if not count:
        assert lacking(pages) == [(wanted.from_ns, wanted.to_ns, EMPTY)]
    elif count < begin + end:
        until_ns = min(NOW_NS - count * MINUTE, wanted.to_ns)
        assert lacking(pages) == [(wanted.from_ns, until_ns, OVERWRITTEN)]
    else:
        assert not lacking(pages)


def test_each_block_costs_two_requests() -> None:
    meter = meter_with(100)
    pages = read_log(spec(), meter, last(80, 20))
    assert values(pages) == numbers(21, 81)
    assert len(writes(meter, MOMENT)) == 1
    assert len(meter.seen) <= 3 + 2 * 16
    assert meter.seen[0] == Write(DIRECTION, (1,))
    assert meter.seen[1] == Write(MOMENT, (0x190C, 0x1F16, 0x263B)), "22:38:59"
    (page,) = pages
    assert (page.records, page.resolution_ns) == (60, MINUTE)


def test_a_meter_without_a_direction_only_goes_forward() -> None:
    meter = meter_with(30)
    meter.forward = True
    assert values(read_log(spec(direction=None), meter, last(20))) == numbers(11, 31)
    assert not writes(meter, DIRECTION)


def test_a_direction_has_the_number_that_means_forward() -> None:
    meter = meter_with(30)
    meter.rules.append(lambda d, op: setattr(meter, "forward", True))
    read_log(spec(forward=7), meter, last(20))
    assert {op.words for op in writes(meter, DIRECTION)} == {(7,)}


def test_records_of_one_second_are_told_apart_by_their_order() -> None:
    meter = Meter().build()
    for at in range(60):
        meter.make(NOW_NS - 60 * SECOND + at // 6 * SECOND)
    meter.rules = [nth(NEXT, at, lambda: ReplyTimeout("no answer")) for at in (2, 5, 6)]
    wanted = LogWanted("profile", NOW_NS - 59 * SECOND, NOW_NS)
    assert values(read_log(spec(resolution="1s"), meter, wanted)) == numbers(7, 61)


# ------------------------------------------------------------------------------------ the selection


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("many", [MANY, 1])
@pytest.mark.parametrize("at", [1, 3, 7])
def test_an_answer_that_was_lost_is_no_reason_to_ask_for_the_next_again(
    moved: bool, many: int, at: int
) -> None:
    meter = meter_with(60, many=many)

    def lose() -> ReplyTimeout:
        if moved and meter.cursor is not None:
            meter.cursor += many
        return ReplyTimeout("no answer")

    meter.rules.append(nth(NEXT, at, lose))
    pages = read_log(spec(data_words=many * WORDS), meter, last(40))
    assert values(pages) == numbers(21, 61)
    assert not lacking(pages)
    asked = [op for op in meter.seen if isinstance(op, Write)]
    first = [n for n, op in enumerate(asked) if op.address == NEXT][at - 1]
    assert [op.address for op in asked[first + 1 :][:2]] == [DIRECTION, MOMENT]


def test_a_block_whose_answer_was_lost_is_asked_for_by_its_moment() -> None:
    meter = meter_with(60)
    meter.rules.append(nth(DATA, 4, lambda: LinkError("reset")))
    assert values(read_log(spec(), meter, last(40))) == numbers(21, 61)
    assert len(writes(meter, MOMENT)) == 3, "at the beginning, then, and at the end"


@pytest.mark.parametrize("error", [ReplyTimeout("no answer"), 4, 6])
def test_a_meter_that_never_goes_on_is_left_alone(error: Any) -> None:
    meter = meter_with(60, many=1)
    meter.rules.append(
        lambda _, op: error if isinstance(op, Write) and op.address == NEXT else None
    )
    with pytest.raises(ReplyTimeout if isinstance(error, DeviceError) else LogUnavailable):
        read_log(spec(data_words=WORDS), meter, last(40))
    assert len(writes(meter, NEXT)) <= 5
    assert sum(isinstance(op, Wait) for op in meter.seen) == (4 if error == 6 else 0)


def test_a_meter_that_lost_its_power_has_lost_its_place() -> None:
    meter = meter_with(60)

    def restart() -> None:
        meter.cursor = None

    meter.rules = [nth(NEXT, 3, restart), nth(DATA, 6, restart)]
    pages = read_log(spec(), meter, last(40))
    assert values(pages) == numbers(21, 61)
    assert not lacking(pages)


@pytest.mark.parametrize("to", [1, 30, 59])
@pytest.mark.parametrize("at", [2, 5, 9])
def test_another_master_that_chooses_another_moment(to: int, at: int) -> None:
    meter = meter_with(60)

    def elsewhere() -> None:
        meter.cursor = to

    meter.rules.append(nth(DATA, at, elsewhere))
    wanted = last(40)
    pages = read_log(spec(), meter, wanted)
    assert values(pages) == numbers(21, 61)
    assert not lacking(pages)


@pytest.mark.parametrize("pause", [20, 2000])
def test_another_master_makes_nothing_lost(pause: int) -> None:
    asked_again = 0
    for at in range(1, 20):
        meter = Meter().build()
        before_ns = NOW_NS - (pause + 10) * MINUTE
        for number in range(100):
            meter.make(before_ns - (100 - number) * MINUTE)
        for number in range(10):
            meter.make(NOW_NS - (10 - number) * MINUTE)
        meter.rules.append(nth(DATA, at, lambda meter=meter: setattr(meter, "cursor", 103)))
        wanted = last(pause // 2 + 10)
        try:
            pages = read_log(spec(), meter, wanted)
        except LogUnavailable as error:
            assert error.retry_after_ns == 5 * SECOND
            asked_again += 1
            continue
        assert values(pages) == numbers(101, 111)
        assert {why for *_, why in lacking(pages)} == {NOT_RECORDED}
    assert asked_again == 1, "the last look for where to begin"


def test_an_oldest_record_that_is_never_the_same() -> None:
    meter = meter_with(60)
    meter.rules += [nth(DATA, at, lambda at=at: setattr(meter, "cursor", at)) for at in range(30)]
    with pytest.raises(LogUnavailable, match="do not follow one another"):
        read_log(spec(), meter, last(100))


@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.parametrize("at", [2, 3, 4])
def test_where_nobody_tells_the_interval_the_records_do(many: int, at: int) -> None:
    meter = meter_with(60, many=many)
    meter.rules.append(nth(DATA, at, lambda: setattr(meter, "cursor", 50)))
    device = spec(resolution=None, data_words=many * WORDS)
    assert values(read_log(device, meter, last(40))) == numbers(21, 61)


def test_a_meter_that_shows_a_block_twice() -> None:
    meter = meter_with(60)

    def stay() -> None:
        meter.cursor = (meter.cursor or 0) - MANY

    meter.rules.append(nth(DATA, 4, stay))
    assert values(read_log(spec(), meter, last(40))) == numbers(21, 61)


def test_another_master_that_never_stops() -> None:
    meter = meter_with(60)
    meter.rules += [nth(DATA, at, lambda: setattr(meter, "cursor", 1)) for at in range(3, 300)]
    with pytest.raises(LogUnavailable, match="do not follow one another") as caught:
        read_log(spec(), meter, last(40))
    assert caught.value.retry_after_ns == 5 * SECOND


@pytest.mark.parametrize("many", [MANY, 1])
def test_a_meter_that_does_not_move(many: int) -> None:
    meter = meter_with(60, many=many)
    move = meter.write
    meter.written = lambda write: None if write.address == NEXT else move(write)
    with pytest.raises(LogUnavailable, match="do not follow one another"):
        read_log(spec(data_words=many * WORDS), meter, last(40))
    assert len(meter.seen) < 50


# -------------------------------------------------------------------------------------- the channel


def test_a_channel_is_chosen_before_every_moment_and_held_against_each_block() -> None:
    meter = meter_with(60)
    device = spec(channel={"address": CHANNEL})

    def other() -> None:
        meter.channel = OTHER

    meter.rules = [nth(DATA, 3, other), nth(NEXT, 7, other)]
    pages = read_log(device, meter, last(40))
    assert values(pages) == numbers(21, 61)
    asked = [op.address for op in meter.seen if isinstance(op, Write)]
    for at, address in enumerate(asked):
        if address == MOMENT:
            assert asked[at - 2 : at] == [CHANNEL, DIRECTION]
    reads = [op.address for op in meter.reads()]
    assert reads[::2] == [DATA] * (len(reads) // 2)
    assert reads[1::2] == [CHANNEL] * (len(reads) // 2)


def test_a_channel_that_can_only_be_written_is_believed() -> None:
    meter = meter_with(60)
    meter.rules.append(lambda _, op: 2 if isinstance(op, Read) and op.address == CHANNEL else None)
    assert values(read_log(spec(channel={"address": CHANNEL}), meter, last(40))) == numbers(21, 61)
    assert sum(op.address == CHANNEL for op in meter.reads()) == 1


@pytest.mark.parametrize(("code", "text"), [(6, "the channel was refused"), (None, "again and")])
def test_a_channel_that_does_not_tell_what_it_is(code: int | None, text: str) -> None:
    meter = meter_with(60)

    def rule(device: Device, op: Op) -> int | None:
        if isinstance(op, Read) and op.address == CHANNEL:
            meter.channel = OTHER
            return code
        return None

    meter.rules.append(rule)
    with pytest.raises(LogUnavailable, match=text):
        read_log(spec(channel={"address": CHANNEL}), meter, last(40))


# -------------------------------------------------------------------------------- what is not there


@pytest.mark.parametrize("pause", [1, 3, 20, 2000, 200_000])
@pytest.mark.parametrize("many", [MANY, 1])
def test_a_pause_is_not_what_was_overwritten(pause: int, many: int) -> None:
    meter = Meter().build(many=many)
    before_ns = NOW_NS - (pause + 10) * MINUTE
    for at in range(100):
        meter.make(before_ns - (100 - at) * MINUTE)
    for at in range(10):
        meter.make(NOW_NS - (10 - at) * MINUTE)
    wanted = last(min(pause, 2000) + 15)
    pages = read_log(spec(data_words=many * WORDS), meter, wanted)
    assert joined(pages, wanted)
    assert values(pages)[-10:] == numbers(101, 111)
    if pause > 1:
        begin_ns = max(before_ns, wanted.from_ns)
        assert lacking(pages) == [(begin_ns, NOW_NS - 10 * MINUTE, NOT_RECORDED)]
    assert len(meter.seen) < 150


def test_a_log_that_ends_before_what_is_wanted() -> None:
    meter = meter_with(30, ago=60)
    assert read_log(spec(), meter, last(40)) == []


def test_a_log_that_is_cleared_between_two_looks() -> None:
    meter = meter_with(10)
    meter.rules.append(nth(DATA, 2, meter.clear))
    wanted = last(40)
    assert lacking(read_log(spec(), meter, wanted)) == [(wanted.from_ns, wanted.to_ns, EMPTY)]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("at", [3, 6])
def test_a_log_that_is_cleared_while_it_is_read(at: int, after: int) -> None:
    meter = meter_with(60, ago=after)

    def clear() -> None:
        meter.clear()
        for number in range(after):
            meter.make(NOW_NS - (after - number) * MINUTE)

    meter.rules.append(nth(DATA, at, clear))
    wanted = last(40 + after)
    pages = read_log(spec(), meter, wanted)
    assert joined(pages, wanted)
    got = values(pages)
    ((begin, end, why),) = lacking(pages)
    assert begin == wanted.from_ns + (len(got) - after) * MINUTE
    assert (end, why) == (NOW_NS - after * MINUTE, OVERWRITTEN if after else CLEARED)


def test_a_log_that_overruns_its_reader() -> None:
    meter = meter_with(60, capacity=60)

    def overrun() -> None:
        for at in range(40):
            meter.make(NOW_NS + at * MINUTE)

    meter.rules.append(nth(DATA, 3, overrun))
    wanted = last(55)
    pages = read_log(spec(), meter, wanted)
    assert values(pages) == [*numbers(6, 13), *numbers(41, 61)]
    assert lacking(pages) == [(NOW_NS - 48 * MINUTE, NOW_NS - 20 * MINUTE, OVERWRITTEN)]


@pytest.mark.parametrize("moves_on", [True, False])
def test_a_log_that_grows_while_it_is_read(moves_on: bool) -> None:
    meter = meter_with(30, ago=10)
    meter.rules += [
        nth(DATA, 4 + at, lambda at=at: meter.make(NOW_NS - (10 - at) * MINUTE)) for at in range(7)
    ]
    device = spec() if moves_on else spec(next=None)
    assert values(read_log(device, meter, last(30)))[:17] == numbers(11, 28)


@pytest.mark.parametrize("torn", [{50}, {33, 34}, {60}, {21, 22, 23, 24, 25, 26, 27, 28}])
@pytest.mark.parametrize("lost", [2, 4, None])
def test_a_torn_record_is_lacking(torn: set[int], lost: int | None) -> None:
    meter = meter_with(60)
    meter.torn = torn
    if lost is not None:
        meter.rules.append(nth(NEXT, lost, lambda: ReplyTimeout("no answer")))
    wanted = last(40)
    pages = read_log(spec(), meter, wanted)
    assert joined(pages, wanted)
    assert values(pages) == [float(n) for n in range(21, 61) if n not in torn]
    found = {why for *_, why in lacking(pages)}
    assert found == ({TORN} if max(torn) < 60 else set())


@pytest.mark.parametrize("torn", [{33}, {31, 32, 33, 34, 35, 36, 37, 38, 39}])
def test_without_a_next_block_torn_records_are_gone_past(torn: set[int]) -> None:
    meter = meter_with(60, many=2)
    meter.torn = torn
    wanted = last(40)
    pages = read_log(spec(next=None, data_words=2 * WORDS), meter, wanted)
    assert joined(pages, wanted)
    assert values(pages) == [float(n) for n in range(21, 61) if n not in torn]
    assert {why for *_, why in lacking(pages)} == {TORN}


def test_without_a_next_block_damaged_records_do_not_go_on_for_ever() -> None:
    meter = meter_with(60, many=2)
    meter.torn = {50, 51}
    meter.rules.append(
        lambda _, op: (
            setattr(meter, "cursor", 50)  # type: ignore[func-returns-value]
            if meter.cursor == 51 and isinstance(op, Read)
            else None
        )
    )
    meter.rows = [row for row in meter.rows if row[1] <= 51]
    meter.rows += [(NOW_NS // SECOND + 10**8, 51)]
    with pytest.raises(LogUnavailable, match="no more than the records of one moment"):
        read_log(spec(next=None, data_words=2 * WORDS), meter, last(40))


def test_a_record_that_was_just_being_written_is_read_once_more() -> None:
    meter = meter_with(60)
    meter.torn, meter.torn_reads = {60}, 1
    assert values(read_log(spec(), meter, last(40))) == numbers(21, 61)


def test_a_log_of_damaged_records_only() -> None:
    meter = meter_with(6)
    meter.torn = set(range(1, 7))
    pages = read_log(spec(), meter, last(5))
    assert not rows(pages)
    meter.rules.append(nth(NEXT, 1, lambda: ReplyTimeout("no answer")))
    with pytest.raises(ReplyTimeout):
        read_log(spec(), meter, last(5))


# ------------------------------------------------------------------------------------------- clocks


def local(utc_ns: int) -> int:
    """What a clock in Prague shows, in ns as if it were UTC."""
    shown = datetime.fromtimestamp(utc_ns // SECOND, ZoneInfo(PRAGUE)).replace(tzinfo=UTC)
    return round(shown.timestamp()) * SECOND


@given(
    begin=st.integers(-130, 130),
    length=st.integers(1, 130),
    first=st.integers(-400, 130),
    many=st.integers(1, 20),
    last_occurrence=st.booleans(),
    lost=st.sets(st.integers(1, 30), max_size=3),
)
def test_the_hour_that_comes_twice_is_read_once(
    begin: int, length: int, first: int, many: int, last_occurrence: bool, lost: set[int]
) -> None:
    meter = Meter().build(many=many)
    meter.last_occurrence = last_occurrence
    truth: dict[int, int] = {}
    for minute in range(first, 200):
        meter.make(local(CHANGE + minute * MINUTE))
        truth[meter.made] = CHANGE + minute * MINUTE
    meter.now_ns = CHANGE + 200 * MINUTE
    meter.rules = [nth(NEXT, at, lambda: ReplyTimeout("no answer")) for at in lost]
    start_ns = CHANGE + begin * MINUTE
    wanted = LogWanted("profile", start_ns, start_ns + length * MINUTE)
    device = spec(zone=PRAGUE, data_words=many * WORDS)
    try:
        pages = read_log(device, meter, wanted)
    except (ReplyTimeout, LogUnavailable):
        # Nothing leads back into a log that begins in the hour itself.
        assert many < 3 or -60 <= first < 60
        return
    assert joined(pages, wanted)
    got = [(time_ns, value) for _, time_ns, value in rows(pages)]
    expected = [(at, n) for n, at in truth.items() if wanted.from_ns <= at < wanted.to_ns]
    assert got == expected
    assert {why for *_, why in lacking(pages)} <= ({OVERWRITTEN} if begin < first else set())


def begun_in_the_hour() -> tuple[Meter, LogWanted]:
    """A log whose oldest record has a stamp that comes twice."""
    meter = Meter().build()
    for minute in range(-50, 100):
        meter.make(local(CHANGE + minute * MINUTE))
    meter.now_ns = CHANGE + 200 * MINUTE
    return meter, LogWanted("profile", CHANGE - 80 * MINUTE, CHANGE + 100 * MINUTE)


def test_a_log_that_begins_in_the_hour_that_comes_twice() -> None:
    meter, wanted = begun_in_the_hour()
    pages = read_log(spec(zone=PRAGUE), meter, wanted)
    assert rows(pages)[0] == (0, CHANGE - 50 * MINUTE, 1.0)
    assert values(pages) == numbers(1, 151)
    assert lacking(pages) == [(wanted.from_ns, CHANGE - 50 * MINUTE, OVERWRITTEN)]


@pytest.mark.parametrize("every", [1, 7])
def test_another_master_while_it_is_found_out_which_hour_it_is(every: int) -> None:
    meter, wanted = begun_in_the_hour()
    device = spec(zone=PRAGUE, channel={"address": CHANNEL})
    meter.rules.append(nth(NEXT, 3, lambda: setattr(meter, "channel", OTHER)))
    with pytest.raises(LogUnavailable, match="do not follow one another"):
        read_log(device, meter, wanted)
    meter.rules = [
        nth(DATA, at, lambda at=at: setattr(meter, "cursor", at)) for at in range(4, 200, every)
    ]
    with pytest.raises(LogUnavailable, match="do not follow one another"):
        read_log(device, meter, wanted)


@pytest.mark.parametrize("at", range(20, 32))
@pytest.mark.parametrize("trick", ["lost", "refused", "ahead", "behind", "an hour"])
def test_the_way_back_into_the_hour_that_comes_twice_may_be_disturbed(at: int, trick: str) -> None:
    meter = Meter().build()
    for minute in range(-200, 100):
        meter.make(local(CHANGE + minute * MINUTE))
    meter.now_ns = CHANGE + 200 * MINUTE

    def elsewhere() -> None:
        meter.cursor = {"ahead": 280, "an hour": 241}.get(trick, 3)

    answers: dict[str, Any] = {"lost": ReplyTimeout("no answer"), "refused": 4}
    if trick in answers:
        disturbed = nth(NEXT, at, lambda: answers[trick])
    else:
        disturbed = nth(DATA, at, elsewhere)
    meter.rules = [nth(NEXT, 19, lambda: ReplyTimeout("no answer")), disturbed]
    wanted = LogWanted("profile", CHANGE - 80 * MINUTE, CHANGE + 80 * MINUTE)
    pages = read_log(spec(zone=PRAGUE), meter, wanted)
    assert rows(pages) == [(0, CHANGE + n * MINUTE, n + 201.0) for n in range(-80, 80)]
    assert not lacking(pages)


@pytest.mark.parametrize("begin", [-90, -30, 10])
def test_without_a_next_block_the_hour_that_comes_twice_is_lacking(begin: int) -> None:
    meter = Meter().build()
    for minute in range(-200, 200):
        meter.make(local(CHANGE + minute * MINUTE))
    meter.now_ns = CHANGE + 200 * MINUTE
    wanted = LogWanted("profile", CHANGE + begin * MINUTE, CHANGE + 100 * MINUTE)
    pages = read_log(spec(zone=PRAGUE, next=None), meter, wanted)
    assert joined(pages, wanted)
    ((start_ns, end_ns, why),) = lacking(pages)
    assert (why, end_ns) == (TWICE, CHANGE + 60 * MINUTE)
    assert start_ns <= max(wanted.from_ns, CHANGE - 57 * MINUTE)
    for _, time_ns, value in rows(pages):
        assert value == (time_ns - CHANGE) // MINUTE + 201


def set_back(many: int = MANY, by: int = 30) -> Meter:
    """Right since record 61; what was before has stamps that are late by so many minutes."""
    meter = Meter().build(many=many)
    for at in range(120):
        meter.make(NOW_NS - (120 - at - (by if at < 60 else 0)) * MINUTE)
    return meter


@pytest.mark.parametrize("last_occurrence", [True, False])
@pytest.mark.parametrize("many", [1, 4, 5])
@pytest.mark.parametrize("begin", [100, 70, 45])
def test_a_clock_that_was_set_back(begin: int, many: int, last_occurrence: bool) -> None:
    meter = set_back(many)
    meter.last_occurrence = last_occurrence
    pages = read_log(spec(data_words=many * WORDS), meter, last(begin))
    assert rows(pages) == [(0, NOW_NS - (121 - n) * MINUTE, n) for n in range(121 - begin, 121)]
    assert not lacking(pages)
    stepped = begin > 60 or not last_occurrence
    assert [len(page.events) for page in pages] == [int(stepped)]


@pytest.mark.parametrize("at", [20, 21, 22])
def test_a_moment_that_comes_twice_leads_nowhere(at: int) -> None:
    meter = set_back(5)
    meter.rules.append(nth(NEXT, at, lambda: ReplyTimeout("no answer")))
    device, wanted = spec(data_words=5 * WORDS), last(90)
    with pytest.raises(ReplyTimeout):
        read_log(device, meter, wanted)
    assert len(values(read_log(device, meter, wanted))) == 90


def test_another_master_where_stamps_come_twice() -> None:
    meter = set_back(5)
    meter.rules.append(nth(NEXT, 21, lambda: setattr(meter, "cursor", 3)))
    with pytest.raises(LogUnavailable, match="do not follow one another"):
        read_log(spec(data_words=5 * WORDS), meter, last(90))


def test_a_log_that_ends_where_its_stamps_come_twice() -> None:
    meter = set_back()
    meter.rows = meter.rows[:75]
    meter.made = 75
    pages = read_log(spec(), meter, last(90))
    assert values(pages) == numbers(31, 76)
    meter.rows = meter.rows[:74]
    meter.made = 74
    assert values(read_log(spec(), meter, last(90))) == numbers(31, 75)


def test_without_a_next_block_stamps_that_come_twice_are_lacking() -> None:
    meter = set_back()
    pages = read_log(spec(next=None), meter, last(90))
    assert values(pages)[-30:] == numbers(91, 121)
    assert TWICE in {why for *_, why in lacking(pages)}


def test_a_clock_that_is_off_is_asked_by_what_it_shows() -> None:
    meter = meter_with(60)
    clock_words = iter(range(1000))

    def tell(op: Read) -> None:
        next(clock_words)
        if op.address == 900:
            seconds = (meter.now_ns + 30 * MINUTE) // SECOND
            meter.long(900, seconds)
        meter.show(op)

    meter.before_read = tell
    device = spec()
    _, job = a_job(device, last(50, 40))
    clock = Clock.model_validate({"read": {"address": 900, "type": "uint32", "format": "unix_s"}})
    pages = drive(Logs(device).read(replace(job, clock=clock, page_records=4)), meter)
    assert pages[0].clock is not None
    assert pages[0].clock.offset_ns // MINUTE == 29
    # What was stamped 20 to 10 minutes ago was made 50 to 40 ago.
    assert values(pages) == numbers(41, 51)


# ----------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (MOMENT, "the moment was refused: exception 2"),
        (DIRECTION, "direction 1 was refused: exception 2"),
        (CHANNEL, "channel 5 was refused: exception 2"),
        (DATA, "the block was refused: exception 2"),
        (NEXT, "next 1 was refused: exception 2"),
    ],
)
def test_refusals_are_told(address: int, text: str) -> None:
    meter = meter_with(30, many=1)
    meter.rules = [
        lambda _, op: 2 if isinstance(op, Read | Write) and op.address == address else None
    ]
    with pytest.raises(LogUnavailable, match=text):
        read_log(spec(data_words=WORDS, channel={"address": CHANNEL}), meter, last(10))


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"data_words": WORDS - 1}, "a block has 5 words, a record 6"),
        ({"data_words": 104}, "one request brings 100"),
        ({"next": None, "data_words": WORDS}, "nothing leads from one record to the next"),
        (
            {"channel": {"address": CHANNEL}, "logs": [{"id": "profile", "columns": ["energy"]}]},
            "has no `select:`",
        ),
        ({"forward": 70_000}, "`direction:` 70000 is no uint16"),
        ({"newest_first": True}, "in the other order"),
    ],
)
def test_a_section_that_cannot_be_read_says_why(said: dict[str, Any], text: str) -> None:
    device = spec(**said)
    _, job = a_job(device, last(5))
    job = replace(job, limits=Limits(max_read_words=100))
    with pytest.raises(LogUnavailable, match=text) as caught:
        drive(Logs(device).read(job), meter_with(30))
    assert caught.value.retry_after_ns is None


def test_a_time_that_has_no_words() -> None:
    far_ns = (datetime(2150, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400
    wanted = LogWanted("profile", far_ns * SECOND, (far_ns + 60) * SECOND)
    with pytest.raises(LogUnavailable, match="the year 2149 does not fit"):
        read_log(spec(), meter_with(3), wanted)


def test_a_block_of_one_moment_leads_nowhere_without_a_next() -> None:
    meter = Meter().build()
    for at in range(40):
        meter.make(NOW_NS - MINUTE + at // 10 * SECOND)
    device = spec(next=None, resolution="1s")
    with pytest.raises(LogUnavailable, match="no more than the records of one moment"):
        read_log(device, meter, LogWanted("profile", NOW_NS - MINUTE, NOW_NS))


def test_it_changes_the_device_so_only_one_node_reads_it() -> None:
    (log,) = Logs(spec()).specs({})
    assert (log.stateful, log.destructive, log.points) == (True, False, ("energy",))
