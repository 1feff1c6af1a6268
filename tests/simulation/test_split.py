"""The case from the field's manuals, with journals: both are Main, one stays, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.journal.records import Batch
from gateway.model import NS_PER_S, Cause
from gateway.pair.words import Role
from tests.simulation.agenda import EPOCH_NS
from tests.simulation.conditions import Conditions
from tests.simulation.judging import classes, gaps_of, judged, read, streams_of
from tests.simulation.node import Process
from tests.simulation.world import World

S = NS_PER_S
ALONE_S, APART_S, UNITED_S = 30, 20, 10
"""Ten hours, two hours and a while, in the proportions that a test has time for."""


@contextmanager
def lived(duty: str, blind: bool = False) -> Iterator[tuple[World, Process, Process]]:
    """a reigns, the link is lost, b reigns too, the link is back; the pair as it is then.

    `blind`: meanwhile a reaches no device for most of the time; it has the priority all the same.
    """
    conditions = Conditions(-1, duty=duty, priority={"a": 5 if blind else 0, "b": 0})
    world = World(1, conditions=conditions)
    try:
        yield world, *_live(world, blind)
    finally:
        world.end()


def _live(world: World, blind: bool) -> tuple[Process, Process]:
    agenda, net = world.agenda, world.net
    for host in world.hosts.values():
        world.start(host)
    agenda.at(S, world.second)
    agenda.run(ALONE_S * S, world.watch)
    assert world.roles() == {"a": Role.MAIN, "b": Role.SYNCED}
    for link in net.links.values():
        link.cut.update("ab")
    net.changed()
    agenda.run((ALONE_S + 5) * S, world.watch)
    if blind:
        world.plant.unreached.add("a")
    agenda.run((ALONE_S + APART_S - 3) * S, world.watch)
    world.plant.unreached.clear()
    agenda.run((ALONE_S + APART_S) * S, world.watch)
    assert world.roles() == {"a": Role.MAIN, "b": Role.MAIN}
    net.heal()
    agenda.run((ALONE_S + APART_S + UNITED_S) * S, world.watch)
    assert world.roles() == {"a": Role.MAIN, "b": Role.SYNCED}
    world.quieten()
    assert world.problems == []
    assert judged(world) == []
    first, second = (world.hosts[node].process for node in "ab")
    assert first is not None
    assert second is not None
    return first, second


@pytest.mark.parametrize("duty", ["merge", "discard"])
def test_a_stays_main_and_what_b_collected_is_not_lost(duty: str) -> None:
    with lived(duty) as (world, a, b):
        assert world.differences() == []
        (reign,) = {term for term in world.terms if term.node == "b"}
        for process in (a, b):
            kept = [
                record
                for records, _, _ in process.store.disk.groups
                for record in records
                if record.position.term == reign and isinstance(record.body, Batch)
            ]
            assert len(kept) > APART_S, "b's batches are in both journals"
            (ruled,) = process.store.kept.rulings
            assert (ruled.winner.node, ruled.loser) == ("a", reign)


@pytest.mark.parametrize("duty", ["merge", "discard"])
def test_what_only_the_loser_reached_is_seen_when_merged_and_declared_when_discarded(
    duty: str,
) -> None:
    with lived(duty, blind=True) as (_, a, b):
        instant_ns = EPOCH_NS + (ALONE_S + APART_S // 2) * S
        for process in (a, b):
            told = read(process)
            for device, scan_class, _ in classes():
                found = gaps_of(process, told, device, scan_class, (instant_ns, instant_ns + 1))
                causes = [] if duty == "merge" else [Cause.OTHER_MASTER]
                assert [gap.cause for gap in found] == causes
                by_term = streams_of(process, told, device, scan_class)
                speakers = {
                    term.node
                    for term, parts in by_term.items()
                    if any(start <= instant_ns < end for start, end in parts)
                }
                assert speakers == ({"b"} if duty == "merge" else set())
