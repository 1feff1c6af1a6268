"""The proxy on a link: it carries, swallows each way for itself, delays, and lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hil.proxy import Proxy, Wires, routes_of
from hil.settings import SiteError

PATIENCE_S = 5.0


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that says back what it hears; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


class Caller:
    """A connection through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def heard(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readexactly(size)

    async def silent(self) -> bool:
        try:
            async with asyncio.timeout(0.1):
                return not await self._reader.read(1)
        except TimeoutError:
            return True

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self._writer.transport.abort()


async def call(address: tuple[str, int]) -> Caller:
    return Caller(*await asyncio.open_connection(*address))


async def test_a_proxy_carries_swallows_each_way_and_carries_again() -> None:
    async with echo() as far:
        proxy = Proxy(far)
        await proxy.start()
        caller = await call(proxy.address)
        caller.say(b"one")
        assert await caller.heard(3) == b"one"
        proxy.back.open.clear()
        caller.say(b"two")
        assert await caller.silent()
        proxy.heal()
        assert await caller.heard(3) == b"two"
        proxy.cut()
        caller.say(b"three")
        dialled = await call(proxy.address)
        dialled.say(b"hello")
        assert await caller.silent()
        assert await dialled.silent(), "accepted, and hears nothing"
        proxy.heal()
        assert await caller.heard(5) == b"three"
        assert await dialled.heard(5) == b"hello"
        assert proxy.connections == 2
        proxy.drop()
        assert await caller.ended()
        caller.close()
        dialled.close()
        await proxy.stop()


async def test_nobody_there_ends_the_connection() -> None:
    async with echo() as far:
        pass
    proxy = Proxy(far)
    await proxy.start()
    caller = await call(proxy.address)
    assert await caller.ended()
    caller.close()
    await proxy.stop()


async def test_what_one_node_sends_is_cut_on_one_path_or_on_all() -> None:
    async with echo() as at_a, echo() as at_b:
        here = ("127.0.0.1", 0)
        wires = Wires(
            [("a", 0, here, at_b), ("a", 1, here, at_b), ("b", 0, here, at_a), ("b", 1, here, at_a)]
        )
        await wires.start()
        callers = [await call(address) for node in "ab" for address in wires.peers(node)]
        assert await wires.command({"cut": "a", "path": 0}) == {"ok": True}
        for caller in callers:
            caller.say(b"x")
        assert [await caller.silent() for caller in callers] == [True, False, True, False]
        assert (await wires.command({"mend": "a", "path": 1}))["ok"], "was never cut"
        assert await callers[0].silent()
        assert (await wires.command({"mend": "a", "path": 0}))["ok"]
        assert [await callers[n].heard(1) for n in (0, 2)] == [b"x", b"x"]
        assert (await wires.command({"cut": ""}))["ok"]
        for caller in callers:
            caller.say(b"y")
        assert all([await caller.silent() for caller in callers])
        assert (await wires.command({"mend": "a"}))["ok"]
        assert [await caller.silent() for caller in callers] == [True] * 4
        assert (await wires.command({"mend": "b"}))["ok"]
        assert [await caller.heard(1) for caller in callers] == [b"y"] * 4
        assert (await wires.command({"drop": True, "path": 1}))["ok"]
        assert all([await callers[n].ended() for n in (1, 3)])
        callers[0].say(b"z")
        assert await callers[0].heard(1) == b"z"
        assert (await wires.command({"drop": True}))["ok"]
        assert all([await caller.ended() for caller in callers])
        assert "say cut" in (await wires.command({"burn": 1}))["error"]
        for caller in callers:
            caller.close()
        await wires.stop()


async def test_pieces_are_late_side_by_side_and_keep_their_order() -> None:
    async with echo() as far:
        wires = Wires([("a", 0, ("127.0.0.1", 0), far)])
        await wires.start()
        caller = await call(wires.peers("a")[0])
        assert (await wires.command({"delay": "a", "ms": 200, "jitter_ms": 100}))["ok"]
        loop = asyncio.get_running_loop()
        said_s = loop.time()
        for number in range(10):
            caller.say(bytes((number,)))
            await asyncio.sleep(0.01)  # paces: a piece each, not one of ten bytes
        assert await caller.heard(10) == bytes(range(10))
        took_s = loop.time() - said_s
        assert 0.2 < took_s < 1.0, "late once, not once a piece"
        assert (await wires.command({"heal": True}))["ok"]
        said_s = loop.time()
        caller.say(b"x")
        await caller.heard(1)
        assert loop.time() - said_s < 0.2
        caller.close()
        await wires.stop()


async def test_a_byte_of_each_second_piece_is_another_one() -> None:
    async with echo() as far:
        wires = Wires([("a", 0, ("127.0.0.1", 0), far)])
        await wires.start()
        caller = await call(wires.peers("a")[0])
        assert (await wires.command({"corrupt": "b", "every": 2}))["ok"]
        heard = []
        for _ in range(4):
            caller.say(b"abc")
            heard.append(await caller.heard(3))
        assert heard == [b"abc", b"a\x9dc"] * 2
        assert (await wires.command({"corrupt": "", "every": 0}))["ok"]
        for _ in range(2):
            caller.say(b"abc")
            assert await caller.heard(3) == b"abc"
        caller.close()
        await wires.stop()


def write(folder: Path, name: str, listen: str, peer: str) -> Path:
    file = folder / f"node-{name}.yaml"
    file.write_text(f"node: {name}\nlink: {{listen: {listen}, peer: {peer}}}\n")
    return file


def test_the_nodes_files_tell_where_to_stand(tmp_path: Path) -> None:
    a = write(tmp_path, "a", '"10.0.0.1:1"', '["10.0.0.9:2"]')
    b = write(tmp_path, "b", '["10.0.0.2:3"]', '"10.0.0.9:4"')
    assert routes_of([a, b]) == [
        ("a", 0, ("10.0.0.9", 2), ("10.0.0.2", 3)),
        ("b", 0, ("10.0.0.9", 4), ("10.0.0.1", 1)),
    ]
    with pytest.raises(SiteError, match="two node files"):
        routes_of([a])
    two = write(tmp_path, "b", '["10.0.0.2:3", "10.0.0.2:5"]', '"10.0.0.9:4"')
    with pytest.raises(SiteError, match="dials 1 paths of 2"):
        routes_of([a, two])
