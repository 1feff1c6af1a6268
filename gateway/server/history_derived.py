"""What is calculated from samples: values at times, and aggregates (OPC 10000-11 6.5.4, 6.5.5).

The work is done in slices: a page of samples, or a block of intervals, and then others have their
turn. What a request may cost is bounded in samples; then its client gets what there is so far,
which may be nothing, and a continuation point with the sums that were begun (OPC 10000-11 6.3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from gateway.driver import PointSpec
from gateway.model import NUMERIC_TYPES, HistoryReader, HistoryRow, Status
from gateway.server.aggregate_scans import Scan
from gateway.server.aggregates import DEFAULTS, Aggregate, Intervals
from gateway.server.bounds import Before, Result, Rules, Sample, interpolated_bound, simple_bound
from gateway.server.encoding import from_ticks
from gateway.server.history_plan import FROM_NS_MIN, TICK_NS, TO_NS_MAX
from gateway.server.history_request import TICKS_BYTES, ticks_of

BLOCK_INTERVALS: Final = 500
PAGE_SAMPLES: Final = 1_000
"""What is worked on between two turns of others: below 5 ms each."""
LOOK_SAMPLES: Final = 1_000
"""How many samples back, or ahead, a usable one is looked for; bad ones are rarely many."""
INTERVAL_BYTES: Final = 350
"""An interval of a block that was begun, with its result, as measured."""


@dataclass(frozen=True, slots=True)
class AtTimeRest:
    """The times that are still asked for, as they were sent: there may be many such rests."""

    point: PointSpec
    times: bytes
    simple: bool
    until_ns: int

    @property
    def size(self) -> int:
        """The bytes it takes."""
        return len(self.times)


@dataclass(frozen=True, slots=True)
class ProcessedRest:
    """The intervals that are still to be calculated, and the scan of the block that was begun.

    Of that block, where reading goes on, and how many samples lay `behind`.
    """

    point: PointSpec
    aggregate: Aggregate
    rules: Rules
    intervals: Intervals
    until_ns: int
    next: int = 0
    scan: Scan | None = None
    cursor: tuple[int, ...] | None = None
    behind: int = 0

    @property
    def size(self) -> int:
        """The bytes it takes: those of the block that was begun."""
        return 0 if self.scan is None else INTERVAL_BYTES * self.scan.size


class Budget:
    """How many samples a request may read: all its nodes together, and each its share."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.left = total
        """Of the node that is read now; what it is overdrawn by, the others lack."""

    def next(self, nodes: int) -> None:
        """Another node is read; so many are still to be, it included."""
        self.left = self._total // nodes

    def spend(self, samples: int) -> None:
        """So many were read."""
        self._total -= samples
        self.left -= samples


class Samples:
    """The samples of one point, as scans want them."""

    def __init__(self, reader: HistoryReader, point: PointSpec, budget: Budget) -> None:
        self.point = point
        self.budget = budget
        self._reader = reader
        self._numeric = point.data_type in NUMERIC_TYPES

    def of(self, row: HistoryRow) -> Sample:
        """A sample; a value of a type that the point had once and can't be calculated is Bad."""
        time_ns, value, status = row[:3]
        if status >> 31:
            value = None
        elif self._numeric and type(value) is not float and type(value) is not int:
            value, status = None, Status.BAD
        return Sample(time_ns - time_ns % TICK_NS, value, status)

    async def page(
        self, from_ns: int, to_ns: int, limit: int, cursor: tuple[int, ...] | None, reverse: bool
    ) -> tuple[list[Sample], tuple[int, ...] | None]:
        """Some samples of [from, to), and where to go on."""
        from_ns, to_ns = max(from_ns, FROM_NS_MIN), min(to_ns, TO_NS_MAX)
        if from_ns >= to_ns:
            return [], None
        found = await self._reader.read(self.point.id, from_ns, to_ns, limit, cursor, reverse)
        self.budget.spend(len(found.rows))
        return [self.of(row) for row in found.rows], found.cursor

    async def newest(self, at_ns: int) -> HistoryRow | None:
        """The last row in the tick of an instant or before it."""
        self.budget.spend(1)
        at_ns = min(at_ns + TICK_NS - 1, TO_NS_MAX)
        return await self._reader.at_or_before(self.point.id, at_ns) if at_ns >= 0 else None

    async def before(self, row: HistoryRow | None, rules: Rules) -> Before:
        """What is known where a row is the newest: it, and the newest usable one."""
        if row is None:
            return Before()
        newest = self.of(row)
        if rules.usable(newest.status):
            return Before(newest, newest)
        cursor: tuple[int, ...] | None = None
        left = LOOK_SAMPLES
        while left > 0:
            to_ns = row.time_ns + 1
            rows, cursor = await self.page(FROM_NS_MIN, to_ns, min(64, left), cursor, True)
            found = next((s for s in rows if rules.usable(s.status)), None)
            if found is not None or cursor is None:
                return Before(newest, found)
            left -= len(rows)
        return Before(newest)

    async def known_until(self, now_ns: int, to_ns: int) -> int:
        """Where knowledge ends: now, or behind a sample that its device stamped ahead of us."""
        now_ns -= now_ns % TICK_NS
        if to_ns <= now_ns:
            return now_ns
        row = await self.newest(TO_NS_MAX - TICK_NS)
        return now_ns if row is None else max(now_ns, self.of(row).time_ns + TICK_NS)


