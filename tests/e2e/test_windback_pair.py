"""Windback in a pair: what was missed is read from the devices' logs by whoever is Main then."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.driver.log import PAGE_RECORDS_MAX
from gateway.model import NS_PER_S, Cause

from .test_pair_split import proxied
from .windback_methods import BY_NAME, FINE, FINE_S, METHODS, Method
from .windback_rig import FILLED, WindbackPair, windback_pair, wound

SOME = tuple(BY_NAME[name] for name in ("ring", "ion", "satec", "plc"))
"""One of each kind: never changed by reading, chosen by a write, behind a pointer, OPC UA."""


async def failover(folder: Path, methods: tuple[Method, ...]) -> None:
    """The Main dies while devices are away; the new one fills what both missed."""
    async with windback_pair(folder, methods) as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        await plant.until_equal()
        began_ns = time.time_ns()
        outage = asyncio.create_task(plant.unplug(3.0))
        await asyncio.sleep(1.5)  # paces: devices are away when their Main dies
        await main.program.kill()
        await plant.until_roles(**{standby.name: "main"})
        await outage
        to_ns = await plant.all_good(standby)
        gaps = await plant.settled(standby, began_ns, to_ns)
        assert {gap.device for gap in gaps} == {method.name for method in methods}
        assert {gap.state for gap in gaps} <= set(FILLED), gaps
        assert {Cause.LINK, Cause.NODE_DOWN} <= {gap.cause for gap in gaps}
        await main.start()
        await plant.until_paired()
        await plant.until_equal()
        rows = await plant.both(began_ns, to_ns)
        assert all(wound(found) for found in rows.values()), rows
        writers = {row.position.term.node for found in rows.values() for row in wound(found)}
        assert writers == {standby.name}
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]
        assert verdict.declared == 0, "no instant is left without a value"


async def test_the_new_main_fills_what_the_failover_left_out(tmp_path: Path) -> None:
    await failover(tmp_path, SOME)


@pytest.mark.slow
async def test_the_new_main_reads_logs_of_every_method(tmp_path: Path) -> None:
    await failover(tmp_path, METHODS)


async def test_after_a_split_only_what_neither_node_collected_is_asked_for(
    tmp_path: Path,
) -> None:
    methods = [BY_NAME["ring"], BY_NAME["satec"]]
    async with windback_pair(tmp_path, methods) as plant, proxied(plant) as proxies:
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        began_ns = time.time_ns()
        for proxy in proxies:
            proxy.cut()
        await plant.until_roles(**{main.name: "main", standby.name: "main"}, within_s=10)
        split_ns = await plant.all_good(standby)
        out_ns, _ = await plant.unplug(3.0)
        back_ns = max(await asyncio.gather(plant.all_good(main), plant.all_good(standby)))
        await asyncio.sleep(3.5)  # paces: what can be read in a split is read
        healed_ns = time.time_ns()
        for proxy in proxies:
            proxy.heal()
        main, standby = await plant.until_paired()
        to_ns = time.time_ns()
        gaps = await plant.settled(main, began_ns, to_ns)
        await plant.until_equal()
        assert {gap.device for gap in gaps} == {"ring", "satec"}
        for gap in gaps:
            assert (gap.state in FILLED, gap.cause) == (True, Cause.LINK), gap
            assert out_ns - NS_PER_S < gap.from_ns < gap.to_ns < back_ns + NS_PER_S, gap
        reads = {m.name: await plant.log_reads(m, split_ns) for m in methods}
        asked = {poll.peer.rpartition(":")[0] for poll in reads["ring"]}
        assert len(asked) == 2, "a log that reading doesn't change may be read by both"
        assert max(poll.received_ns for poll in reads["ring"]) < healed_ns, "not once more"
        assert min(poll.received_ns for poll in reads["satec"]) > healed_ns, "one reader at a time"
        assert len({poll.peer for poll in reads["satec"]}) == 1
        rows = await plant.both(began_ns, to_ns)
        for name, found in rows.items():
            times = [row.time_ns for row in wound(found)]
            assert times and times == sorted(set(times)), (name, times)
            assert out_ns - NS_PER_S < times[0] <= times[-1] < back_ns + NS_PER_S
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]
        assert verdict.declared == 0


@pytest.mark.slow
async def test_a_failover_in_the_middle_goes_on_with_nothing_twice_and_nothing_missing(
    tmp_path: Path,
) -> None:
    async with windback_pair(tmp_path, [FINE], "latency_ms: {fine: 25}\n") as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        await plant.until_equal()
        began_ns = time.time_ns()
        await plant.unplug(FINE_S)
        to_ns = await plant.all_good(main)
        held = await plant.held("fine", began_ns, to_ns)
        await plant.first_page(main.control, began_ns)
        await main.program.kill()
        await plant.until_roles(**{standby.name: "main"})
        gaps = await plant.settled(standby, began_ns, to_ns)
        assert {gap.state for gap in gaps} == set(FILLED[:1]), gaps
        await main.start()
        await plant.until_paired()
        await plant.until_equal()
        (found,) = (await plant.both(began_ns, to_ns)).values()
        times = [row.time_ns for row in wound(found)]
        assert times == sorted(set(times)), "nothing twice"
        records = sum(held[0].records(gap.from_ns, gap.to_ns) for gap in gaps)
        assert abs(len(times) - records) <= 2 * len(gaps), "nothing missing"
        writers = [row.position.term.node for row in wound(found)]
        assert writers.count(main.name) >= PAGE_RECORDS_MAX - 1, "what it read is not read again"
        assert writers.count(standby.name) > 0, "it was killed in the middle"
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]


async def acknowledged(plant: WindbackPair) -> list[int]:
    """When the event log of the flow computer was cleared, in ns."""
    reads = await plant.log_reads(replace(BY_NAME["enron"], log_at=0))
    return [poll.received_ns for poll in reads if poll.function == 5]


@pytest.mark.slow
async def test_a_log_that_forgets_is_acknowledged_once_both_nodes_have_it(tmp_path: Path) -> None:
    async with windback_pair(tmp_path, [BY_NAME["enron"]]) as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        await plant.until_equal()
        began_ns = time.time_ns()
        await standby.program.kill()
        await plant.rig(log="event", device="enron", bits=1 << 12, old=1.0, new=2.0)
        await plant.unplug(3.0)
        to_ns = await plant.all_good(main)
        await plant.settled(main, began_ns, to_ns)
        await asyncio.sleep(3)  # paces: longer than an acknowledgement takes
        assert await acknowledged(plant) == [], "one node's disk is not enough"
        back_ns = time.time_ns()
        await standby.start()
        await plant.until_paired()
        async with asyncio.timeout(20):
            while not (cleared := await acknowledged(plant)):
                pass
        assert len(cleared) == 1
        assert cleared[0] > back_ns
        await plant.until_equal()
        # The device stamps whole seconds.
        span = {"from": str(began_ns - NS_PER_S), "to": str(time.time_ns())}
        for node in (main, standby):
            told = [e["text"] for e in await node.control.get("/events", **span)]
            assert sum("Hi" in text for text in told) == 1, told
