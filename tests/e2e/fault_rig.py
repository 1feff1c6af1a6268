"""A pair with a field of its own, faults as words, and everything judged after each of them.

On machines that allow it the nodes are network namespaces (hil.lab); elsewhere proxies stand on the
links and what needs a cable of the field is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.model import NS_PER_S, Gap, HistoryRow, is_bad, parse_time
from hil.disk import own_disk
from hil.gateway import ProgramError
from hil.judges import judge
from hil.judges_pair import doubled, longest_gap_ns, strays, unlike
from hil.lab import FIELD, Lab, link_address, possible
from hil.outstation.control import send
from hil.outstation.polls import Poll, read_polls
from hil.pair import NODES, Pair, PairNode
from hil.runs import Happening, judged
from hil.truth import Span

from .link_rig import Cable, make_certificates
from .plant import BINDS, free_ports

LAB = possible()
BEFORE_NS = 500_000_000
VOTES = range(900, 903)
"""The witness registers of plc1."""
SETTLE_S = 60.0
SUBSCRIBED_S = 8.0
"""A subscription proves itself by its next sign of life: until then a new term has a hole."""

SITE = """\
site: faults
pair: {{startup_wait: 1s, field_lost_after: 2s{pair}}}
scan_classes: {{fast: 200ms, normal: 1s}}
{lines}devices:
{devices}  dosing:
    driver: opcua
    endpoint: opc.tcp://{host}:{opcua}
    insecure: true
    mode: subscribe
    publishing_interval: 500ms
    points:
      dose: {{node: "nsu=urn:faults:dosing;s=Dose", type: float64}}
      running: {{node: "nsu=urn:faults:dosing;s=Running", type: bool}}
"""
LINES = "lines: {bus1: {rtu: {baudrate: 115200, parity: N}}}\n"
BUS = """\
  meter1:
    driver: modbus
    line: bus1
    unit_id: 7
    timeout: 300ms
    scan: normal
    points:
      power: {register: holding, address: 0, type: float32}
      energy: {register: holding, address: 2, type: uint32}
"""
TCP = """\
  {name}:
    driver: modbus
    line: {{tcp: {{host: {host}, port: {port}}}}}
    timeout: 500ms
    scan: {scan}
    points:
      level: {{register: holding, address: 0, type: float32}}
      flow: {{register: holding, address: 2, type: uint16}}
