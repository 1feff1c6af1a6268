"""The site as OPC UA nodes: Objects/<site>/Devices/<area>/<device>/<point> (design.md section 6).

NodeIds are names and equal on both nodes: `ns=2;s=plc1/level`. What is not a point carries a `#`,
which no device or point name may contain: `plc1#Diagnostics.Requests`, `plc1/level#EURange`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.server.address_space import AttributeValue, NodeData

from gateway.acquisition.live import LiveTable
from gateway.driver import DeviceSpec, PointSpec
from gateway.model import NS_PER_MS, NUMERIC_TYPES, DataType
from gateway.server import diagnostics
from gateway.server.diagnostics import DiagnosticsTable
from gateway.server.encoding import BUILT_IN, Stamped, from_ticks
from gateway.server.event_nodes import add_notifiers, add_types
from gateway.server.nodes import (
    NAMESPACE,
    Layers,
    TreeBuilder,
    attribute,
    computed,
    data_type_id,
    standard,
)
from gateway.server.units import unit_of
from gateway.server.veil import Veil

_READ, _WRITE, _HISTORY = 1, 2, 4
_AS_TEXT: Final = "ValueAsText"
_UNKNOWN: Final = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown))


class Staged(NamedTuple):
    """The nodes of a revision, made beside those that are served."""

    nodes: dict[ua.NodeId, NodeData]
    points: dict[str, PointSpec]
    counters: dict[str, tuple[str, diagnostics.Counter]]
    live: LiveTable


class SiteTree:
    """Makes the nodes of a site's revisions, serves one, and finds the point behind a NodeId.

    Values are asked of the tree by name, so that a node does not know which revision it is of.
    """

    def __init__(
        self,
        site: str,
        table: DiagnosticsTable,
        namespace_uri: str,
        live: Veil,
        extras: Callable[[TreeBuilder], None] = lambda _builder: None,
    ) -> None:
        self._site = site
        self._live = live
        self._extras = extras
        self._table = table
        self._namespace_uri = namespace_uri
        self._space: Layers | None = None
        self._by_id: dict[str, PointSpec] = {}
        self._counters: dict[str, tuple[str, diagnostics.Counter]] = {}
        self._point_value = computed(self.read_point)
        self._counter_value = computed(self._read_counter)
        self._text_value = computed(self._read_text)
        self._units: dict[str, AttributeValue] = {}
        self._ranges: dict[tuple[float, float], AttributeValue] = {}

    def point(self, nodeid: ua.NodeId) -> PointSpec | None:
        """The point that a NodeId stands for, or None."""
        if nodeid.NamespaceIndex != NAMESPACE or not isinstance(nodeid.Identifier, str):
            return None
        return self._by_id.get(nodeid.Identifier)

    def point_of(self, identifier: str) -> PointSpec | None:
        """The point of a name `device/point`, or None."""
        return self._by_id.get(identifier)

    def exists(self, nodeid: ua.NodeId) -> bool:
        """Whether there is a node of that id, of any kind."""
        return self._space is not None and nodeid in self._space

    def stage(
        self, space: Layers, devices: Sequence[DeviceSpec], live: LiveTable
    ) -> Generator[None, None, Staged]:
        """Make every node of a revision below Objects; yields often, so that others can go on.

        Nobody sees them before `serve`. Raises ValueError when two ids are equal.
        """
        self._units.clear()
        self._ranges.clear()
        beside = space.beside()
        staged = Staged(beside.site, {p.id: p for p in live.points}, {}, live)
        builder = TreeBuilder(beside)
        objects = standard(ua.ObjectIds.ObjectsFolder)
        site = builder.folder("#Site", objects, self._site)
        root = builder.folder("#Devices", site, "Devices")
        node = builder.component("#Node", site, "Node", "The node that serves this.")
        own, counters = diagnostics.NODE, diagnostics.NODE_COUNTERS
        self._add_counters(builder, node, "#Node", own, counters, staged)
        add_types(builder)
        self._extras(builder)
        areas: dict[str, ua.NodeId] = {"": root}
        for device in devices:
            area = getattr(device.settings, "area", "")
            parent = self._area(builder, areas, area.strip("/"))
            yield from self._add_device(builder, device, parent, staged)
        add_notifiers(builder, [device.name for device in devices])
        return staged

    def serve(self, space: Layers, staged: Staged) -> dict[ua.NodeId, NodeData]:
        """Serve what was made from now on; the nodes that were served before."""
        before, space.site = space.site, staged.nodes
        self._space = space
        self._by_id, self._counters = staged.points, staged.counters
        return before

    def _area(self, builder: TreeBuilder, areas: dict[str, ua.NodeId], path: str) -> ua.NodeId:
        if path not in areas:
            upper, _, name = path.rpartition("/")
            parent = self._area(builder, areas, upper)
            areas[path] = builder.folder(f"#Area/{path}", parent, name)
        return areas[path]

    def _add_device(
        self, builder: TreeBuilder, device: DeviceSpec, parent: ua.NodeId, staged: Staged
    ) -> Generator[None, None, None]:
        description = getattr(device.settings, "description", "")
        nodeid = builder.component(device.name, parent, device.name, description)
        identifier = f"{device.name}#Diagnostics"
        found = builder.component(identifier, nodeid, "Diagnostics")
        self._add_counters(builder, found, identifier, device.name, diagnostics.DEVICE, staged)
        yield
        for point in device.points:
            period_ns = device.scan_classes.get(point.scan_class, 0)
            self._add_point(builder, nodeid, point, period_ns / NS_PER_MS)
            yield

    def _add_counters(
        self,
        builder: TreeBuilder,
        parent: ua.NodeId,
        prefix: str,
        device: str,
        counters: Sequence[diagnostics.Counter],
        staged: Staged,
    ) -> None:
        for counter in counters:
            identifier = f"{prefix}.{counter.name}"
            staged.counters[identifier] = (device, counter)
            builder.variable(
                identifier,
                parent,
                counter.name,
                self._counter_value,
                data_type_id(counter.data_type),
                description=counter.description,
                sampling_ms=1000.0,
            )

    def _add_point(
        self, builder: TreeBuilder, device: ua.NodeId, point: PointSpec, period_ms: float
    ) -> None:
        access = _HISTORY
        access |= _READ if point.access.readable else 0
        access |= _WRITE if point.access.writable else 0
        found = builder.variable(
            point.id,
            device,
            point.name,
            self._point_value,
            data_type_id(point.data_type),
            _type_definition(point),
            description=point.description,
            access=access,
            historizing=True,
            sampling_ms=period_ms,
        )
        configuration = standard(ua.ObjectIds.HAConfiguration)
        builder.point_at(found, ua.ObjectIds.HasHistoricalConfiguration, configuration)
        if point.enum:
            self._add_enum(builder, found, point.enum, point.data_type)
        if point.eu_range is not None and point.data_type in NUMERIC_TYPES:
            value = self._range(point.eu_range)
            builder.property(found, "EURange", value, standard(ua.ObjectIds.Range))
        if point.unit:
            value = self._unit(point.unit)
            builder.property(found, "EngineeringUnits", value, standard(ua.ObjectIds.EUInformation))

    def _add_enum(
        self, builder: TreeBuilder, found: NodeData, names: Mapping[int, str], kind: DataType
    ) -> None:
        text = standard(ua.ObjectIds.LocalizedText)
        if kind is DataType.BOOL:
            for name, number in (("FalseState", 0), ("TrueState", 1)):
                state = ua.LocalizedText(names.get(number, str(bool(number))))
                value = attribute(state, ua.VariantType.LocalizedText)
                builder.property(found, name, value, text)
            return
        values = [
            ua.EnumValueType(Value=number, DisplayName=ua.LocalizedText(name))
            for number, name in sorted(names.items())
        ]
        variant = ua.Variant(values, ua.VariantType.ExtensionObject, is_array=True)
        enum_type = standard(ua.ObjectIds.EnumValueType)
        enum_values = AttributeValue(ua.DataValue(variant))
        builder.property(found, "EnumValues", enum_values, enum_type, is_array=True)
        builder.property(found, _AS_TEXT, self._text_value, text)

    def _range(self, eu_range: tuple[float, float]) -> AttributeValue:
        found = self._ranges.get(eu_range)
        if found is None:
            low, high = min(eu_range), max(eu_range)
            found = attribute(ua.Range(Low=low, High=high), ua.VariantType.ExtensionObject)
            self._ranges[eu_range] = found
        return found

    def _unit(self, text: str) -> AttributeValue:
        found = self._units.get(text)
        if found is None:
            unit = unit_of(text, self._namespace_uri)
            information = ua.EUInformation(
                NamespaceUri=unit.namespace_uri,
                UnitId=unit.unit_id,
                DisplayName=ua.LocalizedText(unit.display_name),
                Description=ua.LocalizedText(unit.description),
            )
            found = attribute(information, ua.VariantType.ExtensionObject)
            self._units[text] = found
        return found

    def read_point(self, nodeid: ua.NodeId, _: ua.AttributeIds) -> ua.DataValue:
        """The value of a point now: SourceTimestamp last change, ServerTimestamp last good poll."""
        point = self._by_id.get(nodeid.Identifier)
        if point is None:
            return _UNKNOWN
        live = self._live.get(point.number)
        return to_data_value(Stamped(*live), point.data_type)

    def _read_text(self, nodeid: ua.NodeId, _: ua.AttributeIds) -> ua.DataValue:
        point = self._by_id.get(nodeid.Identifier.removesuffix(f"#{_AS_TEXT}"))
        if point is None:
            return _UNKNOWN
        live = self._live.get(point.number)
        number = live.value
        name = (point.enum or {}).get(number, "") if isinstance(number, int) else ""
        return ua.DataValue(
            ua.Variant(ua.LocalizedText(name), ua.VariantType.LocalizedText),
            ua.StatusCode(live.status),
            SourceTimestamp=_moment(live.source_ns),
            ServerTimestamp=_moment(live.server_ns),
        )

    def counter(self, nodeid: ua.NodeId) -> tuple[Stamped, DataType] | None:
        """The diagnostic variable behind a NodeId, now; None if it isn't one."""
        if nodeid.NamespaceIndex != NAMESPACE:
            return None
        known = self._counters.get(nodeid.Identifier)
        if known is None:
            return None
        device, counter = known
        return self._table.read(device, counter.name), counter.data_type

    def _read_counter(self, nodeid: ua.NodeId, _: ua.AttributeIds) -> ua.DataValue:
        found = self.counter(nodeid)
        return _UNKNOWN if found is None else to_data_value(*found)


