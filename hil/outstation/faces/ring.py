"""The ring of a PLC: a header and an array of records; nothing is ever written to it.

Layout: profiles/README.md. Slot = sequence number mod capacity; the last word of a record copies
the low half of its number, and is 0 while the record is being written.
"""

from __future__ import annotations

from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S
from hil.outstation.book import Book, put
from hil.outstation.devicelog import DeviceLog
from hil.outstation.encode import encode
from hil.outstation.faces.face import Block, RegisterFace, Whims, cut
from hil.settings import SiteError
from profiles.registers import WireType, parse_address
from profiles.windback import Ring

MODULO: Final = 2**32
SYNCHRONISED: Final = 1


class RingFace(RegisterFace):
    """One ring."""

    def __init__(self, method: Ring, book: Book, base: int, whims: Whims) -> None:
        self.book = book
        self._method = method
        self._words = book.words + 1
        assert method.address is not None
        address, area = parse_address(method.address, base)
        low = address + book.shift.get("address", 0)
        self._capacity = book.places
        size = method.header.words + self._words * self._capacity
        if low + size > 0x10000:
            raise SiteError(f"a ring of {self._capacity} records doesn't fit behind {low}")
        super().__init__([Block(area or method.register_, low, size, self._data)], whims)

    @property
    def log(self) -> DeviceLog:
        return self.book.log

    def _data(self, first: int, count: int, now_ns: int) -> bytes:
        """Header and slots, as far as they are asked for."""
        header = self._method.header.words
        found = b""
        if first < header:
            found = cut(self._header(now_ns), first, count)
        at = max(0, first - header)
        end = first + count - header
        further = int(self.whims.wrong_index and at < end)
        self.whims.wrong_index &= not further
        while at < end:
            slot, inside = divmod(at, self._words)
            size = min(self._words - inside, end - at)
            slot = (slot + further) % self._capacity
            found += cut(self._slot(slot, now_ns), inside, size)
            at += size
        return found

    def _header(self, now_ns: int) -> bytes:
        said, order = self._method.header, self._method.byte_order
        span = self.log.span(now_ns)
        empty = span.oldest == span.end
        wall_ns = self.book.wall_at(now_ns)
        data = bytearray(2 * said.words)
        words = {
            said.magic_at: self._method.magic,
            said.version_at: self._method.version,
            said.record_words_at: self._words,
            said.capacity_at: self._capacity,
            said.clock_ms_at: wall_ns % NS_PER_S // NS_PER_MS,
            said.flags_at: SYNCHRONISED,
        }
        for at, word in words.items():
            put(data, at, word.to_bytes(2, "big"))
        doubles = {
            said.head_seq_at: 0 if empty else (span.end - 1) % MODULO,
            said.oldest_seq_at: 0 if empty else span.oldest % MODULO,
            said.clock_at: wall_ns // NS_PER_S,
        }
        for at, number in doubles.items():
            put(data, at, encode(number, WireType.UINT32, order))
        return bytes(data)

    def _index(self, slot: int, now_ns: int) -> int | None:
        """Which record lies in a slot: the newest whose number belongs there."""
        span = self.log.span(now_ns)
        epoch = (span.end - 1) // MODULO * MODULO
        for low, high in ((epoch, span.end - 1), (epoch - MODULO, epoch - 1)):
            index = high - (high - low - slot) % self._capacity
            if index >= max(low, span.oldest):
                return index
        return None

    def _slot(self, slot: int, now_ns: int) -> bytes:
        index = self._index(slot, now_ns)
        if index is None:
            return bytes(2 * self._words)
        data = bytearray(2 * self._words)
        said, order = self._method.record, self._method.byte_order
        moment = self.log.moment(index)
        wall_ns, _ = self.book.wall(moment)
        put(data, said.seq_at, encode(index % MODULO, WireType.UINT32, order))
        put(data, said.time_at, encode(wall_ns // NS_PER_S, WireType.UINT32, order))
        put(data, said.ms_at, (wall_ns % NS_PER_S // NS_PER_MS).to_bytes(2, "big"))
        self.book.fill(data, moment.true_ns)
        if self.book.torn and index == self.log.span(now_ns).end - 1:
            # The PLC is at the values: the last word is 0, what lies behind the middle is old.
            half = len(data) // 2
            return bytes(data[:half]) + bytes(len(data) - half)
        put(data, self._words - 1, (index % 0x10000).to_bytes(2, "big"))
        return bytes(data)
