"""The registers of a log that is asked by time: choose a record, read a block, ask for the next.

Sans-IO. Choosing may be repeated; asking for the next block may not: it moves on where the device
reads. Source: ABB A43/A44 user manual, load profile registers 8700 to 8797 (hex).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from drivers.modbus.log.job import MISFIT, Job, refused
from drivers.modbus.log.ops import Answer, Asking, Read, Refusal, Wait, Write, ask
from drivers.modbus.log.places import Place, insist, number, put
from drivers.modbus.log.records import Entry
from drivers.modbus.log.times import moment_words, moments
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_MS, NS_PER_S
from profiles.records import Register, TimeFormat
from profiles.windback import TimeSelect

BEGINNING: Final = 946_771_200 * NS_PER_S
"""A wall time that no record is older than and every format has words for: 2000-01-02."""
_HOUR_NS: Final = 3600 * NS_PER_S
_FULL: Final = 0xFFFF


class Block(NamedTuple):
    """The records that a block shows, oldest first; `full`: none of it was all ones."""

    entries: list[Entry]
    full: bool
    at_ns: int

    @property
    def first(self) -> Entry | None:
        """The first record with a moment."""
        return next((entry for entry in self.entries if entry.wall_ns is not None), None)


class BlockLog:
    """One log behind a block."""

    def __init__(self, job: Job, section: TimeSelect) -> None:
        """Raises LogUnavailable for a section that can't be read."""
        self._job = job
        self._section = section
        self._moment = job.place(section.moment, "moment")
        self._data = job.place(section.data, "data")
        self._form = job.form(section.record)
        self.many = section.data_words // self._form.words
        words = self.many * self._form.words
        if not 0 < words <= job.limits.max_read_words:
            raise LogUnavailable(
                f"a block has {section.data_words} words, a record {self._form.words}, one request "
                f"brings {job.limits.max_read_words}",
                MISFIT,
                "Correct `data_words:`, `columns:` or `limits: {max_read_words: …}`",
            )
        self.moves_on = section.next is not None
        if self.many == 1 and not self.moves_on:
            raise LogUnavailable(
                "nothing leads from one record to the next", MISFIT, "Write `next:`"
            )
        self._settings: list[tuple[str, Write]] = []
        self._channel: Place | None = None
        self._select = 0
        if section.channel is not None:
            log = job.log
            if log is None or log.select is None:
                raise LogUnavailable("the log has no `select:`", MISFIT, "Name it in `logs:`")
            self._channel, self._select = job.place(section.channel, "channel"), log.select
            self._settings.append(self._set("channel", section.channel, log.select))
        if section.direction is not None:
            self._settings.append(self._set("direction", section.direction, section.forward))

    def _set(self, key: str, register: Register, value: int) -> tuple[str, Write]:
        try:
            return f"{key} {value}", put(self._job.place(register, key), value)
        except ValueError as error:
            raise LogUnavailable(f"`{key}:` {error}", MISFIT, "Correct it") from None

    def comes_twice(self, wall: int) -> bool:
        """Whether a wall time is in the hour that comes twice when summer time ends."""
        early, late = moments(wall, self._job.zone)
        return early != late

    def select(self, wall: int) -> Asking[None]:
        """Choose the log, and its first record at or after a wall time. Raises LogUnavailable.

        A time that comes twice would lead to either: then it is asked for an hour earlier.
        """
        while self.comes_twice(wall):
            wall -= _HOUR_NS
        place, wall = self._moment, max(wall, BEGINNING)
        try:
            words = moment_words(
                place.format or TimeFormat.UNIX_S, wall, place.byte_order, place.type
            )
        except ValueError as error:
            raise LogUnavailable(f"`moment:` {error}", MISFIT, "Correct it") from None
        for what, write in (*self._settings, ("the moment", Write(place.address, words))):
            answer = yield from insist(write, self._job.limits.busy)
            if isinstance(answer, Refusal):
                raise refused(what, answer, "Check the addresses of `windback:`")

    def block(self) -> Asking[Block | None]:
        """The block, read once more if a record is torn; None: another channel is chosen now.

        Raises LogUnavailable.
        """
        found = yield from self._read()
        if any(entry.wall_ns is None for entry in found.entries):
            found = yield from self._read()
        return found if (yield from self._is_chosen()) else None

    def _read(self) -> Asking[Block]:
        size = self._form.words
        read = Read(self._data.area, self._data.address, self.many * size)
        answer = yield from insist(read, self._job.limits.busy)
        if isinstance(answer, Refusal):
            raise refused("the block", answer, "Check `data:`")
        rows = [answer.words[at : at + size] for at in range(0, self.many * size, size)]
        there = [row for row in rows if any(word != _FULL for word in row)]
        entries = [self._form.decode(row) for row in there]
        if self._section.newest_first:
            entries.reverse()
        walls = [entry.wall_ns for entry in entries if entry.wall_ns is not None]
        if len(walls) > 2 and all(a > b for a, b in pairwise(walls)):
            raise LogUnavailable(
                "a block has its records in the other order", MISFIT, "Correct `newest_first:`"
            )
        return Block(entries, len(there) == self.many, answer.received_ns)

    def _is_chosen(self) -> Asking[bool]:
        """Whether the device still shows the channel of this log, if it tells."""
        place = self._channel
        if place is None:
            return True
        read = Read(place.area, place.address, place.words)
        answer = yield from insist(read, self._job.limits.busy)
        if isinstance(answer, Answer):
            return number(answer.words, place.type, place.byte_order) == self._select
        if answer.code not in (1, 2, 3):
            raise refused("the channel", answer)
        self._channel = None  # it can be written only
        return True

    def go_on(self) -> Asking[None]:
        """Ask for the next block, once. Raises LogUnavailable; DeviceError when it may be moved."""
        assert self._section.next is not None
        what, write = self._set("next", self._section.next, 1)
        answer = yield from ask(write)
        if isinstance(answer, Answer):
            return
        busy = self._job.limits.busy
        if answer.code in busy.codes:
            # It may be at it, so the moment is written when it had time for that.
            yield Wait(busy.backoff_ms[0] * NS_PER_MS)
        raise refused(what, answer, "Check `next:`")
