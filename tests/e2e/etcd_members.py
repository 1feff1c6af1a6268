"""Real etcd members on loopback ports of their own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

START_S = 20.0


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class Member:
    """One process; `endpoint` is where clients ask."""

    def __init__(self, name: str, folder: Path, port: int, peer_port: int, cluster: str) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        peer = f"http://127.0.0.1:{peer_port}"
        self._command = [
            "etcd",
            f"--name={name}",
            f"--data-dir={folder / name}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={cluster}",
            "--log-level=error",
        ]
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def healthy(self) -> None:
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    reply = await client.get(f"{self.endpoint}/health")
                    if reply.status_code == 200 and reply.json().get("health") == "true":
                        return
                await asyncio.sleep(0.05)  # paces: the poll of a process that is starting


@asynccontextmanager
async def etcd(folder: Path, size: int = 1) -> AsyncIterator[list[Member]]:
    """A cluster that answers."""
    ports = free_ports(2 * size)
    names = [f"m{number}" for number in range(size)]
    pairs = zip(names, ports[size:], strict=True)
    cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in pairs)
    members = [Member(names[i], folder, ports[i], ports[size + i], cluster) for i in range(size)]
    try:
        for member in members:
            member.start()
        for member in members:
            await member.healthy()
        yield members
    finally:
        for member in members:
            member.kill()
