"""`time_select`: write a moment and a direction, read a block, ask for the next. Sans-IO.

Where the device reads is one place for all who ask, and asking for the next block moves it. So that
is never repeated: after an answer that was lost, after a block that doesn't follow, and at the end
of the log the moment of the last record taken is written anew, and what comes after that record
there counts, not what another master may have chosen. A block of all ones is the end.

Stamps are all there is to ask by. A clock that was set back is seen if the read goes over it.
"""

from __future__ import annotations

from typing import Final

from drivers.modbus.log.addressed import EMPTY
from drivers.modbus.log.job import MISFIT, SOON_NS, Job
from drivers.modbus.log.ops import Asking, Reading
from drivers.modbus.log.paging import CLEARED, OVERWRITTEN, TORN, Pager
from drivers.modbus.log.records import Entry
from drivers.modbus.log.time_block import BEGINNING, Block, BlockLog
from drivers.modbus.log.times import applied, moments, present, settle, shown
from gateway.driver import ClockReading
from gateway.errors import DeviceError, InvalidReply, LinkError, LogUnavailable, ReplyTimeout
from gateway.model import NS_PER_S
from profiles.windback import TimeSelect

TWICE: Final = "its stamps come twice: without `next:` it can't be asked for"
FAILURES_MAX: Final = 3
"""How often asking for the next block may fail before a record is taken."""
TRIES: Final = 4
"""How often the moment of the last record is written until it is sure what follows it."""
PROBES_MAX: Final = 40
DOUBLED_MAX: Final = 25
"""How often damaged records are gone past twice as far: up to a year."""
BLOCKS_MAX: Final = 5_000
"""How far the last record may be from the moment that leads to it."""
_HOUR_NS: Final = 3600 * NS_PER_S
_MINUTE_NS: Final = 60 * NS_PER_S


def read(job: Job) -> Reading:
    """Read what is wanted of a log that is asked by time. Raises LogUnavailable, DeviceError."""
    section = job.section
    assert isinstance(section, TimeSelect)
    log = BlockLog(job, section)
    clock = yield from job.read_clock()
    pager = job.pager(clock)
    forward = _Forward(job, log, pager, clock)
    found = yield from forward.begin()
    if found is None:
        yield from pager.lost(forward.at_ns, EMPTY)
        return
    while found is not None:  # bounded by what is wanted: each time there are later records
        pager.take(found)
        if pager.done:
            break
        if pager.ready:
            pager.measured((yield from job.read_clock()))
        yield from pager.pages()
        found = yield from forward.following()
    pager.measured((yield from job.read_clock()))
    if forward.cleared:
        yield from pager.lost(forward.at_ns, CLEARED)
    else:
        yield from pager.finish()


