"""From OPC UA built-in types to published values and back. Pure, and free of any OPC UA library.

A point accepts a node only if every value of the node's type fits the point's type: a narrowing
would work until the day it doesn't. So a Double never feeds a `float32`, an Int16 feeds an `int32`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from gateway.errors import WriteRefused
from gateway.model import (
    INTEGER_RANGES,
    NS_PER_MS,
    NS_PER_S,
    DataType,
    Status,
    Value,
    is_bad,
)


class Builtin(IntEnum):
    """The built-in types with their encoding numbers (OPC 10000-6 section 5.1.2)."""

    NULL = 0
    BOOLEAN = 1
    SBYTE = 2
    BYTE = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT = 10
    DOUBLE = 11
    STRING = 12
    DATETIME = 13
    GUID = 14
    BYTESTRING = 15
    XMLELEMENT = 16
    NODEID = 17
    EXPANDEDNODEID = 18
    STATUSCODE = 19
    QUALIFIEDNAME = 20
    LOCALIZEDTEXT = 21
    EXTENSIONOBJECT = 22
    DATAVALUE = 23
    VARIANT = 24
    DIAGNOSTICINFO = 25


_SPELLED: Final = {
    Builtin.SBYTE: "SByte",
    Builtin.UINT16: "UInt16",
    Builtin.UINT32: "UInt32",
    Builtin.UINT64: "UInt64",
    Builtin.DATETIME: "DateTime",
    Builtin.BYTESTRING: "ByteString",
    Builtin.XMLELEMENT: "XmlElement",
    Builtin.NODEID: "NodeId",
    Builtin.EXPANDEDNODEID: "ExpandedNodeId",
    Builtin.STATUSCODE: "StatusCode",
    Builtin.QUALIFIEDNAME: "QualifiedName",
    Builtin.LOCALIZEDTEXT: "LocalizedText",
    Builtin.EXTENSIONOBJECT: "a structure",
    Builtin.DATAVALUE: "DataValue",
    Builtin.DIAGNOSTICINFO: "DiagnosticInfo",
}


def type_name(builtin: Builtin) -> str:
    """The name of a built-in type as the OPC UA specification spells it."""
    return _SPELLED.get(builtin, builtin.name.capitalize())


NATURAL: Final[dict[DataType, Builtin]] = {
    DataType.BOOL: Builtin.BOOLEAN,
    DataType.INT8: Builtin.SBYTE,
    DataType.UINT8: Builtin.BYTE,
    DataType.INT16: Builtin.INT16,
    DataType.UINT16: Builtin.UINT16,
    DataType.INT32: Builtin.INT32,
    DataType.UINT32: Builtin.UINT32,
    DataType.INT64: Builtin.INT64,
    DataType.UINT64: Builtin.UINT64,
    DataType.FLOAT32: Builtin.FLOAT,
    DataType.FLOAT64: Builtin.DOUBLE,
    DataType.STRING: Builtin.STRING,
    DataType.BYTES: Builtin.BYTESTRING,
    DataType.DATETIME: Builtin.DATETIME,
}
"""The built-in type of each published type (design.md: each has one)."""

_RANGES: Final = {NATURAL[kind]: bounds for kind, bounds in INTEGER_RANGES.items()} | {
    Builtin.STATUSCODE: (0, 2**32 - 1)
}
_EXACT: Final = {DataType.FLOAT32: 2**24, DataType.FLOAT64: 2**53}
_FLOATS: Final = frozenset({Builtin.FLOAT, Builtin.DOUBLE})
_TEXTS: Final = frozenset(
    {
        Builtin.STRING,
        Builtin.GUID,
        Builtin.XMLELEMENT,
        Builtin.NODEID,
        Builtin.EXPANDEDNODEID,
        Builtin.QUALIFIEDNAME,
        Builtin.LOCALIZEDTEXT,
    }
)
UNSUPPORTED: Final = frozenset(
    {Builtin.EXTENSIONOBJECT, Builtin.DATAVALUE, Builtin.VARIANT, Builtin.DIAGNOSTICINFO}
)


def fits(builtin: Builtin, target: DataType) -> bool:
    """Whether every value of a built-in type is a value of `target`, without loss."""
    if target is DataType.STRING:
        return builtin in _TEXTS
    if target in INTEGER_RANGES and builtin in _RANGES:
        low, high = INTEGER_RANGES[target]
        return low <= _RANGES[builtin][0] and _RANGES[builtin][1] <= high
    if target in _EXACT:
        exact = builtin in _RANGES and max(map(abs, _RANGES[builtin])) <= _EXACT[target]
        return exact or builtin is Builtin.FLOAT or builtin is NATURAL[target]
    return builtin is NATURAL[target]


def natural(builtin: Builtin) -> DataType | None:
    """The point type that holds every value of a built-in type; None where none does."""
    exact = (kind for kind, own in NATURAL.items() if own is builtin)
    return next(exact, next((kind for kind in NATURAL if fits(builtin, kind)), None))


def widens(source: DataType, target: DataType) -> bool:
    """Whether a point of type `source` may be published as `target`."""
    return fits(NATURAL[source], target)


# --------------------------------------------------------------------------------- from a device

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NO_TIME_BEFORE_NS: Final = -11_644_473_600 * NS_PER_S
"""1601-01-01, the zero of OPC UA DateTime: what a server sends that has no time to tell."""


def datetime_to_ns(moment: datetime | None) -> int | None:
    """A UTC datetime (naive ones are UTC) in ns, or None for none and for the OPC UA zero."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ns = (moment - _EPOCH) // _MICROSECOND * 1_000
    return ns if ns > _NO_TIME_BEFORE_NS else None


