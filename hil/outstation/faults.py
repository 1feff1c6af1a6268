"""Faults as data: what each kind does to a reply on its way out.

Pure. A fault takes the exchange (request, true reply, framing) and gives the pieces to send. To
add a kind is to add a function to `REPLY_FAULTS`, or a name to one of the sets for faults that
act on the whole device instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hil.outstation.frames import Asked, Framing
from hil.outstation.unit import exception

DEVICE_FAILURE: Final = 4
BUSY: Final = 6
TARGET_SILENT: Final = 0x0B
GARBAGE: Final = bytes.fromhex("ff00ff5aa5deadbeef0102037f80")

SPREAD: Final = 0.618033988749895
"""Multiples of it, less their whole part, lie evenly in [0, 1): jitter that needs no chance."""

LINE_FAULTS: Final = frozenset({"refuse", "drop", "limit"})
"""They act on the socket: `refuse` closes the port, `drop` closes each connection once, `limit`
allows so many `connections` (1): one more is refused or, with `evict`, the oldest is dropped."""
VALUE_FAULTS: Final = frozenset({"nan", "stuck"})
"""They act on what the device holds, not on the exchange."""


class Piece(NamedTuple):
    """Bytes to send `delay_s` after the piece before them (or after the request)."""

    delay_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent for one request. `overtaken`: later requests are answered meanwhile.

    `merged`: it waits until there are so many, and all leave in one segment.
    """

    pieces: tuple[Piece, ...] = ()
    close: bool = False
    overtaken: bool = False
    merged: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one device, until `until_ns` (None: until cleared). Options are in `options`."""

    kind: str
    until_ns: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """A numeric option."""
        return float(self.options.get(name, default))


class Exchange(NamedTuple):
    """One request with its true reply; `number` counts the requests of the line."""

    asked: Asked
    reply: bytes
    framing: Framing
    number: int = 0

    def sent(self, pdu: bytes, tid: int | None = None, unit: int | None = None) -> bytes:
        """A reply in a frame, with another transaction id or unit if given."""
        return self.framing.frame(
            self.asked.tid if tid is None else tid, self.asked.unit if unit is None else unit, pdu
        )


def plain(exchange: Exchange) -> Plan:
    """The true reply at once."""
    return Plan((Piece(0.0, exchange.sent(exchange.reply)),))


def _silence(fault: Fault, exchange: Exchange) -> Plan:
    return Plan()


def _delay(fault: Fault, exchange: Exchange) -> Plan:
    """Later by `ms`, and by up to `jitter_ms` more, another time for each request."""
    jitter_ms = fault.number("jitter_ms", 0) * (exchange.number * SPREAD % 1.0)
    delay_s = (fault.number("ms", 500) + jitter_ms) / 1000
    return Plan((Piece(delay_s, exchange.sent(exchange.reply)),))


def _late(fault: Fault, exchange: Exchange) -> Plan:
    """Longer than the master waits, and the next request is answered before."""
    delay_s = fault.number("ms", 1500) / 1000
    return Plan((Piece(delay_s, exchange.sent(exchange.reply)),), overtaken=True)


def _exception(fault: Fault, exchange: Exchange) -> Plan:
    code = int(fault.number("code", DEVICE_FAILURE))
    return Plan((Piece(0.0, exchange.sent(exception(exchange.asked.pdu[0], code))),))


def _busy(fault: Fault, exchange: Exchange) -> Plan:
    return Plan((Piece(0.0, exchange.sent(exception(exchange.asked.pdu[0], BUSY))),))


def _gateway(fault: Fault, exchange: Exchange) -> Plan:
    """What a gateway says of a unit that doesn't answer behind it."""
    return Plan((Piece(0.0, exchange.sent(exception(exchange.asked.pdu[0], TARGET_SILENT))),))


def _wrong_tid(fault: Fault, exchange: Exchange) -> Plan:
    tid = (exchange.asked.tid + int(fault.number("by", 1))) % 65536
    return Plan((Piece(0.0, exchange.sent(exchange.reply, tid=tid)),))


def _wrong_unit(fault: Fault, exchange: Exchange) -> Plan:
    unit = (exchange.asked.unit + int(fault.number("by", 1))) % 256
    return Plan((Piece(0.0, exchange.sent(exchange.reply, unit=unit)),))


def _wrong_function(fault: Fault, exchange: Exchange) -> Plan:
    reply = bytes((exchange.reply[0] ^ 7,)) + exchange.reply[1:]
    return Plan((Piece(0.0, exchange.sent(reply)),))


