"""From records in the order of a log to pages of it. Pure.

Whatever a method has to do to get at its records, what becomes of them is the same: stamps are
settled and corrected, observations are cut to the wanted stretch, what the log lacks is said, and
pages join. A method feeds a `Pager` with what it read, oldest first, and with what it could not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from drivers.modbus.log.records import Entry
from drivers.modbus.log.stamps import Stamps
from drivers.modbus.log.times import agree
from gateway.driver import (
    PAGE_RECORDS_MAX,
    PAGE_VALUES_MAX,
    ClockReading,
    DeviceEvent,
    Lacking,
    LogPage,
    LogWanted,
    Observation,
)
from gateway.model import format_duration

OVERWRITTEN: Final = "overwritten"
CLEARED: Final = "cleared"
RECONFIGURED: Final = "reconfigured"
TORN: Final = "torn"
NOT_RECORDED: Final = "the device recorded nothing"
UNPLACED: Final = "the device recorded nothing, or its clock was set there"
"""Why a log lacks something; a method may add to them."""

STEP_SEVERITY: Final = 500


class _Held(NamedTuple):
    """A record that waits to be in a page, with its corrected time."""

    time_ns: int
    entry: Entry
    number: int | None


class Pager:
    """Takes what was read of one log, oldest first; gives the pages.

    `clock` is the device's clock before the read, None if it can't be read. `resolution_ns` is the
    time between two records, None if that isn't known: then pauses of the device aren't seen.
    """

    def __init__(
        self,
        wanted: LogWanted,
        zone: tzinfo | None,
        resolution_ns: int | None,
        clock: ClockReading | None,
        now_ns: int,
        page_records: int = PAGE_RECORDS_MAX,
    ) -> None:
        self.done = False
        """Whether a record at or after the end of the wanted stretch was taken."""
        self.oldest_ns: int | None = None
        self.newest_ns: int | None = None
        """What the log holds, for its pages to tell; set by the method where it knows."""
        self._wanted = wanted
        self.stamps = Stamps(zone, resolution_ns, clock, now_ns)
        self._resolution_ns = resolution_ns
        self._clock = clock
        self._page_records = page_records
        self.from_ns = wanted.from_ns
        """Where the next page begins."""
        self._held: list[_Held] = []
        self._preceding: _Held | None = None
        self._lacks: list[Lacking] = []
        self._events: list[DeviceEvent] = []
        self._why = ""
        self._before = OVERWRITTEN
        self._last_ns: int | None = None
        self._raw_ns: int | None = None
        self._crowd: tuple[int, int] | None = None
        self._next: int | None = None
        self._doubt_ns = 0
        self._stepped_ns = 0
        self._was_late = 0

    # ------------------------------------------------------------------------------- what was read

    def _doubt(self, ns: int) -> None:
        """Times are known that much less well: of each step only its length to a record's time."""
        self._doubt_ns = max(self._doubt_ns, ns)

    def _unsure_ns(self, number: int | None) -> int:
        """How badly is known by how much the clock was set after a record: to a record's time."""
        return sum(self._resolution_ns or abs(by) for by in self.stamps.later(number))

    def began(self, why: str) -> None:
        """Say why there is nothing before the log's oldest record, if it wasn't overwritten."""
        self._before = why

    def follows(self, time_ns: int) -> None:
        """Say when the record before the next one was made, which an earlier read had."""
        self._last_ns = time_ns

    @property
    def last_ns(self) -> int | None:
        """When the last record was made that was taken; corrected."""
        return self._last_ns

    def measured(self, clock: ClockReading | None) -> None:
        """Take another reading of the device's clock: one that disagrees makes the times doubtful.

        What is corrected stays as it began, so that a record has one time however often it is read.
        """
        if self._clock is None or clock is None or agree(self._clock, clock):
            return
        self._doubt(abs(self._clock.offset_ns - clock.offset_ns))

    def lack(self, why: str) -> None:
        """Say that records before the next one to be taken can't be read; the first reason stays.

        A record without a moment is lacking, too.
        """
        self._why = self._why or why

    def take(self, entries: Sequence[Entry], numbers: Sequence[int] | None = None) -> None:
        """Take records that follow the ones before; `numbers` unwrapped, else their own."""
        counted = [entry.number for entry in entries] if numbers is None else numbers
        raws = iter(self.stamps.settled(entries, counted, self._raw_ns))
        for at, entry in enumerate(entries):
            if self.done:
                return
            if entry.wall_ns is None:
                self.lack(TORN)
            else:
                self._take(entry, counted[at], next(raws))

    def _take(self, entry: Entry, number: int | None, raw_ns: int) -> None:
        late_ns = self.stamps.late_ns(number)
        time_ns = raw_ns - self.stamps.offset_ns - late_ns
        if late_ns:
            self._doubt(self._unsure_ns(number))
        elif self._was_late:
            self._events.append(_was_set(time_ns, self._was_late))
        elif self._raw_ns is not None and raw_ns < self._raw_ns:
            self._stepped(time_ns, self._raw_ns + (self._resolution_ns or 0) - raw_ns)
        self._doubt(self.stamps.doubt_ns(time_ns))
        self._raw_ns, self._was_late = raw_ns, late_ns
        self._add(_Held(time_ns, entry, number))

    def _add(self, held: _Held) -> None:
        if self._is_before(held) and self._crowd != (held.time_ns, self.from_ns):
            self._last_ns, self._why, self._preceding = held.time_ns, "", held
            return
        # Earlier only where the page before was full of this very time, or by another reading.
        held = held._replace(time_ns=max(held.time_ns, self.from_ns))
        self._next = held.number
        self._look_back(min(held.time_ns, self._wanted.to_ns), held.time_ns)
        self._last_ns, self._why = held.time_ns, ""
        if held.time_ns >= self._wanted.to_ns:
            self.done = True
            return
        self._held.append(held)

    def _is_before(self, held: _Held) -> bool:
        """Whether a record lies before what is wanted, by its time.

        Where two reads meet its number tells: each of them measured the device's clock anew, and
        found out anew by how much it was set.
        """
        seam, clock = self._wanted.next_record, self._clock
        near_ns = abs(held.time_ns - self._wanted.from_ns)
        if seam is None or held.number is None or clock is None or self._before != OVERWRITTEN:
            return held.time_ns < self.from_ns
        if near_ns > 2 * (clock.uncertainty_ns + self._unsure_ns(held.number)):
            return held.time_ns < self.from_ns
        return held.number < seam

    def _look_back(self, until_ns: int, time_ns: int) -> None:
        """Say what is lacking between the last record and one at `time_ns`."""
        why = self._why
        if self._last_ns is None:
            begin_ns, why = self.from_ns, why or self._before
        else:
            begin_ns = self._covered_ns(self._last_ns)
            resolution_ns = self._resolution_ns
            if not why and resolution_ns and 2 * (time_ns - self._last_ns) > 3 * resolution_ns:
                why = UNPLACED if self.stamps.doubt_ns(self._last_ns) else NOT_RECORDED
        begin_ns = max(begin_ns, self.from_ns)
        if why and begin_ns < until_ns:
            self._lacks.append(Lacking(begin_ns, until_ns, why))

    def _covered_ns(self, time_ns: int) -> int:
        """Until when a record speaks that has no successor."""
        return time_ns + (self._resolution_ns or 1)

    def _stepped(self, time_ns: int, by_ns: int) -> None:
        """The clock was set back before the record of `time_ns`: what came before was late."""
        if self._preceding is not None:
            self._preceding = self._preceding._replace(time_ns=self._preceding.time_ns - by_ns)
        late = [each._replace(time_ns=each.time_ns - by_ns) for each in self._held]
        self._held = [each for each in late if each.time_ns >= self.from_ns]
        if len(self._held) < len(late):
            self._preceding = late[-len(self._held) - 1]
        self._lacks = [
            Lacking(max(a - by_ns, self.from_ns), b - by_ns, why)
            for a, b, why, _ in self._lacks
            if b - by_ns > self.from_ns
        ]
        if self._last_ns is not None:
            self._last_ns -= by_ns
        self._stepped_ns += self._resolution_ns or by_ns
        self._doubt(self._stepped_ns)
        self._events.append(_was_set(time_ns, by_ns))

    # ---------------------------------------------------------------------------------------- pages

    @property
    def ready(self) -> bool:
        """Whether a full page waits."""
        return len(self._held) > self._fits

    @property
    def _fits(self) -> int:
        """How many records a page takes: many columns make few."""
        columns = len(self._held[0].entry.values) if self._held else 0
        return min(self._page_records, max(1, PAGE_VALUES_MAX // max(1, columns)))

    def pages(self) -> Iterator[LogPage]:
        """The full pages; to be yielded before more is taken."""
        while self.ready:
            fits = count = self._fits
            through_ns = self._held[count].time_ns
            while count and self._held[count - 1].time_ns == through_ns:
                count -= 1
            if count == 0:
                # More records of one time than a page holds: the rest is a nanosecond later.
                count = fits
                crowd_ns = self._crowd_ns(through_ns)
                through_ns += 1
                self._crowd = crowd_ns, through_ns
                self._held[count:] = [
                    each._replace(time_ns=max(each.time_ns, through_ns))
                    for each in self._held[count:]
                ]
            yield self._page(count, through_ns)

    def flush(self) -> Iterator[LogPage]:
        """What was taken so far, in pages that end right behind the last record."""
        yield from self.pages()
        if self._held:
            last_ns = self._held[-1].time_ns
            self._crowd = self._crowd_ns(last_ns), last_ns + 1
            yield self._page(len(self._held), last_ns + 1)

    def _crowd_ns(self, time_ns: int) -> int:
        """The time that records at `time_ns` had before a page was full of it."""
        return self._crowd[0] if self._crowd is not None and self._crowd[1] == time_ns else time_ns

    def finish(self) -> Iterator[LogPage]:
        """The rest, once the newest record was taken or the wanted stretch is through."""
        yield from self.pages()
        through_ns = self._wanted.to_ns
        if not self.done:
            if self._last_ns is None:
                return
            through_ns = min(through_ns, self._covered_ns(self._last_ns))
        yield from self._rest(through_ns)

    def lost(self, until_ns: int, why: str) -> Iterator[LogPage]:
        """The rest where the log has nothing more up to `until_ns`, this node's time."""
        yield from self.pages()
        until_ns = min(until_ns, self._wanted.to_ns)
        if until_ns <= self.from_ns and not self._held:
            return
        self.lack(why)
        self._look_back(until_ns, until_ns)
        self._why = ""
        yield from self._rest(until_ns)

    def _rest(self, through_ns: int) -> Iterator[LogPage]:
        """The last page, if there is anything to say; a device's clock may be ahead of ours."""
        if self._held:
            through_ns = max(through_ns, self._held[-1].time_ns + 1)
        if through_ns > self.from_ns:
            yield self._page(len(self._held), through_ns)

    def _page(self, count: int, through_ns: int) -> LogPage:
        taken, self._held = self._held[:count], self._held[count:]
        lacks = [each for each in self._lacks if each.from_ns < through_ns]
        self._lacks = [each for each in self._lacks if each.from_ns >= through_ns]
        following = self._held[0].number if self._held else self._next
        if not self._held and not self.done and following is not None:
            following += 1
        observations = [seen for each in taken for seen in _observed(each, each.time_ns)]
        before = self._in_force(lacks)
        self._preceding = taken[-1] if taken else self._preceding
        from_ns, self.from_ns = self.from_ns, through_ns
        events, self._events = self._events, []
        return LogPage(
            from_ns,
            through_ns,
            observations,
            lacks,
            events,
            records=len(taken),
            first_record=taken[0].number if taken else None,
            next_record=following,
            oldest_ns=self.oldest_ns,
            newest_ns=self.newest_ns,
            resolution_ns=self._resolution_ns,
            clock=self._said_clock(),
            before=before,
        )

    def _in_force(self, lacks: Sequence[Lacking]) -> Sequence[Observation]:
        """What the record before a page says of its beginning, if nothing is lacking there."""
        held, begin_ns = self._preceding, self.from_ns
        if held is None or (lacks and lacks[0].from_ns <= begin_ns):
            return ()
        resolution_ns = self._resolution_ns
        if resolution_ns and 2 * (begin_ns - held.time_ns) > 3 * resolution_ns:
            return ()
        # By number it is before, though by this reading of the clock it may be a little later.
        return _observed(held, min(held.time_ns, begin_ns))

    def _said_clock(self) -> ClockReading | None:
        if self._clock is None:
            return None
        return ClockReading(self.stamps.offset_ns, self._clock.uncertainty_ns + self._doubt_ns)


def _observed(held: _Held, time_ns: int) -> list[Observation]:
    return [Observation(n, time_ns, value, status) for n, value, status in held.entry.values]


def _was_set(time_ns: int, by_ns: int) -> DeviceEvent:
    way = "back" if by_ns > 0 else "forward"
    text = f"its clock was set {way} by {format_duration(abs(by_ns))}: times before it may be wrong"
    return DeviceEvent(time_ns, STEP_SEVERITY, text)
