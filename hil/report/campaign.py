"""The report of a campaign: a row a round, each with the report of its own; JUnit XML beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hil.recording import Outcome
from hil.report import findings
from hil.report.files import PAGE_FILE
from hil.report.markup import Html, joined, table, tag
from hil.report.style import STYLE


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to; `against` are the findings that did not pass.

    `broken_off` says that there was no run to judge, `stopped` that somebody ended it before it
    was judged.
    """

    number: int
    outcome: Outcome
    took_s: float
    takeovers_ms: tuple[int, ...]
    against: tuple[str, ...] = ()
    entries: int = 0
    right: str = ""
    broken_off: bool = False
    stopped: bool = False

    @property
    def word(self) -> str:
        """Its outcome; a round that was stopped has none."""
        return "stopped" if self.stopped else self.outcome.value

    @property
    def name(self) -> str:
        """Of its scenario and its folder."""
        return f"round-{self.number:03}"

    def __str__(self) -> str:
        worst = f", takeovers up to {max(self.takeovers_ms)} ms" if self.takeovers_ms else ""
        why = "".join(f"\n             {text}" for text in self.against)
        said = f" {self.entries} faults{worst}; {self.right}" if not self.stopped else ""
        return f"{self.word.upper():8} {self.name}:{said}{why}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "round": self.name,
            "outcome": self.word,
            "took_s": round(self.took_s, 1),
            "faults": self.entries,
            "takeovers_ms": list(self.takeovers_ms),
            "right": self.right,
            "against": list(self.against),
        }


def _counted(rounds: Sequence[Round]) -> str:
    faults = sum(one.entries for one in rounds)
    took = sorted(ms for one in rounds for ms in one.takeovers_ms)
    times = ""
    if took:
        times = f"; {len(took)} takeovers, median {median(took):.0f} ms, longest {took[-1]} ms"
    judged = [one for one in rounds if not one.stopped]
    passed = sum(one.outcome is Outcome.PASSED for one in judged)
    stopped = "; one was stopped and is not judged" if len(judged) < len(rounds) else ""
    return f"{passed} of {len(judged)} rounds passed{stopped}; {faults} faults{times}."


def campaign_page(seed: int, site: str, rounds: Sequence[Round]) -> str:
    """The whole page; it links to the pages of the rounds, and needs no other file."""
    outcomes = {one.outcome for one in rounds if not one.stopped}
    worst = Outcome.FAILED if Outcome.FAILED in outcomes else Outcome.UNKNOWN
    outcome = Outcome.PASSED if outcomes == {Outcome.PASSED} else worst
    rows = [
        (
            one.name
            if one.stopped or one.broken_off
            else tag("a", one.name, href=f"{one.name}/{PAGE_FILE}"),
            "stopped"
            if one.stopped
            else f"{findings.MARKS[one.outcome]} {findings.WORDS[one.outcome]}",
            str(one.entries),
            ", ".join(map(str, one.takeovers_ms)),
            one.right,
            joined(tag("p", text) for text in one.against),
        )
        for one in rounds
    ]
    heads = ("Round", "Verdict", "Faults", "Takeovers, ms", "Scan instants", "Not passed")
    body = tag(
        "body",
        tag(
            "header",
            tag(
                "div",
                tag("p", f"Campaign of seed {seed} on {site}", class_="kicker"),
                tag("h1", f"{findings.MARKS[outcome]} {findings.WORDS[outcome]}"),
                tag("p", _counted(rounds)),
                class_=f"verdict {outcome.value}",
            ),
        ),
        tag("main", tag("section", table("Rounds", heads, rows, numeric=(2,)))),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Campaign {seed} \u2013 Hotpair"),
        tag("style", STYLE),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def suites(seed: int, rounds: Sequence[Round]) -> str:
    """JUnit XML: one suite, a test case a round."""
    suite = tag(
        "testsuite",
        *(_case(seed, one) for one in rounds),
        name=f"Campaign {seed}",
        tests=str(len(rounds)),
        failures=str(sum(one.outcome is Outcome.FAILED for one in rounds)),
        errors=str(sum(one.outcome is Outcome.UNKNOWN and not one.stopped for one in rounds)),
        skipped=str(sum(one.stopped for one in rounds)),
        time=f"{sum(one.took_s for one in rounds):.3f}",
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tag("testsuites", suite)}\n'


def _case(seed: int, one: Round) -> Html:
    inner: tuple[Html, ...] = ()
    if one.stopped:
        inner = (tag("skipped", message="; ".join(one.against)),)
    elif one.outcome is not Outcome.PASSED:
        kind = "failure" if one.outcome is Outcome.FAILED else "error"
        inner = (tag(kind, *one.against, message="; ".join(one.against)[:500], type="verdict"),)
    name = f"Campaign {seed}"
    return tag("testcase", *inner, name=one.name, classname=name, time=f"{one.took_s:.3f}")
