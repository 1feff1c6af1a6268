"""A process that the rig started: signals for it, its end, and the end of its log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_S: Final = 5.0
LINE_BYTES_MAX: Final = 1 << 22
LOG_LINES_SHOWN: Final = 200


class Child:
    """One program with its standard error in a log file; who derives from it hears its output."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = tuple(command)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None

    async def _launch(
        self, environment: Mapping[str, str], folder: Path | None = None, asked: bool = False
    ) -> asyncio.StreamReader:
        """Start it in a folder, its standard input a pipe when it is `asked`; what it prints."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE if asked else None,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                limit=LINE_BYTES_MAX,
            )
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: STOP freezes it, CONT lets it go on. No-op once it ended."""
        if self.running and self._process is not None:
            self._process.send_signal(number)

    def last_words(self) -> str:
        """The end of its log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])

    async def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM, and SIGKILL when that is not heard; the exit status (0: never started)."""
        if self._process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
        return await self._ended(self._process)

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self.signal(signal.SIGKILL)
        await self._ended(self._process)

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        status = await process.wait()
        if self._pump is not None:
            await asyncio.wait({self._pump})  # whoever gives up waiting must not end it
        return status
