"""Every figure that the server tells is kept, tried with raw bytes: limits, sizes, lifetimes."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from gateway.server.settings import Limits
from tests.e2e.server_rig import PASSWORD, Plant, RawPeer, Refused, read_request, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
C = ua.StatusCodes
LEVEL = "ns=2;s=plc1/level"
NODE = ua.NodeId("plc1/level", 2)
LIMITS = Limits(
    max_sessions=6,
    max_sessions_per_connection=5,
    min_session_ms=300,
    max_message_bytes=400_000,
    max_unproven_bytes=100_000,
    max_elements=500,
    max_select_clauses=20,
    max_where_operands=40,
    max_nodes_per_read=11,
    max_nodes_per_write=12,
    max_nodes_per_browse=13,
    max_nodes_per_history_read=14,
    max_nodes_per_register=15,
    max_nodes_per_translate=16,
    max_nodes_per_call=17,
    max_items_per_call=18,
    max_references_per_node=3,
    max_browse_points=2,
    max_subscriptions=4,
    max_subscriptions_per_session=3,
    max_items=30,
    max_items_per_subscription=20,
    max_queue=7,
    max_notifications_per_publish=5,
    min_sampling_ms=60,
    min_publishing_ms=70,
    max_publishing_ms=5_000,
    max_keep_alive_ms=10_000,
    min_lifetime_ms=600,
    min_channel_ms=400,
    max_channel_ms=500_000,
    max_history_values=25,
    max_history_points=2,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    pki_dir = tmp_path_factory.mktemp("pki")
    async with running(pki_dir, insecure=True, limits=LIMITS) as found:
        found.history.fill("plc1/level", 100)
        yield found


@asynccontextmanager
async def peer_at(plant: Plant, **hello: Any) -> AsyncIterator[RawPeer]:
    async with await RawPeer.connect(plant.url) as peer:
        await peer.hello(**hello)
        await peer.open_channel()
        yield peer


@asynccontextmanager
async def logged_in(plant: Plant, **hello: Any) -> AsyncIterator[tuple[RawPeer, ua.NodeId]]:
    """A peer with a session, which is closed afterwards with all that it has."""
    async with peer_at(plant, **hello) as peer:
        token = await peer.session()
        yield peer, token
        close = ua.CloseSessionRequest()
        close.DeleteSubscriptions = True
        await peer.call(close, token)


def request(cls: Any, **parameters: Any) -> Any:
    found = cls()
    for name, value in parameters.items():
        setattr(found.Parameters, name, value)
    return found


def item(handle: int = 1, queue: int = 1, **parameters: Any) -> ua.MonitoredItemCreateRequest:
    return ua.MonitoredItemCreateRequest(
        ua.ReadValueId(NODE, ua.AttributeIds.Value),
        ua.MonitoringMode.Reporting,
        ua.MonitoringParameters(ClientHandle=handle, QueueSize=queue, **parameters),
    )


async def subscribe(peer: RawPeer, token: ua.NodeId, **parameters: Any) -> Any:
    asked = {"RequestedPublishingInterval": 70.0, "PublishingEnabled": True} | parameters
    return (await peer.call(request(ua.CreateSubscriptionRequest, **asked), token)).Parameters


async def monitor(peer: RawPeer, token: ua.NodeId, number: int, items: list[Any]) -> list[Any]:
    asked = request(ua.CreateMonitoredItemsRequest, SubscriptionId=number, ItemsToCreate=items)
    asked.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    return list((await peer.call(asked, token)).Results)


async def published(peer: RawPeer, token: ua.NodeId) -> list[Any]:
    """The values of the next message with any."""
    while True:
        found = (await peer.call(ua.PublishRequest(), token)).Parameters.NotificationMessage
        if found.NotificationData:
            return [one.Value.Value.Value for one in found.NotificationData[0].MonitoredItems]


# ------------------------------------------------------------------ what nodes tell, all of it

OPERATIONS: dict[str, tuple[Any, str, Any]] = {
    "MaxNodesPerRead": (ua.ReadRequest, "NodesToRead", ua.ReadValueId(NODE, 13)),
    "MaxNodesPerWrite": (ua.WriteRequest, "NodesToWrite", ua.WriteValue(NODE, 13)),
    "MaxNodesPerBrowse": (ua.BrowseRequest, "NodesToBrowse", ua.BrowseDescription(NodeId=NODE)),
    "MaxNodesPerHistoryReadData": (
        ua.HistoryReadRequest,
        "NodesToRead",
        ua.HistoryReadValueId(NodeId=NODE),
    ),
    "MaxNodesPerRegisterNodes": (ua.RegisterNodesRequest, "NodesToRegister", NODE),
    "MaxNodesPerTranslateBrowsePathsToNodeIds": (
        ua.TranslateBrowsePathsToNodeIdsRequest,
        "BrowsePaths",
        ua.BrowsePath(NODE),
    ),
    "MaxNodesPerMethodCall": (
        ua.CallRequest,
        "MethodsToCall",
        ua.CallMethodRequest(ObjectId=NODE, MethodId=NODE),
    ),
    "MaxMonitoredItemsPerCall": (ua.CreateMonitoredItemsRequest, "ItemsToCreate", item()),
}


async def sessions(plant: Plant, most: int) -> None:
    async with peer_at(plant) as one, peer_at(plant) as two:
        tokens = [await one.create_session() for _ in range(LIMITS.max_sessions_per_connection)]
        with pytest.raises(ua.uaerrors.BadTooManySessions):
            await one.create_session()
        while len(tokens) < most:
            tokens.append(await two.create_session())
        with pytest.raises(ua.uaerrors.BadTooManySessions):
            await two.create_session()
    async with asyncio.timeout(5):
        while len(plant.server.context.sessions):
            await asyncio.sleep(0)


async def subscriptions(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (one, mine), logged_in(plant) as (two, theirs):
        for _ in range(LIMITS.max_subscriptions_per_session):
            await subscribe(one, mine)
        with pytest.raises(ua.uaerrors.BadTooManySubscriptions):
            await subscribe(one, mine)
        for _ in range(most - LIMITS.max_subscriptions_per_session):
            await subscribe(two, theirs)
        with pytest.raises(ua.uaerrors.BadTooManySubscriptions):
            await subscribe(two, theirs)


async def subscriptions_per_session(plant: Plant, most: int) -> None:
    assert most == LIMITS.max_subscriptions_per_session
    await subscriptions(plant, LIMITS.max_subscriptions)


async def items(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        created = []
        for _ in range(3):
            number = (await subscribe(peer, token)).SubscriptionId
            created += await monitor(peer, token, number, [item()] * 15)
        codes = [found.StatusCode.value for found in created]
        assert codes == [0] * most + [C.BadTooManyMonitoredItems] * (45 - most)


async def items_per_subscription(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token)).SubscriptionId
        created = await monitor(peer, token, number, [item()] * 15)
        created += await monitor(peer, token, number, [item()] * 15)
        codes = [found.StatusCode.value for found in created]
        assert codes == [0] * most + [C.BadTooManyMonitoredItems] * (30 - most)


async def queue(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token, RequestedPublishingInterval=1_000.0)).SubscriptionId
        (found,) = await monitor(
            peer, token, number, [item(queue=10**6, SamplingInterval=60.0, DiscardOldest=True)]
        )
        assert found.RevisedQueueSize == most
        first = plant.number("plc1/level")
        for value in range(most + 4):
            plant.live.apply([(first, time.time_ns(), 1000.0 + value, 0)])
            watched = plant.server.context.publisher._by_point[first][-1]
            watched.offer(watched.target.read())
        assert await published(peer, token) == [1004.0 + value for value in range(most)]


async def sample_rate(plant: Plant, least: float) -> None:
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token)).SubscriptionId
        for asked in (0.0, 0.001, float("nan"), -5.0, 1e300):
            (found,) = await monitor(peer, token, number, [item(SamplingInterval=asked)])
            assert least <= found.RevisedSamplingInterval <= LIMITS.max_sampling_ms


async def browse_points(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        what = ua.BrowseDescription(NodeId=ua.NodeId("plc1", 2), ResultMask=63)
        asked = request(ua.BrowseRequest, NodesToBrowse=[what] * (most + 1))
        results = (await peer.call(asked, token)).Results
        assert all(len(found.References) <= LIMITS.max_references_per_node for found in results)
        assert [bool(found.ContinuationPoint) for found in results] == [True] * most + [False]
        assert results[-1].StatusCode.value == C.BadNoContinuationPoints


def history_request(count: int, **node: Any) -> Any:
    details = ua.ReadRawModifiedDetails(
        StartTime=ua.win_epoch_to_datetime(130_000_000_000_000_000),
        EndTime=ua.win_epoch_to_datetime(2**62),
        IsReadModified=False,
        ReturnBounds=False,
    )
    return request(
        ua.HistoryReadRequest,
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=False,
        NodesToRead=[ua.HistoryReadValueId(NodeId=NODE, ContinuationPoint=None, **node)] * count,
    )


async def history_points(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        results = (await peer.call(history_request(most + 1), token)).Results
        assert [bool(found.ContinuationPoint) for found in results] == [True] * most + [False]
        assert results[-1].StatusCode.value == C.BadNoContinuationPoints


async def history_values(plant: Plant, most: int) -> None:
    async with logged_in(plant) as (peer, token):
        (found,) = (await peer.call(history_request(1), token)).Results
        assert len(found.HistoryData.DataValues) == most


def write_of(variant: bytes, token: ua.NodeId) -> bytes:
    """A Write of one value that is encoded as these bytes."""
    value = ua.DataValue(ua.Variant(True, ua.VariantType.Boolean), StatusCode=None)
    asked = request(ua.WriteRequest, NodesToWrite=[ua.WriteValue(NODE, 13, None, value)])
    asked.RequestHeader.AuthenticationToken = token
    return bytes(struct_to_binary(asked)[:-2]) + variant


async def answer_to(peer: RawPeer, body: bytes) -> Any:
    peer._request += 1
    peer.send(peer.connection.message_to_binary(body, request_id=peer._request))
    return await peer.response()


async def array_length(plant: Plant, most: int) -> None:
    # One element is the node that is written.
    fits = struct.pack(f"<Bi{most - 1}i", 0x86, most - 1, *range(most - 1))
    more = struct.pack(f"<Bi{most}i", 0x86, most, *range(most))
    async with logged_in(plant) as (peer, token):
        (code,) = (await answer_to(peer, write_of(fits, token))).Results
        assert code.value == C.BadTypeMismatch
        with pytest.raises(ua.uaerrors.BadEncodingLimitsExceeded):
            await answer_to(peer, write_of(more, token))


async def string_length(plant: Plant, most: int) -> None:
    assert most == LIMITS.max_message_bytes
    await message_size(plant)


async def nothing_to_query(plant: Plant, _most: int) -> None:
    async with logged_in(plant) as (peer, token):
        with pytest.raises(ua.uaerrors.BadServiceUnsupported):
            await peer.call(ua.QueryFirstRequest(), token)


async def select_clauses(plant: Plant, most: int) -> None:
    clause = ua.SimpleAttributeOperand(
        ua.NodeId(ua.ObjectIds.BaseEventType), [ua.QualifiedName("Message", 0)], 13
    )
    few, many = (ua.EventFilter([clause] * count) for count in (most, most + 1))
    assert await filtered(plant, few, many) == [0, C.BadEventFilterInvalid]


async def where_operands(plant: Plant, most: int) -> None:
    severity = ua.SimpleAttributeOperand(
        ua.NodeId(ua.ObjectIds.BaseEventType), [ua.QualifiedName("Severity", 0)], 13
    )
    filters = []
    for count in (most, most + 1):
        listed = [ua.LiteralOperand(ua.Variant(number)) for number in range(count - 1)]
        element = ua.ContentFilterElement(ua.FilterOperator.InList, [severity, *listed])
        filters.append(ua.EventFilter([severity], ua.ContentFilter([element])))
    assert await filtered(plant, *filters) == [0, C.BadEventFilterInvalid]


async def filtered(plant: Plant, *filters: ua.EventFilter) -> list[int]:
    """What becomes of an item on the Server object's events with each filter."""
    server = ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier)
    asked = [
        ua.MonitoredItemCreateRequest(
            server, ua.MonitoringMode.Reporting, ua.MonitoringParameters(ClientHandle=1, Filter=one)
        )
        for one in filters
    ]
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token)).SubscriptionId
        return [found.StatusCode.value for found in await monitor(peer, token, number, asked)]


