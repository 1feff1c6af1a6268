"""What is due on a line: a grid of scan instants for each (device, scan class), and retries.

Pure: time is an argument, UTC ns from a clock that does not jump. A scan instant is
`phase + k * period`; the phase is a hash of the device's name and class, so that a thousand devices
don't all ask in the same millisecond, and a device keeps its instants over restarts and takeovers.

An instant that comes while its predecessor still runs, or waits behind others on the line for a
whole period, is skipped and told as an overrun: a gateway that silently scans slower than it says
lies to everybody behind it. What was in force at such an instant is older than a period; up to
`LATE_MAX_NS` older passes, which matters for classes faster than that. The age of a value counts
from when its scan began: a scan that takes long, or begins late, is told as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.driver import DeviceSpec
from gateway.model import NS_PER_MS

LATE_MAX_NS: Final = 250 * NS_PER_MS
"""How much older than one period the value of a scan instant may be, as the judges have it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One scan to run: `due_ns` is its instant on the grid, or the moment of a retry."""

    device: str
    scan_class: str
    due_ns: int


@dataclass(slots=True)
class _Entry:
    device: str
    scan_class: str
    period_ns: int
    phase_ns: int
    due_ns: int
    retrying: bool = False
    stale_ns: int | None = None
    """From when on the values of the last scan are too old to be in force; None: there are none."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished scan means for the grid: the next instant, and the stretch it skipped.

    Its values hold until `holds_ns` at most: the next instant, or when they are too old.
    """

    next_due_ns: int
    skipped_from_ns: int | None
    holds_ns: int


def phase_of(device: str, scan_class: str, period_ns: int) -> int:
    """The place of a class in its period, in ns: the same on both nodes and after a restart."""
    digest = hashlib.blake2b(f"{device}\0{scan_class}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % period_ns


def next_instant(period_ns: int, phase_ns: int, after_ns: int) -> int:
    """The first scan instant later than `after_ns`."""
    return after_ns + period_ns - (after_ns - phase_ns) % period_ns


class LineSchedule:
    """The scans of one line; a device that failed is retried as a whole, all classes at once."""

    def __init__(self, devices: Iterable[DeviceSpec], now_ns: int) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._paused: set[str] = set()
        for device in devices:
            if device.subscribed:
                continue
            for scan_class, period_ns in device.scan_classes.items():
                phase_ns = phase_of(device.name, scan_class, period_ns)
                self._entries[device.name, scan_class] = _Entry(
                    device.name, scan_class, period_ns, phase_ns, now_ns, retrying=True
                )

    def first(self) -> Job | None:
        """The scan that is due first, now or later; None when there is nothing to scan."""
        candidates = [e for e in self._entries.values() if e.device not in self._paused]
        if not candidates:
            return None
        entry = min(candidates, key=lambda e: e.due_ns)
        return Job(entry.device, entry.scan_class, entry.due_ns)

    def grant(
        self, through_ns: int, but: Collection[tuple[str, str]] = ()
    ) -> dict[tuple[str, str], int]:
        """Somebody answered for every instant up to `through_ns`: the first later one is due.

        Gives that instant of each class it holds for: not for those in `but`, nor for the paused.
        """
        granted: dict[tuple[str, str], int] = {}
        for key, entry in self._entries.items():
            if key not in but and entry.device not in self._paused:
                entry.due_ns = next_instant(entry.period_ns, entry.phase_ns, through_ns)
                entry.stale_ns = entry.due_ns + LATE_MAX_NS
                entry.retrying = False
                granted[key] = entry.due_ns
        return granted

    def outstanding(self, through_ns: int) -> list[Job]:
        """The scans of instants up to `through_ns` that were not answered yet, first due first.

        A device that waits for a retry has no instant to answer for: it is in a declared hole.
        """
        found = [
            Job(e.device, e.scan_class, e.due_ns)
            for e in self._entries.values()
            if e.due_ns <= through_ns and not e.retrying and e.device not in self._paused
        ]
        return sorted(found, key=lambda job: job.due_ns)

    def hasten(self, job: Job, by_ns: int) -> None:
        """Scan a class again at `by_ns`, if that is before its next instant."""
        entry = self._entries[job.device, job.scan_class]
        entry.due_ns = min(entry.due_ns, by_ns)

    def inherit(self, before: LineSchedule, devices: Collection[str]) -> None:
        """Go on with the instants of `devices` where the schedule before this one stands.

        Both see what is answered from now on: a scan may still be under way on the line before.
        """
        for key, entry in before._entries.items():
            if entry.device in devices and key in self._entries:
                self._entries[key] = entry
        self._paused |= {device for device in before._paused if device in devices}

    def done(self, job: Job, requested_ns: int, received_ns: int) -> Done:
        """The scan was answered: its next instant, and from when instants were skipped, if any."""
        entry = self._entries[job.device, job.scan_class]
        stale_ns, entry.stale_ns = entry.stale_ns, requested_ns + entry.period_ns + LATE_MAX_NS
        expected_ns = next_instant(entry.period_ns, entry.phase_ns, job.due_ns)
        retried, entry.retrying = entry.retrying, False
        passable = 0 if retried else LATE_MAX_NS // entry.period_ns
        latest_ns = expected_ns + passable * entry.period_ns
        late = received_ns > latest_ns
        entry.due_ns = expected_ns
        if late:
            entry.due_ns = next_instant(entry.period_ns, entry.phase_ns, received_ns)
        skipped = [latest_ns] if late else []
        if stale_ns is not None and stale_ns < received_ns:
            skipped.append(stale_ns)
        if retried:  # it was in a hole until now: it missed nothing
            skipped = []
        holds_ns = min(entry.due_ns, entry.stale_ns)
        return Done(entry.due_ns, min(skipped, default=None), holds_ns)

    def failed(self, device: str, retry_ns: int) -> None:
        """The device could not be read: none of its classes is due before the retry."""
        for entry in self._entries.values():
            if entry.device == device:
                entry.due_ns = retry_ns
                entry.retrying = True
                entry.stale_ns = None

    def recovered(self, device: str, now_ns: int) -> None:
        """One class was read after a failure: the device's other classes are due at once."""
        for entry in self._entries.values():
            if entry.device == device and entry.retrying:
                entry.due_ns = now_ns

    def pause(self, device: str) -> None:
        """A disabled device is not scanned."""
        self._paused.add(device)

    def resume(self, device: str, now_ns: int) -> None:
        """An enabled device is due at once, in all its classes."""
        self._paused.discard(device)
        self.failed(device, now_ns)
