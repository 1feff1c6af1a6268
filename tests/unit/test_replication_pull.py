"""The two ends of a pull, tied together: order, windows, floors, faults, lag and proof."""

from __future__ import annotations

from itertools import pairwise

import pytest
from replication_world import SMALL, STEP_NS, World, a_batch, a_fact

from gateway.errors import ReplicaError
from gateway.journal.records import Adopted, Event, Fact
from gateway.model import NS_PER_MS, NS_PER_S, Position, Term
from gateway.replication import effects as ef
from gateway.replication.effects import PullStatus
from gateway.replication.frames import Ack, Fault, Floor, Have, Head, Kept, Records
from gateway.replication.receiver import Receiver
from gateway.replication.sender import Sender
from gateway.replication.window import LIMITS, Limits


def linked(limits: Limits = LIMITS, seed: int = 1) -> World:
    world = World(seed, limits)
    world.a.append(a_batch(1), a_fact(1))
    world.connect("b")
    world.settle_pull("b")
    return world


def drained(world: World, name: str = "b") -> list[Records]:
    """What was sent since, forgetting it."""
    pull = world.pull(name)
    found = world.frames(name)
    pull.sent.clear()
    return found


def seqs(frames: list[Records]) -> list[tuple[int, int]]:
    return [
        (frame.term.number, frame.first + i) for frame in frames for i in range(len(frame.items))
    ]


# ---------------------------------------------------------------------------------- live


def test_a_commit_goes_out_at_once_without_any_timer() -> None:
    world = linked()
    drained(world)
    world.a.append(a_batch(2))
    assert len(drained(world)) == 1


def test_commits_of_one_turn_go_in_one_frame() -> None:
    world = linked()
    drained(world)
    pull = world.pull("b")
    records = world.a.journal.append([a_batch(i) for i in range(5)])
    for record in records:
        pull.sender.committed([record], world.now_ns)
    pull.speak()
    (frame,) = drained(world)
    assert len(frame.items) == 5


def test_what_the_receiver_wrote_is_not_sent_back() -> None:
    world = World()
    world.connect()
    world.settle(5_000)
    world.b.append(a_batch(1), a_batch(2))
    world.settle(5_000)
    assert world.frames("b") == []
    assert len(seqs(world.frames("a"))) == 2


def test_what_the_receiver_had_before_is_not_sent_back() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(6)))
    world.a.save()
    world.a.append(*(a_batch(i) for i in range(6)))
    world.connect()
    world.settle(5_000)
    world.a.restore()  # it lacks the second half of its own, and pulls it from b
    world.connect()
    world.settle(5_000)
    assert world.differences() == []
    assert len(seqs(world.frames("a"))) == 6
    assert seqs(world.frames("b")) == []


def test_a_commit_that_the_question_already_counted_is_sent_once() -> None:
    world = World()
    records = world.a.journal.append([a_batch(1), a_batch(2)])
    world.connect("b")
    pull = world.pull("b")
    while pull.to_sender:
        pull.actions()[0]()
    pull.sender.committed(records, world.now_ns)  # the sink comes after the holdings
    world.settle_pull("b")
    assert seqs(drained(world)) == [(1, 1), (1, 2)]


def test_nothing_happens_before_the_peer_asked() -> None:
    world = World()
    sender = Sender(world.a.journal, 0)
    sender.committed(world.a.journal.append([a_batch(1)]), 5)
    sender.summarised({})
    assert sender.next(10**12) is None
    assert sender.percent == 0.0
    assert not sender.level
    assert sender.pending_ns(50) == 0


# ---------------------------------------------------------------------------------- window


def test_no_more_is_under_way_than_the_window_holds() -> None:
    world = linked(SMALL)
    pull = world.pull("b")
    drained(world)
    for i in range(200):
        world.a.append(a_batch(i))
    sent = seqs(drained(world))
    assert 0 < len(sent) <= SMALL.window_records
    assert pull.sender.records_behind == 200
    assert pull.sender.samples_behind == pytest.approx(600, rel=0.1)
    world.settle_pull("b")
    assert world.differences() == []


