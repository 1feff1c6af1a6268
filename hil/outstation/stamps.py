"""Moments into registers, as devices write them (profiles/records.py names the formats).

The gateway's driver reads them with code of its own; nothing is shared but the names.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S
from hil.outstation.encode import encode
from profiles.records import Fraction, TimeFormat
from profiles.registers import WORDS, ByteOrder, WireType

SUMMER: Final = 0x40
"""Bit of the hour in six-byte stamps: summer time is in force (EIG's TSTAMP)."""
_2000_S: Final = 946_684_800
_COUNTS: Final = {
    TimeFormat.UNIX_S: WireType.UINT32,
    TimeFormat.UNIX_MS: WireType.UINT64,
    TimeFormat.SINCE_2000_S: WireType.UINT32,
}


def stamp(
    form: TimeFormat,
    wall_ns: int,
    wire: WireType = WireType.UINT16,
    order: ByteOrder = ByteOrder.ABCD,
    summer: bool = False,
) -> bytes:
    """The registers of a wall time; what the format can't say is cut off.

    `wire` and `order` matter for counts since an epoch and for pairs of numbers.
    """
    if form in _COUNTS:
        count_in = wire if WORDS.get(wire, 0) > 1 else _COUNTS[form]
        if form is TimeFormat.UNIX_MS:
            return encode(wall_ns // NS_PER_MS, count_in, order)
        since = _2000_S if form is TimeFormat.SINCE_2000_S else 0
        return encode(wall_ns // NS_PER_S - since, count_in, order)
    moment = datetime.fromtimestamp(wall_ns // NS_PER_S, UTC)
    date = moment.month * 10_000 + moment.day * 100 + moment.year % 100
    clock = moment.hour * 10_000 + moment.minute * 100 + moment.second
    if form is TimeFormat.FLOAT_MMDDYY_HHMMSS:
        return _pair(float(date), float(clock), WireType.FLOAT32, order)
    if form is TimeFormat.FLOAT_HHMMSS_MMDDYY:
        return _pair(float(clock), float(date), WireType.FLOAT32, order)
    if form is TimeFormat.INT_YYMMDD_HHMMSS:
        day = moment.year % 100 * 10_000 + moment.month * 100 + moment.day
        return _pair(day, clock, WireType.INT32, order)
    fields = (moment.month, moment.day, moment.hour, moment.minute, moment.second)
    if form is TimeFormat.WORDS_YMDHMS:
        return struct.pack(">6H", moment.year, *fields)
    month, day, hour, minute, second = fields
    if form is TimeFormat.BYTES_YMDHMS and summer:
        hour |= SUMMER
    data = bytes((moment.year % 100, month, day, hour, minute, second))
    if form is TimeFormat.PACKED_YMDHMS_MS:
        data += (wall_ns % NS_PER_S // NS_PER_MS).to_bytes(2, "big")
    return data


def _pair(first: float, second: float, wire: WireType, order: ByteOrder) -> bytes:
    return encode(first, wire, order) + encode(second, wire, order)


def fraction(part: Fraction, wall_ns: int, order: ByteOrder = ByteOrder.ABCD) -> bytes:
    """The part of a second that a device keeps apart."""
    return subsecond(part.unit, part.type, wall_ns, order)


def subsecond(unit: str, wire: WireType, wall_ns: int, order: ByteOrder = ByteOrder.ABCD) -> bytes:
    """The part of a wall time below a second, in ms or us."""
    return encode(wall_ns % NS_PER_S // (NS_PER_MS if unit == "ms" else 1_000), wire, order)
