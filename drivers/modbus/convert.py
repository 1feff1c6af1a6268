"""One raw value to one published value, for points that need more than a factor.

Pure. `converter` returns None for points that the bulk path of `codec.py` finishes by itself.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.model import INTEGER_RANGES, NS_PER_S, DataType, Status, Value
from profiles.schema import WORDS, ModbusPoint, PointMap, WireType, published_type

Outcome = tuple[Value, int]
Ramp = tuple[float, float, float, float, float, float]
"""A raw range as (lowest, highest, raw[0], eu[0], eu span, raw span)."""
NO_VALUE: Final[Outcome] = (None, Status.BAD_SENSOR_FAILURE)
"""The device says that it has no value."""
_OUT_OF_RANGE: Final[Outcome] = (None, Status.BAD_OUT_OF_RANGE)

SF_MIN: Final = -10
SF_MAX: Final = 10
"""The exponents a SunSpec scale factor may have; beyond them (0x8000) it is not implemented."""

_TIME_MAX_NS: Final = 2**63 - 1


def converter(
    point: PointMap, slot: int, sf_slot: int | None
) -> Callable[[Sequence[Any]], Outcome] | None:
    """A function from the raw values of a block to the value and status of one point.

    `slot` is where the point's raw value is, `sf_slot` where its scale factor is.
    """
    spec = point.point
    if point.type is WireType.BOOL:
        return _bit(slot, spec)
    if point.type is WireType.STRING:
        return _text(slot, point)
    ranged = point.type.is_float and ramp(spec) is not None
    converted = spec.publish_as is not None and spec.publish_as is not _natural(spec)
    if not (point.type.is_bcd or ranged or converted or spec.sf is not None):
        return None
    return _number(slot, sf_slot, point)


def sentinels(point: PointMap) -> frozenset[Any]:
    """The raw values, as unpacked, that mean: no value.

    An integer stands for itself and, if it is no value of its type, for the bit pattern. For floats
    an integer that as a pattern would be denormal (-9999, 0, 9999) is taken as a value instead.
    """
    return frozenset(_sentinel(point.type, entry) for entry in point.point.nan)


def _sentinel(type_: WireType, entry: float | str) -> Any:
    if type_ is WireType.STRING:
        return entry
    if type_.is_float:
        if isinstance(entry, int) and entry >= (1 << 23 if type_ is WireType.FLOAT32 else 1 << 52):
            size, code = (4, ">f") if type_ is WireType.FLOAT32 else (8, ">d")
            return struct.unpack(code, entry.to_bytes(size, "big"))[0]
        return float(entry)
    width = 16 * WORDS[type_]
    pattern = int(entry)
    if type_.is_signed and pattern >= 1 << (width - 1):
        return pattern - (1 << width)
    return pattern


def bcd_to_int(raw: int) -> int | None:
    """The number whose decimal digits are the nibbles of `raw`; None if a nibble exceeds 9."""
    try:
        return int(f"{raw:x}")
    except ValueError:
        return None


def publish(target: DataType) -> Callable[[float], Outcome]:
    """A checked conversion of finite numbers: whole types round to nearest, and have a range.

    A datetime is made from Unix seconds and is ns UTC.
    """
    if target is DataType.BOOL:
        return lambda value: (value != 0, Status.GOOD)
    if target is DataType.FLOAT64:
        return lambda value: (float(value), Status.GOOD)
    if target is DataType.FLOAT32:
        return _as_float32
    low, high = (0, _TIME_MAX_NS) if target is DataType.DATETIME else INTEGER_RANGES[target]
    factor = NS_PER_S if target is DataType.DATETIME else 1

    def as_integer(value: float) -> Outcome:
        whole = round(value * factor)
        return (whole, Status.GOOD) if low <= whole <= high else _OUT_OF_RANGE

    return as_integer


def _as_float32(value: float) -> Outcome:
    try:
        return struct.unpack(">f", struct.pack(">f", value))[0], Status.GOOD
    except OverflowError:
        return _OUT_OF_RANGE


def _natural(spec: ModbusPoint) -> DataType:
    """The type a point has without `publish_as`."""
    return published_type(spec.model_copy(update={"publish_as": None}))


def _bit(slot: int, spec: ModbusPoint) -> Callable[[Sequence[Any]], Outcome]:
    mask = 1 << (spec.bit or 0)
    target = spec.publish_as
    one: Value = True
    zero: Value = False
    if target is not None and target is not DataType.BOOL:
        convert = publish(target)
        one, zero = convert(1)[0], convert(0)[0]
    set_, clear = (one, Status.GOOD), (zero, Status.GOOD)
    return lambda raws: set_ if raws[slot] & mask else clear


def _text(slot: int, point: PointMap) -> Callable[[Sequence[Any]], Outcome]:
    spec = point.point
    absent = sentinels(point)
    if spec.publish_as is DataType.BYTES:
        return lambda raws: (bytes(raws[slot]), Status.GOOD)

    def convert(raws: Sequence[Any]) -> Outcome:
        status = Status.GOOD
        try:
            text = raws[slot].decode(spec.encoding)
        except UnicodeDecodeError:
            text = raws[slot].decode(spec.encoding, errors="replace")
            status = Status.UNCERTAIN
        # A C string ends at its first NUL; what follows is whatever was in the buffer before.
        text = text.partition("\0")[0].rstrip()
        return NO_VALUE if text in absent else (text, status)

    return convert


def _number(slot: int, sf_slot: int | None, point: PointMap) -> Callable[[Sequence[Any]], Outcome]:
    spec = point.point
    absent = sentinels(point)
    is_bcd = point.type.is_bcd
    engineer = _linear(spec)
    to_published = publish(spec.publish_as) if spec.publish_as is not None else None

    def convert(raws: Sequence[Any]) -> Outcome:
        raw = raws[slot]
        if raw in absent:
            return NO_VALUE
        if is_bcd:
            raw = bcd_to_int(raw)
            if raw is None:
                return NO_VALUE
        status = Status.GOOD
        if spec.sf is not None:
            # Without its factor the number means nothing.
            exponent = raws[sf_slot] if sf_slot is not None else None
            if exponent is None or not SF_MIN <= exponent <= SF_MAX:
                return NO_VALUE
            value = raw * 10.0**exponent
        else:
            value, status = engineer(raw)
        if not math.isfinite(value):
            return NO_VALUE if math.isnan(value) else _OUT_OF_RANGE
        if to_published is None:
            return value, status
        published, refused = to_published(value)
        return published, refused or status

    return convert


def ramp(spec: ModbusPoint) -> Ramp | None:
    """The raw range of a point, ready to compute with; None if it has none."""
    if spec.range is None or spec.range.raw is None:
        return None
    (raw_a, raw_b), (eu_a, eu_b) = spec.range.raw, spec.range.eu
    return min(raw_a, raw_b), max(raw_a, raw_b), raw_a, eu_a, eu_b - eu_a, raw_b - raw_a


def _linear(spec: ModbusPoint) -> Callable[[float], tuple[float, int]]:
    """Scale and offset, or the raw range; a plain integer stays an integer."""
    slope = ramp(spec)
    if slope is not None:
        low, high, raw_a, eu_a, span, raw_span = slope

        def ranged(raw: float) -> tuple[float, int]:
            status = Status.GOOD if low <= raw <= high else Status.UNCERTAIN_EU_EXCEEDED
            return eu_a + (raw - raw_a) * span / raw_span, status

        return ranged
    scale, offset = spec.scale, spec.offset
    if scale == 1 and offset == 0:
        return lambda raw: (raw, Status.GOOD)
    return lambda raw: (raw * scale + offset, Status.GOOD)
