"""What the nodes said around a moment: their events and log lines, from 1 s before to 5 s after."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.model import NS_PER_S
from hil.recording import Told
from hil.report.axis import exact, since
from hil.report.markup import Html, joined, tag

BEFORE_NS: Final = NS_PER_S
AFTER_NS: Final = 5 * NS_PER_S
LINES_MAX: Final = 6_000
"""Lines of all acts together: a page of two hours must still open at once."""
LEAST: Final = 12
MOST: Final = 200
"""Lines of one act."""
TEXT_MAX: Final = 400
GRAVE_TEXT_MAX: Final = 4_000
"""An error may have a traceback below it."""
LOG: Final = "log"
BOTH: Final = "both"
"""Events are in both journals, whichever node they are of."""
SAME_NS: Final = NS_PER_S // 5
"""An event and the line of the log that says the same lie no farther apart."""
ERROR: Final = 700
WARNING: Final = 400
"""Severities from which on a line is marked, as the gateway's own log has it."""


class Around(NamedTuple):
    """The lines of a stretch that are shown, in order of time, and how many are not."""

    lines: tuple[Told, ...]
    left_out: int


class Lines:
    """All that was told, in order of time; `stretches` of it will be shown on the page."""

    def __init__(self, told: Iterable[Told], stretches: int) -> None:
        self._told = sorted(_once(told), key=lambda line: line.time_ns)
        self._times = [line.time_ns for line in self._told]
        self.most = min(max(LINES_MAX // max(stretches, 1), LEAST), MOST)

    def around(self, from_ns: int, to_ns: int) -> Around:
        """From 1 s before to 5 s after; of too many lines the gravest, then the first ones."""
        first = bisect_left(self._times, from_ns - BEFORE_NS)
        found = self._told[first : bisect_left(self._times, to_ns + AFTER_NS + 1)]
        gravest = sorted(found, key=lambda line: -_grade(line.severity))[: self.most]
        kept = sorted(gravest, key=lambda line: line.time_ns)
        return Around(tuple(kept), len(found) - len(kept))


def _once(told: Iterable[Told]) -> list[Told]:
    """The lines without those events that a node's log has as well, as `source: text`."""
    lines = list(told)
    logged: dict[str, list[int]] = {}
    for line in lines:
        if line.source == LOG:
            # Before it stands the name of the logger.
            _, _, text = line.text.partition(": ")
            logged.setdefault(text, []).append(line.time_ns)
    return [
        line
        for line in lines
        if line.source == LOG
        or not any(
            abs(at_ns - line.time_ns) <= SAME_NS
            for at_ns in logged.get(f"{line.source or 'node'}: {line.text}", ())
        )
    ]


def _grade(severity: int) -> int:
    return (severity >= WARNING) + (severity >= ERROR)


def listed(around: Around, from_ns: int, zero_ns: int) -> Html:
    """The lines as a table: when, how long after, which node, what."""
    if not around.lines:
        return tag("p", "Neither node told anything then.", class_="quiet")
    rows = [_line(line, from_ns, zero_ns) for line in around.lines]
    body = tag("table", tag("tbody", *rows), class_="told")
    more = f"{around.left_out} less grave lines are left out; run.json has them."
    note = (tag("p", more, class_="quiet"),) if around.left_out else ()
    return joined((tag("div", body, class_="scroll", tabindex="0", role="region",
                       aria_label="what was told"), *note))  # fmt: skip


def _line(line: Told, from_ns: int, zero_ns: int) -> Html:
    most = TEXT_MAX if line.severity < ERROR else GRAVE_TEXT_MAX
    text = line.text if len(line.text) <= most else line.text[:most] + "\u2026"
    mark, kind = ("!", "warning") if line.severity >= WARNING else ("", None)
    if line.severity >= ERROR:
        mark, kind = "!!", "error"
    cells = (exact(line.time_ns, zero_ns), since(line.time_ns, from_ns), line.node or BOTH, mark)
    source = "" if line.source in (LOG, "") else f"{line.source}: "
    return tag("tr", *(tag("td", cell) for cell in cells), tag("td", source + text), class_=kind)


def nearest(stretches: Sequence[tuple[int, int]], at_ns: int) -> int | None:
    """The index of the last stretch whose lines are around a moment."""
    return next(
        (
            index
            for index in range(len(stretches) - 1, -1, -1)
            if stretches[index][0] - BEFORE_NS <= at_ns <= stretches[index][1] + AFTER_NS
        ),
        None,
    )
