"""The client that does nothing wrong: it subscribes and reads, and tells what it missed.

Usage: neighbour.py ENDPOINT NODE…; each line on standard input is answered by what happened since
the last one: values, the longest time without one, reads and the longest of them, what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

from asyncua import Client

READ_EVERY_S: Final = 0.1
PUBLISHING_MS: Final = 100
LATEST_MAX: Final = 20


class Heard:
    """What the subscription brought and how reads went, since it was asked."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._heard_s = time.monotonic()
        self.clear()

    def clear(self) -> None:
        """Begin anew; the last value and its time stay."""
        self.values = self.reads = 0
        self.gap_s = self.read_s = 0.0
        self.wrong: list[str] = []

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        """A value came: it is the next of a register that counts up."""
        now_s = time.monotonic()
        self.gap_s = max(self.gap_s, now_s - self._heard_s)
        self._heard_s = now_s
        self.values += 1
        name = str(node)
        if value is None or value == self._last.get(name):
            self.blame(f"{name} is {value} after {self._last.get(name)}")
        self._last[name] = value

    def status_change_notification(self, status: Any) -> None:
        """The subscription ended."""
        self.blame(f"status change: {status}")

    def blame(self, text: str) -> None:
        """Something went wrong; the first few are kept."""
        if len(self.wrong) < LATEST_MAX:
            self.wrong.append(text)

    def report(self) -> dict[str, Any]:
        """What happened since the last report."""
        waiting_s = time.monotonic() - self._heard_s
        found = {
            "values": self.values,
            "gap_ms": 1000 * max(self.gap_s, waiting_s),
            "reads": self.reads,
            "read_ms": 1000 * self.read_s,
            "wrong": self.wrong,
        }
        self.clear()
        return found


async def run(endpoint: str, nodes: list[str]) -> None:
    """Subscribe, read, answer."""
    heard = Heard()
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def answer() -> None:
        while await lines.readline():
            print(json.dumps(heard.report()), flush=True)

    async def lost(error: Exception) -> None:
        heard.blame(f"connection lost: {error!r}")

    client = Client(endpoint, timeout=30, watchdog_intervall=60)
    client.connection_lost_callback = lost
    async with client:
        subscription = await client.create_subscription(PUBLISHING_MS, heard)
        watched = [client.get_node(node) for node in nodes]
        await subscription.subscribe_data_change(watched)
        print(json.dumps({"watching": len(watched)}), flush=True)
        answering = asyncio.create_task(answer())
        while not answering.done():
            began_s = time.monotonic()
            try:
                await watched[0].read_value()
            except Exception as error:  # whatever it is, it is what is looked for
                heard.blame(f"read: {error!r}")
            heard.reads += 1
            heard.read_s = max(heard.read_s, time.monotonic() - began_s)
            await asyncio.sleep(READ_EVERY_S)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2:]))
