"""The verdicts on a run: each passes, fails with its evidence, and is unknown without a ground."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.model import NS_PER_S, Cause, Gap, HistoryRow, Origin, Position, Term
from hil.expect import EXPECTATIONS, Expectation, judge_expectation
from hil.judges import Evidence, Verdict
from hil.judges_client import Lacking, Seen
from hil.judges_journal import Journal
from hil.judges_pair import field_lost
from hil.judges_windback import Missed
from hil.looking import look_of, shown
from hil.outstation.polls import Poll
from hil.recording import Act, Finding, Look, Outcome, Recording, Reign, Stretch, Switch, Told
from hil.transcript import equal_since, events, lines, whole_again
from hil.truth import Span
from hil.verdicts import (
    CLIENTS,
    CLOSED,
    EQUAL,
    IN_TIME,
    NOT_TWICE,
    ONE_MAIN,
    ONE_POLLER,
    PLAYED,
    RIGHT,
    SAME,
    WHOLE,
    Gathered,
    beside,
    findings,
    may_split,
    paired_since,
    splits,
    total,
    worst,
)

S = NS_PER_S
GAP = Gap("plc1", "fast", 5 * S, 7 * S, Cause.NODE_DOWN)
BAD = 0x80310000


def look(at_s: float, a: str, b: str) -> list[Look]:
    at_ns = int(at_s * S)
    return [Look(at_ns, "a", a, a), Look(at_ns + 1, "b", b, b, equal_ns=at_ns)]


def poll(at_s: float, node: str) -> Poll:
    at_ns = int(at_s * S)
    return Poll(at_ns, at_ns + 1, "plc1", 1, 3, "holding", 0, 2, f"{node}:1", "ok")


def row(at_ns: int, value: float = 1.0, status: int = 0) -> HistoryRow:
    return HistoryRow(at_ns, value, status, at_ns, Origin.POLL, Position(Term(1, "a", 7), 3))


def a_run() -> Recording:
    """A Main killed at 5 s, replaced at 5.4 s, whole again at 12 s."""
    run = Recording("One", "It holds.", "demo", 7, "0.1.0", 0, 20 * S)
    run.devices = {"plc1": ["fast"], "plc2": ["fast"]}
    run.acts = [Act("kill", "main", "a", 5 * S, 10 * S), Act("nan", "plc1", "plc1", 6 * S, 7 * S)]
    run.looks = [
        *look(1, "main", "synced"),
        *look(6, "", "main"),
        *look(12, "synced", "main"),
        *look(19, "synced", "main"),
    ]
    run.switches = [Switch("kill -9", "a", "b", 5 * S, 5 * S + 400_000_000, 2_000)]
    run.reigns = [
        Reign("1.a.7", "a", 0, 5 * S, "start"),
        Reign("2.b.8", "b", 5 * S, 0, "a is dead"),
    ]
    run.stretches = [Stretch("plc1", "fast", "node_down", "filled", 5 * S, 7 * S)]
    run.told = [
        Told(1 * S, "", "pair", 300, "b became Main: a is dead"),
        Told(2 * S, "a", "log", 200, "hotpair: link stands"),
    ]
    return run


def all_found() -> Gathered:
    verdict = Verdict(100, 100, 0, 0, ())
    records = {(1, "a", "7", seq): frozenset({b"x%d" % seq}) for seq in range(3)}
    journal = Journal(records, dict.fromkeys(records, S))
    return Gathered(
        verdicts={"a": verdict, "b": verdict},
        gaps={"a": [GAP], "b": [GAP]},
        histories=10,
        polls=[poll(1, "a"), poll(6, "b")],
        askers={"a": "a", "b": "b"},
        journals={"a": journal, "b": journal},
        seen=40,
        missed=[],
        logging=frozenset({"plc1"}),
        main="b",
    )


def outcome(found: list[Finding], judge: str) -> Finding:
    (one,) = [finding for finding in found if finding.judge.startswith(judge)]
    return one


def test_a_run_in_which_all_is_well_passes_every_judge() -> None:
    read = [EXPECTATIONS["takeover"].read("1s"), EXPECTATIONS["main"].read("other")]
    found = all_found()
    found.read_back = Finding("read back", Outcome.PASSED, "all")
    run = a_run()
    run.findings = findings(run, found, read)
    assert [f.judge for f in run.findings if f.outcome is not Outcome.PASSED] == []
    assert len(run.findings) == 15 and run.outcome is Outcome.PASSED


LACKING = Lacking(Seen(6 * S, "opc.tcp://a", "plc1/x", 5 * S, 1.0, 0), "no sample", True)


def crossing(found: Gathered) -> None:
    """Asked by a just before b was, and answered after."""
    open_ = msgspec.structs.replace(poll(5.9, "a"), answered_ns=7 * S)
    found.polls = [poll(1, "a"), open_, poll(6, "b")]


def other_digest(found: Gathered) -> None:
    where = (1, "a", "7", 1)
    own = found.journals["b"]
    found.journals["b"] = own._replace(records={**own.records, where: frozenset({b"odd"})})


def one_record_more(found: Gathered) -> None:
    where, own = (1, "a", "7", 9), found.journals["b"]
    more = {**own.records, where: frozenset({b"more"})}
    found.journals["b"] = own._replace(records=more, at_ns={**own.at_ns, where: 2 * S})


def in_conflict(found: Gathered) -> None:
    found.journals["a"] = found.journals["a"]._replace(conflicts=2)


def missing(found: Gathered) -> None:
    found.verdicts["b"] = Verdict(100, 99, 0, 1, ())
    found.missing["b"] = [("plc1/x at 6 s: held 2.0", 6 * S)]


def missed(found: Gathered) -> None:
    found.missed = [Missed("plc1", "log1", ("x",), 5 * S, 7 * S, 2, "were in the log")]


@pytest.mark.parametrize(
    ("judge", "spoil", "evidence"),
    [
        (ONE_MAIN, lambda f: f.waits.append(("never synced", S)), "never synced"),
        (ONE_MAIN, lambda f: setattr(f, "main", ""), ""),
        (ONE_POLLER, lambda f: f.polls.append(poll(7, "a")), "no reign explains: plc1: node a"),
        (ONE_POLLER, crossing, "plc1: requests of a and b were open at once"),
        (f"{RIGHT}, node b", missing, "plc1/x at 6 s: held 2.0"),
        (SAME, lambda f: f.unlike.append("plc1/x: 1 samples only"), "plc1/x: 1 samples only"),
        (SAME, lambda f: f.gaps["b"].clear(), "a gap is known to node a only"),
        (SAME, lambda f: f.gaps["a"].clear(), "a gap is known to node b only"),
        (NOT_TWICE, other_digest, "position 1.a.7/1 holds 2 records: node a has 7831; node b has"),
        (NOT_TWICE, in_conflict, "node a keeps 2 conflicting records"),
        (EQUAL, one_record_more, "record 1.a.7/9 is in the journal of node b only"),
        (CLIENTS, lambda f: f.lacking.append(LACKING), "plc1/x: a client of opc.tcp://a was given"),
        (CLOSED, missed, "2 records of x were in the log"),
        (WHOLE, lambda f: f.broken.append(("node a: Traceback", S)), "node a: Traceback"),
    ],
)
def test_a_broken_promise_fails_its_judge_with_evidence(
    judge: str, spoil: Callable[[Gathered], None], evidence: str
) -> None:
    found = all_found()
    spoil(found)
    one = outcome(findings(a_run(), found, []), judge)
    assert one.outcome is Outcome.FAILED
    assert not evidence or evidence in one.evidence[0]
    assert len(one.evidence) == len(one.at_ns)


@pytest.mark.parametrize(
    ("judge", "spoil", "why"),
    [
        (ONE_POLLER, lambda f: setattr(f, "polls", None), "the outstations logged no poll"),
        (f"{RIGHT}, node a", lambda f: f.verdicts.pop("a"), "node a gave no history"),
        (
            f"{RIGHT}, node a",
            lambda f: f.verdicts.update(a=Verdict(0, 0, 0, 0, ())),
            "no scan instant was judged",
        ),
        (SAME, lambda f: f.gaps.pop("a"), "no history was read"),
        (SAME, lambda f: f.lacks.update(a="node a gave no history"), "node a gave no history"),
        (NOT_TWICE, lambda f: f.journals.pop("a"), "a journal could not be read"),
        (NOT_TWICE, lambda f: f.journals.update(a=Journal({}, {})), "a journal is empty"),
        (EQUAL, lambda f: f.journals.pop("a"), "a journal could not be read"),
        (EQUAL, lambda f: f.journals.update(a=Journal({}, {})), "a journal is empty"),
        (CLIENTS, lambda f: setattr(f, "seen", None), "the client saw no value"),
        (CLIENTS, lambda f: setattr(f, "histories", 0), "no history was read"),
        (CLOSED, lambda f: setattr(f, "missed", None), "the outstations did not say"),
        (WHOLE, lambda f: f.lacks.update(log="node b left no log"), "node b left no log"),
    ],
)
def test_what_could_not_be_got_is_unknown(
    judge: str, spoil: Callable[[Gathered], None], why: str
) -> None:
    found = all_found()
    spoil(found)
    one = outcome(findings(a_run(), found, []), judge)
    assert one.outcome is Outcome.UNKNOWN and why in one.said


@pytest.mark.parametrize(
    ("ended_s", "polls", "outcome", "refused"),
    [
        (7, 1, "passed", ""),
        (7, 2, "failed", ""),
        (4, 1, "failed", ""),
        (7, 1, "failed", "node a does not run"),
    ],
)
def test_one_request_of_a_woken_node_may_have_been_past_its_check(
    ended_s: int, polls: int, outcome: str, refused: str
) -> None:
    run, found = a_run(), all_found()
    run.acts.append(Act("freeze", "main", "a", 5 * S, ended_s * S, {}, refused))
    found.polls = [poll(1, "a"), poll(6, "b"), *[poll(7.5, "a")] * polls, poll(8, "b")]
    one = next(f for f in findings(run, found, []) if f.judge == ONE_POLLER)
    assert one.outcome == outcome
    assert ("1 of a woken node" in one.said) is (outcome == "passed")


@pytest.mark.parametrize(
    ("cause", "peer", "asked", "outcome"),
    [
        ("device", "b:7", 1, "passed"),
        ("device", "b:7", 2, "failed"),
        ("device", "run/bus1-b", 1, "failed"),
        ("node_down", "b:7", 1, "failed"),
    ],
)
def test_a_standby_may_knock_once_at_a_field_that_the_main_lost(
    cause: str, peer: str, asked: int, outcome: str
) -> None:
    run, found = a_run(), all_found()
    found.askers = {**found.askers, "run/bus1-b": "b"}
    run.stretches = [
        Stretch("plc1", "fast", "device", "filled", S, 4 * S),
        Stretch("plc2", "fast", cause, "filled", 2 * S, 3 * S),
    ]
    knock = msgspec.structs.replace(poll(2.5, "b"), peer=peer)
    found.polls = [poll(1, "a"), *[knock] * asked, poll(4, "a"), poll(6, "b")]
    # Campaign 20261211, round 6: the port of a connection of long before.
    found.polls.append(msgspec.structs.replace(poll(13, "b"), peer=peer))
    one = next(f for f in findings(run, found, []) if f.judge == ONE_POLLER)
    assert one.outcome == outcome, one
    assert ("1 of a Standby, at a field" in one.said) is (outcome == "passed")


def test_a_field_is_lost_while_no_device_answers() -> None:
    stretches = [
        Stretch("plc1", "fast", "device", "filled", 10, 40),
        Stretch("plc1", "slow", "device", "filled", 15, 50),
        Stretch("plc2", "fast", "link", "filled", 20, 30),
        Stretch("plc2", "fast", "link", "filled", 60, 70),
        Stretch("plc2", "fast", "node_down", "filled", 30, 45),
    ]
    assert field_lost(stretches, ["plc1", "plc2"]) == [Span(20, 30, None)]
    assert field_lost(stretches, ["plc1", "plc2", "plc3"]) == []


def a_stray_before_a_split(stepped: bool = False) -> Finding:
    """b asked in a's reign; b was Main once more, but only inside a split."""
    run, found = a_run(), all_found()
    run.splits = [(10 * S, 14 * S)]
    run.reigns = [
        Reign("1.a.7", "a", 0, 5 * S, "start"),
        Reign("2.b.8", "b", 5 * S, 9 * S, "a is dead"),
        Reign("3.a.9", "a", 9 * S, 13 * S, "handed over"),
        Reign("4.b.1", "b", 11 * S, 12 * S, "a is silent"),
        Reign("5.a.2", "a", 13 * S, 0, "longer reign"),
    ]
    if stepped:
        run.acts.append(Act("step_clock", "b", "b", S, 2 * S))
    found.polls = [poll(at, node) for at, node in ((1, "a"), (2, "b"), (3, "a"), (6, "b"))]
    return outcome(findings(run, found, []), ONE_POLLER)


