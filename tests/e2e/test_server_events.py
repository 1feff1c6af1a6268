"""Events: what a client that subscribes to them is told, and in which order."""

from __future__ import annotations

import asyncio
import datetime
import gc
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.journal.records import BACK, LOST, Audit, Body, Coverage, Event, Fill, Hole, Role
from gateway.model import NS_PER_S
from gateway.server.settings import Limits
from tests.e2e.server_rig import OWN, PASSWORD, USERS, Plant, RawPeer, running, trusted

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVER = ua.NodeId(ua.ObjectIds.Server)
SITE = ua.NodeId("#Site", 2)
GUID = uuid.UUID(int=7)
LIMITS = Limits(max_event_queue=100, max_event_items=20, max_where_operands=200)
codes = ua.StatusCodes
STALL_MAX_S = 0.05
"""Of the loop's own work, with the client in the same loop; slices are 2 ms."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    pki_dir = tmp_path_factory.mktemp("pki")
    async with running(pki_dir, insecure=True, limits=LIMITS) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(plant.url, watchdog_intervall=30) as found:
        yield found


class Heard:
    """Keeps the events a subscription brings, and lets tests wait for them."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._news = asyncio.Event()

    def event_notification(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        pass

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events

    @property
    def texts(self) -> list[str]:
        return [event.Message.Text for event in self.events]


def type_id(name: str) -> ua.NodeId:
    return ua.NodeId(f"#Type/{name}", 2)


def note(text: str, severity: int = 300, source: str = "pair", kind: str = "") -> Event:
    return Event(source, severity, text, time.time_ns(), kind)


def select(*names: str, type_id: int = ua.ObjectIds.BaseEventType) -> list[Any]:
    return [
        ua.SimpleAttributeOperand(
            ua.NodeId(type_id), [ua.QualifiedName(name, 0)], ua.AttributeIds.Value
        )
        for name in names
    ]


def where(*elements: tuple[ua.FilterOperator, list[Any]]) -> ua.ContentFilter:
    return ua.ContentFilter([ua.ContentFilterElement(*element) for element in elements])


def literal(value: Any, kind: ua.VariantType | None = None) -> Any:
    return ua.LiteralOperand(ua.Variant(value, kind))


async def create(
    client: Client, subscription: Any, node: ua.NodeId, event_filter: Any, **parameters: Any
) -> Any:
    asked = ua.MonitoredItemCreateRequest()
    asked.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.EventNotifier)
    asked.MonitoringMode = ua.MonitoringMode.Reporting
    asked.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=77, Filter=event_filter, **{"QueueSize": 0, "DiscardOldest": True} | parameters
    )
    request = ua.CreateMonitoredItemsParameters(
        subscription.subscription_id, ua.TimestampsToReturn.Both, [asked]
    )
    return (await client.uaclient.create_monitored_items(request))[0]


