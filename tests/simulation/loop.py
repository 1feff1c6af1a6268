"""An event loop whose time is a process's own: real coroutines of a node, run by the agenda."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

from gateway.model import NS_PER_S

HANDLES_MAX: Final = 20_000
"""In one turn: more is a coroutine that never waits."""
KILL_TURNS_MAX: Final = 100


class Loop(asyncio.BaseEventLoop):
    """Runs callbacks when the process may run; `broken` hears what nobody else would.

    It never blocks: what waits for time is put into the agenda, what is ready runs in a turn of it.
    """

    def __init__(
        self,
        later: Callable[..., None],
        monotonic_ns: Callable[[], int],
        broken: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._later = later
        self._monotonic_ns = monotonic_ns
        self._broken = broken
        self._line: deque[asyncio.Handle] = deque()
        self._living: list[asyncio.Task[Any]] = []
        self._woken = False
        self._dead = False

    def time(self) -> float:
        return self._monotonic_ns() / NS_PER_S

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._line.append(handle)
        if not self._woken and not self._dead:
            self._woken = True
            self._later(0, self._turn)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._later(max(0, round((when - self.time()) * NS_PER_S)), self._due, timer)
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        task = super().create_task(coro, **more)
        self._living = [each for each in self._living if not each.done()]
        self._living.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._dead:
            self._broken(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is counted: a cancelled timer runs out in the agenda."""

    def _due(self, timer: asyncio.TimerHandle) -> None:
        self._line.append(timer)
        self._turn()

    def _turn(self) -> None:
        self._woken = False
        self.enter(self._run_line)

    def enter(self, work: Callable[..., Any], *args: Any) -> Any:
        """Do it as if within the loop: tasks can be made, events set."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            return work(*args)
        finally:
            events._set_running_loop(before)

    def _run_line(self) -> None:
        for _ in range(HANDLES_MAX):
            if not self._line:
                return
            handle = self._line.popleft()
            if not handle.cancelled():
                handle._run()
        raise AssertionError("a coroutine never waits")

    def kill(self) -> None:
        """The process is dead: end every task; whatever it still does has no effect."""
        self._dead = True
        for _ in range(KILL_TURNS_MAX):
            if not (living := [task for task in self._living if not task.done()]):
                break
            for task in living:
                task.cancel()
            self.enter(self._run_line)
        self.close()
