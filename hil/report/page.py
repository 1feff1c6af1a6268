"""The report of a run as one HTML page: verdict, promises, the run on one axis, tables, logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from gateway.model import NS_PER_S
from hil.recording import Act, Outcome, Recording
from hil.report import acts as done
from hil.report import coverage, crowd, findings, gaps, lag, roles, takeovers
from hil.report.axis import Axis, date, exact, length, sheets, since
from hil.report.chart import Band, chart
from hil.report.markup import Html, folded, joined, tag
from hil.report.style import HATCHES, SCRIPT, STYLE
from hil.report.told import Lines, listed

SHEETS_FROM_NS: Final = 15 * 60 * NS_PER_S
"""A run longer than this is shown a second time, in parts."""
SHEETS_MAX: Final = 12
ACTS_MAX: Final = 2_000
BUSY: Final = (
    " The machine had more than twice the work that its processors can do: times prove nothing."
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page loads nothing, whatever a scenario is called."""


def page(recording: Recording) -> str:
    """The whole page. It needs no other file, and no script to be read."""
    acts = done.ordered(recording.acts)
    pieces = sum(len(finding.evidence) for finding in recording.findings)
    lines = Lines(recording.told, min(len(acts), ACTS_MAX) + pieces)
    word = findings.WORDS[recording.outcome]
    body = tag(
        "body",
        tag("a", "To the promises", href="#promises", class_="skip"),
        HATCHES,
        _head(recording),
        tag(
            "main",
            _promises(recording, acts, lines),
            _run(recording, acts),
            _takeovers(recording),
            _reigns(recording),
            _gaps(recording),
            _acts(recording, acts, lines),
        ),
        tag("script", SCRIPT),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{word}: {recording.scenario} \u2013 Hotpair"),
        tag("style", STYLE),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _section(anchor: str, heading: str, *inner: Html) -> Html:
    named = tag("h2", heading, id=f"{anchor}-head")
    return tag("section", named, *inner, id=anchor, aria_labelledby=f"{anchor}-head")


def _head(recording: Recording) -> Html:
    outcome = recording.outcome
    mark = f"{findings.MARKS[outcome]} {findings.WORDS[outcome]}"
    promise = recording.promise or recording.scenario
    return tag(
        "header",
        tag(
            "div",
            tag("p", f"Scenario: {recording.scenario}", class_="kicker"),
            tag("h1", tag("span", f"{mark}: ", class_="word"), promise),
            tag("p", findings.counted(recording.findings), BUSY if recording.busy else ""),
            class_=f"verdict {outcome.value}",
        ),
        tag("dl", *(_fact(*fact) for fact in _facts(recording)), class_="facts"),
    )


def _fact(name: str, value: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value))


def _many(count: int) -> str:
    return f"{count:,}".replace(",", "\u2009")


def _facts(recording: Recording) -> list[tuple[str, str]]:
    from_ns, to_ns = recording.from_ns, recording.to_ns
    days = dict.fromkeys((date(from_ns), date(to_ns)))
    span = f"{exact(from_ns, from_ns)[:8]} to {exact(to_ns, to_ns)[:8]} UTC"
    facts = [
        ("when", f"{' to '.join(days)}, {span}"),
        ("lasted", length(to_ns - from_ns)),
        ("site", f"{recording.site}, {len(recording.devices)} devices"),
        ("acts", str(len(recording.acts))),
    ]
    if recording.switches:
        facts.append(("takeovers", takeovers.summary(recording.switches)))
    states = Counter(stretch.state for stretch in recording.stretches)
    facts.append(
        ("gaps", ", ".join(f"{_many(n)} {state}" for state, n in states.items()) or "none")
    )
    if recording.polls:
        facts.append(("polls judged", _many(recording.polls)))
    facts += [("not judged", said) for said in recording.unjudged]
    if recording.seed is not None:
        facts.append(("seed", str(recording.seed)))
    facts.append(("version", recording.version))
    return facts


def _promises(recording: Recording, acts: Sequence[Act], lines: Lines) -> Html:
    listed_ = findings.promises(recording.findings, acts, lines, recording.from_ns)
    return _section("promises", "The promises", listed_)


# ------------------------------------------------------------------------------ the run


def _run(recording: Recording, acts: Sequence[Act]) -> Html:
    whole = Axis(recording.from_ns, recording.to_ns, recording.from_ns)
    found = roles.standings(recording.looks)
    measured = lag.lags(recording.looks)

    def drawn(axis: Axis, name: str, told: str) -> Html:
        gaps_of = coverage.thinned_by_device(axis, recording.devices, recording.stretches)
        bands: list[Band] = [
            findings.band(axis, recording.findings),
            done.band(axis, acts),
            roles.band(axis, found),
            takeovers.band(axis, recording.switches),
            *lag.bands(axis, measured),
            lag.equal_band(axis, recording.looks),
            crowd.band(axis, gaps_of),
            coverage.band(axis, gaps_of),
        ]
        return chart(axis, name, told, bands, recording.splits, acts)

    parts = [
        tag("p", "All rows share one axis. Hovering a mark tells more; what is narrower than a "
            "pixel is drawn two pixels wide, and the worse of two in one pixel is seen.",
            class_="quiet"),
        drawn(whole, "The whole run", _told(recording)),
        roles.legend(found) if found else Html(""),
        coverage.legend(recording.stretches),
        coverage.each(
            whole, coverage.thinned_by_device(whole, recording.devices, recording.stretches)
        ),
    ]  # fmt: skip
    if whole.length_ns > SHEETS_FROM_NS:
        parts.append(tag("h3", "The same in parts, with room for every act"))
        for axis in sheets(whole, SHEETS_MAX):
            name = _sheet_name(axis, recording)
            parts.append(folded(name, drawn(axis, name, "A part of the run.")))
    if found:
        parts.append(folded("Roles and lag as tables", *_tables(recording, found, measured)))
    return _section("run", "The run", *parts)


