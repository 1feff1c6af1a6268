"""Aggregates of random histories, tick by tick: a model without any cleverness says the same."""

from __future__ import annotations

import math
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Status
from gateway.server.aggregate_scans import Interval
from gateway.server.aggregates import AGGREGATES, Intervals
from gateway.server.bounds import (
    BAD_NO_DATA,
    CALCULATED,
    INTERPOLATED,
    MULTIPLE_VALUES,
    PARTIAL,
    UNCERTAIN_DATA_SUB_NORMAL,
    Before,
    Result,
    Rules,
    Sample,
)
from gateway.server.history_plan import TICK_NS

UNCERTAIN: Final = UNCERTAIN_DATA_SUB_NORMAL
STATUSES = (Status.GOOD, Status.GOOD, Status.UNCERTAIN_LAST_USABLE, Status.BAD_NO_COMMUNICATION)


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    times = draw(st.lists(st.integers(0, 40), unique=True, max_size=12))
    found = []
    for at in sorted(times):
        status = draw(st.sampled_from(STATUSES))
        value = None if status >> 31 else float(draw(st.integers(-3, 3)))
        found.append(Sample(at * TICK_NS, value, status))
    return found


@st.composite
def requests(draw: st.DrawFn) -> Intervals:
    start = draw(st.integers(-5, 50))
    length = draw(st.integers(1, 30))
    step = draw(st.integers(1, 12))
    end = start + (length if draw(st.booleans()) else -length)
    step = min(step, length)
    return Intervals(start * TICK_NS, end * TICK_NS, step * TICK_NS, math.ceil(length / step))


configurations = st.builds(
    Rules, st.booleans(), st.sampled_from((100, 70, 50)), st.sampled_from((100, 60, 50))
)


class Model:
    """One interval, and the whole history."""

    def __init__(
        self, history: list[Sample], interval: Interval, how: Rules, until_ns: int
    ) -> None:
        self.history, self.interval, self.how, self.until_ns = history, interval, how, until_ns
        self.inside = [
            s for s in history if interval.from_ns <= s.time_ns < min(interval.to_ns, until_ns)
        ]
        self.ticks = range(interval.from_ns, min(interval.to_ns, until_ns), TICK_NS)
        first_ns = history[0].time_ns if history else until_ns
        partial = interval.short or interval.to_ns > until_ns or interval.from_ns < first_ns
        self.partial = PARTIAL if partial else 0

    def usable(self, sample: Sample | None) -> bool:
        return sample is not None and self.how.usable(sample.status)

    def in_force(self, at_ns: int) -> Sample | None:
        earlier = [s for s in self.history if s.time_ns <= at_ns]
        return earlier[-1] if earlier else None

    def before(self, at_ns: int) -> Sample | None:
        earlier = [s for s in self.history if s.time_ns <= at_ns and self.usable(s)]
        return earlier[-1] if earlier else None

    def line(self, at_ns: int) -> tuple[float, bool] | None:
        """The value in the middle of a tick on lines between usable samples, and if it is sure."""
        start = self.before(at_ns)
        if start is None:
            return None
        later = [s for s in self.history if s.time_ns > at_ns and self.usable(s)]
        to_ns = later[0].time_ns if later else self.until_ns
        skipped = any(start.time_ns < s.time_ns < to_ns for s in self.history)
        sure = start.status == Status.GOOD and not skipped and at_ns < self.until_ns
        assert isinstance(start.value, float)
        if not later:
            return start.value, sure
        assert isinstance(later[0].value, float)
        share = (at_ns + TICK_NS / 2 - start.time_ns) / (to_ns - start.time_ns)
        value = start.value + share * (later[0].value - start.value)
        return value, sure and later[0].status == Status.GOOD

    def says(self, name: str) -> Result:
        stamp_ns = self.interval.stamp_ns
        nothing = Result(stamp_ns, None, BAD_NO_DATA)
        if name == "Interpolative":
            return self.interpolative(stamp_ns) or nothing
        none_yet = self.in_force(self.interval.to_ns - 1) is None
        if self.interval.from_ns >= self.until_ns or none_yet:
            return nothing
        if name == "TimeAverage":
            return self.time_average() or nothing
        if name in ("Average", "Count", "Start", "End", "Delta"):
            return self.counted(name) or nothing
        if name.endswith("2"):
            return self.held(name) or nothing
        if name.startswith(("Minimum", "Maximum")):
            return self.extreme(name) or nothing
        held = [self.in_force(at_ns) for at_ns in self.ticks]
        if name.endswith("Good"):
            count = sum(1 for s in held if s is not None and s.status == Status.GOOD)
        else:
            count = sum(1 for s in held if s is None or s.status >> 31)
        value = 100 * count / len(held) if "Percent" in name else count * TICK_NS / 1e6
        return Result(stamp_ns, value, CALCULATED | self.partial)

    def interpolative(self, at_ns: int) -> Result | None:
        found = self.before(at_ns)
        if found is None:
            return None
        if found.time_ns == at_ns:
            return Result(*found)
        sure = found == self.in_force(at_ns) and found.status == 0 and at_ns < self.until_ns
        return Result(at_ns, found.value, (0 if sure else UNCERTAIN) | INTERPOLATED)

    def time_average(self) -> Result | None:
        ticks = range(self.interval.from_ns, self.interval.to_ns, TICK_NS)
        found = [line for line in map(self.line, ticks) if line is not None]
        if not found:
            return None
        late = len(found) < len(ticks)
        sure = all(sure for _, sure in found) and not late
        status = (0 if sure else UNCERTAIN) | CALCULATED | self.partial | (PARTIAL if late else 0)
        return Result(self.interval.stamp_ns, sum(v for v, _ in found) / len(found), status)

    def judge(self, good: int, bad: int, width: int) -> int:
        how = self.how
        if (
            how.percent_good != 100 - how.percent_bad
            and bad
            and bad / width >= how.percent_bad / 100
        ):
            return Status.BAD
        return Status.GOOD if width == 0 or good / width >= how.percent_good / 100 else UNCERTAIN

    def counted(self, name: str) -> Result | None:
        stamp_ns, inside = self.interval.stamp_ns, self.inside
        good = [s for s in inside if s.status == Status.GOOD]
        if name in ("Start", "End"):
            if not inside:
                return None
            found = inside[0 if name == "Start" else -1]
            if found.status >> 31:
                return Result(*found)
            return Result(found.time_ns, found.value, found.status | self.partial)
        if name == "Delta":
            if not good:
                return None
            whole = inside[0] == good[0] and inside[-1] == good[-1]
            value = good[-1].value - good[0].value  # type: ignore[operator]
            status = (0 if whole else UNCERTAIN) | CALCULATED | self.partial
            return Result(stamp_ns, value, status)
        if name == "Average" and not good:
            return None
        bad = sum(1 for s in inside if not self.usable(s))
        severity = self.judge(len(good), bad, len(inside))
        if severity == Status.BAD:
            return Result(stamp_ns, None, Status.BAD)
        if name == "Count":
            return Result(stamp_ns, len(good), severity | CALCULATED | self.partial)
        average = sum(s.value for s in good) / len(good)  # type: ignore[misc]
        return Result(stamp_ns, average, severity | CALCULATED)

    def extreme(self, name: str) -> Result | None:
        best = min if name.startswith("Minimum") else max
        good = [s for s in self.inside if s.status == Status.GOOD]
        if not good:
            return None
        usable = [s.value for s in self.inside if self.usable(s)]
        value = best(s.value for s in good)  # type: ignore[type-var]
        at = [s.time_ns for s in good if s.value == value]
        doubt = len(usable) < len(self.inside) or best(usable) != value  # type: ignore[type-var]
        actual = name.endswith("ActualTime")
        status = self.partial | (MULTIPLE_VALUES if len(at) > 1 else 0)
        if doubt:
            status |= UNCERTAIN | CALCULATED
        elif not actual and at[0] != self.interval.stamp_ns:
            status |= CALCULATED
        return Result(at[0] if actual else self.interval.stamp_ns, value, status)

    def held(self, name: str) -> Result | None:
        stamp_ns = self.interval.stamp_ns
        held = [self.in_force(at_ns) for at_ns in self.ticks]
        good = [s for s in held if s is not None and self.usable(s)]
        if not good:
            return None
        severity = self.judge(len(good), len(held) - len(good), len(held))
        if severity == Status.BAD:
            return Result(stamp_ns, None, Status.BAD)
        if name == "TimeAverage2":
            average = sum(s.value for s in good) / len(good)  # type: ignore[misc]
            return Result(stamp_ns, average, severity | CALCULATED | self.partial)
        best = min if name == "Minimum2" else max
        value = best(s.value for s in good)  # type: ignore[type-var]
        at = sorted({s.time_ns for s in good if s.value == value})
        status = severity | self.partial | (MULTIPLE_VALUES if len(at) > 1 else 0)
        if at[0] < self.interval.from_ns:
            status |= INTERPOLATED
        elif at[0] != stamp_ns:
            status |= CALCULATED
        return Result(stamp_ns, value, status)


