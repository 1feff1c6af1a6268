"""Subscribers that count what comes and look no closer: the server is what is measured.

Usage: publish_client.py ENDPOINT CLIENTS FIRST ITEMS PUBLISHING_MS. Each client subscribes to ITEMS
points from FIRST on, the next client to the next ones. Orders, one a line: `await N` (answered
once every client has had N values since the last `await`, with the moments), `sleep` (the last
client reads no more from its socket).
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_to_binary

from hil.bench.publish_party import FOLDER
from hil.fuzz.peer import Peer

PER_CALL: Final = 500
OUTSTANDING: Final = 5
WAIT_S: Final = 300.0
SESSION_MS: Final = 600_000.0
_HEAD: Final = struct.Struct("<QIIB")
_INT32: Final = struct.Struct("<i")


def counted(data: bytes) -> int:
    """How many values a publish response holds. Raises ValueError for another answer."""
    body = Buffer(data)
    kind = nodeid_from_binary(body).Identifier
    _, _, status, _ = _HEAD.unpack(body.read(_HEAD.size))
    if kind != ua.ObjectIds.PublishResponse_Encoding_DefaultBinary or status:
        raise ValueError(f"no values but {ua.ObjectIdNames.get(kind)}, status {status:#x}")
    body.skip(4 + 3 + 4)
    (available,) = _INT32.unpack(body.read(4))
    body.skip(4 * max(0, available) + 1 + 12)
    (messages,) = _INT32.unpack(body.read(4))
    total = 0
    for _ in range(max(0, messages)):
        nodeid_from_binary(body)
        body.skip(1)
        (length,) = _INT32.unpack(body.read(4))
        content = body.read(length)
        total += _INT32.unpack_from(content)[0]
    return total


class Subscriber:
    """One client."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.values = 0
        self.reached_s = 0.0
        self.target = 0
        self.done = asyncio.Event()

    async def subscribe(self, nodes: list[ua.NodeId], publishing_ms: float) -> None:
        """Monitor the nodes, in calls of a few hundred."""
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = publishing_ms
        request.Parameters.RequestedLifetimeCount = 10_000
        request.Parameters.RequestedMaxKeepAliveCount = 1_000
        request.Parameters.PublishingEnabled = True
        number = (await self._peer.ask(request)).Parameters.SubscriptionId
        for at in range(0, len(nodes), PER_CALL):
            items = ua.CreateMonitoredItemsRequest()
            items.Parameters.SubscriptionId = number
            items.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            items.Parameters.ItemsToCreate = [
                ua.MonitoredItemCreateRequest(
                    ua.ReadValueId(node, ua.AttributeIds.Value),
                    ua.MonitoringMode.Reporting,
                    ua.MonitoringParameters(at + place, publishing_ms, QueueSize=1),
                )
                for place, node in enumerate(nodes[at : at + PER_CALL])
            ]
            results = (await self._peer.ask(items)).Results
            assert all(found.StatusCode.is_good() for found in results)

    async def listen(self) -> None:
        """Count for ever, with requests always waiting at the server."""
        for _ in range(OUTSTANDING):
            self._publish()
        while True:
            data = await self._peer.answer(WAIT_S)
            self._publish()
            self.values += counted(data)
            if self.values >= self.target and not self.done.is_set():
                self.reached_s = time.monotonic()
                self.done.set()

    def _publish(self) -> None:
        request = ua.PublishRequest()
        request.RequestHeader.AuthenticationToken = self._peer.token
        self._peer.send(self._peer.framed(struct_to_binary(request)))

    def sleep(self) -> None:
        """Read no more."""
        self._peer.pause()


async def run(endpoint: str, clients: int, first: int, items: int, publishing_ms: float) -> None:
    """Connect, subscribe, obey."""
    port = int(endpoint.rpartition(":")[2])
    subscribers: list[Subscriber] = []
    for number in range(clients):
        peer = await Peer.connect(port)
        await peer.greet()
        await peer.log_in("", "", SESSION_MS)
        subscriber = Subscriber(peer)
        begin = first + number * items
        nodes = [ua.NodeId(f"d{n // FOLDER}/r{n}", 2) for n in range(begin, begin + items)]
        await subscriber.subscribe(nodes, publishing_ms)
        subscribers.append(subscriber)
    listening = [asyncio.create_task(each.listen()) for each in subscribers]
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"subscribed": clients}), flush=True)
    awake = list(subscribers)
    while order := (await lines.readline()).decode().split():
        if order[0] == "sleep":
            awake.pop().sleep()
            print(json.dumps({"sleeping": True}), flush=True)
            continue
        for each in awake:
            each.target = int(order[1])
            each.done.clear()
            if each.values >= each.target:
                each.reached_s = time.monotonic()
                each.done.set()
        await asyncio.wait([asyncio.ensure_future(each.done.wait()) for each in awake])
        reached_s = [each.reached_s for each in awake]
        for each in awake:
            each.values -= each.target
        print(json.dumps({"reached_s": reached_s}), flush=True)
    for task in listening:
        task.cancel()


if __name__ == "__main__":
    place, count, begin, each, interval = sys.argv[1:]
    asyncio.run(run(place, int(count), int(begin), int(each), float(interval)))
