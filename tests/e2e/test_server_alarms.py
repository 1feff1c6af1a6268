"""Alarms at a client: told as they come and go, told anew, acknowledged, commented on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.events import Event

from gateway.journal.records import Coverage, Hole
from gateway.model import NS_PER_S
from gateway.server.alarms import GAP_DELAY_NS, NOT_WATCHED, lost, open_gap
from tests.e2e.server_rig import PASSWORD, START_NS, Plant, running
from tests.e2e.test_server_subscription_methods import call as call_server
from tests.e2e.test_server_subscription_methods import number

pytestmark = pytest.mark.asyncio(loop_scope="module")
IDS, CODES = ua.ObjectIds, ua.StatusCodes
LOST = lost("plc1", START_NS, "no answer")
GAP = open_gap("plc1", "fast", START_NS, "device_down")
OTHER = lost("plc2", START_NS, "no answer")
PLC1_LOST = ua.NodeId("plc1#Alarm.Lost", 2)
START, END = (ua.NodeId(n) for n in (IDS.RefreshStartEventType, IDS.RefreshEndEventType))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with running(tmp_path_factory.mktemp("pki"), insecure=True) as found:
        yield found


@pytest.fixture
def plant(served: Plant) -> Plant:
    """The server, with nothing wrong and nothing retained."""
    served.pair.troubles = None
    served.server.look()
    served.wrong()
    return served


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Plant) -> AsyncIterator[Client]:
    async with Client(served.url, watchdog_intervall=30) as found:
        yield found


class Heard:
    """What a subscription was told, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def event_notification(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, count: int, within_s: float = 5.0) -> list[Event]:
        """What was told, once it are so many."""
        async with asyncio.timeout(within_s):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        found, self.events = self.events[:count], self.events[count:]
        return found


async def watch(client: Client, node: str = "i=2253") -> tuple[Heard, Any, int]:
    """A subscription to conditions as the library's own call makes it, with its filter."""
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    item = await subscription.subscribe_alarms_and_conditions(
        client.get_node(node), IDS.OffNormalAlarmType
    )
    return heard, subscription, item


def state(event: Event) -> tuple[str, bool, bool, bool]:
    """(condition, active, acknowledged, retained)."""
    found: Any = event
    return (
        found.NodeId.Identifier,
        getattr(found, "ActiveState/Id"),
        getattr(found, "AckedState/Id"),
        found.Retain,
    )


async def say(
    client: Client, event: Any, comment: ua.LocalizedText | None, method: int | None = None
) -> int:
    """Acknowledge, or whatever else `method` is; the status."""
    request = ua.CallMethodRequest(
        event.NodeId,
        ua.NodeId(method or IDS.AcknowledgeableConditionType_Acknowledge),
        [
            ua.Variant(event.EventId, ua.VariantType.ByteString),
            ua.Variant(comment or ua.LocalizedText(), ua.VariantType.LocalizedText),
        ],
    )
    [result] = await client.uaclient.call([request])
    code: int = result.StatusCode.value
    return code


async def refresh(client: Client, *arguments: ua.Variant) -> int:
    second = len(arguments) > 1
    method = IDS.ConditionType_ConditionRefresh2 if second else IDS.ConditionType_ConditionRefresh
    request = ua.CallMethodRequest(ua.NodeId(IDS.ConditionType), ua.NodeId(method), list(arguments))
    [result] = await client.uaclient.call([request])
    code: int = result.StatusCode.value
    return code


async def test_a_lost_device_is_an_alarm_until_it_is_back_and_seen(
    plant: Plant, client: Client
) -> None:
    heard, *_ = await watch(client)
    plant.wrong(LOST)
    [begun] = await heard.until(1)
    found: Any = begun
    assert state(begun) == ("plc1#Alarm.Lost", True, False, True)
    assert found.EventType == ua.NodeId(IDS.OffNormalAlarmType)
    assert found.SourceNode == ua.NodeId("plc1", 2)
    assert (found.SourceName, found.ConditionName, found.Severity) == ("plc1", "Lost", 700)
    assert found.Message.Text == "plc1 lost: no answer"
    assert found.BranchId in (None, ua.NodeId())
    assert getattr(found, "EnabledState/Id") is True
    assert found.ConditionClassId == ua.NodeId(IDS.SystemConditionClassType)
    plant.wrong()
    [over] = await heard.until(1)
    assert state(over) == ("plc1#Alarm.Lost", False, False, True)
    plant.audit.clear()
    assert await say(client, over, ua.LocalizedText("a loose plug")) == CODES.Good
    [seen] = await heard.until(1)
    found = seen
    assert state(seen) == ("plc1#Alarm.Lost", False, True, False)
    assert (found.Comment.Text, found.ClientUserId) == ("a loose plug", "anonymous")
    assert plant.audit == [
        (
            "acknowledge",
            "plc1#Alarm.Lost",
            "anonymous",
            "acknowledged",
            {"comment": "a loose plug"},
        )
    ]
    assert await say(client, over, None) == CODES.BadEventIdUnknown


