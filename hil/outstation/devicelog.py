"""A device's own log as a function of truth and time: nothing is done when a record is made.

A record is made at each multiple of the resolution by the *device's* clock, while the device has
power and logs. So a log is a list of stretches, in each of which the device's clock runs straight
and the records are numbered one after the other; a new stretch begins with whatever happens to
device or clock. What a record holds is worked out when somebody reads it.

Records are counted with an index that never wraps; what goes over the wire is a face's business.
All times are ns UTC, true ones unless they are called the device's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.model import NS_PER_S, Value
from hil.plant import PlantPoint

HAPPENINGS_MAX: Final = 10_000
"""Stretches and trims of one log, and faults of values: the rig refuses more."""
_PER_BILLION: Final = 10**9


class Running(NamedTuple):
    """A clock that runs straight: `offset_ns` ahead at `since_ns`, then `drift_ppb` too fast.

    `shift_s` is what the device adds to its local time besides what its zone says.
    """

    since_ns: int = 0
    offset_ns: int = 0
    drift_ppb: int = 0
    shift_s: int = 0

    def device_at(self, true_ns: int) -> int:
        """What the clock shows, in ns of its UTC."""
        return true_ns + self.offset_ns + (true_ns - self.since_ns) * self.drift_ppb // _PER_BILLION

    def reaches(self, device_ns: int) -> int:
        """The first instant at which the clock shows this or more."""
        passed = (device_ns - self.offset_ns - self.since_ns) * _PER_BILLION
        found = self.since_ns + passed // (_PER_BILLION + self.drift_ppb)
        while self.device_at(found) < device_ns:
            found += 1
        return found


class Zone:
    """What a device adds to UTC: nothing, the zone of this machine (`local`), or a named one."""

    def __init__(self, name: str = "utc") -> None:
        """Raises ZoneInfoNotFoundError."""
        self.name = name
        # None is the zone of the machine.
        self._info = None if name in ("local", "utc") else ZoneInfo(name)

    def shown(self, device_ns: int, shift_s: int = 0) -> tuple[int, bool]:
        """The wall time in ns, and whether it is summer time; a clock on UTC knows no shift."""
        if self.name == "utc":
            return device_ns, False
        seconds = device_ns // NS_PER_S
        moment = datetime.fromtimestamp(seconds, UTC).astimezone(self._info)
        ahead = moment.utcoffset() or timedelta()
        shown_ns = device_ns + (round(ahead.total_seconds()) + shift_s) * NS_PER_S
        return shown_ns, bool(moment.dst()) or shift_s > 0


class Held:
    """What the points of a device held, faults of values included; written values are not known."""

    def __init__(self) -> None:
        self._faults: list[tuple[str, int, int | None]] = []

    def fault(self, kind: str | None, now_ns: int) -> None:
        """From now on the values are `nan` or `stuck`; None: they are the truth again."""
        if self._faults and self._faults[-1][2] is None:
            begun, since_ns, _ = self._faults.pop()
            self._faults.append((begun, since_ns, now_ns))
        if kind is not None and len(self._faults) < HAPPENINGS_MAX:
            self._faults.append((kind, now_ns, None))

    def raw(self, point: PlantPoint, true_ns: int) -> Value:
        """What lay on the wire at an instant; None: the device held no value."""
        for kind, from_ns, to_ns in reversed(self._faults):
            if from_ns <= true_ns and (to_ns is None or true_ns < to_ns):
                return None if kind == "nan" else point.raw_at(from_ns)
        return point.raw_at(true_ns)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records `first` and on, at the multiples `tick` and on of the resolution, in [from, to)."""

    from_ns: int
    to_ns: int | None
    clock: Running
    first: int
    tick: int


class Trim(NamedTuple):
    """From `time_ns` on the log holds no record before `base`, and `capacity` at most."""

    time_ns: int
    base: int
    capacity: int


class Moment(NamedTuple):
    """When a record was made: the true instant, the device's stamp and local shift."""

    true_ns: int
    device_ns: int
    shift_s: int


class Span(NamedTuple):
    """Records [oldest, end) by index."""

    oldest: int
    end: int

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.oldest <= index < self.end