CAPABILITIES: dict[str, Callable[[Plant, Any], Awaitable[None]]] = {
    "MaxSessions": sessions,
    "MaxSubscriptions": subscriptions,
    "MaxSubscriptionsPerSession": subscriptions_per_session,
    "MaxMonitoredItems": items,
    "MaxMonitoredItemsPerSubscription": items_per_subscription,
    "MaxMonitoredItemsQueueSize": queue,
    "MinSupportedSampleRate": sample_rate,
    "MaxBrowseContinuationPoints": browse_points,
    "MaxHistoryContinuationPoints": history_points,
    "MaxArrayLength": array_length,
    "MaxStringLength": string_length,
    "MaxByteStringLength": string_length,
    "MaxQueryContinuationPoints": nothing_to_query,
    "MaxReturnDataValues": history_values,
    "MaxSelectClauseParameters": select_clauses,
    "MaxWhereClauseParameters": where_operands,
}


async def told(plant: Plant) -> dict[str, Any]:
    """Every number below ServerCapabilities and HistoryServerCapabilities, by its browse name."""
    ids = ua.ObjectIds
    found: dict[str, Any] = {}
    space = plant.server.context.space
    parents = (
        ids.Server_ServerCapabilities,
        ids.Server_ServerCapabilities_OperationLimits,
        ids.HistoryServerCapabilities,
    )
    for parent in parents:
        for reference in space[ua.NodeId(parent)].references:
            if not reference.IsForward or reference.NodeClass != ua.NodeClass.Variable:
                continue
            value = space.read_attribute_value(reference.NodeId, ua.AttributeIds.Value).Value.Value
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[reference.BrowseName.Name] = value
    return found


