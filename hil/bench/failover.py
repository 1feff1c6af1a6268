"""How long a client waits for a fresh value when the Main goes, by kind of fault.

A client of the other node knocks each 20 ms, without security. The clock runs from the instant
before the fault until it has read a value that the new Main polled itself after the fault, checked
against what the plant held then. `all` is the time until that holds for each of ten devices. Beside
it, on the same plant in the same run: a pair as one would write it in an afternoon.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.model import NS_PER_S, Value
from hil.bench.pairs import FAST_MS, Field, Naive, Ours, Pair
from hil.bench.places import NODES, Places
from hil.bench.process import BenchError, Spawned, python
from hil.bench.report import Outcome, Row, asker, main, ratio
from hil.bench.takeovers import Asked, Run, Takeover, percentile, scans, spread, takeover
from hil.outstation.polls import read_polls

KINDS: Final = ("changeover", "kill", "power-off", "cable", "freeze")
OF_THE_LAB: Final = frozenset(("power-off", "cable"))
SETTLED_S: Final = 0.5
KNOCKING_S: Final = 0.1
READS_S: Final = 1.3
CLIENT_S: Final = 90.0
FLUSH_S: Final = 1.5
BEFORE_NS: Final = NS_PER_S // 2
PATIENCE_NS: Final = 60 * NS_PER_S
AFTER_NS: Final = 2 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Series:
    """The runs of one party under one kind of fault, judged."""

    party: str
    kind: str
    takeovers: Sequence[Takeover]
    lost: int | None = None
    doubled: int | None = None

    @property
    def fresh(self) -> list[float | None]:
        """The time of each run until the first fresh value."""
        return [one.fresh_ms for one in self.takeovers]


class Bench:
    """One plant, one client, and the pair that is measured just now."""

    def __init__(self, pair: Pair, client: Spawned, seed: int) -> None:
        self.pair = pair
        self._client = client
        self._random = random.Random(seed)

    async def run(self, kind: str, last: bool) -> Run:
        """One fault, and back to a whole pair, unless it was the last."""
        pair = self.pair
        old, new = await pair.ready()
        # Faults fall anywhere between heartbeats and scans.
        await asyncio.sleep(SETTLED_S + self._random.random() / 2)
        wanted = {
            "url": pair.endpoints[new],
            "nodes": pair.watched,
            "by": pair.stamp,
            "for_s": READS_S,
        }
        asking = asyncio.create_task(self._client.ask(json.dumps(wanted), "seen", CLIENT_S))
        going = asyncio.create_task(self._gone_ns(old))
        await asyncio.sleep(KNOCKING_S)
        at_ns = time.time_ns()
        try:
            await self._do(kind, old)
            found = await asking
        finally:
            asking.cancel()
            going.cancel()
        role_ns, why = await self._main_since(new, at_ns)
        await self._undo(kind, old, last)
        return Run(
            at_ns,
            pair.bind(new),
            role_ns,
            found["open_ns"],
            found["session_ns"],
            {node: [tuple(one) for one in seen] for node, seen in found["seen"].items()},
            going.result() if going.done() and not going.cancelled() else 0,
            why,
            os.getloadavg()[0],
        )

    async def _gone_ns(self, node: str) -> int:
        """When the kernel had closed what a process had open: until then nothing is refused."""
        await self.pair.process(node).ended()
        return time.time_ns()

    async def _do(self, kind: str, node: str) -> None:
        pid, lab = self.pair.process(node).pid, self.pair.places.lab
        if kind == "changeover":
            await self.pair.change_over(node)
        elif kind == "kill":
            os.kill(pid, signal.SIGKILL)
        elif kind == "freeze":
            os.kill(pid, signal.SIGSTOP)
        else:
            assert lab is not None
            if kind == "power-off":
                # Stopped first: cutting takes a while, and no current means no last word.
                os.kill(pid, signal.SIGSTOP)
            await asyncio.to_thread(lab.isolate, node)
            if kind == "power-off":
                os.kill(pid, signal.SIGKILL)

    async def _undo(self, kind: str, node: str, last: bool) -> None:
        pair, lab = self.pair, self.pair.places.lab
        ours = isinstance(pair, Ours)
        if ours and kind == "changeover":
            return
        if ours and kind == "freeze":
            os.kill(pair.process(node).pid, signal.SIGCONT)
            return
        # A node that was cut off ends before it is back: two Mains that settle who stays would
        # make the pair more patient for ten minutes, and the next run would measure that.
        await pair.kill(node)
        if lab is not None and kind in OF_THE_LAB:
            await asyncio.to_thread(lab.rejoin, node)
        if not last:
            await pair.start(node)

    async def _main_since(self, node: str, from_ns: int) -> tuple[int, str]:
        if not isinstance(self.pair, Ours):
            return 0, ""
        told = await self.pair.ask(node, "/roles")
        mine = [span for span in told.get("reigns", ()) if span["node"] == node]
        since = [(span["from_ns"], span["why"]) for span in mine if span["from_ns"] >= from_ns]
        return max(since, default=(0, ""))


def judge(pair: Pair, kind: str, runs: Sequence[Run]) -> Series:
    """What the runs of a kind came to, by the client's notes and the outstations' log."""
    points = {f"ns=2;s={p.id}": p for d in pair.field.plant.devices.values() for p in d.points}

    periods = {d.name: d.points[0].period_ns for d in pair.field.plant.devices.values()}

    def truth(node: str, from_ns: int, to_ns: int) -> set[Value]:
        return {step.value for step in points[node].steps(from_ns, to_ns)}

    polls = [
        Asked(poll.received_ns, poll.device, poll.peer.rpartition(":")[0])
        for poll in read_polls(pair.field.polls_file)
        if poll.address == 0 and poll.function == 3
    ]
    found, lost, doubled = [], 0, 0
    for run in runs:
        since = [poll for poll in polls if run.at_ns <= poll.at_ns < run.at_ns + PATIENCE_NS]
        found.append(takeover(run, since, truth))
        span = (run.at_ns - BEFORE_NS, run.at_ns + AFTER_NS)
        near = [poll for poll in polls if span[0] - NS_PER_S <= poll.at_ns < span[1] + NS_PER_S]
        times: dict[str, list[int]] = {name: [] for name in periods}
        for poll in near:
            times[poll.device].append(poll.at_ns)
        for device, period_ns in periods.items():
            missed, twice = scans(times[device], period_ns, *span)
            lost, doubled = lost + missed, doubled + twice
    if kind == "changeover":
        return Series(pair.party, kind, found, lost, doubled)
    return Series(pair.party, kind, found)


def rows(series: Sequence[Series]) -> list[Row]:
    """The table: ours and the naive one of each kind, below each other."""
    medians = {(one.party, one.kind): percentile(one.fresh, 0.5) for one in series}
    made = []
    for one in sorted(series, key=lambda s: (KINDS.index(s.kind), s.party)):
        ours = medians.get(("hotpair", one.kind))
        everybody = [t.all_ms for t in one.takeovers]
        figures = {
            "runs": len(one.takeovers),
            **spread(one.fresh),
            "this / hotpair": ratio(medians[one.party, one.kind], ours),
            "all: median": percentile(everybody, 0.5),
            "all: p99": percentile(everybody, 0.99),
            "scans lost": one.lost,
            "doubled": one.doubled,
            "wrong values": sum(t.wrong for t in one.takeovers),
            "load": percentile([t.load for t in one.takeovers], 0.5),
        }
        made.append(Row(f"{one.kind}, {one.party}", figures))
    return made


def steps(series: Sequence[Series]) -> list[Row]:
    """Where the time goes: medians of each step, from the fault on."""
    made = []
    for one in series:
        if one.party != "hotpair":
            continue
        taken = one.takeovers
        figures = {
            "gone": percentile([t.gone_ms for t in taken if t.gone_ms is not None], 0.5),
            "is Main": percentile([t.role_ms for t in taken], 0.5),
            "first poll": percentile([t.poll_ms for t in taken], 0.5),
            "port open": percentile([t.open_ms for t in taken], 0.5),
            "session": percentile([t.session_ms for t in taken], 0.5),
            "fresh value": percentile(one.fresh, 0.5),
            "gone p99": percentile([t.gone_ms for t in taken if t.gone_ms is not None], 0.99),
            "is Main p99": percentile([t.role_ms for t in taken], 0.99),
            "first poll p99": percentile([t.poll_ms for t in taken], 0.99),
            "session p99": percentile([t.session_ms for t in taken], 0.99),
            "by silence": sum(t.why.endswith("is silent") for t in taken),
        }
        made.append(Row(one.kind, figures))
    return made


def summary(series: Series) -> str:
    """One line for whoever waits: the figures so far, and the steps of the slowest run."""
    figures = spread(series.fresh).items()
    shown = ", ".join(f"{name}: {ms:,.0f}" for name, ms in figures if ms is not None)
    slowest = max(series.takeovers, key=lambda one: one.fresh_ms or math.inf)
    return f"  {shown}; slowest: {slowest}"


async def measure(
    pair: Pair,
    client: Spawned,
    kinds: Sequence[str],
    count: int,
    seed: int,
    progress: Callable[[str], None],
) -> list[Series]:
    """All runs of a pair."""
    found = []
    try:
        for node in NODES:
            await pair.start(node)
        bench = Bench(pair, client, seed)
        for kind in kinds:
            progress(f"failover: {pair.party}, {kind}")
            lasts = [kind == kinds[-1] and number == count - 1 for number in range(count)]
            runs = [await bench.run(kind, last) for last in lasts]
            await asyncio.sleep(FLUSH_S)
            found.append(judge(pair, kind, runs))
            progress(summary(found[-1]))
    finally:
        await pair.stop()
    return found


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """Both pairs on one plant, one after the other."""
    kinds = [k for k in given.kinds if not (given.loopback and k in OF_THE_LAB)]
    if not kinds:
        raise BenchError("power-off and cable need a lab: leave --loopback out")
    with Places(not given.loopback) as places:
        field = Field(folder, places, given.devices, given.registers, witness=given.witness)
        command = [*places.inside("c"), *python("hil.bench.takeover_client")]
        async with field.process, Spawned("client", command, folder) as client:
            await field.process.hear("text")
            await client.hear("ready")
            ours = Ours(folder / "hotpair", field)
            await ours.make_certificates()
            series = await measure(ours, client, kinds, given.runs, given.seed, progress)
            if given.naive_runs:
                naive = Naive(folder / "naive", field)
                series += await measure(
                    naive, client, kinds, given.naive_runs, given.seed, progress
                )
    how = "with one PLC as witness" if given.witness else "without witness"
    title = (
        f"failover: {given.devices} outstations, {given.devices * given.registers:,} points, "
        f"scans of {given.scan_ms} ms, {how}; "
        "from the fault to the first fresh value at a client"
    )
    notes = [
        "fresh: polled by the new main itself.",
        "all: a point of each of ten devices; two of these are scanned each second.",
        "load: runnable processes on this machine over a minute, the median of the runs.",
        "naive: asks `alive?` each second, three misses; its changeover is a SIGTERM of the main.",
        "The best published server pairs take 3 to 70 s.",
    ]
    profile = Outcome("where the time goes: medians in ms from the fault on", steps(series))
    return [Outcome(title, rows(series), notes), profile]


if __name__ == "__main__":
    options = asker(__doc__)
    options.add_argument("--runs", type=int, default=50, help="of each kind")
    options.add_argument("--naive-runs", type=int, default=5, help="of each kind; 0: leave it out")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--devices", type=int, default=10)
    options.add_argument("--registers", type=int, default=20, help="of each device")
    options.add_argument("--scan-ms", type=int, default=FAST_MS)
    options.add_argument("--witness", action="store_true", help="a PLC votes: a lease on top")
    options.add_argument("--loopback", action="store_true", help="no lab: three kinds only")
    options.add_argument("--seed", type=int, default=1)
    main(bench, options)
