"""Nodes of the address space made directly, not by AddNodes: that one is quadratic in siblings.

Attributes that are equal for many nodes are one shared object: nobody writes them (values come from
callbacks, and writes never reach the store), and ten thousand points stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import lru_cache
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AttributeValue, NodeData

from gateway.model import DataType
from gateway.server.encoding import BUILT_IN

NAMESPACE: Final = 2
"""The index of `urn:hotpair:<site>`, on both nodes."""

ReadCallback = Callable[[ua.NodeId, ua.AttributeIds], ua.DataValue]

_A = ua.AttributeIds
_V = ua.VariantType
_SCALAR: Final = -1


def node_id(identifier: str) -> ua.NodeId:
    """A node of the site's namespace."""
    return ua.NodeId(identifier, NAMESPACE)


@lru_cache(maxsize=4096)
def standard(identifier: int) -> ua.NodeId:
    """A node of the OPC UA namespace."""
    return ua.NodeId(identifier, 0)


def data_type_id(data_type: DataType) -> ua.NodeId:
    """The DataType node of a data type."""
    return standard(BUILT_IN[data_type])


@lru_cache(maxsize=4096)
def constant(value: Any, variant_type: ua.VariantType) -> AttributeValue:
    """A shared attribute that never changes; `value` must be hashable."""
    return AttributeValue(ua.DataValue(ua.Variant(value, variant_type)))


def attribute(value: Any, variant_type: ua.VariantType) -> AttributeValue:
    """An attribute of one node."""
    return AttributeValue(ua.DataValue(ua.Variant(value, variant_type)))


def computed(callback: ReadCallback) -> AttributeValue:
    """A value asked for at each read. May be shared: the callback gets the node's id."""
    found = AttributeValue(ua.DataValue())
    found.value = None
    found.value_callback = callback
    return found


def _own_id(nodeid: ua.NodeId, _: ua.AttributeIds) -> ua.DataValue:
    return ua.DataValue(ua.Variant(nodeid, ua.VariantType.NodeId))


_OWN_ID: Final = computed(_own_id)
_TYPE_DEFINITION: Final = standard(ua.ObjectIds.HasTypeDefinition)
_NO_MASK: Final = constant(0, _V.UInt32)


class Layers(MutableMapping[ua.NodeId, NodeData]):
    """The library's nodes, and over them those of the site, which are exchanged as one.

    Takes the place of the dictionary in the library's address space, as its own shelf does.
    """

    __slots__ = ("_below", "site")

    def __init__(
        self, below: MutableMapping[ua.NodeId, NodeData], site: dict[ua.NodeId, NodeData]
    ) -> None:
        self._below = below
        self.site = site

    def beside(self) -> Layers:
        """The same library's nodes under a site of its own, still empty."""
        return Layers(self._below, {})

    def _of(self, nodeid: ua.NodeId) -> MutableMapping[ua.NodeId, NodeData]:
        return self.site if nodeid.NamespaceIndex == NAMESPACE else self._below

    def __getitem__(self, nodeid: ua.NodeId) -> NodeData:
        return self._of(nodeid)[nodeid]

    def get(self, nodeid: ua.NodeId, default: Any = None) -> Any:
        return self._of(nodeid).get(nodeid, default)

    def __contains__(self, nodeid: object) -> bool:
        return nodeid in self._of(nodeid)

    def __setitem__(self, nodeid: ua.NodeId, data: NodeData) -> None:
        self._of(nodeid)[nodeid] = data

    def __delitem__(self, nodeid: ua.NodeId) -> None:
        del self._of(nodeid)[nodeid]

    def __iter__(self) -> Iterator[ua.NodeId]:
        yield from self._below
        yield from self.site

    def __len__(self) -> int:
        return len(self._below) + len(self.site)