async def test_every_number_that_is_told_is_tried_here(plant: Plant) -> None:
    numbers = await told(plant)
    # 0 is no number of a service that there is not.
    missing = {name for name, value in numbers.items() if value} - {*OPERATIONS, *CAPABILITIES}
    assert not missing
    assert {*OPERATIONS, *CAPABILITIES} <= set(numbers)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_request_holds_so_many_operations_as_is_told(plant: Plant, name: str) -> None:
    most = (await told(plant))[name]
    cls, field, element = OPERATIONS[name]
    async with logged_in(plant) as (peer, token):
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            await peer.call(request(cls, **{field: [element] * (most + 1)}), token)
        with pytest.raises(ua.uaerrors.BadNothingToDo):
            await peer.call(request(cls, **{field: []}), token)
        try:
            await peer.call(request(cls, **{field: [element] * most}), token)
        except ua.uaerrors.BadSubscriptionIdInvalid:
            assert name == "MaxMonitoredItemsPerCall"


@pytest.mark.parametrize("name", CAPABILITIES)
async def test_a_capability_is_as_it_is_told(plant: Plant, name: str) -> None:
    await CAPABILITIES[name](plant, (await told(plant))[name])


# -------------------------------------------------------------- what is told on the way: sizes


async def message_size(plant: Plant) -> None:
    async with logged_in(plant) as (peer, token):
        fits = write_of(b"\x0c" + struct.pack("<i", 390_000) + bytes(390_000), token)
        (code,) = (await answer_to(peer, fits)).Results
        assert code.value == C.BadTypeMismatch
    async with peer_at(plant) as peer:
        token = await peer.session()
        with pytest.raises(Refused) as refused:
            await answer_to(peer, write_of(bytes(LIMITS.max_message_bytes), token))
        assert refused.value.status == C.BadRequestTooLarge


