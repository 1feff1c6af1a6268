"""What there is of history, as nodes: aggregate functions, and how points are to be read.

All points share one standard object `HA Configuration` (OPC 10000-11 5.2): each holds its value
until the next sample, whatever its type, so Stepped is true for all, and so is the rest.
"""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace, NodeData

from gateway.server.aggregates import AGGREGATES, DEFAULTS
from gateway.server.nodes import standard

_IDS = ua.ObjectIds
_A = ua.AttributeIds
_FOLDERS: Final = (
    _IDS.HistoryServerCapabilities_AggregateFunctions,
    _IDS.Server_ServerCapabilities_AggregateFunctions,
)


def install(space: AddressSpace) -> None:
    """Say which aggregates there are and with what they are calculated; once a server."""
    for folder in _FOLDERS:
        for name in AGGREGATES:
            _organize(space[standard(folder)], space[standard(aggregate_id(name))])
    how: dict[str, tuple[Any, ua.VariantType]] = {
        "AggregateConfiguration_TreatUncertainAsBad": (
            DEFAULTS.treat_uncertain_as_bad,
            ua.VariantType.Boolean,
        ),
        "AggregateConfiguration_PercentDataBad": (DEFAULTS.percent_bad, ua.VariantType.Byte),
        "AggregateConfiguration_PercentDataGood": (DEFAULTS.percent_good, ua.VariantType.Byte),
        "AggregateConfiguration_UseSlopedExtrapolation": (False, ua.VariantType.Boolean),
        "Stepped": (True, ua.VariantType.Boolean),
    }
    for name, (value, kind) in how.items():
        property_id = standard(getattr(_IDS, f"HAConfiguration_{name}"))
        data = ua.DataValue(ua.Variant(value, kind))
        space[property_id].attributes[_A.Value].value = data


def aggregate_id(name: str) -> int:
    """The standard node of an aggregate function."""
    found: int = getattr(_IDS, f"AggregateFunction_{name}")
    return found


def _organize(folder: NodeData, function: NodeData) -> None:
    for owner, other, forward in ((folder, function, True), (function, folder, False)):
        held = {what: other.attributes[what].value.Value.Value for what in _DESCRIBED}
        owner.references.append(
            ua.ReferenceDescription(
                ReferenceTypeId=standard(_IDS.Organizes),
                IsForward=forward,
                NodeId=other.nodeid,
                BrowseName=held[_A.BrowseName],
                DisplayName=held[_A.DisplayName],
                NodeClass=held[_A.NodeClass],
                TypeDefinition=standard(_IDS.AggregateFunctionType if forward else _IDS.FolderType),
            )
        )


_DESCRIBED: Final = (_A.BrowseName, _A.DisplayName, _A.NodeClass)
