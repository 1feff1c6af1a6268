"""Real processes, real faults: after each the histories, the roles and the outstations are judged.

Each case is judged alike (fault_rig): every scan instant right or declared in both histories, equal
journals, equal gaps and roles, one Main, and no device polled by two nodes at once. `make campaign`
plays the slow ones too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .fault_rig import LAB, Campaign, Case, Ground

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

BUS = Ground(bus=True)
SPLIT = "cut both; role standby main; wait 3; heal"

CASES = (
    Case("kill -9 of the Main", "kill main; role standby main 4; wait 1; start main", "other", 1.5),
    Case("kill -9 of the Standby", "kill standby; wait 1; start standby"),
    Case("the Main frozen for less than it takes", "freeze main 0.4; wait 1", gap_s=1.0),
    Case("the Main frozen for 3 s", "freeze main 3", "other", 4.0, strays=1),
    Case("the Standby frozen for 3 s", "freeze standby 3"),
    Case("one link of two cut", "cut both 0; wait 3; heal"),
    Case("the power of the Main gone",
         "blackout main; role standby main 5; rejoin main; start main", "other", 4.0, lab=True),
    Case("SIGTERM of the Main", "stop main; role standby main 3; start main", "other"),
    Case("five changeovers", "changeover 5", "other"),
    Case("the field's cable of the Main pulled",
         "unplug main field; role standby main 15; plug main field", "other", 12.0, lab=True),
    Case("Main-Main", SPLIT, split=True),
)  # fmt: skip
SLOW = (
    # What is not acknowledged is soon no longer sent: on TCP a cut of one way becomes one of both.
    Case("the Main no longer heard", "cut main; role standby main; wait 1; heal", "either", 4.0,
         split=True),
    Case("the Standby no longer heard", "cut standby; wait 3; heal", "either", 4.0, split=True),
    Case("a serial line handed over", "changeover 2; kill main; role standby main 4; start main",
         "other", 4.0, ground=BUS),
    Case("SIGTERM of the Standby", "stop standby; wait 1; start standby"),
    Case("the Standby frozen for a moment", "freeze standby 0.4; wait 1"),
    Case("the Standby frozen for 15 s", "freeze standby 15"),
    Case("the Main frozen for 15 s", "freeze main 15", "other", 4.0, strays=1),
    Case("one way of one link cut", "cut main 0; wait 3; heal; cut standby 1; wait 3; heal"),
    Case("every cable between the nodes pulled",
         "unplug main link0; unplug main link1; role standby main; wait 2; "
         "plug main link0; plug main link1", split=True, lab=True),
    Case("a split as long as many claims", "cut both; role standby main; wait 20; heal",
         split=True),
    Case("two splits, one after the other", f"{SPLIT}; wait 2; {SPLIT}", "either", split=True),
    Case("the Main killed in a split", "cut both; role standby main; kill main; heal; start main",
         "other", 4.0, split=True),
    Case("the Main frozen in a split", "cut both; role standby main; freeze main 3; heal",
         "either", 5.0, split=True),
    Case("both stopped and started", "stop standby; stop main; start main standby", "either", 30.0),
    Case("a blackout, and devices that come up later",
         "power off; kill main standby; start main standby; wait 5; power on", "either", 90.0),
    Case("the Standby wiped", "kill standby; wipe standby; start standby"),
    Case("the Main wiped", "kill main; role standby main 4; wipe main; start main", "other", 3.0),
    Case("the Standby restored from an old copy",
         "save standby; wait 3; kill standby; restore standby; start standby"),
    Case("the Main restored from an old copy",
         "save main; wait 3; kill main; role standby main 4; restore main; start main",
         "other", 3.0),
    Case("ten changeovers", "changeover 10"),
    Case("the Standby killed, and the Main while it is away",
         "kill standby; wait 2; kill main; start main standby", "either", 30.0),
    # It hears nobody and reaches the field: as after a cut, there are two Mains, and both say why.
    Case("the Standby started with another certificate",
         "stop standby; swap standby; start standby; role standby main; wait 2; stop standby; "
         "swap standby; start standby", split=True),
    Case("all cables of the Main pulled",
         "unplug main link0; unplug main link1; unplug main field; role standby main; wait 3; "
         "plug main link0; plug main link1; wait 1; plug main field", "other", 7.0,
         split=True, lab=True),
    Case("the field's cable of the Standby pulled",
         "unplug standby field; wait 4; plug standby field", lab=True),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def campaign(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campaign]:
    """One pair for all cases that stand on the same ground."""
    found = Campaign(tmp_path_factory.mktemp("campaign"))
    yield found
    await found.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_nothing_is_lost_silently_and_one_is_main(campaign: Campaign, case: Case) -> None:
    await campaign.play(case, LAB)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.name)
async def test_nothing_is_lost_in_rarer_faults(campaign: Campaign, case: Case) -> None:
    await campaign.play(case, LAB)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES + SLOW, ids=lambda case: case.name)
async def test_nothing_is_lost_where_proxies_cut_the_links(campaign: Campaign, case: Case) -> None:
    await campaign.play(case, use_lab=False)
