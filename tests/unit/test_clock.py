"""UTC anchored to the monotonic clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SLEW_MAX_PPM, STEP_NS, Anchor, SystemClock, discipline
from gateway.model import NS_PER_S


def test_without_slew_utc_runs_with_the_monotonic_clock() -> None:
    assert Anchor(1000, 50).utc_at(150) == 1100


def test_an_error_above_a_second_is_a_step_and_told() -> None:
    anchor, step_ns = discipline(Anchor(0, 0), NS_PER_S, 5 * NS_PER_S)
    assert step_ns == 4 * NS_PER_S
    assert anchor.utc_at(NS_PER_S) == 5 * NS_PER_S


@given(st.integers(-STEP_NS, STEP_NS))
def test_a_small_error_is_worked_off_without_a_jump(error_ns: int) -> None:
    before = Anchor(10**18, 0)
    at_ns = 7 * NS_PER_S
    after, step_ns = discipline(before, at_ns, before.utc_at(at_ns) + error_ns)
    assert step_ns == 0
    assert after.utc_at(at_ns) == before.utc_at(at_ns)
    assert abs(after.slew_ppm) <= SLEW_MAX_PPM
    moved_ns = after.utc_at(at_ns + NS_PER_S) - after.utc_at(at_ns) - NS_PER_S
    assert abs(error_ns - moved_ns) <= abs(error_ns)


@given(st.lists(st.integers(-STEP_NS // 2, STEP_NS // 2), max_size=30))
def test_time_never_runs_backwards_while_it_is_steered(errors: list[int]) -> None:
    anchor, last = Anchor(10**18, 0), 0
    for second, error_ns in enumerate(errors, 1):
        at_ns = second * NS_PER_S
        now = anchor.utc_at(at_ns)
        assert now > last
        last = now
        anchor, _ = discipline(anchor, at_ns, now + error_ns)


def test_a_clock_that_is_set_begins_anew() -> None:
    wall = [10**18]
    clock = SystemClock(lambda: wall[0])
    assert clock.since_ns == 10**18
    wall[0] += STEP_NS // 2
    assert (clock.discipline(), clock.since_ns) == (0, 10**18)
    wall[0] += 90 * NS_PER_S
    assert clock.discipline() and clock.since_ns == wall[0]


def test_the_system_clock_does_not_run_backwards() -> None:
    clock = SystemClock()
    times = [clock.utc_ns() for _ in range(100)]
    assert times == sorted(times)
    assert clock.discipline() == 0
    assert clock.utc_ns() >= times[-1]
