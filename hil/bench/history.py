"""What history costs: inserts by the journal, and HistoryRead by a client of another vendor.

A program of its own fills a node's journal and says how long it took; then the node is started on
that data, and node-opcua reads every value back through the endpoint, page by page.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from hil.bench import site as sites
from hil.bench.process import HERE, BenchError, Spawned, free_port, hotpair, node_js, python
from hil.bench.report import Outcome, Row, main, parser

START_S: Final = 600.0
PAGE: Final = 10_000


def site_yaml(port: int) -> str:
    """A device that nobody answers for: history is read, nothing is polled."""
    line = f"line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}"
    return (
        "site: bench\npoints_csv: [points.csv]\ndevices:\n"
        f"  d0: {{driver: modbus, {line}, scan: slow, enabled: false}}\n"
    )


def points_csv(points: int) -> str:
    """Points that are published as doubles, as the journal was filled."""
    rows = [f"d0,r{n},holding,{2 * n},float32,float64" for n in range(points)]
    return "\n".join(["device,point,register,address,type,publish_as", *rows]) + "\n"


def iso(time_ns: float) -> str:
    """A time as JavaScript reads it."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def fill(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Fill the journal."""
    settings = ("--data-dir", folder / "data", "--points", given.points, "--scans", given.scans)
    site = (folder / "site.yaml", folder / "points.csv")
    command = python("hil.bench.journal_inserts", *settings, *site)
    async with Spawned("inserts", command, folder) as inserting:
        return dict(await inserting.hear("inserts", START_S))


async def read(
    endpoint: str, node: Spawned, filled: dict[str, Any], nodes: list[str], per_call: int
) -> dict[str, Any]:
    """Read everything back, so many nodes a call; what the client found, and CPU of the node."""
    listed = node.folder / "nodes"
    listed.write_text("\n".join(nodes) + "\n")
    span = (iso(filled["first_ns"]), iso(filled["last_ns"]))
    command = node_js(HERE / "history_reader.js", endpoint, listed, *span, PAGE, per_call)
    async with Spawned(f"reader-{per_call}", command, node.folder) as reader:
        await reader.hear("connected")
        before_s = cpu_s(node.pid)
        found = dict(await reader.hear("values", START_S))
        found["node_cpu_s"] = cpu_s(node.pid) - before_s
        found["rss_mb"] = psutil.Process(node.pid).memory_info().rss / 1e6
    if found["refused"]:
        raise BenchError(f"{found['refused']} reads were refused: {found['why']}")
    return found


def insert_row(filled: dict[str, Any]) -> Row:
    """How the journal did."""
    figures = {
        "values": filled["inserts"],
        "values / s": filled["inserts"] / filled["seconds"],
        "CPU µs / value": 1e6 * filled["cpu_s"] / filled["inserts"],
        "bytes / value": filled["bytes"] / filled["inserts"],
    }
    return Row("insert", figures)


def read_row(found: dict[str, Any], due: int, per_call: int) -> Row:
    """How a read did; `lost` and `unordered` must be 0."""
    values = found["values"]
    figures = {
        "values": values,
        "values / s": values / found["seconds"],
        "CPU µs / value": 1e6 * found["node_cpu_s"] / values if values else None,
        "client CPU µs / value": 1e6 * found["client_cpu_s"] / values if values else None,
        "RSS MB": found["rss_mb"],
        "calls": found["calls"],
        "lost": due - values,
        "unordered": found["unordered"],
    }
    return Row(f"HistoryRead, {per_call} node(s) a call", figures)


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """Fill, start the node, read one node a call and several a call."""
    place = folder / "hotpair"
    place.mkdir()
    port = free_port()
    (place / "site.yaml").write_text(site_yaml(free_port()))
    (place / "points.csv").write_text(points_csv(given.points))
    (place / "node.yaml").write_text(sites.node_yaml(port))
    progress("history: filling the journal")
    filled = await fill(place, given)
    rows = [insert_row(filled)]
    nodes = [f"ns=2;s=d0/r{number}" for number in range(given.points)]
    async with Spawned("hotpair", hotpair("run", "node.yaml"), place) as node:
        await node.hear("text", START_S, "is Main")
        for per_call in (1, 10):
            progress(f"history: reading, {per_call} node(s) a call")
            endpoint = f"opc.tcp://127.0.0.1:{port}"
            found = await read(endpoint, node, filled, nodes, per_call)
            rows.append(read_row(found, filled["inserts"], per_call))
    title = f"history: {given.points} points × {given.scans} samples, pages of {PAGE}"
    notes = (
        "Inserts: batches of all points with a coverage record each, until the journal "
        "is closed; the making of the batches is not counted.",
        "Values / s of HistoryRead: wall time at the client, decoding included.",
    )
    return [Outcome(title, rows, notes)]


if __name__ == "__main__":
    options = parser(__doc__, seconds=0)
    options.add_argument("--points", type=int, default=100)
    options.add_argument("--scans", type=int, default=10_000, help="samples of each point")
    main(bench, options)
