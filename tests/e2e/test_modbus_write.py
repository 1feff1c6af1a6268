"""Writes through the Modbus driver: one request, never repeated, read back."""

from __future__ import annotations

from typing import Any

import pytest
from modbus_peer import (
    SILENCE,
    WRONG_ECHO,
    Exc,
    House,
    Peer,
    device,
    opened,
    registers,
    serve_tcp,
    tcp,
    values,
)

from gateway.errors import InvalidReply, Refused, ReplyTimeout, WriteRefused
from gateway.model import Status

RW = {"access": "rw"}


@pytest.mark.parametrize(
    ("keys", "value", "function", "read_back"),
    [
        ({"address": 10}, 5, 6, 5),
        ({"address": 10, "write_multiple": True}, 5, 16, 5),
        ({"address": 10, "type": "float32", "byte_order": "CDAB"}, 1.5, 16, 1.5),
        ({"address": 10, "scale": 0.1}, 12.3, 6, 12.3),
        ({"address": 10, "type": "int32"}, -7, 16, -7),
        ({"address": 10, "register": "coil", "type": "bool"}, True, 5, True),
        ({"address": 10, "register": "coil", "type": "bool", "write_multiple": True}, True, 15, 1),
        ({"address": 10, "type": "string", "length": 3}, "abc", 16, "abc"),
    ],
    ids=str,
)
async def test_a_value_is_written_in_one_request_and_read_back(
    keys: dict[str, Any], value: Any, function: int, read_back: Any
) -> None:
    peer, house = Peer(), House()
    spec = device("plc", {"w": keys | RW})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        outcome = await line.write(spec.points[0], value)
        assert outcome.status == Status.GOOD
        assert outcome.read_back == pytest.approx(read_back)
        assert next(pdu[0] for _, pdu in peer.requests) == function
        assert len(peer.requests) == 2


@pytest.mark.parametrize("has_fc22", [True, False])
async def test_a_bit_of_a_register_leaves_its_neighbours_alone(has_fc22: bool) -> None:
    peer, house = Peer(), House()
    peer.words[1, 10] = 0b1010
    keys = {"address": 10, "type": "bool", "bit": 2, "read_modify_write": not has_fc22}
    spec = device("plc", {"w": keys | RW}, quirks={"has_fc22": has_fc22})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert (await line.write(spec.points[0], True)).read_back is True
        assert peer.words[1, 10] == 0b1110
        assert (await line.write(spec.points[0], False)).read_back is False
        assert peer.words[1, 10] == 0b1010


async def test_a_scale_factor_is_read_from_the_device_before_the_write() -> None:
    peer, house = Peer(), House()
    peer.words[1, 11] = 0xFFFF  # 10^-1
    points = {
        "w": {"address": 10, "sf": "w_sf", "type": "int16"} | RW,
        "w_sf": {"address": 11, "type": "int16"},
    }
    spec = device("plc", points)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        outcome = await line.write(spec.points[0], 12.3)
        assert peer.words[1, 10] == 123
        assert outcome.read_back == pytest.approx(12.3)
        peer.words[1, 11] = 0x8000
        with pytest.raises(WriteRefused):
            await line.write(spec.points[0], 12.3)


async def test_what_the_device_takes_back_is_observed_though_it_reads_as_before_the_write() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(10, **RW) | registers(11))
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "plc") == {0: 10, 1: 11}
        assert await values(line, "plc") == {}
        assert (await line.write(spec.points[0], 5)).read_back == 5
        peer.words[1, 10] = 10
        assert (await values(line, "plc"))[0] == 10


async def test_a_write_is_never_repeated() -> None:
    peer, house = Peer(), House()
    spec = device("plc", {"w": {"address": 10} | RW}, retries=5)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        for fault, error in (
            (SILENCE, ReplyTimeout),
            (WRONG_ECHO, InvalidReply),
            (Exc(6), Refused),
            (Exc(4), Refused),
        ):
            peer.requests.clear()
            peer.script.append(fault)
            with pytest.raises(error):
                await line.write(spec.points[0], 5)
            assert len(peer.requests) == 1


async def test_an_exception_to_a_write_has_a_status_that_tells_why() -> None:
    peer, house = Peer(), House()
    spec = device("plc", {"w": {"address": 10} | RW})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        for code, status in ((3, Status.BAD_OUT_OF_RANGE), (1, Status.BAD_NOT_SUPPORTED)):
            peer.script.append(Exc(code))
            with pytest.raises(Refused) as refused:
                await line.write(spec.points[0], 5)
            assert (refused.value.code, refused.value.status) == (code, status)


async def test_what_must_not_be_written_is_refused_before_anything_is_sent() -> None:
    peer, house = Peer(), House()
    points = {"r": {"address": 10}, "w": {"address": 11, "min": 0, "max": 10} | RW}
    spec = device("plc", points)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        for index, value, status in (
            (0, 5, Status.BAD_NOT_WRITABLE),
            (1, 11, Status.BAD_OUT_OF_RANGE),
            (1, "x", Status.BAD_TYPE_MISMATCH),
        ):
            with pytest.raises(WriteRefused) as refused:
                await line.write(spec.points[index], value)
            assert refused.value.status == status
        assert peer.requests == []


async def test_a_write_only_point_is_neither_scanned_nor_read_back() -> None:
    peer, house = Peer(), House()
    spec = device("plc", {"r": {"address": 10}, "w": {"address": 11, "access": "w"}})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        outcome = await line.write(spec.points[1], 5)
        assert outcome[:2] == (Status.GOOD, None)
        scan = await line.scan("plc", "normal")
        assert [each.point for each in scan.observations] == [0]


async def test_a_failed_read_back_does_not_hide_that_the_write_was_done() -> None:
    peer, house = Peer(), House()
    spec = device("plc", {"w": {"address": 10} | RW}, retries=0)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        peer.rule = lambda unit, pdu: Exc(4) if pdu[0] == 3 else None
        outcome = await line.write(spec.points[0], 5)
        assert outcome[:2] == (Status.GOOD, None)
        assert "not read back" in outcome.detail
