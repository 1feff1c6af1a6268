"""A cable that can be cut where network namespaces are not allowed: a proxy on each link.

    python -m hil.proxy --control SOCK --node node-a.yaml --node node-b.yaml

listens where each node's `link.peer` says and carries to where the other node listens. The control
socket takes {"cut": "a"} (what node a sends no longer arrives), {"cut": ""} (nor what the other
sends), either with {"path": 0} beside it for one path of several; {"mend": "a"} in the same words,
{"heal": true} for all,
{"drop": true} (every connection ends), {"delay": 0.2} (seconds, each way).

Nobody is told of a cut: connections stay, what they carry waits. What is dialled meanwhile is
accepted and hears nothing. Where the far end refuses, so does the proxy for a moment: a node that
is dead is known to be dead through it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from hil.outstation.control import ControlServer
from hil.settings import SiteError, load_yaml

CHUNK: Final = 64 * 1024
CONNECTIONS_MAX: Final = 256
REFUSES_S: Final = 0.25
"""How long the port stays closed when the far end refused: longer than two heartbeats."""

Address = tuple[str, int]


class Proxy:
    """Carries the connections to one address, until it is told to cut them.

    `there` is the way from the dialler to the listener, `back` the other; set means open.
    """

    def __init__(self, to: Address, at: Address = ("127.0.0.1", 0)) -> None:
        self._to = to
        self._at = at
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None
        self.there = asyncio.Event()
        self.back = asyncio.Event()
        self.delay_s = 0.0
        self.connections = 0
        self.heal()

    @property
    def address(self) -> Address:
        """Where it listens, once it was started."""
        return self._at

    def cut(self) -> None:
        """Swallow everything, both ways: nobody is told."""
        self.there.clear()
        self.back.clear()

    def heal(self) -> None:
        """Carry again."""
        self.there.set()
        self.back.set()

    async def start(self) -> None:
        """Listen; port 0 becomes a free one. Raises OSError."""
        self._server = await asyncio.start_server(self._carry, *self._at)
        self._at = (self._at[0], self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End every connection and listen no more."""
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
        try:
            await self.there.wait()
            far_reader, far = await asyncio.open_connection(*self._to)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._one_way(reader, far, self.there))
                group.create_task(self._one_way(far_reader, writer, self.back))
        except ConnectionRefusedError:
            self._refuse()
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # a party that left, or `drop`: both sides end
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    async def _one_way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: asyncio.Event
    ) -> None:
        while data := await reader.read(CHUNK):
            await way.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        await way.wait()  # the end of a connection does not pass a cut either
        raise ConnectionResetError


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

    def cut(self, sender: str = "", path: int | None = None) -> None:
        """Cut what a node sends ("": what either sends), on one path or on all."""
        for wire in self._wires:
            if path not in (None, wire.path):
                continue
            if sender in ("", wire.dialler):
                wire.proxy.there.clear()
            if sender != wire.dialler:
                wire.proxy.back.clear()

    def mend(self, sender: str = "", path: int | None = None) -> None:
        """Carry again what `cut` with the same words cut."""
        for wire in self._wires:
            if path not in (None, wire.path):
                continue
            if sender in ("", wire.dialler):
                wire.proxy.there.set()
            if sender != wire.dialler:
                wire.proxy.back.set()

    def heal(self) -> None:
        """Everything is carried again."""
        for wire in self._wires:
            wire.proxy.heal()

    def drop(self) -> None:
        """End every connection."""
        for wire in self._wires:
            wire.proxy.drop()

    async def command(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one control message, and say what came of it."""
        if "cut" in message:
            self.cut(str(message["cut"]), message.get("path"))
        elif "mend" in message:
            self.mend(str(message["mend"]), message.get("path"))
        elif "heal" in message:
            self.heal()
        elif "drop" in message:
            self.drop()
        elif isinstance(message.get("delay"), int | float):
            for wire in self._wires:
                wire.proxy.delay_s = max(0.0, float(message["delay"]))
        else:
            return {"ok": False, "error": "say cut, mend, heal, drop or delay"}
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
