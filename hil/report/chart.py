"""One time axis and the bands that share it: what a moment looked like is one above the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from hil.recording import Act
from hil.report.axis import LEFT, PLOT, WIDTH, Axis, exact, length, offsets, ticks
from hil.report.marks import BESIDE_PX, clipped, pixels, text_px
from hil.report.markup import Html, tag

HEAD_PX: Final = 34
FOOT_PX: Final = 24
BAND_GAP_PX: Final = 22
LINED_ACTS_MAX: Final = 24
"""More beginnings of acts than this are not drawn through all bands: they would be a fence."""


class Band(NamedTuple):
    """A part of a chart: its heading, its height, and what is drawn, from y = 0 down."""

    title: str
    height: float
    body: Html


def row_label(text: str, y: float, whole: str = "") -> Html:
    """What a row is called, left of the plot; cut where it has no room, whole when hovered."""
    shown = clipped(text, LEFT - 2 * BESIDE_PX)
    title = (tag("title", whole or text),) if whole or shown != text else ()
    return tag("text", shown, *title, x=LEFT - 2 * BESIDE_PX, y=y, class_="row")


def scale_label(text: str, y: float) -> Html:
    """A value of a scale at its height; the topmost hangs below its line, off the heading."""
    return tag("text", text, x=LEFT - 2 * BESIDE_PX, y=max(y + 4, 9), class_="row quiet")


def peak_label(x: float, text: str) -> Html:
    """What the highest mark of a band says, above the band."""
    fits = x + text_px(text) + BESIDE_PX <= LEFT + PLOT
    at = x + BESIDE_PX if fits else x - BESIDE_PX
    return tag("text", text, x=at, y=-4, class_="note", text_anchor=None if fits else "end")


def bar(x0: float, x1: float, y: float, height: float, title: str, **given: str | None) -> Html:
    """A mark [x0, x1) that says what it is when hovered."""
    shape = tag("rect", x=x0, y=y, width=x1 - x0, height=height, **given)
    return tag("g", shape, tag("title", title))


def chart(
    axis: Axis,
    name: str,
    told: str,
    bands: Sequence[Band],
    splits: Sequence[tuple[int, int]] = (),
    acts: Sequence[Act] = (),
) -> Html:
    """The bands above one another, between an axis of times (UTC) and one of offsets.

    `told` says in words what is seen. Splits are shaded, beginnings of acts are lines through all.
    """
    bands = [band for band in bands if band.height]
    tall = HEAD_PX + sum(band.height + BAND_GAP_PX for band in bands)
    drawn: list[Html] = []
    y = float(HEAD_PX)
    for band in bands:
        head = tag("text", band.title, x=0, y=y + 13, class_="head")
        rule = tag("line", x1=0, x2=LEFT + PLOT, y1=y, y2=y, class_="rule")
        inner = tag("g", band.body, transform=f"translate(0 {y + BAND_GAP_PX - 4:.0f})")
        drawn += [rule, head, inner]
        y += band.height + BAND_GAP_PX
    whole = tag(
        "svg",
        *_shaded(axis, splits, tall),
        *_grid(axis, tall),
        *_lined(axis, acts, tall),
        *drawn,
        viewBox=f"0 0 {WIDTH} {tall + FOOT_PX:.0f}",
        role="img",
        aria_label=f"{name}. {told}",
        class_="chart",
        data_from=str(axis.from_ns // 1_000_000),
        data_to=str(axis.to_ns // 1_000_000),
    )
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=name)


def _grid(axis: Axis, tall: float) -> Iterator[Html]:
    yield tag("text", "UTC", x=LEFT - 40, y=14, class_="row quiet")
    for time_ns, text in ticks(axis):
        x = axis.x(time_ns)
        yield tag("line", x1=x, x2=x, y1=20, y2=tall, class_="grid")
        yield tag("text", text, x=x, y=14, class_="tick")
    yield tag("text", "since the start", x=LEFT - 40, y=tall + 16, class_="row quiet")
    for time_ns, text in offsets(axis):
        x = axis.x(time_ns)
        yield tag("line", x1=x, x2=x, y1=tall, y2=tall + 5, class_="rule")
        yield tag("text", text, x=x, y=tall + 16, class_="tick quiet")


def _shaded(axis: Axis, splits: Sequence[tuple[int, int]], tall: float) -> Iterator[Html]:
    """Splits, their label at the top where it has room, none over another."""
    free_px = 0.0
    for from_ns, to_ns in sorted(splits):
        if not axis.touches(from_ns, to_ns):
            continue
        x0, x1 = pixels(axis, from_ns, to_ns)
        said = f"split, {length(to_ns - from_ns)}"
        title = f"split from {exact(from_ns, axis.zero_ns)} to {exact(to_ns, axis.zero_ns)}"
        yield tag(
            "g",
            tag("rect", x=x0, y=20, width=x1 - x0, height=tall - 20, class_="split"),
            tag("title", title),
            data_split=str(from_ns),
        )
        if x0 >= free_px and x0 + text_px(said) <= WIDTH:
            yield tag("text", said, x=x0 + BESIDE_PX, y=HEAD_PX - 3, class_="split-label")
            free_px = x0 + text_px(said) + BESIDE_PX


def _lined(axis: Axis, acts: Sequence[Act], tall: float) -> Iterator[Html]:
    begun = [act for act in acts if axis.touches(act.begun_ns, act.begun_ns)]
    if len(begun) <= LINED_ACTS_MAX:
        for act in begun:
            x = axis.x(act.begun_ns)
            yield tag("line", x1=x, x2=x, y1=HEAD_PX, y2=tall, class_="act-line")


def swatches(name: str, marks: Iterable[tuple[str, float, str]]) -> Html:
    """A legend: the class, the height and the meaning of each mark."""
    return tag("p", tag("span", f"{name}:"), *(_swatch(*mark) for mark in marks), class_="legend")


def _swatch(kind: str, tall: float, text: str) -> Html:
    shape = tag("rect", x=1, y=14 - 13 * tall, width=32, height=13 * tall, class_=kind)
    drawn = tag("svg", shape, viewBox="0 0 34 15", width=34, height=15, aria_hidden="true")
    return tag("span", drawn, f" {text}")
