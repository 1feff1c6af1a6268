"""Windback from logs that something happens to: whatever they hold still is filled, no more.

All methods at once, judged by the plant's truth: no value is wrong, nothing is missing that a log
had when it was read, and what none had is lost with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.model import GapState

from .windback_methods import METHODS, Method
from .windback_rig import WindbackNode, windback_node

pytestmark = pytest.mark.slow

LOGGING = tuple(method for method in METHODS if method.driver == "modbus")
CLOCKED = tuple(method for method in LOGGING if method.clocked)
# A recorder that does not tell its newest record is found by asking, in steps of what the site says
# that it holds: if it holds less, only luck finds it.
TELLING = tuple(method for method in LOGGING if method.name != "cet")
Acts = Sequence[tuple[float, dict[str, Any]]]
SETTLED_S = 2.0
"""When the first log is read after its device came back."""


@dataclass(frozen=True)
class Case:
    """What the devices are told: (s after they went away, or after they came back, words).

    `lost`: the logs lack some of the outage.
    `by_hand`: somebody must ask once more, since an answer looked as if the site were wrong.
    """

    away: Acts = ()
    back: Acts = ()
    lost: bool = False
    by_hand: bool = False
    methods: tuple[Method, ...] = LOGGING


OFF, ON = {"power": "off"}, {"power": "on"}
CASES = {
    "without power": Case([(1, OFF), (4, ON)], lost=True),
    "power, and the log is gone": Case([(2, OFF), (3, {**ON, "log": "lose"})], lost=True),
    "power while it is read": Case(
        back=[(SETTLED_S, OFF), (SETTLED_S + 3.5, ON)],
        lost=True,
    ),
    "cleared": Case([(3, {"log": "clear"})], lost=True),
    "stopped": Case([(1, {"log": "stop"}), (4, {"log": "go"})], lost=True),
    "overrun": Case(back=[(0, {"log": "shrink", "capacity": 4})], lost=True, methods=TELLING),
    "half written": Case(back=[(0, {"log": "torn", "seconds": 5})]),
    "busy": Case(back=[(0, {"log": "refuse", "code": 6, "seconds": 4})]),
    "illegal value": Case(back=[(0, {"log": "refuse", "code": 3, "seconds": 4})], by_hand=True),
    "not ready": Case(back=[(0, {"log": "not_ready", "times": 2})]),
    "another record": Case(back=[(0, {"log": "wrong_index"})]),
    "silent while it is read": Case(back=[(SETTLED_S, {"fault": "silence", "seconds": 1.5})]),
    "another record after a time-out": Case(
        back=[
            (SETTLED_S, {"fault": "silence", "seconds": 1.0}),
            (SETTLED_S + 0.5, {"log": "wrong_index"}),
        ]
    ),
    "clock set ahead": Case([(2.5, {"clock": {"step": 90}})], methods=CLOCKED),
    "clock set back": Case([(2.5, {"clock": {"step": -90}})], methods=CLOCKED),
}


async def tell(plant: WindbackNode, acts: Acts) -> None:
    """Tell all devices of a plant, each at its time from now."""
    began = time.monotonic()
    for at_s, words in acts:
        await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))  # paces: as the case says
        for method in plant.methods:
            await plant.rig(device=method.name, **words)


@pytest.mark.parametrize("name", CASES)
async def test_a_log_that_something_happens_to(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with windback_node(tmp_path, case.methods) as plant:
        began_ns = time.time_ns()
        away = asyncio.create_task(tell(plant, case.away))
        await plant.unplug(5.0)
        await away
        back = asyncio.create_task(tell(plant, case.back))
        await plant.all_good()
        await back
        to_ns = await plant.all_good()
        if case.by_hand:
            await asyncio.sleep(4)  # paces: the refusals end
            for method in case.methods:
                status, _, err = await plant.hotpair("windback", method.name, "--from", "1m")
                assert status == 0, err
        gaps = await plant.settled(began_ns, to_ns, within_s=75)
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:5]
        assert await plant.missed(gaps) == [], gaps
        lost = [gap for gap in gaps if gap.state is GapState.LOST]
        named = {method.name for method in case.methods}
        assert {gap.device for gap in lost} == (named if case.lost else set()), lost
        assert all(gap.why for gap in lost)
