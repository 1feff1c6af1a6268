"""What a timeline does to the wall clock of a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from hil.acting import Entry, running
from hil.gateway import ProgramError
from hil.pair import Pair, PairNode
from hil.words import Need, Shape, Target, number


@asynccontextmanager
async def step_clock(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Somebody sets the node's clock by `seconds`, and it runs `drift_ppm` faster.

    Undoing it is a step, too: what drifted is set back.
    """
    struck = running(node)
    if struck.tamper is None:
        raise ProgramError(f"node {struck.name} was not started to be tampered with")
    before_s = struck.tamper.ahead_s()
    struck.tamper.clock(before_s + options.get("seconds", 0.0), options.get("drift_ppm", 0.0))
    try:
        yield
    finally:
        struck.tamper.clock(before_s)


CLOCK_WORDS: Final[Mapping[str, Entry]] = {
    "step_clock": Entry(
        step_clock,
        Shape(
            "its wall clock is set",
            frozenset({Target.NODE}),
            {"seconds": number, "drift_ppm": number},
            needs=frozenset({Need.TAMPER}),
        ),
    ),
}
