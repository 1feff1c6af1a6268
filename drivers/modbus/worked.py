"""Worked examples of profiles, worked: registers through read planning and decoding to values.

Pure. What `hotpair profiles lint` tells, so that who writes a profile finds a wrong byte order
before a device is at hand.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping

from drivers.modbus.codec import compile_block
from drivers.modbus.plan import plan
from drivers.modbus.sunspec import discover, place
from gateway.model import Status, Value, is_bad, status_name
from profiles.schema import Example, PointMap, Profile, resolve

RELATIVE = 1e-12
"""The decimal of a manual and a product of doubles may differ by their last bits."""


def wrong_values(profile: Profile, example: Example) -> Iterator[tuple[str, str]]:
    """(point, what is wrong) of each value that does not come out as the example expects."""
    registers = {
        start + at: word
        for start, stretch in example.registers.items()
        for at, word in enumerate(stretch)
    }
    maps = _located(profile, registers, set(example.expect))
    found: dict[str, tuple[Value, int]] = {}
    for request in plan(maps, profile.limits, profile.quirks):
        words = [registers.get(request.address + at, 0) for at in range(request.count)]
        if request.area.is_bits:
            packed = sum(bool(word) << at for at, word in enumerate(words))
            data = packed.to_bytes((request.count + 7) // 8, "little")
        else:
            data = struct.pack(f">{request.count}H", *words)
        for number, value, status in compile_block(request, maps, range(len(maps)))(data):
            found[maps[number].name] = value, status
    for point, expected in example.expect.items():
        value, status = found.get(point, (None, Status.BAD_NOT_FOUND))
        if not _agrees(expected, value, status):
            shown = status_name(status) if is_bad(status) else repr(value)
            yield point, f"the example expects {expected!r}, its registers give {shown}"


def _located(profile: Profile, registers: Mapping[int, int], wanted: set[str]) -> list[PointMap]:
    """The points an example is about, with their scale factors, at absolute addresses."""
    factors = {str(profile.points[name].sf) for name in wanted if profile.points[name].sf}
    maps = [
        resolve(name, point, profile.defaults)
        for name, point in profile.points.items()
        if name in wanted | factors
    ]
    if profile.sunspec is None:
        return maps
    walk = discover(profile.sunspec)
    asked = next(walk)
    while True:  # bounded by the walk: at most 100 models
        try:
            asked = walk.send([registers.get(asked[0] + at, 0) for at in range(asked[1])])
        except StopIteration as done:
            return [point for point in place(maps, done.value).points if point is not None]


def _agrees(expected: Value, value: Value, status: int) -> bool:
    if expected is None:
        return is_bad(status)
    if is_bad(status):
        return False
    if isinstance(expected, float) and isinstance(value, float):
        return math.isclose(value, expected, rel_tol=RELATIVE, abs_tol=1e-300)
    return value == expected
