"""What following the Main costs, and how far behind its Standby is.

Two journals in processes of their own, joined by real links with mutual TLS, without field and
server: 100 devices of 100 points that all change each second. Lag: from the commit of a batch at
the Main to its commit at the Standby, by one clock. Beside it the same bytes over plain TLS into a
file, and two whole nodes at ten outstations of 1,000 registers: what their status says. Then the
Standby is away while so many minutes are polled, and catches up while the Main goes on polling.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.model import NS_PER_MS, NS_PER_S
from hil.bench.measure import Usage, watch
from hil.bench.pairs import Field, Ours
from hil.bench.places import NODES, Places
from hil.bench.process import BenchError, Spawned, free_port, free_ports, hotpair, python
from hil.bench.report import Outcome, Row, main, parser, ratio
from hil.bench.takeovers import percentile

RATE: Final = 10_000
SAMPLES: Final = 100
"""A batch."""
OUTSTATIONS: Final = 10
STATUS_S: Final = 0.1
PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Paced:
    """A window at the pace of the plant."""

    party: str
    lags_ms: list[float]
    shown_ms: list[float]
    samples: float
    main: Usage
    standby: Usage


@dataclass(frozen=True, slots=True)
class Caught:
    """A catch-up: what was missed, and how long it took to be level again."""

    party: str
    samples: int
    seconds: float


class Two:
    """The processes of one pair of journals."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        ports = dict(zip("ab", free_ports(2), strict=True))
        self.sides = {}
        for name, peer in (("a", "b"), ("b", "a")):
            command = python(
                "hil.bench.replication_node",
                *("--data-dir", folder / name, "--node", name, "--peer-node", peer),
                *("--listen", f"127.0.0.1:{ports[name]}", "--peer", f"127.0.0.1:{ports[peer]}"),
                *("--certificates", certificates, *(("--writes",) if name == "a" else ())),
            )
            self.sides[name] = command

    def spawn(self, name: str) -> Spawned:
        """A process of one side, not started yet."""
        return Spawned(f"journal-{name}", self.sides[name], self.folder)


async def ask(side: Spawned, key: str, do: str, **more: Any) -> dict[str, Any]:
    """Have a side do something, and wait for the answer."""
    return await side.ask(json.dumps({"do": do, **more}), key, PATIENCE_S)


async def until_level(a: Spawned) -> None:
    """Until the Standby has acknowledged all."""
    until_s = time.monotonic() + PATIENCE_S
    while (await ask(a, "records_behind", "status"))["records_behind"] != 0:
        if time.monotonic() > until_s:
            raise BenchError(f"the Standby does not follow:\n{a.last_words()}")
        await asyncio.sleep(0.05)


def lags(one: Path, other: Path) -> list[float]:
    """From a stamp here to the stamp of the same number there, in ms."""
    there = dict(json.loads(other.read_text()))
    here = json.loads(one.read_text())
    return [(there[seq] - at_ns) / NS_PER_MS for seq, at_ns in here if seq in there]


async def paced(two: Two, party: str, sync: bool, seconds: float, warmup: float) -> Paced:
    """Both sides at the pace of the plant."""
    async with two.spawn("a") as a, two.spawn("b") as b:
        for side in (a, b):
            await side.hear("ready")
        await until_level(a)
        if sync:
            for side in (a, b):
                await ask(side, "sync", "sync")
        await ask(a, "polled", "poll", seconds=warmup)
        for side in (a, b):
            await ask(side, "stamps", "stamps", path=str(two.folder / f"{side.name}.json"))
        polling = asyncio.create_task(ask(a, "polled", "poll", seconds=seconds))
        used = await watch({"a": a.pid, "b": b.pid}, seconds)
        shown = list((await polling)["shown_ms"])
        await until_level(a)
        for side in (a, b):
            await ask(side, "stamps", "stamps", path=str(two.folder / f"{side.name}.json"))
        state = (await ask(a, "records_behind", "status"))["gate"]
        if sync and state != "sync":
            raise BenchError(f"the pair fell back to {state}:\n{a.last_words()}")
    found = lags(two.folder / "journal-a.json", two.folder / "journal-b.json")
    return Paced(party, found, shown, RATE * seconds, used["a"], used["b"])


