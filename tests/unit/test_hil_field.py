"""The rig's own Modbus writes to real devices, and its proxies before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from hil.field import Field, Frames, Listening
from hil.gateway import ProgramError
from hil.outstation.polls import PollLog
from hil.pattern import ANSWER_S, Connection, Refused, patterns_of, request
from hil.plant import Plant, PlantPoint, read_site
from hil.real import PATTERN_NS
from hil.settings import RealDevice, Rig

SITE = """\
site: field
devices:
  plc1:
    driver: modbus
    unit_id: 7
    line: {tcp: {host: 127.0.0.1, port: 502}}
    points:
      counts: {register: holding, address: 16, type: uint16}
      wide: {register: holding, address: 2, type: float32, range: {eu: [0, 8]}}
      pump: {register: coil, address: 172, type: bool}
"""
OF_COUNTS = bytes.fromhex("0001 0000 0006 07 06 0010 0000")
ANSWERED = bytes.fromhex("0001 0000 0003 07 86 02")


def plant(*at: tuple[str, int]) -> Plant:
    real = {"plc1": RealDevice((("127.0.0.1", 0),) * len(at), at)}
    return read_site(SITE, str, pytest.fail, Rig(real=real))


def point(name: str) -> PlantPoint:
    return next(point for point in plant().points() if point.name == name)


@asynccontextmanager
async def listening(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[tuple[str, int]]:
    """A device that answers what it is told to; None: it says nothing."""
    transports: list[asyncio.Transport] = []

    class Device(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            transports.append(transport)

        def data_received(self, data: bytes) -> None:
            if (said := answer(data)) is not None:
                self.transport.write(said)

    server = await asyncio.get_running_loop().create_server(Device, "127.0.0.1", 0)
    async with server:
        yield ("127.0.0.1", server.sockets[0].getsockname()[1])
        for transport in transports:
            transport.abort()


def test_a_write_is_the_bytes_of_the_specification() -> None:
    # Modbus Application Protocol V1.1b3, 6.5 (coil 173 ON), 6.6, 6.12
    assert request(point("pump"), True) == bytes.fromhex("05 00AC FF00")
    assert request(point("pump"), False) == bytes.fromhex("05 00AC 0000")
    assert request(point("counts"), 3) == bytes.fromhex("06 0010 0003")
    assert request(point("wide"), 1.5) == bytes.fromhex("10 0002 0002 04 3FC0 0000")


async def test_a_write_is_noted_with_its_answer_or_without_or_is_refused() -> None:
    answers = [bytes.fromhex("0001 0000 0006 07 06 0010 0000"), ANSWERED.replace(b"\1", b"\2", 1)]
    async with listening(lambda _: answers.pop(0) if answers else None) as to:
        connection = Connection(to, 7)
        one = await connection.step(point("counts"), 0)
        assert (one.point, one.value) == ("plc1/counts", 0)
        assert 0 < one.sent_ns <= one.answered_ns
        with pytest.raises(Refused, match="exception 2"):
            await connection.step(point("counts"), 1)
        one = await connection.step(point("counts"), 2)
        assert one.sent_ns and not one.answered_ns, f"no answer within {ANSWER_S} s"
        connection.close()


async def test_a_pattern_that_the_device_refuses_is_told_before_the_run(tmp_path: Path) -> None:
    async with listening(lambda _: ANSWERED) as to:
        patterns = patterns_of(plant(to), {"plc1/counts": PATTERN_NS}, tmp_path)
        with pytest.raises(
            ProgramError, match=r"plc1/counts.*unit 7: Refused.*exception 2.*Choose"
        ):
            await patterns.start()
        await patterns.stop()


def test_frames_are_found_in_any_pieces() -> None:
    frames = Frames()
    assert frames.of(OF_COUNTS[:5]) == []
    assert frames.of(OF_COUNTS[5:] + ANSWERED) == [
        (1, 7, bytes.fromhex("06 0010 0000")),
        (1, 7, bytes.fromhex("86 02")),
    ]
    assert frames.of(b"GET / HTTP/1.1") == [] and len(frames.of(OF_COUNTS)) == 1


def test_what_passes_is_a_poll_when_it_is_answered_and_silence_when_it_is_not() -> None:
    log = PollLog()
    gate = Listening({7: "plc1"}, log)
    gate.heard("127.0.0.11:9", True, OF_COUNTS)
    gate.heard("127.0.0.11:9", False, ANSWERED)
    gate.heard("127.0.0.11:9", True, OF_COUNTS)
    gate.heard("127.0.0.11:9", True, OF_COUNTS)
    gate.heard("127.0.0.12:9", True, OF_COUNTS)
    gate.heard("127.0.0.11:9", True, b"")
    assert [(p.peer[:10], p.outcome, bool(p.answered_ns)) for p in log.polls] == [
        ("127.0.0.11", "exception 2", True),
        ("127.0.0.11", "silence", False),
        ("127.0.0.11", "silence", False),
    ]
    poll = log.polls[0]
    assert (poll.device, poll.unit, poll.function) == ("plc1", 7, 6)
    assert (poll.area, poll.address, poll.count) == ("holding", 16, 1)
    gate.unanswered()
    assert log.polls[-1].peer == "127.0.0.12:9"


async def ask(where: tuple[str, int], within_s: float = 5.0) -> bytes:
    """What comes back of a request; empty: nothing does."""
    writer = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(*where)
            writer.write(OF_COUNTS)
            return await reader.read(300)
    except (OSError, TimeoutError):
        return b""
    finally:
        if writer is not None:
            writer.transport.abort()


async def test_each_word_is_done_and_undone_by_the_proxy() -> None:
    async with listening(lambda data: data) as to:
        field = Field(plant(to), PollLog())
        await field.start()
        proxy = field.proxies("plc1")[0]

        async def tell(**message: object) -> None:
            assert await field.command({"device": "plc1", **message}) == {"ok": True}

        assert await ask(proxy.address) == OF_COUNTS
        for word in ("cut", "silence", "refuse"):
            await tell(begin=word)
            assert await ask(proxy.address, 0.2) == b"", word
            await tell(end=word)
            assert await ask(proxy.address) == OF_COUNTS
        loop = asyncio.get_running_loop()
        await tell(begin="delay", ms=150)
        begun_s = loop.time()
        assert await ask(proxy.address) == OF_COUNTS and loop.time() - begun_s >= 0.15
        await tell(end="delay", ms=150)
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(OF_COUNTS)
        assert await reader.read(300) == OF_COUNTS
        await tell(begin="drop")
        with suppress(ConnectionError):
            assert await reader.read(300) == b""
        writer.transport.abort()
        await tell(flush=True)
        assert not (await field.command({"begin": "nan", "device": "plc1"}))["ok"]
        assert not (await field.command({"begin": "cut", "device": "plc9"}))["ok"]
        await field.stop()