def _short_count(fault: Fault, exchange: Exchange) -> Plan:
    """A well-formed reply with fewer registers than asked."""
    reply = exchange.reply
    if exchange.asked.pdu[0] not in (1, 2, 3, 4) or reply[0] & 0x80:
        return plain(exchange)
    kept = 2 + (reply[1] // 2) // 2 * 2
    return Plan((Piece(0.0, exchange.sent(bytes((reply[0], kept - 2)) + reply[2:kept])),))


def _lying_length(fault: Fault, exchange: Exchange) -> Plan:
    """The byte count says more than follows."""
    reply = exchange.reply
    if len(reply) < 2 or reply[0] & 0x80:
        return plain(exchange)
    claimed = min(255, reply[1] + 4)
    return Plan((Piece(0.0, exchange.sent(bytes((reply[0], claimed)) + reply[2:])),))


def _truncated(fault: Fault, exchange: Exchange) -> Plan:
    frame = exchange.sent(exchange.reply)
    return Plan((Piece(0.0, frame[: max(1, len(frame) // 2)]),))


def _split(fault: Fault, exchange: Exchange) -> Plan:
    """The frame in pieces, with a pause between them."""
    frame = exchange.sent(exchange.reply)
    size = max(1, int(fault.number("bytes", 3)))
    pause_s = fault.number("ms", 5) / 1000
    starts = range(0, len(frame), size)
    pieces = (Piece(pause_s if at else 0.0, frame[at : at + size]) for at in starts)
    return Plan(tuple(pieces))


def _merged(fault: Fault, exchange: Exchange) -> Plan:
    """The reply waits for those after it, and `count` (2) of them leave in one segment."""
    pieces = (Piece(0.0, exchange.sent(exchange.reply)),)
    return Plan(pieces, merged=max(1, int(fault.number("count", 2))))


def _garbage(fault: Fault, exchange: Exchange) -> Plan:
    """Noise instead of the reply, or before it with `then_reply`."""
    tail = exchange.sent(exchange.reply) if fault.options.get("then_reply") else b""
    return Plan((Piece(0.0, GARBAGE + tail),))


def _bad_crc(fault: Fault, exchange: Exchange) -> Plan:
    """On RTU the check bytes are wrong; a transport without them gets a flipped data byte."""
    frame = bytearray(exchange.sent(exchange.reply))
    frame[-1] ^= 0xFF
    return Plan((Piece(0.0, bytes(frame)),))


def _twice(fault: Fault, exchange: Exchange) -> Plan:
    """The reply two times, as a repeating radio link gives it."""
    return Plan((Piece(0.0, exchange.sent(exchange.reply) * 2),))


def _hang_up(fault: Fault, exchange: Exchange) -> Plan:
    """The connection is closed instead of an answer."""
    return Plan(close=True)


REPLY_FAULTS: Final[dict[str, Callable[[Fault, Exchange], Plan]]] = {
    "silence": _silence,
    "delay": _delay,
    "late": _late,
    "exception": _exception,
    "busy": _busy,
    "gateway": _gateway,
    "wrong_tid": _wrong_tid,
    "wrong_unit": _wrong_unit,
    "wrong_function": _wrong_function,
    "short_count": _short_count,
    "lying_length": _lying_length,
    "truncated": _truncated,
    "split": _split,
    "merged": _merged,
    "garbage": _garbage,
    "bad_crc": _bad_crc,
    "twice": _twice,
    "hang_up": _hang_up,
}
KINDS: Final = frozenset(REPLY_FAULTS) | LINE_FAULTS | VALUE_FAULTS
OPCUA_KINDS: Final = frozenset(
    {"silence", "refuse", "drop", "nan", "stuck", "delay", "exception", "forget", "no_history"}
)
"""Of an OPC UA PLC: `delay` publishes later, `exception` refuses services, `forget` its sessions,
once; with `no_history` it serves values, but says that it keeps no history of them."""


def apply(fault: Fault | None, exchange: Exchange) -> Plan:
    """What to send for an exchange under a fault (None: the truth)."""
    if fault is None:
        return plain(exchange)
    act = REPLY_FAULTS.get(fault.kind)
    return plain(exchange) if act is None else act(fault, exchange)


def limited(fault: Fault) -> tuple[int, bool]:
    """How many connections a `limit` allows, and whether one more drops the oldest."""
    return max(0, int(fault.number("connections", 1))), bool(fault.options.get("evict"))