def test_a_slow_peer_costs_bounded_memory_and_loses_nothing() -> None:
    world = linked(SMALL)
    pull = world.pull("b")
    for i in range(300):
        world.a.append(a_batch(i))
        held = sum(lane.recent_size for lane in pull.sender._lanes.values())
        assert held <= SMALL.memory_size
    assert pull.sender.samples_behind == pytest.approx(900, rel=0.1)  # most of it estimated
    world.settle_pull("b")
    assert world.differences() == []
    assert pull.sender.level


def test_memory_is_bounded_over_all_terms() -> None:
    world = linked(SMALL)
    pull = world.pull("b")
    for _ in range(4):
        world.a.journal.term = world.term("a")
        for i in range(40):
            world.a.append(a_batch(i))
    assert sum(lane.recent_size for lane in pull.sender._lanes.values()) <= 2 * SMALL.memory_size
    world.settle_pull("b")
    assert world.differences() == []


def test_a_record_larger_than_the_window_goes_alone() -> None:
    world = linked(SMALL)
    text = "x" * 3 * SMALL.window_size
    world.a.append(a_batch(1), Event("big", 1, text, 1), a_batch(2))
    world.settle_pull("b")
    assert world.differences() == []
    big = [f for f in drained(world) if any(len(wire) > len(text) for wire, _ in f.items)]
    assert [len(frame.items) for frame in big] == [1]


def test_a_peer_that_sends_more_than_its_window_is_refused() -> None:
    world = World()
    receiver = Receiver(world.b.journal)
    receiver.begin({}, 0)
    frame = Records(Term(1, "a", 1), 1, ((b"w", b"d"),) * LIMITS.window_records)
    receiver.heard(frame, 0)
    receiver.heard(frame, 0)
    with pytest.raises(ReplicaError, match="window"):
        receiver.heard(frame, 0)


@pytest.mark.parametrize("frame", [Ack(1, 2), Records(Term(1, "a", 1), 1, ()), Floor])
def test_frames_that_break_the_protocol_are_refused(frame: Ack | Records | type) -> None:
    world = World()
    if frame is Floor:
        with pytest.raises(ReplicaError, match="not its to send"):
            Sender(world.a.journal, 0).heard(Floor(Term(1, "a", 1), 1, 1), 0)
    else:
        with pytest.raises(ReplicaError):
            Receiver(world.b.journal).heard(frame, 0)


# ---------------------------------------------------------------------------------- order


def test_kept_kinds_come_first_then_terms_in_order() -> None:
    world = World()
    for _ in range(3):
        world.a.append(*(a_batch(i) for i in range(5)), a_fact(1))
        world.a.journal.term = world.term("a")
    world.connect("b")
    world.settle_pull("b")
    sent = [f for f in world.pull("b").sent if isinstance(f, Records | Kept)]
    kinds = [type(frame) for frame in sent]
    assert kinds == sorted(kinds, key=[Kept, Records].index)
    positions = seqs([f for f in sent if isinstance(f, Records)])
    assert positions == sorted(positions)
    assert len(positions) == 18


def test_in_a_long_catch_up_the_newest_term_becomes_live_soon_with_its_revisions_first() -> None:
    world = World(3, SMALL)
    world.a.append(*(a_batch(i) for i in range(400)), a_fact(1))
    world.a.journal.term = world.term("a")
    world.a.append(a_fact(2), *(a_batch(i) for i in range(5)))
    newest = world.a.journal.term
    world.connect("b")
    pull = world.pull("b")
    end: int | None = None
    for i in range(60):
        world.run(10)
        world.a.append(a_batch(i))
        live = world.b.journal.holdings.of(newest)
        if end is None and live is not None and live.last >= 7:
            end = pull.sender.records_behind
    assert end is not None
    assert end > 200  # the old ones were far from done
    assert next(type(f) for f in pull.sent if isinstance(f, Kept | Records)) is Kept
    world.settle_pull("b")
    assert world.differences() == []
    shown = [frame.term for frame in world.frames("b")]
    for term in set(shown):
        firsts = [frame.first for frame in world.frames("b") if frame.term == term]
        assert firsts == sorted(firsts)  # what is held of a term is always its beginning


