"""What the nodes tell each other, and its frame on a serial line: pure, bytes in and events out.

One kind of message says everything, and says it again each period until it is answered, so that
loss needs no retransmission and handover works over serial alone (rules.md 5). Frame: COBS
(IEEE/ACM ToN 7(2), 1999) over version, sequence u32, MessagePack and CRC-32 (all big-endian), then
one zero byte. A zero occurs nowhere else, so the decoder finds its feet at the next one after any
damage.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import msgspec

from gateway.errors import UNDECODABLE
from gateway.model import Term
from gateway.pair.words import Field, Role

VERSION: Final = 1
FRAME_SIZE_MAX: Final = 4_096
DUES_MAX: Final = 64
"""Scan classes in a grant; a class beyond is polled at once by the new Main."""

Due = tuple[str, int]
"""(scan class, next scan in ns UTC)."""


class Grant(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The reign is handed over: `term` ended, and each class is next due then."""

    term: Term
    next_due: tuple[Due, ...] = ()


class Refusal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A grant of that term is not accepted."""

    term: Term
    why: str


class Ruling(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Main-Main is settled: the sender keeps its reign, the one of `loser` ends."""

    loser: Term
    why: str


class Heartbeat(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """All that a node tells its peer, each period, on every link.

    `boot` and `seq` order it. `sent_ns` is the sender's monotonic clock; `echo_ns` is the `sent_ns`
    of the last one heard from the receiver's process `echo_boot`, held for `held_ns`:
    so the receiver knows by its own clock that this was said after `echo_ns`, and the round trip.
    `consent`: I won't claim for takeover_after from my receipt of what I echo. `term_seen` is the
    highest number known. The shell sets `utc_ns` as it sends.
    `collected_age_ns` is the time since a device answered (-1: never in this reign), `reign_ns` how
    long the reign lasts unbroken; `able` is false while the node can't begin a term.
    `coverage_end_ns` is UTC, 0 for a blank journal.
    """

    site: str
    node: str
    boot: int
    seq: int
    role: Role
    term: Term | None = None
    term_seen: int = 0
    coverage_end_ns: int = 0
    field: Field = Field.UNKNOWN
    hears_you: bool = False
    consent: bool = False
    priority: int = 0
    reign_ns: int = 0
    collected_age_ns: int = -1
    sent_ns: int = 0
    echo_boot: int = 0
    echo_ns: int = 0
    held_ns: int = 0
    utc_ns: int = 0
    paused: bool = False
    pause_version: int = 0
    grant: Grant | None = None
    refusal: Refusal | None = None
    ruling: Ruling | None = None
    goodbye: bool = False
    able: bool = True


class Frame(NamedTuple):
    """A frame that arrived whole."""

    sequence: int
    heartbeat: Heartbeat


class Garbled(NamedTuple):
    """Bytes between two zeros that are no frame, and what is wrong with them."""

    why: str
    size: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Heartbeat)
_HEAD: Final = struct.Struct(">BI")
_CRC: Final = struct.Struct(">I")


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The MessagePack form, as links with a framing of their own carry it."""
    return _encoder.encode(heartbeat)


def decode_heartbeat(wire: bytes) -> Heartbeat:
    """The heartbeat of its MessagePack form. Raises msgspec.DecodeError."""
    try:
        return _decoder.decode(wire)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these through
        raise msgspec.DecodeError(str(error)) from error


def encode_frame(sequence: int, heartbeat: Heartbeat) -> bytes:
    """A serial frame, its zero byte included; `sequence` counts frames of this line modulo 2^32."""
    body = _HEAD.pack(VERSION, sequence & 0xFFFFFFFF) + encode_heartbeat(heartbeat)
    return stuff(body + _CRC.pack(zlib.crc32(body))) + b"\0"


def stuff(data: bytes) -> bytes:
    """COBS: the same data without zero bytes, at most one byte in 254 longer, and one."""
    out = bytearray()
    for block in data.split(b"\0"):
        while len(block) >= 254:
            out += b"\xff" + block[:254]
            block = block[254:]
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def unstuff(data: bytes) -> bytes:
    """The data before `stuff`. Raises ValueError."""
    out = bytearray()
    place = 0
    while place < len(data):
        code = data[place]
        block = data[place + 1 : place + code]
        if code == 0 or len(block) != code - 1:
            raise ValueError("a block is cut short")
        out += block
        place += code
        if code != 0xFF and place < len(data):
            out.append(0)
    return bytes(out)


class FrameDecoder:
    """Bytes of a serial line in, frames out; holds at most `FRAME_SIZE_MAX` bytes."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._skipping = False
        self.frames = 0
        self.garbled = 0

    def feed(self, data: bytes) -> list[Frame | Garbled]:
        """What these bytes complete, in order; nothing is raised, whatever they are."""
        found: list[Frame | Garbled] = []
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._hold(piece, found)
            if self._held and not self._skipping:
                found.append(read_frame(bytes(self._held)))
            self._held.clear()
            self._skipping = False
        self._hold(rest, found)
        self.garbled += sum(isinstance(item, Garbled) for item in found)
        self.frames += sum(isinstance(item, Frame) for item in found)
        return found

    def _hold(self, piece: bytes, found: list[Frame | Garbled]) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > FRAME_SIZE_MAX:
            found.append(Garbled("too long", len(self._held)))
            self._held.clear()
            self._skipping = True


def read_frame(stuffed: bytes) -> Frame | Garbled:
    """The frame of the bytes between two zeros."""
    try:
        data = unstuff(stuffed)
    except ValueError as error:
        return Garbled(str(error), len(stuffed))
    body, check = data[: -_CRC.size], data[-_CRC.size :]
    if len(body) < _HEAD.size:
        return Garbled("too short", len(stuffed))
    if _CRC.pack(zlib.crc32(body)) != check:
        return Garbled("CRC differs", len(stuffed))
    version, sequence = _HEAD.unpack_from(body)
    if version != VERSION:
        return Garbled(f"version {version}", len(stuffed))
    try:
        return Frame(sequence, decode_heartbeat(body[_HEAD.size :]))
    except UNDECODABLE as error:
        return Garbled(str(error), len(stuffed))
