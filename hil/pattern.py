"""Writes a known pattern into registers of real devices, by Modbus TCP of its own making.

Each point is stepped at its own pace, straight to its device and beside the proxy: what is done to
the gateway's way there does not disturb it. Every write is noted with when it was sent and when it
was answered; `hil.real.steps_of` makes the truth of it. Sources: Modbus Application Protocol
V1.1b3 sections 6.5, 6.6 and 6.12; Modbus Messaging on TCP/IP V1.0b section 3.1.3.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.model import NS_PER_S, Value
from hil.gateway import ProgramError
from hil.outstation.encode import encode
from hil.plant import Plant, PlantPoint
from hil.proxy import Address
from hil.real import Written, pattern_value
from profiles.schema import Area

ANSWER_S: Final = 1.0
FIRST_S: Final = 15.0
PATTERN_FILE: Final = "pattern.jsonl"
_HEAD: Final = struct.Struct(">HHHB")


class Refused(Exception):
    """The device answered with an exception: the value is as it was."""


def request(point: PlantPoint, raw: Value) -> bytes:
    """The PDU that writes a raw value: a coil by FC05, one register by FC06, more by FC16."""
    place = point.place
    if place.area is Area.COIL:
        return struct.pack(">BHH", 5, place.address, 0xFF00 if raw else 0)
    data = encode(raw, place.type, place.byte_order, place.words)
    if place.words == 1:
        return struct.pack(">BH", 6, place.address) + data
    return struct.pack(">BHHB", 16, place.address, place.words, len(data)) + data


class Connection:
    """A connection to one device, opened when it is needed; one request at a time."""

    def __init__(self, to: Address, unit: int) -> None:
        self._to = to
        self._unit = unit
        self._tid = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Connect, unless it is. Raises OSError, TimeoutError."""
        if self._streams is None:
            async with asyncio.timeout(ANSWER_S):
                self._streams = await asyncio.open_connection(*self._to)

    async def ask(self, pdu: bytes) -> tuple[int, int]:
        """Send a request; when it was sent and answered. Raises OSError, TimeoutError, Refused."""
        assert self._streams is not None
        reader, writer = self._streams
        self._tid = self._tid % 0xFFFF + 1
        sent_ns = time.time_ns()
        writer.write(_HEAD.pack(self._tid, 0, len(pdu) + 1, self._unit) + pdu)
        async with asyncio.timeout(ANSWER_S):
            await writer.drain()
            tid = 0
            while tid != self._tid:
                tid, _, length, _ = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                answer = await reader.readexactly(length - 1)
        if answer[0] != pdu[0]:
            raise Refused(f"exception {answer[1] if len(answer) > 1 else '?'}")
        return sent_ns, time.time_ns()

    async def step(self, point: PlantPoint, raw: Value) -> Written:
        """Write a value. Raises OSError, TimeoutError: it was not sent; Refused."""
        async with self._turn:
            await self.open()
            sent_ns = time.time_ns()
            try:
                return Written(point.id, raw, *await self.ask(request(point, raw)))
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.close()
                return Written(point.id, raw, sent_ns, 0)

    def close(self) -> None:
        """End the connection; the next step opens a new one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Patterns:
    """All patterns of a run."""

    def __init__(
        self, points: Sequence[tuple[PlantPoint, Address, int, int]], folder: Path
    ) -> None:
        """`points`: each with where its device is, its unit id, and the period in ns."""
        self.written: dict[str, list[Written]] = {point.id: [] for point, _, _, _ in points}
        self.failed: dict[str, int] = {}
        self._folder = folder
        self._points = points
        self._connections = {(to, unit): Connection(to, unit) for _, to, unit, _ in self._points}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; each point was written once. Raises ProgramError where one can't be."""
        for point, to, unit, period_ns in self._points:
            connection = self._connections[to, unit]
            try:
                async with asyncio.timeout(FIRST_S):
                    first = await connection.step(point, pattern_value(point, 0))
            except (OSError, TimeoutError, Refused) as error:
                raise ProgramError(_refused(point, to, unit, repr(error))) from error
            if not first.answered_ns:
                raise ProgramError(_refused(point, to, unit, f"no answer within {ANSWER_S:g} s"))
            self.written[point.id].append(first)
            self._tasks.append(asyncio.create_task(self._go_on(point, connection, period_ns)))

    async def _go_on(self, point: PlantPoint, connection: Connection, period_ns: int) -> None:
        count, period_s = 0, period_ns / NS_PER_S
        due_s = asyncio.get_running_loop().time()
        while True:
            due_s = max(due_s + period_s, asyncio.get_running_loop().time())
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            count += 1
            try:
                one = await connection.step(point, pattern_value(point, count))
            except (OSError, TimeoutError, Refused):
                self.failed[point.id] = self.failed.get(point.id, 0) + 1
                continue
            self.written[point.id].append(one)

    async def stop(self) -> None:
        """Write no more; what was written is kept in a file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections.values():
            connection.close()
        if self._tasks:
            lines = (json.dumps(one) for own in self.written.values() for one in own)
            with suppress(OSError):
                text = "\n".join(lines) + "\n"
                (self._folder / PATTERN_FILE).write_text(text, encoding="utf-8")
        self._tasks.clear()


def _refused(point: PlantPoint, to: Address, unit: int, why: str) -> str:
    where = f"{to[0]}:{to[1]} unit {unit}"
    return (
        f"the pattern of {point.id} could not be written at {where}: {why}. "
        "Choose a register that the device lets be written, or leave `pattern:` out"
    )


def patterns_of(plant: Plant, periods: Mapping[str, int], folder: Path) -> Patterns:
    """What is written to real devices of a plant, by point and period (ns)."""
    stepped = []
    for point in plant.points():
        if point.id in periods:
            device = plant.devices[point.device]
            to = plant.rig.real[point.device].to[0]
            stepped.append((point, to, device.unit_id, periods[point.id]))
    return Patterns(stepped, folder)
