"""Bytes of a connection between the nodes to frames and back: pure.

A frame is its length (u32, big-endian) and that many bytes; an empty one keeps a channel alive. On
a connection for heartbeats each frame is one message: a beat with a stamp of its sender's clock, or
the echo of that stamp, from which the sender learns the round trip of this very path.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from gateway.errors import UNDECODABLE, PeerError
from gateway.pair.hello import HELLO_SIZE_MAX, MAGIC

FRAME_SIZE_MAX: Final = (1 << 20) + (1 << 16)
PIECE_SIZE: Final = 1 << 18
BODY_SIZE_MAX: Final = 64 << 20
"""The largest question or answer that goes in pieces."""
KEEP_ALIVE: Final = b"\0\0\0\0"
_LENGTH: Final = struct.Struct(">I")
_STAMP: Final = struct.Struct(">BQ")
_BEAT: Final = 1
_ECHO: Final = 2


class WireError(PeerError):
    """Bytes that no peer of this version sends: the connection can't be read on."""


def frame(body: bytes) -> bytes:
    """A body with its length before it."""
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Bytes in, bodies of frames out; holds at most one frame of `size_max`, and what came with it.

    With `greeting` the stream begins with `MAGIC` and the first frame is small: whoever it is that
    speaks is not known yet.
    """

    def __init__(self, size_max: int = FRAME_SIZE_MAX, greeting: bool = False) -> None:
        self._held = bytearray()
        self._size_max = size_max
        self._greeting = greeting
        self._first = greeting

    def feed(self, data: bytes) -> None:
        """Take bytes in."""
        self._held += data

    def next(self) -> bytes | None:
        """The next body, or None before it is whole. Raises WireError."""
        if self._greeting:
            if len(self._held) < len(MAGIC):
                return None
            if self._held[: len(MAGIC)] != MAGIC:
                raise WireError("this is no Hotpair link")
            del self._held[: len(MAGIC)]
            self._greeting = False
        if len(self._held) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(self._held)
        limit = HELLO_SIZE_MAX if self._first else self._size_max
        if size > limit:
            raise WireError(f"a frame of {size} bytes is larger than {limit}")
        end = _LENGTH.size + size
        if len(self._held) < end:
            return None
        body = bytes(self._held[_LENGTH.size : end])
        del self._held[:end]
        self._first = False
        return body


class Beat(NamedTuple):
    """A heartbeat in its MessagePack form, and the stamp to be echoed; 0: no echo is wanted."""

    stamp_ns: int
    heartbeat: bytes


class Echo(NamedTuple):
    """The stamp of a beat, on its way back."""

    stamp_ns: int


def beat(stamp_ns: int, heartbeat: bytes) -> bytes:
    """The frame of a heartbeat."""
    return frame(_STAMP.pack(_BEAT, stamp_ns) + heartbeat)


def echo(stamp_ns: int) -> bytes:
    """The frame of an echo."""
    return frame(_STAMP.pack(_ECHO, stamp_ns))


def read_message(body: bytes) -> Beat | Echo:
    """The message of a frame on a connection for heartbeats. Raises WireError."""
    if len(body) < _STAMP.size:
        raise WireError("a message is cut short")
    kind, stamp_ns = _STAMP.unpack_from(body)
    if kind == _BEAT:
        return Beat(stamp_ns, body[_STAMP.size :])
    if kind == _ECHO:
        return Echo(stamp_ns)
    raise WireError(f"a message of the unknown kind {kind}")


# ------------------------------------------------------------------------------ questions


class Question(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one node asks the other: a name, and a body that MessagePack can carry."""

    what: str
    body: Any = None


class Answer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What came of a question: a body, or why it was refused and what to do about it."""

    accepted: bool
    body: Any = None
    message: str = ""
    remedy: str = ""


def encode_question(what: str, body: Any) -> bytes:
    """The MessagePack form. Raises PeerError when it can't be carried."""
    return _encode(Question(what, body))


def encode_answer(answer: Answer) -> bytes:
    """The MessagePack form. Raises PeerError when it can't be carried."""
    return _encode(answer)


def _encode(message: Question | Answer) -> bytes:
    try:
        wire = msgspec.msgpack.encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise PeerError(f"this can't be told to the peer: {error}") from error
    if len(wire) > BODY_SIZE_MAX:
        raise PeerError(
            f"{len(wire) >> 20} MiB are too much to tell the peer at once",
            f"The limit is {BODY_SIZE_MAX >> 20} MiB",
        )
    return wire


def decode_question(wire: bytes) -> Question:
    """Raises WireError."""
    try:
        return msgspec.msgpack.decode(wire, type=Question)
    except UNDECODABLE as error:
        raise WireError(f"a question can't be read: {error}") from error


def decode_answer(wire: bytes) -> Answer:
    """Raises WireError."""
    try:
        return msgspec.msgpack.decode(wire, type=Answer)
    except UNDECODABLE as error:
        raise WireError(f"an answer can't be read: {error}") from error


def pieces(wire: bytes) -> Iterable[bytes]:
    """A body in pieces that don't hinder others; each but the last begins with 1."""
    for start in range(0, max(len(wire), 1), PIECE_SIZE):
        last = start + PIECE_SIZE >= len(wire)
        yield (b"\0" if last else b"\1") + wire[start : start + PIECE_SIZE]


class Pieces:
    """Puts pieces together again, up to `BODY_SIZE_MAX`."""

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, piece: bytes) -> bytes | None:
        """The whole when this was the last piece, else None. Raises WireError."""
        if piece[:1] not in (b"\0", b"\1") or len(self._held) + len(piece) > BODY_SIZE_MAX + 1:
            raise WireError("a piece of a body that can't be")
        self._held += memoryview(piece)[1:]
        return bytes(self._held) if piece[0] == 0 else None