def test_the_old_part_leaves_half_the_window_to_the_newest_term() -> None:
    world = World(3, SMALL)
    world.a.append(*(a_batch(i) for i in range(100)))
    world.a.journal.term = world.term("a")
    world.connect("b")
    pull = world.pull("b")
    while not world.frames("b"):
        (pull.actions() or [world.pass_time])[0]()
    while pull.reads:
        pull._read()
    old = seqs(world.frames("b"))
    assert len(old) <= SMALL.window_records // 2
    world.a.append(a_batch(1))
    assert world.frames("b")[-1].term == world.a.journal.term


# ---------------------------------------------------------------------------------- floors


def test_what_the_sender_dropped_is_forgone_and_its_kept_kinds_come() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(4)), a_fact(1), *(a_batch(i) for i in range(4)))
    term = world.a.journal.term
    world.a.journal.drop(term, 6)
    world.connect("b")
    world.settle_pull("b")
    assert world.b.forgone == [(term, 6, 6)]
    assert world.differences() == []
    assert Position(term, 5) in world.b.journal.kept
    world.cut()
    world.connect("b")
    world.settle_pull("b")
    assert len(world.b.forgone) == 1  # not told again


def test_a_term_that_was_dropped_altogether_still_gives_its_kept_kinds() -> None:
    world = World()
    world.a.append(a_batch(1), a_fact(1))
    term = world.a.journal.term
    world.a.journal.drop(term, 2)
    world.connect("b")
    world.settle_pull("b")
    assert world.b.journal.kept_summary() == world.a.journal.kept_summary()
    assert world.differences() == []


def test_a_floor_that_moves_while_sending_is_told_and_the_rest_goes_on() -> None:
    world = World(5, SMALL)
    world.a.journal.page = 7
    world.a.append(*(a_batch(i) for i in range(20)), a_fact(1), *(a_batch(i) for i in range(60)))
    term = world.a.journal.term
    world.connect("b")
    pull = world.pull("b")
    while not world.frames("b"):
        (pull.actions() or [world.pass_time])[0]()
    world.a.journal.drop(term, 40)
    world.settle_pull("b")
    assert world.differences() == []
    assert world.b.forgone
    assert world.b.forgone[-1][:2] == (term, 40)
    assert Position(term, 21) in world.b.journal.kept


def test_a_whole_term_that_goes_while_sending_ends_its_share() -> None:
    world = World(5, SMALL)
    world.a.journal.page = 7
    world.a.append(*(a_batch(i) for i in range(60)))
    world.connect("b")
    pull = world.pull("b")
    while not world.frames("b"):
        (pull.actions() or [world.pass_time])[0]()
    world.a.journal.drop(world.a.journal.term, 60)
    world.settle_pull("b")
    assert world.differences() == []
    assert pull.sender.level


def test_a_floor_that_is_known_changes_nothing() -> None:
    world = World()
    term = world.a.journal.term
    world.b.journal.drop(term, 9)
    receiver = Receiver(world.b.journal)
    assert receiver.heard(Floor(term, 10, 5), 0) == []


# ---------------------------------------------------------------------------------- faults


def test_a_chain_that_does_not_follow_is_told_on_both_sides_and_others_go_on() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(4)))
    first = world.a.journal.term
    rows = world.a.journal.rows[first]
    rows[3] = (rows[3][0], b"?" * 16)
    world.a.journal.term = world.term("a")
    world.a.append(*(a_batch(i) for i in range(4)))
    world.connect("b")
    pull = world.pull("b")
    world.run(3_000)
    assert pull.receiver.faulted == pull.sender.faulted == {first}
    assert sum("does not follow" in text for text in pull.alarms) == 2
    assert world.b.journal.holdings.of(world.a.journal.term) == world.a.journal.holdings.of(
        world.a.journal.term
    )
    assert pull.receiver.caught is True  # the term in use is complete
    assert pull.receiver.equal is False
    assert any(str(first) in text for text in pull.proven[-1])


def test_a_fault_of_the_term_in_use_is_not_caught_up_until_it_is_mended() -> None:
    world = World()
    world.a.append(a_batch(1), a_batch(2))
    rows = world.a.journal.rows[world.a.journal.term]
    good, rows[2] = rows[2], (rows[2][0], b"?" * 16)
    world.connect("b")
    pull = world.pull("b")
    world.run(3_000)
    assert pull.receiver.caught is False
    rows[2] = good
    world.settle_pull("b")  # it asks anew by itself
    assert pull.receiver.caught is True
    assert pull.receiver.equal is True
    assert not pull.receiver.faulted


