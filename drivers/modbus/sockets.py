"""What the kernel is told of a connection, so that it gives up no later than we do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

from gateway.model import NS_PER_MS

_ABORT: Final = struct.pack("ii", 1, 0)


def tune(transport: asyncio.BaseTransport | None, bound_ns: int) -> None:
    """Let a dead peer be given up after `bound_ns`, and unsent bytes with it (rules.md 5).

    None is a connection that is no more. Raises OSError when it is no more.
    """
    if transport is None:
        raise ConnectionResetError("it was reset")
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        bound_ms = max(1, bound_ns // NS_PER_MS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, bound_ms)


def discard(transport: asyncio.BaseTransport) -> None:
    """Let unsent bytes die when it is closed: the device's socket is free at once."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.type == socket.SOCK_STREAM:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
