"""Registers that a method reads and writes one by one, and numbers as words. Pure, sans-IO."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from drivers.modbus.convert import bcd_to_int
from drivers.modbus.log.ops import Answer, Asking, Call, Read, Refusal, Wait, Write, ask
from gateway.errors import InvalidReply, LinkError, ReplyTimeout
from gateway.model import NS_PER_MS
from profiles.records import Register, TimeFormat
from profiles.registers import WORDS, Area, ByteOrder, WireType, parse_address
from profiles.schema import Busy, Limits

_CODES: Final[dict[WireType, str]] = {
    WireType.BOOL: ">H",
    WireType.INT16: ">h",
    WireType.UINT16: ">H",
    WireType.BCD16: ">H",
    WireType.INT32: ">i",
    WireType.UINT32: ">I",
    WireType.BCD32: ">I",
    WireType.INT64: ">q",
    WireType.UINT64: ">Q",
    WireType.FLOAT32: ">f",
    WireType.FLOAT64: ">d",
}


class Place(NamedTuple):
    """A `Register` on the wire: 0-based address, every default applied."""

    area: Area
    address: int
    type: WireType
    byte_order: ByteOrder
    format: TimeFormat | None

    @property
    def words(self) -> int:
        return WORDS[self.type]


def place_of(register: Register, base: int) -> Place:
    """Where a register lies; integers count from `base`. Raises ValueError."""
    address, named = parse_address(register.address, base)
    area = named or register.register_
    return Place(area, address, register.type, register.byte_order, register.format)


def big_endian(words: Sequence[int], byte_order: ByteOrder) -> bytes:
    """The bytes of one value, highest first."""
    ordered = list(reversed(words)) if byte_order.low_word_first else words
    data = struct.pack(f">{len(ordered)}H", *ordered)
    if byte_order.bytes_swapped:
        swapped = bytearray(data)
        swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
        return bytes(swapped)
    return data


def number(words: Sequence[int], type_: WireType, byte_order: ByteOrder) -> int | float | None:
    """The number in `WORDS[type_]` words; None where a BCD digit exceeds 9."""
    raw: int | float = struct.unpack(_CODES[type_], big_endian(words, byte_order))[0]
    return bcd_to_int(int(raw)) if type_.is_bcd else raw


def words_of(value: float, type_: WireType, byte_order: ByteOrder) -> tuple[int, ...]:
    """The words that hold a number. Raises ValueError when the type can't hold it."""
    raw = float(value) if type_.is_float else int(str(int(value)), 16 if type_.is_bcd else 10)
    try:
        data = struct.pack(_CODES[type_], raw)
    except (struct.error, OverflowError):
        raise ValueError(f"{value} is no {type_}") from None
    words = struct.unpack(f">{len(data) // 2}H", data)
    # Putting words and bytes in order is its own inverse.
    return struct.unpack(f">{len(words)}H", big_endian(words, byte_order))


def get(place: Place) -> Asking[int | float | Refusal | None]:
    """Read one number; what the device refuses comes back as the Refusal."""
    answer = yield from ask(Read(place.area, place.address, place.words))
    if isinstance(answer, Refusal):
        return answer
    return number(answer.words, place.type, place.byte_order)


def get_all(
    places: Mapping[str, Place], limits: Limits
) -> Asking[tuple[int, dict[str, int]] | Refusal]:
    """Read numbers, in one read where they lie together; when that was (ns UTC), and each."""
    said: dict[str, int] = {}
    at_ns = 0
    for group in _together(places, limits):
        first = min(place.address for _, place in group)
        size = max(place.address + place.words for _, place in group) - first
        answer = yield from insist(Read(group[0][1].area, first, size), limits.busy)
        if isinstance(answer, Refusal):
            return answer
        at_ns = answer.received_ns
        for key, place in group:
            words = answer.words[place.address - first :][: place.words]
            said[key] = int(number(words, place.type, place.byte_order) or 0)
    return at_ns, said


def _together(places: Mapping[str, Place], limits: Limits) -> list[list[tuple[str, Place]]]:
    """Places in groups that one read takes."""
    groups: list[list[tuple[str, Place]]] = []
    for key, place in sorted(places.items(), key=lambda item: (item[1].area, item[1].address)):
        group = groups[-1] if groups else []
        last = group[-1][1] if group else None
        near = (
            last is not None
            and last.area is place.area
            and place.address - (last.address + last.words) <= limits.max_gap_words
            and place.address + place.words - group[0][1].address <= limits.max_read_words
        )
        if near:
            group.append((key, place))
        else:
            groups.append([(key, place)])
    return groups


def put(place: Place, value: float) -> Write:
    """The write that sets one number. Raises ValueError."""
    return Write(place.address, words_of(value, place.type, place.byte_order))


def insist(op: Read | Write | Call, busy: Busy) -> Asking[Answer | Refusal]:
    """Ask again while the device says it is busy, as its profile allows; for what may be repeated.

    A write whose answer failed to come is sent once more: to be used only where that does no harm.
    The line is free while it waits.
    """
    failed = False
    tried = 0
    while True:  # bounded: each round ends, counts towards `busy.tries`, or is the one repetition
        try:
            answer = yield from ask(op)
        except (LinkError, ReplyTimeout, InvalidReply):
            if failed or not isinstance(op, Write):
                raise
            failed = True
            continue
        tried += 1
        if isinstance(answer, Answer) or answer.code not in busy.codes or tried >= busy.tries:
            return answer
        yield Wait(busy.backoff_ms[min(tried, len(busy.backoff_ms)) - 1] * NS_PER_MS)