def test_what_faulted_is_asked_for_again_at_the_next_connection() -> None:
    world = World()
    world.a.append(a_batch(1), a_batch(2))
    rows = world.a.journal.rows[world.a.journal.term]
    good, rows[2] = rows[2], (rows[2][0], b"?" * 16)
    world.connect("b")
    world.run(1_000)
    rows[2] = good
    world.cut()
    world.connect("b")
    world.run(1_000)
    assert world.differences() == []


def test_records_that_follow_a_fault_are_let_by_and_acknowledged_to_nobody() -> None:
    world = World()
    term = Term(9, "a", 5)
    receiver = Receiver(world.b.journal)
    receiver.begin({}, 0)
    frame = Records(term, 1, ((b"w", b"d" * 16),))
    (adopt,) = receiver.heard(frame, 0)
    assert isinstance(adopt, ef.Adopt)
    effects = receiver.failed(adopt.ticket, "why", 0)
    assert [type(effect) for effect in effects] == [ef.Send, ef.Alarm, ef.Send]
    assert effects[0] == ef.Send(Fault("why", term))
    (ack,) = receiver.heard(frame, 1)
    assert ack == ef.Send(Ack(2, 1, False, None))


def test_faults_of_two_frames_of_a_term_are_one_alarm() -> None:
    world = World()
    receiver = Receiver(world.b.journal)
    receiver.begin({}, 0)
    frames = [Records(Term(9, "a", 5), seq, ((b"w", b"d" * 16),)) for seq in (1, 2)]
    tickets = [effect.ticket for f in frames for effect in receiver.heard(f, 0)]  # type: ignore[union-attr]
    alarms = [e for t in tickets for e in receiver.failed(t, "why", 0) if isinstance(e, ef.Alarm)]
    assert len(alarms) == 1


def test_kept_records_that_are_not_taken_are_told_and_nothing_is_skipped() -> None:
    world = World()
    receiver = Receiver(world.b.journal)
    receiver.begin({}, 0)
    (keep,) = receiver.heard(Kept((Adopted(Position(Term(1, "a", 1), 1), b"w", b"d"),)), 0)
    assert isinstance(keep, ef.Keep)
    effects = receiver.failed(keep.ticket, "why", 0)
    assert effects[0] == ef.Send(Fault("why", None))
    assert not receiver.faulted
    sender = Sender(world.a.journal, 0)
    sender.heard(Fault("why", None), 0)
    assert isinstance(sender.next(0), ef.Alarm)
    assert not sender.faulted


def test_records_that_cant_be_read_back_are_told_on_both_sides_and_others_go_on() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(4)))
    first = world.a.journal.term
    world.a.journal.unreadable.add(Position(first, 3))
    world.a.journal.term = world.term("a")
    world.a.append(a_batch(1))
    world.connect("b")
    pull = world.pull("b")
    world.run(2_000)
    assert pull.receiver.faulted == pull.sender.faulted == {first}
    assert sum("read back" in text for text in pull.alarms) == 2
    assert world.b.journal.holdings.of(world.a.journal.term) is not None
    world.a.append(a_batch(2))
    world.a.journal.unreadable.clear()
    world.settle_pull("b")
    assert world.differences() == []


def test_commits_of_a_term_that_is_skipped_wait_for_the_next_question() -> None:
    world = linked()
    pull = world.pull("b")
    pull.sender.heard(Fault("why", world.a.journal.term), world.now_ns)
    drained(world)
    world.a.append(a_batch(1))
    assert drained(world) == []
    world.settle_pull("b")
    assert world.differences() == []


def test_a_fault_of_the_peer_that_names_no_term_is_an_alarm() -> None:
    receiver = Receiver(World().b.journal)
    (alarm,) = receiver.heard(Fault("why"), 0)
    assert isinstance(alarm, ef.Alarm)
    assert not receiver.faulted


# ---------------------------------------------------------------------------------- loads


def test_an_answer_to_a_load_that_nobody_waits_for_is_ignored() -> None:
    world = linked()
    pull = world.pull("b")
    term = world.a.journal.term
    pull.sender.loaded(ef.Load(term, 1, 5, 5), [(1, b"x", b"y")])
    pull.sender.kept_loaded(ef.LoadKept((term,), None), [])
    drained(world)
    world.run(300)
    assert drained(world) == []


