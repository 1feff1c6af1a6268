"""What people took out of service, and what they put in its place, while the plant runs.

Pure. Every action is a journal record (who, why, when); the state is what the records say in order,
so that a restart or a takeover finds it again. A disabled device is not polled and its gap has the
cause `disabled`; a disabled point reads BadOutOfService; a substituted point GoodLocalOverride.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from gateway.driver import PointSpec
from gateway.errors import ControlError
from gateway.journal.records import Maintenance
from gateway.model import FLOAT_TYPES, INTEGER_RANGES, DataType, Value

ACTIONS = ("disable", "enable", "substitute", "release")


@dataclass(slots=True)
class MaintenanceState:
    """Who is out of service; values are the records that said so."""

    disabled: dict[str, Maintenance] = field(default_factory=dict)
    substituted: dict[str, Maintenance] = field(default_factory=dict)

    def apply(self, record: Maintenance) -> None:
        """Take in the next record."""
        match record.action:
            case "disable":
                self.disabled[record.target] = record
            case "enable":
                self.disabled.pop(record.target, None)
            case "substitute":
                self.substituted[record.target] = record
            case "release":
                self.substituted.pop(record.target, None)

    def within(self, targets: Container[str]) -> MaintenanceState:
        """What of this concerns devices and points that exist."""
        return MaintenanceState(
            {name: record for name, record in self.disabled.items() if name in targets},
            {name: record for name, record in self.substituted.items() if name in targets},
        )


def replay(records: Iterable[Maintenance]) -> MaintenanceState:
    """The state that records in order lead to."""
    state = MaintenanceState()
    for record in records:
        state.apply(record)
    return state


def coerce(point: PointSpec, value: Value) -> Value:
    """A value as the point's type holds it. Raises ControlError naming value, type and range.

    No number that isn't finite is taken: drivers give none either, they tell Bad instead.
    """
    kind = point.data_type
    if isinstance(value, float) and value - value != 0:
        raise ControlError(f"{point.id}: {value} is no number", "Substitute a finite number")
    if kind is DataType.BOOL:
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
    elif kind in INTEGER_RANGES:
        low, high = INTEGER_RANGES[kind]
        if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
            if low <= value <= high:
                return int(value)
            raise ControlError(
                f"{point.id}: {value} does not fit {kind}", f"Give a value of {low} to {high}"
            )
    elif kind in FLOAT_TYPES:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind is DataType.STRING:
        if isinstance(value, str):
            return value
    elif kind is DataType.BYTES:
        if isinstance(value, bytes):
            return value
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ControlError(f"{point.id}: {value!r} is not a {kind}", f"Give a {kind}")
