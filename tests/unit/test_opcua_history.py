"""Reading a server's history, in front of servers that do it rightly, and of those that don't."""

from __future__ import annotations

from itertools import pairwise

import pytest
from opcua_history_world import (
    START,
    TOO_MANY,
    S,
    Said,
    World,
    decoder,
    joined,
    known,
    lacking,
    reading,
    truth,
)

from drivers.opcua.log.discovery import (
    KEPT,
    STARTS_MAX,
    Attributes,
    known_points,
    known_starts,
    verdict,
    with_start,
)
from drivers.opcua.log.node import ENDLESS, NODE_REQUESTS_MAX
from drivers.opcua.log.ops import (
    BAD_HISTORY_OPERATION_UNSUPPORTED,
    BAD_TIMEOUT,
    TICK_NS,
    Ask,
    Begin,
    Hands,
    Refusal,
    Times,
    Told,
    asked,
    told_time,
)
from drivers.opcua.log.pages import NOT_HELD, NOT_RUNNING, TORN
from drivers.opcua.log.slices import OBSERVATIONS_MAX, VALUES_PER_CALL, Pace
from drivers.opcua.observe import Reading
from drivers.opcua.settings import OpcUaDevice, review
from drivers.opcua.values import Builtin
from gateway.driver import DeviceSpec, LineSpec, LogPage
from gateway.errors import LogUnavailable, Refused, ReplyTimeout
from gateway.model import NS_PER_MS, Status

FROM, TO = START + 100 * S, START + 400 * S


def seconds(first: int, last: int, step: int = 1) -> list[Reading]:
    """A value each `step` seconds after START: its number."""
    return [reading(START + n * S, float(n)) for n in range(first, last, step)]


