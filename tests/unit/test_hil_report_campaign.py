"""The page and the JUnit XML of a campaign: a row and a case a round, nothing unknown passed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from hil.recording import Outcome
from hil.report.campaign import Round, campaign_page, suites

GOOD = Round(1, Outcome.PASSED, 71.25, (410, 980), (), 9, "9 scan instants, 9 right")
BAD = Round(2, Outcome.FAILED, 70, (), ("every scan instant: 3 <missing>",), 4, "9, 6 right")
BROKEN = Round(3, Outcome.UNKNOWN, 2, (), ("the run broke off: no port",), broken_off=True)
STOPPED = Round(4, Outcome.UNKNOWN, 9, (), ("stopped by SIGINT, not judged",), stopped=True)


def test_a_case_a_round() -> None:
    (suite,) = ElementTree.fromstring(suites(7, [GOOD, BAD, BROKEN]))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {"round-001": [], "round-002": ["failure"], "round-003": ["error"]}
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "every scan instant: 3 <missing>"


def test_a_round_that_was_stopped_is_no_verdict() -> None:
    (suite,) = ElementTree.fromstring(suites(7, [GOOD, STOPPED]))
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["2", "0", "0", "1"]
    (skipped,) = suite.iter("skipped")
    assert skipped.get("message") == "stopped by SIGINT, not judged"
    page = campaign_page(7, "demo", [GOOD, STOPPED])
    assert 'class="verdict passed"' in page
    assert "1 of 1 rounds passed; one was stopped and is not judged; 9 faults" in page
    assert "stopped by SIGINT, not judged" in page and "round-004/report.html" not in page
    assert " ".join(str(STOPPED).split()) == "STOPPED round-004: stopped by SIGINT, not judged"
    assert STOPPED.plain()["outcome"] == "stopped"


def test_a_round_without_a_run_has_no_page() -> None:
    page = campaign_page(7, "demo", [BROKEN])
    assert "round-003" in page and "href=" not in page


def test_a_row_a_round_with_the_way_to_its_own_page() -> None:
    page = campaign_page(7, "demo", [GOOD, BAD])
    assert 'href="round-001/report.html"' in page and "3 &lt;missing&gt;" in page
    assert "1 of 2 rounds passed; 13 faults; 2 takeovers, median 695 ms, longest 980 ms." in page
    assert 'class="verdict failed"' in page


@pytest.mark.parametrize(
    ("rounds", "outcome"),
    [
        ([GOOD], "passed"),
        ([GOOD, BROKEN], "unknown"),
        ([BROKEN, BAD], "failed"),
        ([], "unknown"),
        ([STOPPED], "unknown"),
        ([BAD, STOPPED], "failed"),
    ],
)
def test_what_could_not_be_judged_is_no_pass(rounds: list[Round], outcome: str) -> None:
    assert f'class="verdict {outcome}"' in campaign_page(7, "demo", rounds)


def test_a_round_in_a_line() -> None:
    assert str(GOOD) == (
        "PASSED   round-001: 9 faults, takeovers up to 980 ms; 9 scan instants, 9 right"
    )
    assert str(BROKEN).splitlines()[1].strip() == "the run broke off: no port"
    assert GOOD.plain()["takeovers_ms"] == [410, 980]
