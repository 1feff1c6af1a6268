"""Ending tasks for sure.

A cancellation can get lost: `asyncio.wait_for` of Python 3.11 gives the result instead when what it
waits for is done in the same turn of the loop. A task that lost its only one would run for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

CANCELS_MAX: Final = 10
AGAIN_S: Final = 0.1


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, again each 100 ms, until they have ended; after ten times they are left."""
    running = set(tasks)
    for _ in range(CANCELS_MAX):
        if not running:
            return
        for task in running:
            task.cancel()
        ended, running = await asyncio.wait(running, timeout=AGAIN_S)
        await asyncio.gather(*ended, return_exceptions=True)
