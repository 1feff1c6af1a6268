"""Time as an argument: UTC anchored to the monotonic clock (rules.md 4).

The wall clock of a plant PC is set by hand, by NTP, by a technician's laptop. Samples must not jump
with it, so UTC is `anchor + monotonic`, slewed towards the wall clock by at most 500 ppm. An error
above one second is not slewed away: it is reported as a step, and the caller closes coverage.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.model import NS_PER_S

SLEW_MAX_PPM: Final = 500
STEP_NS: Final = NS_PER_S


class Clock(Protocol):
    """The two clocks of a node, both in ns."""

    def utc_ns(self) -> int:
        """UTC, never backwards and never jumping, except by a reported step."""

    def monotonic_ns(self) -> int:
        """Time since boot, suspension included (CLOCK_BOOTTIME): for deadlines and periods."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """UTC as a line over monotonic time: utc = utc_ns + elapsed * (1 + slew_ppm / 1e6)."""

    utc_ns: int
    monotonic_ns: int
    slew_ppm: int = 0

    def utc_at(self, monotonic_ns: int) -> int:
        elapsed_ns = monotonic_ns - self.monotonic_ns
        return self.utc_ns + elapsed_ns + elapsed_ns * self.slew_ppm // 1_000_000


def discipline(anchor: Anchor, monotonic_ns: int, wall_ns: int) -> tuple[Anchor, int]:
    """The next anchor, and the step in ns if the wall clock was set by more than a second, else 0.

    Called each second. The error is worked off within a second or as fast as 500 ppm allow.
    """
    now_ns = anchor.utc_at(monotonic_ns)
    error_ns = wall_ns - now_ns
    if abs(error_ns) > STEP_NS:
        return Anchor(wall_ns, monotonic_ns), error_ns
    slew_ppm = max(-SLEW_MAX_PPM, min(SLEW_MAX_PPM, int(error_ns / 1_000)))
    return replace(anchor, utc_ns=now_ns, monotonic_ns=monotonic_ns, slew_ppm=slew_ppm), 0


class SystemClock:
    """The clock of this machine; `wall` gives its UTC in ns, as it is set."""

    def __init__(self, wall: Callable[[], int] = time.time_ns) -> None:
        self._wall = wall
        self._anchor = Anchor(wall(), self.monotonic_ns())
        self.since_ns = self._anchor.utc_ns
        """The time at which it began, or was last set."""

    def monotonic_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def utc_ns(self) -> int:
        return self._anchor.utc_at(self.monotonic_ns())

    def discipline(self) -> int:
        """Steer towards the wall clock; the step in ns when it was set, else 0."""
        self._anchor, step_ns = discipline(self._anchor, self.monotonic_ns(), self._wall())
        if step_ns:
            self.since_ns = self._anchor.utc_ns
        return step_ns
