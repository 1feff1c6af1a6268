"""HistoryData as it came over the wire, to readings: scalars of fixed size, all else is left. Pure.

An hour of a server's history is tens of thousands of DataValues, nearly all of one layout. The
library makes five objects of each, which takes longer than all that is done with it afterwards.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

from drivers.opcua.observe import Reading
from drivers.opcua.values import Builtin
from gateway.model import NS_PER_S

_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
"""What a DataValue has, by its encoding mask (OPC 10000-6 section 5.2.2.17)."""
_MASK_MAX: Final = 63
_FORMATS: Final = {
    Builtin.BOOLEAN: "?",
    Builtin.SBYTE: "b",
    Builtin.BYTE: "B",
    Builtin.INT16: "h",
    Builtin.UINT16: "H",
    Builtin.INT32: "i",
    Builtin.UINT32: "I",
    Builtin.INT64: "q",
    Builtin.UINT64: "Q",
    Builtin.FLOAT: "f",
    Builtin.DOUBLE: "d",
}
_ABSENT: Final = "0s"
"""No byte, and an empty value, so that every layout has the same fields."""
_COUNT: Final = struct.Struct("<i")
_TICKS_PER_US: Final = 10
_LATEST_TICKS: Final = 2_650_467_743_990_000_000
"""9999-12-31T23:59:59, which later ones mean, too (OPC 10000-6 section 5.2.2.5)."""
_YEAR_1601_NS: Final = -11_644_473_600 * NS_PER_S


def readings(body: bytes) -> list[Reading] | None:
    """The DataValues of a HistoryData; None where one isn't plain, or the body is cut off."""
    found: list[Reading] = []
    try:
        (count,) = _COUNT.unpack_from(body)
        at = _COUNT.size
        for _ in range(count):  # bounded by the body: each takes a byte of it at least
            mask = body[at]
            layout = _layout(mask, body[at + 1] if mask & _VALUE else 0)
            if layout is None:
                return None
            builtin, fields = layout
            value, status, source, server = fields.unpack_from(body, at)
            at += fields.size
            ticks = source if source and source >= _TICKS_PER_US else server
            found.append(
                Reading(
                    None if builtin is Builtin.NULL else value, builtin, 0, status or 0, _ns(ticks)
                )
            )
    except (IndexError, struct.error):
        return None
    return found


@cache  # of two bytes: no more than 65,536, whatever a server sends
def _layout(mask: int, kind: int) -> tuple[Builtin, struct.Struct] | None:
    """The type of a value; its value, status, source and server time; None: it isn't plain."""
    builtin = Builtin(kind) if kind in _FORMATS else Builtin.NULL
    if mask > _MASK_MAX or kind not in (builtin, Builtin.NULL):
        return None
    parts = (
        "<x",
        "x" if mask & _VALUE else "",
        _FORMATS.get(builtin, _ABSENT),
        "I" if mask & _STATUS else _ABSENT,
        "q" if mask & _SOURCE else _ABSENT,
        "2x" if mask & _SOURCE_PICO else "",
        "q" if mask & _SERVER else _ABSENT,
        "2x" if mask & _SERVER_PICO else "",
    )
    return builtin, struct.Struct("".join(parts))


def _ns(ticks: int | bytes) -> int | None:
    """100 ns since 1601 as ns UTC, to the microsecond as everywhere in this driver; None: none."""
    if not isinstance(ticks, int) or ticks < _TICKS_PER_US:
        return None
    return min(ticks, _LATEST_TICKS) // _TICKS_PER_US * 1_000 + _YEAR_1601_NS