def _tables(
    recording: Recording, found: dict[str, list[roles.Standing]], measured: Sequence[lag.Lag]
) -> list[Html]:
    parts = [roles.shares(found), roles.listed(found, recording.from_ns)]
    if measured:
        parts.insert(1, lag.summary(measured, recording.from_ns))
    if recording.splits:
        splits = "; ".join(
            f"{exact(a, recording.from_ns)} to {exact(b, recording.from_ns)}, {length(b - a)}"
            for a, b in sorted(recording.splits)
        )
        parts.append(tag("p", f"Splits, when neither node heard the other: {splits}."))
    return parts


def _told(recording: Recording) -> str:
    """The chart in words, for those who don't see it."""
    words = [
        f"{len(recording.acts)} acts",
        f"{len(recording.switches)} takeovers",
        f"{len(recording.splits)} splits",
        f"{len(recording.stretches)} gaps of {len(recording.devices)} devices",
    ]
    return (
        f"From {exact(recording.from_ns, recording.from_ns)} to "
        f"{exact(recording.to_ns, recording.from_ns)} UTC: {', '.join(words)}. "
        "The tables below say the same: roles and lag, takeovers, reigns, gaps, acts."
    )


def _sheet_name(axis: Axis, recording: Recording) -> str:
    """When a part is, and what happened in it."""
    times = {
        "acts": [act.begun_ns for act in recording.acts],
        "takeovers": [switch.fault_ns for switch in recording.switches],
        "pieces of evidence": [
            at_ns
            for finding in recording.findings
            for at_ns in finding.at_ns
            if finding.outcome is not Outcome.PASSED
        ],
    }
    counts = {
        name: sum(axis.from_ns <= at_ns < axis.to_ns for at_ns in found)
        for name, found in times.items()
    }
    span = f"{exact(axis.from_ns, axis.zero_ns)[:-4]} to {exact(axis.to_ns, axis.zero_ns)[:-4]}"
    happened = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{span}: {happened or 'nothing was done'}"


# ------------------------------------------------------------------------------ what follows


def _takeovers(recording: Recording) -> Html:
    if not recording.switches:
        return _section("takeovers", "Takeovers", tag("p", "No node had to take over."))
    tables = takeovers.tables(recording.switches, recording.from_ns)
    return _section("takeovers", "Takeovers", tables)


def _reigns(recording: Recording) -> Html:
    if not recording.reigns:
        return _section("reigns", "Reigns", tag("p", "No reign was recorded."))
    table = roles.reigns(recording)
    many = len(recording.reigns) > takeovers.OPEN_MAX
    return _section(
        "reigns", "Reigns", folded(f"All {len(recording.reigns)} reigns", table) if many else table
    )


def _gaps(recording: Recording) -> Html:
    if not recording.stretches:
        return _section("gaps", "Gaps", tag("p", "No gap is recorded."))
    listed_ = gaps.listed(recording.stretches, recording.from_ns)
    if len(recording.stretches) > takeovers.OPEN_MAX:
        listed_ = joined(
            (gaps.sums(recording.stretches), folded("When, and of which devices", listed_))
        )
    return _section("gaps", "Gaps", listed_)


def _acts(recording: Recording, acts: Sequence[Act], lines: Lines) -> Html:
    heading = "What was done, and what the nodes told"
    if not acts:
        return _section("acts", heading, tag("p", "Nothing was done to the pair."))
    intro = "Each act with the lines of both nodes from 1 s before it to 5 s after."
    listed_ = [
        _act(number, act, lines, recording.from_ns)
        for number, act in enumerate(acts[:ACTS_MAX], start=1)
    ]
    if len(acts) > ACTS_MAX:
        listed_.append(tag("p", f"{len(acts) - ACTS_MAX} more acts are in run.json."))
    intro_ = tag("p", intro, class_="quiet")
    return _section("acts", heading, intro_, tag("div", *listed_, id="acts-list"))


def _act(number: int, act: Act, lines: Lines, zero_ns: int) -> Html:
    around = lines.around(act.begun_ns, act.ended_ns)
    count = len(around.lines) + around.left_out
    summary = tag(
        "summary",
        tag("span", exact(act.begun_ns, zero_ns)),
        tag("span", since(act.begun_ns, zero_ns), class_="quiet"),
        tag("span", done.said(number, act)),
        tag("span", f"{count} lines" if count != 1 else "1 line", class_="many"),
    )
    shown = listed(around, act.begun_ns, zero_ns)
    return tag("details", summary, shown, class_="act", id=f"act-{number}")
