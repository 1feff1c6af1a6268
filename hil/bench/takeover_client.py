"""A client that waits for a node's endpoint, and notes each value as it comes.

A line on standard input: {"url", "nodes", "by", "for_s"}. It connects without security, again each
20 ms while that fails, then reads the nodes each 5 ms for so long, and answers on one line what it
saw: when the port opened, when the session was there, and per node each value with a new timestamp
(the server's or the source's, as `by` says). All times are ns UTC. A session that ends early is
made anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from typing import Any, Final
from urllib.parse import urlsplit

from asyncua import Client, ua

RETRY_S: Final = 0.02
READ_S: Final = 0.005
CONNECT_S: Final = 1.0
GIVE_UP_S: Final = 60.0
_EPOCH_NS: Final = 11_644_473_600 * 1_000_000_000


def ticks(moment: Any) -> int:
    """A datetime of the library (naive, UTC) in ns; 0 for none."""
    if moment is None:
        return 0
    epoch: int = ua.datetime_to_win_epoch(moment) * 100
    return epoch - _EPOCH_NS


async def until_open(url: str, until_s: float) -> None:
    """Knock each 20 ms until the port is open. Raises TimeoutError."""
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        with socket.socket() as probe:
            probe.setblocking(False)
            try:
                async with asyncio.timeout(RETRY_S):
                    await loop.sock_connect(probe, (place.hostname, place.port))
                return
            except (OSError, TimeoutError):
                pass
        await asyncio.sleep(max(0.0, began_s + RETRY_S - time.monotonic()))
    raise TimeoutError


class Watch:
    """One wait for one endpoint."""

    def __init__(self, url: str, nodes: list[str], by: str, for_s: float) -> None:
        self._url = url
        self._by_server = by == "server"
        self._for_s = for_s
        self._wanted = [
            ua.ReadValueId(NodeId=ua.NodeId.from_string(node), AttributeId=ua.AttributeIds.Value)
            for node in nodes
        ]
        self._nodes = nodes
        self.found: dict[str, Any] = {"open_ns": 0, "session_ns": 0, "attempts": 0, "why": ""}
        self.seen: dict[str, list[tuple[int, int, Any]]] = {node: [] for node in nodes}

    async def run(self) -> dict[str, Any]:
        """What was seen, once a session lasted as long as wanted."""
        until_s = time.monotonic() + GIVE_UP_S
        done = False
        while not done and time.monotonic() < until_s:
            try:
                await until_open(self._url, until_s)
                self.found["open_ns"] = self.found["open_ns"] or time.time_ns()
                done = await self._session()
            except Exception as error:  # whatever it is, a client of a plant tries again
                self.found["why"] = repr(error)
                await asyncio.sleep(RETRY_S)
        return {**self.found, "seen": self.seen}

    async def _session(self) -> bool:
        self.found["attempts"] += 1
        client = Client(self._url, timeout=CONNECT_S)
        try:
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            await client.create_session()
            await client.activate_session()
            self.found["session_ns"] = time.time_ns()
            await self._read(client)
            await client.close_session()
            return True
        finally:
            client.disconnect_socket()

    async def _read(self, client: Client) -> None:
        read = ua.ReadParameters(
            TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=self._wanted
        )
        end_s = time.monotonic() + self._for_s
        while time.monotonic() < end_s:
            values = await client.uaclient.read(read)
            now_ns = time.time_ns()
            for node, value in zip(self._nodes, values, strict=True):
                self._note(node, now_ns, value)
            await asyncio.sleep(READ_S)

    def _note(self, node: str, now_ns: int, value: Any) -> None:
        stamp_ns = ticks(value.ServerTimestamp if self._by_server else value.SourceTimestamp)
        seen = self.seen[node]
        if value.StatusCode.is_good() and (not seen or seen[-1][1] != stamp_ns):
            got = value.Value.Value if value.Value is not None else None
            seen.append((now_ns, stamp_ns, got))


async def run() -> None:
    """Take watches from standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        wanted = json.loads(line)
        found = await Watch(**wanted).run()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(run())
