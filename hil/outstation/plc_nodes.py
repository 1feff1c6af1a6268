"""The variables of the emulated OPC UA PLC: which points live on which, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua

from gateway.model import Access, DataType, Value
from hil.outstation.faults import Fault
from hil.plant import PlantPoint
from hil.settings import SiteError

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
TYPES: Final = {
    DataType.BOOL: ua.VariantType.Boolean,
    DataType.INT8: ua.VariantType.SByte,
    DataType.UINT8: ua.VariantType.Byte,
    DataType.INT16: ua.VariantType.Int16,
    DataType.UINT16: ua.VariantType.UInt16,
    DataType.INT32: ua.VariantType.Int32,
    DataType.UINT32: ua.VariantType.UInt32,
    DataType.INT64: ua.VariantType.Int64,
    DataType.UINT64: ua.VariantType.UInt64,
    DataType.FLOAT32: ua.VariantType.Float,
    DataType.FLOAT64: ua.VariantType.Double,
    DataType.STRING: ua.VariantType.String,
}


def moment(time_ns: int) -> datetime:
    """ns UTC as the naive datetime that asyncua wants (microseconds)."""
    return (_UNIX + timedelta(microseconds=time_ns // 1_000)).replace(tzinfo=None)


@dataclass(slots=True)
class PlcNode:
    """One variable: a scalar, or an array of which each point is an element."""

    text: str
    variant: Any
    node_id: Any = None
    writable: bool = False
    points: dict[int | None, PlantPoint] = field(default_factory=dict)
    stamps: dict[int | None, int] = field(default_factory=dict)
    values: dict[int | None, Value] = field(default_factory=dict)
    written: set[int | None] = field(default_factory=set)

    @property
    def is_array(self) -> bool:
        return None not in self.points

    def held(self) -> Any:
        """The value of the whole node; array elements without a point are zero."""
        if not self.is_array:
            return self.values[None]
        size = max(index for index in self.points if index is not None) + 1
        return [self.values.get(index, self.blank) for index in range(size)]

    @property
    def blank(self) -> Value:
        """What array elements without a point hold."""
        if self.variant is ua.VariantType.String:
            return ""
        return False if self.variant is ua.VariantType.Boolean else 0


def nodes_of(points: Sequence[PlantPoint]) -> list[PlcNode]:
    """The variables that points need. Raises SiteError when points contradict each other."""
    found: dict[str, PlcNode] = {}
    for point in points:
        text, index = point.place
        variant = TYPES.get(point.data_type)
        if variant is None:
            raise SiteError(f"{point.id}: the OPC UA outstation has no {point.data_type}")
        node = found.setdefault(text, PlcNode(text, variant))
        alone = index is None or None in node.points
        if node.variant is not variant or index in node.points or (node.points and alone):
            raise SiteError(f"{point.id}: its node is used otherwise by another point")
        node.points[index] = point
        node.writable |= point.access is not Access.READ
    return list(found.values())


def status_of(fault: Fault, default: str) -> int:
    """The StatusCode that a fault's `status` names. Raises SiteError when there is none."""
    name = str(fault.options.get("status", default))
    found = getattr(ua.StatusCodes, name, None)
    if not isinstance(found, int) or not name.startswith("Bad"):
        raise SiteError(f"{name} is no Bad StatusCode, such as {default} is one")
    return found
