"""What publishing costs: the gateway's server beside plain asyncua, on the same variables.

Values are changed inside of the server, all of them in one round; the next round begins once every
client has had every value. So nothing is dropped, and the time of a round is from the first change
to the last value that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from hil.bench.process import Spawned, free_port, python
from hil.bench.report import Outcome, Row, asker, main, ratio

MODULES: Final = {"hotpair": "hil.bench.publish_node", "plain": "hil.bench.plain_server"}
LONG_S: Final = 600.0
WARM: Final = 2
"""Rounds that aren't measured: the first values of all items, and one more."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What rounds of one set of clients cost."""

    values: int
    times_s: list[float]
    slowest_s: list[float]
    cpu_s: float
    stalls: dict[str, float]
    joining: dict[str, float] | None = None


def load() -> str:
    """The load of the machine now."""
    return f"{os.getloadavg()[0]:.1f}"


async def order(server: Spawned, what: str) -> dict[str, Any]:
    """Give a server an order; its answer."""
    return dict((await server.ask(what, what, LONG_S))[what])


async def rounds(
    server: Spawned, groups: list[tuple[Spawned, int]], items: int, count: int
) -> Rounds:
    """Change all values so many times; each group is (client process, its clients awake)."""
    process = psutil.Process(server.pid)

    def cpu_s() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    times: list[float] = []
    slowest: list[float] = []
    await order(server, "stalls")
    before_s = cpu_s()
    for _ in range(count):
        waiting = [
            asyncio.create_task(client.ask(f"await {items}", "reached_s", LONG_S))
            for client, _ in groups
        ]
        began_s = (await order(server, "round"))["at_s"]
        reached = [moment for task in waiting for moment in (await task)["reached_s"]]
        times += [moment - began_s for moment in reached]
        slowest.append(max(reached) - began_s)
    values = items * count * sum(clients for _, clients in groups)
    return Rounds(values, times, slowest, cpu_s() - before_s, await order(server, "stalls"))


async def started(stack: AsyncExitStack, party: str, folder: Path, points: int) -> Spawned:
    """A server's process, with nothing built yet."""
    place = folder / f"{party}-{points}-{free_port()}"
    place.mkdir()
    server = Spawned(party, python(MODULES[party], points, free_port()), place)
    await stack.enter_async_context(server)
    await server.hear("up")
    return server


async def subscribed(
    stack: AsyncExitStack, server: Spawned, endpoint: str, clients: int, first: int, items: int,
    publishing_ms: float,
) -> Spawned:  # fmt: skip
    """A process of clients, each with all its items; their first values have come."""
    name = f"clients-{first}"
    command = python("hil.bench.publish_client", endpoint, clients, first, items, publishing_ms)
    client = Spawned(name, command, server.folder)
    await stack.enter_async_context(client)
    await client.hear("subscribed", LONG_S)
    await client.ask(f"await {items}", "reached_s", LONG_S)
    return client


async def one_client(folder: Path, party: str, given: argparse.Namespace) -> Rounds:
    """One client on all points."""
    async with AsyncExitStack() as stack:
        server = await started(stack, party, folder, given.points)
        await order(server, "build")
        endpoint = (await order(server, "open"))["endpoint"]
        await order(server, "stalls")
        client = await subscribed(stack, server, endpoint, 1, 0, given.points, given.publishing_ms)
        joining = await order(server, "stalls")
        await rounds(server, [(client, 1)], given.points, WARM)
        found = await rounds(server, [(client, 1)], given.points, given.rounds)
        return replace(found, joining=joining)


async def many_clients(
    folder: Path, party: str, given: argparse.Namespace
) -> tuple[Rounds, Rounds]:
    """Many clients with items of their own, and the same while one of them reads nothing."""
    clients, items = given.clients, given.items
    async with AsyncExitStack() as stack:
        server = await started(stack, party, folder, clients * items)
        await order(server, "build")
        endpoint = (await order(server, "open"))["endpoint"]
        await order(server, "stalls")
        half = clients // 2
        one = await subscribed(stack, server, endpoint, half, 0, items, given.publishing_ms)
        other = await subscribed(
            stack, server, endpoint, clients - half, half * items, items, given.publishing_ms
        )
        groups = [(one, half), (other, clients - half)]
        joining = await order(server, "stalls")
        await rounds(server, groups, items, WARM)
        before = replace(await rounds(server, groups, items, given.rounds), joining=joining)
        await other.ask("sleep", "sleeping")
        groups = [(one, half), (other, clients - half - 1)]
        # Enough for the sockets of the one that sleeps to be full.
        await rounds(server, groups, items, 5 * WARM)
        return before, await rounds(server, groups, items, given.rounds)


