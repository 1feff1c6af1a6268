"""What each guard of the role machine is for: without it the test beside it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_pair_table import NOW, a_machine, said

from gateway.model import NS_PER_MS, NS_PER_S, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Grant, Refusal
from gateway.pair.machine import Machine
from gateway.pair.words import Field, Identity, Role, Timing

MS = NS_PER_MS
MAIN_SAID = {"role": Role.MAIN, "term": Term(4, "b", 4)}


def kinds(effects: tuple[ev.Effect, ...] | list[ev.Effect]) -> set[type]:
    return {type(effect) for effect in effects}


def tick(machine: Machine, from_ns: int, to_ns: int) -> list[ev.Effect]:
    """Steps each 50 ms, both ends included."""
    told: list[ev.Effect] = []
    for now_ns in range(from_ns, to_ns + 1, 50 * MS):
        told += machine.step(now_ns, ev.Tick())
    return told


def resuming() -> Machine:
    """A Main that stopped polling for a changeover which came to nothing: term 4 is asked for."""
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Heard("tcp", said(seq=2, role=Role.SYNCING)))
    assert ev.BeginTerm in kinds(machine.step(NOW, ev.Drained((("", 5),))))
    return machine


# ------------------------------------------------------------------------------- freezes


def test_a_late_step_decides_nothing_even_when_the_peer_said_goodbye() -> None:
    machine = a_machine(Role.SYNCED)
    machine.peer.last = said(role=Role.STARTING, goodbye=True)
    late_ns = NOW + NS_PER_S
    assert ev.BeginTerm not in kinds(machine.step(late_ns, ev.Tick()))
    assert ev.BeginTerm in kinds(machine.step(late_ns, ev.Tick())), "the links are drained now"


def test_a_grant_out_is_not_given_up_before_the_answer_that_lies_unread_is_heard() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Drained((("", 5),)))
    late_ns = NOW + 1_500 * MS
    assert ev.Answer not in kinds(machine.step(late_ns, ev.Tick()))
    refusal = said(seq=2, refusal=Refusal(Term(3, "a", 3), "disk full"), echo_ns=late_ns)
    assert ev.BeginTerm(4, "resumed: disk full") in machine.step(late_ns, ev.Heard("tcp", refusal))


def test_a_standby_that_wakes_counts_silence_anew() -> None:
    machine = a_machine(Role.SYNCED)
    machine.step(NOW, ev.Heard("tcp", said(**MAIN_SAID)))
    told = tick(machine, NOW + 2 * NS_PER_S, NOW + 2_950 * MS)
    assert ev.BeginTerm not in kinds(told)
    assert ev.BeginTerm in kinds(tick(machine, NOW + 3 * NS_PER_S, NOW + 3 * NS_PER_S))


def test_a_starting_node_that_wakes_waits_for_a_main_anew() -> None:
    machine = a_machine()
    machine.no_main_since_ns, machine.field = NOW, Field.REACHED
    assert ev.BeginTerm not in kinds(tick(machine, NOW, NOW + 2_900 * MS))
    woken_ns = NOW + 10 * NS_PER_S
    assert ev.BeginTerm not in kinds(tick(machine, woken_ns, woken_ns + 2_950 * MS))
    assert ev.BeginTerm in kinds(tick(machine, woken_ns + 3_000 * MS, woken_ns + 3_000 * MS))


def test_what_a_standby_claimed_before_it_froze_is_not_used_after() -> None:
    machine = a_machine(Role.SYNCED)
    machine.peer.last = said(role=Role.STARTING, goodbye=True)
    assert ev.BeginTerm(1, "b is dead") in machine.step(NOW, ev.Tick())
    machine.step(NOW + NS_PER_S, ev.TermBegun(Term(1, "a", 1)))
    assert machine.role is Role.SYNCED


def test_a_main_that_stopped_polling_resumes_even_if_it_froze_a_moment_meanwhile() -> None:
    machine = resuming()
    assert ev.DrainLinks in kinds(machine.step(NOW + 500 * MS, ev.Tick()))
    assert machine.role is Role.MAIN
    begun = machine.step(NOW + 500 * MS, ev.TermBegun(Term(4, "a", 9)))
    assert ev.OpenField(Term(4, "a", 9), (("", 5),)) in begun


# --------------------------------------------------------------------- terms of a Main


def test_a_main_that_stopped_polling_asks_for_its_term_until_it_has_it() -> None:
    machine = resuming()
    failed = machine.step(NOW, ev.TermFailed("disk full"))
    assert ev.Alarm("no term could be begun: disk full") in failed
    again = tick(machine, NOW + 50 * MS, NOW + NS_PER_S)
    assert ev.BeginTerm(5, "resumed: the Standby is no longer ready") in again
    begun = machine.step(NOW + NS_PER_S, ev.TermBegun(Term(7, "a", 9)))
    assert ev.OpenField(Term(7, "a", 9), (("", 5),)) in begun, "the journal knew of term 6"
    assert machine.term_seen == 7


def test_a_clock_that_was_set_renews_the_term_and_not_the_reign() -> None:
    machine = a_machine(Role.MAIN)
    began_ns = machine.reign.began_ns
    assert ev.BeginTerm(4, "the clock was set") in machine.step(NOW, ev.Renew("the clock was set"))
    term = Term(4, "a", 9)
    told = machine.step(NOW, ev.TermBegun(term))
    assert ev.NewTerm(term, "the clock was set") in told
    assert ev.JournalRole(Role.MAIN, term, "the clock was set") in told
    assert ev.OpenField not in kinds(told)
    (said_now,) = [effect for effect in told if isinstance(effect, ev.SendHeartbeat)]
    assert said_now.heartbeat.term == term
    assert machine.reign.began_ns == began_ns


def test_a_renewal_never_takes_the_place_of_a_resumption() -> None:
    machine = resuming()
    machine.step(NOW, ev.TermFailed("disk full"))
    machine.step(NOW, ev.Renew("the clock was set"))
    tick(machine, NOW + 50 * MS, NOW + NS_PER_S)
    assert ev.OpenField in kinds(machine.step(NOW + NS_PER_S, ev.TermBegun(Term(5, "a", 9))))


def test_a_renewal_waits_for_the_end_of_a_handover_and_a_standby_needs_none() -> None:
    machine = a_machine(Role.MAIN)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Renew("the clock was set"))
    machine.step(NOW, ev.TermFailed("disk full"))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW, ev.Renew("the clock was set again"))
    assert machine.wanted is None, "the term ends anyhow"
    machine.step(NOW, ev.Drained(()))
    assert ev.BeginTerm not in kinds(machine.step(NOW, ev.Renew("the clock was set")))


def test_a_term_that_comes_late_is_used_since_the_journal_seals_in_it_already() -> None:
    machine = a_machine(Role.MAIN)
    late = Term(9, "a", 9)
    told = machine.step(NOW, ev.TermBegun(late))
    assert ev.NewTerm(late, "a term that came late") in told
    assert machine.term == late
    assert ev.NewTerm not in kinds(machine.step(NOW, ev.TermBegun(Term(8, "a", 8))))
    assert machine.term == late


def test_a_main_outranks_every_term_of_a_peer_that_stands_by() -> None:
    machine = a_machine(Role.MAIN)
    told = machine.step(NOW, ev.Heard("tcp", said(term=Term(3, "b", 1))))
    assert ev.BeginTerm(4, "b is no longer Main") in told


# -------------------------------------------------------------------------- Main-Main


def test_the_node_with_the_higher_id_does_not_judge() -> None:
    identity = Identity("s", "c", 7, 5, frozenset({"tcp"}))
    machine = Machine(identity, Timing(), NOW - 100 * NS_PER_S, 5)
    machine.role, machine.term = Role.MAIN, Term(3, "c", 3)
    machine.stepped_ns = machine.reign.sent_ns = NOW - 10 * MS
    for number in range(3):
        told = machine.step(NOW + number * MS, ev.Heard("tcp", said(seq=number, **MAIN_SAID)))
        assert not kinds(told) & {ev.JournalRuling, ev.CloseField}
    assert machine.role is Role.MAIN
    assert machine.ruling is None


def test_one_of_two_judges_once_and_takes_a_new_term_when_the_other_stopped() -> None:
    machine = a_machine(Role.MAIN)
    rival = said(**MAIN_SAID, reign_ns=9 * NS_PER_S)
    told = machine.step(NOW, ev.Heard("tcp", rival))
    (ruling,) = [effect for effect in told if isinstance(effect, ev.JournalRuling)]
    assert (ruling.winner, ruling.loser) == (Term(3, "a", 3), Term(4, "b", 4))
    assert 9 * NS_PER_S <= ruling.both_ns < 10 * NS_PER_S
    again = machine.step(NOW + 50 * MS, ev.Heard("tcp", said(seq=2, **MAIN_SAID)))
    assert ev.JournalRuling not in kinds(again)
    assert ev.BeginTerm not in kinds(again), "it is still Main"
    yielded = said(seq=3, role=Role.SYNCING, term=Term(4, "b", 4))
    told = machine.step(NOW + 100 * MS, ev.Heard("tcp", yielded))
    assert ev.BeginTerm(5, "b is no longer Main") in told
    assert machine.ruling is None


def test_the_judge_that_loses_journals_the_ruling_too() -> None:
    machine = a_machine(Role.MAIN)
    told = machine.step(NOW, ev.Heard("tcp", said(**MAIN_SAID, priority=1, reign_ns=NS_PER_S)))
    (ruling,) = [effect for effect in told if isinstance(effect, ev.JournalRuling)]
    assert (ruling.winner, ruling.loser) == (Term(4, "b", 4), Term(3, "a", 3))
    assert machine.role is Role.SYNCING


# ------------------------------------------------------------------- consent and promises


def waiting(**more: object) -> Machine:
    """A starting node that waited long enough and wins the start rule; `more` is what b says."""
    machine = a_machine()
    machine.no_main_since_ns = NOW - 10 * NS_PER_S
    b = {"role": Role.STARTING, "coverage_end_ns": 4, "consent": True}
    machine.peer.hear(NOW, "tcp", said(**{**b, **more}))
    return machine


def test_the_start_rule_needs_the_losers_consent_and_no_promise_of_its_own() -> None:
    assert ev.BeginTerm in kinds(waiting().step(NOW, ev.Tick()))
    assert ev.BeginTerm not in kinds(waiting(consent=False).step(NOW, ev.Tick()))
    promised = waiting()
    promised.promised_until_ns = NOW + 100 * MS
    assert ev.BeginTerm not in kinds(promised.step(NOW, ev.Tick()))


@pytest.mark.parametrize("later", ["nothing", "the peer changed its mind"])
def test_a_consent_is_looked_at_again_when_the_term_is_committed(later: str) -> None:
    machine = waiting()
    machine.step(NOW, ev.Tick())
    tick(machine, NOW + 50 * MS, NOW + 850 * MS)
    if later != "nothing":
        fresh = said(seq=2, role=Role.STARTING, coverage_end_ns=4, echo_ns=NOW + 800 * MS)
        machine.step(NOW + 850 * MS, ev.Heard("tcp", fresh))
    machine.step(NOW + 850 * MS, ev.TermBegun(Term(1, "a", 1)))
    assert machine.role is Role.STARTING


def test_a_node_that_claims_consents_to_nothing() -> None:
    machine = waiting()
    told = machine.step(NOW, ev.Tick())
    assert ev.BeginTerm in kinds(told)
    machine.coverage_end_ns = 3
    assert machine.start_outcome() is not None
    assert not machine.consents(NOW)
    machine.claim_pending = None
    assert machine.consents(NOW)


def test_consent_is_promised_to_a_peer_that_hears_only() -> None:
    machine = waiting(hears_you=False, coverage_end_ns=9)
    assert not machine.consents(NOW)


def test_what_is_promised_binds_from_receipt_for_all_of_takeover_after() -> None:
    machine = a_machine(Role.SYNCED, witnessed=True)
    machine.step(NOW, ev.Heard("tcp", said(**MAIN_SAID)))
    told = tick(machine, NOW + 50 * MS, NOW + 300 * MS)
    assert any(isinstance(e, ev.SendHeartbeat) and e.heartbeat.consent for e in told)
    machine.step(NOW + 300 * MS, ev.WitnessVote(NOW + 9 * NS_PER_S))
    machine.reign.witness_until_ns = NOW + 9 * NS_PER_S
    assert ev.BeginTerm not in kinds(machine.step(NOW + 300 * MS, ev.Refused("tcp")))
    assert ev.BeginTerm not in kinds(tick(machine, NOW + 350 * MS, NOW + 950 * MS))
    assert ev.BeginTerm in kinds(tick(machine, NOW + 1_000 * MS, NOW + 1_000 * MS))


def test_a_grant_binds_its_giver_while_it_is_out() -> None:
    machine = a_machine(Role.MAIN, witnessed=True)
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    machine.step(NOW + 100 * MS, ev.Drained(()))
    assert machine.promised_until_ns == NOW + 1_100 * MS
    assert machine.bound(NOW + 1_099 * MS)


def test_a_consent_serves_from_the_sending_of_what_it_answers() -> None:
    machine = a_machine(Role.MAIN, witnessed=True)
    machine.reign.witness_until_ns = 0
    machine.reign.consent_until_ns = NOW + MS
    machine.step(NOW, ev.Heard("tcp", said(consent=True, echo_ns=NOW - 300 * MS)))
    assert machine.reign.until_ns == NOW + 500 * MS


def test_a_lone_starting_node_keeps_the_promise_that_it_gave() -> None:
    machine = a_machine()
    machine.field = Field.REACHED
    machine.no_main_since_ns = NOW - 10 * NS_PER_S
    machine.promised_until_ns = NOW + 100 * MS
    assert ev.BeginTerm not in kinds(machine.step(NOW, ev.Tick()))
    assert ev.BeginTerm in kinds(tick(machine, NOW + 100 * MS, NOW + 100 * MS))


def test_a_node_that_isnt_heard_goes_second() -> None:
    machine = a_machine()
    machine.no_main_since_ns = NOW
    told: list[ev.Effect] = []
    for number in range(1, 121):
        now_ns = NOW + number * 50 * MS
        b = said(seq=number, role=Role.STARTING, hears_you=False, coverage_end_ns=9)
        told += machine.step(now_ns, ev.Heard("tcp", b))
        if number < 120:
            assert ev.BeginTerm not in kinds(told), now_ns - NOW
    assert ev.BeginTerm in kinds(told)


# --------------------------------------------------------------------------------- links


def test_proof_of_death_needs_every_path_refused() -> None:
    machine = a_machine(Role.SYNCED)
    machine.identity = replace(machine.identity, paths=frozenset({"tcp1", "tcp2"}))
    machine.peer._identity = machine.identity
    machine.peer.hear(NOW - 400 * MS, "tcp1", said(**MAIN_SAID))
    assert ev.BeginTerm not in kinds(machine.step(NOW, ev.Refused("tcp1")))
    assert ev.BeginTerm(1, "b is dead") in machine.step(NOW, ev.Refused("tcp2"))


def test_what_was_one_way_before_a_silence_says_nothing_of_now() -> None:
    """Else two Mains that heard each other for a moment both yield when the links heal for good."""
    machine = a_machine(Role.MAIN)
    deaf = {**MAIN_SAID, "hears_you": False}
    machine.step(NOW, ev.Heard("tcp", said(**deaf)))
    tick(machine, NOW + 50 * MS, NOW + 2 * NS_PER_S)
    told = machine.step(NOW + 2_050 * MS, ev.Heard("tcp", said(seq=2, **deaf)))
    assert machine.role is Role.MAIN
    for number in range(3, 9):
        now_ns = NOW + 2_050 * MS + (number - 2) * 100 * MS
        told = machine.step(now_ns, ev.Heard("tcp", said(seq=number, **deaf)))
    assert machine.role is Role.SYNCING, "now it lasted"
    assert ev.JournalRuling in kinds(told) or machine.arbitrations == 1


def test_clocks_apart_are_told_once_and_when_they_agree_again() -> None:
    machine = a_machine(Role.SYNCED)
    texts: list[str] = []
    for seq, ahead_ms in enumerate((0, 1_500, 1_600, 700, 400, 0, -2_000), 1):
        heartbeat = said(seq=seq, **MAIN_SAID, utc_ns=NOW + ahead_ms * MS, echo_ns=NOW)
        told = machine.step(NOW, ev.Heard("tcp", heartbeat, utc_ns=NOW))
        texts += [effect.text for effect in told if isinstance(effect, ev.Alarm)]
    remedy = "set both by one time server"
    assert texts == [
        f"the peer's clock is 1500 ms ahead of this one: {remedy}",
        "the clocks of both nodes agree again",
        f"the peer's clock is 2000 ms behind this one: {remedy}",
    ]


# ------------------------------------------------------------------------ writes, status


def test_a_write_is_refused_without_a_proven_reign() -> None:
    standby = a_machine(Role.SYNCED)
    assert standby.writes_proven(NOW, True) == "this node is standby (synced): write to the Main"
    main = a_machine(Role.MAIN)
    main.reign.sent_ns = NOW
    assert main.writes_proven(NOW, True) is None
    alone = main.writes_proven(NOW, False)
    assert alone is not None
    assert "may be Main too" in alone
    main.peer.hear(NOW, "tcp", said())
    assert main.writes_proven(NOW, False) is None
    main.peer.hear(NOW, "tcp", said(seq=2, **MAIN_SAID))
    assert main.writes_proven(NOW, True) == "both nodes are Main: wait until one of them yields"
    assert main.writes_proven(NOW + NS_PER_S, True) == "the reign of this node ran out"
    witnessed = a_machine(Role.MAIN, witnessed=True)
    witnessed.reign.sent_ns = NOW
    assert witnessed.writes_proven(NOW, False) is None
    lone = a_machine(Role.MAIN, linked=False)
    lone.reign.sent_ns = NOW
    assert lone.writes_proven(NOW, False) is None
    absent = a_machine(Role.MAIN)
    absent.reign.sent_ns, absent.reign.absent = NOW, True
    assert absent.writes_proven(NOW, False) is None


def test_the_status_says_what_a_person_asks() -> None:
    machine = a_machine(Role.MAIN)
    status = machine.status(NOW)
    assert status["role"] == "main"
    assert status["peer"] is None
    machine.step(NOW, ev.Heard("tcp", said()))
    machine.step(NOW, ev.Changeover("alice"))
    status = machine.status(NOW + 5 * MS)
    assert status["handing_over"] == "changeover by alice"
    assert status["peer"]["role_shown"] == "standby (synced)"
    assert status["peer"]["heard_ms_ago"] == 5
    assert status["reign_left_ms"] == 785
    assert status["links"] == "two-way"
    machine.step(NOW, ev.Drained(()))
    assert machine.status(NOW)["granted"] == "handed over: changeover by alice"


def test_a_grant_is_refused_by_a_store_that_failed() -> None:
    machine = a_machine(Role.SYNCED)
    machine.step(NOW, ev.StoreState(False, "disk full"))
    told = machine.step(NOW, ev.Heard("tcp", said(grant=Grant(Term(2, "b", 2)), **MAIN_SAID)))
    assert ev.BeginTerm not in kinds(told)
    assert machine.refusal == Refusal(Term(2, "b", 2), "its store failed")


def test_a_goodbye_is_a_consent_for_as_long_as_a_restarted_node_waits() -> None:
    machine = a_machine(Role.MAIN, witnessed=True)
    machine.reign.witness_until_ns, machine.reign.consent_until_ns = 0, NOW + MS
    gone = said(role=Role.STARTING, goodbye=True, echo_ns=NOW - 20 * MS)
    machine.step(NOW, ev.Heard("tcp", gone))
    assert machine.reign.consent_until_ns == NOW - 20 * MS + 2_400 * MS


@pytest.mark.parametrize("witnessed", [False, True])
def test_a_round_trip_that_outlasts_every_consent_is_told(witnessed: bool) -> None:
    machine = a_machine(witnessed=witnessed)
    machine.reign.witness_until_ns = 0
    machine.no_main_since_ns = NOW - 10 * NS_PER_S
    stale = said(role=Role.STARTING, coverage_end_ns=4, consent=True, echo_ns=NOW - NS_PER_S)
    told = machine.step(NOW, ev.Heard("tcp", stale))
    assert any(isinstance(e, ev.Alarm) and "round trip" in e.text for e in told)
    assert (ev.BeginTerm in kinds(told)) is not witnessed


def test_a_preferred_standby_without_the_field_is_not_failed_back_to() -> None:
    for field, hands_over in ((Field.LOST, False), (Field.REACHED, True)):
        machine = a_machine(Role.MAIN)
        machine.changed_ns = machine.peer.unbroken_from_ns = NOW - 700 * NS_PER_S
        machine.peer.hear(NOW, "tcp", said(priority=1, field=field))
        machine.peer.unbroken_from_ns = NOW - 700 * NS_PER_S
        assert (ev.StopPolling in kinds(machine.step(NOW, ev.Tick()))) is hands_over


def test_a_paused_synced_standby_agrees_to_a_starting_peer_by_the_start_rule() -> None:
    machine = a_machine(Role.SYNCED)
    machine.paused = True
    told = machine.step(NOW, ev.Heard("tcp", said(role=Role.STARTING, coverage_end_ns=9)))
    assert ev.BeginTerm not in kinds(told), "the other one wins"
    told = machine.step(NOW, ev.Heard("tcp", said(seq=2, role=Role.STARTING, consent=True)))
    assert ev.BeginTerm in kinds(told)


def test_a_main_that_names_no_term_is_not_judged() -> None:
    machine = a_machine(Role.MAIN)
    told = machine.step(NOW, ev.Heard("tcp", said(role=Role.MAIN)))
    assert not kinds(told) & {ev.JournalRuling, ev.CloseField}
