"""Serving an ASGI application on a Unix socket inside the node's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from gateway.errors import ControlError

SOCKET_PATH_MAX: Final = 107
"""Linux: sizeof(sockaddr_un.sun_path) - 1 (unix(7))."""


class _Server(uvicorn.Server):
    """The node handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class UnixListener:
    """An application on a Unix socket that only the owner and the group may open."""

    def __init__(self, app: FastAPI, path: Path) -> None:
        if len(str(path)) > SOCKET_PATH_MAX:
            raise ControlError(
                f"the path of the local socket is longer than {SOCKET_PATH_MAX} bytes: {path}",
                "Choose a shorter data_dir",
            )
        self._path = path
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", limit_concurrency=64
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind (a socket left by a dead node is replaced) and serve."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        self._path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)
        self._task = asyncio.create_task(self._server.serve([listener]), name="local interface")

    async def stop(self) -> None:
        """Close at once; requests under way are cut."""
        if self._task is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            await self._task
        with contextlib.suppress(OSError):  # a disk that is read-only now; a start replaces it
            self._path.unlink(missing_ok=True)