def right(world: World, pages: list[LogPage], from_ns: int = FROM, to_ns: int = TO) -> None:
    """Assert that the pages say what each node held at every half second."""
    joined(pages, from_ns, to_ns)
    assert pages[-1].through_ns == to_ns
    for place, records in world.held.items():
        said = Said(pages, place)
        for at_ns in range(from_ns, to_ns, S // 2):
            assert said.at(at_ns) == truth(records, at_ns), (place, at_ns)


def test_changes_are_read_and_what_held_before_is_restated() -> None:
    world = World({0: seconds(0, 500), 1: [reading(START + 5 * S, 7.0)]})
    pages = world.read(FROM, TO)
    right(world, pages)
    assert pages[0].observations[:2] == [(0, FROM, 100.0, 0), (10, FROM, 7.0, 0)]
    assert not lacking(pages)
    assert pages[0].records == len(pages[0].observations)


@pytest.mark.parametrize("page", [2, 7, 10])
@pytest.mark.parametrize(
    "odd", ["cut_off", "empty_pages", "same_point", "newest_first", "outside", "unstamped", ""]
)
def test_whatever_a_server_does_with_pages_nothing_is_missed(page: int, odd: str) -> None:
    page = max(page, 7) if odd == "unstamped" else page
    world = World({0: seconds(0, 500), 1: seconds(3, 450, 7)}, page=page, odd=frozenset({odd}))
    pace = Pace.begin(page, 60 * S, 5)
    pages = world.read(FROM, TO, pace)
    right(world, pages)
    assert not lacking(pages)
    told = {"newest_first": "reversed", "outside": "outside", "unstamped": "without a time"}
    assert any(told.get(odd, "") in text for text in pace.odd) or odd not in told


def test_values_of_one_time_count_once_and_the_last_one() -> None:
    equal = [reading(FROM + 5 * S, float(n)) for n in range(3)]
    world = World({0: [*seconds(0, 105), *equal, *seconds(106, 300)]}, page=4)
    pages = world.read(FROM, TO)
    right(world, pages)
    at = [o for p in pages for o in p.observations if o.time_ns == FROM + 5 * S]
    assert [o.value for o in at] == [2.0]


@pytest.mark.parametrize("odd", ["cut_off", "repeat_point"])
def test_more_values_of_one_time_than_a_page_holds_are_told_as_torn(odd: str) -> None:
    equal = [reading(FROM + 5 * S, float(n)) for n in range(35)]
    world = World(
        {0: [*seconds(0, 105), *equal, *seconds(110, 300)]}, page=10, odd=frozenset({odd})
    )
    pages = world.read(FROM, TO, Pace.begin(10, 3600 * S, 5))
    joined(pages, FROM, TO)
    if odd == "cut_off":  # and otherwise the server gave ever more of them
        assert lacking(pages) == [(FROM + 5 * S, FROM + 10 * S, TORN, ())]
    assert known(pages, 0, FROM + 4 * S) == (104.0, 0)
    assert known(pages, 0, FROM + 150 * S) == (250.0, 0)


def test_a_server_that_goes_on_by_time_can_not_go_past_a_full_page_of_one_time() -> None:
    """As asyncua's: the continuation point is the time of the first value that was left out."""

    class ByTime(World):
        def _one(self, ask: Ask, n: int, place: int, point: bytes | None) -> Told:
            if ask.from_ns is None or ask.to_ns < ask.from_ns:
                return super()._one(ask, n, place, point)
            begin_ns = int(point) if point is not None else ask.from_ns
            times = [(r, r.source_ns or 0) for r in self.held[place]]
            left = [r for r, at_ns in times if begin_ns <= at_ns <= ask.to_ns][: ask.most]
            more = b"%d" % (left[10].source_ns or 0) if len(left) > 10 else None
            return Told(0, left[:10], more)

    equal = [reading(FROM + 5 * S, float(n)) for n in range(35)]
    world = ByTime({0: [*seconds(0, 105), *equal, *seconds(110, 300)]})
    pages = world.read(FROM, TO)
    assert lacking(pages) == [(FROM + 5 * S, FROM + 10 * S, TORN, ())]
    assert world.requests < 50


def test_what_was_torn_before_a_slice_is_known_again_from_the_next_value_on() -> None:
    equal = [reading(FROM + 58 * S, float(n)) for n in range(35)]
    world = World({0: [*seconds(0, 158), *equal, *seconds(159, 300)]}, page=10)
    world.odd = frozenset({"cut_off"})
    pages = world.read(FROM, TO, Pace.begin(10, 60 * S, 5))
    assert lacking(pages) == [(FROM + 58 * S, FROM + 59 * S, TORN, ())]


def test_a_repeated_continuation_point_ends_and_is_told() -> None:
    world = World({0: seconds(0, 500)}, page=20, odd=frozenset({"repeat_point"}))
    pace = Pace.begin(20, 3600 * S, 5)
    right(world, world.read(FROM, TO, pace))
    assert pace.odd == {"the server repeated a continuation point"}


def test_forgotten_continuation_points_are_gone_without() -> None:
    world = World({0: seconds(0, 500), 1: seconds(0, 500, 3)}, page=20)
    world.odd = frozenset({"forget_points"})
    pace = Pace.begin(20, 3600 * S, 5)
    right(world, world.read(FROM, TO, pace))
    assert pace.odd == {"the server forgot a continuation point"}


def test_single_values_and_a_forgotten_point_do_not_show_on_which_side_the_rest_lies() -> None:
    held = {0: [reading(START + at * S, float(at)) for at in (0, 350, 360)]}
    world = World(held, page=1, odd=frozenset({"forget_points", "newest_first"}))
    pages = world.read(FROM, TO)
    assert lacking(pages)[0][:3] == (FROM, TO, "the server gave up before it showed an order")
    world = World({0: seconds(0, 500)}, page=2, odd=frozenset({"forget_points"}))
    right(world, world.read(FROM, TO))


def test_empty_pages_without_end_and_forgotten_points_amid_nothing_are_given_up() -> None:
    for odd in ({"empty_pages"}, {"empty_pages", "forget_points"}):
        world = World({0: seconds(0, 500), 1: seconds(0, 500)}, page=0, odd=frozenset(odd))
        pages = world.read(FROM, TO)
        joined(pages, FROM, TO)
        assert len(lacking(pages)) == 1
        assert world.requests < 300


def test_a_read_that_breaks_off_lacks_the_rest_until_the_next_value() -> None:
    world = World({0: seconds(0, 500)}, statuses={0: Status.BAD_DATA_LOST})
    pages = world.read(FROM, TO)
    assert lacking(pages) == [(FROM, TO, "BadDataLost", ())]
    asks = 0

    class Breaking(World):
        def _answer(self, ask: Ask) -> object:
            nonlocal asks
            asks += 1
            if asks == 4:  # after what was before: two forms of it, one page
                self.statuses = {0: Status.BAD_DATA_UNAVAILABLE}
            return super()._answer(ask)

    breaking = Breaking({0: seconds(0, 500), 1: seconds(0, 500)}, page=10)
    pages = breaking.read(FROM, TO, Pace.begin(10, 3600 * S, 5))
    joined(pages, FROM, TO)
    [(begin_ns, end_ns, why, points)] = lacking(pages)
    assert (why, points, end_ns) == ("BadDataUnavailable", ("p0.0",), TO)
    assert FROM < begin_ns < FROM + 30 * S
    assert known(pages, 1, TO - S) == (399.0, 0)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_continuation_points_mean_few_nodes_at_once(most: int) -> None:
    held = {place: seconds(place, 500) for place in range(6)}
    for bounds in (False, True):  # with bounds nothing else told before how many there are
        world = World(held, page=40, points_max=most)
        right(world, world.read(FROM, TO, Pace.begin(40, 3600 * S, 100), bounds=bounds))


def test_no_continuation_point_at_all_means_slices_that_need_none() -> None:
    world = World({0: seconds(0, 500), 1: seconds(0, 500)}, page=40, points_max=0)
    right(world, world.read(FROM, TO, Pace.begin(40, 3600 * S, 100)))
    dense = [reading(START + n * S // 100, float(n)) for n in range(50_000)]
    with pytest.raises(LogUnavailable, match="no continuation point left"):
        World({0: dense}, page=40, points_max=0).read(FROM, TO)


def test_too_many_nodes_or_values_are_asked_for_in_smaller_calls() -> None:
    held = {place: seconds(place, 500) for place in range(9)}
    world = World(held, nodes_max=2)
    right(world, world.read(FROM, TO))
    assert max(len(ask.places) for ask in world.asks[8:]) <= 2
    world = World({0: seconds(0, 500)}, refusals=[TOO_MANY] * 4)
    pace = Pace.begin(1_000, 3600 * S, 100)
    right(world, world.read(FROM, TO, pace))
    assert (pace.nodes, pace.most) == (20, 62)
    with pytest.raises(LogUnavailable, match="nothing smaller"):
        World({0: seconds(0, 500)}, refusals=[TOO_MANY] * 40).read(FROM, TO)


def test_few_nodes_are_asked_for_more_of_each_but_not_after_a_refusal() -> None:
    held = {place: seconds(place, 500) for place in range(20)}
    for refusals, first in (
        ([], [(20, 100)] * 3),
        ([BAD_TIMEOUT], [(20, 100), (10, 100), (10, 100)]),
    ):
        world = World(held, refusals=[*refusals], points_max=20)
        right(world, world.read(FROM, TO, Pace.begin(1_000, 3600 * S, 20), bounds=True))
        assert [(len(ask.places), ask.most) for ask in world.asks[:3]] == first
    for points in (4, 10):
        world = World(held, points_max=points)
        right(world, world.read(FROM, TO, Pace.begin(1_000, 3600 * S, 20), bounds=True))
        waves = [ask for ask in world.asks if not ask.points]
        asked = {(len(ask.places), ask.most) for ask in waves}
        assert all(nodes * most <= VALUES_PER_CALL for nodes, most in asked)
        assert max(most for _, most in asked) >= VALUES_PER_CALL // points
        assert all(on.most == before.most for before, on in pairwise(world.asks) if on.points)


def test_a_call_that_fails_amid_pages_goes_on_by_time() -> None:
    class Failing(World):
        def _answer(self, ask: Ask) -> object:
            if len(self.asks) in (4, 7):
                self.refusals = [BAD_TIMEOUT]
            return super()._answer(ask)

    world = Failing({place: seconds(place, 500) for place in range(4)}, page=30)
    pages = world.read(FROM, TO, Pace.begin(30, 3600 * S, 100))
    right(world, pages)
    world = Failing({0: seconds(0, 500)}, page=30, odd=frozenset({"newest_first"}))
    pages = world.read(FROM, TO, Pace.begin(30, 3600 * S, 100))
    assert "reversed" in lacking(pages)[0][2]


def test_a_server_that_does_not_answer_or_refuses_is_given_up() -> None:
    with pytest.raises(ReplyTimeout):
        World({0: seconds(0, 500)}, refusals=[BAD_TIMEOUT] * 3).read(FROM, TO)
    with pytest.raises(LogUnavailable, match="reads no history") as caught:
        World({0: []}, refusals=[BAD_HISTORY_OPERATION_UNSUPPORTED]).read(FROM, TO)
    assert caught.value.retry_after_ns is None, "a server that starts, too, says so"
    world = World({0: seconds(0, 500)}, refusals=[0x80020000, 0x80020000, 0x80020000])
    with pytest.raises(Refused):
        world.read(FROM, TO)


def test_what_the_server_holds_no_longer_is_lacking_of_that_node_alone() -> None:
    world = World({0: seconds(250, 500), 1: seconds(0, 500), 2: []})
    pages = world.read(FROM, TO, Pace.begin(1_000, 60 * S, 100))
    joined(pages, FROM, TO)
    assert sorted(lacking(pages)) == [
        (FROM, START + 250 * S, NOT_HELD, ("p0.0",)),
        (FROM, TO, NOT_HELD, ("p2.0",)),
    ] or min(lacking(pages))[3] == ("p0.0", "p2.0")
    assert known(pages, 0, START + 249 * S) is None
    assert known(pages, 0, START + 250 * S) == (250.0, 0)
    assert known(pages, 1, FROM) == (100.0, 0)


@pytest.mark.parametrize("reverse", ["right", "first", "forward", "beyond", "none"])
def test_newest_first_is_believed_only_if_its_order_shows(reverse: str) -> None:
    world = World({place: seconds(place, 600, 50) for place in range(3)}, reverse=reverse)
    pages = world.read(FROM + 7 * S, TO)
    joined(pages, FROM + 7 * S, TO)
    for place, records in world.held.items():
        said = known(pages, place, FROM + 8 * S)
        if reverse in ("right", "first"):
            assert said == truth(records, FROM + 8 * S)
        else:
            assert said is None
        assert known(pages, place, TO - S) == truth(records, TO - S)


def test_bounds_tell_what_was_before_where_the_site_asks_for_them() -> None:
    world = World({0: seconds(0, 300, 50), 1: seconds(220, 300)}, reverse="none")
    pages = world.read(FROM + 7 * S, TO, bounds=True, overlap_ns=S)
    assert known(pages, 0, FROM + 8 * S) == (100.0, 0)
    assert lacking(pages) == [(FROM + 7 * S, START + 220 * S, NOT_HELD, ("p1.0",))]


def test_while_the_server_was_not_running_nothing_was_recorded() -> None:
    world = World(
        {
            0: [*seconds(0, 200), *seconds(240, 500)],
            1: [*seconds(0, 190), *seconds(245, 500)],
            2: [reading(START, 5.0)],
        }
    )
    for slices in (30, 3600):
        pages = world.read(FROM, TO, Pace.begin(1_000, slices * S, 100), starts=[START + 235 * S])
        joined(pages, FROM, TO)
        stop_ns = START + 199 * S
        assert known(pages, 0, stop_ns) == (199.0, 0)
        for place, again in ((0, 240), (1, 245), (2, 500)):
            assert known(pages, place, stop_ns) is not None
            assert known(pages, place, stop_ns + 1_000) is None
            assert known(pages, place, min(TO, START + again * S) - 1) is None
            assert (known(pages, place, min(TO - 1, START + again * S)) is None) == (place == 2)
        assert {why for *_, why, _ in lacking(pages)} == {NOT_RUNNING}


def test_a_value_from_before_the_server_was_started_is_not_in_force_after_it() -> None:
    world = World({0: [reading(START, 5.0), reading(START + 300 * S, 6.0)]})
    pages = world.read(FROM, TO, starts=[START + 50 * S])
    assert lacking(pages) == [(FROM, START + 300 * S, NOT_HELD, ())]
    empty = World({0: [reading(START + 300 * S, 6.0)]})
    pages = empty.read(FROM, TO, starts=[START + 200 * S])
    assert lacking(pages) == [(FROM, START + 300 * S, NOT_RUNNING, ())]


def test_a_server_that_stopped_within_a_read_may_have_been_started_after_it() -> None:
    world = World({0: [*seconds(0, 200), *seconds(800, 900)], 1: [*seconds(0, 190)]})
    stop_ns = START + 199 * S
    assert stop_ns < TO < START + 790 * S
    for starts in ([START + 790 * S], [START - S, START + 790 * S, START + 880 * S]):
        pages = world.read(FROM, TO, starts=starts)
        joined(pages, FROM, TO)
        assert lacking(pages) == [(stop_ns + TICK_NS, TO, NOT_RUNNING, ())]
    later = World({0: [*seconds(0, 700)]})
    assert lacking(later.read(FROM, TO, starts=[START + 790 * S])) == [], "it ran through the read"


def test_a_value_that_was_stored_late_counts_from_the_next_slice_on() -> None:
    class Late(World):
        def _answer(self, ask: Ask) -> object:
            if len(self.asks) == 2:
                self.held[0] += [reading(FROM + 59 * S, 2.0)]
            return super()._answer(ask)

    world = Late({0: [reading(START, 1.0)]})
    pages = world.read(FROM, TO, Pace.begin(1_000, 60 * S, 100))
    seen = [(o.time_ns, o.value) for p in pages for o in p.observations]
    assert seen == [(FROM, 1.0), (FROM + 60 * S, 2.0)]


def test_much_history_is_read_in_slices_that_fit_and_pages_that_fit() -> None:
    held = {place: seconds(0, 2_000) for place in range(30)}
    world = World(held)
    pages = world.read(FROM, START + 1_900 * S)
    joined(pages, FROM, START + 1_900 * S)
    assert max(len(page.observations) for page in pages) <= 2_000
    total = sum(len(page.observations) for page in pages)
    assert total == 30 * 1_800
    assert max(len(ask.places) for ask in world.asks) == 20
    assert total > OBSERVATIONS_MAX
    assert len(world.asks) < 4 * total / VALUES_PER_CALL


def test_while_pages_are_kept_the_server_works_on_the_next_slice() -> None:
    world = World({0: seconds(0, 500)})
    read = world.operations(FROM, TO, Pace.begin(1_000, 50 * S, 100))
    after = [on for op, on in pairwise(read) if isinstance(op, Times) and isinstance(on, Begin)]
    assert len(after) == 5
    for op, on in pairwise(read):
        if isinstance(op, Begin):
            assert isinstance(on, LogPage) and on.through_ns == op.ask.from_ns + 2 * S
    assert isinstance(read[-1], LogPage) and isinstance(read[-2], Times)


def test_a_slice_that_can_not_be_shorter_makes_several_pages_and_divides_no_time() -> None:
    held = {n: [reading(FROM + at * NS_PER_MS, float(at)) for at in range(1_000)] for n in range(3)}
    pages = World(held).read(FROM, FROM + S)
    joined(pages, FROM, FROM + S)
    assert [len(page.observations) for page in pages] == [1_998, 1_002]


def test_many_observations_of_one_time_stay_on_one_page() -> None:
    held = {0: [Reading([float(n)] * 2_100, Builtin.DOUBLE, 1, 0, FROM + n * S) for n in range(4)]}
    pages = World(held).read(FROM, FROM + 10 * S, decoders={0: decoder(0, *range(2_100))})
    joined(pages, FROM, FROM + 10 * S)
    assert [n for page in pages if (n := len(page.observations))] == [2_100] * 4


def test_elements_of_an_array_are_told_when_they_change() -> None:
    values = [[1.0, 2.0], [1.0, 3.0], [4.0, 3.0]]
    held = {0: [Reading(v, Builtin.DOUBLE, 1, 0, FROM + n * S) for n, v in enumerate(values)]}
    pages = World(held).read(FROM, FROM + 10 * S, decoders={0: decoder(0, 0, 1)})
    seen = [(o.point, (o.time_ns - FROM) // S, o.value) for p in pages for o in p.observations]
    assert seen == [(0, 0, 1.0), (1, 0, 2.0), (1, 1, 3.0), (0, 2, 4.0)]


def test_statuses_are_kept() -> None:
    bad, unsure = 0x808C0000, 0x40940000
    held = {0: [reading(FROM, 1.0, unsure), reading(FROM + S, None, bad)]}
    [page] = World(held).read(FROM, FROM + 10 * S)
    assert [(o.value, o.status) for o in page.observations] == [(1.0, unsure), (None, bad)]


# ------------------------------------------------------------------------------------- the clock


@pytest.mark.parametrize("grain_ns", [0, 16 * NS_PER_MS, S])
@pytest.mark.parametrize("clock_s", [90, -90, 0])
def test_times_are_corrected_by_the_servers_clock(clock_s: int, grain_ns: int) -> None:
    held = [reading(START + (n + clock_s) * S, float(n)) for n in range(500)]
    world = World({0: held}, clock_ns=clock_s * S, grain_ns=grain_ns)
    pages = world.read(FROM, TO)
    joined(pages, FROM, TO)
    clock = pages[0].clock
    assert clock is not None
    assert abs(clock.offset_ns - clock_s * S) <= clock.uncertainty_ns < 60 * NS_PER_MS
    assert clock.offset_ns == 0 or clock_s
    for n in range(101, 399):
        assert known(pages, 0, START + n * S + 60 * NS_PER_MS) == (float(n), 0)


def test_a_clock_that_stands_still_or_is_not_told_corrects_nothing() -> None:
    for show in (7 * S, None):

        class Still(World):
            def _shown(self, sent_ns: int, show: int | None = show) -> int | None:
                return show

        pages = Still({0: seconds(0, 500)}).read(FROM, TO)
        assert {page.clock for page in pages} == {None}


def test_a_clock_that_is_set_during_the_read_makes_times_uncertain() -> None:
    class SetBack(World):
        def _shown(self, sent_ns: int) -> int:
            return super()._shown(sent_ns) - (30 * S if len(self.asks) > 5 else 0)

    world = SetBack({0: seconds(0, 500)})
    pages = world.read(FROM, TO, Pace.begin(1_000, 60 * S, 100))
    first, last = pages[0].clock, pages[-1].clock
    assert first is not None and last is not None
    assert first.uncertainty_ns < S < 29 * S < last.uncertainty_ns


def test_times_that_step_back_amid_a_page_make_them_uncertain() -> None:
    stepped = [*seconds(0, 200), *[reading(START + n * S + 5, -1.0) for n in range(190, 210)]]
    pages = World({0: [*stepped, *seconds(210, 300)]}).read(FROM, TO)
    clock = pages[0].clock
    assert clock is not None and 8 * S < clock.uncertainty_ns < 10 * S


def test_the_newest_values_may_not_be_stored_yet() -> None:
    world = World({0: seconds(0, 500)}, now_ns=START + 300 * S)
    pages = world.read(FROM, TO, overlap_ns=5 * S)
    assert START + 294 * S < pages[-1].through_ns < START + 295 * S + 100 * NS_PER_MS
    assert not World({0: seconds(0, 500)}, now_ns=FROM + S).read(FROM, TO)


# ------------------------------------------------------------------------------------- the rest


def attributes(access: object, user: object = 5, historizing: object = True) -> Attributes:
    def one(value: object) -> Reading:
        bad = value is None
        return Reading(value, Builtin.BYTE, 0, 0x80350000 if bad else 0, None)

    return Attributes(one(access), one(user), one(historizing))


def test_history_is_known_by_attributes() -> None:
    assert verdict(attributes(5)) == KEPT
    assert verdict(attributes(5, None, None)) == KEPT
    assert "HistoryRead" in verdict(attributes(3))
    assert "our user" in verdict(attributes(5, 1))
    assert "Historizing" in verdict(attributes(5, 5, False))
    assert "BadAttributeIdInvalid" in verdict(attributes(None))
    assert "namespace" in verdict(None)


def test_facts_are_read_however_they_were_stored() -> None:
    assert known_points({"a": KEPT}) == {"a": KEPT}
    assert known_points(None) == {}
    assert known_starts([5, 3, "x"]) == [3, 5]
    assert known_starts("53") == known_starts(None) == []
    assert with_start([5 * S], 5 * S + 1) == [5 * S]
    assert with_start([5 * S], None) == [5 * S]
    assert with_start([5 * S], 3 * S) == [3 * S, 5 * S]
    many = [n * 10 * S for n in range(STARTS_MAX)]
    assert with_start(many, 10_000 * S) == [*many[1:], 10_000 * S]


def test_a_site_names_a_method_that_an_opc_ua_server_has() -> None:
    def found(windback: dict[str, object] | None) -> list[str]:
        said = {"driver": "opcua", "endpoint": "opc.tcp://h:1", "insecure": True}
        settings = OpcUaDevice.model_validate(said | {"windback": windback})
        device = DeviceSpec("plc", "opcua", "plc", settings, (), {})
        return [key for _, _, key, _, _ in review(LineSpec("plc", "opcua", None, (device,)))]

    assert found(None) == found({"method": "none"}) == found({"method": "opcua_history"}) == []
    assert found({"method": "ring"}) == ["windback"]


def test_a_reply_of_another_kind_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        asked(None)
    with pytest.raises(AssertionError):
        told_time(Refusal(1, ""))
    assert told_time(Hands(1, 2, 3, 4)).now_ns == 1


def test_a_node_that_takes_too_many_requests_ends_the_slice() -> None:
    world = World({0: seconds(0, 3_000), 1: [reading(START, 1.0)]}, page=2)
    pages = world.read(FROM, START + 2_000 * S, Pace.begin(2, 3600 * S, 100))
    right(world, pages, FROM, START + 2_000 * S)
    assert len(pages) > 1900 // NODE_REQUESTS_MAX // 2


def test_reversed_order_and_cut_off_is_more_than_can_be_mended() -> None:
    world = World({0: seconds(0, 500)}, page=20, odd=frozenset({"newest_first", "cut_off"}))
    pages = world.read(FROM, TO, Pace.begin(20, 3600 * S, 100))
    assert lacking(pages) == [
        (FROM, START + 381 * S, "the server cuts off amid values in reversed order", ())
    ]


def test_what_was_before_is_asked_for_again_if_the_call_or_its_continuation_is_refused() -> None:
    world = World({place: seconds(0, 90, 20) for place in range(4)}, refusals=[TOO_MANY])
    pages = world.read(FROM, TO)
    assert not lacking(pages)

    class Hesitating(World):
        def _answer(self, ask: Ask) -> object:
            if len(self.asks) == 1:
                self.refusals = [0x80020000]
            return super()._answer(ask)

    world = Hesitating({0: seconds(0, 90, 20)}, odd=frozenset({"empty_pages"}))
    assert not lacking(world.read(FROM, TO))


def test_a_call_that_is_refused_after_it_was_resumed_is_asked_again() -> None:
    class Refusing(World):
        def _answer(self, ask: Ask) -> object:
            if len(self.asks) == 3:
                self.refusals = [TOO_MANY]
            return super()._answer(ask)

    world = Refusing({0: seconds(0, 500)}, page=100, odd=frozenset({"cut_off"}))
    right(world, world.read(FROM, TO, Pace.begin(100, 3600 * S, 100)))


def test_a_node_that_takes_too_many_requests_before_the_slice_begins_is_given_up() -> None:
    world = World({0: seconds(0, 500)}, page=1, reverse="none")
    from_ns = START + 450 * S
    pages = world.read(from_ns, from_ns + 10 * S, overlap_ns=449 * S)
    assert lacking(pages) == [(from_ns, from_ns + 10 * S, ENDLESS, ())]


def test_a_server_that_fills_every_page_with_one_time_comes_to_an_end() -> None:
    class Echo(World):
        def _chosen(self, ask: Ask, n: int, place: int) -> list[Reading]:
            at_ns = ask.from_ns if ask.from_ns is not None else ask.to_ns
            return [reading(at_ns, float(n)) for n in range(ask.most)]

    pages = Echo({0: []}, odd=frozenset({"cut_off"})).read(FROM, TO)
    joined(pages, FROM, TO)
    assert {why for *_, why, _ in lacking(pages)} <= {NOT_HELD, TORN, ENDLESS}
