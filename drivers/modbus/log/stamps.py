"""What the stamps of a log's records mean: of which moment they are, and how late. Pure.

A stamp of local time may be two moments in the hour that comes twice, and the clock that made it
may have been set since. What tells is found out before the first record is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from drivers.modbus.log.records import Entry
from drivers.modbus.log.times import Step, Unplaced, applied, moments, present, settle
from gateway.driver import ClockReading


class Stamps:
    """Knows a log's zone, interval and clock, and when that was set.

    `clock` is the device's clock before the read, None if it can't be read; `resolution_ns` is the
    time between two records, None if that isn't known.
    """

    def __init__(
        self,
        zone: tzinfo | None,
        resolution_ns: int | None,
        clock: ClockReading | None,
        now_ns: int,
    ) -> None:
        self.offset_ns = applied(clock)
        self._zone = zone
        self._resolution_ns = resolution_ns
        self._clock = clock
        self._present_ns = present(now_ns, clock)
        self._steps: tuple[Step, ...] = ()
        self._unplaced: tuple[Unplaced, ...] = ()
        self._newest: tuple[int, int] | None = None

    def latest_ns(self, entry: Entry, number: int | None = None) -> int | None:
        """The latest that a record's corrected time may be; None if its stamp is no moment."""
        if entry.wall_ns is None:
            return None
        return moments(entry.wall_ns, self._zone)[1] - self.offset_ns - self.late_ns(number)

    def likely_ns(self, entry: Entry, number: int) -> int | None:
        """The same, but of two moments the one that the number tells, where it does."""
        latest_ns = self.latest_ns(entry, number)
        raw_ns = self._counted(entry, number)
        if latest_ns is None or raw_ns is None:
            return latest_ns
        return raw_ns - self.offset_ns - self.late_ns(number)

    def is_unsure(self, entry: Entry) -> bool:
        """Whether a stamp may be two moments: then the records before it are needed to tell."""
        if entry.wall_ns is None:
            return False
        early, late = moments(entry.wall_ns, self._zone)
        return early != late

    def was_set(self, steps: Sequence[Step], unplaced: Sequence[Unplaced] = ()) -> None:
        """Say before which records the clock was set, if that was found out beforehand.

        Where it isn't known before which one, times until then are known that much less well.
        """
        self._steps = tuple(steps)
        self._unplaced = tuple(unplaced)

    def counts_from(self, number: int, entry: Entry | None) -> None:
        """Say which record is the newest; None: the numbers of before mean nothing any more.

        Where no record before them tells which of two moments stamps mean, its distance does.
        """
        self._newest = None
        if entry is not None and entry.wall_ns is not None:
            (raw_ns,) = settle([entry.wall_ns], self._zone, None, self._present_ns)
            self._newest = number, raw_ns

    def known_at(self, entry: Entry, number: int, at_ns: int) -> None:
        """Say that a record was there at `at_ns`, this node's time; it must be the newest yet.

        One that is stamped later than the device's clock said then was made before that clock was
        set back, though no record after it tells so.
        """
        if self._clock is None or entry.wall_ns is None or self.late_ns(number):
            return
        ahead_ns = moments(entry.wall_ns, self._zone)[0] - at_ns - self._clock.offset_ns
        if ahead_ns > self._clock.uncertainty_ns:
            since_ns = (self._resolution_ns or 0) // 2
            self._steps = (*self._steps, Step(number + 1, ahead_ns + since_ns))

    def _counted(self, entry: Entry, number: int | None) -> int | None:
        """What a stamp means by the records that came after it; None: they don't tell."""
        if entry.wall_ns is None or number is None or self._newest is None:
            return None
        newest, newest_ns = self._newest
        if not self._resolution_ns:
            return None
        late_ns = self.late_ns(number) - self.late_ns(newest)
        expected_ns = newest_ns - (newest - number) * self._resolution_ns + late_ns
        early, late = moments(entry.wall_ns, self._zone)
        return early if abs(early - expected_ns) < abs(late - expected_ns) else late

    def late_ns(self, number: int | None) -> int:
        """How much a record is late because the clock was set after it; below 0: early."""
        return sum(self.later(number))

    def later(self, number: int | None) -> list[int]:
        """How far the clock was set each time after a record."""
        return [by_ns for at, by_ns in self._steps if number is not None and number < at]

    def doubt_ns(self, time_ns: int) -> int:
        """How much less well a time is known: what the clock was set by, nobody knows when."""
        return sum(by_ns for until_ns, by_ns in self._unplaced if time_ns < until_ns)

    def settled(
        self, entries: Sequence[Entry], numbers: Sequence[int | None], after_ns: int | None
    ) -> list[int]:
        """The moments that the stamps of records mean, in the device's time.

        `after_ns` is the moment of the record before them. Records without a stamp are left out.
        """
        walls = [entry.wall_ns for entry in entries if entry.wall_ns is not None]
        if after_ns is None:
            dated = (at for at, entry in enumerate(entries) if entry.wall_ns is not None)
            first = next(dated, None)
            after_ns = None if first is None else self._begins(entries[first], numbers[first])
        return settle(walls, self._zone, after_ns, self._present_ns)

    def _begins(self, entry: Entry, number: int | None) -> int | None:
        """The moment of a first record, if its number tells that it is the earlier of two.

        Else the records after it tell, and `settle` looks at them.
        """
        raw_ns = self._counted(entry, number)
        if raw_ns is None or entry.wall_ns is None:
            return None
        early, late = moments(entry.wall_ns, self._zone)
        return raw_ns if raw_ns == early != late else None
