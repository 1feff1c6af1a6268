"""What a log of a window session records, read from the device's own settings. Sans-IO.

The registers that it records are listed by address, so a point is logged if all its registers are,
one after the other; it lies in the record as it does on the wire. What was found is a fact: the
points must be known before a log is asked for anything, and a takeover discovers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from drivers.modbus.log.job import MISFIT, Job, refused
from drivers.modbus.log.ops import Asking, Learn, Read, Refusal
from drivers.modbus.log.places import insist
from drivers.modbus.log.records import RecordForm
from gateway.errors import LogUnavailable
from profiles.records import Column, ColumnMap, Record
from profiles.registers import Area, parse_address
from profiles.windback import WindowSession

LEARNED_NS: Final = 0
"""When to come again once the points are known: at once."""


class Found(NamedTuple):
    """The columns (those that site or profile name, else what was found), the interval of records.

    `identity` changes when the log is set up anew: interval and registers. `told` is what the log's
    fact keeps of it.
    """

    columns: tuple[Column, ...]
    discovered: bool = False
    resolution_ns: int | None = None
    identity: tuple[int, ...] = ()
    told: Mapping[str, Any] = {}

    def form(self, job: Job, record: Record, words: int | None) -> RecordForm:
        """The layout of records of `words` words. Raises LogUnavailable when they don't fit."""
        if words is not None:
            record = record.model_copy(update={"words": words})
        try:
            return RecordForm.of(record, self.columns, job.points, own_types=self.discovered)
        except ValueError as error:
            raise LogUnavailable(str(error), MISFIT, "Correct `columns:`") from None


def discover(job: Job, section: WindowSession) -> Asking[Found]:
    """What the log records. Raises LogUnavailable when that is news: pages are for known points."""
    said = section.settings
    if said is None:
        return Found(job.columns)
    words = yield from _settings(job, said)
    resolution_ns = None
    if said.interval_at is not None:
        resolution_ns = said.intervals.get(words[said.interval_at])
    columns = job.columns or _columns(job, section, said, _listed(said, words))
    told: dict[str, Any] = {
        "points": [column.point for column in columns],
        "resolution_ns": resolution_ns,
    }
    if not columns:
        raise LogUnavailable(
            "no point of the device is in the log: it records others",
            MISFIT,
            "Name points for the registers that it records, or set it up to record them",
        )
    if not job.columns and {key: job.fact.get(key) for key in told} != told:
        yield Learn({**job.fact, **told})
        raise LogUnavailable("what the log records was just found out", LEARNED_NS)
    return Found(columns, not job.columns, resolution_ns, _identity(said, words), told)


def identity(job: Job, section: WindowSession) -> Asking[tuple[int, ...]]:
    """`Found.identity` as it is now."""
    said = section.settings
    return () if said is None else _identity(said, (yield from _settings(job, said)))


def _identity(said: ColumnMap, words: Sequence[int]) -> tuple[int, ...]:
    interval = () if said.interval_at is None else (words[said.interval_at],)
    return (*interval, *_listed(said, words))


def _settings(job: Job, said: ColumnMap) -> Asking[tuple[int, ...]]:
    address, named = parse_address(said.address, job.base)
    address += job.shift("settings")
    area: Area = named or said.register_
    words: tuple[int, ...] = ()
    while len(words) < said.words:
        size = min(said.words - len(words), job.limits.max_read_words)
        answer = yield from insist(Read(area, address + len(words), size), job.limits.busy)
        if isinstance(answer, Refusal):
            raise refused("the log's settings", answer, "Check `settings:`, or name `columns:`")
        words += answer.words
    return words


def _listed(said: ColumnMap, words: Sequence[int]) -> tuple[int, ...]:
    """The addresses of the registers that the log records."""
    count = words[said.count_at] >> 8 if said.count_in == "high_byte" else words[said.count_at]
    return tuple(words[said.identifiers_at :][:count])


def _columns(
    job: Job, section: WindowSession, said: ColumnMap, ids: Sequence[int]
) -> tuple[Column, ...]:
    """The device's points whose registers are listed one after the other, in their order."""
    maps, numbers = job.points
    found: list[tuple[int, Column]] = []
    for name in numbers:
        own = maps[name]
        wanted = tuple(range(own.address, own.address + own.words))
        for at in range(len(ids) - own.words + 1):
            if own.area is said.register_ and tuple(ids[at : at + own.words]) == wanted:
                found.append((at, Column(point=name, at=section.record.columns_at + at)))
                break
    return tuple(column for _, column in sorted(found, key=lambda each: each[0]))
