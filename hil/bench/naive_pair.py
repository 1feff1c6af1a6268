"""One node of the pair that one would write in an afternoon, on pymodbus and asyncua.

Each second the standby asks the main's port whether it lives; after three seconds without an answer
it starts its driver and its server. There is no journal, no replication, and nothing that keeps two
mains apart. The roles are settled at the start: who finds nobody alive is main.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pymodbus.client import AsyncModbusTcpClient

from hil.bench.naive_gateway import build, scan

EACH_S: Final = 1.0
MISSES_MAX: Final = 3
ALIVE: Final = b"alive\n"


def place(text: str) -> tuple[str, int]:
    """`host:port`."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def alive(host: str, port: int) -> bool:
    """Whether the peer is main and says so."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(EACH_S):
            reader, writer = await asyncio.open_connection(host, port)
            said = await reader.read(len(ALIVE))
            writer.close()
            return said == ALIVE
    return False


async def stand_by(peer: tuple[str, int]) -> None:
    """Until the peer did not answer three times in a row."""
    misses = 0
    while misses < MISSES_MAX:
        began_s = time.monotonic()
        misses = 0 if await alive(*peer) else misses + 1
        await asyncio.sleep(max(0.0, began_s + EACH_S - time.monotonic()))


async def _say_alive(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.write(ALIVE)
        await writer.drain()
        writer.close()


async def reign(
    mine: tuple[str, int],
    outstations: Sequence[tuple[str, int]],
    registers: int,
    bind: str,
    endpoint: str,
    period_s: float,
) -> None:
    """Be main: say so, serve, and scan each period."""
    listener = await asyncio.start_server(_say_alive, *mine)
    names = [f"d{d}/r{r}" for d in range(len(outstations)) for r in range(registers)]
    server, nodes = await build(endpoint, names)
    clients = [
        AsyncModbusTcpClient(host, port=port, timeout=1, retries=0, source_address=(bind, 0))
        for host, port in outstations
    ]
    parts = [nodes[registers * i : registers * (i + 1)] for i in range(len(clients))]
    await asyncio.gather(*(client.connect() for client in clients))
    async with listener, server:
        print(json.dumps({"role": "main"}), flush=True)
        due_s = time.monotonic()
        while True:
            jobs = (scan(server, *pair) for pair in zip(clients, parts, strict=True))
            await asyncio.gather(*jobs, return_exceptions=True)
            due_s = max(due_s + period_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())


async def run(given: argparse.Namespace) -> None:
    """Stand by while somebody is main; be main then."""
    if await alive(*given.peer):
        print(json.dumps({"role": "standby"}), flush=True)
        await stand_by(given.peer)
    await reign(
        given.listen,
        given.outstations,
        given.registers,
        given.bind,
        given.endpoint,
        given.period,
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=place, required=True, help="where it says `alive`")
    parser.add_argument("--peer", type=place, required=True, help="where the other one does")
    parser.add_argument("--outstations", type=place, nargs="+", required=True)
    parser.add_argument("--registers", type=int, required=True)
    parser.add_argument("--bind", required=True, help="address that outstations are reached from")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--period", type=float, default=0.2, help="seconds")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
