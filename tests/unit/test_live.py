"""The live table."""

from __future__ import annotations

from gateway.acquisition.live import Live, LiveTable
from gateway.driver import DeviceSpec, PointSpec
from gateway.model import Access, DataType, Status


def table() -> LiveTable:
    points = tuple(
        PointSpec(n, "plc", f"p{n}", DataType.INT16, scan, Access.READ, None)
        for n, scan in ((1, "slow"), (0, "fast"))
    )
    return LiveTable([DeviceSpec("plc", "modbus", "line", None, points, {"fast": 1, "slow": 10})])


def test_before_the_first_value_a_point_waits_for_it() -> None:
    assert table().get(0) == Live(None, Status.BAD_WAITING_FOR_INITIAL_DATA, 0, 0)


def test_a_sample_is_what_the_point_now_reads() -> None:
    live = table()
    live.apply([(1, 50, 7, Status.GOOD)])
    assert live.get(1) == Live(7, Status.GOOD, 50, 50)


def test_the_server_time_is_the_last_good_poll_of_the_class_and_the_source_time_the_change() -> (
    None
):
    live = table()
    live.apply([(0, 50, 7, Status.GOOD), (1, 50, 8, Status.GOOD)])
    live.polled("plc", "fast", 90)
    assert live.get(0) == Live(7, Status.GOOD, 50, 90)
    assert live.get(1) == Live(8, Status.GOOD, 50, 50)


def test_a_point_that_can_only_be_written_says_so() -> None:
    point = PointSpec(0, "plc", "reset", DataType.BOOL, "fast", Access.WRITE, None)
    live = LiveTable([DeviceSpec("plc", "modbus", "line", None, (point,), {"fast": 1})])
    assert live.get(0).status == Status.BAD_NOT_READABLE


def test_a_restated_sample_is_no_change_and_moves_no_time() -> None:
    live = table()
    assert live.apply([(0, 50, 7, Status.GOOD)]) == [0]
    assert live.apply([(0, 90, 7, Status.GOOD)]) == []
    assert live.get(0).source_ns == 50
    assert live.apply([(0, 95, True, Status.GOOD), (0, 96, 1, Status.GOOD)]) == [0, 0]
    assert live.apply([(0, 99, 1, Status.UNCERTAIN)]) == [0]
