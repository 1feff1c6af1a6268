"""What is decoded without the library is what the library would have made of it."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary as binary
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.log import plain
from drivers.opcua.log.ops import Told
from drivers.opcua.observe import Reading
from drivers.opcua.session_history import results
from drivers.opcua.session_reading import to_reading
from drivers.opcua.values import Builtin
from gateway.model import NS_PER_S

Kind = ua.VariantType
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
MOMENT_NS = int(MOMENT.timestamp()) * NS_PER_S
YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)
TICKS = (MOMENT - YEAR_1601) // timedelta(microseconds=1) * 10


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    """All that so many bits can hold."""
    low = -(1 << bits - 1) if signed else 0
    return st.integers(low, low + (1 << bits) - 1)


PLAIN = {
    Kind.Boolean: st.booleans(),
    Kind.SByte: integers(8, True),
    Kind.Byte: integers(8, False),
    Kind.Int16: integers(16, True),
    Kind.UInt16: integers(16, False),
    Kind.Int32: integers(32, True),
    Kind.UInt32: integers(32, False),
    Kind.Int64: integers(64, True),
    Kind.UInt64: integers(64, False),
    Kind.Float: st.floats(width=32),
    Kind.Double: st.floats(),
}
plain_variants = st.one_of(
    st.just(ua.Variant(None, Kind.Null)),
    *(values.map(lambda v, kind=kind: ua.Variant(v, kind)) for kind, values in PLAIN.items()),
)
others = st.sampled_from(
    (
        ua.Variant("text", Kind.String),
        ua.Variant(b"\x00", Kind.ByteString),
        ua.Variant(MOMENT, Kind.DateTime),
        ua.Variant(ua.LocalizedText("text"), Kind.LocalizedText),
        ua.Variant([1, 2], Kind.Int16),
        ua.Variant([[1, 2], [3, 4]], Kind.Int32),
    )
)
moments = st.none() | st.timedeltas(timedelta(0), timedelta(days=3_000_000)).map(
    lambda since: YEAR_1601 + since
)


def values_of(variants: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """DataValues, each of whose parts may be absent."""
    statuses = st.none() | integers(32, False).map(ua.StatusCode)
    return st.builds(
        lambda variant, status, source, server: ua.DataValue(
            variant, StatusCode=status, SourceTimestamp=source, ServerTimestamp=server
        ),
        st.none() | variants,
        statuses,
        moments,
        moments,
    )


def body_of(values: list[Any]) -> bytes:
    return bytes(binary.struct_to_binary(ua.HistoryData(DataValues=values)))


def by_library(body: bytes) -> list[Reading]:
    found = binary.struct_from_binary(ua.HistoryData, Buffer(body)).DataValues
    return [to_reading(value) for value in found or ()]


@given(st.lists(values_of(plain_variants), max_size=8))
def test_plain_values_are_as_the_library_has_them(values: list[Any]) -> None:
    body = body_of(values)
    assert repr(plain.readings(body)) == repr(by_library(body))  # NaN is unlike itself


@given(
    st.lists(values_of(plain_variants), max_size=3),
    others,
    st.lists(values_of(plain_variants), max_size=3),
)
def test_whatever_is_not_plain_is_left_to_the_library(
    before: list[Any], other: Any, after: list[Any]
) -> None:
    values = [*before, ua.DataValue(other, SourceTimestamp=MOMENT), *after]
    assert plain.readings(body_of(values)) is None
    (told,) = results(Buffer(response_of([ua.HistoryData(DataValues=values)])))
    assert repr(told.readings) == repr(by_library(body_of(values)))


@given(st.lists(values_of(plain_variants), min_size=1, max_size=4), st.data())
def test_what_was_cut_off_is_not_taken_for_the_whole(
    values: list[Any], data: st.DataObject
) -> None:
    body = body_of(values)
    end = data.draw(st.integers(0, len(body) - 1))
    assert plain.readings(body[:end]) is None


def test_no_values_are_two_things_on_the_wire() -> None:
    assert plain.readings(struct.pack("<i", 0)) == plain.readings(struct.pack("<i", -1)) == []


def test_picoseconds_are_passed_over() -> None:
    """The library reads the server's time before them, where it isn't (asyncua 2.1)."""
    first = struct.pack("<BBhqHqH", 0x3D, Kind.Int16.value, -7, TICKS, 1, TICKS + 10, 2)
    second = struct.pack("<BqH", 0x28, TICKS, 3)
    assert plain.readings(struct.pack("<i", 2) + first + second) == [
        Reading(-7, Builtin.INT16, 0, 0, MOMENT_NS),
        Reading(None, Builtin.NULL, 0, 0, MOMENT_NS),
    ]


@pytest.mark.parametrize("ticks", [-(1 << 63), -1, 0, 9, 10, 2**62, 2**63 - 1])
def test_times_that_are_none_or_beyond_all_bounds(ticks: int) -> None:
    source_only = struct.pack("<iBq", 1, 0x04, ticks)
    assert plain.readings(source_only) == by_library(source_only)
    both = struct.pack("<iBqq", 1, 0x0C, ticks, TICKS)
    assert plain.readings(both) == by_library(both)


@pytest.mark.parametrize("mask", [0x40, 0x80])
def test_a_mask_of_the_future_is_left_to_the_library(mask: int) -> None:
    assert plain.readings(struct.pack("<iB", 1, mask)) is None


# --------------------------------------------------------------------------- a whole answer


def response_of(histories: list[Any], point: bytes | None = None, status: int = 0) -> bytes:
    response = ua.HistoryReadResponse()
    response.Results = [
        ua.HistoryReadResult(ua.StatusCode(status), point, history) for history in histories
    ]
    return bytes(binary.struct_to_binary(response))


def test_an_answer_of_several_nodes() -> None:
    value = ua.DataValue(ua.Variant(1.5, Kind.Double), SourceTimestamp=MOMENT)
    text = ua.DataValue(ua.Variant("on", Kind.String), SourceTimestamp=MOMENT)
    histories = [
        ua.HistoryData(DataValues=[value]),
        ua.ExtensionObject(),
        ua.HistoryData(DataValues=[text]),
        ua.HistoryData(DataValues=[]),
        ua.HistoryData(DataValues=[value, value]),
    ]
    number = Reading(1.5, Builtin.DOUBLE, 0, 0, MOMENT_NS)
    word = Reading("on", Builtin.STRING, 0, 0, MOMENT_NS)
    told = results(Buffer(response_of(histories, b"point", 0x00A50000)))
    assert told == [
        Told(0x00A50000, found, b"point") for found in ([number], [], [word], [], [number, number])
    ]


def test_a_refusal_is_raised() -> None:
    response = ua.HistoryReadResponse()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadTooManyOperations)
    with pytest.raises(ua.UaStatusCodeError):
        results(Buffer(bytes(binary.struct_to_binary(response))))


def test_an_answer_that_is_cut_off_is_none() -> None:
    value = ua.DataValue(ua.Variant(1.5, Kind.Double), SourceTimestamp=MOMENT)
    whole = response_of([ua.HistoryData(DataValues=[value] * 3)], b"point")
    cut = whole[: len(whole) - 12]
    with pytest.raises((ua.UaError, struct.error, IndexError)):
        results(Buffer(cut))