async def test_what_the_server_acknowledges_is_what_it_takes(plant: Plant) -> None:
    async with await RawPeer.connect(plant.url) as peer:
        hello = ua.Hello(0, 10**6, 10**6, 0, 0, "opc.tcp://127.0.0.1")
        peer.send(uatcp_to_binary(ua.MessageType.Hello, hello))
        _, data = await peer.frame()
        _, receive, send, message, chunks = struct.unpack_from("<5I", data, 8)
        assert (receive, send) == (65_535, 65_535)
        assert message == LIMITS.max_message_bytes and chunks >= message // 65_535
        peer.send(struct.pack("<4sI", b"OPNF", receive + 1))
        with pytest.raises(Refused) as refused:
            await peer.frame()
        assert refused.value.status == C.BadTcpMessageTooLarge
    await message_size(plant)


async def test_nobody_has_a_long_message_kept_before_a_log_in(plant: Plant) -> None:
    asked = request(ua.GetEndpointsRequest, EndpointUrl="x" * LIMITS.max_unproven_bytes)
    async with peer_at(plant) as peer:
        with pytest.raises(Refused) as refused:
            await peer.call(asked)
        assert refused.value.status == C.BadRequestTooLarge


async def test_a_message_of_ever_more_chunks_is_refused(plant: Plant) -> None:
    async with peer_at(plant) as peer:
        number = peer.connection._sequence_number
        token = peer.connection.security_token
        for step in range(1, 200):
            header = struct.pack("<IIII", token.ChannelId, token.TokenId, number + step, 9)
            peer.send(struct.pack("<4sI", b"MSGC", 8 + len(header)) + header)
        with pytest.raises(Refused) as refused:
            await peer.frame()
        assert refused.value.status == C.BadRequestTooLarge


