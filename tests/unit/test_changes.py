"""What is worth keeping."""

from __future__ import annotations

from gateway.acquisition.changes import ChangeFilter
from gateway.driver import Observation, PointSpec
from gateway.model import Access, DataType, Status


def point(number: int, deadband: float = 0.0, max_interval_ns: int | None = None) -> PointSpec:
    return PointSpec(
        number,
        "plc",
        f"p{number}",
        DataType.FLOAT64,
        "fast",
        Access.READ,
        None,
        deadband=deadband,
        max_interval_ns=max_interval_ns,
    )


NOW = 10**15


def seen(number: int, time_ns: int, value: object, status: int = Status.GOOD) -> Observation:
    return Observation(number, time_ns, value, status)  # type: ignore[arg-type]


def test_the_first_value_is_kept_and_an_equal_one_is_not() -> None:
    changes = ChangeFilter([point(0)])
    assert changes.accept([seen(0, 1, 5.0)], NOW) == [(0, 1, 5.0, 0)]
    assert changes.accept([seen(0, 2, 5.0)], NOW) == []
    assert changes.accept([seen(0, 3, 5.5)], NOW) == [(0, 3, 5.5, 0)]


def test_true_is_not_one() -> None:
    changes = ChangeFilter([point(0)])
    changes.accept([seen(0, 1, 1)], NOW)
    assert changes.accept([seen(0, 2, True)], NOW) == [(0, 2, True, 0)]


def test_deadband_compares_with_the_kept_value_so_that_a_slow_ramp_is_not_lost() -> None:
    changes = ChangeFilter([point(0, deadband=1.0)])
    kept = [row[2] for t in range(11) for row in changes.accept([seen(0, t, t * 0.5)], NOW)]
    assert kept == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_change_of_status_is_kept_inside_the_deadband() -> None:
    changes = ChangeFilter([point(0, deadband=10.0)])
    changes.accept([seen(0, 1, 5.0)], NOW)
    assert changes.accept([seen(0, 2, 5.0, Status.UNCERTAIN)], NOW) == [
        (0, 2, 5.0, Status.UNCERTAIN)
    ]
    assert changes.accept([seen(0, 3, None, Status.BAD)], NOW) == [(0, 3, None, Status.BAD)]
    assert changes.accept([seen(0, 4, 5.0)], NOW) == [(0, 4, 5.0, Status.GOOD)]


def test_a_restatement_keeps_what_the_device_last_said_even_inside_the_deadband() -> None:
    changes = ChangeFilter([point(0, deadband=1.0), point(1)])
    changes.accept([seen(0, 1, 5.0), seen(1, 1, 7.0)], NOW)
    changes.accept([seen(0, 2, 5.5)], NOW)
    assert changes.restate("plc", "fast", 9) == [(0, 9, 5.5, 0), (1, 9, 7.0, 0)]
    assert changes.restate("plc", "fast", 10, but={1}) == [(0, 10, 5.5, 0)]
    assert changes.restate("other", "fast", 9) == []


def test_what_a_scan_read_before_a_write_stays_before_what_was_read_back() -> None:
    changes = ChangeFilter([point(0, deadband=1.0), point(1), point(2)])
    changes.accept([seen(n, 1, 5.0) for n in range(3)], NOW)
    assert changes.read_back(seen(0, 20, 9.0), scanned=True) == [(0, 20, 9.0, 0)]
    assert changes.read_back(seen(1, 20, 5.0), scanned=True) == []
    assert changes.read_back(seen(2, 20, 9.0), scanned=True) == [(2, 20, 9.0, 0)]
    late = [seen(0, 15, 7.0), seen(1, 15, 7.0), seen(2, 25, 5.0)]
    assert changes.accept(late, 30, asked_ns=10) == [
        (0, 15, 7.0, 0),
        (0, 20, 9.0, 0),
        (1, 15, 7.0, 0),
        (1, 20, 5.0, 0),
        (2, 25, 5.0, 0),
    ], "what it read after the write is news of now"
    assert changes.accept([seen(0, 15, 7.0)], 50, asked_ns=40) == [(0, 20, 7.0, 0)], (
        "whatever clock stamped it: a later scan speaks of now"
    )


def test_what_a_subscription_brings_is_placed_by_its_own_rule() -> None:
    changes = ChangeFilter([point(0)])
    assert changes.read_back(seen(0, 20, 9.0), scanned=False) == [(0, 20, 9.0, 0)]
    assert changes.accept([seen(0, 15, 7.0)], 30, asked_ns=10) == [(0, 15, 7.0, 0)]


def test_a_point_with_a_value_of_its_own_hears_neither_write_nor_scan() -> None:
    changes = ChangeFilter([point(0)])
    changes.override(0, 1.0, Status.GOOD_LOCAL_OVERRIDE, 5)
    assert changes.read_back(seen(0, 20, 9.0), scanned=True) == []
    assert changes.accept([seen(0, 15, 7.0)], 30, asked_ns=10) == []
    assert changes.release(0, 40) == [(0, 40, 9.0, 0)]


def test_a_read_back_is_known_to_the_next_revision_until_the_clock_is_set() -> None:
    changes = ChangeFilter([point(0)])
    changes.read_back(seen(0, 20, 9.0), scanned=True)
    after = ChangeFilter([point(0)])
    after.inherit(changes, {"plc"})
    assert after.accept([seen(0, 15, 7.0)], 30, asked_ns=10) == [(0, 15, 7.0, 0), (0, 20, 9.0, 0)]
    after.clock_set()
    assert after.accept([seen(0, 15, 7.0)], 30, asked_ns=10) == [(0, 15, 7.0, 0)]


