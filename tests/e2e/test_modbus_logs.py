"""Reading logs over a real line: turns, retries, refusals, locks, and the end of a reign."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from modbus_peer import CLOSE, SILENCE, Exc, House, Peer, device, opened, serve_pty, serve_tcp, tcp
from modbus_peer import registers as points

from drivers.modbus.line import OpenLine
from drivers.modbus.log import reader
from drivers.modbus.log.methods import FACT
from drivers.modbus.log.ops import (
    Answer,
    Call,
    GivenUp,
    Learn,
    Read,
    Reading,
    Refusal,
    Release,
    Wait,
    Write,
)
from drivers.modbus.log.reader import read_pages
from drivers.modbus.settings import ModbusLine
from gateway.driver import LogPage, LogWanted
from gateway.errors import InvalidReply, LinkError, LogUnavailable, Refused, ReplyTimeout
from gateway.model import NS_PER_S
from profiles.schema import Area

PAGE = LogPage(0, 1)
UNLOCK = Write(40, (0,))


class Logger(Peer):
    """A peer that has files of records, and takes a count for a record's number."""

    def answer(self, unit: int, pdu: bytes) -> bytes:
        if pdu[0] == 20:
            _, _, file, record, length = struct.unpack(">BBHHH", pdu[1:9])
            data = struct.pack(f">{length}H", *range(record, record + length))
            assert file == 4
            return bytes([20, len(data) + 2, len(data) + 1, 6]) + data
        if pdu[0] == 3 and struct.unpack(">H", pdu[1:3])[0] == 700:
            return b"\x03\x04" + pdu[1:5]
        return super().answer(unit, pdu)


async def at_once(expected_ns: int) -> None:
    assert expected_ns > 0


@contextlib.asynccontextmanager
async def a_line(peer: Peer, house: House, **said: Any) -> AsyncIterator[OpenLine]:
    spec = device("plc", points(0, 1), **{"timeout": "100ms", "retries": 1, **said})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        yield line


async def run(line: OpenLine, house: House, reading: Reading) -> list[LogPage]:
    unit = line._units["plc"]
    return [page async for page in read_pages(reading, unit, house.context(), at_once, "log x")]


async def test_every_operation_is_carried_out_and_answered() -> None:
    peer, house = Logger(), House()
    told: list[Any] = []

    def method() -> Reading:
        told.append((yield Read(Area.HOLDING, 7, 2)))
        told.append((yield Read(Area.INPUT, 9, 1, once=True)))
        told.append((yield Write(50, (5,))))
        told.append((yield Write(51, (6, 7))))
        told.append((yield Call(20, struct.pack(">BBHHH", 7, 6, 4, 3, 2), size=7)))
        told.append((yield Call(3, struct.pack(">HH", 700, 1234), once=True)))
        told.append((yield Wait(1_000_000)))
        told.append((yield Learn({"points": ["r0"]})))
        told.append((yield PAGE))
        told.append((yield Release((UNLOCK,))))

    async with a_line(peer, house) as line:
        assert await run(line, house, method()) == [PAGE]
    answers = [each for each in told if isinstance(each, Answer)]
    assert [answer.words for answer in answers[:2]] == [(7, 8), (9,)]
    assert answers[4].data == bytes([6, 5, 6, 0, 3, 0, 4])
    assert answers[5].data == b"\x04" + struct.pack(">HH", 700, 1234)
    assert all(answer.sent_ns <= answer.received_ns for answer in answers)
    assert told[6:] == [None] * 4
    assert [peer.words[1, at] for at in (50, 51, 52, 40)] == [5, 6, 7, 0]
    assert [pdu[0] for _, pdu in peer.requests] == [3, 4, 6, 16, 20, 3, 6]
    assert house.facts["plc", "log x"] == {"points": ["r0"]}


async def test_what_is_refused_is_an_answer_and_a_dead_unit_is_not() -> None:
    peer, house = Peer(), House()
    told: list[Any] = []

    def method() -> Reading:
        told.append((yield Read(Area.HOLDING, 7, 2)))
        yield Read(Area.HOLDING, 7, 2)

    async with a_line(peer, house) as line:
        peer.script.extend([Exc(3), Exc(11)])
        with pytest.raises(Refused, match="exception 11"):
            await run(line, house, method())
    (refusal,) = told
    assert isinstance(refusal, Refusal)
    assert refusal.code == 3
    assert 0 < refusal.sent_ns <= refusal.received_ns


