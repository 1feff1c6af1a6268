"""The event log of a flow computer: told once, acknowledged only with what was told in it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from log_device import NOW_NS, SECOND, Device, a_device, a_job, drive

from drivers.modbus.log import enron_events
from drivers.modbus.log.enron_events import ALARM_SEVERITY, CHANGE_SEVERITY, MORE, WAITING
from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import Call
from gateway.driver import DeviceSpec, LogPage, LogWanted
from gateway.errors import InvalidReply, LogUnavailable, ReplyTimeout

WANTED = LogWanted("events", NOW_NS - 60 * SECOND, NOW_NS)
OPERATOR = bytes.fromhex("02011B5F483366C047EAF8004080000040200000")
ALARM = bytes.fromhex("80001B5F483366C047EAF8004020000000000000")
STAMP_NS = 1_102_099_027 * SECOND
"""2004-12-03 18:37:07."""


class Flow(Device):
    """A flow computer that gives its first twelve unread events, and clears all on FC05."""

    def build(self, *events: bytes) -> Flow:
        self.unread = list(events)
        self.calls = self.on_call
        return self

    def on_call(self, call: Call) -> bytes | int:
        assert call.once
        if call.function == 5:
            assert call.payload == b"\x00\x20\xff\x00"
            self.unread.clear()
            return call.payload
        assert (call.function, call.payload[:2]) == (3, b"\x00\x20")
        data = b"".join(self.unread[:12])
        return bytes([len(data)]) + data


def spec(**said: Any) -> DeviceSpec:
    windback: dict[str, Any] = {
        "method": "enron",
        "archive": 700,
        "capacity": 400,
        "destructive": "ack",
        "event_register": 32,
        "record": {"time": {"at": 0, "type": "float32", "format": "float_mmddyy_hhmmss"}},
        "logs": [{"id": "interval", "columns": ["flow"]}],
    }
    points = {"flow": {"address": 7007, "type": "float32"}}
    return a_device(windback | said, points)


def read(device: Device, fact: Any = None, **said: Any) -> list[LogPage]:
    logs, job = a_job(spec(**said), WANTED, fact)
    return drive(logs.read(job), device)


def acknowledge(device: Device, page: LogPage) -> None:
    reading = Logs(spec()).acknowledge(page, NOW_NS)
    assert reading is not None
    assert drive(reading, device) == []


def event(number: int, bits: int = 0x8400, register: int = 1) -> bytes:
    return struct.pack(">HH4f", bits, register, 10_00_00.0 + number, 1_01_26.0, 1.5, 0.0)


def test_it_is_a_log_of_its_own() -> None:
    interval, events = Logs(spec()).specs({})
    assert (interval.name, interval.events, interval.destructive) == ("interval", False, False)
    assert (events.name, events.points, events.events) == ("events", (), True)
    assert (events.stateful, events.destructive, events.ack) == (True, True, "both")
    (_, kept) = Logs(spec(destructive="no", order="oldest")).specs({})
    assert (kept.ack, kept.order) == ("never", "oldest")
    (only,) = Logs(spec(event_register=None)).specs({})
    assert only.name == "interval"


def test_the_worked_examples_in_words() -> None:
    device = Flow().build(OPERATOR, ALARM)
    (page,) = read(device)
    changed, alarm = page.events
    assert changed.text == "an operator changed flow (fixed value) from 4 to 2.5"
    assert changed.time_ns == alarm.time_ns == STAMP_NS
    assert (changed.severity, changed.point) == (CHANGE_SEVERITY, "flow")
    assert alarm.text == "alarm of flow at 2.5"
    assert alarm.severity == ALARM_SEVERITY
    assert (page.from_ns, page.through_ns, page.records) == (WANTED.from_ns, WANTED.to_ns, 2)
    assert page.fullness == 2 / 255
    assert page.acknowledge == [OPERATOR.hex(), ALARM.hex()]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (event(1, 0x8400), "alarm LoLo of register 1 at 1.5"),
        (event(1, 0x5000), "alarm Hi rate of change of register 1 is over at 1.5"),
        (event(1, 0x0200), "an operator changed register 1 from 1.5 to 0"),
        (
            event(1, 0x0248),
            "an operator changed register 1 (work value, table entry) from 1.5 to 0",
        ),
        (
            struct.pack(">HH4f", 0x8000, 9, 99_99_99.0, 0.0, float("nan"), 0.0),
            "alarm of register 9 at no number (at a time that it doesn't tell)",
        ),
    ],
)
def test_events_in_words(raw: bytes, text: str) -> None:
    ((told,),) = (page.events for page in read(Flow().build(raw)))
    assert told.text == text
    assert told.point == ""


def test_a_stamp_that_may_be_two_moments_is_none_that_is_yet_to_come() -> None:
    raw = struct.pack(">HH4f", 0x8000, 9, 2_30_00.0, 10_26_25.0, 1.0, 0.0)
    for now_s, seen_s in ((1_761_438_900, 1_761_438_600), (1_761_442_500, 1_761_442_200)):
        _, job = a_job(spec(zone="Europe/Prague"), WANTED, None, now_s * SECOND)
        pages = drive(enron_events.read(job, job.section), Flow().build(raw))  # type: ignore[arg-type]
        assert pages[0].events[0].time_ns == seen_s * SECOND


def test_what_was_told_is_not_told_again_while_it_waits() -> None:
    device = Flow().build(event(1), event(2), event(2))
    (page,) = read(device)
    assert len(page.events) == 2, "equal events of the same stamp are one"
    assert device.facts == [{"told": [event(1).hex(), event(2).hex(), event(2).hex()]}]
    device.unread.append(event(3))
    (page,) = read(device, device.facts[-1])
    assert [each.time_ns % 60 for each in page.events] == [3 * SECOND % 60]
    assert page.acknowledge == [each.hex() for each in device.unread]


def test_a_new_main_can_acknowledge_what_the_dead_one_told() -> None:
    device = Flow().build(event(1))
    read(device)
    (page,) = read(device, device.facts[-1])
    assert [each.text for each in page.events] == [WAITING], "so that there is a record to wait for"
    assert len(device.facts) == 1
    acknowledge(device, page)
    assert device.unread == []
    assert read(device, device.facts[-1]) == []


def test_a_log_that_nobody_may_acknowledge_is_told_once() -> None:
    device = Flow().build(event(1))
    (page,) = read(device, ack="never")
    assert page.acknowledge is None
    assert read(device, device.facts[-1], ack="never") == []
    (page,) = read(device, destructive="no")
    assert page.acknowledge is None


def test_a_full_reply_says_that_there_may_be_more() -> None:
    device = Flow().build(*(event(n) for n in range(20)))
    (page,) = read(device)
    assert len(page.events) == 13
    assert page.events[-1].text == MORE
    assert page.fullness is None


def test_it_is_acknowledged_only_with_what_was_told_in_it() -> None:
    device = Flow().build(event(1))
    (page,) = read(device)
    device.unread.append(event(2))
    with pytest.raises(LogUnavailable, match="holds others by now"):
        acknowledge(device, page)
    assert len(device.unread) == 2
    (page,) = read(device, device.facts[-1])
    acknowledge(device, page)
    assert device.unread == []
    calls = [op.function for op in device.seen if isinstance(op, Call)]
    assert calls.count(5) == 1
    acknowledge(device, page)
    assert [op.function for op in device.seen if isinstance(op, Call)] == [*calls, 3]


def test_an_acknowledgement_without_answer_is_not_repeated() -> None:
    device = Flow().build(event(1))
    (page,) = read(device)
    failing = [ReplyTimeout("no answer")]
    device.rules.append(
        lambda _, op: failing.pop() if isinstance(op, Call) and op.function == 5 else None
    )
    with pytest.raises(ReplyTimeout):
        acknowledge(device, page)
    assert sum(isinstance(op, Call) and op.function == 5 for op in device.seen) == 1
    assert read(device, device.facts[-1])[0].events[0].text == WAITING


def test_refusals_and_nonsense() -> None:
    device = Flow().build(event(1))
    (page,) = read(device)
    device.rules = [lambda _, op: 1 if isinstance(op, Call) and op.function == 5 else None]
    with pytest.raises(LogUnavailable, match="the acknowledgement was refused: exception 1"):
        acknowledge(device, page)
    device.rules = [lambda _, op: 2]
    with pytest.raises(LogUnavailable, match="the event log was refused: exception 2"):
        read(device)
    device.rules = []
    device.calls = lambda call: b"\x05abcde"
    with pytest.raises(InvalidReply, match="5 bytes, no multiple of 20"):
        read(device)
    device.calls = lambda call: b""
    with pytest.raises(InvalidReply):
        read(device)
    device.calls = lambda call: b"\x14" + event(1) if call.function == 3 else b"\x00\x21\xff\x00"
    with pytest.raises(InvalidReply, match="was answered by 00 21 ff 00"):
        acknowledge(device, page)
