"""Files that readers found broken, from the report until the writer has set them aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

REPORTS_MAX: Final = 3
SETTLING_S: Final = 2.0


class DamageReports:
    """Reports that wait for the writer, which `wake` wakes; all is done on the loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: list[tuple[str, str]] = []
        self._settled = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._waiting)

    def report(self, file_name: str, why: str) -> None:
        """A reader found a partition broken: it is set aside at the writer's next turn."""
        if len(self._waiting) < REPORTS_MAX:
            self._waiting.append((file_name, why))
            self._settled.clear()
            self._wake()

    def dealt_with(self) -> None:
        """Each of the files is set aside, or was one already."""
        self._waiting.clear()
        self._settled.set()

    async def met(self) -> bool:
        """Whether a reader that has just ended met damage that is now set aside: let it read again.

        False too when the writer has other worries (its store fails) and can't see to it in time.
        """
        if not self._waiting:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLING_S):
                await self._settled.wait()
        return not self._waiting
