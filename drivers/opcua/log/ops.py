"""What reading a server's history asks for, and what it is told: sans-IO.

The method is a generator. It yields an operation and is sent what came of it; it yields a `LogPage`
whenever a part of the history is read, and is sent None. Continuation points that are left open on
any way out are released by whoever carries the operations out: it sees each of them come and go.

Nodes are named by their places in `Points.decoders`. Times here are the server's, in ns UTC.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from drivers.opcua.observe import Reading
from gateway.driver import LogPage

TICK_NS: Final = 1_000
"""What a source time can tell apart here; OPC UA counts tenths of it."""
SEVERITY_AND_CODE: Final = 0xFFFF0000

BAD_TIMEOUT: Final = 0x800A0000
BAD_SERVICE_UNSUPPORTED: Final = 0x800B0000
BAD_NOT_IMPLEMENTED: Final = 0x80400000
BAD_CONTINUATION_POINT_INVALID: Final = 0x804A0000
BAD_NO_CONTINUATION_POINTS: Final = 0x804B0000
BAD_HISTORY_OPERATION_UNSUPPORTED: Final = 0x80720000
BAD_BOUND_NOT_FOUND: Final = 0x80D70000
BAD_BOUND_NOT_SUPPORTED: Final = 0x80D80000

TOO_MUCH: Final = frozenset({0x80080000, 0x80100000, 0x80B80000, 0x80B90000, BAD_TIMEOUT})
"""Bad_EncodingLimitsExceeded, _TooManyOperations, _RequestTooLarge, _ResponseTooLarge, and no
answer in time: less may be granted."""
UNSUPPORTED: Final = frozenset(
    {BAD_SERVICE_UNSUPPORTED, BAD_NOT_IMPLEMENTED, BAD_HISTORY_OPERATION_UNSUPPORTED}
)


class Ask(NamedTuple):
    """HistoryRead raw of nodes; newest first where `to_ns` lies before `from_ns`, or that is None.

    `most` values a node. `points` go on with earlier reads of the same stretch; (): none.
    """

    places: tuple[int, ...]
    from_ns: int | None
    to_ns: int
    most: int
    bounds: bool = False
    points: tuple[bytes, ...] = ()


class Begin(NamedTuple):
    """Send `ask`, which is the next Ask; the server works on it while pages are made and kept."""

    ask: Ask


class Free(NamedTuple):
    """Release continuation points; failures are passed over."""

    places: tuple[int, ...]
    points: tuple[bytes, ...]


class Times(NamedTuple):
    """Read the server's CurrentTime and StartTime."""


class Wait(NamedTuple):
    """Let time pass."""

    ns: int


class Told(NamedTuple):
    """What the server said of one node; `point` is its continuation point."""

    status: int
    readings: Sequence[Reading] = ()
    point: bytes | None = None


class Answer(NamedTuple):
    """One `Told` a node, in the order asked."""

    told: tuple[Told, ...]


class Refusal(NamedTuple):
    """The request as a whole was refused, or never answered (BAD_TIMEOUT)."""

    code: int
    text: str


class Hands(NamedTuple):
    """The server's clock and when it was started, as it says; sent and received by ours."""

    now_ns: int | None
    start_ns: int | None
    sent_ns: int
    received_ns: int


Op = Ask | Begin | Free | Times | Wait
Reply = Answer | Refusal | Hands | None
Asking = Generator[Op | LogPage, Reply, Any]
"""Sent: Answer or Refusal for Ask, Hands for Times, None for Begin, Free, Wait and a page."""


def asked(reply: Reply) -> Answer | Refusal:
    """The reply to an Ask."""
    assert isinstance(reply, Answer | Refusal)
    return reply


def told_time(reply: Reply) -> Hands:
    """The reply to a Times."""
    assert isinstance(reply, Hands)
    return reply
