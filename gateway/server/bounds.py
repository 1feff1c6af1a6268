"""Samples of history, what counts as usable of them, and bounding values (OPC 10000-13 clause 3.1).

Stepped all of it: a value holds until the next sample.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.model import Status, Value

CALCULATED: Final = 0x0401
INTERPOLATED: Final = 0x0402
PARTIAL: Final = 0x0404
MULTIPLE_VALUES: Final = 0x0410
"""Info bits of a StatusCode, each with the InfoType DataValue (OPC 10000-4 7.39.1); Raw is 0."""
BAD_NO_DATA: Final = 0x809B0000
UNCERTAIN_DATA_SUB_NORMAL: Final = 0x40A40000


class Sample(NamedTuple):
    """A value at an instant in ns UTC, whole ticks of 100 ns; None where the status is Bad."""

    time_ns: int
    value: Value
    status: int


class Result(NamedTuple):
    """What an aggregate says of an interval: `time_ns` is the SourceTimestamp."""

    time_ns: int
    value: Value
    status: int


class Rules(NamedTuple):
    """An AggregateConfiguration as far as samples that are held need one (clause 4.2.1.2)."""

    treat_uncertain_as_bad: bool = True
    percent_bad: int = 100
    percent_good: int = 100

    def usable(self, status: int) -> bool:
        """Whether a status counts as non-Bad."""
        return status >> 30 == 0 or (status >> 30 == 1 and not self.treat_uncertain_as_bad)

    def judge(self, good: int, bad: int, width: int) -> int:
        """The severity of a result by its shares of good and bad (clauses 4.2.1.2, 5.4.3.2.1)."""
        decides = self.percent_good != 100 - self.percent_bad
        if decides and bad and bad * 100 >= self.percent_bad * width:
            return Status.BAD
        if good * 100 >= self.percent_good * width:
            return Status.GOOD
        return UNCERTAIN_DATA_SUB_NORMAL


class Before(NamedTuple):
    """What is known where a block begins: the newest sample before it, and the newest usable."""

    newest: Sample | None = None
    usable: Sample | None = None


def number(sample: Sample) -> float:
    """The value of a sample of a numeric point."""
    assert isinstance(sample.value, int | float)
    return sample.value


def no_data(time_ns: int) -> Result:
    """There is nothing to be said of that interval."""
    return Result(time_ns, None, BAD_NO_DATA)


def interpolated_bound(at_ns: int, before: Before, until_ns: int) -> Result:
    """The interpolated bounding value at an instant, stepped (clause 3.1.8).

    `before` is of samples at or before it; from `until_ns` on it is extrapolated.
    """
    found = before.usable
    if found is None:
        return no_data(at_ns)
    if found.time_ns == at_ns:
        return Result(at_ns, found.value, found.status)
    sure = before.newest is found and found.status >> 30 == 0 and at_ns < until_ns
    return Result(at_ns, found.value, (0 if sure else UNCERTAIN_DATA_SUB_NORMAL) | INTERPOLATED)


def simple_bound(at_ns: int, newest: Sample | None, rules: Rules, until_ns: int) -> Result:
    """The simple bounding value at an instant, stepped (clause 3.1.9); none from `until_ns` on."""
    if newest is None or not rules.usable(newest.status) or at_ns >= until_ns:
        return no_data(at_ns)
    if newest.time_ns == at_ns:
        return Result(at_ns, newest.value, newest.status)
    sure = newest.status >> 30 == 0
    return Result(at_ns, newest.value, (0 if sure else UNCERTAIN_DATA_SUB_NORMAL) | INTERPOLATED)
