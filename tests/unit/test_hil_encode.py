"""Registers as the specification and the manuals have them, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.outstation.encode import arrange, encode, no_value
from profiles.schema import ByteOrder, WireType


@pytest.mark.parametrize(
    ("order", "expected"),
    [("ABCD", "41b80000"), ("CDAB", "000041b8"), ("BADC", "b8410000"), ("DCBA", "0000b841")],
)
def test_a_float_lies_in_the_order_of_its_letters(order: str, expected: str) -> None:
    assert encode(23.0, WireType.FLOAT32, ByteOrder(order)).hex() == expected


def test_64_bits_follow_the_rule_by_words() -> None:
    value = 0x1122334455667788
    assert encode(value, WireType.UINT64, ByteOrder.CDAB).hex() == "7788556633441122"
    assert encode(value, WireType.UINT64, ByteOrder.BADC).hex() == "2211443366558877"
    assert encode(value, WireType.UINT64, ByteOrder.DCBA).hex() == "8877665544332211"


def test_text_keeps_the_order_of_its_registers() -> None:
    assert encode("abc", WireType.STRING, ByteOrder.ABCD, 3) == b"abc\0\0\0"
    assert encode("abc", WireType.STRING, ByteOrder.CDAB, 2) == b"abc\0"
    assert encode("abc", WireType.STRING, ByteOrder.DCBA, 2) == b"ba\0c"
    assert encode("ab", WireType.STRING, ByteOrder.ABCD, 2, "utf-16-be") == b"\0a\0b"


def test_bcd_shows_its_digits_in_hex() -> None:
    assert encode(1234, WireType.BCD16, ByteOrder.ABCD).hex() == "1234"
    assert encode(12345678, WireType.BCD32, ByteOrder.CDAB).hex() == "56781234"


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (70_000, WireType.UINT16),
        (-1, WireType.UINT32),
        (10_000, WireType.BCD16),
        (1e300, WireType.FLOAT32),
        ("too long", WireType.STRING),
    ],
)
def test_a_value_without_a_place_is_refused(value: float | str, wire: WireType) -> None:
    with pytest.raises(ValueError, match=r"fit|digits|registers"):
        encode(value, wire, ByteOrder.ABCD)


def test_no_value_is_nan_or_the_first_sentinel() -> None:
    nan = no_value(WireType.FLOAT32, ByteOrder.ABCD, ())
    assert nan is not None
    assert struct.unpack(">f", nan)[0] != struct.unpack(">f", nan)[0]
    assert no_value(WireType.INT16, ByteOrder.ABCD, (0x8000,)) == b"\x80\x00"
    assert no_value(WireType.INT16, ByteOrder.ABCD, (-32768,)) == b"\x80\x00"
    assert no_value(WireType.UINT32, ByteOrder.CDAB, (0xFFFF0000,)) == b"\0\0\xff\xff"
    assert no_value(WireType.UINT16, ByteOrder.ABCD, ()) is None
    assert no_value(WireType.STRING, ByteOrder.ABCD, (1,)) is None


@given(st.binary(min_size=2, max_size=8).filter(lambda b: len(b) % 2 == 0))
def test_arranging_twice_gives_the_original(data: bytes) -> None:
    for order in ByteOrder:
        assert arrange(arrange(data, order), order) == data
