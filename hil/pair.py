"""A pair as an integrator runs it: outstations, a proxy on the links, nodes a and b, all programs.

A site's folder says it all: site.yaml, rig.yaml, node-a.yaml and node-b.yaml. Certificates are made
by `hotpair cert`. What the nodes do is seen through the doors that everybody has: their sockets,
their OPC UA endpoints, the log of the outstations.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from gateway.model import GapState, format_time
from hil.disk import Disk
from hil.fresh import FRESH_S, Wanted, first_fresh_ns
from hil.gateway import Control, Program, ProgramError
from hil.lab import Lab
from hil.outstation.control import send
from hil.plant import Plant
from hil.recording import Switch
from hil.settings import load_yaml
from hil.site import load_site, localise
from hil.tamper import Tamper
from hil.visitor import Visitor, lay

NODES: Final = ("a", "b")
PAIRED_S: Final = 60.0
LOOK_S: Final = 0.05
STATUS_S: Final = 1.0
"""A node that doesn't answer for this long is shown as silent."""

Status = dict[str, Any]


class PairNode:
    """One node of a pair: its files, its program, its doors."""

    def __init__(self, folder: Path, name: str, before: Sequence[str] = ()) -> None:
        self.name = name
        self._before = before
        self.file = folder / f"node-{name}.yaml"
        said = load_yaml(self.file.read_text(encoding="utf-8"))
        self.data: Path = folder / said["data_dir"]
        self.endpoint = f"opc.tcp://{said['opcua']['listen']}"
        self.insecure: bool = said["opcua"].get("insecure", False)
        self.bind: str = said["bind"]
        self.ports: list[Path] = [folder / path for path in said.get("ports", {}).values()]
        self.log = folder / f"node-{name}.log"
        self.tamper: Tamper | None = None
        self.disk: Disk | None = None
        self.control = Control(self.data)
        self.program = self._new_program()

    def _new_program(self) -> Program:
        arguments = ["run", str(self.file)]
        forged = self.tamper.before if self.tamper is not None else ()
        before = (*self._before, *forged)
        return Program(f"node {self.name}", arguments, self.log, "is starting", before=before)

    async def start(self) -> None:
        """Start the program, anew if it ran before. Raises ProgramError."""
        await self.control.close()
        self.program, self.control = self._new_program(), Control(self.data)
        await self.program.start()

    async def status(self) -> Status:
        """What `hotpair status` shows; {} while the node does not answer."""
        try:
            async with asyncio.timeout(STATUS_S):
                found: Status = await self.control.get("/status")
        except (httpx.HTTPError, TimeoutError):
            return {}
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.program.pid, number)

    async def order(self, path: str, **body: Any) -> str:
        """An order as a command gives it; what was done. Raises ProgramError with the refusal."""
        try:
            done = await self.control.post(path, {"who": "rig", **body})
        except httpx.HTTPStatusError as error:
            raise ProgramError(f"node {self.name} refused {path}: {error.response.text}") from error
        except httpx.HTTPError as error:
            raise ProgramError(f"node {self.name} did not answer {path}: {error}") from error
        return str(done["done"])


