"""How long it took until the other node gave fresh values, each time that it had to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.model import NS_PER_MS
from hil.bench.takeovers import percentile
from hil.recording import Switch
from hil.report.axis import LEFT, PLOT, Axis, exact, length
from hil.report.chart import Band, peak_label, scale_label
from hil.report.marks import beside, height_px
from hil.report.markup import Html, folded, joined, table, tag

TALL_PX: Final = 54
LEAST_MS: Final = 100.0
MOST_MS: Final = 10_000.0
OPEN_MAX: Final = 30
"""A longer table of takeovers is folded: its summary says what matters."""
ROWS_MAX: Final = 1000
WORDED_MAX: Final = 40
"""Of more takeovers in a chart only the longest says its time."""
STRIP_PX: Final = 220


def took(switch: Switch) -> str:
    """The time of a takeover in words, and what was promised where that is less."""
    if not switch.fresh_ns:
        return "no fresh value"
    promised = f", {switch.limit_ms} promised" if late(switch) else ""
    return f"{switch.took_ms} ms{promised}"


def late(switch: Switch) -> bool:
    """Whether it took longer than promised."""
    return bool(switch.fresh_ns) and 0 < switch.limit_ms < switch.took_ms


def summary(switches: Sequence[Switch]) -> str:
    """How many there were, what is usual, and the longest."""
    times = [s.took_ms if s.fresh_ns else None for s in switches]
    if len(times) == 1:
        return f"1, {took(switches[0])}"
    middle, longest = (_figure(percentile(times, share)) for share in (0.5, 1.0))
    return f"{len(times)}, p50 {middle}, longest {longest}"


def band(axis: Axis, switches: Sequence[Switch]) -> Band:
    """A pin for each takeover, the higher the longer it took; a cross where nothing came."""
    here = [s for s in switches if axis.touches(s.fault_ns, s.fault_ns)]
    if not here:
        return Band("Takeovers", 0, Html(""))
    times = [float(s.took_ms) for s in here if s.fresh_ns]
    most = max([1_000.0, *(times and [min(max(times) * 1.3, MOST_MS)])])
    marks = [(axis.x(s.fault_ns) - 4, axis.x(s.fault_ns) + 4) for s in here]
    longest = max(here, key=lambda s: s.took_ms if s.fresh_ns else 1 << 62)
    worded = len(here) <= WORDED_MAX
    labels = beside(marks, [_wordings(s) if worded else [] for s in here])
    parts = list(_scale(most))
    for switch, label in zip(here, labels, strict=True):
        y = _y(switch, most)
        parts.append(_pin(axis, switch, y))
        if label.text:
            end = "end" if label.anchor == "end" else None
            parts.append(
                tag("text", label.text, x=label.x, y=y + 4, class_="note", text_anchor=end)
            )
    if not worded:
        parts.append(peak_label(axis.x(longest.fault_ns), f"longest: {took(longest)}"))
    return Band("Takeovers: from the fault to fresh values", TALL_PX + 12, joined(parts))


def _wordings(switch: Switch) -> list[str]:
    return [took(switch), str(switch.took_ms)] if switch.fresh_ns else [took(switch), "none"]


def _y(switch: Switch, most: float) -> float:
    if not switch.fresh_ns:
        return 0.0
    return TALL_PX - height_px(min(switch.took_ms, most), LEAST_MS, most, TALL_PX)


def _scale(most: float) -> Iterator[Html]:
    yield tag("line", x1=LEFT, x2=LEFT + PLOT, y1=TALL_PX, y2=TALL_PX, class_="rule")
    for ms in (100.0, 1_000.0, 10_000.0):
        if ms <= most:
            y = TALL_PX - height_px(ms, LEAST_MS, most, TALL_PX)
            yield tag("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="grid")
            text = length(round(ms * NS_PER_MS))
            yield scale_label(text, y)


def _pin(axis: Axis, switch: Switch, y: float) -> Html:
    x = axis.x(switch.fault_ns)
    title = f"{switch.kind}: node {switch.left} to node {switch.taken}, {took(switch)}"
    stem = tag("line", x1=x, x2=x, y1=TALL_PX, y2=y, class_="stem")
    if switch.fresh_ns:
        # A late one is hollow and red, and its words say so.
        head = tag("circle", cx=x, cy=y, r=4, class_="pin late" if late(switch) else "pin")
    else:
        cross = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
        head = tag("path", d=cross, class_="cross")
    when = exact(switch.fault_ns, axis.zero_ns)
    return tag("g", stem, head, tag("title", f"{title}\n{when}"), data_takeover=took(switch))


def tables(switches: Sequence[Switch], zero_ns: int) -> Html:
    """Each takeover, and by kind what is usual; the list is folded when it is long."""
    every = sorted(switches, key=lambda switch: switch.fault_ns)
    rows = [
        (exact(s.fault_ns, zero_ns), s.kind, f"node {s.left}", f"node {s.taken}", took(s))
        for s in every[:ROWS_MAX]
    ]
    caption = "Takeovers"
    if len(every) > ROWS_MAX:
        caption += f"; the first {ROWS_MAX} of {len(every)}"
    listed = table(caption, ("when", "kind", "from", "to", "took"), rows, numeric=(0, 4))
    if len(every) > OPEN_MAX:
        listed = folded(f"All {len(every)} takeovers", listed)
    kinds = sorted({s.kind for s in every})
    if len(every) == len(kinds):
        return listed
    return joined((_by_kind(every, kinds), listed))


def _by_kind(every: Sequence[Switch], kinds: Sequence[str]) -> Html:
    most = max([1_000, *(s.took_ms for s in every if s.fresh_ns)])
    rows = []
    for kind in [*kinds, *(["all"] if len(kinds) > 1 else [])]:
        own = [s for s in every if kind in (s.kind, "all")]
        times = [s.took_ms if s.fresh_ns else None for s in own]
        figures = [_figure(percentile(times, share)) for share in (0.5, 0.99, 1.0)]
        never = str(sum(not s.fresh_ns for s in own))
        rows.append(
            (
                kind,
                _strip([ms for ms in times if ms is not None], most),
                str(len(own)),
                *figures,
                never,
            )
        )
    heads = (
        "kind", f"0 to {length(most * NS_PER_MS)}", "takeovers", "p50", "p99", "longest",
        "no fresh value",
    )  # fmt: skip
    return table("Takeovers by kind", heads, rows, numeric=(2, 3, 4, 5, 6))


def _figure(ms: float | None) -> str:
    """A percentile in words; what never came is longer than anything."""
    return "never" if ms is None else f"{ms:.0f} ms"


def _strip(times: Sequence[float], most: float) -> Html:
    """Every takeover of a kind as a line at its time."""
    places = sorted({round(STRIP_PX * ms / most) for ms in times})
    path = "".join(f"M{x + 1} 2v10" for x in places)
    ground = tag("line", x1=1, x2=STRIP_PX + 1, y1=13, y2=13, class_="rule")
    drawn = tag("path", d=path, class_="stem")
    return tag(
        "svg", ground, drawn, viewBox=f"0 0 {STRIP_PX + 2} 14", width=STRIP_PX + 2, height=14,
        aria_hidden="true",
    )  # fmt: skip
