"""The aggregates that are served: intervals, configuration, and what each says (OPC 10000-13).

Points hold their value until the next sample, so all of them are Stepped. Where Annex A and the
normative text of Part 13 differ, the text is followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from operator import gt, lt
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, NUMERIC_TYPES, DataType, Status
from gateway.server.aggregate_scans import (
    Interval,
    LineScan,
    Part,
    PointScan,
    RegionScan,
    RegionTally,
    Scan,
    ValueScan,
    ValueTally,
)
from gateway.server.bounds import (
    CALCULATED,
    INTERPOLATED,
    MULTIPLE_VALUES,
    UNCERTAIN_DATA_SUB_NORMAL,
    Before,
    Result,
    Rules,
    Sample,
    no_data,
    number,
)
from gateway.server.history_plan import TICK_NS, PlanRefused

BAD_INVALID_ARGUMENT: Final = 0x80AB0000
BAD_TOO_MANY_OPERATIONS: Final = 0x80100000
BAD_AGGREGATE_NOT_SUPPORTED: Final = 0x80D50000
BAD_AGGREGATE_INVALID_INPUTS: Final = 0x80D60000
BAD_AGGREGATE_CONFIGURATION_REJECTED: Final = 0x80DA0000
DEFAULTS: Final = Rules()
"""What holds where a client leaves the configuration to the server: as clause 4.2.1.2 has it."""


class Intervals(NamedTuple):
    """The intervals of a request (clause 5.4.2.2): `start_ns` > `end_ns` is time flowing backwards,
    when each includes its late end and excludes its early one.
    """

    start_ns: int
    end_ns: int
    step_ns: int
    size: int

    @property
    def reverse(self) -> bool:
        """Whether time flows backwards."""
        return self.start_ns > self.end_ns

    def at(self, index: int) -> Interval:
        """One interval."""
        moved_ns = index * self.step_ns
        short = self.size > 1 and abs(self.end_ns - self.start_ns) - moved_ns < self.step_ns
        if self.reverse:
            late_ns = self.start_ns - moved_ns
            early_ns = max(late_ns - self.step_ns, self.end_ns)
            return Interval(early_ns + TICK_NS, late_ns + TICK_NS, late_ns, short)
        early_ns = self.start_ns + moved_ns
        return Interval(early_ns, min(early_ns + self.step_ns, self.end_ns), early_ns, short)

    def block(self, first: int, count: int) -> list[Interval]:
        """Some intervals that follow on one another, always in order of time."""
        found = [self.at(index) for index in range(first, min(first + count, self.size))]
        return found[::-1] if self.reverse else found


def intervals(start_ns: int, end_ns: int, interval_ms: float, most: int) -> Intervals:
    """The intervals from start to end; `interval_ms` 0 is one. Raises PlanRefused.

    Bad_InvalidArgument for an empty range, Bad_AggregateInvalidInputs for what is no duration of
    whole 100 ns, Bad_TooManyOperations for more than `most` intervals.
    """
    range_ns = abs(end_ns - start_ns)
    if range_ns == 0:
        raise PlanRefused(BAD_INVALID_ARGUMENT)
    if not math.isfinite(interval_ms) or interval_ms < 0:
        raise PlanRefused(BAD_AGGREGATE_INVALID_INPUTS)
    step_ns = round(interval_ms * (NS_PER_MS // TICK_NS)) * TICK_NS
    if step_ns == 0 and interval_ms > 0:
        raise PlanRefused(BAD_AGGREGATE_INVALID_INPUTS)
    if step_ns == 0 or step_ns >= range_ns:
        return Intervals(start_ns, end_ns, range_ns, 1)
    count = -(-range_ns // step_ns)
    if count > most:
        raise PlanRefused(BAD_TOO_MANY_OPERATIONS)
    return Intervals(start_ns, end_ns, step_ns, count)


def rules(treat_uncertain_as_bad: bool, percent_bad: int, percent_good: int) -> Rules:
    """The rules of a configuration, if it can be calculated (clause 4.2.1.2). Raises PlanRefused.

    Bad_AggregateInvalidInputs for a share above 100, and when some share of bad data would make a
    result neither Bad nor anything else (PercentDataGood < 100 - PercentDataBad).
    """
    if max(percent_bad, percent_good) > 100 or percent_good < 100 - percent_bad:
        raise PlanRefused(BAD_AGGREGATE_INVALID_INPUTS)
    return Rules(treat_uncertain_as_bad, percent_bad, percent_good)


# ------------------------------------------------------------------------ the samples themselves


class _Counted:
    """Average and Count (clauses 5.4.3.5, 5.4.3.21)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._good = self._bad = self._all = 0
        self._total = 0.0

    def add(self, sample: Sample, rules: Rules) -> None:
        self._all += 1
        if sample.status >> 30 == 0:
            self._good += 1
            if self._name == "Average":
                self._total += number(sample)
        elif not rules.usable(sample.status):
            self._bad += 1

    def settle(self, part: Part, rules: Rules) -> Result:
        stamp_ns = part.interval.stamp_ns
        if self._name == "Average" and not self._good:
            return no_data(stamp_ns)
        severity = rules.judge(self._good, self._bad, self._all)
        if severity == Status.BAD:
            return Result(stamp_ns, None, Status.BAD)
        if self._name == "Average":
            return Result(stamp_ns, self._total / self._good, severity | CALCULATED)
        return Result(stamp_ns, self._good, severity | CALCULATED | part.partial)