"""
NODE = """\
node: {id}
data_dir: data/{id}
site: site.yaml
bind: {bind}
{bus}opcua: {{listen: "127.0.0.1:{port}", advertise: [127.0.0.1], insecure: true}}
link:
  listen: [{listen}]
  peer: [{peer}]
  tls: {{cert: {id}.crt, key: {id}.key, peer_cert: {other}.crt}}
{serial}"""
RIG = "seed: 5\nchange: 0.5\nscratch: {plc1: {holding: [[900, 902]]}}\n"
SCANS = {"plc1": "fast", "plc2": "fast", "plc3": "normal"}
WITNESSES = {
    "": "",
    "plc": ", witness: {{modbus: [{{device: plc1, address: 900}}]}}",
    "etcd": ", witness: {{etcd: {{endpoints: ['http://{host}:{etcd}']}}}}",
}


BUSY_S = 15.0
"""On a machine that is far too busy to keep time, nodes look frozen: only the promise is judged."""


@dataclass(frozen=True)
class Ground:
    """What a pair stands on: its paths, its witness, its settings."""

    links: int = 2
    serial: bool = False
    witness: str = ""
    bus: bool = False
    small_disk: bool = False
    pair: str = ""


@dataclass(frozen=True)
class Case:
    """One fault: what is done, and what has to come of it.

    `main` is who is Main at the end: the `same` node, the `other` one, or `either`. No device may
    be without coverage for longer than `gap_s` in all. `split` says that both nodes may poll.
    `lab` is a case that needs cables of the field.
    """

    name: str
    steps: str
    main: str = "same"
    gap_s: float = 0.0
    split: bool = False
    lab: bool = False
    strays: int = 0
    ground: Ground = Ground()


class Faulted(Pair):
    """The pair, and the words for what is done to it: each public `do_` method is one."""

    def __init__(self, folder: Path, lab: Lab | None, serial: Cable | None) -> None:
        super().__init__(folder, lab)
        self.serial = serial
        self.mains: dict[str, PairNode] = {}
        self.splits: list[Span] = []
        self._cut_ns = 0
        serial_ports = {str(folder / "run" / f"bus1-{name}"): name for name in NODES}
        self.askers = {node.bind: name for name, node in self.nodes.items()} | serial_ports

    def of(self, word: str) -> PairNode:
        """`main` and `standby` as they were when the case began."""
        return self.mains[word]

    async def play(self, steps: str) -> None:
        """Carry out `verb arguments; verb arguments; ...`."""
        main = await self.main()
        self.mains = {"main": main, "standby": self.other(main)}
        self.splits, self._cut_ns = [], 0
        for step in steps.split(";"):
            verb, *words = step.split()
            await getattr(self, f"do_{verb}")(*words)

    async def do_wait(self, seconds: str) -> None:
        await asyncio.sleep(float(seconds))  # paces: what is judged is a stretch of time

    async def do_kill(self, *who: str) -> None:
        await asyncio.gather(*(self.of(word).program.kill() for word in who))
        for word in who:
            assert await self.of(word).program.stop() == -signal.SIGKILL

    async def do_start(self, *who: str) -> None:
        await asyncio.gather(*(self.of(word).start() for word in who))

    async def do_stop(self, who: str) -> None:
        assert await self.of(who).program.stop() == 0

    async def do_freeze(self, who: str, seconds: str) -> None:
        program = self.of(who).program
        program.signal(signal.SIGSTOP)
        await self.do_wait(seconds)
        program.signal(signal.SIGCONT)

    async def do_cut(self, who: str, path: str = "") -> None:
        """Cut what `both`, the `main` or the `standby` sends, on one path or on all."""
        sender = "" if who == "both" else self.of(who).name
        await self.cut(sender, int(path) if path else None)
        self._cut_ns = self._cut_ns or time.time_ns()

    async def do_heal(self) -> None:
        await self.heal()

    async def do_unplug(self, who: str, device: str) -> None:
        assert self.lab is not None
        self.lab.unplug(self.of(who).name, device)
        self._cut_ns = self._cut_ns or time.time_ns()

    async def do_plug(self, who: str, device: str) -> None:
        assert self.lab is not None
        self.lab.plug(self.of(who).name, device)

    async def do_blackout(self, who: str) -> None:
        """The power of one node goes: nothing that it said last arrives, and it is dead."""
        assert self.lab is not None
        self.lab.isolate(self.of(who).name)
        await self.of(who).program.kill()

    async def do_rejoin(self, who: str) -> None:
        assert self.lab is not None
        self.lab.rejoin(self.of(who).name)

    async def do_role(self, who: str, role: str, within_s: str = "20") -> None:
        name = self.of(who).name
        await self.until(lambda seen: seen[name].get("role") == role, float(within_s))

    async def do_changeover(self, times: str = "1") -> None:
        for _ in range(int(times)):
            main = await self.main()
            await main.order("/changeover")
            await self.until_paired(20)
            assert await self.main() is self.other(main)
            await self.do_wait("0.7")

    async def do_power(self, how: str, *devices: str) -> None:
        for device in devices or self.plant.devices:
            answer = await send(self.rig_socket, {"power": how, "device": device})
            assert answer["ok"], answer

    async def do_wipe(self, who: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self.of(who).data)

    async def do_save(self, who: str) -> None:
        """Copy a node's data while it runs, as a careless backup does; files may be torn."""
        data = self.of(who).data
        await asyncio.to_thread(_copy, data, data.with_name("saved"))

    async def do_restore(self, who: str) -> None:
        data = self.of(who).data
        await asyncio.to_thread(_copy, data.with_name("saved"), data)

    async def do_swap(self, who: str) -> None:
        """Change a node's certificate for one that its peer does not know, or back."""
        name, spare = self.of(who).name, self.folder / "spare"
        if not spare.exists():
            spare.mkdir()
            make_certificates(spare, name)
            self._cut_ns = self._cut_ns or time.time_ns()
        for suffix in (".crt", ".key"):
            used, other = self.folder / f"{name}{suffix}", spare / f"{name}{suffix}"
            kept = used.read_bytes()
            used.write_bytes(other.read_bytes())
            other.write_bytes(kept)

    async def do_fill(self, who: str) -> None:
        disk = self.of(who).disk
        assert disk is not None
        await asyncio.to_thread(disk.fill)

    async def do_free(self, who: str) -> None:
        disk = self.of(who).disk
        assert disk is not None
        disk.free()

    # ------------------------------------------------------------------------------ judging

    async def settled(self) -> None:
        """One Main, one synced, equal journals; a split is over then."""
        await self.until_paired(SETTLE_S)
        await self.until_equal(SETTLE_S)
        if self._cut_ns:
            self.splits = [Span(self._cut_ns, time.time_ns(), None)]

    async def until_covered(self) -> None:
        """Wait until every device has been heard and claimed."""
        main = await self.main()
        async with asyncio.timeout(SETTLE_S):
            while True:
                from_ns = time.time_ns()
                await asyncio.sleep(0.5)  # paces: the stretch that has to be covered
                await self.until_complete(time.time_ns(), SETTLE_S)
                if not await main.control.gaps(from_ns, time.time_ns()):
                    return

    async def polls_until(self, from_ns: int, to_ns: int) -> list[Poll]:
        """What the outstations logged in a stretch; a Standby too asks a witness for its vote."""
        await asyncio.sleep(1.1)  # paces: the log is flushed each second
        return [
            poll
            for poll in read_polls(self.polls_file)
            if from_ns <= poll.received_ns < to_ns and poll.address not in VOTES
        ]

    async def history(self, node: PairNode, to_ns: int) -> dict[str, list[HistoryRow]]:
        """All points' samples as one node has them."""
        points = [p.id for device in self.plant.devices.values() for p in device.points]
        return {p: await node.control.history(p, self.born_ns, to_ns) for p in points}

    def _said(self, rows: list[HistoryRow]) -> list[HistoryRow]:
        """The rows a judge may take for the value in force.

        A raw read has every observation: in a split also that of the node which lost its field
        while the other collected.
        """
        return [
            row
            for row in rows
            if not is_bad(row.status)
            or not any(split.from_ns <= row.time_ns < split.to_ns for split in self.splits)
        ]

    async def judged(self, case: Case, from_ns: int) -> None:
        """Judge everything since `from_ns`; raises AssertionError with the evidence."""
        await self.settled()
        await asyncio.sleep(1.2)  # paces: a new term claims within the second
        to_ns = time.time_ns()
        await self.until_complete(to_ns, 20)
        main = await self.main()
        was = self.of("main")
        late_s = BUSY_S if os.getloadavg()[0] > 2.0 * (os.cpu_count() or 1) else 0.0
        if case.main != "either" and not late_s:
            assert (main is was) is (case.main == "same"), f"{main.name} is Main, {was.name} was"
        told = await send(self.rig_socket, {"journal": True})
        points = judged(self.plant, [Happening(*item) for item in told["journal"]], to_ns)
        histories: list[dict[str, list[HistoryRow]]] = []
        gaps: list[list[Gap]] = []
        for node in self.nodes.values():
            gaps.append(await node.control.gaps(from_ns, to_ns))
            histories.append(await self.history(node, to_ns))
            rows = {point: self._said(own) for point, own in histories[-1].items()}
            verdict = judge(points, rows, gaps[-1], from_ns, to_ns)
            assert verdict.passed, f"{node.name}: {verdict.missing} missing\n" + "\n".join(
                map(str, verdict.evidence[:12])
            )
        assert gaps[0] == gaps[1], gaps
        assert unlike(*histories) == []
        for subscribed, allowed_s in ((False, case.gap_s), (True, case.gap_s + SUBSCRIBED_S)):
            own = [gap for gap in gaps[0] if (gap.scan_class == "subscription") is subscribed]
            lost_s = longest_gap_ns(own, from_ns, to_ns) / NS_PER_S
            assert lost_s <= allowed_s + late_s, f"{lost_s:.2f} s without coverage: {own}"
        await self._who_polled(case, from_ns, to_ns)
        for node in self.nodes.values():
            status = await node.status()
            assert status["conflicts"] == 0, status
            log = (self.folder / f"node-{node.name}.log").read_text(errors="replace")
            assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4_000]

    async def _who_polled(self, case: Case, from_ns: int, to_ns: int) -> None:
        told = [await node.control.get("/roles") for node in self.nodes.values()]
        assert told[0]["reigns"] == told[1]["reigns"], told
        begun = [r["node"] for r in told[0]["reigns"] if parse_time(r["from"]) >= from_ns]
        reigns = [self.of("main").name, *begun]
        polls = await self.polls_until(from_ns, to_ns)
        splits = self.splits if case.split else []
        found = strays(polls, self.askers, reigns, splits)
        late = [turn for turn in found if turn.polls > case.strays]
        assert not late, f"reigns {reigns}: " + "; ".join(map(str, found))
        if not case.split:
            assert doubled(polls, self.askers) == []


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock", "lock", "saved"))


