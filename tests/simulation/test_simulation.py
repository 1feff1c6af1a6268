"""Seeds that failed once, kept for ever, and the first three hundred: every promise is kept."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import kept_seeds
from tests.simulation.world import World

SEEDS = 300
CHUNK = 10


def lived(seed: int) -> list[str]:
    """What a world breaks; the seed is in the text, `make sim SEED=...` replays it."""
    return [f"seed {seed}: {problem}" for problem in World(seed).run()]


@pytest.mark.parametrize("seed", kept_seeds())
def test_a_seed_that_failed_once_keeps_all_promises_now(seed: int) -> None:
    assert lived(seed) == []


@pytest.mark.parametrize("first", range(1, SEEDS + 1, CHUNK))
def test_worlds_keep_all_promises(first: int) -> None:
    assert [problem for seed in range(first, first + CHUNK) for problem in lived(seed)] == []


def test_one_seed_is_one_world() -> None:
    logs = []
    for _ in range(2):
        world = World(7, keep_log=True)
        world.run()
        logs.append(world.log)
    assert logs[0] == logs[1]
    assert len(logs[0]) > 20
