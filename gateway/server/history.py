"""HistoryRead from the journal: raw, at times, processed (OPC 10000-11 6.5).

Values are encoded at once: the library's object a value would halve the speed twice over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from asyncua import ua

from gateway.clock import Clock
from gateway.driver import PointSpec
from gateway.model import DataType, HistoryReader, HistoryRow, Status
from gateway.server.address_space import SiteTree
from gateway.server.aggregates import (
    AGGREGATES,
    BAD_AGGREGATE_NOT_SUPPORTED,
    BAD_INVALID_ARGUMENT,
    BAD_TOO_MANY_OPERATIONS,
    DEFAULTS,
    intervals,
    rules,
)
from gateway.server.continuation import ContinuationPoints, Request
from gateway.server.encoding import (
    NEITHER,
    SERVER,
    SOURCE,
    Encoder,
    array,
    data_value_encoder,
    from_ticks,
)
from gateway.server.history_derived import (
    PAGE_SAMPLES,
    AtTimeRest,
    Budget,
    ProcessedRest,
    Samples,
    at_times,
    processed,
)
from gateway.server.history_nodes import aggregate_id
from gateway.server.history_plan import (
    BAD_BOUND_NOT_FOUND,
    BAD_HISTORY_OPERATION_INVALID,
    TICK_NS,
    Plan,
    PlanRefused,
    plan,
)
from gateway.server.history_request import AtTimeDetails, ticks_of
from gateway.server.settings import Limits

_HISTORY_DATA: Final = ua.NodeId(ua.ObjectIds.HistoryData_Encoding_DefaultBinary)
_CODES = ua.StatusCodes
_TIMES_PER_PAGE: Final = 1_000
"""Each costs a look into the journal, so that a page takes its time."""
_BY_NODE: Final = {aggregate_id(name): found for name, found in AGGREGATES.items()}


@dataclass(frozen=True, slots=True)
class _Rest:
    """Where a raw read goes on: what of the plan is left, and how many values are still asked.

    `ended` when only the bound at the end is to be given.
    """

    point: PointSpec
    plan: Plan
    cursor: tuple[int, ...] | None
    bounds: bool
    left: int
    started: bool = False
    ended: bool = False

    @property
    def size(self) -> int:
        """The bytes it takes: no more than any rest does."""
        return 0


_R = TypeVar("_R", _Rest, AtTimeRest, ProcessedRest)
_T = TypeVar("_T")


class History:
    """Answers HistoryRead for the points of a site."""

    def __init__(self, tree: SiteTree, reader: HistoryReader, clock: Clock, limits: Limits) -> None:
        self._tree = tree
        self._reader = reader
        self._clock = clock
        self._limits = limits
        self._encoders: dict[DataType, Encoder] = {}

    def follow(self, reader: HistoryReader) -> None:
        """Another revision is served: its names may continue the history of others."""
        self._reader = reader

    async def read(
        self, params: ua.HistoryReadParameters, kept: ContinuationPoints
    ) -> list[ua.HistoryReadResult]:
        """One result a node, each with its own status. Raises UaStatusCodeError for the whole."""
        nodes, points = params.NodesToRead, kept.request()
        if params.ReleaseContinuationPoints:
            return [_released(points, node) for node in nodes]
        if int(params.TimestampsToReturn) >= NEITHER:
            raise ua.UaStatusCodeError(_CODES.BadTimestampsToReturnInvalid)
        results = []
        budget = Budget(self._limits.max_history_samples_per_request)
        for number in range(len(nodes)):
            budget.next(len(nodes) - number)
            try:
                results.append(await self._read(params, number, points, budget))
            except (_Refused, PlanRefused) as refused:
                results.append(ua.HistoryReadResult(StatusCode=ua.StatusCode(refused.status)))
        return results

    async def _read(
        self, params: ua.HistoryReadParameters, number: int, points: Request, budget: Budget
    ) -> ua.HistoryReadResult:
        """One node, with its share of what a request may hold."""
        details, node = params.HistoryReadDetails, params.NodesToRead[number]
        which, count = int(params.TimestampsToReturn), len(params.NodesToRead)
        share = self._limits.max_history_values_per_request // count
        page = max(1, min(self._limits.max_history_values, share))
        if isinstance(details, ua.ReadRawModifiedDetails) and not details.IsReadModified:
            point = self._point(node)
            raw = self._kept(node, point, points, _Rest) or self._begin_raw(details, point)
            return await self._read_page(raw, page, which, points)
        if isinstance(details, AtTimeDetails):
            point = self._point(node)
            times = self._kept(node, point, points, AtTimeRest)
            samples = Samples(self._reader, point, budget)
            times = times or await self._begin_at_times(details, samples)
            return await self._read_at_times(samples, times, page, which, points)
        if isinstance(details, ua.ReadProcessedDetails):
            point = self._point(node)
            left = self._kept(node, point, points, ProcessedRest)
            samples = Samples(self._reader, point, budget)
            left = left or await self._begin_processed(details, number, count, which, samples)
            return await self._read_processed(samples, left, page, points)
        raise _Refused(_CODES.BadHistoryOperationUnsupported)

    def _point(self, node: Any) -> PointSpec:
        """The point of a node whose history is asked for."""
        point = self._tree.point(node.NodeId)
        if point is None:
            known = self._tree.exists(node.NodeId)
            unsupported = _CODES.BadHistoryOperationUnsupported
            raise _Refused(unsupported if known else _CODES.BadNodeIdUnknown)
        if node.IndexRange:
            raise _Refused(_CODES.BadIndexRangeInvalid)
        if node.DataEncoding is not None and node.DataEncoding.Name not in (
            None,
            "",
            "Default Binary",
        ):
            raise _Refused(_CODES.BadDataEncodingUnsupported)
        return point

    def _kept(self, node: Any, point: PointSpec, points: Request, kind: type[_R]) -> _R | None:
        """Where a read goes on; None if it begins."""
        if not node.ContinuationPoint:
            return None
        rest = points.take(node.ContinuationPoint, self._clock.monotonic_ns())
        if not isinstance(rest, kind) or rest.point.id != point.id:
            raise _Refused(_CODES.BadContinuationPointInvalid)
        return rest

    def _begin_raw(self, details: Any, point: PointSpec) -> _Rest:
        start, end = ua.datetime_to_win_epoch, details.EndTime
        found = plan(start(details.StartTime), start(end), details.NumValuesPerNode)
        return _Rest(point, found, None, details.ReturnBounds, found.asked)

    async def _begin_at_times(self, details: AtTimeDetails, samples: Samples) -> AtTimeRest:
        if details.count == 0:
            raise _Refused(BAD_HISTORY_OPERATION_INVALID)
        if details.count > self._limits.max_history_times:
            raise _Refused(BAD_TOO_MANY_OPERATIONS)
        last_ns = from_ticks(max(ticks_of(details.times))) + TICK_NS
        until_ns = await samples.known_until(self._clock.utc_ns(), last_ns)
        return AtTimeRest(samples.point, details.times, details.use_simple_bounds, until_ns)

    async def _begin_processed(
        self, details: Any, number: int, count: int, which: int, samples: Samples
    ) -> ProcessedRest:
        if len(details.AggregateType or ()) != count:
            raise _Refused(_CODES.BadAggregateListMismatch)
        if which == SERVER:
            raise _Refused(_CODES.BadTimestampsToReturnInvalid)
        wanted = details.AggregateType[number]
        known = wanted.NamespaceIndex == 0
        aggregate = _BY_NODE.get(wanted.Identifier) if known else None
        if aggregate is None:
            raise _Refused(BAD_AGGREGATE_NOT_SUPPORTED)
        how, sloped = DEFAULTS, False
        given = details.AggregateConfiguration
        if not given.UseServerCapabilitiesDefaults:
            how = rules(given.TreatUncertainAsBad, given.PercentDataBad, given.PercentDataGood)
            sloped = given.UseSlopedExtrapolation
        aggregate.check(samples.point.data_type, sloped)
        start, end = map(ua.datetime_to_win_epoch, (details.StartTime, details.EndTime))
        if start <= 0 or end <= 0:
            raise _Refused(BAD_INVALID_ARGUMENT)
        most = self._limits.max_history_intervals
        cut = intervals(from_ticks(start), from_ticks(end), details.ProcessingInterval, most)
        last_ns = max(cut.start_ns, cut.end_ns) + TICK_NS
        until_ns = await samples.known_until(self._clock.utc_ns(), last_ns)
        return ProcessedRest(samples.point, aggregate, how, cut, until_ns)

    async def _read_at_times(
        self, samples: Samples, rest: AtTimeRest, page: int, which: int, points: Request
    ) -> ua.HistoryReadResult:
        found, left = await at_times(samples, rest, min(page, _TIMES_PER_PAGE))
        encode = self._encoder(rest.point.data_type)
        parts = [
            encode(value, status, at_ns, server_ns, which)
            for (at_ns, value, status), server_ns in found
        ]
        return self._derived(parts, left, points)

    async def _read_processed(
        self, samples: Samples, rest: ProcessedRest, page: int, points: Request
    ) -> ua.HistoryReadResult:
        found, left = await processed(samples, rest, page)
        encode = self._encoder(rest.aggregate.result_type or rest.point.data_type)
        # An aggregate has the time of its interval; there is no other (OPC 10000-13 5.4.3.1).
        parts = await _in_slices(found, lambda r: encode(r.value, r.status, r.time_ns, 0, SOURCE))
        return self._derived(parts, left, points)

    def _derived(self, parts: list[bytes], left: Any, points: Request) -> ua.HistoryReadResult:
        result = ua.HistoryReadResult()
        if left is not None:
            result.ContinuationPoint = self._keep(left, points)
        result.HistoryData = ua.ExtensionObject(_HISTORY_DATA, array(parts, len(parts)))
        return result

    def _keep(self, rest: Any, points: Request) -> bytes:
        name = points.keep(rest, rest.size, self._clock.monotonic_ns())
        if name is None:
            raise _Refused(_CODES.BadNoContinuationPoints)
        return name

    async def _read_page(
        self, rest: _Rest, page: int, which: int, points: Request
    ) -> ua.HistoryReadResult:
        what = rest.plan
        most = min(page, what.asked) if what.asked else page
        if what.end_ns is None:
            most = min(most, rest.left)
        encode = self._encoder(rest.point.data_type)
        parts: list[bytes] = []
        if rest.bounds and not rest.started:
            parts = await self._start_bound(rest, encode, which)
        cursor, more = rest.cursor, not rest.ended
        if more and len(parts) < most:
            found = await self._reader.read(
                rest.point.id, what.from_ns, what.to_ns, most - len(parts), cursor, what.reverse
            )
            cursor, more = found.cursor, found.cursor is not None
            parts += await _in_slices(
                found.rows,
                lambda row: encode(row.value, row.status, row.time_ns, row.received_ns, which),
            )
        left = rest.left - len(parts)
        result = ua.HistoryReadResult()
        if more and (what.end_ns is not None or left > 0):
            go_on = replace(rest, cursor=cursor, left=left, started=True)
            result.ContinuationPoint = self._keep(go_on, points)
        elif rest.bounds and not more and what.end_ns is not None:
            bound = await self._end_bound(rest, what.end_ns, encode, which)
            if bound and len(parts) >= most:
                last = replace(rest, started=True, ended=True)
                result.ContinuationPoint = self._keep(last, points)
            else:
                parts += bound
        if not parts:
            result.StatusCode = ua.StatusCode(Status.GOOD_NO_DATA)
        result.HistoryData = ua.ExtensionObject(_HISTORY_DATA, array(parts, len(parts)))
        return result

    async def _start_bound(self, rest: _Rest, encode: Encoder, which: int) -> list[bytes]:
        """The value in force at the start, if no sample lies exactly on it."""
        what = rest.plan
        tick_ns = what.start_ns
        if await self._has_sample_at(rest.point.id, tick_ns):
            return []
        if what.reverse:
            row = await self._reader.after(rest.point.id, tick_ns + TICK_NS - 1)
        else:
            row = await self._reader.at_or_before(rest.point.id, tick_ns - 1)
        return [_bound(row, tick_ns, encode, which)]

    async def _end_bound(
        self, rest: _Rest, end_ns: int, encode: Encoder, which: int
    ) -> list[bytes]:
        """The sample at the end, or the first one beyond it."""
        what = rest.plan
        if end_ns == what.start_ns and await self._has_sample_at(rest.point.id, end_ns):
            return []
        if what.reverse:
            row = await self._reader.at_or_before(rest.point.id, end_ns + TICK_NS - 1)
        else:
            row = await self._reader.after(rest.point.id, end_ns - 1)
        return [_bound(row, end_ns, encode, which)]

    async def _has_sample_at(self, point: str, tick_ns: int) -> bool:
        row = await self._reader.after(point, tick_ns - 1)
        return row is not None and row.time_ns < tick_ns + TICK_NS

    def _encoder(self, data_type: DataType) -> Encoder:
        found = self._encoders.get(data_type)
        if found is None:
            found = self._encoders[data_type] = data_value_encoder(data_type)
        return found


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


async def _in_slices(items: Sequence[_T], encode: Callable[[_T], bytes]) -> list[bytes]:
    """Encode many, and let others have their turn now and then."""
    parts: list[bytes] = []
    for begin in range(0, len(items), PAGE_SAMPLES):
        parts += map(encode, items[begin : begin + PAGE_SAMPLES])
        await asyncio.sleep(0)
    return parts


def _bound(row: HistoryRow | None, time_ns: int, encode: Encoder, which: int) -> bytes:
    if row is None:
        return encode(None, BAD_BOUND_NOT_FOUND, time_ns, time_ns, which)
    return encode(row.value, row.status, row.time_ns, row.received_ns, which)


def _released(points: Request, node: Any) -> ua.HistoryReadResult:
    known = bool(node.ContinuationPoint) and points.release(node.ContinuationPoint)
    code = _CODES.Good if known else _CODES.BadContinuationPointInvalid
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
