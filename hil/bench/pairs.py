"""The two pairs of the failover bench, each with its plant: ours, and the naive one.

A pair starts, tells who is main, and is brought back to a main and a ready standby after a fault.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from hil.bench.places import ENDPOINT, NODES, PATHS, Places, other
from hil.bench.process import BenchError, Spawned, free_ports, hotpair, python
from hil.gateway import Control
from hil.plant import Plant
from hil.site import load_site

READY_S: Final = 60.0
FAST_MS: Final = 200
NORMAL_MS: Final = 1_000
SLOW_EACH: Final = 5
"""Every so many devices one is scanned each second, whatever the others are."""
WATCHED_MAX: Final = 10
WITNESS_ADDRESS: Final = 1_000
_EACH_S: Final = 0.02


def is_slow(device: int) -> bool:
    """Whether a device is scanned each second only."""
    return device % SLOW_EACH == SLOW_EACH - 1


class Field:
    """The outstations of the bench: emulated ones that log each poll and know their truth."""

    def __init__(
        self,
        folder: Path,
        places: Places,
        devices: int,
        registers: int,
        scan_ms: int = FAST_MS,
        witness: bool = False,
    ) -> None:
        """Most devices are scanned each `scan_ms`, some once a second."""
        folder.mkdir(exist_ok=True)
        self.places = places
        self.scan_ms = scan_ms
        self.registers = registers
        self.host = places.field["p"]
        self.ports = free_ports(devices)
        self.site_file = folder / "site.yaml"
        self.polls_file = folder / "polls.jsonl"
        self.site_file.write_text(self._site(witness))
        rows = ["device,point,register,address,type"]
        for device in range(devices):
            rows += [f"d{device},r{n},holding,{n},uint16" for n in range(registers)]
        (folder / "points.csv").write_text("\n".join(rows) + "\n")
        scratch = f"{{holding: [[{WITNESS_ADDRESS}, {WITNESS_ADDRESS + 2}]]}}"
        (folder / "rig.yaml").write_text(f"seed: 7\nchange: 1\nscratch: {{d0: {scratch}}}\n")
        arguments = ("outstation", "--site", self.site_file, "--log", self.polls_file)
        command = [*places.inside("p"), *hotpair(*arguments)]
        self.process = Spawned("outstations", command, folder)
        self.plant: Plant = load_site(self.site_file)

    def _site(self, witness: bool) -> str:
        lines = ["site: bench", "points_csv: [points.csv]"]
        if witness:
            register = f"{{device: d0, register: holding, address: {WITNESS_ADDRESS}}}"
            lines.append(f"pair: {{witness: {{modbus: [{register}]}}}}")
        lines.append(f"scan_classes: {{fast: {self.scan_ms}ms, normal: {NORMAL_MS}ms}}")
        lines.append("devices:")
        for number, port in enumerate(self.ports):
            line = f"line: {{tcp: {{host: {self.host}, port: {port}}}}}"
            scan = "normal" if is_slow(number) else "fast"
            lines.append(f"  d{number}: {{driver: modbus, {line}, timeout: 500ms, scan: {scan}}}")
        return "\n".join(lines) + "\n"


class Pair(ABC):
    """Two nodes by name; `stamp` says which timestamp tells when a value was polled."""

    party: str
    stamp: str

    def __init__(self, folder: Path, field: Field) -> None:
        folder.mkdir()
        self.folder = folder
        self.field = field
        self.places = field.places
        endpoints = zip(NODES, free_ports(len(NODES)), strict=True)
        self.endpoints = {n: f"opc.tcp://{ENDPOINT[n]}:{port}" for n, port in endpoints}
        self.nodes: dict[str, Spawned] = {}

    @property
    def watched(self) -> list[str]:
        """The NodeIds that the client reads: one point of each device."""
        return [f"ns=2;s=d{device}/r0" for device in range(min(WATCHED_MAX, len(self.field.ports)))]

    def process(self, node: str) -> Spawned:
        """The node's process that runs now."""
        return self.nodes[node]

    def bind(self, node: str) -> str:
        """Where a node's polls come from."""
        return self.places.field[node]

    @abstractmethod
    def _command(self, node: str) -> Sequence[str]: ...

    @abstractmethod
    async def ready(self) -> tuple[str, str]:
        """Wait until one is main and the other could take over: (main, standby)."""

    @abstractmethod
    async def change_over(self, main: str) -> None:
        """Have the main hand over, as a person would."""

    async def start(self, node: str) -> None:
        """Start a node, anew if it ran before."""
        folder = self.folder / node
        folder.mkdir(exist_ok=True)
        command = [*self.places.inside(node), *self._command(node)]
        self.nodes[node] = Spawned(f"{self.party}-{node}", command, folder)
        await self.nodes[node].start()

    async def kill(self, node: str) -> None:
        """SIGKILL, also to a stopped process."""
        process = self.nodes[node]
        if process.running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.ended()

    async def stop(self) -> None:
        """End both nodes."""
        for process in self.nodes.values():
            if process.running:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
            await process.stop()


