"""Every cell of the role table is walked, and every role meets every event."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model import NS_PER_MS, NS_PER_S, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Grant, Heartbeat, Refusal, Ruling
from gateway.pair.machine import Machine
from gateway.pair.roles import (
    CELLS,
    MOVES,
    ROWS,
    Cause,
    Cell,
    Links,
    PeerView,
    Verdict,
    Witness,
    diagram,
    every_cell,
    rows_of,
)
from gateway.pair.words import Field, Identity, Role, Timing

DESIGN = Path(__file__).resolve().parents[2] / "gateway" / "pair" / "DESIGN.md"
NOW = 1_000 * NS_PER_S
ROLE_OF = {PeerView.STARTING: Role.STARTING, PeerView.STANDBY: Role.SYNCING}
EVENTS: tuple[ev.Event, ...] = (
    ev.Tick(),
    ev.Heard("tcp", Heartbeat(site="s", node="b", boot=9, seq=1, role=Role.MAIN)),
    ev.Refused("tcp"),
    ev.TermBegun(Term(1, "a", 1)),
    ev.TermFailed("full"),
    ev.Drained(()),
    ev.Caught(True),
    ev.Caught(False),
    ev.Progress(5, True),
    ev.FieldSeen(False),
    ev.StoreState(False, "full"),
    ev.WitnessVote(None),
    ev.WitnessVote(NOW + NS_PER_S),
    ev.Veto(True),
    ev.Changeover("alice"),
    ev.Pause(True, "alice"),
    ev.PeerAbsent(True, "alice"),
    ev.Stop(),
)


def said(**more: object) -> Heartbeat:
    base: dict[str, object] = {
        "site": "s",
        "node": "b",
        "boot": 9,
        "seq": 1,
        "role": Role.SYNCED,
        "hears_you": True,
        "echo_boot": 7,
        "echo_ns": NOW - 20 * NS_PER_MS,
        "coverage_end_ns": 5,
    }
    return Heartbeat(**{**base, **more})  # type: ignore[arg-type]


def a_machine(role: Role = Role.STARTING, witnessed: bool = False, linked: bool = True) -> Machine:
    paths = frozenset({"tcp"}) if linked else frozenset[str]()
    identity = Identity("s", "a", 7, 0, paths, linked, witnessed)
    machine = Machine(identity, Timing(), NOW - 100 * NS_PER_S, 5)
    machine.role = role
    machine.stepped_ns = machine.reign.sent_ns = NOW - 10 * NS_PER_MS
    machine.speak = False
    if role is Role.MAIN:
        machine.term = Term(3, "a", 3)
        machine.term_seen = 3
        machine.reign.began_ns = NOW - 50 * NS_PER_S
        machine.reign.witness_until_ns = NOW + NS_PER_S
    return machine


def in_cell(cell: Cell) -> Machine:
    """A machine in that situation, so far as it exists."""
    machine = a_machine(cell.mine, cell.witness is not Witness.NONE, cell.links is not Links.ABSENT)
    machine.reign.witness_until_ns = NOW + NS_PER_S if cell.witness is Witness.HELD else 0
    machine.reign.consent_until_ns = NOW + NS_PER_S
    machine.field = Field.REACHED
    heard_ns = NOW - 10 * NS_PER_MS
    if cell.links is Links.DOWN:
        heard_ns = NOW - 500 * NS_PER_MS
    if cell.peer is PeerView.SILENT:
        heard_ns = NOW - 2 * NS_PER_S
    if cell.peer is PeerView.NEVER:
        return machine
    role = ROLE_OF.get(cell.peer, Role.MAIN)
    heartbeat = said(
        role=role,
        hears_you=cell.links is not Links.ONE_WAY,
        goodbye=cell.peer is PeerView.DEAD,
        consent=True,
        term=Term(4 if role is Role.MAIN else 2, "b", 4),
        coverage_end_ns=4,
    )
    if cell.links is Links.ONE_WAY:
        for number in range(-8, 0):
            before_ns = heard_ns + number * 100 * NS_PER_MS
            machine.peer.hear(before_ns, "tcp", said(seq=number, hears_you=False))
    machine.peer.hear(heard_ns, "tcp", heartbeat)
    return machine


def exists(cell: Cell) -> bool:
    """Whether the peer's view and the links can be so at once."""
    if cell.links is Links.ABSENT:
        return cell.peer is PeerView.NEVER
    if cell.peer in (PeerView.SILENT, PeerView.NEVER):
        return cell.links is Links.DOWN
    return True


