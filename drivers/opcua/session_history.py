"""HistoryRead and what has to be known for it, on an open session.

The library's own `read_raw_history` is not used: it cuts off silently where a number of values is
asked for, or a continuation point comes twice, and releases none (asyncua 2.1.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary as binary

from drivers.opcua.log import plain
from drivers.opcua.log.discovery import Attributes
from drivers.opcua.log.ops import Ask, Told
from drivers.opcua.observe import Reading
from drivers.opcua.session import Session
from drivers.opcua.session_client import device_error
from drivers.opcua.session_reading import to_reading
from drivers.opcua.values import datetime_to_ns, ns_to_datetime
from gateway.errors import InvalidReply

_UNSPECIFIED: Final = datetime(1601, 1, 1, tzinfo=UTC)
_TIMES: Final = (
    ua.ObjectIds.Server_ServerStatus_CurrentTime,
    ua.ObjectIds.Server_ServerStatus_StartTime,
)
_LIMITS: Final = (
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    ua.ObjectIds.Server_ServerCapabilities_MaxHistoryContinuationPoints,
)
_HISTORY_DATA: Final = ua.FourByteNodeId(ua.ObjectIds.HistoryData_Encoding_DefaultBinary)
_BYTES_FOLLOW: Final = b"\x01"
NODES_MAX: Final = 100
"""Nodes a call where the server doesn't say."""


async def attributes(session: Session, nodes: Sequence[Any]) -> list[Attributes]:
    """What the attributes of nodes say of their history. Raises DeviceError."""
    asked = (
        ua.AttributeIds.AccessLevel,
        ua.AttributeIds.UserAccessLevel,
        ua.AttributeIds.Historizing,
    )
    columns = [await session.read(nodes, attribute) for attribute in asked]
    return [Attributes(*found) for found in zip(*columns, strict=True)]


async def nodes_at_once(session: Session) -> int:
    """How many nodes one HistoryRead may name, each with a continuation point. Raises DeviceError.

    Both limits are 0 where there is none, and unreadable on many servers.
    """
    readings = await session.read([_node(number) for number in _LIMITS])
    told = [r.value for r in readings if isinstance(r.value, int) and r.value > 0]
    return min([NODES_MAX, *told])


async def times(session: Session) -> tuple[int | None, int | None]:
    """CurrentTime and StartTime of the server, in ns UTC by its own clock. Raises DeviceError."""
    now, start = await session.read([_node(number) for number in _TIMES])
    return _moment(now.value), _moment(start.value)


def _node(number: int) -> Any:
    return ua.NodeId(ua.Int32(number))


def _moment(value: Any) -> int | None:
    return datetime_to_ns(value) if isinstance(value, datetime) else None


async def history_read(session: Session, nodes: Sequence[Any], ask: Ask) -> list[Told]:
    """One HistoryRead raw, of `nodes` in the order of `ask.places`. Raises DeviceError."""
    told = await _call(session, _params(nodes, ask.points, _details(ask)), "a read of history")
    if len(told) != len(nodes):
        raise InvalidReply(f"{len(told)} results for the history of {len(nodes)} nodes")
    return told


async def release(session: Session, nodes: Sequence[Any], points: Sequence[bytes]) -> None:
    """Give continuation points back. Raises DeviceError."""
    params = _params(nodes, points, ua.ReadRawModifiedDetails(IsReadModified=False))
    params.ReleaseContinuationPoints = True
    await _call(session, params, "the release of continuation points")


def _params(nodes: Sequence[Any], points: Sequence[bytes], details: Any) -> Any:
    params = ua.HistoryReadParameters()
    params.HistoryReadDetails = details
    params.TimestampsToReturn = ua.TimestampsToReturn.Both
    params.ReleaseContinuationPoints = False
    going_on: Sequence[bytes | None] = points or [None] * len(nodes)
    params.NodesToRead = [
        ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point)
        for node, point in zip(nodes, going_on, strict=True)
    ]
    return params


def _details(ask: Ask) -> Any:
    details = ua.ReadRawModifiedDetails()
    details.IsReadModified = False
    details.StartTime = _UNSPECIFIED if ask.from_ns is None else ns_to_datetime(ask.from_ns)
    details.EndTime = ns_to_datetime(ask.to_ns)
    details.NumValuesPerNode = ask.most
    details.ReturnBounds = ask.bounds
    return details


async def _call(session: Session, params: Any, doing: str) -> list[Told]:
    try:
        return results(await session.services.history_answer(params))
    except Exception as error:  # parse errors of the library have no common base
        raise device_error(error, doing) from error


def results(data: Buffer) -> list[Told]:
    """What a HistoryReadResponse says of each node. Raises what the library does."""
    binary.nodeid_from_binary(data)
    binary.struct_from_binary(ua.ResponseHeader, data).ServiceResult.check()
    return [_told(data) for _ in range(binary.Primitives.Int32.unpack(data))]


def _told(data: Buffer) -> Told:
    status = binary.Primitives.UInt32.unpack(data)
    point = binary.Primitives.Bytes.unpack(data)
    return Told(status, _readings(data), point or None)


def _readings(data: Buffer) -> list[Reading]:
    """The history of one node, without the library where all values are plain."""
    ahead = data.copy()
    if binary.nodeid_from_binary(ahead) == _HISTORY_DATA and ahead.read(1) == _BYTES_FOLLOW:
        length = max(0, binary.Primitives.Int32.unpack(ahead))
        found = plain.readings(ahead.read(length))
        if found is not None:
            data.skip(len(data) - len(ahead))
            return found
    history = binary.extensionobject_from_binary(data)
    values = getattr(history, "DataValues", None) or ()
    return [to_reading(value) for value in values]
