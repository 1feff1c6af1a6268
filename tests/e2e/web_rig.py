"""The demo's plant with its page open: TLS, a user of each role, clients that are logged in."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.server.passwords import hash_password

from .plant import SmallPlant, free_offset, free_ports

PASSWORD = "correct horse"
ROLES = {"olga": "observer", "otto": "operator", "erna": "engineer", "anna": "admin"}
API = "/api/v1"
PAGE = {"X-Hotpair": "page"}


def users() -> str:
    """The `users:` of a site, one of each role."""
    hashed = hash_password(PASSWORD)
    lines = [
        f"  {name}: {{role: {role}, password_hash: '{hashed}'}}\n" for name, role in ROLES.items()
    ]
    return "users:\n" + "".join(lines)


class WebPlant(SmallPlant):
    """A SmallPlant whose node serves REST.

    `web` is what node.yaml says beside `listen`, `more` goes to the end of site.yaml.
    """

    def __init__(self, folder: Path, web: str = "tls: {}", more: str = "") -> None:
        super().__init__(folder, free_offset())
        (self.port,) = free_ports(1)
        with self.site_file.open("a") as site:
            site.write(users() + more)
        with self.node_file.open("a") as node:
            node.write(f"web: {{listen: '127.0.0.1:{self.port}', {web}}}\n")
        self.certificate = folder / "data" / "a" / "web" / "web.crt"
        self.base = f"https://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that trusts the node's certificate and nothing else."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.AsyncClient(
            verify=context, base_url=self.base, headers=headers, timeout=30, trust_env=False
        )

    @asynccontextmanager
    async def as_user(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that is logged in, as the page is."""
        async with self.client(**PAGE) as client:
            asked = {"user": name, "password": PASSWORD}
            answer = await client.post(f"{API}/login", json=asked)
            assert answer.status_code == 200, answer.text
            yield client

    async def start(self) -> None:
        """Outstations first, then the node."""
        await self.outstations.start()
        await self.node.start()

    async def stop(self) -> None:
        """Everything, whatever happens."""
        await self.control.close()
        await self.node.stop()
        await self.outstations.stop()


@asynccontextmanager
async def web_plant(folder: Path, web: str = "tls: {}", more: str = "") -> AsyncIterator[WebPlant]:
    """Start everything, and end everything whatever happens."""
    plant = WebPlant(folder, web, more)
    try:
        await plant.start()
        yield plant
    finally:
        await plant.stop()


class Stream:
    """A stream of server-sent events as a browser reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self, within_s: float = 10) -> tuple[str, Any]:
        """The next event and its data."""
        name = ""
        async with asyncio.timeout(within_s):
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))
        raise EOFError("the stream ended")


@asynccontextmanager
async def stream(client: httpx.AsyncClient, path: str) -> AsyncIterator[Stream]:
    """Listen to a stream."""
    async with client.stream("GET", path) as response:
        assert response.status_code == 200
        yield Stream(response)