def to_data_value(stamped: Stamped, data_type: DataType) -> ua.DataValue:
    """A DataValue object, for the services that are not worth a fast path."""
    value, status, source_ns, server_ns = stamped
    if value is None:
        variant = ua.Variant(None, ua.VariantType.Null)
    elif data_type is DataType.DATETIME:
        variant = ua.Variant(_moment(value), ua.VariantType.DateTime)
    else:
        variant = ua.Variant(value, ua.VariantType(BUILT_IN[data_type]))
    return ua.DataValue(
        variant,
        ua.StatusCode(status),
        SourceTimestamp=_moment(source_ns) if source_ns else None,
        ServerTimestamp=_moment(server_ns) if server_ns else None,
    )


def _moment(time_ns: Any) -> Any:
    return ua.win_epoch_to_datetime(max(0, (time_ns - from_ticks(0)) // 100))


def _type_definition(point: PointSpec) -> int:
    if point.enum and point.data_type is DataType.BOOL:
        return int(ua.ObjectIds.TwoStateDiscreteType)
    if point.enum:
        return int(ua.ObjectIds.MultiStateValueDiscreteType)
    if point.data_type in NUMERIC_TYPES and point.eu_range is not None:
        return int(ua.ObjectIds.AnalogItemType)
    if point.data_type in NUMERIC_TYPES and point.unit:
        # AnalogItemType demands an EURange; AnalogUnitType does without (OPC 10000-8 5.3.2.4).
        return int(ua.ObjectIds.AnalogUnitType)
    return int(ua.ObjectIds.BaseDataVariableType)
