"""What monitored items watch: points of the live table, and any other attribute of any node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from gateway.acquisition.live import Live
from gateway.driver import PointSpec
from gateway.model import DataType, Status
from gateway.server.address_space import SiteTree
from gateway.server.encoding import (
    BOTH,
    BUILT_IN,
    NEITHER,
    OVERFLOW,
    SERVER,
    SOURCE,
    data_value_encoder,
    from_ticks,
)
from gateway.server.filters import DEFAULT, Filter, FilterRefused, make_filter
from gateway.server.subscription import Encode
from gateway.server.veil import Veil

_CODES = ua.StatusCodes
# The decoder's own class: the library exports another one under the same name.
_DATA_CHANGE_FILTER: Final = ua.extension_objects_by_typeid[
    ua.NodeId(ua.ObjectIds.DataChangeFilter_Encoding_DefaultBinary)
]
_NOTHING: Final = (_CODES.BadNodeIdUnknown, _CODES.BadAttributeIdInvalid)
"""There is no such thing. What a user may not see is said to be that (OPC 10000-4 5.13.2.1)."""
_TYPES: Final = {code: data_type for data_type, code in BUILT_IN.items()}


class NodeReading(NamedTuple):
    """A DataValue of some node in the shape that filters compare."""

    value: Any
    status: int
    source_ns: int
    data_value: ua.DataValue


class ItemRefused(Exception):
    """An item that can't be monitored; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class PointTarget:
    """A point: offered readings by the publisher when it changed."""

    __slots__ = ("_live", "_vanished", "spec")
    is_value = True

    def __init__(self, spec: PointSpec, live: Veil) -> None:
        self.spec = spec
        self._live = live
        self._vanished: Live | None = None

    def follow(self, spec: PointSpec | None, now_ns: int) -> None:
        """Another revision is served: the point as it has it, None if it has no such point."""
        if spec is None:
            self._vanished = Live(None, Status.BAD_NODE_ID_UNKNOWN, now_ns, now_ns)
        else:
            self.spec, self._vanished = spec, None

    def read(self) -> Live:
        """The point now."""
        return self._vanished or self._live.get(self.spec.number)

    def make_filter(self, trigger: int, deadband_type: int, deadband: float) -> Filter:
        """The filter a client asks for. Raises FilterRefused."""
        return make_filter(
            trigger, deadband_type, deadband, self.spec.data_type, self.spec.eu_range
        )


Ask = Callable[[ua.NodeId, int], ua.DataValue]
"""An attribute of a node, as whoever is told of it may see it."""


class NodeTarget:
    """Any other attribute: compared once a second."""

    __slots__ = ("_ask", "_attribute", "_nodeid", "is_standard")

    def __init__(self, nodeid: ua.NodeId, attribute: int, ask: Ask) -> None:
        self.is_standard = nodeid.NamespaceIndex == 0
        self._nodeid = nodeid
        self._attribute = attribute
        self._ask = ask

    @property
    def is_value(self) -> bool:
        return bool(self._attribute == ua.AttributeIds.Value)

    def read(self) -> NodeReading:
        """The attribute now."""
        found = self._ask(self._nodeid, self._attribute)
        status = 0 if found.StatusCode is None else found.StatusCode.value
        value = None if found.Value is None else found.Value.Value
        source_ns = 0
        if found.SourceTimestamp is not None:
            source_ns = from_ticks(ua.datetime_to_win_epoch(found.SourceTimestamp))
        return NodeReading(value, status, source_ns, found)

    def make_filter(self, trigger: int, deadband_type: int, deadband: float) -> Filter:
        """The filter a client asks for; a percentage finds no range here. Raises FilterRefused."""
        found = self._ask(self._nodeid, self._attribute)
        code = 0 if found.Value is None else int(found.Value.VariantType)
        is_array = found.Value is not None and found.Value.is_array
        data_type: DataType | None = None if is_array else _TYPES.get(code)
        return make_filter(trigger, deadband_type, deadband, data_type, None)