def test_a_new_question_while_records_are_under_way_loses_none() -> None:
    world = linked(SMALL)
    pull = world.pull("b")
    for i in range(20):
        world.a.append(a_batch(i))
    pull._do_receiver(pull.receiver.begin({}, world.now_ns))
    world.settle_pull("b")
    assert world.differences() == []
    assert pull.sender.level


def test_damage_while_sending_is_left_out_and_no_fault() -> None:
    world = World(5, SMALL)
    world.a.journal.page = 7
    world.a.append(*(a_batch(i) for i in range(60)))
    term = world.a.journal.term
    world.connect("b")
    pull = world.pull("b")
    while not world.frames("b"):
        (pull.actions() or [world.pass_time])[0]()
    world.a.journal.lose(term, 30, 40)
    world.settle_pull("b")
    assert world.differences() == []
    assert not pull.alarms


def test_more_than_was_asked_for_is_cut() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(9)))
    term = world.a.journal.term
    for seq in (3, 4):
        wire, digest = world.a.journal.rows[term][seq]
        world.b.journal.rows.setdefault(term, {})[seq] = (wire, digest)
        world.b.journal.holdings.note(Position(term, seq), digest)
    world.a.journal.records = lambda load: [  # type: ignore[method-assign]
        (seq, *world.a.journal.rows[term][seq]) for seq in range(load.first, 10)
    ]
    world.connect("b")
    world.settle_pull("b")
    assert [seq for _, seq in seqs(drained(world))] == [1, 2, 5, 6, 7, 8, 9]


# ---------------------------------------------------------------------------------- caught up


def head(world: World, number: int = 1, ahead: int = 0, echo_ns: int = 0) -> Head:
    terms = world.a.journal.holdings.terms
    return Head(number, world.a.journal.term, tuple(terms.items()), ahead, 0, 0, echo_ns, 0)


def asked(world: World, now_ns: int = 0) -> Receiver:
    receiver = Receiver(world.b.journal)
    (send,) = receiver.begin({}, now_ns)
    assert isinstance(send, ef.Send)
    assert isinstance(send.frame, Have)
    return receiver


def test_caught_up_comes_only_after_the_commit_of_what_went_before_the_head() -> None:
    world = World()
    (record,) = world.a.journal.append([a_batch(1)])
    receiver = asked(world)
    frame = Records(world.a.journal.term, 1, ((record.wire, record.digest),))
    (adopt,) = receiver.heard(frame, 0)
    assert receiver.heard(head(world), 1) == []
    assert receiver.records_behind == 1
    assert isinstance(adopt, ef.Adopt)
    world.b.journal.adopt(adopt.records)
    effects = receiver.done(adopt.ticket, 2)
    assert ef.CaughtUp(True) in effects
    assert ef.Proven(()) in effects
    assert receiver.records_behind == 0


def test_a_head_that_lay_long_on_the_way_is_not_caught_up() -> None:
    world = World()
    receiver = asked(world)
    effects = receiver.heard(head(world, echo_ns=0), NS_PER_S + 1)
    assert ef.CaughtUp(True) not in effects
    effects = receiver.heard(head(world, echo_ns=NS_PER_S), 2 * NS_PER_S)
    assert ef.CaughtUp(True) in effects


def test_a_head_that_answers_an_older_question_proves_nothing() -> None:
    world = World()
    receiver = asked(world)
    receiver.begin({}, 1)
    assert receiver.heard(head(world, number=1), 2) == []
    assert receiver.caught is None


def test_behind_at_first_is_told_at_once() -> None:
    world = World()
    receiver = asked(world)
    assert receiver.heard(head(world, ahead=5), 1) == [ef.CaughtUp(False)]
    assert receiver.heard(head(world, ahead=4), 2) == []


def test_two_seconds_without_a_good_head_is_fell_behind() -> None:
    world = World()
    receiver = asked(world)
    receiver.heard(head(world), 0)
    assert receiver.caught is True
    assert ef.CaughtUp(False) not in receiver.tick(2 * NS_PER_S)
    receiver.heard(head(world, ahead=1), 2 * NS_PER_S)
    assert ef.CaughtUp(False) in receiver.tick(2 * NS_PER_S + 1)
    assert receiver.lag_ns(3 * NS_PER_S) == 3 * NS_PER_S


