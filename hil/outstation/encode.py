"""Values into registers, written from the Modbus specification alone.

The gateway's driver has a codec of its own; nothing is shared with it, so that a mistake in one
shows against the other. Modbus Application Protocol V1.1b3 section 4.2: a register is big-endian;
how values of several registers lie is the vendor's choice, named here by the order in which the
bytes A (most significant) to D arrive.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gateway.model import Value
from profiles.schema import ByteOrder, WireType

_FORMATS: Final = {
    WireType.INT16: ">h",
    WireType.UINT16: ">H",
    WireType.INT32: ">i",
    WireType.UINT32: ">I",
    WireType.INT64: ">q",
    WireType.UINT64: ">Q",
    WireType.FLOAT32: ">f",
    WireType.FLOAT64: ">d",
}
_BYTES_ONLY: Final = {
    ByteOrder.ABCD: ByteOrder.ABCD,
    ByteOrder.CDAB: ByteOrder.ABCD,
    ByteOrder.BADC: ByteOrder.BADC,
    ByteOrder.DCBA: ByteOrder.BADC,
}
_BCD_DIGITS: Final = {WireType.BCD16: 4, WireType.BCD32: 8}
INTEGER_BOUNDS: Final = {
    WireType.INT16: (-(2**15), 2**15 - 1),
    WireType.UINT16: (0, 2**16 - 1),
    WireType.INT32: (-(2**31), 2**31 - 1),
    WireType.UINT32: (0, 2**32 - 1),
    WireType.INT64: (-(2**63), 2**63 - 1),
    WireType.UINT64: (0, 2**64 - 1),
    WireType.BCD16: (0, 9_999),
    WireType.BCD32: (0, 99_999_999),
}


def arrange(data: bytes, order: ByteOrder) -> bytes:
    """Bring big-endian bytes into the order of a device; the rule works on whole words.

    CDAB swaps words, BADC swaps the bytes of each word, DCBA does both.
    """
    if order is ByteOrder.ABCD:
        return data
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order in (ByteOrder.CDAB, ByteOrder.DCBA):
        words.reverse()
    if order in (ByteOrder.BADC, ByteOrder.DCBA):
        words = [word[::-1] for word in words]
    return b"".join(words)


def encode(
    value: Value, wire: WireType, order: ByteOrder, length: int = 1, encoding: str = "ascii"
) -> bytes:
    """The registers of a raw value, two bytes each. `length` is the room of a string, in registers.

    Raises ValueError when the type has no place for the value.
    """
    if wire is WireType.STRING:
        data = str(value).encode(encoding)
        if len(data) > 2 * length:
            raise ValueError(f"{value!r} needs more than {length} registers")
        data = data.ljust(2 * length, b"\0")
        # Text keeps the order of its registers whatever the order of numbers is.
        return arrange(data, _BYTES_ONLY[order])
    if wire in _BCD_DIGITS:
        digits = _BCD_DIGITS[wire]
        if not isinstance(value, int) or not 0 <= value < 10**digits:
            raise ValueError(f"{value!r} is not a number of {digits} decimal digits")
        return arrange(bytes.fromhex(f"{value:0{digits}d}"), order)
    try:
        return arrange(struct.pack(_FORMATS[wire], value), order)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {wire}") from error


def no_value(wire: WireType, order: ByteOrder, sentinels: Sequence[object]) -> bytes | None:
    """The registers with which a device says "no value", or None when it has no way to say it.

    A sentinel may be written unsigned (0x8000) for a signed type, as manuals do.
    """
    if wire in (WireType.FLOAT32, WireType.FLOAT64):
        return encode(float("nan"), wire, order)
    numbers = [sentinel for sentinel in sentinels if isinstance(sentinel, int)]
    if not numbers or wire not in INTEGER_BOUNDS or wire in _BCD_DIGITS:
        return None
    size = struct.calcsize(_FORMATS[wire])
    return arrange((numbers[0] % 2 ** (8 * size)).to_bytes(size, "big"), order)
