"""Synchronous replication: what clients may see, and what is journalled before they do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.records import EMPTY_DIGEST, Batch, Body, Event, Record, seal
from gateway.model import NS_PER_MS, NS_PER_S, Position, Term
from gateway.replication import gate as gates
from gateway.replication.effects import Alarm
from gateway.replication.gate import Declare, GateEffect, Release, State, SyncGate

TERM = Term(4, "a", 1)
TIMEOUT_NS = 500 * NS_PER_MS


def batch(*samples: tuple[int, float], revision: int = 1) -> Batch:
    rows = tuple((point, 1, value, 0) for point, value in samples)
    return Batch("plc1", "normal", revision, 0, 1, 2, rows, complete=True)


def record(seq: int, body: Body | None = None, term: Term = TERM) -> Record:
    return seal(term, seq, EMPTY_DIGEST, body or batch((seq, 1.0)))


def released(effects: Sequence[GateEffect]) -> list[int]:
    return [r.position.seq for e in effects if isinstance(e, Release) for r in e.records]


def closed(hold: bool = False) -> SyncGate:
    gate = SyncGate("a", TIMEOUT_NS, hold, level=True)
    assert gate.begin() == []
    return gate


def test_a_value_waits_for_its_acknowledgement() -> None:
    gate = closed()
    assert gate.committed([record(1), record(2)], True, 0) == []
    assert gate.committed([record(3)], True, 1) == []
    assert gate.waiting == 3
    assert released(gate.acknowledged(Position(TERM, 2), True, 5)) == [1, 2]
    assert released(gate.acknowledged(Position(TERM, 3), True, 6)) == [3]
    assert gate.waiting == 0


def test_an_acknowledgement_that_is_not_full_releases_nothing() -> None:
    gate = closed()
    gate.committed([record(1)], True, 0)
    assert gate.acknowledged(Position(TERM, 1), False, 5) == []


def test_an_acknowledgement_of_another_term_releases_nothing() -> None:
    gate = closed()
    gate.committed([record(1)], True, 0)
    assert gate.acknowledged(Position(Term(3, "a", 9), 50), True, 5) == []


def test_old_acknowledgements_are_forgotten_and_the_newest_remembered() -> None:
    gate = closed()
    for number in range(20):
        gate.acknowledged(Position(Term(number, "a", 9), 50), True, 5)
    assert released(gate.committed([record(7, term=Term(19, "a", 9))], True, 6)) == [7]


def test_what_is_no_value_of_this_node_does_not_wait() -> None:
    gate = closed()
    theirs = record(9, term=Term(2, "b", 3))
    event = record(2, Event("x", 1, "y", 1))
    assert released(gate.committed([record(1), event, theirs], True, 0)) == [2, 9]


def test_unstored_values_follow_those_before_them_and_need_no_acknowledgement() -> None:
    gate = closed()
    assert released(gate.committed([record(0)], False, 0)) == [0]
    gate.committed([record(1)], True, 1)
    assert gate.committed([record(0)], False, 2) == []
    effects = gate.acknowledged(Position(TERM, 1), True, 3)
    assert [(released([e]), e.stored) for e in effects if isinstance(e, Release)] == [
        ([1], True),
        ([0], False),
    ]


def test_async_since_is_journalled_before_the_first_unacknowledged_value() -> None:
    gate = closed()
    gate.committed([record(1)], True, 0)
    assert gate.tick(TIMEOUT_NS - 1, False) == []
    (declare,) = gate.tick(TIMEOUT_NS, False)
    assert isinstance(declare, Declare)
    assert not declare.synchronous
    assert "500 ms" in declare.why
    assert gate.committed([record(2)], True, TIMEOUT_NS) == []
    assert gate.tick(10 * NS_PER_S, False) == []
    assert gate.state is State.FALLING
    assert released(gate.journalled()) == [1, 2]
    assert released(gate.committed([record(3)], True, 2)) == [3]


def test_sync_resumes_at_lag_zero_and_is_journalled_before_values_wait() -> None:
    gate = closed()
    gate.committed([record(1)], True, 0)
    gate.tick(NS_PER_S, False)
    gate.journalled()
    assert gate.tick(2 * NS_PER_S - 1, True) == []  # not at once: nothing flaps
    assert gate.tick(2 * NS_PER_S, False) == []
    (declare,) = gate.tick(2 * NS_PER_S, True)
    assert declare == Declare(True, "the other node has everything")
    assert released(gate.committed([record(2)], True, 0)) == [2]
    assert gate.journalled() == []
    assert gate.state is State.SYNC
    assert gate.committed([record(3)], True, 0) == []
    assert gate.journalled() == []


def test_a_takeover_does_not_wait_for_a_node_that_is_dead() -> None:
    gate = SyncGate("a", TIMEOUT_NS, False, level=False)
    (declare,) = gate.begin()
    assert declare == Declare(False, "the other node does not follow")
    assert gate.committed([record(1)], True, 0) == []
    assert released(gate.journalled()) == [1]


def test_hold_never_lets_go_without_acknowledgement_and_says_so_once() -> None:
    gate = SyncGate("a", TIMEOUT_NS, True, level=False)
    assert gate.begin() == []
    gate.committed([record(1)], True, 0)
    (alarm,) = gate.tick(TIMEOUT_NS, False)
    assert isinstance(alarm, Alarm)
    assert gate.tick(100 * NS_PER_S, False) == []
    gate.committed([record(2)], True, 100 * NS_PER_S)
    assert released(gate.acknowledged(Position(TERM, 0), True, 100 * NS_PER_S)) == []
    assert gate.state is State.HELD
    effects = gate.acknowledged(Position(TERM, 2), True, 101 * NS_PER_S)
    assert released(effects) == [1, 2]
    assert any(isinstance(effect, Alarm) for effect in effects)
    assert gate.state is State.SYNC


def test_a_full_memory_keeps_the_newest_value_of_each_point() -> None:
    gate = closed(hold=True)
    count = gates.HELD_SAMPLES_MAX // 1_000 + 1
    for seq in range(1, count + 1):
        rows = [(seq % 7, float(seq))] * 999
        gate.committed([record(seq, batch(*rows, (7, float(seq))))], True, 0)
    assert gate.waiting <= 8
    (release,) = [
        e for e in gate.acknowledged(Position(TERM, count), True, 5) if isinstance(e, Release)
    ]
    bodies = [r.body for r in release.records if isinstance(r.body, Batch)]
    newest = {point: value for body in bodies for point, _, value, _ in body.samples}
    assert newest[7] == float(count)
    assert len(newest) == 8
    assert not any(body.complete for body in bodies)


def test_points_of_different_revisions_are_different_points() -> None:
    gate = closed(hold=True)
    size = gates.HELD_SAMPLES_MAX
    many = batch(*((point, 1.0) for point in range(size)), revision=1)
    gate.committed([record(1, many)], True, 0)
    gate.committed([record(2, batch((1, 2.0), revision=2))], True, 0)
    assert gate.waiting == size + 1
    gate.committed([record(3, batch((1, 3.0), revision=2))], True, 0)
    assert gate.waiting == size + 2  # more points than room: it may grow to twice their number


def test_a_reign_that_goes_on_closes_its_gate_once_the_other_node_follows() -> None:
    """A revision asked for sync: what went out before waits for nobody."""
    gate = SyncGate("a", TIMEOUT_NS, False, level=False, fresh=False)
    assert gate.begin() == []
    assert released(gate.committed([record(1)], True, NS_PER_S)) == [1]
    assert gate.tick(2 * NS_PER_S, False) == []
    assert gate.tick(3 * NS_PER_S, True) == [Declare(True, "the other node has everything")]
    gate.journalled()
    assert gate.committed([record(2)], True, 4 * NS_PER_S) == []


def test_a_revision_that_asks_for_async_lets_go_after_it_is_journalled() -> None:
    gate = closed(hold=True)
    gate.committed([record(1)], True, 0)
    gate.tick(TIMEOUT_NS, False)
    assert gate.state is State.HELD
    gate.revise(False, TIMEOUT_NS, True)
    assert gate.tick(NS_PER_S, True) == [Declare(False, "the site no longer asks for sync")]
    assert gate.committed([record(2)], True, NS_PER_S) == []
    assert released(gate.journalled()) == [1, 2]
    assert gate.tick(100 * NS_PER_S, True) == [], "it stays open"
    gate.revise(True, TIMEOUT_NS, False)
    assert gate.tick(101 * NS_PER_S, False) == []
    gate.revise(True, TIMEOUT_NS, True)
    (declare,) = gate.tick(102 * NS_PER_S, False)
    assert isinstance(declare, Declare) and declare.synchronous, "hold waits for nobody"
    gate.journalled()
    assert gate.state is State.SYNC


def test_who_no_longer_says_hold_lets_go_of_what_is_held() -> None:
    gate = closed(hold=True)
    gate.committed([record(1)], True, 0)
    gate.tick(TIMEOUT_NS, False)
    gate.revise(True, 2 * TIMEOUT_NS, False)
    assert gate.tick(2 * TIMEOUT_NS - 1, False) == []
    (declare,) = gate.tick(2 * TIMEOUT_NS, False)
    assert declare == Declare(False, "no acknowledgement of the other node for 1000 ms")


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(0, 6)),
        st.tuples(st.just("time"), st.integers(1, 800)),
        st.tuples(st.just("journalled"), st.just(0)),
        st.tuples(st.just("revise"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(OPS, st.booleans(), st.booleans())
@pytest.mark.parametrize("level", [True, False])
def test_no_value_is_seen_before_its_turn(
    level: bool, ops: list[tuple[str, int]], hold: bool, follows: bool
) -> None:
    gate = SyncGate("a", TIMEOUT_NS, hold, level)
    asked = bool(gate.begin())
    now_ns = top = acked = 0
    seen: list[int] = []
    sync = True  # until a record says otherwise
    for what, number in ops:
        effects: list[GateEffect] = []
        if what == "commit":
            records = [record(top + i) for i in range(1, number + 1)]
            top += number
            effects = gate.committed(records, True, now_ns)
        elif what == "ack":
            acked = max(acked, top - number)
            effects = gate.acknowledged(Position(TERM, acked), True, now_ns)
        elif what == "time":
            now_ns += number * NS_PER_MS
            effects = gate.tick(now_ns, follows)
        elif what == "revise":
            gate.revise(bool(number & 1), TIMEOUT_NS, bool(number & 2))
        elif asked:
            asked = False
            sync = gate.state is State.RISING
            effects = gate.journalled()
        asked = asked or any(isinstance(effect, Declare) for effect in effects)
        new = released(effects)
        assert not new or not sync or max(new) <= acked
        seen += new
    assert seen == sorted(set(seen))
    seen += released(gate.acknowledged(Position(TERM, top), True, now_ns))
    assert seen == list(range(1, top + 1))
