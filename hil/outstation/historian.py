"""HistoryRead raw of the emulated PLC (OPC 10000-11 section 6.5.3), rightly or wrongly as told.

A continuation point is a name for an iterator over the records that are left; it belongs to one
session. Nothing here is shared with the gateway's own HistoryRead or with its client.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua

from gateway.model import NS_PER_S
from hil.outstation.plc_history import Diary, Entry, Recorded
from hil.outstation.plc_nodes import PlcNode
from hil.settings import PlcHistory

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK_NS: Final = 1_000
_CODES = ua.StatusCodes


def ns_of(moment: datetime | None) -> int | None:
    """ns UTC of a DateTime; None where it is not specified (1601)."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None if aware.year <= 1601 else (aware - _UNIX) // timedelta(microseconds=1) * 1_000


async def recording(
    server: Any,
    nodes: Sequence[PlcNode],
    diary: Diary,
    settings: PlcHistory,
    now_ns: Callable[[], int],
    note: Callable[[int, int], None],
) -> Historian:
    """Begin to record the nodes of a PLC, and let the address space say so."""
    recorded: dict[Any, tuple[Recorded, Any]] = {}
    for node in nodes:
        if settings.without & {point.name for point in node.points.values()}:
            continue
        signals = {index: point.signal for index, point in node.points.items()}
        found = Recorded(node.text, signals, diary, node.blank)
        recorded[node.node_id] = found, node.variant
    historian = Historian(settings, recorded, server, now_ns, note)
    await historian.show(True)
    return historian


@dataclass(slots=True)
class _Rest:
    """What is left of a read, and how many pages of it were given."""

    node: Any
    entries: Iterator[Any]
    pages: int = 0


Points = OrderedDict[bytes, _Rest]


