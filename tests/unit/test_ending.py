"""Ending tasks, also those that lose a cancellation."""

from __future__ import annotations

import asyncio

from gateway.ending import CANCELS_MAX, end


async def stubborn(ignored: int) -> int:
    """A task that loses so many cancellations."""
    lost = 0
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
            if lost > ignored:
                raise


async def test_a_task_that_lost_its_cancellation_is_cancelled_again() -> None:
    tasks = [asyncio.create_task(stubborn(ignored)) for ignored in (0, 1, 2)]
    await asyncio.sleep(0)
    await end(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_never_ends_does_not_keep_the_node_from_stopping() -> None:
    task = asyncio.create_task(stubborn(CANCELS_MAX + 1))
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task]), 5)
    assert not task.done()
    task.cancel()
    task.cancel()
    await asyncio.wait([task], timeout=0.1)
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def test_nothing_to_end_is_no_fault() -> None:
    await end([])
