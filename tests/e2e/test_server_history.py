"""HistoryRead raw: pages, directions, bounds, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from gateway.model import NS_PER_S
from gateway.server.settings import Limits
from tests.e2e.server_rig import START_NS, Plant, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVEL = ua.NodeId("plc1/level", 2)
COUNT = 250
PAGE = 100
EPOCH = ua.get_win_epoch()


def second(number: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=START_NS // NS_PER_S + number)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    limits = Limits(max_history_values=PAGE, max_history_points=3)
    pki_dir = tmp_path_factory.mktemp("pki")
    async with running(pki_dir, insecure=True, limits=limits) as found:
        found.history.fill("plc1/level", COUNT)
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(plant.url, watchdog_intervall=30) as found:
        yield found


async def ask(
    client: Client,
    start: datetime = EPOCH,
    end: datetime = EPOCH,
    count: int = 0,
    bounds: bool = False,
    point: bytes | None = None,
    node: ua.NodeId = LEVEL,
    which: ua.TimestampsToReturn = ua.TimestampsToReturn.Both,
    release: bool = False,
    details: Any = None,
) -> ua.HistoryReadResult:
    details = details or ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=start,
        EndTime=end,
        NumValuesPerNode=count,
        ReturnBounds=bounds,
    )
    params = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=which,
        ReleaseContinuationPoints=release,
        NodesToRead=[ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point)],
    )
    return (await client.uaclient.history_read(params))[0]


def values(result: ua.HistoryReadResult) -> list[Any]:
    return [found.Value.Value for found in result.HistoryData.DataValues]


async def everything(client: Client, **how: Any) -> tuple[list[Any], int]:
    result = await ask(client, **how)
    found, pages = values(result), 1
    while result.ContinuationPoint:
        result = await ask(client, point=result.ContinuationPoint, **how)
        found += values(result)
        pages += 1
    return found, pages


async def test_pages_give_each_value_once(client: Client) -> None:
    found, pages = await everything(client, start=second(0), end=second(1000))
    assert found == [float(n) for n in range(COUNT)]
    assert pages == 3


async def test_a_later_start_reads_backwards(client: Client) -> None:
    found, _ = await everything(client, start=second(120), end=second(10))
    assert found == [float(n) for n in range(120, 10, -1)]


async def test_the_start_is_included_and_the_end_is_not(client: Client) -> None:
    assert values(await ask(client, second(3), second(6))) == [3.0, 4.0, 5.0]
    assert values(await ask(client, second(6), second(3))) == [6.0, 5.0, 4.0]
    assert values(await ask(client, second(3), second(3))) == [3.0]


async def test_a_start_or_an_end_with_a_number_of_values(client: Client) -> None:
    forward = await ask(client, start=second(3), count=2)
    assert (values(forward), forward.ContinuationPoint) == ([3.0, 4.0], None)
    backward = await ask(client, end=second(3), count=2)
    assert (values(backward), backward.ContinuationPoint) == ([3.0, 2.0], None)
    found, _ = await everything(client, start=second(0), count=150)
    assert len(found) == 150


async def test_a_number_of_values_in_a_range_goes_on_where_it_stopped(client: Client) -> None:
    found, pages = await everything(client, start=second(0), end=second(10), count=4)
    assert (found, pages) == ([float(n) for n in range(10)], 3)


async def test_bounds_frame_what_lies_between_samples(client: Client) -> None:
    result = await ask(client, second(2.5), second(4.5), bounds=True)
    assert values(result) == [2.0, 3.0, 4.0, 5.0]
    backwards = await ask(client, second(4.5), second(2.5), bounds=True)
    assert values(backwards) == [5.0, 4.0, 3.0, 2.0]
    on_samples = await ask(client, second(2), second(4), bounds=True)
    assert values(on_samples) == [2.0, 3.0, 4.0]
    assert values(await ask(client, second(2), second(2), bounds=True)) == [2.0]
    assert values(await ask(client, second(2.5), second(2.5), bounds=True)) == [2.0, 3.0]


async def test_a_bound_that_is_not_there_is_said_to_be_missing(client: Client) -> None:
    result = await ask(client, second(-5), second(1.5), bounds=True)
    first = result.HistoryData.DataValues[0]
    assert first.StatusCode.value == ua.StatusCodes.BadBoundNotFound
    assert first.SourceTimestamp == second(-5)
    assert values(result) == [None, 0.0, 1.0, 2.0]
    result = await ask(client, second(COUNT - 1), second(COUNT + 5), bounds=True)
    assert values(result) == [COUNT - 1.0, None]


async def test_bounds_survive_pages_of_one(client: Client) -> None:
    found, pages = await everything(
        client, start=second(2.5), end=second(4.5), bounds=True, count=1
    )
    assert (found, pages) == ([2.0, 3.0, 4.0, 5.0], 4)
    found, pages = await everything(
        client, start=second(2), end=second(2 + PAGE), bounds=True, count=PAGE
    )
    assert (found, pages) == ([2.0 + n for n in range(PAGE + 1)], 2)


async def test_times_are_the_devices_and_ours(client: Client) -> None:
    both = (await ask(client, second(1), second(2))).HistoryData.DataValues[0]
    assert both.SourceTimestamp == second(1)
    assert both.ServerTimestamp == second(1.005)
    source = await ask(client, second(1), second(2), which=ua.TimestampsToReturn.Source)
    assert source.HistoryData.DataValues[0].ServerTimestamp is None
    with pytest.raises(ua.uaerrors.BadTimestampsToReturnInvalid):
        await ask(client, second(1), second(2), which=ua.TimestampsToReturn.Neither)


async def test_an_empty_range_is_good_without_data(client: Client) -> None:
    result = await ask(client, second(-100), second(-50))
    assert result.StatusCode.value == ua.StatusCodes.GoodNoData
    assert values(result) == []


async def test_a_continuation_point_is_used_once_and_by_its_session(
    plant: Plant, client: Client
) -> None:
    first = await ask(client, second(0), second(1000))
    point = first.ContinuationPoint
    assert len(point) == 16
    async with Client(plant.url, watchdog_intervall=30) as other:
        stolen = await ask(other, second(0), second(1000), point=point)
        assert stolen.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid
    wrong_node = await ask(client, point=point, node=ua.NodeId("plc2/level", 2), count=1)
    assert wrong_node.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid
    used_up = await ask(client, second(0), second(1000), point=point)
    assert used_up.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid


async def test_continuation_points_are_bounded_and_can_be_released(client: Client) -> None:
    points = [(await ask(client, second(0), second(1000))).ContinuationPoint for _ in range(4)]
    given_up = await ask(client, second(0), second(1000), point=points.pop(0))
    assert given_up.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid
    for point in points:
        assert (await ask(client, point=point, release=True)).StatusCode.is_good()
    gone = await ask(client, point=points[0], release=True)
    assert gone.StatusCode.value == ua.StatusCodes.BadContinuationPointInvalid
    assert (await ask(client, second(0), second(1000))).ContinuationPoint


async def test_what_is_not_there_and_what_is_not_done_is_refused_honestly(client: Client) -> None:
    codes = ua.StatusCodes
    unsupported = codes.BadHistoryOperationUnsupported
    unknown = await ask(client, second(0), second(1), node=ua.NodeId("nothing", 2))
    assert unknown.StatusCode.value == codes.BadNodeIdUnknown
    folder = await ask(client, second(0), second(1), node=ua.NodeId("plc1", 2))
    assert folder.StatusCode.value == unsupported
    modified = ua.ReadRawModifiedDetails(IsReadModified=True)
    assert (await ask(client, details=modified)).StatusCode.value == unsupported
    events = ua.ReadEventDetails(StartTime=second(0), EndTime=second(9))
    assert (await ask(client, details=events)).StatusCode.value == unsupported
    nothing = await ask(client, start=second(0))
    assert nothing.StatusCode.value == codes.BadHistoryOperationInvalid
