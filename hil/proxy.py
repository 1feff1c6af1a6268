"""A cable that can be cut where network namespaces are not allowed: a proxy on each link.

    python -m hil.proxy --control SOCK --node node-a.yaml --node node-b.yaml

listens where each node's `link.peer` says and carries to where the other node listens. The control
socket takes

    {"cut": "a"}                      what node a sends no longer arrives ("": nor what b sends)
    {"mend": "a"}                     it arrives again
    {"delay": "a", "ms": 200, "jitter_ms": 50}    it arrives so much later, up to the jitter more
    {"corrupt": "a", "every": 20}     in each 20th piece that passes a byte is another (0: in none)
    {"drop": true}                    every connection ends
    {"heal": true}                    all of it is over

the first five with {"path": 0} beside them for one path of several.

Nobody is told of a cut: connections stay, what they carry waits. What is dialled meanwhile is
accepted and hears nothing. Where the far end refuses, so does the proxy for a moment: a node that
is dead is known to be dead through it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from hil.outstation.control import ControlServer
from hil.settings import SiteError, load_yaml

CHUNK: Final = 64 * 1024
CONNECTIONS_MAX: Final = 256
UNDER_WAY_MAX: Final = 64
"""Pieces that have not arrived yet: what is read stops there, as at a full buffer of a switch."""
REFUSES_S: Final = 0.25
"""How long the port stays closed when the far end refused: longer than two heartbeats."""

Address = tuple[str, int]
Heard = Callable[[str, bool, bytes], None]
"""Told of each piece that arrives: who dialled, whether it goes to the listener, the bytes. An
empty one says that the connection has ended."""
Queue = asyncio.Queue[tuple[float, bytes]]
"""Each piece with the moment (of the loop's clock) when it has to arrive."""


class Way:
    """One direction through a proxy: whether it is open, how late, and how damaged what passes is.

    `every` counts the pieces of which the last has a byte flipped; 0 damages none. While it is
    `mute` what passes gets lost.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.delay_s = self.jitter_s = 0.0
        self.every = 0
        self.mute = False
        self._passed = 0
        self.open.set()

    def late_s(self) -> float:
        """How much later the next piece arrives."""
        return self.delay_s + (random.uniform(0.0, self.jitter_s) if self.jitter_s else 0.0)

    def passed(self, data: bytes) -> bytes:
        """What arrives of a piece."""
        if not self.every:
            return data
        self._passed += 1
        return flipped(data) if self._passed % self.every == 0 else data

    def heal(self) -> None:
        """Carry everything, at once and whole."""
        self.open.set()
        self.delay_s = self.jitter_s = 0.0
        self.every = 0
        self.mute = False


def flipped(data: bytes) -> bytes:
    """The same bytes, but that in the middle, whose bits are all another."""
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 0xFF,)) + data[middle + 1 :]


class Proxy:
    """Carries the connections to one address, until it is told to cut them.

    `there` is the way from the dialler to the listener, `back` the other.
    """

    def __init__(
        self, to: Address, at: Address = ("127.0.0.1", 0), heard: Heard | None = None
    ) -> None:
        self._to = to
        self._heard = heard
        self._at = at
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None
        self.there = Way()
        self.back = Way()
        self.connections = 0

    @property
    def address(self) -> Address:
        """Where it listens, once it was started."""
        return self._at

    def cut(self) -> None:
        """Swallow everything, both ways: nobody is told."""
        self.there.open.clear()
        self.back.open.clear()

    def heal(self) -> None:
        """Carry again, at once and whole."""
        self.there.heal()
        self.back.heal()

    async def start(self) -> None:
        """Listen; port 0 becomes a free one. Raises OSError."""
        self._server = await asyncio.start_server(self._carry, *self._at)
        self._at = (self._at[0], self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End every connection and listen no more, until it is started again."""
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()

    def _refuse(self) -> None:
        """Close the port for a moment, unless that is done already."""
        if self._server is not None and (self._reopening is None or self._reopening.done()):
            self._server.close()
            self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        await asyncio.sleep(REFUSES_S)
        await self.start()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self.connections += 1
        far: asyncio.StreamWriter | None = None
        host, port = writer.get_extra_info("peername")[:2]
        peer = f"{host}:{port}"
        try:
            await self.there.open.wait()
            far_reader, far = await asyncio.open_connection(*self._to)
            async with asyncio.TaskGroup() as group:
                for source, sink, way in (
                    (reader, far, self.there),
                    (far_reader, writer, self.back),
                ):
                    under_way: Queue = asyncio.Queue(UNDER_WAY_MAX)
                    group.create_task(_take(source, under_way, way))
                    tell = partial(self._tell, peer, way is self.there)
                    group.create_task(_deliver(under_way, sink, way, tell))
        except ConnectionRefusedError:
            self._refuse()
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # a party that left, or `drop`: both sides end
        finally:
            self._tasks.discard(task)
            self._tell(peer, True, b"")
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    def _tell(self, peer: str, there: bool, data: bytes) -> None:
        if self._heard is not None:
            self._heard(peer, there, data)


async def _take(reader: asyncio.StreamReader, under_way: Queue, way: Way) -> None:
    """Note when each piece has to arrive: never before the one that came before it."""
    now, last_s = asyncio.get_running_loop().time, 0.0
    while data := await reader.read(CHUNK):
        last_s = max(last_s, now() + way.late_s())
        await under_way.put((last_s, data))
    await under_way.put((last_s, b""))


async def _deliver(
    under_way: Queue, writer: asyncio.StreamWriter, way: Way, tell: Callable[[bytes], None]
) -> None:
    now = asyncio.get_running_loop().time
    while True:
        due_s, data = await under_way.get()
        if (wait_s := due_s - now()) > 0:
            await asyncio.sleep(wait_s)
        await way.open.wait()  # the end of a connection does not pass a cut either
        if not data:
            raise ConnectionResetError
        if way.mute:
            continue
        passed = way.passed(data)
        tell(passed)
        writer.write(passed)
        await writer.drain()


class _Wire(NamedTuple):
    """One path as one node dials it."""

    dialler: str
    path: int
    proxy: Proxy


class Wires:
    """Every link of a pair, each as a proxy for each node that dials it."""

    def __init__(self, routes: Iterable[tuple[str, int, Address, Address]]) -> None:
        """`routes`: (who dials, number of the path, where it dials, where the other listens)."""
        self._wires = [_Wire(who, path, Proxy(to, at)) for who, path, at, to in routes]

    async def start(self) -> None:
        """Listen everywhere. Raises OSError."""
        for wire in self._wires:
            await wire.proxy.start()

    async def stop(self) -> None:
        """End everything."""
        for wire in self._wires:
            await wire.proxy.stop()

    def peers(self, dialler: str) -> list[Address]:
        """Where a node has to dial, path by path."""
        return [wire.proxy.address for wire in self._wires if wire.dialler == dialler]

    def ways(self, sender: str = "", path: int | None = None) -> Iterator[Way]:
        """The ways of what a node sends ("": of what either sends), on one path or on all."""
        for wire in self._wires:
            if path not in (None, wire.path):
                continue
            if sender in ("", wire.dialler):
                yield wire.proxy.there
            if sender != wire.dialler:
                yield wire.proxy.back

    def cut(self, sender: str = "", path: int | None = None) -> None:
        """Cut what a node sends ("": what either sends), on one path or on all."""
        for way in self.ways(sender, path):
            way.open.clear()

    def mend(self, sender: str = "", path: int | None = None) -> None:
        """Carry again what `cut` with the same words cut."""
        for way in self.ways(sender, path):
            way.open.set()

    def heal(self) -> None:
        """Everything is carried again."""
        for wire in self._wires:
            wire.proxy.heal()

    def drop(self, path: int | None = None) -> None:
        """End every connection of one path or of all."""
        for wire in self._wires:
            if path in (None, wire.path):
                wire.proxy.drop()

    async def command(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one control message, and say what came of it."""
        path = message.get("path")
        if "cut" in message:
            self.cut(str(message["cut"]), path)
        elif "mend" in message:
            self.mend(str(message["mend"]), path)
        elif "heal" in message:
            self.heal()
        elif "drop" in message:
            self.drop(path)
        elif "delay" in message:
            for way in self.ways(str(message["delay"]), path):
                way.delay_s = max(0.0, float(message["ms"]) / 1000)
                way.jitter_s = max(0.0, float(message.get("jitter_ms", 0)) / 1000)
        elif "corrupt" in message:
            for way in self.ways(str(message["corrupt"]), path):
                way.every = max(0, int(message["every"]))
        else:
            return {"ok": False, "error": "say cut, mend, heal, drop, delay or corrupt"}
        return {"ok": True}


def routes_of(files: Sequence[Path]) -> list[tuple[str, int, Address, Address]]:
    """What a pair's node.yaml files say of its links. Raises SiteError, OSError."""
    nodes = [load_yaml(file.read_text(encoding="utf-8")) for file in files]
    if len(nodes) != 2:
        raise SiteError(f"a pair has two node files, not {len(nodes)}")
    found = []
    for mine, other in (nodes, nodes[::-1]):
        dialled = _addresses(mine["link"]["peer"])
        listened = _addresses(other["link"]["listen"])
        if len(dialled) != len(listened):
            raise SiteError(f"node {mine['node']} dials {len(dialled)} paths of {len(listened)}")
        ways = zip(dialled, listened, strict=True)
        found += [(str(mine["node"]), path, at, to) for path, (at, to) in enumerate(ways)]
    return found


def _addresses(said: str | Sequence[str]) -> list[Address]:
    texts = [said] if isinstance(said, str) else said
    parts = [text.rpartition(":") for text in texts]
    return [(host, int(port)) for host, _, port in parts]


async def run(files: Sequence[Path], control: Path) -> None:
    """Carry until SIGINT or SIGTERM. Raises SiteError, OSError."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    wires = Wires(routes_of(files))
    server = ControlServer(control, wires.command)
    try:
        await wires.start()
        await server.open()
        print("ready", flush=True)
        await ended.wait()
    finally:
        await server.close()
        await wires.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="hil.proxy", description="a link that can be cut")
    parser.add_argument("--control", type=Path, required=True, help="the control socket")
    parser.add_argument("--node", type=Path, action="append", required=True, help="a node.yaml")
    asked = parser.parse_args(arguments)
    try:
        asyncio.run(run(asked.node, asked.control))
    except (SiteError, OSError, KeyError) as error:
        print(f"hil.proxy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
