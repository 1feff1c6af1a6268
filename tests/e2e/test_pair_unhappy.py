"""A pair on bad days: no field, no peer, no history, a peer that must acknowledge and is gone."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.model import NS_PER_S, Origin

from .plant import PairNode, SmallPair, small_pair


async def started(plant: SmallPair) -> tuple[PairNode, PairNode]:
    """Both nodes started: (Main, synced Standby)."""
    await asyncio.gather(plant.a.start(), plant.b.start())
    return await plant.until_paired()


async def power(plant: SmallPair, how: str) -> None:
    for device in ("plc1", "plc2", "plc3"):
        await plant.rig(power=how, device=device)


async def texts(node: PairNode) -> list[str]:
    """The events that a node's journal holds."""
    now_ns = time.time_ns()
    span = {"from": now_ns - 3_600 * NS_PER_S, "to": now_ns + NS_PER_S}
    try:
        return [event["text"] for event in await node.control.get("/events", **span)]
    except httpx.TransportError:  # it starts
        return []


async def until_told(node: PairNode, words: str, within_s: float = 40) -> None:
    async with asyncio.timeout(within_s):
        while not any(words in text for text in await texts(node)):
            await asyncio.sleep(0.1)  # paces: events are asked for


async def test_a_node_that_reaches_nobody_stays_starting_and_says_so(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        await power(plant, "off")
        await plant.a.start()
        await until_told(plant.a, "isolated")
        assert await plant.a.role() == "starting"
        status, _, err = await plant.a.hotpair("write", "plc1/setpoint", "1")
        assert status == 1 and "no Main is heard" in err
        await power(plant, "on")
        await plant.until_roles(a="main", within_s=10)


async def test_a_plant_that_powers_up_slowly_finds_a_main_and_its_endpoint(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        await power(plant, "off")
        main, _ = await started(plant)
        seen = await main.status()
        assert seen["endpoint_open"]
        assert {d["state"] for d in seen["devices"].values()} == {"down"}
        points = await main.control.get("/points")
        assert {p["status"] for p in points} <= {"BadNoCommunication", "BadCommunicationError"}
        await power(plant, "on")
        async with asyncio.timeout(15):
            while any(p["status"] != "Good" for p in await main.control.get("/points")):
                await asyncio.sleep(0.1)  # paces: the socket has no event for this
        assert await plant.until_paired() == (main, plant.other(main)), "nothing moved"


@pytest.mark.slow
async def test_a_node_whose_data_was_wiped_gets_all_of_it_back(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        main, standby = await started(plant)
        await plant.until_equal()
        await asyncio.sleep(1.5)  # paces: some history
        await standby.program.kill()
        await asyncio.to_thread(shutil.rmtree, standby.data)
        await standby.start()
        await plant.until_roles(**{main.name: "main", standby.name: "synced"})
        await plant.until_equal()
        to_ns = time.time_ns()
        rows = [
            [
                (r.time_ns, r.value)
                for r in await n.control.history("plc1/level", plant.born_ns, to_ns)
            ]
            for n in (main, standby)
        ]
        assert rows[0] == rows[1] and len(rows[0]) > 3
        # The Main is wiped too: the other node has it all, and takes over from a killed one.
        await main.program.kill()
        await plant.until_roles(**{standby.name: "main"}, within_s=5)
        await asyncio.to_thread(shutil.rmtree, main.data)
        await main.start()
        await plant.until_roles(**{main.name: "synced"})
        await plant.until_equal()
        again = [
            (r.time_ns, r.value)
            for r in await main.control.history("plc1/level", plant.born_ns, to_ns)
            if r.origin is not Origin.GAP  # that of the kill begins with the last claim before it
        ]
        assert again == rows[0]


async def test_in_sync_the_journal_tells_when_the_promise_holds(tmp_path: Path) -> None:
    async with small_pair(tmp_path, pair=", replication: sync, sync_timeout: 300ms") as plant:
        main, standby = await started(plant)

        def mode(seen: dict[str, dict[str, Any]], node: PairNode) -> str:
            return str(seen[node.name].get("replication", {}).get("state", ""))

        await plant.until(lambda seen: mode(seen, main) == "sync", within_s=20)
        await fresh(main)
        await standby.program.kill()
        await until_told(main, "async since")
        await fresh(main)
        await standby.start()
        await plant.until_roles(**{standby.name: "synced"})
        await plant.until(lambda seen: mode(seen, main) == "sync", within_s=20)
        await until_told(main, "sync again since")
        await fresh(main)


async def fresh(node: PairNode) -> None:
    """Values go on reaching clients."""
    from_ns = time.time_ns()
    async with asyncio.timeout(5):
        while True:
            points = {p["point"]: p for p in await node.control.get("/points")}
            if points["plc1/level"]["server_time_ns"] > from_ns:
                return
            await asyncio.sleep(0.05)  # paces: the socket has no event for this


async def test_a_device_that_hangs_or_is_down_holds_no_changeover(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        main, standby = await started(plant)
        await plant.until_equal()
        await plant.rig(fault="silence", device="plc2")
        await plant.rig(power="off", device="plc3")
        await asyncio.sleep(2)  # paces: both are known to be down
        from_ns = time.time_ns()
        status, out, err = await main.hotpair("changeover")
        assert status == 0, out + err
        await plant.until_roles(**{standby.name: "main", main.name: "synced"})
        await plant.rig(clear="plc2")
        await plant.rig(power="on", device="plc3")
        async with asyncio.timeout(20):
            while any(p["status"] != "Good" for p in await standby.control.get("/points")):
                await asyncio.sleep(0.1)  # paces: the socket has no event for this
        to_ns = time.time_ns()
        gaps = await plant.gaps(standby, from_ns, to_ns)
        assert {gap.device for gap in gaps} == {"plc2", "plc3"}
        await plant.until_equal()
        assert await plant.gaps(main, from_ns, to_ns) == gaps
