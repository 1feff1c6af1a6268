"""From records in the order of a log to pages of it; and where in a log a time begins. Pure.

Whatever a method has to do to get at its records, what becomes of them is the same: stamps are
settled and corrected, observations are cut to the wanted stretch, what the log lacks is said, and
pages join. A method feeds a `Pager` with what it read, oldest first, and with what it could not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from drivers.modbus.log.ops import Asking
from drivers.modbus.log.records import Entry
from drivers.modbus.log.times import Step, agree, applied, moments, settle
from gateway.driver import (
    PAGE_RECORDS_MAX,
    ClockReading,
    DeviceEvent,
    Lacking,
    LogPage,
    LogWanted,
    Observation,
)
from gateway.model import NS_PER_S, format_duration

OVERWRITTEN: Final = "overwritten"
CLEARED: Final = "cleared"
RECONFIGURED: Final = "reconfigured"
TORN: Final = "torn"
NOT_RECORDED: Final = "the device recorded nothing"
"""Why a log lacks something; a method may add to them."""

GONE: Final = -(2**63)
"""What a probe gives for a record that the log doesn't hold any more."""
STEP_SEVERITY: Final = 500
STEP_PROBES_MAX: Final = 64
STEP_TRIES: Final = 8
"""Records beside one without a stamp that are tried in its place."""

Probe = Callable[[int], Asking[int | None]]
"""Reads one record: the latest that its corrected time may be, GONE, or None (can't be told)."""


def unwrapped(number: int, oldest: int, modulo: int | None) -> int:
    """The number of a record as if the device counted on; `oldest` is that of the oldest."""
    return number if modulo is None else oldest + (number - oldest) % modulo


def first_since(
    oldest: int, newest: int, from_ns: int, probe: Probe, hint: int | None = None
) -> Asking[int]:
    """The first record at or after a time, `newest` + 1 if there is none.

    At most log2 of the records and two more probes; with a right `hint` just those two. It never
    passes over a record at or after `from_ns`: a probe that can't tell only makes it begin earlier.
    """
    low, high = oldest, newest + 1
    guesses = [] if hint is None else [hint, hint - 1]
    while low < high:
        guess = guesses.pop() if guesses else (low + high) // 2
        if not low <= guess < high:
            continue
        latest = yield from probe(guess)
        if latest is None or latest >= from_ns:
            high = guess
        else:
            low = guess + 1
    return low


