"""The parameters of HistoryRead, with the times of a read at times as they were sent.

The library's DateTime has microseconds, ours and other people's 100 ns: who asks for the value at
the time of another point's sample would get the one before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

_AT_TIME: Final = ua.NodeId(ua.ObjectIds.ReadAtTimeDetails_Encoding_DefaultBinary)
_NO_EXTENSION: Final = bytes(3)
TICKS_BYTES: Final = 8
_INT32: Final = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class AtTimeDetails:
    """ReadAtTimeDetails (OPC 10000-11 6.5.5); the times are still as they were sent."""

    times: bytes
    use_simple_bounds: bool

    @property
    def count(self) -> int:
        """How many times are asked for."""
        return len(self.times) // TICKS_BYTES


def ticks_of(times: bytes) -> tuple[int, ...]:
    """Times as OPC UA ticks of 100 ns."""
    return struct.unpack(f"<{len(times) // TICKS_BYTES}q", times)


def decode(body: Buffer) -> Any:
    """HistoryReadParameters, whose details may be AtTimeDetails. Raises what decoding raises."""
    ahead = body.copy(len(body))
    if nodeid_from_binary(ahead) != _AT_TIME or ahead.read(1)[0] != 1:
        return struct_from_binary(ua.HistoryReadParameters, body)
    (length,) = _INT32.unpack(ahead.read(_INT32.size))
    details = ahead.copy(max(0, length))
    ahead.skip(max(0, length))
    (count,) = _INT32.unpack(details.read(_INT32.size))
    times = details.read(TICKS_BYTES * max(0, count))
    simple = details.read(1) != b"\0"
    rest = Buffer(_NO_EXTENSION + ahead.read(len(ahead)))
    params = struct_from_binary(ua.HistoryReadParameters, rest)
    params.HistoryReadDetails = AtTimeDetails(times, simple)
    return params
