"""The registers that show a device's clock."""

from __future__ import annotations

from hil.outstation.book import Book
from hil.outstation.devicelog import Zone
from hil.outstation.faces.face import Block, RegisterFace, Whims, cut, located
from hil.outstation.stamps import stamp, subsecond
from hil.truth import EPOCH_NS
from profiles.records import Clock, TimeFormat


class ClockFace(RegisterFace):
    """Date and time, and the fraction of a second where the device has one apart."""

    def __init__(self, clock: Clock, book: Book, zone: Zone, base: int) -> None:
        self._said = clock
        self._book = book
        self._zone = zone
        self._form = clock.read.format or TimeFormat.UNIX_S
        area, low = located(clock.read, base)
        words = len(self._time(EPOCH_NS)) // 2
        blocks = [Block(area, low, words, lambda a, b, now: cut(self._time(now), a, b))]
        if clock.fraction is not None:
            area, low = located(clock.fraction, base)
            words = len(self._fraction(EPOCH_NS)) // 2
            blocks.append(Block(area, low, words, lambda a, b, now: cut(self._fraction(now), a, b)))
        # A log that refuses to be read doesn't take the clock along.
        super().__init__(blocks, Whims())

    def _wall(self, now_ns: int) -> int:
        clock = self._book.clock
        return self._zone.shown(clock.device_at(now_ns), clock.shift_s)[0]

    def _time(self, now_ns: int) -> bytes:
        read = self._said.read
        return stamp(self._form, self._wall(now_ns), read.type, read.byte_order)

    def _fraction(self, now_ns: int) -> bytes:
        part = self._said.fraction
        assert part is not None
        return subsecond(self._said.fraction_unit, part.type, self._wall(now_ns), part.byte_order)