class Ours(Pair):
    """Two nodes of the gateway: mutual TLS on two paths."""

    party = "hotpair"
    stamp = "server"

    def __init__(self, folder: Path, field: Field) -> None:
        super().__init__(folder, field)
        ends = [(node, path) for node in NODES for path in range(PATHS)]
        self._ports = dict(zip(ends, free_ports(len(ends)), strict=True))
        for node in NODES:
            (folder / node).mkdir()
            (folder / node / "node.yaml").write_text(self._node_yaml(node))

    async def make_certificates(self) -> None:
        """As a user does."""
        async with Spawned("cert", hotpair("cert", *NODES, "--out", "."), self.folder) as made:
            if await made.ended():
                raise BenchError(f"hotpair cert failed:\n{made.last_words()}")

    def _links(self, node: str) -> str:
        ends = (f"{self.places.link(node, p)}:{self._ports[node, p]}" for p in range(PATHS))
        return ", ".join(f'"{end}"' for end in ends)

    def _node_yaml(self, node: str) -> str:
        peer, listen = other(node), self.endpoints[node].removeprefix("opc.tcp://")
        tls = f"{{cert: ../{node}.crt, key: ../{node}.key, peer_cert: ../{peer}.crt}}"
        return (
            f"node: {node}\ndata_dir: data\nsite: {self.field.site_file}\n"
            f"bind: {self.bind(node)}\n"
            f'opcua: {{listen: "{listen}", advertise: [{ENDPOINT[node]}], insecure: true}}\n'
            f"link: {{listen: [{self._links(node)}], peer: [{self._links(peer)}], tls: {tls}}}\n"
        )

    def _command(self, node: str) -> Sequence[str]:
        return hotpair("run", "node.yaml")

    async def start(self, node: str) -> None:
        await super().start(node)
        await self.nodes[node].hear("text", READY_S)

    async def ask(self, node: str, path: str) -> dict[str, Any]:
        """What a node answers through its socket; {} when it doesn't."""
        control = Control(self.folder / node / "data")
        try:
            found: dict[str, Any] = await control.get(path)
        except httpx.HTTPError:
            return {}
        finally:
            await control.close()
        return found

    async def ready(self) -> tuple[str, str]:
        until_s = time.monotonic() + READY_S
        roles: dict[str, str] = {}
        while time.monotonic() < until_s:
            shown = {node: await self.ask(node, "/status") for node in NODES}
            roles = {node: str(status.get("role")) for node, status in shown.items()}
            if sorted(roles.values()) == ["main", "synced"]:
                main = next(node for node, role in roles.items() if role == "main")
                good = [d["state"] == "up" for d in shown[main]["devices"].values()]
                if shown[main]["endpoint_open"] and all(good):
                    return main, other(main)
            await asyncio.sleep(_EACH_S)
        said = "\n".join(process.last_words() for process in self.nodes.values())
        raise BenchError(f"the pair is not ready: {roles}\n{said}")

    async def change_over(self, main: str) -> None:
        socket = str(self.folder / main / "data" / "control.sock")
        transport = httpx.AsyncHTTPTransport(uds=socket)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://node", timeout=30.0, trust_env=False
        ) as http:
            answer = await http.post("/changeover", json={"who": "bench"})
        if answer.is_error:
            raise BenchError(f"no changeover: {answer.text}")


class Naive(Pair):
    """Two nodes of `naive_pair`; a change-over is a SIGTERM to the main."""

    party = "naive"
    stamp = "source"

    def __init__(self, folder: Path, field: Field) -> None:
        super().__init__(folder, field)
        ports = zip(NODES, free_ports(len(NODES)), strict=True)
        self._alive = {node: f"{self.places.link(node, 0)}:{port}" for node, port in ports}

    def _command(self, node: str) -> Sequence[str]:
        outstations = [f"{self.field.host}:{port}" for port in self.field.ports]
        return python(
            "hil.bench.naive_pair",
            *("--listen", self._alive[node], "--peer", self._alive[other(node)]),
            *("--outstations", *outstations, "--registers", self.field.registers),
            *("--bind", self.bind(node), "--endpoint", self.endpoints[node]),
            *("--period", self.field.scan_ms / 1_000),
        )

    async def start(self, node: str) -> None:
        await super().start(node)
        await self.nodes[node].hear("role", READY_S)

    async def ready(self) -> tuple[str, str]:
        for node in NODES:
            if not self.nodes[node].running:
                await self.start(node)
        roles = {node: (await self.nodes[node].hear("role"))["role"] for node in NODES}
        if sorted(roles.values()) != ["main", "standby"]:
            raise BenchError(f"the naive pair is not ready: {roles}")
        main = next(node for node, role in roles.items() if role == "main")
        return main, other(main)

    async def change_over(self, main: str) -> None:
        os.kill(self.nodes[main].pid, signal.SIGTERM)