async def test_who_comes_later_has_told_anew_what_is_retained(plant: Plant, client: Client) -> None:
    plant.wrong(LOST, GAP, OTHER)
    heard, subscription, _ = await watch(client)
    others, *_ = await watch(client)
    own = number(subscription.subscription_id)
    assert await refresh(client, own) == CODES.Good
    told: list[Any] = await heard.until(5)
    assert [told[0].EventType, told[-1].EventType] == [START, END]
    assert [event.ConditionName for event in told[1:-1]] == ["Lost", "Gap.fast", "Lost"]
    assert await say(client, told[1], None) == CODES.Good
    [seen] = await heard.until(1)
    assert [state(seen)] == [state(event) for event in await others.until(1)], "and nothing before"
    assert await refresh(client, own) == CODES.Good
    again: list[Any] = await heard.until(5)
    assert [event.EventId for event in again[1:-1]] == [
        event.EventId for event in (seen, told[2], told[3])
    ], "a refresh repeats what was told last"


async def test_an_item_alone_is_refreshed_and_a_device_tells_its_own(
    plant: Plant, client: Client
) -> None:
    plant.wrong(LOST, OTHER)
    heard, subscription, item = await watch(client, "ns=2;s=plc2")
    second = await subscription.subscribe_alarms_and_conditions(evtypes=IDS.OffNormalAlarmType)
    own = number(subscription.subscription_id)
    assert await refresh(client, own, number(item)) == CODES.Good
    told: list[Any] = await heard.until(3)
    assert [event.EventType for event in (told[0], told[2])] == [START, END]
    assert state(told[1])[0] == "plc2#Alarm.Lost"
    assert await refresh(client, own, number(second)) == CODES.Good
    assert len(await heard.until(4)) == 4
    await asyncio.sleep(0)
    assert heard.events == []
    assert await refresh(client, own, number(second + 1_000)) == CODES.BadMonitoredItemIdInvalid


async def test_a_where_clause_keeps_conditions_back_and_not_the_brackets(
    plant: Plant, client: Client
) -> None:
    plant.wrong(LOST, GAP)
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_alarms_and_conditions(evtypes=IDS.OffNormalAlarmType)
    [item] = subscription._monitored_items.values()
    severe = ua.ContentFilterElement(
        FilterOperator=ua.FilterOperator.GreaterThan,
        FilterOperands=[
            ua.SimpleAttributeOperand(
                TypeDefinitionId=ua.NodeId(IDS.BaseEventType),
                BrowsePath=[ua.QualifiedName("Severity")],
                AttributeId=ua.AttributeIds.Value,
            ),
            ua.LiteralOperand(Value=ua.Variant(600, ua.VariantType.UInt16)),
        ],
    )
    item.mfilter.WhereClause.Elements = [severe]
    parameters = ua.MonitoringParameters(item.client_handle, 0, item.mfilter, 0, True)
    modify = ua.ModifyMonitoredItemsParameters(
        subscription.subscription_id,
        ua.TimestampsToReturn.Both,
        [ua.MonitoredItemModifyRequest(item.server_handle, parameters)],
    )
    [modified] = await client.uaclient.modify_monitored_items(modify)
    modified.StatusCode.check()
    assert await refresh(client, number(subscription.subscription_id)) == CODES.Good
    told: list[Any] = await heard.until(3)
    assert [event.EventType for event in told] == [START, ua.NodeId(IDS.OffNormalAlarmType), END]
    assert told[1].Severity == 700


