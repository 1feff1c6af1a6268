"""Work that is done one piece after the other, beside the loop's other work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

WORK_MAX: Final = 100
"""Role changes come seconds apart; so many waiting pieces mean that something hangs."""


class Lane:
    """A queue of coroutines run in order. What one raises ends the lane, and shows in `task`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[None] | None = None
        self._work: deque[Callable[[], Awaitable[None]]] = deque()

    @property
    def busy(self) -> bool:
        """Whether something is under way or waits."""
        return self.task is not None and not self.task.done()

    def put(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have `work()` done after what was put before. Raises RuntimeError when too much waits."""
        if len(self._work) >= WORK_MAX:
            raise RuntimeError(f"{self.name}: {WORK_MAX} pieces of work wait")
        self._work.append(work)
        if not self.busy:
            self.task = asyncio.create_task(self._run(), name=self.name)

    async def idle(self) -> None:
        """Wait until all that was put is done."""
        while self.busy:
            assert self.task is not None
            await asyncio.wait({self.task})

    async def _run(self) -> None:
        while self._work:
            await self._work.popleft()()
