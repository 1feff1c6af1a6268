"""A log that gives each record once: what was read moves on, and can't be asked for again. Sans-IO.

So every window becomes a page at once, and what is expected next is kept as a fact: an answer that
got lost, here or with a node that died, costs one window, and it is said which time that was. Pages
may go beyond the end of what is wanted: what was read is handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from drivers.modbus.log.job import MISFIT, Job, refused
from drivers.modbus.log.ops import Asking, Learn, Read, Reading, Refusal
from drivers.modbus.log.paging import OVERWRITTEN, Pager
from drivers.modbus.log.places import get, insist
from drivers.modbus.log.records import Entry
from gateway.errors import InvalidReply, LinkError, LogUnavailable, ReplyTimeout
from gateway.model import NS_PER_S
from profiles.windback import Pointer

INTERRUPTED: Final = "the answer got lost, and the device doesn't give it again"
FAILURES_MAX: Final = 3
"""Answers that may get lost in one read."""
WINDOWS_MAX: Final = 65_536
_AFTER_NS: Final = 366 * 86_400 * NS_PER_S
"""No record is that far beyond the present."""


def read(job: Job, section: Pointer) -> Reading:
    """Read what was never read, up to the end of what is wanted. Raises LogUnavailable."""
    log = _Log(job, section)
    left = yield from log.unread()
    if left == 0:
        return
    clock = yield from job.read_clock()
    wanted = job.wanted._replace(to_ns=max(job.wanted.to_ns, job.now_ns + _AFTER_NS))
    pager = job.pager(clock, wanted)
    keeper = _Keeper(job, section.modulo)
    keeper.begin(pager)
    yield Learn(keeper.fact(reading=True))
    failures = 0
    for _ in range(WINDOWS_MAX):
        try:
            entries = yield from log.window(left)
        except (LinkError, ReplyTimeout, InvalidReply):
            failures += 1
            if failures > FAILURES_MAX:
                raise
            keeper.interrupted = True
            left = yield from log.unread()
            if left == 0:
                break
            continue
        fresh = keeper.take(pager, entries)
        for page in pager.flush():
            yield page
            yield Learn(keeper.fact(reading=True))
        left = None if left is None else left - len(entries)
        if not fresh or left == 0 or log.ended or keeper.last_ns >= job.wanted.to_ns:
            break
    yield Learn(keeper.fact(reading=False))


class _Keeper:
    """What is expected next, over the end of a read and the life of a node."""

    def __init__(self, job: Job, modulo: int | None) -> None:
        self._modulo = modulo
        self._next: int | None = job.fact.get("next")
        self.last_ns = int(job.fact.get("last_ns", 0))
        self.interrupted = bool(job.fact.get("reading"))

    def begin(self, pager: Pager) -> None:
        """Go on where the read before ended."""
        pager.began(INTERRUPTED if self.interrupted else OVERWRITTEN)
        if self.last_ns:
            pager.follows(self.last_ns)

    def fact(self, reading: bool) -> dict[str, Any]:
        """What the next read, here or on the other node, must know."""
        reading = reading or self.interrupted
        return {"reading": reading, "next": self._next, "last_ns": self.last_ns}

    def take(self, pager: Pager, entries: Sequence[Entry]) -> bool:
        """Hand over the records of a window; whether there were any."""
        for at, entry in enumerate(entries):
            number = entry.number if entry.wall_ns is not None else self._next
            if number is None:
                # Nothing but its time tells whether it follows.
                missing = self.interrupted
            elif self._next is not None and number == self._wrapped(self._next - 1):
                return at > 0  # it moves no further
            else:
                missing = self._next is not None and number != self._next
            if missing:
                pager.lack(INTERRUPTED if self.interrupted else OVERWRITTEN)
            self.interrupted = False
            self._next = None if number is None else self._wrapped(number + 1)
            pager.take([entry])
            self.last_ns = pager.last_ns or self.last_ns
        return bool(entries)

    def _wrapped(self, number: int) -> int:
        return number if self._modulo is None else number % self._modulo


class _Log:
    """The window, and how many records were never read."""

    def __init__(self, job: Job, section: Pointer) -> None:
        self._job = job
        self._section = section
        self._data = job.place(section.data, "data")
        self._form = job.form(section.record)
        self._room = min(section.data_words, job.limits.max_read_words) // self._form.words
        self.ended = False
        """Whether the window that was read last had the end of the log."""
        if not section.advances or self._room < 1:
            what = "a record does not fit in a window" if self._room < 1 else "nothing moves it on"
            raise LogUnavailable(
                f"the log can't be read: {what}",
                MISFIT,
                "Correct `settable:`, `advances:`, or `data_words:`",
            )

    def unread(self) -> Asking[int | None]:
        """How many records were never read; None where the device doesn't tell."""
        register = self._section.unread
        if register is None:
            return None
        said = yield from get(self._job.place(register, "pointer"))
        if isinstance(said, Refusal):
            raise refused("the count of unread records", said, "Check `unread:`")
        return int(said or 0)

    def window(self, left: int | None) -> Asking[list[Entry]]:
        """The next records, at most `left`; where that isn't known, damaged ones are the end."""
        size, count = self._form.words, self._room
        if left is not None:
            count = min(count, left)
        read = Read(self._data.area, self._data.address, count * size, once=True)
        answer = yield from insist(read, self._job.limits.busy)
        if isinstance(answer, Refusal):
            if answer.code in self._section.not_there:
                self.ended = True
                return []
            raise refused("the log's window", answer)
        words = answer.words
        found = [self._form.decode(words[at : at + size]) for at in range(0, count * size, size)]
        last_bits = self._section.record.last_bits
        for at, entry in enumerate(found):
            if entry.wall_ns is not None and entry.quality & last_bits:
                self.ended = True
                return found[: at + 1]
        while left is None and found and found[-1].wall_ns is None:
            self.ended = True
            found.pop()
        return found
