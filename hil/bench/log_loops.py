"""What reading a log costs by itself: the same registers or nodes, read one after the other.

`socket` and `pymodbus` read whole records, as many as fit into a request, and the ring's header
first; `asyncua` calls `read_raw_history` for one node after the other. Nothing is decoded beyond
what the library does, and nothing is kept: this is the floor of any windback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import Client
from pymodbus.client import AsyncModbusTcpClient

from gateway.model import NS_PER_S
from hil.bench.logged_site import BITS, CAPACITY, HEADER_WORDS, HISTORY_URI, NUMBERS, RING_AT
from hil.bench.logged_site import RECORD_WORDS as WORDS

WORDS_MAX: Final = 125
PER_READ: Final = WORDS_MAX // WORDS
TIMEOUT_S: Final = 5.0


def blocks(newest: int, records: int) -> list[tuple[int, int]]:
    """(address, count) of the reads that bring so many records up to the newest."""
    found = []
    seq = newest - records + 1
    while seq <= newest:
        slot = seq % CAPACITY
        count = min(PER_READ, CAPACITY - slot, newest - seq + 1)
        found.append((RING_AT + HEADER_WORDS + slot * WORDS, count * WORDS))
        seq += count
    return found


def newest_of(header: bytes) -> int:
    """The number of the newest record."""
    return int.from_bytes(header[8:12], "big")


def over_socket(port: int, records: int) -> int:
    """Blocking sockets; how many requests."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def read(address: int, count: int) -> bytes:
            line.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, address, count))
            data = b""
            while len(data) < 9 + 2 * count:
                if not (some := line.recv(4096)):
                    raise ConnectionError("the outstation hung up")
                data += some
            return data[9:]

        wanted = blocks(newest_of(read(RING_AT, HEADER_WORDS)), records)
        for address, count in wanted:
            read(address, count)
    return len(wanted) + 1


async def over_pymodbus(port: int, records: int) -> int:
    """pymodbus; how many requests."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=TIMEOUT_S, retries=0)
    await client.connect()
    header = await client.read_holding_registers(RING_AT, count=HEADER_WORDS, device_id=1)
    wanted = blocks(newest_of(struct.pack(">12H", *header.registers)), records)
    for address, count in wanted:
        reply = await client.read_holding_registers(address, count=count, device_id=1)
        if reply.isError():
            raise ConnectionError(str(reply))
    client.close()
    return len(wanted) + 1


async def over_asyncua(port: int, seconds: int) -> int:
    """asyncua, one node after the other; how many values."""
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=TIMEOUT_S)
    values = 0
    async with client:
        index = await client.get_namespace_index(HISTORY_URI)
        now_s = time.time()
        begin, end = (datetime.fromtimestamp(s, UTC) for s in (now_s - seconds, now_s))
        names = [f"n{at}" for at in range(NUMBERS)] + [f"b{bit}" for bit in range(BITS)]
        for name in names:
            node = client.get_node(f"ns={index};s={name}")
            values += len(await node.read_raw_history(begin, end, return_bounds=False))
    return values


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("socket", "pymodbus", "asyncua"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=int, default=3_600)
    given = parser.parse_args()
    ways: dict[str, Callable[[], Any]] = {
        "socket": lambda: over_socket(given.port, given.seconds),
        "pymodbus": lambda: asyncio.run(over_pymodbus(given.port, given.seconds)),
        "asyncua": lambda: asyncio.run(over_asyncua(given.port, given.seconds)),
    }
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    count = ways[given.way]()
    took_s = (time.monotonic_ns() - began_ns) / NS_PER_S
    cpu_s = time.process_time() - began_cpu_s
    print(json.dumps({"count": count, "seconds": took_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
