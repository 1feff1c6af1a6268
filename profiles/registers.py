"""Where values lie on a Modbus device: areas, wire types, byte orders, addresses.

Pure vocabulary, below `schema` (points and profiles) and `windback` (logs), which share it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Area(StrEnum):
    """The four Modbus tables (Modbus Application Protocol V1.1b3 section 4.3)."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def is_bits(self) -> bool:
        return self in (Area.COIL, Area.DISCRETE)


class ByteOrder(StrEnum):
    """How the bytes of a 32-bit value ABCD arrive.

    Each order says two things: whether the words of a value come high word first (ABCD, BADC) or
    low word first (CDAB, DCBA), and whether the two bytes of every register are swapped (BADC,
    DCBA). So a 64-bit value follows the same rule by its four words, a 16-bit value (a register of
    bits, a BCD16 too) is swapped in BADC and DCBA, and a string keeps the order of its registers
    and has the bytes of each swapped in BADC and DCBA.
    """

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def low_word_first(self) -> bool:
        return self in (ByteOrder.CDAB, ByteOrder.DCBA)

    @property
    def bytes_swapped(self) -> bool:
        return self in (ByteOrder.BADC, ByteOrder.DCBA)


class WireType(StrEnum):
    """How a value lies in registers."""

    BOOL = "bool"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BCD16 = "bcd16"
    BCD32 = "bcd32"

    @property
    def is_float(self) -> bool:
        return self in (WireType.FLOAT32, WireType.FLOAT64)

    @property
    def is_signed(self) -> bool:
        return self in (WireType.INT16, WireType.INT32, WireType.INT64)

    @property
    def is_bcd(self) -> bool:
        return self in (WireType.BCD16, WireType.BCD32)


WORDS: Final[dict[WireType, int]] = {
    WireType.BOOL: 1,
    WireType.INT16: 1,
    WireType.UINT16: 1,
    WireType.BCD16: 1,
    WireType.INT32: 2,
    WireType.UINT32: 2,
    WireType.FLOAT32: 2,
    WireType.BCD32: 2,
    WireType.INT64: 4,
    WireType.UINT64: 4,
    WireType.FLOAT64: 4,
}

_MODICON: Final = {"0": Area.COIL, "1": Area.DISCRETE, "3": Area.INPUT, "4": Area.HOLDING}


def parse_address(address: int | str, base: int) -> tuple[int, Area | None]:
    """The 0-based wire address, and the area if a Modicon number names it. Raises ValueError.

    `43001`, `400001`, `4x0001` count from 1 whatever the base; integers count from `base`.
    """
    if isinstance(address, int):
        wire, area = address - base, None
    else:
        text = address.strip().lower()
        if text[1:2] == "x" and text[0] in _MODICON and text[2:].isdigit():
            area, wire = _MODICON[text[0]], int(text[2:]) - 1
        elif text.isdigit() and len(text) in (5, 6) and text[0] in _MODICON:
            area, wire = _MODICON[text[0]], int(text[1:]) - 1
        else:
            raise ValueError(
                "write 0-based 0x1000 or 4096, or a Modicon number '43001' or '4x3001'"
            )
    if not 0 <= wire <= 0xFFFF:
        raise ValueError(f"address {address} is outside 0..65535")
    return wire, area
