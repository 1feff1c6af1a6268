"""The wall clock of a node is set while it runs: forward, then back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.journal.coverage import union
from gateway.model import NS_PER_S, Cause, HistoryRow, Origin
from hil.gateway import Program
from hil.tamper import LIBRARY, Tamper, build, hindrance

from .plant import SmallPlant, free_offset

AHEAD_S = 3600
POINT = "plc1/level"


class SteppedPlant(SmallPlant):
    """A small plant whose node has a wall clock of its own."""

    def new_node(self) -> Program:
        self.tamper = Tamper(self.folder / LIBRARY, self.folder / "orders")
        arguments = ["run", str(self.node_file)]
        log, before = self.folder / "node.log", self.tamper.before
        return Program("node", arguments, log, "is Main", before=before)

    async def set_clock(self, ahead_s: float) -> None:
        """Set the clock, and wait until the node has noticed and polls again."""
        alarms = len(await self.steps())
        self.tamper.clock(ahead_s)
        async with asyncio.timeout(5):
            while len(await self.steps()) == alarms:
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
        at_ns = time.time_ns() + int(ahead_s * NS_PER_S)
        await self.until(lambda p: p[POINT]["server_time_ns"] > at_ns - NS_PER_S, 5)
        await self.all_good()

    async def steps(self) -> list[str]:
        events = await self.control.get("/events", **{"from": 0, "to": 2**62})
        return [e["text"] for e in events if "clock of this machine" in e["text"]]


@pytest.mark.skipif(bool(hindrance()), reason=hindrance())
async def test_a_set_clock_ends_coverage_begins_a_term_and_turns_no_stream_back(
    tmp_path: Path,
) -> None:
    await build(tmp_path)
    plant = SteppedPlant(tmp_path, free_offset())
    try:
        await plant.outstations.start()
        await plant.node.start()
        await plant.all_good()
        await asyncio.sleep(1.2)  # paces: a claim is made each second
        await plant.set_clock(AHEAD_S)
        ahead_ns = time.time_ns() + AHEAD_S * NS_PER_S
        gaps = await plant.gaps(plant.born_ns, ahead_ns)
        await plant.set_clock(0)
        back_ns = time.time_ns()
        later = await plant.gaps(plant.born_ns, back_ns)
        rows = await plant.control.history(POINT, 0, 2**62)
    finally:
        await plant.control.close()
        await plant.node.stop()
        await plant.outstations.stop()

    jumped = [g for g in gaps if g.device == "plc1" and g.cause is Cause.CLOCK]
    # In parts: of some of it the device's log may know.
    stretches = union((g.from_ns, g.to_ns) for g in jumped if g.scan_class == "fast")
    assert any(end - start > (AHEAD_S - 3) * NS_PER_S for start, end in stretches), gaps
    since = [g for g in gaps if g.from_ns > plant.born_ns]
    expected = {Cause.CLOCK, Cause.STARTING, Cause.OVERRUN}  # a busy machine may scan late
    assert [g for g in since if g.cause not in expected] == []
    rows = [row for row in rows if row.origin is not Origin.GAP]
    assert len({row.position.term for row in rows}) == 3
    assert not _turned_back(rows)
    # Forward and back again: what the first term covered is still covered.
    assert all(g.to_ns - g.from_ns < 6 * NS_PER_S for g in later if g.from_ns > plant.born_ns)


def _turned_back(rows: list[HistoryRow]) -> list[HistoryRow]:
    """Rows that are stamped before an earlier row of their own term."""
    last: dict[object, int] = {}
    wrong = []
    for row in sorted(rows, key=lambda row: (row.position.term.number, row.position.seq)):
        if row.time_ns < last.get(row.position.term, 0):
            wrong.append(row)
        last[row.position.term] = row.time_ns
    return wrong
