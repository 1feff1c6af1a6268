"""What was done to the pair and to devices: the top band of the chart, one row a kind of act."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.model import NS_PER_S
from hil.recording import Act
from hil.report.axis import Axis, exact, length, since
from hil.report.chart import Band, bar, row_label
from hil.report.marks import beside, pixels
from hil.report.markup import Html, joined, tag

ROW_PX: Final = 20
MARK_PX: Final = 13
ROWS_MAX: Final = 14
WORDED_MAX: Final = 60
"""Of more acts in a chart only the numbers are told: words here and there tell nothing."""
OTHERS: Final = "other acts"
SHOWN_NS: Final = NS_PER_S // 10
"""What lasts less is a moment."""
BAND: Final = "What was done"


def ordered(acts: Sequence[Act]) -> list[Act]:
    """The acts in order of time; their place in this list, from 1, is their number on the page."""
    return sorted(acts, key=lambda act: (act.begun_ns, act.ended_ns))


def said(number: int, act: Act) -> str:
    """An act in one line."""
    options = "".join(f" {key} {value}" for key, value in act.options.items())
    failed = f" \u2013 could not be done: {act.failed}" if act.failed else ""
    return f"{number}. {act}{options}{failed}"


def rows_of(acts: Mapping[int, Act]) -> dict[str, list[int]]:
    """The rows of a band for acts by number: what each is called, and the numbers in it.

    One row a word and target; one a word where those are too many; the rarest words share one.
    """
    by_target = _grouped(acts, lambda act: f"{act.word} {act.target}")
    if len(by_target) <= ROWS_MAX:
        return by_target
    by_word = _grouped(acts, lambda act: act.word)
    if len(by_word) <= ROWS_MAX:
        return by_word
    common = sorted(by_word, key=lambda word: -len(by_word[word]))[: ROWS_MAX - 1]
    return _grouped(acts, lambda act: act.word if act.word in common else OTHERS)


def _grouped(acts: Mapping[int, Act], name: Callable[[Act], str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for number, act in acts.items():
        rows.setdefault(name(act), []).append(number)
    # The common bin is no word: it comes last.
    return dict(sorted(rows.items(), key=lambda row: row[0] == OTHERS))


def band(axis: Axis, acts: Sequence[Act]) -> Band:
    """The acts, `ordered`, that the axis' time shows."""
    numbered = enumerate(acts, start=1)
    here = {n: act for n, act in numbered if axis.touches(act.begun_ns, act.ended_ns)}
    rows = rows_of(here)
    drawn = [
        _row(axis, name, {n: here[n] for n in numbers}, at * ROW_PX, len(here) > WORDED_MAX)
        for at, (name, numbers) in enumerate(rows.items())
    ]
    return Band(BAND, len(rows) * ROW_PX + 6 if rows else 0, joined(drawn))


def _row(axis: Axis, name: str, acts: Mapping[int, Act], y: int, many: bool) -> Html:
    marks = [pixels(axis, act.begun_ns, act.ended_ns) for act in acts.values()]
    times = f"{name} \u00d7{len(acts)}" if len(acts) > 1 else name
    drawn = [row_label(times, y + MARK_PX)]
    labels = beside(
        marks, [[str(n)] if many else _wordings(n, act, name) for n, act in acts.items()]
    )
    for (n, act), (x0, x1), label in zip(acts.items(), marks, labels, strict=True):
        title = f"{said(n, act)}\n{_when(act, axis.zero_ns)}"
        kind = "act undone" if act.failed else "act"
        drawn.append(bar(x0, x1, y + 2, MARK_PX, title, class_=kind, data_act=str(n)))
        if label.text:
            end = "end" if label.anchor == "end" else None
            drawn.append(
                tag("text", label.text, x=label.x, y=y + MARK_PX, class_="note", text_anchor=end)
            )
    return joined(drawn)


def _wordings(number: int, act: Act, row: str) -> list[str]:
    """What may stand beside an act, the longest first; the row says what it says already."""
    said_by_row = row.split()
    named = [word for word in (act.word, act.target) if word not in said_by_row]
    if act.hit not in ("", act.target):
        hit = f"node {act.hit}" if len(act.hit) == 1 else act.hit
        named.append(f"({act.hit})" if named else hit)
    lasts_ns = act.ended_ns - act.begun_ns
    lasts = length(lasts_ns) if lasts_ns >= SHOWN_NS else ""
    options = ", ".join(f"{key} {value}" for key, value in act.options.items())
    failed = "could not be done" if act.failed else ""
    parts = [part for part in (" ".join(named), lasts, options, failed) if part]
    short = [part for part in (" ".join(named), lasts, failed) if part]
    wordings = [f"{number}: {', '.join(some)}" for some in (parts, short) if some]
    return [*wordings, str(number)]


def _when(act: Act, zero_ns: int) -> str:
    begun = f"{exact(act.begun_ns, zero_ns)} ({since(act.begun_ns, zero_ns)})"
    return f"{begun} to {exact(act.ended_ns, zero_ns)}"