def test_a_reign_inside_a_split_explains_no_poll_outside() -> None:
    one = a_stray_before_a_split()
    assert one.outcome is Outcome.FAILED and "node b asked 1 times" in one.evidence[0]
    stepped = a_stray_before_a_split(stepped=True)
    assert stepped.outcome is Outcome.PASSED, "times by a stepped clock are no proof"


def test_acts_takeovers_and_looks_that_are_missing_are_no_pass() -> None:
    run = a_run()
    run.entries, run.awaited = 2, 1
    assert outcome(findings(run, all_found(), []), PLAYED).outcome is Outcome.PASSED
    assert outcome(findings(run, all_found(), []), IN_TIME).outcome is Outcome.PASSED
    run.entries, run.awaited = 3, 2
    one = outcome(findings(run, all_found(), []), PLAYED)
    assert (one.outcome, one.said) == (Outcome.UNKNOWN, "only 2 of 3 entries were begun")
    one = outcome(findings(run, all_found(), []), IN_TIME)
    assert one.outcome is Outcome.UNKNOWN
    assert one.said == "2 takeovers had to come, known are: kill -9 400 ms"
    assert whole_again(run, {"kill"}).said == "known are 2 of 3 acts"
    run.entries, run.looks = 2, []
    assert whole_again(run, {"kill"}).said == "no node was looked at"
    assert whole_again(run, {"kill"}).outcome is Outcome.UNKNOWN


