"""A log that is engaged, read through a window and given back, from a meter that plays tricks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
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
    a_job,
    drive,
    give_up,
    joined,
    lacking,
    read_known,
    read_log,
    rows,
)

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.methods import FACT, Logs
from drivers.modbus.log.ops import Answer, Op, Read, Refusal, Release, Wait, Write
from drivers.modbus.log.paging import CLEARED, OVERWRITTEN, RECONFIGURED, TORN
from gateway.driver import DeviceSpec, LogPage, LogWanted
from gateway.errors import LinkError, LogUnavailable, ReplyTimeout
from profiles.schema import Limits

SESSION, CONTROL, WINDOW, STATUS, PORT, SETTINGS = 500, 600, 601, 400, 450, 700
OWNER = STATUS + 5
OWN, OTHER = 3, 1
WORDS = 6
ROOM = 20
"""Words of a window: three records."""
MINUTE = 60 * SECOND
POWER, FLOW = 0x3F9, 0x401


class Meter(Device):
    """Records of a stamp, a float that is the record's number, and a register nobody asked for."""

    def build(self, capacity: int, filler: bool = True) -> Meter:
        self.capacity, self.filler = capacity, filler
        self.records: list[tuple[int, int]] = []
        self.made, self.rolled, self.owner = 0, False, 0
        self.latched: list[int | None] = []
        self.index = self.wide = self.repeat = self.not_ready = 0
        self.before_read, self.written = self.show, self.write
        self.put(PORT, OWN)
        self.put(SESSION, 0)
        self.settle(POWER, POWER + 1, 0x9999)
        self.put(CONTROL, *[0] * (ROOM + 1))
        self.mark()
        return self

    def settle(self, *registers: int, interval: int = 1) -> None:
        self.put(SETTINGS, len(registers) << 8, interval, *registers, *[0] * (8 - len(registers)))

    def make(self, time_ns: int) -> None:
        self.made += 1
        self.records.append((self.made, time_ns))
        self.rolled = self.rolled or len(self.records) > self.capacity
        self.records = self.records[-self.capacity :]
        self.mark()

    def clear(self) -> None:
        self.records, self.rolled = [], False
        self.mark()

    @property
    def held(self) -> list[int | None]:
        """What there is, oldest first; None is the filler."""
        front: list[int | None] = [None] if self.filler and not self.rolled else []
        return front + [number for number, _ in self.records]

    def mark(self) -> None:
        self.long(STATUS, self.capacity + self.filler)
        self.long(STATUS + 2, len(self.held))
        self.put(STATUS + 4, 2 * WORDS, self.owner)

    def write(self, write: Write) -> int | None:
        if write.address == SESSION:
            log, action = divmod(write.words[0], 256)
            assert (log, action) in ((2, 0x80), (2, 0))
            self.owner = OWN if action else 0
            self.latched = self.held
        elif write.address == CONTROL:
            self.wide, self.repeat = divmod(write.words[0], 256)
            self.index = write.words[1] << 16 | write.words[2]
        self.mark()
        return None

    def carry_out(self, op: Op) -> Answer | Refusal | None:
        if isinstance(op, Release):
            for write in op.writes:
                self.write(write)
        return super().carry_out(op)

    def show(self, op: Read) -> None:
        self.mark()
        if op.address != WINDOW:
            return
        assert op.size == ROOM, "only a read of the last word moves it on"
        if self.not_ready or self.owner != OWN:
            self.not_ready = max(0, self.not_ready - 1)
            self.put(WINDOW, 0xFF00, 0, *[0xFFFF] * (ROOM - 2))
            return
        words: list[int] = []
        for at in range(self.index, self.index + self.wide):
            words += self.words_of(self.latched[at] if at < len(self.latched) else -1)
        words += [0xFFFF] * (ROOM - 2 - len(words))
        self.put(WINDOW, self.index >> 16, self.index, *words)
        self.index += self.wide * self.repeat

    def words_of(self, number: int | None) -> list[int]:
        times = dict(self.records)
        if number is None:
            return [*stamp(NOW_NS - 10**6 * SECOND), *[0xFFFF] * 3]
        if number not in times:
            return [0xFFFF] * WORDS
        value = struct.unpack(">2H", struct.pack(">f", float(number)))
        return [*stamp(times[number]), *value, 77]


