"""What journal records are as events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.records import (
    BACK,
    EMPTY_DIGEST,
    LOST,
    Audit,
    Batch,
    Behind,
    Body,
    Coverage,
    Event,
    Fill,
    Hole,
    Role,
    decode,
    seal,
)
from gateway.model import NS_PER_S, Position, Term
from gateway.server import event_types as types
from gateway.server.event_types import own_path, standard_path
from gateway.server.event_values import Id, Moment
from gateway.server.notices import LATE_MAX_NS, TEXT_MAX, Notices, event_id, overflow_event

T = 1_790_000_000 * NS_PER_S
NOW = T + 5 * NS_PER_S
TERM, NEXT = Term(3, "a", 7), Term(4, "a", 8)


class Told:
    """Records one after the other, and the events they are."""

    def __init__(self) -> None:
        self.notices = Notices("urn:hotpair:s7:a", lambda name: name in ("plc1", "plc2"))
        self.seq = 0

    def of(self, body: Body, own: bool = True, term: Term = TERM) -> list[types.Event]:
        self.seq += 1
        record = seal(term, self.seq, EMPTY_DIGEST, body)
        if isinstance(body, Coverage):
            told = self.notices.gaps(body, record.position)
            return list(self.notices.gap_events(told, record.position, NOW))
        return list(self.notices.of(record, own, NOW))

    def one(self, body: Body) -> types.Event:
        (found,) = self.of(body)
        return found

    def gaps(
        self, *args: Any, term: Term = TERM, late: float | None = None
    ) -> list[tuple[str, ...]]:
        """What began and ended, in seconds after T."""

        def second(found: types.Event, name: str) -> str:
            value = found.value(None, own_path(name))
            return "" if value is None else f"{(value.time_ns - T) / NS_PER_S:g}"  # type: ignore[union-attr]

        found = []
        for event in self.of(coverage(*args, late=late), term=term):
            kind = "opened" if event.is_of(types.GAP_OPENED.type_id) else "closed"
            assert event.is_of(types.GAP.type_id)
            found.append((kind, second(event, "FromTime"), second(event, "ToTime")))
        return found


def coverage(
    since: float, through: float, *holes: tuple[float, float, str], late: float | None = None
) -> Coverage:
    made = tuple(Hole("plc1", "fast", at(a), at(b), cause) for a, b, cause in holes)
    behind = () if late is None else (Behind("plc1", "fast", at(since), at(late)),)
    return Coverage(1, at(since), at(through), made, behind)


def at(seconds: float) -> int:
    return T + int(seconds * NS_PER_S)


def std(event: types.Event, name: str) -> Any:
    return event.value(None, standard_path(name))


def own(event: types.Event, name: str) -> Any:
    return event.value(None, own_path(name))


def test_an_event_of_the_journal_says_who_what_and_when() -> None:
    found = Told().one(Event("journal", 5000, "the disk is full", T))
    assert std(found, "EventType") == types.NOTABLE.type_id
    assert std(found, "EventId") == event_id(Position(TERM, 1), 0)
    assert (std(found, "Time"), std(found, "ReceiveTime")) == (Moment(T), Moment(NOW))
    assert (std(found, "Message"), std(found, "Severity")) == ("the disk is full", 1000)
    assert (std(found, "SourceNode"), std(found, "SourceName")) == (types.NODE, "journal")
    assert (found.device, found.audit) == ("", False)


def test_event_ids_are_unique_for_each_event_of_each_record() -> None:
    other = Position(Term(3, "b", 7), 1)
    ids = {event_id(Position(TERM, 1), 0), event_id(Position(TERM, 1), 1), event_id(other, 0)}
    assert len(ids | {event_id(Position(TERM, 2), 0), event_id(Position(NEXT, 1), 0)}) == 5


@pytest.mark.parametrize(
    ("kind", "event_type"), [(LOST, types.CONNECTION_LOST), (BACK, types.CONNECTION_RESTORED)]
)
def test_a_device_that_is_lost_or_back_has_a_type(kind: str, event_type: types.EventType) -> None:
    found = Told().one(Event("plc1", 700, "lost: no answer", T, kind))
    assert found.type_ids == event_type.ids
    assert (std(found, "SourceNode"), found.device) == (Id(2, "plc1"), "plc1")
    assert std(found, "Message") == "plc1 lost: no answer"
    assert found.is_of(types.DEVICE_FAILURE) is (kind == LOST)


def test_an_event_from_before_kinds_is_read_as_one_of_no_kind() -> None:
    old = msgspec.msgpack.encode(["e", "plc1", 700, "lost: no answer", T])
    assert decode(old) == Event("plc1", 700, "lost: no answer", T)


def test_a_role_says_which_node_and_why() -> None:
    found = Told().one(Role("a", "main", T, "the peer is dead", TERM))
    assert [own(found, name) for name in ("Node", "Role", "Term", "Why")] == [
        "a",
        "main",
        str(TERM),
        "the peer is dead",
    ]
    assert own(Told().one(Role("a", "starting", T, "started", None)), "Term") is None


def test_a_write_is_told_with_what_came_of_it() -> None:
    told = Told()
    assert told.of(Audit("write", "plc1/level", T, "otto", "intent", {"value": 2.5})) == []
    detail = {"value": 2.5, "read_back": 2.5, "detail": ""}
    found = told.one(Audit("write", "plc1/level", T, "otto", "result Good", detail))
    assert std(found, "EventType") == types.AUDIT_WRITE and found.is_of(types.AUDIT)
    assert (std(found, "SourceNode"), std(found, "SourceName")) == (
        Id(2, "plc1/level"),
        "Attribute/Write",
    )
    assert (found.device, found.audit, std(found, "Status")) == ("plc1", True, True)
    assert (std(found, "NewValue"), std(found, "ClientUserId")) == (2.5, "otto")
    assert (std(found, "AttributeId"), std(found, "ServerId")) == (13, "urn:hotpair:s7:a")
    detail = {"value": 99, "detail": "99 is outside 0 to 10"}
    refused = told.one(Audit("write", "gone/x", T, "otto", "refused BadOutOfRange", detail))
    assert (std(refused, "Status"), std(refused, "SourceNode")) == (False, types.NODE)
    assert std(refused, "Message").endswith("refused BadOutOfRange: 99 is outside 0 to 10")
    assert std(refused, "Severity") > std(found, "Severity")


def test_what_is_long_is_cut_for_who_filters_it() -> None:
    told = Told()
    found = told.one(Event("journal", 500, "x" * 5_000, T))
    assert std(found, "Message") == "x" * (TEXT_MAX - 1) + "…"
    for value in ("y" * 5_000, b"y" * 5_000):
        detail = {"value": value}
        found = told.one(Audit("write", "plc1/name", T, "otto", "result Good", detail))
        assert std(found, "NewValue") is None and len(std(found, "Message")) < 200


def test_other_acts_of_people_are_operations() -> None:
    found = Told().one(Audit("changeover", "a", T, "eva", "done"))
    assert found.type_ids == types.OPERATION.ids and found.audit
    assert (own(found, "Action"), own(found, "Target")) == ("changeover", "a")
    assert std(found, "Status") is True
    assert std(Told().one(Audit("apply", "x", T, "eva", "refused: no")), "Status") is False


@pytest.mark.parametrize("kind", ["filled", "coarse", "lost"])
def test_a_fill_says_what_became_of_a_gap(kind: str) -> None:
    fill = Fill("plc1", "fast", "ring", at(1), at(3), kind, ("level", "count"), T, "overwritten")
    found = Told().one(fill)
    assert (own(found, "Outcome"), own(found, "Points")) == (kind, 2)
    assert (own(found, "FromTime"), own(found, "ToTime")) == (Moment(at(1)), Moment(at(3)))
    assert own(found, "Cause") == "overwritten" and found.device == "plc1"


def test_a_fill_that_judges_nothing_and_a_batch_are_no_events() -> None:
    told = Told()
    assert told.of(Fill("plc1", "fast", "ring", T, T + 1, "open", ("level",), T)) == []
    assert told.of(Batch("plc1", "fast", 1, 0, T, T, ())) == []


def test_of_the_other_node_news_is_told_and_nothing_of_its_coverage() -> None:
    told = Told()
    for body in (Event("b", 500, "x", T), Role("b", "starting", T, "", None)):
        assert len(told.of(body, own=False)) == 1
    late_ns = NOW - LATE_MAX_NS - 1
    assert told.of(Event("b", 500, "x", late_ns), own=False) == []
    assert len(told.of(Event("windback", 500, "x", late_ns))) == 1
    assert told.of(Fill("plc1", "fast", "r", T, T, "filled", (), T), own=False) == []


def test_a_gap_opens_once_and_closes_once() -> None:
    told = Told()
    assert told.gaps(0, 1) == []
    assert told.gaps(1, 2, (1.5, 2, "device")) == [("opened", "1.5", "")]
    assert told.gaps(2, 3, (2, 3, "device")) == []
    assert told.gaps(3, 4, (3, 3.5, "device")) == [("closed", "1.5", "3.5")]
    assert told.gaps(4, 5) == []


def test_a_gap_that_ended_where_a_record_did_is_closed_by_the_next() -> None:
    told = Told()
    told.gaps(0, 1, (0, 1, "device"))
    assert told.gaps(1, 2) == [("closed", "0", "1")]


def test_a_gap_whose_cause_changes_is_one_gap() -> None:
    told = Told()
    told.gaps(0, 1, (0, 1, "link"))
    assert told.gaps(1, 2, (1, 1.5, "link"), (1.5, 2, "device")) == []


def test_gaps_within_a_record_are_told_as_one_event() -> None:
    told = Told()
    assert told.gaps(0, 1, (0.1, 0.2, "overrun"), (0.5, 0.6, "overrun")) == [
        ("closed", "0.1", "0.6")
    ]
    found = told.of(coverage(1, 2, (1.1, 1.2, "overrun"), (1.5, 1.6, "overrun")))
    assert "2 gaps" in std(found[0], "Message")


def test_a_gap_that_closes_may_be_followed_by_one_that_opens() -> None:
    told = Told()
    told.gaps(0, 1, (0, 1, "device"))
    assert told.gaps(1, 2, (1, 1.2, "device"), (1.8, 2, "overrun")) == [
        ("closed", "0", "1.2"),
        ("opened", "1.8", ""),
    ]
    assert told.gaps(2, 3, (2.5, 3, "device")) == [("closed", "1.8", "2"), ("opened", "2.5", "")]


def test_a_class_that_a_record_says_nothing_of_stays_as_it_was() -> None:
    told = Told()
    told.gaps(0, 1, (0, 1, "device"))
    (found, *rest) = (
        told.of(Coverage(1, at(1), at(2), (), (Behind("plc1", "fast", at(1), at(1)),))),
    )
    assert found == [] and not rest
    assert told.gaps(2, 3, (1, 2.5, "device")) == [("closed", "0", "2.5")]


def test_a_term_that_goes_on_at_once_keeps_its_gap_and_a_later_one_begins_anew() -> None:
    told = Told()
    told.gaps(0, 1, (0, 1, "device"))
    assert told.gaps(1, 2, (1, 2, "device"), term=NEXT) == []
    later = Term(9, "a", 9)
    assert told.gaps(50, 51, (50, 51, "starting"), term=later) == [("opened", "50", "")]
    assert told.gaps(51, 52, term=later) == [("closed", "50", "51")]


def test_lost_events_are_told_by_the_server_itself() -> None:
    found = overflow_event(b"name", NOW)
    assert std(found, "EventType") == types.OVERFLOW and found.is_of(types.BASE)
    assert (std(found, "SourceNode"), std(found, "SourceName")) == (
        types.SERVER,
        "Internal/EventQueueOverflow",
    )
    assert std(found, "EventId") == b"name"


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=20),
    st.lists(st.integers(1, 4), min_size=30, max_size=30),
)
def test_what_is_told_of_gaps_is_what_the_records_hold(
    stretches: list[tuple[int, bool]], paces: list[int]
) -> None:
    """Of a line of seconds, some without values, cut into records: each gap is told whole."""
    lacking = [without for length, without in stretches for _ in range(length)]
    told, open_from, seconds = Told(), None, [False] * len(lacking)
    since = 0
    for pace in paces:
        through = min(since + pace, len(lacking))
        if through == since:
            break
        lacks = [n for n in range(since, through) if lacking[n]]
        holes = [(n, n + 1, "device") for n in lacks]
        for kind, begins, ends in told.gaps(since, through, *holes):
            if kind == "opened":
                assert open_from is None
                open_from = int(begins)
                continue
            assert open_from is None or open_from == int(begins)
            for n in range(int(begins), int(ends)):
                seconds[n] = lacking[n]
            assert lacking[int(begins)] and lacking[int(ends) - 1]
            open_from = None
        if open_from is not None:
            assert all(lacking[open_from:through])
            seconds[open_from:through] = [True] * (through - open_from)
        since = through
        # A gap that ended just where this record did is told closed with the next one.
        assert seconds[:since] == lacking[:since]