async def at_times(
    samples: Samples, rest: AtTimeRest, most: int
) -> tuple[list[tuple[Result, int]], AtTimeRest | None]:
    """At most `most` results with their ServerTimestamps in ns, and what is left.

    What is left is None when all were given; they end when the budget is used up.
    """
    found: list[tuple[Result, int]] = []
    for tick in ticks_of(rest.times[: most * TICKS_BYTES]):
        if samples.budget.left <= 0:
            break
        at_ns = from_ticks(tick)
        row = await samples.newest(at_ns)
        if rest.simple:
            newest = None if row is None else samples.of(row)
            result = simple_bound(at_ns, newest, DEFAULTS, rest.until_ns)
        else:
            before = await samples.before(row, DEFAULTS)
            result = interpolated_bound(at_ns, before, rest.until_ns)
        found.append((result, at_ns if row is None else row.received_ns))
        if len(found) % 64 == 0:
            await asyncio.sleep(0)
    left = rest.times[len(found) * TICKS_BYTES :]
    return found, replace(rest, times=left) if left else None


async def processed(
    samples: Samples, rest: ProcessedRest, most: int
) -> tuple[list[Result], ProcessedRest | None]:
    """At most `most` results in the order of the request, and what is left.

    What is left is None when all intervals were given; they end when the budget is used up.
    """
    found: list[Result] = []
    while rest.next < rest.intervals.size and len(found) < most:
        if samples.budget.left <= 0:
            return found, rest
        scan = rest.scan or await _begin(samples, rest, min(BLOCK_INTERVALS, most - len(found)))
        rest, whole = await _scan(samples, replace(rest, scan=scan), scan)
        if not whole:
            return found, rest
        results = scan.finish()
        found += reversed(results) if rest.intervals.reverse else results
        rest = replace(rest, next=rest.next + len(results), scan=None, cursor=None, behind=0)
        await asyncio.sleep(0)
    return found, rest if rest.next < rest.intervals.size else None


async def _begin(samples: Samples, rest: ProcessedRest, size: int) -> Scan:
    """The scan of the next block of intervals."""
    block = rest.intervals.block(rest.next, size)
    row = await samples.newest(block[0].from_ns - TICK_NS)
    if rest.aggregate.looks_back or row is None:
        before = await samples.before(row, rest.rules)
    else:
        before = Before(samples.of(row))
    return rest.aggregate.scan(block, rest.rules, before, rest.until_ns)


async def _scan(samples: Samples, rest: ProcessedRest, scan: Scan) -> tuple[ProcessedRest, bool]:
    """Feed a block what it wants; False when the budget was used up before that."""
    to_ns = TO_NS_MAX if scan.looks_ahead else min(scan.to_ns, rest.until_ns)
    behind, cursor = rest.behind, rest.cursor
    while (left := samples.budget.left) > 0:
        page = min(PAGE_SAMPLES, left)
        rows, cursor = await samples.page(scan.from_ns, to_ns, page, cursor, False)
        scan.feed(rows)
        if scan.looks_ahead:
            behind += sum(1 for sample in rows if sample.time_ns >= scan.to_ns)
        if cursor is None or scan.done or behind >= LOOK_SAMPLES:
            return rest, True
        await asyncio.sleep(0)
    return replace(rest, cursor=cursor, behind=behind), False
