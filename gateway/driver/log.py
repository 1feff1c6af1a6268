"""How a driver hands over what a device logged by itself: windback, seen from the house.

A log is read in pages, oldest first, and each page says from when to when the log was read
completely: what lies in there and is in no page was not logged. Times are ns UTC by this node's
clock, so the driver has corrected them by the offset that it measured of the device's clock.

Nothing is remembered in the driver: an interrupted read goes on from `LogPage.next_record`, on
either node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.driver.spec import Observation

Turn = Callable[[int], Awaitable[None]]
"""Awaited before each request, with the ns that the request is expected to take: it returns when
live polling leaves that much room, or when the log's share of the line is due."""


@dataclass(frozen=True, slots=True)
class LogSpec:
    """One log of a device and what it can do; what is not known is None.

    `points` are names of the device's points. `stateful`: reading changes something in the device
    (a pointer, a lock), so one reader at a time, and nothing is repeated blindly. `destructive`:
    the device forgets what is acknowledged. `share`: the part of the line's time (0 to 1) that it
    gets though live polling leaves none. `ack` is where records must be durable before they are
    acknowledged: both, local or never (rules.md 8). `order`: newest or oldest gaps first.
    `events`: it holds events instead of values, and is read whenever a gap was.
    """

    name: str
    method: str
    points: tuple[str, ...]
    resolution_ns: int | None = None
    depth_records: int | None = None
    depth_ns: int | None = None
    stateful: bool = False
    destructive: bool = False
    ack: str = "both"
    share: float = 0.2
    order: str = "newest"
    events: bool = False


class LogWanted(NamedTuple):
    """A stretch [from, to) of a log; `next_record` is where an earlier read of it broke off."""

    log: str
    from_ns: int
    to_ns: int
    next_record: int | None = None


class ClockReading(NamedTuple):
    """The device's clock minus this node's, and how far that may be wrong; in ns."""

    offset_ns: int
    uncertainty_ns: int


class Lacking(NamedTuple):
    """A stretch [from, to) that the log doesn't hold, and why (overwritten, cleared, damaged).

    `points` are the names of those it lacks where it holds others; (): it lacks all of the log's.
    """

    from_ns: int
    to_ns: int
    why: str
    points: tuple[str, ...] = ()


class DeviceEvent(NamedTuple):
    """Something that a device's own event log tells; `point` is a name of the device's, or ""."""

    time_ns: int
    severity: int
    text: str
    point: str = ""


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a log: observations with corrected times in [from, through), in order of time.

    Pages of one read join: each begins where the one before ended, the first at the wanted
    `from_ns`; the last ends at the wanted `to_ns`, or before it where the log's newest record ends
    (the rest may be asked for later), or after it where a record that was read is not given again.
    `lacking` lies within [from, through). `before` are the observations in force where the page
    begins, of the record before it: each lies at or before `from_ns`, and was given to nobody or
    with the page before. `clock` is None where
    the device's clock can't be read: then times are as trustworthy as the device. `oldest_ns` is
    the oldest record that the log still holds. Records are numbered as the device numbers them,
    unwrapped; None where it doesn't. `acknowledge`: what `Line.acknowledge` needs, None: nothing.
    `fullness` (0 to 1): how much of what the log can keep is unacknowledged.
    """

    from_ns: int
    through_ns: int
    observations: Sequence[Observation] = ()
    lacking: Sequence[Lacking] = ()
    events: Sequence[DeviceEvent] = ()
    records: int = 0
    first_record: int | None = None
    next_record: int | None = None
    oldest_ns: int | None = None
    newest_ns: int | None = None
    resolution_ns: int | None = None
    clock: ClockReading | None = None
    acknowledge: Any = None
    fullness: float | None = None
    before: Sequence[Observation] = ()


PAGE_RECORDS_MAX: Final = 2_000
PAGE_VALUES_MAX: Final = 10_000
"""Most records in one page, and about most values: it is made and journalled in one go."""
