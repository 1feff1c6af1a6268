"""A process of its own with node b's links, to be killed or frozen: `link_child.py JSON`.

Prints a line for each event. A tick that comes late drains the links before anything else, as the
node does, and prints how many heartbeats that found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from link_rig import node_of, tls

from gateway.config.node import HostPort
from gateway.model import NS_PER_MS

LATE_NS = 300 * NS_PER_MS


def say(text: str) -> None:
    print(text, flush=True)


async def main() -> None:
    order = json.loads(sys.argv[1])
    listen = tuple(HostPort(*end) for end in order["listen"])
    peer = tuple(HostPort(*end) for end in order["peer"])
    node = node_of("b", listen, peer, tls(Path(order["folder"]), "b", "a"))
    await node.links.start()
    up = False
    ticked_ns = node.clock.monotonic_ns()
    while True:
        await asyncio.sleep(0.025)  # paces: the node's ticks
        now_ns = node.clock.monotonic_ns()
        if now_ns - ticked_ns > LATE_NS:
            # The loop may have run readers before this task: what counts is all since the freeze.
            node.links.drain()
            say(f"drained {len(node.heard)}")
        ticked_ns = now_ns
        if (len(node.up) == len(peer)) is not up:
            up = not up
            say("up" if up else "down")
        node.beat()


asyncio.run(main())
