"""Heartbeats on a serial line: loss, doubling, damage and noise are survived."""

from __future__ import annotations

import zlib

import msgspec
import pytest

from gateway.model import Term
from gateway.pair.arbitration import Candidate, Outcome, Reigning, arbitrate, start_rule
from gateway.pair.heartbeat import (
    FRAME_SIZE_MAX,
    Frame,
    FrameDecoder,
    Garbled,
    Grant,
    Heartbeat,
    decode_heartbeat,
    encode_frame,
    encode_heartbeat,
    read_frame,
    stuff,
    unstuff,
)
from gateway.pair.words import Role, Timing

BEAT = Heartbeat(
    site="s", node="a", boot=2**63, seq=3, role=Role.MAIN, grant=Grant(Term(1, "a", 2**64 - 1))
)


def test_a_heartbeat_comes_back_as_it_was_and_fits_a_slow_line() -> None:
    assert decode_heartbeat(encode_heartbeat(BEAT)) == BEAT
    assert len(encode_frame(1, BEAT)) < 200


def test_a_frame_split_anywhere_is_found() -> None:
    wire = encode_frame(7, BEAT)
    for cut in range(len(wire)):
        decoder = FrameDecoder()
        assert decoder.feed(wire[:cut]) + decoder.feed(wire[cut:]) == [Frame(7, BEAT)]
        assert (decoder.frames, decoder.garbled) == (1, 0)


@pytest.mark.parametrize("length", [0, 1, 253, 254, 255, 508, 509, 1_000])
def test_cobs_leaves_no_zero_and_gives_back_all(length: int) -> None:
    for data in (b"\x01" * length, b"\0" * length, b"\x01" * length + b"\0"):
        assert b"\0" not in stuff(data)
        assert unstuff(stuff(data)) == data


def test_damage_is_told_and_the_next_frame_is_found() -> None:
    decoder = FrameDecoder()
    wire = encode_frame(1, BEAT)
    hurt = bytes([wire[0]]) + bytes([wire[1] ^ 0x40]) + wire[2:]
    found = decoder.feed(hurt + b"\x05\x01\0" + wire)
    assert [type(item) for item in found] == [Garbled, Garbled, Frame]


def test_what_is_no_frame_says_why() -> None:
    def sealed(body: bytes) -> bytes:
        return stuff(body + zlib.crc32(body).to_bytes(4, "big"))

    why = [
        read_frame(stuff(b"\x01")),
        read_frame(sealed(b"\x02" + bytes(4))),
        read_frame(sealed(b"\x01" + bytes(4) + msgspec.msgpack.encode([1, 2]))),
        read_frame(b"\x09\x01"),
        read_frame(stuff(bytes(20))),
    ]
    texts = [item.why for item in why if isinstance(item, Garbled)]
    assert texts[0] == "too short"
    assert texts[1] == "version 2"
    assert texts[3:] == ["a block is cut short", "CRC differs"]
    assert len(texts) == 5


def test_endless_noise_fills_no_memory_and_ends_at_the_next_zero() -> None:
    decoder = FrameDecoder()
    found = [item for _ in range(100) for item in decoder.feed(b"\x07" * 1_000)]
    assert [type(item) for item in found] == [Garbled]
    assert found[0].why == "too long" if isinstance(found[0], Garbled) else False
    assert decoder.feed(b"\0" + encode_frame(1, BEAT)) == [Frame(1, BEAT)]
    assert FRAME_SIZE_MAX < 10_000


def test_each_step_of_the_start_rule_decides_in_its_turn() -> None:
    a = Candidate(True, False, 5, 0, "a")
    rule = [
        (Candidate(False, True, 9, 9, "b"), Outcome("a", "b can't begin a term")),
        (Candidate(True, False, 0, 9, "b"), Outcome("a", "b is blank")),
        (Candidate(True, True, 4, 0, "b"), Outcome("b", "the synced Standby")),
        (Candidate(True, False, 5, 1, "b"), Outcome("b", "priority 1 over 0")),
        (Candidate(True, False, 5, 0, "b"), Outcome("a", "node id")),
    ]
    for other, outcome in rule:
        assert start_rule(a, other) == start_rule(other, a) == outcome
    assert start_rule(a, Candidate(True, False, 6, 0, "b")).winner == "b"


def test_each_step_of_main_main_decides_in_its_turn() -> None:
    a = Reigning(10, 0, 100, "a")
    cases = [
        (Reigning(-1, 9, 900, "b"), Outcome("a", "b did not reach the field")),
        (Reigning(150, 9, 900, "b"), Outcome("a", "b did not reach the field")),
        (Reigning(5, 1, 50, "b"), Outcome("b", "priority 1 over 0")),
        (Reigning(5, 0, 100, "b"), Outcome("a", "node id")),
    ]
    for other, outcome in cases:
        assert arbitrate(a, other) == arbitrate(other, a) == outcome
    assert arbitrate(a, Reigning(5, 0, 101, "b")).winner == "b"


def test_patience_doubles_up_to_its_bound() -> None:
    timing = Timing()
    assert [timing.patience_ns(n) // 10**9 for n in (0, 1, 2, 5, 99)] == [1, 2, 4, 30, 30]


@pytest.mark.parametrize("text", [b"\xff", b"\xc3\x28"])
def test_a_heartbeat_with_bytes_that_are_no_text_is_refused_like_any_other(text: bytes) -> None:
    wire = encode_heartbeat(
        Heartbeat(site="s" * len(text), node="a", boot=1, seq=1, role=Role.MAIN)
    )
    damaged = wire.replace(b"s" * len(text), text, 1)
    with pytest.raises(msgspec.DecodeError):
        decode_heartbeat(damaged)