class Encoders:
    """The encoders of notifications, one for each (type, timestamps), shared by all items."""

    def __init__(self) -> None:
        self._points: dict[tuple[DataType, int], Encode] = {}
        self._nodes: dict[int, Encode] = {}

    def for_point(self, data_type: DataType, which: int) -> Encode:
        """What encodes notifications of points of a type."""
        found = self._points.get((data_type, which))
        if found is None:
            found = self._points[data_type, which] = _point_encoder(data_type, which)
        return found

    def for_node(self, which: int) -> Encode:
        """What encodes notifications of other nodes."""
        found = self._nodes.get(which)
        if found is None:
            found = self._nodes[which] = _node_encoder(which)
        return found


def _point_encoder(data_type: DataType, which: int) -> Encode:
    encode_value = data_value_encoder(data_type)

    def encode(handle: int, reading: Live, overflow: bool) -> bytes:
        value, status, source_ns, server_ns = reading
        if overflow:
            status |= OVERFLOW
        return handle.to_bytes(4, "little") + encode_value(
            value, status, source_ns, server_ns, which
        )

    return encode


def _node_encoder(which: int) -> Encode:
    def encode(handle: int, reading: NodeReading, overflow: bool) -> bytes:
        found = stamped(reading.data_value, which)
        if overflow:
            found.StatusCode = ua.StatusCode(reading.status | OVERFLOW)
        return handle.to_bytes(4, "little") + bytes(struct_to_binary(found))

    return encode


def stamped(found: ua.DataValue, which: int) -> ua.DataValue:
    """A DataValue with the timestamps that were asked for, and no others."""
    return ua.DataValue(
        found.Value,
        found.StatusCode,
        SourceTimestamp=found.SourceTimestamp if which in (SOURCE, BOTH) else None,
        ServerTimestamp=found.ServerTimestamp if which in (SERVER, BOTH) else None,
    )


Target = PointTarget | NodeTarget


def find_target(item: ua.ReadValueId, which: int, tree: SiteTree, live: Veil, ask: Ask) -> Target:
    """What a ReadValueId names. Raises ItemRefused."""
    if not SOURCE <= which <= NEITHER:
        raise ItemRefused(_CODES.BadTimestampsToReturnInvalid)
    if item.IndexRange:
        raise ItemRefused(_CODES.BadIndexRangeInvalid)
    if item.DataEncoding is not None and item.DataEncoding.Name not in (
        None,
        "",
        "Default Binary",
    ):
        raise ItemRefused(_CODES.BadDataEncodingUnsupported)
    point = tree.point(item.NodeId)
    is_value = item.AttributeId == ua.AttributeIds.Value
    if point is not None and point.access.readable and is_value:
        return PointTarget(point, live)
    status = ask(item.NodeId, item.AttributeId).StatusCode
    if status is not None and status.value in _NOTHING:
        raise ItemRefused(status.value)
    return NodeTarget(item.NodeId, item.AttributeId, ask)


def read_filter(target: Target, asked: object) -> Filter:
    """The filter of a request, none being the default. Raises ItemRefused."""
    if asked is None or (isinstance(asked, ua.ExtensionObject) and not asked):
        return DEFAULT
    if not isinstance(asked, _DATA_CHANGE_FILTER):
        raise ItemRefused(_CODES.BadMonitoredItemFilterUnsupported)
    if not target.is_value:
        raise ItemRefused(_CODES.BadFilterNotAllowed)
    try:
        return target.make_filter(int(asked.Trigger), asked.DeadbandType, asked.DeadbandValue)
    except FilterRefused as refused:
        raise ItemRefused(refused.status) from None


def revised_sampling(asked_ms: float, publishing_ms: float, lowest: int, highest: int) -> float:
    """The sampling interval in ms: negative asks for the publishing interval, 0 for the fastest."""
    if asked_ms < 0:
        asked_ms = publishing_ms
    if not asked_ms > lowest:
        return float(lowest)
    return min(asked_ms, float(highest))
