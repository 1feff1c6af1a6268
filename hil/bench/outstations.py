"""Many lean Modbus TCP outstations in one process, so that the gateway has the other core.

They know reads of registers only and nothing of faults: `hil.outstation` is for trials, this is
for measuring. All registers of all outstations change by the same tick; with `--change` below 1
the changing registers lie spread over the whole map, so that hardly any block stays as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
from functools import partial
from typing import Final

HEADER: Final = struct.Struct(">HHHB")
READ: Final = struct.Struct(">BHH")
HEADER_BYTES: Final = 7
READ_BYTES: Final = 12
WORDS_MAX: Final = 125
BUFFER_MAX: Final = 4096


class Memory:
    """The registers of one outstation, as they go over the wire."""

    def __init__(self, registers: int, change: float) -> None:
        self.data = bytearray(2 * registers)
        self._registers = registers
        self._changing = round(registers * change)
        self._tick = 0

    def tick(self) -> None:
        """Change the registers that change; each gets a value that it did not hold before."""
        self._tick += 1
        word = (self._tick & 0xFFFF).to_bytes(2, "big")
        if self._changing >= self._registers:
            self.data[:] = word * self._registers
            return
        for index in range(self._changing):
            place = (index * self._registers // self._changing + self._tick) % self._registers
            self.data[2 * place : 2 * place + 2] = word


class Connection(asyncio.Protocol):
    """One master."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= READ_BYTES:
            length = HEADER_BYTES - 1 + int.from_bytes(data[4:6], "big")
            if len(data) < length:
                break
            self._transport.write(self._answer(data[:length]))
            data = data[length:]
        self._rest = data
        if len(data) > BUFFER_MAX:
            self._transport.abort()

    def _answer(self, request: bytes) -> bytes:
        tid, _, _, unit = HEADER.unpack_from(request)
        function = request[HEADER_BYTES]
        if function not in (3, 4) or len(request) != READ_BYTES:
            return HEADER.pack(tid, 0, 3, unit) + bytes((function | 0x80, 1))
        _, address, count = READ.unpack_from(request, HEADER_BYTES)
        words = self._memory.data[2 * address : 2 * (address + count)]
        if not 1 <= count <= WORDS_MAX:
            return HEADER.pack(tid, 0, 3, unit) + bytes((function | 0x80, 3))
        if len(words) != 2 * count:
            return HEADER.pack(tid, 0, 3, unit) + bytes((function | 0x80, 2))
        head = HEADER.pack(tid, 0, 3 + len(words), unit) + bytes((function, len(words)))
        return head + words


async def run(outstations: int, registers: int, change: float, period_s: float) -> None:
    """Listen on free ports of loopback, print them, and change values until killed."""
    loop = asyncio.get_running_loop()
    memories = [Memory(registers, change) for _ in range(outstations)]
    servers = [
        await loop.create_server(partial(Connection, memory), "127.0.0.1", 0) for memory in memories
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"ports": ports}), flush=True)
    due_s = loop.time()
    while True:
        due_s += period_s
        await asyncio.sleep(due_s - loop.time())
        for memory in memories:
            memory.tick()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outstations", type=int, default=1)
    parser.add_argument("--registers", type=int, default=1000)
    parser.add_argument("--change", type=float, default=1.0, help="share that changes each period")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between changes")
    given = parser.parse_args()
    asyncio.run(run(given.outstations, given.registers, given.change, given.period))


if __name__ == "__main__":
    main()
