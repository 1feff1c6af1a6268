"""Values to registers: the inverse of the decoder, for writes.

Pure. A value that the registers can't hold, or that the device would read as "no value", is
refused here, before any byte leaves: the message names the value and what is allowed.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NoReturn

from drivers.modbus.convert import SF_MAX, SF_MIN, sentinels
from gateway.errors import WriteRefused
from gateway.model import NS_PER_S, DataType, Status, Value
from profiles.schema import WORDS, ByteOrder, PointMap, WireType

_CODES: Final = {WireType.FLOAT32: ">f", WireType.FLOAT64: ">d"}
_SHOWN_MAX: Final = 8


def encode_point(point: PointMap, value: Value, sf: int | None = None) -> tuple[int, ...] | bool:
    """The words of a value in the order of its registers, or a bool for a coil or a bit.

    `sf` is the exponent read last, for points with a scale factor. Raises WriteRefused with
    Bad_TypeMismatch, Bad_OutOfRange, or Bad_InvalidState when a scale factor is not known.
    """
    if point.type is WireType.BOOL:
        return _truth(point, value)
    if point.type is WireType.STRING:
        return _text(point, value)
    number = _number(point, value)
    _check_bounds(point, number)
    raw = _to_raw(point, number, sf)
    if point.type.is_float:
        return _words(_float_bytes(point, raw, value), point.byte_order)
    return _words(_integer_bytes(point, raw, value, sf), point.byte_order)


def _truth(point: PointMap, value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or value not in (0, 1):
        _mismatch(point, value, "true or false")
    return bool(value)


def _text(point: PointMap, value: Value) -> tuple[int, ...]:
    size = 2 * point.words
    if point.point.publish_as is DataType.BYTES:
        if not isinstance(value, bytes):
            _mismatch(point, value, "bytes")
        data = value
    else:
        if not isinstance(value, str):
            _mismatch(point, value, "text")
        if "\0" in value:
            _out_of_range(point, value, "text without NUL")
        try:
            data = value.encode(point.point.encoding)
        except UnicodeEncodeError:
            _out_of_range(point, value, f"text in {point.point.encoding}")
    if len(data) > size:
        _out_of_range(point, value, f"at most {size} bytes")
    return _words(data.ljust(size, b"\0"), point.byte_order, reorder=False)


def _number(point: PointMap, value: Value) -> float:
    """The number that a client's value stands for. Integers stay exact."""
    target = point.point.publish_as
    if isinstance(value, bool):
        if target is not DataType.BOOL:
            _mismatch(point, value, "a number")
        return int(value)
    if not isinstance(value, int | float):
        _mismatch(point, value, "a number")
    if isinstance(value, float) and not math.isfinite(value):
        _out_of_range(point, value, "a finite number")
    if target is DataType.DATETIME:
        return value // NS_PER_S if value % NS_PER_S == 0 else value / NS_PER_S
    return value


def _check_bounds(point: PointMap, number: float) -> None:
    spec = point.point
    low, high = spec.min, spec.max
    if (low is not None and number < low) or (high is not None and number > high):
        _out_of_range(point, number, _span(low, high))
    if spec.range is not None and spec.range.raw is not None:
        low, high = min(spec.range.eu), max(spec.range.eu)
        if not low <= number <= high:
            _out_of_range(point, number, _span(low, high))
    if spec.enum is not None and number not in spec.enum:
        known = [f"{key} ({text})" for key, text in sorted(spec.enum.items())]
        more = f" and {len(known) - _SHOWN_MAX} more" if len(known) > _SHOWN_MAX else ""
        _out_of_range(point, number, ", ".join(known[:_SHOWN_MAX]) + more)


