"""The messages that are mutated: requests of every service, as a client writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from hil.fuzz.mutate import bomb

_IDS = ua.ObjectIds
_OPERAND: Final = ua.NodeId(_IDS.LiteralOperand_Encoding_DefaultBinary)
_PAIR: Final = ua.NodeId(_IDS.KeyValuePair_Encoding_DefaultBinary)


def _read_id(node: ua.NodeId) -> ua.ReadValueId:
    return ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value)


def _request(cls: Any, **parameters: Any) -> Any:
    request = cls()
    for name, value in parameters.items():
        setattr(request.Parameters, name, value)
    return request


def discovery() -> list[Any]:
    """What is answered without a session."""
    url = "opc.tcp://127.0.0.1"
    locales = {"LocaleIds": ["en", "de"]}
    return [
        _request(ua.GetEndpointsRequest, EndpointUrl=url, ProfileUris=["a", "b"], **locales),
        _request(ua.FindServersRequest, EndpointUrl=url, ServerUris=["urn:x"], **locales),
    ]


def create_session(certificate: bytes | None = None, timeout_ms: float = 5_000.0) -> Any:
    """A CreateSession that is right."""
    description = ua.ApplicationDescription(
        ApplicationUri="urn:hil:fuzz", ApplicationName=ua.LocalizedText("fuzz")
    )
    return _request(
        ua.CreateSessionRequest,
        ClientDescription=description,
        EndpointUrl="opc.tcp://127.0.0.1",
        SessionName="fuzz",
        ClientNonce=bytes(32),
        ClientCertificate=certificate,
        RequestedSessionTimeout=timeout_ms,
    )


def _items(nodes: list[ua.NodeId]) -> list[Any]:
    change = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, 1, 0.5)
    return [
        ua.MonitoredItemCreateRequest(
            ItemToMonitor=_read_id(node),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=1, SamplingInterval=50.0, Filter=change, QueueSize=5
            ),
        )
        for node in nodes
    ]


def _value(node: ua.NodeId) -> ua.WriteValue:
    value = ua.DataValue(ua.Variant(True, ua.VariantType.Boolean), StatusCode=None)
    return ua.WriteValue(NodeId=node, AttributeId=ua.AttributeIds.Value, Value=value)


def _history(nodes: list[ua.NodeId]) -> list[Any]:
    start, end = map(ua.win_epoch_to_datetime, (133_000_000_000_000_000, 140_000_000_000_000_000))
    average = ua.NodeId(_IDS.AggregateFunction_Average)
    kinds = (
        ua.ReadRawModifiedDetails(False, start, end, NumValuesPerNode=10, ReturnBounds=True),
        ua.ReadProcessedDetails(start, end, 3.6e9, [average] * len(nodes)),
        ua.ReadAtTimeDetails([start, end], UseSimpleBounds=True),
    )
    asked = [ua.HistoryReadValueId(NodeId=node, ContinuationPoint=None) for node in nodes]
    return [
        _request(
            ua.HistoryReadRequest,
            HistoryReadDetails=details,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=False,
            NodesToRead=asked,
        )
        for details in kinds
    ]


def _views(nodes: list[ua.NodeId]) -> list[Any]:
    path = ua.RelativePath(
        [ua.RelativePathElement(ua.NodeId(33), False, True, ua.QualifiedName("d0", 2))]
    )
    browse = [
        ua.BrowseDescription(
            NodeId=ua.NodeId(_IDS.ObjectsFolder),
            ReferenceTypeId=ua.NodeId(_IDS.HierarchicalReferences),
            ResultMask=63,
        )
    ]
    return [
        _request(ua.BrowseRequest, RequestedMaxReferencesPerNode=2, NodesToBrowse=browse),
        _request(
            ua.BrowseNextRequest, ReleaseContinuationPoints=False, ContinuationPoints=[bytes(16)]
        ),
        _request(
            ua.TranslateBrowsePathsToNodeIdsRequest,
            BrowsePaths=[ua.BrowsePath(ua.NodeId(_IDS.ObjectsFolder), path)],
        ),
        _request(ua.RegisterNodesRequest, NodesToRegister=nodes),
        _request(ua.UnregisterNodesRequest, NodesToUnregister=nodes),
    ]


def _monitoring(nodes: list[ua.NodeId], subscription: int) -> list[Any]:
    mine = {"SubscriptionId": subscription}
    modify = ua.MonitoredItemModifyRequest(1, ua.MonitoringParameters(QueueSize=3))
    return [
        _request(
            ua.CreateSubscriptionRequest,
            RequestedPublishingInterval=50.0,
            RequestedLifetimeCount=60,
            RequestedMaxKeepAliveCount=10,
            PublishingEnabled=True,
        ),
        _request(ua.ModifySubscriptionRequest, RequestedPublishingInterval=100.0, **mine),
        _request(ua.SetPublishingModeRequest, PublishingEnabled=True, SubscriptionIds=[1]),
        _request(ua.TransferSubscriptionsRequest, SubscriptionIds=[1, 2]),
        _request(ua.RepublishRequest, RetransmitSequenceNumber=1, **mine),
        _request(ua.DeleteSubscriptionsRequest, SubscriptionIds=[2**31]),
        _request(ua.CreateMonitoredItemsRequest, ItemsToCreate=_items(nodes), **mine),
        _request(ua.ModifyMonitoredItemsRequest, ItemsToModify=[modify], **mine),
        _request(ua.SetMonitoringModeRequest, MonitoredItemIds=[1, 2], **mine),
        _request(ua.DeleteMonitoredItemsRequest, MonitoredItemIds=[2**31], **mine),
        _request(
            ua.PublishRequest,
            SubscriptionAcknowledgements=[ua.SubscriptionAcknowledgement(subscription, 1)],
        ),
    ]


def services(nodes: list[ua.NodeId], subscription: int = 1) -> list[Any]:
    """A request of each service that needs a session; of writes none that is right."""
    call = ua.CallMethodRequest(
        ObjectId=ua.NodeId(_IDS.Server),
        MethodId=ua.NodeId(_IDS.Server_GetMonitoredItems),
        InputArguments=[ua.Variant(1, ua.VariantType.UInt32)],
    )
    return [
        _request(
            ua.ReadRequest,
            MaxAge=0.0,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[_read_id(node) for node in nodes],
        ),
        _request(ua.WriteRequest, NodesToWrite=[_value(node) for node in nodes]),
        _request(ua.CallRequest, MethodsToCall=[call]),
        *_history(nodes),
        *_views(nodes),
        *_monitoring(nodes, subscription),
        *discovery(),
    ]


def _in_write(chance: Random, nodes: list[ua.NodeId]) -> tuple[Any, bytes | None]:
    return _request(ua.WriteRequest, NodesToWrite=[_value(chance.choice(nodes))]), bomb(chance)


def _in_call(chance: Random, _: list[ua.NodeId]) -> tuple[Any, bytes | None]:
    call = ua.CallMethodRequest(
        ObjectId=ua.NodeId(_IDS.Server),
        MethodId=ua.NodeId(_IDS.Server_GetMonitoredItems),
        InputArguments=[ua.Variant(True, ua.VariantType.Boolean)],
    )
    return _request(ua.CallRequest, MethodsToCall=[call]), bomb(chance)


def _in_header(chance: Random, _: list[ua.NodeId]) -> tuple[Any, bytes | None]:
    request = chance.choice(discovery())
    request.RequestHeader.AdditionalHeader = ua.ExtensionObject(_PAIR, bomb(chance))
    return request, None


def _in_filter(chance: Random, nodes: list[ua.NodeId]) -> tuple[Any, bytes | None]:
    items = _items(nodes)
    items[0].RequestedParameters.Filter = ua.ExtensionObject(_OPERAND, bomb(chance))
    return _request(ua.CreateMonitoredItemsRequest, SubscriptionId=1, ItemsToCreate=items), None


def _in_token(chance: Random, _: list[ua.NodeId]) -> tuple[Any, bytes | None]:
    token = ua.ExtensionObject(_OPERAND, bomb(chance))
    return _request(ua.ActivateSessionRequest, UserIdentityToken=token), None


_PLACES: Final[Mapping[str, Callable[[Random, list[ua.NodeId]], tuple[Any, bytes | None]]]] = {
    "write": _in_write,
    "call": _in_call,
    "header": _in_header,
    "filter": _in_filter,
    "token": _in_token,
}


def with_bomb(
    chance: Random, nodes: list[ua.NodeId], token: ua.NodeId, logged_in: bool
) -> tuple[str, bytes]:
    """A request that holds a bomb somewhere: (where, its bytes)."""
    where = chance.choice(list(_PLACES) if logged_in else ["header", "token"])
    request, last = _PLACES[where](chance, nodes)
    request.RequestHeader.AuthenticationToken = token
    data = struct_to_binary(request)
    # A Variant of a Boolean, the last two bytes, gives its place to the bomb.
    return where, data if last is None else data[:-2] + last
