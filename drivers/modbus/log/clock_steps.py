"""When a device's clock was set, as its log and earlier readings of the clock tell. Sans-IO, pure.

Stamps that go back tell by themselves. Stamps that leave something out may be a pause: only the
change between two readings of the clock tells that it was set forward, and by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import combinations, pairwise
from typing import Final, NamedTuple

from drivers.modbus.log.ops import Asking
from drivers.modbus.log.searching import Jumps, jumps_between, steps_between
from drivers.modbus.log.times import DRIFT_PPM, Known, Step, Unplaced, settle

JUMPS_MAX: Final = 8
"""Of so many places it is tried which together are what the clock was set forward by."""
_MARGIN: Final = 2
"""By so many records it may be wrong which one was the newest at a reading of the clock."""


class Sets(NamedTuple):
    """When a clock was set: `steps` between records that are known, and what has no such place."""

    steps: list[Step]
    unplaced: list[Unplaced]


def clock_sets(
    low: int,
    high: int,
    spacing_ns: int,
    zone: tzinfo | None,
    wall_of: Callable[[int], Asking[int | None]],
    known: Sequence[Known],
    now_ns: int,
) -> Asking[Sets]:
    """When the clock was set between two records; `high` is the newest one at `now_ns`.

    `known` is as `known_clock` gives it. A change of the clock that drift explains is none, nor one
    that the log is too coarse to show. One between two runs of nodes' clocks has no place: it may
    be those that differ.
    """
    log = _Log(spacing_ns, zone, wall_of)
    # About which record was the newest at each reading: what the clock was set by before it hides
    # nothing after it, nor does what it was set by right before it.

    def near(at_ns: int, margin: int) -> int:
        return min(max(low, high - (now_ns - at_ns) // spacing_ns + margin), high)

    times = {at_ns for each in known for at_ns in (each.at_ns, each.seen_ns)}
    edges = {near(at_ns, margin) for at_ns in times for margin in (-_MARGIN, _MARGIN)}
    back: list[Step] = []
    for begin, end in pairwise(sorted({low, *edges, high})):
        back += yield from steps_between(begin, end, spacing_ns, zone, wall_of)
    sets, left = Sets(back.copy(), []), back.copy()
    for one, other in reversed(list(pairwise(known))):
        begin = near(one.seen_ns, -_MARGIN)
        forward_ns = other.offset_ns - one.offset_ns
        own: list[Step] = []
        for step in left:
            if step.at > begin and (yield from log.lie_between([step], one, other)):
                own = [*own, step]
        forward_ns += sum(step.by_ns for step in own)
        left = [step for step in left if step not in own]
        if abs(forward_ns) <= 2 * spacing_ns:
            continue
        if forward_ns > 0 and one.until == other.since:
            back_ns = sum(step.by_ns for step in back)
            places = yield from log.at_once(low, high, forward_ns, back_ns, one, other)
            if not places and not own:
                last = near(other.at_ns, _MARGIN)
                places = yield from log.in_parts(begin, last, forward_ns, one, other)
            if len(places) == 1:
                sets.steps.extend(places[0])
                continue
        if abs(forward_ns) > (other.at_ns - one.at_ns) * DRIFT_PPM // 1_000_000:
            sets.unplaced.append(Unplaced(other.at_ns, abs(forward_ns)))
    return sets


class _Log(NamedTuple):
    """How the records of a log are spaced and read."""

    spacing_ns: int
    zone: tzinfo | None
    wall_of: Callable[[int], Asking[int | None]]

    def at_once(
        self, low: int, high: int, forward_ns: int, back_ns: int, one: Known, other: Known
    ) -> Asking[list[list[Step]]]:
        """Where it may have been set forward by so much in one step, between two readings.

        Where it was set back as well, by `back_ns` in all, stamps leave out that much less.
        """
        least_ns = forward_ns - self.spacing_ns
        jumps = yield from self._jumps(low, high, least_ns - back_ns)
        places = []
        for jump in jumps.steps:
            fits = least_ns <= -jump.by_ns <= forward_ns + self.spacing_ns
            if fits and (yield from self.lie_between([jump], one, other)):
                places.append([Step(jump.at, -forward_ns)])
        return places

    def in_parts(
        self, low: int, high: int, forward_ns: int, one: Known, other: Known
    ) -> Asking[list[list[Step]]]:
        """Which jumps together may be all of it; of the fewest that can."""
        jumps = yield from self._jumps(low, high, 2 * self.spacing_ns)
        places: list[list[Step]] = []
        if not jumps.whole or len(jumps.steps) > JUMPS_MAX:
            return places
        for count in range(2, len(jumps.steps) + 1):
            for parts in combinations(jumps.steps, count):
                rest_ns = forward_ns + sum(part.by_ns for part in parts)
                if abs(rest_ns) <= count * self.spacing_ns and (
                    yield from self.lie_between(parts, one, other)
                ):
                    last = parts[-1]
                    places.append([*parts[:-1], last._replace(by_ns=last.by_ns - rest_ns)])
            if places:
                break
        return places

    def lie_between(self, steps: Sequence[Step], one: Known, other: Known) -> Asking[bool]:
        """Whether all of these steps were made between two readings of the clock."""
        late_ns = other.offset_ns
        for step in reversed(steps):
            wall_ns = yield from self.wall_of(step.at)
            if wall_ns is None:
                return False
            (raw_ns,) = settle([wall_ns], self.zone)
            made_ns = raw_ns - late_ns
            if not one.seen_ns - self.spacing_ns <= made_ns <= other.at_ns + self.spacing_ns:
                return False
            late_ns += step.by_ns
        return True

    def _jumps(self, low: int, high: int, least_ns: int) -> Asking[Jumps]:
        return jumps_between(low, high, self.spacing_ns, self.zone, self.wall_of, least_ns)
