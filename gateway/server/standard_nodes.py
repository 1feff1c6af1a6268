"""The standard Server object, told the truth: status, capabilities, limits, service level."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.server.encoding import WINDOWS_EPOCH_TICKS
from gateway.server.nodes import computed, standard
from gateway.server.redundancy import RedundantSet
from gateway.server.settings import Limits

_IDS = ua.ObjectIds
_V = ua.VariantType
_NEVER: Final = ua.win_epoch_to_datetime(0)
"""A null DateTime."""


def moment(time_ns: int) -> datetime:
    """A time in ns UTC as the library's datetime."""
    found: datetime = ua.win_epoch_to_datetime(time_ns // 100 + WINDOWS_EPOCH_TICKS)
    return found


def install(space: AddressSpace, found: RedundantSet, clock: Clock, limits: Limits) -> None:
    """Bind the standard nodes to how the server stands and to `limits`."""
    started_ns = clock.utc_ns()
    build_info = space[standard(_IDS.Server_ServerStatus_BuildInfo)]
    info = build_info.attributes[ua.AttributeIds.Value].value.Value.Value

    def seconds() -> int:
        at_ns = found.outage.at_ns
        return 0 if at_ns is None else max(0, -(-(at_ns - clock.monotonic_ns()) // NS_PER_S))

    def returns() -> datetime:
        returns_ns = found.outage.returns_ns
        return moment(returns_ns) if returns_ns else _NEVER

    def status() -> Any:
        shown = found.shown
        return ua.ServerStatusDataType(
            StartTime=moment(started_ns),
            CurrentTime=moment(clock.utc_ns()),
            State=ua.ServerState(shown.state),
            BuildInfo=info,
            SecondsTillShutdown=seconds(),
            ShutdownReason=ua.LocalizedText(shown.reason),
        )

    answers = {
        _IDS.Server_ServerStatus: (status, _V.ExtensionObject),
        _IDS.Server_ServerStatus_CurrentTime: (lambda: moment(clock.utc_ns()), _V.DateTime),
        _IDS.Server_ServerStatus_StartTime: (lambda: moment(started_ns), _V.DateTime),
        _IDS.Server_ServerStatus_State: (lambda: found.shown.state, _V.Int32),
        _IDS.Server_ServerStatus_ShutdownReason: (
            lambda: ua.LocalizedText(found.shown.reason),
            _V.LocalizedText,
        ),
        _IDS.Server_ServerStatus_SecondsTillShutdown: (seconds, _V.UInt32),
        _IDS.Server_EstimatedReturnTime: (returns, _V.DateTime),
        _IDS.Server_ServiceLevel: (lambda: found.shown.level, _V.Byte),
    }
    for identifier, (ask, kind) in answers.items():
        answer(space, identifier, ask, kind, clock)
    for identifier, (value, kind) in _facts(limits).items():
        _set(space, identifier, value, kind)


def answer(space: AddressSpace, identifier: int, ask: Any, kind: Any, clock: Clock) -> None:
    """Have a standard variable ask for its value at each read."""

    def read(_nodeid: ua.NodeId, _attribute: int) -> ua.DataValue:
        now, value = moment(clock.utc_ns()), ask()
        variant = ua.Variant(value, kind, is_array=isinstance(value, list))
        return ua.DataValue(variant, SourceTimestamp=now, ServerTimestamp=now)

    space[standard(identifier)].attributes[ua.AttributeIds.Value] = computed(read)


def _set(space: AddressSpace, identifier: int, value: Any, kind: Any) -> None:
    data = space.get(standard(identifier))
    if data is not None:
        variant = ua.Variant(value, kind, is_array=isinstance(value, list))
        data.attributes[ua.AttributeIds.Value].value = ua.DataValue(variant)


def _facts(limits: Limits) -> dict[int, tuple[Any, Any]]:
    """What is advertised; each of these is enforced, or true of what there is."""
    operations = {
        "MaxNodesPerRead": limits.max_nodes_per_read,
        "MaxNodesPerWrite": limits.max_nodes_per_write,
        "MaxNodesPerBrowse": limits.max_nodes_per_browse,
        "MaxNodesPerHistoryReadData": limits.max_nodes_per_history_read,
        "MaxNodesPerRegisterNodes": limits.max_nodes_per_register,
        "MaxNodesPerTranslateBrowsePathsToNodeIds": limits.max_nodes_per_translate,
        "MaxNodesPerMethodCall": limits.max_nodes_per_call,
        "MaxMonitoredItemsPerCall": limits.max_items_per_call,
    }
    capabilities = {
        "MaxSessions": (limits.max_sessions, _V.UInt32),
        "MaxSubscriptions": (limits.max_subscriptions, _V.UInt32),
        "MaxSubscriptionsPerSession": (limits.max_subscriptions_per_session, _V.UInt32),
        "MaxMonitoredItems": (limits.max_items, _V.UInt32),
        "MaxMonitoredItemsPerSubscription": (limits.max_items_per_subscription, _V.UInt32),
        "MaxMonitoredItemsQueueSize": (limits.max_queue, _V.UInt32),
        "MaxSelectClauseParameters": (limits.max_select_clauses, _V.UInt32),
        "MaxWhereClauseParameters": (limits.max_where_operands, _V.UInt32),
        "MaxBrowseContinuationPoints": (limits.max_browse_points, _V.UInt16),
        "MaxHistoryContinuationPoints": (limits.max_history_points, _V.UInt16),
        "MaxQueryContinuationPoints": (0, _V.UInt16),
        "MinSupportedSampleRate": (float(limits.min_sampling_ms), _V.Double),
    }
    history = {
        "AccessHistoryDataCapability": True,
        "AccessHistoryEventsCapability": False,
        "ServerTimestampSupported": True,
        "InsertDataCapability": False,
        "ReplaceDataCapability": False,
        "UpdateDataCapability": False,
        "DeleteRawCapability": False,
        "DeleteAtTimeCapability": False,
        "InsertEventCapability": False,
        "ReplaceEventCapability": False,
        "UpdateEventCapability": False,
        "DeleteEventCapability": False,
        "InsertAnnotationCapability": False,
    }
    prefix = "Server_ServerCapabilities_"
    found: dict[int, tuple[Any, Any]] = {
        getattr(_IDS, f"{prefix}OperationLimits_{name}"): (value, _V.UInt32)
        for name, value in operations.items()
    }
    for name, fact in capabilities.items():
        found[getattr(_IDS, f"{prefix}{name}")] = fact
    found[getattr(_IDS, f"{prefix}MaxArrayLength")] = (limits.max_elements, _V.UInt32)
    for name in ("MaxStringLength", "MaxByteStringLength"):
        # Nothing longer comes in than a message is.
        found[getattr(_IDS, f"{prefix}{name}")] = (limits.max_message_bytes, _V.UInt32)
    for name in ("ServerProfileArray", "LocaleIdArray"):
        found[getattr(_IDS, f"{prefix}{name}")] = ([], _V.String)
    found[_IDS.Server_Auditing] = (False, _V.Boolean)
    found[_IDS.Server_ServerDiagnostics_EnabledFlag] = (False, _V.Boolean)
    for name, able in history.items():
        found[getattr(_IDS, f"HistoryServerCapabilities_{name}")] = (able, _V.Boolean)
    most = limits.max_history_values
    found[_IDS.HistoryServerCapabilities_MaxReturnDataValues] = (most, _V.UInt32)
    found[_IDS.HistoryServerCapabilities_MaxReturnEventValues] = (0, _V.UInt32)
    for name in ("HistoryReadEvents", "HistoryUpdateData", "HistoryUpdateEvents"):
        found[getattr(_IDS, f"{prefix}OperationLimits_MaxNodesPer{name}")] = (0, _V.UInt32)
    found[getattr(_IDS, f"{prefix}OperationLimits_MaxNodesPerNodeManagement")] = (0, _V.UInt32)
    return found
