"""Two machines under drift, delay, loss, freezes, crashes and cuts: one seed, one world.

Safety while the faults last, then healing, then exactly one Main within a bound, and quiet.
"""

from __future__ import annotations

import random

import pytest
from pair_world import World

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair import events as ev
from gateway.pair.words import Role

FAULTS_NS = 25 * NS_PER_S
HEAL_NS = 12 * NS_PER_S
QUIET_NS = 5 * NS_PER_S
SEEDS = [*range(20), 461]
"""461: a grant that was already taken was taken again."""


def a_world(seed: int, witness: bool) -> World:
    world = World(seed, witness=witness)
    world.add("a", priority=world.random.choice([0, 0, 1]))
    world.add("b", coverage_s=world.random.choice([0, 1, 1]))
    for host in world.hosts.values():
        host.drift_ppm = world.random.randrange(-1_000, 1_000)
        host.persist_ns = world.random.randrange(1, 150) * NS_PER_MS
    world.net.delay_ns = world.random.randrange(1, 20) * NS_PER_MS
    world.net.jitter_ns = world.random.randrange(0, 60) * NS_PER_MS
    world.net.loss = world.random.choice([0.0, 0.05, 0.15])
    world.net.twice = world.random.choice([0.0, 0.3])
    return world


def disturb(world: World, cuts: bool) -> None:
    """One fault, or the end of one."""
    dice: random.Random = world.random
    host = dice.choice(list(world.hosts.values()))
    kinds = ["freeze", "kill", "lose", "changeover", "stop", "field", "follow", "none"]
    kind = dice.choice(kinds + (["cut", "cut_both", "heal"] if cuts else []))
    if host.frozen:
        world.thaw(host.name)
    elif host.machine is None:
        world.start(host.name)
    elif kind == "freeze":
        host.frozen = True
    elif kind in ("kill", "lose"):
        world.kill(host.name, refuses=kind == "kill")
    elif kind == "changeover":
        world.feed(host.name, ev.Changeover("alice"))
    elif kind == "stop":
        world.feed(host.name, ev.Stop())
    elif kind == "field":
        host.reaches = not host.reaches
    elif kind == "follow":
        host.behind = not host.behind
    elif kind == "cut":
        world.net.cut.add(f"{host.name}>")
    elif kind == "cut_both":
        world.net.cut |= {"a>", "b>"}
    elif kind == "heal":
        world.net.cut.clear()


def heal(world: World) -> None:
    world.net.cut.clear()
    world.net.loss = 0.0
    for host in world.hosts.values():
        host.reaches, host.behind = True, False
        if host.frozen:
            world.thaw(host.name)
        if host.machine is None:
            world.start(host.name)


def live(world: World, cuts: bool) -> None:
    for name in world.hosts:
        delay_ns = world.random.randrange(0, 4_000) * NS_PER_MS
        world.at(delay_ns, lambda name=name: world.start(name))
    world.run(5 * NS_PER_S)
    while world.now_ns < FAULTS_NS:
        world.run(world.random.randrange(20, 3_000) * NS_PER_MS)
        disturb(world, cuts)
    heal(world)
    world.run(HEAL_NS)
    healed = len(world.log)
    told = "\n".join(world.log[-40:])
    assert list(world.roles().values()).count(Role.MAIN) == 1, told
    assert len(world.sending()) == 1, told
    for step in range(50):
        world.run(QUIET_NS // 50)
        assert len(world.sending()) == 1, f"after {step}: {told}"
    risen = [line for line in world.log[healed:] if "OpenField" in line]
    assert len(risen) <= 1, f"it flaps: {risen}"


def no_two(world: World) -> None:
    assert len(world.sending()) < 2, "\n".join(world.log[-30:])


def terms_are_new(world: World) -> None:
    terms = [e.term for _, _, e in world.effects if isinstance(e, ev.OpenField)]
    assert len(set(terms)) == len(terms)


@pytest.mark.parametrize("seed", SEEDS)
def test_while_links_work_no_two_nodes_send_whatever_freezes_or_dies(seed: int) -> None:
    world = a_world(seed, witness=False)
    world.watch = no_two
    live(world, cuts=False)
    terms_are_new(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_witness_no_two_nodes_send_even_in_a_split(seed: int) -> None:
    world = a_world(seed, witness=True)
    world.watch = no_two
    live(world, cuts=True)
    terms_are_new(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_split_exactly_one_main_stays(seed: int) -> None:
    world = a_world(seed, witness=False)
    live(world, cuts=True)
    terms_are_new(world)
