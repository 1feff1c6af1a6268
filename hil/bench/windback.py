"""What winding back costs: an hour of a device's own log through the whole node, beside bare loops.

The log has a record of 20 points each second. While the node reads it, it scans the same device and
four others, on lines of their own, each 200 ms. Afterwards, while the node goes on scanning, the
same log is read by loops that keep nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_MS
from hil.bench import logged_site as sites
from hil.bench.history import cpu_s
from hil.bench.log_polls import LogReads, Scans, log_reads, scans
from hil.bench.logged_site import LoggedSite
from hil.bench.process import BenchError, Spawned, free_ports, hotpair, python
from hil.bench.report import Outcome, Row, asker, main, ratio
from hil.bench.takeovers import percentile
from hil.gateway import Control
from hil.outstation.control import send
from hil.outstation.polls import read_polls

START_S: Final = 60.0
READ_S: Final = 600.0
LOOK_S: Final = 0.25
OTHERS: Final = 4
SCAN_NS: Final = sites.SCAN_MS * NS_PER_MS
Loops = dict[str, dict[str, Any]]
"""What each bare loop said."""


@dataclass(frozen=True, slots=True)
class Case:
    """A log, and how long its device takes to answer beyond what the outstation needs."""

    name: str
    device: str
    latency_ms: float
    loops: tuple[str, ...]


CASES: Final = (
    Case("ring", "plc1", 0.0, ("socket", "pymodbus")),
    Case("slow-ring", "plc1", 10.0, ("socket", "pymodbus")),
    Case("opcua", "plc2", 0.0, ("asyncua",)),
)


@dataclass(frozen=True, slots=True)
class Wound:
    """What one run of the node came to."""

    reads: LogReads
    own: Scans | None
    others: list[Scans]
    watched: Watched
    stall_before_ms: float
    stall_ms: float


class Field:
    """The outstations of a run: an OPC UA server is a process of its own."""

    def __init__(self, site: LoggedSite, case: Case, seconds: int) -> None:
        parts = {"field": [site.device, *site.others]}
        if case.device == "plc2":
            parts = {"plc": [site.device], "field": list(site.others)}
        self._site = site
        self.control = site.folder / "rig.sock"
        self._logs = [site.folder / f"{name}.jsonl" for name in parts]
        self.processes = []
        for (name, devices), log in zip(parts.items(), self._logs, strict=True):
            file = sites.write_rig(site, site.folder / name, devices, seconds, case.latency_ms)
            arguments: list[object] = ["outstation", "--site", file, "--log", log]
            if site.device in devices:
                arguments += ["--control", self.control]
            self.processes.append(Spawned(name, hotpair(*arguments), site.folder))

    async def start(self, stack: AsyncExitStack) -> None:
        for process in self.processes:
            await stack.enter_async_context(process)
            await process.hear("text", START_S, "ready")

    async def tell(self, **message: Any) -> None:
        """A command to the outstation with the log. Raises BenchError."""
        answer = await send(self.control, message)
        if not answer.get("ok"):
            raise BenchError(f"the outstation refused {message}: {answer.get('error')}")

    def polls(self) -> list[Any]:
        """All polls so far; to be read after the outstations ended, when all are written."""
        return [poll for log in self._logs for poll in read_polls(log)]


async def leave_a_gap(site: LoggedSite, seconds: int) -> None:
    """Have the node run for a moment, so many seconds ago."""
    command = python("hil.bench.hour_ago", seconds, "run", "node.yaml")
    async with Spawned("hour-ago", command, site.folder) as node:
        await node.hear("text", START_S, "is Main")
        control = Control(site.data_dir)
        try:
            while not spoke_for(await control.get("/status")):
                await asyncio.sleep(LOOK_S)
        finally:
            await control.close()


def spoke_for(status: dict[str, Any]) -> bool:
    """Whether a node has journalled a claim of what it polled: a gap begins where one ends."""
    claimed = status["claimed_through"]  # None until the first claim
    return claimed is not None and bool(claimed > status["since"])


class Watched(NamedTuple):
    """What windback did, and what the node had used at each look: (ns UTC, CPU seconds)."""

    told: dict[str, Any]
    used: list[tuple[int, float]]

    def cpu_s(self, from_ns: int, to_ns: int) -> float:
        """CPU seconds of a stretch, evenly spread between two looks."""
        return self._at(to_ns) - self._at(from_ns)

    def _at(self, at_ns: int) -> float:
        for (a_ns, a_s), (b_ns, b_s) in pairwise(self.used):
            if a_ns <= at_ns <= b_ns:
                return a_s + (b_s - a_s) * (at_ns - a_ns) / (b_ns - a_ns)
        return self.used[-1][1]


async def wound_back(control: Control, node: Spawned, device: str, records: int) -> Watched:
    """Wait until the log was read through and no gap of the device is open. Raises BenchError."""
    used = [(time.time_ns(), cpu_s(node.pid))]
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(READ_S):
            while not found or found["records"] < records or found["open_gaps"]:
                await asyncio.sleep(LOOK_S)
                found = (await control.get("/windback")).get(device, {})
                used.append((time.time_ns(), cpu_s(node.pid)))
    except TimeoutError:
        raise BenchError(f"the log of {device} was not read in {READ_S:g} s: {found}") from None
    return Watched(found, used)


async def run_loops(site: LoggedSite, case: Case, seconds: int) -> Loops:
    """Each bare loop, one after the other."""
    found = {}
    for way in case.loops:
        command = python("hil.bench.log_loops", way, "--port", site.port, "--seconds", seconds)
        async with Spawned(way, command, site.folder) as loop:
            found[way] = dict(await loop.hear("seconds", READ_S))
    return found


async def run(case: Case, folder: Path, given: argparse.Namespace) -> tuple[Wound, Loops]:
    """One gap through the node, then the loops while it goes on polling."""
    site = sites.write(folder, case.device, free_ports(OTHERS + 2))
    await leave_a_gap(site, given.seconds)
    field = Field(site, case, given.seconds + 60)
    async with AsyncExitStack() as stack:
        await field.start(stack)
        await field.tell(fault="refuse", device=case.device)
        node = Spawned("hotpair", hotpair("run", "node.yaml"), site.folder)
        await stack.enter_async_context(node)
        await node.hear("text", START_S, "is Main")
        control = Control(site.data_dir)
        stack.push_async_callback(control.close)
        await asyncio.sleep(given.warmup)
        before = await control.get("/status")
        winding = asyncio.create_task(wound_back(control, node, case.device, given.seconds))
        await asyncio.sleep(0)  # the first look is at the node before it reads
        await field.tell(clear=case.device)
        watched = await winding
        after = await control.get("/status")
        done_ns = time.time_ns()
        loops = await run_loops(site, case, given.seconds)
    polls = field.polls()
    own_polls = [poll for poll in polls if poll.received_ns < done_ns]
    reads = log_reads(own_polls, case.device, sites.RING_AT)
    if reads is None:
        raise BenchError(f"nobody read the log of {case.device}")
    devices = [site.device, *site.others] if case.device == "plc1" else list(site.others)
    span = (reads.from_ns, reads.to_ns)
    seen = {d: scans(polls, d, sites.RING_AT, SCAN_NS, *span) for d in devices}
    own = seen.pop(site.device, None)
    stalls = (before["late_max_ms"], after["late_max_ms"])
    return Wound(reads, own, list(seen.values()), watched, *stalls), loops


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def rows(case: Case, found: Sequence[tuple[Wound, Loops]]) -> list[Row]:
    """The node, then each loop: medians over all runs, of scans the worst."""
    wound = [one for one, _ in found]
    took_s = middle(one.reads.took_ms / 1e3 for one in wound)
    figures: dict[str, float | int | str | None] = {
        "seconds": took_s,
        "hotpair / this": 1.0,
        "requests": round(middle(one.reads.requests for one in wound)),
        "outstation busy s": middle(one.reads.answering_ms / 1e3 for one in wound),
        "values": round(middle(one.watched.told["samples"] for one in wound)),
        "CPU s": middle(one.watched.cpu_s(one.reads.from_ns, one.reads.to_ns) for one in wound),
    }
    listed = [Row("hotpair", figures)]
    for way in case.loops:
        loops = [each[way] for _, each in found]
        each_s = middle(loop["seconds"] for loop in loops)
        asked, told = (None, loops[0]["count"]) if way == "asyncua" else (loops[0]["count"], None)
        listed.append(
            Row(
                way,
                {
                    "seconds": each_s,
                    "hotpair / this": ratio(took_s, each_s),
                    "requests": asked,
                    "values": told,
                    "CPU s": middle(loop["cpu_s"] for loop in loops),
                },
            )
        )
    return listed


def beside(found: Sequence[Wound]) -> list[Row]:
    """The scans while the log was read, of all runs together."""
    parties: dict[str, list[Scans]] = {"other devices": [s for one in found for s in one.others]}
    own = [one.own for one in found if one.own is not None]
    listed = [Row("the same device", scanned(own))] if own else []
    listed += [Row(name, scanned(seen)) for name, seen in parties.items()]
    return listed


def scanned(seen: Sequence[Scans]) -> dict[str, float | int | str | None]:
    """Scans of several devices or runs as one row."""
    late_ms = [ms for each in seen for ms in each.late_ms]
    return {
        "scans due": sum(each.due for each in seen),
        "missed": sum(each.missed for each in seen),
        "late p50 ms": percentile(late_ms, 0.5),
        "late p95 ms": percentile(late_ms, 0.95),
        "late max ms": percentile(late_ms, 1.0),
    }


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """Each case so many times."""
    outcomes = []
    for case in CASES:
        if case.name not in given.cases:
            continue
        found = []
        for number in range(given.runs):
            progress(f"windback, {case.name}: run {number + 1} of {given.runs}")
            found.append(await run(case, folder / f"{case.name}-{number}", given))
        wound = [one for one, _ in found]
        size = f"{given.seconds} records of {sites.POINTS} points"
        stalls = ", ".join(f"{w.stall_before_ms:g} / {w.stall_ms:g}" for w in wound)
        notes = (
            f"Longest stall of the node's loop in ms, before / after each run: {stalls}",
            f"The outstation answers {case.latency_ms:g} ms later than it could.",
        )
        outcomes.append(Outcome(f"windback, {case.name}: {size}", rows(case, found), notes))
        title = f"windback, {case.name}: scans each {sites.SCAN_MS} ms while the log is read"
        outcomes.append(Outcome(title, beside(wound)))
    return outcomes


if __name__ == "__main__":
    options = asker(__doc__)
    names = [case.name for case in CASES]
    options.add_argument("--seconds", type=int, default=3_600, help="how much of the log is read")
    options.add_argument("--warmup", type=float, default=5.0, help="before the device is back")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--cases", nargs="+", choices=names, default=names)
    main(bench, options)
