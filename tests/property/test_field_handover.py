"""Reigns handed to and fro over one plant: no scan instant lost, none doubled, whatever the timing.

Also revisions swapped while it polls. All on simulated time.
"""

from __future__ import annotations

import asyncio
import random

from field_world import (
    T0_NS,
    Node,
    Plant,
    Site,
    device,
    doubled,
    gaps,
    missing,
    pass_s,
    simulate,
    site,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.acquisition.field import Begin
from gateway.journal.records import Batch
from gateway.model import NS_PER_MS, NS_PER_S

FAST = {"fast": 200 * NS_PER_MS}
MIXED = {"fast": 200 * NS_PER_MS, "slow": 3 * NS_PER_S}
PLANT = site(
    device("plc1", "tcp1", MIXED, [("a", "fast"), ("b", "slow")]),
    device("plc2", "tcp2", FAST, [("a", "fast"), ("c", "fast")]),
    device("m1", "bus", FAST, [("x", "fast")]),
    device("m2", "bus", FAST, [("x", "fast")]),
    ports={"bus": "/dev/one"},
)


def keys(of: Site) -> list[tuple[str, str]]:
    return [(d.name, c) for d in of.devices for c in d.scan_classes]


def open_all(node: Node, begin: Begin) -> None:
    node.may_send = True
    node.field.open(begin)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    reigns=st.lists(st.floats(0.3, 2.5), min_size=2, max_size=5),
    pauses=st.lists(st.floats(0, 0.15), min_size=5, max_size=5),
)
def test_a_changeover_loses_no_scan_and_doubles_none(
    seed: int, reigns: list[float], pauses: list[float]
) -> None:
    rng = random.Random(seed)

    async def world() -> None:
        plant = Plant(latency_s=lambda: rng.uniform(0.001, 0.03))
        nodes = [Node("a", plant), Node("b", plant)]
        for node in nodes:
            node.prepare(PLANT)
        begin, end_ns, firsts = Begin(), 0, []
        for number, (length_s, pause_s) in enumerate(zip(reigns, pauses, strict=False), 1):
            node = nodes[number % 2]
            node.begin_term(number)
            firsts.append((node, len(node.journal)))
            open_all(node, begin)
            await pass_s(3.2 if number == 1 else length_s)
            through_ns = await node.field.drain()
            end_ns = through_ns
            cover = node.field.collector.coverage
            assert not any(cover.in_hole(key) for key in cover.classes)
            assert node.committed == len(node.journal), "all is committed when drain returns"
            asked = len(plant.log)
            node.field.halt()
            node.may_send = False
            await node.field.close()
            await pass_s(pause_s)
            assert len(plant.log) == asked, "nothing is asked after the drain"
            assert all(r.due_ns <= through_ns for r in plant.log if not r.retry)
            begin = Begin(granted_through_ns=through_ns)
        assert doubled(plant) == []
        assert plant.wrong == []
        for key in keys(PLANT):
            assert gaps(nodes, *key, T0_NS + 3 * NS_PER_S + NS_PER_S // 5, end_ns) == []
        assert missing(nodes, PLANT, T0_NS + 3 * NS_PER_S, end_ns, 400 * NS_PER_MS) == []
        for node, start in firsts:
            batches = [b for _, b in node.journal[start:] if isinstance(b, Batch)]
            told = {(b.device, b.scan_class) for b in batches}
            for key in told:
                first = next(b for b in batches if (b.device, b.scan_class) == key)
                assert first.complete

    simulate(world())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    pauses=st.lists(st.floats(0, 4), min_size=4, max_size=4),
    ahead_ms=st.integers(-300, 300),
    drains=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_whatever_fails_between_two_reigns_is_declared(
    seed: int, pauses: list[float], ahead_ms: int, drains: list[bool]
) -> None:
    rng = random.Random(seed)

    async def world() -> None:
        slow = rng.choice([0, 0.1])  # longer than a claim may wait, shorter than its patience
        plant = Plant(latency_s=lambda: rng.uniform(0.001, 1.9 if rng.random() < slow else 0.25))
        nodes = [Node("a", plant), Node("b", plant, ahead_ms * NS_PER_MS)]
        for node in nodes:
            node.prepare(PLANT)
        begin = Begin()
        unsure_ns = abs(ahead_ms) * NS_PER_MS
        for number, (pause_s, drain) in enumerate(zip(pauses, drains, strict=True), 1):
            node = nodes[number % 2]
            node.begin_term(number)
            open_all(node, begin)
            for _ in range(4):
                plant.dead ^= {rng.choice(["plc1", "plc2", "m1", "m2"])}
                await pass_s(rng.uniform(0.1, 2))
            begin = Begin(not_before_ns=node.clock.utc_ns() + unsure_ns)
            if drain:
                through_ns = await node.field.drain()
                cover = node.field.collector.coverage
                late = [key for key in cover.classes if cover.in_hole(key)]
                begin = Begin(granted_through_ns=through_ns, unanswered=late)
            node.field.halt()
            node.may_send = False
            await node.field.close()
            await pass_s(pause_s)
        assert plant.wrong == []
        assert missing(nodes, PLANT, T0_NS, plant.now_ns(), 4 * NS_PER_S, unsure_ns) == []

    simulate(world())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    terms=st.lists(st.floats(0.05, 2.5), min_size=1, max_size=5),
)
def test_a_new_term_of_a_running_reign_never_speaks_for_what_it_does_not_hold(
    seed: int, terms: list[float]
) -> None:
    rng = random.Random(seed)

    async def world() -> None:
        plant = Plant(latency_s=lambda: rng.uniform(0.001, 0.09))
        node = Node("a", plant)
        node.prepare(PLANT)
        node.begin_term(1)
        node.field.open(Begin())
        await pass_s(3.5)
        for number, length_s in enumerate(terms, 2):
            await pass_s(length_s)
            draining = None
            if rng.random() < 0.4:
                draining = asyncio.ensure_future(node.field.drain())
                await pass_s(rng.choice([0, 0.02, 0.1]))
            node.field.turn("test")
            node.begin_term(number)
            if draining is not None:
                await pass_s(rng.choice([0, 0.02]))
                node.field.open(Begin())
                await draining
        await pass_s(1)
        end_ns = node.clock.utc_ns() - NS_PER_S // 2
        await node.field.close()
        assert doubled(plant) == []
        for name in ("plc1", "plc2"):
            assert gaps([node], name, "fast", T0_NS + NS_PER_S, end_ns) == []
        assert missing([node], PLANT, T0_NS, node.clock.utc_ns(), 4 * NS_PER_S) == []

    simulate(world())


