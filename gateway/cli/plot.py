"""A point over time as text: braille dots for its value, and a strip that says how it is known.

Pure. A value holds until the next sample, as it does for every reader of history. Where nothing is
known no dot is drawn; where the device's own log filled a gap the strip says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

POLLED: Final = "█"
WOUND_BACK: Final = "▓"
GAP: Final = "▒"
LOST: Final = "×"
NOTHING: Final = " "
LEGEND: Final = f"{POLLED} polled  {WOUND_BACK} wound back  {GAP} gap  {LOST} lost"
_MARKS: Final = {
    "open": GAP,
    "filling": GAP,
    "lost": LOST,
    "filled": WOUND_BACK,
    "coarse": WOUND_BACK,
}
_WORST: Final = (LOST, GAP, WOUND_BACK)
_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by row and column (Unicode 15, section 21.1)."""


class Dot(NamedTuple):
    """A sample; `value` is None where it is Bad."""

    time_ns: int
    value: float | None


class Stretch(NamedTuple):
    """A gap [from, to) with its state: open, filling, filled, coarse or lost."""

    from_ns: int
    to_ns: int
    state: str


class Plot(NamedTuple):
    """`rows` from the top, `strip` below them, and the values of the highest and lowest dot."""

    rows: list[str]
    strip: str
    high: float
    low: float


def draw(
    dots: Sequence[Dot],
    gaps: Iterable[Stretch],
    from_ns: int,
    to_ns: int,
    width: int,
    height: int,
) -> Plot | None:
    """Draw [from, to) on `width` x `height` characters; None when there is no value in it.

    `dots` ascend; one before `from_ns` tells what held there.
    """
    gaps = list(gaps)
    columns = _columns(dots, gaps, from_ns, to_ns, 2 * width)
    values = [value for column in columns for value in column]
    if not values:
        return None
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    cells = [[_BLANK] * width for _ in range(height)]
    last = 4 * height - 1
    for at, column in enumerate(columns):
        if not column:
            continue
        bottom = round((min(column) - low) / span * last) if high > low else last // 2
        top = round((max(column) - low) / span * last) if high > low else last // 2
        for level in range(bottom, top + 1):
            row = last - level
            cells[row // 4][at // 2] |= _DOTS[row % 4][at % 2]
    rows = ["".join(map(chr, row)) for row in cells]
    return Plot(rows, strip(dots, gaps, from_ns, to_ns, width), high, low)


def _columns(
    dots: Sequence[Dot], gaps: Sequence[Stretch], from_ns: int, to_ns: int, count: int
) -> list[list[float]]:
    """The values that held in each of `count` columns of time; none where nothing is known."""
    columns: list[list[float]] = []
    held: float | None = None
    at = 0
    unknown = [gap for gap in gaps if _MARKS[gap.state] in (GAP, LOST)]
    for column in range(count):
        begin = from_ns + (to_ns - from_ns) * column // count
        end = from_ns + (to_ns - from_ns) * (column + 1) // count
        while at < len(dots) and dots[at].time_ns <= begin:
            held = dots[at].value
            at += 1
        found = [] if held is None else [held]
        first = True
        while at < len(dots) and dots[at].time_ns < end:
            held = dots[at].value
            if held is not None:
                found.append(held)
            at += 1
            first = False
        middle = (begin + end) // 2
        if first and any(gap.from_ns <= middle < gap.to_ns for gap in unknown):
            found = []
        columns.append(found)
    return columns


def strip(
    dots: Sequence[Dot], gaps: Sequence[Stretch], from_ns: int, to_ns: int, width: int
) -> str:
    """How each stretch of time is known: a short gap shows, however little of a column it takes."""
    marks = []
    first_ns = dots[0].time_ns if dots else to_ns
    for column in range(width):
        begin = from_ns + (to_ns - from_ns) * column // width
        end = from_ns + (to_ns - from_ns) * (column + 1) // width
        there = {_MARKS[g.state] for g in gaps if g.from_ns < end and g.to_ns > begin}
        worst = next((mark for mark in _WORST if mark in there), None)
        marks.append(worst or (POLLED if end > first_ns else NOTHING))
    return "".join(marks)
