"""SunSpec model chaining: where each model of a device lies, found once and kept as a fact.

Sans-IO: a generator yields what to read and is sent the words. Source: SunSpec Device Information
Model Specification V1.2 section 6.4, and the order of bases of pysunspec2.

A device begins with the mark "SunS", then blocks of [id, length, data ...] follow one another until
the id 0xFFFF. Id and length are read apart, since some devices give no length for the end model.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from profiles.schema import PointMap, SunSpec

MARK: Final = (0x5375, 0x6E53)
"""'SunS'"""
END: Final = 0xFFFF
MODELS_MAX: Final = 100
_LAST_ADDRESS: Final = 0xFFFF

Fact = dict[str, Any]
"""JSON-like: {"base": 40000, "complete": true, "models": {"103": [[40070, 50]]}}.

Each model id has the addresses of its id registers with the lengths, in the order of the chain;
`complete` is false when the chain broke off before its end model.
"""

Discovery = Generator[tuple[int, int], Sequence[int] | None, Fact | None]


def discover(settings: SunSpec) -> Discovery:
    """Walk the models of a device; yields (address, count) of holding registers to be read.

    Send the words, or None when the device refuses the read (it may be silent, too: that is the
    caller's error to raise). Returns the fact, or None if no base carries the mark. Bounded to
    100 models.
    """
    for base in settings.bases:
        words = yield base, 2
        if words is not None and tuple(words) == MARK:
            return (yield from _walk(base))
    return None


def _walk(base: int) -> Discovery:
    models: dict[str, list[list[int]]] = {}
    address = base + len(MARK)
    complete = False
    for _ in range(MODELS_MAX):
        if address > _LAST_ADDRESS:
            break
        found = yield address, 1
        if not found:
            break
        if found[0] == END:
            complete = True
            break
        sized = (yield address + 1, 1) if address < _LAST_ADDRESS else None
        if not sized:
            break
        models.setdefault(str(found[0]), []).append([address, sized[0]])
        address += 2 + sized[0]
    return {"base": base, "complete": complete, "models": models}


def check(fact: Mapping[str, Any]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Cheap reads that tell whether a fact still holds: (address, words expected there).

    The mark, and id and length of the last model of the chain: if an earlier one had changed its
    length, that one would have moved. A mismatch means: discover again.
    """
    expected: list[tuple[int, tuple[int, ...]]] = [(fact["base"], MARK)]
    chain = [
        (address, int(model), length)
        for model, places in fact["models"].items()
        for address, length in places
    ]
    if chain:
        address, model, length = max(chain)
        expected.append((address, (model, length)))
    return tuple(expected)


def beyond(fact: Mapping[str, Any]) -> int | None:
    """Where a chain that broke off would go on; None where it is whole, or can't go on."""
    places = [place for where in fact["models"].values() for place in where]
    if fact["complete"] or len(places) >= MODELS_MAX:
        return None
    address, length = max(places, default=(fact["base"], 0))
    onward: int = address + 2 + length
    return onward if onward <= _LAST_ADDRESS else None


class Placed(NamedTuple):
    """Points with absolute addresses, None where the device lacks them; `missing` says why."""

    points: tuple[PointMap | None, ...]
    missing: dict[int, str]


def place(points: Sequence[PointMap], fact: Mapping[str, Any] | None) -> Placed:
    """Give the points that belong to a SunSpec model their address on this device.

    Others pass unchanged. Of a model that occurs several times the first is taken. Indices of
    `missing` are those of `points`. A `fact` of None means: no mark was found.
    """
    placed: list[PointMap | None] = []
    missing: dict[int, str] = {}
    models = fact["models"] if fact is not None else {}
    for index, point in enumerate(points):
        if point.model is None:
            placed.append(point)
            continue
        where = models.get(str(point.model))
        if fact is None:
            missing[index] = "the device shows no SunSpec mark"
        elif not where:
            missing[index] = f"the device has no SunSpec model {point.model}"
        elif point.address + point.words > where[0][1] + 2:
            missing[index] = f"model {point.model} of the device has only {where[0][1]} registers"
        else:
            placed.append(replace(point, address=where[0][0] + point.address))
            continue
        placed.append(None)
    return Placed(tuple(placed), missing)
