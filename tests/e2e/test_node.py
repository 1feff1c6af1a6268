"""One node as a program: polled, killed, disabled, written to, judged by the plant's truth."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.model import NS_PER_S, Cause

from .plant import SmallPlant, small_plant


def of(device: str, points: Mapping[str, Any]) -> list[Any]:
    return [point for name, point in points.items() if name.startswith(f"{device}/")]


async def test_a_node_polls_serves_and_stops_at_once(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        from_ns = time.time_ns()
        await plant.gaps(from_ns, from_ns + 4 * NS_PER_S)
        found = await plant.verdict(from_ns, from_ns + 4 * NS_PER_S)
        assert found.passed, found.evidence[:3]
        assert found.declared == 0
        stopping = time.monotonic()
        assert await plant.node.stop() == 0
        assert time.monotonic() - stopping < 2.0


async def test_a_lost_outstation_goes_bad_as_one_is_declared_and_is_back_within_a_second(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        from_ns = time.time_ns()
        await plant.rig(power="off", device="plc1")
        off_ns = time.time_ns()
        gone = await plant.until(
            lambda points: all(p["status"] == "BadNoCommunication" for p in of("plc1", points)), 5
        )
        assert gone - off_ns < 2 * NS_PER_S, "two scans of the slowest polled class that matters"
        moments = {p["source_time_ns"] for p in of("plc1", await points_of(plant))}
        assert len(moments) == 1, "all points of a device go bad together"
        assert all(p["status"] == "Good" for p in of("meter1", await points_of(plant)))
        await plant.gaps(gone, gone + 3 * NS_PER_S)  # the outage lasts
        await plant.rig(power="on", device="plc1")
        on_ns = time.time_ns()
        back = await plant.until(
            lambda points: any(p["status"] == "Good" for p in of("plc1", points)), 5
        )
        assert back - on_ns <= NS_PER_S
        await plant.all_good()
        to_ns = time.time_ns()
        gaps = [gap for gap in await plant.gaps(from_ns, to_ns) if gap.device == "plc1"]
        assert {gap.scan_class for gap in gaps} == {"fast", "normal", "slow"}
        assert {gap.cause for gap in gaps} == {Cause.LINK}
        found = await plant.verdict(from_ns, to_ns)
        assert found.passed, found.evidence[:3]
        assert found.declared > 0


async def points_of(plant: SmallPlant) -> dict[str, Any]:
    return {p["point"]: p for p in await plant.control.get("/points")}


async def test_a_killed_node_comes_back_with_its_history_and_declares_its_absence(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        from_ns = time.time_ns()
        await plant.gaps(from_ns, from_ns + 2 * NS_PER_S)
        for _ in range(2):
            await plant.node.kill()
            plant.node = plant.new_node()
            await plant.node.start()
            await plant.all_good()
        to_ns = time.time_ns()
        gaps = await plant.gaps(from_ns, to_ns)
        assert {gap.device for gap in gaps} == {"plc1", "plc2", "meter1"}
        assert Cause.NODE_DOWN in {gap.cause for gap in gaps}
        found = await plant.verdict(from_ns, to_ns)
        assert found.passed, found.evidence[:3]
        assert found.collected > 0
        assert await plant.node.stop() == 0
        journal = await Journal.open(
            tmp_path / "data" / "a",
            *("a", SystemClock(), HistorySettings(), lambda *_: None, random.Random()),
        )
        try:
            assert await journal.verify() == []
            for term, held in journal.holdings.terms.items():
                found_seqs = [seq for seq, _, _ in await journal.records(term, 1)]
                assert found_seqs == list(range(1, held.last + 1))
        finally:
            await journal.close()


@pytest.mark.slow
async def test_maintenance_is_declared_survives_a_restart_and_is_never_a_fault(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        from_ns = time.time_ns()
        for command in (
            ("disable", "meter1", "--why", "calibration"),
            ("disable", "plc1/ph", "--why", "probe removed"),
            ("substitute", "plc1/level", "2.5", "--why", "sensor broken"),
        ):
            status, _, err = await plant.hotpair(*command)
            assert status == 0, err
        await plant.node.kill()
        plant.node = plant.new_node()
        await plant.node.start()

        def held(points: Mapping[str, Any]) -> bool:
            level, ph = points["plc1/level"], points["plc1/ph"]
            return (
                (level["value"], level["status"]) == (2.5, "GoodLocalOverride")
                and ph["status"] == "BadOutOfService"
                and all(p["status"] == "BadOutOfService" for p in of("meter1", points))
                and points["plc1/inflow"]["status"] == "Good"
            )

        await plant.until(held, 5)
        disabled_ns = time.time_ns()
        await plant.gaps(disabled_ns, disabled_ns + NS_PER_S)
        for command in (
            ("enable", "meter1", "--why", "done"),
            ("enable", "plc1/ph", "--why", "done"),
            ("release", "plc1/level", "--why", "new sensor"),
        ):
            status, _, err = await plant.hotpair(*command)
            assert status == 0, err
        await plant.all_good()
        gaps = await plant.gaps(from_ns, time.time_ns())
        causes = {gap.cause for gap in gaps if gap.device == "meter1"}
        assert Cause.DISABLED in causes
        assert Cause.DEVICE not in causes and Cause.LINK not in causes
        status, _, err = await plant.hotpair("disable", "nobody", "--why", "x")
        assert status == 3
        assert "nobody" in err


async def test_a_write_is_read_back_checked_and_audited(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        status, out, _ = await plant.hotpair("write", "plc1/setpoint", "3.5")
        assert (status, "Good, read back 3.5" in out) == (0, True), out
        seen = {p["point"]: p for p in await plant.control.get("/points")}
        assert seen["plc1/setpoint"]["value"] == 3.5, "whoever reads after the write sees it"
        for value in (1.25, 2.25, 3.25, 4.25):
            answer = await plant.control.write("plc1/setpoint", value)
            assert answer["status"] == "Good", answer
            seen = {p["point"]: p for p in await plant.control.get("/points")}
            assert seen["plc1/setpoint"]["value"] == value
        status, out, _ = await plant.hotpair("write", "plc1/setpoint", "9")
        assert (status, "BadOutOfRange" in out) == (1, True), out
        status, out, _ = await plant.hotpair("write", "plc1/level", "1")
        assert (status, "BadNotWritable" in out) == (1, True), out
        status, out, _ = await plant.hotpair("write", "plc2/running", "true")
        assert (status, "Good, read back True" in out) == (0, True), out
        await plant.rig(power="off", device="plc1")
        await plant.until(lambda p: p["plc1/setpoint"]["status"] == "BadNoCommunication", 5)
        status, out, _ = await plant.hotpair("write", "plc1/setpoint", "3")
        assert (status, "BadNoCommunication" in out) == (1, True), out


async def test_commissioning_works_through_the_running_node(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        values = await plant.json("raw", "plc1", "holding", "0", "4")
        assert len(values) == 4 and all(0 <= value <= 0xFFFF for value in values)
        status, out, _ = await plant.hotpair("trace", "plc1", "--seconds", "1.5")
        assert status == 0
        assert "->" in out and "<-" in out
        status, _, err = await plant.hotpair("raw", "plc1", "holding", "60000", "4")
        assert status == 1 and err.count("\n") == 1, err
        seen = await plant.json("status")
        assert seen["devices"]["plc1"]["state"] == "up"
        history = await plant.json("history", "plc1/level", "--from", "1m")
        # What the device's own log has of the time before the first poll may stand before it.
        assert history[-1]["origin"] == "poll"
        events = await plant.json("events", "--from", "1h")
        # A busy machine may keep a scan waiting, and says so; what a log has of the start is read.
        known = ("keep its period", "windback: ")
        assert [e["text"] for e in events if not any(k in e["text"] for k in known)] == []


async def test_two_nodes_never_work_on_the_same_data(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", "run", str(plant.node_file)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 1
        assert b"another node already runs" in err


async def settled_history(plant: SmallPlant, point: str) -> list[dict[str, Any]]:
    """All of a point's history, once the device's log was asked of every gap."""
    device, _, _ = point.partition("/")
    async with asyncio.timeout(20):
        while any(gap["state"] == "open" for gap in await plant.json("gaps", device)):
            await asyncio.sleep(0.1)  # paces: the command has no event for this
    found: list[dict[str, Any]] = await plant.json("history", point, "--from", "1h")
    return found


@pytest.mark.slow
async def test_a_renamed_point_goes_on_with_its_history_and_numbers_may_shift(
    tmp_path: Path,
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        before = await settled_history(plant, "plc1/level")
        text = plant.site_file.read_text()
        text = text.replace("      level: {", "      basin: {renamed_from: level, ")
        text = text.replace("columns: [level,", "columns: [basin,")
        text = text.replace(
            "      energy: {", "      added: {register: holding, address: 6}\n      energy: {"
        )
        plant.site_file.write_text(text)
        status, _, err = await plant.hotpair("apply", str(plant.site_file))
        assert status == 0, err
        await plant.all_good()
        after = await settled_history(plant, "plc1/basin")
        assert after[: len(before)] == before
        assert len(after) > len(before)
        assert await plant.node.stop() == 0
        plant.node = plant.new_node()
        await plant.node.start()
        await plant.all_good()
        again = await settled_history(plant, "plc1/basin")
        assert again[: len(after)] == after, "the revision runs on after a restart"
        inflow = await plant.json("history", "plc1/inflow", "--from", "1h")
        assert {row["position"].split("/")[0] for row in inflow} >= {
            row["position"].split("/")[0] for row in again if row["origin"] != "gap"
        }
