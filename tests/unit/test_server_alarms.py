"""Conditions: when they are told, what is told of them, and what people may say to them."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from gateway.server import event_types as types
from gateway.server.alarms import (
    COMMENT_MAX,
    EVENT_IDS_MAX,
    GAP_DELAY_NS,
    NOT_WATCHED,
    OVER_SEVERITY,
    UNCERTAIN_LAST_USABLE,
    Alarms,
    AlreadyAcknowledged,
    Trouble,
    UnknownEvent,
    Watched,
    all_wrong,
    bracket,
    is_condition,
    lost,
    open_gap,
)
from gateway.server.event_types import Event
from gateway.server.event_values import Id, Moment

LOST = lost("plc1", 100, "no answer")
GAP = open_gap("plc1", "fast", 90, "device_down")
PLC1_LOST = Id(2, "plc1#Alarm.Lost")


class Site:
    """Alarms under a clock that steps by ten."""

    def __init__(self) -> None:
        names = count(1)
        self.now_ns = 1_000
        self.alarms = Alarms(lambda: b"%d" % next(names))

    def look(self, *troubles: Trouble, watching: bool = True) -> list[Event]:
        self.now_ns += 10
        return self.alarms.look(troubles if watching else None, self.now_ns)

    def acknowledge(self, event_id: bytes, comment: str | None = None) -> Event:
        self.now_ns += 10
        return self.alarms.acknowledge(PLC1_LOST, event_id, "otto", comment, self.now_ns)


def of(event: Event, *names: str) -> Any:
    return event.value(None, tuple((0, name) for name in names))


def state(event: Event) -> tuple[Any, ...]:
    """(EventId, active, acknowledged, retained)."""
    parts = [of(event, name, "Id") for name in ("ActiveState", "AckedState")]
    return (of(event, "EventId"), *parts, of(event, "Retain"))


def test_an_alarm_goes_from_active_to_over_to_acknowledged() -> None:
    site = Site()
    [begun] = site.look(LOST)
    assert state(begun) == (b"1", True, False, True)
    assert begun.device == "plc1" and begun.is_of(types.CONDITION) and begun.is_of(types.BASE)
    assert begun.value(types.CONDITION, ()) == PLC1_LOST
    assert of(begun, "Message") == "plc1 lost: no answer"
    assert (of(begun, "Time"), of(begun, "ActiveState", "TransitionTime")) == (
        Moment(1_010),
        Moment(100),
    )
    assert (of(begun, "Severity"), of(begun, "LastSeverity")) == (700, 0)
    assert of(begun, "BranchId") == of(begun, "NormalState") == Id(0, 0)
    assert of(begun, "Comment", "SourceTimestamp") is None, "nobody has said anything"
    assert site.look(LOST) == [], "what is told once is not told again"
    [over] = site.look()
    assert state(over) == (b"2", False, False, True)
    assert (of(over, "Severity"), of(over, "LastSeverity")) == (OVER_SEVERITY, 700)
    assert of(over, "ActiveState", "TransitionTime") == Moment(1_030)
    acked = site.acknowledge(b"1", "seen")
    assert state(acked) == (b"3", False, True, False), "over and seen: nobody needs to know it"
    assert (of(acked, "Comment"), of(acked, "ClientUserId")) == ("seen", "otto")
    assert of(acked, "Comment", "SourceTimestamp") == Moment(1_040)
    assert site.alarms.retained() == []


def test_what_is_acknowledged_while_it_lasts_ends_silently() -> None:
    site = Site()
    site.look(LOST)
    acked = site.acknowledge(b"1")
    assert state(acked) == (b"2", True, True, True)
    [over] = site.look()
    assert state(over) == (b"3", False, True, False)
    assert site.look() == site.alarms.retained() == []


def test_what_comes_back_before_it_was_seen_must_be_seen_anew() -> None:
    site = Site()
    site.look(LOST)
    site.look()
    [again] = site.look(LOST._replace(since_ns=500))
    assert state(again) == (b"3", True, False, True)
    assert of(again, "LastSeverity") == OVER_SEVERITY
    with pytest.raises(UnknownEvent):
        site.acknowledge(b"1")
    site.acknowledge(b"3", "now I see")
    site.look()
    [third] = site.look(LOST)
    assert state(third) == (b"6", True, False, True)


def test_troubles_are_told_apart_and_refreshed_as_they_were_told() -> None:
    site = Site()
    told = site.look(LOST, GAP)
    assert [of(event, "ConditionName") for event in told] == ["Lost", "Gap.fast"]
    assert of(told[1], "Message") == "plc1/fast: a gap is open (device_down)"
    assert [of(event, "Severity") for event in told] == [700, 500]
    anew = site.alarms.retained()
    for event, known in zip(anew, told, strict=True):
        names = ("EventId", "Time", "ReceiveTime", "Message", "Retain")
        assert [of(event, name) for name in names] == [of(known, name) for name in names]
    [over] = site.look(GAP)
    assert over.value(None, ()) == PLC1_LOST
    assert [found.value(None, ()) for found in site.alarms.retained()] == [
        PLC1_LOST,
        Id(2, "plc1#Alarm.Gap.fast"),
    ]


def test_a_node_that_watches_no_more_takes_back_what_it_showed() -> None:
    site = Site()
    site.look(LOST, GAP)
    site.acknowledge(b"1")
    told = site.look(watching=False)
    assert [state(event)[1:] for event in told] == [(True, True, False), (True, False, False)]
    assert {of(event, "Quality") for event in told} == {UNCERTAIN_LAST_USABLE}
    assert {of(event, "Message") for event in told} == {NOT_WATCHED}
    assert site.look(watching=False) == site.alarms.retained() == []
    [again] = site.look(LOST)
    assert state(again)[1:] == (True, False, True), "an acknowledgement ends with the reign"


def test_comments_change_nothing_else_and_stay_until_there_is_another() -> None:
    site = Site()
    site.look(LOST)
    said = site.alarms.comment(PLC1_LOST, b"1", "erna", "x" * 5_000, 2_000)
    assert state(said) == (b"2", True, False, True)
    assert of(said, "Comment") == "x" * COMMENT_MAX
    kept = site.acknowledge(b"2", None)
    assert (of(kept, "Comment"), of(kept, "ClientUserId")) == ("x" * COMMENT_MAX, "otto")
    emptied = site.alarms.comment(PLC1_LOST, b"3", "erna", "", 2_000)
    assert of(emptied, "Comment") == ""


def test_only_what_is_known_and_open_can_be_acknowledged() -> None:
    site = Site()
    with pytest.raises(UnknownEvent):
        site.acknowledge(b"1")
    site.look(LOST)
    with pytest.raises(UnknownEvent):
        site.acknowledge(b"7")
    site.acknowledge(b"1")
    with pytest.raises(AlreadyAcknowledged):
        site.acknowledge(b"2")
    for number in range(2, 2 + EVENT_IDS_MAX):
        site.alarms.comment(PLC1_LOST, b"%d" % number, "erna", "again", 3_000)
    with pytest.raises(UnknownEvent):
        site.alarms.comment(PLC1_LOST, b"2", "erna", "too late", 3_000)


def test_a_gap_is_wrong_once_it_is_old_and_its_device_answers() -> None:
    now_ns = GAP_DELAY_NS + 90
    assert all_wrong(Watched([]), [GAP], now_ns) == [GAP]
    assert all_wrong(Watched([]), [GAP], now_ns - 1) == []
    assert all_wrong(Watched([LOST]), [GAP], now_ns) == [LOST]
    assert all_wrong(Watched([], frozenset({"plc1"})), [GAP], now_ns) == []


def test_condition_ids_are_known_by_their_form() -> None:
    assert is_condition(PLC1_LOST)
    assert not is_condition(Id(0, "plc1#Alarm.Lost"))
    assert not is_condition(Id(2, "plc1/level"))
    assert not is_condition(Id(2, 2782))


def test_the_brackets_of_a_refresh_pass_every_filter() -> None:
    event = bracket(types.REFRESH_START, b"s", "refresh begins", 5)
    assert event.always and event.is_of(types.SYSTEM) and not event.is_of(types.REFRESH_END)
    assert of(event, "EventType") == types.REFRESH_START
    assert not Site().look(LOST)[0].always