class _Extreme:
    """Minimum, Maximum, and those with the time at which it was (clauses 5.4.3.10 to 13)."""

    def __init__(self, beyond: Callable[[float, float], bool], actual_time: bool) -> None:
        self._beyond = beyond
        self._actual_time = actual_time
        self._found: Sample | None = None
        self._many = self._bad = False
        self._uncertain: Sample | None = None

    def add(self, sample: Sample, rules: Rules) -> None:
        if sample.status >> 30 == 0:
            if self._found is None or self._beyond(number(sample), number(self._found)):
                self._found, self._many = sample, False
            elif number(sample) == number(self._found):
                self._many = True
        elif not rules.usable(sample.status):
            self._bad = True
        elif self._uncertain is None or self._beyond(number(sample), number(self._uncertain)):
            self._uncertain = sample

    def settle(self, part: Part, rules: Rules) -> Result:
        interval, found = part.interval, self._found
        if found is None:
            return no_data(interval.stamp_ns)
        doubt = self._bad or (
            self._uncertain is not None and self._beyond(number(self._uncertain), number(found))
        )
        status = part.partial | (MULTIPLE_VALUES if self._many else 0)
        if doubt:
            status |= UNCERTAIN_DATA_SUB_NORMAL | CALCULATED
        elif not self._actual_time and found.time_ns != interval.stamp_ns:
            status |= CALCULATED
        at_ns = found.time_ns if self._actual_time else interval.stamp_ns
        return Result(at_ns, found.value, status)


class _Ends:
    """Start, End and Delta (clauses 5.4.3.25 to 27)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._first_good: Sample | None = None
        self._last_good: Sample | None = None

    def add(self, sample: Sample, rules: Rules) -> None:
        self._first = self._first or sample
        self._last = sample
        if sample.status >> 30 == 0:
            self._first_good = self._first_good or sample
            self._last_good = sample

    def settle(self, part: Part, rules: Rules) -> Result:
        stamp_ns = part.interval.stamp_ns
        if self._name == "Delta":
            return self._delta(stamp_ns, part.partial)
        found = self._first if self._name == "Start" else self._last
        if found is None:
            return no_data(stamp_ns)
        value = None if found.status >> 31 else found.value
        partial_bit = 0 if found.status >> 31 else part.partial
        return Result(found.time_ns, value, found.status | partial_bit)

    def _delta(self, stamp_ns: int, partial_bit: int) -> Result:
        if self._first_good is None or self._last_good is None:
            return no_data(stamp_ns)
        skipped = self._first is not self._first_good or self._last is not self._last_good
        status = UNCERTAIN_DATA_SUB_NORMAL if skipped else Status.GOOD
        value = number(self._last_good) - number(self._first_good)
        return Result(stamp_ns, value, status | CALCULATED | partial_bit)


# --------------------------------------------------------------------- how long they were held


class _Held:
    """TimeAverage2 (clause 5.4.3.7), durations and percentages (clauses 5.4.3.31 to 34)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._good_ns = self._bad_ns = self._usable_ns = 0
        self._area = 0.0

    def value(self, sample: Sample, rules: Rules) -> None:
        """Only how long it is held counts."""

    def hold(self, sample: Sample | None, width_ns: int, rules: Rules) -> None:
        if sample is None or sample.status >> 31:
            self._bad_ns += width_ns
            return
        if sample.status >> 30 == 0:
            self._good_ns += width_ns
        if rules.usable(sample.status):
            self._usable_ns += width_ns
            if self._name == "TimeAverage2":
                self._area += number(sample) * width_ns

    def settle(self, part: Part, rules: Rules) -> Result:
        stamp_ns, good = part.interval.stamp_ns, CALCULATED | part.partial
        if self._name == "TimeAverage2":
            return self._average(stamp_ns, part, rules)
        held_ns = self._good_ns if self._name.endswith("Good") else self._bad_ns
        if self._name.startswith("Percent"):
            return Result(stamp_ns, 100 * held_ns / part.width_ns, good)
        return Result(stamp_ns, held_ns / NS_PER_MS, good)

    def _average(self, stamp_ns: int, part: Part, rules: Rules) -> Result:
        if not self._usable_ns:
            return no_data(stamp_ns)
        severity = rules.judge(self._usable_ns, part.width_ns - self._usable_ns, part.width_ns)
        if severity == Status.BAD:
            return Result(stamp_ns, None, Status.BAD)
        average = self._area / self._usable_ns
        return Result(stamp_ns, average, severity | CALCULATED | part.partial)


