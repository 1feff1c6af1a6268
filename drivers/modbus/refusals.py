"""Which addresses a device refused, and when to ask again. Pure.

A PLC in download or start-up refuses everything for a while, so the first doubts come soon; an
address that is still refused after a quarter of an hour is asked for once an hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from drivers.modbus.frames import READ_STATUS, exception_name
from gateway.model import NS_PER_S, Status
from profiles.schema import Area, PointMap

RETRY_NS: Final = (10 * NS_PER_S, 60 * NS_PER_S, 600 * NS_PER_S, 3600 * NS_PER_S)
RANGES_MAX: Final = 4096


@dataclass(slots=True)
class Refusal:
    """Addresses [first, last] of an area, refused with an exception code."""

    area: Area
    first: int
    last: int
    code: int
    retry_at_ns: int
    tries: int = 0

    def touches(self, point: PointMap) -> bool:
        """Whether a point lies in these addresses, if only partly."""
        return (
            point.area is self.area
            and point.address <= self.last
            and self.first < point.address + point.words
        )


class Refusals:
    """All that a device refused; as a device fact `[[area, first, last, code], ...]`."""

    def __init__(self, fact: Iterable[Any], now_ns: int) -> None:
        self._all: list[Refusal] = [
            Refusal(Area(area), int(first), int(last), int(code), now_ns + RETRY_NS[1], 1)
            for area, first, last, code in list(fact)[:RANGES_MAX]
        ]

    def __bool__(self) -> bool:
        return bool(self._all)

    def __str__(self) -> str:
        """For a person: neighbours that were refused alike are one stretch."""
        stretches: list[tuple[Area, int, int, int]] = []
        for one in sorted(self._all, key=lambda r: (r.area, r.code, r.first)):
            if stretches and (one.area, one.code) == stretches[-1][:2]:
                area, code, first, last = stretches[-1]
                if one.first <= last + 1:
                    stretches[-1] = (area, code, first, max(last, one.last))
                    continue
            stretches.append((one.area, one.code, one.first, one.last))
        return "; ".join(
            f"{area} {first if first == last else f'{first}..{last}'}: {exception_name(code)}"
            for area, code, first, last in stretches
        )

    @property
    def ranges(self) -> tuple[tuple[Area, int, int], ...]:
        return tuple((refusal.area, refusal.first, refusal.last) for refusal in self._all)

    def fact(self) -> list[list[Any]]:
        """What is worth knowing for the other node and the next start: JSON-like."""
        return [[r.area.value, r.first, r.last, r.code] for r in self._all]

    def add(self, area: Area, first: int, last: int, code: int, now_ns: int) -> None:
        """The device refused these addresses now."""
        for known in self._all:
            if (known.area, known.first, known.last) == (area, first, last):
                known.code = code
                self.postpone(known, now_ns)
                return
        if len(self._all) < RANGES_MAX:
            self._all.append(Refusal(area, first, last, code, now_ns + RETRY_NS[0]))

    def due(self, now_ns: int) -> Refusal | None:
        """One that should be asked for again."""
        return next((r for r in self._all if r.retry_at_ns <= now_ns), None)

    def postpone(self, refusal: Refusal, now_ns: int) -> None:
        """It was refused again: ask later."""
        refusal.tries = min(refusal.tries + 1, len(RETRY_NS) - 1)
        refusal.retry_at_ns = now_ns + RETRY_NS[refusal.tries]

    def remove(self, refusal: Refusal) -> None:
        """It is answered now, or stands for something that is known better."""
        self._all = [known for known in self._all if known is not refusal]

    def status_of(self, point: PointMap) -> int | None:
        """The status of a point that can't be read because of a refusal, else None."""
        for refusal in self._all:
            if refusal.touches(point):
                return READ_STATUS.get(refusal.code, Status.BAD_CONFIGURATION_ERROR)
        return None
