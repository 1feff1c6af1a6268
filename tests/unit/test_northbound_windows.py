"""What is handed on next, and what becomes of records on the way: sets of positions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.holdings import EMPTY_HOLDING, Holding, Holdings
from gateway.journal.records import (
    Batch,
    Body,
    Coverage,
    Delivered,
    Event,
    Fill,
    Hole,
    Loss,
    Record,
    decode,
    encode,
)
from gateway.model import Cause, DataType, Gap, GapState, Origin, Position, Term
from gateway.northbound import tables
from gateway.northbound import windows as w
from gateway.northbound.observations import Observation, is_late, observe, time_of, touched

OLD, NOW, PEER = Term(1, "a", 9), Term(3, "a", 2**64 - 1), Term(2, "b", 7)
NOWHERE = Position(Term(0, "", 0), 0)


def held(**terms: Any) -> dict[Term, Holding]:
    known = {"old": OLD, "peer": PEER, "now": NOW, "diary": Term(0, "a", 5)}
    return {known[name]: Holding(1, tuple(stretches)) for name, stretches in terms.items()}


def everything(_: Term) -> None:
    return None


def test_the_new_goes_first_and_the_old_in_order() -> None:
    here = held(diary=[(1, 50)], old=[(1, 10)], peer=[(1, 5), (8, 9)], now=[(1, 100)])
    done = Holdings()
    since = Position(NOW, 60)
    first = [*w.windows(here, done, since, everything, size=30)]
    assert first == [w.Window(NOW, 61, 90, True), w.Window(OLD, 1, 10, False)]
    for window in first:
        w.deliver(done, window.term, window.first, window.last)
    second = [*w.windows(here, done, since, everything, size=30)]
    assert second == [w.Window(NOW, 91, 100, True), w.Window(PEER, 1, 5, False)]
    assert w.outstanding(here, done, everything) == 60 + 10 + 7


def test_what_clients_may_not_see_yet_waits() -> None:
    here = held(now=[(1, 100)])
    found = [*w.windows(here, Holdings(), Position(NOW, 0), lambda _: 40)]
    assert found == [w.Window(NOW, 1, 40, True)]
    assert w.outstanding(here, Holdings(), lambda _: 0) == 0
    assert not [*w.windows(here, Holdings(), Position(NOW, 0), lambda _: 0)]


def test_a_later_term_of_the_same_node_is_live_and_the_peers_is_not() -> None:
    here = held(peer=[(1, 5)], now=[(1, 7)])
    found = [*w.windows(here, Holdings(), Position(OLD, 3), everything)]
    assert found == [w.Window(NOW, 1, 7, True), w.Window(PEER, 1, 5, False)]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=8),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=8),
    st.integers(0, 80),
    st.integers(1, 9),
)
def test_everything_is_delivered_once(
    there: list[tuple[int, int]], before: list[tuple[int, int]], since: int, size: int
) -> None:
    own, done = Holdings(), Holdings()
    for first, more in there:
        w.deliver(own, NOW, first, first + more)
    for first, more in before:
        w.deliver(done, NOW, first, first + more)
    wanted = {s for first, more in there for s in range(first, first + more + 1)}
    wanted -= {s for first, more in before for s in range(first, first + more + 1)}
    seen: list[int] = []
    while found := [*w.windows(own.terms, done, Position(NOW, since), everything, size)]:
        for window in found:
            assert window.last - window.first < size
            assert all((seq > since) is window.live for seq in range(window.first, window.last + 1))
            seen += range(window.first, window.last + 1)
            w.deliver(done, *window[:3])
    assert sorted(seen) == sorted(wanted)
    assert w.outstanding(own.terms, done, everything) == 0


def test_deliveries_outlive_a_failover_as_a_set() -> None:
    here = held(peer=[(1, 9)], now=[(1, 20)]) | {OLD: EMPTY_HOLDING}
    done = Holdings()
    for term, first, last in ((OLD, 1, 4), (PEER, 1, 9), (NOW, 1, 5), (NOW, 9, 12)):
        w.deliver(done, term, first, last)
    whole = Delivered("mqtt", 5, 3, True, w.spans(done, here))
    assert {span[0] for span in whole.spans} == {2, 3}, "of the old term nothing is held any more"
    window = w.Window(NOW, 6, 8, False)
    joined = w.joined([window.delivery, (*NOW, 13, 13), (*NOW, 9, 12)])
    assert joined == ((*NOW, 6, 13),)
    more = Delivered("mqtt", 6, 3, False, joined)
    told = [decode(encode(record)) for record in (more, whole)]
    again = w.delivered(record for record in told if isinstance(record, Delivered))
    known = again.of(NOW)
    assert known is not None and known.stretches == ((1, 13),)
    assert w.births_of([whole, more]) == 3 and w.births_of([]) == 0
    below = {NOW: Holding(15, ((15, 20),)), PEER: Holding(3, ((3, 9),))}
    assert w.dropped(below, done) == {NOW: 14 - 9}
    assert [span[:1] for span in w.spans(again, below)] == [(2,)], "all below the floor is over"


# --------------------------------------------------------------------------- observations


def batch(revision: int = 1, origin: Origin = Origin.POLL, point: int = 0) -> Batch:
    return Batch("plc1", "fast", revision, origin, 10, 20, ((point, 15, 1.5, 0), (9, 15, 1, 0)))


def record(seq: int, body: Body) -> Record:
    return Record(Position(NOW, seq), b"", b"", body)


def test_a_batch_is_told_by_names_and_one_without_its_revision_waits() -> None:
    def names(revision: int, term: Term) -> tuple[str, ...] | None:
        return ("plc1/level",) if revision == 1 and term == NOW else None

    event = Event("x", 1, "y", 33)
    read = observe([record(4, batch()), record(5, event), record(6, batch(2))], names)
    assert read.observations == [
        Observation(Position(NOW, 4), 0, "plc1/level", 15, 1.5, 0, 20, Origin.POLL)
    ]
    assert (read.bodies, read.through, read.unknown) == ([event], 6, [6])
    assert observe([], names).through == 0
    assert is_late(read.observations[0], False) and not is_late(read.observations[0], True)
    wound = observe([record(4, batch(origin=Origin.WINDBACK))], names).observations[0]
    assert is_late(wound, True)


def test_records_tell_their_time_and_whose_gaps_they_touch() -> None:
    fill = Fill("plc1", "fast", "ring", 5, 9, "filled", (), 77)
    hole = Hole("plc2", "fast", 3, 4, "device")
    cover = Coverage(1, 0, 50, (hole, Hole("plc1", "slow", 2, 6, "device")))
    loss = Loss(1, 2, "store", "")
    assert [time_of(b) for b in (batch(), cover, loss, fill)] == [20, 50, 0, 77]
    found = touched([fill, cover, loss, batch()])
    assert found == {"plc1": (2, 9), "plc2": (3, 4), "": (1, 2)}


# ------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (None, None, (None, None)),
        (True, DataType.BOOL, (1.0, None)),
        (7, DataType.INT16, (7.0, None)),
        (2**63 + 1, DataType.UINT64, (float(2**63), str(2**63 + 1))),
        (1.5, None, (1.5, None)),
        (b"\x01\xff", DataType.BYTES, (None, "01ff")),
        ("a\x00b\ud800", DataType.STRING, (None, "a\ufffdb?")),
        (1_500_000_000, DataType.DATETIME, (1.5e9, "1970-01-01T00:00:01.500Z")),
        (math.inf, None, (math.inf, "inf")),
    ],
)
def test_a_value_is_a_double_and_a_text_where_that_says_more(
    value: Any, kind: DataType | None, told: tuple[float | None, str | None]
) -> None:
    assert tables.stored(value, kind) == told


def test_rows_are_keyed_by_position() -> None:
    seen = Observation(Position(NOW, 4), 2, "plc1/level", 1_999, 1.5, 0x80310000, 5_000, 2)
    columns = tables.columns([seen], {"plc1/level": 11}, {NOW: 12}, {})
    row = [column[0] for column in columns]
    assert (row[0], row[3], row[5:]) == (11, 1.5, [0x80310000, 2, 12, 4, 2])
    assert tables.nanoseconds(row[1]) == 1_000 and tables.nanoseconds(row[2]) == 5_000
    assert tables.status_rows([seen, seen]) == [(0x80310000, "BadNoCommunication")]
    assert tables.nanoseconds(tables.moment(-1)) == -1_000
    text = "\n".join([*tables.tables("own"), tables.insert("own"), tables.hypertable("own")])
    assert "PRIMARY KEY (source_time, term_id, seq, place)" in text and "hotpair" not in text
    gap = Gap("plc1", "fast", 0, 1_000, Cause.LINK, GapState.LOST, "no log", ("level",))
    assert tables.gap_rows("s", [gap])[0][5:] == ("link", "lost", "no log", ["level"])
    assert tables.point_rows("s", []) == []
