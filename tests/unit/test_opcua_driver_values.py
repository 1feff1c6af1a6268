"""Types and values of the OPC UA driver: what fits, what is published, what may be written."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.values import (
    LAG_MAX_NS,
    LEAD_MAX_NS,
    NATURAL,
    Builtin,
    clean_status,
    converter,
    datetime_to_ns,
    fits,
    ns_to_datetime,
    place,
    publish,
    revised_ns,
    to_device,
    type_name,
    widens,
)
from gateway.errors import WriteRefused
from gateway.model import INTEGER_RANGES, NS_PER_S, DataType, Status


def test_every_published_type_is_fed_by_its_own_built_in_type() -> None:
    for target, builtin in NATURAL.items():
        assert fits(builtin, target)


@pytest.mark.parametrize(
    ("builtin", "target", "expected"),
    [
        (Builtin.INT16, DataType.INT32, True),
        (Builtin.INT32, DataType.INT16, False),
        (Builtin.UINT16, DataType.INT16, False),
        (Builtin.UINT16, DataType.INT32, True),
        (Builtin.SBYTE, DataType.UINT32, False),
        (Builtin.FLOAT, DataType.FLOAT64, True),
        (Builtin.DOUBLE, DataType.FLOAT32, False),
        (Builtin.INT32, DataType.FLOAT64, True),
        (Builtin.INT64, DataType.FLOAT64, False),
        (Builtin.INT16, DataType.FLOAT32, True),
        (Builtin.INT32, DataType.FLOAT32, False),
        (Builtin.BOOLEAN, DataType.INT32, False),
        (Builtin.INT32, DataType.BOOL, False),
        (Builtin.STATUSCODE, DataType.UINT32, True),
        (Builtin.LOCALIZEDTEXT, DataType.STRING, True),
        (Builtin.DOUBLE, DataType.STRING, False),
        (Builtin.EXTENSIONOBJECT, DataType.STRING, False),
        (Builtin.BYTESTRING, DataType.BYTES, True),
        (Builtin.DATETIME, DataType.DATETIME, True),
        (Builtin.DATETIME, DataType.INT64, False),
    ],
)
def test_a_type_fits_only_where_every_value_does(
    builtin: Builtin, target: DataType, expected: bool
) -> None:
    assert fits(builtin, target) is expected


@given(st.sampled_from(sorted(INTEGER_RANGES)), st.sampled_from(sorted(INTEGER_RANGES)))
def test_fitting_integers_is_containment_of_their_ranges(source: DataType, into: DataType) -> None:
    (low, high), (floor, ceiling) = INTEGER_RANGES[source], INTEGER_RANGES[into]
    assert widens(source, into) == (floor <= low and high <= ceiling)


def test_types_are_named_as_the_specification_spells_them() -> None:
    assert type_name(Builtin.DOUBLE) == "Double"
    assert type_name(Builtin.SBYTE) == "SByte"
    assert type_name(Builtin.EXTENSIONOBJECT) == "a structure"


@given(st.integers(-(10**19), 2 * 10**20))
def test_times_survive_the_way_through_datetime_to_the_microsecond(ns: int) -> None:
    try:
        moment = ns_to_datetime(ns)
    except WriteRefused as refused:
        assert refused.status == Status.BAD_OUT_OF_RANGE
        return
    back = datetime_to_ns(moment)
    assert back is None or back == ns // 1000 * 1000


def test_the_zero_of_opc_ua_is_no_time_and_a_naive_time_is_utc() -> None:
    assert datetime_to_ns(None) is None
    assert datetime_to_ns(datetime(1601, 1, 1, tzinfo=UTC)) is None
    assert datetime_to_ns(datetime(1970, 1, 1, 0, 0, 1)) == NS_PER_S  # noqa: DTZ001


@pytest.mark.parametrize(
    ("code", "clean", "overflow"),
    [
        (0x00000000, 0x00000000, False),
        (0x00000480, 0x00000000, True),
        (0x00000580, 0x00000500, True),  # low limit bit stays, with the InfoType that explains it
        (0x00000500, 0x00000500, False),
        (0x00000080, 0x00000080, False),  # without an InfoType the bit means nothing
        (0x408F0480, 0x408F0000, True),
    ],
)
def test_the_overflow_bit_is_taken_out_of_a_status(code: int, clean: int, overflow: bool) -> None:
    assert clean_status(code) == (clean, overflow)


@pytest.mark.parametrize(
    ("target", "value", "status", "expected"),
    [
        (DataType.FLOAT64, 1.5, Status.GOOD, (1.5, Status.GOOD)),
        (DataType.FLOAT64, 3, Status.GOOD, (3.0, Status.GOOD)),
        (DataType.FLOAT32, math.nan, Status.GOOD, (None, Status.BAD_SENSOR_FAILURE)),
        (DataType.FLOAT32, math.inf, Status.GOOD, (None, Status.BAD_OUT_OF_RANGE)),
        (DataType.FLOAT64, 1.5, Status.BAD_TIMEOUT, (None, Status.BAD_TIMEOUT)),
        (DataType.FLOAT64, 1.5, Status.UNCERTAIN, (1.5, Status.UNCERTAIN)),
        (DataType.INT32, 7, Status.GOOD, (7, Status.GOOD)),
        (DataType.BOOL, True, Status.GOOD, (True, Status.GOOD)),
        (DataType.STRING, None, Status.GOOD, ("", Status.GOOD)),
        (DataType.STRING, UUID(int=5), Status.GOOD, (str(UUID(int=5)), Status.GOOD)),
        (DataType.STRING, "21,5 \udcb0C", Status.GOOD, ("21,5 \ufffdC", Status.UNCERTAIN)),
        (DataType.STRING, "21,5 \udcb0C", Status.BAD_TIMEOUT, (None, Status.BAD_TIMEOUT)),
        (DataType.BYTES, None, Status.GOOD, (b"", Status.GOOD)),
        (DataType.BYTES, b"x", Status.GOOD, (b"x", Status.GOOD)),
        (DataType.DATETIME, None, Status.GOOD, (None, Status.BAD_NO_DATA)),
        (
            DataType.DATETIME,
            datetime.max.replace(tzinfo=UTC),
            Status.GOOD,
            (None, Status.BAD_OUT_OF_RANGE),
        ),
        (
            DataType.DATETIME,
            datetime(1602, 1, 1, tzinfo=UTC),
            Status.GOOD,
            (None, Status.BAD_OUT_OF_RANGE),
        ),
        (
            DataType.DATETIME,
            datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
            Status.GOOD,
            (2 * NS_PER_S, Status.GOOD),
        ),
    ],
)
def test_what_is_published(
    target: DataType, value: object, status: int, expected: tuple[object, int]
) -> None:
    assert publish(converter(target), value, status) == expected


def test_an_observation_stands_at_its_source_time_where_that_can_be_true() -> None:
    last, received = 100 * NS_PER_S, 200 * NS_PER_S
    assert place(150 * NS_PER_S, last, received) == 150 * NS_PER_S
    assert place(None, last, received) == received
    assert place(received + LEAD_MAX_NS + 1, last, received) == received
    assert place(last - LAG_MAX_NS, last, received) == last
    assert place(last - LAG_MAX_NS - 1, last, received) == received


@given(st.none() | st.integers(0, 10**19), st.integers(0, 10**19), st.integers(0, 10**19))
def test_an_observation_never_stands_before_the_one_before_it(
    source: int | None, last: int, received: int
) -> None:
    assert place(source, last, received) >= last


@pytest.mark.parametrize(
    ("value", "builtin", "raw"),
    [
        (True, Builtin.BOOLEAN, True),
        (5, Builtin.BYTE, 5),
        (5.0, Builtin.INT16, 5),
        (5, Builtin.DOUBLE, 5.0),
        (0.5, Builtin.FLOAT, 0.5),
        ("x", Builtin.STRING, "x"),
        ("x", Builtin.LOCALIZEDTEXT, "x"),
        (b"x", Builtin.BYTESTRING, b"x"),
        (NS_PER_S, Builtin.DATETIME, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (str(UUID(int=9)), Builtin.GUID, UUID(int=9)),
        (1, Builtin.STATUSCODE, 1),
    ],
)
def test_what_is_written(value: object, builtin: Builtin, raw: object) -> None:
    written = to_device(value, builtin)  # type: ignore[arg-type]
    assert written == raw
    assert type(written) is type(raw)


@pytest.mark.parametrize(
    ("value", "builtin", "status"),
    [
        (256, Builtin.BYTE, Status.BAD_OUT_OF_RANGE),
        (-1, Builtin.UINT64, Status.BAD_OUT_OF_RANGE),
        (1.5, Builtin.INT32, Status.BAD_TYPE_MISMATCH),
        (math.inf, Builtin.INT32, Status.BAD_TYPE_MISMATCH),
        (True, Builtin.INT32, Status.BAD_TYPE_MISMATCH),
        ("5", Builtin.INT32, Status.BAD_TYPE_MISMATCH),
        (math.nan, Builtin.DOUBLE, Status.BAD_OUT_OF_RANGE),
        (1e39, Builtin.FLOAT, Status.BAD_OUT_OF_RANGE),
        (1, Builtin.BOOLEAN, Status.BAD_TYPE_MISMATCH),
        (1, Builtin.STRING, Status.BAD_TYPE_MISMATCH),
        ("x", Builtin.BYTESTRING, Status.BAD_TYPE_MISMATCH),
        (True, Builtin.DATETIME, Status.BAD_TYPE_MISMATCH),
        (10**21, Builtin.DATETIME, Status.BAD_OUT_OF_RANGE),
        ("no guid", Builtin.GUID, Status.BAD_TYPE_MISMATCH),
        (None, Builtin.INT16, Status.BAD_TYPE_MISMATCH),
        ("x", Builtin.NODEID, Status.BAD_NOT_SUPPORTED),
        ("x", Builtin.EXTENSIONOBJECT, Status.BAD_NOT_SUPPORTED),
    ],
)
def test_what_is_not_written(value: object, builtin: Builtin, status: int) -> None:
    with pytest.raises(WriteRefused) as refused:
        to_device(value, builtin)  # type: ignore[arg-type]
    assert refused.value.status == status


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_that_is_written_can_be_packed(value: float) -> None:
    try:
        written = to_device(value, Builtin.FLOAT)
    except WriteRefused:
        return
    struct.pack("<f", written)


@pytest.mark.parametrize("told_ms", [0.0, -1.0, math.nan, math.inf, -math.inf, 1e306])
def test_a_revised_duration_that_tells_nothing_is_what_was_asked_for(told_ms: float) -> None:
    assert revised_ns(told_ms, 7) == 7


def test_a_revised_duration_is_taken_in_ns() -> None:
    assert revised_ns(0.5, 7) == 500_000
    assert revised_ns(3_600_000, 7) == 3_600 * NS_PER_S
