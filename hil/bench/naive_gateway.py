"""The gateway that one would write in an afternoon: pymodbus reads, asyncua serves.

Blocks of 125 are read each second, and each register is written to its variable. It has no
journal, no change detection, no status on errors and no security: what it costs is the floor of
that design. Variables lie in folders of 100, since asyncua is quadratic in the size of a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncua import Server, ua
from pymodbus.client import AsyncModbusTcpClient

BLOCK: Final = 125
FOLDER: Final = 100


async def build(endpoint: str, names: list[str]) -> tuple[Server, list[Any]]:
    """A server with one variable a register."""
    server = Server()
    await server.init()
    server.set_endpoint(endpoint)
    index = await server.register_namespace("urn:naive")
    nodes = []
    for number, name in enumerate(names):
        if number % FOLDER == 0:
            folder = await server.nodes.objects.add_folder(index, f"folder{number // FOLDER}")
        nodeid = ua.NodeId(name, index)
        nodes.append(await folder.add_variable(nodeid, name, 0, ua.VariantType.UInt16))
    return server, nodes


async def scan(server: Server, client: AsyncModbusTcpClient, nodes: list[Any]) -> int:
    """Read one outstation and publish what came; 1 when every block came."""
    complete = 1
    for address in range(0, len(nodes), BLOCK):
        count = min(BLOCK, len(nodes) - address)
        reply = await client.read_holding_registers(address, count=count, device_id=1)
        if reply.isError():
            complete = 0
            continue
        moment = datetime.now(UTC).replace(tzinfo=None)
        for node, word in zip(nodes[address : address + count], reply.registers, strict=True):
            value = ua.Variant(word, ua.VariantType.UInt16)
            stamped = ua.DataValue(value, SourceTimestamp=moment)
            await server.write_attribute_value(node.nodeid, stamped)
    return complete


async def run(ports: list[int], names: list[str], endpoint: str, period_s: float) -> None:
    """Serve, and scan each period."""
    server, nodes = await build(endpoint, names)
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0) for port in ports]
    await asyncio.gather(*(client.connect() for client in clients))
    share = len(nodes) // len(ports)
    parts = [nodes[share * i : share * (i + 1)] for i in range(len(ports))]
    async with server:
        print(json.dumps({"ready": endpoint, "nodes": [n.nodeid.to_string() for n in nodes]}))
        done, due_s = 0, time.monotonic()
        while True:
            jobs = (scan(server, *pair) for pair in zip(clients, parts, strict=True))
            done += sum(await asyncio.gather(*jobs))
            took_s = time.monotonic() - due_s
            print(json.dumps({"scans": done, "cycle_ms": round(1000 * took_s, 1)}), flush=True)
            due_s = max(due_s + period_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=Path, required=True, help="file with one port a line")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--period", type=float, default=1.0, help="seconds")
    given = parser.parse_args()
    ports = [int(line) for line in given.ports.read_text().split()]
    names = [f"r{number}" for number in range(given.points)]
    asyncio.run(run(ports, names, given.endpoint, given.period))


if __name__ == "__main__":
    main()
