"""What serving costs: the node beside a naive gateway, one subscriber of another vendor on all.

Every point changes each second. The age of a value is the time at which the subscriber has it less
its SourceTimestamp; both are read from the clock of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hil.bench import site as sites
from hil.bench.measure import Usage, watch
from hil.bench.process import HERE, Spawned, free_port, hotpair, node_js, python
from hil.bench.report import Outcome, Row, main, parser, ratio

START_S: Final = 600.0
PUBLISHING_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Served:
    """What a gateway used and what its subscriber got, in the same window."""

    party: str
    gateway: Usage
    subscriber: Usage
    heard: dict[str, Any]


async def subscribe(
    party: str, gateway: Spawned, endpoint: str, nodes: list[str], given: argparse.Namespace
) -> Served:
    """Put a subscriber on a running gateway, let it settle, and measure both."""
    folder = gateway.folder
    listed = folder / "nodes"
    listed.write_text("\n".join(nodes) + "\n")
    command = node_js(HERE / "subscriber.js", endpoint, listed, PUBLISHING_MS)
    async with Spawned(f"subscriber-of-{party}", command, folder) as client:
        await client.hear("monitored", START_S)
        await asyncio.sleep(given.warmup)
        await client.ask("mark", "values")
        used = await watch({"gateway": gateway.pid, "subscriber": client.pid}, given.seconds)
        heard = await client.ask("mark", "values")
    return Served(party, used["gateway"], used["subscriber"], heard)


async def of_hotpair(
    folder: Path, ports: list[int], registers: int, given: argparse.Namespace
) -> Served:
    """The node."""
    place = sites.write(folder / "hotpair", ports, registers, free_port())
    async with Spawned("hotpair", hotpair("run", "node.yaml"), place.folder) as node:
        await node.hear("text", START_S, "is Main")
        return await subscribe("hotpair", node, place.endpoint, place.nodes, given)


async def of_naive(folder: Path, ports: list[int], given: argparse.Namespace) -> Served:
    """The gateway of an afternoon."""
    listed = folder / "ports"
    listed.write_text("\n".join(map(str, ports)) + "\n")
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}"
    settings = ("--ports", listed, "--points", given.points, "--endpoint", endpoint)
    place = folder / "naive"
    place.mkdir()
    async with Spawned("naive", python("hil.bench.naive_gateway", *settings), place) as naive:
        nodes = (await naive.hear("nodes", START_S))["nodes"]
        return await subscribe("naive", naive, endpoint, nodes, given)


def row(found: Served, points: int, hotpair_us: float | None) -> Row:
    """A line of the table."""
    values: int = found.heard["values"]
    us = found.gateway.per(values)
    figures = {
        "CPU % of a core": found.gateway.cpu_percent,
        "CPU µs / value": us,
        "hotpair / this": ratio(hotpair_us, us),
        "RSS MB": found.gateway.rss_mb,
        "values / s": values / found.gateway.seconds,
        "of those due": f"{values / found.gateway.seconds / points:.1%}",
        "age p50 ms": found.heard["age_p50_ms"],
        "age p95 ms": found.heard["age_p95_ms"],
        "age max ms": found.heard["age_max_ms"],
        "bad": found.heard["bad"],
        "client CPU %": found.subscriber.cpu_percent,
    }
    return Row(found.party, figures)


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """Both gateways on the same outstations, one after the other."""
    registers = given.points // given.outstations
    settings = ("--outstations", given.outstations, "--registers", registers)
    async with Spawned("field", python("hil.bench.outstations", *settings), folder) as field:
        ports: list[int] = (await field.hear("ports"))["ports"]
        progress("serve: hotpair")
        ours = await of_hotpair(folder, ports, registers, given)
        progress("serve: naive")
        naive = await of_naive(folder, ports, given)
    us = ours.gateway.per(ours.heard["values"])
    title = (
        f"serve: {given.points} points of {given.outstations} outstation(s) all changing each "
        f"second, one node-opcua subscriber at {PUBLISHING_MS} ms"
    )
    notes = (
        "hotpair commits each value to its journal before it is published; naive keeps nothing.",
        "SourceTimestamp of naive: when the block of 125 was read.",
    )
    return [Outcome(title, [row(found, given.points, us) for found in (ours, naive)], notes)]


if __name__ == "__main__":
    options = parser(__doc__, seconds=30)
    options.add_argument("--points", type=int, default=10_000)
    options.add_argument("--outstations", type=int, default=1)
    main(bench, options)