def test_silence_from_the_beginning_is_behind() -> None:
    receiver = asked(World(), 10 * NS_PER_S)
    assert receiver.percent == 0.0
    assert ef.CaughtUp(False) not in receiver.tick(12 * NS_PER_S)
    assert ef.CaughtUp(False) in receiver.tick(12 * NS_PER_S + 1)
    assert receiver.lag_ns(13 * NS_PER_S) == 3 * NS_PER_S


def test_the_lag_of_a_pair_that_follows_is_what_the_sender_measured() -> None:
    world = linked()
    pull = world.pull("b")
    world.a.append(a_batch(1))
    world.now_ns += 30 * NS_PER_MS
    world.settle_pull("b")
    pull.sent.clear()
    world.a.append(a_batch(2))
    assert pull.sender.lag_ns(world.now_ns + 5) >= 5
    world.run(1_000)
    assert max(f.lag_ns for f in pull.sent if isinstance(f, Head)) > 0
    assert pull.receiver.lag_ns(world.now_ns) <= 300 * NS_PER_MS
    assert all(a.lag_ns is not None for a in pull.acked[-1:])


def test_the_lag_of_a_peer_that_lacks_old_records_counts_from_when_it_had_all() -> None:
    world = World()
    world.a.append(a_batch(1))
    level_ns = world.now_ns - 7 * NS_PER_S
    sender = Sender(world.a.journal, level_ns)
    sender.heard(Have("b", 1, (), (), False, 0), world.now_ns)
    assert sender.pending_ns(world.now_ns) == 7 * NS_PER_S
    assert sender.lag_ns(world.now_ns) == 7 * NS_PER_S


def test_percent_counts_records() -> None:
    world = World()
    world.a.append(*(a_batch(i) for i in range(10)))
    for record in world.a.journal.rows[world.a.journal.term].items():
        if record[0] <= 4:
            position = Position(world.a.journal.term, record[0])
            world.b.journal.adopt([Adopted(position, *record[1])])
    world.connect("b")
    pull = world.pull("b")
    pull._deliver_to_sender()
    assert pull.sender.percent == pytest.approx(
        30.0
    )  # kept ones are not known yet: that counts one
    world.settle_pull("b")
    assert pull.sender.percent == pull.receiver.percent == 100.0


def test_an_empty_journal_is_wholly_synced() -> None:
    world = World()
    world.connect("b")
    world.run(1_000)
    pull = world.pull("b")
    assert pull.sender.percent == pull.receiver.percent == 100.0
    assert pull.receiver.equal is True
    assert PullStatus().percent == 0.0


# ---------------------------------------------------------------------------------- proof


def test_nodes_under_constant_traffic_prove_that_they_are_equal() -> None:
    world = World()
    world.connect()
    for i in range(300):
        world.a.append(a_batch(i))
        world.b.append(Event("b", 1, "diary", i))
        world.run(20)
    for name in ("a", "b"):
        assert world.pull(name).proven
        assert set(world.pull(name).proven[2:]) == {()}
        assert world.pull(name).sender.equal is True


def test_a_record_that_differs_at_the_same_position_is_no_equality() -> None:
    world = World()
    world.a.append(a_batch(1))
    term = world.a.journal.term
    world.b.journal.term, own = term, world.b.journal.term
    world.b.journal.append([a_batch(2)])
    world.b.journal.term = own
    world.connect("b")
    world.run(2_000)
    pull = world.pull("b")
    assert pull.receiver.equal is False
    assert "another digest" in pull.proven[-1][0]
    assert pull.sender.equal is False


def test_what_is_lost_here_while_connected_is_asked_for_again_and_not_too_often() -> None:
    world = linked()
    pull = world.pull("b")
    world.a.append(*(a_batch(i) for i in range(9)))
    world.settle_pull("b")
    world.b.journal.lose(world.a.journal.term, 3, 5)
    began_ns = world.now_ns
    world.settle_pull("b")
    assert world.differences() == []
    assert world.now_ns - began_ns < 10 * NS_PER_S
    pull.world.a.journal.lose(world.a.journal.term, 4, 4)
    world.b.journal.lose(world.a.journal.term, 4, 4)
    world.run(2_000)
    assert pull.receiver.equal is True  # neither has it: there is nothing to ask for


