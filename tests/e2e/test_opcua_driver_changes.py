"""The OPC UA driver on a server that changes amid a session, or says what can't be true."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.internal_session import InternalSession

from gateway.driver import Delivery, Frame
from gateway.errors import DeviceError, Refused
from gateway.model import NS_PER_S, Status, is_bad
from tests.e2e.opcua_peer import (
    KINDS,
    URI,
    Heard,
    House,
    Plc,
    ShiftedClock,
    giving,
    open_line,
    running,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


class BentSession(InternalSession):  # type: ignore[misc]
    """Answers as a test says."""

    answers: ClassVar[dict[tuple[int | str, ua.AttributeIds], ua.DataValue]] = {}
    """By identifier and attribute."""
    revised_ms: ClassVar[list[float]] = []
    """What it makes of each Duration that a client asks for."""
    refused: ClassVar[list[str]] = []
    """Identifiers of nodes that it does not monitor."""
    items: ClassVar[list[int]] = []
    """How many items were made (+) and deleted (-), one entry a call."""
    created: ClassVar[asyncio.Event] = asyncio.Event()

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        results = await super().read(params)
        return [
            self.answers.get((wanted.NodeId.Identifier, wanted.AttributeId), result)
            for wanted, result in zip(params.NodesToRead, results, strict=True)
        ]

    async def create_session(self, *args: Any, **more: Any) -> ua.CreateSessionResult:
        result = await super().create_session(*args, **more)
        for ms in self.revised_ms:
            result.RevisedSessionTimeout = ms
        return result

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        asked = params.ItemsToCreate
        params.ItemsToCreate = [
            item for item in asked if item.ItemToMonitor.NodeId.Identifier not in self.refused
        ]
        made = iter(await super().create_monitored_items(params))
        refusal = ua.StatusCode(ua.UInt32(Status.BAD_NOT_SUPPORTED))
        results = [
            next(made)
            if item in params.ItemsToCreate
            else ua.MonitoredItemCreateResult(StatusCode=refusal)
            for item in asked
        ]
        self.items.append(len(results))
        self.created.set()
        for result in results:
            for ms in self.revised_ms:
                result.RevisedSamplingInterval = ms
        return results

    async def delete_monitored_items(
        self, params: ua.DeleteMonitoredItemsParameters
    ) -> list[ua.StatusCode]:
        self.items.append(-len(params.MonitoredItemIds))
        return list(await super().delete_monitored_items(params))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plc]:
    """One server for all tests, since making one takes seconds."""
    plc = Plc()
    plc.make_iserver = giving(BentSession)
    async with running(plc):
        yield plc


@pytest_asyncio.fixture(loop_scope="module")
async def plc(plant: Plc) -> AsyncIterator[Plc]:
    await plant.reset()
    yield plant
    BentSession.answers.clear()
    BentSession.revised_ms.clear()
    BentSession.refused.clear()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def node(name: str, uri: str = URI) -> str:
    return f"nsu={uri};s={name}"


FLOW = {"flow": {"node": node("Double"), "type": "double"}}


def subscribe(plc: Plc) -> dict[str, Any]:
    return {"endpoint": plc.endpoint, "publishing_interval": "50ms", "insecure": True}


def poll(plc: Plc) -> dict[str, Any]:
    return {"endpoint": plc.endpoint, "mode": "poll", "insecure": True}


def bad(status: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(status)))


def undecodable(columns: int = 2_000) -> ua.DataValue:
    """A matrix that claims more elements than the library makes room for."""
    return ua.DataValue(ua.Variant([1.0], KINDS.Double, [columns, 1_000], is_array=True))


class Observed(NamedTuple):
    """What a point was observed to be."""

    point: int
    status: int


def told(delivery: Delivery) -> list[Observed]:
    return [Observed(o.point, o.status) for o in delivery.observations]


async def application_starts(plc: Plc, uri: str) -> ua.NodeId:
    """A server loads an application with a namespace of its own."""
    index = await plc.server.register_namespace(uri)
    late = ua.NodeId("Late", index)
    await plc.folder.add_variable(late, "Late", ua.Variant(7.0, KINDS.Double))
    return late


def with_late(uri: str) -> dict[str, dict[str, Any]]:
    return FLOW | {"late": {"node": node("Late", uri), "type": "double"}}


async def test_a_namespace_that_comes_late_is_polled_within_a_minute(
    plc: Plc, house: House
) -> None:
    line = open_line(house, poll(plc), with_late("urn:late:poll"))
    first = await line.scan("plc", "normal")
    assert first.observations[1].status == Status.BAD_NODE_ID_UNKNOWN
    await application_starts(plc, "urn:late:poll")
    requests = line.diagnostics("plc").requests
    assert not (await line.scan("plc", "normal")).observations
    assert line.diagnostics("plc").requests == requests + 1, "it is not asked at each scan"
    array = (ua.ObjectIds.Server_NamespaceArray, ua.AttributeIds.Value)
    BentSession.answers[array] = bad(Status.BAD_WAITING_FOR_INITIAL_DATA)
    house.clock.ahead_ns += 61 * NS_PER_S
    scan = await line.scan("plc", "normal")
    assert (scan.fault, scan.observations) == (None, []), "what it said before still holds"
    BentSession.answers.clear()
    house.clock.ahead_ns += 61 * NS_PER_S
    (seen,) = (await line.scan("plc", "normal")).observations
    assert (seen.point, seen.value) == (1, 7.0)
    await line.close()


async def test_a_namespace_that_comes_late_is_monitored_within_a_minute(
    plc: Plc, house: House
) -> None:
    async with Heard(open_line(house, subscribe(plc), with_late("urn:late:told"))) as heard:
        first = await heard.until(lambda d: True)
        assert first.observations[1].status == Status.BAD_NODE_ID_UNKNOWN
        late = await application_starts(plc, "urn:late:told")
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.value(1, 7.0)
        await plc.server.get_node(late).write_value(8.0, KINDS.Double)
        await heard.value(1, 8.0)
        assert all(d.fault is None for d in heard.deliveries)


async def test_a_server_that_does_not_tell_its_namespaces_yet_is_asked_again(
    plc: Plc, house: House
) -> None:
    array = (ua.ObjectIds.Server_NamespaceArray, ua.AttributeIds.Value)
    BentSession.answers[array] = bad(Status.BAD_WAITING_FOR_INITIAL_DATA)
    line = open_line(house, poll(plc), FLOW)
    fault = (await line.scan("plc", "normal")).fault
    assert fault is not None
    assert fault.status == Status.BAD_WAITING_FOR_INITIAL_DATA
    assert 0 < fault.retry_after_ns < 30 * NS_PER_S
    assert house.alarms == [], "nobody knows yet that the namespace is lacking"
    BentSession.answers.clear()
    (seen,) = (await line.scan("plc", "normal")).observations
    assert seen.value == 2.25
    await line.close()


@pytest.mark.parametrize("ms", [0.0, math.nan])
async def test_a_session_of_no_life_is_kept_without_haste(
    plc: Plc, house: House, ms: float
) -> None:
    BentSession.revised_ms[:] = [ms]
    line = open_line(house, poll(plc), FLOW)
    await line.scan("plc", "normal")
    kept = asyncio.Event()
    before = line.diagnostics("plc").requests

    def look(frame: Frame) -> None:
        if frame.text.startswith("Read i=2259"):
            kept.set()

    line.trace("plc", look)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.wait(), 1)
    assert line.diagnostics("plc").requests == before
    house.clock.ahead_ns += 6 * NS_PER_S
    await asyncio.wait_for(kept.wait(), 10)
    await line.close()


@pytest.mark.parametrize("ms", [math.nan, math.inf, 1e306])
async def test_a_sampling_interval_that_is_none_is_the_one_that_was_asked_for(
    plc: Plc, house: House, ms: float
) -> None:
    BentSession.revised_ms[:] = [ms]
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        first = await heard.until(lambda d: True)
        assert first.fault is None
        await plc.set("Double", 8.0, KINDS.Double)
        await heard.value(0, 8.0)
        assert house.alarms == []


def latin_1(text: str) -> str:
    """What the library makes of a text that a server did not encode as UTF-8."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