def test_every_cell_has_a_verdict_and_every_row_decides_some_cell() -> None:
    cells = list(every_cell())
    assert len(cells) == 4 * 6 * 4 * 3 == len(CELLS)
    assert {id(rows_of(cell)[0]) for cell in cells} == {id(row) for row in ROWS}
    assert set(CELLS.values()) == set(Verdict)


@pytest.mark.parametrize(
    "cell", [c for c in every_cell() if exists(c)], ids=lambda c: "/".join(map(str, c))
)
def test_a_machine_in_a_cell_does_what_the_cell_says(cell: Cell) -> None:
    machine = in_cell(cell)
    assert machine.cell(NOW) == cell
    effects = machine.step(NOW, ev.Tick())
    kinds = {type(effect) for effect in effects}
    claims = ev.BeginTerm in kinds
    verdict = CELLS[cell]
    assert effects == ev.in_order(list(effects))
    if verdict in (Verdict.TAKE_OVER, Verdict.AT_ONCE, Verdict.ALONE, Verdict.RULE):
        assert claims, "the guard is open: it claims"
    else:
        assert not claims
    after = {
        Verdict.FOLLOW: Role.SYNCING,
        Verdict.YIELD: Role.SYNCING,
        Verdict.RESTART: Role.STARTING,
    }
    if verdict is Verdict.ARBITRATE:
        assert machine.role is Role.MAIN, "the longer reign"
        assert machine.ruling is not None
    else:
        assert machine.role is after.get(verdict, cell.mine)
    if verdict in (Verdict.ASK, Verdict.ALONE_ASK):
        assert ev.ClaimWitness in kinds


def test_no_cell_claims_beside_a_main_that_is_heard() -> None:
    claiming = {Verdict.TAKE_OVER, Verdict.RULE, Verdict.ALONE}
    for cell, verdict in CELLS.items():
        if cell.peer is PeerView.MAIN and cell.links is not Links.ABSENT:
            assert verdict not in claiming, cell
        if cell.mine is Role.MAIN:
            assert verdict in (Verdict.STAY, Verdict.ARBITRATE, Verdict.YIELD)


def test_no_cell_claims_with_one_vote_only() -> None:
    for cell, verdict in CELLS.items():
        if cell.witness is Witness.LOST and cell.links is not Links.ABSENT:
            assert verdict not in (Verdict.TAKE_OVER, Verdict.ALONE), cell


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("witnessed", [False, True])
def test_every_role_meets_every_event(
    role: Role, event: ev.Event, late: bool, witnessed: bool
) -> None:
    machine = a_machine(role, witnessed)
    effects = machine.step(NOW + (5 * NS_PER_S if late else 0), event)
    assert effects == ev.in_order(list(effects))
    assert (ev.DrainLinks() in effects) is late
    if late:
        assert machine.role is not Role.MAIN
    assert machine.may_send(NOW) is (machine.role is Role.MAIN)


def test_only_a_committed_term_makes_a_main_and_only_its_end_unmakes_it() -> None:
    for (source, cause), move in MOVES.items():
        assert (move.target is Role.MAIN) == (cause.name == "TERM_BEGUN"), (source, cause)
        if source is Role.MAIN and move.target is not Role.MAIN:
            assert move.effects[:2] == (ev.CloseField, ev.CloseEndpoint)
        ordered = sorted(move.effects, key=ev.EFFECT_ORDER.index)
        assert list(move.effects) == ordered


