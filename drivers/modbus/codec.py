"""Registers to values: one precompiled decoder for each block of a read plan.

Pure, and the hot path. A block is unpacked by as few `struct` calls as its byte orders need
(usually one, whatever the mix of types), then points are finished in bulk: plain ones are only
zipped, scaled ones multiplied, and only what needs more (a bit, a string, a scale factor, a range)
is touched one by one. The other direction is in `encode.py`.

What a device can't say honestly becomes a status, never a number:

- a `nan:` sentinel, a float NaN, an unimplemented SunSpec scale factor, a BCD digit above 9:
  Bad_SensorFailure (OPC 10000-8 section 6.3: the device itself tells that its source of the value
  gives none). For BCD this is the thumbwheel between two positions; a wrong `type:` looks alike.
- an infinity, or a result that `publish_as` can't hold: Bad_OutOfRange.
- outside the raw span of a `range:`: computed, and Uncertain_EngineeringUnitsExceeded.
- text that its encoding can't decode: the readable rest, and Uncertain.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from drivers.modbus.convert import NO_VALUE, Ramp, converter, ramp, sentinels
from drivers.modbus.encode import encode_point
from drivers.modbus.plan import Request
from gateway.errors import InvalidReply
from gateway.model import Status, Value
from profiles.schema import ByteOrder, PointMap, WireType

__all__ = ["Decoder", "compile_block", "encode_point"]

Decoder = Callable[[bytes], list[tuple[int, Value, int]]]
"""The data bytes of a reply to (number, value, status) of every reported point of the block."""

_BITS: Final = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))
_FORMATS: Final = {
    WireType.BOOL: "H",
    WireType.INT16: "h",
    WireType.UINT16: "H",
    WireType.BCD16: "H",
    WireType.INT32: "i",
    WireType.UINT32: "I",
    WireType.BCD32: "I",
    WireType.INT64: "q",
    WireType.UINT64: "Q",
    WireType.FLOAT32: "f",
    WireType.FLOAT64: "d",
}
_Lane = tuple[bool, str]
"""Whether the bytes of each register are swapped before unpacking, and the struct byte order."""
_LANES: Final[dict[ByteOrder, _Lane]] = {
    ByteOrder.ABCD: (False, ">"),
    ByteOrder.CDAB: (True, "<"),
    ByteOrder.BADC: (True, ">"),
    ByteOrder.DCBA: (False, "<"),
}


def compile_block(request: Request, points: Sequence[PointMap], numbers: Sequence[int]) -> Decoder:
    """The decoder of one request's replies; `numbers` belongs to `points`, index by index.

    It takes 2 * count bytes of registers, or packed bits, lowest first; another length raises
    InvalidReply. A point with a negative number is read (a scale factor) but not reported.
    """
    if request.area.is_bits:
        return _compile_bits(request, points, numbers)
    return _compile_registers(request, points, numbers)


def _compile_bits(request: Request, points: Sequence[PointMap], numbers: Sequence[int]) -> Decoder:
    size = (request.count + 7) // 8
    wanted = [index for index in request.points if numbers[index] >= 0]
    pick = _picker([points[index].address - request.address for index in wanted], 8 * size)
    reported = tuple(numbers[index] for index in wanted)
    good = (Status.GOOD,) * len(wanted)
    table = _BITS

    def decode(data: bytes) -> list[tuple[int, Value, int]]:
        if len(data) != size:
            raise _wrong_length(len(data), size)
        bits = tuple(chain.from_iterable([table[byte] for byte in data]))
        return list(zip(reported, pick(bits), good, strict=True))

    return decode


@dataclass(slots=True)
class _Work:
    """What is left to do after unpacking; positions count the reported points of the block."""

    slots: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    scaled: list[tuple[int, float, float]] = field(default_factory=list)
    floats: list[int] = field(default_factory=list)
    ranged: list[tuple[int, int, Ramp]] = field(default_factory=list)
    guarded: list[tuple[int, int, int, frozenset[Any]]] = field(default_factory=list)
    special: list[tuple[int, int, Callable[[Sequence[Any]], tuple[Value, int]]]] = field(
        default_factory=list
    )


def _compile_registers(
    request: Request, points: Sequence[PointMap], numbers: Sequence[int]
) -> Decoder:
    unpack, slot_of = _unpacker(request, points)
    work = _divide(request, points, numbers, slot_of)
    pick = _picker(work.slots, len(set(slot_of.values())))
    reported = tuple(work.numbers)
    good = (Status.GOOD,) * len(reported)
    if not (work.scaled or work.floats or work.ranged or work.guarded or work.special):

        def decode_plain(data: bytes) -> list[tuple[int, Value, int]]:
            return list(zip(reported, pick(unpack(data)), good, strict=True))

        return decode_plain
    scale = _scaler(work.scaled, len(reported))
    checked = _picker(work.floats, len(reported)) if work.floats else None
    floats, ranged = tuple(work.floats), tuple(work.ranged)
    guarded, special = tuple(work.guarded), tuple(work.special)
    isfinite, good_status, exceeded = math.isfinite, Status.GOOD, Status.UNCERTAIN_EU_EXCEEDED

    def decode(data: bytes) -> list[tuple[int, Value, int]]:
        raws = unpack(data)
        values = scale(pick(raws))
        found = list(zip(reported, values, good, strict=True))
        # One NaN or infinity makes the sum not finite; an overflow of the sum only costs time.
        if checked is not None and not isfinite(sum(checked(values))):
            for at in floats:
                if not isfinite(values[at]):
                    status = NO_VALUE[1] if math.isnan(values[at]) else Status.BAD_OUT_OF_RANGE
                    found[at] = (reported[at], None, status)
        for at, number, (low, high, raw_a, eu_a, span, raw_span) in ranged:
            raw = values[at]
            status = good_status if low <= raw <= high else exceeded
            found[at] = (number, eu_a + (raw - raw_a) * span / raw_span, status)
        for at, slot, number, absent in guarded:
            if raws[slot] in absent:
                found[at] = (number, *NO_VALUE)
        for at, number, convert in special:
            found[at] = (number, *convert(raws))
        return found

    return decode


def _divide(
    request: Request,
    points: Sequence[PointMap],
    numbers: Sequence[int],
    slot_of: dict[int, int],
) -> _Work:
    """Sort the points of a block by what they need beyond unpacking."""
    work = _Work()
    by_name = {points[index].name: slot_of[index] for index in request.points}
    for index in request.points:
        if numbers[index] < 0:
            continue
        point, slot, number = points[index], slot_of[index], numbers[index]
        spec = point.point
        at = len(work.slots)
        work.slots.append(slot)
        work.numbers.append(number)
        convert = converter(point, slot, by_name.get(spec.sf) if spec.sf is not None else None)
        if convert is not None:
            work.special.append((at, number, convert))
            continue
        linear = spec.scale != 1 or spec.offset != 0
        slope = ramp(spec)
        if slope is not None:
            work.ranged.append((at, number, slope))
        elif linear:
            work.scaled.append((at, spec.scale, spec.offset))
        if point.type.is_float or (
            linear and not math.isfinite(abs(spec.scale) * 2.0**64 + abs(spec.offset))
        ):
            work.floats.append(at)
        if absent := sentinels(point):
            work.guarded.append((at, slot, number, absent))
    return work


def _scaler(
    scaled: Sequence[tuple[int, float, float]], count: int
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that scales the values of a block, in bulk when all of them are scaled."""
    if not scaled:
        return lambda values: values
    if len(scaled) == count:
        factors = tuple(scale for _, scale, _ in scaled)
        offsets = tuple(offset for _, _, offset in scaled)
        if not any(offsets):
            # x + 0.0 only matters for -0.0, which a person would not write.
            return lambda values: [v * s + 0.0 for v, s in zip(values, factors, strict=True)]
        return lambda values: [v * s + o for v, s, o in zip(values, factors, offsets, strict=True)]

    def scale_some(values: Sequence[Any]) -> Sequence[Any]:
        result = list(values)
        for at, factor, offset in scaled:
            result[at] = result[at] * factor + offset
        return result

    return scale_some