async def test_a_name_that_is_no_utf_8_is_told_with_marks(plc: Plc, house: House) -> None:
    kind = ua.ObjectIds.BuildInfo
    name = ua.DataValue(ua.Variant(ua.QualifiedName(latin_1("Größe"), 2)))
    uris = ua.DataValue(ua.Variant(["http://opcfoundation.org/UA/", "urn:x", latin_1("urn:°")]))
    product = ua.DataValue(ua.Variant(latin_1("SPS für alles")))
    about = ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName
    BentSession.answers[kind, ua.AttributeIds.BrowseName] = name
    BentSession.answers[ua.ObjectIds.Server_NamespaceArray, ua.AttributeIds.Value] = uris
    BentSession.answers[about, ua.AttributeIds.Value] = product
    points = {"structure": {"node": f"ns={plc.index};s=Structure", "type": "string"}}
    line = open_line(house, poll(plc), points)
    scan = await line.scan("plc", "normal")
    assert scan.observations[0].status == Status.BAD_NOT_SUPPORTED
    (text,) = house.texts("point structure")
    assert "(its type is Gr\ufffd\ufffde)" in text
    assert line.diagnostics("plc").notes["server"] == "SPS f\ufffdr alles"
    with pytest.raises(DeviceError) as refused:
        await line.raw("plc", "node", "nsu=urn:gone;s=Flow", 1)
    assert refused.value.remedy == "It has: http://opcfoundation.org/UA/, urn:x, urn:\ufffd"
    await plc.set("String", latin_1("21 °C"), KINDS.String)
    assert await line.raw("plc", "node", f"ns={plc.index};s=String", 1) == ["21 \ufffdC"]
    await line.close()


