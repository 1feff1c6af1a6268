"""Enron's modified Modbus: the count of a request is the number of a record.

Registers of 32 bits are one address each, so a pointer is read with count 1 and answered with four
bytes. Records lie in places 1 to capacity. The event log is one for all masters: FC05 of its
register clears it, and the reply is sent once it is clear.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from hil.outstation.book import Book
from hil.outstation.encode import encode
from hil.outstation.faces.face import ILLEGAL_VALUE, READS, Whims
from hil.outstation.stamps import stamp
from profiles.records import TimeFormat
from profiles.registers import parse_address
from profiles.windback import Enron

EVENTS_MAX: Final = 255
EVENTS_A_REPLY: Final = 12
"""As many as fit: 20 bytes each."""


class Event(NamedTuple):
    """An entry of the event log: bit 9 of `bits` is an operator's change, else it is an alarm."""

    time_ns: int
    bits: int
    register: int
    old: float
    new: float


class EnronFace:
    """The archives of a flow computer, its pointers and its event log."""

    def __init__(self, method: Enron, books: Sequence[Book], base: int, whims: Whims) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.whims = whims
        self._method = method
        self._archives = {method.archive + b.shift.get("archive", 0): b for b in books}
        self._pointers: dict[int, Book] = {}
        if method.pointer is not None:
            first, _ = parse_address(method.pointer.address, base)
            self._pointers = {first + b.shift.get("pointer", 0): b for b in books}
        self._book = books[0]

    def restart(self) -> None:
        """Nothing is lost with the power."""

    def answer(self, pdu: bytes, now_ns: int) -> bytes | int | None:
        if len(pdu) != 5:
            return None
        address, count = pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]
        event = self._method.event_register
        if pdu[0] == 5 and address == event:
            if pdu[3:] != b"\xff\x00":
                return ILLEGAL_VALUE
            self.events.clear()
            return pdu
        if pdu[0] not in READS:
            return None
        if address == event:
            return self.whims.code or self._events(pdu[0])
        if address in self._archives:
            return self.whims.code or self._record(pdu[0], self._archives[address], count, now_ns)
        if address in self._pointers:
            return self.whims.code or self._read_pointers(pdu[0], address, count, now_ns)
        return None

    def _events(self, function: int) -> bytes:
        data = b""
        for event in list(self.events)[:EVENTS_A_REPLY]:
            wall_ns = self._book.wall_at(event.time_ns)
            data += struct.pack(">HH", event.bits, event.register)
            data += stamp(TimeFormat.FLOAT_HHMMSS_MMDDYY, wall_ns)
            data += struct.pack(">ff", event.old, event.new)
        return bytes((function, len(data))) + data

    def _record(self, function: int, book: Book, place: int, now_ns: int) -> bytes | int:
        span, capacity = book.log.span(now_ns), book.places
        if not 1 <= place <= capacity or span.oldest == span.end:
            return ILLEGAL_VALUE
        newest = span.end - 1
        index = newest - (newest - place) % capacity
        if self.whims.wrong_index:
            self.whims.wrong_index = False
            index += 1
        if index not in span:
            return ILLEGAL_VALUE
        record = self._method.record
        data = book.row(record, index, book.size(record))
        return bytes((function, len(data))) + data

    def _read_pointers(self, function: int, address: int, count: int, now_ns: int) -> bytes | int:
        pointer, data = self._method.pointer, b""
        assert pointer is not None
        for at in range(address, address + count):
            if at not in self._pointers:
                return ILLEGAL_VALUE
            place = self._place(self._pointers[at], now_ns)
            number = float(place) if pointer.type.is_float else place
            data += encode(number, pointer.type, pointer.byte_order)
        return bytes((function, len(data))) + data

    def _place(self, book: Book, now_ns: int) -> int:
        """The place of the newest record or of the next one, 0 while there is none."""
        span, capacity = book.log.span(now_ns), book.places
        if self._method.pointer_is == "next":
            return (span.end - 1) % capacity + 1
        return 0 if span.oldest == span.end else (span.end - 2) % capacity + 1
