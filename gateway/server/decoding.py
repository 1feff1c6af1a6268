"""The parameters of requests, read with bounds (OPC 10000-6 section 5.2).

The library's decoder believes what is announced: a string of length -4 steps back and is read for
ever, an array of two thousand million nulls takes eight bytes to send, and extension objects are
followed into any type that it knows. Here nothing is built that was not sent, elements and depth
are counted, and only those extension objects are followed that a service uses. Long lists are read
in stretches, so that a request of ten thousand items holds nobody up.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Generator
from dataclasses import fields
from enum import Enum, IntFlag
from typing import Any, Final, get_args

from asyncua import ua
from asyncua.ua.ua_binary import get_safe_type_hints
from asyncua.ua.uatypes import type_allow_subclass, type_is_list, type_is_optional

from gateway.server.history_request import read_at_times

_CODES = ua.StatusCodes
_V = ua.VariantType
STRETCH: Final = 100
DEPTH_MAX: Final = 100
"""Variants, DataValues and extension objects in one another (Part 6 section 5.1.11 asks for it)."""
FOLLOWED: Final = (
    "AggregateFilter",
    "AttributeOperand",
    "DataChangeFilter",
    "ElementOperand",
    "EventFilter",
    "LiteralOperand",
    "ReadAtTimeDetails",
    "ReadEventDetails",
    "ReadProcessedDetails",
    "ReadRawModifiedDetails",
    "SimpleAttributeOperand",
)
"""The extension objects that are read; others stay the bytes that they came as."""
_INT32: Final = struct.Struct("<i")
_KINDS: Final = tuple(map(ua.NodeIdType, range(6)))
_UINT32: Final = struct.Struct("<I")
_FORMATS: Final = {
    "Boolean": "?",
    "SByte": "b",
    "Byte": "B",
    "Int16": "h",
    "UInt16": "H",
    "Int32": "i",
    "UInt32": "I",
    "Int64": "q",
    "UInt64": "Q",
    "Float": "f",
    "Double": "d",
}


class Body:
    """Bytes, how far they were read, and how many elements of arrays may still come."""

    __slots__ = ("at", "data", "depth", "room")

    def __init__(self, data: bytes | memoryview, elements_max: int) -> None:
        self.data = memoryview(data)
        self.at = 0
        self.room = elements_max
        self.depth = 0

    def view(self, count: int) -> memoryview:
        """The next bytes, where they lie. Raises UaStatusCodeError when so many were not sent."""
        at, self.at = self.at, self.at + count
        if count < 0 or self.at > len(self.data):
            raise ua.UaStatusCodeError(_CODES.BadDecodingError)
        return self.data[at : self.at]

    def take(self, count: int) -> bytes:
        """The next bytes. Raises as `view`."""
        return bytes(self.view(count))

    def count(self) -> int:
        """The length of an array; null is empty. Raises UaStatusCodeError beyond the bound."""
        found: int = _INT32.unpack_from(self.data, self.at)[0]
        self.at += 4
        if found > self.room:
            raise ua.UaStatusCodeError(_CODES.BadEncodingLimitsExceeded)
        self.room -= max(0, found)
        return max(0, found)

    def deeper(self) -> None:
        """Something begins inside of something; `depth` is taken back by who began it."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ua.UaStatusCodeError(_CODES.BadEncodingLimitsExceeded)


Reader = Callable[[Body], Any]


def _fixed(letter: str) -> Reader:
    form = struct.Struct(f"<{letter}")
    size, unpack = form.size, form.unpack_from

    def read(body: Body) -> Any:
        at = body.at
        body.at = at + size
        return unpack(body.data, at)[0]

    return read


_read_byte: Final = _fixed("B")
_read_int64: Final = _fixed("q")
_read_uint16: Final = _fixed("H")
_read_int32: Final = _fixed("i")
_read_uint32: Final = _fixed("I")


def _read_bytes(body: Body) -> bytes | None:
    (length,) = _INT32.unpack_from(body.data, body.at)
    body.at += 4
    return None if length == -1 else body.take(length)


def _read_string(body: Body) -> str | None:
    found = _read_bytes(body)
    return None if found is None else found.decode(errors="surrogateescape")