def test_the_diagram_in_the_design_is_the_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in DESIGN.read_text()


# ------------------------------------------------------------------- what scenarios can't reach


def test_a_node_of_another_site_and_a_second_node_of_the_same_name_are_told_and_ignored() -> None:
    machine = a_machine()
    for stranger, text in ((said(site="x"), "another site"), (said(node="a"), "second node a")):
        effects = machine.step(NOW, ev.Heard("tcp", stranger))
        assert any(isinstance(e, ev.Alarm) and text in e.text for e in effects)
    assert machine.peer.last is None


def test_a_heartbeat_counts_once_and_a_dead_process_is_never_news_again() -> None:
    peer = a_machine().peer
    assert peer.hear(NOW, "tcp", said(seq=5))
    assert not peer.hear(NOW + 1, "serial", said(seq=5))
    assert peer.heard_on_ns == {"tcp": NOW, "serial": NOW + 1}
    assert not peer.hear(NOW + 2, "tcp", said(seq=4))
    assert peer.hear(NOW + 3, "tcp", said(boot=10, seq=1))
    assert not peer.hear(NOW + 4, "tcp", said(seq=6))


def test_offset_and_round_trip_are_measured_by_echo() -> None:
    peer = a_machine().peer
    heartbeat = said(echo_ns=NOW - 10, held_ns=4, utc_ns=1_000)
    peer.hear(NOW, "tcp", heartbeat, utc_ns=900)
    assert (peer.round_trip_ns, peer.clock_ahead_ns) == (6, 103)
    assert peer.age_ns(NOW + 5) == 8
    assert not peer.echoes_me(said(echo_boot=8), NOW)


def test_what_waited_for_the_end_of_a_silence_is_no_round_trip() -> None:
    machine = a_machine()
    peer, healed = machine.peer, NOW + 9 * NS_PER_S
    peer.hear(NOW, "tcp", said(echo_ns=NOW - 10, held_ns=4))
    stuck = said(seq=8, echo_ns=NOW + NS_PER_S, held_ns=4, reign_ns=NS_PER_S)
    peer.hear(healed, "tcp", stuck)
    assert peer.round_trip_ns == 6
    assert machine.rival_reigning(healed, stuck).reign_ns == NS_PER_S + 3
    peer.hear(healed + 20, "tcp", said(seq=9, echo_ns=healed + 5, held_ns=4))
    assert peer.round_trip_ns == 11


def test_an_old_grant_is_no_grant() -> None:
    machine = a_machine(Role.SYNCED)
    machine.no_main_since_ns = NOW
    grant = Grant(Term(2, "b", 2))
    old = said(grant=grant, echo_ns=NOW - NS_PER_S, consent=True, role=Role.SYNCED)
    assert not any(isinstance(e, ev.BeginTerm) for e in machine.step(NOW, ev.Heard("tcp", old)))


def test_a_grant_to_a_standby_that_is_not_synced_is_refused_once() -> None:
    machine = a_machine(Role.SYNCING)
    grant = Grant(Term(2, "b", 2))
    machine.step(NOW, ev.Heard("tcp", said(grant=grant, coverage_end_ns=9)))
    assert machine.refusal == Refusal(grant.term, "standby (syncing)")
    machine.step(NOW, ev.Heard("tcp", said(seq=2, grant=grant, coverage_end_ns=9)))
    assert machine.role is Role.SYNCING


def test_a_refusal_while_stopping_ends_the_process() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    assert ev.StopPolling() in machine.step(NOW, ev.Stop())
    machine.step(NOW, ev.Stop())
    machine.step(NOW, ev.Drained(()))
    assert machine.granted is not None
    refusal = Refusal(Term(3, "a", 3), "disk full")
    effects = machine.step(NOW, ev.Heard("tcp", said(seq=2, refusal=refusal)))
    assert effects[-1] == ev.Exit()
    assert machine.step(NOW, ev.Tick()) == ()


