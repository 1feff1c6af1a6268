"""Registers to values and back: known words, every order, every way a value can be missing."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import compile_block, encode_point
from drivers.modbus.convert import bcd_to_int
from drivers.modbus.plan import plan
from gateway.errors import InvalidReply, WriteRefused
from gateway.model import Status, Value
from profiles.schema import (
    WORDS,
    Area,
    ByteOrder,
    Defaults,
    Limits,
    ModbusPoint,
    PointMap,
    Quirks,
    WireType,
    resolve,
)

PLENTY = Limits(max_gap_words=124)


def a_point(name: str = "p", address: int = 0, **said: Any) -> PointMap:
    return resolve(name, ModbusPoint.model_validate({"address": address, **said}), Defaults())


def words(*registers: int) -> bytes:
    return struct.pack(f">{len(registers)}H", *registers)


def decode(points: list[PointMap], data: bytes) -> dict[str, tuple[Value, int]]:
    """All points, which must fit one request, from the data bytes of its reply."""
    (request,) = plan(points, PLENTY, Quirks())
    block = compile_block(request, points, range(len(points)))
    return {points[number].name: (value, status) for number, value, status in block(data)}


def value_of(data: bytes, **said: Any) -> tuple[Value, int]:
    return decode([a_point(**said)], data)["p"]


ORDERS = [
    ("ABCD", 0x4049, 0x0FDB),
    ("CDAB", 0x0FDB, 0x4049),
    ("BADC", 0x4940, 0xDB0F),
    ("DCBA", 0xDB0F, 0x4940),
]


@pytest.mark.parametrize(("order", "first", "second"), ORDERS)
def test_a_float_is_read_in_each_byte_order(order: str, first: int, second: int) -> None:
    value, status = value_of(words(first, second), type="float32", byte_order=order)
    assert value == struct.unpack(">f", bytes.fromhex("40490FDB"))[0]
    assert status == Status.GOOD
    point = a_point(type="float32", byte_order=order)
    assert encode_point(point, math.pi) == (first, second)


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        ("ABCD", (0x0102, 0x0304, 0x0506, 0x0708)),
        ("CDAB", (0x0708, 0x0506, 0x0304, 0x0102)),
        ("BADC", (0x0201, 0x0403, 0x0605, 0x0807)),
        ("DCBA", (0x0807, 0x0605, 0x0403, 0x0201)),
    ],
)
def test_a_long_follows_the_same_rule_by_words(order: str, registers: tuple[int, ...]) -> None:
    assert value_of(words(*registers), type="uint64", byte_order=order) == (0x0102030405060708, 0)


def test_a_short_is_swapped_where_the_order_swaps_bytes() -> None:
    for order, register in (("ABCD", 258), ("CDAB", 258), ("BADC", 513), ("DCBA", 513)):
        assert value_of(words(register), byte_order=order) == (258, 0)


def test_integers_stay_integers_and_scaled_values_are_floats() -> None:
    assert value_of(words(0xFFFE), type="int16") == (-2, 0)
    value, _ = value_of(words(2301), scale=0.1)
    assert value == 2301 * 0.1
    assert isinstance(value, float)
    assert value_of(words(10), scale=2, offset=-32) == (-12.0, 0)
    assert value_of(words(0), scale=-1.0) == (0.0, 0)


def test_all_kinds_of_values_share_one_block() -> None:
    points = [
        a_point("short", 0, type="int16"),
        a_point("on", 1, type="bool", bit=0),
        a_point("off", 1, type="bool", bit=15),
        a_point("flow", 2, type="float32"),
        a_point("swapped", 4, type="int32", byte_order="CDAB", scale=0.5),
        a_point("raw", 4, type="uint16"),
        a_point("name", 7, type="string", length=2),
        a_point("bcd", 9, type="bcd16"),
        a_point("total", 10, type="uint64"),
    ]
    data = words(0xFFFF, 1, 0x3FC0, 0, 10, 0, 0xDEAD, 0x4142, 0x4300, 0x1234, 0, 0, 0, 7)
    assert decode(points, data) == {
        "short": (-1, 0),
        "on": (True, 0),
        "off": (False, 0),
        "flow": (1.5, 0),
        "swapped": (5.0, 0),
        "raw": (10, 0),
        "name": ("ABC", 0),
        "bcd": (1234, 0),
        "total": (7, 0),
    }


def test_points_of_the_same_registers_may_have_different_types() -> None:
    points = [
        a_point("high", 0),
        a_point("whole", 0, type="uint32"),
        a_point("low", 1),
        a_point("again", 1, type="int16"),
    ]
    found = decode(points, words(1, 0xFFFF))
    assert found == {"high": (1, 0), "whole": (0x1FFFF, 0), "low": (0xFFFF, 0), "again": (-1, 0)}


def test_a_block_scaled_throughout_with_offsets_is_computed_in_bulk() -> None:
    points = [a_point(f"p{n}", n, scale=0.5, offset=n) for n in range(3)]
    assert decode(points, words(2, 2, 2)) == {"p0": (1.0, 0), "p1": (2.0, 0), "p2": (3.0, 0)}


def test_a_point_without_a_number_is_read_but_not_reported() -> None:
    points = [a_point("a", 0), a_point("hidden", 1), a_point("c", 2)]
    (request,) = plan(points, PLENTY, Quirks())
    assert compile_block(request, points, [7, -1, 9])(words(1, 2, 3)) == [(7, 1, 0), (9, 3, 0)]
    assert compile_block(request, points, [7, -1, -1])(words(1, 2, 3)) == [(7, 1, 0)]
    assert compile_block(request, points, [-1, -1, -1])(words(1, 2, 3)) == []


def test_coils_come_lowest_bit_first() -> None:
    points = [a_point(f"c{n}", 3 + n, register="coil", type="bool") for n in range(10)]
    found = decode(points, bytes([0b0000_0101, 0b10]))
    assert [found[f"c{n}"][0] for n in range(10)] == [n in (0, 2, 9) for n in range(10)]
    one = [a_point("only", 5, register="discrete", type="bool")]
    assert decode(one, b"\x01") == {"only": (True, 0)}


@pytest.mark.parametrize(
    "said",
    [{}, {"byte_order": "BADC"}, {"register": "coil", "type": "bool"}, {"scale": 2}],
)
def test_a_reply_of_the_wrong_length_is_no_reply(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidReply, match="data bytes"):
        value_of(b"\x00\x01\x02", **said)


# ---------------------------------------------------------------------------------- missing values


@pytest.mark.parametrize(
    ("registers", "said"),
    [
        ((0x8000,), {"type": "int16", "nan": [0x8000]}),
        ((0x8000,), {"type": "int16", "nan": [-32768]}),
        ((0x8000,), {"type": "int16", "nan": [0x8000], "scale": 0.1}),
        ((0xFFFF,), {"nan": [0xFFFF]}),
        ((0xFFFF,), {"nan": [0xFFFF], "range": {"raw": [0, 100], "eu": [0, 1]}}),
        ((0xFFFF,), {"nan": [0xFFFF], "type": "bcd16"}),
        ((0xFFFF,), {"nan": [0xFFFF], "publish_as": "int32"}),
        ((0x7FC0, 0), {"type": "float32"}),
        ((0x7FC0, 0), {"type": "float32", "scale": 2.0}),
        ((0x7FC0, 0), {"type": "float32", "publish_as": "int32"}),
        ((0x7F7F, 0xFFFF), {"type": "float32", "nan": [0x7F7FFFFF]}),
        ((0xC61C, 0x3C00), {"type": "float32", "nan": [-9999]}),
        ((0x461C, 0x3C00), {"type": "float32", "nan": ["9999"]}),
        ((0x461C, 0x3C00), {"type": "float32", "nan": [9999.0]}),
        ((0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF), {"type": "float64", "nan": [0x7FEFFFFFFFFFFFFF]}),
        ((0x123A,), {"type": "bcd16"}),
        ((0x3F3F,), {"type": "string", "length": 1, "nan": ["??"]}),
    ],
)
def test_what_the_device_has_no_value_for_is_bad_and_never_a_number(
    registers: tuple[int, ...], said: dict[str, Any]
) -> None:
    assert value_of(words(*registers), **said) == (None, Status.BAD_SENSOR_FAILURE)


@pytest.mark.parametrize(
    ("registers", "said"),
    [
        ((0x7F80, 0), {"type": "float32"}),
        ((0xFF80, 0), {"type": "float32", "publish_as": "float64", "scale": 2}),
        ((0x7F7F, 0xFFFF), {"type": "float32", "publish_as": "int32"}),
        ((0x7FEF, 0, 0, 0), {"type": "float64", "scale": 10.0}),
        ((0x7FEF, 0, 0, 0), {"type": "float64", "publish_as": "float32"}),
        ((300,), {"publish_as": "uint8"}),
        ((0xFFFF,), {"type": "int16", "publish_as": "datetime"}),
        ((0xFFFF,), {"scale": 1e306}),
    ],
)
def test_what_no_number_can_hold_is_out_of_range(
    registers: tuple[int, ...], said: dict[str, Any]
) -> None:
    assert value_of(words(*registers), **said) == (None, Status.BAD_OUT_OF_RANGE)


def test_one_bad_float_does_not_spoil_its_block() -> None:
    points = [a_point(f"f{n}", 2 * n, type="float32") for n in range(3)] + [a_point("i", 6)]
    found = decode(points, words(0x3F80, 0, 0x7FC0, 0, 0x7F80, 0, 5))
    assert found == {
        "f0": (1.0, Status.GOOD),
        "f1": (None, Status.BAD_SENSOR_FAILURE),
        "f2": (None, Status.BAD_OUT_OF_RANGE),
        "i": (5, Status.GOOD),
    }


def test_a_sum_that_overflows_marks_nothing() -> None:
    points = [a_point(f"d{n}", 4 * n, type="float64") for n in range(2)]
    found = decode(points, struct.pack(">dd", 1e308, 1e308))
    assert found == {"d0": (1e308, 0), "d1": (1e308, 0)}


def test_a_range_is_linear_and_says_when_it_is_left() -> None:
    said = {"range": {"raw": [4000, 20000], "eu": [0, 10]}}
    assert value_of(words(12000), **said) == (5.0, Status.GOOD)
    assert value_of(words(20000), **said) == (10.0, Status.GOOD)
    assert value_of(words(3200), **said) == (-0.5, Status.UNCERTAIN_EU_EXCEEDED)
    falling = {"range": {"raw": [100, 0], "eu": [0, 10]}, "type": "bcd16"}
    assert value_of(words(0x0025), **falling) == (7.5, Status.GOOD)
    real = {"range": {"raw": [0, 1], "eu": [0, 100]}, "type": "float32"}
    assert value_of(words(0x3F00, 0), **real) == (50.0, Status.GOOD)
    assert value_of(words(0x4000, 0), **real) == (200.0, Status.UNCERTAIN_EU_EXCEEDED)
    assert value_of(words(7), range={"eu": [0, 5]}) == (7, Status.GOOD)


@pytest.mark.parametrize(
    ("target", "said", "register", "expected"),
    [
        ("bool", {}, 2, True),
        ("float64", {}, 2, 2.0),
        ("float32", {"scale": 0.1}, 1, struct.unpack(">f", struct.pack(">f", 0.1))[0]),
        ("int32", {"scale": 0.1}, 27, 3),
        ("uint16", {}, 9, 9),
        ("int8", {"type": "int16"}, 0xFF80, -128),
        ("datetime", {}, 60, 60_000_000_000),
        ("uint8", {"type": "bool", "bit": 1}, 2, 1),
        ("bool", {"type": "bool", "bit": 1}, 2, True),
        ("uint32", {"range": {"raw": [0, 10], "eu": [0, 100]}}, 7, 70),
    ],
)
def test_publish_as_converts(
    target: str, said: dict[str, Any], register: int, expected: Value
) -> None:
    value, status = value_of(words(register), publish_as=target, **said)
    assert (value, status) == (expected, Status.GOOD)
    assert type(value) is type(expected)


# -------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("data", "said", "expected"),
    [
        (b"SDM630  \0\0", {}, "SDM630"),
        (b"AB\0garbage", {}, "AB"),
        (b"  right   ", {}, "  right"),
        (b"\0" * 10, {}, ""),
        ("Kl\u00e4ranl\u00e4g".encode("latin-1"), {"encoding": "latin-1"}, "Kl\u00e4ranl\u00e4g"),
        ("\u010derp.  x".encode(), {"encoding": "utf-8"}, "\u010derp.  x"),
        ("hello".encode("utf-16-be"), {"encoding": "utf-16-be"}, "hello"),
        ("hello".encode("utf-16-le"), {"encoding": "utf-16-le"}, "hello"),
        (b"DS6M03  \0\0", {"byte_order": "BADC"}, "SDM630"),
        (b"DS6M03  \0\0", {"byte_order": "DCBA"}, "SDM630"),
        (b"SDM630  \0\0", {"byte_order": "CDAB"}, "SDM630"),
    ],
)
def test_text_is_read_in_its_encoding_and_trimmed(
    data: bytes, said: dict[str, Any], expected: str
) -> None:
    data = data.ljust(10, b"\0")
    assert value_of(data, type="string", length=5, **said) == (expected, Status.GOOD)


def test_text_that_can_not_be_decoded_is_uncertain() -> None:
    found = value_of(b"Kl\xe4r", type="string", length=2)
    assert found == ("Kl\ufffdr", Status.UNCERTAIN)


def test_a_string_may_be_published_as_its_bytes() -> None:
    point = a_point(type="string", length=2, publish_as="bytes")
    assert decode([point], b"A\0\xffB") == {"p": (b"A\0\xffB", Status.GOOD)}
    assert encode_point(point, b"A\0\xffB") == (0x4100, 0xFF42)


# ------------------------------------------------------------------------------------ scale factors


def sun(factor: int, raw: int = 2301, kind: str = "int16") -> tuple[Value, int]:
    points = [a_point("v", 0, type=kind, sf="v_sf", nan=[0x8000]), a_point("v_sf", 1, type="int16")]
    return decode(points, words(raw & 0xFFFF, factor & 0xFFFF))["v"]


def test_a_scale_factor_is_an_exponent_read_in_the_same_block() -> None:
    assert sun(-1) == (2301 * 10.0**-1, 0)
    assert sun(2) == (230100.0, 0)
    assert sun(0) == (2301.0, 0)


@pytest.mark.parametrize("factor", [0x8000, 11, -11])
def test_without_its_scale_factor_a_number_means_nothing(factor: int) -> None:
    assert sun(factor) == (None, Status.BAD_SENSOR_FAILURE)


def test_an_unimplemented_value_is_bad_whatever_its_scale_factor() -> None:
    assert sun(-1, 0x8000) == (None, Status.BAD_SENSOR_FAILURE)


# ------------------------------------------------------------------------------------------ writing


def test_writes_invert_scale_range_and_factor_by_rounding_to_nearest() -> None:
    assert encode_point(a_point(scale=0.1), 230.1) == (2301,)
    assert encode_point(a_point(scale=0.1), 230.16) == (2302,)
    assert encode_point(a_point(range={"raw": [4000, 20000], "eu": [0, 10]}), 5) == (12000,)
    assert encode_point(a_point(type="int16", sf="f"), -23.4, sf=-1) == (0xFF16,)
    assert encode_point(a_point(type="bcd32"), 12345678) == (0x1234, 0x5678)
    assert encode_point(a_point(type="float64"), 1) == (0x3FF0, 0, 0, 0)
    assert encode_point(a_point(type="uint64"), 2**64 - 1) == (0xFFFF,) * 4
    assert encode_point(a_point(publish_as="datetime", type="uint32"), 70_000_000_000) == (0, 70)
    assert encode_point(a_point(publish_as="datetime", type="uint32"), 1_600_000_000) == (0, 2)
    assert encode_point(a_point(publish_as="bool"), True) == (1,)
    assert encode_point(a_point(type="uint16"), 7.0) == (7,)


def test_bits_and_coils_are_written_as_bools() -> None:
    coil = a_point(register="coil", type="bool")
    assert encode_point(coil, True) is True
    assert encode_point(a_point(type="bool", bit=3), 0) is False


def test_text_is_written_padded_and_swapped() -> None:
    assert encode_point(a_point(type="string", length=2), "abc") == (0x6162, 0x6300)
    swapped = a_point(type="string", length=2, byte_order="DCBA")
    assert encode_point(swapped, "abc") == (0x6261, 0x0063)


OUT, WRONG = Status.BAD_OUT_OF_RANGE, Status.BAD_TYPE_MISMATCH


@pytest.mark.parametrize(
    ("said", "value", "status", "tells"),
    [
        ({}, -1, OUT, "0 to 65535"),
        ({}, 65536, OUT, "0 to 65535"),
        ({}, 1.5, WRONG, "whole number"),
        ({}, True, WRONG, "a number"),
        ({}, "7", WRONG, "a number"),
        ({}, None, WRONG, "a number"),
        ({}, math.nan, OUT, "finite"),
        ({"scale": 0.1}, 6554.0, OUT, "0 to 6553.5"),
        ({"scale": -0.1}, 5, OUT, "-6553.5 to 0"),
        ({"scale": 1e-300}, 1e300, OUT, "0 to"),
        ({"min": 10, "max": 20}, 21, OUT, "10 to 20"),
        ({"min": 10}, 9, OUT, "at least 10"),
        ({"max": 20}, 21, OUT, "at most 20"),
        ({"range": {"raw": [0, 100], "eu": [0, 10]}}, 11, OUT, "0 to 10"),
        ({"range": {"raw": [-100, 100], "eu": [0, 10]}}, 1, OUT, "raw 0 to 65535"),
        ({"enum": {0: "off", 1: "on"}}, 2, OUT, "0 (off), 1 (on)"),
        ({"enum": dict.fromkeys(range(10), "x")}, 12, OUT, "and 2 more"),
        ({"nan": [0xFFFF]}, 0xFFFF, OUT, "no value"),
        ({"type": "bcd16", "nan": [0x9999]}, 9999, OUT, "no value"),
        ({"type": "bcd16"}, 10000, OUT, "0 to 9999"),
        ({"type": "int16"}, 32768, OUT, "-32768 to 32767"),
        ({"type": "float32"}, 1e39, OUT, "float32"),
        ({"type": "float64", "scale": 1e-300}, 1e300, OUT, "no value"),
        ({"type": "float32", "nan": ["-1"]}, -1.0, OUT, "no value"),
        ({"type": "bool", "bit": 0}, 2, WRONG, "true or false"),
        ({"type": "bool", "bit": 0}, "on", WRONG, "true or false"),
        ({"type": "string", "length": 1}, "abc", OUT, "at most 2 bytes"),
        ({"type": "string", "length": 1}, "\u010d", OUT, "ascii"),
        ({"type": "string", "length": 1}, "a\0", OUT, "NUL"),
        ({"type": "string", "length": 1}, 1, WRONG, "text"),
        ({"type": "string", "length": 1, "publish_as": "bytes"}, "a", WRONG, "bytes"),
        ({"type": "int16", "sf": "f"}, 1, Status.BAD_INVALID_STATE, "scale factor"),
    ],
)
def test_a_value_that_can_not_be_written_is_refused_with_what_is_allowed(
    said: dict[str, Any], value: Value, status: int, tells: str
) -> None:
    with pytest.raises(WriteRefused) as caught:
        encode_point(a_point(**said), value)
    assert caught.value.status == status
    assert tells in str(caught.value)


def test_the_span_of_a_point_with_a_scale_factor_is_told_scaled() -> None:
    with pytest.raises(WriteRefused, match=r"-3276\.8 to 3276\.7"):
        encode_point(a_point(type="int16", sf="f"), 9999, sf=-1)


# --------------------------------------------------------------------------------------- properties

INTEGERS = [t for t in WireType if t not in (WireType.BOOL, WireType.STRING) and not t.is_float]


def bounds(type_: WireType) -> tuple[int, int]:
    width = 16 * WORDS[type_]
    if type_.is_bcd:
        return 0, 10 ** (width // 4) - 1
    if type_.is_signed:
        return -(2 ** (width - 1)), 2 ** (width - 1) - 1
    return 0, 2**width - 1


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(list(ByteOrder)))
def test_every_integer_comes_back_in_every_order(
    data: st.DataObject, type_: WireType, order: ByteOrder
) -> None:
    number = data.draw(st.integers(*bounds(type_)))
    point = a_point(type=type_, byte_order=order)
    written = encode_point(point, number)
    assert isinstance(written, tuple)
    assert decode([point], words(*written)) == {"p": (number, Status.GOOD)}


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([WireType.FLOAT32, WireType.FLOAT64]),
    st.sampled_from(list(ByteOrder)),
)
def test_every_float_comes_back_in_every_order(
    number: float, type_: WireType, order: ByteOrder
) -> None:
    point = a_point(type=type_, byte_order=order)
    written = encode_point(point, number)
    assert isinstance(written, tuple)
    assert decode([point], words(*written)) == {"p": (number, Status.GOOD)}


@given(
    st.data(),
    st.sampled_from([t for t in INTEGERS if WORDS[t] <= 2]),
    st.sampled_from([0.001, 0.01, 0.1, 0.25, 2.0, 10.0, -0.1, 1000.0]),
    st.sampled_from([0.0, -40.0, 273.15]),
)
def test_a_scaled_value_read_and_written_back_gives_the_same_registers(
    data: st.DataObject, type_: WireType, scale: float, offset: float
) -> None:
    raw = data.draw(st.integers(*bounds(type_)))
    plain, scaled = a_point(type=type_), a_point(type=type_, scale=scale, offset=offset)
    registers = encode_point(plain, raw)
    assert isinstance(registers, tuple)
    value, status = decode([scaled], words(*registers))["p"]
    assert status == Status.GOOD
    assert encode_point(scaled, value) == registers


@given(st.integers(0, 0xFFFF), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3))
def test_a_ranged_value_read_and_written_back_gives_the_same_register(
    raw: int, low: float, span: float
) -> None:
    point = a_point(range={"raw": [0, 0xFFFF], "eu": [low, low + span]})
    value, _ = decode([point], words(raw))["p"]
    assert isinstance(value, float)
    # The last bit of a float may lie outside the span at its very end.
    held = min(max(value, low), low + span)
    assert encode_point(point, held) == (raw,)


@given(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12),
    st.sampled_from(["ascii", "latin-1", "utf-8", "utf-16-be", "utf-16-le"]),
    st.sampled_from(list(ByteOrder)),
)
def test_text_comes_back_but_for_blanks_at_its_end(
    text: str, encoding: str, order: ByteOrder
) -> None:
    point = a_point(type="string", length=12, encoding=encoding, byte_order=order)
    written = encode_point(point, text)
    assert isinstance(written, tuple)
    assert decode([point], words(*written)) == {"p": (text.rstrip(), Status.GOOD)}


@given(st.integers(0, 0xFFFFFFFF))
def test_bcd_is_a_number_exactly_when_all_its_digits_are(raw: int) -> None:
    digits = f"{raw:08X}"
    assert bcd_to_int(raw) == (int(digits) if digits.isdigit() else None)


def test_an_area_of_bits_knows_itself() -> None:
    assert [area for area in Area if area.is_bits] == [Area.COIL, Area.DISCRETE]
