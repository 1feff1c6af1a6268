"""Two nodes' links inside one test, on loopback addresses of their own, and a proxy that cuts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hil.proxy
from gateway.clock import SystemClock
from gateway.config.node import HostPort, Link, LinkSerial, LinkTls
from gateway.pair.certificate import make_identity
from gateway.pair.channel import Channel
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.hello import LinkIdentity
from gateway.pair.links import Links
from gateway.pair.words import Role

LIMIT_S = 10.0


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def make_certificates(folder: Path, *nodes: str) -> None:
    """A key and a certificate of each node."""
    for node in nodes:
        made = make_identity(node, time.time_ns())
        (folder / f"{node}.key").write_bytes(made.key_pem)
        (folder / f"{node}.key").chmod(0o600)
        (folder / f"{node}.crt").write_bytes(made.certificate_pem)


def tls(folder: Path, mine: str, peer: str) -> LinkTls:
    """The files of one side."""
    names = (f"{mine}.crt", f"{mine}.key", f"{peer}.crt")
    cert, key, peer_cert = (folder / name for name in names)
    return LinkTls(cert=cert, key=key, peer_cert=peer_cert)


async def no_answer(what: str, body: Any) -> Any:
    """Answers with what was asked."""
    return [what, body]


async def until(holds: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.005)  # paces: a condition of several objects, looked at


@dataclass
class Node:
    """One node's links, and all they told."""

    name: str
    links: Links
    clock: SystemClock
    boot: int
    heard: list[tuple[str, Heartbeat]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    alarms: list[tuple[int, str]] = field(default_factory=list)
    seq: int = 0

    def beat(self, **changes: Any) -> Heartbeat:
        """Send the next heartbeat."""
        self.seq += 1
        heartbeat = Heartbeat(
            site=changes.pop("site", "plant"),
            node=self.name,
            boot=self.boot,
            seq=self.seq,
            role=Role.MAIN,
            sent_ns=self.clock.monotonic_ns(),
            **changes,
        )
        self.links.send(heartbeat)
        return heartbeat

    def seqs(self, link: str | None = None) -> list[int]:
        """The sequences that were heard, by one link or by all."""
        return [beat.seq for name, beat in self.heard if link in (None, name)]

    def said(self, text: str) -> bool:
        """Whether an alarm says that."""
        return any(text in line for _, line in self.alarms)

    @property
    def up(self) -> list[str]:
        """The links that stand."""
        return [link["name"] for link in self.links.status() if link["up"]]

    def link(self, number: int = 0) -> dict[str, Any]:
        """The status of one link."""
        return self.links.status()[number]


def node_of(
    name: str,
    listen: tuple[HostPort, ...],
    peer: tuple[HostPort, ...],
    security: LinkTls | None = None,
    *,
    serial: LinkSerial | None = None,
    site: str = "plant",
    serve: Mapping[str, Callable[[Channel], Awaitable[None]]] | None = None,
    answer: Callable[[str, Any], Awaitable[Any]] = no_answer,
    boot: int | None = None,
) -> Node:
    """A node whose links are not started yet."""
    clock = SystemClock()
    boot = boot if boot is not None else time.monotonic_ns() + sum(map(ord, name))
    link = Link(listen=listen, peer=peer, tls=security, serial=serial)
    node = Node(name, None, clock, boot)  # type: ignore[arg-type]
    node.links = Links(
        LinkIdentity(site, name, boot, "0.1.0"),
        link,
        clock,
        lambda at, beat: node.heard.append((at, beat)),
        node.refused.append,
        serve or {},
        answer,
        lambda severity, line: node.alarms.append((severity, line)),
    )
    return node


def ends(paths: int = 1) -> tuple[tuple[HostPort, ...], tuple[HostPort, ...]]:
    """Where a and b listen: one loopback address of its own for each path and node."""
    a = tuple(HostPort(f"127.0.{9 + n}.1", free_port(f"127.0.{9 + n}.1")) for n in range(paths))
    b = tuple(HostPort(f"127.0.{9 + n}.2", free_port(f"127.0.{9 + n}.2")) for n in range(paths))
    return a, b


@asynccontextmanager
async def started(*nodes: Node) -> AsyncIterator[None]:
    """Nodes with their links open."""
    try:
        for node in nodes:
            await node.links.start()
        yield
    finally:
        for node in nodes:
            await node.links.stop()


@asynccontextmanager
async def pair(folder: Path, paths: int = 1, **options: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Nodes a and b with TLS, all paths standing both ways."""
    make_certificates(folder, "a", "b")
    at_a, at_b = ends(paths)
    a = node_of("a", at_a, at_b, tls(folder, "a", "b"), **options)
    b = node_of("b", at_b, at_a, tls(folder, "b", "a"), **options)
    async with started(a, b):
        await until(lambda: len(a.up) == len(b.up) == paths)
        yield a, b


class Proxy(hil.proxy.Proxy):
    """The rig's proxy with an address as our links write it."""

    @property
    def address(self) -> HostPort:
        return HostPort(*super().address)


@asynccontextmanager
async def proxied(*to: HostPort) -> AsyncIterator[list[Proxy]]:
    """A proxy before each address."""
    proxies = [Proxy(address) for address in to]
    for proxy in proxies:
        await proxy.start()
    try:
        yield proxies
    finally:
        for proxy in proxies:
            with contextlib.suppress(OSError):
                await proxy.stop()


class Cable:
    """Two ptys joined by a relay that may alter what it carries."""

    def __init__(self, folder: Path) -> None:
        self.ports = [folder / "ttyA", folder / "ttyB"]
        self._ends: list[tuple[int, int]] = []
        self.alter: Callable[[bytes], bytes] = lambda data: data
        self.bytes = 0

    def plug(self) -> None:
        """Make the ptys and carry."""
        loop = asyncio.get_running_loop()
        for port in self.ports:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            port.unlink(missing_ok=True)
            port.symlink_to(os.ttyname(slave))
            self._ends.append((master, slave))
        for near, far in (self._ends, self._ends[::-1]):
            loop.add_reader(near[0], self._carry, near[0], far[0])

    def _carry(self, near: int, far: int) -> None:
        data = os.read(near, 65_536)
        self.bytes += len(data)
        os.write(far, self.alter(data))

    def unplug(self) -> None:
        """Both ends go away."""
        loop = asyncio.get_running_loop()
        for (master, slave), port in zip(self._ends, self.ports, strict=True):
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)
            port.unlink()
        self._ends.clear()
