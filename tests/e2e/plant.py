"""A small plant for end-to-end tests: the demo's site, its outstations, its node as processes."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.model import NS_PER_S, Gap, Value, format_time
from hil.gateway import Control, Program, Reader
from hil.judges import Verdict, judge
from hil.outstation.control import send
from hil.runs import Happening, judged
from hil.site import load_site, localise

DEMO = Path(__file__).parents[2] / "hil" / "sites" / "demo"


def free_offset() -> int:
    """A distance by which the demo's ports (4840, 4940, 4941) can be moved to free ones."""
    for offset in random.sample(range(10_000, 40_000, 173), 100):
        try:
            for port in (4840, 4940, 4941):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return offset
    raise RuntimeError("no free ports")


@dataclass
class SmallPlant:
    """The demo site in a folder of its own, with every door opened."""

    folder: Path
    offset: int

    def __post_init__(self) -> None:
        for name in ("site.yaml", "node.yaml", "rig.yaml"):
            text = localise((DEMO / name).read_text(), self.offset)
            (self.folder / name).write_text(text)
        self.site_file = self.folder / "site.yaml"
        self.node_file = self.folder / "node.yaml"
        self.rig_socket = self.folder / "rig.sock"
        self.outstations = Program(
            "outstations",
            [
                *("outstation", "--site", str(self.site_file), "--node", str(self.node_file)),
                *("--control", str(self.rig_socket)),
            ],
            self.folder / "outstations.log",
            "ready",
        )
        self.node = self.new_node()
        self.control = Control(self.folder / "data" / "a")
        self.endpoint = f"opc.tcp://127.0.0.1:{4840 + self.offset}"
        self.born_ns = time.time_ns()

    def new_node(self) -> Program:
        arguments = ["run", str(self.node_file)]
        return Program("node", arguments, self.folder / "node.log", "is Main")

    async def rig(self, **message: Any) -> dict[str, Any]:
        """Tell the outstations something."""
        answer = await send(self.rig_socket, message)
        assert answer["ok"], answer
        return answer

    async def hotpair(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command against the node, as a user does: status, stdout, stderr."""
        import sys

        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", *arguments, "--node", str(self.node_file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        status, out, err = await self.hotpair(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    async def until(self, holds: Callable[[Mapping[str, Any]], bool], within_s: float) -> int:
        """Wait until the points (by id) are as wanted; the moment in ns."""
        async with asyncio.timeout(within_s):
            while True:
                points = {p["point"]: p for p in await self.control.get("/points")}
                if holds(points):
                    return time.time_ns()
                await asyncio.sleep(0.02)  # paces: the socket has no event for this yet

    async def all_good(self, within_s: float = 10.0) -> int:
        """Wait until every point is Good."""
        return await self.until(
            lambda points: all(p["status"] == "Good" for p in points.values()), within_s
        )

    async def gaps(self, from_ns: int, to_ns: int) -> list[Gap]:
        """The declared gaps, once the node has spoken about all of the stretch."""
        async with asyncio.timeout(20):
            while (await self.control.get("/status"))["complete_through"] < format_time(to_ns):
                await asyncio.sleep(0.1)  # paces: a claim is made each second
        return await self.control.gaps(from_ns, to_ns)

    async def verdict(self, from_ns: int, to_ns: int) -> Verdict:
        """What the judge says of a stretch, read as an OPC UA client reads it."""
        told = await self.rig(journal=True)
        journal = [Happening(*item) for item in told["journal"]]
        points = judged(load_site(self.site_file), journal, to_ns)
        gaps = await self.gaps(from_ns, to_ns)
        rows: dict[str, list[tuple[int, Value, int]]] = {}
        async with Reader(self.endpoint, "urn:hotpair:demo") as reader:
            for point in points:
                rows[point.id] = await reader.history(point.id, self.born_ns, to_ns)
        return judge(points, rows, gaps, from_ns, to_ns)


@asynccontextmanager
async def small_plant(folder: Path) -> AsyncIterator[SmallPlant]:
    """Start everything, and end everything whatever happens."""
    plant = SmallPlant(folder, free_offset())
    try:
        await plant.outstations.start()
        await plant.node.start()
        yield plant
    finally:
        await plant.control.close()
        await plant.node.stop()
        await plant.outstations.stop()


def seconds(ns: int) -> float:
    """For messages."""
    return ns / NS_PER_S