def test_a_frozen_main_that_is_stopping_ends_when_its_reign_does() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Stop())
    effects = machine.step(NOW + 2 * NS_PER_S, ev.Tick())
    assert effects[-1] == ev.Exit()


def test_a_stopping_main_that_must_yield_leaves() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Stop())
    ruling = Ruling(Term(3, "a", 3), "priority 1 over 0")
    rival = said(role=Role.MAIN, term=Term(4, "b", 4), ruling=ruling)
    assert machine.step(NOW, ev.Heard("tcp", rival))[-1] == ev.Exit()


def test_draining_that_takes_too_long_is_given_up_under_a_new_term() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    assert ev.StopPolling() in machine.step(NOW, ev.Changeover("alice"))
    (again,) = machine.step(NOW, ev.Changeover("bob"))
    assert again == ev.Answer(False, "changeover refused: a changeover is under way")
    effects: list[ev.Effect] = []
    for number in range(1, 23):
        effects += machine.step(NOW + number * 100 * NS_PER_MS, ev.Tick())
    assert ev.BeginTerm(4, "resumed: draining took too long") in effects
    effects = list(machine.step(machine.stepped_ns, ev.TermBegun(Term(4, "a", 8))))
    assert ev.OpenField(Term(4, "a", 8)) in effects


def test_a_term_that_never_comes_is_asked_for_again() -> None:
    machine = a_machine(linked=False)
    asked: list[int] = []
    for number in range(60):
        effects = machine.step(NOW + number * 100 * NS_PER_MS, ev.Tick())
        asked += [number for effect in effects if isinstance(effect, ev.BeginTerm)]
    assert asked == [0, 40]


def test_a_term_begun_for_a_reason_that_is_gone_is_not_used() -> None:
    machine = a_machine(Role.SYNCED)
    machine.peer.last = said(role=Role.MAIN, goodbye=True)
    assert ev.BeginTerm(1, "b is dead") in machine.step(NOW, ev.Tick())
    machine.step(NOW, ev.Heard("tcp", said(boot=10, role=Role.MAIN)))
    machine.step(NOW, ev.TermBegun(Term(1, "a", 1)))
    assert machine.role is Role.SYNCED


def test_hosts_that_do_not_answer_veto_a_takeover_and_a_start() -> None:
    for role, word in ((Role.SYNCED, "no takeover"), (Role.STARTING, "stays starting")):
        machine = a_machine(role)
        machine.peer.last = said(role=Role.MAIN, goodbye=True)
        effects = machine.step(NOW, ev.Veto(True))
        assert not any(isinstance(effect, ev.BeginTerm) for effect in effects)
        assert any(isinstance(e, ev.Alarm) and word in e.text for e in effects)


def test_a_pause_holds_back_the_witness_too_and_a_syncing_standby() -> None:
    for role in (Role.SYNCED, Role.SYNCING):
        machine = a_machine(role, witnessed=True)
        machine.peer.last = said(role=Role.MAIN, goodbye=True)
        effects = machine.step(NOW, ev.Pause(True, "alice"))
        assert any(isinstance(e, ev.Alarm) and "paused" in e.text for e in effects)
        assert machine.role is role


def test_a_node_without_links_that_froze_starts_anew_even_when_paused() -> None:
    machine = a_machine(Role.MAIN, linked=False)
    machine.step(NOW, ev.Pause(True, "alice"))
    machine.step(NOW + 5 * NS_PER_S, ev.Tick())
    effects = machine.step(NOW + 5 * NS_PER_S, ev.Tick())
    effects += machine.step(NOW + 5 * NS_PER_S, ev.Tick())
    assert ev.BeginTerm(4, "no link is configured") in effects


def test_a_peer_that_is_heard_is_not_absent() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    answer = ev.Answer(False, "the peer is heard: it is not absent")
    assert answer in machine.step(NOW, ev.PeerAbsent(True, "alice"))


