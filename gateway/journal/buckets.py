"""A point's samples thinned for a trend: least, greatest, first and last of each bucket. Pure.

Samples may come in any order, whole columns at a time; what is kept is bounded by the number of
buckets. Columns of numbers are taken by slices, so that a day of seconds costs milliseconds.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from gateway.journal.columns import Columns
from gateway.model import HistoryRow, Origin, Value, is_bad

BUCKETS_MAX: Final = 5_000
Key = tuple[int, int]
"""(time in ns UTC, seq): of samples at one time the one with the higher seq is the later."""
_IN_ORDER: Final = 2**62
"""For rows that come in reading order: of those at one time the later row is."""


class Bucket:
    """What is known of [from, to): of no samples, nothing.

    `least` and `greatest` are None without a number that isn't Bad; `status` is the worst one.
    `gap` says that somewhere in it nothing is known from a time on.
    """

    __slots__ = (
        "count",
        "first",
        "first_key",
        "gap",
        "greatest",
        "last",
        "last_key",
        "last_status",
        "least",
        "status",
        "wound",
    )

    def __init__(self) -> None:
        self.count = 0
        self.wound = 0
        self.gap = False
        self.least: float | None = None
        self.greatest: float | None = None
        self.first: Value = None
        self.last: Value = None
        self.first_key: Key | None = None
        self.last_key: Key = (0, 0)
        self.status = self.last_status = 0

    def ends(self, first: tuple[Key, Value], last: tuple[Key, Value, int]) -> None:
        """The first and the last of some samples."""
        if self.first_key is None or first[0] < self.first_key:
            self.first_key, self.first = first
        if last[0] >= self.last_key:
            self.last_key, self.last, self.last_status = last

    def reach(self, low: Any, high: Any) -> None:
        """The least and the greatest of some samples."""
        self.least = low if self.least is None else min(self.least, low)
        self.greatest = high if self.greatest is None else max(self.greatest, high)

    def value(self, value: Value, status: int) -> None:
        """One sample's value and status."""
        self.status = worse(self.status, status)
        if isinstance(value, int | float) and value == value and not is_bad(status):
            self.reach(value, value)


def worse(one: int, other: int) -> int:
    """Of two StatusCodes the more severe (OPC 10000-4 section 7.39): one or the other, always."""
    return max(one, other)


class Buckets:
    """[from, to) in ns UTC, cut into at most `number` equal buckets of whole ns."""

    def __init__(self, from_ns: int, to_ns: int, number: int) -> None:
        number = max(1, min(number, BUCKETS_MAX))
        self.from_ns, self.to_ns = from_ns, max(from_ns + 1, to_ns)
        self.step_ns = -(-(self.to_ns - from_ns) // number)
        self.found: dict[int, Bucket] = {}

    def _bucket(self, index: int) -> Bucket:
        bucket = self.found.get(index)
        if bucket is None:
            bucket = self.found[index] = Bucket()
        return bucket

    def fold(self, columns: Columns, from_ns: int, to_ns: int) -> int:
        """Take the polled samples of [from, to) of some columns; how many those were."""
        times = columns.times
        low = begin = bisect_left(times, max(from_ns, self.from_ns))
        high = bisect_left(times, min(to_ns, self.to_ns))
        values = columns.values
        quick = columns.statuses is None and isinstance(values, array)
        while low < high:
            index = (times[low] - self.from_ns) // self.step_ns
            edge_ns = self.from_ns + (index + 1) * self.step_ns
            end = bisect_left(times, edge_ns, low, high)
            bucket = self._bucket(index)
            if quick:
                part: Any = values[low:end]
                least, greatest = min(part), max(part)
                if least == least and greatest == greatest:
                    bucket.reach(least, greatest)
                else:  # NaN in front hides the others
                    for value in part:
                        bucket.value(value, 0)
            else:
                statuses = columns.statuses
                for at in range(low, end):
                    bucket.value(values[at], 0 if statuses is None else statuses[at])
            last_status = 0 if columns.statuses is None else columns.statuses[end - 1]
            bucket.ends(
                ((times[low], columns.seqs[low]), values[low]),
                ((times[end - 1], columns.seqs[end - 1]), values[end - 1], last_status),
            )
            bucket.count += end - low
            low = end
        return max(0, high - begin)

    def add(self, rows: Iterable[HistoryRow]) -> None:
        """Take the rows of a raw read, those that say that nothing is known among them."""
        for row in rows:
            if not self.from_ns <= row.time_ns < self.to_ns:
                continue
            bucket = self._bucket((row.time_ns - self.from_ns) // self.step_ns)
            key = (row.time_ns, _IN_ORDER)
            bucket.value(row.value, row.status)
            bucket.ends((key, row.value), (key, row.value, row.status))
            if row.origin is Origin.GAP:
                bucket.gap = True
                continue
            bucket.count += 1
            bucket.wound += row.origin is Origin.WINDBACK