def _picker(slots: Sequence[int], count: int) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that takes the values at `slots` from a sequence of `count`, in order."""
    if list(slots) == list(range(count)):
        return lambda raws: raws
    if len(slots) > 1:
        return itemgetter(*slots)
    if not slots:
        return lambda raws: ()
    only = slots[0]
    return lambda raws: (raws[only],)


# ---------------------------------------------------------------------------------------- unpacking


@dataclass(slots=True)
class _Track:
    """Values of one lane that don't overlap, by address: one struct over the whole block."""

    lane: _Lane
    end: int = 0
    formats: list[str] = field(default_factory=list)
    owners: list[list[int]] = field(default_factory=list)

    def compile(self, count: int) -> struct.Struct:
        rest = f"{2 * (count - self.end)}x" if count > self.end else ""
        return struct.Struct(self.lane[1] + "".join(self.formats) + rest)


def _unpacker(
    request: Request, points: Sequence[PointMap]
) -> tuple[Callable[[bytes], Sequence[Any]], dict[int, int]]:
    """A function from reply bytes to raw values, and which of them belongs to each point.

    Points of the same registers, type and order (the bits of a register) share one raw value.
    Raw values lie in lanes: one struct for each byte order, more only where points overlap.
    """
    keys: dict[tuple[int, str, _Lane], list[int]] = {}
    lanes = _needed_lanes([points[index] for index in request.points])
    for index in request.points:
        point = points[index]
        lane = next(lane for lane in lanes if lane in _lanes_of(point))
        code = _FORMATS.get(point.type, f"{2 * point.words}s")
        keys.setdefault((point.address - request.address, code, lane), []).append(index)
    tracks: list[_Track] = []
    for (offset, code, lane), members in sorted(keys.items(), key=lambda item: item[0][0]):
        track = next((one for one in tracks if one.lane == lane and one.end <= offset), None)
        if track is None:
            track = _Track(lane)
            tracks.append(track)
        track.formats.append((f"{2 * (offset - track.end)}x" if offset > track.end else "") + code)
        track.owners.append(members)
        track.end = offset + points[members[0]].words
    slot_of: dict[int, int] = {}
    for slot, members in enumerate(chain.from_iterable(track.owners for track in tracks)):
        for index in members:
            slot_of[index] = slot
    compiled = [(track.lane[0], track.compile(request.count)) for track in tracks]
    return _unpack_all(compiled, 2 * request.count), slot_of


