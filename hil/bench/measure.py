"""What a process used over a stretch of time: CPU time and resident memory, by the kernel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psutil

MEMORY_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """User and system CPU seconds in `seconds` of wall time; the largest resident size seen."""

    seconds: float
    cpu_s: float
    rss_bytes: int

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu_s / self.seconds

    @property
    def rss_mb(self) -> float:
        """In 10^6 bytes."""
        return self.rss_bytes / 1e6

    def per(self, count: float) -> float | None:
        """CPU microseconds for each of `count` things; None when there was none."""
        return 1e6 * self.cpu_s / count if count else None


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def watch(pids: Mapping[str, int], seconds: float) -> dict[str, Usage]:
    """Measure several processes over the same stretch. Raises psutil.NoSuchProcess."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu_s(process) for name, process in processes.items()}
    largest = dict.fromkeys(processes, 0)
    began = time.monotonic()
    while (left_s := seconds - (time.monotonic() - began)) > 0:
        for name, process in processes.items():
            largest[name] = max(largest[name], process.memory_info().rss)
        await asyncio.sleep(min(MEMORY_EVERY_S, left_s))
    elapsed_s = time.monotonic() - began
    return {
        name: Usage(elapsed_s, _cpu_s(process) - before[name], largest[name])
        for name, process in processes.items()
    }
