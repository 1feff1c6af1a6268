"""`window_session`: engage a log, move a window over it, read, disengage. Sans-IO.

While a log is engaged its oldest record is index 0, so it is an addressed log of one session. The
window says which index it shows, and that is compared: where reading moves it on, a lost answer may
have. The lock belongs to a port of the device, which all who ask over a network share: so one that
is held, though by the own port, is waited out. Source: Shark 200 manual p. B-21 to B-25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from drivers.modbus.log import addressed, window_columns
from drivers.modbus.log.addressed import Survey
from drivers.modbus.log.job import MISFIT, SOON_NS, Job, refused
from drivers.modbus.log.ops import Answer, Asking, Read, Reading, Refusal, Release, Wait, Write, ask
from drivers.modbus.log.paging import OVERWRITTEN, TORN
from drivers.modbus.log.places import Place, get, get_all, insist
from drivers.modbus.log.records import Entry, RecordForm, head_words
from drivers.modbus.log.window_columns import Found
from gateway.errors import InvalidReply, LinkError, LogUnavailable, ReplyTimeout
from gateway.model import NS_PER_MS, NS_PER_S
from profiles.windback import WindowSession

HEAD_WORDS: Final = 2
"""State and index, in front of the records of a window."""
READY_TRIES: Final = 20
INDEX_TRIES: Final = 3
"""How often the window is set to an index before it counts as stuck."""
_UNLOCK_NS: Final = 300 * NS_PER_S
"""How long a lock lasts that nobody uses, where the profile doesn't say."""
_FULL: Final = 0xFFFF


def read(job: Job) -> Reading:
    """Read what is wanted of a log; it is given back on every way out. Raises LogUnavailable."""
    section = job.section
    assert isinstance(section, WindowSession)
    found = yield from window_columns.discover(job, section)
    if found.resolution_ns is not None and job.resolution_ns is None and job.log is not None:
        job = replace(job, log=job.log.model_copy(update={"resolution_ns": found.resolution_ns}))
    session = _Session(job, section, found)
    try:
        yield from session.engage()
        yield from addressed.read(job, session)
    finally:
        if session.engaged:
            yield Release((session.disengaging,))


