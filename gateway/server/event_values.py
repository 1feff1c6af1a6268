"""The fields of an event: values with their built-in type, as bytes and as what filters compare.

Pure, and so without the library's classes: a NodeId is an `Id`, a DateTime a `Moment`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gateway.model import DataType, Value
from gateway.server.encoding import ticks, variant

BOOLEAN: Final = 1
UINT16: Final = 5
UINT32: Final = 7
STRING: Final = 12
DATE_TIME: Final = 13
BYTE_STRING: Final = 15
NODE_ID: Final = 17
STATUS_CODE: Final = 19
LOCALIZED_TEXT: Final = 21
ANY: Final = 24
"""Built-in types (OPC 10000-6 section 5.1.2); `ANY` is a value of whatever type it has."""

NULL: Final = b"\x00"
"""A Variant without a value (OPC 10000-6 section 5.2.2.16)."""
_NUMBERS: Final = {
    BOOLEAN: struct.Struct("<B?"),
    UINT16: struct.Struct("<BH"),
    UINT32: struct.Struct("<BI"),
    STATUS_CODE: struct.Struct("<BI"),
}
_INT32: Final = struct.Struct("<i")


class Id(NamedTuple):
    """A NodeId: a number, or a string."""

    namespace: int
    identifier: int | str

    def __str__(self) -> str:
        kind = "i" if isinstance(self.identifier, int) else "s"
        head = f"ns={self.namespace};" if self.namespace else ""
        return f"{head}{kind}={self.identifier}"


class Moment(NamedTuple):
    """A DateTime, in ns UTC."""

    time_ns: int


Plain = bool | int | float | str | bytes | Id | Moment | None
"""A value as filters compare it; a LocalizedText is its text. None is null."""


class Field(NamedTuple):
    """A field of an event: its built-in type, and the value of that type."""

    kind: int
    value: Plain

    def encoded(self) -> bytes:
        """The field as a Variant (OPC 10000-6 section 5.2.2.16)."""
        kind, value = self.kind, self.value
        if value is None:
            return NULL
        if kind == ANY:
            assert not isinstance(value, Id | Moment)
            return variant(value, _like(value))
        head = bytes((kind,))
        if isinstance(value, Id):
            return head + _node_id(value)
        if isinstance(value, Moment):
            return head + ticks(value.time_ns).to_bytes(8, "little")
        if isinstance(value, str):
            # A LocalizedText says first which of locale (1) and text (2) follow.
            return head + (b"\x02" if kind == LOCALIZED_TEXT else b"") + _string(value)
        if isinstance(value, bytes):
            return head + _INT32.pack(len(value)) + value
        return _NUMBERS[kind].pack(kind, value)


def _like(value: Value) -> DataType:
    """The type of the Variant that fits what a value is."""
    if isinstance(value, bool):
        return DataType.BOOL
    if isinstance(value, str):
        return DataType.STRING
    if isinstance(value, bytes):
        return DataType.BYTES
    return DataType.FLOAT64 if isinstance(value, float) else DataType.INT64


def _node_id(found: Id) -> bytes:
    """OPC 10000-6 section 5.2.2.9."""
    if isinstance(found.identifier, str):
        return b"\x03" + found.namespace.to_bytes(2, "little") + _string(found.identifier)
    if found.namespace == 0 and found.identifier < 256:
        return bytes((0, found.identifier))
    return struct.pack("<BHI", 2, found.namespace, found.identifier)


def _string(text: str) -> bytes:
    data = text.encode(errors="surrogateescape")
    return _INT32.pack(len(data)) + data