def _to_raw(point: PointMap, number: float, sf: int | None) -> float:
    """Undo range, scale factor or scale; an unscaled integer passes untouched."""
    spec = point.point
    if spec.range is not None and spec.range.raw is not None:
        (raw_a, raw_b), (eu_a, eu_b) = spec.range.raw, spec.range.eu
        return raw_a + (number - eu_a) * (raw_b - raw_a) / (eu_b - eu_a)
    if spec.sf is not None:
        if sf is None or not SF_MIN <= sf <= SF_MAX:
            raise WriteRefused(
                f"{point.name} can't be written before its scale factor {spec.sf} is known",
                Status.BAD_INVALID_STATE,
                "Read the device once, then write again",
            )
        return number / 10.0**sf
    if spec.scale == 1 and spec.offset == 0:
        return number
    return (number - spec.offset) / spec.scale


def _float_bytes(point: PointMap, raw: float, value: Value) -> bytes:
    try:
        data = struct.pack(_CODES[point.type], raw)
    except OverflowError:
        _out_of_range(point, value, f"what a {point.type} can hold")
    stored = struct.unpack(_CODES[point.type], data)[0]
    # A double that overflows while being unscaled arrives here as an infinity.
    if not math.isfinite(stored) or stored in sentinels(point):
        _out_of_range(point, value, "a number that does not mean 'no value'")
    return data


def _integer_bytes(point: PointMap, raw: float, value: Value, sf: int | None) -> bytes:
    width = 16 * WORDS[point.type]
    if point.type.is_bcd:
        low, high = 0, 10 ** (width // 4) - 1
    elif point.type.is_signed:
        low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    else:
        low, high = 0, (1 << width) - 1
    if not math.isfinite(raw):
        _out_of_range(point, value, _eu_span(point, low, high, sf))
    whole = round(raw)
    if isinstance(value, float) and whole != raw and _is_plain(point):
        _mismatch(point, value, "a whole number")
    if not low <= whole <= high:
        _out_of_range(point, value, _eu_span(point, low, high, sf))
    # Sentinels are raw: for BCD they are nibbles.
    stored = int(str(whole), 16) if point.type.is_bcd else whole
    if stored in sentinels(point):
        _out_of_range(point, value, f"not the number that means 'no value' ({value!r})")
    return (stored & ((1 << width) - 1)).to_bytes(width // 8, "big")


def _is_plain(point: PointMap) -> bool:
    spec = point.point
    ranged = spec.range is not None and spec.range.raw is not None
    return spec.scale == 1 and spec.offset == 0 and spec.sf is None and not ranged


def _words(data: bytes, order: ByteOrder, reorder: bool = True) -> tuple[int, ...]:
    """Big-endian bytes to registers in the order they are written."""
    endian = "<" if order.bytes_swapped else ">"
    words = struct.unpack(f"{endian}{len(data) // 2}H", data)
    return words[::-1] if reorder and order.low_word_first else words


def _eu_span(point: PointMap, low: int, high: int, sf: int | None) -> str:
    """What the registers can hold, as the client counts."""
    spec = point.point
    if spec.range is not None and spec.range.raw is not None:
        return f"raw {_span(low, high)}"
    factor = 10.0**sf if spec.sf is not None and sf is not None else spec.scale
    if factor == 1 and spec.offset == 0:
        return _span(low, high)
    ends = sorted((low * factor + spec.offset, high * factor + spec.offset))
    return _span(ends[0], ends[1])


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {_shown(high)}"
    return f"{_shown(low)} to {_shown(high)}" if high is not None else f"at least {_shown(low)}"


def _shown(number: float | None) -> str:
    return str(number) if isinstance(number, int) else f"{number:.10g}"


def _mismatch(point: PointMap, value: Value, wanted: str) -> NoReturn:
    raise WriteRefused(
        f"{point.name} holds {wanted}, not {value!r}", Status.BAD_TYPE_MISMATCH, f"Write {wanted}"
    )


def _out_of_range(point: PointMap, value: Value, allowed: str) -> NoReturn:
    raise WriteRefused(
        f"{point.name} can't be set to {value!r}; allowed: {allowed}",
        Status.BAD_OUT_OF_RANGE,
    )
