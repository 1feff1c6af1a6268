"""`file_record`: function 20, files of records (Modbus Application Protocol V1.1b3 section 6.14).

Sans-IO. The records of a file lie in places that are overwritten in turn. Where no register names
the newest, it is found by bisection: from the first place on the times rise, up to the newest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from drivers.modbus.frames import READ_FILE
from drivers.modbus.log import addressed
from drivers.modbus.log.addressed import REFUSED, Survey
from drivers.modbus.log.doubt import Signs
from drivers.modbus.log.job import MISFIT, Job, refused
from drivers.modbus.log.ops import Asking, Call, Reading, Refusal
from drivers.modbus.log.paging import TORN
from drivers.modbus.log.places import get_all, insist
from drivers.modbus.log.records import Entry
from drivers.modbus.log.searching import Moments, newest_place, oldest_place
from drivers.modbus.log.times import moments
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_S
from profiles.windback import FileRecord

REFERENCE: Final = 6
"""The reference type: the only one there is."""
REPLY_WORDS_MAX: Final = 121
"""A reply has at most 245 bytes of sub-responses, of which this one costs two besides its data."""
_SOON_NS: Final = 5 * NS_PER_S


def read(job: Job) -> Reading:
    """Read what is wanted of a file."""
    section = job.section
    assert isinstance(section, FileRecord)
    yield from addressed.read(job, _Log(job, section))


class _Log:
    """A file as an addressed log: its places count from 0 and start again after the last."""

    proven = False

    def __init__(self, job: Job, section: FileRecord) -> None:
        self._job = job
        self._section = section
        self._file = section.file + job.shift("file")
        self._places = (job.log.depth_records if job.log is not None else None) or section.records
        self._form = job.form(section.record)
        if self._form.words > REPLY_WORDS_MAX:
            raise LogUnavailable(
                f"a record of {self._form.words} words does not fit in a reply",
                MISFIT,
                "Correct `columns:`",
            )
        self._at_ns = job.now_ns
        self._signs = Signs()

    @property
    def per_fetch(self) -> int:
        return 1 if self._section.unit_is_record else REPLY_WORDS_MAX // self._form.words

    def survey(self) -> Asking[Survey]:
        """Find the newest place, and from it the oldest."""
        self._signs = Signs()
        found = yield from self._newest()
        clock = yield from self._job.read_clock()
        oldest = newest = 0
        if found is not None:
            newest, made = found
            oldest = yield from oldest_place(0, self._places, newest, self._time, made)
        return Survey(
            oldest,
            newest,
            found is None,
            self._at_ns,
            self._places,
            clock,
            depth=self._places,
            unproven=True,
            told_some=self._signs.of_records,
        )

    def _newest(self) -> Asking[tuple[int, Moments] | None]:
        """The place of the newest whole record, when that was made; None: the file is empty."""
        if self._section.newest is not None:
            said = yield from get_all(
                {"newest": self._job.place(self._section.newest, "newest")}, self._job.limits
            )
            if isinstance(said, Refusal):
                raise refused("the place of the newest record", said, "Check `newest:`")
            place: int | None = self._named(said[1]["newest"])
        else:
            place = yield from newest_place(0, self._places, self._time, self._job.resolution_ns)
        if place is None:
            return None
        # The newest may be half written yet: then the one before it is.
        for newest in (place, (place - 1) % self._places):
            made = yield from self._time(newest)
            if made is not None:
                return newest, made
        return None

    def _named(self, newest: int) -> int | None:
        """The place that the register names; None: none yet. Raises LogUnavailable for no place."""
        place = newest - self._section.first_record
        if place >= self._places:
            raise LogUnavailable(
                f"the newest record is said to be record {newest}, the file is said to have "
                f"{self._places} from {self._section.first_record} on",
                MISFIT,
                "Correct `records:`, `first_record:` or `newest:`",
            )
        # The first place may be what a register says that was never written.
        self._signs.named = place > 0
        return place if place >= 0 else None

    def _time(self, place: int) -> Asking[Moments | None]:
        """When the record in a place was made; None if there is none."""
        (found, *_) = yield from self.fetch(place, 1)
        if not isinstance(found, Entry) or found.wall_ns is None:
            return None
        self._signs.found = True
        return Moments(*moments(found.wall_ns, self._job.zone))

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records from a place on, up to the last place of the file."""
        size, place = self._form.words, number % self._places
        count = min(count, self.per_fetch, self._places - place)
        at = place + self._section.first_record
        if not self._section.unit_is_record:
            at *= size
        length = 1 if self._section.unit_is_record else count * size
        payload = struct.pack(">BBHHH", 7, REFERENCE, self._file, at, length)
        answer = yield from insist(Call(READ_FILE, payload), self._job.limits.busy)
        if isinstance(answer, Refusal):
            if answer.code in self._section.not_there:
                return [REFUSED]
            raise LogUnavailable(
                f"record {at} of file {self._file} was refused: exception {answer.code}", _SOON_NS
            )
        self._at_ns, self._signs.answered = answer.received_ns, True
        words = _words(answer.data, count * size)
        entries = (
            self._form.decode(words[start : start + size]) for start in range(0, len(words), size)
        )
        return [entry if entry.wall_ns is not None else TORN for entry in entries]


def _words(data: bytes, count: int) -> tuple[int, ...]:
    """The words of the one sub-response. Raises LogUnavailable when it isn't what was asked for."""
    if len(data) != 3 + 2 * count or tuple(data[:3]) != (2 + 2 * count, 1 + 2 * count, REFERENCE):
        raise LogUnavailable(
            f"the reply has {max(len(data) - 3, 0)} bytes of records where {2 * count} were asked",
            MISFIT,
            "Correct `columns:` or `record: {words: …}`",
        )
    return struct.unpack(f">{count}H", data[3:])
