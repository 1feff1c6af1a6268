"""Frames survive their wire form, whole or in pieces; what is no frame is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import ReplicaError
from gateway.journal.holdings import Holding
from gateway.journal.records import Adopted, Batch, Event
from gateway.journal.records import encode as encode_body
from gateway.model import Position, Term
from gateway.replication import frames
from gateway.replication.frames import (
    FRAME_SIZE_MAX,
    PIECE_SIZE_MAX,
    Ack,
    Assembler,
    Fault,
    Floor,
    Frame,
    Have,
    Head,
    Kept,
    Records,
    encode,
    samples_in,
)

TERM = Term(3, "a", 2**64 - 1)
EXAMPLES: list[Frame] = [
    Have(
        "b", 1, ((TERM, Holding(4, ((4, 9), (11, 2**39)), b"d" * 16)),), ((TERM, 2, b"x"),), True, 5
    ),
    Ack(7, 8, True, None),
    Records(TERM, 5, ((b"wire", b"d" * 16), (b"", b"e" * 16))),
    Kept((Adopted(Position(TERM, 4), b"wire", b"d" * 16),)),
    Floor(TERM, 100, 1_700_000_000_000_000_000),
    Head(2, TERM, ((TERM, Holding()),), 3, 4, 5, 6, 7),
    Fault("it does not follow", TERM),
    Fault("something"),
]


def through(frame: Frame) -> Frame | None:
    assembler = Assembler()
    found = None
    for piece in encode(frame):
        assert found is None
        assert len(piece) <= PIECE_SIZE_MAX
        found = assembler.take(piece)
    return found


@pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)
def test_a_frame_is_what_it_was_before_the_wire(frame: Frame) -> None:
    assert through(frame) == frame


@pytest.mark.parametrize("size", [1, 2**20 - 60, 2**20, 2**20 + 1, 2_097_100, 3_500_000])
def test_a_record_larger_than_a_message_goes_in_pieces(size: int) -> None:
    frame = Records(TERM, 1, ((bytes(size), b"d" * 16),))
    assert through(frame) == frame


@given(st.integers(PIECE_SIZE_MAX - 100, PIECE_SIZE_MAX + 100), st.integers(1, 2))
def test_no_size_falls_between_two_pieces(size: int, times: int) -> None:
    frame = Records(TERM, 1, ((bytes(size * times), b"d" * 16),))
    assert through(frame) == frame


def test_two_frames_in_pieces_follow_each_other() -> None:
    assembler = Assembler()
    big = Records(TERM, 1, ((bytes(2_000_000), b"d" * 16),))
    found = [assembler.take(piece) for piece in [*encode(big), *encode(Ack(1, 2)), *encode(big)]]
    assert [frame for frame in found if frame is not None] == [big, Ack(1, 2), big]


def test_a_frame_beyond_all_bounds_is_not_sent() -> None:
    with pytest.raises(ReplicaError, match="at most 67108864"):
        encode(Records(TERM, 1, ((bytes(FRAME_SIZE_MAX), b""),)))


def test_pieces_without_end_are_refused() -> None:
    assembler = Assembler()
    piece = b"\x01" + bytes(PIECE_SIZE_MAX - 1)
    with pytest.raises(ReplicaError, match="exceeds"):
        for _ in range(100):
            assembler.take(piece)


@pytest.mark.parametrize("piece", [b"", b"\x02abc", b"\xff"])
def test_a_message_that_is_no_piece_is_refused(piece: bytes) -> None:
    with pytest.raises(ReplicaError, match="no piece"):
        Assembler().take(piece)


@given(st.binary(max_size=60))
@example(b"\x91\xaa\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80")
@example(b"\x91" * 60)
@example(b"\x91" * 100_000)
def test_garbage_is_refused_and_never_anything_else(garbage: bytes) -> None:
    try:
        Assembler().take(b"\x00" + garbage)
    except ReplicaError as error:
        assert "can't be decoded" in str(error)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 40, 65_535, 65_536])
def test_samples_are_counted_without_being_decoded(count: int) -> None:
    rows = tuple((i, i, 1.5, 0) for i in range(count))
    batch = Batch("plc1", "normal", 3, 0, 2**60, 2**60, rows, offset_ns=5)
    assert samples_in(encode_body(batch)) == count


def test_what_is_no_batch_has_no_samples() -> None:
    assert samples_in(encode_body(Event("x", 1, "y", 1))) == 0
    assert samples_in(b"") == 0
    assert samples_in(b"\x9a\xa1b\xc1") == 0
    assert samples_in(b"\x9a\xa1b" + b"\x91" * 100_000) == 0


def test_limits_fit_together() -> None:
    assert frames.RECORDS_SIZE_MAX + frames.RECORDS_MAX * 64 < PIECE_SIZE_MAX
