"""The server of the gateway alone, its values changed from within: no field, no journal.

The collector of garbage is off while it starts and then tuned as in the program.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

from gateway.acquisition.live import LiveTable
from gateway.clock import SystemClock
from gateway.driver import DeviceSettings, DeviceSpec, PointSpec
from gateway.memory import settle_memory
from gateway.model import NS_PER_S, Access, DataType, HistoryPage, Value
from gateway.server.opcua import OpcUaServer
from gateway.server.settings import OpcUaSettings
from hil.bench.publish_party import FOLDER, serve


def plant(points: int) -> list[DeviceSpec]:
    """Devices of a hundred points each."""

    def device(first: int) -> DeviceSpec:
        name = f"d{first // FOLDER}"
        settings = DeviceSettings(driver="modbus")
        specs = tuple(
            PointSpec(number, name, f"r{number}", DataType.FLOAT64, "fast", Access.READ, None)
            for number in range(first, min(first + FOLDER, points))
        )
        return DeviceSpec(name, "modbus", "line", settings, specs, {"fast": NS_PER_S})

    return [device(first) for first in range(0, points, FOLDER)]


class NoHistory:
    """A history of nothing."""

    async def read(self, *_: Any, **__: Any) -> HistoryPage:
        return HistoryPage([], None)

    async def at_or_before(self, *_: Any) -> None:
        return None

    async def after(self, *_: Any) -> None:
        return None

    async def gaps(self, *_: Any) -> list[Any]:
        return []


class Node:
    """The gateway's server."""

    def __init__(self, points: int, port: int) -> None:
        self._points = points
        devices = plant(points)
        self._live = LiveTable(devices)
        settings = OpcUaSettings(
            "a", host="127.0.0.1", port=port, pki_dir=Path("pki"), insecure=True
        )

        async def write(_user: str, _point: PointSpec, _value: Value) -> int:
            return 0

        self._server = OpcUaServer(
            "bench",
            devices,
            self._live,
            NoHistory(),
            write,
            {},
            settings,
            dict,
            SystemClock(),
        )

    async def build(self) -> None:
        await self._server.build()
        settle_memory()

    async def open(self) -> str:
        await self._server.open()
        return self._server.endpoint

    async def close(self) -> None:
        await self._server.close("asked")

    async def change(self, number: int) -> None:
        time_ns = time.time_ns()
        for first in range(0, self._points, FOLDER):
            batch = range(first, min(first + FOLDER, self._points))
            self._server.publish(
                self._live.apply([(point, time_ns, float(number), 0) for point in batch])
            )
            await asyncio.sleep(0)


if __name__ == "__main__":
    gc.disable()
    asyncio.run(serve(Node(int(sys.argv[1]), int(sys.argv[2]))))
