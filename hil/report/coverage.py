"""What the history has of each device: a bar where it has no gap, and what the gaps became."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.model import GapState
from hil.recording import Stretch
from hil.report.axis import LEFT, PLOT, Axis, exact, length
from hil.report.chart import Band, bar, chart, row_label, swatches
from hil.report.marks import CHAR_PX, Run, Stretched, clipped, text_px, thinned
from hil.report.markup import Html, folded, joined, tag

ROW_PX: Final = 19
BAR_PX: Final = 13
SMALL_ROW_PX: Final = 11
NARROW_PX: Final = 6
"""A hatch is not seen in less: narrow gaps are solid, and what history lacks juts out."""
JUT_PX: Final = 2
ALONE_MAX: Final = 24
"""Up to so many devices have a row each; of more, those that look alike share one."""
ROWS_MAX: Final = 16
NAMED_MAX: Final = 40
BAND: Final = "History of each device"


class Drawn(NamedTuple):
    """How a state of a gap is drawn: worse ones rank higher; as tall as what history has of it."""

    shown: str
    rank: int
    tall: float


STATES: Final[dict[str, Drawn]] = {
    GapState.FILLED.value: Drawn("filled from the device's log", 1, 1.0),
    GapState.COARSE.value: Drawn("filled, but coarser than the scan", 2, 0.55),
    GapState.FILLING.value: Drawn("being filled", 3, 0.55),
    GapState.OPEN.value: Drawn("gap, open", 4, 1.0),
    GapState.LOST.value: Drawn("gap, lost", 5, 1.0),
}
LACKING: Final = frozenset({GapState.OPEN.value, GapState.LOST.value})
"""Of these history has nothing."""


class Row(NamedTuple):
    """Devices that look alike within the axis' time, and their gaps."""

    devices: tuple[str, ...]
    runs: tuple[Run, ...]


def state_of(stretch: Stretch) -> str:
    """The state a stretch is drawn as; one that isn't known counts as open: never as covered."""
    return stretch.state if stretch.state in STATES else GapState.OPEN.value


def thinned_by_device(
    axis: Axis, devices: Iterable[str], stretches: Iterable[Stretch]
) -> dict[str, list[Run]]:
    """The gaps of each device as pixels; devices that only gaps name come last."""
    gaps: dict[str, list[Stretched]] = {name: [] for name in devices}
    for s in stretches:
        state = state_of(s)
        span = Stretched(s.from_ns, s.to_ns, STATES[state].rank, state, s.cause)
        gaps.setdefault(s.device, []).append(span)
    return {name: thinned(axis, own) for name, own in gaps.items()}


def rows(found: Mapping[str, Sequence[Run]]) -> list[Row]:
    """A row for each device; where they are many, the worst that look alike share one.

    Those without a gap come last, together. `crowd` shows what has no row here.
    """
    if len(found) <= ALONE_MAX:
        return [Row((name,), tuple(runs)) for name, runs in found.items()]
    alike: dict[tuple[tuple[int, int, str, str], ...], Row] = {}
    for name, runs in found.items():
        key = tuple(run[:4] for run in runs)
        known = alike.get(key, Row((), tuple(runs)))
        alike[key] = known._replace(devices=(*known.devices, name))
    whole = [row for row in alike.values() if not row.runs]
    holed = [row for row in alike.values() if row.runs]
    worst = set(sorted(holed, key=_badness, reverse=True)[:ROWS_MAX])
    return [row for row in holed if row in worst] + whole


def _badness(row: Row) -> tuple[int, int]:
    lacking = sum(run.x1 - run.x0 for run in row.runs if run.kind in LACKING)
    return lacking, sum(run.x1 - run.x0 for run in row.runs)


def band(axis: Axis, found: Mapping[str, Sequence[Run]]) -> Band:
    """A bar for each row; gaps say their cause where they have room."""
    shown = rows(found)
    drawn = [_row(axis, row, at * ROW_PX) for at, row in enumerate(shown)]
    count = sum(len(row.devices) for row in shown)
    title = BAND if count == len(found) else f"Those with most gaps, {count} of {len(found)}"
    return Band(title, len(shown) * ROW_PX, joined(drawn))