async def test_a_client_gets_chunks_and_messages_of_the_sizes_that_it_takes(plant: Plant) -> None:
    asked = request(ua.GetEndpointsRequest, EndpointUrl="opc.tcp://127.0.0.1")
    async with peer_at(plant, ReceiveBufferSize=8192) as peer:
        peer.send(peer.encode(asked))
        kind, sizes = b"", []
        while kind != b"MSGF":
            kind, data = await peer.frame()
            sizes.append(len(data))
        assert len(sizes) > 1 and max(sizes) <= 8192
    for hello in ({"MaxMessageSize": 9_000}, {"ReceiveBufferSize": 8192, "MaxChunkCount": 1}):
        async with peer_at(plant, **hello) as peer:
            with pytest.raises(ua.uaerrors.BadResponseTooLarge):
                await peer.call(asked)


# ------------------------------------------------------------------------ lifetimes, intervals


async def test_a_channel_that_is_not_renewed_ends_and_one_that_is_goes_on(plant: Plant) -> None:
    async with await RawPeer.connect(plant.url) as peer, await RawPeer.connect(plant.url) as idle:
        for one in (peer, idle):
            await one.hello()
            found = await one.open_channel(lifetime_ms=1)
            assert found.SecurityToken.RevisedLifetime == LIMITS.min_channel_ms
        token = await peer.session()
        await idle.session()
        renew = ua.OpenSecureChannelRequest()
        renew.Parameters.RequestType = ua.SecurityTokenRequestType.Renew
        renew.Parameters.SecurityMode = ua.MessageSecurityMode.None_
        renew.Parameters.RequestedLifetime = 10**9
        found = (await peer.call(renew, kind=ua.MessageType.SecureOpen)).Parameters
        assert found.SecurityToken.RevisedLifetime == LIMITS.max_channel_ms
        with pytest.raises(Refused) as refused:
            await idle.frame()
        assert refused.value.status == C.BadSecureChannelTokenUnknown
        assert (await peer.call(read_request(LEVEL), token)).Results


async def test_an_orphaned_session_ends_at_its_time_and_takes_its_subscriptions(
    plant: Plant,
) -> None:
    context = plant.server.context
    async with peer_at(plant) as peer:
        asked = request(ua.CreateSessionRequest, RequestedSessionTimeout=1.0)
        asked.Parameters.EndpointUrl = "opc.tcp://127.0.0.1"
        found = (await peer.call(asked)).Parameters
        assert found.RevisedSessionTimeout == LIMITS.min_session_ms
        token = found.AuthenticationToken
        await peer.activate(token)
        # Its own lifetime is a minute; the session's is what ends it.
        pace = {"RequestedLifetimeCount": 1_000, "RequestedMaxKeepAliveCount": 100}
        await subscribe(peer, token, **pace)
    session = context.sessions.find(token)
    assert session is not None
    async with asyncio.timeout(5):
        while context.sessions.find(token) is not None:
            await asyncio.sleep(0.02)  # paces: the server looks once a second
    assert context.publisher.subscription_count == 0


