"""History of a subscription is right whenever what is in force is stated anew beside it."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.values import place
from gateway.acquisition.changes import ChangeFilter
from gateway.driver import Observation, PointSpec
from gateway.model import NS_PER_MS, Access, DataType, Status

POINT = PointSpec(0, "plc", "level", DataType.INT64, "subscription", Access.READ, None)
PUBLISHED = 500 * NS_PER_MS
UNDER_WAY = 50 * NS_PER_MS

Moments = list[int]


def moments(*, most: int) -> st.SearchStrategy[Moments]:
    """Instants of five seconds, in ms, in order."""
    return st.lists(st.integers(1, 5_000), unique=True, max_size=most).map(sorted)


@given(
    changes=moments(most=40),
    restated=moments(most=8),
    publishing=st.lists(st.tuples(st.integers(20, 500), st.integers(0, 50)), min_size=20),
    behind_ms=st.integers(-300, 300),
)
def test_what_history_says_is_what_the_device_held(
    changes: Moments, restated: Moments, publishing: list[tuple[int, int]], behind_ms: int
) -> None:
    """A server reports each half second at most what changed since, under its own stamps."""
    held = [0, *(at * NS_PER_MS for at in changes)]
    happens: list[tuple[int, int, tuple[int, ...]]] = [(at * NS_PER_MS, 1, ()) for at in restated]
    sent_ns, arrived_ns, told = 0, 0, 1
    for pause_ms, way_ms in publishing:
        sent_ns += pause_ms * NS_PER_MS
        new = bisect_right(held, sent_ns)
        arrived_ns = max(arrived_ns, sent_ns + way_ms * NS_PER_MS)
        happens.append((arrived_ns, 0, tuple(range(told, new))))
        told = new
    keeps = ChangeFilter([POINT])
    rows = keeps.accept([Observation(0, 0, 0, Status.GOOD)], 0)
    last_ns = 0
    for now_ns, restates, values in sorted(happens):
        if restates:
            rows += keeps.restate("plc", "subscription", now_ns)
        for value in values:
            last_ns = place(held[value] - behind_ms * NS_PER_MS, last_ns, now_ns)
            rows += keeps.accept([Observation(0, last_ns, value, Status.GOOD)], now_ns)
    order = sorted(range(len(rows)), key=lambda at: (rows[at][1], at))
    times = [rows[at][1] for at in order]
    unsure_ns = PUBLISHED + UNDER_WAY + abs(behind_ms) * NS_PER_MS
    for at_ns in range(0, sent_ns, 37 * NS_PER_MS):
        row = rows[order[bisect_right(times, at_ns) - 1]]
        first = bisect_right(held, at_ns - unsure_ns) - 1
        last = bisect_right(held, at_ns + max(0, behind_ms) * NS_PER_MS) - 1
        assert max(0, first) <= row[2] <= last, (at_ns, row, held)