def test_without_reigns_nobody_knows_who_may_poll() -> None:
    run = a_run()
    run.reigns = []
    one = outcome(findings(run, all_found(), []), ONE_POLLER)
    assert (one.outcome, one.said) == (Outcome.UNKNOWN, "no reign is known")


def test_a_late_takeover_fails_but_on_a_machine_that_was_too_busy_nothing_is_known() -> None:
    run = a_run()
    late = Switch("cut", "a", "b", 5 * S, 8 * S, 2_000)
    run.switches = [late, Switch("kill -9", "a", "b", 9 * S, 0, 2_000)]
    one = outcome(findings(run, all_found(), []), IN_TIME)
    assert one.outcome is Outcome.FAILED
    assert one.evidence == (
        "cut: node b serves fresh values after 3000 ms, promised within 2000 ms",
        "kill -9 of node a: node b never served fresh values",
    )
    run.busy = True
    assert outcome(findings(run, all_found(), []), IN_TIME).outcome is Outcome.UNKNOWN


def test_what_could_not_be_done_is_no_pass_unless_a_refusal_was_expected() -> None:
    run = a_run()
    run.acts.append(Act("changeover", "pair", "pair", S, S, {}, "no synced Standby"))
    one = outcome(findings(run, all_found(), []), PLAYED)
    assert one.outcome is Outcome.UNKNOWN
    assert one.evidence == ("changeover pair: no synced Standby",)
    expected = EXPECTATIONS["refused"].read("changeover")
    found = findings(run, all_found(), [expected])
    assert outcome(found, PLAYED).outcome is Outcome.PASSED
    assert outcome(found, "expect refused").said == "no synced Standby"


