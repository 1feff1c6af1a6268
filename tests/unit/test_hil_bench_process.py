"""The processes of a bench are waited for by several at once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from hil.bench.process import Spawned, python

SLEEPER = ("-c", "import sys; print('{\"ready\": 1}', flush=True); sys.stdin.read()")


async def test_who_gives_up_waiting_for_an_end_leaves_it_to_the_others(tmp_path: Path) -> None:
    command = [python("unused")[0], *SLEEPER]
    async with Spawned("sleeper", command, tmp_path) as process:
        await process.hear("ready")
        waiting = asyncio.create_task(process.ended())
        await asyncio.sleep(0)  # paces: it waits
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        process.signal(signal.SIGKILL)
        assert await process.ended() == -9
