"""What both servers of the publishing bench share: orders on standard input, and their own stalls.

Orders, one a line: `build`, `open`, `close`, `round` (change every value once), `stalls`
(since the last time). Each is answered by a JSON line. CPU times are of the whole process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any, Final, Protocol

import psutil

BEAT_S: Final = 0.001
FOLDER: Final = 100


class Party(Protocol):
    """A server of a number of variables."""

    async def build(self) -> None:
        """Make all nodes."""

    async def open(self) -> str:
        """Listen; the endpoint."""

    async def close(self) -> None:
        """Hear nobody any more."""

    async def change(self, number: int) -> None:
        """Give every variable a value that it did not have."""


class Beats:
    """How long the loop was away at most: by the clock, and in CPU time of this process.

    On a machine with other work the second says what the program did, the first what was felt.
    """

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            wall_s, cpu_s = time.monotonic(), time.process_time()
            await asyncio.sleep(BEAT_S)
            self.wall_s = max(self.wall_s, time.monotonic() - wall_s - BEAT_S)
            self.cpu_s = max(self.cpu_s, time.process_time() - cpu_s)

    def report(self) -> dict[str, float]:
        """The longest of each since the last report, in ms."""
        found = {"stall_ms": 1000 * self.wall_s, "stall_cpu_ms": 1000 * self.cpu_s}
        self.wall_s = self.cpu_s = 0.0
        return found


def rss_mb() -> float:
    """The resident size now, garbage collected, in 10^6 bytes."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


async def serve(party: Party) -> None:
    """Obey until the end of standard input."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    beats = Beats()
    beating = asyncio.create_task(beats.run())
    print(json.dumps({"up": True}), flush=True)
    number = 0
    while order := (await lines.readline()).decode().strip():
        cpu_s, wall_s = time.process_time(), time.monotonic()
        found: dict[str, Any] = {}
        if order == "build":
            await party.build()
        elif order == "open":
            found["endpoint"] = await party.open()
        elif order == "close":
            await party.close()
        elif order == "round":
            number += 1
            await party.change(number)
        elif order == "stalls":
            found |= beats.report()
        found["at_s"] = wall_s
        found["ms"] = 1000 * (time.monotonic() - wall_s)
        found["cpu_ms"] = 1000 * (time.process_time() - cpu_s)
        if order == "build":
            found["rss_mb"] = rss_mb()
            beats.report()
        print(json.dumps({order: found}), flush=True)
    beating.cancel()
