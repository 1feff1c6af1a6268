"""How many gaps are open, by device: counted anew when somebody looks, a few seconds apart.

Gaps are derived from the journal, which takes milliseconds a device; so who asks gets what was
counted last, and what that costs is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple

from gateway.clock import Clock
from gateway.errors import HotpairError
from gateway.model import NS_PER_S, Gap, GapState

log = logging.getLogger(__name__)

FRESH_NS: Final = 2 * NS_PER_S
"""How long a count holds, at least."""
SHARE: Final = 50
"""It holds this many times as long as counting took."""


class Open(NamedTuple):
    """The open gaps of one device: how many, and how long they are together in ns."""

    number: int = 0
    length_ns: int = 0


class OpenGaps:
    """Counts the open gaps of `devices()` from `begins_ns()` on."""

    def __init__(
        self,
        gaps: Callable[[str, int, int], Awaitable[list[Gap]]],
        devices: Callable[[], Collection[str]],
        begins_ns: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._gaps = gaps
        self._devices = devices
        self._begins_ns = begins_ns
        self._clock = clock
        self._counted: Mapping[str, Open] = {}
        self.by_cause: Mapping[tuple[str, str, str], Open] = {}
        """All gaps that were counted last, by device, cause and state."""
        self._good_until_ns: int | None = None
        self._counting: asyncio.Task[None] | None = None

    @property
    def known(self) -> Mapping[str, Open]:
        """What was counted last, by device; a count that is too old is made anew meanwhile."""
        due = self._good_until_ns is None or self._clock.monotonic_ns() >= self._good_until_ns
        if due and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._count(), name="open gaps")
        return self._counted

    async def counted(self) -> None:
        """Wait for the first count."""
        if self._good_until_ns is None and self.known == {} and self._counting is not None:
            await asyncio.wait([self._counting])

    async def _count(self) -> None:
        began_ns = self._clock.monotonic_ns()
        found: dict[str, Open] = {}
        by_cause: dict[tuple[str, str, str], Open] = {}
        try:
            for name in list(self._devices()):
                gaps = await self._gaps(name, self._begins_ns(), self._clock.utc_ns())
                lengths = [gap.to_ns - gap.from_ns for gap in gaps if gap.state is GapState.OPEN]
                found[name] = Open(len(lengths), sum(lengths))
                for gap in gaps:
                    key = (name, gap.cause.value, gap.state.value)
                    number, length_ns = by_cause.get(key, Open())
                    by_cause[key] = Open(number + 1, length_ns + gap.to_ns - gap.from_ns)
            self._counted, self.by_cause = found, by_cause
        except (HotpairError, ValueError) as error:  # ValueError: the journal is closed
            log.warning("open gaps could not be counted: %s", error)
        now_ns = self._clock.monotonic_ns()
        self._good_until_ns = now_ns + max(FRESH_NS, SHARE * (now_ns - began_ns))