# ------------------------------------------------------------------------------ expectations


def expect(kind: str, value: object, change: Callable[[Recording], object]) -> Finding:
    run = a_run()
    change(run)
    expected: Expectation = EXPECTATIONS[kind].read(value)
    return judge_expectation(expected, run)


LOST = Stretch("plc1", "fast", "device", "lost", 8 * S, 9 * S, ("x",))
OVERRUN = Stretch("plc2", "fast", "overrun", "open", 8 * S, 9 * S)
NEVER = Switch("cut", "a", "b", 5 * S, 0, 2_000)


def untold(run: Recording) -> None:
    run.gaps_told = False


def overrun(run: Recording) -> None:
    run.busy = True
    run.stretches.append(OVERRUN)


@pytest.mark.parametrize(
    ("kind", "value", "change", "outcome", "evidence"),
    [
        ("takeover", "300ms", lambda r: None, "failed", "kill -9: node b serves fresh values"),
        ("takeover", "1s", lambda r: r.switches.append(NEVER), "failed", "never served fresh"),
        ("takeover", "1s", lambda r: r.switches.clear(), "unknown", ""),
        ("main", "same", lambda r: None, "failed", "node a was expected to be Main at the end"),
        ("main", "b", lambda r: None, "passed", ""),
        ("main", "b", lambda r: r.looks.clear(), "unknown", ""),
        ("filled", "plc1", lambda r: None, "passed", ""),
        ("filled", "plc1", lambda r: r.stretches.append(LOST), "failed", "device, lost (x)"),
        ("filled", ["plc1/y"], lambda r: r.stretches.append(LOST), "passed", ""),
        ("filled", ["plc1/x"], lambda r: r.stretches.append(LOST), "failed", "lost (x)"),
        ("filled", ["plc1/y", "plc2"], lambda r: r.stretches.append(LOST), "passed", ""),
        ("filled", "plc2", lambda r: None, "unknown", ""),
        ("no_gaps", "plc1", lambda r: None, "failed", "plc1 (fast)"),
        ("no_gaps", ["plc2"], lambda r: None, "passed", ""),
        ("no_gaps", "plc2", lambda r: r.stretches.append(OVERRUN), "failed", "overrun, open"),
        ("no_gaps", "plc2", overrun, "passed", ""),
        ("no_gaps", "plc3", lambda r: None, "unknown", ""),
        ("gap", {"device": "plc1", "at_most": "2s"}, lambda r: None, "passed", ""),
        ("gap", {"device": "plc1", "at_most": "1s"}, lambda r: None, "failed", "for 2.000 s"),
        ("gap", {"device": "plc3", "at_most": "1s"}, lambda r: None, "unknown", ""),
        ("filled", "plc1", untold, "unknown", ""),
        ("no_gaps", "plc2", untold, "unknown", ""),
        ("gap", {"device": "plc1", "at_most": "2s"}, untold, "unknown", ""),
        ("told", "is dead", lambda r: None, "passed", ""),
        ("told", "moon", lambda r: None, "failed", "none of 2 events and log lines has 'moon'"),
        ("told", "moon", lambda r: r.told.clear(), "unknown", ""),
        ("refused", "kill", lambda r: None, "failed", "kill main (a) for 5.0 s was not refused"),
        ("refused", "cut", lambda r: None, "unknown", ""),
    ],
)
def test_an_expectation_is_judged(
    kind: str, value: object, change: Callable[[Recording], object], outcome: str, evidence: str
) -> None:
    found = expect(kind, value, change)
    assert found.outcome == outcome, found
    assert evidence in "\n".join(found.evidence)
    assert bool(found.evidence) is (outcome == "failed")


