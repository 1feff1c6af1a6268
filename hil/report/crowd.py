"""Of a large plant, how many devices had a gap at each moment, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hil.report.axis import LEFT, PLOT, Axis
from hil.report.chart import Band, scale_label
from hil.report.coverage import ALONE_MAX, STATES
from hil.report.marks import Run
from hil.report.markup import Html, joined, number, tag

TALL_PX: Final = 72
LEAST_PX: Final = 1.5
"""One device among hundreds is still seen."""


def band(axis: Axis, found: Mapping[str, Sequence[Run]]) -> Band:
    """The devices with a gap, stacked by state, the worst at the foot; nothing for a small site."""
    title = f"How many of {len(found)} devices had a gap"
    if len(found) <= ALONE_MAX:
        return Band(title, 0, Html(""))
    counts = counted(found)
    feet = [0.0] * PLOT
    parts = list(_scale(len(found)))
    for state in sorted(STATES, key=lambda state: -STATES[state].rank):
        tops = [
            foot + (max(TALL_PX * count / len(found), LEAST_PX) if count else 0.0)
            for foot, count in zip(feet, counts[state], strict=True)
        ]
        path = "".join(_blocks(feet, tops))
        if path:
            parts.append(tag("path", d=path, class_=f"c-{state}", data_crowd=state))
        feet = tops
    return Band(title, TALL_PX + 10, joined(parts))


def counted(found: Mapping[str, Sequence[Run]]) -> dict[str, list[int]]:
    """By state, how many devices show it at each pixel of the plot."""
    counts = {state: [0] * PLOT for state in STATES}
    for runs in found.values():
        for run in runs:
            of_state = counts[run.kind]
            for x in range(run.x0 - LEFT, run.x1 - LEFT):
                of_state[x] += 1
    return counts


def _blocks(feet: Sequence[float], tops: Sequence[float]) -> Iterator[str]:
    """Rectangles between two lines, as wide as both are level."""
    start = 0
    for x in range(1, PLOT + 1):
        if x < PLOT and (feet[x], tops[x]) == (feet[start], tops[start]):
            continue
        tall = tops[start] - feet[start]
        if tall:
            y = number(TALL_PX - feet[start])
            yield f"M{LEFT + start} {y}v{number(-tall)}h{x - start}v{number(tall)}z"
        start = x


def _scale(most: int) -> Iterator[Html]:
    for count, y in ((most, 0.0), (most // 2, TALL_PX / 2), (0, float(TALL_PX))):
        yield tag("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="grid")
        yield scale_label(str(count), y)