def steps_between(
    low: int,
    high: int,
    spacing_ns: int,
    zone: tzinfo | None,
    wall_of: Callable[[int], Asking[int | None]],
) -> Asking[list[Step]]:
    """Where the clock was set back between two records, found without reading all of them.

    Records are made every `spacing_ns`; where stamps span less time than that, the clock was set
    back, and each half tells whether it was there. A pause of the device hides as much as it is
    long. `wall_of` reads a record's stamp; in place of one without (the oldest may be overwritten
    by now) the next one that has a stamp is taken. At most STEP_PROBES_MAX records are read.
    """
    walls: dict[int, int] = {}
    asked: set[int] = set()

    def readable(numbers: Iterable[int]) -> Asking[int | None]:
        for number in numbers:
            if number not in asked:
                if len(asked) >= STEP_PROBES_MAX:
                    return None
                asked.add(number)
                if (wall_ns := (yield from wall_of(number))) is not None:
                    walls[number] = wall_ns
            if number in walls:
                return number
        return None

    first = yield from readable(range(low, min(high, low + STEP_TRIES)))
    last = yield from readable(range(high, max(low, high - STEP_TRIES), -1))
    parts = [] if first is None or last is None else [(first, last)]
    found: list[Step] = []
    while parts:
        a, b = parts.pop()
        early_ns, late_ns = settle([walls[a], walls[b]], zone)
        if (b - a) * spacing_ns - (late_ns - early_ns) <= spacing_ns:
            continue
        half = (a + b) // 2
        after = range(max(half, a + 1), min(b, half + STEP_TRIES))
        before = range(half - 1, max(a, half - STEP_TRIES), -1)
        middle = yield from readable([*after, *before])
        if middle is not None:
            parts += [(a, middle), (middle, b)]
        elif all(number in asked for number in range(a + 1, b)):
            found.append(Step(b, early_ns + (b - a) * spacing_ns - late_ns))
    return sorted(found)


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
        self._zone = zone
        self._resolution_ns = resolution_ns
        self._clock = clock
        self._offset_ns = applied(clock)
        # The device's present, and a second for what it records meanwhile.
        self._present_ns = now_ns + self._offset_ns + NS_PER_S
        self._page_records = page_records
        self.from_ns = wanted.from_ns
        """Where the next page begins."""
        self._held: list[_Held] = []
        self._lacks: list[Lacking] = []
        self._events: list[DeviceEvent] = []
        self._why = ""
        self._before = OVERWRITTEN
        self._last_ns: int | None = None
        self._raw_ns: int | None = None
        self._crowd: tuple[int, int] | None = None
        self._next: int | None = None
        self._doubt_ns = 0
        self._steps: tuple[Step, ...] = ()
        self._was_late = 0

    # ------------------------------------------------------------------------------- what was read

    def latest_ns(self, entry: Entry, number: int | None = None) -> int | None:
        """The latest that a record's corrected time may be; None if its stamp is no moment."""
        if entry.wall_ns is None:
            return None
        return moments(entry.wall_ns, self._zone)[1] - self._offset_ns - self._late_ns(number)

    def is_unsure(self, entry: Entry) -> bool:
        """Whether a stamp may be two moments: then the records before it are needed to tell."""
        if entry.wall_ns is None:
            return False
        early, late = moments(entry.wall_ns, self._zone)
        return early != late

    def set_back(self, steps: Sequence[Step]) -> None:
        """Say before which records the clock was set back, if that was found out beforehand."""
        self._steps = tuple(steps)

    def _late_ns(self, number: int | None) -> int:
        """How much a record is late because the clock was set back after it."""
        return sum(by_ns for at, by_ns in self._steps if number is not None and number < at)

    def began(self, why: str) -> None:
        """Say why there is nothing before the log's oldest record, if it wasn't overwritten."""
        self._before = why

    def measured(self, clock: ClockReading | None) -> None:
        """Take another reading of the device's clock: one that disagrees makes the times doubtful.

        What is corrected stays as it began, so that a record has one time however often it is read.
        """
        if self._clock is None or clock is None or agree(self._clock, clock):
            return
        self._doubt_ns = max(self._doubt_ns, abs(self._clock.offset_ns - clock.offset_ns))

    def lack(self, why: str) -> None:
        """Say that records before the next one to be taken can't be read; the first reason stays.

        A record without a moment is lacking, too.
        """
        self._why = self._why or why

    def take(self, entries: Sequence[Entry], numbers: Sequence[int] | None = None) -> None:
        """Take records that follow the ones before; `numbers` unwrapped, else their own."""
        first = 0
        for at, entry in enumerate(entries):
            if entry.wall_ns is None:
                self._take(entries[first:at], None if numbers is None else numbers[first:at])
                self.lack(TORN)
                first = at + 1
        self._take(entries[first:], None if numbers is None else numbers[first:])

    def _take(self, entries: Sequence[Entry], numbers: Sequence[int] | None) -> None:
        walls = [entry.wall_ns for entry in entries if entry.wall_ns is not None]
        raws = settle(walls, self._zone, self._raw_ns, self._present_ns)
        for at, (entry, raw_ns) in enumerate(zip(entries, raws, strict=True)):
            if self.done:
                return
            number = entry.number if numbers is None else numbers[at]
            late_ns = self._late_ns(number)
            time_ns = raw_ns - self._offset_ns - late_ns
            if late_ns:
                self._doubt_ns = max(self._doubt_ns, self._resolution_ns or late_ns)
            elif self._was_late:
                self._events.append(_set_back(time_ns, self._was_late))
            elif self._raw_ns is not None and raw_ns < self._raw_ns:
                self._stepped(time_ns, self._raw_ns + (self._resolution_ns or 0) - raw_ns)
            self._raw_ns, self._was_late = raw_ns, late_ns
            self._add(_Held(time_ns, entry, number))

    def _add(self, held: _Held) -> None:
        if self._is_before(held) and self._crowd != (held.time_ns, self.from_ns):
            self._last_ns, self._why = held.time_ns, ""
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

        Where two reads meet its number tells: each of them measured the device's clock anew.
        """
        seam, clock = self._wanted.next_record, self._clock
        near_ns = abs(held.time_ns - self._wanted.from_ns)
        if seam is None or held.number is None or clock is None or self._before != OVERWRITTEN:
            return held.time_ns < self.from_ns
        if near_ns > 2 * clock.uncertainty_ns:
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
                why = NOT_RECORDED
        begin_ns = max(begin_ns, self.from_ns)
        if why and begin_ns < until_ns:
            self._lacks.append(Lacking(begin_ns, until_ns, why))

    def _covered_ns(self, time_ns: int) -> int:
        """Until when a record speaks that has no successor."""
        return time_ns + (self._resolution_ns or 1)

    def _stepped(self, time_ns: int, by_ns: int) -> None:
        """The clock was set back before the record of `time_ns`: what came before was late."""
        self._held = [
            each._replace(time_ns=each.time_ns - by_ns)
            for each in self._held
            if each.time_ns - by_ns >= self.from_ns
        ]
        self._lacks = [
            Lacking(max(a - by_ns, self.from_ns), b - by_ns, why)
            for a, b, why, _ in self._lacks
            if b - by_ns > self.from_ns
        ]
        if self._last_ns is not None:
            self._last_ns -= by_ns
        self._doubt_ns = max(self._doubt_ns, self._resolution_ns or by_ns)
        self._events.append(_set_back(time_ns, by_ns))

    # ---------------------------------------------------------------------------------------- pages

    @property
    def ready(self) -> bool:
        """Whether a full page waits."""
        return len(self._held) > self._page_records

    def pages(self) -> Iterator[LogPage]:
        """The full pages; to be yielded before more is taken."""
        while self.ready:
            count = self._page_records
            through_ns = self._held[count].time_ns
            while count and self._held[count - 1].time_ns == through_ns:
                count -= 1
            if count == 0:
                # More records of one time than a page holds: the rest is a nanosecond later.
                count = self._page_records
                goes_on = self._crowd is not None and self._crowd[1] == through_ns == self.from_ns
                crowd_ns = self._crowd[0] if self._crowd is not None and goes_on else through_ns
                through_ns += 1
                self._crowd = crowd_ns, through_ns
                self._held[count:] = [
                    each._replace(time_ns=max(each.time_ns, through_ns))
                    for each in self._held[count:]
                ]
            yield self._page(count, through_ns)

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
        observations = [
            Observation(number, each.time_ns, value, status)
            for each in taken
            for number, value, status in each.entry.values
        ]
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
        )

    def _said_clock(self) -> ClockReading | None:
        if self._clock is None:
            return None
        return ClockReading(self._offset_ns, self._clock.uncertainty_ns + self._doubt_ns)


def _set_back(time_ns: int, by_ns: int) -> DeviceEvent:
    text = f"its clock was set back by {format_duration(by_ns)}: times before it may be wrong"
    return DeviceEvent(time_ns, STEP_SEVERITY, text)
