"""Real faults where somebody else has a vote: a serial heartbeat, a PLC, etcd; and full disks."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .fault_rig import LAB, Campaign, Case, Ground

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SERIAL = Ground(links=1, serial=True, bus=True)
PLC = Ground(links=1, witness="plc", bus=True)
ETCD = Ground(links=1, witness="etcd")
SMALL = Ground(links=1, small_disk=True)
CUT = "cut both; wait 6; heal"
KILL = "kill main; role standby main 8; wait 1; start main"

CASES = (
    Case("every cable cut, the serial line stands", "cut both; wait 4; heal", ground=SERIAL),
)  # fmt: skip
SLOW = (
    Case("with a PLC: every link cut", CUT, ground=PLC),
    Case("with a PLC: kill -9 of the Main", KILL, "other", 8.0, ground=PLC),
    Case("with etcd: kill -9 of the Main", KILL, "other", 8.0, ground=ETCD),
    Case("with etcd: every link cut", CUT, ground=ETCD),
    Case("the disk of the Main is full", "fill main; role standby main 15; wait 1; free main",
         "other", 6.0, lab=True, ground=SMALL),
    Case("the disk of the Standby is full", "fill standby; wait 3; free standby", lab=True,
         ground=SMALL),
    Case("serial: kill -9 of the Main", KILL, "other", 4.0, ground=SERIAL),
    Case("serial: the Main frozen", "freeze main 3", "other", 4.0, strays=1, ground=SERIAL),
    Case("with a PLC: the Main frozen", "freeze main 6", "other", 8.0, strays=1, ground=PLC),
    Case("with a PLC: the witness without power", "power off plc1; wait 4; power on plc1",
         gap_s=10.0, ground=PLC),
    Case("with a PLC: the Main is not heard", "cut main; wait 6; heal", "either", 8.0, ground=PLC),
    Case("with a PLC: five changeovers", "changeover 5", "other", ground=PLC),
    Case("with etcd: the Main frozen", "freeze main 6", "other", 8.0, strays=1, ground=ETCD),
    Case("with etcd: the Main's field and links cut",
         "unplug main link0; unplug main field; role standby main 15; plug main link0; "
         "plug main field", "other", 10.0, lab=True, ground=ETCD),
    Case("in sync: kill -9 of the Main", KILL, "other", 4.0,
         ground=Ground(pair=", replication: sync")),
    Case("in sync: the Standby frozen", "freeze standby 3",
         ground=Ground(pair=", replication: sync")),
    Case("with discard: Main-Main", "cut both; role standby main; wait 3; heal", split=True,
         ground=Ground(pair=", duty: discard")),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def campaign(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campaign]:
    """One pair for all cases that stand on the same ground."""
    found = Campaign(tmp_path_factory.mktemp("votes"))
    yield found
    await found.close()


async def play(campaign: Campaign, case: Case) -> None:
    if case.ground.witness == "etcd" and shutil.which("etcd") is None:
        pytest.skip("etcd is not installed: .ci/run does that")
    await campaign.play(case, LAB)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_vote_settles_who_is_main(campaign: Campaign, case: Case) -> None:
    await play(campaign, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.name)
async def test_a_vote_settles_it_in_rarer_faults(campaign: Campaign, case: Case) -> None:
    await play(campaign, case)
