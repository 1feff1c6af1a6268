"""Event types and notifiers as nodes, and what a client may select of an event.

The tree of notifiers is Server → site → device (OPC 10000-3 section 7.14, HasNotifier); the node
that serves is a source of the site's events (HasEventSource).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace

from gateway.server import event_types
from gateway.server.content_filter import Path
from gateway.server.event_types import BASE, EventType, own_path
from gateway.server.event_values import Id
from gateway.server.nodes import TreeBuilder, node_id, standard

_IDS = ua.ObjectIds
SUBSCRIBE_TO_EVENTS: Final = 1
"""The bit of EventNotifier (OPC 10000-3 section 8.59)."""
DEPTH_MAX: Final = 4
"""A field of a standard type lies no deeper: `EnabledState/EffectiveDisplayName`."""
_SUBTYPE: Final = standard(_IDS.HasSubtype)
_PARTS: Final = frozenset(
    standard(found) for found in (_IDS.HasProperty, _IDS.HasComponent, _IDS.HasOrderedComponent)
)

Fields = dict[Id, frozenset[Path]]
"""By event type: the paths of the fields that an event of it may have."""


def add_types(builder: TreeBuilder) -> None:
    """Make our event types below the standard ones."""
    for found in event_types.ALL:
        owner = builder.event_type(
            str(found.type_id.identifier),
            _node(found.parent),
            found.name,
            found.description,
            found.abstract,
        )
        for field in found.fields:
            builder.type_property(owner, field.name, standard(field.kind), field.description)


def add_notifiers(builder: TreeBuilder, devices: list[str]) -> None:
    """Make the site and its devices notifiers, and the node a source of events."""
    site = node_id("#Site")
    builder.notifier(standard(_IDS.Server), site)
    for device in devices:
        builder.notifier(site, node_id(device))
    builder.refer(site, _IDS.HasEventSource, node_id("#Node"))


def _node(found: Id) -> ua.NodeId:
    return ua.NodeId(found.identifier, found.namespace)


def standard_fields(space: AddressSpace) -> Fields:
    """The fields of all standard event types: walked once, when the server is built."""
    found: Fields = {}
    _walk(space, standard(BASE.identifier), frozenset(), found)
    return found


def _walk(
    space: AddressSpace, nodeid: ua.NodeId, inherited: frozenset[Path], found: Fields
) -> None:
    own = inherited | frozenset(_paths(space, nodeid, (), DEPTH_MAX))
    found[Id(0, nodeid.Identifier)] = own
    for reference in space[nodeid].references:
        is_subtype = reference.IsForward and reference.ReferenceTypeId == _SUBTYPE
        if is_subtype and reference.NodeId.NamespaceIndex == 0:  # ours are known by table
            _walk(space, reference.NodeId, own, found)


def _paths(space: AddressSpace, nodeid: ua.NodeId, above: Path, depth: int) -> Iterator[Path]:
    for reference in space[nodeid].references:
        if not reference.IsForward or reference.ReferenceTypeId not in _PARTS:
            continue
        if reference.NodeClass not in (ua.NodeClass.Object, ua.NodeClass.Variable):
            continue
        name = reference.BrowseName
        path = (*above, (name.NamespaceIndex, name.Name))
        yield path
        if depth > 1:
            yield from _paths(space, reference.NodeId, path, depth - 1)


def with_ours(fields: Fields) -> Fields:
    """The same and our own types; whoever names the BaseEventType may select any field."""
    found = dict(fields)
    for event_type in event_types.ALL:
        found[event_type.type_id] = found[event_type.parent] | _own(event_type)
    found[BASE] = frozenset().union(*found.values())
    return found


def _own(event_type: EventType) -> frozenset[Path]:
    return frozenset(own_path(field.name) for field in event_type.fields)
