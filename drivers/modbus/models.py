"""Where the SunSpec models of one unit are: found once, checked cheaply, sought on after a break.

An inverter that starts up shows its mark and common model at once and refuses the others for a
while. So a chain that broke off is asked for where it did, until it is whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from drivers.modbus import sunspec
from drivers.modbus.sunspec import Fact
from gateway.model import NS_PER_S
from profiles.schema import SunSpec

CHECK_NS: Final = 10 * NS_PER_S
"""An inverter behind a gateway can be exchanged while our connection stays: look so often."""
ONWARD_MAX_NS: Final = 600 * NS_PER_S
"""Where a chain broke off is asked at least so often, at first as often as it is checked."""

Words = Callable[[int, int], Awaitable[Sequence[int] | None]]
"""Reads (address, count) of holding registers; None: refused. Raises DeviceError."""


class Models:
    """The models of one unit; `fact` is what is known of them, None: no mark was found yet."""

    def __init__(self, settings: SunSpec, words: Words, fact: Fact | None) -> None:
        self.fact = fact
        self._settings = settings
        self._words = words
        self._generation = -1
        self._check_ns = 0
        self._onward_ns = 0
        self._onward_wait_ns = CHECK_NS

    def suspect(self) -> None:
        """Check again at the next look: it may come back as another device."""
        self._generation = -1

    async def look(self, generation: int, now_ns: int) -> bool:
        """Check or seek the models when that is due; whether they were sought.

        `generation` is that of the connection, `now_ns` monotonic. Raises DeviceError.
        """
        if generation == self._generation and now_ns < self._check_ns:
            return False
        sought = self.fact is None or not await self.stand() or await self._goes_on(now_ns)
        if sought:
            before, self.fact = self.fact, await self._walk()
            if self.fact != before:
                self._onward_wait_ns, self._onward_ns = CHECK_NS, now_ns + CHECK_NS
        self._generation, self._check_ns = generation, now_ns + CHECK_NS
        return sought

    async def stand(self) -> bool:
        """Whether the models that are known are where they were. Raises DeviceError."""
        for address, expected in sunspec.check(self.fact) if self.fact is not None else ():
            words = await self._words(address, len(expected))
            if words is None or tuple(words) != tuple(expected):
                return False
        return True

    async def _goes_on(self, now_ns: int) -> bool:
        """Whether a chain that broke off has another model by now."""
        onward = sunspec.beyond(self.fact) if self.fact is not None else None
        if onward is None or now_ns < self._onward_ns:
            return False
        # Before it is asked: a device that is silent there must not fail every scan.
        self._onward_ns = now_ns + self._onward_wait_ns
        self._onward_wait_ns = min(2 * self._onward_wait_ns, ONWARD_MAX_NS)
        return await self._words(onward, 1) is not None

    async def _walk(self) -> Fact | None:
        walk = sunspec.discover(self._settings)
        asked = next(walk)
        while True:  # bounded by the walk: at most 100 models
            try:
                asked = walk.send(await self._words(*asked))
            except StopIteration as found:
                fact: Fact | None = found.value
                return fact