def test_a_standby_that_lost_the_field_looks_again_each_minute() -> None:
    machine = a_machine(Role.SYNCED)
    machine.field = Field.LOST
    probes = 0
    for number in range(1_300):
        now_ns = NOW + number * 100 * NS_PER_MS
        heartbeat = said(seq=number + 1, role=Role.MAIN, echo_ns=now_ns)
        effects = machine.step(now_ns, ev.Heard("tcp", heartbeat))
        probes += effects.count(ev.ProbeField())
    assert probes == 3


def test_the_witness_is_let_go_when_the_main_is_heard_again() -> None:
    machine = a_machine(Role.SYNCED, witnessed=True)
    machine.peer.last = said(role=Role.MAIN, goodbye=True)
    assert ev.ClaimWitness() in machine.step(NOW, ev.Tick())
    back = ev.Heard("tcp", said(boot=10, role=Role.MAIN))
    assert ev.ReleaseWitness() in machine.step(NOW, back)


def test_a_change_of_role_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError):
        a_machine(Role.STARTING).move(NOW, Cause.YIELDED, "nonsense")


def test_a_peer_that_restarts_with_the_grant_in_its_hands_is_taken_over_from() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Drained((("fast", 5),)))
    assert machine.role is Role.SYNCED
    effects = machine.step(NOW + 1, ev.Heard("tcp", said(boot=10, role=Role.STARTING)))
    assert ev.BeginTerm(4, "b starts") in effects


def test_a_main_resumes_when_its_standby_falls_behind_while_it_drains() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Heard("tcp", said(seq=2, role=Role.SYNCING)))
    effects = machine.step(NOW, ev.Drained((("fast", 5),)))
    assert ev.BeginTerm(4, "resumed: the Standby is no longer ready") in effects
    begun = machine.step(NOW, ev.TermBegun(Term(4, "a", 9)))
    assert ev.OpenField(Term(4, "a", 9), (("fast", 5),)) in begun


def test_a_grant_already_taken_or_crossing_an_own_one_is_ignored() -> None:
    machine = a_machine(Role.SYNCED)
    grant = Grant(Term(2, "b", 2), (("fast", 5),))
    machine.step(NOW, ev.Heard("tcp", said(grant=grant, consent=True)))
    machine.step(NOW, ev.TermBegun(Term(1, "a", 1)))
    assert machine.role is Role.MAIN
    machine.step(NOW, ev.Heard("tcp", said(seq=2)))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Drained(()))
    machine.step(NOW, ev.Heard("tcp", said(seq=3, grant=grant)))
    assert machine.claim_pending is None
    machine.granted = None
    machine.step(NOW, ev.Heard("tcp", said(seq=4, grant=grant, coverage_end_ns=9)))
    assert machine.claim_pending is None


def test_with_a_witness_a_promise_is_kept_even_to_a_peer_that_seems_dead() -> None:
    machine = a_machine(Role.SYNCED, witnessed=True)
    machine.reign.witness_until_ns = NOW + NS_PER_S
    machine.peer.hear(NOW - 400 * NS_PER_MS, "tcp", said(role=Role.MAIN))
    machine.promised_until_ns = NOW + 100 * NS_PER_MS
    refused = machine.step(NOW, ev.Refused("tcp"))
    assert not any(isinstance(effect, ev.BeginTerm) for effect in refused)
    later = machine.step(NOW + 100 * NS_PER_MS, ev.Tick())
    assert ev.BeginTerm(1, "b is dead") in later


def test_a_term_committed_after_the_votes_ran_out_is_not_used() -> None:
    machine = a_machine(Role.SYNCED, witnessed=True)
    machine.peer.last = said(role=Role.MAIN, goodbye=True)
    machine.step(NOW, ev.Tick())
    assert ev.BeginTerm(1, "b is dead") in machine.step(NOW, ev.WitnessVote(NOW + NS_PER_S))
    machine.step(NOW, ev.WitnessVote(None))
    machine.step(NOW, ev.TermBegun(Term(1, "a", 1)))
    assert machine.role is Role.SYNCED
    assert not machine.may_send(NOW)
