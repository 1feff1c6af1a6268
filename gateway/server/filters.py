"""When a monitored item has something to report (OPC 10000-4 section 7.22.2, 10000-8 section 7.2).

The comparison is with the last *reported* value: a ramp in steps smaller than the deadband is
reported each time it has climbed one deadband, not never.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.model import FLOAT_TYPES, INTEGER_RANGES, DataType

STATUS: Final = 0
STATUS_VALUE: Final = 1
STATUS_VALUE_TIMESTAMP: Final = 2
NO_DEADBAND: Final = 0
ABSOLUTE: Final = 1
PERCENT: Final = 2

BAD_DEADBAND: Final = 0x808E0000
BAD_FILTER_NOT_ALLOWED: Final = 0x80450000
BAD_FILTER_UNSUPPORTED: Final = 0x80440000
_MEASURED: Final = FLOAT_TYPES | frozenset(INTEGER_RANGES)


class Reading(Protocol):
    """What is compared: a value, its StatusCode and its source time in ns UTC."""

    @property
    def value(self) -> Any: ...
    @property
    def status(self) -> int: ...
    @property
    def source_ns(self) -> int: ...


class FilterRefused(Exception):
    """A filter that can't be applied to this item; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Filter:
    """A trigger and an absolute deadband in the unit of the value (0: none)."""

    trigger: int = STATUS_VALUE
    deadband: float = 0.0

    def passes(self, last: Reading | None, now: Reading) -> bool:
        """Whether `now` must be told to somebody who was told `last`."""
        if last is None or last.status != now.status:
            return True
        if self.trigger == STATUS:
            return False
        old, new = last.value, now.value
        if self.deadband > 0.0 and _is_number(old) and _is_number(new):
            if old != old or new != new:
                return bool((old != old) != (new != new))
            # Written so that infinity minus infinity, which is no number, reports nothing.
            return bool(abs(new - old) > self.deadband)
        if type(old) is not type(new):
            return True
        if old != new and not (old != old and new != new):
            return True
        if self.deadband > 0.0 or self.trigger != STATUS_VALUE_TIMESTAMP:
            return False
        return last.source_ns != now.source_ns


DEFAULT: Final = Filter()


def make_filter(
    trigger: int,
    deadband_type: int,
    deadband: float,
    data_type: DataType | None,
    eu_range: tuple[float, float] | None,
) -> Filter:
    """The filter a client asks for. Raises FilterRefused.

    A percent deadband is of `eu_range` and needs one; no deadband fits a value that isn't a number.
    """
    if trigger not in (STATUS, STATUS_VALUE, STATUS_VALUE_TIMESTAMP):
        raise FilterRefused(BAD_FILTER_UNSUPPORTED)
    if deadband_type == NO_DEADBAND:
        return Filter(trigger)
    if deadband_type not in (ABSOLUTE, PERCENT):
        raise FilterRefused(BAD_FILTER_UNSUPPORTED)
    if data_type not in _MEASURED:
        raise FilterRefused(BAD_FILTER_NOT_ALLOWED)
    if not 0.0 <= deadband < float("inf"):
        raise FilterRefused(BAD_DEADBAND)
    if deadband_type == ABSOLUTE:
        return Filter(trigger, deadband)
    if eu_range is None:
        raise FilterRefused(BAD_FILTER_UNSUPPORTED)
    if deadband > 100.0:
        raise FilterRefused(BAD_DEADBAND)
    return Filter(trigger, deadband / 100.0 * abs(eu_range[1] - eu_range[0]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