async def test_a_subscription_that_nobody_asks_for_expires(plant: Plant) -> None:
    async with logged_in(plant) as (peer, token):
        found = await subscribe(peer, token, RequestedPublishingInterval=0.001)
        assert found.RevisedPublishingInterval == LIMITS.min_publishing_ms
        assert found.RevisedLifetimeCount >= 3 * found.RevisedMaxKeepAliveCount
        async with asyncio.timeout(5):
            while plant.server.context.publisher.subscription_count:
                await asyncio.sleep(0.02)  # paces: lifetimes are counted in publishing intervals
        with pytest.raises(ua.uaerrors.BadNoSubscription):
            await peer.call(ua.PublishRequest(), token)


async def test_intervals_and_counts_that_are_no_numbers_are_revised(plant: Plant) -> None:
    async with logged_in(plant) as (peer, token):
        for interval in (0.0, -1.0, float("nan"), float("inf"), 1e300):
            found = await subscribe(
                peer,
                token,
                RequestedPublishingInterval=interval,
                RequestedLifetimeCount=2**32 - 1,
                RequestedMaxKeepAliveCount=2**32 - 1,
            )
            interval_ms = found.RevisedPublishingInterval
            assert LIMITS.min_publishing_ms <= interval_ms <= LIMITS.max_publishing_ms
            assert found.RevisedMaxKeepAliveCount * interval_ms <= LIMITS.max_keep_alive_ms
            assert found.RevisedLifetimeCount >= 3 * found.RevisedMaxKeepAliveCount
            delete = request(ua.DeleteSubscriptionsRequest, SubscriptionIds=[found.SubscriptionId])
            await peer.call(delete, token)


async def test_a_message_holds_so_many_notifications_as_was_agreed(plant: Plant) -> None:
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token)).SubscriptionId
        await monitor(peer, token, number, [item(handle) for handle in range(12)])
        sizes = [len(await published(peer, token)) for _ in range(3)]
        assert sizes == [5, 5, 2]


# ------------------------------------------------------------------------- values, with raw bytes


async def test_a_ramp_is_told_once_it_has_climbed_the_deadband(plant: Plant) -> None:
    plant.set("plc1/level", 0.0)
    async with logged_in(plant) as (peer, token):
        number = (await subscribe(peer, token)).SubscriptionId
        deadband = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, 1, 1.0)
        await monitor(peer, token, number, [item(queue=7, Filter=deadband)])
        (watched,) = plant.server.context.publisher._by_point[plant.number("plc1/level")]
        for step in range(1, 8):
            plant.set("plc1/level", step * 0.5)
            watched.offer(watched.target.read())
        assert await published(peer, token) == [0.0, 1.5, 3.0]


async def test_a_part_of_a_value_is_refused_by_every_service(plant: Plant) -> None:
    async with logged_in(plant) as (peer, token):
        part = ua.ReadValueId(NODE, ua.AttributeIds.Value, "0:1")
        read = request(ua.ReadRequest, NodesToRead=[part], MaxAge=0.0)
        assert (await peer.call(read, token)).Results[0].StatusCode.value == C.BadIndexRangeInvalid
        value = ua.DataValue(ua.Variant(1.0, ua.VariantType.Double), StatusCode=None)
        write = request(ua.WriteRequest, NodesToWrite=[ua.WriteValue(NODE, 13, "0", value)])
        assert (await peer.call(write, token)).Results[0].value == C.BadIndexRangeInvalid
        history = history_request(1, IndexRange="0")
        (found,) = (await peer.call(history, token)).Results
        assert found.StatusCode.value == C.BadIndexRangeInvalid
        number = (await subscribe(peer, token)).SubscriptionId
        watched = item()
        watched.ItemToMonitor = part
        (found,) = await monitor(peer, token, number, [watched])
        assert found.StatusCode.value == C.BadIndexRangeInvalid


# ------------------------------------------------------------- what costs more than it was to send


async def test_a_string_that_steps_back_is_not_read_for_ever(plant: Plant) -> None:
    """Without a log-in: two thousand million strings, each of which begins where it ended."""
    asked = struct_to_binary(request(ua.GetEndpointsRequest, EndpointUrl="x"))
    loop = struct.pack("<iii", 2**31 - 1, -4, -1)
    few = struct.pack("<iii", 2, -4, -1)
    async with peer_at(plant) as peer:
        with pytest.raises(ua.uaerrors.BadEncodingLimitsExceeded):
            await answer_to(peer, asked[:-8] + loop)
        with pytest.raises(ua.uaerrors.BadDecodingError):
            await answer_to(peer, asked[:-8] + few)
        assert (await answer_to(peer, asked)).Endpoints


