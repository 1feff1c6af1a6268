"""Every way to be wrong is caught, and by the judge whose business it is."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import World


def caught(mutant: Mutant) -> tuple[int, list[str]] | None:
    """The first seed that shows it, and what the judges said."""
    for seed in mutant.seeds:
        world = World(seed, parts=mutant.parts, conditions=mutant.conditions)
        problems = world.run()
        if any(problem.startswith(mutant.judge) for problem in problems):
            return seed, problems
    return None


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_world_with_something_wrong_in_it_is_found_out(name: str) -> None:
    assert caught(MUTANTS[name]) is not None


@pytest.mark.parametrize("name", list(MUTANTS))
def test_the_same_world_without_it_is_well(name: str) -> None:
    mutant = MUTANTS[name]
    found = caught(mutant)
    seeds = [*mutant.seeds][:3] if found is None else [found[0]]
    for seed in seeds:
        assert World(seed, conditions=mutant.conditions).run() == []
