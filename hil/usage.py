"""CPU and memory of a process, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Usage:
    """A program's use of the machine, from look to look; it may have ended and begun meanwhile."""

    pid: int = 0
    rss_max: int = 0
    _ticks: int = 0
    _at_s: float = 0.0

    def told(self, pid: int) -> str:
        """A look, for people; of a program that doesn't run (0) as well."""
        used = self.look(pid) if pid else None
        return "down" if used is None else f"{used[0]:.0f} % CPU {used[1] / 1e6:.0f} MB"

    def look(self, pid: int) -> tuple[float, int] | None:
        """(percent of a processor since the last look, bytes of memory); None when it is gone."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        now_s, ticks, rss = time.monotonic(), int(fields[11]) + int(fields[12]), pages * PAGE
        before, at_s = (self._ticks, self._at_s) if pid == self.pid else (ticks, now_s)
        self.pid, self._ticks, self._at_s = pid, ticks, now_s
        self.rss_max = max(self.rss_max, rss)
        passed_s = now_s - at_s
        return (100 * (ticks - before) / TICKS / passed_s if passed_s > 0 else 0.0), rss
