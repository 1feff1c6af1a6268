"""What pymodbus costs by itself: the same registers, read each second, and nothing done with them.

One `AsyncModbusTcpClient` an outstation, blocks of 125, all outstations gathered. This is the floor
for any gateway on pymodbus: no decoding, no change detection, no journal, no server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Final

from pymodbus.client import AsyncModbusTcpClient

BLOCK: Final = 125


async def scan(client: AsyncModbusTcpClient, registers: int) -> int:
    """Read one outstation whole; 1 when every block came in full."""
    complete = 1
    for address in range(0, registers, BLOCK):
        count = min(BLOCK, registers - address)
        reply = await client.read_holding_registers(address, count=count, device_id=1)
        if reply.isError() or len(reply.registers) != count:
            complete = 0
    return complete


async def run(ports: list[int], registers: int, period_s: float) -> None:
    """Scan all outstations each period, and say how many scans were complete, and late."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0) for port in ports]
    await asyncio.gather(*(client.connect() for client in clients))
    done, late, due_s = 0, 0, time.monotonic()
    while True:
        done += sum(await asyncio.gather(*(scan(client, registers) for client in clients)))
        took_s = time.monotonic() - due_s
        late += len(ports) if took_s > period_s else 0
        said = {"scans": done, "late": late, "cycle_ms": round(1000 * took_s, 1)}
        print(json.dumps(said), flush=True)
        due_s = max(due_s + period_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=Path, required=True, help="file with one port a line")
    parser.add_argument("--registers", type=int, default=1000)
    parser.add_argument("--period", type=float, default=1.0, help="seconds")
    given = parser.parse_args()
    ports = [int(line) for line in given.ports.read_text().split()]
    asyncio.run(run(ports, given.registers, given.period))


if __name__ == "__main__":
    main()
