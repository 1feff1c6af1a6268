"""Which signal a point gets: from its type, unit, range, enum and place on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.model import INTEGER_RANGES, DataType
from hil.outstation.encode import INTEGER_BOUNDS
from hil.truth import Kind, Shape, Signal, signal
from profiles.schema import PointMap, WireType

COUNTER_UNITS: Final = frozenset({"Wh", "kWh", "MWh", "varh", "kvarh", "VAh", "kVAh", "m3", "h"})
USUAL: Final = {
    "V": (215.0, 240.0),
    "A": (0.0, 63.0),
    "W": (0.0, 4_000.0),
    "kW": (0.0, 400.0),
    "var": (-500.0, 500.0),
    "VA": (0.0, 4_000.0),
    "Hz": (49.8, 50.2),
    "bar": (0.0, 10.0),
    "m": (0.0, 10.0),
    "m3/h": (0.0, 120.0),
    "%": (0.0, 100.0),
    "degC": (2.0, 38.0),
    "°C": (2.0, 38.0),
}
FREE: Final = (0.0, 1_000.0)
_SCALE_FACTOR_BOUNDS: Final = (-2, 1)


def register_signals(
    device: str, maps: Mapping[str, PointMap], change: float, seed: int
) -> dict[str, tuple[Signal, int | None]]:
    """The signal of each Modbus point, and which bit of it the point is (None: all of it).

    Points that lie on the same registers share one signal, since the wire can hold one value only.
    Raises ValueError for points that overlap in any other way.
    """
    factors = {m.point.sf for m in maps.values() if m.point.sf}
    owners: dict[tuple[Any, ...], PointMap] = {}
    for place in maps.values():
        if place.point.bit is None:
            for offset in range(place.words):
                key = (place.area, place.model, place.address + offset)
                other = owners.setdefault(key, place)
                if other is not place and not _same_place(other, place):
                    raise ValueError(f"points {other.name} and {place.name} overlap")
    found: dict[str, tuple[Signal, int | None]] = {}
    for name, place in maps.items():
        owner = owners.get((place.area, place.model, place.address))
        if owner is None:
            found[name] = signal(f"{device}/{name}", Shape(Kind.BOOL), change, seed), None
            continue
        if place.point.bit is not None and owner.words != 1:
            raise ValueError(f"bit {name} lies inside the value {owner.name}")
        shape = shape_of(owner, owner.name in factors)
        made = signal(f"{device}/{owner.name}", shape, change, seed, owner.name in factors)
        found[name] = made, place.point.bit
    return found


def _same_place(one: PointMap, two: PointMap) -> bool:
    return (one.address, one.type, one.byte_order, one.words) == (
        two.address,
        two.type,
        two.byte_order,
        two.words,
    )


def shape_of(place: PointMap, scale_factor: bool = False) -> Shape:
    """What a Modbus point may hold, raw."""
    point = place.point
    if place.type is WireType.BOOL:
        return Shape(Kind.BOOL)
    if place.type is WireType.STRING:
        width = 2 if point.encoding.startswith("utf-16") else 1
        return Shape(Kind.TEXT, length=2 * place.words // width)
    avoid = _avoided(place)
    if scale_factor:
        return Shape(Kind.INT, *_SCALE_FACTOR_BOUNDS, avoid=avoid)
    if point.enum:
        return Shape(
            Kind.INT,
            choices=tuple(key for key in sorted(point.enum) if key not in avoid),
            avoid=avoid,
        )
    if point.bits:
        return Shape(Kind.INT, mask=sum(1 << bit for bit in point.bits), avoid=avoid)
    counter = point.unit in COUNTER_UNITS
    if place.type in (WireType.FLOAT32, WireType.FLOAT64):
        low, high = _raw_span(place)
        if counter:
            low, high = 0.0, 2.0**22
        bits = 24 if place.type is WireType.FLOAT32 else 53
        return Shape(Kind.FLOAT, low, high, counter, avoid=avoid, precision_bits=bits)
    least, most = INTEGER_BOUNDS[place.type]
    if counter:
        return Shape(Kind.INT, 0, most, True, avoid=avoid)
    low, high = _raw_span(place)
    low, high = max(low, float(least)), min(high, float(most))
    if high - low < 1:
        low, high = 0.0, 1_000.0
    return Shape(Kind.INT, low, high, avoid=avoid)


def _avoided(place: PointMap) -> frozenset[float]:
    """Sentinels, also as the signed number that an unsigned hex sentinel means."""
    found: set[float] = set()
    for sentinel in place.point.nan:
        if isinstance(sentinel, int):
            found |= {sentinel, sentinel - 2 ** (16 * place.words)}
    return frozenset(found)


def _raw_span(place: PointMap) -> tuple[float, float]:
    """The usual values of a point's unit, or its declared range, turned back into raw values."""
    point = place.point
    if point.range is not None and point.range.raw is not None:
        low, high = sorted(point.range.raw)
        return low, high
    low, high = point.range.eu if point.range is not None else USUAL.get(point.unit, FREE)
    low, high = sorted(((low - point.offset) / point.scale, (high - point.offset) / point.scale))
    return low, high


def opcua_signal(
    device: str, name: str, kind: DataType, given: Mapping[str, Any], change: float, seed: int
) -> Signal:
    """The signal of an OPC UA point, in the type of its node."""
    unit = str(given.get("unit", ""))
    low, high = (given.get("range") or {}).get("eu") or USUAL.get(unit, FREE)
    low, high = sorted((float(low), float(high)))
    counter = unit in COUNTER_UNITS
    if kind is DataType.BOOL:
        shape = Shape(Kind.BOOL)
    elif kind is DataType.STRING:
        shape = Shape(Kind.TEXT, length=16)
    elif given.get("enum"):
        shape = Shape(Kind.INT, choices=tuple(sorted(int(key) for key in given["enum"])))
    elif kind in (DataType.FLOAT32, DataType.FLOAT64):
        if counter:
            low, high = 0.0, 2.0**22
        bits = 24 if kind is DataType.FLOAT32 else 53
        shape = Shape(Kind.FLOAT, low, high, counter, precision_bits=bits)
    elif kind in INTEGER_RANGES:
        least, most = INTEGER_RANGES[kind]
        shape = (
            Shape(Kind.INT, 0, most, True)
            if counter
            else Shape(Kind.INT, max(low, least), min(high, most))
        )
    else:
        raise ValueError(f"point {name}: the OPC UA outstation has no {kind}")
    return signal(f"{device}/{name}", shape, change, seed)
