"""The details of a read at times, with the times as they were sent.

The library's DateTime has microseconds, ours and other people's 100 ns: who asks for the value at
the time of another point's sample would get the one before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.server.decoding import Body

TICKS_BYTES: Final = 8


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


def read_at_times(body: Body) -> AtTimeDetails:
    """ReadAtTimeDetails of a request. Raises UaStatusCodeError as `Body` does."""
    times = body.take(TICKS_BYTES * body.count())
    return AtTimeDetails(times, body.take(1) != b"\0")
