"""Out of service, and in its place."""

from __future__ import annotations

import pytest

from gateway.acquisition.maintenance import coerce, replay
from gateway.driver import PointSpec
from gateway.errors import ControlError
from gateway.journal.records import Maintenance
from gateway.model import Access, DataType, Value


def record(action: str, target: str, value: Value = None) -> Maintenance:
    return Maintenance(action, target, 1, "alice", "service", value)


def test_the_state_is_what_the_records_say_in_order() -> None:
    state = replay(
        [
            record("disable", "plc1"),
            record("disable", "plc2"),
            record("enable", "plc1"),
            record("substitute", "plc2/level", 5.0),
            record("substitute", "plc2/flow", 1.0),
            record("release", "plc2/flow"),
            record("enable", "nobody"),
        ]
    )
    assert set(state.disabled) == {"plc2"}
    assert {name: r.value for name, r in state.substituted.items()} == {"plc2/level": 5.0}


def point(kind: DataType) -> PointSpec:
    return PointSpec(0, "plc", "p", kind, "fast", Access.READ_WRITE, None)


@pytest.mark.parametrize(
    ("kind", "given", "held"),
    [
        (DataType.BOOL, True, True),
        (DataType.BOOL, 0, False),
        (DataType.INT16, 5.0, 5),
        (DataType.UINT64, 2**64 - 1, 2**64 - 1),
        (DataType.FLOAT64, 5, 5.0),
        (DataType.STRING, "x", "x"),
        (DataType.BYTES, b"x", b"x"),
        (DataType.DATETIME, 12, 12),
    ],
)
def test_a_value_is_held_as_the_points_type(kind: DataType, given: Value, held: Value) -> None:
    found = coerce(point(kind), given)
    assert found == held
    assert type(found) is type(held)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (DataType.BOOL, 2),
        (DataType.INT16, 40_000),
        (DataType.INT16, 0.5),
        (DataType.INT16, True),
        (DataType.FLOAT32, "5"),
        (DataType.FLOAT32, float("nan")),
        (DataType.INT16, float("nan")),
        (DataType.UINT64, float("inf")),
        (DataType.STRING, 5),
        (DataType.BYTES, "x"),
        (DataType.DATETIME, True),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(kind: DataType, given: Value) -> None:
    with pytest.raises(ControlError, match="plc/p"):
        coerce(point(kind), given)
