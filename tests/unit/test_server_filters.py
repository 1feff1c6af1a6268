"""Triggers and deadbands."""

from __future__ import annotations

import math

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import DataType, Status
from gateway.server import filters
from gateway.server.encoding import Stamped
from gateway.server.filters import Filter, FilterRefused, make_filter


def now(value: object, status: int = 0, source_ns: int = 1) -> Stamped:
    return Stamped(value, status, source_ns, source_ns)  # type: ignore[arg-type]


def test_the_first_reading_is_always_told() -> None:
    assert Filter(filters.STATUS).passes(None, now(1.0))


def test_a_status_change_is_told_whatever_the_deadband() -> None:
    assert Filter(deadband=100.0).passes(now(1.0), now(1.0, Status.BAD))
    assert Filter(filters.STATUS).passes(now(1.0), now(1.0, Status.BAD))


def test_a_value_change_is_no_status_change() -> None:
    assert not Filter(filters.STATUS).passes(now(1.0), now(2.0))


def test_a_new_time_alone_is_told_only_to_who_asks_for_it() -> None:
    assert not Filter().passes(now(1.0, 0, 1), now(1.0, 0, 2))
    assert Filter(filters.STATUS_VALUE_TIMESTAMP).passes(now(1.0, 0, 1), now(1.0, 0, 2))
    assert not Filter(filters.STATUS_VALUE_TIMESTAMP).passes(now(1.0, 0, 1), now(1.0, 0, 1))


def test_a_deadband_turns_the_timestamp_trigger_into_a_value_trigger() -> None:
    found = Filter(filters.STATUS_VALUE_TIMESTAMP, 1.0)
    assert not found.passes(now(1.0, 0, 1), now(1.5, 0, 2))
    assert not found.passes(now("same", 0, 1), now("same", 0, 2))


def test_true_and_one_differ() -> None:
    assert Filter().passes(now(True), now(1))


def test_nan_is_told_once() -> None:
    for found in (Filter(), Filter(deadband=0.5)):
        assert found.passes(now(1.0), now(math.nan))
        assert not found.passes(now(math.nan), now(math.nan))
        assert found.passes(now(math.nan), now(1.0))


def test_infinity_is_told_once() -> None:
    found = Filter(deadband=0.5)
    assert found.passes(now(1.0), now(math.inf))
    assert not found.passes(now(math.inf), now(math.inf))


@given(
    steps=st.lists(st.floats(-1, 1), max_size=200),
    deadband=st.floats(0.1, 5),
)
def test_nobody_is_ever_further_off_than_the_deadband(steps: list[float], deadband: float) -> None:
    """The old error: comparing with the last sample loses a slow ramp."""
    found = Filter(deadband=deadband)
    told = now(0.0)
    value = 0.0
    for step in steps:
        value += step
        if found.passes(told, now(value)):
            told = now(value)
        assert abs(value - float(told.value)) <= deadband  # type: ignore[arg-type]


def test_percent_is_of_the_range_whichever_way_round_it_is_written() -> None:
    for eu_range in ((0.0, 50.0), (50.0, 0.0)):
        found = make_filter(1, filters.PERCENT, 10.0, DataType.FLOAT64, eu_range)
        assert found.deadband == pytest.approx(5.0)


def test_absolute_and_none_are_taken_as_they_are() -> None:
    assert make_filter(2, filters.NO_DEADBAND, 7.0, None, None) == Filter(2, 0.0)
    assert make_filter(1, filters.ABSOLUTE, 7.0, DataType.INT16, None) == Filter(1, 7.0)


@pytest.mark.parametrize(
    ("trigger", "kind", "deadband", "data_type", "eu_range", "status"),
    [
        (3, 0, 0.0, DataType.FLOAT64, None, ua.StatusCodes.BadMonitoredItemFilterUnsupported),
        (1, 3, 0.0, DataType.FLOAT64, None, ua.StatusCodes.BadMonitoredItemFilterUnsupported),
        (1, 1, 1.0, DataType.STRING, None, ua.StatusCodes.BadFilterNotAllowed),
        (1, 1, 1.0, DataType.BOOL, None, ua.StatusCodes.BadFilterNotAllowed),
        (1, 1, 1.0, None, None, ua.StatusCodes.BadFilterNotAllowed),
        (1, 1, -1.0, DataType.FLOAT64, None, ua.StatusCodes.BadDeadbandFilterInvalid),
        (1, 1, math.nan, DataType.FLOAT64, None, ua.StatusCodes.BadDeadbandFilterInvalid),
        (1, 2, 101.0, DataType.FLOAT64, (0.0, 1.0), ua.StatusCodes.BadDeadbandFilterInvalid),
        (1, 2, 1.0, DataType.FLOAT64, None, ua.StatusCodes.BadMonitoredItemFilterUnsupported),
    ],
)
def test_what_fits_no_item_is_refused_with_the_code_that_says_why(
    trigger: int,
    kind: int,
    deadband: float,
    data_type: DataType | None,
    eu_range: tuple[float, float] | None,
    status: int,
) -> None:
    with pytest.raises(FilterRefused) as refused:
        make_filter(trigger, kind, deadband, data_type, eu_range)
    assert refused.value.status == status
