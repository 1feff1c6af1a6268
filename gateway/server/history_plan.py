"""What a ReadRaw asks for, as plain numbers (OPC 10000-11 section 6.5.3).

OPC UA times have ticks of 100 ns, samples have ns; a sample belongs to the tick it is published in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.server.encoding import from_ticks

TICK_NS: Final = 100
FROM_NS_MIN: Final = 0
TO_NS_MAX: Final = 2**62
BAD_HISTORY_OPERATION_INVALID: Final = 0x80710000
BAD_BOUND_NOT_FOUND: Final = 0x80D70000


class PlanRefused(Exception):
    """A request that has no meaning; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class Plan(NamedTuple):
    """Samples in [from_ns, to_ns), in which order, how many are asked for (0: all).

    `start_ns` and `end_ns` are the instants of the request, for bounds; `end_ns` is None when the
    request has an open end, which `count` values then satisfy.
    """

    from_ns: int
    to_ns: int
    reverse: bool
    asked: int
    start_ns: int
    end_ns: int | None


def plan(start_ticks: int, end_ticks: int, count: int) -> Plan:
    """The plan for a start, an end and a number of values, any one of which may be 0 (absent).

    Start later than end, or an end alone, reads backwards. The start is included, the end is not.
    Raises PlanRefused.
    """
    has_start, has_end = start_ticks > 0, end_ticks > 0
    start_ns, end_ns = from_ticks(start_ticks), from_ticks(end_ticks)
    if has_start and has_end:
        if start_ns > end_ns:
            after_end_ns, after_start_ns = end_ns + TICK_NS, start_ns + TICK_NS
            return _bounded(Plan(after_end_ns, after_start_ns, True, count, start_ns, end_ns))
        to_ns = end_ns if end_ns > start_ns else start_ns + TICK_NS
        return _bounded(Plan(start_ns, to_ns, False, count, start_ns, end_ns))
    if count == 0 or not (has_start or has_end):
        raise PlanRefused(BAD_HISTORY_OPERATION_INVALID)
    if has_start:
        return _bounded(Plan(start_ns, TO_NS_MAX, False, count, start_ns, None))
    return _bounded(Plan(FROM_NS_MIN, end_ns + TICK_NS, True, count, end_ns, None))


def _bounded(found: Plan) -> Plan:
    # Before 1970 there is no history, and beyond 2116 neither: keep what a reader gets in 64 bits.
    from_ns = min(max(found.from_ns, FROM_NS_MIN), TO_NS_MAX)
    return found._replace(from_ns=from_ns, to_ns=min(max(found.to_ns, from_ns), TO_NS_MAX))
