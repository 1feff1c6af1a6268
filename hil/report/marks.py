"""What fits: stretches thinned to what a pixel can show, labels only where they have room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, log10
from typing import Final, NamedTuple

from hil.report.axis import LEFT, PLOT, WIDTH, Axis

NARROWEST: Final = 2
"""Pixels that anything is wide at least, so that it is seen."""
CHAR_PX: Final = 6.3
"""A character of a label (11 px) on average, rather too wide than too narrow."""
BESIDE_PX: Final = 4


class Stretched(NamedTuple):
    """A stretch of time and what it is drawn as; where two meet, the higher rank is seen."""

    from_ns: int
    to_ns: int
    rank: int
    kind: str
    note: str = ""


class Run(NamedTuple):
    """Pixels [x0, x1) that show one kind, and the time from which to which it was really so."""

    x0: int
    x1: int
    kind: str
    note: str
    from_ns: int
    to_ns: int


def pixels(axis: Axis, from_ns: int, to_ns: int) -> tuple[int, int]:
    """The whole pixels [x0, x1) of a stretch, at least `NARROWEST` of them."""
    x0 = min(floor(axis.x(from_ns)), LEFT + PLOT - NARROWEST)
    return x0, max(ceil(axis.x(to_ns)), x0 + NARROWEST)


def thinned(axis: Axis, spans: Iterable[Stretched]) -> list[Run]:
    """What a row of pixels shows of any number of stretches, from left to right."""
    shown = [span for span in spans if axis.touches(span.from_ns, span.to_ns)]
    shown.sort(key=lambda span: span.rank)
    painted: list[Stretched | None] = [None] * PLOT
    for span in shown:
        x0, x1 = pixels(axis, span.from_ns, span.to_ns)
        painted[x0 - LEFT : x1 - LEFT] = [span] * (x1 - x0)
    runs: list[Run] = []
    for x, seen in enumerate(painted, start=LEFT):
        if seen is None:
            continue
        last = runs[-1] if runs else None
        if last and last.x1 == x and (last.kind, last.note) == (seen.kind, seen.note):
            from_ns, to_ns = min(last.from_ns, seen.from_ns), max(last.to_ns, seen.to_ns)
            runs[-1] = last._replace(x1=x + 1, from_ns=from_ns, to_ns=to_ns)
        else:
            runs.append(Run(x, x + 1, seen.kind, seen.note, seen.from_ns, seen.to_ns))
    return runs


def text_px(text: str) -> float:
    """How wide a label is, about."""
    return CHAR_PX * len(text)


def clipped(text: str, width_px: float) -> str:
    """As much of a text as fits, with an ellipsis when it is cut."""
    room = int(width_px / CHAR_PX)
    return text if len(text) <= room else text[: max(room - 1, 0)].rstrip() + "\u2026"


class Placed(NamedTuple):
    """A label beside its mark."""

    x: float
    anchor: str
    text: str


def beside(marks: Sequence[tuple[float, float]], wordings: Sequence[Sequence[str]]) -> list[Placed]:
    """A label for each mark [x0, x1) of one row, none over another mark or label.

    `wordings` holds, for each mark, what may be said, the longest first. It stands right of the
    mark, else left of it, else a shorter one does, else none: `text` is empty then.
    """
    order = sorted(range(len(marks)), key=lambda index: marks[index][0])
    begins = [*(marks[index][0] for index in order[1:]), float(WIDTH)]
    placed = [Placed(0, "start", "")] * len(marks)
    free_px = float(LEFT)
    for index, next_px in zip(order, begins, strict=False):  # of no mark, nothing
        x0, x1 = marks[index]
        for text in wordings[index]:
            width_px = text_px(text) + 2 * BESIDE_PX
            if free_px <= x1 and x1 + width_px <= next_px:
                placed[index] = Placed(x1 + BESIDE_PX, "start", text)
                x1 += width_px
                break
            if free_px + width_px <= x0:
                placed[index] = Placed(x0 - BESIDE_PX, "end", text)
                break
        free_px = max(free_px, x1)
    return placed


def height_px(value: float, least: float, most: float, tall_px: float) -> float:
    """The height of a value by its logarithm: 0 to `least` / 10, whole at `most`."""
    if value <= least / 10:
        return 0.0
    return tall_px * log10(10 * value / least) / log10(10 * most / least)
