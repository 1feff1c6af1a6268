"""What goes over a pull channel: frames as Structs, their wire form, and its pieces.

The dialler is the Receiver: it sends Have, Ack and Fault. The answerer is the Sender: it sends
Records, Kept, Floor, Head and Fault. The channel keeps the order. A frame may be larger than a
message of the channel (one record can be a whole configuration), so it travels in pieces: one byte
that says whether more follow, then a part of the MessagePack form. Formats only grow at the end.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.errors import UNDECODABLE, ReplicaError
from gateway.journal.holdings import Holding
from gateway.journal.records import Adopted
from gateway.model import Term

PIECE_SIZE_MAX: Final = 1 << 20
"""Bytes of one message of the channel, the first byte included."""
FRAME_SIZE_MAX: Final = 64 << 20
"""Bytes of a whole frame: far above the largest record that the configuration accepts."""
RECORDS_MAX: Final = 2_000
"""Records in one frame."""
RECORDS_SIZE_MAX: Final = 256 << 10
"""Bytes of wire forms in one frame, unless a single record is larger: decoded in a few ms."""
_SMALL: Final = 4_096

_LAST: Final = 0
_MORE: Final = 1


class Have(msgspec.Struct, tag="h", array_like=True, frozen=True, gc=False):
    """What the Receiver holds: the question to which everything that follows is the answer.

    `number` counts the questions of this connection; `kept` is (term, count, xor of digests) of
    the kept records; `durable` says that acknowledgements follow FULL commits. `sent_ns` is the
    Receiver's monotonic clock, given back in `Head`.
    """

    node: str
    number: int
    holdings: tuple[tuple[Term, Holding], ...]
    kept: tuple[tuple[Term, int, bytes], ...]
    durable: bool
    sent_ns: int


class Ack(msgspec.Struct, tag="a", array_like=True, frozen=True, gc=False):
    """So many frames of Records and Kept since the connection began are committed, in order.

    `equal` is the Receiver's latest verdict on the two journals, None before there is one.
    """

    frames: int
    sent_ns: int
    durable: bool = False
    equal: bool | None = None


class Records(msgspec.Struct, tag="r", array_like=True, frozen=True, gc=False):
    """Records of one term, (wire, digest), contiguous from `first`."""

    term: Term
    first: int
    items: tuple[tuple[bytes, bytes], ...]


class Kept(msgspec.Struct, tag="k", array_like=True, frozen=True, gc=False):
    """Kept records from the Sender's state file, whether or not their originals still exist."""

    items: tuple[Adopted, ...]


class Floor(msgspec.Struct, tag="f", array_like=True, frozen=True, gc=False):
    """Below `seq` the Sender's retention dropped the term: history before `before_ns` (UTC)."""

    term: Term
    seq: int
    before_ns: int


class Head(msgspec.Struct, tag="d", array_like=True, frozen=True, gc=False):
    """Where the Sender stands, after all frames before it.

    `number` is that of the Have it answers. `changed` holds what changed of the Sender's holdings
    since the Head before (all of them in the first). `live` is the term it seals its records in.
    `ahead` counts records not sent yet, `samples_ahead` those samples, as far as they are known,
    else estimated. `lag_ns` is the delay from commit to acknowledgement, the longest since the Head
    before. `echo_ns` is the newest `sent_ns` heard, `held_ns` how long ago that was heard.
    """

    number: int
    live: Term
    changed: tuple[tuple[Term, Holding], ...]
    ahead: int
    samples_ahead: int
    lag_ns: int
    echo_ns: int
    held_ns: int


class Fault(msgspec.Struct, tag="x", array_like=True, frozen=True, gc=False):
    """Something does not follow: told to the other side; that term is skipped until asked anew."""

    text: str
    term: Term | None = None


Frame = Have | Ack | Records | Kept | Floor | Head | Fault

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> list[bytes]:
    """The pieces of a frame, to be sent in order. Raises ReplicaError when it is too large."""
    buffer = bytearray(_SMALL)
    _encoder.encode_into(frame, buffer, 1)
    buffer[0] = _LAST
    if len(buffer) <= PIECE_SIZE_MAX:
        return [bytes(buffer)]
    size = len(buffer) - 1
    if size > FRAME_SIZE_MAX:
        raise ReplicaError(
            f"a frame of {size} bytes can't be sent, at most {FRAME_SIZE_MAX} may be",
            "Split the configuration that this record holds",
        )
    step = PIECE_SIZE_MAX - 1
    starts = range(1, size + 1, step)
    return [
        bytes((_LAST if start + step > size else _MORE,)) + buffer[start : start + step]
        for start in starts
    ]


class Assembler:
    """Puts pieces together again; holds at most one frame."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def take(self, piece: bytes) -> Frame | None:
        """The frame that this piece completes, or None. Raises ReplicaError when it is none."""
        if not piece or piece[0] > _MORE:
            raise ReplicaError("a message of the peer is no piece of a frame", "Compare versions")
        if len(self._parts) + len(piece) > FRAME_SIZE_MAX + 1:
            raise ReplicaError(f"a frame of the peer exceeds {FRAME_SIZE_MAX} bytes")
        if piece[0] == _MORE:
            self._parts += memoryview(piece)[1:]
            return None
        whole: bytes | memoryview = memoryview(piece)[1:]
        if self._parts:
            self._parts += whole
            whole, self._parts = bytes(self._parts), bytearray()
        try:
            return _decoder.decode(whole)
        except UNDECODABLE as error:
            raise ReplicaError(
                f"a frame of the peer can't be decoded: {error}",
                "Both nodes must run versions that understand each other",
            ) from error


class _Glance(msgspec.Struct, tag="b", array_like=True, frozen=True, gc=False):
    """A Batch of which the samples are counted, not decoded."""

    device: msgspec.Raw
    scan_class: msgspec.Raw
    revision: int
    origin: int
    requested_ns: int
    received_ns: int
    samples: msgspec.Raw


_glance: Final = msgspec.msgpack.Decoder(_Glance)
_BATCH_MARK: Final = b"\xa1b"


def samples_in(wire: bytes) -> int:
    """How many samples a record's wire form holds: 0 for all kinds but Batch."""
    if wire[1:3] != _BATCH_MARK:
        return 0
    try:
        head = bytes(_glance.decode(wire).samples)[:5]
    except UNDECODABLE:
        return 0  # the Receiver tells what is wrong with it
    if head[0] & 0xF0 == 0x90:  # fixarray, array 16, array 32 of the MessagePack specification
        return head[0] & 0x0F
    return int.from_bytes(head[1:3] if head[0] == 0xDC else head[1:5], "big")
