"""Ctrl-C and what is like it, while something is played: it ends in order what it started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Whoever is to ignore one of them (nohup) goes on ignoring it."""
_Found = TypeVar("_Found")


class Stopping:
    """Hears the signals; a context manager of the main thread.

    The first cancels what is played. Those after it change nothing: ending takes seconds and is
    bounded, and who is interrupted in it leaves nodes behind.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._number = 0
        self._cancel: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def name(self) -> str:
        """The signal that came, such as SIGINT; empty while none did."""
        return signal.Signals(self._number).name if self._number else ""

    @property
    def status(self) -> int:
        """The exit status: 128 and the signal, as of a program that it ended; 0 without one."""
        return 128 + self._number if self._number else 0

    def _hear(self, number: int, frame: FrameType | None) -> None:
        first, self._number = not self._number, self._number or number
        if first and self._cancel is not None:
            self._cancel()

    def run(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        """`asyncio.run`; raises CancelledError when it was stopped, or had been before."""
        return asyncio.run(self._cancellable(work))

    async def _cancellable(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def cancel() -> None:
            self._say(f"{self.name}: what runs is ended in order; this takes some seconds")
            task.cancel()

        # Not in the handler itself, which may have interrupted somebody who is printing.
        self._cancel = lambda: loop.call_soon_threadsafe(cancel)
        try:
            if self._number:
                work.close()
                raise asyncio.CancelledError
            return await work
        finally:
            self._cancel = None


async def to_its_end(work: Coroutine[Any, Any, _Found]) -> _Found:
    """Await what must not be left half done; who is cancelled meanwhile is so afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def side_by_side(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Await all; when one fails, or we are cancelled, the others undo what they do before we go on.

    Raises what the first of them raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
