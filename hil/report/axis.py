"""Time on paper: from ns UTC to x, round ticks, and how moments and lengths are written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S

LEFT: Final = 176
"""Pixels for what a row is called."""
PLOT: Final = 1000
RIGHT: Final = 44
WIDTH: Final = LEFT + PLOT + RIGHT
TICKS_MAX: Final = 12
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
_STEPS_NS: Final = tuple(
    int(step_s * NS_PER_S)
    for step_s in (
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
        *(_MINUTE_S * n for n in (1, 2, 5, 10, 15, 30)),
        *(_HOUR_S * n for n in (1, 2, 3, 6, 12)),
        *(_DAY_S * n for n in (1, 2, 5, 10, 30, 100, 365)),
    )
)


class Axis(NamedTuple):
    """The stretch of time [from, to) that a chart shows; `zero_ns` is when the run began."""

    from_ns: int
    to_ns: int
    zero_ns: int

    @property
    def length_ns(self) -> int:
        """Its length; never 0."""
        return max(self.to_ns - self.from_ns, 1)

    def x(self, time_ns: int) -> float:
        """Where a moment lies, in px; what lies outside is at the edge."""
        inside_ns = min(max(time_ns - self.from_ns, 0), self.length_ns)
        return LEFT + PLOT * inside_ns / self.length_ns

    def touches(self, from_ns: int, to_ns: int) -> bool:
        """Whether any of [from, to] is shown."""
        return from_ns < self.to_ns and to_ns >= self.from_ns


def step_ns(length_ns: int, at_most: int = TICKS_MAX) -> int:
    """The finest round step of which at most so many fit into a length."""
    return next((step for step in _STEPS_NS if length_ns <= at_most * step), _STEPS_NS[-1])


def ticks(axis: Axis) -> Iterator[tuple[int, str]]:
    """(moment, label) at round times of day; a day other than the one before is named."""
    step = step_ns(axis.length_ns)
    day = axis.zero_ns // NS_PER_S // _DAY_S
    first = -(-axis.from_ns // step)
    for time_ns in range(first * step, axis.to_ns + 1, step):
        moment, today = _moment(time_ns), time_ns // NS_PER_S // _DAY_S
        text = f"{moment:%H:%M}" if step >= _MINUTE_S * NS_PER_S else f"{moment:%H:%M:%S}"
        if step < NS_PER_S:
            text += f".{time_ns % NS_PER_S // NS_PER_MS:03d}"
        yield time_ns, text if today == day else f"{moment:%d %b} {text}"
        day = today


def offsets(axis: Axis) -> Iterator[tuple[int, str]]:
    """(moment, label) at round times since the run began, as the timeline of a scenario counts."""
    step = step_ns(axis.length_ns)
    first = -(-(axis.from_ns - axis.zero_ns) // step)
    for since_ns in range(first * step, axis.to_ns - axis.zero_ns + 1, step):
        yield axis.zero_ns + since_ns, f"+{length(since_ns)}" if since_ns else "0"


def sheets(axis: Axis, at_most: int) -> list[Axis]:
    """The same time in at most so many parts of round length, counted from its beginning.

    What is left at the end is a part of its own if it is worth a look.
    """
    step = step_ns(axis.length_ns, at_most)
    starts = [at for at in range(axis.from_ns, axis.to_ns, step) if axis.to_ns - at > step // 10]
    ends = [*starts[1:], axis.to_ns]
    return [Axis(start, end, axis.zero_ns) for start, end in zip(starts, ends, strict=True)]


def length(ns: int) -> str:
    """How long something lasted, in the unit that fits: `612 ms`, `8.2 s`, `4 min 5 s`, `2 h`."""
    if round(ns / NS_PER_MS) < 1000:
        return f"{ns / NS_PER_MS:.0f} ms"
    if round(ns / NS_PER_S, 1) < _MINUTE_S:
        return f"{ns / NS_PER_S:.1f}".removesuffix(".0") + " s"
    total_s = round(ns / NS_PER_S)
    counts = (
        (total_s // _DAY_S, "d"),
        (total_s // _HOUR_S % 24, "h"),
        (total_s // _MINUTE_S % 60, "min"),
        (total_s % 60, "s"),
    )
    said = [f"{count} {unit}" for count, unit in counts if count]
    return " ".join(said[:2])


def since(time_ns: int, zero_ns: int) -> str:
    """A moment as the time since another, with its sign: `+10.2 s`."""
    sign = "+" if time_ns >= zero_ns else "\u2212"
    return sign + length(abs(time_ns - zero_ns))


def exact(time_ns: int, zero_ns: int) -> str:
    """A time of day in ms, UTC; with its date when that is another than the run's first."""
    moment = _moment(time_ns)
    text = f"{moment:%H:%M:%S}.{time_ns % NS_PER_S // NS_PER_MS:03d}"
    return text if moment.date() == _moment(zero_ns).date() else f"{moment:%d %b} {text}"


def date(time_ns: int) -> str:
    """The day of a moment, in UTC."""
    return f"{_moment(time_ns):%Y-%m-%d}"


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
