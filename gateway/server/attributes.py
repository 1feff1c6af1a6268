"""Read, Write and HistoryRead (OPC 10000-4 section 5.11)."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any, Final

from asyncua import ua

from gateway.driver import PointSpec
from gateway.errors import DeviceError, WriteRefused
from gateway.model import FLOAT_TYPES, INTEGER_RANGES, DataType, Value
from gateway.server import rights
from gateway.server.context import Context
from gateway.server.encoding import BUILT_IN, NEITHER, from_ticks
from gateway.server.items import stamped
from gateway.server.rights import may_write
from gateway.server.sessions import Session
from gateway.server.standard_nodes import moment

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
_A = ua.AttributeIds
STRETCH: Final = 100
_INTEGER_CODES: Final = frozenset(BUILT_IN[data_type] for data_type in INTEGER_RANGES)
_FLOAT_CODES: Final = frozenset(BUILT_IN[data_type] for data_type in FLOAT_TYPES)
FLOAT32_MAX: Final = 3.4028234663852886e38


class WriteRejected(Exception):
    """A value that can't be written; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


async def read(context: Context, session: Session, params: Any) -> Any:
    """The attributes asked for, each with its own status."""
    which = int(params.TimestampsToReturn)
    if not 0 <= which <= NEITHER:
        raise ua.UaStatusCodeError(_CODES.BadTimestampsToReturnInvalid)
    if params.MaxAge < 0:
        raise ua.UaStatusCodeError(_CODES.BadMaxAgeInvalid)
    results = []
    for done, item in enumerate(params.NodesToRead, 1):
        results.append(_read(context, session, item, which))
        if done % STRETCH == 0:
            await asyncio.sleep(0)
    response = ua.ReadResponse()
    response.Results = results
    return response


def _read(context: Context, session: Session, item: Any, which: int) -> ua.DataValue:
    encoding = item.DataEncoding
    if encoding is not None and encoding.Name not in (None, "", "Default Binary"):
        return _bad(_CODES.BadDataEncodingUnsupported)
    found = rights.shown(context, session, item.NodeId, item.AttributeId)
    if item.IndexRange:
        # No value of the site is an array; of the standard nodes', a part is never asked for.
        return _bad(_CODES.BadIndexRangeNoData if _is_array(found) else _CODES.BadIndexRangeInvalid)
    if item.AttributeId != _A.Value:
        return ua.DataValue(found.Value, found.StatusCode)
    if found.ServerTimestamp is None:
        # Constants of the address space carry none; who asks for one gets it.
        found = replace(found, ServerTimestamp=moment(context.clock.utc_ns()))
    return stamped(found, which)


def _is_array(found: ua.DataValue) -> bool:
    return found.Value is not None and bool(found.Value.is_array)


def _bad(status: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(status))


async def write(context: Context, session: Session, params: Any) -> Any:
    """Write points through to the field; each has its own status.

    Writes of one session keep their order; within a request devices are written side by side, the
    points of one device one after the other.
    """
    items = params.NodesToWrite
    statuses = [_CODES.Good] * len(items)
    by_device: dict[str, list[tuple[int, PointSpec, Value]]] = {}
    for index, item in enumerate(items):
        try:
            point, value = _check_write(context, session, item)
        except WriteRejected as rejected:
            statuses[index] = rejected.status
        else:
            by_device.setdefault(point.device, []).append((index, point, value))
    async with session.write_order:
        await asyncio.gather(
            *(_write_device(context, session, work, statuses) for work in by_device.values())
        )
    response = ua.WriteResponse()
    response.Results = [ua.StatusCode(status) for status in statuses]
    return response


async def _write_device(
    context: Context,
    session: Session,
    work: list[tuple[int, PointSpec, Value]],
    statuses: list[int],
) -> None:
    for index, point, value in work:
        account = session.account
        if account is None or session.closed:
            statuses[index] = _CODES.BadSessionClosed
            continue
        try:
            statuses[index] = await context.write(account.name, point, value)
        except (WriteRefused, DeviceError) as refused:
            statuses[index] = refused.status
        except Exception:  # one item's failure must not hide what became of the others
            _log.exception("writing %s failed", point.id)
            statuses[index] = _CODES.BadInternalError


def _check_write(context: Context, session: Session, item: Any) -> tuple[PointSpec, Value]:
    point = context.tree.point(item.NodeId)
    if point is None:
        known = context.tree.exists(item.NodeId)
        raise WriteRejected(_CODES.BadNotWritable if known else _CODES.BadNodeIdUnknown)
    if item.AttributeId != _A.Value or not point.access.writable:
        raise WriteRejected(_CODES.BadNotWritable)
    if not may_write(session):
        raise WriteRejected(_CODES.BadUserAccessDenied)
    if item.IndexRange:
        raise WriteRejected(_CODES.BadIndexRangeInvalid)
    found = item.Value
    stamps = (found.SourceTimestamp, found.ServerTimestamp)
    has_stamps = any(stamp is not None for stamp in stamps)
    if has_stamps and not context.settings.ignore_write_timestamps:
        raise WriteRejected(_CODES.BadWriteNotSupported)
    if found.StatusCode is not None and found.StatusCode.value != 0:
        raise WriteRejected(_CODES.BadWriteNotSupported)
    return point, to_point_value(found.Value, point.data_type)


def to_point_value(variant: ua.Variant | None, data_type: DataType) -> Value:
    """The value of a Variant as a point's type holds it. Raises WriteRejected.

    Any integer type may carry an integer that fits, either float type a float: many clients send
    what their own language has. Nothing else is converted.
    """
    if variant is None or variant.is_array or variant.Value is None:
        raise WriteRejected(_CODES.BadTypeMismatch)
    code, value = int(variant.VariantType), variant.Value
    if data_type in INTEGER_RANGES and code in _INTEGER_CODES:
        low, high = INTEGER_RANGES[data_type]
        if not low <= value <= high:
            raise WriteRejected(_CODES.BadOutOfRange)
        return int(value)
    if data_type in FLOAT_TYPES and code in _FLOAT_CODES:
        if not math.isfinite(value):
            raise WriteRejected(_CODES.BadOutOfRange)
        if data_type is DataType.FLOAT32 and abs(value) > FLOAT32_MAX:
            raise WriteRejected(_CODES.BadOutOfRange)
        return float(value)
    if code != BUILT_IN[data_type]:
        raise WriteRejected(_CODES.BadTypeMismatch)
    if data_type is DataType.DATETIME:
        return from_ticks(ua.datetime_to_win_epoch(value))
    result: Value = value
    return result


async def history_read(context: Context, session: Session, params: Any) -> Any:
    """History of points, page by page."""
    response = ua.HistoryReadResponse()
    response.Results = await context.history.read(params, session.history_points)
    return response
