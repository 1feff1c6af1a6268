"""The table of gaps: those that began together, of one cause and state, are one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.model import NS_PER_S
from hil.recording import Stretch
from hil.report.axis import exact, length
from hil.report.markup import Html, table

TOGETHER_NS: Final = NS_PER_S
"""Gaps that begin within this time of the first one are one event."""
ROWS_MAX: Final = 400
NAMED_MAX: Final = 6


class Gaps(NamedTuple):
    """Gaps of one cause and state that began together."""

    cause: str
    state: str
    from_ns: int
    to_ns: int
    stretches: tuple[Stretch, ...]

    @property
    def longest_ns(self) -> int:
        """The length of the longest."""
        return max(s.to_ns - s.from_ns for s in self.stretches)


def grouped(stretches: Iterable[Stretch]) -> list[Gaps]:
    """The gaps as events, in order of time."""
    groups: dict[tuple[str, str], list[list[Stretch]]] = {}
    for stretch in sorted(stretches, key=lambda s: (s.from_ns, s.device, s.scan_class)):
        of_kind = groups.setdefault((stretch.cause, stretch.state), [])
        if of_kind and stretch.from_ns - of_kind[-1][0].from_ns <= TOGETHER_NS:
            of_kind[-1].append(stretch)
        else:
            of_kind.append([stretch])
    found = [
        Gaps(cause, state, own[0].from_ns, max(s.to_ns for s in own), tuple(own))
        for (cause, state), of_kind in groups.items()
        for own in of_kind
    ]
    return sorted(found, key=lambda gaps: gaps.from_ns)


def of_what(stretches: Sequence[Stretch]) -> str:
    """The devices and scan classes of some gaps, few enough to be read."""
    classes: dict[str, list[str]] = {}
    for s in stretches:
        points = f" {', '.join(s.points[:NAMED_MAX])}" if s.points else ""
        more = f" and {len(s.points) - NAMED_MAX} more" if len(s.points) > NAMED_MAX else ""
        classes.setdefault(s.device, []).append(f"{s.scan_class}{points}{more}")
    named = [
        f"{device} ({', '.join(dict.fromkeys(own))})"
        for device, own in list(classes.items())[:NAMED_MAX]
    ]
    rest = len(classes) - NAMED_MAX
    return "; ".join(named) + (f"; and {rest} more devices" if rest > 0 else "")


def sums(stretches: Sequence[Stretch]) -> Html:
    """By cause and state: how many, how many devices, the longest, all together."""
    kinds = dict.fromkeys((s.cause, s.state) for s in sorted(stretches, key=lambda s: s.from_ns))
    rows = []
    for cause, state in kinds:
        own = [s for s in stretches if (s.cause, s.state) == (cause, state)]
        lengths = [s.to_ns - s.from_ns for s in own]
        devices = len({s.device for s in own})
        rows.append(
            (cause, state, str(len(own)), str(devices), length(max(lengths)), length(sum(lengths)))
        )
    heads = ("cause", "what became of it", "gaps", "devices", "longest", "all together")
    return table("Gaps by cause", heads, rows, numeric=(2, 3, 4, 5))


def listed(stretches: Sequence[Stretch], zero_ns: int) -> Html:
    """Every gap, the longest kept where they are too many for a page."""
    every = grouped(stretches)
    kept = every
    if len(every) > ROWS_MAX:
        longest = sorted(every, key=lambda gaps: -gaps.longest_ns)[:ROWS_MAX]
        kept = sorted(longest, key=lambda gaps: gaps.from_ns)
    caption = "Gaps, as node a has them; those that began within a second are one line"
    if len(kept) < len(every):
        caption += f"; the {len(kept)} longest of {len(every)} lines, all are in run.json"
    rows = [
        (exact(g.from_ns, zero_ns), exact(g.to_ns, zero_ns), length(g.longest_ns), g.cause, g.state,
         of_what(g.stretches))
        for g in kept
    ]  # fmt: skip
    heads = ("from", "to", "longest", "cause", "what became of it", "devices (scan classes)")
    return table(caption, heads, rows, numeric=(0, 1, 2))
