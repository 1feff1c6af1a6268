"""Values as OPC UA binary, at the speed of `struct` (OPC 10000-6 section 5.2).

The library builds an object a value; at ten thousand changes a second, or fifty thousand history
rows, that is a whole core. Here a good Double with both timestamps is one `pack`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from gateway.model import DataType, Value

BUILT_IN: Final[dict[DataType, int]] = {
    DataType.BOOL: 1,
    DataType.INT8: 2,
    DataType.UINT8: 3,
    DataType.INT16: 4,
    DataType.UINT16: 5,
    DataType.INT32: 6,
    DataType.UINT32: 7,
    DataType.INT64: 8,
    DataType.UINT64: 9,
    DataType.FLOAT32: 10,
    DataType.FLOAT64: 11,
    DataType.STRING: 12,
    DataType.DATETIME: 13,
    DataType.BYTES: 15,
}
"""The built-in type of each data type; also the identifier of its DataType node (Part 6 5.1.2)."""

_FORMATS: Final[dict[DataType, str]] = {
    DataType.BOOL: "?",
    DataType.INT8: "b",
    DataType.UINT8: "B",
    DataType.INT16: "h",
    DataType.UINT16: "H",
    DataType.INT32: "i",
    DataType.UINT32: "I",
    DataType.INT64: "q",
    DataType.UINT64: "Q",
    DataType.FLOAT32: "f",
    DataType.FLOAT64: "d",
    DataType.DATETIME: "q",
}
_BY_PYTHON: Final[dict[type, DataType]] = {
    bool: DataType.BOOL,
    int: DataType.INT64,
    float: DataType.FLOAT64,
    str: DataType.STRING,
    bytes: DataType.BYTES,
}

WINDOWS_EPOCH_TICKS: Final = 116_444_736_000_000_000
"""1970-01-01 in ticks of 100 ns since 1601-01-01 (Part 6 section 5.2.2.5)."""
TICKS_MAX: Final = 2_650_467_743_990_000_000
"""9999-12-31 23:59:59: a later time is written as the largest Int64."""
INT64_MAX: Final = 2**63 - 1
OVERFLOW: Final = 0x0480
"""The info bits of a DataValue that followed lost ones (OPC 10000-4 section 7.39.1)."""

SOURCE: Final = 0
SERVER: Final = 1
BOTH: Final = 2
NEITHER: Final = 3
"""TimestampsToReturn (OPC 10000-4 section 7.40)."""

_HAS_VALUE, _HAS_STATUS, _HAS_SOURCE, _HAS_SERVER = 1, 2, 4, 8
_MASKS: Final = (_HAS_SOURCE, _HAS_SERVER, _HAS_SOURCE | _HAS_SERVER, 0)
_INT32: Final = struct.Struct("<i")


class Stamped(NamedTuple):
    """A value, its StatusCode, and its two times in ns UTC."""

    value: Value
    status: int
    source_ns: int
    server_ns: int


def ticks(time_ns: int) -> int:
    """A time in ns UTC as an OPC UA DateTime; before 1601 is 0, after 9999 the largest Int64."""
    count = time_ns // 100 + WINDOWS_EPOCH_TICKS
    if count <= 0:
        return 0
    return count if count < TICKS_MAX else INT64_MAX


def from_ticks(count: int) -> int:
    """An OPC UA DateTime as ns UTC."""
    return (count - WINDOWS_EPOCH_TICKS) * 100


Encoder = Callable[[Value, int, int, int, int], bytes]
"""(value, status, source_ns, server_ns, timestamps) -> the bytes of a DataValue."""


def data_value_encoder(data_type: DataType) -> Encoder:
    """What encodes DataValues of one type.

    A value that the type can't hold (an old sample from before the type changed) is encoded as
    what it is; a Bad status without a value is encoded without one.
    """
    code = BUILT_IN[data_type]
    if data_type not in _FORMATS:
        return _general_encoder(data_type)
    letter = _FORMATS[data_type]
    is_time = data_type is DataType.DATETIME
    good = tuple(_good_struct(letter, which) for which in range(4))
    masks = tuple(mask | _HAS_VALUE for mask in _MASKS)
    general = _general_encoder(data_type)
    both, both_mask = good[BOTH], masks[BOTH]

    def encode(value: Value, status: int, source_ns: int, server_ns: int, which: int) -> bytes:
        if status or value is None or is_time:
            return general(value, status, source_ns, server_ns, which)
        try:
            if which == BOTH:
                return both.pack(both_mask, code, value, ticks(source_ns), ticks(server_ns))
            if which == NEITHER:
                return good[which].pack(masks[which], code, value)
            stamp_ns = source_ns if which == SOURCE else server_ns
            return good[which].pack(masks[which], code, value, ticks(stamp_ns))
        except (struct.error, OverflowError):
            return general(value, status, source_ns, server_ns, which)

    return encode


def _good_struct(letter: str, which: int) -> struct.Struct:
    stamps = {SOURCE: "q", SERVER: "q", BOTH: "qq", NEITHER: ""}[which]
    return struct.Struct(f"<BB{letter}{stamps}")


def _general_encoder(data_type: DataType) -> Encoder:
    def encode(value: Value, status: int, source_ns: int, server_ns: int, which: int) -> bytes:
        mask = _MASKS[which]
        parts = [b""]
        if value is not None:
            mask |= _HAS_VALUE
            parts.append(variant(value, data_type))
        if status:
            mask |= _HAS_STATUS
            parts.append(status.to_bytes(4, "little"))
        if mask & _HAS_SOURCE:
            parts.append(ticks(source_ns).to_bytes(8, "little"))
        if mask & _HAS_SERVER:
            parts.append(ticks(server_ns).to_bytes(8, "little"))
        parts[0] = bytes((mask,))
        return b"".join(parts)

    return encode


def variant(value: Value, data_type: DataType) -> bytes:
    """A value as a Variant of its type, or of the type that fits what it is."""
    try:
        return _variant(value, data_type)
    except (struct.error, OverflowError, TypeError, AttributeError):
        if isinstance(value, int) and not isinstance(value, bool) and value > INT64_MAX:
            return _variant(value, DataType.UINT64)
        return _variant(value, _BY_PYTHON[type(value)])


def _variant(value: Value, data_type: DataType) -> bytes:
    code = BUILT_IN[data_type]
    if data_type is DataType.STRING:
        return _counted(code, value.encode(errors="surrogateescape"))  # type: ignore[union-attr]
    if data_type is DataType.BYTES:
        return _counted(code, bytes(memoryview(value)))  # type: ignore[arg-type]
    if data_type is DataType.DATETIME:
        value = ticks(value)  # type: ignore[arg-type]
    return struct.pack(f"<B{_FORMATS[data_type]}", code, value)


def _counted(code: int, data: bytes) -> bytes:
    return bytes((code,)) + _INT32.pack(len(data)) + data


def array(parts: Iterable[bytes], count: int) -> bytes:
    """An array of structures: how many, then each."""
    return b"".join((_INT32.pack(count), *parts))


NO_DIAGNOSTICS: Final = _INT32.pack(-1)


def data_change(notifications: list[bytes]) -> bytes:
    """The body of a DataChangeNotification (OPC 10000-4 section 7.25.2) of encoded items."""
    notifications.append(NO_DIAGNOSTICS)
    return array(notifications, len(notifications) - 1)


def event_list(events: list[bytes]) -> bytes:
    """The body of an EventNotificationList (OPC 10000-4 section 7.25.3) of encoded events."""
    return array(events, len(events))
