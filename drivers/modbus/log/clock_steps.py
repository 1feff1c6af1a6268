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
) -> Asking[Sets]:
    """When the clock was set between two records. `known` as `known_clock` gives it.

    A change of the clock that drift explains is none, nor one that the log is too coarse to show.
    One between two runs of nodes' clocks has no place: it may be those that differ.
    """
    log = _Log(high, spacing_ns, zone, wall_of)
    back = yield from steps_between(low, high, spacing_ns, zone, wall_of)
    back_ns = sum(step.by_ns for step in back)
    sets = Sets(list(back), [])
    for one, other in pairwise(known):
        forward_ns = other.offset_ns - one.offset_ns
        for step in back:
            if (yield from log.lie_between([step], one, other)):
                forward_ns += step.by_ns
        if abs(forward_ns) <= 2 * spacing_ns:
            continue
        if forward_ns > 0 and one.until == other.since:
            places = yield from log.at_once(low, forward_ns, back_ns, one, other)
            if not places and not back_ns:
                # At most so many records were made since the earlier reading.
                since = max(low, high - (known[-1].at_ns - one.at_ns) // spacing_ns - 2)
                places = yield from log.in_parts(since, forward_ns, one, other)
            if len(places) == 1:
                sets.steps.extend(places[0])
                continue
        if abs(forward_ns) > (other.at_ns - one.at_ns) * DRIFT_PPM // 1_000_000:
            sets.unplaced.append(Unplaced(other.at_ns, abs(forward_ns)))
    return sets


class _Log(NamedTuple):
    """The records up to `high`, and how they are read."""

    high: int
    spacing_ns: int
    zone: tzinfo | None
    wall_of: Callable[[int], Asking[int | None]]

    def at_once(
        self, low: int, forward_ns: int, back_ns: int, one: Known, other: Known
    ) -> Asking[list[list[Step]]]:
        """Where it may have been set forward by so much in one step, between two readings.

        Where it was set back as well, by `back_ns` in all, stamps leave out that much less.
        """
        least_ns = forward_ns - self.spacing_ns
        jumps = yield from self._jumps(low, least_ns - back_ns)
        places = []
        for jump in jumps.steps:
            fits = least_ns <= -jump.by_ns <= forward_ns + self.spacing_ns
            if fits and (yield from self.lie_between([jump], one, other)):
                places.append([Step(jump.at, -forward_ns)])
        return places

    def in_parts(
        self, low: int, forward_ns: int, one: Known, other: Known
    ) -> Asking[list[list[Step]]]:
        """Which jumps together may be all of it; of the fewest that can."""
        jumps = yield from self._jumps(low, 2 * self.spacing_ns)
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
            if not one.at_ns - self.spacing_ns <= made_ns <= other.at_ns + self.spacing_ns:
                return False
            late_ns += step.by_ns
        return True

    def _jumps(self, low: int, least_ns: int) -> Asking[Jumps]:
        return jumps_between(low, self.high, self.spacing_ns, self.zone, self.wall_of, least_ns)
