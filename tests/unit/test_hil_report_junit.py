"""JUnit XML: every finding a case, nothing unknown passed, and the form that both schemas want."""

from __future__ import annotations

from xml.etree import ElementTree

from recordings import T0, at, small

from hil.recording import Act, Finding, Outcome, Recording
from hil.report.junit import junit


def suite(recording: Recording) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(recording))
    assert root.tag == "testsuites"
    assert not root.attrib  # by Ant's schema it has none
    (found,) = root
    return found


def test_each_finding_is_a_case_failed_is_a_failure_and_unknown_an_error() -> None:
    found = suite(small())
    cases = {case.get("name"): [child.tag for child in case] for case in found.iter("testcase")}
    assert cases == {
        "one poller": [],
        "histories": [],
        "every scan instant": ["failure"],
        "takeover": [],
        "clock of plc2": ["error"],
    }
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("5", "1", "1")
    (failure,) = found.iter("failure")
    assert failure.get("message") == "2 of 9,600 instants are neither right nor declared"
    assert failure.get("type") == "failed"
    assert (failure.text or "").splitlines()[0].startswith("plc1/level at 30.0 s: the device held")


def test_it_has_the_form_that_the_schemas_want() -> None:
    found = suite(small())
    assert [child.tag for child in found] == [
        "properties", *["testcase"] * 5, "system-out", "system-err",
    ]  # fmt: skip
    assert found.get("timestamp") == "2026-11-25T18:02:00"
    assert found.get("time") == "60.000"
    for name in ("name", "package", "id", "hostname", "tests", "failures", "errors"):
        assert found.get(name)
    for case in found.iter("testcase"):
        assert case.get("classname") == "The Main dies"
        assert case.get("time") == "0"
    properties = {p.get("name"): p.get("value") for p in found.iter("property")}
    assert properties == {"site": "demo", "seed": "7", "version": "0.1.0"}


def test_a_run_that_nobody_judged_has_not_passed() -> None:
    found = suite(Recording("Quiet", "", "demo", None, "0", T0, at(1)))
    assert (found.get("tests"), found.get("errors")) == ("1", "1")
    assert suite(Recording("", "", "demo", None, "0", T0, at(1))).get("name") == "scenario"


def test_any_text_is_legal_xml() -> None:
    evil = "]]>\x00\x1b[31m<&\"'\ud800"
    finding = Finding(evil, Outcome.FAILED, evil, (evil,))
    act = Act(evil, "main", "a", at(1), at(2), {}, "no such node")
    found = suite(small(scenario=evil, promise=evil, findings=[finding], acts=[act]))
    shown = "]]>\ufffd\ufffd[31m<&\"'\ufffd"
    assert found.findtext("testcase/failure") == shown + "\n"
    assert found.findtext("system-out") == shown
    assert "no such node" in (found.findtext("system-err") or "")
