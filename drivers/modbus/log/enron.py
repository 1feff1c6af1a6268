"""`enron`: modified Modbus, where the count of a request is the number of a record. Sans-IO.

A register of 32 bits is one address and is read with count 1. Records lie in places 1 to capacity
that are overwritten in turn. Source: Simply Modbus, "Enron Modbus" (history); Scanner 2000 manual
p. D-48. The event log is in `enron_events`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from drivers.modbus.frames import READ_HOLDING
from drivers.modbus.log import addressed, enron_events
from drivers.modbus.log.addressed import REFUSED, Survey
from drivers.modbus.log.doubt import Signs
from drivers.modbus.log.job import MISFIT, SOON_NS, Job, refused
from drivers.modbus.log.ops import Asking, Call, Reading, Refusal
from drivers.modbus.log.paging import TORN
from drivers.modbus.log.places import Place, insist, number
from drivers.modbus.log.records import Entry
from drivers.modbus.log.searching import Moments, newest_place, oldest_place
from drivers.modbus.log.times import moments
from gateway.errors import InvalidReply, LogUnavailable
from profiles.windback import Enron

REPLY_WORDS_MAX: Final = 125
"""A reply has at most 250 bytes of data."""
NOT_THERE: Final = (2, 3)
"""Exceptions that mean: nothing was ever recorded in this place."""
LOOKS_MAX: Final = 3
"""How often pointer and records may contradict each other: a record was made meanwhile."""


def read(job: Job) -> Reading:
    """Read what is wanted of an archive, or the event log."""
    section = job.section
    assert isinstance(section, Enron)
    if job.wanted.log == enron_events.NAME:
        yield from enron_events.read(job, section)
    else:
        yield from addressed.read(job, _Log(job, section))


class _Log:
    """An archive as an addressed log: its numbers are places, and start again after the last."""

    proven = False
    per_fetch = 1

    def __init__(self, job: Job, section: Enron) -> None:
        self._job = job
        self._section = section
        self._archive = section.archive + job.shift("archive")
        self._places = (job.log.depth_records if job.log is not None else None) or section.capacity
        self._form = job.form(section.record)
        if self._form.words > REPLY_WORDS_MAX:
            raise LogUnavailable(
                f"a record of {self._form.words} words does not fit in a reply",
                MISFIT,
                "Correct `columns:`",
            )
        self._at_ns = job.now_ns
        self._signs = Signs()

    def survey(self) -> Asking[Survey]:
        """Find the newest place, and from it the oldest: the one after it, once all are full."""
        self._signs = Signs()
        newest, oldest = yield from self._ends()
        clock = yield from self._job.read_clock()
        empty = newest is None
        return Survey(
            oldest,
            newest or oldest,
            empty,
            self._at_ns,
            self._places,
            clock,
            depth=self._places,
            unproven=True,
            told_some=self._signs.of_records,
        )

    def _ends(self) -> Asking[tuple[int | None, int]]:
        """The newest place (None: empty) and the oldest.

        Raises LogUnavailable when the pointer isn't what the profile says: then the place after
        the newest has a newer record.
        """
        for _ in range(LOOKS_MAX):
            newest = yield from self._newest()
            if newest is None:
                return None, 1
            last = yield from self._time(newest)
            if last is None:
                # It may be half written yet: then the one before it is the newest.
                newest = newest - 1 or self._places
                last = yield from self._time(newest)
            oldest = yield from oldest_place(1, self._places, newest, self._time)
            first = yield from self._time(oldest)
            if last is None and first is None:
                return None, 1
            if first is None or (last is not None and last.late_ns >= first.early_ns):
                return newest, oldest
        other = "next" if self._section.pointer_is == "newest" else "newest"
        raise LogUnavailable(
            f"the pointer says that place {newest} has the newest record, but the record after it "
            "is newer",
            MISFIT,
            f"If it stays so, write `pointer_is: {other}`",
        )

    def _newest(self) -> Asking[int | None]:
        if self._section.pointer is None:
            return (yield from newest_place(1, self._places, self._time, self._job.resolution_ns))
        said = yield from self._number(self._job.place(self._section.pointer, "pointer"))
        if said == 0:
            return None
        # What is next in an empty archive is the first place.
        self._signs.named = said > 1 or self._section.pointer_is == "newest"
        if self._section.pointer_is == "next":
            said = said - 1 or self._places
        if not 1 <= said <= self._places:
            raise LogUnavailable(
                f"the pointer says {said:g}, the archive is said to have {self._places} places",
                MISFIT,
                "Write `depth_records:` of the log",
            )
        return int(said)

    def _number(self, place: Place) -> Asking[float]:
        """A register of any width, read as one. Raises LogUnavailable when it is refused."""
        payload = struct.pack(">HH", place.address, 1)
        call = Call(READ_HOLDING, payload, size=1 + 2 * place.words)
        answer = yield from insist(call, self._job.limits.busy)
        if isinstance(answer, Refusal):
            raise refused(f"the pointer {place.address}", answer, "Check `pointer:`")
        words = struct.unpack(f">{place.words}H", answer.data[1:])
        said = number(words, place.type, place.byte_order)
        return said if said is not None and math.isfinite(said) else 0

    def _time(self, place: int) -> Asking[Moments | None]:
        """When the record in a place was made; None if there is none."""
        (found, *_) = yield from self.fetch(place, 1)
        if not isinstance(found, Entry) or found.wall_ns is None:
            return None
        self._signs.found = True
        return Moments(*moments(found.wall_ns, self._job.zone))

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """The record in a place. Raises LogUnavailable when it isn't as long as its columns."""
        place = (number - 1) % self._places + 1
        size = self._form.words
        call = Call(READ_HOLDING, struct.pack(">HH", self._archive, place), size=1 + 2 * size)
        try:
            answer = yield from insist(call, self._job.limits.busy)
        except InvalidReply as error:
            raise LogUnavailable(
                f"record {place} of archive {self._archive}: {error.message}",
                SOON_NS,
                "Name every column of the archive, in order",
            ) from None
        if isinstance(answer, Refusal):
            if answer.code in NOT_THERE:
                return [REFUSED]
            raise refused(f"record {place} of archive {self._archive}", answer)
        self._at_ns, self._signs.answered = answer.received_ns, True
        entry = self._form.decode(struct.unpack(f">{size}H", answer.data[1:]))
        return [entry if entry.wall_ns is not None else TORN]
