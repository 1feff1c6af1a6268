"""What the Standby lacked of the Main's samples: in samples, and in ms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from math import floor, log10
from statistics import median
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS
from hil.bench.takeovers import percentile
from hil.recording import Look
from hil.report.axis import LEFT, PLOT, Axis, exact, length
from hil.report.chart import Band, peak_label, row_label, scale_label
from hil.report.marks import height_px, pixels
from hil.report.markup import Html, joined, number, table, tag

TALL_PX: Final = 54
EQUAL_PX: Final = 10
LINE_PX: Final = 12
NONE_PX: Final = 2
"""Of a lag that there never was, a heading is enough."""
DECADES_MAX: Final = 3
"""Lines of the scale; more would stand on one another."""


class Lag(NamedTuple):
    """What was lacking at a moment."""

    time_ns: int
    samples: int
    ms: float


def lags(looks: Iterable[Look]) -> list[Lag]:
    """The lag of whichever node was Standby, in order of time.

    A Main lacks nothing, and a silent or starting node says nothing.
    """
    shown = (look for look in looks if look.role in ("synced", "syncing"))
    found = [Lag(look.time_ns, look.behind, look.lag_ms) for look in shown]
    return sorted(found)


def bands(axis: Axis, found: Sequence[Lag]) -> list[Band]:
    """Two bands of logarithmic height, which start at 0."""
    here = [lag for lag in found if axis.touches(lag.time_ns, lag.time_ns)]
    if not here:
        return []
    pauses = [late.time_ns - early.time_ns for early, late in pairwise(found)]
    pause_ns = 2 * int(median(pauses)) if pauses else 0
    samples = [(lag.time_ns, float(lag.samples)) for lag in here]
    late = [(lag.time_ns, lag.ms) for lag in here]
    return [
        _band(axis, "Lag of the Standby, in samples", samples, pause_ns, _count),
        _band(axis, "Lag of the Standby, in time", late, pause_ns, _ms),
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u2009")


def _ms(value: float) -> str:
    return length(round(value * NS_PER_MS))


def peaks(axis: Axis, measured: Sequence[tuple[int, float]], pause_ns: int) -> list[float | None]:
    """The most that was measured at each pixel of the plot, None where nobody looked.

    A value holds until the next one, but no longer than `pause_ns`.
    """
    found: list[float | None] = [None] * PLOT
    ends = [*(time_ns for time_ns, _ in measured[1:]), axis.to_ns]
    for (time_ns, value), end_ns in zip(measured, ends, strict=True):
        x0, x1 = pixels(axis, time_ns, min(end_ns, time_ns + pause_ns))
        for x in range(x0 - LEFT, x1 - LEFT):
            found[x] = max(value, found[x] or 0.0)
    return found


def _band(
    axis: Axis, title: str, measured: Sequence[tuple[int, float]], pause_ns: int,
    shown: Callable[[float], str],
) -> Band:  # fmt: skip
    most = max(10.0, *(value for _, value in measured))
    if all(value < 1.0 for _, value in measured):
        return Band(f"{title}: none", NONE_PX, Html(""))
    found = peaks(axis, measured, pause_ns)
    path = "".join(_steps([v if v is None else height_px(v, 1.0, most, TALL_PX) for v in found]))
    parts = [*_scale(most, shown), tag("path", d=path, class_="lag")]
    peak = max(range(PLOT), key=lambda x: found[x] or 0.0)
    highest = found[peak] or 0.0
    parts.append(peak_label(LEFT + peak, f"at most {shown(highest)}"))
    return Band(title, TALL_PX + 10, joined(parts))


def _steps(heights: Sequence[float | None]) -> Iterator[str]:
    """An outline that steps from height to height, open where there is none."""
    last: float | None = None
    for x, tall in enumerate([*heights, None], start=LEFT):
        if tall == last:
            continue
        if last is None:
            yield f"M{x} {TALL_PX}"
        else:
            yield f"H{x}"
        yield f"V{TALL_PX}" if tall is None else f"V{number(TALL_PX - tall)}"
        last = tall


def _scale(most: float, shown: Callable[[float], str]) -> Iterator[Html]:
    """Lines at powers of ten, few enough to be read."""
    yield tag("line", x1=LEFT, x2=LEFT + PLOT, y1=TALL_PX, y2=TALL_PX, class_="rule")
    yield scale_label("0", TALL_PX)
    decades = floor(log10(most)) + 1
    every = -(-decades // DECADES_MAX)
    for power in range((decades - 1) % every, decades, every):
        value = 10.0**power
        y = TALL_PX - height_px(value, 1.0, most, TALL_PX)
        yield tag("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="grid")
        if y <= TALL_PX - LINE_PX:
            yield scale_label(shown(value), y)


def equal_band(axis: Axis, looks: Iterable[Look]) -> Band:
    """The moments at which both journals were proven equal: nothing is lacking then."""
    moments = sorted({look.equal_ns for look in looks if look.equal_ns})
    here = [at_ns for at_ns in moments if axis.touches(at_ns, at_ns)]
    if not here:
        return Band("", 0, Html(""))
    places = sorted({pixels(axis, at_ns, at_ns)[0] for at_ns in here})
    path = "".join(f"M{x} 2v{EQUAL_PX}" for x in places)
    parts = [row_label("proven equal", EQUAL_PX), tag("path", d=path, class_="equal")]
    parts.append(peak_label(places[-1], f"last at {exact(here[-1], axis.zero_ns)}"))
    return Band("Journals of both nodes", EQUAL_PX + 6, joined(parts))


def summary(found: Sequence[Lag], zero_ns: int) -> Html:
    """The lag in figures."""
    rows = []
    measures: tuple[tuple[str, list[float], Callable[[float], str]], ...] = (
        ("samples", [float(lag.samples) for lag in found], _count),
        ("time", [lag.ms for lag in found], _ms),
    )
    for name, values, shown in measures:
        most = max(range(len(values)), key=values.__getitem__)
        middle, high = (shown(percentile(values, share) or 0.0) for share in (0.5, 0.99))
        when = exact(found[most].time_ns, zero_ns)
        rows.append((name, middle, high, shown(values[most]), when))
    caption = f"Lag of the Standby, by {len(found)} looks"
    return table(caption, ("", "p50", "p99", "most", "when"), rows, numeric=(1, 2, 3, 4))
