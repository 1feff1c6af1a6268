"""Serving an ASGI application inside the node's own loop: on a Unix socket, and over TCP.

Over TCP anybody may knock: connections are bounded together and by address, and who does not send
a whole request in time is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from gateway.errors import ControlError
from gateway.web.guard import Asgi

log = logging.getLogger("hotpair")

SOCKET_PATH_MAX: Final = 107
"""Linux: sizeof(sockaddr_un.sun_path) - 1 (unix(7))."""
CONNECTIONS_MAX: Final = 256
BACKLOG: Final = 64
HANDSHAKE_S: Final = 10.0
ACCEPT_AGAIN_S: Final = 1.0
CONNECTIONS_PER_ADDRESS_MAX: Final = 64
HEAD_S: Final = 10.0
"""How long a client may take to send the head of a request."""
IDLE_S: Final = 65
"""How long a connection is kept between requests; longer than what proxies keep theirs for."""
HEAD_MAX_BYTES: Final = 32 * 1024


class _Server(uvicorn.Server):
    """The node handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class UnixListener:
    """An application on a Unix socket that only the owner and the group may open."""

    def __init__(self, app: Asgi, path: Path) -> None:
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


class _Connection(H11Protocol):
    """A connection that is given up when a request does not come; `gone` is set at its end."""

    _waiting: asyncio.TimerHandle | None = None

    def __init__(self, gone: asyncio.Event, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_idle() and self._waiting is None and self.timeout_keep_alive_task is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        self._waiting = None
        if self._is_idle() and self.timeout_keep_alive_task is None:
            self.transport.close()


class TcpListener:
    """An application on a TCP address, with TLS where a context is given.

    Connections are counted from the moment they are accepted, those that never finish a handshake
    among them: strangers must not take the file descriptors that the field needs.
    """

    def __init__(self, app: Asgi, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
            h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        )
        self._server = _Server(self._config)
        self._socket: socket.socket
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: dict[asyncio.Task[None], str] = {}

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the address can't be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._socket = listener
        self._tasks = [
            asyncio.create_task(self._server.serve([]), name="web"),
            asyncio.create_task(self._accept(listener), name="web listener"),
        ]

    async def stop(self) -> None:
        """Close at once; requests and streams under way are cut."""
        if not self._tasks:
            return
        serving, accepting = self._tasks
        accepting.cancel()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(accepting, *self._connections, return_exceptions=True)
        self._socket.close()
        self._server.should_exit = self._server.force_exit = True
        await serving

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("the page accepts nobody for a moment: %s", error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            own = sum(1 for host in self._connections.values() if host == address[0])
            if len(self._connections) >= CONNECTIONS_MAX or own >= CONNECTIONS_PER_ADDRESS_MAX:
                client.close()
                continue
            task = asyncio.create_task(self._connect(client), name="web connection")
            self._connections[task] = address[0]
            task.add_done_callback(self._connections.pop)

    async def _connect(self, client: socket.socket) -> None:
        """One connection, from its handshake to its end."""
        gone = asyncio.Event()

        def make() -> _Connection:
            return _Connection(gone, self._config, self._server.server_state)

        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                make,
                client,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls is not None else None,
            )
        except OSError:  # it speaks no TLS, trusts us not, or went away
            return
        try:
            await gone.wait()
        finally:
            # A closed TLS transport of Python 3.11.2, which is Debian 12's, can't be aborted.
            if not gone.is_set():
                transport.abort()
