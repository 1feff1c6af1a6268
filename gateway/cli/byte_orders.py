"""Registers in the four byte orders side by side, so that a person sees which one makes sense.

Pure. The orders are those of `profiles.registers.ByteOrder`; a test holds this against the driver.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from profiles.registers import ByteOrder

TYPES: Final = {"float32": ">f", "int32": ">i", "uint32": ">I"}


def double(first: int, second: int, order: ByteOrder) -> bytes:
    """Two registers as the bytes ABCD of a 32-bit value."""
    words = [word.to_bytes(2, "big") for word in (first, second)]
    if order.low_word_first:
        words.reverse()
    if order.bytes_swapped:
        words = [word[::-1] for word in words]
    return b"".join(words)


def singles(words: Sequence[int]) -> list[dict[str, int]]:
    """Each register as uint16 and int16, and with its bytes swapped."""
    found = []
    for word in words:
        swapped = (word >> 8) | (word & 0xFF) << 8
        found.append(
            {
                "uint16": word,
                "int16": word - 0x10000 if word > 0x7FFF else word,
                "swapped": swapped,
            }
        )
    return found


def doubles(words: Sequence[int], kind: str) -> list[dict[str, int | float]]:
    """Each register with the one after it as a 32-bit value, by byte order."""
    return [
        {
            order.value: struct.unpack(TYPES[kind], double(first, second, order))[0]
            for order in ByteOrder
        }
        for first, second in pairwise(words)
    ]
