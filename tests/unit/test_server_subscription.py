"""Queues, pace and the publishing state machine, without a clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import NS_PER_MS
from gateway.server.encoding import Stamped
from gateway.server.filters import Filter
from gateway.server.settings import Limits
from gateway.server.subscription import (
    DISABLED,
    REPORTING,
    SAMPLING,
    SEQUENCE_MAX,
    Item,
    Outcome,
    Pace,
    Subscription,
)

LIMITS = Limits()
BRIEF = Limits(min_lifetime_ms=0)
SECOND_NS = 1000 * NS_PER_MS


def pace(
    interval_ms: float = 1000,
    keep_alive: int = 3,
    lifetime: int = 9,
    most: int = 0,
    limits: Limits = LIMITS,
) -> Pace:
    return Pace.revise(interval_ms, keep_alive, lifetime, most, 0, limits)


def subscription(enabled: bool = True, **how: Any) -> Subscription:
    return Subscription(7, pace(**how), enabled, 0, 3)


def show(handle: int, reading: Stamped, overflow: bool) -> bytes:
    return f"{handle}:{reading.value}{'!' if overflow else ''}".encode()


def item(
    of: Subscription, number: int = 1, queue: int = 1, oldest: bool = True, mode: int = REPORTING
) -> Item:
    found = Item(number, None, show, of, number, mode)
    found.configure(Filter(), 0.0, queue, oldest)
    of.items[number] = found
    return found


def offer(to: Item, *values: float) -> None:
    for value in values:
        to.offer(Stamped(value, 0, 1, 1))


def texts(of: Subscription) -> list[str]:
    return [part.decode() for part in of.take()[0]]


def test_a_queue_of_one_shows_the_newest_and_calls_it_no_overflow() -> None:
    found = subscription()
    offer(item(found), 1, 2, 3)
    assert texts(found) == ["1:3"]


def test_the_oldest_go_and_the_oldest_left_is_marked() -> None:
    found = subscription()
    offer(item(found, queue=2), 1, 2, 3)
    assert texts(found) == ["1:2!", "1:3"]


def test_the_newest_is_replaced_and_marked_when_the_client_wants_that() -> None:
    found = subscription()
    offer(item(found, queue=2, oldest=False), 1, 2, 3)
    assert texts(found) == ["1:1", "1:3!"]


def test_the_mark_is_told_once() -> None:
    found = subscription()
    one = item(found, queue=2)
    offer(one, 1, 2, 3)
    texts(found)
    offer(one, 4)
    assert texts(found) == ["1:4"]


def test_a_smaller_queue_drops_what_no_longer_fits() -> None:
    found = subscription()
    one = item(found, queue=4)
    offer(one, 1, 2, 3, 4)
    one.configure(Filter(), 0.0, 2, True)
    assert texts(found) == ["1:3!", "1:4"]


@given(
    values=st.lists(st.integers(0, 5), max_size=50),
    queue=st.integers(1, 5),
    oldest=st.booleans(),
)
def test_a_queue_never_grows_and_its_last_word_is_the_last_value(
    values: list[int], queue: int, oldest: bool
) -> None:
    found = subscription()
    one = item(found, queue=queue, oldest=oldest)
    offer(one, *values)
    told = texts(found)
    assert len(told) <= queue
    if values:
        assert told[-1].rstrip("!") == f"1:{values[-1]}"


def test_a_disabled_item_takes_nothing_and_forgets() -> None:
    found = subscription()
    one = item(found)
    offer(one, 1)
    one.set_mode(DISABLED)
    offer(one, 2)
    assert texts(found) == []
    one.set_mode(REPORTING)
    offer(one, 1)
    assert texts(found) == ["1:1"]


def test_a_sampling_item_queues_but_reports_only_when_asked_to_report() -> None:
    found = subscription()
    one = item(found, queue=5, mode=SAMPLING)
    offer(one, 1, 2)
    assert texts(found) == []
    one.set_mode(REPORTING)
    assert texts(found) == ["1:1", "1:2"]
    offer(one, 3)
    one.set_mode(SAMPLING)
    assert texts(found) == []


def test_sampling_is_throttled_only_where_publishing_does_not_set_the_pace() -> None:
    one = item(subscription())
    one.configure(Filter(), 500.0, 1, True)
    assert not one.throttled
    one.configure(Filter(), 5000.0, 1, True)
    assert one.throttled
    one.configure(Filter(), 500.0, 10, True)
    assert one.throttled
    assert one.sampling_ns == 500 * NS_PER_MS


def test_the_first_cycle_sends_though_there_is_nothing_to_tell() -> None:
    found = subscription()
    assert found.cycle(SECOND_NS) is Outcome.SEND
    assert found.take() == ([], False)
    assert found.cycle(2 * SECOND_NS) is Outcome.NOTHING


def test_silence_is_broken_by_a_keep_alive() -> None:
    found = subscription(keep_alive=3)
    found.take()
    outcomes = [found.cycle(n * SECOND_NS) for n in range(1, 4)]
    assert outcomes == [Outcome.NOTHING, Outcome.NOTHING, Outcome.SEND]


def test_a_subscription_nobody_asks_for_expires() -> None:
    found = subscription(keep_alive=1, lifetime=3, limits=BRIEF)
    outcomes = [found.cycle(n * SECOND_NS) for n in range(1, 5)]
    assert outcomes == [Outcome.SEND] * 3 + [Outcome.EXPIRED]


def test_touching_a_subscription_keeps_it_alive() -> None:
    found = subscription(keep_alive=1, lifetime=3, limits=BRIEF)
    for number in range(1, 20):
        assert found.cycle(number * SECOND_NS) is Outcome.SEND
        found.touch()


def test_what_was_late_stays_due_until_it_is_sent() -> None:
    found = subscription(keep_alive=5, lifetime=100)
    found.take()
    found.late = True
    assert found.cycle(SECOND_NS) is Outcome.SEND
    found.take()
    assert found.cycle(2 * SECOND_NS) is Outcome.NOTHING


def test_cycles_missed_are_not_made_up_for() -> None:
    found = subscription()
    found.cycle(100 * SECOND_NS)
    assert found.next_ns == 101 * SECOND_NS


def test_a_disabled_subscription_keeps_its_notifications_and_sends_keep_alives() -> None:
    found = subscription(enabled=False)
    offer(item(found), 1)
    assert not found.has_notifications
    assert found.take() == ([], False)
    found.enabled = True
    assert found.has_notifications
    assert texts(found) == ["1:1"]


def test_a_message_holds_no_more_than_was_agreed_and_the_rest_follows_in_order() -> None:
    found = subscription(most=3)
    for number in range(1, 6):
        offer(item(found, number), number)
    parts, more = found.take()
    assert ([p.decode() for p in parts], more) == (["1:1", "2:2", "3:3"], True)
    parts, more = found.take()
    assert ([p.decode() for p in parts], more) == (["4:4", "5:5"], False)


def test_a_queue_that_does_not_fit_goes_whole_into_the_next_message() -> None:
    found = subscription(most=3)
    offer(item(found, 1, queue=2), 1, 2)
    offer(item(found, 2, queue=2), 1, 2)
    assert texts(found) == ["1:1", "1:2"]
    assert texts(found) == ["2:1", "2:2"]


def test_keep_alives_do_not_use_up_sequence_numbers() -> None:
    found = subscription()
    assert [found.number(None), found.number("a"), found.number(None)] == [1, 1, 2]
    assert found.acknowledge(1)
    assert not found.acknowledge(1)


def test_unacknowledged_messages_are_bounded() -> None:
    found = subscription()
    for message in "abcde":
        found.number(message)
    assert list(found.unacknowledged) == [3, 4, 5]


def test_the_sequence_number_wraps_to_one() -> None:
    found = subscription()
    found._sequence = SEQUENCE_MAX
    assert found.number("last") == SEQUENCE_MAX
    assert found.number("first") == 1


def test_modifying_brings_the_next_cycle_forward_but_never_back() -> None:
    found = subscription(interval_ms=10_000)
    found.modify(pace(1000), 0)
    assert found.next_ns == SECOND_NS
    found.modify(pace(10_000), 0)
    assert found.next_ns == SECOND_NS


@pytest.mark.parametrize("asked", [0.0, 0.001, -5.0, math.nan])
def test_an_interval_that_would_eat_the_processor_is_raised(asked: float) -> None:
    assert pace(asked).interval_ms == LIMITS.min_publishing_ms


def test_a_lifetime_is_never_shorter_than_a_client_needs_to_come_back() -> None:
    found = pace(50, 1, 1)
    assert found.lifetime_count * found.interval_ms >= LIMITS.min_lifetime_ms


@given(
    interval=st.floats(allow_nan=True, allow_infinity=True),
    keep_alive=st.integers(0, 2**32 - 1),
    lifetime=st.integers(0, 2**32 - 1),
    most=st.integers(0, 2**32 - 1),
)
def test_whatever_is_asked_for_the_pace_is_within_the_limits(
    interval: float, keep_alive: int, lifetime: int, most: int
) -> None:
    found = pace(interval, keep_alive, lifetime, most)
    assert LIMITS.min_publishing_ms <= found.interval_ms <= LIMITS.max_publishing_ms
    assert found.lifetime_count >= 3 * found.keep_alive_count >= 3
    assert found.keep_alive_count * found.interval_ms <= max(
        LIMITS.max_keep_alive_ms, found.interval_ms
    )
    assert 1 <= found.notifications_max <= LIMITS.max_notifications_per_publish