async def away(two: Two, minutes: float) -> Caught:
    """The Standby is stopped, the Main polls on, the Standby comes back and catches up."""
    batches = round(minutes * 60 * RATE / SAMPLES)
    async with two.spawn("a") as a:
        await a.hear("ready")
        async with two.spawn("b") as b:
            await b.hear("caught")
        filled = (await ask(a, "filled", "fill", batches=batches))["filled"]
        polling = asyncio.create_task(ask(a, "polled", "poll", seconds=PATIENCE_S))
        async with two.spawn("b") as b:
            await b.hear("ready")
            began_ns = time.time_ns()
            caught_ns = (await b.hear("caught", PATIENCE_S))["caught"]
        polling.cancel()
        seconds = (caught_ns - began_ns) / NS_PER_S
    return Caught("hotpair", filled + round(seconds * RATE), seconds)


async def plain(
    folder: Path, certificates: Path, size: int, given: argparse.Namespace, samples: int
) -> tuple[Paced, Caught]:
    """The same bytes, copied, in a folder that exists."""
    place = f"127.0.0.1:{free_port()}"
    common = ("--place", place, "--certificates", certificates)
    stamps = {side: folder / f"{side}.json" for side in ("send", "receive")}
    receiver = python(
        "hil.bench.plain_copy",
        *("receive", *common, "--stamps", stamps["receive"], "--file", folder / "copy"),
    )
    sender = python("hil.bench.plain_copy", "send", *common, "--stamps", stamps["send"])
    async with Spawned("plain-b", receiver, folder) as b, Spawned("plain-a", sender, folder) as a:
        for side in (a, b):
            await side.hear("ready")
        wanted = {"messages": round(given.seconds * RATE / SAMPLES), "size": size}
        pace = {**wanted, "each_s": SAMPLES / RATE}
        b.latest = {}
        copying = asyncio.create_task(a.ask(json.dumps(pace), "sent", PATIENCE_S))
        used = await watch({"a": a.pid, "b": b.pid}, given.seconds)
        await copying
        await b.hear("received", PATIENCE_S)
        found = lags(stamps["send"], stamps["receive"])
        b.latest = {}
        rush = {"messages": samples // SAMPLES, "size": size, "each_s": 0}
        began_ns = (await a.ask(json.dumps(rush), "sent", PATIENCE_S))["began_ns"]
        seconds = ((await b.hear("received", PATIENCE_S))["at_ns"] - began_ns) / NS_PER_S
    paces = Paced("plain TLS copy", found, [], RATE * given.seconds, used["a"], used["b"])
    return paces, Caught("plain TLS copy", samples, seconds)


async def whole(folder: Path, seconds: float, warmup: float) -> Paced:
    """Two nodes with field and server: the lag is what the Main's status tells, each 100 ms."""
    with Places(lab=False) as places:
        field = Field(folder, places, OUTSTATIONS, RATE // OUTSTATIONS, 1_000)
        pair = Ours(folder / "pair", field)
        await pair.make_certificates()
        async with field.process:
            await field.process.hear("text")
            try:
                for node in NODES:
                    await pair.start(node)
                found = await followed(pair, seconds, warmup)
            finally:
                await pair.stop()
    return found


async def followed(pair: Ours, seconds: float, warmup: float) -> Paced:
    """A window of a whole pair."""
    main_, standby = await pair.ready()
    await asyncio.sleep(warmup)
    pids = {"main": pair.process(main_).pid, "standby": pair.process(standby).pid}
    before = await polled(pair, main_)
    watching = asyncio.create_task(watch(pids, seconds))
    told: list[float] = []
    while not watching.done():
        status = await pair.ask(main_, "/status")
        told.append(float(status["replication"]["sending"]["lag_ms"]))
        await asyncio.wait({watching}, timeout=STATUS_S)
    used = watching.result()
    samples = await polled(pair, main_) - before
    return Paced("two whole nodes, told", told, [], samples, used["main"], used["standby"])


async def polled(pair: Ours, node: str) -> int:
    """Samples that a node kept since it is Main."""
    status = await pair.ask(node, "/status")
    return sum(device["samples"] for device in status["devices"].values())


def paced_row(found: Paced, floor: Paced) -> Row:
    """A line of the first table."""
    count = found.samples
    figures = {
        "samples / s": count / found.main.seconds,
        "lag p50 ms": percentile(found.lags_ms, 0.5),
        "lag p99 ms": percentile(found.lags_ms, 0.99),
        "lag max ms": percentile(found.lags_ms, 1.0),
        "p99 / plain": ratio(percentile(found.lags_ms, 0.99), percentile(floor.lags_ms, 0.99)),
        "shown p50 ms": percentile(found.shown_ms, 0.5),
        "shown p99 ms": percentile(found.shown_ms, 0.99),
        "Main %": found.main.cpu_percent,
        "Main µs/sample": found.main.per(count),
        "Standby %": found.standby.cpu_percent,
        "Standby µs/sample": found.standby.per(count),
        "lags": len(found.lags_ms),
    }
    return Row(found.party, figures)


def caught_row(found: Caught, floor: Caught) -> Row:
    """A line of the second table."""
    speed = found.samples / found.seconds
    figures = {
        "samples": found.samples,
        "seconds": found.seconds,
        "samples / s": speed,
        "x real time": speed / RATE,
        "plain / this": ratio(floor.samples / floor.seconds, speed),
    }
    return Row(found.party, figures)


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """async, sync, the copy; then the catch-up of a Standby that was away."""
    certificates = folder / "certificates"
    certificates.mkdir()
    async with Spawned("cert", hotpair("cert", "a", "b", "--out", "."), certificates) as made:
        if await made.ended():
            raise BenchError(f"hotpair cert failed:\n{made.last_words()}")
    rows = []
    for party, sync in (("async", False), ("sync", True)):
        progress(f"replication: {party}")
        two = Two(folder / party, certificates)
        rows.append(await paced(two, party, sync, given.seconds, given.warmup))
    progress("replication: two whole nodes")
    rows.append(await whole(folder / "nodes", given.seconds, given.warmup))
    async with two.spawn("a") as a:
        await a.hear("ready")
        await ask(a, "polled", "poll", seconds=1)
        size = int((await ask(a, "wire", "wire"))["wire"])
    progress(f"replication: a Standby that was away for {given.minutes:g} min")
    caught = await away(Two(folder / "away", certificates), given.minutes)
    progress("replication: plain copy")
    floor, floor_caught = await plain(folder, certificates, size, given, caught.samples)
    title = (
        f"replication: {RATE:,} samples/s in batches of {SAMPLES} ({size} bytes each), "
        "from commit at the Main to commit at the Standby"
    )
    notes = (
        "shown: from the poll until clients may see the value; commits are made each 50 ms.",
        "told: each reading is the longest delay from commit to acknowledgement of the last 0.2 s.",
        "The copy appends to a file: no database, no digests, no acknowledgement.",
    )
    behind = f"catching up after {given.minutes:g} min away, while the Main goes on polling"
    return [
        Outcome(title, [paced_row(one, floor) for one in (*rows, floor)], notes),
        Outcome(behind, [caught_row(one, floor_caught) for one in (caught, floor_caught)]),
    ]


if __name__ == "__main__":
    options = parser(__doc__, seconds=20)
    options.add_argument("--minutes", type=float, default=5.0, help="how long the Standby was away")
    main(bench, options)
