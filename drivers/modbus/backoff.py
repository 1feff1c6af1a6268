"""How long to leave a silent device or a dead connection alone. Pure: time and chance come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S

LINK_FIRST_NS: Final = 100 * NS_PER_MS
LINK_CAP_NS: Final = 800 * NS_PER_MS
SOLE_FIRST_NS: Final = 100 * NS_PER_MS
SOLE_CAP_NS: Final = 500 * NS_PER_MS
SHARED_CAP_NS: Final = 10 * NS_PER_S
CROWD_CAP_NS: Final = 60 * NS_PER_S
SHARE: Final = 9
"""A dead unit waits nine time-outs after each attempt, and so costs its line a tenth."""


def jittered(wait_ns: int, chance: float) -> int:
    """Between half and the whole of a wait, so that devices don't come back in step."""
    return wait_ns // 2 + round(wait_ns / 2 * chance)


def link_wait_ns(failures: int, chance: float) -> int:
    """The wait before connecting again, after `failures` >= 1 attempts that failed in a row.

    Never above 0.8 s, so that a device is read within a second of its port answering again.
    """
    return jittered(min(LINK_CAP_NS, LINK_FIRST_NS << min(failures, 8)), chance)


def unit_wait_ns(
    failures: int, timeout_ns: int, others_alive: int, dead: int, chance: float
) -> int:
    """The wait before asking a unit again, after `failures` >= 1 attempts without an answer.

    Alone on its line (`others_alive` 0 and `dead` 1) it is asked again soon. Beside living units
    all the `dead` ones together may cost the line about a tenth of its time.
    """
    if others_alive == 0 and dead <= 1:
        return jittered(min(SOLE_CAP_NS, SOLE_FIRST_NS << min(failures, 8)), chance)
    if failures == 1:
        return 0
    whole_ns = min(SHARED_CAP_NS, timeout_ns * SHARE if failures > 2 else timeout_ns * 3)
    if others_alive and failures > 2:
        whole_ns = min(CROWD_CAP_NS, whole_ns * max(1, dead))
    return jittered_up(whole_ns, chance)


def jittered_up(wait_ns: int, chance: float) -> int:
    """Between nine tenths and the whole of a wait: what it must cost at least, kept."""
    return wait_ns * 9 // 10 + round(wait_ns / 10 * chance)


@dataclass(slots=True)
class Breaker:
    """Whether a unit may be asked now. Open after a failure until `open_until_ns` (monotonic)."""

    failures: int = 0
    open_until_ns: int = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long it stays open; 0 when the unit may be asked."""
        return max(0, self.open_until_ns - now_ns)

    def failed(self, now_ns: int, wait_ns: int) -> None:
        """Open it for `wait_ns`."""
        self.failures += 1
        self.open_until_ns = now_ns + wait_ns

    def succeeded(self) -> None:
        """Close it."""
        self.failures = 0
        self.open_until_ns = 0
