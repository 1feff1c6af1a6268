"""When a device's clock was set, as its log and earlier readings of the clock tell. Sans-IO, pure.

Stamps that go back tell by themselves. Stamps that leave something out may be a pause: only the
change between two readings of the clock tells that it was set forward, and by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import NamedTuple

from drivers.modbus.log.ops import Asking
from drivers.modbus.log.searching import jumps_between, steps_between
from drivers.modbus.log.times import DRIFT_PPM, Known, Step, Unplaced, settle


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
    back = yield from steps_between(low, high, spacing_ns, zone, wall_of)
    sets = Sets(list(back), [])
    for one, other in pairwise(known):

        def within(step: Step, one: Known = one, other: Known = other) -> Asking[bool]:
            walls = [wall for wall in [(yield from wall_of(step.at))] if wall is not None]
            times = [time_ns - other.offset_ns for time_ns in settle(walls, zone)]
            return any(one.at_ns - spacing_ns <= t <= other.at_ns + spacing_ns for t in times)

        forward_ns = other.offset_ns - one.offset_ns
        for step in back:
            if (yield from within(step)):
                forward_ns += step.by_ns
        if abs(forward_ns) <= 2 * spacing_ns:
            continue
        if forward_ns > 0 and one.until == other.since:
            least_ns = forward_ns - spacing_ns
            total_ns = sum(step.by_ns for step in back)
            search = jumps_between(low, high, spacing_ns, zone, wall_of, least_ns - total_ns)
            places: list[Step] = []
            for jump in (yield from search):
                fits = least_ns <= -jump.by_ns <= forward_ns + spacing_ns
                if fits and (yield from within(jump)):
                    places.append(jump)
            if len(places) == 1:
                sets.steps.append(Step(places[0].at, -forward_ns))
                continue
        if abs(forward_ns) > (other.at_ns - one.at_ns) * DRIFT_PPM // 1_000_000:
            sets.unplaced.append(Unplaced(other.at_ns, abs(forward_ns)))
    return sets
