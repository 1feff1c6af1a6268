"""`record_select`: write a record's number, read a block of records. Sans-IO.

Some devices tell their oldest and newest record; of others they are found by asking, since a number
that is not there is refused. A selection may be repeated: it is the same every time. Where a record
carries its number, it is compared: another master, or an answer that came late, may have moved the
block meanwhile. Where the device tells its oldest and newest record, its numbers may start again
after the last that the register can name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from drivers.modbus.log import addressed
from drivers.modbus.log.addressed import Survey
from drivers.modbus.log.job import MISFIT, SOON_NS, Job, refused
from drivers.modbus.log.ops import Answer, Asking, Read, Reading, Refusal, Write
from drivers.modbus.log.paging import OVERWRITTEN, TORN
from drivers.modbus.log.places import Place, get, get_all, insist, put
from drivers.modbus.log.records import Entry, RecordForm
from gateway.errors import LogUnavailable
from profiles.windback import RecordSelect

SELECT_TRIES: Final = 3
PROBES_MAX: Final = 2_000
"""Selections spent on finding any record at all, upwards from where one was and from the first."""
DEPTH_GUESS: Final = 256
"""Records that a log is taken to hold at least, where nobody tells: the step of the search."""


def read(job: Job) -> Reading:
    """Read what is wanted of a recorder."""
    section = job.section
    assert isinstance(section, RecordSelect)
    yield from addressed.read(job, _Log(job, section))


class _Log:
    """A recorder as an addressed log."""

    proven = True

    def __init__(self, job: Job, section: RecordSelect) -> None:
        self._job = job
        self._section = section
        self._start = job.place(section.select["start"], "select")
        log = section.select.get("log")
        self._which = None if log is None else job.place(log, "select")
        self._data = job.place(section.data, "data")
        self._status: dict[str, Place] = {
            key: job.place(register, "status") for key, register in section.status.items()
        }
        self._modulo = _modulo(self._status)
        self._form: RecordForm | None = None
        self._most: int | None = None
        self._seen: tuple[int, int] | None = None

    @property
    def per_fetch(self) -> int:
        """Without a word on how many are there, a block is taken to hold one record."""
        if self._form is None or not {"available", "max_records"} & set(self._status):
            return 1
        return max(1, min(self._room // self._form.words, self._most or self._room))

    @property
    def _room(self) -> int:
        return min(self._section.data_words, self._job.limits.max_read_words)

    # -------------------------------------------------------------------------- what the log tells

    def survey(self) -> Asking[Survey]:
        """Choose the log and read what it says of itself, or find out."""
        if self._which is not None:
            yield from self._choose(self._which)
        at_ns, said = yield from self._read_status()
        columns = said.get("columns", len(self._job.columns))
        if "columns" in said and columns != len(self._job.columns):
            raise LogUnavailable(
                f"the recorder has {columns} columns, `columns:` names {len(self._job.columns)}",
                MISFIT,
                "Name every column, in the order of the recorder's inputs",
            )
        self._most = said.get("max_records")
        self._lay_out(columns)
        meaning = tuple(said[key] for key in ("config_id", "columns") if key in said)
        if "oldest" in said and "newest" in said:
            oldest, newest = said["oldest"], said["newest"]
            empty = _is_empty(oldest, newest, self._modulo)
        else:
            oldest, newest = yield from self._search()
            empty = False
        clock = yield from self._job.read_clock()
        return Survey(
            oldest,
            newest,
            empty,
            at_ns,
            self._modulo,
            clock,
            meaning=meaning,
            landmark=newest if "newest" not in said else None,
        )

    def _choose(self, which: Place) -> Asking[None]:
        log = self._job.log
        if log is None or log.select is None:
            raise LogUnavailable("the log has no `select:`", MISFIT, "Name it in `logs:`")
        answer = yield from insist(self._choice(which, log.select), self._job.limits.busy)
        if isinstance(answer, Refusal):
            raise refused(f"log {log.select}", answer)

    def _choice(self, which: Place, select: int) -> Write:
        try:
            return put(which, select)
        except ValueError as error:
            raise LogUnavailable(f"`select:` {error}", MISFIT, "Correct it") from None

    def _read_status(self) -> Asking[tuple[int, dict[str, int]]]:
        """The status registers; when that was, in ns UTC."""
        found = yield from get_all(self._status, self._job.limits)
        if isinstance(found, Refusal):
            raise refused("the log's status", found)
        at_ns, said = found
        return at_ns or self._job.now_ns, said

    def _lay_out(self, columns: int) -> None:
        if self._form is None:
            record, section = self._section.record, self._section
            words = section.header_words + columns * section.column_words
            self._form = self._job.form(record, words=words if section.header_words else None)
            if self._form.words > self._room:
                raise LogUnavailable(
                    f"a record of {self._form.words} words does not fit in a block of {self._room}",
                    MISFIT,
                    "Correct `columns:` or `data_words:`",
                )

    # -------------------------------------------------------------------------- found out by asking

    def _search(self) -> Asking[tuple[int, int]]:
        """The oldest and the newest record. Raises LogUnavailable when none is found."""
        if self._seen is not None and (yield from self._is_there(self._seen[1])):
            low, known = self._seen
        else:
            known, low = (yield from self._any()), 1
        newest = yield from self._edge(known, up=True)
        if not (yield from self._is_there(low)):
            # What is older than what was there before can't come back.
            low = yield from self._edge(known, up=False, end=low)
        self._seen = (low, newest)
        return low, newest

    def _any(self) -> Asking[int]:
        """The number of any record that is there: what was there before, what is selected, or any.

        From what is likely it goes up, first twice as far each time (a log that was cleared), then
        by what the log holds (one that wasn't read for long); last from the first number on.
        """
        hint = self._job.wanted.next_record
        likely: list[int] = [] if hint is None else [hint - 1]
        likely += [int(self._job.fact.get("landmark", 0)), self._seen[1] if self._seen else 0]
        present = yield from get(self._start)
        likely.append(present if isinstance(present, int) else 0)
        log = self._job.log
        depth = (log.depth_records if log is not None else None) or self._section.depth_records
        step: int = depth or DEPTH_GUESS
        base = max(likely)
        nearby = [base + 2**n for n in range(step.bit_length())]
        above = range(base + step, base + PROBES_MAX * step, step)
        below = range(1, min(base, PROBES_MAX * step), step)
        guess: int
        # A log that was just cleared may have its next record only when the others were tried.
        for guess in [*likely, *nearby, *above, *below, *nearby]:
            if guess > 0 and (yield from self._is_there(guess)):
                return guess
        raise LogUnavailable(
            f"no record was found by asking for {step} and its multiples from {base} on",
            SOON_NS * 12,
            "It may be empty; else say how many it holds: `depth_records:`",
        )

    def _edge(self, known: int, *, up: bool, end: int = 0) -> Asking[int]:
        """The last record that is there, going up or down from one that is; `end` is not."""
        there, step = known, 1
        while True:  # bounded: the step doubles up to what the register can name
            beyond = there + step if up else max(there - step, end)
            if not up and beyond == end:
                break
            if not (yield from self._is_there(beyond)):
                break
            there, step = beyond, step * 2
        while abs(beyond - there) > 1:
            middle = (beyond + there) // 2
            if (yield from self._is_there(middle)):
                there = middle
            else:
                beyond = middle
        return there

    def _is_there(self, number: int) -> Asking[bool]:
        return (yield from self._select(number))

    # ---------------------------------------------------------------------------------- the records

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records of one block; one that is refused was overwritten."""
        form = self._form
        assert form is not None
        for _ in range(SELECT_TRIES):
            if not (yield from self._select(number)):
                return [OVERWRITTEN]
            size = min(count, self.per_fetch)
            if self._section.record.key is None and "available" in self._status:
                there = yield from get(self._status["available"])
                size = min(size, int(there)) if isinstance(there, int | float) else 1
            if size < 1:
                continue
            read = Read(self._data.area, self._data.address, size * form.words)
            answer = yield from insist(read, self._job.limits.busy)
            if isinstance(answer, Refusal):
                if answer.code in self._section.not_there:
                    return [OVERWRITTEN]
                raise refused(f"record {number}", answer)
            found = self._entries(form, number, answer.words)
            if found:
                return found
        return [TORN]

    def _entries(self, form: RecordForm, number: int, words: Sequence[int]) -> list[Entry | str]:
        """The records of a block, as far as they are those that were asked for."""
        found: list[Entry | str] = []
        for at in range(0, len(words), form.words):
            entry = form.decode(words[at : at + form.words])
            if entry.number is not None and entry.number != self._named(number + len(found)):
                break
            found.append(entry if entry.wall_ns is not None else TORN)
        return found

    def _named(self, number: int) -> int:
        """The number that the device gives a record."""
        return number if self._modulo is None else number % self._modulo

    def _select(self, number: int) -> Asking[bool]:
        """Choose a record; False when it isn't there. Both registers in one write if they meet."""
        try:
            write = put(self._start, self._named(number))
        except ValueError:
            return False  # no device can have a record that its register can't name
        which, log = self._which, self._job.log
        if which is not None and log is not None and log.select is not None:
            first = self._choice(which, log.select)
            if which.address + which.words == self._start.address:
                write = Write(which.address, (*first.words, *write.words))
            else:
                yield from self._choose(which)
        answer = yield from insist(write, self._job.limits.busy)
        if isinstance(answer, Answer):
            return True
        if answer.code in self._section.not_there:
            return False
        raise refused(f"record {number}", answer)


def _modulo(status: Mapping[str, Place]) -> int | None:
    """Where told numbers start again: after the last that their register can name."""
    newest = status.get("newest")
    if "oldest" not in status or newest is None or newest.type.is_float:
        return None
    return 10 ** (4 * newest.words) if newest.type.is_bcd else 1 << 16 * newest.words


def _is_empty(oldest: int, newest: int, modulo: int | None) -> bool:
    """Whether a log that tells so has no record; one that never had any says 0, or 0 and 1."""
    if newest >= oldest or modulo is None:
        return newest < oldest or newest <= 0
    # The numbers started again, unless so many are between that the end lies before the beginning.
    return newest - oldest + 1 + modulo > modulo // 2