def _read_time(body: Body) -> Any:
    return ua.win_epoch_to_datetime(_read_int64(body))


def _read_guid(body: Body) -> uuid.UUID:
    return uuid.UUID(bytes_le=body.take(16))


def _read_status(body: Body) -> ua.StatusCode:
    return ua.StatusCode(_read_uint32(body))


def read_node_id(body: Body) -> Any:
    """A NodeId or ExpandedNodeId (Part 6 sections 5.2.2.9 and 5.2.2.10)."""
    encoding = _read_byte(body)
    kind, index = encoding & 0x3F, 0
    identifier: Any
    if kind == 0:
        identifier = _read_byte(body)
    elif kind == 1:
        index, identifier = struct.unpack("<BH", body.take(3))
    elif kind == 2:
        index, identifier = struct.unpack("<HI", body.take(6))
    else:
        index = _read_uint16(body)
        readers: dict[int, Reader] = {3: _read_string, 4: _read_guid, 5: _read_bytes}
        identifier = readers[kind](body)
    uri = _read_string(body) if encoding & 0x80 else None
    server = _read_uint32(body) if encoding & 0x40 else 0
    if encoding & 0xC0:
        return ua.ExpandedNodeId(identifier, index, _KINDS[kind], uri, server)
    return ua.NodeId(identifier, index, _KINDS[kind])


def _read_qualified_name(body: Body) -> ua.QualifiedName:
    index = _read_uint16(body)
    return ua.QualifiedName(_read_string(body), index)


def _read_text(body: Body) -> ua.LocalizedText:
    mask = _read_byte(body)
    locale = _read_string(body) if mask & 1 else None
    return ua.LocalizedText(_read_string(body) if mask & 2 else None, locale)


def _read_data_value(body: Body) -> ua.DataValue:
    body.deeper()
    mask = _read_byte(body)
    value = _read_variant(body) if mask & 1 else None
    status = _read_status(body) if mask & 2 else ua.StatusCode()
    source = _read_time(body) if mask & 4 else None
    source_ps = _read_uint16(body) if mask & 16 else None
    server = _read_time(body) if mask & 8 else None
    server_ps = _read_uint16(body) if mask & 32 else None
    body.depth -= 1
    return ua.DataValue(value, status, source, server, source_ps, server_ps)


def _read_diagnostic(body: Body) -> ua.DiagnosticInfo:
    """Nobody asks what is in it: it is passed over."""
    body.deeper()
    mask = _read_byte(body)
    body.take(4 * (mask & 15).bit_count())
    if mask & 16:
        _read_bytes(body)
    if mask & 32:
        body.take(4)
    if mask & 64:
        _read_diagnostic(body)
    body.depth -= 1
    return ua.DiagnosticInfo()


def _read_variant(body: Body) -> ua.Variant:
    """A Variant (Part 6 section 5.2.2.16); the elements of a matrix stay one list."""
    body.deeper()
    encoding = _read_byte(body)
    kind = _V(encoding & 0x3F)
    read = _BUILT_IN[kind]
    is_array = bool(encoding & 0x80)
    value = _read_list(body, read) if is_array else read(body)
    dimensions = _read_list(body, _read_int32) if encoding & 0x40 else None
    body.depth -= 1
    return ua.Variant(value, kind, dimensions, is_array)


def _read_list(body: Body, read: Reader) -> list[Any]:
    return [read(body) for _ in range(body.count())]


def _read_extension(body: Body) -> Any:
    """An extension object: read if a service uses its kind, else as it came."""
    type_id = read_node_id(body)
    encoding = _read_byte(body)
    cls = _FOLLOWED.get(type_id)
    if cls is None or encoding != 1:
        content = _read_bytes(body) if encoding else None
        return ua.ExtensionObject() if type_id.is_null() else ua.ExtensionObject(type_id, content)
    body.deeper()
    # A view: a filter in a filter in a filter must not be copied once for each.
    inside = Body(body.view(_read_int32(body)), body.room)
    inside.depth = body.depth
    found = _struct_reader(cls)(inside)
    body.room = inside.room
    body.depth -= 1
    return found


