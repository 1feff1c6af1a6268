"""The promises, each kept or broken, with the evidence; what failed comes first and is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from hil.recording import Act, Finding, Outcome
from hil.report.acts import ordered, said
from hil.report.axis import Axis, exact, since
from hil.report.chart import Band, row_label
from hil.report.marks import beside
from hil.report.markup import Html, joined, tag
from hil.report.told import Lines, listed, nearest

ROW_PX: Final = 20
ROWS_MAX: Final = 12
ORDER: Final = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED)
MARKS: Final = {Outcome.PASSED: "\u2713", Outcome.FAILED: "\u2717", Outcome.UNKNOWN: "?"}
WORDS: Final = {
    Outcome.PASSED: "Passed",
    Outcome.FAILED: "Failed",
    Outcome.UNKNOWN: "Unknown",
}


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Failed, then unknown, then passed; otherwise as they were judged."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.outcome))


def counted(findings: Sequence[Finding]) -> str:
    """How many of the promises failed, in words."""
    if not findings:
        return "Nothing was judged."
    counts = Counter(finding.outcome for finding in findings)
    if counts[Outcome.PASSED] == len(findings):
        return (
            "One promise was judged: kept."
            if len(findings) == 1
            else (f"All {len(findings)} promises that were judged are kept.")
        )
    said = [f"{counts[o]} {o.value}" for o in ORDER if counts[o]]
    return f"{len(findings)} promises were judged: {', '.join(said)}."


def promises(findings: Sequence[Finding], acts: Sequence[Act], lines: Lines, zero_ns: int) -> Html:
    """The list. Evidence says during which act it was, or shows what was told around it."""
    if not findings:
        return tag("p", "No judge has said anything, so nothing is proven.")
    return joined(_promise(f, ordered(acts), lines, zero_ns) for f in worst_first(findings))


def _promise(finding: Finding, acts: Sequence[Act], lines: Lines, zero_ns: int) -> Html:
    outcome = finding.outcome
    mark = tag("span", f"{MARKS[outcome]} {WORDS[outcome]}", class_=f"outcome {outcome.value}")
    head = (mark, " ", tag("strong", finding.judge), " ", tag("span", finding.said, class_="said"))
    given = {"class_": f"promise {outcome.value}", "data_judge": finding.judge}
    if not finding.evidence:
        return tag("div", tag("div", *head, class_="summary"), **given)
    moments = [*finding.at_ns, *([0] * len(finding.evidence))]
    pieces = [
        tag("li", text, *_around(at_ns, acts, lines, zero_ns) if at_ns else ())
        for text, at_ns in zip(finding.evidence, moments, strict=False)
    ]
    count = f"{len(pieces)} pieces of evidence" if len(pieces) > 1 else "the evidence"
    summary = tag("summary", *head, " ", tag("span", count, class_="quiet"))
    opened = outcome is not Outcome.PASSED
    return tag("details", summary, tag("ul", *pieces), open=opened, **given)


def _around(at_ns: int, acts: Sequence[Act], lines: Lines, zero_ns: int) -> tuple[Html, ...]:
    when = f"{exact(at_ns, zero_ns)} ({since(at_ns, zero_ns)})"
    index = nearest([(act.begun_ns, act.ended_ns) for act in acts], at_ns)
    if index is not None:
        after = since(at_ns, acts[index].begun_ns)
        link = tag("a", said(index + 1, acts[index]), href=f"#act-{index + 1}")
        return (tag("div", f"{when}, {after} from ", link, class_="quiet"),)
    told = listed(lines.around(at_ns, at_ns), at_ns, zero_ns)
    summary = tag("summary", f"{when}: what was told around it")
    return (tag("details", summary, told, class_="quiet"),)


def band(axis: Axis, findings: Sequence[Finding]) -> Band:
    """The moments that evidence against a promise speaks of, a row a judge."""
    rows = [f for f in worst_first(findings) if f.outcome is not Outcome.PASSED and any(f.at_ns)]
    drawn: list[Html] = []
    for finding in rows[:ROWS_MAX]:
        here = sorted(at for at in finding.at_ns if at and axis.touches(at, at))
        if here:
            drawn.append(_row(axis, finding, here, len(drawn) * ROW_PX))
    return Band("Evidence against promises", len(drawn) * ROW_PX, joined(drawn))


def _row(axis: Axis, finding: Finding, moments: Sequence[int], y: int) -> Html:
    parts = [row_label(finding.judge, y + 12)]
    texts = dict(zip(finding.at_ns, finding.evidence, strict=False))
    marks = [(axis.x(at) - 5, axis.x(at) + 5) for at in moments]
    labels = beside(marks, [[texts.get(at, "")] for at in moments])
    for at_ns, label in zip(moments, labels, strict=True):
        x = axis.x(at_ns)
        cross = tag("path", d=f"M{x - 5:.1f} {y + 3}l10 10m0 -10l-10 10", class_="cross")
        title = tag("title", f"{exact(at_ns, axis.zero_ns)} {texts.get(at_ns, '')}")
        parts.append(tag("g", cross, title, data_evidence=str(at_ns)))
        if label.text:
            end = "end" if label.anchor == "end" else None
            parts.append(
                tag("text", label.text, x=label.x, y=y + 12, class_="note", text_anchor=end)
            )
    return joined(parts)
