"""Log-ins that outlive their program: one small file, written when somebody comes or goes.

It holds digests only: who reads it can't log in by it. A file that can't be read or written is
told in the log, and people log in again after the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.web.sessions import Kept

log = logging.getLogger("hotpair")


class SessionFile:
    """The sessions of one node's page on its disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = asyncio.Lock()

    async def read(self) -> list[Kept]:
        """What was kept; nothing if it can't be read."""
        try:
            text = await asyncio.to_thread(self._path.read_bytes)
            return msgspec.json.decode(text, type=list[Kept])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("log-ins are forgotten: %s can't be read: %s", self._path, error)
            return []

    async def write(self, kept: Sequence[Kept]) -> None:
        """Replace what was kept, by one that is whole."""
        async with self._writing:
            try:
                await asyncio.to_thread(_replace, self._path, msgspec.json.encode(kept))
            except OSError as error:
                log.warning("%s can't be written: %s", self._path, error)


def _replace(path: Path, text: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