def test_asking_for_what_never_comes_slows_down() -> None:
    world = World()
    world.a.append(a_batch(1), a_batch(2))
    rows = world.a.journal.rows[world.a.journal.term]
    rows[2] = (rows[2][0], b"?" * 16)
    world.connect("b")
    pull = world.pull("b")
    asked_at: list[int] = []
    for _ in range(30_000):
        number = pull.receiver._number
        world.pass_time(STEP_NS)
        for action in pull.actions():
            action()
        while world.b.commits:
            world.b.commit_one()
        if pull.receiver._number != number:
            asked_at.append(world.now_ns)
    pauses = [b - a for a, b in pairwise(asked_at)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 60 * NS_PER_S


def test_durability_is_told_with_each_acknowledgement() -> None:
    world = linked()
    pull = world.pull("b")
    assert pull.sender.durable
    assert pull.acked[-1].durable
    pull.receiver.durable = False
    world.run(500)
    assert not pull.sender.durable


def test_frames_acknowledged_together_are_one_acknowledgement_with_the_longest_delay() -> None:
    world = linked()
    pull = world.pull("b")
    frames = len([f for f in pull.sent if isinstance(f, Records | Kept)])
    pull.acked.clear()
    world.a.append(a_batch(1))
    world.now_ns += 5
    world.a.append(a_batch(2))
    pull.sender.heard(Ack(frames + 2, world.now_ns), world.now_ns + 10)
    pull.speak()
    assert pull.acked == [ef.Acked(Position(world.a.journal.term, 4), False, 15)]


def test_a_term_that_went_on_while_a_head_waited_is_not_compared_with_it() -> None:
    world = World()
    first, second = world.a.journal.append([a_batch(1), a_batch(2)])
    term = world.a.journal.term
    receiver = asked(world)
    adopts = [receiver.heard(Records(term, 1, ((first.wire, first.digest),)), 0)]
    holdings = ((term, world.a.journal.holdings.of(term)._replace(stretches=((1, 1),))),)  # type: ignore[union-attr]
    receiver.heard(Head(1, term, holdings, 0, 7, 0, 0, 0), 0)
    adopts.append(receiver.heard(Records(term, 2, ((second.wire, second.digest),)), 0))
    effects: list[ef.ReceiverEffect] = []
    for (adopt,) in adopts:
        assert isinstance(adopt, ef.Adopt)
        world.b.journal.adopt(adopt.records)
    for (adopt,) in adopts:
        assert isinstance(adopt, ef.Adopt)
        effects += receiver.done(adopt.ticket, 1)
    assert ef.Proven(()) in effects
    assert receiver.samples_behind == 7


def test_many_kept_records_keep_to_the_window() -> None:
    world = World(2, SMALL)
    world.a.append(*(a_fact(i) for i in range(150)))
    world.a.journal.term = world.term("a")
    world.a.journal.drop(min(world.a.journal.rows), 150)
    world.connect("b")
    world.settle_pull("b")
    assert len(world.b.journal.kept) == 150
    assert all(len(frame.items) <= SMALL.window_records for frame in world.kept_frames("b"))


def test_a_kept_record_larger_than_a_frame_goes_alone() -> None:
    world = World(2, SMALL)
    big = Fact("plc1", "map", "x" * 3 * SMALL.window_size, 1)
    world.a.append(a_fact(1), big, a_fact(2))
    world.a.journal.drop(world.a.journal.term, 3)
    world.connect("b")
    world.settle_pull("b")
    assert [len(frame.items) for frame in world.kept_frames("b")] == [1, 1, 1]


def test_damage_of_what_waits_in_memory_is_not_sent() -> None:
    world = linked(SMALL)
    pull = world.pull("b")
    world.a.journal.page = 2
    for i in range(40):
        world.a.append(a_batch(i))
    term = world.a.journal.term
    world.a.journal.lose(term, 10, 41)
    world.connect()
    world.settle(100_000)
    assert world.differences() == []
    assert pull.sender.level
