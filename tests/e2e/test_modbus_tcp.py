"""The Modbus driver against a scripted outstation on TCP."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from itertools import pairwise

import pytest
from modbus_peer import (
    CLOSE,
    GARBAGE,
    SHORT,
    SILENCE,
    SPLIT,
    WRONG_FUNCTION,
    WRONG_TID,
    WRONG_UNIT,
    ZERO_TID,
    Exc,
    House,
    Late,
    Peer,
    device,
    opened,
    registers,
    serve_tcp,
    tcp,
    values,
)

from gateway.driver import Frame, Scan
from gateway.errors import LinkError, Refused
from gateway.model import NS_PER_S, Cause, Status


async def test_a_scan_brings_every_point_once_and_then_only_changes() -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(0, 1, 2))) as line,
    ):
        before_ns = house.clock.utc_ns()
        scan = await line.scan("plc", "normal")
        assert [each[0::2] for each in scan.observations] == [(0, 0), (1, 1), (2, 2)]
        assert all(before_ns <= o.time_ns <= scan.received_ns for o in scan.observations)
        assert await values(line, "plc") == {}
        peer.words[1, 1] = 77
        assert await values(line, "plc") == {0: 0, 1: 77, 2: 2}
        line.forget("plc")
        assert await values(line, "plc") == {0: 0, 1: 77, 2: 2}
    assert len(peer.requests) == 4


async def test_every_area_is_read_with_its_function() -> None:
    peer, house = Peer(), House()
    points = {
        "coil": {"register": "coil", "address": 3, "type": "bool"},
        "discrete": {"register": "discrete", "address": 4, "type": "bool"},
        "input": {"register": "input", "address": 5},
        "holding": {"register": "holding", "address": 6},
    }
    async with serve_tcp(peer) as port, opened(house, tcp(port), device("plc", points)) as line:
        assert await values(line, "plc") == {0: True, 1: False, 2: 5, 3: 6}
        assert sorted(pdu[0] for _, pdu in peer.requests) == [1, 2, 3, 4]


async def test_scan_classes_are_read_apart() -> None:
    peer, house = Peer(), House()
    points = registers(0) | registers(100, scan="slow")
    async with serve_tcp(peer) as port, opened(house, tcp(port), device("plc", points)) as line:
        assert await values(line, "plc") == {0: 0}
        assert await values(line, "plc", "slow") == {1: 100}


@pytest.mark.parametrize(
    "fault",
    [SILENCE, CLOSE, GARBAGE, SHORT, WRONG_TID, WRONG_UNIT, WRONG_FUNCTION, ZERO_TID, Late(0.3)],
    ids=str,
)
async def test_one_bad_answer_is_overcome_by_a_retry_on_a_new_connection(fault: object) -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7, 8))) as line,
    ):
        await values(line, "plc")
        peer.words[1, 7] = 1
        peer.script.append(fault)
        assert await values(line, "plc") == {0: 1, 1: 8}
        assert peer.connections == 2
        # A late answer has nowhere to arrive.
        await asyncio.sleep(0.35 if isinstance(fault, Late) else 0)  # paces: it passes
        peer.words[1, 7] = 2
        assert await values(line, "plc") == {0: 2, 1: 8}
        counters = line.diagnostics("plc")
        assert counters.requests == counters.replies + 1
        assert counters.connected


async def test_a_split_answer_is_put_together() -> None:
    peer, house = Peer(), House()
    peer.script.append(SPLIT)
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7, 8))) as line,
    ):
        assert await values(line, "plc") == {0: 7, 1: 8}
        assert peer.connections == 1


async def test_a_wrong_transaction_id_is_taken_where_the_quirk_says_so() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: WRONG_TID
    spec = device("plc", registers(7), quirks={"ignore_tid": True})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "plc") == {0: 7}


async def test_silence_is_a_device_fault_and_the_breaker_spares_the_line() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: SILENCE
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7), retries=0)) as line,
    ):
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        assert scan.fault.cause is Cause.DEVICE
        assert scan.fault.status == Status.BAD_NO_COMMUNICATION
        assert 0 < scan.fault.retry_after_ns <= NS_PER_S // 2
        asked = len(peer.requests)
        again = await line.scan("plc", "normal")
        assert again.fault is not None
        assert again.fault.retry_after_ns <= scan.fault.retry_after_ns
        assert len(peer.requests) == asked
        peer.rule = None
        assert await until_good(line, "plc") == {0: 7}
        counters = line.diagnostics("plc")
        assert (counters.timeouts, counters.consecutive_failures) == (asked, 0)


async def until_good(line, name: str, limit_s: float = 5) -> dict[int, object]:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        scan: Scan = await line.scan(name, "normal")
        if scan.fault is None:
            return {each.point: each.value for each in scan.observations}
        await asyncio.sleep(scan.fault.retry_after_ns / NS_PER_S + 0.001)  # paces: retry
    raise AssertionError(scan.fault)


async def test_a_refused_connection_is_a_link_fault_and_is_good_within_a_second_of_its_return() -> (
    None
):
    peer, house = Peer(), House()
    async with serve_tcp(peer) as port:
        pass
    async with opened(house, tcp(port), device("plc", registers(7))) as line:
        for _ in range(6):
            scan = await line.scan("plc", "normal")
            assert scan.fault is not None
            assert scan.fault.cause is Cause.LINK
            assert scan.fault.retry_after_ns <= 800_000_000
            await asyncio.sleep(scan.fault.retry_after_ns / NS_PER_S)  # paces: retry
        assert line.diagnostics("plc").link_failures >= 5
        async with serve_tcp(peer, port=port):
            began = time.monotonic()
            assert await until_good(line, "plc") == {0: 7}
            assert time.monotonic() - began < 1


def reset_all(listener: socket.socket, count: int) -> None:
    """Accept connections and reset each a moment later, each time another one."""
    for number in range(count):
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(number % 20 * 2e-5)  # paces: the reset meets every step of the client's opening
        accepted.close()


async def test_a_connection_that_is_reset_as_soon_as_it_stands_is_a_link_fault() -> None:
    """As a device does whose connections are all taken, and one that is just losing its power."""
    house, count = House(), 20
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        resets = asyncio.create_task(asyncio.to_thread(reset_all, listener, count))
        port = listener.getsockname()[1]
        async with opened(house, tcp(port), device("plc", registers(0), timeout="2s")) as line:
            while not resets.done():
                scan = await line.scan("plc", "normal")
                assert scan.fault is not None and scan.fault.cause is Cause.LINK
        await resets


async def test_an_idle_connection_that_was_closed_is_opened_again_without_a_fault() -> None:
    peer, house = Peer(), House()
    async with serve_tcp(peer) as port:
        pass
    async with opened(house, tcp(port), device("plc", registers(7))) as line:
        for expected in ({0: 7}, {}):
            async with serve_tcp(peer, port=port):
                assert await until_good(line, "plc") == expected
    assert peer.connections == 2


async def test_a_hung_unit_costs_its_neighbour_one_time_out_at_most_and_then_a_tenth() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: SILENCE if unit == 2 else None
    units = (
        device("good", registers(7), unit_id=1, timeout="100ms", retries=3),
        device("hung", registers(7), 1, unit_id=2, timeout="100ms", retries=3),
    )
    async with serve_tcp(peer) as port, opened(house, tcp(port), *units) as line:
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            await line.scan("hung", "normal")
            await values(line, "good")
            await asyncio.sleep(0.005)  # paces: the scan class
        asked = [unit for unit, _ in peer.requests]
        assert (2, 2) not in pairwise(asked)
        attempts = line.diagnostics("hung").timeouts
        assert 2 <= attempts <= 6


async def test_a_gateway_that_drops_the_connection_for_a_dead_unit_does_not_punish_the_others() -> (
    None
):
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: CLOSE if unit == 2 else None
    units = (
        device("good", registers(7), unit_id=1, retries=0),
        device("dead", registers(7), 1, unit_id=2, retries=0),
    )
    async with serve_tcp(peer) as port, opened(house, tcp(port), *units) as line:
        began = time.monotonic()
        good = 0
        while time.monotonic() - began < 1.0:
            await line.scan("dead", "normal")
            good += (await line.scan("good", "normal")).fault is None
            await asyncio.sleep(0.01)  # paces: the scan class
        assert good > 30
        assert line.diagnostics("dead").requests < 6


async def test_a_gateway_that_names_a_dead_target_keeps_its_connection() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: Exc(0x0B) if unit == 2 else None
    units = (
        device("good", registers(7), unit_id=1),
        device("dead", registers(7), 1, unit_id=2),
    )
    async with serve_tcp(peer) as port, opened(house, tcp(port), *units) as line:
        scan = await line.scan("dead", "normal")
        assert scan.fault is not None
        assert (scan.fault.cause, scan.fault.status) == (
            Cause.DEVICE,
            Status.BAD_NO_COMMUNICATION,
        )
        assert await values(line, "good") == {0: 7}
        assert peer.connections == 1
        assert line.diagnostics("dead").exceptions == {0x0B: 1}


async def test_a_busy_device_is_asked_again_a_bounded_number_of_times() -> None:
    peer, house = Peer(), House()
    spec = device(
        "plc", registers(7), retries=0, limits={"busy": {"backoff_ms": [5, 10], "tries": 3}}
    )
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        peer.script.extend([Exc(6), Exc(5)])
        assert await values(line, "plc") == {0: 7}
        peer.rule = lambda unit, pdu: Exc(6)
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        assert scan.fault.status == Status.BAD_RESOURCE_UNAVAILABLE
        assert len(peer.requests) == 3 + 3


async def test_a_refused_address_is_isolated_named_and_remembered() -> None:
    peer, house = Peer(), House()
    points = registers(*range(20))

    def refuse(unit: int, pdu: bytes) -> object:
        first, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        return Exc(2) if first <= 13 < first + count else None

    peer.rule = refuse
    good = {n: n for n in range(20) if n != 13}
    async with serve_tcp(peer) as port:
        async with opened(house, tcp(port), device("plc", points)) as line:
            scan = await line.scan("plc", "normal")
            assert scan.fault is None
            seen = {o.point: o.value for o in scan.observations if o.status == Status.GOOD}
            bad = {o.point: o.status for o in scan.observations if o.status != Status.GOOD}
            assert seen == good
            assert bad == {13: Status.BAD_CONFIGURATION_ERROR}
            assert "holding 13: exception 2" in line.diagnostics("plc").notes["refused"]
            assert house.learned == [("plc", "refused", [["holding", 13, 13, 2]])]
            assert "holding 13" in house.alarms[0][2]
        # The other node, or the next start, knows it without asking.
        asked = len(peer.requests)
        async with opened(house, tcp(port), device("plc", points)) as line:
            scan = await line.scan("plc", "normal")
            assert {o.point: o.value for o in scan.observations} == good | {13: None}
            assert len(peer.requests) - asked == 2


async def test_a_device_in_download_refuses_everything_and_nothing_is_learned_of_it() -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(*range(4)))) as line,
    ):
        good = await values(line, "plc")
        peer.rule = lambda unit, pdu: Exc(2)
        for _ in range(3):
            scan = await line.scan("plc", "normal")
            assert scan.fault is None and not scan.complete
        assert house.learned == [("plc", "given", ["normal"])]
        assert [text for *_, text in house.alarms] == [
            "the device refuses all that it gave: exception 2 (illegal data address): "
            "is it in download?"
        ]
        peer.rule = None
        scan = await line.scan("plc", "normal")
        assert scan.complete
        assert {o.point: o.value for o in scan.observations} == good


async def test_who_only_ever_failed_has_given_nothing() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: Exc(4)
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(*range(4)))) as line,
    ):
        assert not (await line.scan("plc", "normal")).complete
        assert house.learned == []
        peer.rule = lambda unit, pdu: Exc(2)
        await line.scan("plc", "normal")
        assert [key for _, key, _ in house.learned] == ["refused"]


async def test_a_download_that_begins_and_ends_within_a_scan_teaches_nothing() -> None:
    peer, house = Peer(), House()
    wide = registers(0, 200, 400)
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", wide)) as line,
    ):
        good = await values(line, "plc")
        for refused in ({200, 400}, {0, 200, 400}, {0}):

            def rule(unit: int, pdu: bytes, gone: set[int] = refused) -> object:
                return Exc(2) if int.from_bytes(pdu[1:3], "big") in gone else None

            peer.rule = rule
            assert not (await line.scan("plc", "normal")).complete
        peer.rule = None
        line.forget("plc")
        scan = await line.scan("plc", "normal")
        assert scan.complete and {o.point: o.value for o in scan.observations} == good
        assert house.learned == [("plc", "given", ["normal"])]
        # What stays refused while the rest is answered is gone.
        peer.rule = lambda unit, pdu: Exc(2) if int.from_bytes(pdu[1:3], "big") == 400 else None
        assert not (await line.scan("plc", "normal")).complete
        scan = await line.scan("plc", "normal")
        assert scan.complete
        assert [key for _, key, _ in house.learned] == ["given", "refused"]


async def test_a_refused_address_is_asked_for_again_and_comes_back() -> None:
    peer, house = Peer(), House()

    def refuse(unit: int, pdu: bytes) -> object:
        first, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        return Exc(2) if first <= 5 < first + count else None

    peer.rule = refuse
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(*range(8)))) as line,
    ):
        await values(line, "plc")
        await values(line, "plc")
        unit = line._units["plc"]
        for known in unit.refusals._all:
            known.retry_at_ns = 0
        assert 5 not in await values(line, "plc")
        assert unit.refusals._all[0].retry_at_ns > 0
        peer.rule = None
        for known in unit.refusals._all:
            known.retry_at_ns = 0
        assert (await values(line, "plc"))[5] == 5
        assert "refused" not in line.diagnostics("plc").notes
        assert house.learned[-1] == ("plc", "refused", [])
        assert await values(line, "plc") == {}


async def test_a_refused_hole_and_a_refused_length_split_the_request_and_lose_nothing() -> None:
    peer, house = Peer(), House()

    def hole(unit: int, pdu: bytes) -> object:
        first, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        return Exc(2) if first <= 4 < first + count else None

    peer.rule = hole
    async with serve_tcp(peer) as port:
        spec = device("plc", registers(0, 1, 2, 6, 7))
        async with opened(house, tcp(port), spec) as line:
            assert await values(line, "plc") == {0: 0, 1: 1, 2: 2, 3: 6, 4: 7}
            assert house.facts["plc", "refused"] == [["holding", 3, 5, 2]]
        peer.rule = lambda unit, pdu: Exc(3) if pdu[4] > 10 else None
        spec = device("short", registers(*range(16)))
        async with opened(house, tcp(port), spec) as line:
            assert await values(line, "short") == {n: n for n in range(16)}
            assert house.facts["short", "limits"]["max_read_words"] == 8
            asked = len(peer.requests)
            line.forget("short")
            assert await values(line, "short") == {n: n for n in range(16)}
            assert len(peer.requests) - asked == 2


async def test_a_block_that_fails_with_exception_4_leaves_the_others_good() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: Exc(4) if pdu[1:3] == b"\x10\x00" else None
    async with serve_tcp(peer) as port:
        spec = device("plc", registers(0, 0x1000))
        async with opened(house, tcp(port), spec) as line:
            scan = await line.scan("plc", "normal")
            assert [(o.point, o.value, o.status) for o in scan.observations] == [
                (0, 0, Status.GOOD),
                (1, None, Status.BAD_DEVICE_FAILURE),
            ]
            assert not scan.complete
            assert await values(line, "plc") == {}
            peer.rule = None
            scan = await line.scan("plc", "normal")
            assert scan.complete
            assert [(o.point, o.value) for o in scan.observations] == [(1, 0x1000)]


async def test_an_unknown_function_is_not_split() -> None:
    peer, house = Peer(), House()
    peer.rule = lambda unit, pdu: Exc(1) if pdu[0] == 4 else None
    points = registers(0) | {f"i{n}": {"register": "input", "address": n} for n in range(5)}
    async with serve_tcp(peer) as port, opened(house, tcp(port), device("plc", points)) as line:
        scan = await line.scan("plc", "normal")
        bad = [o for o in scan.observations if o.status == Status.BAD_NOT_SUPPORTED]
        assert len(bad) >= 5
        assert len(peer.requests) == 2


async def test_nothing_is_sent_when_the_reign_has_ended() -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7))) as line,
    ):
        await values(line, "plc")
        house.may_send = False
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        with pytest.raises(LinkError):
            await line.raw("plc", "holding", "0", 1)
    assert len(peer.requests) == 1


async def test_two_hosts_are_tried_in_turn_and_the_good_one_is_kept() -> None:
    from drivers.modbus.settings import ModbusLine

    peer, house = Peer(), House()
    async with serve_tcp(peer, host="127.0.0.3") as port:
        settings = ModbusLine(tcp={"hosts": ["127.0.0.2", "127.0.0.3"], "port": port})
        async with opened(house, settings, device("plc", registers(7))) as line:
            assert await values(line, "plc") == {0: 7}
            assert line._bus.session.peer == f"127.0.0.3:{port}"
            hung = Peer(rule=lambda unit, pdu: SILENCE)
            async with serve_tcp(hung, host="127.0.0.2", port=port):
                peer.script.append(CLOSE)
                line.forget("plc")
                assert await values(line, "plc") == {0: 7}
                assert hung.connections == 0


async def test_a_host_that_accepts_but_never_answers_gives_way_to_the_other() -> None:
    from drivers.modbus.settings import ModbusLine

    peer, house, hung = Peer(), House(), Peer(rule=lambda unit, pdu: SILENCE)
    async with (
        serve_tcp(peer, host="127.0.0.3") as port,
        serve_tcp(hung, host="127.0.0.2", port=port),
    ):
        settings = ModbusLine(tcp={"hosts": ["127.0.0.2", "127.0.0.3"], "port": port})
        async with opened(house, settings, device("plc", registers(7))) as line:
            assert await values(line, "plc") == {0: 7}
            assert hung.connections == 1


async def test_raw_reads_what_is_there_and_traces_show_both_directions() -> None:
    peer, house = Peer(), House()
    frames: list[Frame] = []
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7))) as line,
    ):
        stop = line.trace("plc", frames.append)
        assert await line.raw("plc", "holding", "0x64", 3) == [100, 101, 102]
        assert await line.raw("plc", "input", "3x0011", 1) == [10]
        assert await line.raw("plc", "coil", "1", 2) == [True, False]
        peer.script.append(Exc(2))
        with pytest.raises(Refused) as refused:
            await line.raw("plc", "holding", "5", 1)
        assert refused.value.code == 2
        stop()
        stop()
        await line.raw("plc", "holding", "5", 1)
        for area, address, count in [
            ("holding", "5", 0),
            ("holding", "65535", 2),
            ("input", "4x0001", 1),
        ]:
            with pytest.raises(ValueError, match=r"."):
                await line.raw("plc", area, address, count)
    assert len(frames) == 8
    assert frames[0].sent
    assert frames[0].text == "unit 1 read holding registers 100 x 3"
    assert frames[0].data[7:] == bytes([3, 0, 100, 0, 3])
    assert frames[1].text == "unit 1 read holding registers: 6 bytes"
    assert frames[-1].text == "unit 1 read holding registers: exception 2 (illegal data address)"


async def test_a_heartbeat_counts_as_long_as_the_device_answers_and_the_reign_lasts() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7), heartbeat={"address": 900, "period": "50ms"})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        await values(line, "plc")
        beats = []
        while len(beats) < 3:
            peer.asked.clear()
            await peer.asked.wait()
            beats = [int.from_bytes(pdu[3:], "big") for _, pdu in peer.requests if pdu[0] == 6]
        assert beats[1] == beats[0] % 0xFFFF + 1
        house.may_send = False
        sent = len(peer.requests)
        await asyncio.sleep(0.12)  # paces: two periods without a beat
        assert len(peer.requests) == sent


async def test_a_withdrawn_device_gets_no_heartbeat_and_the_last_one_frees_the_socket() -> None:
    peer, house = Peer(), House()
    beating = {"heartbeat": {"address": 900, "period": "50ms"}}
    first = device("one", registers(1), unit_id=1, **beating)
    second = device("two", registers(2), first=1, unit_id=2)
    async with serve_tcp(peer) as port, opened(house, tcp(port), first, second) as line:
        await values(line, "one")
        await values(line, "two")
        await line.withdraw("one")
        asked = len(peer.requests)
        await asyncio.sleep(0.15)  # paces: three beats that must not come
        assert len(peer.requests) == asked
        assert line.diagnostics("two").connected
        assert peer.connections == 1
        await line.withdraw("two")
        assert not line.diagnostics("two").connected
        assert await line.raw("one", "holding", "7", 1) == [7]
        await line.withdraw("one")
        assert peer.connections == 2
        line.forget("one")
        assert await values(line, "one") == {0: 1}
        assert peer.connections == 3


async def test_a_cancelled_scan_leaves_the_line_usable() -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7, 8))) as line,
    ):
        await values(line, "plc")
        peer.script.append(Late(0.05))
        peer.asked.clear()
        task = asyncio.create_task(line.scan("plc", "normal"))
        await peer.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        peer.words[1, 7] = 70
        assert await values(line, "plc") == {0: 70, 1: 8}


async def test_a_closed_line_opens_nothing() -> None:
    peer, house = Peer(), House()
    async with (
        serve_tcp(peer) as port,
        opened(house, tcp(port), device("plc", registers(7))) as line,
    ):
        await line.close()
        scan = await line.scan("plc", "normal")
        assert scan.fault is not None
        await line.close()
    assert peer.connections == 0


async def test_limits_learned_before_hold_from_the_first_request() -> None:
    peer, house = Peer(), House(facts={("plc", "limits"): {"max_read_words": 4}})
    spec = device("plc", registers(*range(8)))
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "plc") == {n: n for n in range(8)}
        assert [pdu[4] for _, pdu in peer.requests] == [4, 4]


async def test_a_scale_factor_of_another_class_is_read_along_and_not_observed_twice() -> None:
    peer, house = Peer(), House()
    peer.words[1, 11] = 2
    points = {
        "w": {"address": 10, "sf": "w_sf"},
        "w_sf": {"address": 11, "type": "int16", "scan": "slow"},
    }
    spec = device("plc", points)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "plc") == {0: 1000.0}
        assert await values(line, "plc", "slow") == {1: 2}


async def test_subscribing_to_a_modbus_device_is_refused() -> None:
    async with opened(House(), tcp(1), device("plc", registers(7))) as line:
        with pytest.raises(LinkError):
            await line.listen("plc", lambda delivery: None)
        assert line.spec.name == "line"


async def test_a_device_that_fails_amid_the_search_for_a_bad_address_keeps_the_rest() -> None:
    peer, house = Peer(), House()

    def rule(unit: int, pdu: bytes) -> object:
        if pdu[4] == 8:
            return Exc(2)
        return Exc(4) if pdu[2] == 0 else None

    peer.rule = rule
    spec = device("plc", registers(*range(8)))
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        scan = await line.scan("plc", "normal")
        assert {o.point: o.status for o in scan.observations} == {
            n: Status.BAD_DEVICE_FAILURE if n < 4 else Status.GOOD for n in range(8)
        }
