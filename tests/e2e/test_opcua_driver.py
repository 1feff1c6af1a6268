"""The OPC UA driver against a server in this process: subscription, scans, writes, commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from gateway.driver import Delivery, Frame
from gateway.errors import DeviceError, LinkError, Refused, WriteRefused
from gateway.model import NS_PER_S, Status, is_bad
from tests.e2e.opcua_peer import (
    KINDS,
    LONG_AGO,
    URI,
    BrittleSession,
    Heard,
    House,
    IndexingSession,
    InterlockSession,
    Plc,
    StingySession,
    giving,
    ns,
    open_line,
    running,
)

ALL = {
    "bool": ("Bool", "bool", True),
    "sbyte": ("SByte", "SByte", -5),
    "byte": ("Byte", "Byte", 5),
    "int16": ("Int16", "int16", -300),
    "uint16": ("UInt16", "uint16", 300),
    "int32": ("Int32", "int32", -70_000),
    "uint32": ("UInt32", "uint32", 70_000),
    "int64": ("Int64", "int64", -(2**40)),
    "uint64": ("UInt64", "uint64", 2**40),
    "float": ("Float", "float", 1.5),
    "double": ("Double", "double", 2.25),
    "string": ("String", "string", "on"),
    "bytes": ("Bytes", "ByteString", b"\x01\x02"),
    "time": ("Time", "DateTime", ns(LONG_AGO)),
    "text": ("Text", "string", "hello"),
    "element": ("Array", "double", 2.0),
    "other": ("Array", "double", 3.0),
}


def node(name: str) -> str:
    return f"nsu={URI};s={name}"


def all_points() -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = {
        name: {"node": node(there), "type": kind, "access": "rw"}
        for name, (there, kind, _) in ALL.items()
    }
    points["element"]["index"] = 1
    points["other"]["index"] = 2
    return points


FLOW = {"flow": {"node": node("Double"), "type": "double", "access": "rw"}}
QUICK = {"publishing_interval": "50ms", "insecure": True}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plc]:
    """One server for all tests, since making one takes seconds; some tests restart it."""
    async with running(Plc()) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def plc(plant: Plc) -> Plc:
    await plant.reset()
    return plant


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def subscribe(plc: Plc, **more: Any) -> dict[str, Any]:
    return {"endpoint": plc.endpoint} | QUICK | more


def poll(plc: Plc, **more: Any) -> dict[str, Any]:
    return {"endpoint": plc.endpoint, "mode": "poll", "insecure": True} | more


async def test_the_first_delivery_holds_every_point_of_every_type(plc: Plc, house: House) -> None:
    async with Heard(open_line(house, subscribe(plc), all_points())) as heard:
        first = await heard.until(lambda d: True)
        values = {o.point: (o.value, o.status) for o in first.observations}
        for number, (_, _, value) in enumerate(ALL.values()):
            assert values[number] == (value, Status.GOOD)
            assert type(values[number][0]) is type(value)
        assert house.alarms == []
        assert house.facts["plc", "types"]["element"] == "Double[]"


async def test_a_change_comes_once_with_its_own_source_time_and_status(
    plc: Plc, house: House
) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        first = await heard.until(lambda d: True)
        moment = datetime.now(UTC)
        uncertain = ua.StatusCode(ua.UInt32(Status.UNCERTAIN_LAST_USABLE))
        await plc.set("Double", 3.5, KINDS.Double, SourceTimestamp=moment, StatusCode=uncertain)
        seen = await heard.value(0, 3.5)
        assert seen.status == Status.UNCERTAIN_LAST_USABLE
        assert seen.time_ns == max(ns(moment), first.observations[0].time_ns)
        await plc.set("Double", 4.5, KINDS.Double)
        await heard.value(0, 4.5)
        assert [o.value for d in heard.deliveries for o in d.observations] == [2.25, 3.5, 4.5]


async def test_every_change_in_a_burst_is_delivered_in_order(plc: Plc, house: House) -> None:
    device = subscribe(plc, publishing_interval="200ms", queue_size=50)
    async with Heard(open_line(house, device, FLOW)) as heard:
        await heard.until(lambda d: True)
        for step in range(40):
            await plc.set("Double", float(step), KINDS.Double)
        await heard.value(0, 39.0)
        values = [o.value for d in heard.deliveries[1:] for o in d.observations]
        assert values == [float(step) for step in range(40)]
        times = [o.time_ns for d in heard.deliveries for o in d.observations]
        assert times == sorted(times)
        assert all(d.complete for d in heard.deliveries)


async def test_an_old_value_is_restated_when_it_is_first_read(plc: Plc, house: House) -> None:
    await plc.set("Double", 7.0, KINDS.Double, SourceTimestamp=LONG_AGO)
    before_ns = house.context().clock.utc_ns()
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        seen = await heard.value(0, 7.0)
        assert before_ns <= seen.time_ns <= house.context().clock.utc_ns()


async def test_completeness_advances_with_keep_alives_and_never_ahead_of_proof(
    plc: Plc, house: House
) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        first = await heard.until(lambda d: True)
        quiet = await heard.until(lambda d: not d.observations)
        later = await heard.until(lambda d: d.through_ns > quiet.through_ns)
        assert first.through_ns <= quiet.through_ns < later.through_ns
        assert later.through_ns < house.context().clock.utc_ns() - 50_000_000


async def test_an_overflow_bit_makes_the_delivery_incomplete(plc: Plc, house: House) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.until(lambda d: True)
        overflow = ua.StatusCode(ua.UInt32(0x00000480))
        await plc.set("Double", 8.0, KINDS.Double, StatusCode=overflow)
        seen = await heard.value(0, 8.0)
        assert seen.status == Status.GOOD
        broken = await heard.until(lambda d: not d.complete)
        assert broken.observations[0] == seen


async def test_a_lost_notification_is_made_good_by_reading_everything(
    plc: Plc, house: House
) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.until(lambda d: True)
        await plc.set("Double", 1.0, KINDS.Double)
        await heard.value(0, 1.0)
        (found,) = plc.server.iserver.subscription_service.subscriptions.values()
        found._notification_seq += 1
        await plc.set("Double", 2.0, KINDS.Double)
        await heard.value(0, 2.0)
        broken = await heard.until(lambda d: not d.complete)
        assert broken.fault is None


async def test_bad_points_are_bad_alone_and_told_once(plc: Plc, house: House) -> None:
    points = {
        "good": {"node": node("Double"), "type": "double"},
        "missing": {"node": node("Nowhere"), "type": "double"},
        "foreign": {"node": "nsu=urn:other;s=Flow", "type": "double"},
        "narrow": {"node": node("Double"), "type": "float"},
        "structure": {"node": node("Structure"), "type": "string"},
        "matrix": {"node": node("Matrix"), "type": "int32", "index": 0},
        "array": {"node": node("Array"), "type": "double"},
        "single": {"node": node("Int32"), "type": "int32", "index": 0},
        "short": {"node": node("Array"), "type": "double", "index": 9},
    }
    async with Heard(open_line(house, subscribe(plc), points)) as heard:
        first = await heard.until(lambda d: True)
        statuses = {list(points)[o.point]: o.status for o in first.observations}
        assert statuses == {
            "good": Status.GOOD,
            "missing": Status.BAD_NODE_ID_UNKNOWN,
            "foreign": Status.BAD_NODE_ID_UNKNOWN,
            "narrow": Status.BAD_TYPE_MISMATCH,
            "structure": Status.BAD_NOT_SUPPORTED,
            "matrix": Status.BAD_NOT_SUPPORTED,
            "array": Status.BAD_NOT_SUPPORTED,
            "single": Status.BAD_CONFIGURATION_ERROR,
            "short": Status.BAD_NO_DATA,
        }
        await heard.until(lambda d: True, after=2)
        await plc.stop()
        await heard.until(lambda d: d.fault is not None)
        await plc.start()
        count = len(heard.deliveries)
        await heard.until(lambda d: bool(d.observations), after=count)
        await heard.until(lambda d: not d.observations and d.fault is None, after=count)
        for name in ("missing", "foreign", "narrow", "structure", "matrix", "array", "single"):
            assert len(house.texts(f"point {name}:")) == 1, name
        assert "BuildInfo" in house.texts("point structure")[0]
        assert "Double[]" in house.texts("point array")[0]


async def test_a_restarted_server_with_moved_namespaces_is_found_again(
    plc: Plc, house: House
) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.value(0, 2.25)
        index = plc.index
        await plc.stop()
        fault = (await heard.until(lambda d: d.fault is not None)).fault
        assert fault is not None and is_bad(fault.status)
        plc.spare_namespaces = 3
        await plc.start()
        assert plc.index != index
        count, up_ns = len(heard.deliveries), house.context().clock.utc_ns()
        await heard.until(lambda d: bool(d.observations), after=count)
        assert house.context().clock.utc_ns() - up_ns < 1_500_000_000
        await plc.set("Double", 9.0, KINDS.Double)
        await heard.value(0, 9.0)


async def test_an_endpoint_that_announces_another_host_is_reached_all_the_same(
    house: House,
) -> None:
    plc = Plc()
    plc.advertised = "plc.invalid"
    async with running(plc), Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        announced = await Client(plc.endpoint).connect_and_get_server_endpoints()
        assert [e.EndpointUrl for e in announced] == ["opc.tcp://plc.invalid:4840"]
        await heard.value(0, 2.25)


async def test_a_subscribed_device_restates_everything_after_forget(plc: Plc, house: House) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        first = await heard.until(lambda d: True)
        heard.line.forget("plc")
        again = await heard.until(lambda d: bool(d.observations), after=1)
        assert again.observations[0].value == first.observations[0].value
        assert again.observations[0].time_ns > first.observations[0].time_ns


async def test_a_refused_port_is_told_at_once_and_tried_again_within_a_second(
    house: House,
) -> None:
    plc = Plc()
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        fault = (await heard.until(lambda d: d.fault is not None, after=8)).fault
        assert fault is not None
        assert fault.status == Status.BAD_NO_COMMUNICATION
        assert fault.retry_after_ns <= 800_000_000
        async with running(plc):
            await heard.value(0, 2.25)


async def test_a_server_that_says_nothing_ends_the_subscription_after_the_keep_alive(
    plc: Plc, house: House
) -> None:
    device = subscribe(plc, timeout="300ms")
    async with Heard(open_line(house, device, FLOW)) as heard:
        await heard.until(lambda d: True)
        for found in plc.server.iserver.subscription_service.subscriptions.values():
            found._task.cancel()
        fault = (await heard.until(lambda d: d.fault is not None)).fault
        assert fault is not None
        assert "no keep-alive" in fault.detail
        count = len(heard.deliveries)
        await heard.until(lambda d: bool(d.observations), after=count)


async def test_nothing_is_sent_when_the_reign_has_ended(plc: Plc, house: House) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.until(lambda d: True)
        house.allowed = False
        fault = (await heard.until(lambda d: d.fault is not None)).fault
        assert fault is not None
        assert "reign" in fault.detail
        requests = heard.line.diagnostics("plc").requests
        with pytest.raises(WriteRefused):
            await heard.line.write(heard.line.spec.devices[0].points[0], 1.0)
        with pytest.raises(LinkError):
            await heard.line.raw("plc", "node", "i=2258", 1)
        await heard.until(lambda d: d.fault is not None, after=len(heard.deliveries))
        assert heard.line.diagnostics("plc").requests == requests


async def test_a_scan_returns_all_points_first_and_then_only_changes(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc), all_points())
    first = await line.scan("plc", "normal")
    assert first.fault is None
    assert {o.point: o.value for o in first.observations} == dict(
        enumerate(value for _, _, value in ALL.values())
    )
    assert (await line.scan("plc", "normal")).observations == []
    await plc.set("Double", 6.0, KINDS.Double)
    await plc.set("Array", [1.0, 2.0, 5.0], KINDS.Double)
    changed = await line.scan("plc", "normal")
    assert {o.value for o in changed.observations} == {6.0, 5.0}
    line.forget("plc")
    assert len((await line.scan("plc", "normal")).observations) == len(ALL)
    await line.close()


async def test_scans_honour_the_operation_limits_of_the_server(plc: Plc, house: House) -> None:
    await plc.limit_reads(5)
    line = open_line(house, poll(plc), all_points())
    frames: list[Frame] = []
    stop = line.trace("plc", frames.append)
    scan = await line.scan("plc", "normal")
    stop()
    assert len(scan.observations) == len(ALL)
    reads = [f.text for f in frames if f.sent and f.text.startswith("Read ") and "=" in f.text]
    assert len([text for text in reads if "and 4 more" in text]) == 4  # the look around, 3 full
    count = len(frames)
    await line.scan("plc", "normal")
    assert len(frames) == count
    await line.close()


async def test_a_scan_of_a_dead_device_is_a_fault_and_the_next_good_one_is_whole(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc), FLOW)
    await line.scan("plc", "normal")
    await plc.stop()
    dead = await line.scan("plc", "normal")
    assert dead.fault is not None and not dead.observations
    assert not line.diagnostics("plc").connected
    await plc.start()
    again = await line.scan("plc", "normal")
    assert [o.value for o in again.observations] == [2.25]
    assert again.observations[0].time_ns >= dead.received_ns
    await line.close()


@pytest.mark.parametrize(
    ("name", "value", "raw"),
    [
        ("bool", False, False),
        ("sbyte", 7, 7),
        ("uint16", 12, 12),
        ("int64", -(2**50), -(2**50)),
        ("float", 0.5, 0.5),
        ("double", 0.1, 0.1),
        ("string", "off", "off"),
        ("bytes", b"xyz", b"xyz"),
        ("time", 1_700_000_000_000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("text", "bye", ua.LocalizedText("bye")),
    ],
)
async def test_a_write_arrives_in_the_type_of_the_node_and_is_read_back(
    plc: Plc, house: House, name: str, value: Any, raw: Any
) -> None:
    line = open_line(house, poll(plc), all_points())
    await line.scan("plc", "normal")
    point = next(p for p in line.spec.devices[0].points if p.name == name)
    outcome = await line.write(point, value)
    assert (outcome.status, outcome.read_back) == (Status.GOOD, value)
    found = await plc.get(ALL[name][0])
    if isinstance(found, datetime):
        found = found.replace(tzinfo=UTC)
    assert found == raw
    await line.close()


async def test_what_the_device_takes_back_is_observed_at_the_next_scan(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc), FLOW)
    assert [o.value for o in (await line.scan("plc", "normal")).observations] == [2.25]
    assert (await line.scan("plc", "normal")).observations == []
    outcome = await line.write(line.spec.devices[0].points[0], 9.0)
    await plc.set("Double", 2.25, KINDS.Double)
    (seen,) = (await line.scan("plc", "normal")).observations
    assert (seen.value, seen.time_ns >= outcome.read_back_ns) == (2.25, True)
    await line.close()


async def test_a_subscription_looks_again_at_what_was_written(house: House) -> None:
    plc = Plc()
    plc.make_iserver = giving(InterlockSession)
    async with running(plc), Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.value(0, 2.25)
        count = len(heard.deliveries)
        outcome = await heard.line.write(heard.line.spec.devices[0].points[0], 9.0)
        assert outcome.read_back == 9.0
        seen = await heard.value(0, 2.25, after=count)
        assert seen.time_ns >= outcome.read_back_ns


async def test_a_session_that_fails_as_it_is_looked_at_again_is_made_anew(house: House) -> None:
    plc = Plc()
    plc.make_iserver = giving(BrittleSession)
    async with running(plc), Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.value(0, 2.25)
        await heard.line.write(heard.line.spec.devices[0].points[0], 9.0)
        await heard.until(lambda d: d.fault is not None)
        count = len(heard.deliveries)
        await heard.value(0, 9.0, after=count)


async def test_a_write_that_does_not_fit_is_refused_before_it_is_sent(
    plc: Plc, house: House
) -> None:
    points = all_points()
    points["double"] |= {"min": 0, "max": 10}
    line = open_line(house, poll(plc), points)
    by_name = {p.name: p for p in line.spec.devices[0].points}
    for name, value, status in (
        ("byte", 256, Status.BAD_OUT_OF_RANGE),
        ("int16", "one", Status.BAD_TYPE_MISMATCH),
        ("double", 11.0, Status.BAD_OUT_OF_RANGE),
        ("element", 5.0, Status.BAD_NOT_SUPPORTED),  # this server ignores IndexRange
    ):
        with pytest.raises(WriteRefused) as refused:
            await line.write(by_name[name], value)
        assert refused.value.status == status
    assert await plc.get("Array") == [1.0, 2.0, 3.0]
    await line.close()


async def test_one_element_is_written_where_the_server_knows_elements(house: House) -> None:
    plc = Plc()
    plc.make_iserver = giving(IndexingSession)
    async with running(plc):
        line = open_line(house, poll(plc), all_points())
        point = next(p for p in line.spec.devices[0].points if p.name == "element")
        assert (await line.write(point, 9.0)).read_back == 9.0
        assert await plc.get("Array") == [1.0, 9.0, 3.0]
        await line.close()


async def test_a_write_that_the_server_refuses_raises_its_status(plc: Plc, house: House) -> None:
    await plc.server.get_node(ua.NodeId("Double", plc.index)).set_read_only()
    line = open_line(house, poll(plc), FLOW)
    with pytest.raises(Refused) as refused:
        await line.write(line.spec.devices[0].points[0], 1.0)
    assert is_bad(refused.value.status)
    await line.close()


async def test_the_type_to_write_is_taken_from_the_fact_of_an_earlier_node(
    plc: Plc, house: House
) -> None:
    house.facts["plc", "types"] = {"flow": "Double"}
    line = open_line(house, poll(plc), FLOW)
    assert (await line.write(line.spec.devices[0].points[0], 3)).read_back == 3.0
    await line.close()


async def test_raw_reads_any_node_and_says_why_not(plc: Plc, house: House) -> None:
    line = open_line(house, poll(plc), FLOW)
    assert await line.raw("plc", "node", node("Array"), 2) == [1.0, 2.0]
    assert await line.raw("plc", "node", f"ns={plc.index};s=Time", 1) == [ns(LONG_AGO)]
    assert await line.raw("plc", "node", node("Text"), 1) == ["hello"]
    for area, address in (
        ("holding", "100"),
        ("node", "rubbish"),
        ("node", "nsu=urn:other;s=x"),
        ("node", node("Nowhere")),
        ("node", node("Structure")),
        ("node", node("Matrix")),
    ):
        with pytest.raises(DeviceError):
            await line.raw("plc", area, address, 1)
    await line.close()


async def test_closing_frees_the_session_on_the_server_and_stays_closed(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc), FLOW)
    await line.scan("plc", "normal")
    assert len(plc.server.iserver._external_sessions) == 1
    await line.close()
    await line.close()
    assert len(plc.server.iserver._external_sessions) == 0
    scan = await line.scan("plc", "normal")
    assert scan.fault is not None and "closed" in scan.fault.detail


async def test_a_wrong_clock_of_the_server_is_told_and_future_stamps_are_not_believed(
    plc: Plc, house: House
) -> None:
    await plc.set_clock(timedelta(hours=1))
    future = datetime.now(UTC) + timedelta(hours=1)
    await plc.set("Double", 7.5, KINDS.Double, SourceTimestamp=future)
    line = open_line(house, poll(plc), FLOW)
    scan = await line.scan("plc", "normal")
    assert scan.requested_ns <= scan.observations[0].time_ns <= scan.received_ns
    assert "3600 s ahead of ours" in house.texts("clock")[0]
    await line.close()


async def test_a_node_that_appears_later_is_found_within_a_minute(plc: Plc, house: House) -> None:
    points = FLOW | {"late": {"node": node("Late"), "type": "double"}}
    async with Heard(open_line(house, subscribe(plc), points)) as heard:
        first = await heard.until(lambda d: True)
        assert first.observations[1].status == Status.BAD_NODE_ID_UNKNOWN
        await plc.add("Late", 1.0, KINDS.Double)
        house.clock.ahead_ns = 61 * NS_PER_S
        await heard.value(1, 1.0)
        await plc.set("Late", 2.0, KINDS.Double)
        await heard.value(1, 2.0)
    await plc.remove("Late")


async def test_the_channel_is_renewed_before_it_ends_and_an_idle_session_kept(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc, session_timeout="5s"), FLOW)
    await line.scan("plc", "normal")
    renewed, kept = asyncio.Event(), asyncio.Event()

    def look(frame: Frame) -> None:
        if "Renew" in frame.text:
            renewed.set()
        if renewed.is_set() and frame.text.startswith("Read i=2259"):
            kept.set()

    line.trace("plc", look)
    house.clock.ahead_ns = 2_701 * NS_PER_S
    async with asyncio.timeout(10):
        await renewed.wait()
        house.clock.ahead_ns += 6 * NS_PER_S
        await kept.wait()
    assert (await line.scan("plc", "normal")).fault is None
    assert line.diagnostics("plc").link_failures == 0
    await line.close()


async def test_a_server_that_refuses_large_reads_unannounced_is_asked_for_less(
    house: House,
) -> None:
    plc = Plc()
    plc.make_iserver = giving(StingySession)
    async with running(plc):
        line = open_line(house, poll(plc), all_points())
        scan = await line.scan("plc", "normal")
        assert len(scan.observations) == len(ALL)
        refused = line.diagnostics("plc").exceptions[ua.StatusCodes.BadTooManyOperations]
        await line.scan("plc", "normal")
        assert line.diagnostics("plc").exceptions == {ua.StatusCodes.BadTooManyOperations: refused}
        await line.close()


async def test_an_error_of_the_house_costs_one_attempt_and_not_the_subscription(
    plc: Plc, house: House
) -> None:
    line = open_line(house, subscribe(plc), FLOW)
    heard: list[Delivery] = []
    back = asyncio.Event()

    def take(delivery: Delivery) -> None:
        heard.append(delivery)
        if len(heard) == 1:
            raise RuntimeError("no room")
        if len(heard) == 3:
            back.set()

    task = asyncio.create_task(line.listen("plc", take))
    await asyncio.wait_for(back.wait(), 10)
    fault = heard[1].fault
    assert fault is not None and "no room" in fault.detail
    assert heard[2].observations[0].value == 2.25
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await line.close()


async def test_a_trace_shows_what_a_notification_brought(plc: Plc, house: House) -> None:
    line = open_line(house, subscribe(plc), FLOW)
    frames: list[Frame] = []
    told = asyncio.Event()

    def look(frame: Frame) -> None:
        frames.append(frame)
        if not frame.sent and "= 2.25 Good" in frame.text:
            told.set()

    line.trace("plc", look)
    task = asyncio.create_task(line.listen("plc", lambda _: None))
    await asyncio.wait_for(told.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await line.close()


async def test_a_write_whose_node_can_not_be_there_or_is_an_array_is_refused(
    plc: Plc, house: House
) -> None:
    points = {
        "foreign": {"node": "nsu=urn:other;s=a", "type": "double", "access": "rw"},
        "array": {"node": node("Array"), "type": "double", "access": "rw"},
        "missing": {"node": node("Nowhere"), "type": "double", "access": "rw"},
    }
    line = open_line(house, poll(plc), points)
    await line.scan("plc", "normal")
    specs = {p.name: p for p in line.spec.devices[0].points}
    for name, status in (
        ("foreign", Status.BAD_NODE_ID_UNKNOWN),
        ("array", Status.BAD_NOT_SUPPORTED),
    ):
        with pytest.raises(WriteRefused) as refused:
            await line.write(specs[name], 1.0)
        assert refused.value.status == status
    with pytest.raises(Refused):
        await line.write(specs["missing"], 1.0)
    await line.close()


async def test_diagnostics_count_what_happened(plc: Plc, house: House) -> None:
    line = open_line(house, poll(plc), FLOW)
    await line.scan("plc", "normal")
    counters = line.diagnostics("plc")
    assert counters.connected
    assert counters.requests == counters.replies > 3
    assert counters.percentile_ms(0.5) is not None
    assert counters.notes["clock"].endswith("ms from ours")
    await plc.stop()
    await line.scan("plc", "normal")
    assert counters.link_failures >= 1
    assert counters.last_error
    await plc.start()
    await line.close()
