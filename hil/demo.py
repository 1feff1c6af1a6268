"""`hotpair demo`: a small plant, a node, and the judge, in one command on loopback.

Three programs run as three processes, as they would in a plant: the outstations, the node, and this
one, which only looks, through the doors that everybody has: the node's socket and its OPC UA
endpoint. At the end it counts, for each scan instant of each point, whether history gives the value
that the plant held, or a declared gap says why not.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.model import NS_PER_S, Gap, Value, format_time
from hil.gateway import Control, Program, ProgramError, Reader
from hil.judges import Verdict, judge
from hil.plant import Plant
from hil.runs import judged
from hil.site import load_site, localise

SITE: Final = Path(__file__).parent / "sites" / "demo"
BASE_PORT: Final = 4840
BAR_CELLS: Final = 40
BAR_S: Final = 60
RENEW_S: Final = 0.5
SETTLE_S: Final = 3.0
"""After the last instant that is judged, so that its coverage record is there."""


@dataclass(slots=True)
class Rig:
    """A demonstration that runs: its folder, its programs, its doors."""

    folder: Path
    outstations: Program
    node: Program
    control: Control
    endpoint: str
    plant: Plant
    born_ns: int = 0
    started_ns: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)


def lay_out(folder: Path, base_port: int) -> Plant:
    """Put the site's files into a folder, with all ports moved to `base_port`."""
    offset = base_port - BASE_PORT
    for name in ("site.yaml", "node.yaml", "rig.yaml"):
        (folder / name).write_text(localise((SITE / name).read_text(), offset))
    return load_site(folder / "site.yaml")


async def start(folder: Path, base_port: int) -> Rig:
    """Start outstations and node, and wait until both are ready. Raises ProgramError."""
    plant = lay_out(folder, base_port)
    site, node = str(folder / "site.yaml"), str(folder / "node.yaml")
    outstations = Program(
        "outstations",
        ["outstation", "--site", site, "--node", node],
        folder / "outstations.log",
        "ready",
    )
    gateway = Program("node a", ["run", node], folder / "node-a.log", "is Main")
    await outstations.start()
    try:
        born_ns = time.time_ns()
        said = await gateway.start()
    except BaseException:  # whatever stopped us, the outstations must not outlive us
        await outstations.stop()
        raise
    endpoint = said.rpartition(" ")[2]
    control = Control(folder / "data" / "a")
    now_ns = time.time_ns()
    return Rig(folder, outstations, gateway, control, endpoint, plant, born_ns, now_ns)


async def stop(rig: Rig) -> None:
    """End what was started."""
    await rig.control.close()
    await rig.node.stop()
    await rig.outstations.stop()


# ---------------------------------------------------------------------------------- the view


def coverage_bar(gaps: Sequence[Gap], device: str, now_ns: int, since_ns: int) -> Text:
    """The last minute of a device, oldest first: complete, not complete, before the start."""
    bar = Text()
    cell_ns = BAR_S * NS_PER_S // BAR_CELLS
    first_ns = now_ns - BAR_S * NS_PER_S
    mine = [gap for gap in gaps if gap.device == device]
    for index in range(BAR_CELLS):
        from_ns = first_ns + index * cell_ns
        to_ns = from_ns + cell_ns
        if to_ns <= since_ns:
            bar.append("·", "dim")
        elif any(gap.from_ns < to_ns and from_ns < gap.to_ns for gap in mine):
            bar.append("▒", "red")
        else:
            bar.append("█", "green")
    return bar


def draw(
    rig: Rig, status: dict[str, Any], points: list[dict[str, Any]], gaps: Sequence[Gap]
) -> RenderableType:
    """The live view: who is Main, coverage by device, values."""
    now_ns = time.time_ns()
    total = sum(device["samples"] for device in status["devices"].values())
    rig.samples = [*rig.samples[-20:], (now_ns, total)]
    (then_ns, before), elapsed = rig.samples[0], 0.0
    elapsed = (now_ns - then_ns) / NS_PER_S
    rate = (total - before) / elapsed if elapsed > 0 else 0.0
    head = Text.assemble(
        ("Hotpair demo ", "bold"),
        f"site {status['site']}, node {status['node']} is {status['role']}\n",
        f"OPC UA at {status['endpoint']} ",
        ("open without encryption or users: loopback only\n", "yellow"),
        f"{rate:5.1f} samples/s kept, {total} in all; "
        f"complete through {status['complete_through']}",
    )
    devices = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("device", "state", "rtt ms", f"coverage, last {BAR_S} s", "note"):
        devices.add_column(column)
    for name, device in status["devices"].items():
        style = {"up": "green", "down": "bold red"}.get(device["state"], "cyan")
        rtt = f"{device['rtt_p50_ms']:.1f}" if device["rtt_p50_ms"] is not None else ""
        bar = coverage_bar(gaps, name, now_ns, rig.started_ns)
        devices.add_row(name, Text(device["state"], style), rtt, bar, device["why"])
    values = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("point", "value", "unit", "status", "changed"):
        values.add_column(column)
    for point in points:
        value = point["value"]
        shown = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
        label = f" {point['label']}" if point["label"] else ""
        style = "" if point["status"] == "Good" else "red"
        changed = format_time(point["source_time_ns"])[11:23] if point["source_time_ns"] else ""
        status_text = Text(point["status"], style)
        values.add_row(point["point"], shown + label, point["unit"], status_text, changed)
    return Group(head, Text(), devices, Text(), values)


