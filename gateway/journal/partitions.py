"""Which file a record goes to, and when a file may go: pure decisions about partitions.

A partition holds what was appended on one UTC day. It is split when it grows too large, so that
keeping to a size never means losing everything. The collector restates every point at the start
of each, so a whole file can be dropped and what stays is complete by itself (rules.md 2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from gateway.model import NS_PER_S

NS_PER_DAY: Final = 86_400 * NS_PER_S
_EPOCH: Final = date(1970, 1, 1).toordinal()
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d{1,4}))?\.sqlite\Z")
_PARTS_PER_SIZE: Final = 8
_JUMP_NS: Final = 300 * NS_PER_S
_DOUBT_NS: Final = 6 * 3_600 * NS_PER_S
_DOUBT_AT_START_NS: Final = 3_600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How much history is kept, and the bounds of the journal's own work."""

    retention_ns: int = 30 * NS_PER_DAY
    max_size_bytes: int = 10_000_000_000
    commit_interval_ms: int = 50
    queue_max: int = 20_000
    tail_samples_max: int = 300_000
    tail_age_ns: int = 900 * NS_PER_S
    ballast_bytes: int = 8 * 1024 * 1024

    @property
    def part_size_bytes(self) -> int:
        """The size at which a day's file is split, so that retention has whole files to drop."""
        return max(1024 * 1024, self.max_size_bytes // _PARTS_PER_SIZE)


class PartitionKey(NamedTuple):
    """A UTC day (days since 1970) and the part of that day; ordered as they were written."""

    day: int
    part: int = 0

    @property
    def file_name(self) -> str:
        suffix = f".{self.part}" if self.part else ""
        return f"{date.fromordinal(_EPOCH + self.day).isoformat()}{suffix}.sqlite"

    @property
    def from_ns(self) -> int:
        return self.day * NS_PER_DAY

    @property
    def to_ns(self) -> int:
        return (self.day + 1) * NS_PER_DAY


def day_of(time_ns: int) -> int:
    """The UTC day (days since 1970) of a time; the collector restates all points when it grows."""
    return time_ns // NS_PER_DAY


def parse_file_name(name: str) -> PartitionKey | None:
    """The key of a partition's file name, or None for any other file."""
    match = _NAME.match(name)
    if match is None:
        return None
    try:
        day = date.fromisoformat(match[1]).toordinal() - _EPOCH
    except ValueError:
        return None
    return PartitionKey(day, int(match[2] or 0))


def next_key(current: PartitionKey, size_bytes: int, now_ns: int, limit: int) -> PartitionKey:
    """Where the next record goes: never to an earlier file, whatever the clock says."""
    day = day_of(now_ns)
    if day > current.day:
        return PartitionKey(day)
    if size_bytes >= limit:
        return PartitionKey(current.day, current.part + 1)
    return current


class ClockTrust(NamedTuple):
    """Whether UTC may say how old a file is: one that was just set far ahead drops all history.

    `offset_ns` is UTC less the monotonic time (ns) when the clocks were looked at last; from
    `again_ns` (monotonic) on UTC is trusted. It is not after a jump, which people are to put right
    meanwhile, and at first not after a start: nobody knows what the clock did before.
    """

    offset_ns: int
    again_ns: int
    jumped: bool = False

    @classmethod
    def at_start(cls, utc_ns: int, monotonic_ns: int) -> ClockTrust:
        """What a start begins with."""
        return cls(utc_ns - monotonic_ns, monotonic_ns + _DOUBT_AT_START_NS)

    def looked(self, utc_ns: int, monotonic_ns: int) -> ClockTrust:
        """The same after another look at the two clocks."""
        offset_ns = utc_ns - monotonic_ns
        if abs(offset_ns - self.offset_ns) > _JUMP_NS:
            return ClockTrust(offset_ns, monotonic_ns + _DOUBT_NS, jumped=True)
        return self._replace(offset_ns=offset_ns)

    def holds(self, monotonic_ns: int) -> bool:
        """Whether UTC is trusted."""
        return monotonic_ns >= self.again_ns


def to_drop(
    sizes: Sequence[tuple[PartitionKey, int]],
    now_ns: int,
    latest_ns: int,
    settings: HistorySettings,
    trusted: bool,
) -> list[PartitionKey]:
    """The partitions to drop, oldest first, from (key, bytes) in order; never the newest one.

    By age nothing while the clock isn't `trusted` or is behind the journal: a clock that was set
    back (or a battery that died) must not be taken for the age of the data, nor may one that was
    set far ahead and back. By size whatever the clock says: the disk must not fill.
    """
    by_age = trusted and now_ns >= latest_ns
    total = sum(size for _, size in sizes)
    dropped: list[PartitionKey] = []
    for key, size in sizes[:-1]:
        too_old = by_age and key.to_ns <= now_ns - settings.retention_ns
        if not too_old and total <= settings.max_size_bytes:
            break
        dropped.append(key)
        total -= size
    return dropped
