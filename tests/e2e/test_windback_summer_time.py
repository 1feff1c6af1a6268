"""Windback across a change of summer time: devices on local time were away while it changed.

Nobody can wait for October, so the zones are made for the test: their time changes some seconds
after it began. Nodes and outstations find them where a machine keeps its zones.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import NS_PER_S

from .test_windback_node import judged
from .windback_methods import METHODS, Method
from .windback_rig import states, windback_node

HOUR_S = 3_600
LEAD_S = 24
"""From the making of the zones until they change: as long as a busy machine takes to start all."""
AWAY_S = 4
"""How long before and after the change the devices are away; one's clock is 2.5 s ahead."""
LOCAL = [method for method in METHODS if method.name not in ("ion", "plc")]
"""An ION recorder and OPC UA count in UTC."""
ZONES = {"autumn": "local", "spring": "Rig/Spring"}
"""In one summer time ends, and it is the zone of the machine; in the other it begins."""


def write_zone(file: Path, change_s: int, before_s: int, after_s: int) -> None:
    """A zone as in RFC 9636, version 1: so far ahead of UTC before and after a change."""
    kinds = [struct.pack(">lBB", ahead_s, ahead_s > HOUR_S, 0) for ahead_s in (before_s, after_s)]
    head = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 2, 2, 4)
    changes = struct.pack(">2l", change_s - 100 * 86_400, change_s)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(head + changes + bytes((0, 1)) + b"".join(kinds) + b"RIG\0")


def in_zone(method: Method, season: str) -> Method:
    """The device once more, with a clock on the local time of a zone."""
    assert "zone: utc" in method.device
    return replace(
        method,
        name=f"{method.name}_{season}",
        device=method.device.replace("zone: utc", f"zone: {ZONES[season]}"),
        rig="" if method.name == "cet" else method.rig,
    )


@pytest.mark.slow
async def test_the_hour_that_comes_twice_and_the_one_that_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_s = int(time.time()) + LEAD_S
    write_zone(tmp_path / "Rig" / "Autumn", change_s, 2 * HOUR_S, HOUR_S)
    write_zone(tmp_path / "Rig" / "Spring", change_s, HOUR_S, 2 * HOUR_S)
    monkeypatch.setenv("TZ", f":{tmp_path / 'Rig' / 'Autumn'}")
    monkeypatch.setenv("PYTHONTZPATH", str(tmp_path))
    methods = [in_zone(method, season) for method in LOCAL for season in ZONES]
    async with windback_node(tmp_path, methods) as plant:
        began_ns = time.time_ns()
        left_s = change_s - AWAY_S - time.time()
        assert left_s > 0, "the machine is too busy: the zones changed before all was ready"
        await asyncio.sleep(left_s)  # paces: until shortly before the change
        await plant.unplug(2 * AWAY_S)
        to_ns = await plant.all_good()
        gaps = await plant.settled(began_ns, to_ns)
        assert all(gap.from_ns < change_s * NS_PER_S < gap.to_ns for gap in gaps), gaps
        for method in methods:
            assert states(gaps, method.name) == {method.ends}, gaps
        await judged(plant, began_ns, to_ns, gaps, methods)
        told = [event["text"] for event in await plant.json("events", "--from", "1m")]
        assert not [text for text in told if "clock was set" in text], told
