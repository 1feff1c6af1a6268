"""Samples in order of time, cut into intervals and weighed there (OPC 10000-13 clauses 3.1, 5.4.3).

A scan is fed the samples of a block of intervals that follow on one another, oldest first, in
portions of any size; it keeps sums, never samples. What lies in an interval is told to a tally,
one an interval, as one of three views of the same history: its values (`ValueScan`), the regions
in which a value was held (`RegionScan`, simple bounds, stepped), or the lines between usable
values (`LineScan`, interpolated bounds, always sloped: 5.4.3.6). `PointScan` wants the instants
at which intervals start only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway.model import Status
from gateway.server.bounds import (
    CALCULATED,
    PARTIAL,
    UNCERTAIN_DATA_SUB_NORMAL,
    Before,
    Result,
    Rules,
    Sample,
    interpolated_bound,
    no_data,
    number,
)


class Interval(NamedTuple):
    """[from, to) in ns UTC; `stamp_ns` is its start as the client sees it, which is the later end
    when time flows backwards; `short` when it is the rest that the processing interval left over.
    """

    from_ns: int
    to_ns: int
    stamp_ns: int
    short: bool = False


class Part(NamedTuple):
    """An interval when it is settled: `partial` is its info bit or 0, `width_ns` what is known."""

    interval: Interval
    partial: int
    width_ns: int


class Tally(Protocol):
    """What is counted of one interval."""

    def settle(self, part: Part, rules: Rules) -> Result:
        """What the aggregate says."""


class ValueTally(Tally, Protocol):
    """Counts the samples in an interval."""

    def add(self, sample: Sample, rules: Rules) -> None:
        """One more sample."""


class RegionTally(Tally, Protocol):
    """Weighs the regions of an interval."""

    def value(self, sample: Sample, rules: Rules) -> None:
        """A sample is in force: the one before the interval, then each one in it."""

    def hold(self, sample: Sample | None, width_ns: int, rules: Rules) -> None:
        """It stayed in force that long; None is before the first sample of all."""


class Scan(ABC):
    """What all scans have in common: the intervals, and the results of those that are settled."""

    looks_ahead = False
    """Whether samples behind the block are wanted, until `done`."""

    def __init__(
        self, intervals: Sequence[Interval], rules: Rules, before: Before, until_ns: int
    ) -> None:
        """`until_ns`: where knowledge ends, exclusive; nothing is said of an interval behind it."""
        self.results: list[Result] = []
        self.from_ns = intervals[0].from_ns
        self.to_ns = intervals[-1].to_ns
        self._intervals = intervals
        self._rules = rules
        self._until_ns = until_ns
        self._newest = before.newest
        self._usable = before.usable
        self._late = before.newest is None

    @property
    def size(self) -> int:
        """How many intervals it has."""
        return len(self._intervals)

    @property
    def done(self) -> bool:
        """Whether every interval is settled."""
        return len(self.results) == len(self._intervals)

    @abstractmethod
    def feed(self, samples: Iterable[Sample]) -> None:
        """The next samples, in order of time."""

    @abstractmethod
    def finish(self) -> list[Result]:
        """There are no more samples that matter: the results, one an interval, in their order."""

    @property
    def _now(self) -> Interval:
        """The interval that is looked at."""
        return self._intervals[len(self.results)]

    def _settle(self, tally: Tally) -> None:
        """The interval is complete."""
        interval = self._now
        if self._newest is None or interval.from_ns >= self._until_ns:
            self.results.append(no_data(interval.stamp_ns))
            return
        beyond = interval.to_ns > self._until_ns
        partial = PARTIAL if interval.short or self._late or beyond else 0
        part = Part(interval, partial, min(interval.to_ns, self._until_ns) - interval.from_ns)
        self.results.append(tally.settle(part, self._rules))
        self._late = False


class ValueScan(Scan):
    """The samples in each interval."""

    def __init__(
        self,
        intervals: Sequence[Interval],
        rules: Rules,
        before: Before,
        until_ns: int,
        tally: Callable[[], ValueTally],
    ) -> None:
        super().__init__(intervals, rules, before, until_ns)
        self._make = tally
        self._tally = tally()

    def feed(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            while sample.time_ns >= self._now.to_ns:
                self._next()
            if self._late and sample.time_ns == self._now.from_ns:
                self._late = False
            self._newest = sample
            self._tally.add(sample, self._rules)

    def finish(self) -> list[Result]:
        while not self.done:
            self._next()
        return self.results

    def _next(self) -> None:
        self._settle(self._tally)
        self._tally = self._make()


class RegionScan(Scan):
    """How long each value was held in each interval."""

    def __init__(
        self,
        intervals: Sequence[Interval],
        rules: Rules,
        before: Before,
        until_ns: int,
        tally: Callable[[], RegionTally],
    ) -> None:
        super().__init__(intervals, rules, before, until_ns)
        self._make = tally
        self._at_ns = intervals[0].from_ns
        self._begin()

    def _begin(self) -> None:
        self._tally = self._make()
        self._bound = self._newest

    def feed(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            self._advance(sample.time_ns)
            if self._late and sample.time_ns == self._now.from_ns:
                self._late = False
            if sample.time_ns == self._now.from_ns:
                self._bound = None
            self._give_bound()
            self._newest = sample
            self._tally.value(sample, self._rules)

    def finish(self) -> list[Result]:
        self._advance(self._until_ns)
        while not self.done:
            self._next()
        return self.results

    def _advance(self, to_ns: int) -> None:
        """Hold what is in force up to an instant."""
        while not self.done and to_ns >= self._now.to_ns:
            self._hold(self._now.to_ns)
            self._next()
        if not self.done:
            self._hold(to_ns)

    def _hold(self, to_ns: int) -> None:
        if to_ns > self._at_ns:
            self._give_bound()
            self._tally.hold(self._newest, to_ns - self._at_ns, self._rules)
            self._at_ns = to_ns

    def _give_bound(self) -> None:
        """The sample before an interval counts in it unless one lies exactly at its start."""
        if self._bound is not None:
            self._tally.value(self._bound, self._rules)
            self._bound = None

    def _next(self) -> None:
        self._settle(self._tally)
        self._begin()


class PointScan(Scan):
    """The interpolated bounding value at the start of each interval (clause 5.4.3.4)."""

    def feed(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            while not self.done and sample.time_ns > self._now.stamp_ns:
                self._next()
            self._newest = sample
            if self._rules.usable(sample.status):
                self._usable = sample

    def finish(self) -> list[Result]:
        while not self.done:
            self._next()
        return self.results

    def _next(self) -> None:
        before = Before(self._newest, self._usable)
        self.results.append(interpolated_bound(self._now.stamp_ns, before, self._until_ns))


class LineScan(Scan):
    """The area under lines from one usable sample to the next, by time (clause 5.4.3.6).

    Behind the newest sample the line is level: up to `until_ns` the value is known to be held, as
    if there were a sample; further it is extrapolated. A line over samples that are not usable,
    to or from one that is Uncertain, or extrapolated makes an interval Uncertain.
    """

    looks_ahead = True

    def __init__(
        self, intervals: Sequence[Interval], rules: Rules, before: Before, until_ns: int
    ) -> None:
        super().__init__(intervals, rules, before, until_ns)
        self._area, self._width_ns, self._doubt, self._late = 0.0, 0, False, False

    def feed(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            if self.done:
                return
            if self._rules.usable(sample.status):
                self._line_to(sample, doubt=False)
                self._usable = sample
            self._newest = sample

    def finish(self) -> list[Result]:
        last = self._usable
        if last is not None and not self.done:
            if last.time_ns < self._until_ns:
                self._line_to(last._replace(time_ns=self._until_ns), doubt=False)
                self._usable = last._replace(time_ns=self._until_ns)
                self._newest = self._usable if self._newest is last else self._newest
            end_ns = self._intervals[-1].to_ns
            if not self.done:
                self._line_to(last._replace(time_ns=end_ns), doubt=True)
        while not self.done:
            self._next()
        return self.results

    def _line_to(self, to: Sample, doubt: bool) -> None:
        """Share a line out among the intervals that it crosses; those it leaves are settled."""
        start = self._usable
        if start is None:
            while not self.done and to.time_ns >= self._now.to_ns:
                self._next()
            if not self.done:
                self._late = to.time_ns > self._now.from_ns
            return
        doubt = doubt or self._newest is not start or start.status >> 30 != 0
        doubt = doubt or to.status >> 30 != 0
        while not self.done:
            begin_ns = max(start.time_ns, self._now.from_ns)
            end_ns = min(to.time_ns, self._now.to_ns)
            if end_ns > begin_ns:
                middle_ns = (begin_ns - start.time_ns + end_ns - start.time_ns) / 2
                slope = (number(to) - number(start)) / (to.time_ns - start.time_ns)
                self._area += (number(start) + slope * middle_ns) * (end_ns - begin_ns)
                self._width_ns += end_ns - begin_ns
                self._doubt = self._doubt or doubt
            if to.time_ns < self._now.to_ns:
                return
            self._next()

    def _next(self) -> None:
        interval = self._now
        if not self._width_ns or interval.from_ns >= self._until_ns:
            self.results.append(no_data(interval.stamp_ns))
        else:
            beyond = interval.to_ns > self._until_ns
            doubt = self._doubt or self._late
            status = (UNCERTAIN_DATA_SUB_NORMAL if doubt else Status.GOOD) | CALCULATED
            if interval.short or self._late or beyond:
                status |= PARTIAL
            value = self._area / self._width_ns
            self.results.append(Result(interval.stamp_ns, value, status))
        self._area, self._width_ns, self._doubt, self._late = 0.0, 0, False, False