# ------------------------------------------------------------------------------ what was seen


def test_a_split_lasts_until_both_nodes_are_a_pair_again() -> None:
    run = a_run()
    acts = [Act("cut", "links", "links", 3 * S, 8 * S), *run.acts]
    assert splits(acts, frozenset({"cut"}), run.looks, 20 * S) == [(3 * S, 12 * S + 1)]
    late = [Act("cut", "links", "links", 3 * S, 30 * S)]
    assert splits(late, frozenset({"cut"}), run.looks, 20 * S) == [(3 * S, 20 * S)]
    assert paired_since(run.looks, 0) == S + 1


def test_of_two_that_strike_together_each_may_split() -> None:
    run = a_run()
    acts = [
        Act("kill", "a", "a", 5 * S, 10 * S, {"together": True}),
        Act("freeze", "b", "b", 6 * S, 7 * S, {"together": True}),
        Act("kill", "main", "a", 13 * S, 14 * S),
    ]
    assert splits(acts, frozenset({"cut"}), run.looks, 20 * S) == [
        (5 * S, 12 * S + 1),
        (6 * S, 12 * S + 1),
    ]


@pytest.mark.parametrize(
    ("seconds", "hit", "known"), [(90, "a", False), (-0.4, "a", True), (3600, "b", True)]
)
def test_what_a_main_stamps_by_a_clock_that_was_set_wrong_proves_nothing(
    seconds: float, hit: str, known: bool
) -> None:
    run, found = a_run(), all_found()
    run.acts.append(Act("step_clock", hit, hit, 1 * S, 3 * S, {"seconds": seconds}))
    found.verdicts["a"] = Verdict(100, 90, 0, 10, ())
    one = outcome(findings(run, found, []), f"{RIGHT}, node a")
    assert one.outcome is (Outcome.FAILED if known else Outcome.UNKNOWN)
    assert ("node a was Main while its clock was set wrong" in one.said) is not known
    other = outcome(findings(run, found, []), f"{RIGHT}, node b")
    assert other.outcome is Outcome.PASSED, "what is right is right by any clock"


