"""What the journal holds: one Struct a kind of record, and its wire form.

A record is (position, body). Its wire form is msgpack of a tagged array, made once, by the node
that wrote it; that same string of bytes is stored, chained into the digest and sent to the peer, so
that two journals can be compared byte by byte. Formats only grow at the end (rules.md 7, Upgrade).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from gateway.model import Position, Term

DIGEST_SIZE: Final = 16
EMPTY_DIGEST: Final = bytes(DIGEST_SIZE)

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What the tables and the tails can take, which is checked when a wire is decoded."""
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
StatusCode = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]

SampleRow = tuple[Natural, Int64, Any, StatusCode]
"""(point number in the batch's revision, source time in ns UTC, value, status).

The value is a `Value`; msgspec can't tell `str` from `bytes` in a union, msgpack itself can.
"""


class Batch(msgspec.Struct, tag="b", array_like=True, frozen=True, gc=False):
    """The samples of one poll of one device: the unit of commit and of replication.

    `requested_ns` and `received_ns` bound the moment at which the device held the values.
    `complete` says that every point of the class is in it (the start of a coverage interval, a
    revision or a day). `clock_trusted` is false while the node has no disciplined clock.
    """

    device: str
    scan_class: str
    revision: Int64
    origin: Int64
    requested_ns: Int64
    received_ns: Int64
    samples: tuple[SampleRow, ...]
    complete: bool = False
    clock_trusted: bool = True
    offset_ns: Int64 = 0