class DeviceLog:
    """One log of one device. What happens to it is told in the order of time."""

    def __init__(
        self,
        resolution_ns: int,
        capacity: int,
        begun_ns: int,
        start: int = 1,
        clock: Running | None = None,
    ) -> None:
        self.resolution_ns = resolution_ns
        self.start = start
        self.config_id = 1
        self._clock = clock or Running()
        self._stretches: list[Stretch] = []
        self._trims = [Trim(begun_ns, start, capacity)]
        self._next = start
        self._powered = self._logs = True
        self._go_on(begun_ns)

    # ------------------------------------------------------------------ what happens to it

    def clock(self, clock: Running, now_ns: int) -> None:
        """The device's clock runs otherwise from now on."""
        self._end(now_ns)
        self._clock = clock
        self._go_on(now_ns)

    def power(self, on: bool, now_ns: int, keep: bool = True) -> None:
        """Off or on; a log that isn't kept is empty afterwards, and counts from the start again."""
        self._end(now_ns)
        self._powered = on
        if on and not keep:
            self._next = self.start
            self._trim(now_ns, self.start)
            self._stretches.clear()
        self._go_on(now_ns)

    def logs(self, on: bool, now_ns: int) -> None:
        """Stop making records, or go on."""
        self._end(now_ns)
        self._logs = on
        self._go_on(now_ns)

    def clear(self, now_ns: int) -> None:
        """Forget every record; the numbers go on."""
        self._end(now_ns)
        self._trim(now_ns, self._next)
        self._go_on(now_ns)

    def reconfigure(self, now_ns: int) -> None:
        """Set up anew: the records are gone, and the device's count of setups is one more."""
        self.clear(now_ns)
        self.config_id += 1

    def resize(self, capacity: int, now_ns: int) -> None:
        """Hold so many records from now on; what is beyond is gone for good."""
        self._end(now_ns)
        base = max(self._trims[-1].base, self._next - min(capacity, self._trims[-1].capacity))
        self._trim(now_ns, base, capacity)
        self._go_on(now_ns)

    def _trim(self, now_ns: int, base: int, capacity: int | None = None) -> None:
        self._bounded(self._trims)
        self._trims.append(Trim(now_ns, base, capacity or self._trims[-1].capacity))

    def _end(self, now_ns: int) -> None:
        """Close the stretch that still goes on."""
        if self._stretches and self._stretches[-1].to_ns is None:
            last = replace(self._stretches.pop(), to_ns=now_ns)
            count = self._count(last, now_ns - 1)
            self._next = last.first + count
            if count:
                self._stretches.append(last)

    def _go_on(self, now_ns: int) -> None:
        if self._powered and self._logs:
            self._bounded(self._stretches)
            tick = -(-self._clock.device_at(now_ns) // self.resolution_ns)
            self._stretches.append(Stretch(now_ns, None, self._clock, self._next, tick))

    def _bounded(self, kept: Sequence[object]) -> None:
        if len(kept) >= HAPPENINGS_MAX:
            raise ValueError(f"more than {HAPPENINGS_MAX} things happened to one log")

    def _count(self, stretch: Stretch, at_ns: int) -> int:
        """How many records of a stretch are made by an instant."""
        if stretch.to_ns is not None:
            at_ns = min(at_ns, stretch.to_ns - 1)
        if at_ns < stretch.from_ns:
            return 0
        return max(0, stretch.clock.device_at(at_ns) // self.resolution_ns - stretch.tick + 1)

    # ------------------------------------------------------------------ what it holds

    @property
    def capacity(self) -> int:
        return self._trims[-1].capacity

    def span(self, at_ns: int) -> Span:
        """What the log held at an instant, since it last lost its numbers."""
        end = self._trims[0].base if not self._stretches else self._stretches[0].first
        for stretch in self._stretches:
            if stretch.from_ns > at_ns:
                break
            end = stretch.first + self._count(stretch, at_ns)
        trim = self._trims[0]
        for later in self._trims:
            if later.time_ns <= at_ns:
                trim = later
        end = max(end, trim.base)
        return Span(max(trim.base, end - trim.capacity), end)

    def rolled(self, at_ns: int) -> bool:
        """Whether the log was ever full since it was last empty."""
        span = self.span(at_ns)
        return span.end - span.oldest >= self.capacity

    def moment(self, index: int) -> Moment:
        """When a record was made. The index is one that some `span` had."""
        stretch = next(s for s in reversed(self._stretches) if s.first <= index)
        device_ns = (stretch.tick + index - stretch.first) * self.resolution_ns
        true_ns = max(stretch.from_ns, stretch.clock.reaches(device_ns))
        return Moment(true_ns, device_ns, stretch.clock.shift_s)

    def _parts(self, span: Span) -> Iterator[tuple[int, int, Stretch]]:
        """The stretches of a span: the indices [from, to) of each."""
        for number, stretch in enumerate(self._stretches):
            last = number + 1 == len(self._stretches)
            end = span.end if last else min(span.end, self._stretches[number + 1].first)
            index = max(span.oldest, stretch.first)
            if index < end:
                yield index, end, stretch

    def recorded(self, from_ns: int, to_ns: int, at_ns: int) -> list[tuple[int, int]]:
        """Truth of the log: what it held at `at_ns` of [from, to), as runs of records.

        Each is the true instant of the first and of the last record of a run without a pause; a run
        ends, too, where something happened to log or clock.
        """
        found: list[tuple[int, int]] = []
        for first, end, stretch in self._parts(self.span(at_ns)):
            low, high = self.moment(first), self.moment(end - 1)
            if high.true_ns < from_ns or low.true_ns >= to_ns:
                continue
            if low.true_ns < from_ns:
                tick = -(-stretch.clock.device_at(from_ns) // self.resolution_ns)
                low = self.moment(stretch.first + tick - stretch.tick)
            if high.true_ns >= to_ns:
                tick = stretch.clock.device_at(to_ns - 1) // self.resolution_ns
                high = self.moment(stretch.first + tick - stretch.tick)
            if low.true_ns <= high.true_ns:
                found.append((low.true_ns, high.true_ns))
        return found