class Pair:
    """Everything that runs, started and ended together. The folder holds its files already.

    With a lab its nodes and outstations are machines with cables; without one a proxy stands on
    each link.
    """

    def __init__(self, folder: Path, lab: Lab | None = None) -> None:
        self.folder = folder
        self.lab = lab
        self.plant: Plant = load_site(folder / "site.yaml")
        self.polls_file = folder / "polls.jsonl"
        self.rig_socket = folder / "rig.sock"
        self.proxy_socket = folder / "proxy.sock"
        self.field_socket = folder / "field.sock"
        self.field_file = folder / "polls-field.jsonl"
        self.a, self.b = (PairNode(folder, name, self.inside(name)) for name in NODES)
        self.nodes: Mapping[str, PairNode] = {"a": self.a, "b": self.b}
        self.visitor: Visitor | None = None
        self.born_ns = 0
        self.paired_ns = 0
        self._cuts: list[tuple[str, int | None]] = []
        files = [part for node in self.nodes.values() for part in ("--node", str(node.file))]
        site = ("outstation", "--site", str(folder / "site.yaml"))
        doors = ("--control", str(self.rig_socket), "--log", str(self.polls_file))
        log = folder / "outstations.log"
        command = [*site, *files, *doors]
        self.outstations = Program("outstations", command, log, "ready", before=self.inside("p"))
        self._proxy = Program(
            "proxy",
            ["--control", str(self.proxy_socket), *files],
            folder / "proxy.log",
            "ready",
            runs=("-m", "hil.proxy"),
        )

        field = ("--control", str(self.field_socket), "--log", str(self.field_file))
        command = [*field, "--site", str(folder / "site.yaml")]
        log, runs = folder / "field.log", ("-m", "hil.field")
        self._field = Program("proxies of the field", command, log, "ready", runs=runs)

    def inside(self, machine: str) -> Sequence[str]:
        """What to put before a command to run it on a machine of the lab, if there is one."""
        return self.lab.inside(machine) if self.lab is not None else ()

    @property
    def namespace(self) -> str:
        """The namespace of the points."""
        return f"urn:hotpair:{self.plant.site}"

    @property
    def watched(self) -> list[str]:
        """One fast point of each device: what a client looks at to see whether values are fresh."""
        living = [d for d in self.plant.devices.values() if d.name not in self.plant.rig.dead]
        found = []
        for device in living:
            points = [p for p in device.points if p.access.readable and not p.unreadable]
            if points:
                found.append(min(points, key=lambda point: point.period_ns).id)
        return found

    # ------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Start everything; then one node is Main and the other synced. Raises ProgramError."""
        await _certificates(self.folder)
        if asking := [node.data for node in self.nodes.values() if not node.insecure]:
            self.visitor = await lay(self.folder, asking)
        try:
            await self.outstations.start()
            if any(device.to for device in self.plant.rig.real.values()):
                await self._field.start()
            if self.lab is None:
                await self._proxy.start()
            self.born_ns = time.time_ns()
            await asyncio.gather(self.a.start(), self.b.start())
            self.paired_ns = await self.until(self._paired_or_ended, PAIRED_S)
        except BaseException:  # whatever stopped us, nothing must outlive us
            await self.stop()
            raise

    async def stop(self) -> dict[str, int]:
        """End everything; the exit statuses of the nodes that ran."""
        statuses = {}
        for name, node in self.nodes.items():
            await node.control.close()
            if node.program.running:
                node.signal(signal.SIGCONT)
                statuses[name] = await node.program.stop()
        for program in (self._proxy, self._field, self.outstations):
            if program.running:
                await program.stop()
        return statuses

    def other(self, node: PairNode) -> PairNode:
        """The other node."""
        return self.b if node is self.a else self.a

    # ------------------------------------------------------------------------------ looking

    async def statuses(self) -> dict[str, Status]:
        """What both nodes say of themselves; {} of one that is silent."""
        seen = await asyncio.gather(self.a.status(), self.b.status())
        return dict(zip(NODES, seen, strict=True))

    async def main(self) -> PairNode:
        """The Main. Raises ProgramError when there is none, or are two."""
        seen = await self.statuses()
        mains = [name for name, status in seen.items() if status.get("role") == "main"]
        if len(mains) != 1:
            raise ProgramError(f"{len(mains)} nodes are Main: {_roles(seen)}")
        return self.nodes[mains[0]]

    async def until(self, holds: Callable[[dict[str, Status]], bool], within_s: float) -> int:
        """Wait until what both nodes say is as wanted; the moment in ns. Raises ProgramError."""
        seen: dict[str, Status] = {}
        try:
            async with asyncio.timeout(within_s):
                while not holds(seen := await self.statuses()):
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            logs = "\n".join(node.program.last_words()[-2_000:] for node in self.nodes.values())
            raise ProgramError(f"after {within_s:g} s: {_roles(seen)}\n{logs}") from None
        return time.time_ns()

    async def until_paired(self, within_s: float = PAIRED_S) -> int:
        """Wait until one node is Main and the other synced; the moment in ns."""
        return await self.until(_paired, within_s)

    def _paired_or_ended(self, seen: dict[str, Status]) -> bool:
        """Whether the pair stands; a node that ended instead is told at once."""
        for node in self.nodes.values():
            if not node.program.running:
                raise ProgramError(f"node {node.name} ended:\n{node.program.last_words()}")
        return _paired(seen)

    async def until_mains(self, within_s: float = PAIRED_S) -> int:
        """Wait until both nodes are Main."""
        return await self.until(
            lambda seen: all(s.get("role") == "main" for s in seen.values()), within_s
        )

    async def until_equal(self, within_s: float = PAIRED_S) -> int:
        """Wait until both nodes have proven, after now, that their journals are equal."""
        since_ns = time.time_ns()

        def equal(seen: dict[str, Status]) -> bool:
            if not all(seen.values()):
                return False
            pulls = [s["replication"]["receiving"] for s in seen.values()]
            return all(p["equal"] and p["equal_at_ns"] > since_ns for p in pulls)

        return await self.until(equal, within_s)

    async def until_complete(self, to_ns: int, within_s: float = PAIRED_S) -> None:
        """Wait until both nodes know what is complete through an instant."""
        text, key = format_time(to_ns), "complete_through"
        await self.until(
            lambda seen: all((s.get(key) or "") >= text for s in seen.values()), within_s
        )

    def wanted(self, node: PairNode, after_ns: int, within_s: float = FRESH_S) -> Wanted:
        """What `first_fresh_ns` needs to look for values of a node."""
        return node.endpoint, self.namespace, self.watched, after_ns, within_s, self.visitor

    async def fresh(self, kind: str, left: PairNode, fault_ns: int) -> Switch:
        """Wait until the other node serves fresh values. Raises ProgramError."""
        taken = self.other(left)
        fresh_ns = await first_fresh_ns(*self.wanted(taken, fault_ns))
        return Switch(kind, left.name, taken.name, fault_ns, fresh_ns)

    # ------------------------------------------------------------------------------ acts

    async def changeover(self) -> Switch:
        """Hand over, as `hotpair changeover` does. Raises ProgramError."""
        main = await self.main()
        fault_ns = time.time_ns()
        found, _ = await asyncio.gather(
            self.fresh("changeover", main, fault_ns), main.order("/changeover")
        )
        return found

    async def until_up(self, device: str) -> None:
        """Until the Main polls a device with success. Raises ProgramError."""

        def up(seen: dict[str, Status]) -> bool:
            mains = [status for status in seen.values() if status.get("role") == "main"]
            return any(status["devices"][device]["state"] == "up" for status in mains)

        await self.until(up, PAIRED_S)

    async def until_filled(
        self, from_ns: int, to_ns: int, patience_s: float, devices: Collection[str] = ()
    ) -> None:
        """Until no gap (of these devices) is open at the Main, or the time is over."""
        end_s, waits = time.monotonic() + patience_s, (GapState.OPEN, GapState.FILLING)
        while time.monotonic() < end_s:
            gaps = await (await self.main()).control.gaps(from_ns, to_ns)
            if not any(g.state in waits for g in gaps if not devices or g.device in devices):
                return
            await asyncio.sleep(LOOK_S * 4)

    async def kill_main(self) -> Switch:
        """kill -9; it stays dead. Raises ProgramError."""
        main = await self.main()
        fault_ns = time.time_ns()
        await main.program.kill()
        return await self.fresh("kill -9", main, fault_ns)

    async def cut(self, sender: str = "", path: int | None = None) -> None:
        """Cut the links or one of them, or only what one node sends. Raises ProgramError."""
        self._cuts.append((sender, path))
        await self._sever(sender, path)

    async def _sever(self, sender: str, path: int | None) -> None:
        if self.lab is None:
            await self.tell_proxy(cut=sender, path=path)
            return
        for number in range(self.lab.links) if path is None else (path,):
            for node in (sender,) if sender else NODES:
                self.lab.cut(node, f"link{number}")

    async def mend(self, sender: str = "", path: int | None = None) -> None:
        """Undo a `cut` of the same words; what another one cut stays cut. Raises ProgramError."""
        self._cuts.remove((sender, path))
        if self.lab is None:
            await self.tell_proxy(mend=sender, path=path)
        else:
            for number in range(self.lab.links) if path is None else (path,):
                for node in (sender,) if sender else NODES:
                    self.lab.mend(node, f"link{number}")
        for other in self._cuts:
            await self._sever(*other)

    async def heal(self) -> None:
        """The links carry again."""
        self._cuts.clear()
        if self.lab is None:
            await self.tell_proxy(heal=True)
        else:
            self.lab.mend_links()

    async def tell_proxy(self, **message: Any) -> None:
        """Tell the proxy on the links something; see hil.proxy. Raises ProgramError."""
        answer = await send(self.proxy_socket, message)
        if not answer.get("ok"):
            raise ProgramError(f"the proxy refused {message}: {answer.get('error')}")

    async def tell_field(self, **message: Any) -> None:
        """Tell the proxies before real devices something; see hil.field. Raises ProgramError."""
        answer = await send(self.field_socket, message)
        if not answer.get("ok"):
            raise ProgramError(f"the field's proxies refused {message}: {answer.get('error')}")


def _paired(seen: Mapping[str, Status]) -> bool:
    return sorted(status.get("role", "") for status in seen.values()) == ["main", "synced"]


def _roles(seen: Mapping[str, Status]) -> str:
    words = (
        f"node {name}: {status.get('role', 'silent')} ({status.get('why', '')})"
        for name, status in seen.items()
    )
    return "; ".join(words)


async def _certificates(folder: Path) -> None:
    """As a user makes them."""
    program = (sys.executable, "-m", "gateway.cli", "cert", *NODES, "--out", str(folder), "--force")
    making = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.DEVNULL)
    if await making.wait() != 0:
        raise ProgramError("`hotpair cert` made no certificates")


def lay_out(site: Path, folder: Path, offset: int) -> Pair:
    """Copy a site into a working folder, all ports moved by `offset`; the pair that will run."""
    shutil.copytree(site, folder, dirs_exist_ok=True)
    for name in ("site.yaml", "node.yaml", *(f"node-{node}.yaml" for node in NODES)):
        path = folder / name
        path.write_text(localise(path.read_text(encoding="utf-8"), offset), encoding="utf-8")
    return Pair(folder)
