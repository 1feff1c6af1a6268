"""What is done to the bytes of a message: pure functions of (chance, bytes).

Chance is a `random.Random` that the caller made of a seed, so that a packet can be made again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

EVIL: Final = (-(2**31), -65536, -100, -8, -4, -2, -1, 0, 1, 2, 255, 65535, 10**6, 2**31 - 1)
"""What a length or a count may be instead."""
DEEP: Final = (10, 99, 101, 1000, 15000)
"""How deep things lie in one another; a chunk of 64 kB holds no more of the largest."""
_INT32: Final = struct.Struct("<i")
Mutation = Callable[[Random, bytes], bytes]


def lengths(data: bytes) -> list[int]:
    """Where something stands that reads like a length or a count: -1, or what is left at most."""
    found = []
    for at in range(max(0, len(data) - 3)):
        (value,) = _INT32.unpack_from(data, at)
        if value == -1 or 0 < value <= len(data) - at - 4:
            found.append(at)
    return found


def flip(chance: Random, data: bytes) -> bytes:
    """One to eight bits are others."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def cut(chance: Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(1, len(data))]


def relength(chance: Random, data: bytes) -> bytes:
    """One length or count says something else."""
    places = lengths(data)
    if not places:
        return flip(chance, data)
    out = bytearray(data)
    _INT32.pack_into(out, chance.choice(places), chance.choice(EVIL))
    return bytes(out)


def recount(chance: Random, data: bytes) -> bytes:
    """Two lengths say something else: a large count, and a length that goes nowhere."""
    places = lengths(data)
    if len(places) < 2:
        return relength(chance, data)
    out = bytearray(data)
    first = chance.randrange(len(places) - 1)
    _INT32.pack_into(out, places[first], 2**31 - 1)
    at = min(places[first] + 4, len(out) - 4)
    _INT32.pack_into(out, at, chance.choice((-4, -8, 0, -1)))
    return bytes(out)


def insert(chance: Random, data: bytes) -> bytes:
    """Bytes of nobody in the midst of it."""
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 4, 64, 1000))) + data[at:]


def repeat(chance: Random, data: bytes) -> bytes:
    """A part of it comes twice, or very often."""
    at = chance.randrange(len(data))
    part = data[at : at + chance.randint(1, 64)]
    return data[:at] + part * chance.choice((2, 3, 500)) + data[at:]


def overwrite(chance: Random, data: bytes) -> bytes:
    """A part of it is noise."""
    at = chance.randrange(len(data))
    part = chance.randbytes(chance.randint(1, 40))
    return data[:at] + part + data[at + len(part) :]


BODY: Final[tuple[Mutation, ...]] = (
    flip,
    cut,
    relength,
    relength,
    recount,
    insert,
    repeat,
    overwrite,
)


def nested_variants(depth: int) -> bytes:
    """A Variant in a Variant, so deep; then a Boolean."""
    return b"\x18" * depth + b"\x01\x01"


def nested_values(depth: int) -> bytes:
    """A Variant of a DataValue of a Variant, so deep."""
    return b"\x17\x01" * depth + b"\x01\x01"


def nested_diagnostics(depth: int) -> bytes:
    """A Variant of a DiagnosticInfo with an inner one, so deep."""
    return b"\x19" + b"\x40" * depth + b"\x00"


def nested_arrays(depth: int) -> bytes:
    """A Variant that is an array of one Variant that is an array of one, so deep."""
    return (b"\x98" + _INT32.pack(1)) * depth + b"\x01\x01"


def nested_objects(depth: int) -> bytes:
    """A Variant of LiteralOperands in one another: extension objects that hold a Variant."""
    found = b"\x01\x01"
    for _ in range(min(depth, 1000)):
        # LiteralOperand_Encoding_DefaultBinary is i=597.
        found = b"\x16\x01\x00\x55\x02\x01" + _INT32.pack(len(found)) + found
    return found


def huge_array(chance: Random) -> bytes:
    """A Variant that announces an array which nobody sent."""
    kind = chance.choice((0, 1, 3, 11, 12, 13, 15, 17, 20, 21, 22, 23, 24, 25, 26, 40))
    count = chance.choice((2**31 - 1, 10**8, 10**6, 70_000))
    tail = chance.choice((b"", _INT32.pack(-4), _INT32.pack(-1), b"\x00" * 40))
    return bytes((0x80 | kind,)) + _INT32.pack(count) + tail


def matrix(chance: Random) -> bytes:
    """A Variant whose dimensions are not those of what it holds."""
    values = b"\xc6" + struct.pack("<iii", 2, 1, 2)
    dimensions = [chance.choice(EVIL) for _ in range(chance.choice((0, 1, 2, 3, 5)))]
    return values + struct.pack(f"<i{len(dimensions)}i", len(dimensions), *dimensions)


def bomb(chance: Random) -> bytes:
    """A Variant that costs more to read than to send, or is none."""
    nested = (nested_variants, nested_values, nested_diagnostics, nested_arrays, nested_objects)
    which = chance.randrange(len(nested) + 2)
    if which < len(nested):
        return nested[which](chance.choice(DEEP) // 2)
    return huge_array(chance) if which == len(nested) else matrix(chance)


def bad_frame(chance: Random, frame: bytes) -> bytes:
    """Something is wrong with what the wire carries, encryption or not."""
    kind = chance.randrange(7)
    if kind == 0:
        return flip(chance, frame)
    if kind == 1:
        size = chance.choice((0, 7, 8, 11, 12, 16, len(frame) - 1, len(frame) + 1, 2**32 - 1))
        return frame[:4] + struct.pack("<I", size) + frame[8:]
    if kind == 2:
        other = chance.choice((b"HEL", b"ACK", b"ERR", b"RHE", b"OPN", b"CLO", b"MSG", b"\0\0\0"))
        return other + frame[3:]
    if kind == 3:
        return frame[:3] + chance.choice((b"C", b"A", b"X", b"\x00")) + frame[4:]
    if kind == 4:
        return overwrite(chance, frame)
    if kind == 5:
        return frame + frame
    return chance.randbytes(chance.choice((1, 8, 12, 200, 5000)))