@pytest.mark.parametrize("fault", [SILENCE, CLOSE])
async def test_an_addressed_read_is_repeated_and_a_stateful_one_is_not(fault: object) -> None:
    peer, house = Peer(), House()
    told: list[Any] = []

    def method() -> Reading:
        told.append((yield Read(Area.HOLDING, 7, 2)))
        peer.script.append(fault)
        try:
            yield Read(Area.HOLDING, 7, 2, once=True)
        except (ReplyTimeout, LinkError) as error:
            told.append(error)
        # The method knows what it read last and goes on from there.
        told.append((yield Read(Area.HOLDING, 8, 1)))

    async with a_line(peer, house) as line:
        await line.scan("plc", "normal")
        peer.script.append(fault)
        await run(line, house, method())
    assert told[0].words == (7, 8)
    assert isinstance(told[1], ReplyTimeout | LinkError)
    assert told[2].words == (8,)
    assert sum(pdu == b"\x03\x00\x07\x00\x02" for _, pdu in peer.requests) == 3


async def test_a_call_of_the_wrong_length_is_no_answer() -> None:
    peer, house = Logger(), House()

    def method() -> Reading:
        yield Call(3, struct.pack(">HH", 700, 1), once=True, size=7)

    async with a_line(peer, house) as line:
        with pytest.raises(InvalidReply, match="5 bytes where 7"):
            await run(line, house, method())


async def test_calls_work_on_a_serial_line_and_after_a_time_out() -> None:
    peer, house = Logger(), House()
    told: list[Any] = []

    def method() -> Reading:
        told.append((yield Call(20, struct.pack(">BBHHH", 7, 6, 4, 3, 2), size=7)))
        told.append((yield Call(3, struct.pack(">HH", 700, 1234), size=5)))

    settings = ModbusLine(rtu={"parity": "N", "baudrate": 115200}, listen="20ms")
    spec = device("plc", points(0), timeout="100ms", retries=1)
    async with serve_pty(peer) as bus, opened(house, settings, spec, port=bus.port) as line:
        peer.script.append(SILENCE)
        assert await run(line, house, method()) == []
    assert [answer.data[0] for answer in told] == [6, 4]


def locked(ends: list[BaseException]) -> Reading:
    """Holds a lock while it reads, and gives it back on every way out."""
    try:
        yield Write(40, (1,))
        while True:
            yield Read(Area.HOLDING, 7, 1)
            yield PAGE
    except BaseException as error:
        ends.append(error)
        raise
    finally:
        yield Release((UNLOCK,))


async def test_a_lock_is_given_back_when_nobody_wants_the_rest() -> None:
    peer, house = Peer(), House()
    ends: list[BaseException] = []
    async with a_line(peer, house) as line:
        pages = read_pages(locked(ends), line._units["plc"], house.context(), at_once, "log x")
        assert await anext(pages) == PAGE
        assert peer.words[1, 40] == 1
        await pages.aclose()
        assert peer.words[1, 40] == 0
    assert isinstance(ends[0], GivenUp)


async def test_a_lock_is_given_back_when_the_reader_is_cancelled() -> None:
    peer, house = Peer(), House()
    ends: list[BaseException] = []
    waiting = asyncio.Event()
    turns = 0

    async def third_never_comes(expected_ns: int) -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            waiting.set()
            await asyncio.Event().wait()

    async with a_line(peer, house) as line:

        async def read() -> None:
            unit = line._units["plc"]
            async for _ in read_pages(
                locked(ends), unit, house.context(), third_never_comes, "log x"
            ):
                pass

        task = asyncio.create_task(read())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert peer.words[1, 40] == 0
    assert isinstance(ends[0], GivenUp)


async def test_a_lock_is_given_back_after_a_failure() -> None:
    peer, house = Peer(), House()
    ends: list[BaseException] = []
    async with a_line(peer, house, retries=0) as line:
        peer.rule = lambda unit, pdu: SILENCE if pdu[0] == 3 else None
        with pytest.raises(ReplyTimeout):
            await run(line, house, locked(ends))
        assert peer.words[1, 40] == 0


async def test_nothing_is_sent_after_the_reign_not_even_an_unlock() -> None:
    peer, house = Peer(), House()
    ends: list[BaseException] = []
    async with a_line(peer, house) as line:
        pages = read_pages(locked(ends), line._units["plc"], house.context(), at_once, "log x")
        await anext(pages)
        house.may_send = False
        sent = len(peer.requests)
        with pytest.raises(LinkError, match="may not speak"):
            await anext(pages)
        assert len(peer.requests) == sent
    assert peer.words[1, 40] == 1


async def test_a_method_that_is_astray_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "OPERATIONS_MAX", 3)
    peer, house = Peer(), House()

    def astray() -> Reading:
        try:
            while True:
                yield Wait(0)
        finally:
            # It may only give back what it locked.
            yield Read(Area.HOLDING, 1, 1)

    async with a_line(peer, house) as line:
        with pytest.raises(LogUnavailable, match="no page after 3 operations"):
            await run(line, house, astray())
    assert peer.requests == []


