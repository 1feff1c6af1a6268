"""Quantities, times and statuses as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import model
from gateway.errors import (
    ConfigError,
    DeviceError,
    HotpairError,
    LinkError,
    Problem,
    Refused,
    WriteRefused,
)
from gateway.model import NS_PER_MS, NS_PER_S, Access, Position, Status, Term


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("200ms", 200 * NS_PER_MS),
        ("1s", NS_PER_S),
        ("1.5m", 90 * NS_PER_S),
        ("2h", 7200 * NS_PER_S),
        ("30d", 30 * 86_400 * NS_PER_S),
        (" 5 us ", 5_000),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, ns: int) -> None:
    assert model.parse_duration(text) == ns


@pytest.mark.parametrize("text", ["1", "s", "1 fortnight", "-1s", 5, None])
def test_a_duration_without_a_unit_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="200ms"):
        model.parse_duration(text)


@given(st.integers(0, 10**6))
def test_a_duration_in_whole_ms_survives_writing_and_reading(ms: int) -> None:
    shown = model.format_duration(ms * NS_PER_MS)
    assert model.parse_duration(shown) == ms * NS_PER_MS


def test_a_duration_below_a_microsecond_is_shown_in_ms() -> None:
    assert model.format_duration(500) == "0.0005ms"


@pytest.mark.parametrize(("text", "size"), [("10GB", 10**10), ("64MiB", 2**26), ("1.5kB", 1500)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert model.parse_size(text) == size


@pytest.mark.parametrize("text", ["10", "10 apples", 10])
def test_a_size_without_a_unit_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="10GB"):
        model.parse_size(text)


@given(st.integers(0, 4 * 10**18))
def test_a_time_survives_writing_and_reading_to_the_millisecond(time_ns: int) -> None:
    time_ns -= time_ns % NS_PER_MS
    assert model.parse_time(model.format_time(time_ns)) == time_ns


def test_a_time_without_an_offset_is_utc() -> None:
    assert model.parse_time("1970-01-01T00:00:01") == NS_PER_S
    assert model.parse_time("1970-01-01T02:00:01+02:00") == NS_PER_S


def test_statuses_have_names_and_severities() -> None:
    assert model.status_name(Status.BAD_NO_COMMUNICATION) == "BadNoCommunication"
    assert model.status_name(0x80AB0000) == "0x80AB0000"
    assert model.is_good(Status.GOOD_LOCAL_OVERRIDE)
    assert not model.is_good(Status.UNCERTAIN)
    assert model.is_bad(Status.BAD_TIMEOUT)
    assert not model.is_bad(Status.UNCERTAIN)


def test_access_says_what_a_client_may_do() -> None:
    assert (Access.READ.readable, Access.READ.writable) == (True, False)
    assert (Access.WRITE.readable, Access.WRITE.writable) == (False, True)
    assert Access.READ_WRITE.readable and Access.READ_WRITE.writable


def test_positions_are_written_with_their_whole_term() -> None:
    assert str(Position(Term(3, "a", 255), 7)) == "3.a.00000000000000ff/7"
    assert Term(3, "b", 0) > Term(2, "z", 9)


def test_errors_say_what_to_do() -> None:
    assert str(HotpairError("it broke", "Mend it")) == "it broke. Mend it"
    assert str(HotpairError("it broke")) == "it broke"
    problem = Problem("site.yaml", 3, "devices.plc1", "x", "unknown key", "Remove it")
    assert str(problem) == "site.yaml:3: devices.plc1: unknown key (found 'x'). Remove it"
    assert str(Problem("site.yaml", 0, "", None, "empty", "")) == "site.yaml: empty."
    assert ConfigError([problem]).problems == [problem]
    assert DeviceError("x").status == Status.BAD_COMMUNICATION_ERROR
    assert LinkError("x", status=Status.BAD_TIMEOUT).status == Status.BAD_TIMEOUT
    assert Refused("x", 2).code == 2
    assert WriteRefused("x", Status.BAD_OUT_OF_RANGE).status == Status.BAD_OUT_OF_RANGE
