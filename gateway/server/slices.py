"""Long work on nodes, done in slices between which pollers and clients have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Final, TypeVar

from gateway.clock import Clock
from gateway.model import NS_PER_MS

SLICE_NS: Final = 5 * NS_PER_MS
"""How long work goes on in one go: pollers and clients wait no longer."""
FREED_AT_ONCE: Final = 500
_T = TypeVar("_T")


async def in_slices(work: Generator[None, None, _T], clock: Clock) -> _T:
    """What a work comes to that pauses often; the loop has its turn after each slice."""
    until_ns = clock.monotonic_ns() + SLICE_NS
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: _T = end.value
            return found
        if clock.monotonic_ns() >= until_ns:
            await asyncio.sleep(0)
            until_ns = clock.monotonic_ns() + SLICE_NS


async def free(nodes: dict[Any, Any]) -> None:
    """Let go of many nodes a few at a time: freeing them all at once would stall the loop."""
    while nodes:
        for _ in range(min(FREED_AT_ONCE, len(nodes))):
            nodes.popitem()
        await asyncio.sleep(0)