async def test_events_arrive_in_order_with_when_they_happened(plant: Plant, client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_events()
    happened_ns = time.time_ns() - 90 * NS_PER_S
    plant.tell(Event("journal", 900, "the disk is full", happened_ns), note("second", 0))
    first, second = await heard.until(2)
    assert first.Message.Text == "the disk is full" and second.Message.Text == "second"
    assert first.EventType == type_id("NotableEventType")
    assert (first.Severity, second.Severity) == (900, 1)
    assert (first.SourceNode, first.SourceName) == (ua.NodeId("#Node", 2), "journal")
    assert abs(first.Time.timestamp() - happened_ns / 1e9) < 1e-3
    assert abs(first.ReceiveTime.timestamp() - time.time()) < 10
    assert first.EventId != second.EventId
    await subscription.delete()


async def test_role_changes_connections_gaps_and_writes_have_types_of_their_own(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    names = ["RoleChangedEventType", "ConnectionLostEventType", "ConnectionRestoredEventType"]
    names += ["GapOpenedEventType", "GapClosedEventType", "GapFilledEventType"]
    write_type = ua.NodeId(ua.ObjectIds.AuditWriteUpdateEventType)
    wanted = [type_id(name) for name in names] + [write_type]
    await subscription.subscribe_events(evtypes=wanted)
    t = time.time_ns()
    hole = Hole("plc1", "fast", t, t + NS_PER_S, "device")
    bodies: list[Body] = [
        Role("a", "main", t, "the peer is dead", OWN),
        note("lost: no answer", 700, "plc1", LOST),
        note("not of a type that was asked for"),
        Coverage(1, t - NS_PER_S, t + NS_PER_S, (hole,)),
        Coverage(1, t + NS_PER_S, t + 2 * NS_PER_S),
        note("back after 1.0 s", 300, "plc1", BACK),
        Fill("plc1", "fast", "ring", t, t + NS_PER_S, "filled", ("level",), t + 3 * NS_PER_S),
        Audit("write", "plc1/level", t, "otto", "intent", {"value": 2.5}),
        Audit("write", "plc1/level", t, "otto", "result Good", {"value": 2.5, "read_back": 2.5}),
    ]
    plant.tell(*bodies)
    role, lost, opened, closed, back, filled, write = await heard.until(7)
    assert role.EventType == type_id("RoleChangedEventType")
    assert (role.Node, role.Role, role.Term) == ("a", "main", str(OWN))
    assert lost.EventType == type_id("ConnectionLostEventType")
    assert (lost.SourceNode, lost.SourceName) == (ua.NodeId("plc1", 2), "plc1")
    assert (opened.Device, opened.ScanClass, opened.Cause) == ("plc1", "fast", "device")
    assert abs(opened.FromTime.timestamp() - t / 1e9) < 1e-3 and opened.ToTime is None
    assert abs(closed.ToTime.timestamp() - t / 1e9 - 1) < 1e-3
    assert back.EventType == type_id("ConnectionRestoredEventType")
    assert (filled.Outcome, filled.Points) == ("filled", 1)
    assert write.EventType == write_type
    assert (write.SourceNode, write.SourceName) == (ua.NodeId("plc1/level", 2), "Attribute/Write")
    assert (write.ClientUserId, write.NewValue, write.Status) == ("otto", 2.5, True)
    assert len({event.EventId for event in heard.events}) == 7
    await subscription.delete()


async def test_a_device_is_a_notifier_of_its_own_events_only(plant: Plant, client: Client) -> None:
    of_site, of_plc1 = Heard(), Heard()
    subscriptions = []
    for heard, node in ((of_site, SITE), (of_plc1, ua.NodeId("plc1", 2))):
        subscription = await client.create_subscription(50, heard)
        await subscription.subscribe_events(node)
        subscriptions.append(subscription)
    plant.tell(note("of two", source="plc2"), note("of one", source="plc1"), note("of the pair"))
    await of_site.until(3)
    await of_plc1.until(1)
    assert of_plc1.texts == ["of one"]
    site = client.get_node(SITE)
    below = await site.get_referenced_nodes(ua.ObjectIds.HasNotifier, ua.BrowseDirection.Forward)
    assert {node.nodeid.Identifier for node in below} == {"plc1", "plc2", "big"}
    (above,) = await site.get_referenced_nodes(ua.ObjectIds.HasNotifier, ua.BrowseDirection.Inverse)
    assert above.nodeid == SERVER
    assert await site.read_event_notifier() == {ua.EventNotifier.SubscribeToEvents}
    for subscription in subscriptions:
        await subscription.delete()


async def test_a_where_clause_is_the_servers_work(plant: Plant, client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    event_filter = ua.EventFilter(select("Message", "Severity", "SourceName"))
    operators = ua.FilterOperator
    event_filter.WhereClause = where(
        (operators.And, [ua.ElementOperand(1), ua.ElementOperand(2)]),
        (operators.GreaterThanOrEqual, [*select("Severity"), literal(500, ua.VariantType.UInt16)]),
        (operators.Or, [ua.ElementOperand(3), ua.ElementOperand(4)]),
        (operators.Like, [*select("Message"), literal("pump [12]%")]),
        (operators.OfType, [literal(type_id("ConnectionLostEventType"))]),
    )
    await subscription.subscribe_events(evfilter=event_filter)
    plant.tell(
        note("pump 1 runs", 600),
        note("pump 3 runs", 600),
        note("pump 2 runs", 400),
        note("lost: no answer", 700, "plc1", LOST),
        note("pump 2 stops", 500),
    )
    await heard.until(3)
    assert heard.texts == ["pump 1 runs", "plc1 lost: no answer", "pump 2 stops"]
    await subscription.delete()


async def test_each_clause_has_its_result(client: Client) -> None:
    subscription = await client.create_subscription(50, Heard())
    clauses = select("Message", "NoSuchField")
    clauses += select("Message", type_id=ua.ObjectIds.FolderType)
    clauses += select("NewValue", type_id=ua.ObjectIds.AuditWriteUpdateEventType)
    clauses += select("NewValue", type_id=ua.ObjectIds.SystemEventType)
    clauses += select("")
    value, identity = ua.AttributeIds.Value, ua.AttributeIds.NodeId
    alarm, message = ua.NodeId(ua.ObjectIds.AlarmConditionType), [ua.QualifiedName("Message", 0)]
    clauses += [
        ua.SimpleAttributeOperand(alarm, [], identity),
        ua.SimpleAttributeOperand(alarm, [], value),
        ua.SimpleAttributeOperand(ua.NodeId(), message, value),
        ua.SimpleAttributeOperand(ua.NodeId(GUID, 2), message, value),
        ua.SimpleAttributeOperand(alarm, message, identity),
        ua.SimpleAttributeOperand(alarm, message, value, "0:1"),
        ua.SimpleAttributeOperand(
            alarm, [ua.QualifiedName("ActiveState", 0), ua.QualifiedName("Id", 0)], value
        ),
    ]
    found = await create(client, subscription, SERVER, ua.EventFilter(clauses))
    assert found.StatusCode.is_good()
    assert [status.value for status in found.FilterResult.SelectClauseResults] == [
        codes.Good,
        codes.BadNodeIdUnknown,
        codes.BadTypeDefinitionInvalid,
        codes.Good,
        codes.BadNodeIdUnknown,
        codes.BadBrowseNameInvalid,
        codes.Good,
        codes.BadAttributeIdInvalid,
        codes.Good,
        codes.Good,
        codes.BadAttributeIdInvalid,
        codes.BadIndexRangeInvalid,
        codes.Good,
    ]
    operators, ten = ua.FilterOperator, literal(10)
    wrong = where(
        (operators.Cast, [ten, ten]),
        (operators.Equals, [ten]),
        (operators.Equals, [ua.ElementOperand(2), *select("NoSuchField")]),
        (operators.Like, [*select("Message"), ten]),
        (operators.Not, [ua.AttributeOperand()]),
    )
    found = await create(client, subscription, SERVER, ua.EventFilter(clauses, wrong))
    assert found.StatusCode.value == codes.BadEventFilterInvalid
    results = found.FilterResult.WhereClauseResult.ElementResults
    assert [result.StatusCode.value for result in results] == [
        codes.BadFilterOperatorUnsupported,
        codes.BadFilterOperandCountMismatch,
        *[codes.BadFilterOperandInvalid] * 3,
    ]
    assert [[status.value for status in result.OperandStatusCodes] for result in results] == [
        [],
        [],
        [codes.BadFilterElementInvalid, codes.BadNodeIdUnknown],
        [codes.Good, codes.BadFilterLiteralInvalid],
        [codes.BadFilterOperandInvalid],
    ]
    await subscription.delete()


async def test_what_can_not_be_subscribed_to_is_refused(client: Client) -> None:
    subscription = await client.create_subscription(50, Heard())
    message = ua.EventFilter(select("Message"))
    many = where((ua.FilterOperator.InList, [literal(n) for n in range(201)]))
    for node, event_filter, status in (
        (SERVER, None, codes.BadEventFilterInvalid),
        (SERVER, ua.EventFilter(), codes.BadEventFilterInvalid),
        (SERVER, ua.EventFilter(select("Message") * 501), codes.BadEventFilterInvalid),
        (SERVER, ua.EventFilter(select("Message"), many), codes.BadEventFilterInvalid),
        (SERVER, ua.DataChangeFilter(), codes.BadFilterNotAllowed),
        (ua.NodeId("#Devices", 2), message, codes.BadNotSupported),
        (ua.NodeId("plc1/level", 2), message, codes.BadAttributeIdInvalid),
        (ua.NodeId("nothing", 2), message, codes.BadNodeIdUnknown),
    ):
        found = await create(client, subscription, node, event_filter)
        assert found.StatusCode.value == status, (node, event_filter)
    sizes = []
    for asked in (0, 1, 7, 2**32 - 1):
        found = await create(client, subscription, SERVER, message, QueueSize=asked)
        sizes.append(found.RevisedQueueSize)
    assert sizes == [100, 1, 7, 100]
    for _ in range(LIMITS.max_event_items - len(sizes)):
        assert (await create(client, subscription, SERVER, message)).StatusCode.is_good()
    found = await create(client, subscription, SERVER, message)
    assert found.StatusCode.value == codes.BadTooManyMonitoredItems
    await subscription.delete()


@pytest.mark.parametrize("oldest", [True, False])
async def test_a_full_queue_tells_what_it_lost_and_where(
    plant: Plant, client: Client, oldest: bool
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await client.uaclient.set_publishing_mode(
        ua.SetPublishingModeParameters(False, [subscription.subscription_id])
    )
    handle = await subscription.subscribe_events(queuesize=3)
    if not oldest:
        await modify(client, subscription, handle)
    plant.tell(*(note(f"event {n}", 100) for n in range(10)))
    await client.nodes.server.read_browse_name()
    feed = plant.server.context.publisher.events
    async with asyncio.timeout(5):
        while not feed.is_idle:
            await asyncio.sleep(0)
    await client.uaclient.set_publishing_mode(
        ua.SetPublishingModeParameters(True, [subscription.subscription_id])
    )
    await heard.until(4)
    lost = "events were lost: the queue was full"
    kept = [lost, "event 7", "event 8", "event 9"]
    assert heard.texts == (kept if oldest else ["event 0", "event 1", "event 9", lost])
    found = next(event for event in heard.events if event.Message.Text == lost)
    assert found.EventType == ua.NodeId(ua.ObjectIds.EventQueueOverflowEventType)
    assert (found.SourceNode, found.SourceName) == (SERVER, "Internal/EventQueueOverflow")
    await subscription.delete()


async def modify(client: Client, subscription: Any, item_id: int) -> None:
    """Have an item give up its newest event instead of its oldest."""
    asked = ua.MonitoredItemModifyRequest(item_id)
    (handle,) = subscription._monitored_items
    names = ("EventId", "EventType", "SourceNode", "SourceName", "Time", "Message", "Severity")
    asked.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=handle,
        Filter=ua.EventFilter(select(*names)),
        QueueSize=3,
        DiscardOldest=False,
    )
    subscription._monitored_items[handle].mfilter = asked.RequestedParameters.Filter
    (result,) = await client.uaclient.modify_monitored_items(
        ua.ModifyMonitoredItemsParameters(
            subscription.subscription_id, ua.TimestampsToReturn.Both, [asked]
        )
    )
    assert result.StatusCode.is_good() and result.RevisedQueueSize == 3


async def test_a_disabled_item_forgets_and_a_sampling_one_keeps(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    handle = await subscription.subscribe_events(evfilter=ua.EventFilter(select("Message")))
    for mode, text in (
        (ua.MonitoringMode.Disabled, "nobody is told"),
        (ua.MonitoringMode.Sampling, "told later"),
        (ua.MonitoringMode.Reporting, "told at once"),
    ):
        await set_mode(client, subscription, handle, mode)
        plant.tell(note(text))
        await delivered(plant)
    await heard.until(2)
    assert heard.texts == ["told later", "told at once"]
    await subscription.unsubscribe(handle)
    assert len(plant.server.context.publisher.events) == 0
    await subscription.delete()


async def set_mode(client: Client, subscription: Any, item_id: int, mode: Any) -> None:
    number = subscription.subscription_id
    found = await client.uaclient.set_monitoring_mode(
        ua.SetMonitoringModeParameters(number, mode, [item_id])
    )
    assert [status.is_good() for status in found] == [True]


async def delivered(plant: Plant) -> None:
    """Wait until every item was offered what was told."""
    feed = plant.server.context.publisher.events
    async with asyncio.timeout(20):
        while not feed.is_idle:
            await asyncio.sleep(0)


async def test_what_the_other_node_says_is_told_while_it_is_news(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_events()
    t = time.time_ns()
    hole = Hole("plc1", "fast", t - NS_PER_S, t, "device")
    plant.tell(
        Event("b", 500, "long ago", t - 7200 * NS_PER_S),
        Coverage(1, t - NS_PER_S, t, (hole,)),
        Fill("plc1", "fast", "ring", t, t + 1, "filled", ("level",), t),
        Role("b", "starting", t - 60 * NS_PER_S, "started", None),
        own=False,
    )
    plant.tell(Event("windback", 200, "what a device logged yesterday", t - 86_400 * NS_PER_S))
    await heard.until(2)
    assert heard.texts == ["node b is starting: started", "what a device logged yesterday"]
    await subscription.delete()


async def test_types_and_notifiers_are_there_after_another_revision(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_events(ua.NodeId("plc1", 2))
    server = plant.server
    before = await event_nodes(client)
    staged = await server.prepare(server._devices, plant.live)
    server.swap(staged, plant.history, USERS)
    assert await event_nodes(client) == before
    plant.tell(note("goes on", source="plc1"))
    await heard.until(1)
    assert heard.texts == ["goes on"]
    await subscription.delete()


async def event_nodes(client: Client) -> list[str]:
    """Every event type of ours with its parent and fields, and the tree of notifiers."""
    found = []
    for name in ("NotableEventType", "GapEventType", "GapFilledEventType", "RoleChangedEventType"):
        node = client.get_node(type_id(name))
        parent = await node.get_parent()
        assert parent is not None
        fields = [await field.read_browse_name() for field in await node.get_properties()]
        found.append(f"{parent.nodeid} {name} {fields}")
    for node in (client.nodes.server, client.get_node(SITE)):
        below = await node.get_referenced_nodes(
            ua.ObjectIds.HasNotifier, ua.BrowseDirection.Forward
        )
        found += [f"{node} notifies of {child}" for child in below]
    assert len(found) == 8
    return found


async def test_what_is_advertised_of_filters_is_what_is_enforced(client: Client) -> None:
    for name, most in (
        ("MaxSelectClauseParameters", LIMITS.max_select_clauses),
        ("MaxWhereClauseParameters", LIMITS.max_where_operands),
    ):
        node = client.get_node(getattr(ua.ObjectIds, f"Server_ServerCapabilities_{name}"))
        assert await node.read_value() == most


async def test_a_burst_stalls_nobody_and_what_is_lost_is_told(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "pki", insecure=True) as plant,
        Client(plant.url, watchdog_intervall=30) as client,
    ):
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        event_filter = ua.EventFilter(select("Message", "Severity"))
        event_filter.WhereClause = where(
            (ua.FilterOperator.Like, [*select("Message"), literal("%9%9%9%")])
        )
        await subscription.subscribe_events(evfilter=event_filter)
        silent = await client.create_subscription(50, Heard(), publishing=False)
        for _ in range(9):
            found = await create(client, silent, SERVER, ua.EventFilter(select("Time")))
            assert found.StatusCode.is_good()
        plant.tell(*(note(f"event {n}") for n in range(10_000)))
        # As a node does once it is built: else what stalls is the collector of garbage.
        gc.collect()
        gc.freeze()
        try:
            worst = await worst_stall(plant)
        finally:
            gc.unfreeze()
        await heard.until(37)
        assert heard.texts[0] == "event 999" and heard.texts[-1] == "event 9999"
        assert worst < STALL_MAX_S, f"one turn of the loop took {worst:.3f} s"


async def worst_stall(plant: Plant) -> float:
    """The longest turn of the loop until everything was offered, in s of this thread's work.

    Not by the clock on the wall: on a busy machine that tells how long others had the processor.
    """
    feed, worst = plant.server.context.publisher.events, 0.0
    last = time.thread_time()
    async with asyncio.timeout(60):
        while not feed.is_idle:
            await asyncio.sleep(0)
            now = time.thread_time()
            worst, last = max(worst, now - last), now
    return worst


async def test_a_backlog_that_is_full_is_told_to_every_item(tmp_path: Path) -> None:
    limits = Limits(max_event_backlog=5)
    async with (
        running(tmp_path / "pki", insecure=True, limits=limits) as plant,
        Client(plant.url, watchdog_intervall=30) as client,
    ):
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        await subscription.subscribe_events()
        plant.tell(*(note(f"event {n}") for n in range(7)))
        await heard.until(6)
        lost = "events were lost: the queue was full"
        assert heard.texts == [lost, *(f"event {n}" for n in range(2, 7))]


async def test_who_did_what_is_told_to_those_who_may_operate(tmp_path: Path) -> None:
    async with running(tmp_path / "pki") as plant:
        told = {}
        for user in ("olga", "otto"):
            async with await logged_in(plant, tmp_path, user) as client:
                heard = Heard()
                subscription = await client.create_subscription(50, heard)
                await subscription.subscribe_events()
                write = Audit("write", "plc1/level", time.time_ns(), "otto", "result Good", {})
                plant.tell(write, Audit("apply", "revision 2", 1, "eva", "done"), note("the end"))
                while "the end" not in heard.texts:
                    await heard.until(len(heard.events) + 1)
                told[user] = heard.texts
        assert told["olga"] == ["the end"]
        assert told["otto"] == [
            "otto wrote None to plc1/level: result Good",
            "apply revision 2 by eva: done",
            "the end",
        ]


async def logged_in(plant: Plant, folder: Path, user: str) -> Client:
    """A client of a user; it has a certificate of its own."""
    client = Client(plant.url, watchdog_intervall=30)
    client.application_uri = f"urn:test:{user}"
    key, certificate = folder / f"{user}.pem", folder / f"{user}.der"
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
    await setup_self_signed_certificate(
        key, certificate, client.application_uri, "127.0.0.1", usage, {}
    )
    trusted(plant.pki_dir, certificate)
    servers = plant.pki_dir / "own" / "certificate.der"
    policy, mode = SecurityPolicyBasic256Sha256, ua.MessageSecurityMode.SignAndEncrypt
    await client.set_security(policy, certificate, key, None, servers, mode)
    client.set_user(user)
    client.set_password(PASSWORD)
    return client


# ------------------------------------------------------------------------------------ raw bytes


async def raw_subscription(
    peer: RawPeer, event_filter: Any, keep_alive: int, user: str = ""
) -> tuple[Any, int]:
    """A session with a subscription and an item on events and one on ServiceLevel."""
    await peer.hello()
    await peer.open_channel()
    token = await peer.session(user)
    request = ua.CreateSubscriptionRequest()
    request.Parameters.RequestedPublishingInterval = 50.0
    request.Parameters.RequestedMaxKeepAliveCount = keep_alive
    request.Parameters.PublishingEnabled = True
    number = (await peer.call(request, token)).Parameters.SubscriptionId
    items = ua.CreateMonitoredItemsRequest()
    items.Parameters.SubscriptionId = number
    attributes, reporting = ua.AttributeIds, ua.MonitoringMode.Reporting
    level = ua.NodeId(ua.ObjectIds.Server_ServiceLevel)
    items.Parameters.ItemsToCreate = [
        ua.MonitoredItemCreateRequest(
            ua.ReadValueId(SERVER, attributes.EventNotifier),
            reporting,
            ua.MonitoringParameters(ClientHandle=5, Filter=event_filter, DiscardOldest=True),
        ),
        ua.MonitoredItemCreateRequest(
            ua.ReadValueId(level, attributes.Value),
            reporting,
            ua.MonitoringParameters(ClientHandle=6, QueueSize=1),
        ),
    ]
    results = (await peer.call(items, token)).Results
    assert all(result.StatusCode.is_good() for result in results)
    return token, number


def told(message: Any) -> tuple[int, list[str], int]:
    """The sequence number of a message, the texts of its events, and how many values it has."""
    texts, values = [], 0
    for part in message.NotificationData or []:
        if isinstance(part, ua.EventNotificationList):
            assert all(event.ClientHandle == 5 for event in part.Events)
            texts += [event.EventFields[0].Value.Text for event in part.Events]
        else:
            values += len(part.MonitoredItems)
    return message.SequenceNumber, texts, values


async def test_events_share_messages_numbers_and_keep_alives_with_values(plant: Plant) -> None:
    async with await RawPeer.connect(plant.url) as peer:
        token, number = await raw_subscription(peer, ua.EventFilter(select("Message")), 2)
        plant.tell(note("beside a value"))
        await delivered(plant)
        messages = [
            told((await peer.call(ua.PublishRequest(), token)).Parameters.NotificationMessage)
        ]
        while not messages[-1][1]:  # the value may have gone before
            found = (await peer.call(ua.PublishRequest(), token)).Parameters
            messages.append(told(found.NotificationMessage))
        assert sum(values for _, _, values in messages) == 1
        last = messages[-1][0]
        assert messages[-1][1] == ["beside a value"]
        silent = (await peer.call(ua.PublishRequest(), token)).Parameters
        assert told(silent.NotificationMessage) == (last + 1, [], 0)
        republish = ua.RepublishRequest()
        republish.Parameters.SubscriptionId = number
        republish.Parameters.RetransmitSequenceNumber = last
        again = (await peer.call(republish, token)).NotificationMessage
        assert told(again) == messages[-1]
        plant.tell(note("next"))
        found = (await peer.call(ua.PublishRequest(), token)).Parameters
        while not told(found.NotificationMessage)[1]:
            found = (await peer.call(ua.PublishRequest(), token)).Parameters
        assert told(found.NotificationMessage) == (last + 1, ["next"], 0)


async def test_events_wait_for_the_session_that_takes_their_subscription_over(
    plant: Plant,
) -> None:
    async with (
        await RawPeer.connect(plant.url) as old,
        await RawPeer.connect(plant.url) as new,
    ):
        _, number = await raw_subscription(old, ua.EventFilter(select("Message")), 2, "otto")
        plant.tell(note("while nobody asked"))
        await delivered(plant)
        await new.hello()
        await new.open_channel()
        token = await new.session("otto")
        transfer = ua.TransferSubscriptionsRequest()
        transfer.Parameters.SubscriptionIds = [number]
        transfer.Parameters.SendInitialValues = True
        (result,) = (await new.call(transfer, token)).Parameters.Results
        assert result.StatusCode.is_good()
        texts: list[str] = []
        while not texts:
            found = (await new.call(ua.PublishRequest(), token)).Parameters
            texts = told(found.NotificationMessage)[1]
        assert texts == ["while nobody asked"]


async def test_filters_that_lead_nowhere_are_refused_and_cost_nothing(client: Client) -> None:
    subscription = await client.create_subscription(50, Heard())
    operators, element = ua.FilterOperator, ua.ElementOperand
    number = literal(1)
    text = select("Message")
    for what, wrong in (
        ("refers to itself", where((operators.Not, [element(0)]))),
        ("refers back", where((operators.Not, [element(1)]), (operators.Not, [element(0)]))),
        ("refers past the end", where((operators.Not, [element(2**32 - 1)]))),
        ("has no operands", where((operators.And, []))),
        ("has an array", where((operators.Equals, [number, literal([1, 2])]))),
        ("has a structure", where((operators.Equals, [number, literal(ua.Range(0, 1))]))),
        ("has a long pattern", where((operators.Like, [*text, literal("%" * 201)]))),
        ("has a Guid as NodeId", where((operators.OfType, [literal(ua.NodeId(GUID, 2))]))),
    ):
        found = await create(client, subscription, SERVER, ua.EventFilter(text, wrong))
        assert found.StatusCode.value == codes.BadEventFilterInvalid, what
        assert not found.FilterResult.WhereClauseResult.ElementResults[-1].StatusCode.is_good()
    deep = [(operators.And, [element(n + 1), element(n + 1)]) for n in range(99)]
    found = await create(
        client,
        subscription,
        SERVER,
        ua.EventFilter(text, where(*deep, (operators.Equals, [number, number]))),
    )
    assert found.StatusCode.is_good()
    await subscription.delete()


async def test_literals_of_every_kind_are_compared(plant: Plant, client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    hour = datetime.timedelta(hours=1)
    operators = ua.FilterOperator
    clauses = [
        (operators.Between, [*select("Time"), literal(now - hour), literal(now + hour)]),
        (operators.Equals, [*select("Message"), literal(ua.LocalizedText("hello"))]),
        (operators.Equals, [*select("SourceName"), literal(ua.QualifiedName("pair", 2))]),
        (operators.Equals, [*select("Severity"), literal(ua.StatusCode(300))]),
        (operators.Equals, [*select("SourceNode"), literal(ua.NodeId("#Node", 2))]),
        (operators.GreaterThan, [literal(b"x"), literal(None, ua.VariantType.Null)]),
    ]
    for clause in clauses:
        event_filter = ua.EventFilter(select("Message"), where(clause))
        await subscription.subscribe_events(evfilter=event_filter)
    plant.tell(note("hello"), note("the end", 301, "plc2"))
    await heard.until(6)
    assert sorted(heard.texts) == ["hello"] * 5 + ["the end"]
    await subscription.delete()
