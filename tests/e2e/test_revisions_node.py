"""Revisions at a real node: applied while it polls, rolled back, refused, kept over restarts."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from gateway.model import NS_PER_S

from .plant import SmallPlant, small_plant
from .test_revisions_server import Seen


def edit(plant: SmallPlant, old: str, new: str) -> None:
    text = plant.site_file.read_text()
    assert old in text
    plant.site_file.write_text(text.replace(old, new))


async def first_line(plant: SmallPlant) -> list[str]:
    """What a start says on stdout until it is Main, and the process is stopped again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "run", str(plant.node_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    lines = []
    async with asyncio.timeout(30):
        while "is Main" not in (line := (await process.stdout.readline()).decode()):
            assert line, "it ended"
            lines.append(line.strip())
        process.terminate()
        await process.communicate()
    return lines


async def test_a_revision_is_applied_while_the_others_are_polled_without_a_missed_scan(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        seen = Seen()
        async with Client(plant.endpoint) as client:
            subscription = await client.create_subscription(50, seen)
            level = client.get_node(ua.NodeId("plc1/level", 2))
            await subscription.subscribe_data_change(level)
            await seen.next()
            from_ns = time.time_ns()
            await plant.gaps(from_ns, from_ns + NS_PER_S)
            edit(plant, "    timeout: 300ms", "    timeout: 250ms")
            status, out, err = await plant.hotpair("apply", str(plant.site_file))
            assert status == 0, err
            assert "lines closed and opened again: 1: bus1" in out
            assert "revision 2 runs on node a" in out
            await plant.all_good()
            to_ns = time.time_ns() + NS_PER_S
            gaps = await plant.gaps(from_ns, to_ns)
            assert {gap.device for gap in gaps} <= {"meter1"}, "the others were polled on"
            while not seen.told.empty():
                await seen.next()
            assert (await seen.next())[0] == "plc1/level", "the subscription goes on"
        found = await plant.verdict(from_ns, to_ns)
        assert found.passed, found.evidence[:3]
        before = await plant.control.get("/revisions")
        assert [(r["number"], r["state"], r["running"]) for r in before] == [
            (2, "head", True),
            (1, "", False),
        ]
        status, out, _ = await plant.hotpair("rollback", "1")
        assert status == 0 and "revision 3 runs" in out
        assert (await plant.control.get("/status"))["revision"]["running"] == 3
        audits = await plant.control.get("/revisions")
        assert audits[0]["who"].endswith("back to 1")


async def test_points_come_and_go_and_clients_see_it_at_once(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        seen = Seen()
        async with Client(plant.endpoint) as client:
            subscription = await client.create_subscription(50, seen)
            for name in ("plc1/ph", "plc2/tank"):
                await subscription.subscribe_data_change(client.get_node(ua.NodeId(name, 2)))
                await seen.next()
            edit(plant, "      ph: {register: input", "      acid: {register: input")
            edit(plant, "temperature, ph, pump1", "temperature, acid, pump1")
            edit(
                plant,
                "      dose:",
                '      amount: {node: "nsu=urn:demo:plc2;s=Dose", type: float64}\n      dose:',
            )
            status, _, err = await plant.hotpair("apply", str(plant.site_file))
            assert status == 0, err
            await plant.all_good()
            gone = await seen.next()
            while gone[0] != "plc1/ph" or not gone[2]:
                gone = await seen.next()
            assert ua.StatusCode(gone[2]).name == "BadNodeIdUnknown"
            added = client.get_node(ua.NodeId("plc1/acid", 2))
            async with asyncio.timeout(10):
                while not (await added.read_data_value(False)).StatusCode.is_good():
                    await asyncio.sleep(0.05)  # paces: it is polled once a second
            seen.told = asyncio.Queue()
            assert (await seen.next())[0] == "plc2/tank", "its number is another one now"
        points = {p["point"] for p in await plant.control.get("/points")}
        assert "plc1/ph" not in points and {"plc1/acid", "plc2/amount"} <= points
        old = await plant.json("history", "plc1/ph", "--from", "1h")
        assert old, "a point that was removed keeps its history"


@pytest.mark.slow
async def test_a_changed_file_is_told_and_not_run_and_a_wrong_one_changes_nothing(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        edit(plant, "      ph: {register: input", "      acid: {register: input")
        edit(plant, "temperature, ph, pump1", "temperature, acid, pump1")
        assert (
            "differs from revision 1" in (await plant.control.get("/status"))["revision"]["differs"]
        )
        assert await plant.node.stop() == 0
        said = await first_line(plant)
        assert any("site.yaml:" in line and "hotpair apply" in line for line in said), said
        plant.node = plant.new_node()
        await plant.node.start()
        assert "plc1/ph" in {p["point"] for p in await plant.control.get("/points")}
        dry: Any = await plant.json("apply", str(plant.site_file), "--dry-run")
        assert dry["number"] == 0 and dry["changes"]
        edit(plant, "site: demo", "site: other")
        status, _, err = await plant.hotpair("apply", str(plant.site_file))
        assert status == 1 and "node a: site.yaml:2: site: the site is `demo`" in err
        edit(plant, "driver: opcua", "driver: opcuo")
        status, _, err = await plant.hotpair("apply", str(plant.site_file))
        assert status == 1 and "Did you mean `opcua`?" in err and "nothing was sent" in err
        assert len(await plant.control.get("/revisions")) == 1
        folder = tmp_path / "saved"
        status, _, err = await plant.hotpair("revisions", "--save", str(folder))
        assert status == 0, err
        assert "ph:" in (folder / "site.yaml").read_text()
        status, _, err = await plant.hotpair("rollback", "7")
        assert status == 1 and "there is no revision 7" in err


@pytest.mark.slow
async def test_a_head_that_no_longer_builds_leaves_the_last_one_and_is_told(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        node = plant.node_file.read_text()
        plant.node_file.write_text(node.replace("run/bus1}", "run/bus1, bus2: run/bus1b}"))
        edit(
            plant,
            "  meter1:\n",
            "  meter2: {driver: modbus, line: bus2, profile: eastron/sdm120}\n  meter1:\n",
        )
        edit(plant, "lines:\n", "lines:\n  bus2: {rtu: {baudrate: 19200, parity: N}}\n")
        status, out, err = await plant.hotpair("apply", str(plant.site_file))
        assert status == 0, err
        assert "devices added: 1: meter2" in out and "no such port now" in err
        assert await plant.node.stop() == 0
        plant.node_file.write_text(node)
        plant.node = plant.new_node()
        await plant.node.start()
        revision = (await plant.control.get("/status"))["revision"]
        assert (revision["number"], revision["running"]) == (2, 1)
        assert "lines.bus2: this node has no port" in revision["not_able"]
        assert "site.yaml:5" in revision["not_able"]
