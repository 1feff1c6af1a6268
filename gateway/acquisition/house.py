"""What the parts of acquisition share: the doors of the house, and how each device fares."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.driver import Fault
from gateway.journal.records import Body
from gateway.model import NS_PER_S, Cause, Status

log = logging.getLogger(__name__)

BUG_RETRY_NS: Final = 5 * NS_PER_S

Commit = Awaitable[object] | None
"""Ends when what was said is committed, or fails with JournalError; None: nothing changed."""


class Alarm(Protocol):
    """Tells people; `kind` is that of a `gateway.journal.records.Event`."""

    def __call__(self, source: str, severity: int, text: str, kind: str = "") -> None: ...


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class House:
    """The journal's door (`append` never raises, `commit` raises JournalError), a clock, an ear.

    `reigns` tells whether this node may still speak for the field; it ends before anybody halts.
    """

    clock: Clock
    append: Callable[[Body], Awaitable[object]]
    commit: Callable[[Body], Awaitable[object]]
    room: Callable[[], Awaitable[None]]
    alarm: Alarm
    reigns: Callable[[], bool] = _always


def broken(device: str, error: Exception) -> Fault:
    """What an exception that a driver should not have let out means for its device."""
    log.error("the driver of %s failed", device, exc_info=error)
    detail = f"internal error in the driver: {type(error).__name__}: {error}"
    return Fault(Cause.DEVICE, Status.BAD_INTERNAL_ERROR, detail, BUG_RETRY_NS)


@dataclass(slots=True)
class DeviceState:
    """How one device fares; times in ns UTC, 0 for never."""

    down_since_ns: int = 0
    fault: Fault | None = None
    last_scan_ns: int = 0
    overruns: int = 0
    scans: int = 0
    samples: int = 0
    told_overrun_ns: int = 0
    days: dict[str, int] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether it answered, and has not failed since."""
        return self.scans > 0 and self.fault is None
