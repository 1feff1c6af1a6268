"""A revision of the configuration taken up while devices are polled and written to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from field_world import T0_NS, Node, Plant, Site, device, doubled, gaps, missing, pass_s, site
from test_field import node_of, point, simulated

from gateway.acquisition.field import Begin
from gateway.acquisition.maintenance import MaintenanceState
from gateway.driver import LineSpec
from gateway.journal.records import Audit, Batch, Coverage, Event, Fact, Maintenance
from gateway.model import NS_PER_MS, NS_PER_S, Cause, Status

FAST = {"fast": 100 * NS_PER_MS}
PLC1 = device("plc1", "tcp1", FAST, [("a", "fast"), ("b", "fast")])
PLC2 = device("plc2", "tcp2", FAST, [("a", "fast")])
SRV = device("srv", "opc", {"subscription": NS_PER_S}, [("v", "subscription")], subscribed=True)
M1 = device("m1", "bus", FAST, [("x", "fast")])
M2 = device("m2", "bus", FAST, [("x", "fast")])
AHEAD = device("aaa", "tcp0", FAST, [("n1", "fast"), ("n2", "fast")])
BUS = {"bus": "/dev/one"}
SITE = site(PLC1, PLC2, SRV)
MOVED = site(AHEAD, PLC1, PLC2, SRV)


async def polling(of: Site, plant: Plant | None = None) -> Node:
    node = node_of(of, plant)
    node.field.open(Begin())
    await pass_s(2.05)
    return node


@simulated
async def test_lines_that_stay_go_on_under_new_numbers_without_a_scan_missed_or_doubled() -> None:
    node = await polling(SITE, Plant(latency_s=lambda: 0.03))
    state, counters = node.field.collector.states["plc1"], node.lines[1].counters["plc1"]
    poller = node.field.collector.lines.pollers["tcp1"]
    while poller._running is None:
        await pass_s(0.005)
    scans, requests = state.scans, counters.requests
    node.prepare(MOVED, 2)
    assert [line.spec.name for line in node.lines] == ["opc", "tcp1", "tcp2", "tcp0"]
    swapped = len(node.journal)
    await pass_s(2)
    assert not any(line.closed for line in node.lines)
    assert node.field.collector.states["plc1"] is state
    assert state.scans > scans + 15
    assert node.field.collector.line_of("plc1").diagnostics("plc1").requests >= requests
    await node.field.close()
    after = [b for _, b in node.journal[swapped:] if isinstance(b, Batch)]
    assert {b.revision for b in after} == {2}
    names = [p.id for p in MOVED.points]
    for name, scan_class, size in (
        ("plc1", "fast", 2),
        ("plc2", "fast", 1),
        ("srv", "subscription", 1),
        ("aaa", "fast", 2),
    ):
        first = next(b for b in after if (b.device, b.scan_class) == (name, scan_class))
        assert first.complete
        assert len(first.samples) == size
        assert {names[row[0]].split("/")[0] for row in first.samples} == {name}
    end_ns = T0_NS + 4 * NS_PER_S
    for name, scan_class in (("plc1", "fast"), ("plc2", "fast"), ("srv", "subscription")):
        assert gaps([node], name, scan_class, T0_NS + NS_PER_S, end_ns) == []
    assert doubled(node.plant) == []
    assert node.plant.wrong == []
    assert missing([node], MOVED, T0_NS + NS_PER_S, end_ns, NS_PER_S) == []


@simulated
async def test_the_old_revisions_claim_ends_where_the_new_one_begins() -> None:
    node = await polling(SITE)
    node.prepare(MOVED, 2)
    await pass_s(2)
    await node.field.close()
    records = node.of(Coverage)
    old = [c for c in records if c.revision == 1]
    new = [c for c in records if c.revision == 2]
    assert records == old + new
    assert all(a.through_ns == b.since_ns for a, b in pairwise(records))
    assert all(h.device != "aaa" for c in old for h in c.holes)
    assert {h.device for c in new[:-1] for h in c.holes} == {"aaa"}


@simulated
async def test_what_the_revision_lacks_is_closed_and_says_nothing_more() -> None:
    node = await polling(SITE, Plant(latency_s=lambda: 0.03))
    node.prepare(site(PLC2), 2)
    asked = len([r for r in node.plant.log if r.device == "plc1"])
    await pass_s(1)
    assert {line.spec.name for line in node.lines if line.closed} == {"tcp1", "opc"}
    assert len([r for r in node.plant.log if r.device == "plc1"]) == asked
    assert {b.device for b in node.of(Batch) if b.revision == 2} == {"plc2"}
    assert len(node.field.tasks) == 2
    refused = await node.field.writer.write("alice", point(SITE, "plc1/a"), 1)
    assert (refused.status, "changed the point" in refused.detail) == (
        Status.BAD_INVALID_STATE,
        True,
    )
    await node.field.close()
    assert node.plant.wrong == []


@simulated
async def test_a_neighbour_on_a_bus_that_is_opened_anew_misses_no_scan() -> None:
    plant = Plant(latency_s=lambda: 0.01)
    node = await polling(site(M1, M2, ports=BUS), plant)
    more = device("m2", "bus", FAST, [("x", "fast"), ("y", "fast")])
    state = node.field.collector.states["m1"]
    node.prepare(site(M1, more, ports=BUS), 2)
    await pass_s(2)
    assert node.field.collector.states["m1"] is state
    await node.field.close()
    assert [line.closed for line in node.lines[:2]] == [True, True]
    assert plant.wrong == [], "the port was never open twice, and nobody spoke into a reply"
    assert doubled(plant) == []
    end_ns = T0_NS + 4 * NS_PER_S
    assert gaps([node], "m1", "fast", T0_NS + NS_PER_S, end_ns) == []
    (gap,) = gaps([node], "m2", "fast", T0_NS + NS_PER_S, end_ns)
    assert gap[1] - gap[0] < NS_PER_S
    causes = {h.cause for c in node.of(Coverage) if c.revision == 2 for h in c.holes}
    assert causes <= {Cause.STARTING, Cause.NODE_DOWN}, "the latter when it ends"


@simulated
async def test_a_port_that_hangs_is_opened_by_the_new_line_after_the_time_out() -> None:
    plant = Plant()
    node = await polling(site(M1, M2, ports=BUS), plant)
    plant.hung_s = {"m2": 2.0}
    await pass_s(0.3)
    renamed = site(replace(M1, line="bus9"), replace(M2, line="bus9"), ports={"bus9": "/dev/one"})
    node.prepare(renamed, 2)
    plant.hung_s = {}
    writing = asyncio.ensure_future(node.field.writer.write("alice", point(renamed, "m1/x"), 4))
    reading = asyncio.ensure_future(node.field.collector.line_of("m1").raw("m1", "holding", "0", 2))
    await pass_s(4)
    assert node.field.collector.states["m1"].scans > 10
    assert (await writing).status == Status.GOOD
    assert await reading == [1, 1]
    await node.field.close()
    assert plant.wrong == []


@simulated
async def test_writes_under_way_keep_their_line_until_they_end() -> None:
    plant = Plant(latency_s=lambda: 0.02)
    node = await polling(SITE, plant)
    plant.latency_s = lambda: 0.5
    on_both = [
        asyncio.ensure_future(node.field.writer.write("alice", point(SITE, "plc1/a"), 5)),
        asyncio.ensure_future(node.field.writer.write("alice", point(SITE, "plc2/a"), 5)),
    ]
    waiting = asyncio.ensure_future(node.field.writer.write("bob", point(SITE, "plc2/a"), 6))
    await pass_s(0.1)
    changed = device("plc2", "tcp2", FAST, [("a", "fast")], settings="another unit")
    node.prepare(site(AHEAD, PLC1, changed, SRV), 2)
    await pass_s(0.1)
    assert not node.lines[2].closed
    outcomes = [await write for write in on_both]
    assert [outcome.status for outcome in outcomes] == [Status.GOOD, Status.GOOD]
    assert (await waiting).status == Status.GOOD, "by the new line"
    numbers = {p.id: p.number for p in node.sites[2].points}
    assert plant.written[-1] == ("plc2/a", numbers["plc2/a"], 6)
    plant.latency_s = lambda: 0.02
    await pass_s(0.5)
    assert node.lines[2].closed
    written = [b for b in node.of(Batch) if b.origin == 3]
    assert {(b.device, b.revision, b.samples[0][0]) for b in written} == {
        (name, 2, numbers[f"{name}/a"]) for name in ("plc1", "plc2")
    }
    new = await node.field.writer.write("bob", point(node.sites[2], "plc1/b"), 9)
    assert new.status == Status.GOOD
    assert plant.written[-1][:2] == ("plc1/b", point(SITE, "plc1/b").number), "as the driver knows"
    await node.field.close()
    assert plant.wrong == []


@pytest.mark.parametrize("change", ["moved", "address", "removed"])
def test_a_pulse_is_ended_only_where_it_was_begun(change: str) -> None:
    async def test() -> None:
        pulsed = replace(PLC1, points=(replace(PLC1.points[0], pulse_ns=NS_PER_S), PLC1.points[1]))
        node = await polling(site(pulsed, PLC2))
        await node.field.writer.write("alice", point(node.sites[1], "plc1/a"), True)
        if change == "moved":
            node.prepare(site(AHEAD, pulsed, PLC2), 2)
        elif change == "address":
            node.prepare(site(replace(pulsed, settings="another unit"), PLC2), 2)
        else:
            node.prepare(site(PLC2), 2)
        await pass_s(2)
        told = [e for e in node.of(Event) if "pulse" in e.text]
        values = [value for _, _, value in node.plant.written]
        if change == "moved":
            assert (values, told) == ([True, False], [])
        else:
            assert values == [True], "never a write to another place"
            assert "a new revision changed the point" in told[0].text
        assert [f.value for f in node.of(Fact)] == [True, False]
        await node.field.close()

    from field_world import simulate

    simulate(test())


@simulated
async def test_maintenance_goes_on_and_what_concerns_vanished_targets_is_dropped() -> None:
    node = await polling(SITE)
    for action, target in (
        ("disable", "plc1"),
        ("disable", "plc2/a"),
        ("disable", "plc2"),
        ("enable", "plc2"),
    ):
        node.field.collector.maintain(Maintenance(action, target, 0, "bob", "why"))
    node.field.collector.maintain(Maintenance("substitute", "srv/v", 0, "bob", "why", 42))
    await pass_s(1)
    state = node.field.collector.maintenance
    kept = MaintenanceState(dict(state.disabled), dict(state.substituted))
    node.prepare(site(AHEAD, PLC1, SRV), 2, kept)
    await pass_s(2)
    now = node.field.collector.maintenance
    assert (list(now.disabled), list(now.substituted)) == (["plc1"], ["srv/v"])
    assert [r.device for r in node.plant.log[-15:]] == ["aaa"] * 15
    last = [b for b in node.of(Batch) if b.device == "srv"][-1]
    assert (last.samples[0][2], last.samples[0][3]) == (42, Status.GOOD_LOCAL_OVERRIDE)
    node.prepare(SITE, 3, kept)
    await pass_s(1)
    assert "plc2/a" in node.field.collector.maintenance.disabled, "it exists again"
    last = [b for b in node.of(Batch) if b.device == "plc2"][-1]
    assert last.samples[0][3] == Status.BAD_OUT_OF_SERVICE
    for action, target in (("release", "srv/v"), ("enable", "plc1"), ("enable", "plc2/a")):
        node.field.collector.maintain(Maintenance(action, target, 0, "bob", "why"))
    await pass_s(2)
    assert not node.field.collector.coverage.in_hole(("plc1", "fast"))
    await node.field.close()


@simulated
async def test_a_subscribed_device_out_of_service_is_heard_again_when_it_is_back() -> None:
    node = await polling(SITE)
    node.field.collector.maintain(Maintenance("disable", "srv", 0, "bob", "why"))
    await pass_s(1)
    assert "srv" not in node.field.collector.lines.listening
    node.field.collector.maintain(Maintenance("enable", "srv", 0, "bob", "why"))
    await pass_s(1)
    assert not node.field.collector.coverage.in_hole(("srv", "subscription"))
    await node.field.close()
    assert node.plant.wrong == []


@simulated
async def test_a_revision_whose_lines_cannot_be_opened_leaves_all_as_it_was() -> None:
    node = await polling(SITE)
    opened = node.field._open_line

    def refuse(spec: LineSpec) -> None:
        raise ValueError(f"{spec.name} has no certificate")

    node.field._open_line = refuse  # type: ignore[assignment]
    with pytest.raises(ValueError, match="tcp0 has no certificate"):
        node.prepare(MOVED, 2)
    node.field._open_line = opened
    scans = node.field.collector.states["plc1"].scans
    await pass_s(1)
    assert node.field.collector.states["plc1"].scans > scans
    assert node.of(Batch)[-1].revision == 1
    await node.field.close()


@simulated
async def test_a_device_that_is_down_stays_down_over_a_revision_and_is_told_once() -> None:
    node = await polling(SITE)
    node.plant.dead = {"plc1"}
    await pass_s(1)
    node.prepare(MOVED, 2)
    await pass_s(1)
    assert node.field.collector.states["plc1"].fault is not None
    assert [e.text for e in node.of(Event)] == ["lost: no answer"]
    node.plant.dead = set()
    await pass_s(2)
    assert node.of(Event)[-1].text.startswith("back after")
    await node.field.close()
    end_ns = T0_NS + 5 * NS_PER_S
    assert missing([node], MOVED, T0_NS + NS_PER_S, end_ns, NS_PER_S) == []
    assert [audit.outcome for audit in node.of(Audit)] == []


@simulated
async def test_a_new_file_during_a_swap_is_stated_by_the_new_revision() -> None:
    node = await polling(SITE)
    node.field.collector.partition_began()
    node.prepare(MOVED, 2)
    await pass_s(0.5)
    stated = [b for b in node.of(Batch) if b.complete and b.received_ns > T0_NS + 2 * NS_PER_S]
    assert {b.revision for b in stated} == {2}
    await node.field.close()


@simulated
async def test_what_was_compared_ahead_is_used_and_only_for_the_lines_it_was_about() -> None:
    node = await polling(SITE)
    same, other = replace(PLC1), replace(PLC2, settings="another unit")
    wanted = site(AHEAD, same, other, SRV)
    await node.field.compare(wanted.lines)
    assert {name: found[2] for name, found in node.field._compared.items()} == {
        "opc": True,
        "tcp1": True,
        "tcp2": False,
    }
    node.prepare(SITE, 2)
    assert len(node.lines) == 3, "another revision came instead"
    await node.field.compare(wanted.lines)
    node.prepare(wanted, 3)
    assert [line.spec.name for line in node.lines[3:]] == ["tcp0", "tcp2"]
    await pass_s(1)
    assert node.of(Batch)[-1].revision == 3
    await node.field.close()
    assert doubled(node.plant) == []


@simulated
async def test_two_revisions_within_one_scan_keep_values_with_their_points() -> None:
    def of(settings: str, *points: str) -> Site:
        ahead = device("a", "l0", {"fast": NS_PER_S}, [(p, "fast") for p in points])
        stays = device("x", "l1", {"fast": NS_PER_S}, [("level", "fast")])
        plain = site(ahead, stays)
        lines = [replace(ln, settings=settings) if ln.name == "l1" else ln for ln in plain.lines]
        return Site(plain.devices, tuple(lines))

    plant = Plant(change_ns=3600 * NS_PER_S)
    node = await polling(of("time-out 1", "p"), plant)
    await pass_s(3)
    plant.latency_s = lambda: 2.5
    plant.change_ns = 700 * NS_PER_MS
    await pass_s(3.7)
    node.prepare(of("time-out 2", "p"), 2)
    await pass_s(0.3)
    node.prepare(of("time-out 2", "p", "q"), 3)
    await pass_s(20)
    await node.field.close()
    names = {number: [p.id for p in known.points] for number, known in node.sites.items()}
    told = [
        (names[body.revision][number], value)
        for _, body in node.journal
        if isinstance(body, Batch)
        for number, _, value, _ in body.samples
        if isinstance(value, int)
    ]
    assert {name for name, _ in told} == {"a/p", "a/q", "x/level"}
    assert [(n, v) for n, v in told if v % 1000 != sum(n.encode()) % 997] == []
