"""What clients read, are told, and write."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from gateway.errors import LinkError, WriteRefused
from gateway.model import Status
from gateway.pair.words import Role as PairRole
from gateway.server.opcua import OpcUaServer
from gateway.server.service_level import Backup, Situation
from tests.e2e.server_rig import Plant, RawPeer, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVEL = "ns=2;s=plc1/level"
EXTRA = 2500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    pki_dir = tmp_path_factory.mktemp("pki")
    async with running(pki_dir, extra=EXTRA, insecure=True) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(plant.url, watchdog_intervall=30) as found:
        yield found


class Heard:
    """Keeps what a subscription brings, and lets tests wait for it."""

    def __init__(self) -> None:
        self.values: list[tuple[Any, ua.DataValue]] = []
        self._news = asyncio.Event()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.values.append((value, data.monitored_item.Value))
        self._news.set()

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            while len(self.values) < count:
                self._news.clear()
                await self._news.wait()
        return [value for value, _ in self.values]


# ------------------------------------------------------------------------------ address space


async def test_points_are_found_by_path_and_by_name(plant: Plant, client: Client) -> None:
    plant.set("plc1/level", 3.25)
    assert (await client.get_namespace_array())[1:] == ["urn:hotpair:s7:a", "urn:hotpair:s7"]
    path = ["2:s7", "2:Devices", "2:plant", "2:intake", "2:plc1", "2:level"]
    node = await client.nodes.objects.get_child(path)
    assert node.nodeid.to_string() == LEVEL
    assert await node.read_value() == 3.25
    assert (await node.read_description()).Text == "Level"


async def test_a_measurement_says_its_unit_and_range(client: Client) -> None:
    node = client.get_node(LEVEL)
    assert (await node.read_type_definition()) == ua.NodeId(ua.ObjectIds.AnalogItemType)
    unit = await (await node.get_child("0:EngineeringUnits")).read_value()
    assert (unit.UnitId, unit.DisplayName.Text) == (0x4D5452, "m")
    span = await (await node.get_child("0:EURange")).read_value()
    assert (span.Low, span.High) == (0.0, 10.0)
    assert await node.read_data_type() == ua.NodeId(ua.ObjectIds.Double)
    sensor = client.get_node("ns=2;s=plc1/sensor")
    assert (await sensor.read_type_definition()) == ua.NodeId(ua.ObjectIds.AnalogUnitType)
    unit = await (await sensor.get_child("0:EngineeringUnits")).read_value()
    assert (unit.NamespaceUri, unit.UnitId) == ("urn:hotpair:s7", -1)


async def test_access_levels_say_what_is_possible(client: Client) -> None:
    level, sensor, setpoint = (
        client.get_node(f"ns=2;s=plc1/{name}") for name in ("level", "sensor", "setpoint")
    )
    read, write, history = (
        ua.AccessLevel.CurrentRead,
        ua.AccessLevel.CurrentWrite,
        ua.AccessLevel.HistoryRead,
    )
    assert await level.get_access_level() == {read, write, history}
    assert await sensor.get_access_level() == {read, history}
    assert await setpoint.get_access_level() == {write, history}
    historizing = await level.read_attribute(ua.AttributeIds.Historizing)
    assert historizing.Value.Value is True
    sampling = await level.read_attribute(ua.AttributeIds.MinimumSamplingInterval)
    assert sampling.Value.Value == 1000.0
    with pytest.raises(ua.uaerrors.BadNotReadable):
        await setpoint.read_value()


async def test_states_have_their_names(plant: Plant, client: Client) -> None:
    plant.set("plc1/mode", 1)
    mode = client.get_node("ns=2;s=plc1/mode")
    assert await mode.read_type_definition() == ua.NodeId(ua.ObjectIds.MultiStateValueDiscreteType)
    values = await (await mode.get_child("0:EnumValues")).read_value()
    assert [(v.Value, v.DisplayName.Text) for v in values] == [(0, "off"), (1, "auto")]
    assert (await (await mode.get_child("0:ValueAsText")).read_value()).Text == "auto"
    pump = client.get_node("ns=2;s=plc1/pump")
    assert await pump.read_type_definition() == ua.NodeId(ua.ObjectIds.TwoStateDiscreteType)
    assert (await (await pump.get_child("0:TrueState")).read_value()).Text == "running"


async def test_references_lead_both_ways(client: Client) -> None:
    node = client.get_node(LEVEL)
    assert (await node.get_parent()).nodeid.to_string() == "ns=2;s=plc1"
    unit = await node.get_child("0:EngineeringUnits")
    assert (await unit.get_parent()).nodeid == node.nodeid
    site = client.get_node("ns=2;s=#Site")
    [objects] = await site.get_references(ua.ObjectIds.Organizes, ua.BrowseDirection.Inverse)
    assert objects.TypeDefinition == ua.NodeId(ua.ObjectIds.FolderType)


async def test_a_constant_has_the_server_timestamp_that_was_asked_for(client: Client) -> None:
    unit = await client.get_node(LEVEL).get_child("0:EngineeringUnits")
    item = ua.ReadValueId(NodeId=unit.nodeid, AttributeId=ua.AttributeIds.Value)
    both = ua.TimestampsToReturn.Both
    params = ua.ReadParameters(TimestampsToReturn=both, NodesToRead=[item])
    [found] = await client.uaclient.read(params)
    assert found.ServerTimestamp is not None
    assert found.SourceTimestamp is None


async def test_a_big_folder_is_browsed_in_pages(plant: Plant, client: Client) -> None:
    found = await client.get_node("ns=2;s=big").get_children()
    assert len(found) == EXTRA + 1


async def test_browse_pages_are_named_used_once_and_released(plant: Plant) -> None:
    async with await RawPeer.connect(plant.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        request = ua.BrowseRequest()
        request.Parameters.RequestedMaxReferencesPerNode = 1000
        request.Parameters.NodesToBrowse = [
            ua.BrowseDescription(
                NodeId=ua.NodeId("big", 2),
                ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
                BrowseDirection=ua.BrowseDirection.Forward,
            )
        ]
        first = (await peer.call(request, token)).Results[0]
        assert len(first.References) == 1000
        more = ua.BrowseNextRequest()
        more.Parameters.ReleaseContinuationPoints = False
        more.Parameters.ContinuationPoints = [first.ContinuationPoint]
        second = (await peer.call(more, token)).Parameters.Results[0]
        assert len(second.References) == 1000
        again = (await peer.call(more, token)).Parameters.Results[0]
        assert again.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid
        more.Parameters.ContinuationPoints = [second.ContinuationPoint]
        more.Parameters.ReleaseContinuationPoints = True
        assert (await peer.call(more, token)).Parameters.Results[0].StatusCode.is_good()
        more.Parameters.ReleaseContinuationPoints = False
        gone = (await peer.call(more, token)).Parameters.Results[0]
        assert gone.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid


async def test_diagnostics_are_variables_and_what_is_unknown_is_bad(
    plant: Plant, client: Client
) -> None:
    plant.diagnostics = {"plc1": {"Requests": 42, "Connected": True}, "": {"Role": "main"}}
    plant.server.context.tree._table._asked_ns = None
    assert await client.get_node("ns=2;s=plc1#Diagnostics.Requests").read_value() == 42
    node = await client.nodes.objects.get_child(["2:s7", "2:Node", "2:Role"])
    assert await node.read_value() == "main"
    missing = client.get_node("ns=2;s=plc1#Diagnostics.LastError")
    found = await missing.read_data_value(raise_on_bad_status=False)
    assert found.StatusCode.value == Status.BAD_NO_DATA


async def test_the_server_object_tells_the_truth(plant: Plant, client: Client) -> None:
    assert await client.get_node(ua.NodeId(ua.ObjectIds.Server_ServiceLevel)).read_value() == 255
    plant.stands(Situation(PairRole.MAIN, answering=1, devices=2))
    assert await client.get_node(ua.NodeId(ua.ObjectIds.Server_ServiceLevel)).read_value() == 228
    plant.stands(Situation(PairRole.MAIN))
    status = await client.get_node(ua.NodeId(ua.ObjectIds.Server_ServerStatus)).read_value()
    assert status.State == ua.ServerState.Running
    assert abs(status.CurrentTime.timestamp() - time.time()) < 2
    assert status.BuildInfo.ProductName == "Hotpair"
    able = ua.ObjectIds.HistoryServerCapabilities_AccessHistoryDataCapability
    assert await client.get_node(ua.NodeId(able)).read_value() is True
    update = ua.ObjectIds.HistoryServerCapabilities_UpdateDataCapability
    for absent in (
        update,
        ua.ObjectIds.Server_Auditing,
        ua.ObjectIds.Server_ServerDiagnostics_EnabledFlag,
    ):
        assert await client.get_node(ua.NodeId(absent)).read_value() is False
    locales = client.get_node(ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_LocaleIdArray))
    assert await locales.read_value() == []


# ------------------------------------------------------------------------------------ reading


async def test_times_are_last_change_and_last_good_poll(plant: Plant, client: Client) -> None:
    changed_ns = 1_790_000_000_000_000_000
    plant.set("plc1/level", 1.0, time_ns=changed_ns)
    plant.live.polled("plc1", "fast", changed_ns + 2_000_000_000)
    request = ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        MaxAge=0.0,
        NodesToRead=[
            ua.ReadValueId(ua.NodeId.from_string(LEVEL), ua.AttributeIds.Value),
            ua.ReadValueId(ua.NodeId("nothing", 2), ua.AttributeIds.Value),
        ],
    )
    found, unknown = await client.uaclient.read(request)
    assert found.SourceTimestamp.timestamp() == 1_790_000_000
    assert found.ServerTimestamp.timestamp() == 1_790_000_002
    assert unknown.StatusCode.value == ua.StatusCodes.BadNodeIdUnknown
    request.TimestampsToReturn = ua.TimestampsToReturn.Neither
    found, _ = await client.uaclient.read(request)
    assert (found.SourceTimestamp, found.ServerTimestamp) == (None, None)


async def test_a_bad_point_reads_bad_without_a_value(plant: Plant, client: Client) -> None:
    plant.set("plc1/level", None, Status.BAD_NO_COMMUNICATION)
    found = await client.get_node(LEVEL).read_data_value(raise_on_bad_status=False)
    assert (found.StatusCode.value, found.Value.Value) == (Status.BAD_NO_COMMUNICATION, None)


async def test_a_part_of_a_scalar_is_refused(client: Client) -> None:
    item = ua.ReadValueId(ua.NodeId.from_string(LEVEL), ua.AttributeIds.Value, "0:1")
    (found,) = await client.uaclient.read(ua.ReadParameters(MaxAge=0.0, NodesToRead=[item]))
    assert found.StatusCode.value == ua.StatusCodes.BadIndexRangeInvalid


# ------------------------------------------------------------------------------- subscriptions


async def test_a_subscriber_is_told_the_present_value_then_changes_only(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    plant.set("plc1/level", 1.0)
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_data_change(client.get_node(LEVEL))
    assert await heard.until(1) == [1.0]
    plant.set("plc1/level", 1.0)
    plant.set("plc2/level", 5.0)
    await asyncio.sleep(0.15)  # paces: nothing must come, for three intervals
    plant.set("plc1/level", 2.0)
    assert await heard.until(2) == [1.0, 2.0]
    plant.set("plc1/level", None, Status.BAD_NO_COMMUNICATION)
    assert await heard.until(3) == [1.0, 2.0, None]
    assert heard.values[2][1].StatusCode.value == Status.BAD_NO_COMMUNICATION
    await subscription.delete()


def percent(value: float) -> ua.DataChangeFilter:
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue,
        DeadbandType=ua.DeadbandType.Percent,
        DeadbandValue=value,
    )


async def monitor(
    client: Client, subscription: Any, node: str, **parameters: Any
) -> ua.MonitoredItemCreateResult:
    request = ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(ua.NodeId.from_string(node), ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(**parameters),
    )
    params = ua.CreateMonitoredItemsParameters(
        SubscriptionId=subscription.subscription_id,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ItemsToCreate=[request],
    )
    return (await client.uaclient.create_monitored_items(params))[0]


async def test_a_slow_ramp_is_told_each_time_it_has_climbed_the_deadband(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    plant.set("plc1/level", 0.0)
    subscription = await client.create_subscription(50, heard)
    node = client.get_node(LEVEL)
    await subscription._subscribe(node, mfilter=percent(10.0), queuesize=1)
    await heard.until(1)
    for step in range(1, 30):
        plant.set("plc1/level", step * 0.1)
        await asyncio.sleep(0.06)  # paces: the plant changes slower than it is sampled
    told = await heard.until(3)
    assert told[:2] == [0.0, pytest.approx(1.1)]
    assert all(b - a > 1.0 for a, b in itertools.pairwise(told))
    await subscription.delete()


async def test_items_that_can_not_be_monitored_are_refused_one_by_one(client: Client) -> None:
    subscription = await client.create_subscription(50, Heard())
    codes = ua.StatusCodes
    for node, parameters, status in (
        ("ns=2;s=plc1/name", {"Filter": percent(1.0)}, codes.BadFilterNotAllowed),
        ("ns=2;s=plc1/count", {"Filter": percent(1.0)}, codes.BadMonitoredItemFilterUnsupported),
        (LEVEL, {"Filter": percent(200.0)}, codes.BadDeadbandFilterInvalid),
        (LEVEL, {"Filter": ua.EventFilter()}, codes.BadMonitoredItemFilterUnsupported),
        ("ns=2;s=nothing", {}, codes.BadNodeIdUnknown),
        ("ns=2;s=plc1", {}, codes.BadAttributeIdInvalid),
    ):
        found = await monitor(client, subscription, node, **parameters)
        assert found.StatusCode.value == status, node
    found = await monitor(client, subscription, LEVEL, QueueSize=10**6, SamplingInterval=0.0)
    assert found.StatusCode.is_good()
    assert (found.RevisedQueueSize, found.RevisedSamplingInterval) == (100, 50.0)
    await subscription.delete()


async def test_what_can_only_be_written_is_watched_and_says_so(client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    # Not refused: OPC 10000-4 section 5.13.2.1.
    await subscription.subscribe_data_change(client.get_node("ns=2;s=plc1/setpoint"))
    await heard.until(1)
    [(value, data)] = heard.values
    assert value is None
    assert data.StatusCode.value == ua.StatusCodes.BadNotReadable
    await subscription.delete()


async def test_a_queue_keeps_what_happens_between_two_publishes(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    plant.set("plc1/count", 0)
    subscription = await client.create_subscription(1000, heard)
    node = client.get_node("ns=2;s=plc1/count")
    await subscription._subscribe(node, queuesize=3, sampling_interval=0.0)
    await heard.until(1)
    for value in (1, 2, 3, 4):
        plant.set("plc1/count", value)
        await asyncio.sleep(0.12)  # paces: the plant changes slower than it is sampled
    assert (await heard.until(4))[1:4] == [2, 3, 4]
    assert heard.values[1][1].StatusCode.value == 0x0480
    await subscription.delete()


async def test_standard_variables_can_be_subscribed_to(plant: Plant, client: Client) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    level = client.get_node(ua.NodeId(ua.ObjectIds.Server_ServiceLevel))
    await subscription.subscribe_data_change(level)
    await heard.until(1)
    plant.stands(Situation(PairRole.MAIN, backup=Backup.ABSENT, answering=1, devices=2))
    assert await heard.until(2) == [255, 200]
    plant.stands(Situation(PairRole.MAIN))
    await subscription.delete()


async def test_many_items_arrive_whole_though_messages_are_cut(
    plant: Plant, client: Client
) -> None:
    heard = Heard()
    for number in range(EXTRA):
        plant.set(f"big/t{number}", float(number)) if number < 3 else None
    first = plant.number("big/t0")
    now_ns = time.time_ns()
    plant.live.apply([(first + n, now_ns, float(n), 0) for n in range(EXTRA)])
    subscription = await client.create_subscription(100, heard)
    nodes = [client.get_node(f"ns=2;s=big/t{n}") for n in range(EXTRA)]
    await subscription.subscribe_data_change(nodes)
    await heard.until(EXTRA)
    plant.live.apply([(first + n, now_ns + 1, -float(n) - 1, 0) for n in range(EXTRA)])
    plant.server.publish(range(first, first + EXTRA))
    told = await heard.until(2 * EXTRA)
    assert sorted(told[EXTRA:]) == sorted(-float(n) - 1 for n in range(EXTRA))
    await subscription.delete()
    publisher = plant.server.context.publisher
    assert (publisher.item_count, publisher.subscription_count) == (0, 0)


async def test_a_client_that_stops_asking_holds_nobody_up(plant: Plant, client: Client) -> None:
    async with await RawPeer.connect(plant.url) as lazy:
        await lazy.hello()
        await lazy.open_channel()
        token = await lazy.session()
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 50.0
        number = (await lazy.call(request, token)).Parameters.SubscriptionId
        items = ua.CreateMonitoredItemsRequest()
        items.Parameters.SubscriptionId = number
        items.Parameters.ItemsToCreate = [
            ua.MonitoredItemCreateRequest(
                ua.ReadValueId(ua.NodeId.from_string(LEVEL), ua.AttributeIds.Value),
                ua.MonitoringMode.Reporting,
                ua.MonitoringParameters(ClientHandle=5, QueueSize=1),
            )
        ]
        await lazy.call(items, token)
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        await subscription.subscribe_data_change(client.get_node(LEVEL))
        await heard.until(1)
        for count, value in enumerate((11.0, 12.0, 13.0), 2):
            plant.set("plc1/level", value)
            await heard.until(count)
        found = (await lazy.call(ua.PublishRequest(), token)).Parameters
        (change,) = found.NotificationMessage.NotificationData
        assert [item.Value.Value.Value for item in change.MonitoredItems] == [13.0]
        republish = ua.RepublishRequest()
        republish.Parameters.SubscriptionId = number
        republish.Parameters.RetransmitSequenceNumber = 1
        again = await lazy.call(republish, token)
        assert again.NotificationMessage.SequenceNumber == 1
        republish.Parameters.RetransmitSequenceNumber = 77
        with pytest.raises(ua.uaerrors.BadMessageNotAvailable):
            await lazy.call(republish, token)
        acknowledge = ua.PublishRequest()
        acknowledge.Parameters.SubscriptionAcknowledgements = [
            ua.SubscriptionAcknowledgement(number, 1),
            ua.SubscriptionAcknowledgement(number, 1),
            ua.SubscriptionAcknowledgement(number + 999, 1),
        ]
        plant.set("plc1/level", 14.0)
        found = (await lazy.call(acknowledge, token)).Parameters
        assert [code.value for code in found.Results] == [
            0,
            ua.StatusCodes.BadSequenceNumberUnknown,
            ua.StatusCodes.BadSubscriptionIdInvalid,
        ]
        await subscription.delete()


async def test_a_subscription_moves_to_another_session_of_its_user(plant: Plant) -> None:
    async with (
        await RawPeer.connect(plant.url) as old,
        await RawPeer.connect(plant.url) as new,
    ):
        tokens = []
        for peer in (old, new):
            await peer.hello()
            await peer.open_channel()
            tokens.append(await peer.session("otto"))
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 50.0
        number = (await old.call(request, tokens[0])).Parameters.SubscriptionId
        transfer = ua.TransferSubscriptionsRequest()
        transfer.Parameters.SubscriptionIds = [number, number + 999]
        results = (await new.call(transfer, tokens[1])).Parameters.Results
        assert [found.StatusCode.value for found in results] == [
            0,
            ua.StatusCodes.BadSubscriptionIdInvalid,
        ]
        found = (await new.call(ua.PublishRequest(), tokens[1])).Parameters
        assert found.SubscriptionId == number
        with pytest.raises(ua.uaerrors.BadNoSubscription):
            await old.call(ua.PublishRequest(), tokens[0])


async def test_a_connection_lost_while_a_subscription_is_deleted_leaves_it_to_its_session(
    plant: Plant,
) -> None:
    context = plant.server.context
    async with await RawPeer.connect(plant.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session("otto")
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 50.0
        number = (await peer.call(request, token)).Parameters.SubscriptionId
        items = ua.CreateMonitoredItemsRequest()
        items.Parameters.SubscriptionId = number
        items.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        asked = ua.MonitoredItemCreateRequest(
            ua.ReadValueId(ua.NodeId.from_string(LEVEL), ua.AttributeIds.Value),
            ua.MonitoringMode.Reporting,
        )
        items.Parameters.ItemsToCreate = [asked] * 250
        await peer.call(items, token)
        (session,) = (one for one in context.sessions if number in one.subscriptions)
        wanted = ua.DeleteSubscriptionsParameters([number])
        deleting = context.monitoring.delete_subscriptions(context, session, wanted)
        deleting.send(None)  # to where others have their turn; then the connection is gone
        deleting.close()
        assert number in session.subscriptions, "or nobody would ever end it"
        before = context.publisher.subscription_count
        context.sessions.close(session)
        assert context.publisher.subscription_count == before - 1


# ------------------------------------------------------------------------------------- writing


def variant(value: Any, kind: ua.VariantType) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value, kind))


async def write(client: Client, node: str, value: ua.DataValue, **more: Any) -> int:
    item = ua.WriteValue(
        NodeId=ua.NodeId.from_string(node),
        AttributeId=more.pop("attribute", ua.AttributeIds.Value),
        Value=value,
        **more,
    )
    params = ua.WriteParameters(NodesToWrite=[item])
    code: int = (await client.uaclient.write(params))[0].value
    return code


async def test_a_write_reaches_the_field_as_the_points_type(plant: Plant, client: Client) -> None:
    plant.writes.clear()
    kinds = ua.VariantType
    assert await write(client, LEVEL, variant(2.5, kinds.Float)) == 0
    assert await write(client, "ns=2;s=plc1/count", variant(-7, kinds.Int64)) == 0
    assert await write(client, "ns=2;s=plc1/pump", variant(True, kinds.Boolean)) == 0
    assert await write(client, "ns=2;s=plc1/name", variant("pump", kinds.String)) == 0
    assert plant.writes == [
        ("anonymous", "plc1/level", 2.5),
        ("anonymous", "plc1/count", -7),
        ("anonymous", "plc1/pump", True),
        ("anonymous", "plc1/name", "pump"),
    ]


async def test_what_can_not_be_written_is_refused_before_the_field(
    plant: Plant, client: Client
) -> None:
    plant.writes.clear()
    kinds, codes = ua.VariantType, ua.StatusCodes
    good = variant(1.0, kinds.Double)
    stamped = ua.DataValue(good.Value, SourceTimestamp=ua.get_win_epoch())
    uncertain = ua.DataValue(good.Value, ua.StatusCode(Status.UNCERTAIN))
    count = "ns=2;s=plc1/count"
    for node, value, more, status in (
        ("ns=2;s=nothing", good, {}, codes.BadNodeIdUnknown),
        ("ns=2;s=plc1", good, {}, codes.BadNotWritable),
        ("ns=2;s=plc1/sensor", good, {}, codes.BadNotWritable),
        ("i=2267", variant(1, kinds.Byte), {}, codes.BadNotWritable),
        (LEVEL, good, {"attribute": ua.AttributeIds.DisplayName}, codes.BadNotWritable),
        (LEVEL, good, {"IndexRange": "0"}, codes.BadIndexRangeInvalid),
        (LEVEL, variant("1", kinds.String), {}, codes.BadTypeMismatch),
        (LEVEL, variant(1, kinds.Int32), {}, codes.BadTypeMismatch),
        (LEVEL, variant([1.0], kinds.Double), {}, codes.BadTypeMismatch),
        (LEVEL, variant(None, kinds.Null), {}, codes.BadTypeMismatch),
        (LEVEL, variant(float("nan"), kinds.Double), {}, codes.BadOutOfRange),
        (LEVEL, stamped, {}, codes.BadWriteNotSupported),
        (LEVEL, uncertain, {}, codes.BadWriteNotSupported),
        (count, variant(40_000, kinds.Int32), {}, codes.BadOutOfRange),
        (count, good, {}, codes.BadTypeMismatch),
        (count, variant(True, kinds.Boolean), {}, codes.BadTypeMismatch),
    ):
        assert await write(client, node, value, **more) == status, (node, value, more)
    assert plant.writes == []


async def test_the_fields_own_answer_is_the_clients_answer(plant: Plant, client: Client) -> None:
    plant.write_status = Status.BAD_DEVICE_FAILURE
    answer = await write(client, LEVEL, variant(1.0, ua.VariantType.Double))
    plant.write_status = Status.GOOD
    assert answer == Status.BAD_DEVICE_FAILURE


async def test_a_refusal_by_the_gateway_and_a_fault_of_ours_have_their_codes(
    plant: Plant, client: Client
) -> None:
    good = variant(1.0, ua.VariantType.Double)
    for error, status in (
        (WriteRefused("no reign", Status.BAD_INVALID_STATE), Status.BAD_INVALID_STATE),
        (LinkError("gone"), Status.BAD_NO_COMMUNICATION),
        (RuntimeError("a bug"), Status.BAD_INTERNAL_ERROR),
    ):
        plant.write_error = error
        answer = await write(client, LEVEL, good)
        plant.write_error = None
        assert answer == status


async def test_a_write_that_takes_its_time_holds_up_no_read(plant: Plant, client: Client) -> None:
    plant.set("plc1/count", 5)
    plant.writes.clear()
    plant.may_write.clear()
    slow = asyncio.create_task(write(client, LEVEL, variant(1.0, ua.VariantType.Double)))
    await asyncio.sleep(0)
    assert await client.get_node("ns=2;s=plc1/count").read_value() == 5
    assert plant.writes == []
    plant.may_write.set()
    assert await slow == 0


# ---------------------------------------------------------------------------- open and close


async def test_the_endpoint_closes_and_opens_in_milliseconds(plant: Plant) -> None:
    server: OpcUaServer = plant.server
    async with await RawPeer.connect(plant.url) as stranger:
        await stranger.hello()
        await stranger.open_channel()
        token = await stranger.session()
        started = time.perf_counter()
        await server.close("changeover")
        assert time.perf_counter() - started < 0.2
        assert server.context.sessions.find(token) is None
        with pytest.raises(OSError, match="Connect call failed"):
            await RawPeer.connect(plant.url)
        started = time.perf_counter()
        await server.open()
        assert time.perf_counter() - started < 0.2
    async with Client(plant.url, watchdog_intervall=30) as again:
        assert await again.get_node(LEVEL).read_data_value(raise_on_bad_status=False)
