"""Hosts that veto: asked by TCP on loopback, by echo where the kernel lets us."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from etcd_members import free_ports

from gateway.clock import SystemClock
from gateway.config.site import Witness
from gateway.model import NS_PER_MS
from gateway.pair.events import Veto, WitnessVote
from gateway.pair.hosts_witness import PingForbidden, answers, split_host
from gateway.pair.witnesses import Witnesses
from gateway.pair.words import Timing

TIMING = Timing(takeover_after_ns=500 * NS_PER_MS)
TRY_S = 0.1
SILENT = "127.0.0.2"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", ("10.0.0.1", None)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:80", ("::1", 80)),
        ("switch.plant:443", ("switch.plant", 443)),
        ("switch.plant", ("switch.plant", None)),
        ("switch:99999", ("switch:99999", None)),
    ],
)
def test_a_host_is_written_with_or_without_a_port(text: str, found: tuple[str, int | None]) -> None:
    assert split_host(text) == found


@asynccontextmanager
async def full_listener() -> AsyncIterator[int]:
    """A port of loopback that answers nothing: its backlog is full."""
    loop = asyncio.get_running_loop()
    with closing(socket.socket()) as listener:
        listener.bind((SILENT, 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            fillers.append(filler)
            task = asyncio.ensure_future(loop.sock_connect(filler, (SILENT, port)))
            done, _ = await asyncio.wait({task}, timeout=0.2)
            if not done:
                task.cancel()
                break
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()
            await asyncio.sleep(0)


@dataclass
class Node:
    """A node whose witnesses are hosts."""

    hosts: tuple[str, ...]
    vetoes: list[bool] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    clock: SystemClock = field(default_factory=SystemClock)
    witnesses: Witnesses = field(init=False)

    def __post_init__(self) -> None:
        self.witnesses = Witnesses(
            Witness(hosts=self.hosts),
            "a",
            None,
            TIMING,
            self.clock,
            pytest.fail,
            self.told,
            self.alarm,
        )

    def told(self, event: WitnessVote | Veto) -> None:
        assert isinstance(event, Veto)
        self.vetoes.append(event.holds)
        self.news.set()

    def alarm(self, severity: int, text: str) -> None:
        self.alarms.append(text)
        self.news.set()

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not what():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def node(*hosts: str) -> AsyncIterator[Node]:
    this = Node(hosts)
    await this.witnesses.start()
    try:
        yield this
    finally:
        await this.witnesses.stop()


async def test_accepted_and_refused_are_both_an_answer() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await answers("127.0.0.1", port, 1)
    (nobody,) = free_ports(1)
    assert await answers("127.0.0.1", nobody, 1)
    assert await answers("localhost", nobody, 1)
    assert not await answers("no.such.name.invalid", 80, 1)


async def test_silence_of_all_hosts_for_three_tries_is_a_veto_until_one_answers() -> None:
    async with full_listener() as port, node(f"{SILENT}:{port}") as a:
        began_ns = a.clock.monotonic_ns()
        a.witnesses.look(needed=True, urgent=True)
        a.witnesses.look(needed=True, urgent=True)
        await a.until(lambda: a.vetoes == [True])
        assert a.clock.monotonic_ns() - began_ns >= 3 * TRY_S * 0.9e9
        assert a.witnesses.status()[0]["vetoes"]
        assert not a.witnesses.voting
        a.witnesses.claim()
        a.witnesses.release()
        await a.until(lambda: any("does not answer" in text for text in a.alarms))


async def test_one_answering_host_is_enough_and_the_veto_ends_with_its_answer() -> None:
    (nobody,) = free_ports(1)
    async with full_listener() as port, node(f"{SILENT}:{port}", f"127.0.0.1:{nobody}") as a:
        a.witnesses.look(needed=True, urgent=True)
        await a.until(lambda: any("does not answer" in text for text in a.alarms))
        assert a.vetoes == []
        rows = {row["name"]: row["answers"] for row in a.witnesses.status()}
        assert rows == {f"{SILENT}:{port}": False, f"127.0.0.1:{nobody}": True}


async def test_a_main_asks_nobody_and_its_veto_is_gone() -> None:
    async with full_listener() as port, node(f"{SILENT}:{port}") as a:
        a.witnesses.look(needed=True, urgent=True)
        await a.until(lambda: a.vetoes == [True])
        a.witnesses.look(needed=False, urgent=False)
        await a.until(lambda: a.vetoes == [True, False])


async def test_a_host_that_may_not_be_asked_counts_for_nothing_and_the_remedy_is_told() -> None:
    allowed = True
    try:
        await answers("127.0.0.1", None, 1)
    except PingForbidden:
        allowed = False
    async with node("127.0.0.1") as a:
        a.witnesses.look(needed=True, urgent=True)
        if allowed:
            async with asyncio.timeout(15):
                while a.witnesses.status()[0]["answers"] is None:
                    await asyncio.sleep(0.01)  # paces: the poll of a status without an event
            assert a.witnesses.status()[0]["answers"] is True
            return
        await a.until(lambda: a.alarms)
        assert "ping_group_range" in a.alarms[0]
        assert "127.0.0.1:80" in a.alarms[0]
        assert a.vetoes == []


def test_echo_reaches_a_host_where_the_kernel_allows_it() -> None:
    unshare = ["unshare", "--net"] if shutil.which("unshare") else []
    if not unshare or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("network namespaces are not allowed here")
    command = [*unshare, sys.executable, str(ROOT / "tests/e2e/ping_child.py")]
    asked = ["127.0.0.1", "::1", "localhost", "203.0.113.9"]
    done = subprocess.run(
        [*command, *asked], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines())
    assert said["127.0.0.1"] == said["localhost"] == "True"
    assert said["203.0.113.9"] in ("False", "silent")
    assert said["::1"] in ("True", "False")
