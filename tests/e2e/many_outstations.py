"""A site of very many devices, and a master that polls them all by bare bytes."""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TYPES: Final = {"float32": 2, "uint16": 1, "int32": 2, "uint32": 2, "int16": 1}
"""The types that points take in turn, and how many registers each has."""
SECOND_S: Final = 1.0


def host_of(number: int) -> str:
    """The address of a device: all listen on one port, each on an address of loopback."""
    return f"127.9.{number // 250}.{number % 250 + 1}"


def site_of(devices: int, port: int, name: str = "many") -> str:
    """A site.yaml of so many devices whose points lie in points.csv, as with every large site."""
    lines = [f"site: {name}", "points_csv: [points.csv]", "devices:"]
    for number in range(devices):
        line = f"{{tcp: {{host: {host_of(number)}, port: {port}}}}}"
        lines.append(f"  d{number}: {{driver: modbus, line: {line}}}")
    return "\n".join(lines) + "\n"


def points_of(devices: int, points: int) -> tuple[str, int]:
    """A points.csv with so many points each, and how many registers a device has."""
    types, places, address = list(TYPES), [], 0
    for number in range(points):
        kind = types[number % len(types)]
        places.append(f"p{number},holding,{address},{kind}")
        address += TYPES[kind]
    rows = [f"d{number},{place}" for number in range(devices) for place in places]
    return "\n".join(["device,point,register,address,type", *rows]) + "\n", address


@dataclass
class Polled:
    """What a master saw: how long each reply took, and how many polls had none."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def worst_ms(self) -> float:
        return 1_000 * max(self.took_s)

    def share_ms(self, share: float) -> float:
        """Within how much time that share of the replies came."""
        return 1_000 * sorted(self.took_s)[int(share * (len(self.took_s) - 1))]


async def poll_all(devices: int, port: int, registers: int, seconds: int) -> Polled:
    """Read all registers of every device once a second, the devices spread over it."""
    polled = Polled()
    begin_s = asyncio.get_running_loop().time() + SECOND_S
    async with asyncio.TaskGroup() as group:
        for number in range(devices):
            first_s = begin_s + number / devices
            group.create_task(_poll(number, port, registers, first_s, seconds, polled))
    return polled


async def _poll(
    number: int, port: int, registers: int, first_s: float, times: int, polled: Polled
) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(host_of(number), port)
    try:
        for turn in range(times):
            wait_s = max(0.0, first_s + turn * SECOND_S - loop.time())
            await asyncio.sleep(wait_s)  # paces: each device has its place in the second
            asked_s = time.perf_counter()
            writer.write(struct.pack(">HHHBBHH", turn, 0, 6, 1, 3, 0, registers))
            reply = await reader.readexactly(9 + 2 * registers)
            polled.took_s.append(time.perf_counter() - asked_s)
            polled.failed += reply[:2] != turn.to_bytes(2, "big") or reply[7] != 3
    finally:
        writer.transport.abort()


def write(folder: Path, devices: int, points: int, port: int) -> int:
    """Write site.yaml, points.csv and rig.yaml; how many registers a device has."""
    rows, registers = points_of(devices, points)
    (folder / "site.yaml").write_text(site_of(devices, port))
    (folder / "points.csv").write_text(rows)
    (folder / "rig.yaml").write_text("seed: 5\nchange: 0.5\n")
    return registers
