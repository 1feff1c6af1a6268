"""What the failover bench makes of a run: fresh, right, and which scans were lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from gateway.model import NS_PER_MS, NS_PER_S, Value
from hil.bench.takeovers import Asked, Run, device_of, percentile, scans, spread, takeover

T0 = 1_000 * NS_PER_S
OLD, NEW = "10.0.0.1", "10.0.0.2"
D0, D1 = "ns=2;s=d0/r0", "ns=2;s=d1/r0"


def at(ms: float) -> int:
    return T0 + round(ms * NS_PER_MS)


def run(seen: Mapping[str, Sequence[tuple[int, int, Value]]], **changes: int) -> Run:
    times = {"role_ns": at(200), "open_ns": at(210), "session_ns": at(220)} | changes
    return Run(T0, NEW, seen=seen, why="a is dead", load=2.5, **times)


POLLS = [
    Asked(at(-100), "d0", NEW),
    Asked(at(50), "d0", OLD),
    Asked(at(230), "d0", NEW),
    Asked(at(240), "d1", NEW),
    Asked(at(400), "d1", NEW),
]


def test_only_what_the_new_main_polled_itself_is_fresh() -> None:
    seen = {D0: [(at(225), at(60), 1), (at(250), at(232), 2)], D1: [(at(270), at(241), 3)]}
    found = takeover(run(seen), POLLS, lambda node, from_ns, to_ns: (1, 2, 3))
    assert (found.fresh_ms, found.all_ms) == (250, 270)
    assert (found.role_ms, found.poll_ms, found.open_ms, found.session_ms) == (200, 230, 210, 220)
    assert found.wrong == 0
    assert (found.gone_ms, found.why, found.load) == (None, "a is dead", 2.5)
    assert takeover(run(seen, gone_ns=at(21)), POLLS, lambda *_: ()).gone_ms == 21


def test_a_value_that_the_plant_did_not_hold_then_is_wrong() -> None:
    asked: list[tuple[str, int, int]] = []

    def truth(node: str, from_ns: int, to_ns: int) -> list[Value]:
        asked.append((node, from_ns, to_ns))
        return [2]

    seen = {D0: [(at(250), at(232), 2), (at(460), at(432), 9)]}
    assert takeover(run(seen), POLLS, truth).wrong == 1
    assert asked[0] == (D0, at(232 - 500), at(232))


def test_what_never_came_is_told_as_nothing_and_is_above_all_times() -> None:
    never = takeover(run({D0: [], D1: []}, role_ns=0), POLLS, lambda *_: ())
    assert (never.fresh_ms, never.all_ms, never.role_ms) == (None, None, None)
    some = takeover(run({D0: [(at(250), at(232), 2)], D1: []}), POLLS, lambda *_: (2,))
    assert (some.fresh_ms, some.all_ms) == (250, None)
    times = [never.fresh_ms, some.fresh_ms, some.fresh_ms]
    assert spread(times) == {"median ms": 250, "p95 ms": None, "p99 ms": None, "max ms": None}


def test_a_device_that_the_new_main_never_polled_has_nothing_fresh() -> None:
    seen = {D0: [(at(250), at(232), 2)]}
    assert takeover(run(seen), POLLS[:2], lambda *_: (2,)).poll_ms is None


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 51)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [25, 48, 50, 50]
    assert percentile([], 0.5) is None


def test_a_device_is_read_from_a_nodeid() -> None:
    assert device_of("ns=2;s=d3/r0") == "d3"


@pytest.mark.parametrize("phase_ms", [0, 5, 99, 199])
def test_lost_and_doubled_scans_are_found_whatever_the_phase(phase_ms: int) -> None:
    period_ns = 200 * NS_PER_MS
    jitter = [0, 3, 1, 12, 2]
    grid = [at(200 * k + phase_ms + jitter[k % 5]) for k in range(-10, 30)]
    assert scans(grid, period_ns, T0, at(4_000)) == (0, 0)
    assert scans([*grid[:15], *grid[16:]], period_ns, T0, at(4_000)) == (1, 0)
    assert scans([*grid, grid[20] + 20 * NS_PER_MS], period_ns, T0, at(4_000)) == (0, 1)
    late = [*grid[:15], grid[15] + 150 * NS_PER_MS, *grid[16:]]
    assert scans(late, period_ns, T0, at(4_000)) == (0, 0)
    assert scans([], period_ns, T0, at(4_000)) == (0, 0)
