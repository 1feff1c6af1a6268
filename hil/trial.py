"""A site run for half an hour: each device faulted once, another vendor's client, a judge.

    python -m hil.trial [SITE] [--minutes 30] [--keep FOLDER] [--port-offset N]

Outstations and node run as processes of the installed program. A node-opcua client subscribes to
every point from the start to the end, and reads the history of the whole run at the end; its rows
are judged by the truth of the plant, faults of values included, and compared with the journal.
The printed transcript is what an issue is closed with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from gateway.model import NS_PER_S, format_time
from hil.bench.process import BenchError, Spawned, cleaning_up, node_js
from hil.gateway import Control, Program, ProgramError
from hil.judges import Row, Verdict, judge
from hil.nemesis import Stroke, drive, read_schedule
from hil.outstation.control import send
from hil.plant import Plant
from hil.runs import Happening, judged
from hil.site import load_site, localise

WATERWORKS: Final = Path(__file__).parent / "sites" / "waterworks"
CLIENTS: Final = Path(__file__).parent / "bench"
REPORT_S: Final = 30.0
PUBLISHING_MS: Final = 500
SETTLE_S: Final = 15.0
EVIDENCE_SHOWN: Final = 10


def say(text: str) -> None:
    """A line of the transcript."""
    print(f"{format_time(time.time_ns())}  {text}", flush=True)


@dataclass(slots=True)
class Trial:
    """What runs, and when it began."""

    folder: Path
    plant: Plant
    outstations: Program
    node: Program
    control: Control
    rig_socket: Path
    endpoint: str = ""
    client: Spawned | None = None
    born_ns: int = 0
    from_ns: int = 0


def lay_out(site: Path, folder: Path, offset: int) -> Trial:
    """Copy a site into a working folder, its ports moved, and describe what will run."""
    shutil.copytree(site, folder, dirs_exist_ok=True)
    for name in ("site.yaml", "node.yaml"):
        path = folder / name
        path.write_text(localise(path.read_text(), offset))
    site_file, node_file = str(folder / "site.yaml"), str(folder / "node.yaml")
    rig_socket = folder / "rig.sock"
    outstations = Program(
        "outstations",
        ["outstation", "--site", site_file, "--node", node_file, "--control", str(rig_socket)],
        folder / "outstations.log",
        "ready",
    )
    node = Program("node", ["run", node_file], folder / "node.log", "is Main")
    plant = load_site(folder / "site.yaml")
    return Trial(folder, plant, outstations, node, Control(folder / "data" / "a"), rig_socket)


def node_ids(trial: Trial) -> Path:
    """The NodeIds of all readable points, a line each, for the client."""
    ids = [f"ns=2;s={point.id}" for point in trial.plant.points() if point.access.readable]
    path = trial.folder / "nodes.txt"
    path.write_text("\n".join(ids) + "\n")
    return path


async def start(trial: Trial) -> None:
    """Start outstations, node and client. Raises ProgramError, BenchError."""
    await trial.outstations.start()
    trial.born_ns = time.time_ns()
    trial.endpoint = (await trial.node.start()).rpartition(" ")[2]
    say(f"node is up at {trial.endpoint}")
    script = CLIENTS / "subscriber.js"
    command = node_js(script, trial.endpoint, node_ids(trial), PUBLISHING_MS)
    trial.client = Spawned("client", command, trial.folder)
    await trial.client.start()
    heard = await trial.client.hear("monitored")
    say(f"node-opcua client subscribed to {heard['monitored']} points")
    trial.from_ns = time.time_ns()


async def stop(trial: Trial) -> None:
    """End everything."""
    if trial.client is not None:
        await trial.client.stop()
    await trial.control.close()
    began = time.monotonic()
    status = await trial.node.stop()
    say(f"node stopped with status {status} in {time.monotonic() - began:.2f} s")
    await trial.outstations.stop()


# ------------------------------------------------------------------------------ while it runs


def tell(stroke: Stroke, answer: Mapping[str, Any]) -> None:
    """A fault in the transcript."""
    words = " ".join(f"{key}={value}" for key, value in stroke.message.items())
    say(f"fault: {words}" + ("" if answer.get("ok") else f"  REFUSED: {answer.get('error')}"))


async def watch(trial: Trial, minutes: float) -> None:
    """A line each half minute: devices, CPU, memory, what the client saw."""
    process = psutil.Process(trial.node.pid)
    process.cpu_percent()
    loop = asyncio.get_running_loop()
    end = loop.time() + minutes * 60
    while (left_s := end - loop.time()) > 0:
        await asyncio.sleep(min(REPORT_S, left_s))
        status = await trial.control.get("/status")
        assert trial.client is not None
        seen = await trial.client.ask("report", "values")
        down = [name for name, d in status["devices"].items() if d["state"] != "up"]
        samples = sum(d["samples"] for d in status["devices"].values())
        overruns = sum(d["overruns"] for d in status["devices"].values())
        p50, p95 = seen["age_p50_ms"], seen["age_p95_ms"]
        say(
            f"down: {', '.join(down) or 'none'}; {samples} samples, {overruns} overruns; "
            f"node {process.cpu_percent():.0f} % CPU, {process.memory_info().rss / 1e6:.0f} MB; "
            f"client got {seen['values']} values, age p50/p95 {p50}/{p95} ms"
        )


async def events(trial: Trial) -> None:
    """What the node itself said about the run."""
    found = await trial.control.get("/events", **{"from": trial.born_ns, "to": time.time_ns()})
    say(f"the node told {len(found)} events:")
    for event in found:
        say(f"    {event['time']} [{event['severity']}] {event['source']}: {event['text'][:160]}")


# ------------------------------------------------------------------------------ the verdict


async def settled(trial: Trial, to_ns: int) -> None:
    """Wait until the node has claimed or declared all of the run."""
    async with asyncio.timeout(SETTLE_S * 4):
        while (await trial.control.get("/status"))["complete_through"] < format_time(to_ns):
            await asyncio.sleep(0.5)


async def compare(trial: Trial, rows: Mapping[str, list[Any]], to_ns: int) -> None:
    """Read the same history with the client of the other vendor and count."""
    begin, end = format_time(trial.born_ns - NS_PER_S), format_time(to_ns)
    script, nodes = CLIENTS / "history_reader.js", trial.folder / "nodes.txt"
    command = node_js(script, trial.endpoint, nodes, begin, end, 0, 100)
    reader = Spawned("history", command, trial.folder)
    await reader.start()
    try:
        found = await reader.hear("seconds", 300)
    finally:
        await reader.stop()
    stop_ns = to_ns - to_ns % 1_000_000
    stored = sum(sum(1 for row in mine if row.time_ns < stop_ns) for mine in rows.values())
    rate = found["values"] / found["seconds"]
    say(
        f"node-opcua HistoryRead: {found['values']} values in {found['calls']} calls, "
        f"{rate:.0f} values/s, {found['unordered']} out of order, {found['same_time']} of equal "
        f"time, {found['refused']} refused; "
        f"the journal holds {stored} for the same time"
    )


async def verdict(trial: Trial) -> Verdict:
    """Judge every scan instant of every point."""
    to_ns = time.time_ns()
    await settled(trial, to_ns)
    told = await send(trial.rig_socket, {"journal": True})
    journal = [Happening(*item) for item in told["journal"]]
    points = judged(trial.plant, journal, to_ns)
    gaps = await trial.control.gaps(trial.from_ns, to_ns)
    rows: dict[str, list[Row]] = {}
    for point in points:
        rows[point.id] = list(await trial.control.history(point.id, trial.born_ns, to_ns))
    await compare(trial, rows, to_ns)
    seconds: dict[tuple[str, str], float] = {}
    for gap in gaps:
        key = (gap.device, gap.cause.value)
        seconds[key] = seconds.get(key, 0.0) + (gap.to_ns - gap.from_ns) / NS_PER_S
    for (device, cause), length_s in sorted(seconds.items()):
        say(f"declared: {device} {cause} {length_s:.1f} s (all scan classes together)")
    return judge(points, rows, gaps, trial.from_ns, to_ns)


async def trial(site: Path, minutes: float, folder: Path, offset: int) -> int:
    """Run it all; the exit status is 0 when nothing is missing."""
    running = lay_out(site, folder, offset)
    schedule = read_schedule((site / "faults.yaml").read_text())
    say(f"site {running.plant.site}: {len(running.plant.devices)} devices, {minutes:g} minutes")
    try:
        await start(running)
        faults = asyncio.create_task(drive(schedule, running.rig_socket, tell))
        await watch(running, minutes)
        faults.cancel()
        await asyncio.gather(faults, return_exceptions=True)
        await events(running)
        found = await verdict(running)
    finally:
        await stop(running)
    share = 100 * found.collected / found.expected if found.expected else 0.0
    say(
        f"VERDICT: {found.expected} scan instants, {found.collected} right ({share:.3f} %), "
        f"{found.declared} in declared gaps, {found.missing} missing"
    )
    for item in found.evidence[:EVIDENCE_SHOWN]:
        say(f"    {item}")
    print(json.dumps({"expected": found.expected, "missing": found.missing}))
    return 0 if found.passed else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m hil.trial", description=__doc__)
    parser.add_argument("site", nargs="?", type=Path, default=WATERWORKS)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--keep", type=Path, help="working folder, kept afterwards")
    parser.add_argument("--port-offset", type=int, default=0)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="hotpair-trial-"))
    try:
        work = trial(options.site, options.minutes, folder, options.port_offset)
        return asyncio.run(cleaning_up(work))
    except (ProgramError, BenchError) as error:
        print(f"hotpair: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main())
