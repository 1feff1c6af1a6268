"""What a server says of the types of nodes, on an open session."""

from __future__ import annotations

from typing import Any

from asyncua import ua

from drivers.opcua.session import Session
from drivers.opcua.session_client import device_error
from drivers.opcua.values import Builtin, readable


async def type_label(session: Session, node: Any) -> str:
    """The name of a node's data type, for messages; its NodeId if it has no name."""
    try:
        kind = await _attribute(session, node, ua.AttributeIds.DataType)
        name = await _attribute(session, kind, ua.AttributeIds.BrowseName)
        label = name.Name if name is not None else kind.to_string()
    except Exception:  # parse errors of the library have no common base; a label is worth none
        return "an unknown type"
    return readable(str(label))


async def declared_type(session: Session, node: Any) -> Builtin | None:
    """The built-in type that a node's DataType attribute names, if it names one itself."""
    try:
        kind = await _attribute(session, node, ua.AttributeIds.DataType)
    except Exception as error:  # parse errors of the library have no common base
        raise device_error(error, "a read of a data type") from error
    plain = kind is not None and kind.NamespaceIndex == 0 and isinstance(kind.Identifier, int)
    return Builtin(kind.Identifier) if plain and 1 <= kind.Identifier <= 21 else None


async def _attribute(session: Session, node: Any, attribute: ua.AttributeIds) -> Any:
    (result,) = await session.services.read_attributes([node], attribute)
    return result.Value.Value if result.Value is not None else None
