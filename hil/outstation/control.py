"""The control socket of a rig: one JSON object a line, one answer a line, on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

LINE_MAX: Final = 64 * 1024
CLIENTS_MAX: Final = 16
REPLY_MAX: Final = 16 * 1024 * 1024

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Listens until closed; a client may send as many commands as it likes, one at a time."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen; a stale socket file is replaced. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, path=str(self.path), limit=LINE_MAX
        )

    async def close(self) -> None:
        """Stop listening, hang up on everybody, and remove the socket file."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        self._server = None
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CLIENTS_MAX:
            writer.close()
            return
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # A line too long, or a client that left: nothing is owed to it.
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except ValueError as error:
            return {"ok": False, "error": f"not JSON: {error}"}
        if not isinstance(message, dict):
            return {"ok": False, "error": "send one JSON object a line"}
        return await self._handler(message)


async def send(path: Path, message: Mapping[str, Any]) -> dict[str, Any]:
    """Send one command to a rig and return its answer. Raises OSError or ValueError."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=REPLY_MAX)
    try:
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    if not line:
        raise ConnectionResetError("the rig hung up without an answer")
    answer: dict[str, Any] = json.loads(line)
    return answer