class _Session:
    """An engaged log as an addressed log; its numbers are indices of this session."""

    proven = True

    def __init__(self, job: Job, section: WindowSession, found: Found) -> None:
        log = job.log
        if log is None or log.select is None:
            raise LogUnavailable("the log has no `select:`", MISFIT, "Name it in `logs:`")
        if section.window_words > job.limits.max_read_words:
            raise LogUnavailable(
                f"the window has {section.window_words} words, one request brings "
                f"{job.limits.max_read_words}",
                MISFIT,
                "Correct `limits: {max_read_words: …}` or `window_words:`",
            )
        self._job = job
        self._section = section
        self._found = found
        self._session = job.place(section.session, "session")
        self._control = job.place(section.control, "control")
        self._window = job.place(section.window, "window")
        keys = ("used", "capacity", "record_bytes")
        self._status: dict[str, Place] = {
            key: job.place(section.status[key], "status")  # type: ignore[index]
            for key in keys
            if key in section.status
        }
        if "used" not in self._status:
            raise LogUnavailable(
                "nothing says how many records there are", MISFIT, "Write `status: {used: …}`"
            )
        if section.owner is not None:
            self._status["owner"] = job.place(section.owner, "owner")
        self._high = log.select << 8
        self._port: int | None = None
        self._form: RecordForm | None = None
        self._used: int | None = None
        self._surveyed = False
        self._first = 0
        self._shown: tuple[int, int] | None = None
        """Which index the window shows next, and how many records; None: it must be set."""
        self.engaged = False
        """Whether there may be a lock of ours."""

    @property
    def disengaging(self) -> Write:
        return Write(self._session.address, (self._high | self._section.disengage,))

    # ------------------------------------------------------------------------------------- the lock

    def engage(self) -> Asking[None]:
        """Lock the log, unless somebody else has it. Raises LogUnavailable."""
        if self._section.own_port is not None:
            port = yield from get(self._job.place(self._section.own_port, "own_port"))
            if isinstance(port, Refusal):
                raise refused("the number of the own port", port, "Check `own_port:`")
            self._port = int(port or 0)
        _, said = yield from self._read_status()
        owner = said.get("owner", 0)
        if owner == self._section.disabled:
            raise LogUnavailable("the log is switched off in the device", MISFIT, "Enable it")
        if owner != 0:
            raise self._held(owner)
        # From here on it may be locked, whatever comes of the request.
        self.engaged = True
        word = self._high | self._section.engage
        answer = yield from ask(Write(self._session.address, (word,)))
        if isinstance(answer, Refusal):
            self.engaged = False
            raise refused("engaging the log", answer, "Check `session:`, `engage:` and `select:`")

    def _held(self, owner: int) -> LogUnavailable:
        whose = "the own port: a reader that died, or another one" if owner == self._port else ""
        return LogUnavailable(
            f"the log is engaged by {whose or f'port {owner}'}",
            self._section.unlock_after_ns or _UNLOCK_NS,
        )

    def _check_lock(self, said: dict[str, int]) -> None:
        """Whether the log is still engaged, and by the own port. Raises LogUnavailable."""
        owner = said.get("owner")
        if owner is None or (owner == self._port if self._port is not None else owner != 0):
            return
        # It isn't ours to give back.
        self.engaged = False
        if owner != 0 and owner != self._section.disabled:
            raise self._held(owner)
        raise LogUnavailable("the log is not engaged any more", SOON_NS)

    # ------------------------------------------------------------------------- what the log tells

    def survey(self) -> Asking[Survey]:
        """Read the log's status, and its settings once more."""
        at_ns, said = yield from self._read_status()
        self._check_lock(said)
        if self._used is not None and said["used"] < self._used:
            # It was cleared: only a new session begins with the record that is oldest now.
            yield from ask(self.disengaging)
            self._used, self._first, self._shown = None, 0, None
            yield from self.engage()
            at_ns, said = yield from self._read_status()
            self._check_lock(said)
        used, ids = said["used"], self._found.identity
        if self._used is None:
            self._lay_out(said)
            if used and self._section.filler and (yield from self._has_filler()):
                self._first = 1
        if self._surveyed:
            ids = yield from window_columns.identity(self._job, self._section)
        self._used, self._surveyed = used, True
        clock = yield from self._job.read_clock()
        assert self._form is not None
        return Survey(
            self._first,
            used - 1,
            used <= self._first,
            at_ns,
            clock=clock,
            meaning=(*ids, self._form.words),
            depth=said.get("capacity"),
            told=self._found.told,
        )

    def _read_status(self) -> Asking[tuple[int, dict[str, int]]]:
        found = yield from get_all(self._status, self._job.limits)
        if isinstance(found, Refusal):
            raise refused("the log's status", found, "Check `status:` and `owner:`")
        return found

    def _lay_out(self, said: dict[str, int]) -> None:
        """Raises LogUnavailable when the columns don't fit in the device's records."""
        size = said.get("record_bytes")
        form = self._found.form(
            self._job, self._section.record, None if size is None else size // 2
        )
        room = self._section.window_words - HEAD_WORDS
        if form.words > room:
            raise LogUnavailable(
                f"a record of {form.words} words does not fit in a window of {room}",
                MISFIT,
                "Correct `columns:` or `window_words:`",
            )
        self._form = form

    @property
    def per_fetch(self) -> int:
        assert self._form is not None
        return (self._section.window_words - HEAD_WORDS) // self._form.words

    def _has_filler(self) -> Asking[bool]:
        """Whether index 0 is the filler of a log that never was full: all ones but for its time."""
        words = yield from self._window_at(0, 1)
        return all(word == _FULL for word in words[head_words(self._section.record) :])

    # ----------------------------------------------------------------------------------- the window

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records of one window."""
        form = self._form
        assert form is not None
        assert self._used is not None
        # The window is as wide as it can be, so that the next one follows by itself.
        wide = max(1, min(self.per_fetch, self._used - number))
        words = yield from self._window_at(number, wide)
        parts = [words[at : at + form.words] for at in range(0, len(words), form.words)]
        return [self._record(form, part) for part in parts[: min(count, wide)]]

    def _record(self, form: RecordForm, words: Sequence[int]) -> Entry | str:
        if all(word == _FULL for word in words):
            return OVERWRITTEN
        entry = form.decode(words)
        return entry if entry.wall_ns is not None else TORN

    def _window_at(self, index: int, count: int) -> Asking[tuple[int, ...]]:
        """The words of `count` records. Raises LogUnavailable, DeviceError."""
        assert self._form is not None
        failure: LinkError | ReplyTimeout | InvalidReply | None = None
        for _ in range(INDEX_TRIES):
            if self._shown != (index, count):
                yield from self._set(index, count)
            self._shown = None
            try:
                state, shown, words = yield from self._read_window()
            except (LinkError, ReplyTimeout, InvalidReply) as error:
                # It may have moved on: it is set again.
                failure = error
                continue
            if state != self._section.ready:
                yield from self._not_ready(state)
            failure = None
            if shown == index:
                if self._section.repeat:
                    following = index + count
                    left = (self._used or following) - following
                    self._shown = (following, count) if left >= count else None
                return words[: count * self._form.words]
        if failure is not None:
            raise failure
        raise LogUnavailable(f"the window does not go to index {index}", SOON_NS)

    def _set(self, index: int, count: int) -> Asking[None]:
        """Say what the window shall show; harmless to repeat."""
        words = (count << 8 | self._section.repeat, index >> 16, index & 0xFFFF)
        answer = yield from insist(Write(self._control.address, words), self._job.limits.busy)
        if isinstance(answer, Refusal):
            raise refused(f"index {index} of the window", answer, "Check `control:`")

    def _read_window(self) -> Asking[tuple[int, int, tuple[int, ...]]]:
        """State, index and words of the window, once it is ready or has had its time."""
        size = self._section.window_words
        read = Read(self._window.area, self._window.address, size, once=bool(self._section.repeat))
        answer: Answer | Refusal
        for tried in range(READY_TRIES):
            answer = yield from insist(read, self._job.limits.busy)
            if isinstance(answer, Refusal):
                raise refused("the window", answer, "Check `window:`")
            high, low, *words = answer.words
            state, index = high >> 8, (high & 0xFF) << 16 | low
            if state != self._section.not_ready:
                break
            backoff = self._job.limits.busy.backoff_ms
            yield Wait(backoff[min(tried, len(backoff) - 1)] * NS_PER_MS)
        return state, index, tuple(words)

    def _not_ready(self, state: int) -> Asking[Any]:
        """A window that is never ready: the lock may be lost. Raises LogUnavailable."""
        _, said = yield from self._read_status()
        self._check_lock(said)
        raise LogUnavailable(f"the window is not ready: state {state:#04x}", SOON_NS)
