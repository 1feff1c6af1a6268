"""Windback as a subscriber of the node's OPC UA server sees it: not at all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncua import Client

from gateway.model import NS_PER_MS
from hil.gateway import ticks

from .windback_methods import FINE
from .windback_rig import windback_node, wound

EACH_MS = 2
AWAY_S = 2.5
SAMPLES = 2_000
"""So many are wound back at least, of both points together."""
DENSE = replace(
    FINE,
    name="dense",
    device=FINE.device.replace("3ms", f"{EACH_MS}ms")
    .replace("records: 10000", "records: 8000")
    .replace("scan: normal", "scan: fast")
    .replace("columns: [level]", "columns: [level, flow]")
    + "      flow: {register: holding, address: 2, type: float32}\n",
    resolution_ms=EACH_MS,
)


POLL_NS = 100 * NS_PER_MS
"""A gap ends with the answer of the first good poll, whose values are a bit older."""


class Subscriber:
    """What a subscription brought of each point: (source time in ns, value)."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[int, Any]]] = {}

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        time_ns = ticks(data.monitored_item.Value.SourceTimestamp)
        self.seen.setdefault(node.nodeid.Identifier, []).append((time_ns, value))


async def test_subscribers_get_no_sample_of_a_log_as_a_live_value(tmp_path: Path) -> None:
    async with windback_node(tmp_path, [DENSE]) as plant:
        heard = Subscriber()
        async with Client(plant.endpoint, timeout=10) as client:
            began_ns = time.time_ns()
            points = [f"dense/{name}" for name in ("level", "flow")]
            nodes = [client.get_node(f"ns=2;s={point}") for point in points]
            subscription = await client.create_subscription(50, heard)
            await subscription.subscribe_data_change(nodes, queuesize=100)
            await plant.unplug(AWAY_S)
            to_ns = await plant.all_good()
            gaps = await plant.settled(began_ns, to_ns)
            filled_ns = time.time_ns()
            await asyncio.sleep(0.3)  # paces: what was published meanwhile has arrived
        assert gaps
        brought = 0
        for point in points:
            rows = await plant.control.history(point, began_ns, filled_ns)
            from_log = wound(rows)
            brought += len(from_log)
            seen = heard.seen[point]
            times = [time_ns for time_ns, _ in seen]
            assert times == sorted(times), "a live value never moves backwards"
            told = {row.time_ns // 100 * 100 for row in from_log}
            assert not told & set(times), "a sample of a log is no live value"
            live = [time_ns for time_ns, value in seen if value is not None]
            assert not any(gap.from_ns < t < gap.to_ns - POLL_NS for gap in gaps for t in live), (
                seen
            )
            assert max(live) > max(told), "live values go on"
            polled = len(rows) - len(from_log)
            assert len(seen) <= polled + 3, (
                "besides what was polled: the first, the loss, the return"
            )
        assert brought > SAMPLES, brought