async def test_a_type_that_can_not_be_read_costs_its_name_only(plc: Plc, house: House) -> None:
    kind = ua.ObjectIds.BuildInfo
    BentSession.answers[kind, ua.AttributeIds.BrowseName] = undecodable()
    points = {"structure": {"node": node("Structure"), "type": "string"}}
    line = open_line(house, poll(plc), points)
    assert (await line.scan("plc", "normal")).fault is None
    assert "(its type is an unknown type)" in house.texts("point structure")[0]
    await line.close()


MIXED = {
    f"p{n}": {"node": node(name), "type": kind}
    for n, (name, kind) in enumerate(
        (
            ("Double", "double"),
            ("Int32", "int32"),
            ("Float", "float"),
            ("Int16", "int16"),
            ("Matrix", "int32"),
            ("String", "string"),
            ("Bool", "bool"),
            ("UInt16", "uint16"),
        )
    )
}
"""Number 4 is the matrix."""


async def test_a_node_that_can_not_be_decoded_costs_itself_only(plc: Plc, house: House) -> None:
    BentSession.answers["Matrix", ua.AttributeIds.Value] = undecodable()
    line = open_line(house, poll(plc), MIXED)
    scan = await line.scan("plc", "normal")
    assert scan.fault is None
    bad_ones = {o.point: o.status for o in scan.observations if is_bad(o.status)}
    assert bad_ones == {4: Status.BAD_DECODING_ERROR}
    assert len(scan.observations) == len(MIXED)
    assert len(house.texts("point p4: what the server says of")) == 1
    requests = line.diagnostics("plc").requests
    await plc.set("Double", 9.0, KINDS.Double)
    (seen,) = (await line.scan("plc", "normal")).observations
    assert (seen.point, seen.value) == (0, 9.0)
    assert line.diagnostics("plc").requests == requests + 2, "it is read by itself from now on"
    assert line.diagnostics("plc").invalid_replies == 1
    with pytest.raises(Refused, match="BadDecodingError"):
        await line.raw("plc", "node", node("Matrix"), 1)
    BentSession.answers.clear()
    (seen,) = (await line.scan("plc", "normal")).observations
    assert (seen.point, seen.status) == (4, Status.BAD_NOT_SUPPORTED)
    await line.close()


@pytest.mark.parametrize("kind", [KINDS.Double, KINDS.LocalizedText])
async def test_dimensions_that_claim_more_than_there_is_cost_those_elements_only(
    plc: Plc, house: House, kind: ua.VariantType
) -> None:
    texts = kind is KINDS.LocalizedText
    values = [ua.LocalizedText("1"), ua.LocalizedText("2")] if texts else [1.0, 2.0]
    claims = ua.DataValue(ua.Variant(values, kind, [5], is_array=True))
    BentSession.answers["Array", ua.AttributeIds.Value] = claims
    element = {"node": node("Array"), "type": "string" if texts else "double"}
    points = {f"p{index}": element | {"index": index} for index in (0, 1, 3)}
    line = open_line(house, poll(plc), points)
    scan = await line.scan("plc", "normal")
    assert scan.fault is None
    found = [(o.value, o.status) for o in scan.observations]
    first = ("1", "2") if texts else (1.0, 2.0)
    assert found == [*((value, Status.GOOD) for value in first), (None, Status.BAD_NO_DATA)]
    await line.close()


# The library forgets to tell that the node was deleted.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_node_that_comes_back_is_monitored_anew_within_a_minute(
    plc: Plc, house: House
) -> None:
    await plc.add("Online", 1.0, KINDS.Double)
    points = FLOW | {"online": {"node": node("Online"), "type": "double"}}
    async with Heard(open_line(house, subscribe(plc), points)) as heard:
        await heard.value(1, 1.0)
        unknown = ua.StatusCode(ua.UInt32(Status.BAD_NODE_ID_UNKNOWN))
        await plc.set("Online", 0.0, KINDS.Double, StatusCode=unknown)
        await heard.until(lambda d: Observed(1, Status.BAD_NODE_ID_UNKNOWN) in told(d))
        await plc.remove("Online")
        count = len(heard.deliveries)
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.until(lambda d: True, after=count + 2)
        await plc.add("Online", 7.5, KINDS.Double)
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.value(1, 7.5)
        await plc.set("Online", 8.5, KINDS.Double)
        await heard.value(1, 8.5)
        assert all(d.fault is None and d.complete for d in heard.deliveries)
        assert len(house.texts("point online:")) == 1
    await plc.remove("Online")


