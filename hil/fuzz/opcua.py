"""Malformed OPC UA messages at a node, beside a client that does nothing wrong.

    .venv/bin/python -m hil.fuzz opcua [--packets N] [--seed N] [--attackers N] [--keep FOLDER]

Nothing may change for that client: its values go on without a gap beyond the bound, its reads are
answered. The node lives, logs no fault of its own, and is no larger than before but for a bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

from hil.bench.process import Spawned, cleaning_up, free_port, hotpair, python
from hil.fuzz.attack import PASSWORD_HASH, USER, Target, attack, known
from hil.fuzz.peer import Keys

REGISTERS: Final = 20
PERIOD_S: Final = 0.1
GAP_MAX_MS: Final = 2_000.0
"""Twenty periods: what a loaded machine may do to any client; an attack must not add to it."""
GROWTH_MAX_MB: Final = 50.0
SETTLE_S: Final = 8.0
"""After it, sessions and connections of attackers are over: their shortest time-out is 5 s."""
FAULTS: Final = ("Traceback (most recent call last)", "exception was never retrieved")


@dataclass
class Verdict:
    """What a run found; `complaints` is empty when nothing changed."""

    packets: int
    seconds: float
    outcomes: str
    kinds: str
    neighbour: dict[str, Any]
    growth_mb: float
    peak_growth_mb: float
    cpu_ms_per_packet: float
    load: str
    complaints: list[str] = field(default_factory=list)


def write_site(folder: Path, port: int, opcua_port: int) -> None:
    """The files of a node that anybody may speak to, with a user for secured channels."""
    (folder / "site.yaml").write_text(
        f"site: fuzz\nscan_classes: {{fast: {round(1000 * PERIOD_S)}ms}}\n"
        f"points_csv: [points.csv]\ndevices:\n"
        f"  d0: {{driver: modbus, line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}, "
        f"scan: fast}}\nusers: {{{USER}: {{role: operator, password_hash: '{PASSWORD_HASH}'}}}}\n"
    )
    (folder / "node.yaml").write_text(
        "node: a\ndata_dir: data\nsite: site.yaml\n"
        f"opcua: {{listen: 127.0.0.1:{opcua_port}, advertise: [127.0.0.1], insecure: true}}\n"
    )
    rows = [f"d0,r{n},holding,{n},uint16" for n in range(REGISTERS)]
    (folder / "points.csv").write_text("\n".join(("device,point,register,address,type", *rows)))


async def make_keys(folder: Path) -> Keys:
    """The certificate of the attackers, and where the node's lies."""
    key, certificate = folder / "fuzz.pem", folder / "fuzz.der"
    purpose = [ExtendedKeyUsageOID.CLIENT_AUTH]
    await setup_self_signed_certificate(key, certificate, "urn:hil:fuzz", "127.0.0.1", purpose, {})
    own = list((folder / "data").rglob("own/certificate.der"))
    return await Keys.load(certificate, key, own[0])


class Memory:
    """The resident size of a process, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak_mb = self.now_mb()

    def now_mb(self) -> float:
        """In 10^6 bytes."""
        return float(self._process.memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """User and system time so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    async def watch(self) -> None:
        """Keep the largest size, until cancelled."""
        while True:
            self.peak_mb = max(self.peak_mb, self.now_mb())
            await asyncio.sleep(0.05)


async def besiege(
    folder: Path, packets: int, seed: int, attackers: int, progress: Callable[[str], None]
) -> Verdict:
    """Start a node, a client beside, and attack. Raises BenchError when they do not start."""
    opcua_port = free_port()
    settings = ("--registers", REGISTERS, "--period", PERIOD_S)
    nodes = [f"ns=2;s=d0/r{n}" for n in range(REGISTERS)]
    endpoint = f"opc.tcp://127.0.0.1:{opcua_port}"
    async with Spawned("field", python("hil.bench.outstations", *settings), folder) as outstation:
        write_site(folder, (await outstation.hear("ports"))["ports"][0], opcua_port)
        async with Spawned("node", hotpair("run", "node.yaml"), folder) as node:
            await node.hear("text", part="is Main")
            command = python("hil.fuzz.neighbour", endpoint, *nodes)
            async with Spawned("neighbour", command, folder) as neighbour:
                await neighbour.hear("watching")
                keys = await make_keys(folder)
                target = Target(opcua_port, [ua.NodeId.from_string(n) for n in nodes[:4]], keys)
                progress("the node is up")
                found = await _measured(node, neighbour, target, packets, seed, attackers, progress)
        _complain(found, node, folder)
    return found


async def _measured(
    node: Spawned,
    neighbour: Spawned,
    target: Target,
    packets: int,
    seed: int,
    attackers: int,
    progress: Callable[[str], None],
) -> Verdict:
    # What is loaded and cached once, with the first strange messages, is no growth.
    await attack(target, seed + 1_000_000, min(100, packets), attackers, lambda _: None)
    memory = Memory(node.pid)
    before_mb, before_s, began_s = memory.now_mb(), memory.cpu_s(), time.monotonic()
    await neighbour.ask("mark", "values")
    watching = asyncio.create_task(memory.watch())
    steps = max(1, packets // 10)

    def told(count: int) -> None:
        if count % steps == 0:
            progress(f"{count:,} malformed packets")

    try:
        outcomes, kinds = await attack(target, seed, packets, attackers, told)
        seconds = time.monotonic() - began_s
        cpu_s = memory.cpu_s() - before_s
        heard = dict(await neighbour.ask("mark", "values"))
        if packets >= 5_000:
            await asyncio.sleep(SETTLE_S)
    finally:
        watching.cancel()
    bad = sum(outcomes.values()) - outcomes["good"] - outcomes["not sent"]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return Verdict(
        bad,
        seconds,
        known(outcomes),
        known(kinds),
        heard,
        memory.now_mb() - before_mb,
        memory.peak_mb - before_mb,
        1000 * cpu_s / sum(outcomes.values()),
        load,
        [] if node.running else ["the node has ended"],
    )


def _complain(found: Verdict, node: Spawned, folder: Path) -> None:
    complaints, heard = found.complaints, found.neighbour
    complaints += heard["wrong"]
    if heard["gap_ms"] > GAP_MAX_MS:
        complaints.append(f"{heard['gap_ms']:.0f} ms without a value")
    if heard["read_ms"] > GAP_MAX_MS:
        complaints.append(f"a read took {heard['read_ms']:.0f} ms")
    if heard["values"] < REGISTERS:
        complaints.append(f"only {heard['values']} values came")
    if found.peak_growth_mb > GROWTH_MAX_MB:
        complaints.append(f"the node grew by {found.peak_growth_mb:.0f} MB")
    log = (folder / f"{node.name}.log").read_text(errors="replace")
    for fault in FAULTS:
        if fault in log:
            at, times = log.index(fault), log.count(fault)
            complaints.append(
                f"the node's log, {times} times:\n{log[max(0, at - 200) : at + 2000]}"
            )


def main() -> None:
    """The command line; exit status 1 when something changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=10_000, help="malformed ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attackers", type=int, default=4, help="at the same time")
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="hotpair-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    work = besiege(folder.resolve(), given.packets, given.seed, given.attackers, progress)
    try:
        found = asyncio.run(cleaning_up(work))
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(found), indent=2))
    sys.exit(1 if found.complaints else 0)


if __name__ == "__main__":
    main()
