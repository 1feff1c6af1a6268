"""What is put on record of people at the door: each kind at a bounded pace, and nothing unsaid.

The audit is kept for ever, so nobody may be able to fill the disk with it: beyond the pace of its
kind an entry is counted, and the next one says how many were not written one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.server.settings import User

Record = Callable[[str, str, str, str, Mapping[str, Any]], None]
"""(action, target, who, outcome, detail): into the journal."""


class Pace(NamedTuple):
    """So many at once, and one more each so many ns."""

    burst: int
    each_ns: int


LOGIN: Final = "login"
LOGIN_REFUSED: Final = "login refused"
LOCK_OUT: Final = "lock-out"
CLIENT_REFUSED: Final = "client refused"
TRUST: Final = "trust"
USER: Final = "user"
ACKNOWLEDGE: Final = "acknowledge"
COMMENT: Final = "comment"
PACES: Final[Mapping[str, Pace]] = {
    LOGIN: Pace(100, 30 * NS_PER_S),
    LOGIN_REFUSED: Pace(30, 60 * NS_PER_S),
    LOCK_OUT: Pace(30, 60 * NS_PER_S),
    CLIENT_REFUSED: Pace(30, 60 * NS_PER_S),
    TRUST: Pace(100, NS_PER_S),
    USER: Pace(1_000, NS_PER_S),
    ACKNOWLEDGE: Pace(1_000, NS_PER_S),
    COMMENT: Pace(100, 60 * NS_PER_S),
}
"""At worst some 8,000 entries, or 2 MB, a day."""


class Meter:
    """A pace as it is kept: what may pass now, and how many did not."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._free_ns: int | None = None
        self.left_out = 0

    def take(self, now_ns: int) -> bool:
        """Whether one more may pass; if not, it is counted."""
        if self._passes(now_ns):
            return True
        self.left_out += 1
        return False

    def told(self, now_ns: int) -> int:
        """How many were left out, once something may pass again; they count as told then."""
        if self.left_out and self._passes(now_ns):
            found, self.left_out = self.left_out, 0
            return found
        return 0

    def _passes(self, now_ns: int) -> bool:
        # `free_ns` is when all of the burst would be free again, were nothing more to come.
        burst, each_ns = self._pace
        free_ns = max(now_ns, self._free_ns if self._free_ns is not None else now_ns)
        if free_ns - now_ns > (burst - 1) * each_ns:
            return False
        self._free_ns = free_ns + each_ns
        return True


class Audit:
    """Takes entries and hands on what the pace of their kind allows."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._meters = {action: Meter(pace) for action, pace in PACES.items()}

    def put(self, action: str, target: str, who: str, outcome: str, **detail: Any) -> None:
        """Put an entry on record; `action` is one of PACES."""
        if self._meters[action].take(self._clock.monotonic_ns()):
            self._record(action, target, who, outcome, detail)

    def flush(self) -> None:
        """Say of each kind how many were left out, as soon as that may be written."""
        now_ns = self._clock.monotonic_ns()
        for action, meter in self._meters.items():
            if count := meter.told(now_ns):
                self._record(action, "", "", f"{count} more were not recorded one by one", {})


def user_changes(before: Mapping[str, User], after: Mapping[str, User]) -> list[tuple[str, str]]:
    """(name, what became of it) of each user that a revision adds, removes or changes."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if new is None:
            found.append((name, "removed"))
        elif old is None:
            found.append((name, f"added as {new.role.name.lower()}"))
        else:
            if old.role is not new.role:
                found.append((name, f"{old.role.name.lower()} becomes {new.role.name.lower()}"))
            if old.secrets != new.secrets:
                found.append((name, "has another password or certificate"))
    return found
