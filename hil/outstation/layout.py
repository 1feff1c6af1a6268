"""Where a unit's registers lie: points, holes, and the chain of SunSpec models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hil.outstation.encode import encode
from hil.outstation.memory import UNIMPLEMENTED, Memory
from hil.plant import PlantDevice
from hil.settings import Rig, SiteError
from profiles.schema import Area, ByteOrder, PointMap, WireType

SUNSPEC_MARK: Final = b"SunS"
MODEL_LENGTHS: Final = {
    1: 66,
    101: 50,
    102: 50,
    103: 50,
    111: 60,
    112: 60,
    113: 60,
    201: 105,
    202: 105,
    203: 105,
    204: 105,
}
"""Words after id and length, of the models at github sunspec/models; others end at their points."""
END_MODEL: Final = b"\xff\xff\x00\x00"


def memory_of(device: PlantDevice, rig: Rig) -> Memory:
    """The memory of a Modbus unit. Raises SiteError when it can't exist."""
    maps: dict[str, PointMap] = {p.name: p.place for p in device.points}
    constants: dict[Area, dict[int, bytes]] = {}
    addresses = {name: place.address for name, place in maps.items() if place.model is None}
    if any(place.model is not None for place in maps.values()):
        addresses |= _chain(device, maps, constants)
    ranges = {area: list(pairs) for area, pairs in rig.scratch.get(device.name, {}).items()}
    heartbeat = device.settings.get("heartbeat")
    if heartbeat is not None:
        at = int(heartbeat["address"])
        ranges.setdefault(Area(heartbeat.get("register", "holding")), []).append((at, at))
    if device.name not in rig.strict:
        for area, pairs in _readable(device, maps, addresses).items():
            ranges.setdefault(area, []).extend(pairs)
    whole = device.name in rig.whole
    refused = rig.refuse.get(device.name, {})
    return Memory(device.points, addresses, constants, ranges, refused, whole)


def _readable(
    device: PlantDevice, maps: Mapping[str, PointMap], addresses: Mapping[str, int]
) -> dict[Area, list[tuple[int, int]]]:
    """What may be read in passing: the ranges that the profile allows, else the small gaps that it
    says may be read across. Registers there read 0."""
    found = {area: list(pairs) for area, pairs in device.limits.allowed_ranges.items()}
    gap = device.limits.max_gap_words
    by_area: dict[Area, list[tuple[int, int]]] = {}
    for name, place in maps.items():
        at = addresses[name]
        by_area.setdefault(place.area, []).append((at, at + place.words))
    for area, ends in by_area.items():
        if area in found:
            continue
        ends.sort()
        reach = 16 * gap if area.is_bits else gap
        end = ends[0][1]
        for low, high in ends[1:]:
            if end < low <= end + reach:
                found.setdefault(area, []).append((end, low - 1))
            end = max(end, high)
    return found


def _chain(
    device: PlantDevice,
    maps: Mapping[str, PointMap],
    constants: dict[Area, dict[int, bytes]],
) -> dict[str, int]:
    """Lay the SunSpec models one after the other, and say where each point came to lie."""
    base = device.sunspec_base
    blocks = constants.setdefault(Area.HOLDING, {})
    blocks[base] = SUNSPEC_MARK
    at = base + 2
    addresses: dict[str, int] = {}
    for model in sorted({place.model for place in maps.values() if place.model is not None}):
        points = [(name, place) for name, place in maps.items() if place.model == model]
        ends = max(place.address + place.words for _, place in points) - 2
        length = MODEL_LENGTHS.get(model, ends)
        if ends > length:
            raise SiteError(f"{device.name}: model {model} has {length} words, a point ends later")
        head = encode(model, WireType.UINT16, ByteOrder.ABCD)
        head += encode(length, WireType.UINT16, ByteOrder.ABCD)
        blocks[at] = head + UNIMPLEMENTED * length
        addresses |= {name: at + place.address for name, place in points}
        at += length + 2
    blocks[at] = END_MODEL
    return addresses
