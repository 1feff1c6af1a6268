"""HistoryRead raw from the journal, with continuation points of our own (OPC 10000-11 6.5.3).

A continuation point is a random name for where a read stopped; it belongs to one session, is used
once, and dies with the session, when released, or after a while. Values are encoded at once: the
library's object a value would halve the speed twice over.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, Final

from asyncua import ua

from gateway.clock import Clock
from gateway.driver import PointSpec
from gateway.model import NS_PER_MS, HistoryReader, HistoryRow, Status
from gateway.server.address_space import SiteTree
from gateway.server.encoding import (
    NEITHER,
    Encoder,
    array,
    data_value_encoder,
)
from gateway.server.history_plan import BAD_BOUND_NOT_FOUND, TICK_NS, Plan, PlanRefused, plan
from gateway.server.settings import Limits

_HISTORY_DATA: Final = ua.NodeId(ua.ObjectIds.HistoryData_Encoding_DefaultBinary)
_POINT_BYTES: Final = 16
_CODES = ua.StatusCodes


@dataclass(frozen=True, slots=True)
class _Rest:
    """Where a read goes on: what of the plan is left, and how many values are still asked."""

    point: PointSpec
    plan: Plan
    cursor: tuple[int, ...] | None
    bounds: bool
    left: int
    started: bool = False
    until_ns: int = 0


@dataclass(slots=True)
class ContinuationPoints:
    """The continuation points of one session."""

    kept: OrderedDict[bytes, _Rest] = field(default_factory=OrderedDict)

    def keep(self, rest: _Rest, now_ns: int, limits: Limits) -> bytes | None:
        """A name for where a read goes on; None when the session has too many already."""
        while self.kept and next(iter(self.kept.values())).until_ns <= now_ns:
            self.kept.popitem(last=False)
        if len(self.kept) >= limits.max_history_points:
            return None
        name = secrets.token_bytes(_POINT_BYTES)
        self.kept[name] = replace(rest, until_ns=now_ns + limits.history_point_ms * NS_PER_MS)
        return name

    def take(self, name: bytes, now_ns: int) -> _Rest | None:
        """Where a named read goes on; the name is used up. None if unknown or too old."""
        rest = self.kept.pop(name, None)
        return rest if rest is not None and rest.until_ns > now_ns else None

    def release(self, name: bytes) -> bool:
        """Forget a continuation point; False when it isn't there."""
        return self.kept.pop(name, None) is not None

    def clear(self) -> None:
        """Forget them all: the session ends."""
        self.kept.clear()


class History:
    """Answers HistoryRead for the points of a site."""

    def __init__(self, tree: SiteTree, reader: HistoryReader, clock: Clock, limits: Limits) -> None:
        self._tree = tree
        self._reader = reader
        self._clock = clock
        self._limits = limits
        self._encoders: dict[str, Encoder] = {}

    def follow(self, reader: HistoryReader) -> None:
        """Another revision is served: its names may continue the history of others."""
        self._reader = reader

    async def read(
        self, params: ua.HistoryReadParameters, points: ContinuationPoints
    ) -> list[ua.HistoryReadResult]:
        """One result a node, each with its own status. Raises UaStatusCodeError for the whole."""
        nodes = params.NodesToRead
        if params.ReleaseContinuationPoints:
            return [_released(points, node) for node in nodes]
        which = int(params.TimestampsToReturn)
        if which >= NEITHER:
            raise ua.UaStatusCodeError(_CODES.BadTimestampsToReturnInvalid)
        share = self._limits.max_history_values_per_request // len(nodes)
        page = max(1, min(self._limits.max_history_values, share))
        results = []
        for node in nodes:
            try:
                rest = self._start(params.HistoryReadDetails, node, points)
                results.append(await self._read_page(rest, page, which, points))
            except (_Refused, PlanRefused) as refused:
                results.append(ua.HistoryReadResult(StatusCode=ua.StatusCode(refused.status)))
        return results

    def _start(self, details: Any, node: Any, points: ContinuationPoints) -> _Rest:
        if not isinstance(details, ua.ReadRawModifiedDetails) or details.IsReadModified:
            raise _Refused(_CODES.BadHistoryOperationUnsupported)
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
        if node.ContinuationPoint:
            rest = points.take(node.ContinuationPoint, self._clock.monotonic_ns())
            if rest is None or rest.point.id != point.id:
                raise _Refused(_CODES.BadContinuationPointInvalid)
            return rest
        start, end = ua.datetime_to_win_epoch, details.EndTime
        found = plan(start(details.StartTime), start(end), details.NumValuesPerNode)
        return _Rest(point, found, None, details.ReturnBounds, found.asked)

    async def _read_page(
        self, rest: _Rest, page: int, which: int, points: ContinuationPoints
    ) -> ua.HistoryReadResult:
        what = rest.plan
        most = min(page, what.asked) if what.asked else page
        if what.end_ns is None:
            most = min(most, rest.left)
        encode = self._encoder(rest.point)
        parts: list[bytes] = []
        if rest.bounds and not rest.started:
            parts = await self._start_bound(rest, encode, which)
        cursor, more = rest.cursor, True
        if len(parts) < most:
            found = await self._reader.read(
                rest.point.id, what.from_ns, what.to_ns, most - len(parts), cursor, what.reverse
            )
            cursor, more = found.cursor, found.cursor is not None
            for time_ns, value, status, received_ns, _, _ in found.rows:
                parts.append(encode(value, status, time_ns, received_ns, which))
        left = rest.left - len(parts)
        result = ua.HistoryReadResult()
        if more and (what.end_ns is not None or left > 0):
            go_on = replace(rest, cursor=cursor, left=left, started=True)
            name = points.keep(go_on, self._clock.monotonic_ns(), self._limits)
            if name is None:
                return ua.HistoryReadResult(
                    StatusCode=ua.StatusCode(_CODES.BadNoContinuationPoints)
                )
            result.ContinuationPoint = name
        elif rest.bounds and not more and what.end_ns is not None:
            parts.extend(await self._end_bound(rest, what.end_ns, encode, which))
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

    def _encoder(self, point: PointSpec) -> Encoder:
        found = self._encoders.get(point.data_type)
        if found is None:
            found = self._encoders[point.data_type] = data_value_encoder(point.data_type)
        return found


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


def _bound(row: HistoryRow | None, time_ns: int, encode: Encoder, which: int) -> bytes:
    if row is None:
        return encode(None, BAD_BOUND_NOT_FOUND, time_ns, time_ns, which)
    return encode(row.value, row.status, row.time_ns, row.received_ns, which)


def _released(points: ContinuationPoints, node: Any) -> ua.HistoryReadResult:
    known = bool(node.ContinuationPoint) and points.release(node.ContinuationPoint)
    code = _CODES.Good if known else _CODES.BadContinuationPointInvalid
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
