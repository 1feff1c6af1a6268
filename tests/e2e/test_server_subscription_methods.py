"""GetMonitoredItems and ResendData: what a client asks of its own subscriptions, and of others'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from tests.e2e.server_rig import Plant, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVEL, COUNT, NAME = "ns=2;s=plc1/level", "ns=2;s=plc1/count", "ns=2;s=plc1/name"
IDS, CODES = ua.ObjectIds, ua.StatusCodes
ITEMS, RESEND = IDS.Server_GetMonitoredItems, IDS.Server_ResendData


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with running(tmp_path_factory.mktemp("pki"), insecure=True) as found:
        found.set("plc1/level", 4.5)
        found.set("plc1/count", 7)
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(plant.url, watchdog_intervall=30) as found:
        yield found


class Heard:
    """What a subscription heard, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def datachange_notification(self, node: Any, value: Any, _data: Any) -> None:
        self.told.append((node.nodeid.to_string(), value))
        self._news.set()

    async def until(self, count: int) -> list[tuple[str, Any]]:
        """The first notifications, once so many have come; in the order of their names."""
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()
        return sorted(self.told)


async def call(client: Client, method: int, *arguments: ua.Variant) -> tuple[int, list[Any]]:
    request = ua.CallMethodRequest(ua.NodeId(IDS.Server), ua.NodeId(method), list(arguments))
    [result] = await client.uaclient.call([request])
    return result.StatusCode.value, [found.Value for found in result.OutputArguments]


def number(value: int) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.UInt32)


@pytest.mark.parametrize("method", [ITEMS, IDS.ServerType_GetMonitoredItems])
async def test_a_client_learns_which_items_it_has(client: Client, method: int) -> None:
    subscription = await client.create_subscription(50, Heard())
    own = number(subscription.subscription_id)
    assert await call(client, method, own) == (CODES.Good, [[], []])
    nodes = [client.get_node(name) for name in (LEVEL, COUNT)]
    servers = list(await subscription.subscribe_data_change(nodes))
    servers.append(await subscription.subscribe_events())
    known = {item.server_handle: handle for handle, item in subscription._monitored_items.items()}
    handles = [known[item] for item in servers]
    assert await call(client, method, own) == (CODES.Good, [servers, handles])
    await subscription.unsubscribe(servers[1])
    assert await call(client, method, own) == (CODES.Good, [servers[::2], handles[::2]])
    shown = await client.nodes.server.call_method("0:GetMonitoredItems", own)
    assert shown == [servers[::2], handles[::2]], "as the client's own call has it"


async def test_values_are_said_again_of_items_that_report_and_no_others(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    nodes = [client.get_node(name) for name in (LEVEL, COUNT, NAME)]
    items = await subscription.subscribe_data_change(nodes)
    await heard.until(3)
    mode = ua.SetMonitoringModeParameters()
    mode.SubscriptionId, mode.MonitoringMode = subscription.subscription_id, 1
    mode.MonitoredItemIds = [items[2]]
    await client.uaclient.set_monitoring_mode(mode)
    heard.told.clear()
    own = number(subscription.subscription_id)
    assert await call(client, RESEND, own) == (CODES.Good, [])
    assert await heard.until(2) == [(COUNT, 7), (LEVEL, 4.5)]
    heard.told.clear()
    plant.set("plc1/count", 8)
    await heard.until(1)
    assert heard.told == [(COUNT, 8)], "what was said again is not said a third time"
    plant.set("plc1/count", 7)


async def test_what_waits_is_not_doubled(plant: Plant) -> None:
    """A queue of values that nobody fetched is what a client gets, each of them once."""
    async with Client(plant.url, watchdog_intervall=30) as client:
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        handle = await subscription.subscribe_data_change(client.get_node(LEVEL), queuesize=10)
        await heard.until(1)
        heard.told.clear()
        [session] = [s for s in plant.server.context.sessions if s.subscriptions]
        item = session.subscriptions[subscription.subscription_id].items[handle]
        plant.live.apply([(plant.number("plc1/level"), 2**60, 5.5, 0)])
        item.offer(item.target.read())
        await plant.server.context.publisher.resend(item.subscription)
        assert len(item.queue) == 1
        assert await heard.until(1) == [(LEVEL, 5.5)]
        plant.set("plc1/level", 4.5)


@pytest.mark.parametrize("method", [ITEMS, RESEND, IDS.ServerType_ResendData])
async def test_subscriptions_of_others_are_theirs(
    plant: Plant, client: Client, method: int
) -> None:
    async with Client(plant.url, watchdog_intervall=30) as other:
        subscription = await other.create_subscription(50, Heard())
        theirs = number(subscription.subscription_id)
        assert await call(client, method, theirs) == (CODES.BadUserAccessDenied, [])
        nobodys = number(subscription.subscription_id + 1_000)
        assert await call(client, method, nobodys) == (CODES.BadSubscriptionIdInvalid, [])
        nothing = ua.Variant(None, ua.VariantType.Null)
        assert await call(client, method, nothing) == (CODES.BadSubscriptionIdInvalid, [])
        assert await call(client, method) == (CODES.BadArgumentsMissing, [])
        for wrong in (
            ua.Variant("1", ua.VariantType.String),
            ua.Variant([1], ua.VariantType.UInt32),
            ua.Variant([None], ua.VariantType.Null, is_array=True),
        ):
            assert (await call(client, method, wrong))[0] == CODES.BadInvalidArgument
