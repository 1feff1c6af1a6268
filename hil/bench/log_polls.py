"""What an outstation's log of polls says of a windback: the reads of the log, the scans beside it.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.model import NS_PER_MS
from hil.bench.takeovers import EARLY, phase_of
from hil.outstation.polls import Poll


@dataclass(frozen=True, slots=True)
class LogReads:
    """From the first request to the last answer; `answering_ms` is the outstation's part of it."""

    from_ns: int
    to_ns: int
    requests: int
    answering_ms: float

    @property
    def took_ms(self) -> float:
        return (self.to_ns - self.from_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class Scans:
    """The scans of one device in a stretch; each is as late as it came after its instant."""

    due: int
    missed: int
    late_ms: tuple[float, ...]


def is_log_read(poll: Poll, log_at: int) -> bool:
    """Whether a poll read history: HistoryRead, or registers where the log lies."""
    return poll.area == "history" or (poll.area == "holding" and poll.address >= log_at)


def log_reads(polls: Iterable[Poll], device: str, log_at: int) -> LogReads | None:
    """The reads of a device's log; None when there was none."""
    found = [poll for poll in polls if poll.device == device and is_log_read(poll, log_at)]
    if not found:
        return None
    answering_ns = sum(poll.answered_ns - poll.received_ns for poll in found)
    first_ns = min(poll.received_ns for poll in found)
    last_ns = max(poll.answered_ns for poll in found)
    return LogReads(first_ns, last_ns, len(found), answering_ns / NS_PER_MS)


def scans(
    polls: Iterable[Poll], device: str, log_at: int, period_ns: int, from_ns: int, to_ns: int
) -> Scans:
    """The scans of a device, of one request each, whose instants lie in [from, to).

    The grid is found from all its polls: most lie where they belong. One that is up to four fifths
    of a period late still belongs to its instant.
    """
    times = [p.received_ns for p in polls if p.device == device and not is_log_read(p, log_at)]
    phase_ns = phase_of(times, period_ns) if times else 0
    early_ns = round(EARLY * period_ns)
    first, last = -((phase_ns - from_ns) // period_ns), -((phase_ns - to_ns) // period_ns)
    late: dict[int, float] = {}
    for at_ns in times:
        number, place_ns = divmod(at_ns - phase_ns + early_ns, period_ns)
        if first <= number < last:
            late[number] = max((place_ns - early_ns) / NS_PER_MS, late.get(number, 0.0))
    due = max(0, last - first)
    return Scans(due, due - len(late), tuple(late.values()))
