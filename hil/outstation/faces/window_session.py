"""Lock a log, move a window over it, read, unlock (EIG Shark 200).

Manual E149701 sections B.5.3 and B.5.4. On engaging the oldest record becomes index 0. A log that
never was full has a filler in front, all ones but for its time, which counts as a record. The lock
belongs to a port of the device, not to a connection, and ends by itself after some minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hil.outstation.book import FULL, Book, stamped
from hil.outstation.faces.face import (
    ILLEGAL_VALUE,
    Block,
    RegisterFace,
    Whims,
    cut,
    located,
    shown,
)
from profiles.records import Register, Word
from profiles.windback import WindowSession

PORT: Final = 3
"""The port that everybody is on who asks over a network."""
RESERVED_WORDS: Final = 4
"""Behind the last register of a status block."""


@dataclass(slots=True)
class _Session:
    """Who reads what: `first` is the record that is index 0, -1 before it is the filler."""

    book: Book
    first: int
    used_ns: int


class WindowSessionFace(RegisterFace):
    """The session, its window, and the status and settings of each log."""

    def __init__(
        self, method: WindowSession, books: Sequence[Book], base: int, whims: Whims
    ) -> None:
        self._method = method
        self._books = list(books)
        self._session: _Session | None = None
        self._header = self._per_window = self._repeat = self._index = 0
        area, session = located(method.session, base)
        _, control = located(method.control, base)
        _, window = located(method.window, base)
        blocks = [
            Block(area, session, 1, self._read_header, self._engage),
            Block(area, control, 1, self._read_control, self._write_control),
            Block(area, window, method.window_words, self._read_window, self._write_index),
        ]
        if method.own_port is not None:
            blocks.append(shown(method.own_port, base, lambda now: PORT))
        for book in books:
            blocks += self._status(book, base)
        super().__init__(blocks, whims)

    def restart(self) -> None:
        self._session = None
        self._header = 0

    # ------------------------------------------------------------------ status and settings

    def _status(self, book: Book, base: int) -> list[Block]:
        method = self._method
        told: dict[str, Any] = {
            "used": lambda now: self._used(book, now),
            "capacity": lambda now: book.places,
            "record_bytes": lambda now: 2 * self._words(book),
        }
        blocks, end = [], 0
        for key, register in method.status.items():
            shift = book.shift.get("status", 0)
            if key in told:
                block = shown(register, base, told[key], shift)
            else:
                block = self._stamp_block(book, register, base, shift, key == "first")
            blocks.append(block)
            end = max(end, block.low + block.words)
        if method.owner is not None:
            shift = book.shift.get("owner", 0)
            blocks.append(shown(method.owner, base, lambda now: self._owner(book, now), shift))
        if blocks:
            blocks.append(Block(blocks[0].area, end, RESERVED_WORDS, lambda a, b, c: bytes(2 * b)))
        if method.settings is not None:
            said = method.settings
            area, low = located(Register(address=said.address), base, book.shift.get("settings", 0))
            blocks.append(
                Block(area, low, said.words, lambda a, b, c: cut(self._settings(book), a, b))
            )
        return blocks

    def _stamp_block(
        self, book: Book, register: Register, base: int, shift: int, first: bool
    ) -> Block:
        word = Word(at=0, type=register.type, format=register.format)

        def read(at: int, count: int, now_ns: int) -> bytes:
            span = book.log.span(now_ns)
            index = span.oldest if first else span.end - 1
            return cut(self._stamp(book, word, index, now_ns), at, count)

        area, low = located(register, base, shift)
        return Block(area, low, 3, read)

    def _stamp(self, book: Book, word: Word, index: int, now_ns: int) -> bytes:
        """A record's stamp; that of an empty log is the oldest thing known: the filler's."""
        moment = book.log.moment(index) if index in book.log.span(now_ns) else None
        if moment is None:
            return bytes(6)
        wall_ns, summer = book.wall(moment)
        return stamped(word, wall_ns, self._method.record.byte_order, summer)

    def _settings(self, book: Book) -> bytes:
        """Which registers the log records, and how often."""
        said = self._method.settings
        assert said is not None
        words = [0] * said.words
        listed = [
            cell.point.place.address + n
            for cell in book.cells
            for n in range(cell.point.place.words)
        ]
        words[said.count_at] = len(listed) << 8 | 1 if said.count_in == "high_byte" else len(listed)
        if said.interval_at is not None:
            known = {interval: bit for bit, interval in said.intervals.items()}
            words[said.interval_at] = known.get(book.log.resolution_ns, 0)
        words[said.identifiers_at : said.identifiers_at + len(listed)] = listed
        return b"".join(word.to_bytes(2, "big") for word in words[: said.words])

    def _words(self, book: Book) -> int:
        return book.size(self._method.record)

    def _filled(self, book: Book, now_ns: int) -> bool:
        """Whether the filler lies in front."""
        return self._method.filler and not book.log.rolled(now_ns)

    def _used(self, book: Book, now_ns: int) -> int:
        span = book.log.span(now_ns)
        return span.end - span.oldest + self._filled(book, now_ns)

    def _owner(self, book: Book, now_ns: int) -> int:
        if self.whims.held_by:
            return self.whims.held_by
        session = self._live(now_ns)
        return PORT if session is not None and session.book is book else 0

    # ------------------------------------------------------------------ the session

    def _live(self, now_ns: int) -> _Session | None:
        """The session, unless its time ran out or another port has the lock."""
        session, unlock_ns = self._session, self._method.unlock_after_ns
        if session is not None and (
            self.whims.held_by or (unlock_ns is not None and now_ns - session.used_ns >= unlock_ns)
        ):
            self._session = session = None
        return session

    def _read_header(self, first: int, count: int, now_ns: int) -> bytes:
        return self._header.to_bytes(2, "big")

    def _engage(self, first: int, data: bytes, now_ns: int) -> int | None:
        number, action = data
        if action == self._method.disengage:
            session = self._live(now_ns)
            if session is not None and session.book.select == number:
                self._session, self._header = None, number << 8 | action
            return None
        book = next((book for book in self._books if book.select == number), None)
        if book is None or action != self._method.engage:
            return ILLEGAL_VALUE
        if not self.whims.held_by:
            span = book.log.span(now_ns)
            oldest = span.oldest - self._filled(book, now_ns)
            self._session = _Session(book, oldest, now_ns)
            self._header = number << 8 | action
        return None

    def _read_control(self, first: int, count: int, now_ns: int) -> bytes:
        return bytes((self._per_window, self._repeat))

    def _write_control(self, first: int, data: bytes, now_ns: int) -> int | None:
        self._per_window, self._repeat = data
        self._use(now_ns)
        return None

    def _write_index(self, first: int, data: bytes, now_ns: int) -> int | None:
        if first or len(data) != 4:
            return ILLEGAL_VALUE
        self._index = int.from_bytes(data[1:], "big")
        self._use(now_ns)
        return None

    def _use(self, now_ns: int) -> None:
        session = self._live(now_ns)
        if session is not None:
            session.used_ns = now_ns

    def _read_window(self, first: int, count: int, now_ns: int) -> bytes:
        """State, index and records; reading the last word moves the window on."""
        session, words = self._live(now_ns), self._method.window_words
        self._use(now_ns)
        if session is None or self.whims.not_ready > 0:
            self.whims.not_ready = max(0, self.whims.not_ready - 1)
            state = bytes((self._method.not_ready,)) + self._index.to_bytes(3, "big")
            return cut(state.ljust(2 * words, FULL[:1]), first, count)
        if self.whims.wrong_index:
            self.whims.wrong_index = False
            self._index += self._per_window
        data = bytes((self._method.ready,)) + self._index.to_bytes(3, "big")
        data += self._records(session, now_ns)
        if self._repeat == 1 and first + count == words:
            self._index += self._per_window
        return cut(data.ljust(2 * words, FULL[:1]), first, count)

    def _records(self, session: _Session, now_ns: int) -> bytes:
        book, span = session.book, session.book.log.span(now_ns)
        size, room = self._words(book), self._method.window_words - 2
        data = b""
        for index in range(self._index, self._index + min(self._per_window, room // size)):
            own = session.first + index
            if own in span:
                data += book.row(self._method.record, own, size)
            elif index == 0 and self._filled(book, now_ns):
                stamp = self._stamp(book, self._method.record.time, span.oldest, now_ns)
                data += stamp.ljust(2 * size, FULL[:1])
            else:
                data += FULL * size
        return data
