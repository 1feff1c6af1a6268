"""A small plant for end-to-end tests: the demo's site, its outstations, its node as processes."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.model import NS_PER_S, Gap, Value, format_time
from hil.gateway import Control, Program, Reader
from hil.judges import Verdict, judge
from hil.outstation.control import send
from hil.outstation.polls import read_polls
from hil.runs import Happening, judged
from hil.site import load_site, localise

DEMO = Path(__file__).parents[2] / "hil" / "sites" / "demo"


OFFSETS = range(10_000, 27_800, 13)
"""No two of them share a port of the demo, and all ports are below those that the kernel gives."""
_claimed: list[socket.socket] = []


def free_offset() -> int:
    """A distance by which the demo's ports can be moved to free ones.

    It is claimed by a name until this process ends: others that look now take other ones.
    """
    for offset in random.sample(OFFSETS, 100):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0hotpair-ports-{offset}")
            for port in (*range(4840, 4848), 4940, 4941):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except OSError:
            claim.close()
            continue
        _claimed.append(claim)
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
            while ((await self.control.get("/status"))["complete_through"] or "") < format_time(
                to_ns
            ):
                await asyncio.sleep(0.1)  # paces: claims are made each quarter
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


PAIR_SITE = """\
site: pairtest
pair: {{startup_wait: 1s, field_lost_after: 2s{pair}}}
scan_classes: {{fast: 200ms, normal: 1s}}
devices:
{devices}"""
PAIR_DEVICE = """\
  {name}:
    driver: modbus
    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}
    timeout: 500ms
    scan: {scan}
    points:
      level: {{register: holding, address: 0, type: float32}}
      flow: {{register: holding, address: 2, type: uint16}}
      setpoint: {{register: holding, address: 30, type: float32, access: rw, scan: normal}}
