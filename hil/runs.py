"""From a recorded run to what a judge needs: which point held what, faults included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hil.judges import Judged
from hil.outstation.encode import no_value
from hil.plant import Plant, PlantPoint
from hil.truth import Span, Step, overlay
from profiles.schema import PointMap


class Happening(NamedTuple):
    """What was done to an outstation, when (ns UTC): a fault, its end, power, a reset."""

    time_ns: int
    device: str
    what: str


def value_faults(journal: Iterable[Happening], device: str, to_ns: int) -> list[tuple[str, Span]]:
    """When the values of a device were not its truth: ("nan" or "stuck", stretch), in order.

    What is done to its log or its clock meanwhile ends no fault of its values.
    """
    found: list[tuple[str, Span]] = []
    begun: tuple[str, int] | None = None
    for item in journal:
        if item.device != device or item.what.startswith(("log ", "clock ")):
            continue
        if begun is not None:
            found.append((begun[0], Span(begun[1], item.time_ns, None)))
        kind = item.what.removeprefix("fault ")
        begun = (kind, item.time_ns) if kind in ("nan", "stuck") else None
    if begun is not None:
        found.append((begun[0], Span(begun[1], to_ns, None)))
    return found


def judged(plant: Plant, journal: Sequence[Happening] = (), to_ns: int = 0) -> list[Judged]:
    """Every readable point of a plant with what it held; `to_ns` ends faults that still last.

    A point in a stretch that its device refuses holds no value. Written values are not known here:
    leave written points out, or reset them.
    """
    found: list[Judged] = []
    for device in plant.devices.values():
        faults = value_faults(journal, device.name, to_ns)
        found.extend(
            Judged(
                point.id,
                point.device,
                point.scan_class,
                point.period_ns,
                _truth(point, faults),
                point.deadband,
            )
            for point in device.points
            if point.access.readable
        )
    return found


def _truth(
    point: PlantPoint, faults: Sequence[tuple[str, Span]]
) -> Callable[[int, int], Sequence[Step]]:
    if point.unreadable:
        return lambda from_ns, to_ns: [Step(from_ns, None)]
    spans = []
    for kind, span in faults:
        if kind == "stuck":
            spans.append(span._replace(value=point.expected(span.from_ns)))
        elif _blanks(point):
            spans.append(span)
    if not spans:
        return point.steps
    return lambda from_ns, to_ns: overlay(point.steps(from_ns, to_ns), spans, to_ns)


def _blanks(point: PlantPoint) -> bool:
    """Whether a point can say "no value" on the wire."""
    if not isinstance(point.place, PointMap):
        return True
    place = point.place
    return no_value(place.type, place.byte_order, place.point.nan) is not None