def revised(rng: random.Random, of: Site) -> Site:
    """The site with something changed: points come and go, devices come, go and move."""
    devices = {d.name: d for d in of.devices}
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(["plc0", "plc1", "plc2", "plc3", "m0", "m1", "m2"])
        if name in devices and rng.random() < 0.4 and len(devices) > 1:
            del devices[name]
            continue
        points = [(p, "fast") for p in sorted(rng.sample(["a", "b", "c", "x"], rng.randint(1, 3)))]
        line = "bus" if name.startswith("m") else f"tcp{name[-1]}"
        devices[name] = device(name, line, FAST, points, settings=rng.choice(["p", "q"]))
    return site(*devices.values(), ports={"bus": "/dev/one"})


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_a_revision_is_swapped_without_a_scan_lost_on_any_line_that_stays(seed: int) -> None:
    rng = random.Random(seed)

    async def world() -> None:
        plant = Plant(latency_s=lambda: rng.uniform(0.001, 0.03))
        node = Node("a", plant)
        sites = [PLANT]
        node.prepare(PLANT)
        node.begin_term(1)
        node.field.open(Begin())
        await pass_s(4)
        swaps = [T0_NS]
        for revision in range(2, 6):
            sites.append(revised(rng, sites[-1]))
            node.prepare(sites[-1], revision)
            swaps.append(node.clock.utc_ns())
            await pass_s(rng.uniform(0, 1.5))
        await pass_s(1)
        end_ns = node.clock.utc_ns() - NS_PER_S // 2
        await node.field.close()
        assert plant.wrong == []
        assert doubled(plant) == []
        for name in {d.name for d in PLANT.devices}:
            versions = [[d for d in s.devices if d.name == name] for s in sites]
            if all(v and _bare(v[0]) == _bare(versions[0][0]) for v in versions):
                for scan_class in versions[0][0].scan_classes:
                    assert gaps([node], name, scan_class, T0_NS + 4 * NS_PER_S, end_ns) == []
        for of, from_ns, to_ns in zip(sites, swaps, [*swaps[1:], end_ns], strict=True):
            assert missing([node], of, from_ns, to_ns, 400 * NS_PER_MS) == []
        for batch in node.of(Batch):
            known = {p.number: p.device for p in node.sites[batch.revision].points}
            assert all(known[row[0]] == batch.device for row in batch.samples)

    simulate(world())


def _bare(d: object) -> str:
    """A device without the numbers of its points."""
    return repr([(p.name, p.scan_class) for p in d.points]) + repr((d.line, d.settings))  # type: ignore[attr-defined]
