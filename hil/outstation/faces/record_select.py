"""Write a record number, read a block of records: ION data recorders, CET's pointer windows.

What was asked for is kept until the next write (ION: "cached"); a new setup of the recorder clears
it. A number that is not there is refused with exception 3, and what was asked for before stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil.outstation.book import FULL, Book
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
from profiles.registers import WORDS
from profiles.windback import RecordSelect


class RecordSelectFace(RegisterFace):
    """The registers that select among `books`; without `select: {log}` there is one book."""

    def __init__(
        self, method: RecordSelect, books: Sequence[Book], base: int, whims: Whims
    ) -> None:
        self._method = method
        self._books = list(books)
        self._at = 0
        self._start = 0
        self._cached: tuple[int, int, int] | None = None
        """First record, how many, and the setup that they belong to."""
        shift = books[0].shift
        start = method.select["start"]
        block = shown(start, base, lambda now: self._start, shift.get("select", 0))
        blocks = [written(block, self._ask, start.byte_order)]
        log = method.select.get("log")
        if log is not None:
            chosen = shown(log, base, lambda now: self._book.select or 0, shift.get("select", 0))
            blocks.append(written(chosen, self._choose, log.byte_order))
        told: dict[str, Any] = {
            "oldest": lambda now: self._book.log.span(now).oldest,
            "newest": lambda now: self._book.log.span(now).end - 1,
            "available": lambda now: self._cached[1] if self._fresh() and self._cached else 0,
            "max_records": lambda now: self._most(),
            "config_id": lambda now: self._book.log.config_id,
            "columns": lambda now: len(self._book.cells),
        }
        for key, register in method.status.items():
            blocks.append(shown(register, base, told[key], shift.get("status", 0)))
        area, low = located(method.data, base, shift.get("data", 0))
        blocks.append(Block(area, low, method.data_words, self._data))
        super().__init__(blocks, whims)

    @property
    def _book(self) -> Book:
        return self._books[self._at]

    def restart(self) -> None:
        self._cached = None

    def _most(self) -> int:
        """How many records fit into a block."""
        if "available" not in self._method.status:
            return 1
        return self._method.data_words // self._size()

    def _size(self) -> int:
        method = self._method
        if method.record.words is None and method.header_words:
            return max(
                self._book.size(method.record),
                method.header_words + len(self._book.cells) * method.column_words,
            )
        return self._book.size(method.record)

    def _fresh(self) -> bool:
        return self._cached is not None and self._cached[2] == self._book.log.config_id

    def _choose(self, number: int, now_ns: int) -> int | None:
        for at, book in enumerate(self._books):
            if book.select == number:
                self._at, self._cached = at, None
                return None
        return ILLEGAL_VALUE

    def _ask(self, number: int, now_ns: int) -> int | None:
        span = self._book.log.span(now_ns)
        modulo = 2 ** (16 * WORDS[self._method.select["start"].type])
        index = span.oldest + (number - span.oldest) % modulo
        if index not in span:
            return self._method.not_there[0] if self._method.not_there else ILLEGAL_VALUE
        self._start = number
        self._cached = (index, min(self._most(), span.end - index), self._book.log.config_id)
        return None

    def _data(self, first: int, count: int, now_ns: int) -> bytes:
        words = self._method.data_words
        if not self._fresh() or self._cached is None:
            return bytes(2 * count)
        index, records, _ = self._cached
        if self.whims.wrong_index:
            self.whims.wrong_index = False
            span = self._book.log.span(now_ns)
            index = index + 1 if index + records < span.end else max(index - 1, span.oldest)
        data = b"".join(
            self._book.row(self._method.record, index + n, self._size()) for n in range(records)
        )
        return cut(data.ljust(2 * words, FULL[:1]), first, count)
