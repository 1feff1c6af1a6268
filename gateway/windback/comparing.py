"""Whether history and a device's own log say the same: `hotpair verify`.

Pure. A logged value is right if history had it in force at some moment that the stamp may mean:
the device's clock is known to an uncertainty only, and a scan sees a change up to a period late.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.driver.spec import Observation, PointSpec
from gateway.journal.coverage import Interval, is_in
from gateway.model import HistoryRow, Value, is_bad

DIFFERENCES_MAX: Final = 100
"""Differences that are told; all are counted."""
TOLERANCE: Final = 1e-9
"""Relative error of two ways to scale one value in double precision."""


class Difference(NamedTuple):
    """A logged value that history does not have: what the log says, and what history held."""

    point: str
    time_ns: int
    logged: Value
    history: tuple[Value, ...]


class Comparison(NamedTuple):
    """Logged values: compared = equal + in_gaps + the differences (`different` of them).

    What is older than a point's history counts as in a gap.
    """

    compared: int = 0
    equal: int = 0
    in_gaps: int = 0
    different: int = 0
    differences: tuple[Difference, ...] = ()

    def plus(self, other: Comparison) -> Comparison:
        """Both together."""
        return Comparison(
            self.compared + other.compared,
            self.equal + other.equal,
            self.in_gaps + other.in_gaps,
            self.different + other.different,
            (*self.differences, *other.differences)[:DIFFERENCES_MAX],
        )


def compare(
    point: PointSpec,
    logged: Sequence[Observation],
    rows: Sequence[HistoryRow],
    open_gaps: Sequence[Interval],
    slack_ns: int,
) -> Comparison:
    """Hold each logged value of a point against history.

    `rows` are the point's samples in order of time, from the one in force `slack_ns` before the
    first logged value on; `open_gaps` where history says that it has nothing. Where no row is in
    force before them, the point's history begins with the first one, and what is older is no gap
    of it but wasn't collected.
    """
    times = [row.time_ns for row in rows]
    equal = in_gaps = 0
    differences: list[Difference] = []
    for seen in logged:
        first = max(0, bisect_right(times, seen.time_ns - slack_ns) - 1)
        last = bisect_right(times, seen.time_ns + slack_ns)
        held = rows[first:last]
        if any(_same(seen, row, point.deadband) for row in held):
            equal += 1
        elif not times or seen.time_ns < times[0] or is_in(open_gaps, seen.time_ns):
            in_gaps += 1
        else:
            values = tuple(row.value for row in held)
            differences.append(Difference(point.id, seen.time_ns, seen.value, values))
    told = tuple(differences[:DIFFERENCES_MAX])
    return Comparison(len(logged), equal, in_gaps, len(differences), told)


def _same(seen: Observation, row: HistoryRow, deadband: float) -> bool:
    if is_bad(seen.status) or is_bad(row.status):
        return is_bad(seen.status) and is_bad(row.status)
    one, two = seen.value, row.value
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, int | float) and isinstance(two, int | float):
        if math.isfinite(one) and math.isfinite(two):
            return abs(one - two) <= deadband + TOLERANCE * max(1.0, abs(one), abs(two))
        return str(one) == str(two)
    return one == two
