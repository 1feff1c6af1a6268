"""Devices that keep logs behind one node or a pair; what was wound back is judged."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.model import Gap, GapState, HistoryRow, Origin, Value, format_time
from hil.gateway import Control, Program, Reader
from hil.judges import Judged, Verdict, judge
from hil.judges_windback import LogHeld, Missed, Unfilled, missed, parse_held
from hil.outstation.control import send
from hil.outstation.polls import Poll, read_polls
from hil.runs import Happening, judged
from hil.site import load_site
from hil.truth import Step

from .plant import PairNode, SmallPair, free_ports
from .windback_methods import METHODS, Method, device_lines, rig_lines

Served = tuple[int, Value, int]
"""A row of HistoryRead: source time in ns, value, status."""
FILLED = (GapState.FILLED, GapState.COARSE)
SITE = """\
site: wound
pair: {{startup_wait: 1s, field_lost_after: 2s}}
scan_classes: {{fast: 200ms, normal: 1s}}
devices:
{devices}"""
NODE = """\
node: a
data_dir: data
site: site.yaml
opcua: {{listen: "127.0.0.1:{port}", advertise: [127.0.0.1], insecure: true}}
"""


class Field:
    """Outstations with logs: what they are told, what they held, who asked them."""

    folder: Path
    methods: Sequence[Method]
    site_file: Path
    polls_file: Path
    ports_of: Mapping[str, int]

    def write_site(self, ports: Sequence[int], rig: str) -> None:
        """site.yaml and rig.yaml; `rig` are more lines of the latter."""
        self.ports_of = {m.name: port for m, port in zip(self.methods, ports, strict=True)}
        devices = "".join(
            device_lines(method, port) for method, port in zip(self.methods, ports, strict=True)
        )
        self.site_file.write_text(SITE.format(devices=devices))
        (self.folder / "rig.yaml").write_text(rig_lines(self.methods) + rig)

    async def rig(self, **message: Any) -> dict[str, Any]:
        """Tell the outstations something."""
        answer = await send(self.folder / "rig.sock", message)
        assert answer["ok"], answer
        return answer

    async def unplug(self, seconds: float) -> tuple[int, int]:
        """Take the devices off the network for a while; they record on. From when to when."""
        from_ns = time.time_ns()
        for method in self.methods:
            await self.rig(fault="refuse", device=method.name)
        await asyncio.sleep(seconds)  # paces: the outage lasts
        for method in self.methods:
            await self.rig(clear=method.name)
        return from_ns, time.time_ns()

    async def held(self, device: str, from_ns: int, to_ns: int, at_ns: int = 0) -> list[LogHeld]:
        """What the logs of a Modbus device held of a stretch."""
        asked = {"recorded": device, "from": from_ns, "to": to_ns}
        return parse_held(await self.rig(**asked, at=at_ns or time.time_ns()))

    async def log_reads(self, method: Method, from_ns: int = 0) -> list[Poll]:
        """The requests that the log of a Modbus device was sent."""
        await asyncio.sleep(1.1)  # paces: the rig writes them down each second
        return [
            poll
            for poll in read_polls(self.polls_file)
            if poll.device == method.name and poll.received_ns >= from_ns and of_log(method, poll)
        ]

    async def readers(self, at_ns: int) -> dict[str, tuple[set[str], set[str]]]:
        """Who asked the log of each device before a moment, and who after it."""
        await asyncio.sleep(1.1)  # paces: the rig writes them down each second
        named = {method.name: method for method in self.methods}
        found: dict[str, tuple[set[str], set[str]]] = {name: (set(), set()) for name in named}
        for poll in read_polls(self.polls_file):
            if of_log(named[poll.device], poll):
                found[poll.device][poll.received_ns > at_ns].add(poll.peer)
        return found

    async def truth(self, to_ns: int) -> list[Judged]:
        """Every point, and what it held."""
        told = await self.rig(journal=True)
        return judged(load_site(self.site_file), [Happening(*h) for h in told["journal"]], to_ns)

    async def first_page(self, control: Control, from_ns: int) -> int:
        """Wait until a part of what is read is filled; the moment in ns."""
        async with asyncio.timeout(20):
            while GapState.FILLED not in {
                gap.state for gap in await control.gaps(from_ns, time.time_ns())
            }:
                await asyncio.sleep(0.02)  # paces: the socket has no event for this
        return time.time_ns()

    async def missed(self, gaps: Sequence[Gap]) -> list[Missed]:
        """What the logs of Modbus devices hold still of gaps that stayed empty."""
        now_ns = time.time_ns()
        logging = {method.name for method in self.methods if method.driver == "modbus"}
        empty: list[Unfilled] = []
        held: dict[tuple[str, int, int], list[LogHeld]] = {}
        for gap in gaps:
            if gap.device not in logging or gap.state in FILLED:
                continue
            stretch = (gap.device, gap.from_ns, gap.to_ns)
            held[stretch] = await self.held(*stretch, now_ns)
            logged = frozenset[str]().union(*(log.points for log in held[stretch]))
            points = frozenset(gap.points) or logged
            empty.append(Unfilled(gap.device, points, gap.from_ns, gap.to_ns, None))
        return missed(empty, lambda *asked: held[asked[:3]], now_ns)


class WindbackNode(Field):
    """One node with a device for each method."""

    def __init__(self, folder: Path, methods: Sequence[Method], rig: str) -> None:
        self.folder, self.methods = folder, methods
        *ports, port = free_ports(len(methods) + 1)
        self.site_file = folder / "site.yaml"
        self.polls_file = folder / "polls.jsonl"
        self.node_file = folder / "node.yaml"
        self.write_site(ports, rig)
        self.node_file.write_text(NODE.format(port=port))
        self.outstations = Program(
            "outstations",
            [
                *("outstation", "--site", str(self.site_file)),
                *("--control", str(folder / "rig.sock"), "--log", str(self.polls_file)),
            ],
            folder / "outstations.log",
            "ready",
        )
        self.endpoint = f"opc.tcp://127.0.0.1:{port}"
        self.control = Control(folder / "data")
        self.node = self.new_node()
        self.born_ns = time.time_ns()

    def new_node(self) -> Program:
        return Program("node", ["run", str(self.node_file)], self.folder / "node.log", "is Main")

    async def restart(self) -> None:
        """Kill the node, and start it anew."""
        await self.node.kill()
        await self.control.close()
        self.control = Control(self.folder / "data")
        self.node = self.new_node()
        await self.node.start()

    async def hotpair(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command against the node, as a user does: status, stdout, stderr."""
        return await hotpair(self.node_file, *arguments)

    async def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        status, out, err = await self.hotpair(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    async def all_good(self, within_s: float = 15.0) -> int:
        """Wait until every point is Good; the moment in ns."""
        return await until_points(
            self.control, lambda points: all(p["status"] == "Good" for p in points), within_s
        )

    async def settled(self, from_ns: int, to_ns: int, within_s: float = 30.0) -> list[Gap]:
        """The gaps of a stretch, once none of them is open any more."""
        return await settled(self.control, from_ns, to_ns, within_s)

    async def served(self, from_ns: int, to_ns: int) -> dict[str, list[Served]]:
        """What an OPC UA client reads of each point: (time, value, status)."""
        async with Reader(self.endpoint, "urn:hotpair:wound") as reader:
            return {
                point.id: await reader.history(point.id, from_ns, to_ns)
                for point in await self.truth(to_ns)
            }

    async def verdict(self, from_ns: int, to_ns: int, gaps: Sequence[Gap]) -> Verdict:
        """What the judge says of a stretch, read as an OPC UA client reads it."""
        rows = await self.served(self.born_ns, to_ns)
        return judge(await self.truth(to_ns), rows, gaps, from_ns, to_ns)


async def hotpair(node_file: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command against a node: status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments, "--node", str(node_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def until_points(
    control: Control, holds: Callable[[list[Mapping[str, Any]]], bool], within_s: float
) -> int:
    """Wait until the points of a node are as wanted; the moment in ns."""
    points: list[Mapping[str, Any]] = []
    try:
        async with asyncio.timeout(within_s):
            while not holds(points := await control.get("/points")):
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
    except TimeoutError:
        shown = {p["point"]: (p["value"], p["status"]) for p in points}
        raise AssertionError(f"after {within_s} s: {shown}") from None
    return time.time_ns()


async def settled(control: Control, from_ns: int, to_ns: int, within_s: float) -> list[Gap]:
    """The gaps of a stretch, once a node has spoken about all of it and none is open."""
    gaps: list[Gap] = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                status = await control.get("/status")
                if (status["complete_through"] or "") >= format_time(to_ns):
                    gaps = await control.gaps(from_ns, to_ns)
                    if all(gap.state is not GapState.OPEN for gap in gaps):
                        return gaps
                await asyncio.sleep(0.1)  # paces: the socket has no event for this
    except TimeoutError:
        shown = "\n".join(map(str, gaps))
        windback = await control.get("/windback")
        raise AssertionError(f"after {within_s} s:\n{shown}\n{windback}") from None


def of_log(method: Method, poll: Poll) -> bool:
    """Whether a Modbus device's log was asked, not its live values."""
    return poll.area == "file" or poll.address >= method.log_at


def states(gaps: Sequence[Gap], device: str) -> set[GapState]:
    """What a device's gaps have become."""
    return {gap.state for gap in gaps if gap.device == device}


def wound(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The rows that a device's log gave."""
    return [row for row in rows if row.origin is Origin.WINDBACK]


def wrong(
    rows: Sequence[HistoryRow], steps: Callable[[int, int], Sequence[Step]], slack_ns: int
) -> list[HistoryRow]:
    """Rows whose value the device held at no moment that their stamp may mean."""
    return [
        row
        for row in rows
        if not any(
            isinstance(row.value, int | float)
            and isinstance(step.value, int | float)
            and abs(row.value - step.value) <= 1e-6 * max(1.0, abs(step.value))
            for step in steps(row.time_ns - slack_ns, row.time_ns + slack_ns)
        )
    ]


@asynccontextmanager
async def windback_node(
    folder: Path, methods: Sequence[Method] = METHODS, rig: str = ""
) -> AsyncIterator[WindbackNode]:
    """Everything started and polled; it all ends whatever happens."""
    plant = WindbackNode(folder, methods, rig)
    try:
        await plant.outstations.start()
        await plant.node.start()
        await plant.all_good()
        yield plant
    finally:
        await plant.control.close()
        await plant.node.stop()
        await plant.outstations.stop()


class WindbackPair(Field, SmallPair):
    """A pair with a device for each method; the nodes are started by the test."""

    def __init__(self, folder: Path, methods: Sequence[Method], rig: str, pair: str) -> None:
        self.methods = methods
        SmallPair.__init__(self, folder, pair)
        self.write_site(free_ports(len(methods)), rig)

    async def all_good(self, node: PairNode, within_s: float = 20.0) -> int:
        """Wait until every point of a node is Good; the moment in ns."""
        return await until_points(
            node.control, lambda points: all(p["status"] == "Good" for p in points), within_s
        )

    async def settled(
        self, node: PairNode, from_ns: int, to_ns: int, within_s: float = 40.0
    ) -> list[Gap]:
        """The gaps of a stretch by one node, once none of them is open any more."""
        return await settled(node.control, from_ns, to_ns, within_s)

    async def both(self, from_ns: int, to_ns: int) -> dict[str, list[HistoryRow]]:
        """The history of every point, which is the same on both nodes, and so are the gaps."""
        names = [point.id for point in await self.truth(to_ns)]
        found = [
            {name: await node.control.history(name, from_ns, to_ns) for name in names}
            for node in (self.a, self.b)
        ]
        gaps = [await node.control.gaps(from_ns, to_ns) for node in (self.a, self.b)]
        assert gaps[0] == gaps[1]
        assert found[0] == found[1]
        return found[0]

    async def verdict(self, from_ns: int, to_ns: int, gaps: Sequence[Gap]) -> Verdict:
        """What the judge says of a stretch, by the history of both nodes."""
        rows = await self.both(self.born_ns, to_ns)
        return judge(await self.truth(to_ns), rows, gaps, from_ns, to_ns)


@asynccontextmanager
async def windback_pair(
    folder: Path, methods: Sequence[Method] = METHODS, rig: str = "", pair: str = ""
) -> AsyncIterator[WindbackPair]:
    """A pair with outstations that run; the nodes are started by the test."""
    plant = WindbackPair(folder, methods, rig, pair)
    try:
        await plant.make_certificates()
        await plant.outstations.start()
        yield plant
    finally:
        await plant.stop()
