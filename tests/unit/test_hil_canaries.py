"""What is held of canaries: every judge has one, and a judge that says nothing is found out."""

from __future__ import annotations

from test_hil_verdicts import a_run, all_found

from hil.canaries import CANARIES, LIVE, NEVER_FAIL, Canary, caught, name_of, unproven
from hil.expect import EXPECTATIONS
from hil.foreign import JUDGE, read_back
from hil.recording import Finding, Outcome
from hil.transcript import judged
from hil.verdicts import NOT_TWICE, ONE_MAIN, PLAYED, SAME

PASSED = Finding(SAME, Outcome.PASSED, "10 points")
FAILED = Finding(SAME, Outcome.FAILED, "10 points", ("plc1/x: 1 samples only in the first",))
UNKNOWN = Finding(SAME, Outcome.UNKNOWN, "no history was read")


def broken(fails: str = "", unknown: str = "") -> Canary:
    return Canary("it", lambda kept: "", frozenset({fails} - {""}), frozenset({unknown} - {""}))


def test_every_judge_and_every_expectation_has_a_canary_that_makes_it_fail() -> None:
    found = all_found()
    found.read_back = read_back(
        {"values": 9, "calls": 1, "seconds": 1, "unordered": 0, "same_time": 0, "refused": 0}, 9, 0
    )
    judges = {name_of(finding) for finding in judged(a_run(), found, [], ["kill"])}
    assert JUDGE in judges and len(judges) == 14
    judges |= {f"expect {kind}" for kind in EXPECTATIONS}
    canaries = [*CANARIES, *LIVE.values()]
    assert unproven(judges, canaries) == []
    assert unproven({*judges, "a new judge"}, canaries) == ["a new judge"]
    named = {name for one in canaries for name in one.fails | one.unknown}
    assert named == judges, "and no canary waits for a judge that isn't there"
    assert frozenset({PLAYED}) == NEVER_FAIL
    unknown = set().union(*(one.unknown for one in canaries))
    assert unknown == judges - {ONE_MAIN}, "who answers nobody is no Main; others lack a ground"


def test_a_canary_is_caught_by_the_judges_that_must_and_by_no_other() -> None:
    good = Finding(NOT_TWICE, Outcome.PASSED, "2 records")
    before = [PASSED, good]
    assert caught(broken(SAME), "plc1/x", before, [FAILED, good]).amiss == ()
    assert caught(broken(unknown=SAME), "", before, [UNKNOWN, good]).amiss == ()

    def amiss(canary: Canary, clue: str, *after: Finding) -> tuple[str, ...]:
        return caught(canary, clue, before, after).amiss

    assert amiss(broken(SAME), "plc1/x", PASSED, good) == (f"{SAME}: passed, must be failed",)
    assert amiss(broken(SAME), "plc1/x", UNKNOWN, good) == (f"{SAME}: unknown, must be failed",)
    assert amiss(broken(SAME), "plc2", FAILED, good) == (
        f"{SAME}: failed, and no evidence names plc2",
    )
    other = amiss(broken(NOT_TWICE), "", FAILED, good)
    assert other == (f"{SAME}: failed, must be passed", f"{NOT_TWICE}: passed, must be failed")
    assert amiss(broken("x"), "", PASSED) == (
        f"{NOT_TWICE} judged before, and no more",
        "x: no such judge",
    )


def test_what_a_client_read_beside_no_history_is_unknown() -> None:
    said = {"values": 9, "calls": 1, "seconds": 1, "unordered": 0, "same_time": 0, "refused": 0}
    assert read_back(said, 0, 0).outcome is Outcome.UNKNOWN
    assert read_back(said | {"unordered": 1}, 9, 0).outcome is Outcome.FAILED
