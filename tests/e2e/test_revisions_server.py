"""The server goes over to another revision while clients read and subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from gateway.acquisition.live import LiveTable
from gateway.driver import DeviceSpec
from gateway.model import DataType, Status
from gateway.server.logins import Logins
from gateway.server.settings import Role, User

from .server_rig import PASSWORD, USERS, Plant, plant, running


class Seen:
    """What a subscriber was told, in order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, Any, int]] = asyncio.Queue()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        status = data.monitored_item.Value.StatusCode.value
        self.told.put_nowait((node.nodeid.Identifier, value, status))

    async def next(self) -> tuple[str, Any, int]:
        async with asyncio.timeout(5):
            return await self.told.get()


def renumbered(devices: Sequence[DeviceSpec]) -> list[DeviceSpec]:
    """The devices with points numbered as a configuration numbers them: by id."""
    ids = sorted(p.id for d in devices for p in d.points)
    numbers = {point: number for number, point in enumerate(ids)}
    return [
        replace(d, points=tuple(replace(p, number=numbers[p.id]) for p in d.points))
        for d in devices
    ]


def without(device: DeviceSpec, name: str) -> DeviceSpec:
    return replace(device, points=tuple(p for p in device.points if p.name != name))


async def go_over(found: Plant, devices: list[DeviceSpec], users: Any = USERS) -> None:
    devices = renumbered(devices)
    live = LiveTable(devices)
    staged = await found.server.prepare(devices, live)
    live.take_over(found.live, {})
    found.server.swap(staged, found.history, users)
    found.live = live


def node(name: str) -> ua.NodeId:
    return ua.NodeId(name, 2)


async def children(client: Client, name: str) -> set[str]:
    found = await client.get_node(node(name)).get_children()
    return {str(child.nodeid.Identifier) for child in found}


async def test_subscriptions_go_on_with_the_points_of_their_names(tmp_path: Path) -> None:
    async with running(tmp_path, insecure=True) as found:
        found.set("plc1/level", 1.5)
        found.set("plc2/level", 2.5)
        seen = Seen()
        async with Client(found.url) as client:
            subscription = await client.create_subscription(50, seen)
            for name in ("plc1/level", "plc2/level", "plc2/count"):
                await subscription.subscribe_data_change(client.get_node(node(name)))
                await seen.next()
            one, two, big = plant(4)
            await go_over(found, [without(one, "count"), without(two, "count"), big])
            assert await seen.next() == ("plc2/count", None, Status.BAD_NODE_ID_UNKNOWN)
            found.set("plc1/level", 3.5)
            assert await seen.next() == ("plc1/level", 3.5, 0), "the number of it is another now"
            found.set("plc2/level", 4.5)
            assert await seen.next() == ("plc2/level", 4.5, 0)
            assert seen.told.empty(), "what did not change is not told again"
            assert await client.get_node(node("big/t3")).read_browse_name()
            assert "plc1/count" not in await children(client, "plc1")
            with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
                await client.get_node(node("plc1/count")).read_value()
            await go_over(found, plant())
            name, _, status = await seen.next()
            assert (name, status) == ("plc2/count", Status.BAD_WAITING_FOR_INITIAL_DATA)
            found.set("plc2/count", 7)
            assert await seen.next() == ("plc2/count", 7, 0), "the item lives again"
            with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
                await client.get_node(node("big/t3")).read_value()
            await subscription.delete()
            assert found.server.counters()["items"] == 0


async def test_a_removed_point_may_be_unsubscribed_and_a_retyped_one_is_another(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, insecure=True) as found:
        found.set("plc1/count", 5)
        seen = Seen()
        async with Client(found.url) as client:
            subscription = await client.create_subscription(50, seen)
            handles = [
                await subscription.subscribe_data_change(client.get_node(node(name)))
                for name in ("plc1/count", "plc1/name", "plc1#Diagnostics.Requests")
            ]
            for _ in handles:
                await seen.next()
            one, two, _ = plant()
            typed = tuple(
                replace(p, data_type=DataType.INT32) if p.name == "count" else p for p in one.points
            )
            await go_over(found, [without(replace(one, points=typed), "name"), two])
            told = {(await seen.next())[::2] for _ in range(2)}
            assert told == {
                ("plc1/count", Status.BAD_NODE_ID_UNKNOWN),
                ("plc1/name", Status.BAD_NODE_ID_UNKNOWN),
            }
            for handle in handles:
                await subscription.unsubscribe(handle)
            assert found.server.counters()["items"] == 0
            value = await client.get_node(node("plc1/count")).read_data_value(False)
            assert value.StatusCode.value == Status.BAD_WAITING_FOR_INITIAL_DATA


async def test_the_tree_is_whole_and_the_site_is_listed_once(tmp_path: Path) -> None:
    async with running(tmp_path, insecure=True) as found, Client(found.url) as client:
        before = await children(client, "plc1")
        for _ in range(3):
            await go_over(found, plant(2))
        sites = [n.nodeid.Identifier for n in await client.nodes.objects.get_children()]
        assert sites.count("#Site") == 1
        assert await children(client, "plc1") == before
        parents = await client.get_node(node("plc1")).get_references(
            ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Inverse
        )
        notifier = ua.NodeId(ua.ObjectIds.HasNotifier)
        assert [(parent.NodeId, parent.ReferenceTypeId == notifier) for parent in parents] == [
            (node("#Area/plant/intake"), False),
            (node("#Site"), True),
        ]
        space = found.server.context.space
        assert len(space.keys()) == len(list(space.keys()))
        path = ["0:Objects", "2:s7", "2:Devices", "2:plant", "2:intake", "2:plc2", "2:level"]
        level = await client.nodes.root.get_child(path)
        assert level.nodeid == node("plc2/level")


async def test_who_is_no_user_any_more_is_logged_out_and_roles_hold_at_once(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as found:
        sessions = found.server.context.sessions

        def log_in(name: str) -> Any:
            class Channel:
                congested = False

                def answer(self, request: Any, response: Any) -> None:
                    raise AssertionError("nobody waits")

            session = sessions.create(name, 30_000, None, Channel())
            sessions.activate(session, USERS[name], session.channel)
            return session

        olga, otto = log_in("olga"), log_in("otto")
        promoted = replace(USERS["olga"], role=Role.ADMIN)
        await go_over(found, plant(), {"olga": promoted})
        assert olga.account == promoted and not olga.closed
        assert otto.closed
        changed = User("olga", Role.ADMIN, "scrypt$another")
        await go_over(found, plant(), {"olga": changed})
        assert olga.closed


async def test_a_verified_password_does_not_outlive_its_user(tmp_path: Path) -> None:
    from gateway.clock import SystemClock

    logins = Logins(USERS, SystemClock())
    assert await logins.check("olga", PASSWORD, "peer") == USERS["olga"]
    logins.replace({})
    assert await logins.check("olga", PASSWORD, "peer") is None
    logins.replace(USERS)
    assert await logins.check("olga", PASSWORD, "other") == USERS["olga"]


async def test_ten_thousand_points_go_over_in_many_turns_of_the_loop(tmp_path: Path) -> None:
    async with running(tmp_path, extra=5_000, insecure=True) as found:
        turns = 0
        swapping = True

        async def count() -> None:
            nonlocal turns
            while swapping:
                await asyncio.sleep(0)
                turns += 1

        counter = asyncio.create_task(count())
        devices = plant(10_000)
        try:
            await go_over(found, devices)
        finally:
            swapping = False
            await counter
        # Slices of 5 ms: whatever the machine's speed, scans and heartbeats get their turns.
        assert turns > 20
        assert len(found.live.points) == 10_016