async def test_what_can_not_be_refreshed_is_refused(plant: Plant, client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    own = number(subscription.subscription_id)
    assert await refresh(client, own) == CODES.BadNothingToDo
    nobodys = number(subscription.subscription_id + 1_000)
    assert await refresh(client, nobodys) == CODES.BadSubscriptionIdInvalid
    async with Client(plant.url, watchdog_intervall=30) as other:
        assert await refresh(other, own) == CODES.BadUserAccessDenied
    on_server = await call_server(client, IDS.ConditionType_ConditionRefresh, own)
    assert on_server == (CODES.BadMethodInvalid, [])
    feed = plant.server.context.publisher.events
    _, watched, _ = await watch(client)
    busy = number(watched.subscription_id)
    requests = [
        ua.CallMethodRequest(
            ua.NodeId(IDS.ConditionType), ua.NodeId(IDS.ConditionType_ConditionRefresh), [busy]
        )
    ]
    results = await client.uaclient.call(requests * 3)
    assert [result.StatusCode.value for result in results] == [
        CODES.Good,
        CODES.BadRefreshInProgress,
        CODES.BadRefreshInProgress,
    ]
    async with asyncio.timeout(5):
        while not feed.is_idle:
            await asyncio.sleep(0.01)  # paces: the feed has no event for this
    assert await refresh(client, busy) == CODES.Good


async def test_what_people_may_say_and_who(plant: Plant, client: Client) -> None:
    plant.wrong(LOST)
    heard, subscription, _ = await watch(client)
    assert await refresh(client, number(subscription.subscription_id)) == CODES.Good
    _, alarm, _ = await heard.until(3)
    add = IDS.ConditionType_AddComment
    assert await say(client, alarm, ua.LocalizedText("somebody goes there"), add) == CODES.Good
    [said] = await heard.until(1)
    found: Any = said
    assert found.Comment.Text == "somebody goes there"
    assert state(said) == state(alarm)
    olga = Client(plant.url, watchdog_intervall=30)
    olga.set_user("olga")
    olga.set_password(PASSWORD)
    async with olga:
        for method in (None, add):
            assert await say(olga, alarm, None, method) == CODES.BadUserAccessDenied
    assert await say(client, said, ua.LocalizedText("", "en")) == CODES.Good
    [seen] = await heard.until(1)
    found = seen
    assert not found.Comment.Text, "a text without words, in a language, empties the comment"
    assert await say(client, seen, None) == CODES.BadConditionBranchAlreadyAcked
    found.EventId = b"never told"
    assert await say(client, found, None) == CODES.BadEventIdUnknown
    for node in (ua.NodeId("plc1", 2), ua.NodeId(IDS.AcknowledgeableConditionType)):
        found.NodeId = node
        assert await say(client, found, None) == CODES.BadNodeIdInvalid


async def test_conditions_are_always_enabled(plant: Plant) -> None:
    anna = Client(plant.url, watchdog_intervall=30)
    anna.set_user("anna")
    anna.set_password(PASSWORD)
    async with anna:
        for method, status in (
            (IDS.ConditionType_Enable, CODES.BadConditionAlreadyEnabled),
            (IDS.ConditionType_Disable, CODES.BadNotSupported),
        ):
            request = ua.CallMethodRequest(PLC1_LOST, ua.NodeId(method), [])
            [result] = await anna.uaclient.call([request])
            assert result.StatusCode.value == status


async def test_who_is_main_no_more_takes_its_alarms_back(plant: Plant, client: Client) -> None:
    heard, *_ = await watch(client)
    plant.wrong(LOST)
    await heard.until(1)
    plant.pair.troubles = None
    plant.server.look()
    [taken] = await heard.until(1)
    found: Any = taken
    assert state(taken) == ("plc1#Alarm.Lost", True, False, False)
    assert found.Message.Text == NOT_WATCHED
    assert found.Quality.value == 0x40900000
    plant.wrong(LOST)
    [again] = await heard.until(1)
    assert state(again) == ("plc1#Alarm.Lost", True, False, True)


async def test_a_gap_is_an_alarm_while_coverage_leaves_it_open(
    plant: Plant, client: Client
) -> None:
    heard, *_ = await watch(client, "ns=2;s=plc1")
    t = time.time_ns()
    old_ns = t - GAP_DELAY_NS
    hole = Hole("plc1", "fast", old_ns, t, "device")
    young = Hole("plc1", "slow", t - NS_PER_S, t, "device")
    plant.tell(Coverage(1, old_ns, t, (hole, young)))
    plant.server.look()
    [begun] = await heard.until(1)
    found: Any = begun
    assert state(begun) == ("plc1#Alarm.Gap.fast", True, False, True)
    assert found.Message.Text == "plc1/fast: a gap is open (device)"
    plant.pair.disabled = frozenset({"plc1"})
    plant.server.look()
    [over] = await heard.until(1)
    assert state(over) == ("plc1#Alarm.Gap.fast", False, False, True), "nobody shall poll it now"
    plant.pair.disabled = frozenset()
    plant.server.look()
    await heard.until(1)
    plant.tell(Coverage(1, t, t + NS_PER_S))
    plant.server.look()
    [over] = await heard.until(1)
    assert state(over) == ("plc1#Alarm.Gap.fast", False, False, True)
    assert await say(client, over, None) == CODES.Good
    await heard.until(1)
    later_ns = t + NS_PER_S
    hole = Hole("plc1", "fast", old_ns, later_ns, "device")
    plant.tell(Coverage(1, old_ns, later_ns, (hole,)))
    plant.server.look()
    await heard.until(1)
    plant.pair.troubles = None
    plant.server.look()
    [taken] = await heard.until(1)
    assert state(taken) == ("plc1#Alarm.Gap.fast", True, False, False)
    plant.wrong()
    assert not plant.server.events.troubles(), "of a new reign nothing was said yet"
    plant.tell(Coverage(1, later_ns, later_ns + NS_PER_S))