class _HeldExtreme:
    """Minimum2 and Maximum2: what was in force at the start counts too (clauses 5.4.3.15, 16)."""

    def __init__(self, beyond: Callable[[float, float], bool]) -> None:
        self._beyond = beyond
        self._found: Sample | None = None
        self._many = False
        self._usable_ns = 0

    def value(self, sample: Sample, rules: Rules) -> None:
        if not rules.usable(sample.status):
            return
        if self._found is None or self._beyond(number(sample), number(self._found)):
            self._found, self._many = sample, False
        elif number(sample) == number(self._found):
            self._many = True

    def hold(self, sample: Sample | None, width_ns: int, rules: Rules) -> None:
        if sample is not None and rules.usable(sample.status):
            self._usable_ns += width_ns

    def settle(self, part: Part, rules: Rules) -> Result:
        interval, found = part.interval, self._found
        if found is None:
            return no_data(interval.stamp_ns)
        severity = rules.judge(self._usable_ns, part.width_ns - self._usable_ns, part.width_ns)
        if severity == Status.BAD:
            return Result(interval.stamp_ns, None, Status.BAD)
        status = severity | part.partial | (MULTIPLE_VALUES if self._many else 0)
        if found.time_ns < interval.from_ns:
            status |= INTERPOLATED
        elif found.time_ns != interval.stamp_ns:
            status |= CALCULATED
        return Result(interval.stamp_ns, found.value, status)


# ------------------------------------------------------------------------------- the catalogue

MakeScan = Callable[[list[Interval], Rules, Before, int], Scan]


class Aggregate(NamedTuple):
    """An aggregate function: how it is calculated, of which points, as which type.

    `result_type` None is the point's own. `looks_back` where interpolated bounds are used: the
    newest usable sample before a block is wanted, and UseSlopedExtrapolation would matter.
    """

    scan: MakeScan
    numeric: bool
    result_type: DataType | None
    looks_back: bool = False

    def check(self, point_type: DataType, sloped_extrapolation: bool) -> None:
        """Raises PlanRefused where it isn't calculated for such a point, or not in that way."""
        if self.numeric and point_type not in NUMERIC_TYPES:
            raise PlanRefused(BAD_AGGREGATE_NOT_SUPPORTED)
        if self.looks_back and sloped_extrapolation:
            # What is held has no slope: from its last two samples a line leads anywhere.
            raise PlanRefused(BAD_AGGREGATE_CONFIGURATION_REJECTED)


def _values(tally: Callable[[], ValueTally]) -> MakeScan:
    return partial(ValueScan, tally=tally)


def _regions(tally: Callable[[], RegionTally]) -> MakeScan:
    return partial(RegionScan, tally=tally)


_DOUBLE: Final = DataType.FLOAT64
AGGREGATES: Final[Mapping[str, Aggregate]] = {
    "Interpolative": Aggregate(PointScan, False, None, looks_back=True),
    "Average": Aggregate(_values(partial(_Counted, "Average")), True, _DOUBLE),
    "TimeAverage": Aggregate(LineScan, True, _DOUBLE, looks_back=True),
    "TimeAverage2": Aggregate(_regions(partial(_Held, "TimeAverage2")), True, _DOUBLE),
    "Minimum": Aggregate(_values(partial(_Extreme, lt, False)), True, None),
    "Maximum": Aggregate(_values(partial(_Extreme, gt, False)), True, None),
    "MinimumActualTime": Aggregate(_values(partial(_Extreme, lt, True)), True, None),
    "MaximumActualTime": Aggregate(_values(partial(_Extreme, gt, True)), True, None),
    "Minimum2": Aggregate(_regions(partial(_HeldExtreme, lt)), True, None),
    "Maximum2": Aggregate(_regions(partial(_HeldExtreme, gt)), True, None),
    "Count": Aggregate(_values(partial(_Counted, "Count")), False, DataType.INT32),
    "Start": Aggregate(_values(partial(_Ends, "Start")), False, None),
    "End": Aggregate(_values(partial(_Ends, "End")), False, None),
    "Delta": Aggregate(_values(partial(_Ends, "Delta")), True, None),
    "DurationGood": Aggregate(_regions(partial(_Held, "DurationGood")), False, _DOUBLE),
    "DurationBad": Aggregate(_regions(partial(_Held, "DurationBad")), False, _DOUBLE),
    "PercentGood": Aggregate(_regions(partial(_Held, "PercentGood")), False, _DOUBLE),
    "PercentBad": Aggregate(_regions(partial(_Held, "PercentBad")), False, _DOUBLE),
}
"""By the BrowseName of its AggregateFunction node; what is here is what is advertised."""
