"""Knocking at devices while somebody else polls them: does any answer, and would each?

One device of a line at a time and a few lines side by side: nobody's plant should meet a hundred
connections at once because a Standby looks around.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Final, Protocol

from gateway.acquisition.carried import CarriedLine
from gateway.driver import Rehearsal
from gateway.ending import end

LINES_MAX: Final = 20
"""Lines that are knocked at side by side."""


class Knocked(Protocol):
    """What is known of the lines and of who is out of service."""

    def in_service(self) -> Sequence[tuple[CarriedLine, Sequence[str]]]:
        """The lines, and the devices on each that are not disabled."""


async def rehearse(field: Knocked) -> list[Rehearsal]:
    """Knock at every device in service; a driver's bug is told as the device's answer."""
    async with aclosing(_knock(field)) as found:
        every = [rehearsal async for rehearsal in found]
    return sorted(every, key=lambda rehearsal: rehearsal.device)


async def probe(field: Knocked, patience_s: float) -> bool:
    """Whether any device in service answers before `patience_s` have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s), aclosing(_knock(field)) as found:
            async for rehearsal in found:
                if rehearsal.reached:
                    return True
    return False


async def _knock(field: Knocked) -> AsyncGenerator[Rehearsal, None]:
    """The answers as they come; knocking ends with whoever listens."""
    answers: asyncio.Queue[Rehearsal] = asyncio.Queue()
    waiting = list(field.in_service())
    expected = sum(len(devices) for _, devices in waiting)

    async def work() -> None:
        while waiting:
            line, devices = waiting.pop()
            for device in devices:
                answers.put_nowait(await _ask(line, device))

    tasks = [asyncio.create_task(work()) for _ in range(min(LINES_MAX, len(waiting)))]
    try:
        for _ in range(expected):
            yield await answers.get()
    finally:
        await end(tasks)


async def _ask(line: CarriedLine, device: str) -> Rehearsal:
    try:
        return await line.rehearse(device)
    except Exception as error:  # one driver's bug must not hide what the others found
        text = f"internal error in the driver: {type(error).__name__}: {error}"
        return Rehearsal(device, True, False, text, "Report it")