async def building(folder: Path, party: str, points: int, times: int) -> dict[str, Any]:
    """How long nodes take to be made, what they occupy, and how fast the endpoint opens."""
    async with AsyncExitStack() as stack:
        empty = await started(stack, party, folder, 0)
        without = await order(empty, "build")
        full = await started(stack, party, folder, points)
        built = await order(full, "build")
        opened = []
        for _ in range(times):
            opened.append((await order(full, "open"))["ms"])
            if party == "plain":
                break  # its server can't be started twice
            await order(full, "close")
    return {
        "build s": built["ms"] / 1000,
        "build CPU s": built["cpu_ms"] / 1000,
        "of it empty s": without["ms"] / 1000,
        "MB above empty": built["rss_mb"] - without["rss_mb"],
        "open ms, median": statistics.median(opened),
        "open ms, max": max(opened),
        "load": load(),
    }


def _rounds_row(party: str, found: Rounds, plain_us: float | None) -> Row:
    us = 1e6 * found.cpu_s / found.values
    whole_s = sum(found.slowest_s)
    figures = {
        "CPU µs / change": us,
        "plain / this": ratio(plain_us, us),
        "changes / s": found.values / whole_s,
        "round ms, median": 1000 * statistics.median(found.slowest_s),
        "client ms, p50": 1000 * statistics.median(found.times_s),
        "client ms, max": 1000 * max(found.times_s),
        "stall ms": found.stalls["stall_ms"],
        "stall ms CPU": found.stalls["stall_cpu_ms"],
        "joining, ms CPU": found.joining["stall_cpu_ms"] if found.joining else None,
        "load": load(),
    }
    return Row(party, figures)


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """The parties one after the other."""
    outcomes = []
    if "one" in given.cases:
        rows = []
        for party in reversed(MODULES):
            progress(f"publish: one client, {party}")
            rows.append((party, await one_client(folder, party, given)))
        plain_us = 1e6 * rows[0][1].cpu_s / rows[0][1].values
        title = (
            f"publish: {given.points} points all changing in each of {given.rounds} rounds, "
            f"one client at {given.publishing_ms:g} ms"
        )
        outcomes.append(Outcome(title, [_rounds_row(*row, plain_us) for row in rows]))
    if "build" in given.cases:
        made = []
        for party in reversed(MODULES):
            progress(f"publish: building, {party}")
            made.append(Row(party, await building(folder, party, given.nodes, given.rounds)))
        title = f"build: {given.nodes} nodes, and the endpoint opened {given.rounds} times"
        outcomes.append(Outcome(title, made))
    if "many" in given.cases:
        lines = []
        for party in ("hotpair", "plain") if given.plain_many else ("hotpair",):
            progress(f"publish: {given.clients} clients, {party}")
            before, beside = await many_clients(folder, party, given)
            lines += [
                _rounds_row(party, before, None),
                _rounds_row(f"{party}, one sleeps", beside, None),
            ]
        title = f"publish: {given.clients} clients with {given.items} items each"
        outcomes.append(Outcome(title, lines, ("One that sleeps reads nothing from its socket.",)))
    return outcomes


if __name__ == "__main__":
    options = asker(__doc__)
    options.add_argument("--cases", nargs="+", default=["one", "build", "many"])
    options.add_argument("--points", type=int, default=10_000)
    options.add_argument("--nodes", type=int, default=20_000)
    options.add_argument("--clients", type=int, default=20)
    options.add_argument("--items", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--publishing-ms", type=float, default=50.0)
    options.add_argument("--plain-many", action="store_true", help="plain with many clients, too")
    main(bench, options)
