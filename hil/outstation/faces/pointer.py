"""The device keeps a read pointer, and reading moves it on (Satec PM172).

The pointer belongs to the unit: whoever reads moves it for everybody. Behind the newest record the
window says so in its status word; the next number reads 0 while the log is empty.
"""

from __future__ import annotations

from hil.outstation.book import Book
from hil.outstation.devicelog import Span
from hil.outstation.faces.face import (
    ILLEGAL_VALUE,
    Block,
    RegisterFace,
    Whims,
    cut,
    located,
    shown,
    written,
)
from profiles.records import Register
from profiles.registers import WORDS
from profiles.windback import Pointer


class PointerFace(RegisterFace):
    """One log behind one pointer."""

    def __init__(self, method: Pointer, book: Book, base: int, whims: Whims) -> None:
        self._method = method
        self._book = book
        self._index: int | None = None
        """The record that the window shows; None: nobody asked for any, so it is the oldest."""
        self._read_to = 0
        self._modulo = method.modulo or 2 ** (16 * WORDS[method.pointer.type])
        shift = book.shift.get("pointer", 0)
        pointer = shown(method.pointer, base, self._pointer, shift)
        if method.settable:
            pointer = written(pointer, self._set, method.pointer.byte_order)
        blocks = [pointer]
        told = (
            (method.unread, self._unread),
            (method.oldest, self._oldest),
            (method.newest, self._newest),
            (method.next, self._next),
        )
        for register, value in told:
            if isinstance(register, Register):
                blocks.append(shown(register, base, value, shift))
        area, low = located(method.data, base, book.shift.get("data", 0))
        self._words = book.size(method.record)
        blocks.append(Block(area, low, method.data_words, self._data))
        super().__init__(blocks, whims)

    def restart(self) -> None:
        self._index = None

    def _span(self, now_ns: int) -> Span:
        return self._book.log.span(now_ns)

    def _at(self, now_ns: int) -> int:
        """Where the pointer stands; a record that was overwritten took it along."""
        span = self._span(now_ns)
        return span.oldest if self._index is None else max(self._index, span.oldest)

    def _pointer(self, now_ns: int) -> int:
        return self._at(now_ns) % self._modulo

    def _unread(self, now_ns: int) -> int:
        span = self._span(now_ns)
        return min(span.end - max(self._read_to, span.oldest), 0xFFFF)

    def _oldest(self, now_ns: int) -> int:
        return self._span(now_ns).oldest % self._modulo

    def _newest(self, now_ns: int) -> int:
        return (self._span(now_ns).end - 1) % self._modulo

    def _next(self, now_ns: int) -> int:
        span = self._span(now_ns)
        return span.end % self._modulo if span.oldest < span.end else 0

    def _set(self, number: int, now_ns: int) -> int | None:
        span = self._span(now_ns)
        index = span.oldest + (number - span.oldest) % self._modulo
        if number >= self._modulo or index not in span:
            return self._method.not_there[0] if self._method.not_there else ILLEGAL_VALUE
        self._index = index
        return None

    def _data(self, first: int, count: int, now_ns: int) -> bytes:
        if self.whims.wrong_index:
            self.whims.wrong_index = False
            self._index = self._at(now_ns) + 1
        span, index, data, at = self._span(now_ns), self._at(now_ns), b"", 0
        while at < first + count:
            data += self._record(index, span)
            at += self._words
            if at <= first + count and self._method.advances:
                # The last register of a record was read.
                self._index = index = min(index + 1, span.end)
                self._read_to = max(self._read_to, index)
            else:
                index += 1
        return cut(data, first, count)

    def _record(self, index: int, span: Span) -> bytes:
        record = self._method.record
        bad = record.bad_bits
        if index not in span:
            data = bytearray(2 * self._words)
            if record.quality is not None:
                at = 2 * record.quality.at
                data[at : at + 2] = bad.to_bytes(2, "big")
            return bytes(data)
        newest = index == span.end - 1
        status = record.last_bits if newest else 0
        if newest and self._book.torn:
            status |= bad
        return self._book.row(record, index, self._words, status, self._modulo)
