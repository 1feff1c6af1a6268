"""Write a moment and a direction, read a block of records, ask for the next block.

Behind the end of the log a block is all ones (ABB A43). No device's profile says it completely yet;
a site can.
"""

from __future__ import annotations

from collections.abc import Sequence

from hil.outstation.book import FULL, Book, stamped
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
from profiles.records import Word
from profiles.windback import TimeSelect


class TimeSelectFace(RegisterFace):
    """Logs that are asked by time; `channel` chooses among them."""

    def __init__(self, method: TimeSelect, books: Sequence[Book], base: int, whims: Whims) -> None:
        self._method = method
        self._books = list(books)
        self._at = 0
        self._forward = True
        self._cursor: int | None = None
        area, low = located(method.moment, base)
        self._moment = Word(at=0, type=method.moment.type, format=method.moment.format)
        words = (
            len(stamped(self._moment, books[0].log.resolution_ns, method.moment.byte_order)) // 2
        )
        blocks = [Block(area, low, words, self._asked, self._ask)]
        self._words = books[0].size(method.record)
        self._written = bytes(2 * words)
        if method.direction is not None:
            block = shown(
                method.direction, base, lambda now: self._forward == (method.forward == 1)
            )
            blocks.append(written(block, self._turn, method.direction.byte_order))
        if method.next is not None:
            block = shown(method.next, base, lambda now: 0)
            blocks.append(written(block, self._go_on, method.next.byte_order))
        if method.channel is not None:
            block = shown(method.channel, base, lambda now: self._book.select or 0)
            blocks.append(written(block, self._choose, method.channel.byte_order))
        area, low = located(method.data, base)
        blocks.append(Block(area, low, method.data_words, self._data))
        super().__init__(blocks, whims)

    @property
    def _book(self) -> Book:
        return self._books[self._at]

    def restart(self) -> None:
        self._cursor = None

    def _asked(self, first: int, count: int, now_ns: int) -> bytes:
        return cut(self._written, first, count)

    def _ask(self, first: int, data: bytes, now_ns: int) -> int | None:
        """The first record at or after the written moment; backwards: the last at or before."""
        if first or len(data) != len(self._written):
            return ILLEGAL_VALUE
        self._written = data
        span = self._book.log.span(now_ns)
        low, high = span.oldest, span.end
        while low < high:
            middle = (low + high) // 2
            if self._stamp(middle) < data:
                low = middle + 1
            else:
                high = middle
        if not self._forward and (low >= span.end or self._stamp(low) > data):
            low -= 1
        self._cursor = low
        return None

    def _stamp(self, index: int) -> bytes:
        """A record's stamp as it would be written: the formats compare as bytes, but for floats."""
        wall_ns, _ = self._book.wall(self._book.log.moment(index))
        return stamped(self._moment, wall_ns, self._method.moment.byte_order)

    def _turn(self, number: int, now_ns: int) -> int | None:
        self._forward = number == self._method.forward
        return None

    def _choose(self, number: int, now_ns: int) -> int | None:
        for at, book in enumerate(self._books):
            if book.select == number:
                self._at, self._cursor = at, None
                return None
        return ILLEGAL_VALUE

    def _go_on(self, number: int, now_ns: int) -> int | None:
        if number != 1 or self._cursor is None:
            return ILLEGAL_VALUE
        many = self._method.data_words // self._words
        self._cursor += many if self._forward else -many
        return None

    def _data(self, first: int, count: int, now_ns: int) -> bytes:
        many, data = self._method.data_words // self._words, b""
        if self._cursor is not None:
            span = self._book.log.span(now_ns)
            step = 1 if self._forward else -1
            if self.whims.wrong_index:
                self.whims.wrong_index = False
                self._cursor += step
            block = [self._cursor + step * n for n in range(many)]
            block = [index for index in block if index in span]
            if self._method.newest_first == self._forward:
                block.reverse()
            record = self._method.record
            data = b"".join(self._book.row(record, index, self._words) for index in block)
        return cut(data.ljust(2 * self._method.data_words, FULL[:1]), first, count)