async def test_an_item_that_calls_its_node_unknown_is_replaced(plc: Plc, house: House) -> None:
    async with Heard(open_line(house, subscribe(plc), FLOW)) as heard:
        await heard.value(0, 2.25)
        unknown = ua.StatusCode(ua.UInt32(Status.BAD_NODE_ID_UNKNOWN))
        await plc.set("Double", 0.0, KINDS.Double, StatusCode=unknown)
        await heard.until(lambda d: Observed(0, Status.BAD_NODE_ID_UNKNOWN) in told(d))
        BentSession.items.clear()
        BentSession.created.clear()
        house.clock.ahead_ns += 61 * NS_PER_S
        async with asyncio.timeout(10):
            await BentSession.created.wait()
        assert BentSession.items == [-1, 1], "the old one is deleted before the new one is made"
        await plc.set("Double", 4.0, KINDS.Double)
        await heard.value(0, 4.0)
        count = len(heard.deliveries)
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.until(lambda d: True, after=count + 2)
        assert BentSession.items == [-1, 1], "an item that speaks is left alone"


async def test_a_node_that_can_not_be_decoded_spoils_no_subscription(
    plc: Plc, house: House
) -> None:
    points = FLOW | {"element": {"node": node("Array"), "type": "double", "index": 0}}
    array = ua.NodeId("Array", plc.index)
    async with Heard(open_line(house, subscribe(plc), points)) as heard:
        await heard.value(1, 1.0)
        await plc.server.write_attribute_value(array, undecodable())
        await heard.until(lambda d: Observed(1, Status.BAD_DECODING_ERROR) in told(d))
        await plc.set("Double", 9.0, KINDS.Double)
        await heard.value(0, 9.0)
        count = len(heard.deliveries)
        await plc.server.write_attribute_value(array, undecodable(2_001))
        await plc.set("Double", 10.0, KINDS.Double)
        await heard.value(0, 10.0)
        house.clock.ahead_ns += 61 * NS_PER_S
        after = len(heard.deliveries)
        await heard.until(lambda d: True, after=after + 2)
        assert all(d.complete and d.fault is None for d in heard.deliveries[count:])
        await plc.set("Array", [4.0, 5.0], KINDS.Double)
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.value(1, 4.0)
        await plc.set("Array", [6.0], KINDS.Double)
        await heard.value(1, 6.0)
        assert len(house.texts("point element: what the server says of")) == 1


async def test_a_node_that_is_not_monitored_is_told_once(plc: Plc, house: House) -> None:
    BentSession.refused.append("Int32")
    points = FLOW | {"int": {"node": node("Int32"), "type": "int32"}}
    async with Heard(open_line(house, subscribe(plc), points)) as heard:
        await heard.until(lambda d: Observed(1, Status.BAD_NOT_SUPPORTED) in told(d))
        for _ in range(2):
            count = len(heard.deliveries)
            house.clock.ahead_ns += 61 * NS_PER_S
            await heard.until(lambda d: True, after=count + 2)
        assert len(house.texts("point int:")) == 1
        BentSession.refused.clear()
        house.clock.ahead_ns += 61 * NS_PER_S
        await heard.value(1, -70_000)


class SetClock(ShiftedClock):
    """A clock that a test may set."""

    ahead_of_truth_ns = 0

    def utc_ns(self) -> int:
        return super().utc_ns() + self.ahead_of_truth_ns


async def test_after_our_clock_was_set_back_polled_values_stand_where_it_now_says(
    plc: Plc, tmp_path: Path
) -> None:
    clock = SetClock()
    clock.ahead_of_truth_ns = 3_600 * NS_PER_S
    line = open_line(House(tmp_path, clock=clock), poll(plc), FLOW)
    await line.scan("plc", "normal")
    clock.ahead_of_truth_ns = 0
    for value in (10.0, 11.0):
        await plc.set("Double", value, KINDS.Double)
        scan = await line.scan("plc", "normal")
        (seen,) = scan.observations
        assert seen.value == value
        assert seen.time_ns <= scan.received_ns
    await line.close()


async def test_after_our_clock_was_set_back_told_values_stand_where_it_now_says(
    plc: Plc, tmp_path: Path
) -> None:
    clock = SetClock()
    clock.ahead_of_truth_ns = 3_600 * NS_PER_S
    async with Heard(open_line(House(tmp_path, clock=clock), subscribe(plc), FLOW)) as heard:
        await heard.value(0, 2.25)
        clock.ahead_of_truth_ns = 0
        for value in (10.0, 11.0):
            await plc.set("Double", value, KINDS.Double)
            assert (await heard.value(0, value)).time_ns <= clock.utc_ns()
