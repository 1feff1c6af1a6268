"""HistoryRead at times and processed: what is calculated, in pages, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from gateway.model import NS_PER_S, HistoryRow, Origin, Position, Status, Term
from gateway.server.aggregates import AGGREGATES
from gateway.server.bounds import CALCULATED, INTERPOLATED, PARTIAL, UNCERTAIN_DATA_SUB_NORMAL
from gateway.server.encoding import ticks
from gateway.server.history_derived import LOOK_SAMPLES
from gateway.server.settings import Limits
from tests.e2e.server_rig import START_NS, Plant, running
from tests.e2e.test_server_history import EPOCH, LEVEL, ask, second, values

pytestmark = pytest.mark.asyncio(loop_scope="module")
COUNT = 2_500
PAGE = 100
POINTS = 3
BUDGET = 2_000
INTERVALS = 5_000
TIMES = 300
GAPPY = ua.NodeId("plc1/sensor", 2)
NAME = ua.NodeId("plc1/name", 2)
CODES = ua.StatusCodes


def row(at_s: float, value: Any, status: int = 0, origin: Origin = Origin.POLL) -> HistoryRow:
    at_ns = START_NS + round(at_s * NS_PER_S)
    return HistoryRow(at_ns, value, status, at_ns + 1, origin, Position(Term(1, "a", 1), 1))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    limits = Limits(
        max_history_values=PAGE,
        max_history_points=POINTS,
        max_history_samples_per_request=BUDGET,
        max_history_intervals=INTERVALS,
        max_history_times=TIMES,
    )
    pki_dir = tmp_path_factory.mktemp("pki")
    async with running(pki_dir, insecure=True, limits=limits) as found:
        found.history.fill("plc1/level", COUNT)
        found.history.rows["plc1/sensor"] = [
            row(0, 1.0),
            row(10, None, 0x809D0000, Origin.GAP),
            row(20, 3.0),
            row(30, 5.0),
        ]
        found.history.rows["plc1/name"] = [row(0, "one"), row(10, "two")]
        found.history.rows["plc1/count"] = [row(0, 7), row(1, "once a text"), row(2, 5)]
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(plant.url, watchdog_intervall=30) as found:
        yield found


def processed(
    name: str, start: datetime, end: datetime, step_s: float = 0.0, **configuration: Any
) -> ua.ReadProcessedDetails:
    how = ua.AggregateConfiguration(
        **{"UseServerCapabilitiesDefaults": not configuration} | configuration
    )
    aggregate = ua.NodeId(getattr(ua.ObjectIds, f"AggregateFunction_{name}"))
    return ua.ReadProcessedDetails(start, end, step_s * 1000, [aggregate], how)


def at_times(*moments: datetime, simple: bool = False) -> ua.ReadAtTimeDetails:
    return ua.ReadAtTimeDetails(list(moments), simple)


def statuses(result: ua.HistoryReadResult) -> list[int]:
    return [found.StatusCode.value for found in result.HistoryData.DataValues]


def times(result: ua.HistoryReadResult) -> list[datetime]:
    return [found.SourceTimestamp for found in result.HistoryData.DataValues]


async def all_pages(client: Client, details: Any, node: ua.NodeId = LEVEL) -> tuple[Any, ...]:
    result = await ask(client, details=details, node=node)
    found, sizes = values(result), [len(values(result))]
    while result.ContinuationPoint:
        result = await ask(client, details=details, node=node, point=result.ContinuationPoint)
        found += values(result)
        sizes.append(len(values(result)))
    return found, sizes


# ------------------------------------------------------------------------------------- processed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Average", [4.5, 14.5]),
        ("Minimum", [0.0, 10.0]),
        ("Maximum", [9.0, 19.0]),
        ("Minimum2", [0.0, 10.0]),
        ("Count", [10, 10]),
        ("TimeAverage", [5.0, 15.0]),
        ("TimeAverage2", [4.5, 14.5]),
        ("Interpolative", [0.0, 10.0]),
        ("PercentGood", [100.0, 100.0]),
        ("DurationBad", [0.0, 0.0]),
        ("Start", [0.0, 10.0]),
        ("End", [9.0, 19.0]),
        ("Delta", [9.0, 9.0]),
        ("MaximumActualTime", [9.0, 19.0]),
    ],
)
async def test_an_aggregate_of_each_interval(client: Client, name: str, said: list[Any]) -> None:
    result = await ask(client, details=processed(name, second(0), second(20), 10))
    assert (result.StatusCode.value, result.ContinuationPoint) == (0, None)
    assert values(result) == said
    assert all(found.StatusCode.is_good() for found in result.HistoryData.DataValues)
    if "ActualTime" not in name and name != "End":
        assert times(result) == [second(0), second(10)]
    assert all(found.ServerTimestamp is None for found in result.HistoryData.DataValues)


async def test_types_are_those_of_the_aggregate_or_of_the_point(client: Client) -> None:
    async def kinds(name: str, node: ua.NodeId) -> list[int]:
        result = await ask(client, details=processed(name, second(0), second(3)), node=node)
        return [found.Value.VariantType for found in result.HistoryData.DataValues]

    integer = ua.NodeId("plc1/count", 2)
    assert await kinds("Count", NAME) == [ua.VariantType.Int32]
    assert await kinds("Start", NAME) == [ua.VariantType.String]
    assert await kinds("Minimum", integer) == [ua.VariantType.Int16]
    assert await kinds("Average", integer) == [ua.VariantType.Double]


async def test_a_value_of_another_type_than_the_points_is_bad_data(client: Client) -> None:
    details = processed("Average", second(0), second(3))
    result = await ask(client, details=details, node=ua.NodeId("plc1/count", 2))
    assert values(result) == [6.0]
    assert statuses(result) == [UNCERTAIN_DATA_SUB_NORMAL | CALCULATED]


async def test_time_flows_backwards_from_a_later_start(client: Client) -> None:
    result = await ask(client, details=processed("Average", second(20), second(0), 8))
    assert values(result) == [16.5, 8.5, 2.5]
    assert times(result) == [second(20), second(12), second(4)]
    assert statuses(result) == [CALCULATED] * 3
    result = await ask(client, details=processed("Count", second(20), second(0), 8))
    assert statuses(result) == [CALCULATED, CALCULATED, CALCULATED | PARTIAL]


async def test_without_a_processing_interval_the_range_is_one(client: Client) -> None:
    result = await ask(client, details=processed("Count", second(0), second(20)))
    assert (values(result), times(result)) == ([20], [second(0)])


async def test_a_gap_is_bad_data(client: Client) -> None:
    async def ask_gap(name: str) -> ua.HistoryReadResult:
        details = processed(name, second(0), second(40), 20)
        return await ask(client, details=details, node=GAPPY)

    assert values(await ask_gap("PercentGood")) == [50.0, 100.0]
    assert values(await ask_gap("TimeAverage2")) == [1.0, 4.0]
    uncertain = UNCERTAIN_DATA_SUB_NORMAL | CALCULATED
    assert statuses(await ask_gap("TimeAverage2"))[0] == uncertain
    assert statuses(await ask_gap("Average"))[0] == uncertain
    half = processed(
        "Average",
        second(0),
        second(20),
        TreatUncertainAsBad=True,
        PercentDataBad=50,
        PercentDataGood=100,
        UseSlopedExtrapolation=True,
    )
    result = await ask(client, details=half, node=GAPPY)
    assert (values(result), statuses(result)) == ([None], [Status.BAD])


async def test_many_intervals_come_in_pages(client: Client) -> None:
    for start, end in ((0, 250), (250, 0)):
        details = processed("Interpolative", second(start), second(end), 1)
        found, sizes = await all_pages(client, details)
        assert sizes == [PAGE, PAGE, 50]
        assert found == [float(n) for n in (range(250) if end else range(250, 0, -1))]


async def test_a_long_interval_is_calculated_over_several_requests(
    plant: Plant, client: Client
) -> None:
    before = plant.history.reads
    for start, end in ((0, COUNT), (COUNT, 0)):
        found, sizes = await all_pages(client, processed("Count", second(start), second(end)))
        assert (found, sizes) == ([COUNT if end else COUNT - 1], [0, 1])
    assert plant.history.reads - before >= 2 * COUNT // 1_000
    found, _ = await all_pages(client, processed("TimeAverage", second(0), second(COUNT - 1)))
    assert found == [(COUNT - 1) / 2]


async def test_what_is_no_aggregate_no_configuration_or_too_much_is_refused(
    client: Client,
) -> None:
    async def status(details: Any, node: ua.NodeId = LEVEL) -> int:
        return int((await ask(client, details=details, node=node)).StatusCode.value)

    def configured(name: str = "Average", **how: Any) -> ua.ReadProcessedDetails:
        how = {"PercentDataBad": 100, "PercentDataGood": 100, "UseSlopedExtrapolation": False} | how
        return processed(name, second(0), second(9), **how)

    assert await status(processed("Range", second(0), second(9))) == CODES.BadAggregateNotSupported
    assert await status(processed("Average", second(0), second(9)), NAME) == (
        CODES.BadAggregateNotSupported
    )
    own = processed("Average", second(0), second(9))
    own.AggregateType = [LEVEL]
    assert await status(own) == CODES.BadAggregateNotSupported
    own.AggregateType = []
    assert await status(own) == CODES.BadAggregateListMismatch
    assert await status(configured(PercentDataGood=101)) == CODES.BadAggregateInvalidInputs
    assert await status(configured(PercentDataBad=80, PercentDataGood=0)) == (
        CODES.BadAggregateInvalidInputs
    )
    assert await status(configured("Interpolative", UseSlopedExtrapolation=True)) == (
        CODES.BadAggregateConfigurationRejected
    )
    assert await status(configured(UseSlopedExtrapolation=True)) == 0
    assert await status(processed("Average", second(9), second(9))) == CODES.BadInvalidArgument
    assert await status(processed("Average", EPOCH, second(9))) == CODES.BadInvalidArgument
    assert await status(processed("Average", second(0), second(9), -1)) == (
        CODES.BadAggregateInvalidInputs
    )
    many = processed("Average", second(0), second(INTERVALS + 1), 1)
    assert await status(many) == CODES.BadTooManyOperations
    many = processed("Average", second(0), second(INTERVALS), 1)
    assert await status(many) == 0
    server = await ask(
        client,
        details=processed("Average", second(0), second(9)),
        which=ua.TimestampsToReturn.Server,
    )
    assert server.StatusCode.value == CODES.BadTimestampsToReturnInvalid


async def test_each_node_has_its_own_aggregate(client: Client) -> None:
    details = processed("Average", second(0), second(10))
    details.AggregateType.append(ua.NodeId(ua.ObjectIds.AggregateFunction_Count))
    nodes = [ua.HistoryReadValueId(NodeId=node) for node in (LEVEL, GAPPY)]
    params = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Source, False, nodes)
    found = await client.uaclient.history_read(params)
    assert [values(result) for result in found] == [[4.5], [1]]


# -------------------------------------------------------------------------------------- at times


async def test_values_at_times_in_the_order_asked(client: Client) -> None:
    asked = [second(7.5), second(3), second(-1), second(7.5)]
    result = await ask(client, details=at_times(*asked))
    assert (values(result), times(result)) == ([7.0, 3.0, None, 7.0], asked)
    assert statuses(result) == [INTERPOLATED, Status.GOOD, CODES.BadNoData, INTERPOLATED]
    texts = await ask(client, details=at_times(second(3), second(12)), node=NAME)
    assert values(texts) == ["one", "two"]


async def test_in_a_gap_the_bounds_decide(client: Client) -> None:
    asked = (second(9), second(10), second(15), second(20))
    result = await ask(client, details=at_times(*asked), node=GAPPY)
    assert values(result) == [1.0, 1.0, 1.0, 3.0]
    doubt = UNCERTAIN_DATA_SUB_NORMAL | INTERPOLATED
    assert statuses(result) == [INTERPOLATED, doubt, doubt, Status.GOOD]
    result = await ask(client, details=at_times(*asked, simple=True), node=GAPPY)
    assert values(result) == [1.0, None, None, 3.0]
    assert statuses(result) == [INTERPOLATED, CODES.BadNoData, CODES.BadNoData, Status.GOOD]


async def test_nothing_is_known_of_what_is_to_come(client: Client) -> None:
    future = second(0) + timedelta(days=36_500)
    result = await ask(client, details=at_times(future), node=GAPPY)
    assert values(result) == [5.0]
    assert statuses(result) == [UNCERTAIN_DATA_SUB_NORMAL | INTERPOLATED]
    result = await ask(client, details=at_times(future, simple=True), node=GAPPY)
    assert statuses(result) == [CODES.BadNoData]


async def test_times_are_told_apart_by_a_hundred_nanoseconds(plant: Plant, client: Client) -> None:
    at_ns = START_NS + 100
    plant.history.rows["plc1/mode"] = [row(0, 1), row(0, 2)._replace(time_ns=at_ns + 77)]
    asked = [ticks(at_ns) + n for n in (-1, 0, 1)]
    body = struct.pack("<i3q?", 3, *asked, True)
    kind = ua.NodeId(ua.ObjectIds.ReadAtTimeDetails_Encoding_DefaultBinary)
    details = ua.ExtensionObject(TypeId=kind, Body=body)
    result = await ask(client, details=details, node=ua.NodeId("plc1/mode", 2))
    assert values(result) == [1, 2, 2]
    assert statuses(result) == [Status.GOOD, Status.GOOD, INTERPOLATED]


async def test_many_times_come_in_pages_and_too_many_are_refused(client: Client) -> None:
    details = at_times(*(second(n) for n in range(TIMES)))
    found, sizes = await all_pages(client, details)
    assert (found, sizes) == ([float(n) for n in range(TIMES)], [PAGE] * 3)
    details.ReqTimes.append(second(0))
    assert (await ask(client, details=details)).StatusCode.value == CODES.BadTooManyOperations
    nothing = await ask(client, details=at_times())
    assert nothing.StatusCode.value == CODES.BadHistoryOperationInvalid


# --------------------------------------------------------------------------- continuation points


async def test_continuation_points_of_all_kinds_share_one_bound_and_are_released(
    client: Client,
) -> None:
    kinds = [
        processed("Average", second(0), second(1000), 1),
        at_times(*(second(n) for n in range(TIMES))),
        ua.ReadRawModifiedDetails(False, second(0), second(1000), 0, False),
    ]
    points = [(await ask(client, details=details)).ContinuationPoint for details in kinds]
    nodes = [ua.HistoryReadValueId(NodeId=LEVEL)] * (POINTS + 1)
    params = ua.HistoryReadParameters(kinds[2], ua.TimestampsToReturn.Source, False, nodes)
    found = await client.uaclient.history_read(params)
    said = [result.StatusCode.value for result in found]
    assert said == [0] * POINTS + [CODES.BadNoContinuationPoints]
    for details, point in zip(kinds, points, strict=True):
        gone = await ask(client, details=details, point=point)
        assert gone.StatusCode.value == CODES.BadContinuationPointInvalid, "it gave way to others"
    names = [result.ContinuationPoint for result in found[:POINTS]]
    other = await ask(client, details=kinds[1], point=names[0])
    assert other.StatusCode.value == CODES.BadContinuationPointInvalid
    for point in names[1:]:
        assert (await ask(client, point=point, release=True)).StatusCode.is_good()
        gone = await ask(client, point=point, release=True)
        assert gone.StatusCode.value == CODES.BadContinuationPointInvalid
    assert (await ask(client, details=kinds[0])).ContinuationPoint


async def test_what_all_sessions_hold_is_bounded(tmp_path: Path) -> None:
    limits = Limits(max_history_values=PAGE, max_continuation_bytes=12_000)
    details = at_times(*(second(n) for n in range(900)))
    async with running(tmp_path, insecure=True, limits=limits, extra=1_500) as plant:
        plant.history.fill("plc1/level", 900)
        async with Client(plant.url) as one, Client(plant.url) as two:
            first = await ask(one, details=details)
            assert first.ContinuationPoint
            for _ in range(3):
                again = await ask(two, details=details)
                assert again.StatusCode.value == CODES.BadNoContinuationPoints
            big = ua.BrowseDescription(NodeId=ua.NodeId("big", 2), ResultMask=63)
            [page] = await two.uaclient.browse(ua.BrowseParameters(NodesToBrowse=[big]))
            assert page.StatusCode.value == CODES.BadNoContinuationPoints
            await ask(one, details=details, point=first.ContinuationPoint, release=True)
            [page] = await two.uaclient.browse(ua.BrowseParameters(NodesToBrowse=[big]))
            assert page.ContinuationPoint
            refused = await ask(one, details=details)
            assert refused.StatusCode.value == CODES.BadNoContinuationPoints
        assert plant.server.context.sessions.room.taken == 0


async def test_a_request_reads_so_many_samples_and_no_more(plant: Plant, client: Client) -> None:
    """Each time, and each block of intervals, would look back over a thousand samples that are
    Bad; all nodes of a request together read what one may.
    """
    bad = [row(n, None, Status.BAD_NO_COMMUNICATION) for n in range(1, 1_500)]
    plant.history.rows["plc2/level"] = [row(0, 7.0), *bad]
    node = ua.NodeId("plc2/level", 2)
    times_asked = at_times(*(second(1_400 + n / 10) for n in range(TIMES)))
    blocks = processed("Interpolative", second(1_400), second(1_499), 1)
    blocks.AggregateType *= POINTS
    for details, count in ((times_asked, TIMES), (blocks, 99)):
        answers: list[list[Any]] = [[] for _ in range(POINTS)]
        left: dict[int, Any] = dict.fromkeys(range(POINTS))
        requests = 0
        while left:
            before = plant.history.rows_read
            nodes = [ua.HistoryReadValueId(NodeId=node, ContinuationPoint=p) for p in left.values()]
            if details is blocks:
                blocks.AggregateType = blocks.AggregateType[: len(nodes)]
            params = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Source, False, nodes)
            found = await client.uaclient.history_read(params)
            requests += 1
            assert plant.history.rows_read - before <= BUDGET + LOOK_SAMPLES
            for number, result in zip(list(left), found, strict=True):
                result.StatusCode.check()
                answers[number] += values(result)
                left[number] = result.ContinuationPoint
                if not result.ContinuationPoint:
                    del left[number]
        assert answers == [[None] * count] * POINTS
        assert requests > 1


async def test_malformed_times_are_a_fault_and_the_connection_stays(client: Client) -> None:
    kind = ua.NodeId(ua.ObjectIds.ReadAtTimeDetails_Encoding_DefaultBinary)
    huge, endless = struct.pack("<iq", 2_000_000_000, 1), struct.pack("<iq", 1, 1)
    for body, error in (
        (huge, ua.uaerrors.BadEncodingLimitsExceeded),
        (endless, ua.uaerrors.BadDecodingError),
        (b"\0", ua.uaerrors.BadDecodingError),
    ):
        with pytest.raises(error):
            await ask(client, details=ua.ExtensionObject(TypeId=kind, Body=body))
    assert values(await ask(client, details=at_times(second(3)))) == [3.0]


# ----------------------------------------------------------------------------------------- nodes


async def test_what_there_is_of_aggregates_is_what_is_advertised(client: Client) -> None:
    ids = ua.ObjectIds
    for folder in (
        ids.HistoryServerCapabilities_AggregateFunctions,
        ids.Server_ServerCapabilities_AggregateFunctions,
    ):
        functions = await client.get_node(ua.NodeId(folder)).get_children()
        names = [(await function.read_browse_name()).Name for function in functions]
        assert sorted(names) == sorted(AGGREGATES)
    for name in AGGREGATES:
        result = await ask(client, details=processed(name, second(0), second(10)))
        assert result.StatusCode.value == 0, name


async def test_points_say_how_their_history_is_to_be_read(client: Client) -> None:
    found = await client.get_node(LEVEL).get_references(ua.ObjectIds.HasHistoricalConfiguration)
    assert [reference.BrowseName.Name for reference in found] == ["HA Configuration"]
    configuration = client.get_node(found[0].NodeId)
    assert await (await configuration.get_child("0:Stepped")).read_value() is True
    aggregates = await configuration.get_child("0:AggregateConfiguration")
    said = {
        (await node.read_browse_name()).Name: await node.read_value()
        for node in await aggregates.get_properties()
    }
    assert said == {
        "TreatUncertainAsBad": True,
        "PercentDataBad": 100,
        "PercentDataGood": 100,
        "UseSlopedExtrapolation": False,
    }