class _Forward:
    """Reading onwards, each record once.

    `cleared`: the last record taken is gone, and none came after it. `at_ns`: when the block was
    read that was read last.
    """

    def __init__(self, job: Job, log: BlockLog, pager: Pager, clock: ClockReading | None) -> None:
        self._job = job
        self._log = log
        self._pager = pager
        self._offset_ns = applied(clock)
        # As the pager settles stamps, so that a record is the same moment for both.
        self._present_ns = present(job.now_ns, clock)
        self._spacing_ns = job.resolution_ns
        """What is between two records, or the least that was."""
        self.at_ns = job.now_ns
        self.cleared = False
        self._begun = False
        self._last_wall = self._raw_ns = 0
        self._values: tuple[object, ...] = ()
        """When the last record was made, by the device's clock."""
        self._same = 0
        """How many records of that moment were taken one after the other."""
        self._top_ns: int | None = None
        """Up to here the stamps come twice, since the clock was set back; None: no more."""
        self._full = True
        """Whether more may follow in this selection."""
        self._sure = False
        """Whether what isn't full is the end of the log, not only of what was selected."""
        self._failures = 0
        self._failure: DeviceError | None = None
        self._missed: list[list[Entry]] = []
        """What was there instead of the last record, each time it wasn't."""
        self._shown: list[Entry] = []
        """The block that the last records were taken of."""
        self._rounds = 0
        """How often what follows the last record was asked for by its moment."""
        self._torn = 0
        """Records after the last that have no moment."""
        self._ahead: Entry | None = None
        """What seemed to follow the last record: if it does so twice, it does."""

    # ------------------------------------------------------------------------------- the beginning

    def begin(self) -> Asking[list[Entry] | None]:
        """Records from one before what is wanted, or from the oldest; None: the log is empty."""
        from_ns = self._pager.from_ns
        spacing_ns = self._spacing_ns or _MINUTE_NS
        late_ns = from_ns - spacing_ns - NS_PER_S
        block = yield from self._at(late_ns)
        if self._begins_by(block, from_ns):
            return self._taken(block.entries, block, sure=True)
        oldest = yield from self._oldest(block, from_ns)
        oldest_ns = None if oldest.first is None else self._pager.stamps.latest_ns(oldest.first)
        self._pager.oldest_ns = oldest_ns
        if not oldest.entries:
            return None
        if oldest_ns is None or oldest_ns > from_ns:
            return (yield from self._settled(oldest, BEGINNING))
        if not block.entries:
            return self._taken([], block, sure=True)  # it ends before what is wanted
        # The device paused before what is wanted, nobody knows how long.
        early_ns = oldest_ns
        for _ in range(PROBES_MAX):
            if late_ns - early_ns <= spacing_ns * max(self._log.many, 2):
                break
            middle_ns = (early_ns + late_ns) // 2
            if self._begins_by((yield from self._at(middle_ns)), from_ns):
                early_ns = middle_ns
            else:
                late_ns = middle_ns
        block = yield from self._at(early_ns)
        if not self._begins_by(block, from_ns) and block.entries != oldest.entries:
            raise _disorder()
        return (yield from self._settled(block, self._wall(early_ns)))

    def _oldest(self, block: Block, from_ns: int) -> Asking[Block]:
        """The first block of the log: what makes something lost is to be seen again."""
        for tried in range(TRIES):
            before, block = block, (yield from self._open(BEGINNING))
            again = block.entries == before.entries and (block.entries or tried > 1)
            if again or self._begins_by(block, from_ns):
                return block
        raise _disorder()

    def _settled(self, block: Block, wall: int) -> Asking[list[Entry]]:
        """Records from the first of a block on, as many as tell for sure when that was made.

        Several blocks are read twice, by the wall time that leads to the first.
        """
        before: list[Entry] = []
        for _ in range(TRIES):
            entries = list(block.entries)
            single, last = block, -1
            for _ in range(BLOCKS_MAX):
                walls = [last, *(e.wall_ns for e in block.entries if e.wall_ns is not None)]
                last = walls[-1]
                # The order tells, or a stamp that comes once.
                told = walls != sorted(walls) or not all(map(self._log.comes_twice, walls[1:]))
                if told or not block.full or not self._log.moves_on:
                    break
                yield from self._log.go_on()
                following = yield from self._log.block()
                if following is None:
                    raise _disorder()
                block = following
                entries += block.entries
            if entries == before or (block is single and not before):
                return self._taken(entries, block, sure=True)
            before, block = entries, (yield from self._open(wall))
        raise _disorder()

    def _begins_by(self, block: Block, time_ns: int) -> bool:
        """Whether a block begins with a record before a time, and no doubt when that was made."""
        first = block.first
        latest_ns = None if first is None else self._pager.stamps.latest_ns(first)
        if first is None or latest_ns is None or self._pager.stamps.is_unsure(first):
            return False
        return latest_ns <= time_ns

    def _at(self, time_ns: int) -> Asking[Block]:
        return (yield from self._open(self._wall(time_ns)))

    def _wall(self, time_ns: int) -> int:
        """What the device's clock shows at a moment of this node's."""
        return shown(time_ns + self._offset_ns, self._job.zone)

    def _open(self, wall: int) -> Asking[Block]:
        """Select, and read the first block. Raises LogUnavailable, DeviceError."""
        for _ in range(TRIES):
            yield from self._log.select(wall)
            block = yield from self._log.block()
            if block is not None:
                self.at_ns = block.at_ns
                return block
        raise LogUnavailable("another channel is chosen again and again", SOON_NS)

    # --------------------------------------------------------------------------------- what follows

    def following(self) -> Asking[list[Entry] | None]:
        """Records after those taken; None at the end. Raises LogUnavailable, DeviceError."""
        block: Block | None = None
        if self._full and self._log.moves_on:
            block = yield from self._next()
            if block is not None and self._follows(block):
                return self._taken(block.entries, block, sure=False)
        lost = not self._begun or (self._log.moves_on and self._is_twice())
        if not self._full or (block is not None and not block.entries):
            # Where no moment leads back to the last record, this has to do.
            if self._sure or self._rounds or lost:
                return None
        elif lost or self._rounds > TRIES:
            raise self._failure or _disorder()
        if block is not None and block.first is not None:
            self._ahead = block.first
        self._rounds += 1
        return (yield from self._anew())

    def _is_twice(self) -> bool:
        """Whether the stamp of the last record came before, and the clock was set back since."""
        return self._top_ns is not None and self._raw_ns <= self._top_ns

    def _next(self) -> Asking[Block | None]:
        """The next block; None when nobody knows it. Raises LogUnavailable, DeviceError."""
        try:
            yield from self._log.go_on()
            block = yield from self._log.block()
        except (LinkError, ReplyTimeout, InvalidReply, LogUnavailable) as error:
            self._failures += 1
            if self._failures > FAILURES_MAX:
                raise
            self._failure = error
            return None
        if block is not None:
            self.at_ns = block.at_ns
        return block

    def _follows(self, block: Block) -> bool:
        """Whether a block is what comes after the last record, as far as its stamps tell."""
        first = block.first
        if first is None or first.wall_ns is None or not self._begun:
            return bool(block.entries)
        if block.entries == self._shown:
            return False  # it didn't move
        if self._ahead is not None and self._ahead.wall_ns == first.wall_ns:
            return True
        (raw_ns,) = settle([first.wall_ns], self._job.zone, self._raw_ns, self._present_ns)
        spacing_ns = self._spacing_ns
        if spacing_ns is None:
            return False  # nothing tells yet what would be a leap
        torn = self._torn + block.entries.index(first)
        leaps = 2 * (raw_ns - self._raw_ns) > (3 + 2 * torn) * spacing_ns
        # Records of one moment are seldom parted by the end of a block.
        return not leaps and raw_ns >= self._raw_ns + (self._same == 1)

    def _taken(self, entries: list[Entry], block: Block, *, sure: bool) -> list[Entry]:
        """Take records of a block as those that follow."""
        dated = [entry for entry in entries if entry.wall_ns is not None]
        walls = [entry.wall_ns or 0 for entry in dated]
        before_ns = self._raw_ns if self._begun else None
        for raw_ns in settle(walls, self._job.zone, before_ns, self._present_ns):
            if before_ns is not None and raw_ns < before_ns:
                self._top_ns = max(self._top_ns or before_ns, before_ns)
            elif self._top_ns is not None and raw_ns > self._top_ns:
                self._top_ns = None
            if before_ns is not None and raw_ns > before_ns and self._job.resolution_ns is None:
                self._spacing_ns = min(self._spacing_ns or raw_ns, raw_ns - before_ns)
            self._same = self._same + 1 if raw_ns == before_ns else 1
            self._raw_ns = before_ns = raw_ns
        if dated:
            self._begun, self._last_wall, self._values = True, walls[-1], dated[-1].values
            self._ahead, self._torn = None, 0
            self._rounds, self._failures, self._failure = 0, 0, None
        self._torn += next((at for at, e in enumerate(entries[::-1]) if e.wall_ns), len(entries))
        self._full, self._sure, self._shown = block.full, sure, block.entries
        self._missed.clear()
        return entries

    # ----------------------------------------------------------------------------------- asked anew

    def _anew(self) -> Asking[list[Entry] | None]:
        """What follows the last record, by its moment. Raises LogUnavailable, DeviceError."""
        wall = self._last_wall
        if not self._log.moves_on and (self._is_twice() or self._log.comes_twice(wall)):
            return (yield from self._past(wall, TWICE))
        for _ in range(TRIES):
            found = yield from self._walk(wall)
            if found is not None or self.cleared:
                return found
        raise self._failure or _disorder()

    def _walk(self, wall: int) -> Asking[list[Entry] | None]:
        """From a moment to the last record and on; None: it doesn't tell what follows."""
        ahead = self._ahead
        if ahead is not None and ahead.wall_ns is not None and ahead.wall_ns < wall:
            # Perhaps the clock was set back: a moment before both leads to the last record.
            wall = ahead.wall_ns - NS_PER_S
        block: Block | None = yield from self._open(wall)
        # What comes twice was asked for an hour earlier.
        before_ns = moments(wall, self._job.zone)[0] - _HOUR_NS
        same = blocks = 0
        while block is not None and blocks < BLOCKS_MAX:
            dated = [at for at, entry in enumerate(block.entries) if entry.wall_ns is not None]
            walls = [block.entries[at].wall_ns or 0 for at in dated]
            raws = settle(walls, self._job.zone, before_ns, self._present_ns)
            if raws and raws[0] < before_ns:
                return None  # another master chose
            for at, raw_ns in zip(dated, raws, strict=True):
                same += raw_ns == self._raw_ns
                if same == self._same:
                    if self._log.comes_twice(wall) and block.entries[at].values != self._values:
                        return None  # an hour before or after it
                    return (yield from self._after(block.entries[at + 1 :], block))
                if raw_ns > self._raw_ns:
                    if blocks and at == dated[0]:
                        return None  # perhaps it was in between
                    return self._without_last(block.entries[at:], block)
            before_ns = raws[-1] if raws else before_ns
            if not block.full:
                return self._without_last([], block) if raws or not blocks else None
            block = (yield from self._next()) if self._log.moves_on else None
            blocks += 1
        return None

    def _after(self, rest: list[Entry], block: Block) -> Asking[list[Entry] | None]:
        """What comes after the last record in its block, or else in the next one."""
        if not self._log.moves_on and block.full and all(e.wall_ns is None for e in rest):
            if not rest:
                raise _narrow()
            return (yield from self._past(self._last_wall + NS_PER_S, TORN))
        if rest or not block.full:
            return self._taken(rest, block, sure=True)
        following = yield from self._next()
        if following is None:
            return None
        if not following.entries or self._follows(following):
            return self._taken(following.entries, following, sure=True)
        self._ahead = following.first
        return None

    def _without_last(self, rest: list[Entry], block: Block) -> list[Entry] | None:
        """The last record isn't there, or another master chose: to be seen again, and the same."""
        self._missed.append(rest[:1])
        count = 2 if rest else 3
        if self._missed[-count:] != [rest[:1]] * count:
            return None
        if not rest:
            self.cleared = True
            return None
        self._pager.lack(OVERWRITTEN)
        return self._taken(rest, block, sure=True)

    def _past(self, wall: int, why: str) -> Asking[list[Entry]]:
        """Without `next` nothing leads on from here: what is after a wall time, the rest lacks."""
        if self._is_twice():
            wall = max(wall, shown(self._top_ns or 0, self._job.zone) + NS_PER_S)
        while self._log.comes_twice(wall):
            wall += _MINUTE_NS - wall % _MINUTE_NS
        self._pager.lack(why)
        for doubled in range(DOUBLED_MAX):
            block = yield from self._open(wall)
            if block.first is not None or not block.full:
                return self._taken(block.entries, block, sure=True)
            wall += NS_PER_S << doubled
        raise _narrow()


def _disorder() -> LogUnavailable:
    return LogUnavailable(
        "its records do not follow one another: is there another reader?", SOON_NS
    )


def _narrow() -> LogUnavailable:
    return LogUnavailable(
        "a block holds no more than the records of one moment",
        MISFIT,
        "Write `next:`, or `data_words:` for more records",
    )
