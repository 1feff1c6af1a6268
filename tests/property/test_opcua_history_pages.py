"""Whatever a server does with its pages: each instant is right or said to be lacking."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_history_world import START, S, Said, World, joined, reading, truth

from drivers.opcua.log.slices import Pace
from gateway.errors import DeviceError
from gateway.model import NS_PER_MS

FROM, TO = START + 20 * S, START + 60 * S
STEP = 250 * NS_PER_MS
ODD = ("cut_off", "empty_pages", "same_point", "repeat_point", "forget_points", "newest_first")

times = st.lists(st.integers(0, 4 * 80), max_size=60).map(sorted)
worlds = st.builds(
    lambda held, page, points, odd, reverse, nodes: World(
        {
            place: [reading(START + at * STEP, float(n)) for n, at in enumerate(stamps)]
            for place, stamps in enumerate(
                sorted(set(stamps)) if "newest_first" in odd else stamps for stamps in held
            )
        },
        page=page,
        points_max=points,
        odd=frozenset(odd),
        reverse=reverse,
        nodes_max=nodes,
    ),
    st.lists(times, min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(0, 3),
    st.sets(st.sampled_from(ODD), max_size=2),
    st.sampled_from(("right", "first", "forward", "none")),
    st.integers(0, 3),
)


@settings(max_examples=300)
@given(worlds, st.integers(2, 12), st.sampled_from((5, 17, 3600)), st.booleans())
def test_each_instant_is_right_or_lacking(
    world: World, page: int, slice_s: int, bounds: bool
) -> None:
    try:
        pages = world.read(FROM, TO, Pace.begin(page, slice_s * S, 100), bounds=bounds)
    except DeviceError:
        assert world.points_max < len(world.held) or world.odd  # no continuation point to be had
        return
    joined(pages, FROM, TO)
    assert pages[-1].through_ns == TO
    for place, records in world.held.items():
        said = Said(pages, place)
        for at_ns in range(FROM, TO, STEP):
            found = said.at(at_ns)
            assert found is None or found == truth(records, at_ns), (place, at_ns)


@settings(max_examples=100)
@given(st.lists(times, min_size=1, max_size=4), st.integers(2, 12), st.sampled_from((5, 3600)))
def test_of_a_server_that_does_right_only_what_it_does_not_hold_is_lacking(
    held: list[list[int]], page: int, slice_s: int
) -> None:
    once = {n: sorted(set(stamps)) for n, stamps in enumerate(held)}
    world = World(
        {n: [reading(START + at * STEP, float(at)) for at in s] for n, s in once.items()},
        page=page,
    )
    pages = world.read(FROM, TO, Pace.begin(page, slice_s * S, 100))
    for place, records in world.held.items():
        said = Said(pages, place)
        for at_ns in range(FROM, TO, STEP):
            assert said.at(at_ns) == truth(records, at_ns)
