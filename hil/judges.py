"""Judges: pure functions of a recorded run. What they can't prove they do not pass.

The promise (rules.md 1): at every scan instant the history gives the value that the device held, or
a declared gap covers that instant. An instant is collected, declared, or missing; nothing else.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.model import (
    NS_PER_MS,
    Gap,
    GapState,
    HistoryRow,
    Value,
    format_time,
    is_bad,
    status_name,
)
from hil.outstation.polls import Poll
from hil.truth import Step

EVIDENCE_MAX: Final = 100
"""Missing instants that are described; all are counted."""
SLACK_NS: Final = 250 * NS_PER_MS
"""How late a scan may be for its instant beyond one period: queueing, and the round trip."""
TOLERANCE: Final = 1e-9
"""Relative error of two ways to compute one scaled value in double precision."""

EXCUSED: Final = frozenset({GapState.OPEN, GapState.LOST})

Truth = Callable[[int, int], Sequence[Step]]
"""(from, to) in ns -> what the device held at `from` and each change in (from, to)."""


Row = HistoryRow | tuple[int, Value, int]
"""A sample of the history: time in ns, value, status, and whatever follows."""


class Judged(NamedTuple):
    """What a judge must know of a point."""

    id: str
    device: str
    scan_class: str
    period_ns: int
    truth: Truth
    deadband: float = 0.0


class Evidence(NamedTuple):
    """One missing instant: what the device held, what the history says, and why it counts."""

    point: str
    instant_ns: int
    held: tuple[Value, ...]
    history: Value
    status: int
    sampled_ns: int
    why: str
    last_poll: str

    def __str__(self) -> str:
        found = f"{self.history!r} ({status_name(self.status)})" if self.sampled_ns else "nothing"
        return (
            f"{self.point} at {format_time(self.instant_ns)}: {self.why}; held "
            f"{', '.join(repr(value) for value in self.held)}; history has {found}; "
            f"{self.last_poll}"
        )


class Verdict(NamedTuple):
    """Scan instants: expected = collected + declared + missing."""

    expected: int
    collected: int
    declared: int
    missing: int
    evidence: tuple[Evidence, ...]

    @property
    def passed(self) -> bool:
        """Nothing is missing, and something was there to be judged."""
        return self.missing == 0 and self.expected > 0


def judge(
    points: Sequence[Judged],
    history: Mapping[str, Sequence[Row]],
    gaps: Sequence[Gap],
    from_ns: int,
    to_ns: int,
    polls: Sequence[Poll] = (),
    slack_ns: int = SLACK_NS,
) -> Verdict:
    """Count every scan instant of every point in [from, to).

    `history` holds each point's rows in order of time, the row in force at `from` included. An
    instant is *collected* if the value in force equals the truth at some moment of the period
    before it (and `slack_ns` more), within the deadband; a Bad sample is right only where the
    device held no value. Where a device's own log is coarse, the log's resolution is added to the
    period, and how well its clock was known to both sides. Else the instant is *declared* if a gap
    that is open or lost for the point covers it, or if the sample is Bad and such a gap ends or
    begins within one period of it. Else it is *missing*: a gap that was filled excuses nothing.
    """
    by_class: dict[tuple[str, str], list[Gap]] = {}
    for gap in gaps:
        by_class.setdefault((gap.device, gap.scan_class), []).append(gap)
    last_polls = _by_device(polls)
    expected = collected = declared = 0
    evidence: list[Evidence] = []
    missing = 0
    for point in points:
        of_class = by_class.get((point.device, point.scan_class), [])
        own_gaps = [gap for gap in of_class if excuses(gap, point)]
        rough = [gap for gap in of_class if gap.resolution_ns or gap.uncertainty_ns]
        for instant in _instants(point, history.get(point.id, ()), from_ns, to_ns, slack_ns):
            expected += 1
            if instant.right or _is_roughly_right(instant, point, rough, slack_ns):
                collected += 1
                continue
            why = _undeclared(instant, own_gaps, point.period_ns)
            if why is None:
                declared += 1
                continue
            missing += 1
            if len(evidence) < EVIDENCE_MAX:
                evidence.append(_evidence(point, instant, why, last_polls))
    return Verdict(expected, collected, declared, missing, tuple(evidence))


class _Instant(NamedTuple):
    at_ns: int
    right: bool
    held: tuple[Value, ...]
    row: Row | None


def _instants(
    point: Judged, rows: Sequence[Row], from_ns: int, to_ns: int, slack_ns: int
) -> Iterator[_Instant]:
    """Every k * period in [from, to), with the row in force and what the device held before it."""
    window_ns = point.period_ns + slack_ns
    steps = point.truth(from_ns - window_ns, to_ns)
    times = [step.time_ns for step in steps]
    row_at, known = -1, (-1, -1, -1)
    right = False
    held: tuple[Value, ...] = ()
    first = -(-from_ns // point.period_ns) * point.period_ns
    for at_ns in range(first, to_ns, point.period_ns):
        while row_at + 1 < len(rows) and rows[row_at + 1][0] <= at_ns:
            row_at += 1
        low = max(0, bisect_right(times, at_ns - window_ns) - 1)
        high = bisect_right(times, at_ns)
        if (row_at, low, high) != known:
            known = (row_at, low, high)
            held = tuple(step.value for step in steps[low:high])
            right = row_at >= 0 and any(_is_right(rows[row_at], value, point) for value in held)
        yield _Instant(at_ns, right, held, rows[row_at] if row_at >= 0 else None)


def excuses(gap: Gap, point: Judged) -> bool:
    """Whether a gap says that nothing is known of a point."""
    named = not gap.points or point.id.partition("/")[2] in gap.points
    return named and gap.state in EXCUSED


def _is_roughly_right(
    instant: _Instant, point: Judged, rough: Sequence[Gap], slack_ns: int
) -> bool:
    """Whether what a slow log recorded last is what the device held then, as its clock tells."""
    at_ns, row = instant.at_ns, instant.row
    here = [gap for gap in rough if gap.from_ns <= at_ns < gap.to_ns]
    if row is None or not here:
        return False
    unsure_ns = max(gap.uncertainty_ns for gap in here)
    resolution_ns = max(gap.resolution_ns for gap in here)
    window_ns = point.period_ns + resolution_ns + unsure_ns + slack_ns
    held = point.truth(at_ns - window_ns, at_ns + unsure_ns + 1)
    return any(_is_right(row, step.value, point) for step in held)


def _is_right(row: Row, held: Value, point: Judged) -> bool:
    if is_bad(row[2]):
        return held is None
    return same(row[1], held, point.deadband)


def same(found: Value, held: Value, deadband: float = 0.0) -> bool:
    """Whether two values are equal within the deadband and the error of floating point."""
    if found is None or held is None:
        return False
    if isinstance(found, bool) or isinstance(held, bool):
        return found is held
    if isinstance(found, int | float) and isinstance(held, int | float):
        if not (math.isfinite(found) and math.isfinite(held)):
            return False
        return abs(found - held) <= deadband + TOLERANCE * max(1.0, abs(found), abs(held))
    return type(found) is type(held) and found == held


def _undeclared(instant: _Instant, gaps: Sequence[Gap], period_ns: int) -> str | None:
    """Why no gap excuses an instant, or None if one does."""
    at_ns, row = instant.at_ns, instant.row
    if any(gap.from_ns <= at_ns < gap.to_ns for gap in gaps):
        return None
    bad = row is not None and is_bad(row[2])
    if bad and any(gap.from_ns - period_ns <= at_ns < gap.to_ns + period_ns for gap in gaps):
        return None
    if row is None:
        return "no sample and no gap"
    if bad:
        return "Bad sample outside any gap"
    return "wrong or stale value outside any gap"


def _by_device(polls: Sequence[Poll]) -> dict[str, list[Poll]]:
    found: dict[str, list[Poll]] = {}
    for poll in polls:
        found.setdefault(poll.device, []).append(poll)
    return found


def _evidence(
    point: Judged, instant: _Instant, why: str, polls: Mapping[str, Sequence[Poll]]
) -> Evidence:
    row = instant.row
    before = [poll for poll in polls.get(point.device, ()) if poll.received_ns <= instant.at_ns]
    last = "no poll of the device is known"
    if before:
        poll = before[-1]
        last = f"last poll {format_time(poll.received_ns)}: {poll.outcome}"
    return Evidence(
        point.id,
        instant.at_ns,
        instant.held,
        row[1] if row else None,
        row[2] if row else 0,
        row[0] if row else 0,
        why,
        last,
    )


def pollers(polls: Sequence[Poll], from_ns: int, to_ns: int) -> dict[str, set[str]]:
    """Who asked each device in [from, to): device -> addresses without their ports."""
    found: dict[str, set[str]] = {}
    for poll in polls:
        if from_ns <= poll.received_ns < to_ns:
            found.setdefault(poll.device, set()).add(poll.peer.rpartition(":")[0] or poll.peer)
    return found