class Hole(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A stretch [from, to) of one device and scan class that its coverage record excepts."""

    device: str
    scan_class: str
    from_ns: Int64
    to_ns: Int64
    cause: str


class Behind(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A class that its coverage record claims in [since, through) of its own, for it lags.

    Or it did in the record before: `since_ns` is how far the records before this one claimed.
    """

    device: str
    scan_class: str
    since_ns: Int64
    through_ns: Int64


class Coverage(msgspec.Struct, tag="c", array_like=True, frozen=True, gc=False):
    """All classes of all devices of `revision` are complete in [since, through) except holes.

    Those in `behind` are complete in a stretch of their own instead, except holes.
    """

    revision: Int64
    since_ns: Int64
    through_ns: Int64
    holes: tuple[Hole, ...] = ()
    behind: tuple[Behind, ...] = ()


class Role(msgspec.Struct, tag="r", array_like=True, frozen=True, gc=False):
    """A node took a role, when and why; `term` is the one it reigns in, or its diary."""

    node: str
    role: str
    at_ns: Int64
    why: str
    term: Term | None = None


class Revision(msgspec.Struct, tag="v", array_like=True, frozen=True, gc=False):
    """A configuration: the files as text, and the names that its point numbers stand for.

    `points` are `device/point` ids in the order of their numbers, with their published types.
    """

    number: Int64
    parent_digest: bytes
    at_ns: Int64
    who: str
    files: dict[str, str]
    points: tuple[tuple[str, str], ...]


class Fact(msgspec.Struct, tag="f", array_like=True, frozen=True, gc=False):
    """Something learned from a device online, so that a takeover needs no discovery."""

    device: str
    key: str
    value: Any
    at_ns: Int64


class Maintenance(msgspec.Struct, tag="m", array_like=True, frozen=True, gc=False):
    """Somebody disabled or enabled a device or point, or substituted a value (None: withdrew it).

    `action` is `disable`, `enable`, `substitute` or `release`; `target` a device or `device/point`.
    """

    action: str
    target: str
    at_ns: Int64
    who: str
    why: str
    value: Any = None


class Audit(msgspec.Struct, tag="a", array_like=True, frozen=True, gc=False):
    """Who did or tried what: writes (intent and result), logins, configuration, role changes."""

    action: str
    target: str
    at_ns: Int64
    who: str
    outcome: str
    detail: dict[str, Any] = {}


class Event(msgspec.Struct, tag="e", array_like=True, frozen=True, gc=False):
    """An alarm or a notable event; severity 1 to 1000 as OPC 10000-5 section 6.4.2 has it.

    `kind` is for programs: `lost` and `back` of a device, else empty.
    """

    source: str
    severity: Int64
    text: str
    at_ns: Int64
    kind: str = ""


LOST: Final = "lost"
BACK: Final = "back"


class Loss(msgspec.Struct, tag="l", array_like=True, frozen=True, gc=False):
    """Stored history that is gone for a known reason (damaged file, retention): [from, to)."""

    from_ns: Int64
    to_ns: Int64
    cause: str
    detail: str


class Ruling(msgspec.Struct, tag="s", array_like=True, frozen=True, gc=False):
    """Main-Main was settled: both terms reigned in [from, to), and the winner's stream speaks.

    With duty `discard` the loser's coverage and view in there are withdrawn, its records stay;
    with `merge` nothing is withdrawn.
    """

    winner: Term
    loser: Term
    from_ns: Int64
    to_ns: Int64
    duty: str
    why: str
    at_ns: Int64


class Fill(msgspec.Struct, tag="w", array_like=True, frozen=True, gc=False):
    """A stretch [from, to) of one scan class was judged against a device's own log (windback).

    `kind` holds for `points`, names of the device's points: `filled`, `coarse` (the log is slower
    than the scan), `lost`, or `open` (another log has them, and was not read yet); of several
    kinds for one point the best counts. A judged stretch names every point of its class. The
    samples are in batches of the same term with origin windback, among the `span` records before
    this one: it holds only where all of these are held. `next_record` is where reading goes on at
    `to_ns`; -1: unknown. The device's clock was `offset_ns` ahead, give or take `uncertainty_ns`
    (-1: it can't be read). `why` says what is lost and how.
    """

    device: str
    scan_class: str
    log: str
    from_ns: Int64
    to_ns: Int64
    kind: str
    points: tuple[str, ...]
    at_ns: Int64
    why: str = ""
    resolution_ns: Int64 = 0
    records: Int64 = 0
    next_record: Int64 = -1
    offset_ns: Int64 = 0
    uncertainty_ns: Int64 = -1
    span: Natural = 0


Delivery = tuple[Natural, str, Annotated[int, msgspec.Meta(ge=0)], Natural, Natural]
"""(number, node and nonce of a term, first seq, last seq)."""


class Delivered(msgspec.Struct, tag="d", array_like=True, frozen=True, gc=False):
    """What a northbound feed handed on, so that the other node goes on where this one ended.

    `spans` are stretches [first, last] of terms: with `whole` all that were ever delivered and
    may still be held, else those since the record before. `births` counts the feed's sessions.
    """

    feed: str
    at_ns: Int64
    births: Natural
    whole: bool
    spans: tuple[Delivery, ...]


Body = (
    Batch
    | Coverage
    | Role
    | Revision
    | Fact
    | Maintenance
    | Audit
    | Event
    | Loss
    | Ruling
    | Fill
    | Delivered
)
KEPT: Final = (Role, Revision, Fact, Maintenance, Audit, Ruling)
"""Kinds that outlive the retention of history."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Body]] = msgspec.msgpack.Decoder(Body)


class Record(NamedTuple):
    """A journal record; `digest` chains it to the one before it in its term."""

    position: Position
    wire: bytes
    digest: bytes
    body: Body


class Adopted(NamedTuple):
    """A record as the peer sent it: its position, its wire form and its digest."""

    position: Position
    wire: bytes
    digest: bytes


def encode(body: Body) -> bytes:
    """The wire form of a body."""
    return _encoder.encode(body)


def decode(wire: bytes) -> Body:
    """The body of a wire form. Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(wire)


def chain(previous: bytes, position: Position, wire: bytes) -> bytes:
    """The digest of a record: 16 bytes of BLAKE2b over the one before it, its seq and its wire."""
    digest = hashlib.blake2b(previous, digest_size=DIGEST_SIZE)
    digest.update(position.seq.to_bytes(8, "big"))
    digest.update(wire)
    return digest.digest()


def seal(term: Term, seq: int, previous: bytes, body: Body) -> Record:
    """Make the record that follows the one with digest `previous` in `term`."""
    position = Position(term, seq)
    wire = encode(body)
    return Record(position, wire, chain(previous, position, wire), body)
