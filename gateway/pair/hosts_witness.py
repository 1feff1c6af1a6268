"""Hosts that only veto: whoever reaches none of them is the one that is cut off (rules.md 6).

`10.0.0.1` is asked by ICMP echo through an unprivileged datagram socket, which the kernel allows by
`net.ipv4.ping_group_range`; `10.0.0.1:80` by a TCP connection, where accepted and refused are both
an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.pair.complaint import Complaint
from gateway.pair.votes import HOSTS_SLOW_NS

TRIES: Final = 3
_PING_REMEDY: Final = (
    "Set `net.ipv4.ping_group_range = 0 2147483647` by sysctl, or name a port of it: `{0}:80`"
)
_MARK: Final = b"hotpair witness "
_REFUSED: Final = f"[Errno {errno.ECONNREFUSED}]"
_PORT_MAX: Final = 65_535


class PingForbidden(Exception):
    """The kernel lets this user send no echo requests."""


def split_host(text: str) -> tuple[str, int | None]:
    """(host, port) of `10.0.0.1`, `10.0.0.1:80`, `[::1]:80`, `::1` or a name; None: by echo."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text.strip("[]"))), None
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and 1 <= int(port) <= _PORT_MAX:
        return host.strip("[]"), int(port)
    return text, None


async def answers(host: str, port: int | None, sequence: int) -> bool:
    """Whether a host says anything; the caller bounds the time. Raises PingForbidden."""
    try:
        if port is None:
            return await _echo(host, sequence)
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        # A name with two addresses brings both refusals in one error without a number.
        refused = error.errno == errno.ECONNREFUSED or _REFUSED in str(error)
        return refused and port is not None
    writer.transport.abort()
    return True


async def _echo(host: str, sequence: int) -> bool:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    is_six = family == socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if is_six else socket.IPPROTO_ICMP
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError as error:
        raise PingForbidden from error
    with sock:
        sock.setblocking(False)
        sock.connect(address)  # a datagram socket: nothing is waited for
        payload = _MARK + struct.pack(">I", sequence)
        # The kernel sets identifier and checksum, and gives us only answers to our identifier.
        head = struct.pack(">BBHHH", 128 if is_six else 8, 0, 0, 0, sequence & 0xFFFF)
        await loop.sock_sendall(sock, head + payload)
        while True:  # bounded by the caller's time-out
            reply = await loop.sock_recv(sock, 256)
            if reply[:1] == bytes([129 if is_six else 0]) and reply[8:] == payload:
                return True


class HostsWitness:
    """Asks while somebody needs to know. `told` takes whether the veto stands."""

    def __init__(
        self,
        hosts: Sequence[str],
        try_ns: int,
        clock: Clock,
        told: Callable[[bool], None],
        complaint_of: Callable[[str], Complaint],
    ) -> None:
        """`try_ns` is the pace, and the time-out, of a try while the peer is silent."""
        self._hosts = [(text, *split_host(text)) for text in hosts]
        self._try_ns = try_ns
        self._clock = clock
        self._told = told
        self._complaints = {text: complaint_of(text) for text in hosts}
        self._sequence = 0
        self._wake = asyncio.Event()
        self._needed = self._urgent = False
        self.misses = 0
        self.vetoes = False
        self.answered: dict[str, bool | None] = dict.fromkeys(hosts)

    def need(self, needed: bool, urgent: bool) -> None:
        """`needed`: this node is not Main; `urgent`: and the peer fell silent."""
        if (needed, urgent) != (self._needed, self._urgent):
            self._needed, self._urgent = needed, urgent
            self._wake.set()

    def rows(self) -> list[tuple[str, bool | None, Complaint]]:
        """Each host with what it last did (None: not asked) and what is wrong with it."""
        return [(text, self.answered[text], self._complaints[text]) for text, _, _ in self._hosts]

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            began_ns = self._clock.monotonic_ns()
            if self._needed:
                await self._try_all()
            elif self.vetoes:
                self._judge(False)
            quick = self._needed and (self._urgent or self.misses > 0)
            pace_ns = self._try_ns if quick else HOSTS_SLOW_NS
            wait_ns = began_ns + pace_ns - self._clock.monotonic_ns()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait_ns, self._try_ns // 10) / NS_PER_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _try_all(self) -> None:
        self._sequence += 1
        async with asyncio.TaskGroup() as group:
            for text, host, port in self._hosts:
                group.create_task(self._try(text, host, port))
        asked = [answer for answer in self.answered.values() if answer is not None]
        # Hosts that this node may not ask say nothing, for or against.
        self.misses = 0 if any(asked) or not asked else self.misses + 1
        self._judge(self.misses >= TRIES)

    def _judge(self, vetoes: bool) -> None:
        if not self._needed:
            self.misses = 0
        if vetoes != self.vetoes:
            self.vetoes = vetoes
            self._told(vetoes)

    async def _try(self, text: str, host: str, port: int | None) -> None:
        trouble, remedy = "", ""
        try:
            async with asyncio.timeout(self._try_ns / NS_PER_S):
                self.answered[text] = await answers(host, port, self._sequence)
        except TimeoutError:
            self.answered[text] = False
        except PingForbidden:
            self.answered[text] = None
            trouble = "this user may send no echo request, so the host does not count"
            remedy = _PING_REMEDY.format(host)
        if self.answered[text] is False:
            trouble, remedy = "does not answer", "Look at it, and at this node's cable"
        self._complaints[text].is_now(self._clock.monotonic_ns(), trouble, remedy)
