"""Our bytes against the library's decoder: the two were written apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import from_binary
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import INTEGER_RANGES, DataType, Status, Value
from gateway.server.encoding import (
    BOTH,
    BUILT_IN,
    INT64_MAX,
    NEITHER,
    OVERFLOW,
    SERVER,
    SOURCE,
    data_change,
    data_value_encoder,
    from_ticks,
    ticks,
)

NOW_NS = 1_790_000_000_123_456_700
VALUES: dict[DataType, st.SearchStrategy[Value]] = {
    DataType.BOOL: st.booleans(),
    DataType.FLOAT32: st.floats(width=32, allow_nan=False),
    DataType.FLOAT64: st.floats(allow_nan=False),
    DataType.STRING: st.text(),
    DataType.BYTES: st.binary(),
    DataType.DATETIME: st.integers(0, 2**61),
} | {kind: st.integers(*bounds) for kind, bounds in INTEGER_RANGES.items()}


def decode(data: bytes) -> ua.DataValue:
    buffer = Buffer(data)
    found = from_binary(ua.DataValue, buffer)
    assert len(buffer) == 0
    return found


def moment(time_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[DataType, Value]:
    kind = draw(st.sampled_from(sorted(VALUES)))
    return kind, draw(VALUES[kind])


@given(
    typed=typed_values(),
    status=st.sampled_from([0, Status.UNCERTAIN, Status.BAD, Status.GOOD_LOCAL_OVERRIDE]),
    which=st.sampled_from([SOURCE, SERVER, BOTH, NEITHER]),
)
def test_the_library_decodes_what_we_encode(
    typed: tuple[DataType, Value], status: int, which: int
) -> None:
    kind, value = typed
    found = decode(data_value_encoder(kind)(value, status, NOW_NS, NOW_NS + 5_000_000, which))
    assert int(found.Value.VariantType) == BUILT_IN[kind]
    if kind is DataType.DATETIME:
        assert isinstance(value, int)
        value = moment(value)
    assert found.Value.Value == value
    assert (found.StatusCode.value if found.StatusCode else 0) == status
    source = moment(NOW_NS) if which in (SOURCE, BOTH) else None
    server = moment(NOW_NS + 5_000_000) if which in (SERVER, BOTH) else None
    assert (found.SourceTimestamp, found.ServerTimestamp) == (source, server)


def test_a_bad_sample_without_a_value_has_no_variant() -> None:
    data = data_value_encoder(DataType.FLOAT64)(
        None, Status.BAD_NO_COMMUNICATION, NOW_NS, 0, SOURCE
    )
    assert data[0] == 0x06
    assert decode(data).StatusCode.value == Status.BAD_NO_COMMUNICATION


def test_the_overflow_bits_travel_in_a_good_status() -> None:
    data = data_value_encoder(DataType.FLOAT64)(1.5, OVERFLOW, NOW_NS, NOW_NS, BOTH)
    assert decode(data).StatusCode.value == 0x0480


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        (DataType.INT16, 40_000, BUILT_IN[DataType.INT64]),
        (DataType.INT16, 2**63, BUILT_IN[DataType.UINT64]),
        (DataType.INT32, 1.5, BUILT_IN[DataType.FLOAT64]),
        (DataType.FLOAT32, 1e300, BUILT_IN[DataType.FLOAT64]),
        (DataType.FLOAT64, "text", BUILT_IN[DataType.STRING]),
        (DataType.STRING, 7, BUILT_IN[DataType.INT64]),
        (DataType.STRING, b"raw", BUILT_IN[DataType.BYTES]),
        (DataType.BYTES, "text", BUILT_IN[DataType.STRING]),
        (DataType.DATETIME, "text", BUILT_IN[DataType.STRING]),
        (DataType.UINT8, True, BUILT_IN[DataType.UINT8]),
    ],
)
@pytest.mark.parametrize("which", [SOURCE, SERVER, BOTH, NEITHER])
def test_a_sample_from_before_its_type_changed_keeps_its_own_type(
    kind: DataType, value: Value, code: int, which: int
) -> None:
    found = decode(data_value_encoder(kind)(value, 0, NOW_NS, NOW_NS, which))
    assert int(found.Value.VariantType) == code
    assert found.Value.Value == value


def test_times_outside_what_ua_holds_go_to_its_ends() -> None:
    assert ticks(-(10**20)) == 0
    assert ticks(10**21) == INT64_MAX
    assert ticks(0) == ua.datetime_to_win_epoch(datetime(1970, 1, 1, tzinfo=UTC))


@given(st.integers(0, 2**61))
def test_ticks_are_the_time_cut_to_a_hundred_nanoseconds(time_ns: int) -> None:
    assert from_ticks(ticks(time_ns)) == time_ns // 100 * 100


def test_a_data_change_is_decoded_by_the_library() -> None:
    encode = data_value_encoder(DataType.FLOAT64)
    parts = [h.to_bytes(4, "little") + encode(h * 1.0, 0, NOW_NS, NOW_NS, BOTH) for h in (1, 2, 3)]
    found = from_binary(ua.DataChangeNotification, Buffer(data_change(parts)))
    assert [item.ClientHandle for item in found.MonitoredItems] == [1, 2, 3]
    assert [item.Value.Value.Value for item in found.MonitoredItems] == [1.0, 2.0, 3.0]
