"""A run as JUnit XML, as test servers read it: a test case a finding. Pure.

A failed finding is a `failure` with its evidence, an unknown one an `error`. The elements are
those that Jenkins, GitLab and the Maven Surefire schema have in common.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as Xml

from gateway.model import NS_PER_S, format_time
from hil.recording import Finding, Outcome, Recording

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't hold (section 2.2)."""


def junit(run: Recording) -> str:
    """The document."""
    outcomes = [finding.outcome for finding in run.findings]
    lasted_s = f"{max(0, run.to_ns - run.from_ns) / NS_PER_S:.3f}"
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILED)),
        "errors": str(outcomes.count(Outcome.UNKNOWN)),
        "time": lasted_s,
    }
    suites = Xml.Element("testsuites", counts)
    begun = format_time(run.from_ns).removesuffix("Z") if run.from_ns else ""
    about = {"name": _clean(run.scenario), **counts, "timestamp": begun}
    suite = Xml.SubElement(suites, "testsuite", about)
    properties = Xml.SubElement(suite, "properties")
    facts = {"promise": run.promise, "site": run.site, "version": run.version}
    for name, value in (facts | ({} if run.seed is None else {"seed": str(run.seed)})).items():
        Xml.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for finding in run.findings:
        _case(suite, run.scenario, finding)
    Xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suites, "unicode") + "\n"


def _case(suite: Xml.Element, scenario: str, finding: Finding) -> None:
    case = Xml.SubElement(
        suite, "testcase", {"classname": _clean(scenario), "name": _clean(finding.judge)}
    )
    kind = {Outcome.FAILED: "failure", Outcome.UNKNOWN: "error"}.get(finding.outcome)
    if kind is None:
        Xml.SubElement(case, "system-out").text = _clean(finding.said)
        return
    failure = Xml.SubElement(case, kind, {"message": _clean(finding.said), "type": kind})
    failure.text = _clean("\n".join(finding.evidence))


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
