"""Reading a log whose records have numbers and may be asked for in any order. Sans-IO.

A method says how to look at the log (`survey`) and how to fetch some records (`fetch`); this is the
rest: where to begin, how much to read before looking again, and what to make of a log that changed
meanwhile.

A log that was configured anew can't be trusted to have its columns where they were: everything up
to the moment when that was found is lacking, for good (the fact says since when it holds).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from drivers.modbus.log.clock_steps import clock_sets
from drivers.modbus.log.job import MISFIT, Job
from drivers.modbus.log.ops import Asking, Learn, Reading
from drivers.modbus.log.paging import (
    CLEARED,
    OVERWRITTEN,
    RECONFIGURED,
    TORN,
    Pager,
)
from drivers.modbus.log.records import Entry
from drivers.modbus.log.searching import GONE, first_since, unwrapped
from drivers.modbus.log.times import Known, known_clock
from gateway.driver import ClockReading
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_S

RESTARTS_MAX: Final = 3
BATCH_MIN: Final = 16
"""Requests between two looks at the log where its oldest records are wanted."""
LANDMARK_STEP: Final = 100
AGAIN_MAX: Final = 4
"""How often records of one batch are fetched again that do not go on: stamps may be coarse."""
EMPTY: Final = "the log is empty"
REFUSED: Final = "refused"
"""What a fetch gives for a record that the device never had, or refuses while it is in download."""
_RESTLESS_NS: Final = 10 * NS_PER_S


class Survey(NamedTuple):
    """What a log says of itself: the numbers of its oldest and newest record, as it counts.

    `modulo`: where the numbers start again. `identity` changes when the log was made anew,
    `meaning` when its columns may be others. `depth`: how many records it can hold. `landmark`: a
    record to begin with when they were found by asking. `told`: what else the log's fact keeps.
    `unproven`: only its records tell whether it is empty, and a device in download refuses them.
    `told_some`: something tells that it has records, though it seems to be empty.
    """

    oldest: int
    newest: int
    empty: bool
    at_ns: int
    modulo: int | None = None
    clock: ClockReading | None = None
    identity: tuple[int, ...] = ()
    meaning: tuple[int, ...] = ()
    depth: int | None = None
    landmark: int | None = None
    told: Mapping[str, Any] = {}
    unproven: bool = False
    told_some: bool = False


class Source(Protocol):
    """An addressed log. Numbers go on where the device starts again."""

    @property
    def per_fetch(self) -> int:
        """Records that one request brings at most."""

    @property
    def proven(self) -> bool:
        """Whether a record that was fetched is right though the log doesn't hold it afterwards."""

    def survey(self) -> Asking[Survey]:
        """Look at the log. Raises LogUnavailable, DeviceError."""

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records from `number` on, at least one, at most `count`; each or why it isn't there.

        REFUSED for what a device never had or refuses for now. Raises LogUnavailable, DeviceError.
        """


class _Window(NamedTuple):
    """The records that a log holds, by unwrapped numbers."""

    oldest: int
    newest: int

    @classmethod
    def of(cls, seen: Survey) -> _Window:
        return cls(seen.oldest, unwrapped(seen.newest, seen.oldest, seen.modulo))

    def moved(self, seen: Survey) -> _Window | None:
        """The records at a later look; None if the numbers went back."""
        ahead, modulo = seen.newest - self.newest, seen.modulo
        if modulo is not None:
            ahead = (ahead + modulo // 2) % modulo - modulo // 2
        newest = self.newest + ahead
        oldest = newest - (unwrapped(seen.newest, seen.oldest, modulo) - seen.oldest)
        return None if ahead < 0 or oldest < self.oldest else _Window(oldest, newest)


def look(job: Job) -> Reading:
    """Read the clock alone."""
    yield from learn_clock(job, (yield from job.read_clock()))


def learn_clock(job: Job, clock: ClockReading | None) -> Asking[None]:
    """Learn a reading of the clock: what it is set by after this was set in the device.

    Of a change between two runs of nodes' clocks nobody knows whose it was (clock_steps).
    """
    told = [list(each) for each in job.fact.get("clock", ())]
    known = known_clock(told, job.now_ns, clock, job.resolution_ns or 0, job.clock_run)
    if (now := [list(each) for each in known]) != told:
        yield Learn({**job.fact, "clock": now})


def read(job: Job, source: Source) -> Reading:
    """Read what is wanted of an addressed log."""
    yield from _read(job, source)
    job.doubt.over()


def _read(job: Job, source: Source) -> Reading:
    seen = yield from source.survey()
    had = bool(job.fact.get("had"))
    if seen.empty and seen.unproven and (had or seen.told_some):
        _doubt(job, seen.at_ns, "the log seems to be empty, though it had records")
    pager = job.pager(seen.clock)
    told, coarse_ns = job.fact.get("clock", ()), job.resolution_ns or 0
    known = known_clock(told, seen.at_ns, seen.clock, coarse_ns, job.clock_run)
    since_ns = yield from _recall(job, seen, known)
    yield from pager.lost(since_ns, RECONFIGURED)
    if pager.from_ns >= job.wanted.to_ns:
        return
    if seen.empty:
        yield from pager.lost(seen.at_ns, CLEARED if had else EMPTY)
        return
    window = _Window.of(seen)
    number, passed = yield from _begin(job, source, pager, seen, window, known)
    restarts = 0
    while number <= window.newest and not pager.done:  # bounded by the wanted stretch
        count = max(number - window.oldest, BATCH_MIN * source.per_fetch)
        count = min(count, job.page_records, window.newest - number + 1)
        found = yield from _batch(source, pager, number, count, job.wanted.to_ns)
        after = yield from source.survey()
        moved = window.moved(after)
        if after.meaning != seen.meaning:
            yield from _recall(job, after, known, seen)
            yield from pager.lost(after.at_ns, RECONFIGURED)
            return
        if after.empty:
            if after.unproven:
                _doubt(job, after.at_ns, "the log seems to be empty, though it had records")
            yield from pager.lost(after.at_ns, CLEARED)
            return
        if moved is None or after.identity != seen.identity:
            restarts += 1
            if restarts > RESTARTS_MAX:
                raise LogUnavailable("the log begins anew again and again", _RESTLESS_NS)
            pager.lack(CLEARED)
            pager.stamps.was_set(())
            pager.stamps.counts_from(after.newest, None)
            window = _Window.of(after)
            number = window.oldest
        else:
            window = moved
            refused = [number + at for at, each in enumerate(found) if each == REFUSED]
            if (yield from _gives(source, passed)) or (yield from _gives(source, refused)):
                _doubt(job, after.at_ns, "records were refused for a while")
            passed = []
            number = _take(pager, found, number, 0 if source.proven else window.oldest)
            if number < window.oldest:
                pager.lack(OVERWRITTEN)
                number = window.oldest
            pager.measured(after.clock)
            yield from pager.pages()
        seen = after
    yield from pager.finish()


def _doubt(job: Job, at_ns: int, text: str) -> None:
    """Raises LogUnavailable, until it has been so for longer than a download lasts."""
    if job.doubt.lasts(at_ns):
        raise LogUnavailable(f"{text}: is the device in download?", MISFIT)


def _gives(source: Source, refused: Collection[int]) -> Asking[bool]:
    """Whether the last of what was refused is given by now: a download passed."""
    if not refused:
        return False
    (found, *_) = yield from source.fetch(max(refused), 1)
    return bool(found != REFUSED)


def _recall(
    job: Job, seen: Survey, clock: Sequence[Known], before: Survey | None = None
) -> Asking[int]:
    """Learn what the log is like; since when its columns are known to be what they are."""
    fact: dict[str, Any] = {"meaning": list(seen.meaning), "depth_records": seen.depth}
    fact |= seen.told
    if seen.unproven and not seen.empty:
        fact["had"] = True
    known = job.fact.get("meaning") if before is None else list(before.meaning)
    since_ns = int(job.fact.get("since_ns", 0))
    if known is not None and known != fact["meaning"]:
        since_ns = seen.at_ns
    if since_ns:
        fact["since_ns"] = since_ns
    if seen.landmark is not None:
        # A fact is kept for ever: it follows the log from afar.
        last = int(job.fact.get("landmark", 0))
        near = 0 <= seen.landmark - last < LANDMARK_STEP and last > 0
        fact["landmark"] = last if near else seen.landmark
    if clock:
        fact["clock"] = [list(reading) for reading in clock]
    if fact != dict(job.fact):
        yield Learn(fact)
    return since_ns


def _begin(
    job: Job,
    source: Source,
    pager: Pager,
    seen: Survey,
    window: _Window,
    clock: Sequence[Known],
) -> Asking[tuple[int, list[int]]]:
    """The record to begin with, the last before what is wanted, for what is lacking after it.

    And those that were refused, and so passed over.
    """
    known: dict[int, Entry | str] = {}

    def one(number: int) -> Asking[Entry | str]:
        if number not in known:
            (known[number], *_) = yield from source.fetch(number, 1)
        return known[number]

    def wall_of(number: int) -> Asking[int | None]:
        found = yield from one(number)
        return found.wall_ns if isinstance(found, Entry) else None

    def probe(number: int) -> Asking[int | None]:
        found = yield from one(number)
        if isinstance(found, Entry):
            return pager.stamps.latest_ns(found, number)
        return GONE if found in (OVERWRITTEN, REFUSED) else None

    if job.resolution_ns is not None:
        oldest, newest = window
        spacing_ns = job.resolution_ns
        sets = yield from clock_sets(
            oldest, newest, spacing_ns, job.zone, wall_of, clock, seen.at_ns
        )
        pager.stamps.was_set(*sets)
    found = yield from one(window.newest)
    latest = found if isinstance(found, Entry) else None
    if latest is not None and seen.landmark is None:  # else it may be newer than the look
        pager.stamps.known_at(latest, window.newest, seen.at_ns)
    pager.stamps.counts_from(window.newest, latest)
    oldest_ns = yield from probe(window.oldest)
    pager.oldest_ns = None if oldest_ns == GONE else oldest_ns
    pager.newest_ns = yield from probe(window.newest)
    hint = _hint(job, pager, seen, window)
    first = yield from first_since(window.oldest, window.newest, pager.from_ns, probe, hint)
    number, back = max(window.oldest, first - 1), 1
    while number > window.oldest:  # bounded: it goes back twice as far each time
        found = yield from one(number)
        if not isinstance(found, Entry) or not pager.stamps.is_unsure(found):
            break
        number, back = max(window.oldest, number - back), back * 2
    return number, [at for at, each in known.items() if each == REFUSED]


def _hint(job: Job, pager: Pager, seen: Survey, window: _Window) -> int | None:
    """Where an earlier read broke off, as the numbers are now."""
    hint = job.wanted.next_record
    if hint is None:
        return None
    ahead, modulo = hint - window.newest - 1, seen.modulo
    if modulo is not None:
        ahead = (ahead + modulo // 2) % modulo - modulo // 2
    if ahead > 0:
        # Records were read that it can't have had.
        pager.began(CLEARED)
    return window.newest + 1 + ahead


def _batch(
    source: Source, pager: Pager, number: int, count: int, to_ns: int
) -> Asking[list[Entry | str]]:
    """Fetch records, up to `count` or the end of what is wanted; odd ones are fetched again.

    Odd is what is torn and, where no number in it tells which record it is, one that is not later
    than the one before it: either may be another than was asked for.
    """
    found: list[Entry | str] = []
    again = AGAIN_MAX
    while len(found) < count:
        begin = len(found)
        found += yield from source.fetch(number + begin, count - begin)
        for at in range(begin, len(found)):
            odd = [at] if found[at] == TORN else []
            if at and again and _stands(found[at - 1], found[at]):
                again -= 1
                odd = [at - 1, at]
            for each in odd:
                (found[each], *_) = yield from source.fetch(number + each, 1)
        last = found[-1]
        if isinstance(last, Entry):
            last_ns = pager.stamps.likely_ns(last, number + len(found) - 1)
            if last_ns is not None and last_ns >= to_ns:
                break
    return found


def _stands(before: Entry | str, entry: Entry | str) -> bool:
    """Whether a record without a number is not later than the one before it."""
    if isinstance(before, str) or isinstance(entry, str) or entry.number is not None:
        return False
    walls = before.wall_ns, entry.wall_ns
    return walls[0] is not None and walls[1] is not None and walls[1] <= walls[0]


def _take(pager: Pager, found: Sequence[Entry | str], number: int, oldest: int) -> int:
    """Hand records to the pager; those before `oldest` don't count. The next record's number."""
    run: list[Entry] = []
    numbers: list[int] = []
    for each in found:
        why = OVERWRITTEN if number < oldest or each == REFUSED else each
        if isinstance(why, Entry):
            run.append(why)
            numbers.append(number)
        else:
            pager.take(run, numbers)
            run, numbers = [], []
            pager.lack(why)
        number += 1
    pager.take(run, numbers)
    return number
