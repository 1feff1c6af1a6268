"""One field over its reigns: idle, polling, drained, halted, closed, and polling again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from field_world import T0_NS, Node, Plant, Site, device, gaps, instants, pass_s, simulate, site

from gateway.acquisition.field import Begin
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.schedule import Job
from gateway.acquisition.writes import WAITING_MAX
from gateway.driver import SUBSCRIPTION_CLASS, Delivery, Fault, PointSpec, Scan
from gateway.journal.records import Audit, Batch, Coverage, Event, Maintenance
from gateway.model import NS_PER_MS, NS_PER_S, Access, Cause, Status, Term

FAST = {"fast": 100 * NS_PER_MS}
SITE = site(
    device("plc1", "tcp1", FAST, [("a", "fast"), ("b", "fast")]),
    device("plc2", "tcp2", {"slow": 3600 * NS_PER_S}, [("a", "slow")]),
)
SERIAL = site(
    device("m1", "bus", FAST, [("x", "fast")]),
    device("m2", "bus", FAST, [("x", "fast")]),
    ports={"bus": "/dev/one"},
)
HEARD = site(
    device("plc1", "tcp1", FAST, [("a", "fast")]),
    device("srv", "opc", {"subscription": NS_PER_S}, [("v", "subscription")], subscribed=True),
)

Test = Callable[[], Coroutine[Any, Any, None]]


def simulated(test: Test) -> Callable[[], None]:
    """A test on simulated time."""

    def run() -> None:
        simulate(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def node_of(of: Site, plant: Plant | None = None, name: str = "a") -> Node:
    node = Node(name, plant or Plant())
    node.prepare(of)
    node.begin_term(1)
    return node


def point(of: Site, name: str) -> PointSpec:
    return next(p for p in of.points if p.id == name)


async def soon(work: Awaitable[Any]) -> Any:
    """What must not hang."""
    async with asyncio.timeout(20):
        return await work


# ------------------------------------------------------------------------------------- idle


@simulated
async def test_an_idle_field_asks_nothing_and_refuses_writes() -> None:
    node = node_of(SITE)
    await pass_s(5)
    assert node.plant.log == []
    assert node.plant.open == {}
    assert node.field.tasks == []
    assert not node.field.polling
    outcome = await node.field.writer.write("alice", point(SITE, "plc1/a"), 1)
    assert outcome.status == Status.BAD_INVALID_STATE
    assert node.plant.written == []
    assert node.of(Coverage) == []
    assert await node.field.probe()
    await node.field.close()


@simulated
async def test_a_reign_leaves_fresh_lines_behind_and_the_same_collector_and_writer() -> None:
    node = node_of(SITE)
    collector, writer = node.field.collector, node.field.writer
    for reign in range(3):
        node.field.open(Begin())
        await node.until(lambda: collector.answers > 3)
        assert collector.states["plc1"].scans > 2
        assert len(node.field.tasks) == 3
        assert (await writer.write("alice", point(SITE, "plc1/a"), 1)).status == Status.GOOD
        await node.field.close()
        assert node.plant.open == {}
        assert all(line.closed for line in node.lines[: 2 * reign + 2])
        assert len(node.lines) == 2 * reign + 4
        assert collector.states["plc1"].scans == 0
    assert (node.field.collector, node.field.writer) == (collector, writer)
    await node.field.close()
    await node.field.stop()
    assert node.plant.wrong == []


@simulated
async def test_an_open_during_a_close_is_done_when_it_is_over_unless_halted_before() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await node.until(lambda: node.field.collector.answers > 3)
    closing = asyncio.ensure_future(node.field.close())
    await asyncio.sleep(0)
    node.field.open(Begin())
    node.field.halt()
    await closing
    await pass_s(1)
    assert not node.field.polling
    node.field.open(Begin())
    node.field.open(Begin())
    assert node.field.polling
    closing = asyncio.ensure_future(node.field.close())
    await asyncio.sleep(0)
    node.field.open(Begin())
    await closing
    assert node.field.polling
    await node.field.close()


@simulated
async def test_a_revision_prepared_while_it_closes_is_the_one_that_stands_ready() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)
    closing = asyncio.ensure_future(node.field.close())
    await asyncio.sleep(0)
    node.prepare(HEARD, 2)
    await closing
    assert list(node.field.collector.devices) == ["plc1", "srv"]
    assert set(node.field.collector.lines.pollers) == {"opc", "tcp1"}


@simulated
async def test_idle_lines_make_their_plans_one_by_one_and_tell_when_all_are_ready() -> None:
    node = node_of(SERIAL)
    assert node.lines[0].prepared == []
    await node.field.readied()
    assert node.lines[0].prepared == ["m1", "m2"]
    node.field.open(Begin())
    await pass_s(1)
    await node.field.close()
    await node.field.readied()
    assert node.lines[1].prepared == ["m1", "m2"], "and so do those for the next reign"
    node.field.learned("m1")
    node.field.open(Begin())
    await node.field.readied()
    assert node.lines[2].prepared == [], "a reign that begins waits for nobody"
    await node.field.stop()


@simulated
async def test_a_fact_that_the_other_node_learned_builds_the_idle_line_anew() -> None:
    node = node_of(SITE)
    node.field.learned("plc1")
    node.field.learned("nobody")
    await node.field.readied()
    assert [line.spec.name for line in node.lines] == ["tcp1", "tcp2", "tcp1"]
    assert [line.prepared for line in node.lines] == [[], ["plc2"], ["plc1"]]
    node.field.learned("plc2")
    node.field.open(Begin())
    assert [line.spec.name for line in node.lines[3:]] == ["tcp2"]
    await node.until(lambda: node.field.collector.answers > 3)
    node.field.learned("plc1")
    assert len(node.lines) == 4, "a line at work learns by itself"
    used = [any(d.requests for d in line.counters.values()) for line in node.lines]
    assert used == [False, False, True, True]
    await node.field.stop()


@simulated
async def test_a_revision_that_moves_numbers_keeps_idle_lines_and_builds_them_anew_later() -> None:
    node = node_of(SITE)
    await node.field.readied()
    more = device("plc0", "tcp0", FAST, [("z", "fast")])
    other = site(*SITE.devices, more)
    node.prepare(other, 2)
    assert [line.spec.name for line in node.lines] == ["tcp1", "tcp2", "tcp0"]
    node.prepare(SITE, 3)
    node.prepare(other, 4)
    await node.field.readied()
    now = {name: poller.line for name, poller in node.field.collector.lines.pollers.items()}
    assert not any(line.renumbered for line in now.values())
    assert sorted(line.spec.name for line in node.lines if line.prepared)[:3] == [
        "tcp0",
        "tcp1",
        "tcp1",
    ]


# ---------------------------------------------------------------------------------- reached


@simulated
async def test_the_field_is_reached_with_the_first_answer_and_lost_with_the_last() -> None:
    node = node_of(SERIAL)
    node.plant.dead = {"m1", "m2"}
    node.field.open(Begin())
    await pass_s(2)
    assert node.reached == [False]
    node.plant.dead = {"m1"}
    await pass_s(2)
    assert node.reached == [False, True]
    assert await node.field.probe()
    node.plant.dead = {"m1", "m2"}
    await pass_s(2)
    assert node.reached == [False, True, False]
    assert not await node.field.probe()
    await node.field.close()


@simulated
async def test_a_device_out_of_service_does_not_count_as_reached_or_lost() -> None:
    node = node_of(SERIAL)
    node.field.open(Begin())
    node.plant.dead = {"m1"}
    await pass_s(1)
    assert node.reached == [True]
    record = Maintenance("disable", "m2", node.clock.utc_ns(), "bob", "why")
    node.field.collector.maintain(record)
    assert node.reached == [True, False]
    await node.field.close()


@simulated
async def test_rehearsing_knocks_at_each_device_and_a_node_that_polls_tells_what_it_knows() -> None:
    both = site(*SITE.devices, *SERIAL.devices, ports={"bus": "/dev/one"})
    node = node_of(both)
    node.plant.dead = {"plc2"}
    found = {r.device: (r.allowed, r.reached) for r in await node.field.rehearse()}
    assert found == {
        "m1": (False, False),
        "m2": (False, False),
        "plc1": (True, True),
        "plc2": (True, False),
    }
    assert node.plant.log == []
    node.field.open(Begin())
    await pass_s(1)
    told = {r.device: (r.allowed, r.reached, r.detail) for r in await node.field.rehearse()}
    assert told["plc1"] == (False, True, "polled by this node")
    assert told["plc2"] == (False, False, "no answer")
    await node.field.close()


@simulated
async def test_a_probe_finds_nobody_in_a_dead_field_and_a_driver_bug_is_told() -> None:
    node = node_of(SITE)
    node.plant.dead = {"plc1", "plc2"}
    assert not await node.field.probe()

    async def broken(device: str) -> Any:
        raise KeyError(device)

    async def hanging(device: str) -> Any:
        await asyncio.Event().wait()

    node.lines[0].rehearse = broken  # type: ignore[method-assign]
    assert "KeyError" in (await node.field.rehearse())[0].detail
    for line in node.lines:
        line.rehearse = hanging  # type: ignore[method-assign]
    assert not await soon(node.field.probe())


# ------------------------------------------------------------------------------------ drain


@simulated
async def test_a_drain_scans_what_is_due_and_begins_nothing_later() -> None:
    node = node_of(SITE, Plant(latency_s=lambda: 0.03))
    node.field.open(Begin())
    await pass_s(2)
    due_ns = instants(SITE.devices[0], "fast", node.clock.utc_ns(), T0_NS + 3 * NS_PER_S)[0]
    await pass_s((due_ns - node.clock.utc_ns()) / NS_PER_S + 0.01)
    through_ns = await node.field.drain()
    assert through_ns - due_ns == 10 * NS_PER_MS
    assert node.plant.log[-1].due_ns == due_ns
    assert node.clock.utc_ns() - through_ns < 40 * NS_PER_MS
    last = node.of(Coverage)[-1]
    assert last.through_ns > through_ns
    assert [h for h in last.holes if h.device == "plc1"] == []
    asked = len(node.plant.log)
    await pass_s(3)
    assert len(node.plant.log) == asked
    assert node.of(Coverage)[-1] is last
    assert node.field.tasks == []
    assert await node.field.drain() == through_ns
    node.field.collector.partition_began()
    node.field.collector.clock_stepped(0)
    said = len(node.journal)
    await pass_s(1)
    assert len(node.journal) == said
    await node.field.close()
    assert node.of(Coverage)[-1] is last


@simulated
async def test_a_hung_device_holds_a_drain_no_longer_than_its_patience_and_has_a_hole() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)
    node.plant.hung_s = {"plc1": 60}
    await pass_s(0.2)
    began_ns = node.clock.utc_ns()
    through_ns = await node.field.drain(0.5)
    assert began_ns == through_ns
    assert node.clock.utc_ns() - began_ns < 600 * NS_PER_MS
    holes = [h for h in node.of(Coverage)[-1].holes if h.device == "plc1"]
    assert [h.cause for h in holes] == [Cause.OVERRUN]
    assert holes[0].from_ns <= through_ns < holes[0].to_ns
    await node.field.close()


@simulated
async def test_a_device_that_was_down_already_does_not_hold_a_drain_at_all() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)
    node.plant.dead = {"plc1"}
    await pass_s(1)
    node.plant.dead, node.plant.hung_s = set(), {"plc1": 60}
    await pass_s(1)
    assert node.field.collector.lines.pollers["tcp1"]._running is not None
    began_ns = node.clock.utc_ns()
    await node.field.drain()
    assert node.clock.utc_ns() - began_ns < 20 * NS_PER_MS
    await node.field.close()


@simulated
async def test_a_subscription_is_let_go_of_by_a_drain_and_its_claim_ends_there() -> None:
    plant = Plant()
    node, other = node_of(HEARD, plant), node_of(HEARD, plant, "b")
    node.field.open(Begin())
    await pass_s(5.3)
    through_ns = await node.field.drain()
    assert "address of opc" not in plant.open, "the server's session is free"
    (hole,) = [h for h in node.of(Coverage)[-1].holes if h.device == "srv"]
    assert through_ns - hole.from_ns < NS_PER_S
    assert hole.cause == Cause.STARTING
    node.field.halt()
    await node.field.close()
    other.term = Term(2, "b", 2)
    other.field.open(Begin(granted_through_ns=through_ns))
    await pass_s(3)
    await other.field.close()
    from_ns, to_ns = T0_NS + 2 * NS_PER_S, T0_NS + 7 * NS_PER_S
    assert gaps([node, other], "plc1", "fast", from_ns, to_ns) == []
    (gap,) = gaps([node, other], "srv", "subscription", from_ns, to_ns)
    assert gap[1] - gap[0] < NS_PER_S
    assert plant.wrong == []


@simulated
async def test_a_write_under_way_is_waited_for_by_a_drain_and_new_ones_are_refused() -> None:
    node = node_of(SITE, Plant(latency_s=lambda: 0.05))
    node.field.open(Begin())
    await pass_s(1)
    written = asyncio.ensure_future(
        node.field.writer.write("alice", point(SITE, "plc1/a"), 7),
    )
    await pass_s(0.02)
    draining = asyncio.ensure_future(node.field.drain())
    await asyncio.sleep(0)
    refused = await node.field.writer.write("bob", point(SITE, "plc1/b"), 7)
    assert refused.status == Status.BAD_INVALID_STATE
    assert "hands its reign over" in refused.detail
    await draining
    assert written.done()
    assert written.result().status == Status.GOOD
    outcomes = [audit.outcome for audit in node.of(Audit)]
    assert sorted(outcomes) == ["intent", "refused BadInvalidState", "result Good"]
    assert node.committed == len(node.journal)
    await node.field.close()


@pytest.mark.parametrize("drained", [False, True])
def test_a_drain_that_led_to_nothing_goes_on_and_scans_what_is_late(drained: bool) -> None:
    async def test() -> None:
        node = node_of(HEARD)
        node.field.open(Begin())
        await pass_s(1.05)
        node.plant.hung_s = {} if drained else {"plc1": 0.3}
        await pass_s(0.1)
        draining = asyncio.ensure_future(node.field.drain())
        await pass_s(0.05)
        assert draining.done() is drained
        node.plant.hung_s = {}
        lines = len(node.lines)
        node.field.turn("test")
        node.begin_term(2)
        node.field.open(Begin())
        assert node.field.polling
        await draining
        await pass_s(3)
        assert len(node.lines) == lines, "on the same connections"
        assert (
            await node.field.writer.write("alice", point(HEARD, "plc1/a"), 7)
        ).status == Status.GOOD
        second = [body for p, body in node.journal if p.term.number == 2]
        first = next(b for b in second if isinstance(b, Batch) and b.scan_class == "fast")
        assert first.complete
        assert "srv" in node.field.collector.lines.listening
        await node.field.close()
        end_ns = T0_NS + 4 * NS_PER_S
        assert gaps([node], "plc1", "fast", T0_NS + 2 * NS_PER_S, end_ns) == []
        assert node.plant.wrong == []

    simulate(test())


@simulated
async def test_a_revision_that_comes_during_a_hand_over_waits_for_its_end() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)
    await node.field.drain()
    node.prepare(HEARD, 2)
    assert "plc2" in node.field.collector.devices
    node.field.open(Begin())
    assert "srv" in node.field.collector.devices
    await pass_s(1)
    assert node.of(Batch)[-1].revision == 2
    await node.field.close()


# ------------------------------------------------------------------------------------- halt


@simulated
async def test_after_a_halt_no_request_leaves_and_a_last_claim_is_made_at_once() -> None:
    node = node_of(HEARD, Plant(latency_s=lambda: 0.05))
    node.field.open(Begin())
    await pass_s(1.52)
    asked, said = len(node.plant.log), len(node.journal)
    node.field.halt()
    node.may_send = False
    assert not node.field.polling
    assert isinstance(node.journal[said][1], Coverage)
    assert node.journal[said][1].through_ns == node.clock.utc_ns()
    assert len(node.journal) == said + 1
    outcome = await node.field.writer.write("alice", point(HEARD, "plc1/a"), 1)
    assert outcome.status == Status.BAD_INVALID_STATE
    await pass_s(1)
    await node.field.close()
    assert len(node.plant.log) == asked
    bodies = [b for _, b in node.journal[said + 1 :] if not isinstance(b, Audit)]
    assert bodies == []
    assert node.plant.wrong == []


@simulated
async def test_a_serial_line_is_closed_after_the_reply_a_network_line_at_once() -> None:
    for of, takes in ((SERIAL, True), (SITE, False)):
        plant = Plant(latency_s=lambda: 0.5)
        node, other = node_of(of, plant), node_of(of, plant, "b")
        node.field.open(Begin())
        await pass_s(1.2)
        began_ns = node.clock.utc_ns()
        node.field.halt()
        node.may_send = False
        await node.field.close()
        assert (node.clock.utc_ns() - began_ns > 100 * NS_PER_MS) is takes
        other.field.open(Begin())
        await pass_s(3)
        await other.field.close()
        assert plant.wrong == [], "the other node's first request meets no reply"


@simulated
async def test_a_serial_line_that_never_answers_is_closed_all_the_same() -> None:
    node = node_of(SERIAL)
    node.plant.hung_s = {"m1": 600, "m2": 600}
    node.field.open(Begin())
    await pass_s(1)
    await soon(node.field.close())
    assert node.plant.open == {}


@simulated
async def test_a_write_on_a_serial_line_gets_its_reply_before_the_line_is_closed() -> None:
    node = node_of(SERIAL, Plant(latency_s=lambda: 0.4))
    node.field.open(Begin())
    await pass_s(1)
    writing = asyncio.ensure_future(node.field.writer.write("alice", point(SERIAL, "m1/x"), 5))
    waiting = asyncio.ensure_future(node.field.writer.write("bob", point(SERIAL, "m1/x"), 6))
    await pass_s(0.1)
    node.field.halt()
    await node.field.close()
    assert (await writing).status == Status.GOOD
    assert (await waiting).status == Status.BAD_INVALID_STATE, "it had not left"
    assert [value for _, _, value in node.plant.written] == [5]


@simulated
async def test_a_line_that_does_not_close_keeps_nobody_from_the_next_reign() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)

    async def broken() -> None:
        raise OSError("the adapter is gone")

    node.lines[0].close = broken  # type: ignore[method-assign]
    await node.field.close()
    assert node.lines[1].closed


# ------------------------------------------------------------------------------------ begin


@simulated
async def test_scans_received_before_a_takeover_is_certain_end_no_hole() -> None:
    node = node_of(SITE)
    sure_ns = node.clock.utc_ns() + 50 * NS_PER_MS
    node.field.open(Begin(not_before_ns=sure_ns))
    await pass_s(0.02)
    assert len(node.of(Batch)) == 2, "what was read is shown at once"
    assert node.field.collector.coverage.in_hole(("plc2", "slow"))
    await pass_s(1)
    assert not node.field.collector.coverage.in_hole(("plc2", "slow"))
    slow = [r for r in node.plant.log if r.device == "plc2"]
    assert [r.at_ns - T0_NS for r in slow][1:] == [50 * NS_PER_MS], "not an hour later"
    await node.field.close()
    holes = [h for c in node.of(Coverage) for h in c.holes if h.device == "plc2"]
    assert max(h.to_ns for h in holes) >= sure_ns


@simulated
async def test_a_subscription_too_proves_nothing_before_a_takeover_is_certain() -> None:
    node = node_of(HEARD)
    node.field.open(Begin(not_before_ns=node.clock.utc_ns() + NS_PER_S))
    await pass_s(0.9)
    assert node.field.collector.coverage.in_hole(("srv", "subscription"))
    await pass_s(0.9)
    assert not node.field.collector.coverage.in_hole(("srv", "subscription"))
    await node.field.close()


@simulated
async def test_a_grant_far_ahead_of_the_own_clock_is_taken_as_a_takeover() -> None:
    node = node_of(SITE)
    granted_ns = node.clock.utc_ns() + 5 * NS_PER_S
    node.field.open(Begin(granted_through_ns=granted_ns))
    await pass_s(3)
    assert len(node.plant.log) > 20, "nobody waits for the clock"
    assert node.field.collector.coverage.in_hole(("plc1", "fast"))
    await pass_s(3)
    assert not node.field.collector.coverage.in_hole(("plc1", "fast"))
    await node.field.close()


@simulated
async def test_a_grant_of_long_ago_is_an_overrun_that_is_declared() -> None:
    node = node_of(SITE)
    await pass_s(100)
    node.field.open(Begin(granted_through_ns=node.clock.utc_ns() - 20 * NS_PER_S))
    await pass_s(2)
    await node.field.close()
    holes = [h for c in node.of(Coverage) for h in c.holes if h.device == "plc1"]
    assert {h.cause for h in holes} == {Cause.OVERRUN}
    assert sum(h.to_ns - h.from_ns for h in holes) > 19 * NS_PER_S


@simulated
async def test_what_the_old_main_could_not_vouch_for_starts_at_once_in_a_hole() -> None:
    node = node_of(SITE)
    granted_ns = node.clock.utc_ns()
    node.field.open(
        Begin(granted_through_ns=granted_ns, unanswered=[("plc2", "slow")]),
    )
    assert node.field.collector.coverage.in_hole(("plc2", "slow"))
    assert not node.field.collector.coverage.in_hole(("plc1", "fast"))
    await pass_s(0.5)
    assert [r.device for r in node.plant.log].count("plc2") == 1
    assert node.plant.log[0].device == "plc2", "the others wait for their instant"
    await node.field.close()


@simulated
async def test_who_is_out_of_service_stays_so_under_the_next_main() -> None:
    node = Node("a", Plant())
    record = Maintenance("disable", "plc1", 0, "bob", "why")
    node.prepare(SITE, maintenance=MaintenanceState({"plc1": record, "gone": record}))
    node.field.open(Begin(granted_through_ns=node.clock.utc_ns()))
    await pass_s(1.5)
    assert {r.device for r in node.plant.log} <= {"plc2"}
    assert list(node.field.collector.maintenance.disabled) == ["plc1"]
    assert Cause.DISABLED in {h.cause for c in node.of(Coverage) for h in c.holes}
    assert node.lines[0].withdrawn == ["plc1"]
    await node.field.close()


@simulated
async def test_claims_begin_where_the_node_says() -> None:
    node = node_of(SITE)
    await pass_s(2)
    node.field.open(Begin(since_ns=T0_NS))
    await pass_s(2)
    await node.field.close()
    assert node.of(Coverage)[0].since_ns == T0_NS
    assert [e.text for e in node.of(Event)] == []


# ----------------------------------------------------------------------------- subscriptions


@simulated
async def test_a_subscription_that_fails_is_lost_once_and_told_when_it_is_back() -> None:
    node = node_of(HEARD)
    node.field.open(Begin())
    await pass_s(1.2)
    hear, now_ns = node.field.collector._heard, node.clock.utc_ns
    fault = Fault(Cause.LINK, Status.BAD_NO_COMMUNICATION, "gone", NS_PER_S)
    hear("srv", Delivery((), now_ns(), fault=fault))
    hear("srv", Delivery((), now_ns(), fault=fault))
    assert node.field.collector.coverage.in_hole(("srv", "subscription"))
    await pass_s(1)
    assert [e.severity for e in node.of(Event)] == [700, 300]
    assert not node.field.collector.coverage.in_hole(("srv", "subscription"))
    await node.field.close()


@simulated
async def test_values_that_the_server_dropped_leave_a_hole_that_the_next_delivery_ends() -> None:
    node = node_of(HEARD)
    node.field.open(Begin())
    await pass_s(2.2)
    node.field.collector._heard("srv", Delivery((), node.clock.utc_ns(), complete=False))
    assert [e.text for e in node.of(Event)] == ["the server dropped values (queue overflow)"]
    await pass_s(1)
    await node.field.close()
    holes = [h for c in node.of(Coverage) for h in c.holes if h.device == "srv"]
    assert Cause.OVERRUN in {h.cause for h in holes}
    node.field.collector._heard("srv", Delivery((), node.clock.utc_ns()))
    assert node.field.collector.states["srv"].scans == 0, "nobody listens any more"


@simulated
async def test_a_bug_in_a_subscription_is_a_fault_of_its_device() -> None:
    node = node_of(HEARD)

    async def broken(device: str, deliver: Any) -> None:
        raise KeyError(device)

    node.lines[0].listen = broken  # type: ignore[method-assign]
    node.field.open(Begin())
    await pass_s(1)
    fault = node.field.collector.states["srv"].fault
    assert fault is not None
    assert "KeyError" in fault.detail
    assert len(node.field.tasks) == 4, "it is tried again"
    await node.field.close()


@simulated
async def test_what_a_subscription_brings_while_the_reign_is_in_doubt_is_declared() -> None:
    node = node_of(HEARD)
    node.field.open(Begin())
    await pass_s(2.2)
    node.reigns = False
    said = len(node.of(Batch))
    node.field.collector._heard("srv", Delivery((), node.clock.utc_ns()))
    assert node.field.collector.coverage.in_hole(("srv", SUBSCRIPTION_CLASS))
    node.reigns = True
    node.field.collector._heard("srv", Delivery((), node.clock.utc_ns()))
    assert not node.field.collector.coverage.in_hole(("srv", SUBSCRIPTION_CLASS))
    assert node.of(Batch)[said].complete, "what holds is stated anew"
    await pass_s(1)
    await node.field.close()
    holes = [h for c in node.of(Coverage) for h in c.holes if h.device == "srv"]
    assert Cause.NODE_DOWN in {h.cause for h in holes}


@simulated
async def test_a_delivery_for_a_device_out_of_service_says_nothing() -> None:
    node = node_of(HEARD)
    node.field.open(Begin())
    await pass_s(1)
    record = Maintenance("disable", "srv", node.clock.utc_ns(), "bob", "why")
    node.field.collector.maintain(record)
    said = len(node.journal)
    outcomes = node.field.collector.outcomes
    outcomes.delivered(HEARD.devices[1], Delivery((), node.clock.utc_ns()))
    fault = Fault(Cause.LINK, Status.BAD_NO_COMMUNICATION, "gone", NS_PER_S)
    outcomes.failed(HEARD.devices[1], fault)
    assert len(node.journal) == said
    await node.field.close()


# ------------------------------------------------------------------------------------ writes


@simulated
async def test_a_write_whose_reign_ends_before_its_bytes_leave_is_not_sent() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)
    writing = asyncio.ensure_future(node.field.writer.write("alice", point(SITE, "plc1/a"), 1))
    await pass_s(0.001)
    assert [audit.outcome for audit in node.of(Audit)] == ["intent"]
    node.field.halt()
    outcome = await writing
    assert outcome.status == Status.BAD_INVALID_STATE
    assert [audit.outcome for audit in node.of(Audit)] == ["intent", "result BadInvalidState"]
    assert node.plant.written == []
    await node.field.close()


@simulated
async def test_a_write_that_can_not_be_carried_out_is_refused_with_its_reason() -> None:
    limited = replace(SITE.devices[0].points[0], minimum=0, maximum=10)
    read_only = replace(SITE.devices[0].points[1], access=Access.READ)
    of = site(replace(SITE.devices[0], points=(limited, read_only)))
    node = node_of(of)
    node.field.open(Begin())
    await pass_s(1)
    write = node.field.writer.write
    high, low = await write("a", point(of, "plc1/a"), 11), await write("a", point(of, "plc1/a"), -1)
    assert (high.status, low.status) == (Status.BAD_OUT_OF_RANGE, Status.BAD_OUT_OF_RANGE)
    assert (await write("a", point(of, "plc1/b"), 1)).status == Status.BAD_NOT_WRITABLE
    node.plant.dead = {"plc1"}
    await pass_s(1)
    assert (await write("a", point(of, "plc1/a"), 1)).status == Status.BAD_NO_COMMUNICATION
    node.field.collector.maintain(Maintenance("disable", "plc1", 0, "bob", "why"))
    assert (await write("a", point(of, "plc1/a"), 1)).status == Status.BAD_OUT_OF_SERVICE
    assert len(node.of(Audit)) == 5, "each is on record"
    assert node.plant.written == []
    await node.field.close()


@simulated
async def test_writes_to_one_device_are_ordered_and_only_so_many_wait() -> None:
    node = node_of(SITE, Plant(latency_s=lambda: 0.01))
    node.field.open(Begin())
    await pass_s(1)
    writing = [
        asyncio.ensure_future(node.field.writer.write("a", point(SITE, "plc1/a"), n))
        for n in range(WAITING_MAX + 2)
    ]
    outcomes = [(await write).status for write in writing]
    assert outcomes.count(Status.BAD_RESOURCE_UNAVAILABLE) == 2
    assert [value for _, _, value in node.plant.written] == list(range(WAITING_MAX))
    await node.field.close()


@simulated
async def test_a_bug_in_a_scan_is_a_fault_of_its_device_and_its_answer_counts_no_more() -> None:
    node = node_of(SITE)
    node.field.open(Begin())
    await pass_s(1)

    async def broken(device: str, scan_class: str) -> Scan:
        raise ZeroDivisionError

    node.lines[0].scan = broken  # type: ignore[method-assign]
    await pass_s(1)
    fault = node.field.collector.states["plc1"].fault
    assert fault is not None
    assert fault.status == Status.BAD_INTERNAL_ERROR
    node.field.collector.maintain(Maintenance("disable", "plc1", 0, "bob", "why"))
    said, now_ns = len(node.journal), node.clock.utc_ns()
    schedule = node.field.collector.lines.pollers["tcp1"].schedule
    node.field.collector.outcomes.answered(schedule, Job("plc1", "fast", 0), Scan(now_ns, now_ns))
    assert len(node.journal) == said
    await node.field.close()
