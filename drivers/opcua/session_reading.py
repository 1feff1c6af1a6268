"""From the library's DataValue to plain Python; the only place that knows both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from asyncua import ua

from drivers.opcua.observe import Reading
from drivers.opcua.values import Builtin, datetime_to_ns
from gateway.model import Status


def _text_of(value: Any) -> str | None:
    text = value.Text
    return None if text is None else str(text)


_PLAIN: Final[dict[Any, Callable[[Any], Any]]] = {
    ua.VariantType.LocalizedText: _text_of,
    ua.VariantType.QualifiedName: lambda value: value.Name,
    ua.VariantType.NodeId: lambda value: value.to_string(),
    ua.VariantType.ExpandedNodeId: lambda value: value.to_string(),
    ua.VariantType.StatusCode: lambda value: value.value,
    ua.VariantType.XmlElement: lambda value: getattr(value, "Value", value),
}


def to_reading(data: ua.DataValue) -> Reading:
    """The plain form of a DataValue."""
    variant = data.Value
    status = data.StatusCode.value if data.StatusCode is not None else Status.GOOD
    source_ns = datetime_to_ns(data.SourceTimestamp)
    if source_ns is None:
        source_ns = datetime_to_ns(data.ServerTimestamp)
    if variant is None:
        return Reading(None, Builtin.NULL, 0, status, source_ns)
    value, kind = variant.Value, variant.VariantType
    rank = 0
    if variant.is_array:
        rank = 2 if variant.Dimensions is not None and len(variant.Dimensions) > 1 else 1
    if not isinstance(kind, ua.VariantType):
        return Reading(None, Builtin.EXTENSIONOBJECT, rank, status, source_ns)
    if (plain := _PLAIN.get(kind)) is not None and value is not None and rank < 2:
        # Dimensions that claim more than there is make the library fill up with lists.
        value = [v if isinstance(v, list) else plain(v) for v in value] if rank else plain(value)
    return Reading(value, Builtin(kind.value), rank, status, source_ns)
