"""What is due on a line: a grid of scan instants for each (device, scan class), and retries.

Pure: time is an argument, UTC ns from a clock that does not jump. A scan instant is
`phase + k * period`; the phase is a hash of the device's name and class, so that a thousand devices
don't all ask in the same millisecond, and a device keeps its instants over restarts and takeovers.

An instant that comes while its predecessor still runs, or waits behind others on the line for a
whole period, is skipped and told as an overrun: a gateway that silently scans slower than it says
lies to everybody behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.driver import DeviceSpec


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


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished scan means for the grid: the next instant, and the stretch it skipped."""

    next_due_ns: int
    skipped_from_ns: int | None


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

    def done(self, job: Job, now_ns: int) -> Done:
        """The scan was answered: its next instant, and from when instants were skipped, if any."""
        entry = self._entries[job.device, job.scan_class]
        expected_ns = next_instant(entry.period_ns, entry.phase_ns, job.due_ns)
        entry.due_ns = expected_ns
        entry.retrying = False
        if now_ns < expected_ns + entry.period_ns:
            return Done(expected_ns, None)
        entry.due_ns = next_instant(entry.period_ns, entry.phase_ns, now_ns)
        return Done(entry.due_ns, expected_ns)

    def failed(self, device: str, retry_ns: int) -> None:
        """The device could not be read: none of its classes is due before the retry."""
        for entry in self._entries.values():
            if entry.device == device:
                entry.due_ns = retry_ns
                entry.retrying = True

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