def test_with_a_witness_that_votes_there_is_no_split() -> None:
    assert may_split({}) and may_split({"witness": {"hosts": ["10.0.0.1"]}})
    assert not may_split({"witness": {"modbus": [{"device": "plc1", "address": 900}]}})
    assert not may_split({"witness": {"etcd": {"endpoints": ["http://e"]}}})


def test_evidence_says_what_the_other_node_holds() -> None:
    item = Evidence("plc1/x", 6 * S, (2.0,), 1.0, 0, 5 * S, "stale", "no poll")
    text, at_ns = beside(item, "b", [row(5 * S, 2.0), row(7 * S)])
    assert "held 2.0" in text and "node b has 2.0 of 1970" in text and at_ns == 6 * S
    assert beside(item, "b", [])[0].endswith("node b has nothing")


def test_verdicts_and_outcomes_are_added_up() -> None:
    parts = [Verdict(3, 2, 1, 0, ()), Verdict(4, 2, 1, 1, ())]
    assert total(parts) == Verdict(7, 4, 2, 1, ())
    assert worst([]) is Outcome.UNKNOWN
    assert worst([Outcome.PASSED, Outcome.UNKNOWN]) is Outcome.UNKNOWN
    assert worst([Outcome.UNKNOWN, Outcome.FAILED]) is Outcome.FAILED
    assert worst([Outcome.PASSED]) is Outcome.PASSED


def test_a_pair_that_is_not_whole_within_a_minute_of_an_act_fails() -> None:
    run = a_run()
    assert whole_again(run, {"kill"}).said == "1 acts; at most 2.0 s after the end of one"
    run.acts = [Act("kill", "main", "a", 5 * S, 25 * S), Act("cut", "main", "a", 26 * S, 27 * S)]
    found = whole_again(run, {"kill", "cut"})
    assert found.evidence == ("cut main (a) for 1.0 s: not whole within 60 s",)


def test_a_transcript_has_takeovers_gaps_windback_reigns_and_events() -> None:
    run = a_run()
    run.switches.append(NEVER)
    run.acts += [
        Act("restart", "standby", "a", 30 * S, 31 * S),
        Act("cut", "links", "links", S, S, {}, "gone"),
    ]
    run.unjudged = ["plc9 is real: 2 points"]
    run.stretches.append(Stretch("plc1", "slow", "link", "lost", 0, 3 * S, ("level",)))
    told = "\n".join(lines(run, {"plc1"}, {"kill", "restart", "cut"}))
    assert "NOT JUDGED: plc9 is real: 2 points" in told
    assert "kill main (a) for 5.0 s: whole again after 2.0 s, journals equal after 2.0 s" in told
    assert "restart standby (a) for 1.0 s: never whole again" in told
    assert "pair: cut links: FAILED: gone" in told
    assert "took over: kill -9: node b serves fresh values after 400 ms" in told
    assert "took over: cut: never" in told
    assert "declared: plc1 node_down 2.0 s" in told and "windback: plc1 2.0 s filled" in told
    assert "windback: plc1 3.0 s lost for some points" in told
    assert "Main was b from 1970-01-01T00:00:05.000Z to now, term 2.b.8: a is dead" in told
    assert [line.strip()[-24:] for line in events(run)] == [
        *("the nodes told 1 events:", "b became Main: a is dead")
    ]
    assert equal_since(run.looks, 19 * S) == 0
    run.looks = [msgspec.structs.replace(one, equal_ns=0) for one in run.looks]
    assert "journals equal after never" in "\n".join(lines(run, (), {"kill"}))


def status(role: str) -> dict[str, object]:
    pull = {"samples_behind": 3, "lag_ms": 4.4, "equal_at_ns": 5}
    devices = {"plc1": {"state": "up"}, "plc2": {"state": "down"}}
    replication = {"receiving": pull, "sending": pull}
    return {"role": role, "role_shown": role, "devices": devices, "replication": replication}


def test_a_look_keeps_what_a_report_shows() -> None:
    assert look_of(1, "a", {}) == Look(1, "a")
    assert look_of(1, "a", status("main")) == Look(1, "a", "main", "main", 3, 4.4, 5, 1, 2)
    assert shown({"a": status("main"), "b": {}}) == (
        "a main, b silent; down: plc2; Standby 3 samples, 4 ms behind"
    )
    assert shown({"a": status("synced"), "b": {}}) == "a synced, b silent; no Main"
