"""`pointer`: the device shows the record that a pointer names, and reading may move it on. Sans-IO.

A pointer that can be set makes reads addressed: the number is written, the window read, the number
in it compared. So another master, or an answer that came late, can't pass for what was asked. One
that can't be set gives each record once: see `consuming`. Source: PM172P reference guide p. 72-73.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from drivers.modbus.log import addressed, consuming
from drivers.modbus.log.addressed import Survey
from drivers.modbus.log.job import MISFIT, Job, refused
from drivers.modbus.log.ops import Answer, Asking, Read, Reading, Refusal
from drivers.modbus.log.paging import OVERWRITTEN, TORN
from drivers.modbus.log.places import Place, get_all, insist, put
from drivers.modbus.log.records import Entry
from gateway.errors import InvalidReply, LinkError, LogUnavailable, ReplyTimeout
from profiles.windback import Pointer

SELECT_TRIES: Final = 3


def read(job: Job) -> Reading:
    """Read what is wanted of a log behind a pointer."""
    section = job.section
    assert isinstance(section, Pointer)
    if section.settable:
        yield from addressed.read(job, _Log(job, section))
    else:
        yield from consuming.read(job, section)


class _Log:
    """A log behind a pointer that can be set, as an addressed log."""

    def __init__(self, job: Job, section: Pointer) -> None:
        self._job = job
        self._section = section
        self._pointer = job.place(section.pointer, "pointer")
        self._data = job.place(section.data, "data")
        told = {"oldest": section.oldest, "newest": section.newest, "next": section.next}
        self._status: dict[str, Place] = {
            key: job.place(register, "pointer")
            for key, register in told.items()
            if register is not None
        }
        if "oldest" not in self._status or len(self._status) < 2:
            raise LogUnavailable(
                "nothing says which records there are",
                MISFIT,
                "Write `oldest:`, and `newest:` or `next:`",
            )
        self._form = job.form(section.record)
        room = min(section.data_words, job.limits.max_read_words)
        if self._form.words > room:
            raise LogUnavailable(
                f"a record of {self._form.words} words does not fit in a window of {room}",
                MISFIT,
                "Correct `columns:` or `data_words:`",
            )
        self.proven = section.record.key is not None
        self.per_fetch = room // self._form.words if self.proven else 1

    def survey(self) -> Asking[Survey]:
        """Read what the log says of itself."""
        found = yield from get_all(self._status, self._job.limits)
        if isinstance(found, Refusal):
            raise refused("the log's status", found, "Check the registers of `windback:`")
        at_ns, said = found
        oldest, modulo = said["oldest"], self._section.modulo
        newest = said["newest"] if "newest" in said else self._wrapped(said["next"] - 1)
        held = newest - oldest + 1 if modulo is None else (newest - oldest + 1) % modulo
        empty = held <= 0
        if said.get("next") == 0 and not empty:
            # 0 is what an empty log says, and what a full one says before its numbers start again.
            empty = not (yield from self._select(newest))
        clock = yield from self._job.read_clock()
        return Survey(oldest, newest, empty, at_ns, modulo, clock)

    def _wrapped(self, number: int) -> int:
        return number if self._section.modulo is None else number % self._section.modulo

    def _select(self, number: int) -> Asking[bool]:
        """Move the pointer; False when there is no such record."""
        try:
            write = put(self._pointer, self._wrapped(number))
        except ValueError:
            return False  # no device can have a record that its register can't name
        answer = yield from insist(write, self._job.limits.busy)
        if isinstance(answer, Answer):
            return True
        if answer.code in self._section.not_there:
            return False
        raise refused(f"record {number}", answer)

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records of one window; one that is refused was overwritten."""
        size = min(count, self.per_fetch) * self._form.words
        # A read that moves the pointer can't be repeated as it is.
        read = Read(self._data.area, self._data.address, size, once=self._section.advances)
        failed = False
        for _ in range(SELECT_TRIES):
            if not (yield from self._select(number)):
                return [OVERWRITTEN]
            try:
                answer = yield from insist(read, self._job.limits.busy)
            except (LinkError, ReplyTimeout, InvalidReply):
                if failed:
                    raise
                failed = True
                continue
            if isinstance(answer, Refusal):
                if answer.code in self._section.not_there:
                    return [OVERWRITTEN]
                raise refused(f"record {number}", answer)
            found = self._entries(number, answer.words)
            if found:
                return found
        return [TORN]

    def _entries(self, number: int, words: Sequence[int]) -> list[Entry | str]:
        """The records of a window, as far as they are those that were asked for."""
        found: list[Entry | str] = []
        for at in range(0, len(words), self._form.words):
            entry = self._form.decode(words[at : at + self._form.words])
            if entry.number not in (None, self._wrapped(number + len(found))):
                break
            found.append(entry if entry.wall_ns is not None else TORN)
        return found
