"""An event loop in a thread of its own, for tests that are plain functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

ENDING_S: Final = 20.0

_T = TypeVar("_T")


class LoopThread:
    """Runs coroutines for other threads, each within its time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hotpair", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, what: str, work: Coroutine[Any, Any, _T], within_s: float) -> _T:
        """Wait for a coroutine. Raises TimeoutError that names it, and what the coroutine raises.

        Whatever stops the wait (an interrupt, too) cancels it.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(within_s)
        except BaseException as error:  # an interrupt, too, must cancel it
            if not future.done():
                future.cancel()
                if isinstance(error, TimeoutError):
                    raise TimeoutError(f"{what} took more than {within_s:g} s") from None
            raise

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        if self._loop.is_closed():
            return
        try:
            self.call("the end of the loop", self._ended(), ENDING_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(ENDING_S)
            if not self._thread.is_alive():
                self._loop.close()

    async def _ended(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=ENDING_S / 2) if tasks else None
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
