"""Function 20, read file record (Modbus Application Protocol V1.1b3 section 6.14).

Two ways to count: the record number of a request is the word in the file at which to begin and its
length counts words, or both count records of the log (`unit_is_record`, Entes MPR-63). Index 1 lies
in the first place; when all places are full the oldest is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from hil.outstation.book import Book
from hil.outstation.faces.face import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    Block,
    RegisterFace,
    Whims,
    cut,
    shown,
)
from profiles.windback import FileRecord

READ_FILE_RECORD: Final = 20
REFERENCE: Final = 6
REPLY_MAX: Final = 0xF5


class FileRecordFace(RegisterFace):
    """The files of a device: one a log."""

    def __init__(self, method: FileRecord, books: Sequence[Book], base: int, whims: Whims) -> None:
        self._method = method
        self._files = {method.file + book.shift.get("file", 0): book for book in books}
        blocks: list[Block] = []
        if method.newest is not None:
            for book in books:
                shift = book.shift.get("newest", 0)
                value = partial(self._newest, book)
                blocks.append(shown(method.newest, base, value, shift))
        super().__init__(blocks, whims)

    def answer(self, pdu: bytes, now_ns: int) -> bytes | int | None:
        if pdu[0] != READ_FILE_RECORD:
            return super().answer(pdu, now_ns)
        if len(pdu) < 9 or pdu[1] != len(pdu) - 2 or pdu[1] % 7:
            return ILLEGAL_VALUE
        if self.whims.code is not None:
            return self.whims.code
        found = b""
        for at in range(2, len(pdu), 7):
            group = pdu[at : at + 7]
            data = self._group(group, now_ns)
            if isinstance(data, int):
                return data
            found += bytes((len(data) + 1, REFERENCE)) + data
        if len(found) > REPLY_MAX:
            return ILLEGAL_VALUE
        return bytes((READ_FILE_RECORD, len(found))) + found

    def _group(self, group: bytes, now_ns: int) -> bytes | int:
        file, number, length = (int.from_bytes(group[at : at + 2], "big") for at in (1, 3, 5))
        book = self._files.get(file)
        if group[0] != REFERENCE or book is None:
            return ILLEGAL_ADDRESS
        size = book.size(self._method.record)
        first = self._method.first_record
        if self._method.unit_is_record:
            if number < first or number - first + length > self._method.records:
                return ILLEGAL_ADDRESS
            if length * size * 2 > REPLY_MAX - 2:
                return ILLEGAL_VALUE
            rows = [self._place(book, number - first + n, now_ns) for n in range(length)]
            if any(row is None for row in rows):
                return self._method.not_there[0] if self._method.not_there else ILLEGAL_ADDRESS
            return b"".join(row for row in rows if row is not None)
        low = number - first * size
        if low < 0 or low + length > self._method.records * size or 2 * length > REPLY_MAX - 2:
            return ILLEGAL_ADDRESS
        data, place = b"", low // size
        while len(data) < 2 * (low % size + length):
            data += self._place(book, place, now_ns) or bytes(2 * size)
            place += 1
        return cut(data, low % size, length)

    def _place(self, book: Book, place: int, now_ns: int) -> bytes | None:
        """The record in a place counted from 0; None: none lies there."""
        span = book.log.span(now_ns)
        newest = span.end - 1
        index = newest - (newest - book.log.start - place) % self._method.records
        if self.whims.wrong_index:
            self.whims.wrong_index = False
            index += 1
        if index not in span:
            return None
        return book.row(self._method.record, index, book.size(self._method.record))

    def _newest(self, book: Book, now_ns: int) -> int:
        """The place of the newest record."""
        count = book.log.span(now_ns).end - 1 - book.log.start
        return self._method.first_record + max(0, count) % self._method.records