def stamp(ns: int) -> tuple[int, ...]:
    at = datetime.fromtimestamp(ns // SECOND, UTC)
    # The high bits are flags.
    packed = bytes([at.year - 2000 | 0x80, at.month, at.day, at.hour | 0x40, at.minute, at.second])
    return struct.unpack(">3H", packed)


def meter_with(count: int, capacity: int = 100, filler: bool = True) -> Meter:
    """A record a minute, the last one minute ago."""
    meter = Meter().build(capacity, filler)
    for at in range(count):
        meter.make(NOW_NS - (count - at) * MINUTE)
    return meter


POINTS = {
    "power": {"address": POWER, "type": "float32"},
    "flow": {"address": FLOW, "type": "float32"},
    "half": {"address": POWER + 1, "type": "float32"},
}


def spec(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "window_session",
        "session": {"address": SESSION},
        "engage": 0x80,
        "disengage": 0,
        "owner": {"address": OWNER},
        "disabled": 0xFFFF,
        "own_port": {"address": PORT},
        "unlock_after": "5m",
        "control": {"address": CONTROL},
        "window": {"address": WINDOW},
        "window_words": ROOM,
        "filler": True,
        "status": {
            "capacity": {"address": STATUS, "type": "uint32"},
            "used": {"address": STATUS + 2, "type": "uint32"},
            "record_bytes": {"address": STATUS + 4},
        },
        "settings": {
            "address": SETTINGS,
            "words": 10,
            "count_in": "high_byte",
            "interval_at": 1,
            "intervals": {1: "1m", 4: "5m"},
            "identifiers_at": 2,
        },
        "record": {"time": {"at": 0, "format": "bytes_ymdhms"}, "columns_at": 3},
        "logs": [{"id": "historical", "select": 2}],
    }
    return a_device({**windback, **said}, POINTS)


def last(minutes: int, until: int = 0) -> LogWanted:
    return LogWanted("historical", NOW_NS - minutes * MINUTE, NOW_NS - until * MINUTE)


def values(pages: list[LogPage]) -> list[float]:
    return [value for *_, value in rows(pages)]


def on_window(number: int, act: Callable[[], Any]) -> Callable[[Device, Op], Any]:
    count = 0

    def rule(device: Device, op: Op) -> Any:
        nonlocal count
        if isinstance(op, Read) and op.address == WINDOW:
            count += 1
            if count == number:
                return act()
        return None

    return rule


def releases(meter: Meter) -> list[Write]:
    """What was given back, in a Release, which alone goes out on every way out."""
    return [write for op in meter.seen if isinstance(op, Release) for write in op.writes]


GIVEN_BACK = [Write(SESSION, (0x0200,))]


def fact_of(meter: Meter) -> dict[str, Any]:
    return meter.facts[-1]


# ------------------------------------------------------------------------------------ what it holds


@given(
    count=st.integers(0, 150),
    begin=st.integers(1, 120),
    filler=st.booleans(),
    repeat=st.integers(0, 1),
)
def test_whatever_a_meter_holds_comes_out_once(
    count: int, begin: int, filler: bool, repeat: int
) -> None:
    meter = meter_with(count, 100, filler)
    wanted = last(begin)
    pages = read_known(spec(filler=filler, repeat=repeat), meter, wanted)
    held = range(max(1, count - 99), count + 1)
    assert values(pages) == [float(n) for n in held if count - n < begin]
    assert joined(pages, wanted)
    if not count:
        assert [why for *_, why in lacking(pages)] == [EMPTY]
    elif len(held) < begin:
        first_ns = NOW_NS - len(held) * MINUTE
        assert lacking(pages) == [(wanted.from_ns, first_ns, OVERWRITTEN)]
    else:
        assert not lacking(pages)
    assert releases(meter) == GIVEN_BACK


def test_a_window_that_moves_on_by_itself_is_not_set_again() -> None:
    meter = meter_with(90)
    pages = read_known(spec(), meter, last(60, 1))
    assert len(values(pages)) == 59
    windows = [op for op in meter.reads() if op.address == WINDOW]
    sets = [op for op in meter.seen if isinstance(op, Write) and op.address == CONTROL]
    assert len(windows) > 30
    assert len(sets) < len(windows) - 15
    assert all(op.once for op in windows)
    assert {op.words[0] for op in sets} <= {0x0101, 0x0201, 0x0301}, "the last window is smaller"
    (page,) = pages
    assert (page.first_record, page.next_record, page.records) == (31, 90, 59)
    assert page.resolution_ns == MINUTE


# -------------------------------------------------------------------------------- what it records


def test_what_it_records_is_learned_first_and_never_again() -> None:
    meter = meter_with(30)
    (log,) = Logs(spec()).specs({})
    assert log.points == ("power", "flow", "half"), "it may be any: none is declared lost"
    assert (log.stateful, log.resolution_ns) == (True, None)
    with pytest.raises(LogUnavailable, match="was just found out") as caught:
        read_log(spec(), meter, last(5))
    assert caught.value.retry_after_ns == 0
    assert not any(isinstance(op, Write) for op in meter.seen), "nothing was locked for that"
    assert meter.facts == [{"points": ["power"], "resolution_ns": MINUTE}]
    (log,) = Logs(spec()).specs({("plc", FACT + "historical"): fact_of(meter)})
    assert (log.points, log.resolution_ns) == (("power",), MINUTE)
    assert len(values(read_log(spec(), meter, last(5), fact_of(meter)))) == 5
    assert fact_of(meter) == {
        "points": ["power"],
        "resolution_ns": MINUTE,
        "meaning": [1, POWER, POWER + 1, 0x9999, WORDS],
        "depth_records": 101,
    }
    known = len(meter.facts)
    read_log(spec(), meter, last(5), fact_of(meter))
    assert len(meter.facts) == known, "a takeover discovers nothing"


def test_columns_lie_where_their_registers_are_listed() -> None:
    meter = meter_with(30)
    meter.settle(0x9999, POWER, POWER + 1)
    meter.words_of = lambda number: [  # type: ignore[method-assign]
        *stamp(dict(meter.records).get(number or 0, NOW_NS)),
        77,
        *struct.unpack(">2H", struct.pack(">f", 2.5)),
    ]
    assert values(read_known(spec(filler=False), meter, last(3))) == [2.5, 2.5, 2.5]


def test_columns_that_a_site_names_need_no_discovery() -> None:
    meter = meter_with(30)
    log = {"id": "historical", "select": 2, "columns": ["flow"]}
    assert values(read_log(spec(logs=[log]), meter, last(3))) == [28.0, 29.0, 30.0]
    alone = spec(logs=[log], settings=None, resolution="1m")
    assert values(read_log(alone, meter, last(3))) == [28.0, 29.0, 30.0]


def test_a_log_of_other_registers_is_told() -> None:
    meter = meter_with(30)
    meter.settle(0x9999)
    with pytest.raises(LogUnavailable, match="no point of the device is in the log"):
        read_log(spec(), meter, last(3))


def test_a_log_that_was_set_up_anew_between_two_reads() -> None:
    meter = meter_with(30)
    read_known(spec(), meter, last(5))
    meter.settle(FLOW, FLOW + 1, 0x9999, interval=4)
    with pytest.raises(LogUnavailable, match="was just found out"):
        read_log(spec(), meter, last(5), fact_of(meter))
    assert fact_of(meter)["points"] == ["flow"]
    wanted = last(5, -5)
    pages = read_log(spec(), meter, wanted, fact_of(meter))
    ((begin, end, why),) = lacking(pages)
    assert (begin, why) == (wanted.from_ns, RECONFIGURED)
    assert NOW_NS <= end < NOW_NS + MINUTE
    assert not rows(pages)
    assert releases(meter)[-1:] == GIVEN_BACK


def test_a_log_that_is_set_up_anew_while_it_is_read() -> None:
    meter = meter_with(90)
    meter.rules.append(on_window(20, lambda: meter.settle(FLOW, FLOW + 1, 0x9999)))
    wanted = last(80)
    pages = read_known(spec(), meter, wanted)
    assert joined(pages, wanted)
    assert lacking(pages)[-1][1:] == (wanted.to_ns, RECONFIGURED)
    assert fact_of(meter)["since_ns"] > NOW_NS
    assert releases(meter) == GIVEN_BACK


# ----------------------------------------------------------------------------------------- the lock


@pytest.mark.parametrize(
    ("owner", "text", "after_ns"),
    [
        (OTHER, "engaged by port 1", 300 * SECOND),
        (OWN, "engaged by the own port", 300 * SECOND),
        (0xFFFF, "switched off", None),
    ],
)
def test_a_log_that_is_not_free_is_left_alone(owner: int, text: str, after_ns: int | None) -> None:
    meter = meter_with(30)
    meter.owner = owner
    with pytest.raises(LogUnavailable, match=text) as caught:
        read_known(spec(), meter, last(5))
    assert caught.value.retry_after_ns == after_ns
    assert not any(isinstance(op, Write | Release) for op in meter.seen)


def test_a_lock_of_a_main_that_died_ends_by_itself() -> None:
    meter = meter_with(30)
    meter.owner = OWN
    with pytest.raises(LogUnavailable) as caught:
        read_known(spec(unlock_after=None), meter, last(5))
    assert caught.value.retry_after_ns is not None
    meter.now_ns += caught.value.retry_after_ns
    meter.owner = 0
    assert len(values(read_log(spec(), meter, last(5), fact_of(meter)))) == 5


def test_engaging_that_fails() -> None:
    meter = meter_with(30)

    def on_engage(wrong: Any) -> Any:
        return lambda _, op: wrong if isinstance(op, Write) and op.address == SESSION else None

    meter.rules = [on_engage(4)]
    with pytest.raises(LogUnavailable, match="engaging the log was refused: exception 4"):
        read_known(spec(), meter, last(5))
    assert not releases(meter)
    meter.rules = [on_engage(ReplyTimeout("no answer"))]
    with pytest.raises(ReplyTimeout):
        read_log(spec(), meter, last(5), fact_of(meter))
    assert releases(meter) == GIVEN_BACK, "perhaps it was engaged"


def test_another_port_that_was_faster() -> None:
    meter = meter_with(30)

    def faster(device: Device, op: Op) -> None:
        if isinstance(op, Read) and meter.owner == OWN:
            meter.owner = OTHER

    meter.rules = [faster]
    with pytest.raises(LogUnavailable, match="engaged by port 1"):
        read_known(spec(), meter, last(5))
    assert not releases(meter)


def test_a_device_that_tells_no_port_is_trusted() -> None:
    meter = meter_with(30)
    assert len(values(read_known(spec(own_port=None), meter, last(5)))) == 5
    assert len(values(read_log(spec(owner=None), meter, last(5), fact_of(meter)))) == 5
    assert releases(meter) == GIVEN_BACK * 2


@pytest.mark.parametrize("taken", [OTHER, 0, 0xFFFF])
def test_a_lock_that_is_lost_in_the_middle(taken: int) -> None:
    meter = meter_with(90)

    def lose() -> None:
        meter.owner = taken

    pages: list[LogPage] = []
    wanted = last(80)
    read_known(spec(), meter, last(1))
    meter.rules.append(on_window(20, lose))
    logs, job = a_job(spec(), wanted, fact_of(meter))
    meter.seen.clear()
    with pytest.raises(LogUnavailable, match="engaged" if taken == OTHER else "not engaged") as e:
        pages += drive(logs.read(job), meter)
    assert e.value.retry_after_ns == (300 if taken == OTHER else 5) * SECOND
    assert not releases(meter), "it is not ours any more"
    meter.owner, meter.rules = 0, []
    assert len(values(read_log(spec(), meter, wanted, fact_of(meter)))) == 80


@pytest.mark.parametrize("end", ["given up", "silence", "done"])
def test_a_lock_is_given_back_on_every_way_out(end: str) -> None:
    meter = meter_with(90)
    read_known(spec(), meter, last(1))
    meter.seen.clear()
    logs, job = a_job(spec(), last(80), fact_of(meter))
    reading = logs.read(job)
    if end == "given up":
        told = None
        for _ in range(30):
            told = meter.carry_out(reading.send(told))  # type: ignore[arg-type]
        give_up(reading, meter)
    elif end == "silence":
        meter.rules.append(lambda d, op: LinkError("reset") if len(meter.seen) > 30 else None)
        with pytest.raises(LinkError):
            drive(reading, meter)
    else:
        drive(reading, meter)
    assert releases(meter) == GIVEN_BACK


# --------------------------------------------------------------------------------------- the window


def test_an_answer_that_was_lost_moved_the_window_and_it_is_set_again() -> None:
    meter = meter_with(90)

    def lose() -> ReplyTimeout:
        meter.index += meter.wide
        return ReplyTimeout("no answer")

    meter.rules.append(on_window(25, lose))
    assert values(read_known(spec(), meter, last(60))) == [float(n) for n in range(31, 91)]
    meter.rules = [on_window(25, lose), on_window(25, lose), on_window(25, lose)]
    with pytest.raises(ReplyTimeout):
        read_log(spec(), meter, last(60), fact_of(meter))
    assert releases(meter) == GIVEN_BACK * 2


def test_a_window_at_another_index_is_set_again_and_not_for_ever() -> None:
    meter = meter_with(90)

    def wander() -> None:
        meter.index += 1

    meter.rules.append(on_window(25, wander))
    assert values(read_known(spec(), meter, last(60))) == [float(n) for n in range(31, 91)]
    meter.rules = [on_window(at, wander) for at in range(25, 200)]
    with pytest.raises(LogUnavailable, match="does not go to index"):
        read_log(spec(), meter, last(60), fact_of(meter))
    assert releases(meter) == GIVEN_BACK * 2


def test_a_window_that_is_not_ready_is_waited_for() -> None:
    meter = meter_with(90)

    def later() -> None:
        meter.not_ready = 5

    meter.rules += [on_window(25, later), on_window(30, lambda: 6)]
    assert values(read_known(spec(), meter, last(60))) == [float(n) for n in range(31, 91)]
    assert sum(isinstance(op, Wait) for op in meter.seen) == 6

    def never() -> None:
        meter.not_ready = 1000

    meter.rules = [on_window(25, never)]
    with pytest.raises(LogUnavailable, match="the window is not ready: state 0xff"):
        read_log(spec(), meter, last(60), fact_of(meter))
    assert releases(meter) == GIVEN_BACK * 2


# ---------------------------------------------------------------------------------- what changes


def test_a_log_that_overruns_its_reader() -> None:
    meter = meter_with(120)

    def overrun() -> None:
        for at in range(30):
            meter.make(NOW_NS + at * MINUTE)

    meter.rules.append(on_window(16, overrun))
    wanted = last(100)
    pages = read_known(spec(), meter, wanted)
    assert joined(pages, wanted)
    ((begin, end, why),) = lacking(pages)
    assert (end, why) == (NOW_NS - 70 * MINUTE, OVERWRITTEN)
    got = values(pages)
    assert got[-70:] == [float(n) for n in range(51, 121)]
    assert begin == NOW_NS - (100 - (len(got) - 70)) * MINUTE


def test_a_log_that_grows_while_it_is_read() -> None:
    meter = meter_with(60)
    meter.rules.append(on_window(20, lambda: meter.make(NOW_NS)))
    pages = read_known(spec(), meter, last(50, -1))
    assert values(pages) == [float(n) for n in range(11, 61)], "the new one is in the next session"
    assert pages[-1].through_ns == NOW_NS


@pytest.mark.parametrize("after", [0, 2])
def test_a_log_that_is_cleared_while_it_is_read(after: int) -> None:
    meter = meter_with(90)

    def clear() -> None:
        meter.clear()
        for at in range(after):
            meter.make(NOW_NS - (after - at) * MINUTE)

    meter.rules.append(on_window(25, clear))
    wanted = last(60)
    pages = read_known(spec(), meter, wanted)
    assert joined(pages, wanted)
    assert lacking(pages)[-1][2] == CLEARED
    assert values(pages)[len(values(pages)) - after :] == [float(91 + n) for n in range(after)]
    assert releases(meter) == GIVEN_BACK


def test_a_damaged_record_is_lacking() -> None:
    meter = meter_with(60)
    good = meter.words_of

    def words_of(number: int | None) -> list[int]:
        return [0, 0, 0, 1, 2, 3] if number == 50 else good(number)

    meter.words_of = words_of  # type: ignore[method-assign]
    pages = read_known(spec(), meter, last(30))
    assert lacking(pages) == [(NOW_NS - 11 * MINUTE, NOW_NS - 10 * MINUTE, TORN)]


# ------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (SETTINGS, "the log's settings"),
        (PORT, "the number of the own port"),
        (STATUS, "the log's status"),
        (WINDOW, "the window"),
        (CONTROL, "index 0 of the window"),
    ],
)
def test_refusals_are_told(address: int, text: str) -> None:
    meter = meter_with(30)
    read_known(spec(), meter, last(1))
    fact = fact_of(meter)
    meter.rules = [
        lambda _, op: 2 if isinstance(op, Read | Write) and op.address == address else None
    ]
    with pytest.raises(LogUnavailable, match=f"{text} was refused: exception 2"):
        read_log(spec(), meter, last(5), fact)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"logs": [{"id": "historical"}]}, "has no `select:`"),
        ({"status": {}}, "nothing says how many records"),
        ({"window_words": 125}, "125 words, one request brings 100"),
        ({"window_words": 5}, "6 words does not fit in a window of 3"),
        (
            {"logs": [{"id": "historical", "select": 2, "columns": ["power", "flow"]}]},
            "its columns need 7 words",
        ),
    ],
)
def test_a_section_that_cannot_be_read_says_why(said: dict[str, Any], text: str) -> None:
    meter = meter_with(30)
    device = spec(**said)
    _, job = a_job(device, last(5), {"points": ["power"], "resolution_ns": MINUTE})
    job = replace(job, limits=Limits(max_read_words=100))
    with pytest.raises(LogUnavailable, match=text):
        drive(Logs(device).read(job), meter)
