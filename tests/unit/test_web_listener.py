"""The listener over TCP: what it bounds, and that it closes at once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.web import listener as module
from gateway.web.certificate import own
from gateway.web.listener import TcpListener


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An application that says hello; on /forever it never ends."""
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    if scope["path"] == "/forever":
        await asyncio.Event().wait()
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listener = TcpListener(hello, "127.0.0.1", port, tls)
    await listener.start()
    assert listener.is_open
    try:
        yield port
    finally:
        async with asyncio.timeout(5):
            await listener.stop()
    assert not listener.is_open


async def get(port: int, path: str = "/", **options: Any) -> str:
    async with httpx.AsyncClient(trust_env=False, **options) as client:
        scheme = "https" if options else "http"
        return (await client.get(f"{scheme}://127.0.0.1:{port}{path}")).text


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    async with listening() as port:
        with pytest.raises(OSError, match="in use"):
            await TcpListener(hello, "127.0.0.1", port, None).start()
        await TcpListener(hello, "127.0.0.1", port, None).stop()


async def test_it_closes_at_once_whatever_is_under_way() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readline()
    async with asyncio.timeout(5):
        while await reader.read(1_000):
            continue
    writer.close()


async def test_connections_are_bounded_from_the_moment_they_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_PER_ADDRESS_MAX", 3)
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.3)
    found = own(tmp_path, "x", ["127.0.0.1"], datetime.now(UTC))
    trusts = ssl.create_default_context(cafile=str(found.certificate))
    async with listening(found.context()) as port:
        assert await get(port, verify=trusts) == "hello"
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        with pytest.raises(httpx.TransportError):
            await get(port, verify=trusts)
        async with asyncio.timeout(5):
            for reader, writer in silent:
                assert await reader.read() == b"", "no handshake came"
                writer.close()
        assert await get(port, verify=trusts) == "hello"
        with pytest.raises(httpx.TransportError):
            await get(port)  # no plain HTTP beside TLS
        assert await get(port, verify=trusts) == "hello"


async def test_a_head_that_does_not_come_ends_the_connection_but_an_answer_may_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEAD_S", 0.2)
    async with listening() as port:
        for before in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            for begun in (b"GET /", b"GET / HTTP/1.1\r\nHost:"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                if before:
                    writer.write(before)
                    await reader.readuntil(b"0\r\n\r\n")
                writer.write(begun)
                async with asyncio.timeout(5):
                    await reader.read()
                writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read()
        writer.close()