def test_a_change_that_arrives_after_a_restatement_is_not_hidden_by_it() -> None:
    changes = ChangeFilter([point(0), point(1)])
    second = 10**9
    changes.accept([seen(0, 0, 1), seen(1, 0, 1)], 0)
    changes.restate("plc", "fast", 10 * second, but={1})
    late = [seen(n, 10 * second - 5, value) for value in (2, 3) for n in (0, 1)]
    assert changes.accept(late, 11 * second) == [
        (0, 10 * second, 2, 0),
        (1, 10 * second - 5, 2, 0),
        (0, 10 * second, 3, 0),
        (1, 10 * second - 5, 3, 0),
    ]


def test_what_another_clock_stamped_long_before_a_restatement_stands_where_it_came() -> None:
    changes = ChangeFilter([point(0)])
    second = 10**9
    changes.accept([seen(0, 0, 1)], 0)
    changes.restate("plc", "fast", 60 * second)
    assert changes.accept([seen(0, 30 * second, 2)], 61 * second) == [(0, 61 * second, 2, 0)]


def test_a_point_that_was_just_kept_begins_its_stream_there() -> None:
    changes = ChangeFilter([point(0)])
    changes.restate("plc", "fast", 100)
    assert changes.accept([seen(0, 90, 1)], 110) == [(0, 100, 1, 0)]
    assert changes.restate("plc", "fast", 110, but={0}) == []
    assert changes.accept([seen(0, 105, 2)], 120) == [(0, 105, 2, 0)]


def test_when_the_clock_was_set_back_nothing_is_placed_by_what_it_said_before() -> None:
    changes = ChangeFilter([point(0)])
    changes.restate("plc", "fast", 100)
    changes.clock_set()
    assert changes.accept([seen(0, 90, 1)], 91) == [(0, 90, 1, 0)]


def test_a_backlog_that_comes_after_a_restatement_keeps_its_order_however_old_it_is() -> None:
    """Of campaign 20261214, round 20: what was held back as a server was silent."""
    second = 10**9
    changes = ChangeFilter([point(0)])
    changes.accept([seen(0, 30 * second, 13.0)], 30 * second)
    changes.restate("plc", "fast", 40 * second)
    came_ns = 40 * second + 100
    backlog = [(37 * second, 9.5), (38 * second + 1, 6.5), (39 * second, 4.0), (came_ns - 1, 2.0)]
    rows = changes.accept([seen(0, at_ns, value) for at_ns, value in backlog], came_ns)
    assert [row[1:3] for row in rows] == [(came_ns, value) for _, value in backlog]
    later_ns = came_ns + second
    assert changes.accept([seen(0, 39 * second, 1.0)], later_ns)[0][1] == came_ns
    assert changes.accept([seen(0, later_ns - 1, 0.0)], later_ns)[0][1] == later_ns - 1


def test_a_later_revision_knows_of_the_restatement() -> None:
    before, changes = ChangeFilter([point(0)]), ChangeFilter([point(0)])
    before.accept([seen(0, 1, 1)], 1)
    before.restate("plc", "fast", 9)
    changes.inherit(before, {"plc"})
    assert changes.accept([seen(0, 5, 2)], 12) == [(0, 9, 2, 0)]


def test_a_point_that_rests_is_kept_again_after_its_longest_interval_and_only_then() -> None:
    changes = ChangeFilter([point(0, max_interval_ns=100), point(1)])
    changes.accept([seen(0, 50, 5.0), seen(1, 50, 5.0)], NOW)
    assert changes.overdue("plc", "fast", 149) == []
    assert changes.overdue("plc", "fast", 150) == [(0, 150, 5.0, 0)]
    changes.accept([seen(0, 200, 6.0)], NOW)
    assert changes.overdue("plc", "fast", 250) == []
    assert changes.overdue("plc", "fast", 300) == [(0, 300, 6.0, 0)]
    assert changes.overdue("nobody", "fast", 300) == []


def test_a_lost_device_says_so_once_for_each_point() -> None:
    changes = ChangeFilter([point(0), point(1)])
    changes.accept([seen(0, 1, 5.0)], NOW)
    lost = Status.BAD_NO_COMMUNICATION
    assert changes.fail(changes.numbers("plc"), lost, 9) == [(0, 9, None, lost), (1, 9, None, lost)]
    assert changes.fail(changes.numbers("plc", "fast"), lost, 10) == []
    assert changes.numbers("plc", "slow") == []


def test_an_override_holds_whatever_the_device_says_until_it_is_released() -> None:
    changes = ChangeFilter([point(0)])
    changes.accept([seen(0, 1, 5.0)], NOW)
    held = changes.override(0, 9.0, Status.GOOD_LOCAL_OVERRIDE, 2)
    assert held == [(0, 2, 9.0, Status.GOOD_LOCAL_OVERRIDE)]
    assert changes.accept([seen(0, 3, 6.0)], NOW) == []
    assert changes.restate("plc", "fast", 4)[0][2] == 9.0
    assert changes.release(0, 5) == [(0, 5, 6.0, 0)]
    assert changes.release(0, 6) == []


def test_a_point_that_can_only_be_written_has_no_history_of_its_own() -> None:
    written = PointSpec(0, "plc", "reset", DataType.BOOL, "fast", Access.WRITE, None)
    changes = ChangeFilter([written])
    assert changes.numbers("plc") == []
    assert changes.restate("plc", "fast", 9) == []