class TreeBuilder:
    """Adds nodes and both directions of their references, each in constant time."""

    def __init__(self, space: Layers) -> None:
        self._space = space
        self._type_references: dict[int, ua.ReferenceDescription] = {}
        self._inverse: dict[tuple[ua.NodeId, int], ua.ReferenceDescription] = {}
        self._forward: dict[tuple[ua.NodeId, int], ua.ReferenceDescription] = {}
        self._types: dict[ua.NodeId, ua.NodeId] = {}
        self._browse_names: dict[tuple[str, int], AttributeValue] = {}
        self._texts: dict[str, AttributeValue] = {}

    def folder(
        self, identifier: str, parent: ua.NodeId, name: str, description: str = ""
    ) -> ua.NodeId:
        """A folder below `parent`; its NodeId."""
        return self._object(
            identifier, parent, name, description, ua.ObjectIds.FolderType, ua.ObjectIds.Organizes
        )

    def component(
        self, identifier: str, parent: ua.NodeId, name: str, description: str = ""
    ) -> ua.NodeId:
        """An object that is part of `parent`; its NodeId."""
        return self._object(
            identifier,
            parent,
            name,
            description,
            ua.ObjectIds.BaseObjectType,
            ua.ObjectIds.HasComponent,
        )

    def variable(
        self,
        identifier: str,
        parent: ua.NodeId,
        name: str,
        value: AttributeValue,
        data_type: ua.NodeId,
        type_definition: int = ua.ObjectIds.BaseDataVariableType,
        description: str = "",
        access: int = 1,
        historizing: bool = False,
        sampling_ms: float = 0.0,
    ) -> NodeData:
        """A scalar variable that is a component of `parent`."""
        found = self._variable_data(identifier, name, value, data_type, access, _SCALAR)
        attributes = found.attributes
        if description:
            attributes[_A.Description] = self._text(description)
        attributes[_A.Historizing] = constant(historizing, _V.Boolean)
        attributes[_A.MinimumSamplingInterval] = constant(sampling_ms, _V.Double)
        self._attach(
            found, parent, ua.ObjectIds.HasComponent, type_definition, ua.NodeClass.Variable
        )
        return found

    def property(
        self,
        owner: NodeData,
        name: str,
        value: AttributeValue,
        data_type: ua.NodeId,
        is_array: bool = False,
    ) -> None:
        """A property of a variable made here; its browse name lies in the OPC UA namespace."""
        identifier = f"{owner.nodeid.Identifier}#{name}"
        rank = 1 if is_array else _SCALAR
        found = self._variable_data(identifier, name, value, data_type, 1, rank, namespace=0)
        found.attributes[_A.Historizing] = constant(False, _V.Boolean)
        self._attach(
            found,
            owner.nodeid,
            ua.ObjectIds.HasProperty,
            ua.ObjectIds.PropertyType,
            ua.NodeClass.Variable,
        )

    def point_at(self, found: NodeData, reference: int, target: ua.NodeId) -> None:
        """A reference to a node of the library, which doesn't point back."""
        key = (target, reference)
        described = self._forward.get(key)
        if described is None:
            described = self._forward[key] = self._describe(target, reference, forward=True)
        found.references.append(described)

    def event_type(
        self, identifier: str, parent: ua.NodeId, name: str, description: str, abstract: bool
    ) -> NodeData:
        """An event type below `parent`."""
        found = self._data(identifier, name, ua.NodeClass.ObjectType, NAMESPACE)
        found.attributes[_A.Description] = self._text(description)
        found.attributes[_A.IsAbstract] = constant(abstract, _V.Boolean)
        self.refer(parent, ua.ObjectIds.HasSubtype, found.nodeid)
        return found

    def type_property(
        self, owner: NodeData, name: str, data_type: ua.NodeId, description: str
    ) -> None:
        """A property that every instance of a type made here has."""
        identifier = f"{owner.nodeid.Identifier}#{name}"
        found = self._variable_data(identifier, name, _NO_VALUE, data_type, 1, _SCALAR)
        found.attributes[_A.Description] = self._text(description)
        found.attributes[_A.Historizing] = constant(False, _V.Boolean)
        self._attach(
            found,
            owner.nodeid,
            ua.ObjectIds.HasProperty,
            ua.ObjectIds.PropertyType,
            ua.NodeClass.Variable,
        )
        found.references.append(
            self._describe(
                standard(ua.ObjectIds.ModellingRule_Mandatory),
                ua.ObjectIds.HasModellingRule,
                forward=True,
            )
        )

    def notifier(self, above: ua.NodeId, nodeid: ua.NodeId) -> None:
        """Clients may subscribe to the events of a node; `above` passes them on."""
        self._space[nodeid].attributes[_A.EventNotifier] = constant(1, _V.Byte)
        self.refer(above, ua.ObjectIds.HasNotifier, nodeid)

    def refer(self, source: ua.NodeId, reference: int, target: ua.NodeId) -> None:
        """A reference between two nodes that are there, in both directions."""
        known = self._space[source].references
        kind = standard(reference)
        # A node of the library already knows the site that was there before this one.
        if source.NamespaceIndex == NAMESPACE or all(
            (r.NodeId, r.ReferenceTypeId) != (target, kind) for r in known
        ):
            known.append(self._describe(target, reference, forward=True))
        self._space[target].references.append(self._to_parent(source, reference))

    def _variable_data(
        self,
        identifier: str,
        name: str,
        value: AttributeValue,
        data_type: ua.NodeId,
        access: int,
        rank: int,
        namespace: int = NAMESPACE,
    ) -> NodeData:
        found = self._data(identifier, name, ua.NodeClass.Variable, namespace)
        attributes = found.attributes
        attributes[_A.Value] = value
        attributes[_A.DataType] = constant(data_type, _V.NodeId)
        attributes[_A.ValueRank] = constant(rank, _V.Int32)
        if rank > 0:
            attributes[_A.ArrayDimensions] = _ANY_LENGTH
        attributes[_A.AccessLevel] = constant(access, _V.Byte)
        attributes[_A.UserAccessLevel] = constant(access, _V.Byte)
        return found

    def _object(
        self,
        identifier: str,
        parent: ua.NodeId,
        name: str,
        description: str,
        type_definition: int,
        reference: int,
    ) -> ua.NodeId:
        found = self._data(identifier, name, ua.NodeClass.Object, NAMESPACE)
        if description:
            found.attributes[_A.Description] = self._text(description)
        found.attributes[_A.EventNotifier] = constant(0, _V.Byte)
        self._attach(found, parent, reference, type_definition, ua.NodeClass.Object)
        return found.nodeid

    def _data(
        self, identifier: str, name: str, node_class: ua.NodeClass, namespace: int
    ) -> NodeData:
        nodeid = node_id(identifier)
        if nodeid in self._space:
            raise ValueError(f"two nodes would have the id {nodeid.to_string()}")
        found = NodeData(nodeid)
        found.attributes = {
            _A.NodeId: _OWN_ID,
            _A.NodeClass: constant(node_class, _V.Int32),
            _A.BrowseName: self._browse_name(name, namespace),
            _A.DisplayName: self._text(name),
            _A.WriteMask: _NO_MASK,
            _A.UserWriteMask: _NO_MASK,
        }
        self._space[nodeid] = found
        return found

    def _browse_name(self, name: str, namespace: int) -> AttributeValue:
        found = self._browse_names.get((name, namespace))
        if found is None:
            found = attribute(ua.QualifiedName(name, namespace), _V.QualifiedName)
            self._browse_names[name, namespace] = found
        return found

    def _text(self, text: str) -> AttributeValue:
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = attribute(ua.LocalizedText(text), _V.LocalizedText)
        return found

    def _attach(
        self,
        found: NodeData,
        parent: ua.NodeId,
        reference: int,
        type_definition: int,
        node_class: ua.NodeClass,
    ) -> None:
        self._types[found.nodeid] = standard(type_definition)
        siblings = self._space[parent].references
        # A node of the library already knows the site that was there before this one.
        if parent.NamespaceIndex == NAMESPACE or all(r.NodeId != found.nodeid for r in siblings):
            siblings.append(
                ua.ReferenceDescription(
                    ReferenceTypeId=standard(reference),
                    IsForward=True,
                    NodeId=found.nodeid,
                    BrowseName=_held(found, _A.BrowseName),
                    DisplayName=_held(found, _A.DisplayName),
                    NodeClass=node_class,
                    TypeDefinition=standard(type_definition),
                )
            )
        found.references.append(self._to_type(type_definition))
        found.references.append(self._to_parent(parent, reference))

    def _to_type(self, type_definition: int) -> ua.ReferenceDescription:
        found = self._type_references.get(type_definition)
        if found is None:
            found = self._describe(
                standard(type_definition), ua.ObjectIds.HasTypeDefinition, forward=True
            )
            self._type_references[type_definition] = found
        return found

    def _to_parent(self, parent: ua.NodeId, reference: int) -> ua.ReferenceDescription:
        key = (parent, reference)
        found = self._inverse.get(key)
        if found is None:
            found = self._inverse[key] = self._describe(parent, reference, forward=False)
        return found

    def _describe(
        self, target: ua.NodeId, reference: int, forward: bool
    ) -> ua.ReferenceDescription:
        data = self._space[target]
        return ua.ReferenceDescription(
            ReferenceTypeId=standard(reference),
            IsForward=forward,
            NodeId=target,
            BrowseName=_held(data, _A.BrowseName),
            DisplayName=_held(data, _A.DisplayName),
            NodeClass=_held(data, _A.NodeClass),
            TypeDefinition=self._types.get(target) or _type_in(data),
        )


def _type_in(data: NodeData) -> ua.NodeId:
    """The type definition of a node that the library made; a null NodeId if it has none."""
    for reference in data.references:
        if reference.IsForward and reference.ReferenceTypeId == _TYPE_DEFINITION:
            return reference.NodeId
    return ua.NodeId()


def _held(data: NodeData, attribute_id: ua.AttributeIds) -> Any:
    return data.attributes[attribute_id].value.Value.Value


_NO_VALUE: Final = AttributeValue(ua.DataValue(ua.Variant(None, _V.Null)))
_ANY_LENGTH: Final = AttributeValue(ua.DataValue(ua.Variant([0], _V.UInt32, is_array=True)))
