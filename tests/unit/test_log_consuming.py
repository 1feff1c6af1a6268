"""A log that gives each record once: nothing that was read is lost silently, on either node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import (
    NOW_NS,
    SECOND,
    Device,
    a_job,
    joined,
    lacking,
    read_log,
)
from test_log_pointer import DATA, UNREAD, WORDS, Meter, last, on_window, spec, values

from drivers.modbus.log.consuming import INTERRUPTED
from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import Op, Read
from drivers.modbus.log.paging import NOT_RECORDED, OVERWRITTEN, TORN
from gateway.driver import DeviceSpec, LogPage, LogWanted
from gateway.errors import LogUnavailable, ReplyTimeout

HELD = {"settable": False, "destructive": "advance"}


def once(**said: Any) -> DeviceSpec:
    return spec(**{**HELD, "unread": {"address": UNREAD}, **said})


class Giver(Meter):
    """Only what was never read is there."""

    def mark(self) -> None:
        super().mark()
        self.put(UNREAD, max(0, max(self.records, default=-1) + 1 - self.at))


def giver_with(count: int, start: int = 0, **said: Any) -> Giver:
    meter = Giver().build(1000)
    meter.at = start
    for at in range(count):
        meter.make(start + at, NOW_NS - (count - at) * SECOND)

    def keep(device: Device, op: Op) -> None:
        meter.mark()

    meter.rules.append(keep)
    return meter


@given(
    count=st.integers(0, 90),
    start=st.sampled_from([0, 65536 - 30]),
    begin=st.integers(1, 100),
    until=st.integers(0, 50),
    window=st.integers(1, 5),
    told=st.booleans(),
)
def test_each_record_is_handed_over_once(
    count: int, start: int, begin: int, until: int, window: int, told: bool
) -> None:
    meter = giver_with(count, start)
    said = {"data_words": window * WORDS} | ({} if told else {"unread": None})
    wanted = last(begin + until, until)
    pages = read_log(once(**said), meter, wanted)
    got = values(pages)
    assert got == list(range(got[0], got[-1] + 1) if got else [])
    assert joined(pages, wanted._replace(to_ns=NOW_NS + SECOND))
    # What was read and is not handed over lies before what is wanted.
    for seq in range(start, min(meter.at, start + count)):
        time_ns = NOW_NS - (count - seq + start) * SECOND
        assert (seq in got) == (time_ns >= wanted.from_ns)
    rest = wanted._replace(from_ns=wanted.to_ns, to_ns=NOW_NS)
    fact = meter.facts[-1] if meter.facts else None
    got += values(read_log(once(**said), meter, rest, fact))
    assert got == [n for n in range(start, start + count) if count - n + start <= begin + until]


def test_a_read_that_goes_on_lacks_nothing() -> None:
    meter = giver_with(60)
    first = read_log(once(), meter, last(60, 30))
    assert not lacking(first)
    through_ns = first[-1].through_ns
    assert meter.facts[-1] == {"reading": False, "next": 31, "last_ns": NOW_NS - 30 * SECOND}
    second = read_log(once(), meter, LogWanted("data", through_ns, NOW_NS), meter.facts[-1])
    assert values(first) + values(second) == list(range(60))
    assert not lacking(second)
    (log,) = Logs(once()).specs({})
    assert (log.stateful, log.destructive, log.order) == (True, True, "oldest")


def lost(meter: Meter, moves: int) -> Any:
    def lose() -> ReplyTimeout:
        meter.at += moves
        return ReplyTimeout("no answer")

    return lose


def keyless() -> dict[str, Any]:
    section = spec().settings.windback or {}
    return {key: said for key, said in section["record"].items() if key != "key"}


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_an_answer_that_was_lost_is_lacking_for_one_window(numbered: bool, told: bool) -> None:
    meter = giver_with(60)
    said: dict[str, Any] = {} if numbered else {"record": keyless()}
    said |= {"data_words": 3 * WORDS} | ({} if told else {"unread": None})
    meter.rules.append(on_window(4, lost(meter, 3)))
    pages = read_log(once(**said), meter, last(60))
    assert lacking(pages) == [(NOW_NS - 51 * SECOND, NOW_NS - 48 * SECOND, INTERRUPTED)]
    assert values(pages) == [n for n in range(60) if n not in (9, 10, 11)]
    assert all(op.once for op in meter.reads() if op.address == DATA)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_request_that_never_arrived_costs_nothing(numbered: bool) -> None:
    meter = giver_with(60)
    meter.rules.append(on_window(4, lost(meter, 0)))
    pages = read_log(once(**({} if numbered else {"record": keyless()})), meter, last(60))
    assert values(pages) == list(range(60))
    assert not lacking(pages)


def test_the_last_answer_that_was_lost_is_told_when_the_log_goes_on() -> None:
    meter = giver_with(3)
    meter.rules.append(on_window(3, lost(meter, 1)))
    pages = read_log(once(), meter, last(3))
    assert values(pages) == [0, 1]
    assert meter.facts[-1]["reading"]
    meter.make(3, NOW_NS)
    wanted = LogWanted("data", pages[-1].through_ns, NOW_NS + SECOND)
    pages = read_log(once(), meter, wanted, meter.facts[-1])
    assert lacking(pages) == [(NOW_NS - SECOND, NOW_NS, INTERRUPTED)]
    assert not meter.facts[-1]["reading"]


def test_a_main_that_died_costs_one_window() -> None:
    meter = giver_with(60)
    wanted = last(60)
    logs, job = a_job(once(), wanted)
    reading = logs.read(job)
    pages: list[LogPage] = []
    told = None
    while len(pages) < 5:
        op = reading.send(told)
        told = None
        if isinstance(op, LogPage):
            pages.append(op)
        else:
            told = meter.carry_out(op)
    # What it asked for next was read, and never journalled.
    op = reading.send(None)
    meter.carry_out(op)  # type: ignore[arg-type]
    assert isinstance(reading.send(None), Read)
    meter.at += 1
    rest = LogWanted("data", pages[-1].through_ns, NOW_NS)
    pages += read_log(once(), meter, rest, meter.facts[-1])
    assert joined(pages, wanted)
    assert lacking(pages) == [(NOW_NS - 55 * SECOND, NOW_NS - 54 * SECOND, INTERRUPTED)]
    assert values(pages) == [n for n in range(60) if n != 5]


def test_what_was_overwritten_unread_and_what_was_not_recorded() -> None:
    meter = giver_with(60)
    fact = {"reading": False, "next": 0, "last_ns": NOW_NS - 61 * SECOND}
    for seq in range(5):
        del meter.records[seq]
    meter.at = 5
    for seq in range(20, 30):
        del meter.records[seq]
        meter.records[seq] = (NOW_NS - 41 * SECOND, 0x0400)
    pages = read_log(once(), meter, last(60), fact)
    assert lacking(pages) == [
        (NOW_NS - 60 * SECOND, NOW_NS - 55 * SECOND, OVERWRITTEN),
        (NOW_NS - 40 * SECOND, NOW_NS - 30 * SECOND, TORN),
    ]
    meter = giver_with(3)
    meter.make(3, NOW_NS + 9 * SECOND)
    pages = read_log(once(), meter, LogWanted("data", NOW_NS - 3 * SECOND, NOW_NS + 99 * SECOND))
    assert [why for *_, why in lacking(pages)] == [NOT_RECORDED]


def test_a_window_that_moves_no_further_ends_the_read() -> None:
    meter = giver_with(10)
    meter.make(9, NOW_NS - SECOND)
    section = once(unread=None).settings.windback or {}
    record = {**section["record"], "last_bits": 0}

    def stay(device: Device, op: Op) -> None:
        meter.at = min(meter.at, 9)

    meter.rules.append(stay)
    assert values(read_log(once(unread=None, record=record), meter, last(20))) == list(range(10))
    meter.rules = [on_window(4, lambda: 3)]
    meter.at = 0
    assert values(read_log(once(unread=None), meter, last(20))) == [0, 1, 2]


def test_a_device_that_stays_silent_ends_the_read() -> None:
    meter = giver_with(60)
    meter.rules += [on_window(n, lost(meter, 0)) for n in (4, 4, 4, 4)]
    with pytest.raises(ReplyTimeout):
        read_log(once(), meter, last(60))
    assert meter.facts[-1]["reading"]


def test_refusals_are_told() -> None:
    meter = giver_with(5)
    meter.rules = [on_window(1, lambda: 4)]
    with pytest.raises(LogUnavailable, match="the log's window was refused: exception 4"):
        read_log(once(), meter, last(5))
    meter.rules = [lambda device, op: 2]
    with pytest.raises(LogUnavailable, match="the count of unread records was refused"):
        read_log(once(), meter, last(5))
    with pytest.raises(LogUnavailable, match="nothing moves it on"):
        read_log(once(advances=False), meter, last(5))
    with pytest.raises(LogUnavailable, match="does not fit"):
        read_log(once(data_words=4), meter, last(5))