def ns_to_datetime(ns: int) -> datetime:
    """The UTC datetime of ns, to the microsecond; beyond what a datetime holds: WriteRefused."""
    try:
        return _EPOCH + timedelta(microseconds=ns // 1_000)
    except OverflowError:
        text = f"{ns} ns is no time between the years 1 and 9999"
        raise WriteRefused(text, Status.BAD_OUT_OF_RANGE) from None


def revised_ns(told_ms: float, asked_ns: int) -> int:
    """A Duration that a server revised, in ns; what was asked for where it tells none.

    Zero, NaN and infinities tell nothing.
    """
    told_ns = told_ms * NS_PER_MS
    return int(told_ns) if math.isfinite(told_ns) and told_ns > 0 else asked_ns


def clean_status(code: int) -> tuple[int, bool]:
    """A StatusCode without its overflow bit, and whether that was set (OPC 10000-4 section 7.39).

    The limit bits stay; the InfoType goes when nothing it announces is left.
    """
    overflow = code & 0x0480 == 0x0480
    if overflow:
        code &= ~0x0080
    if code & 0x03FF == 0:
        code &= ~0x0C00
    return code, overflow


def _float(value: Any) -> tuple[Value, int]:
    number = float(value)
    if math.isfinite(number):
        return number, Status.GOOD
    return None, Status.BAD_SENSOR_FAILURE if math.isnan(number) else Status.BAD_OUT_OF_RANGE


def readable(text: str) -> str:
    """Text that can be encoded, with a mark for each byte of a device that is no UTF-8.

    The library keeps such bytes as lone surrogates.
    """
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _text(value: Any) -> tuple[Value, int]:
    text = "" if value is None else str(value)
    told = readable(text)
    return told, Status.GOOD if told == text else Status.UNCERTAIN


def _datetime(value: Any) -> tuple[Value, int]:
    ns = datetime_to_ns(value)
    if ns is None:
        return None, Status.BAD_NO_DATA
    if not -(2**63) <= ns < 2**63:  # DateTime.MaxValue, which many servers send for "never"
        return None, Status.BAD_OUT_OF_RANGE
    return ns, Status.GOOD


def _integer(value: Any) -> tuple[Value, int]:
    return int(value), Status.GOOD


def _boolean(value: Any) -> tuple[Value, int]:
    return bool(value), Status.GOOD


def _bytes(value: Any) -> tuple[Value, int]:
    return bytes(value or b""), Status.GOOD


Converter = Callable[[Any], tuple[Value, int]]
"""Turns what arrived into the published value and the status that this adds."""


def converter(target: DataType) -> Converter:
    """How values that fit `target` become published values.

    NaN, infinities and a missing time have no value: None with a Bad status. Null texts are empty.
    """
    if target in INTEGER_RANGES:
        return _integer
    return {
        DataType.BOOL: _boolean,
        DataType.FLOAT32: _float,
        DataType.FLOAT64: _float,
        DataType.STRING: _text,
        DataType.BYTES: _bytes,
        DataType.DATETIME: _datetime,
    }[target]


def publish(convert: Converter, value: Any, status: int) -> tuple[Value, int]:
    """The value and status to publish; a Bad value is no value (OPC 10000-8 section 5.3)."""
    if is_bad(status):
        return None, status
    published, added = convert(value)
    return published, max(added, status)  # the worse severity has the greater code


LEAD_MAX_NS: Final = NS_PER_S
LAG_MAX_NS: Final = 2 * NS_PER_S


def place(source_ns: int | None, last_ns: int, received_ns: int) -> int:
    """When an observation stands in history: at its source time, where that can be true.

    `last_ns` is the time of the point's previous observation. The order of arrival is the order of
    the values, so a slightly late device clock is moved up to `last_ns`; a stamp that is missing,
    far behind, or in the future is replaced by the time of receipt.
    """
    if source_ns is None or source_ns > received_ns + LEAD_MAX_NS:
        return max(received_ns, last_ns)
    if source_ns >= last_ns:
        return source_ns
    return last_ns if last_ns - source_ns <= LAG_MAX_NS else max(received_ns, last_ns)


# ----------------------------------------------------------------------------------- to a device


def _refuse_type(value: Value, builtin: Builtin) -> WriteRefused:
    text = f"{value!r} is no {type_name(builtin)}"
    return WriteRefused(text, Status.BAD_TYPE_MISMATCH, f"write a {type_name(builtin)}")


_FLOAT_END: Final = 3.4028235677973366e38
"""The smallest number that no longer rounds to a finite Float."""


def _write_number(value: Value, builtin: Builtin) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse_type(value, builtin)
    if builtin in _FLOATS:
        number = float(value)
        if not math.isfinite(number):
            raise WriteRefused(f"{value} is not written", Status.BAD_OUT_OF_RANGE)
        if builtin is Builtin.FLOAT and abs(number) >= _FLOAT_END:
            raise WriteRefused(f"{value} is too large for a Float", Status.BAD_OUT_OF_RANGE)
        return number
    if not math.isfinite(value) or value != int(value):
        raise _refuse_type(value, builtin)
    low, high = _RANGES[builtin]
    if not low <= value <= high:
        text = f"{value} is outside {low} to {high} of {type_name(builtin)}"
        raise WriteRefused(text, Status.BAD_OUT_OF_RANGE)
    return int(value)


def to_device(value: Value, builtin: Builtin) -> Any:
    """What to write to a node of a built-in type.

    Plain Python: int, float, bool, str (also for LocalizedText), bytes, datetime, UUID.
    Raises WriteRefused when the value is of another kind or outside the type's range.
    """
    if builtin in _RANGES or builtin in _FLOATS:
        return _write_number(value, builtin)
    if builtin is Builtin.BOOLEAN and isinstance(value, bool):
        return value
    if builtin in (Builtin.STRING, Builtin.LOCALIZEDTEXT) and isinstance(value, str):
        return value
    if builtin is Builtin.BYTESTRING and isinstance(value, bytes):
        return value
    if builtin is Builtin.DATETIME and isinstance(value, int) and not isinstance(value, bool):
        return ns_to_datetime(value)
    if builtin is Builtin.GUID and isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise _refuse_type(value, builtin) from None
    if builtin not in NATURAL.values() and builtin not in (Builtin.GUID, Builtin.LOCALIZEDTEXT):
        text = f"{type_name(builtin)} can't be written"
        raise WriteRefused(text, Status.BAD_NOT_SUPPORTED)
    raise _refuse_type(value, builtin)