def lay_out(folder: Path, ground: Ground, lab: Lab | None) -> None:
    """Write site.yaml, rig.yaml and both nodes' files."""
    ports = free_ports(7 + 4 * ground.links) if lab is None else list(range(5020, 5060))
    host = FIELD["p"] if lab is not None else "127.0.0.1"
    binds = FIELD if lab is not None else BINDS
    witness = WITNESSES[ground.witness].format(host=host, etcd=ports[6])
    devices = "".join(
        TCP.format(name=name, host=host, port=port, scan=scan)
        for (name, scan), port in zip(SCANS.items(), ports, strict=False)
    )
    lines = LINES if ground.bus else ""
    devices += BUS if ground.bus else ""
    site = SITE.format(
        lines=lines, devices=devices, host=host, opcua=ports[3], pair=ground.pair + witness
    )
    (folder / "site.yaml").write_text(site)
    (folder / "rig.yaml").write_text(RIG)
    paths = range(ground.links)
    for index, (name, other) in enumerate((("a", "b"), ("b", "a"))):
        if lab is not None:
            listen = [f'"{link_address(name, path)}:7700"' for path in paths]
            peer = [f'"{link_address(other, path)}:7700"' for path in paths]
        else:
            own, far = ports[7:], ports[7 + 2 * ground.links :]
            listen = [f'"127.0.0.1:{own[2 * path + index]}"' for path in paths]
            peer = [f'"127.0.0.1:{far[2 * path + index]}"' for path in paths]
        port = folder / f"tty{name.upper()}"
        text = NODE.format(
            id=name,
            other=other,
            bind=binds[name],
            port=ports[4 + index],
            listen=", ".join(listen),
            peer=", ".join(peer),
            bus=f"ports: {{bus1: run/bus1-{name}}}\n" if ground.bus else "",
            serial=f"  serial: {{port: {port}}}\n" if ground.serial else "",
        )
        (folder / f"node-{name}.yaml").write_text(text)


