"""A read of a log that waits for its turn when its line is replaced, or its reign ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from field_world import Node, Plant, SimLine, device, pass_s, simulate, site

from gateway.acquisition.field import Begin
from gateway.driver import LineSpec, LogPage, LogSpec, LogWanted, Turn
from gateway.errors import LinkError
from gateway.model import NS_PER_MS, NS_PER_S

S = NS_PER_S
LOG = LogSpec("ring", "ring", ("level",), resolution_ns=S)
PLC = device("plc1", "l1", {"fast": S}, [("level", "fast")])
MORE = device("plc1", "l1", {"fast": S}, [("level", "fast"), ("pressure", "fast")])


class LogLine(SimLine):
    """A line whose log comes in pages of ten seconds, each a request at its turn."""

    def logs(self, device: str) -> Sequence[LogSpec]:
        return (LOG,)

    async def read_log(
        self, device: str, wanted: LogWanted, turn: Turn
    ) -> AsyncGenerator[LogPage, None]:
        start_ns = wanted.from_ns
        while start_ns < wanted.to_ns:
            await turn(5 * NS_PER_MS)
            await pass_s(0.005)
            end_ns = min(wanted.to_ns, start_ns + 10 * S)
            yield LogPage(start_ns, end_ns, [])
            start_ns = end_ns


class LogNode(Node):
    def _open_line(self, spec: LineSpec) -> SimLine:
        self.lines.append(LogLine(spec, self))
        return self.lines[-1]


async def polling() -> tuple[LogNode, asyncio.Task[int]]:
    """A node that polls, and somebody who reads an hour of its log."""
    node = LogNode("a", Plant())
    node.begin_term(1)
    node.prepare(site(PLC))
    node.field.open(Begin())
    await pass_s(3.1)

    async def read() -> int:
        found = 0
        to_ns = node.clock.utc_ns()
        wanted = LogWanted("ring", to_ns - 3600 * S, to_ns)
        async with aclosing(node.field.read_log("plc1", wanted, 0.2)) as pages:
            async for _ in pages:
                found += 1
        return found

    reading = asyncio.create_task(read())
    await pass_s(0.5)
    assert not reading.done()
    return node, reading


def test_a_line_that_is_replaced_gives_no_turn_and_its_successor_polls_at_once() -> None:
    async def run() -> None:
        node, reading = await polling()
        asked = len(node.plant.log)
        node.prepare(site(MORE), 2)
        swapped_ns = node.plant.now_ns()
        with pytest.raises(LinkError, match="closed"):
            await asyncio.wait_for(reading, 5)
        await pass_s(3)
        assert node.plant.log[asked].at_ns - swapped_ns < 2 * S
        await node.field.close()

    simulate(run())


def test_a_reign_that_ends_leaves_nobody_waiting_for_a_turn() -> None:
    async def run() -> None:
        node, reading = await polling()
        await node.field.drain(1)
        node.field.halt()
        await node.field.close()
        with pytest.raises(LinkError, match="closed"):
            await asyncio.wait_for(reading, 5)

    simulate(run())