def _read_opaque(body: Body) -> Any:
    """An extension object in a Variant: no point holds one."""
    type_id = read_node_id(body)
    content = _read_bytes(body) if _read_byte(body) else None
    return ua.ExtensionObject() if type_id.is_null() else ua.ExtensionObject(type_id, content)


_BUILT_IN: Final[dict[Any, Reader]] = {
    _V.Null: lambda _body: None,
    **{getattr(_V, name): _fixed(letter) for name, letter in _FORMATS.items()},
    _V.String: _read_string,
    _V.DateTime: _read_time,
    _V.Guid: _read_guid,
    _V.ByteString: _read_bytes,
    _V.XmlElement: _read_string,
    _V.NodeId: read_node_id,
    _V.ExpandedNodeId: read_node_id,
    _V.StatusCode: _read_status,
    _V.QualifiedName: _read_qualified_name,
    _V.LocalizedText: _read_text,
    _V.ExtensionObject: _read_opaque,
    _V.DataValue: _read_data_value,
    _V.Variant: _read_variant,
    _V.DiagnosticInfo: _read_diagnostic,
}
_BY_NAME: Final = {kind.name: read for kind, read in _BUILT_IN.items()} | {
    "ExtensionObject": _read_extension,
    "CharArray": _read_string,
}
_FOLLOWED: Final[dict[Any, Any]] = {
    node_id: ua.extension_objects_by_typeid[node_id]
    for node_id in (
        ua.NodeId(getattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")) for name in FOLLOWED
    )
}
_structs: Final[dict[Any, Reader]] = {ua.ReadAtTimeDetails: read_at_times}
"""What reads a structure: made when it is first asked for, but for those that are read by hand."""


def _enum_reader(cls: Any) -> Reader:
    read = _read_int32
    if issubclass(cls, IntFlag):
        read = _BY_NAME[cls.datatype()] if hasattr(cls, "datatype") else _read_uint32
    return lambda body: cls(read(body))


def _reader(hint: Any) -> Reader:
    """What reads a value of one type of the library's structures."""
    if type_is_list(hint):
        element = _reader(get_args(hint)[0])
        return lambda body: _read_list(body, element)
    if type_allow_subclass(hint):
        return _read_extension
    found: Reader | None = _BY_NAME.get(hint.__name__)
    if found is not None:
        return found
    return _enum_reader(hint) if issubclass(hint, Enum) else _struct_reader(hint)


def _fields(cls: Any) -> list[tuple[str, Any]]:
    hints = get_safe_type_hints(cls, {"ua": ua})
    assert not any(type_is_optional(hint) for hint in hints.values()), f"{cls}: written by hand"
    return [(field.name, hints[field.name]) for field in fields(cls)]


def _struct_reader(cls: Any) -> Reader:
    found = _structs.get(cls)
    if found is None:
        readers = [(name, _reader(hint)) for name, hint in _fields(cls)]

        def read(body: Body) -> Any:
            return cls(**{name: read_field(body) for name, read_field in readers})

        found = _structs[cls] = read
    return found


def read(cls: Any, data: bytes, elements_max: int) -> Any:
    """One structure of the library's, of these bytes.

    Raises UaStatusCodeError, struct.error, ValueError or LookupError when they are none.
    """
    return _struct_reader(cls)(Body(data, elements_max))


def reading(
    cls: Any, data: bytes, elements_max: int, operations: str, most: int
) -> Generator[None, None, Any]:
    """The same in stretches, for a request that is mainly the list `operations`.

    Raises UaStatusCodeError, before any of it is read, for an empty list and one of more than
    `most`; else as `read`.
    """
    body, found = Body(data, elements_max), {}
    for name, hint in _fields(cls):
        if name != operations:
            found[name] = _reader(hint)(body)
            continue
        (count,) = _INT32.unpack_from(body.data, body.at)
        if count > most:
            raise ua.UaStatusCodeError(_CODES.BadTooManyOperations)
        if body.count() == 0:
            raise ua.UaStatusCodeError(_CODES.BadNothingToDo)
        element, items = _reader(get_args(hint)[0]), []
        for done in range(1, count + 1):
            items.append(element(body))
            if done % STRETCH == 0:
                yield
        found[name] = items
    return cls(**found)
