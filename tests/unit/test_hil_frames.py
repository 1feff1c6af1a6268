"""Requests out of streams: whole, byte by byte, several at once, and after noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.outstation.frames import BUFFER_MAX, Asked, Mbap, Rtu, crc16, request_size

READ = bytes.fromhex("0300000002")
REQUESTS = [
    READ,
    bytes.fromhex("0500030000"),
    bytes.fromhex("100000000204000a0102"),
    bytes.fromhex("0f0003000a02cd01"),
    bytes.fromhex("16000400f20025"),
    bytes.fromhex("170003000600 0e0003 06 00ff00ff00ff"),
    bytes.fromhex("2b0e0100"),
    b"\x11",
]
streams = st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5)


def test_the_crc_is_that_of_the_specification() -> None:
    # Modbus over Serial Line V1.02 appendix B: the frame 02 07 has the CRC 41 12.
    assert crc16(bytes.fromhex("0207")).hex() == "4112"


@given(streams, st.integers(1, 7))
def test_tcp_requests_come_out_in_order_however_they_are_cut(pdus: list[bytes], size: int) -> None:
    sent = b"".join(Mbap().frame(tid, 9, pdu) for tid, pdu in enumerate(pdus, 700))
    framing = Mbap()
    found: list[Asked] = []
    for at in range(0, len(sent), size):
        found += framing.receive(sent[at : at + size])
    assert found == [Asked(tid, 9, pdu) for tid, pdu in enumerate(pdus, 700)]


@pytest.mark.parametrize("junk", ["0001000100060103", "000100000001 01", "0001000000ff01030000"])
def test_what_is_no_modbus_header_is_an_error(junk: str) -> None:
    with pytest.raises(ValueError, match="not a Modbus"):
        Mbap().receive(bytes.fromhex(junk))


@given(streams, st.integers(1, 7), st.sampled_from([b"", b"\xff", b"\0\0\0", b"\x01\x03\x00"]))
def test_rtu_requests_are_found_however_they_are_cut_and_behind_noise(
    pdus: list[bytes], size: int, noise: bytes
) -> None:
    sent = noise + b"".join(Rtu().frame(0, 3, pdu) for pdu in pdus)
    framing = Rtu()
    found: list[Asked] = []
    for at in range(0, len(sent), size):
        found += framing.receive(sent[at : at + size])
    # A frame that noise swallowed may wait for the next one; nothing false is ever found.
    assert [asked.pdu for asked in found] == pdus[len(pdus) - len(found) :]
    assert len(found) == len(pdus) or noise


def test_silence_forgets_half_a_frame() -> None:
    framing = Rtu()
    frame = framing.frame(0, 1, READ)
    assert framing.receive(frame[:5]) == []
    framing.silence()
    assert framing.receive(frame) == [Asked(0, 1, READ)]


def test_endless_noise_is_not_kept() -> None:
    framing = Rtu()
    framing.receive(b"\x01\x10" * BUFFER_MAX)
    assert len(framing._buffer) <= 256


def test_a_frame_with_a_wrong_crc_is_no_request() -> None:
    frame = bytearray(Rtu().frame(0, 1, READ))
    frame[-1] ^= 1
    assert Rtu().receive(bytes(frame)) == []


def test_the_length_of_an_unknown_function_is_where_the_crc_closes() -> None:
    frame = Rtu().frame(0, 1, bytes.fromhex("64010203"))
    assert request_size(frame) == len(frame)
    assert request_size(frame[:-1]) == 0
    assert request_size(b"\x01\x83\x02\x00") is None
    assert request_size(b"\x01\x10\x00\x00\x00\x7f\xff") is None
    assert request_size(b"\x01\x10\x00\x00") == 0
