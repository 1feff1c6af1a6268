"""The proof by trial of rules.md 6: no two leases at once, and one soon when all is calm.

A judge that never fails proves nothing, so each part of the algorithm is also taken away once, and
the judge must see it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plc_world import TIMING, World

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.plc_events import Claim
from gateway.pair.plc_witness import PlcWitness
from gateway.pair.votes import LeaseTiming

CHUNKS = 8
SEEDS_A_CHUNK = 250
DISTURBED = 14


def live(world: World) -> None:
    """Trouble, then calm: one lease, and it stays."""
    for name in "ab":
        if world.dice.random() < 0.8:
            world.feed(world.nodes[name], Claim())
    for _ in range(DISTURBED):
        world.run(world.dice.randrange(10, 1_500) * NS_PER_MS)
        world.disturb()


def calm(world: World) -> None:
    """Late requests die out, then exactly one holds the vote without a break."""
    world.heal()
    world.run(5 * NS_PER_S + 4 * world.timing.watch_ns)
    (holder,) = world.holders()
    world.nodes[holder].gained = 0
    for _ in range(10):
        world.run(200 * NS_PER_MS)
        assert world.holders() == [holder]
    assert world.nodes[holder].gained == 0


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_two_leases_meet_whatever_happens_on_the_way(chunk: int) -> None:
    for seed in range(chunk * SEEDS_A_CHUNK, (chunk + 1) * SEEDS_A_CHUNK):
        world = World(random.Random(seed))
        live(world)
        if seed % 5 == 0:
            calm(world)


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_no_world_that_hypothesis_can_think_of_has_two_leases(dice: random.Random) -> None:
    world = World(dice)
    live(world)


@pytest.mark.parametrize("seed", range(30))
def test_a_dead_holder_is_followed_within_the_stated_time(seed: int) -> None:
    world = World(random.Random(seed))
    world.feed(world.nodes["a"], Claim())
    world.run(4 * NS_PER_S + seed * 17 * NS_PER_MS)
    assert world.holders() == ["a"]
    world.nodes["a"].frozen = True
    world.feed(world.nodes["b"], Claim())
    limit_ns = TIMING.takeover_max_ns * 1_001 // 1_000
    while not world.nodes["b"].held and limit_ns > 0:
        world.run(NS_PER_MS)
        limit_ns -= NS_PER_MS
    assert world.nodes["b"].held


def test_a_quick_plc_gives_the_lease_over_in_little_more_than_its_length() -> None:
    world = World(random.Random(5))
    world.feed(world.nodes["a"], Claim())
    world.run(4 * NS_PER_S)
    world.nodes["a"].frozen = True
    world.feed(world.nodes["b"], Claim())
    world.run(TIMING.watch_ns + TIMING.renew_ns + 40 * NS_PER_MS)
    assert world.nodes["b"].held


# --------------------------------------------------------------------------- the judge can fail


@dataclass(frozen=True, slots=True)
class Careless(LeaseTiming):
    """Any times at all."""

    def __post_init__(self) -> None:
        pass


def careless(**changed: int) -> LeaseTiming:
    times = {
        name: getattr(TIMING, name)
        for name in ("renew_ns", "timeout_ns", "lease_ns", "flight_ns", "watch_ns")
    }
    return Careless(**{**times, **changed})


class Reviving(PlcWitness):
    """Lets a late reply revive a lapsed lease."""

    def _lose(self) -> None:
        if not self.wanted:
            super()._lose()


class Trusting(PlcWitness):
    """Does not look again after it wrote (no step 3)."""

    def _proved(self, now_ns, reply, moved, broken) -> None:  # type: ignore[no-untyped-def]
        super()._proved(now_ns, reply, False, False)


class Hasty(PlcWitness):
    """Does not wait for the other's beat to stand still."""

    def _looked(self, now_ns, asked, reply) -> None:  # type: ignore[no-untyped-def]
        super()._looked(now_ns, asked, reply)
        self._stood_still = True


class CountingFromTheReply(PlcWitness):
    """Counts a lease from the answer to the write."""

    def _proved(self, now_ns, reply, moved, broken) -> None:  # type: ignore[no-untyped-def]
        assert self._beat is not None
        self._beat.sent_ns = now_ns
        super()._proved(now_ns, reply, moved, broken)


class Forgetful(PlcWitness):
    """Goes on counting the stillness over a lost connection."""

    def _looked(self, now_ns, asked, reply) -> None:  # type: ignore[no-untyped-def]
        self._connection = reply.connection
        super()._looked(now_ns, asked, reply)

    def _failed(self, now_ns, failure) -> None:  # type: ignore[no-untyped-def]
        still = self._stood_still
        super()._failed(now_ns, failure)
        self._stood_still = still


class Repeating(PlcWitness):
    """Writes two values in turn instead of a new one each time."""

    def _next_word(self) -> int:
        return 8 if self._word == 7 else 7


def fails(make: Callable[..., PlcWitness], timing: LeaseTiming, first: int) -> bool:
    """`first` is a seed known to show it; should that have moved, others are tried."""
    for seed in range(first, first + 3_000):
        world = World(random.Random(seed), timing, make)
        try:
            live(world)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (Reviving, 32),
        (Trusting, 0),
        (Hasty, 0),
        (CountingFromTheReply, 2_322),
        (Forgetful, 903),
        (Repeating, 27),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_without_any_one_of_its_rules_the_algorithm_fails(
    make: type[PlcWitness], first: int
) -> None:
    assert fails(make, TIMING, first)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_watch_too_short_for_the_lease_fails(share: float) -> None:
    assert fails(PlcWitness, careless(watch_ns=int(TIMING.watch_ns * share)), 0)


def test_clocks_that_drift_further_than_assumed_fail() -> None:
    def drifting(seed: int) -> None:
        live(World(random.Random(seed), drift_ppm=200_000))

    with pytest.raises(AssertionError):
        for seed in range(4_000):
            drifting(seed)