"""
PAIR_NODE = """\
node: {id}
data_dir: data
site: ../site.yaml
bind: {bind}
opcua: {{listen: "{host}:{port}", advertise: [{advertise}], insecure: true}}
pair: {{priority: {priority}}}
link:
  listen: [{listen}]
  peer: [{peer}]
{tls}"""
PAIR_TLS = "  tls: {{cert: ../{id}.crt, key: ../{id}.key, peer_cert: ../{peer}.crt}}\n"
BINDS = {"a": "127.0.0.11", "b": "127.0.0.12"}
"""Where each node's field connections come from: the outstations' log tells the nodes apart."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, on every address of loopback."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class PairNode:
    """One node of a pair: its files, its program, its interface."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.file = folder / name / "node.yaml"
        self.data = folder / name / "data"
        self.log = folder / f"{name}.log"
        self.control = Control(self.data)
        self.program = self.new_program()

    def new_program(self) -> Program:
        return Program(self.name, ["run", str(self.file)], self.log, "is starting")

    async def start(self) -> None:
        """Start the program, anew if it ran before."""
        await self.control.close()
        self.program = self.new_program()
        self.control = Control(self.data)
        await self.program.start()

    async def status(self) -> dict[str, Any]:
        """What `hotpair status` shows; {} while the node does not answer."""
        try:
            found: dict[str, Any] = await self.control.get("/status")
        except httpx.HTTPError:
            return {}
        return found

    async def hotpair(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command against this node, as a user does: status, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", *arguments, "--node", str(self.file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def role(self) -> str:
        """starting, syncing, synced, main, or nothing."""
        return str((await self.status()).get("role", ""))


class SmallPair:
    """Two nodes with mutual TLS over two paths, and three outstations that log every poll."""

    def __init__(self, folder: Path, pair: str = "", priorities: tuple[int, int] = (0, 0)) -> None:
        self.folder = folder
        self.ports = free_ports(9)
        self.polls_file = folder / "polls.jsonl"
        self.rig_socket = folder / "rig.sock"
        self.site_file = folder / "site.yaml"
        scans = {"plc1": "fast", "plc2": "fast", "plc3": "normal"}
        devices = "".join(
            PAIR_DEVICE.format(name=name, port=port, scan=scan)
            for (name, scan), port in zip(scans.items(), self.ports, strict=False)
        )
        self.site_file.write_text(PAIR_SITE.format(devices=devices, pair=pair))
        (folder / "rig.yaml").write_text("seed: 5\nchange: 0.5\n")
        for index, (name, peer) in enumerate((("a", "b"), ("b", "a"))):
            self.write_node(name, peer, priorities[index])
        self.outstations = Program(
            "outstations",
            [
                *("outstation", "--site", str(self.site_file)),
                *("--control", str(self.rig_socket), "--log", str(self.polls_file)),
            ],
            folder / "outstations.log",
            "ready",
        )
        self.a, self.b = PairNode(folder, "a"), PairNode(folder, "b")
        self.nodes = {"a": self.a, "b": self.b}
        self.born_ns = time.time_ns()

    def addresses(self, name: str) -> list[str]:
        """Where a node listens for its peer: one address a path."""
        last = 1 if name == "a" else 2
        first = 5 if name == "a" else 7
        return [f'"127.0.{path}.{last}:{self.ports[first + path]}"' for path in (0, 1)]

    def write_node(self, name: str, to: str, priority: int = 0, **other: str) -> None:
        """node.yaml of a node; `other` replaces parts of it."""
        parts = {
            "id": name,
            "bind": BINDS[name],
            "host": "127.0.0.1",
            "advertise": "127.0.0.1",
            "port": str(self.ports[3 if name == "a" else 4]),
            "priority": str(priority),
            "listen": ", ".join(self.addresses(name)),
            "peer": ", ".join(self.addresses(to)),
            "tls": PAIR_TLS.format(id=name, peer=to),
        } | other
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "node.yaml").write_text(PAIR_NODE.format(**parts))

    async def make_certificates(self) -> None:
        """As a user does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", "cert", "a", "b", "--out", str(self.folder)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0

    def other(self, node: PairNode) -> PairNode:
        return self.b if node is self.a else self.a

    async def until(
        self, holds: Callable[[dict[str, dict[str, Any]]], bool], within_s: float
    ) -> int:
        """Wait until both nodes' status is as wanted; the moment in ns."""
        seen: dict[str, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    seen = {name: await node.status() for name, node in self.nodes.items()}
                    if holds(seen):
                        return time.time_ns()
                    await asyncio.sleep(0.05)  # paces: the socket has no event for this
        except TimeoutError:
            shown = {
                name: {key: s.get(key) for key in ("role", "why", "replication")}
                for name, s in seen.items()
            }
            words = "\n".join(node.program.last_words()[-3_000:] for node in self.nodes.values())
            raise AssertionError(f"after {within_s} s: {shown}\n{words}") from None

    async def until_roles(self, within_s: float = 40.0, **roles: str) -> int:
        """Wait until each named node has its role (`main`, `synced`, ...); the moment in ns."""
        return await self.until(
            lambda seen: all(seen[name].get("role") == role for name, role in roles.items()),
            within_s,
        )

    async def until_paired(self, within_s: float = 40.0) -> tuple[PairNode, PairNode]:
        """Wait until one is Main and the other synced: (Main, Standby)."""
        wanted = {"main", "synced"}
        await self.until(lambda s: {s["a"].get("role"), s["b"].get("role")} == wanted, within_s)
        main = self.a if await self.a.role() == "main" else self.b
        return main, self.other(main)

    async def until_equal(self, within_s: float = 15.0) -> None:
        """Wait until both nodes have proven after now that their journals are equal."""
        from_ns = time.time_ns()

        def equal(seen: dict[str, dict[str, Any]]) -> bool:
            pulls = [s["replication"]["receiving"] for s in seen.values() if s]
            proven = [p["equal"] and p["equal_at_ns"] > from_ns for p in pulls]
            return len(proven) == 2 and all(proven)

        await self.until(equal, within_s)

    async def rig(self, **message: Any) -> dict[str, Any]:
        """Tell the outstations something."""
        answer = await send(self.rig_socket, message)
        assert answer["ok"], answer
        return answer

    def polls(self, device: str, from_ns: int = 0) -> list[tuple[int, str]]:
        """(when, which node) of each scan of the fast block that the outstation saw."""
        names = {address: name for name, address in BINDS.items()}
        return [
            (poll.received_ns, names[poll.peer.rpartition(":")[0]])
            for poll in read_polls(self.polls_file)
            if poll.device == device and poll.address == 0 and poll.received_ns >= from_ns
        ]

    async def gaps(self, node: PairNode, from_ns: int, to_ns: int) -> list[Gap]:
        """The declared gaps, once the node has spoken about all of the stretch."""
        async with asyncio.timeout(20):
            while ((await node.status()).get("complete_through") or "") < format_time(to_ns):
                await asyncio.sleep(0.1)  # paces: claims are made each quarter
        return await node.control.gaps(from_ns, to_ns)

    async def stop(self) -> None:
        """End everything."""
        for node in self.nodes.values():
            await node.control.close()
            if node.program.running:
                await node.program.stop()
        await self.outstations.stop()


@asynccontextmanager
async def small_pair(
    folder: Path, pair: str = "", priorities: tuple[int, int] = (0, 0)
) -> AsyncIterator[SmallPair]:
    """A pair with outstations that run; the nodes are started by the test."""
    plant = SmallPair(folder, pair, priorities)
    try:
        await plant.make_certificates()
        await plant.outstations.start()
        yield plant
    finally:
        await plant.stop()


def seconds(ns: int) -> float:
    """For messages."""
    return ns / NS_PER_S