def _unpack_all(
    compiled: Sequence[tuple[bool, struct.Struct]], size: int
) -> Callable[[bytes], Sequence[Any]]:
    if len(compiled) == 1 and not compiled[0][0]:
        unpack_one = compiled[0][1].unpack

        def unpack(data: bytes) -> Sequence[Any]:
            if len(data) != size:
                raise _wrong_length(len(data), size)
            return unpack_one(data)

        return unpack
    unpackers = tuple((swapped, one.unpack) for swapped, one in compiled)

    def unpack_lanes(data: bytes) -> Sequence[Any]:
        if len(data) != size:
            raise _wrong_length(len(data), size)
        swapped = array("H", data)
        swapped.byteswap()
        raws: tuple[Any, ...] = ()
        for is_swapped, one in unpackers:
            raws += one(swapped if is_swapped else data)
        return raws

    return unpack_lanes


def _lanes_of(point: PointMap) -> tuple[_Lane, ...]:
    """The lanes that decode a point right, best first."""
    best = _LANES[point.byte_order]
    if point.type is WireType.STRING:
        swapped = point.byte_order.bytes_swapped
        return ((swapped, ">"), (swapped, "<"))
    if point.words > 1:
        return (best,)
    # One register: swapping its bytes and reading it the other way round is the same.
    return (best, (not best[0], "<" if best[1] == ">" else ">"))


def _needed_lanes(points: Sequence[PointMap]) -> tuple[_Lane, ...]:
    """As few lanes as decode all points, those that leave no choice first."""
    lanes: list[_Lane] = []
    for point in sorted(points, key=lambda point: len(_lanes_of(point))):
        choices = _lanes_of(point)
        if not any(lane in lanes for lane in choices):
            lanes.append(choices[0])
    return tuple(lanes)


def _wrong_length(got: int, expected: int) -> InvalidReply:
    return InvalidReply(f"a reply of {got} data bytes where {expected} were asked for")
