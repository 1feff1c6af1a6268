"""The findings as JUnit XML, for Jenkins, GitLab and whatever else counts test cases."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.model import NS_PER_S
from hil.recording import Finding, Outcome, Recording
from hil.report.markup import Html, joined, tag

NOTHING_JUDGED = Finding("verdict", Outcome.UNKNOWN, "nothing was judged")


def junit(recording: Recording) -> str:
    """One suite a run, one test case a finding: failed is a failure, unknown an error.

    Valid by the strictest schema in use, Ant's (windyroad/JUnit-Schema): it fixes the order of the
    elements, wants `hostname`, `package` and `id`, none of them at `testsuites`, and a timestamp
    without zone (it is UTC). A run without findings is an error: an empty suite counts as passed.
    """
    findings = recording.findings or [NOTHING_JUDGED]
    outcomes = [finding.outcome for finding in findings]
    seconds = f"{max(recording.to_ns - recording.from_ns, 0) / NS_PER_S:.3f}"
    begun = datetime.fromtimestamp(recording.from_ns // NS_PER_S, UTC)
    suite = tag(
        "testsuite",
        tag("properties", *_properties(recording)),
        *(_case(recording.scenario or "scenario", finding) for finding in findings),
        tag("system-out", recording.promise),
        tag("system-err", *(f"{act}: {act.failed}\n" for act in recording.acts if act.failed)),
        name=recording.scenario or "scenario",
        package="hotpair.hil",
        id="0",
        hostname="localhost",
        timestamp=f"{begun:%Y-%m-%dT%H:%M:%S}",
        tests=str(len(findings)),
        failures=str(outcomes.count(Outcome.FAILED)),
        errors=str(outcomes.count(Outcome.UNKNOWN)),
        skipped="0",
        time=seconds,
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tag("testsuites", suite)}\n'


def _properties(recording: Recording) -> list[Html]:
    seed = "" if recording.seed is None else str(recording.seed)
    given = {"site": recording.site, "seed": seed, "version": recording.version}
    return [tag("property", name=name, value=value) for name, value in given.items()]


def _case(scenario: str, finding: Finding) -> Html:
    inner: tuple[Html, ...] = ()
    if finding.outcome is not Outcome.PASSED:
        kind = "failure" if finding.outcome is Outcome.FAILED else "error"
        text = joined(f"{piece}\n" for piece in finding.evidence)
        inner = (tag(kind, text, message=finding.said, type=finding.outcome.value),)
    # No judge takes time worth telling: the run does, and its suite says so.
    return tag("testcase", *inner, name=finding.judge, classname=scenario, time="0")