async def look(rig: Rig) -> RenderableType:
    """One frame of the view."""
    now_ns = time.time_ns()
    status, points = await rig.control.get("/status"), await rig.control.get("/points")
    gaps = await rig.control.gaps(now_ns - BAR_S * NS_PER_S, now_ns - 2 * NS_PER_S)
    return draw(rig, status, points, gaps)


async def watch(rig: Rig, seconds: float | None, console: Console, quiet: bool) -> None:
    """Show the plant until the time is over or somebody presses Ctrl-C. Raises ProgramError."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    deadline = None if seconds is None else loop.time() + seconds
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        while not ended.is_set() and (deadline is None or loop.time() < deadline):
            frame = await look(rig)
            if not quiet:
                screen.update(frame, refresh=True)
            wait_s = RENEW_S if deadline is None else min(RENEW_S, deadline - loop.time())
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    await ended.wait()
            except TimeoutError:
                continue


# ---------------------------------------------------------------------------------- the verdict


async def complete_through(rig: Rig, instant_ns: int) -> None:
    """Wait until the node has said what is complete through an instant."""
    async with asyncio.timeout(SETTLE_S * 10):
        while True:
            gaps = await rig.control.get("/status")
            if gaps["complete_through"] >= format_time(instant_ns):
                return
            await asyncio.sleep(0.2)


async def verdict(rig: Rig, to_ns: int) -> Verdict:
    """Read all history as a client of the endpoint, all gaps, and judge them by the truth."""
    from_ns = rig.started_ns
    await complete_through(rig, to_ns)
    gaps = await rig.control.gaps(from_ns, to_ns)
    points = judged(rig.plant)
    rows: dict[str, list[tuple[int, Value, int]]] = {}
    async with Reader(rig.endpoint, f"urn:hotpair:{rig.plant.site}") as reader:
        for point in points:
            rows[point.id] = await reader.history(point.id, rig.born_ns, to_ns)
    return judge(points, rows, gaps, from_ns, to_ns)


def report(found: Verdict, endpoint: str) -> dict[str, Any]:
    """What the last line of `--json` says."""
    return {
        "expected": found.expected,
        "collected": found.collected,
        "declared": found.declared,
        "missing": found.missing,
        "endpoint": endpoint,
        "evidence": [str(item) for item in found.evidence[:20]],
    }


async def demo(seconds: float | None, as_json: bool, base_port: int, keep: Path | None) -> int:
    """Run it all; the exit status is 0 when nothing is missing."""
    console = Console(stderr=as_json)
    folder = keep or Path(tempfile.mkdtemp(prefix="hotpair-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        rig = await start(folder, base_port)
        try:
            console.print(
                f"OPC UA endpoint {rig.endpoint} (no encryption, no users: loopback only). "
                f"Logs and data: {folder}. Ctrl-C ends it."
            )
            await watch(rig, seconds, console, quiet=as_json)
            found = await verdict(rig, time.time_ns())
        finally:
            await stop(rig)
    except ProgramError as error:
        console.print(f"hotpair: {error}", style="red", markup=False)
        return 1
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    result = report(found, rig.endpoint)
    if as_json:
        print(json.dumps(result))
    else:
        console.print()
        share = 100 * found.collected / found.expected if found.expected else 0.0
        console.print(
            f"{found.expected} scan instants: {found.collected} right ({share:.2f} %), "
            f"{found.declared} in declared gaps, {found.missing} missing"
        )
        for item in found.evidence[:20]:
            console.print(f"  {item}", style="red")
    return 0 if found.missing == 0 else 1
