"""What is sent and not acknowledged: bounded in bytes and records. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from gateway.model import Term
from gateway.replication.frames import RECORDS_MAX, RECORDS_SIZE_MAX


class Limits(NamedTuple):
    """The bounds of one Sender; bytes count wire forms and a little for each record.

    A frame larger than the window goes when nothing else is under way. `memory_size` is for recent
    commits that wait; beyond `long_records` old ones the newest term waits for all others no more.
    """

    window_size: int = 4 << 20
    window_records: int = 8_000
    memory_size: int = 8 << 20
    long_records: int = 20_000


LIMITS: Final = Limits()


class Flight(NamedTuple):
    """A frame under way; `term` is None for kept records, `at_ns` for what came from the store."""

    term: Term | None
    first: int
    last: int
    digest: bytes
    size: int
    samples: int
    at_ns: int | None

    @property
    def records(self) -> int:
        return self.last - self.first + 1


class Window:
    """Frames under way, in the order of sending, which is that of their acknowledgement."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.records = 0
        self.samples = 0
        self._size = 0
        self._landed = 0
        self._flights: deque[Flight] = deque()

    def __bool__(self) -> bool:
        return bool(self._flights)

    def room(self, share: int = 1) -> tuple[int, int]:
        """Records and bytes that one frame may hold now, of a window divided by `share`."""
        records = self._limits.window_records // share - self.records
        size = self._limits.window_size // share - self._size
        return min(records, RECORDS_MAX), min(size, RECORDS_SIZE_MAX)

    def take_off(self, flight: Flight) -> None:
        """A frame is sent."""
        self._flights.append(flight)
        self._count(flight, 1)

    def land(self, frames: int) -> list[Flight]:
        """So many frames are acknowledged since the beginning: those that are so now."""
        landed: list[Flight] = []
        while self._flights and self._landed < frames:
            self._landed += 1
            landed.append(self._flights.popleft())
            self._count(landed[-1], -1)
        return landed

    def times(self) -> list[int | None]:
        """When the oldest frame of each term under way was committed."""
        oldest: dict[Term | None, int | None] = {}
        for flight in self._flights:
            oldest.setdefault(flight.term, flight.at_ns)
        return list(oldest.values())

    def _count(self, flight: Flight, sign: int) -> None:
        self.records += sign * flight.records
        self.samples += sign * flight.samples
        self._size += sign * flight.size
