"""Continuation points: used once, bounded in number and in bytes, younger ones before older."""

from __future__ import annotations

from gateway.clock import SystemClock
from gateway.model import NS_PER_S
from gateway.server.continuation import REST_BYTES, ContinuationPoints, Request, Room
from gateway.server.publisher import Publisher
from gateway.server.sessions import Session, Sessions
from gateway.server.settings import Limits

S = NS_PER_S


def kept(request: Request, rest: str, size: int = 0, now_ns: int = 0) -> bytes:
    name = request.keep(rest, size, now_ns)
    assert name is not None
    return name


def test_one_that_grew_old_makes_room_and_leads_nowhere() -> None:
    room = Room(100_000)
    request = ContinuationPoints(room, 1, S).request()
    old = kept(request, "old")
    assert request.keep("early", 0, S - 1) is None
    young = kept(request, "young", now_ns=S)
    assert request.take(old, S) is None
    assert request.take(young, 2 * S - 1) == "young"
    assert request.take(young, S) is None
    late = kept(request, "late", now_ns=0)
    assert request.take(late, S) is None
    assert room.taken == 0


def test_what_earlier_requests_left_gives_way_and_what_the_same_one_left_does_not() -> None:
    points = ContinuationPoints(Room(100_000), 2)
    first, second = points.request(), points.request()
    one, two = kept(first, "one"), kept(first, "two")
    three = kept(second, "three")
    assert second.take(one, 0) is None
    assert second.take(two, 10**18) == "two", "without a lifetime it is as old as its session"
    four = kept(second, "four")
    assert second.keep("five", 0, 0) is None
    assert first.keep("late", 0, 0) is None, "a slow request takes nothing from a later one"
    assert (second.release(three), second.release(three)) == (True, False)
    assert second.take(four, 0) == "four"


def test_all_sessions_share_one_room_and_take_nothing_from_each_other() -> None:
    room = Room(10 * REST_BYTES)
    greedy, modest = ContinuationPoints(room, 100), ContinuationPoints(room, 100)
    request = greedy.request()
    name = kept(request, "much", 6 * REST_BYTES)
    assert request.keep("more", 3 * REST_BYTES, 0) is None
    assert modest.request().keep("some", 3 * REST_BYTES, 0) is None
    kept(modest.request(), "little", 2 * REST_BYTES)
    assert (room.taken, room.left) == (10 * REST_BYTES, 0)
    assert modest.request().keep("much", 9 * REST_BYTES, 0) is None
    assert len(modest) == 1, "nothing is given up in vain"
    kept(modest.request(), "small", REST_BYTES)
    assert len(modest) == 1
    assert request.take(name, 0) == "much"
    modest.clear()
    assert room.taken == 0


class Channel:
    congested = False

    def answer(self, *_: object) -> None: ...


def test_sessions_give_back_what_they_held_and_what_grew_old() -> None:
    limits = Limits(history_point_ms=0)
    clock = SystemClock()
    sessions = Sessions(Publisher(None, clock, limits), clock, limits)  # type: ignore[arg-type]

    def session() -> Session:
        return sessions.create("", 0, None, Channel())

    one, two = session(), session()
    kept(one.browse_points.request(), "references", 80)
    kept(two.history_points.request(), "times", 8_000, clock.monotonic_ns())
    assert sessions.room.taken == 8_080 + 2 * REST_BYTES
    sessions.sweep()
    assert sessions.room.taken == 80 + REST_BYTES
    sessions.close(one)
    assert sessions.room.taken == 0