async def test_what_lies_beyond_all_registers_is_not_asked_for() -> None:
    peer, house = Peer(), House()

    def method() -> Reading:
        yield Read(Area.HOLDING, 65530, 7)

    async with a_line(peer, house) as line:
        with pytest.raises(LogUnavailable, match="end beyond 65535"):
            await run(line, house, method())
    assert peer.requests == []


# ------------------------------------------------------------------------------------ the whole way

BASE = 2000


def a_ring(peer: Peer, house: House, count: int) -> LogWanted:
    """A ring of one column, a record a second up to now."""
    now_s = house.clock.utc_ns() // NS_PER_S

    def put(address: int, *words: int) -> None:
        for at, word in enumerate(words):
            peer.words[1, address + at] = word & 0xFFFF

    put(BASE, 0x5742, 1, 8, 50, 0, count, 0, max(1, count - 49), now_s >> 16, now_s, 0, 1)
    for seq in range(max(1, count - 49), count + 1):
        stamp = now_s - count + seq
        put(BASE + 12 + seq % 50 * 8, 0, seq, stamp >> 16, stamp, 0, 0, seq * 2, seq)
    begin_ns = (now_s - 20) * NS_PER_S
    return LogWanted("ring", begin_ns, begin_ns + 10 * NS_PER_S)


RING = {"method": "ring", "address": BASE, "columns": ["r1"], "resolution": "1s"}


async def test_a_log_is_read_between_scans_and_told_as_it_is() -> None:
    peer, house = Peer(), House()
    wanted = a_ring(peer, house, 70)
    async with a_line(peer, house, windback=RING) as line:
        (spec,) = line.logs("plc")
        assert (spec.name, spec.points, spec.resolution_ns) == ("ring", ("r1",), NS_PER_S)
        pages = [page async for page in line.read_log("plc", wanted, at_once)]
        assert [(o.point, o.value) for page in pages for o in page.observations] == [
            (1, 2 * n) for n in range(50, 60)
        ]
        assert pages[0].clock is not None
        assert house.facts["plc", FACT + "ring"]["depth_records"] == 50
        (spec,) = line.logs("plc")
        assert spec.depth_records == 50
        await line.acknowledge("plc", pages[0])


async def test_the_clock_of_a_log_is_read_once_a_connection_and_what_fails_is_left_alone() -> None:
    peer, house = Peer(), House()
    a_ring(peer, house, 70)

    async def asked(line: OpenLine) -> int:
        """How often the ring's header was read for one scan."""
        before = len(peer.requests)
        assert (await line.scan("plc", "normal")).fault is None
        told = [struct.unpack(">H", pdu[1:3])[0] for _, pdu in peer.requests[before:]]
        assert BASE not in told, "no value waits for it"
        await asyncio.gather(*line._looking)
        new = [struct.unpack(">H", pdu[1:3])[0] for _, pdu in peer.requests[before:]]
        return new.count(BASE)

    async with a_line(peer, house, windback=RING) as line:
        assert await asked(line) > 0
        known = house.facts["plc", FACT + "ring"]["clock"]
        assert await asked(line) == 0
        line._bus.session.close()
        assert await asked(line) > 0
        assert house.facts["plc", FACT + "ring"]["clock"] == known, "it tells nothing new"
        peer.words[1, BASE] = 0
        for expected in (1, 0, 0):
            line._bus.session.close()
            assert await asked(line) == expected, "for a minute"


async def test_a_device_that_may_not_be_asked_yet_is_not() -> None:
    peer, house = Peer(), House()
    wanted = a_ring(peer, house, 70)
    async with a_line(peer, house, windback=RING, retries=0) as line:
        peer.rule = lambda unit, pdu: SILENCE
        assert (await line.scan("plc", "normal")).fault is not None
        sent = len(peer.requests)
        with pytest.raises(LogUnavailable, match="no answer") as caught:
            await anext(line.read_log("plc", wanted, at_once))
        assert caught.value.retry_after_ns > 0
        assert len(peer.requests) == sent
    async with a_line(peer, house) as line:
        assert line.logs("plc") == ()
        with pytest.raises(LogUnavailable, match="no log `ring`"):
            await anext(line.read_log("plc", wanted, at_once))


async def test_scans_go_on_while_a_log_is_read() -> None:
    peer, house = Peer(), House()
    wanted = a_ring(peer, house, 70)
    async with a_line(peer, house, windback=RING) as line:
        scans = 0

        async def after_a_scan(expected_ns: int) -> None:
            nonlocal scans
            scan = await line.scan("plc", "normal")
            assert scan.fault is None
            scans += 1

        pages = [page async for page in line.read_log("plc", wanted, after_a_scan)]
        assert sum(page.records for page in pages) == 10
        assert scans > 5
