"""Events of running nodes: what an OPC UA client is told when something happens to the plant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from .plant import PairNode, small_pair, small_plant

BASE = ua.NodeId(ua.ObjectIds.BaseEventType)
OURS = ("Device", "ScanClass", "Cause", "Node", "Role")
WITHIN_S = 20.0


class Watch:
    """A subscription to all events of a server, with the fields of every type of ours."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: list[Any] = []
        self._news = asyncio.Event()

    def event_notification(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()

    async def start(self) -> None:
        subscription = await self.client.create_subscription(100, self)
        names = ["EventId", "EventType", "SourceNode", "SourceName", "Time", "Message"]
        names += ["ClientUserId", "NewValue", "Status"]
        paths = [ua.QualifiedName(name, 0) for name in names]
        paths += [ua.QualifiedName(name, 2) for name in OURS]
        selected = [
            ua.SimpleAttributeOperand(BASE, [path], ua.AttributeIds.Value) for path in paths
        ]
        await subscription.subscribe_events(evfilter=ua.EventFilter(selected))

    async def until(self, what: str, holds: Callable[[Any], bool]) -> Any:
        """The first event of a type that is as wanted."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    for event in self.events:
                        if str(event.EventType.Identifier) == what and holds(event):
                            return event
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            told = "\n".join(f"{e.EventType.Identifier}: {e.Message.Text}" for e in self.events)
            raise AssertionError(f"no {what} among:\n{told}") from None


def watching(url: str) -> Client:
    return Client(url, timeout=10, watchdog_intervall=30)


async def test_a_lost_device_its_gaps_and_writes_are_told(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        async with watching(plant.endpoint) as client:
            watch = Watch(client)
            await watch.start()
            await plant.rig(power="off", device="plc1")
            lost = await watch.until(
                "#Type/ConnectionLostEventType", lambda event: event.SourceName == "plc1"
            )
            assert lost.SourceNode == ua.NodeId("plc1", 2)
            for scan_class in ("fast", "normal"):
                opened = await watch.until(
                    "#Type/GapOpenedEventType",
                    lambda event, name=scan_class: (
                        (event.Device, event.ScanClass) == ("plc1", name)
                    ),
                )
                assert opened.Cause == "link"
            await plant.rig(power="on", device="plc1")
            await watch.until(
                "#Type/ConnectionRestoredEventType", lambda event: event.SourceName == "plc1"
            )
            await watch.until(
                "#Type/GapClosedEventType",
                lambda event: (event.Device, event.ScanClass) == ("plc1", "fast"),
            )
            await plant.all_good()
            assert (await plant.control.write("plc1/setpoint", 2.25))["status"] == "Good"
            writing = str(ua.ObjectIds.AuditWriteUpdateEventType)
            good = await watch.until(writing, lambda event: event.Status)
            assert (good.SourceNode, good.NewValue) == (ua.NodeId("plc1/setpoint", 2), 2.25)
            assert (await plant.control.write("plc1/setpoint", 99.0))["status"] != "Good"
            await watch.until(writing, lambda event: not event.Status)
            ids = [event.EventId for event in watch.events]
            assert len(set(ids)) == len(ids)
            # Every notable event of the command line is told here, in the same words.
            shown = [found["text"] for found in await plant.json("events", "--from", "5m")]
            told = "\n".join(event.Message.Text for event in watch.events)
            lost_text = next(text for text in shown if text.startswith("lost: "))
            assert f"plc1 {lost_text}" in told


async def url_of(node: PairNode) -> str:
    return str((await node.status())["endpoint"])


@pytest.mark.slow
async def test_after_a_failover_the_new_main_tells_of_both_nodes(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.until_equal()
        async with watching(await url_of(main)) as client:
            watch = Watch(client)
            await watch.start()
            await standby.program.kill()
            await standby.start()
            await plant.until_roles(**{main.name: "main", standby.name: "synced"})
            told = await watch.until(
                "#Type/RoleChangedEventType",
                lambda event: event.Node == standby.name and event.Role.startswith("standby"),
            )
            assert told.SourceNode == ua.NodeId("#Node", 2)
            await main.program.kill()
        await plant.until_roles(within_s=10, **{standby.name: "main"})
        async with watching(await url_of(standby)) as client:
            watch = Watch(client)
            await watch.start()
            await main.start()
            await watch.until(
                "#Type/RoleChangedEventType",
                lambda event: event.Node == main.name and event.Role.startswith("standby"),
            )
