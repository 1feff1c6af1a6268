"""Time and chance of one world: a list of what happens next, and machines' clocks."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from gateway.clock import Anchor, discipline
from gateway.model import NS_PER_S

EPOCH_NS = 1_700_000_000 * NS_PER_S
"""True UTC at the beginning of every world."""


class Agenda:
    """What happens, in order of true time (ns since the world began)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns = 0
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, delay_ns: int, work: Callable[..., Any], *args: Any) -> None:
        """Do `work` that much later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now_ns + max(0, delay_ns), self._count, work, args))

    def run(self, until_ns: int, watch: Callable[[], None]) -> None:
        """Let everything happen until then; `watch` looks after each."""
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            self.now_ns, _, work, args = heapq.heappop(queue)
            work(*args)
            watch()
            self.steps += 1
        self.now_ns = until_ns

    def chance(self, probability: float) -> bool:
        """True that often."""
        return probability > 0 and self.random.random() < probability

    def between(self, low_ns: int, high_ns: int) -> int:
        """Some time in [low, high]."""
        return self.random.randint(low_ns, max(low_ns, high_ns))


class HostClock:
    """A machine's two clocks, as `gateway.clock.SystemClock` has them; it outlives processes.

    `error_ns` is how far its wall clock is set from true UTC. `marks` are (utc, true) pairs: what
    its UTC meant, for judges.
    """

    def __init__(self, agenda: Agenda, drift_ppm: int, error_ns: int) -> None:
        self._agenda = agenda
        self.drift_ppm = drift_ppm
        self.error_ns = error_ns
        self._offset_ns = agenda.random.randrange(10**12)
        self._anchor = Anchor(self.wall_ns(), self.monotonic_ns())
        self.since_ns = self._anchor.utc_ns
        self.marks: list[tuple[int, int]] = []
        self.mark()

    def monotonic_ns(self) -> int:
        now_ns = self._agenda.now_ns
        return self._offset_ns + now_ns + now_ns * self.drift_ppm // 1_000_000

    def wall_ns(self) -> int:
        return EPOCH_NS + self._agenda.now_ns + self.error_ns

    def utc_ns(self) -> int:
        return self._anchor.utc_at(self.monotonic_ns())

    def span_ns(self, local_ns: int) -> int:
        """How long `local_ns` of this machine last in true time."""
        return -(-local_ns * 1_000_000 // (1_000_000 + self.drift_ppm))

    def restart(self) -> None:
        """A new process anchors its UTC anew."""
        self.mark()
        self._anchor = Anchor(self.wall_ns(), self.monotonic_ns())
        self.since_ns = self._anchor.utc_ns
        self.mark()

    def discipline(self) -> int:
        """Steer towards the wall clock; the step in ns if it was set by more than a second."""
        self.mark()
        now_ns = self.monotonic_ns()
        self._anchor, step_ns = discipline(self._anchor, now_ns, self.wall_ns())
        if step_ns:
            self.since_ns = self._anchor.utc_ns
        self.mark()
        return step_ns

    def mark(self) -> None:
        """Note what UTC means now."""
        mark = (self.utc_ns(), self._agenda.now_ns)
        if not self.marks or self.marks[-1] != mark:
            self.marks.append(mark)


def meant(clock: HostClock, utc_ns: int) -> list[int]:
    """The true times (UTC) at which this clock showed that; or when it leapt over it."""
    found: list[int] = []
    leapt: list[int] = []
    for (utc, true), (next_utc, next_true) in pairwise(clock.marks):
        if utc <= utc_ns <= next_utc:
            if next_true > true:
                found.append(EPOCH_NS + true + (utc_ns - utc))
            else:
                leapt.append(EPOCH_NS + true)
    return found or leapt
