"""A line that goes on under another revision: what it says is told by the new numbers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from field_world import device, site

from gateway.acquisition.carried import CarriedLine
from gateway.driver import LineSpec, LogPage, LogWanted, Observation, Turn
from gateway.model import NS_PER_S

S = NS_PER_S
PLC = device("plc", "bus", {"normal": S}, [("level", "normal"), ("flow", "normal")])


class LogLine:
    """A line with one page of a log, by the numbers that it was opened with."""

    spec = LineSpec("bus", "fake", None, site(PLC).devices)

    async def read_log(
        self, name: str, wanted: LogWanted, turn: Turn
    ) -> AsyncGenerator[LogPage, None]:
        yield LogPage(
            *(wanted.from_ns, wanted.to_ns),
            [Observation(0, 2 * S, 11.0, 0), Observation(1, 2 * S, 22.0, 0)],
            before=[Observation(0, S, 10.0, 0), Observation(1, S, 20.0, 0)],
        )


async def test_a_page_of_a_log_and_what_held_before_it_have_the_new_numbers() -> None:
    line = CarriedLine(cast(Any, LogLine()))
    ahead = device("a", "other", {"normal": S}, [("level", "normal")])
    moved = next(d for d in site(ahead, PLC).devices if d.name == "plc")
    line.carry(LineSpec("bus", "fake", None, (moved,)))

    async def at_once(expected_ns: int) -> None:
        return None

    pages = line.read_log("plc", LogWanted("ring", S, 3 * S), at_once)
    [page] = [page async for page in pages]
    assert [(o.point, o.value) for o in page.before] == [(1, 10.0), (2, 20.0)]
    assert [(o.point, o.value) for o in page.observations] == [(1, 11.0), (2, 22.0)]