def called(row: Row) -> str:
    """A row's name: its device, or how many."""
    if len(row.devices) == 1:
        return row.devices[0]
    many = f"{len(row.devices)} devices"
    return many if row.runs else f"{many} without gaps"


def _row(axis: Axis, row: Row, y: int) -> Html:
    names = ", ".join(row.devices[:NAMED_MAX])
    if len(row.devices) > NAMED_MAX:
        names += f" and {len(row.devices) - NAMED_MAX} more"
    base = y + BAR_PX - 2
    parts = [
        row_label(called(row), base, names if len(row.devices) > 1 else ""),
        tag("path", d=_polled(row.runs, y), class_="covered"),
    ]
    for run in row.runs:
        span = f"{exact(run.from_ns, axis.zero_ns)} to {exact(run.to_ns, axis.zero_ns)}"
        title = f"{called(row)}: {run.kind}, {run.note}\n{span}, {length(run.to_ns - run.from_ns)}"
        foot, tall = y + BAR_PX, BAR_PX * STATES[run.kind].tall
        kind = f"g-{run.kind}"
        if run.x1 - run.x0 < NARROW_PX:
            kind = f"n-{run.kind}"
            if run.kind in LACKING:
                foot, tall = foot + JUT_PX, tall + 2 * JUT_PX
        parts.append(bar(run.x0, run.x1, foot - tall, tall, title, class_=kind, data_gap=run.kind))
        parts += _note(run, y)
    return tag("g", *parts, data_row=called(row))


def _polled(runs: Sequence[Run], y: int) -> str:
    """Where a row has no gap, as one path."""
    ends = [LEFT, *(x for run in runs for x in (run.x0, run.x1)), LEFT + PLOT]
    between = zip(ends[::2], ends[1::2], strict=True)
    return "".join(f"M{x0} {y}h{x1 - x0}v{BAR_PX}H{x0}z" for x0, x1 in between if x1 > x0)


def _note(run: Run, y: int) -> list[Html]:
    """Cause and state in the middle of a gap, on a plate: letters on a hatch aren't read."""
    # The hatch tells the state already, so the cause alone is the shorter wording.
    for text in (f"{run.note}, {run.kind}", run.note):
        wide = text_px(text) + CHAR_PX
        if wide + CHAR_PX <= run.x1 - run.x0:
            x = (run.x0 + run.x1) / 2
            plate = tag(
                "rect", x=x - wide / 2, y=y + 1, width=wide, height=BAR_PX - 2, class_="plate"
            )
            return [plate, tag("text", text, x=x, y=y + BAR_PX - 3, class_="in-gap")]
    return []


def legend(stretches: Iterable[Stretch]) -> Html:
    """What the bars of the history mean: only what is seen in this run."""
    seen = {state_of(stretch) for stretch in stretches}
    marks = [("covered", 1.0, "no gap")]
    marks += [(f"g-{s}", how.tall, how.shown) for s, how in STATES.items() if s in seen]
    return swatches("History", marks)


def each(axis: Axis, found: Mapping[str, Sequence[Run]]) -> Html:
    """A row for every device, folded, when rows were shared: nothing is left out of a report."""
    if len(found) <= ALONE_MAX:
        return Html("")
    drawn = [_small(name, runs, at * SMALL_ROW_PX) for at, (name, runs) in enumerate(found.items())]
    name = f"Each of the {len(found)} devices in a row of its own"
    told = "The table of gaps says the same."
    small = Band(BAND, len(found) * SMALL_ROW_PX, joined(drawn))
    return folded(name, chart(axis, name, told, [small]))


def _small(name: str, runs: Sequence[Run], y: int) -> Html:
    """A row as few shapes as there are states: hundreds of rows must stay a small file."""
    middle = y + SMALL_ROW_PX // 2
    parts = [
        tag("text", clipped(name, LEFT - 8), x=LEFT - 8, y=middle + 3, class_="row small"),
        tag("path", d=f"M{LEFT} {middle}h{PLOT}", class_="s-covered"),
    ]
    for state in STATES:
        lines = "".join(f"M{r.x0} {middle}h{r.x1 - r.x0}" for r in runs if r.kind == state)
        if lines:
            parts.append(tag("path", d=lines, class_=f"s-{state}"))
    return joined(parts)
