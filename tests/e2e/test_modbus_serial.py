"""The Modbus driver on serial lines (pseudo terminals) and on RTU over TCP."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from itertools import pairwise
from typing import Any

import pytest
from modbus_peer import (
    BAD_CRC,
    GARBAGE,
    SHORT,
    SILENCE,
    SPLIT,
    WRONG_UNIT,
    Exc,
    House,
    Late,
    Peer,
    crc,
    device,
    opened,
    registers,
    serve_pty,
    serve_tcp,
    values,
)

from drivers.modbus.settings import ModbusLine
from gateway.errors import ReplyTimeout
from gateway.model import NS_PER_S, Cause, Status


def rtu(**keys: Any) -> ModbusLine:
    return ModbusLine(rtu={"parity": "N", "baudrate": 115200, **keys}, listen="20ms")


async def test_units_share_a_serial_line() -> None:
    peer, house = Peer(), House()
    units = (
        device("a", registers(7), unit_id=1),
        device("b", registers(8), 1, unit_id=2),
    )
    async with serve_pty(peer) as bus, opened(house, rtu(), *units, port=bus.port) as line:
        assert await values(line, "a") == {0: 7}
        assert await values(line, "b") == {1: 8}
        assert [unit for unit, _ in peer.requests] == [1, 2]


@pytest.mark.parametrize(
    "fault", [SILENCE, SPLIT, GARBAGE, SHORT, BAD_CRC, WRONG_UNIT, Late(0.25)], ids=str
)
async def test_one_bad_answer_on_a_serial_line_is_overcome(fault: object) -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7, 8), timeout="200ms")
    async with serve_pty(peer) as bus, opened(house, rtu(), spec, port=bus.port) as line:
        await values(line, "plc")
        peer.words[1, 7] = 1
        peer.script.append(fault)
        assert await values(line, "plc") == {0: 1, 1: 8}
        peer.words[1, 7] = 2
        assert await values(line, "plc") == {0: 2, 1: 8}


@pytest.mark.parametrize("delay_s", [0.12, 0.18, 0.25, 0.33])
async def test_a_late_answer_is_never_taken_for_the_next_one(delay_s: float) -> None:
    """Blocks of one size at 100, 200 and 300; every answer comes later than the time-out."""
    peer, house = Peer(), House()
    points = registers(100, 101, 300, 301, 500, 501)
    spec = device("plc", points, timeout="100ms", retries=2)
    late = Late(delay_s)
    async with serve_pty(peer) as bus, opened(house, rtu(), spec, port=bus.port) as line:
        for round_ in range(2):
            peer.rule = (lambda unit, pdu: late) if round_ % 2 == 0 else None
            line.forget("plc")
            for _ in range(4):
                scan = await line.scan("plc", "normal")
                for each in scan.observations:
                    name = spec.points[each.point].name
                    assert each.value == int(name[1:]), f"round {round_}"
                wait_ns = scan.fault.retry_after_ns if scan.fault else 0
                await asyncio.sleep(wait_ns / NS_PER_S)  # paces: as the collector does
                if scan.fault is None:
                    break
        peer.rule = None
        await asyncio.sleep(delay_s)  # paces: the last late answer passes
        line.forget("plc")
        deadline = time.monotonic() + 5
        while (scan := await line.scan("plc", "normal")).fault is not None:
            assert time.monotonic() < deadline
            await asyncio.sleep(scan.fault.retry_after_ns / NS_PER_S)  # paces: retry
        assert [each.value for each in scan.observations] == [100, 101, 300, 301, 500, 501]


async def test_a_late_answer_is_never_taken_for_a_raw_read_of_another_place() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7), timeout="60ms", retries=0)
    async with serve_pty(peer) as bus, opened(house, rtu(), spec, port=bus.port) as line:
        peer.script.append(Late(0.1))
        with pytest.raises(ReplyTimeout):
            await line.raw("plc", "holding", "100", 1)
        assert await line.raw("plc", "holding", "200", 1) == [200]
        assert await line.raw("plc", "holding", "300", 1) == [300]


async def test_a_hung_unit_on_a_bus_never_costs_more_than_one_time_out() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: SILENCE if unit == 2 else None
    units = (
        device("good", registers(7), unit_id=1, timeout="100ms", retries=3),
        device("hung", registers(7), 1, unit_id=2, timeout="100ms", retries=3),
    )
    async with serve_pty(peer) as bus, opened(house, rtu(), *units, port=bus.port) as line:
        await values(line, "good")
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            await line.scan("hung", "normal")
            await values(line, "good")
            await asyncio.sleep(0.005)  # paces: the scan class
        asked = [unit for unit, _ in peer.requests]
        assert asked.count(2) >= 2
        assert (2, 2) not in pairwise(asked)
        hung = await line.scan("hung", "normal")
        assert hung.fault is not None
        assert hung.fault.cause is Cause.DEVICE


async def test_another_master_heard_before_the_first_request_keeps_us_silent() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7))
    settings = ModbusLine(rtu={"parity": "N"}, listen="150ms")
    async with serve_pty(peer) as bus, opened(house, settings, spec, port=bus.port) as line:
        frame = bytes([9, 3, 0, 0, 0, 2])
        asyncio.get_running_loop().call_later(0.08, bus.send, frame + crc(frame))
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        assert scan.fault.cause is Cause.OTHER_MASTER
        assert scan.fault.retry_after_ns > NS_PER_S
        assert peer.requests == []
        assert "Another master" in house.alarms[0][2]
        again = await line.scan("plc", "normal")
        assert again.fault is not None
        assert again.fault.cause is Cause.OTHER_MASTER


async def test_an_echoing_adapter_is_understood() -> None:
    peer, house = Peer(echo=True), House()
    points = registers(7) | {"w": {"address": 20, "access": "rw"}}
    spec = device("plc", points)
    async with (
        serve_pty(peer) as bus,
        opened(house, rtu(echo=True), spec, port=bus.port) as line,
    ):
        assert await values(line, "plc") == {0: 7, 1: 20}
        outcome = await line.write(spec.points[1], 5)
        assert (outcome.status, outcome.read_back) == (Status.GOOD, 5)
        peer.script.append(SILENCE)
        line.forget("plc")
        assert await values(line, "plc") == {0: 7, 1: 5}


async def test_the_gap_between_frames_is_kept() -> None:
    peer, house = Peer(), House()
    stamps: list[float] = []

    def note(unit: int, pdu: bytes) -> None:
        stamps.append(time.monotonic())

    peer.rule = note
    settings = ModbusLine(rtu={"parity": "N"}, listen="0ms", gap="30ms")
    spec = device("plc", registers(7, 1000, 2000))
    async with serve_pty(peer) as bus, opened(house, settings, spec, port=bus.port) as line:
        await values(line, "plc")
    assert len(stamps) == 3
    assert min(b - a for a, b in itertools.pairwise(stamps)) >= 0.028


async def test_a_port_that_is_missing_or_unfit_is_a_link_fault_that_says_why() -> None:
    house = House()
    spec = device("plc", registers(7))
    async with opened(house, rtu(), spec, port="/dev/hotpair-no-such-port") as line:
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        assert scan.fault.cause is Cause.LINK
        assert "no-such-port" in scan.fault.detail
    peer = Peer()
    async with (
        serve_pty(peer) as bus,
        opened(house, rtu(rs485=True), spec, port=bus.port) as line,
    ):
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        assert "RS-485" in scan.fault.detail


async def test_a_pulled_adapter_is_a_link_fault() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7), retries=0)
    async with serve_pty(peer) as bus:
        line_settings = rtu()
        async with opened(house, line_settings, spec, port=bus.port) as line:
            await values(line, "plc")
            line._bus.session._client.ctx.transport.close(exc=OSError("unplugged"))
            scan = await line.scan("plc", "normal")
            assert scan.fault is None
            assert scan.observations == []
            assert line._bus.session.generation == 2


async def test_rtu_over_tcp_finds_its_answers_and_survives_a_late_one() -> None:
    peer, house = Peer(rtu=True), House()
    spec = device("plc", registers(100, 101), timeout="100ms")
    async with serve_tcp(peer) as port:
        settings = ModbusLine(rtu_over_tcp={"host": "127.0.0.1", "port": port})
        async with opened(house, settings, spec) as line:
            assert await values(line, "plc") == {0: 100, 1: 101}
            for fault in (SILENCE, Late(0.15), BAD_CRC, GARBAGE, Exc(6)):
                peer.script.append(fault)
                line.forget("plc")
                assert await values(line, "plc") == {0: 100, 1: 101}
            assert peer.connections == 4


async def test_a_port_that_refuses_its_settings_says_so_each_time_and_is_let_go() -> None:
    """A pseudo terminal has no parity; the port must not stay locked by the attempt."""
    peer, house = Peer(), House()
    spec = device("plc", registers(7))
    settings = ModbusLine(rtu={"parity": "E"}, listen="0ms")
    gc.disable()
    try:
        async with serve_pty(peer) as bus, opened(house, settings, spec, port=bus.port) as line:
            for _ in range(3):
                scan = await line.scan("plc", "normal")
                assert scan.fault is not None
                assert "parity: N" in scan.fault.detail
                await asyncio.sleep(scan.fault.retry_after_ns / NS_PER_S)  # paces: its own back-off
    finally:
        gc.enable()