def scanned(
    name: str, request: Intervals, history: list[Sample], how: Rules, until_ns: int, size: int
) -> list[Result]:
    """In blocks of `size` intervals, fed two samples at a time."""
    found: list[Result] = []
    for first in range(0, request.size, size):
        block = request.block(first, size)
        from_ns, to_ns = block[0].from_ns, min(block[-1].to_ns, until_ns)
        before = [s for s in history if s.time_ns < from_ns]
        usable = [s for s in before if how.usable(s.status)]
        known = Before(before[-1] if before else None, usable[-1] if usable else None)
        scan = AGGREGATES[name].scan(block, how, known, until_ns)
        rows = [
            s for s in history if from_ns <= s.time_ns and (s.time_ns < to_ns or scan.looks_ahead)
        ]
        for at in range(0, len(rows), 2):
            scan.feed(rows[at : at + 2])
        part = scan.finish()
        assert len(part) == len(block)
        found += part[::-1] if request.reverse else part
    return found


@given(
    st.sampled_from(sorted(AGGREGATES)),
    requests(),
    histories(),
    configurations,
    st.integers(1, 8),
    st.integers(1, 5),
)
def test_a_scan_says_what_a_model_says_tick_by_tick(
    name: str, request: Intervals, history: list[Sample], how: Rules, ahead: int, size: int
) -> None:
    until_ns = (history[-1].time_ns if history else 0) + ahead * TICK_NS
    found = scanned(name, request, history, how, until_ns, size)
    for index, result in enumerate(found):
        model = Model(history, request.at(index), how, until_ns).says(name)
        assert (result.time_ns, hex(result.status)) == (model.time_ns, hex(model.status))
        if isinstance(model.value, float) and isinstance(result.value, float | int):
            assert math.isclose(result.value, model.value, rel_tol=1e-9, abs_tol=1e-9)
        else:
            assert result.value == model.value
