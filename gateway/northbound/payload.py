"""Sparkplug B payloads: the protobuf wire form, written and read without a library.

Sparkplug 3.0.0 section 6.4.1 has the schema (field numbers), 6.4.6 the metric, 6.4.9 properties
and quality codes, 6.4.16 the data types. The wire form is "Protocol Buffers: Encoding". Tests
decode what is written here with Google's parser, and back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, DataType, Status, Value, is_bad, is_good

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_TIMESTAMP, _METRICS, _SEQ = 1, 2, 3
_NAME, _ALIAS, _METRIC_TIME, _DATATYPE, _HISTORICAL, _NULL, _PROPERTIES = 1, 2, 3, 4, 5, 7, 9
_INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN, _STRING, _BYTES_VALUE = 10, 11, 12, 13, 14, 15, 16
_NESTING_BYTES_MAX: Final = 1 << 20
"""A command that is larger is none."""

INT32, INT64, UINT32, BOOLEAN, STRING = 3, 4, 7, 11, 12
TYPES: Final[dict[DataType, int]] = {
    DataType.INT8: 1,
    DataType.INT16: 2,
    DataType.INT32: INT32,
    DataType.INT64: INT64,
    DataType.UINT8: 5,
    DataType.UINT16: 6,
    DataType.UINT32: UINT32,
    DataType.UINT64: 8,
    DataType.FLOAT32: 9,
    DataType.FLOAT64: 10,
    DataType.BOOL: BOOLEAN,
    DataType.STRING: STRING,
    DataType.DATETIME: 13,
    DataType.BYTES: 17,
}
"""Section 6.4.16."""
_SHORT: Final = frozenset({1, 2, 3, 5, 6, 7})
_LONGS: Final = frozenset({4, 8})
_DATETIME: Final = 13

BAD, GOOD, STALE = 0, 192, 500
"""Quality codes (6.4.9)."""
_STALE: Final = frozenset(
    {
        Status.UNCERTAIN_LAST_USABLE,
        Status.UNCERTAIN_NO_COMMUNICATION_LAST_USABLE,
        Status.UNCERTAIN_INITIAL_VALUE,
    }
)


class Metric(NamedTuple):
    """One value of one metric; `name` and `kind` (6.4.16) are told in births only.

    `alias` is None for what is known by its name. `time_ns` is ns UTC; Sparkplug keeps its ms.
    """

    alias: int | None
    kind: int
    time_ns: int
    value: Value
    status: int = Status.GOOD
    historical: bool = False
    name: str | None = None


def payload(now_ns: int, seq: int | None, metrics: Iterable[bytes]) -> bytes:
    """A whole payload; `seq` is None in an NDEATH only (tck-id-payloads-sequence-num-...)."""
    parts = [_key(_TIMESTAMP, VARINT), varint(now_ns // NS_PER_MS)]
    for each in metrics:
        parts += (_METRICS_KEY, varint(len(each)), each)
    if seq is not None:
        parts += (_key(_SEQ, VARINT), varint(seq))
    return b"".join(parts)


def encode(metric: Metric) -> bytes:
    """A metric's own bytes, for `payload`."""
    parts: list[bytes] = []
    if metric.name is not None:
        parts += (_key(_NAME, BYTES), _text(metric.name))
    if metric.alias is not None:
        parts += (_ALIAS_KEY, varint(metric.alias))
    parts += (_TIME_KEY, varint(max(metric.time_ns, 0) // NS_PER_MS))
    if metric.name is not None:
        parts += (_key(_DATATYPE, VARINT), varint(metric.kind))
    if metric.historical:
        parts.append(_HISTORICAL_TRUE)
    value = value_of(metric.kind, metric.value)
    if value is None:
        parts.append(_NULL_TRUE)
    status = metric.status if value is not None or is_bad(metric.status) else Status.BAD_NO_DATA
    if not is_good(status):
        parts.append(_properties(status))
    if value is not None:
        parts.append(value)
    return b"".join(parts)


def quality(status: int) -> int:
    """The quality code of a StatusCode: what is Uncertain for another reason than age is Good.

    The StatusCode itself goes with it as a property, so nothing is lost.
    """
    if is_bad(status):
        return BAD
    return STALE if status & 0xFFFF0000 in _STALE else GOOD


def value_of(kind: int, value: Value) -> bytes | None:
    """The value's field; None when there is none, or none that the type can say."""
    try:
        if value is None:
            return None
        if kind in _SHORT:
            return _INT_KEY + varint(_whole(value) & 0xFFFFFFFF)
        if kind in _LONGS:
            return _LONG_KEY + varint(_whole(value) & 0xFFFFFFFFFFFFFFFF)
        if kind == _DATETIME:
            return _LONG_KEY + varint(max(_whole(value), 0) // NS_PER_MS)
        if kind == 9:
            return _FLOAT_KEY + struct.pack("<f", value)
        if kind == 10:
            return _DOUBLE_KEY + struct.pack("<d", value)
        if kind == BOOLEAN:
            return _TRUE if value else _FALSE
        if kind == STRING:
            return _STRING_KEY + _text(str(value))
        data = value if isinstance(value, bytes) else str(value).encode()
        return _BYTES_KEY + varint(len(data)) + data
    except (struct.error, OverflowError, TypeError, ValueError):
        return None


def _whole(value: Value) -> int:
    """An integer. Raises TypeError, ValueError, OverflowError."""
    if isinstance(value, str | bytes):
        raise TypeError("text is no number")
    return int(value)  # type: ignore[arg-type]


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; `number` is not negative."""
    if number < 0x80:
        return _ONE[number]
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _key(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return varint(len(data)) + data


def _properties(status: int) -> bytes:
    """`Quality` as 6.4.9 has it, and the OPC UA StatusCode that it was made of."""
    pairs = ((b"Quality", INT32, quality(status)), (b"StatusCode", UINT32, status))
    keys = b"".join(_key(1, BYTES) + varint(len(name)) + name for name, _, _ in pairs)
    values = b""
    for _, kind, number in pairs:
        body = _key(1, VARINT) + varint(kind) + _key(3, VARINT) + varint(number)
        values += _key(2, BYTES) + varint(len(body)) + body
    return _key(_PROPERTIES, BYTES) + varint(len(keys) + len(values)) + keys + values


_ONE: Final = [bytes([number]) for number in range(0x80)]
_METRICS_KEY, _ALIAS_KEY, _TIME_KEY = (
    _key(_METRICS, BYTES),
    _key(_ALIAS, VARINT),
    _key(_METRIC_TIME, VARINT),
)
_HISTORICAL_TRUE, _NULL_TRUE = _key(_HISTORICAL, VARINT) + b"\x01", _key(_NULL, VARINT) + b"\x01"
_INT_KEY, _LONG_KEY = _key(_INT, VARINT), _key(_LONG, VARINT)
_FLOAT_KEY, _DOUBLE_KEY = _key(_FLOAT, FIXED32), _key(_DOUBLE, FIXED64)
_TRUE, _FALSE = _key(_BOOLEAN, VARINT) + b"\x01", _key(_BOOLEAN, VARINT) + b"\x00"
_STRING_KEY, _BYTES_KEY = _key(_STRING, BYTES), _key(_BYTES_VALUE, BYTES)


# ------------------------------------------------------------------------------- reading commands


def true_metrics(data: bytes) -> list[str]:
    """The names of the Boolean metrics of a command that are true; [] of what is no payload."""
    if len(data) > _NESTING_BYTES_MAX:
        return []
    found = []
    try:
        for field, body in _fields(data):
            if field == _METRICS and isinstance(body, bytes):
                parts = dict(_fields(body))
                name = parts.get(_NAME)
                if parts.get(_BOOLEAN) == 1 and isinstance(name, bytes):
                    found.append(name.decode("utf-8"))
    except (IndexError, ValueError):
        return []
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, varint or bytes) of each field. Raises IndexError, ValueError."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire_type = key & 7
        if wire_type == VARINT:
            number, at = _read_varint(data, at)
            yield key >> 3, number
            continue
        if wire_type == BYTES:
            size, at = _read_varint(data, at)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError("a wire type that is not used")
        if at + size > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number without an end")
