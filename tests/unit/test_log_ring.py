"""The ring in a PLC's memory, read from a dict of registers that changes while it is read."""

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
from drivers.modbus.log.paging import (
    CLEARED,
    NOT_RECORDED,
    OVERWRITTEN,
    RECONFIGURED,
    TORN,
    UNPLACED,
)
from gateway.driver import DeviceSpec, LogWanted
from gateway.errors import LogUnavailable, ReplyTimeout
from gateway.model import Status

BASE = 1000
WORDS = 9
FIRST = BASE + 12


class Plc(Device):
    """A program that keeps a ring of `capacity` records: a float that is the record's number."""

    def build(self, capacity: int, record_words: int = WORDS) -> Plc:
        self.capacity, self.record_words = capacity, record_words
        self.newest = self.oldest = self.held = 0
        self.clock_ahead_ns = 0
        self.put(BASE, 0x5742, 1, record_words, capacity, 0, 0, 0, 0, 0, 0, 0, 1)
        self.put(FIRST, *[0] * (capacity * record_words))
        self.before_read = lambda op: self.tick()
        return self

    def tick(self) -> None:
        device_ns = self.now_ns + self.clock_ahead_ns
        self.long(BASE + 8, device_ns // SECOND)
        self.put(BASE + 10, device_ns % SECOND // 1_000_000)

    def slot(self, seq: int) -> int:
        return FIRST + seq % 2**32 % self.capacity * self.record_words

    def make(self, time_ns: int, quality: int = 0, seq: int | None = None) -> None:
        """One more record, stamped by the PLC's own clock."""
        self.newest = seq if seq is not None else (self.newest + 1) % 2**32
        self.held = min(self.held + 1, self.capacity)
        self.oldest = (self.newest - self.held + 1) % 2**32
        at = self.slot(self.newest)
        stamp = time_ns + self.clock_ahead_ns
        self.long(at, self.newest)
        self.long(at + 2, stamp // SECOND)
        self.put(at + 4, stamp % SECOND // 1_000_000, quality)
        self.put(at + 6, *struct.unpack(">2H", struct.pack(">f", float(self.newest % 10_000))))
        self.put(at + self.record_words - 1, self.newest)
        self.long(BASE + 4, self.newest)
        self.long(BASE + 6, self.oldest)

    def clear(self) -> None:
        self.newest = self.oldest = self.held = 0
        self.long(BASE + 4, 0)
        self.long(BASE + 6, 0)


def plc_with(count: int, capacity: int = 100, start: int = 1) -> Plc:
    """Records `start` … one a second, the last one second ago."""
    plc = Plc().build(capacity)
    for at in range(count):
        plc.make(NOW_NS - (count - at) * SECOND, seq=(start + at) % 2**32)
    return plc


def spec(**said: Any) -> DeviceSpec:
    windback = {"method": "ring", "address": BASE, "columns": ["level"], "resolution": "1s"} | said
    return a_device(windback, {"level": {"address": 0, "type": "float32"}})


def last(seconds: int, until: int = 0) -> LogWanted:
    return LogWanted("ring", NOW_NS - seconds * SECOND, NOW_NS - until * SECOND)


def on_read(number: int, act: Callable[[], None]) -> Callable[[Device, Op], None]:
    """Do something before the n-th read of records."""
    count = 0

    def rule(device: Device, op: Op) -> None:
        nonlocal count
        if isinstance(op, Read) and op.address >= FIRST:
            count += 1
            if count == number:
                act()

    return rule


def test_a_stretch_in_the_middle_is_read_and_nothing_is_written() -> None:
    plc = plc_with(60)
    wanted = last(30, 10)
    pages = read_log(spec(), plc, wanted)
    assert rows(pages) == [(0, NOW_NS - s * SECOND, 61.0 - s) for s in range(30, 10, -1)]
    assert joined(pages, wanted)
    assert pages[-1].through_ns == wanted.to_ns
    assert not lacking(pages)
    (page,) = pages
    assert (page.first_record, page.next_record, page.records) == (31, 51, 20)
    assert page.resolution_ns == SECOND
    assert (page.oldest_ns, page.newest_ns) == (NOW_NS - 60 * SECOND, NOW_NS - SECOND)
    assert page.clock is not None
    assert page.clock.offset_ns == 0
    assert not any(isinstance(op, Write) for op in plc.seen)
    assert max(op.size for op in plc.reads()) <= 125


def test_the_end_of_the_log_ends_the_read() -> None:
    pages = read_log(spec(), plc_with(10), LogWanted("ring", NOW_NS - 5 * SECOND, NOW_NS + 99))
    assert pages[-1].through_ns == NOW_NS
    assert pages[-1].next_record == 11
    assert read_log(spec(), plc_with(10), LogWanted("ring", NOW_NS + SECOND, NOW_NS + 9)) == []


def test_what_was_overwritten_is_lacking() -> None:
    pages = read_log(spec(), plc_with(60, capacity=20), last(40, 15))
    assert lacking(pages) == [(NOW_NS - 40 * SECOND, NOW_NS - 20 * SECOND, OVERWRITTEN)]
    assert [value for _, _, value in rows(pages)] == [41.0, 42.0, 43.0, 44.0, 45.0]


def test_a_clock_that_is_ninety_seconds_ahead_is_corrected() -> None:
    plc = Plc().build(100)
    plc.clock_ahead_ns = 90 * SECOND
    for at in range(60):
        plc.make(NOW_NS - (60 - at) * SECOND)
    pages = read_log(spec(), plc, last(30, 20))
    assert pages[0].clock is not None
    assert abs(pages[0].clock.offset_ns - 90 * SECOND) <= pages[0].clock.uncertainty_ns
    assert pages[0].clock.uncertainty_ns < 10_000_000
    for _, time_ns, value in rows(pages):
        assert abs(time_ns - (NOW_NS - (61 - int(value)) * SECOND)) < 10_000_000


@pytest.mark.parametrize("knows_ms", [True, False])
def test_a_clock_that_shows_0_ms_is_looked_at_once_more(knows_ms: bool) -> None:
    plc, headers = Plc().build(100), list[int]()
    for at in range(60):
        plc.make(NOW_NS - (60 - at) * SECOND)

    def tick(op: Op) -> None:
        if not headers:
            plc.clock_ahead_ns = 2 * SECOND - plc.now_ns % SECOND
        plc.tick()
        if isinstance(op, Read) and op.address == BASE:
            headers.append((plc.now_ns + plc.clock_ahead_ns) % SECOND // 1_000_000)
        if not knows_ms:
            plc.put(BASE + 10, 0)

    plc.before_read = tick
    pages = read_log(spec(), plc, last(30, 20))
    clock = pages[0].clock
    assert headers[0] == 0 < headers[1]
    assert clock is not None
    assert (clock.uncertainty_ns < 10_000_000) is knows_ms
    assert abs(clock.offset_ns - plc.clock_ahead_ns) <= clock.uncertainty_ns
    assert len(headers) == 3, "before, a moment later, and after: not again each time"


def test_a_plc_that_did_not_run_recorded_nothing() -> None:
    plc = Plc().build(100)
    for seconds in (30, 29, 28, 12, 11, 10):
        plc.make(NOW_NS - seconds * SECOND)
    pages = read_log(spec(), plc, last(29, 10))
    assert lacking(pages) == [(NOW_NS - 27 * SECOND, NOW_NS - 12 * SECOND, NOT_RECORDED)]
    assert not lacking(read_log(spec(resolution=None), plc, last(29, 10)))


@pytest.mark.parametrize(
    ("quality", "status"),
    [
        (0x8000, Status.BAD),
        (0x808C, Status.BAD_SENSOR_FAILURE),
        (0x4000, Status.UNCERTAIN),
        (7, Status.UNCERTAIN),
    ],
)
def test_the_quality_of_a_record_is_that_of_its_columns(quality: int, status: int) -> None:
    plc = Plc().build(10)
    plc.make(NOW_NS - 2 * SECOND, quality)
    ((observation,),) = (page.observations for page in read_log(spec(), plc, last(3)))
    assert observation.status == status
    assert observation.value == (None if status & 0x80000000 else 1.0)


def test_a_torn_record_is_asked_for_again_and_then_lacking() -> None:
    plc = plc_with(30)
    plc.put(plc.slot(20) + WORDS - 1, 0)
    pages = read_log(spec(), plc, last(20, 5))
    assert lacking(pages) == [(NOW_NS - 11 * SECOND, NOW_NS - 10 * SECOND, TORN)]
    assert len(rows(pages)) == 14
    whole = plc_with(30)
    whole.put(whole.slot(20) + WORDS - 1, 0)
    seen: list[int] = []

    def mended(device: Device, op: Op) -> None:
        if isinstance(op, Read) and op.size == WORDS and op.address == whole.slot(20):
            seen.append(op.address)
            whole.put(whole.slot(20) + WORDS - 1, 20)

    whole.rules.append(mended)
    assert not lacking(read_log(spec(), whole, last(20, 5)))
    assert seen


def test_a_stamp_that_is_no_moment_is_a_torn_record() -> None:
    plc = plc_with(30)
    plc.put(plc.slot(20) + 4, 1000)
    assert lacking(read_log(spec(), plc, last(20, 5))) == [
        (NOW_NS - 11 * SECOND, NOW_NS - 10 * SECOND, TORN)
    ]


def test_records_that_are_overwritten_while_they_are_read_do_not_count() -> None:
    plc = plc_with(100)

    def run_on() -> None:
        for at in range(60):
            plc.make(NOW_NS + at * SECOND)

    plc.rules.append(on_read(12, run_on))
    pages = read_log(spec(), plc, last(100, 10))
    assert joined(pages, last(100, 10))
    assert pages[-1].through_ns == NOW_NS - 10 * SECOND
    assert all(why == OVERWRITTEN for _, _, why in lacking(pages))
    assert lacking(pages)
    for _, time_ns, value in rows(pages):
        assert time_ns == NOW_NS - (101 - int(value)) * SECOND


@pytest.mark.parametrize("since", ["before", "meanwhile"])
def test_a_ring_that_was_cleared_lacks_what_it_had(since: str) -> None:
    plc = plc_with(60)
    wanted = last(50)
    if since == "before":
        wanted = wanted._replace(next_record=11)
        plc = Plc().build(100)
        for seconds in (5, 4, 3):
            plc.make(NOW_NS - seconds * SECOND)
        expected = [(NOW_NS - 50 * SECOND, NOW_NS - 5 * SECOND, CLEARED)]
    else:

        def cleared() -> None:
            plc.clear()
            for seconds in (5, 4, 3):
                plc.make(NOW_NS - seconds * SECOND)

        plc.rules.append(on_read(9, cleared))
        expected = [(NOW_NS - 50 * SECOND, NOW_NS - 5 * SECOND, CLEARED)]
    pages = read_log(spec(), plc, wanted)
    assert lacking(pages) == expected
    assert [value for _, _, value in rows(pages)] == [1.0, 2.0, 3.0]
    assert joined(pages, wanted)


def test_a_ring_that_is_empty_has_lost_everything_up_to_now() -> None:
    pages = read_log(spec(), Plc().build(10), LogWanted("ring", NOW_NS - SECOND, NOW_NS + SECOND))
    assert [(page.from_ns, why) for page in pages for _, _, why in lacking([page])] == [
        (NOW_NS - SECOND, EMPTY)
    ]
    assert NOW_NS < pages[0].through_ns < NOW_NS + SECOND
    plc = plc_with(60)
    plc.rules.append(on_read(9, plc.clear))
    assert lacking(read_log(spec(), plc, last(50))) == [(NOW_NS - 50 * SECOND, NOW_NS, CLEARED)]


def test_a_ring_that_never_rests_is_left_alone() -> None:
    plc = plc_with(60)

    def again(device: Device, op: Op) -> None:
        if isinstance(op, Read) and op.address >= FIRST:
            plc.put(BASE + 3, plc.words[BASE + 3] + 1)

    plc.rules.append(again)
    with pytest.raises(LogUnavailable, match="again and again"):
        read_log(spec(), plc, last(50))


def test_another_layout_makes_the_columns_doubtful_for_good() -> None:
    plc = plc_with(60)
    fact = {"meaning": [1, 8], "depth_records": 100}
    wanted = LogWanted("ring", NOW_NS - 50 * SECOND, NOW_NS + 10 * SECOND)
    pages = read_log(spec(), plc, wanted, fact)
    ((_, until_ns, why),) = lacking(pages)
    assert (why, rows(pages)) == (RECONFIGURED, [])
    (learned,) = plc.facts
    clock = learned.pop("clock")
    assert learned == {"meaning": [1, WORDS], "depth_records": 100, "since_ns": until_ns}
    assert [[until_ns, 0]] == [[at_ns, round(ahead_ns, -8)] for at_ns, ahead_ns, *_ in clock]
    # The next read, on either node, knows since when the columns hold.
    for at in range(3):
        plc.make(until_ns + at * SECOND)
    plc.now_ns = until_ns + 3 * SECOND
    later = read_log(spec(), plc, wanted, learned | {"clock": clock})
    assert lacking(later) == [(NOW_NS - 50 * SECOND, until_ns, RECONFIGURED)]
    assert [value for _, _, value in rows(later)] == [61.0, 62.0, 63.0]
    assert len(plc.facts) == 1


def test_another_layout_in_the_middle_of_a_read_ends_it() -> None:
    plc = plc_with(60)
    plc.rules.append(on_read(9, lambda: plc.put(BASE + 2, 10)))
    pages = read_log(spec(), plc, last(50))
    assert lacking(pages) == [(NOW_NS - 50 * SECOND, NOW_NS, RECONFIGURED)]
    assert [fact["meaning"] for fact in plc.facts] == [[1, WORDS], [1, 10]]


@pytest.mark.parametrize(
    ("address", "word", "tells"),
    [
        (BASE, 0, "no ring of version 1 begins at 1000"),
        (BASE + 1, 2, "no ring"),
        (BASE + 3, 0, "no room"),
        (BASE + 3, 9000, "no room for 9000 records of 9 words"),
        (BASE + 2, 8, "columns need 8 words, a record has 7"),
        (BASE + 7, 0xFF, "the ring's header says"),
    ],
)
def test_what_is_no_ring_is_not_read(address: int, word: int, tells: str) -> None:
    plc = plc_with(60)
    plc.words[address] = word
    with pytest.raises(LogUnavailable, match=tells):
        read_log(spec(), plc, last(50))


@pytest.mark.parametrize(("code", "after_ns"), [(3, None), (6, 5 * SECOND)])
def test_a_refusal_says_where_to_look(code: int, after_ns: int | None) -> None:
    plc = plc_with(60)
    plc.rules.append(lambda device, op: code if isinstance(op, Read) else None)
    with pytest.raises(LogUnavailable, match=f"exception {code}") as caught:
        read_log(spec(), plc, last(50))
    assert caught.value.retry_after_ns == after_ns


def test_a_device_that_falls_silent_ends_the_read() -> None:
    plc = plc_with(60)
    silent: list[ReplyTimeout] = [ReplyTimeout("no answer")]
    plc.rules.append(lambda device, op: silent[0] if len(device.seen) > 9 else None)
    with pytest.raises(ReplyTimeout):
        read_log(spec(), plc, last(50))


def test_a_hint_saves_the_search() -> None:
    plc = plc_with(100)
    first = read_log(spec(), plc, last(50, 40))
    searched = len(plc.reads())
    plc.seen.clear()
    hint = first[-1].next_record
    second = read_log(spec(), plc, last(40, 30)._replace(next_record=hint))
    assert len(plc.reads()) < searched
    assert [v for *_, v in rows([*first, *second])] == [51.0 + n for n in range(20)]


@pytest.mark.parametrize("start", [2**32 - 30, 2**32 - 60, 2**32 - 59])
def test_numbers_that_start_again_go_on(start: int) -> None:
    plc = plc_with(60, start=start)
    wanted = last(60, 1)
    pages = read_log(spec(), plc, wanted)
    assert joined(pages, wanted)
    assert [time_ns for _, time_ns, _ in rows(pages)] == [
        NOW_NS - s * SECOND for s in range(60, 1, -1)
    ]
    assert not lacking(pages)


def test_a_record_longer_than_a_request_is_read_in_parts() -> None:
    plc = Plc().build(5, record_words=200)
    for seconds in range(5, 0, -1):
        plc.make(NOW_NS - seconds * SECOND)
    assert [value for *_, value in rows(read_log(spec(), plc, last(5)))] == [
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    ]


def test_a_ring_without_a_clock_is_taken_at_its_word() -> None:
    plc = plc_with(10)
    plc.before_read = lambda op: plc.put(BASE + 8, 0, 0, 0)
    pages = read_log(spec(), plc, last(5, 1))
    assert pages[0].clock is None
    assert len(rows(pages)) == 4


@given(
    count=st.integers(0, 70),
    capacity=st.integers(2, 50),
    begin=st.integers(0, 80),
    length=st.integers(1, 80),
    start=st.sampled_from([1, 7, 2**32 - 40]),
    running=st.integers(0, 3),
)
def test_whatever_is_in_the_ring_comes_out_once(
    count: int, capacity: int, begin: int, length: int, start: int, running: int
) -> None:
    """The PLC goes on recording meanwhile; nothing that it still has at the end is missed."""
    plc = Plc().build(capacity)
    for at in range(count):
        plc.make(NOW_NS - (count - at) * SECOND, seq=(start + at) % 2**32)
    made = dict(enumerate((NOW_NS - (count - at) * SECOND for at in range(count)), start))

    def run_on(device: Device, op: Op) -> None:
        if running and len(device.seen) % 5 < running and plc.newest and plc.newest != 2**32 - 1:
            made[start + len(made)] = NOW_NS + (len(made) - count) * SECOND
            plc.make(made[start + len(made) - 1])

    plc.rules.append(run_on)
    wanted = LogWanted("ring", NOW_NS - begin * SECOND, NOW_NS + (length - begin) * SECOND)
    pages = read_log(spec(), plc, wanted)
    assert joined(pages, wanted)
    got = [time_ns for _, time_ns, _ in rows(pages)]
    assert got == sorted(set(got))
    assert set(got) <= set(made.values())
    through_ns = max((page.through_ns for page in pages), default=wanted.from_ns)
    for seq, time_ns in made.items():
        # Where the numbers start again a slot may be used before its turn.
        slot = plc.slot(seq)
        kept = (plc.words[slot] << 16 | plc.words[slot + 1]) == seq % 2**32
        kept = kept and start + len(made) - seq <= plc.held
        if kept and wanted.from_ns <= time_ns < through_ns:
            assert time_ns in got
        elif wanted.from_ns <= time_ns < through_ns and time_ns not in got:
            assert any(a <= time_ns < b for a, b, _ in lacking(pages))


def test_a_clock_that_was_set_back_later_does_not_shift_what_is_wanted() -> None:
    plc = Plc().build(200)
    plc.clock_ahead_ns = 90 * SECOND
    for seconds in range(100, 20, -1):
        plc.make(NOW_NS - seconds * SECOND)
    plc.clock_ahead_ns = 0
    for seconds in range(20, 0, -1):
        plc.make(NOW_NS - seconds * SECOND)
    for wanted in (last(60, 50), last(30, 10), last(110)):
        pages = read_log(spec(), plc, wanted)
        assert joined(pages, wanted)
        for _, time_ns, value in rows(pages):
            assert time_ns == NOW_NS - (101 - int(value)) * SECOND
        assert len(rows(pages)) == min(100, (wanted.to_ns - wanted.from_ns) // SECOND)
    assert pages[-1].clock is not None
    assert pages[-1].clock.uncertainty_ns >= SECOND


def test_a_clock_that_was_set_back_after_the_newest_record_is_seen_by_that_records_stamp() -> None:
    plc = Plc().build(200)
    plc.clock_ahead_ns = 90 * SECOND
    for seconds in range(100, 0, -1):
        plc.make(NOW_NS - seconds * SECOND)
    plc.clock_ahead_ns = 0
    for wanted in (last(60, 50), last(110)):
        pages = read_log(spec(), plc, wanted)
        for _, time_ns, value in rows(pages):
            right_ns = NOW_NS - (101 - int(value)) * SECOND
            assert pages[-1].clock is not None
            assert abs(time_ns - right_ns) <= pages[-1].clock.uncertainty_ns
        assert abs(len(rows(pages)) - (wanted.to_ns - wanted.from_ns) // SECOND) <= 10


def forward(pause_s: int = 0) -> tuple[Plc, dict[str, Any]]:
    """A clock that was 90 s behind for 60 records, and what was learned then; then it was set."""
    plc = Plc().build(200)
    plc.clock_ahead_ns = -90 * SECOND
    for seconds in range(100, 40, -1):
        plc.make(NOW_NS - seconds * SECOND)
    plc.now_ns = NOW_NS - 45 * SECOND
    read_log(spec(), plc, last(80, 60))
    (learned,) = plc.facts
    plc.clock_ahead_ns = 0
    for seconds in range(40 - pause_s, 0, -1):
        plc.make(NOW_NS - seconds * SECOND)
    plc.now_ns = NOW_NS
    return plc, learned


def test_a_clock_that_was_set_forward_is_known_by_its_earlier_reading() -> None:
    plc, learned = forward()
    for wanted in (last(80, 70), last(110)):
        pages = read_log(spec(), plc, wanted, learned)
        assert joined(pages, wanted)
        for _, time_ns, value in rows(pages):
            assert abs(time_ns - (NOW_NS - (101 - int(value)) * SECOND)) < SECOND // 10
        assert abs(len(rows(pages)) - min(100, (wanted.to_ns - wanted.from_ns) // SECOND)) <= 1
        clock = pages[0].clock
        assert clock is not None and clock.uncertainty_ns >= SECOND
    (event,) = [event for page in pages for event in page.events]
    assert event.text.startswith("its clock was set forward by ")
    # Both readings are kept for whoever reads next; that nothing changed since is nothing new.
    first, second = plc.facts[-1]["clock"]
    assert [round(ahead_ns / SECOND) for _, ahead_ns, *_ in (first, second)] == [-90, 0]
    before = len(plc.facts)
    read_log(spec(), plc, last(50), plc.facts[-1])
    assert len(plc.facts) == before


def test_what_two_clocks_of_nodes_differ_by_is_not_taken_for_a_clock_set_forward() -> None:
    plc = plc_with(60)
    for seconds in range(20, 0, -1):  # a pause, as long as the other node's clock is ahead
        plc.make(NOW_NS + (60 - seconds) * SECOND)
    plc.now_ns = NOW_NS + 60 * SECOND
    wanted = LogWanted("ring", NOW_NS - 60 * SECOND, plc.now_ns)
    right = rows(read_log(spec(), plc, wanted, clock_run="a"))
    fact = plc.facts[-1]
    _, ahead_ns, *runs, _ = fact["clock"][0]
    assert runs == ["a", "a"]
    before = NOW_NS - 10 * SECOND
    told = fact | {"clock": [[before, ahead_ns - 40 * SECOND, "b", "b"]]}
    pages = read_log(spec(), plc, wanted, told, clock_run="a")
    assert [time_ns for _, time_ns, _ in rows(pages)] == [time_ns for _, time_ns, _ in right]
    clock = pages[0].clock
    assert clock is not None and clock.uncertainty_ns >= 40 * SECOND


def test_without_an_earlier_reading_a_clock_set_forward_looks_like_a_pause() -> None:
    plc, _ = forward()
    pages = read_log(spec(), plc, last(110))
    assert NOT_RECORDED in [why for _, _, why in lacking(pages)]


def test_a_clock_set_forward_at_nobody_knows_which_record_makes_all_before_it_unsure() -> None:
    plc, learned = forward(pause_s=20)
    pages = read_log(spec(), plc, last(300), learned)
    clock = pages[0].clock
    assert clock is not None and clock.uncertainty_ns >= 90 * SECOND
    assert UNPLACED in [why for _, _, why in lacking(pages)]


CHANGE = 1_792_890_000 * SECOND
"""2026-10-25 01:00 UTC, when 3 o'clock becomes 2 in Prague."""


@pytest.mark.parametrize("begin", range(-4000, 4001, 1000))
@pytest.mark.parametrize("interval", [60, 600])
def test_local_time_is_settled_where_summer_time_ends(begin: int, interval: int) -> None:
    plc = Plc(now_ns=CHANGE + 10_000 * SECOND).build(500)
    plc.before_read = lambda op: None
    made = range(-15_000, 9_001, interval)
    for seconds in made:
        plc.make(CHANGE + seconds * SECOND)
        # Local: two hours ahead in summer, one in winter.
        shown = CHANGE // SECOND + seconds + (7200 if seconds < 0 else 3600)
        plc.long(plc.slot(plc.newest) + 2, shown)
    wanted = LogWanted("ring", CHANGE + begin * SECOND, CHANGE + (begin + 2000) * SECOND)
    local = spec(zone="Europe/Prague", resolution=f"{interval}s")
    pages = read_log(local, plc, wanted)
    assert joined(pages, wanted)
    assert not lacking(pages)
    assert [(time_ns - CHANGE) // SECOND for _, time_ns, _ in rows(pages)] == [
        seconds for seconds in made if begin <= seconds < begin + 2000
    ]