class Historian:
    """The history of one PLC's `server`; `recorded` by NodeId.

    `note` is told of each request: when it came (ns UTC), and how many nodes it was for.
    """

    def __init__(
        self,
        settings: PlcHistory,
        recorded: Mapping[Any, tuple[Recorded, Any]],
        server: Any,
        now_ns: Callable[[], int],
        note: Callable[[int, int], None],
    ) -> None:
        self.settings = settings
        self.requests = 0
        self._shown = False
        self._server = server
        self._note = note
        self._recorded = recorded
        self._now_ns = now_ns

    async def show(self, there: bool) -> None:
        """Let history be there or not, as when a server starts before its historian does."""
        if there == self._shown:
            return
        self._shown, attributes = there, ua.AttributeIds
        historizing = ua.DataValue(ua.Variant(there, ua.VariantType.Boolean))
        for node_id in self._recorded:
            node = self._server.get_node(node_id)
            change = node.set_attr_bit if there else node.unset_attr_bit
            for level in (attributes.AccessLevel, attributes.UserAccessLevel):
                await change(level, ua.AccessLevel.HistoryRead)
            await node.write_attribute(attributes.Historizing, historizing)

    async def read(self, params: Any, points: Points) -> list[Any]:
        """One result a node; `points` are the continuation points of the session."""
        self.requests += 1
        received_ns = self._now_ns()
        if self.settings.slow_ns:
            await asyncio.sleep(self.settings.slow_ns / NS_PER_S)
        try:
            return self._answer(params, points)
        finally:
            self._note(received_ns, len(params.NodesToRead))

    def _answer(self, params: Any, points: Points) -> list[Any]:
        if params.ReleaseContinuationPoints:
            return [_released(points, node) for node in params.NodesToRead]
        if self.settings.nodes and len(params.NodesToRead) > self.settings.nodes:
            raise ua.UaStatusCodeError(_CODES.BadTooManyOperations)
        return [self._read(params.HistoryReadDetails, node, points) for node in params.NodesToRead]

    def _read(self, details: Any, node: Any, points: Points) -> Any:
        odd = self.settings.odd
        raw = isinstance(details, ua.ReadRawModifiedDetails) and not details.IsReadModified
        if not raw:
            return _bad(_CODES.BadHistoryOperationUnsupported)
        if node.NodeId not in self._recorded or not self._shown:
            if "good_without" in odd:
                return _result([])
            known = node.NodeId in self._server.iserver.aspace
            return _bad(_CODES.BadHistoryOperationUnsupported if known else _CODES.BadNodeIdUnknown)
        rest = points.pop(node.ContinuationPoint, None) if node.ContinuationPoint else None
        if node.ContinuationPoint and (rest is None or "forget_points" in odd):
            return _bad(_CODES.BadContinuationPointInvalid)
        if rest is None:
            entries = self._begin(node.NodeId, details)
            if entries is None:
                return _bad(_CODES.BadHistoryOperationInvalid)
            rest = _Rest(node.NodeId, entries)
        return self._page(rest, details.NumValuesPerNode, points, node.ContinuationPoint)

    def _begin(self, node: Any, details: Any) -> Iterator[Any] | None:
        """The DataValues of a read; None for one that says too little."""
        recorded, variant = self._recorded[node]
        clock_ns, now_ns = self.settings.clock_ns, self._now_ns()
        start_ns, end_ns, most = (
            ns_of(details.StartTime),
            ns_of(details.EndTime),
            details.NumValuesPerNode,
        )
        if (start_ns is None and end_ns is None) or (None in (start_ns, end_ns) and not most):
            return None
        reverse = start_ns is None or (end_ns is not None and end_ns < start_ns)
        oldest_ns = now_ns - self.settings.depth_ns
        newest_ns = now_ns + clock_ns + _TICK_NS
        if reverse:
            assert end_ns is not None
            low_ns, high_ns = (
                (0, end_ns + _TICK_NS)
                if start_ns is None
                else (end_ns + _TICK_NS, start_ns + _TICK_NS)
            )
        else:
            assert start_ns is not None
            high_ns = newest_ns if end_ns is None else max(end_ns, start_ns + _TICK_NS)
            low_ns = start_ns
        low_ns, high_ns = low_ns - clock_ns, min(high_ns, newest_ns) - clock_ns
        turned = reverse != ("newest_first" in self.settings.odd)
        found = recorded.entries(max(low_ns, oldest_ns), high_ns, turned)
        values: Iterator[Any] = (self._value(entry, variant) for entry in found)
        if details.ReturnBounds and not reverse:
            span = (low_ns, high_ns, oldest_ns, now_ns)
            values = self._bounded(recorded, variant, values, span)
        if "outside" in self.settings.odd:
            values = itertools.chain([self._value(Entry(oldest_ns, None), variant)], values)
        return values

    def _bounded(
        self, recorded: Recorded, variant: Any, values: Iterator[Any], span: tuple[int, ...]
    ) -> Iterator[Any]:
        """The values of [low, high) with their bounds, each only where none lies exactly there."""
        low_ns, high_ns, oldest_ns, now_ns = span
        before = next(recorded.entries(oldest_ns, low_ns + _TICK_NS, True), None)
        if before is None:
            yield self._unbound(low_ns)
        elif before.time_ns < low_ns:
            yield self._value(before, variant)
        yield from values
        after = next(recorded.entries(max(high_ns, oldest_ns), now_ns), None)
        yield self._unbound(high_ns) if after is None else self._value(after, variant)

    def _value(self, entry: Entry, variant: Any) -> Any:
        stamp = _UNIX + timedelta(microseconds=(entry.time_ns + self.settings.clock_ns) // 1_000)
        if entry.value is None:
            return ua.DataValue(
                StatusCode=ua.StatusCode(_CODES.BadSensorFailure),
                SourceTimestamp=stamp,
                ServerTimestamp=stamp,
            )
        return ua.DataValue(
            ua.Variant(entry.value, variant), SourceTimestamp=stamp, ServerTimestamp=stamp
        )

    def _unbound(self, time_ns: int) -> Any:
        stamp = _UNIX + timedelta(microseconds=(time_ns + self.settings.clock_ns) // 1_000)
        return ua.DataValue(
            StatusCode=ua.StatusCode(_CODES.BadBoundNotFound), SourceTimestamp=stamp
        )

    # ------------------------------------------------------------------------------ pages

    def _page(self, rest: _Rest, most: int, points: Points, old: bytes | None) -> Any:
        """A page, and a continuation point for what is left."""
        odd, settings = self.settings.odd, self.settings
        rest.pages += 1
        if "empty_pages" in odd and rest.pages % 2:
            return self._go_on(rest, [], points, None)
        size = min(most, settings.page) if most else settings.page
        page = list(itertools.islice(rest.entries, size))
        ahead = next(rest.entries, None)
        if ahead is None or "cut_off" in odd:
            return _result(page)
        rest.entries = itertools.chain([ahead], rest.entries)
        if "repeat_point" in odd and old is not None:
            rest.entries = itertools.chain(page, rest.entries)
            return self._go_on(rest, page, points, old)
        return self._go_on(rest, page, points, old if "same_point" in odd else None)

    def _go_on(self, rest: _Rest, page: list[Any], points: Points, name: bytes | None) -> Any:
        if len(points) >= self.settings.points:
            return _bad(_CODES.BadNoContinuationPoints)
        name = name or secrets.token_bytes(8)
        points[name] = rest
        result = _result(page)
        result.StatusCode = ua.StatusCode(_CODES.Good)
        result.ContinuationPoint = name
        return result


def _bad(code: int) -> Any:
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))


def _result(values: list[Any]) -> Any:
    result = ua.HistoryReadResult(HistoryData=ua.HistoryData(DataValues=values))
    if not values:
        result.StatusCode = ua.StatusCode(_CODES.GoodNoData)
    return result


def _released(points: Points, node: Any) -> Any:
    held = points.pop(node.ContinuationPoint, None) is not None
    code = _CODES.Good if held else _CODES.BadContinuationPointInvalid
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