@pytest.mark.parametrize("kind", [0, 1, 12, 23, 24])
async def test_an_array_that_nobody_sent_is_not_made(plant: Plant, kind: int) -> None:
    huge = struct.pack("<Bi", 0x80 | kind, 2**31 - 1)
    async with logged_in(plant) as (peer, token):
        with pytest.raises(ua.uaerrors.BadEncodingLimitsExceeded):
            await answer_to(peer, write_of(huge, token))
        assert (await peer.call(read_request(LEVEL), token)).Results


@pytest.mark.parametrize("nest", [b"\x18", b"\x17\x01", b"\x98\x01\0\0\0"])
async def test_what_lies_too_deep_in_itself_is_refused(plant: Plant, nest: bytes) -> None:
    """OPC 10000-6 section 5.1.11: a hundred levels, and an error beyond."""
    async with logged_in(plant) as (peer, token):
        levels = 90 // len(nest[:2])
        (code,) = (await answer_to(peer, write_of(nest * levels + b"\x01\x01", token))).Results
        assert code.value == C.BadTypeMismatch
        for depth in (101, 15_000):
            with pytest.raises(ua.uaerrors.BadEncodingLimitsExceeded):
                await answer_to(peer, write_of(nest * depth + b"\x01\x01", token))


async def test_a_client_that_reads_nothing_is_sent_nothing_more_and_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    limits = Limits(max_output_bytes=6_000_000, congested_bytes=20_000)
    folder = tmp_path_factory.mktemp("pki")
    async with (
        running(folder, insecure=True, limits=limits) as plant,
        await RawPeer.connect(plant.url) as peer,
    ):
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        await subscribe(peer, token)
        session = plant.server.context.sessions.find(token)
        assert session is not None and session.may_publish() is False
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            peer.send(peer.encode(ua.PublishRequest(), token))
        congested = False
        async with asyncio.timeout(20):
            while plant.server.context.sessions.find(token) and session.channel is not None:
                asked = peer.encode(request(ua.GetEndpointsRequest, EndpointUrl="x"), token)
                peer.send(asked)
                await asyncio.sleep(0)
                if session.channel is not None and session.channel.congested:
                    congested = True
                    assert not session.may_publish()
        assert congested


async def test_a_subscription_of_nobody_is_not_anybodys(plant: Plant) -> None:
    """OPC 10000-4 section 5.14.7: anonymous users are told apart by their certificates only."""
    async with logged_in(plant) as (mine, token), logged_in(plant) as (theirs, other):
        number = (await subscribe(mine, token)).SubscriptionId
        take = request(ua.TransferSubscriptionsRequest, SubscriptionIds=[number])
        (found,) = (await theirs.call(take, other)).Parameters.Results
        assert found.StatusCode.value == C.BadUserAccessDenied
        named = await theirs.create_session()
        otto = ua.UserNameIdentityToken("username", "otto", PASSWORD.encode(), None)
        await theirs.activate(named, otto)
        (found,) = (await theirs.call(take, named)).Parameters.Results
        assert found.StatusCode.value == C.BadUserAccessDenied


async def test_names_that_are_null_are_nobodys(plant: Plant) -> None:
    async with peer_at(plant) as peer:
        found = await peer.call(request(ua.FindServersRequest, ServerUris=[None, "urn:another"]))
        assert found.Servers == []


async def test_what_strangers_send_is_logged_on_one_line(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with await RawPeer.connect(plant.url) as peer:
        await peer.hello()
        policy = b"urn:none\nFORGED by a stranger"
        header = struct.pack("<Ii", 0, len(policy)) + policy + struct.pack("<ii", -1, -1)
        body = header + bytes(60)
        peer.send(struct.pack("<4sI", b"OPNF", 8 + len(body)) + body)
        with pytest.raises(Refused):
            await peer.frame()
    assert "FORGED" in caplog.text and "\nFORGED" not in caplog.text