@asynccontextmanager
async def etcd(folder: Path, lab: Lab | None, port: int) -> AsyncIterator[None]:
    """One etcd on the plant's machine."""
    host = FIELD["p"] if lab is not None else "127.0.0.1"
    clients, peers = f"http://{host}:{port}", f"http://{host}:{port + 1 if lab else 0}"
    before = lab.inside("p") if lab is not None else ()
    command = [
        *(*before, "etcd", "--name=w", f"--data-dir={folder / 'etcd'}", "--log-level=error"),
        *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
        *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
        f"--initial-cluster=w={peers}",
    ]
    with (folder / "etcd.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running(folder: Path, ground: Ground, use_lab: bool) -> AsyncIterator[Faulted]:
    """A pair that runs on its ground, whatever it needs around it, and nothing left behind."""
    async with contextlib.AsyncExitStack() as stack:
        lab = stack.enter_context(Lab(ground.links)) if use_lab else None
        lay_out(folder, ground, lab)
        cable = None
        if ground.serial:
            cable = Cable(folder)
            cable.plug()
            stack.callback(cable.unplug)
        if ground.witness == "etcd":
            await stack.enter_async_context(etcd(folder, lab, 5026))
        pair = Faulted(folder, lab, cable)
        if ground.small_disk:
            for node in pair.nodes.values():
                node.disk = stack.enter_context(own_disk(node.data))
        stack.push_async_callback(pair.stop)
        await pair.start()
        yield pair


class Campaign:
    """One case after the other on one pair, as long as the ground is the same and nothing failed.

    The history grows meanwhile, as it does in a plant. After a split the nodes are more patient for
    ten minutes: then the next case has a new pair.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._stack = contextlib.AsyncExitStack()
        self._pair: Faulted | None = None
        self._ground: tuple[Ground, bool] | None = None

    async def close(self) -> None:
        """End what runs."""
        self._pair = None
        await self._stack.aclose()

    async def _ready(self, ground: Ground, use_lab: bool) -> Faulted:
        if self._pair is None or self._ground != (ground, use_lab):
            await self.close()
            self._made += 1
            folder = self._folder / str(self._made)
            folder.mkdir()
            self._pair = await self._stack.enter_async_context(running(folder, ground, use_lab))
            self._ground = (ground, use_lab)
            await self._pair.until_equal(SETTLE_S)
            await self._pair.until_covered()
        return self._pair

    async def play(self, case: Case, use_lab: bool) -> None:
        """Play one case; raises AssertionError with what was wrong."""
        if case.lab and not use_lab:
            pytest.skip("needs network namespaces: run as root with iproute2")
        pair = await self._ready(case.ground, use_lab)
        from_ns = time.time_ns() - BEFORE_NS
        try:
            await pair.play(case.steps)
            await pair.judged(case, from_ns)
            if case.split:
                await self.close()
        except (ProgramError, httpx.HTTPError) as error:
            await self.close()
            raise AssertionError(f"{case.name}: {error}") from error
        except BaseException:  # what failed is not built upon
            await self.close()
            raise
