"""A Main dies in the midst of reads that leave something behind in the device: a lock, a pointer.

The other node judges by what the device shows, and both are judged by the plant's truth.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.modbus.log.consuming import INTERRUPTED
from gateway.model import NS_PER_S, Gap, GapState, HistoryRow
from hil.judges_windback import LogHeld

from .plant import PairNode
from .windback_methods import BY_NAME, METHODS, Method
from .windback_rig import WindbackPair, states, windback_pair, wound

UNLOCK_S = 4
"""After this the meter gives its lock back by itself."""
OWNER, SESSION = 0xC75C, 0xC34F
"""Who has the lock of the meter's log, and the register that it is taken and given by."""
LOCKED = replace(
    BY_NAME["shark"],
    device=BY_NAME["shark"].device.replace("zone: utc", f"zone: utc, unlock_after: {UNLOCK_S}s"),
)
WINDOW = 4
"""Records that one read of the window takes out of the log."""
GIVER = Method(
    "giver",
    f"""\
    windback:
      method: pointer
      settable: false
      destructive: advance
      pointer: {{address: 20004}}
      unread: {{address: 20000}}
      data: {{address: 20010}}
      data_words: {WINDOW * 8}
      zone: utc
      resolution: 200ms
      record:
        words: 8
        time: {{at: 0, format: packed_ymdhms_ms}}
        key: {{at: 4, type: uint32}}
        columns_at: 6
      logs: [{{id: data, depth_records: 600, columns: [level]}}]
    scan: normal
    points:
      level: {{register: holding, address: 0, type: float32}}
""",
    resolution_ms=200,
    clocked=False,
    log_at=20_000,
)
"""A log that gives each record once."""


async def register(port: int, address: int) -> int:
    """One holding register of a device, read as any other master would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, address, 1))
        reply = await reader.readexactly(11)
        assert reply[7:9] == b"\x03\x02", reply.hex()
        return int.from_bytes(reply[9:], "big")
    finally:
        writer.close()


async def in_the_midst(plant: WindbackPair, main: PairNode, from_ns: int) -> None:
    """Wait until the meter's log is locked, and the other log gave a part of what is wanted."""
    async with asyncio.timeout(20):
        while True:
            given = states(await main.control.gaps(from_ns, time.time_ns()), GIVER.name)
            locked = await register(plant.ports_of[LOCKED.name], OWNER)
            if locked and {GapState.FILLED, GapState.OPEN} <= given:
                return
            await asyncio.sleep(0.02)  # paces: neither has an event for this


def gone(rows: Sequence[HistoryRow], gaps: Sequence[Gap], held: LogHeld) -> int:
    """How many records of the log that gives each once are lost; the others must be there, once."""
    own = [gap for gap in gaps if gap.device == GIVER.name]
    lost = [gap for gap in own if gap.state is GapState.LOST]
    assert states(own, GIVER.name) <= {GapState.FILLED, GapState.LOST}, own
    assert {gap.why for gap in lost} <= {INTERRUPTED}
    times = [row.time_ns for row in wound(rows)]
    assert times == sorted(set(times)), "nothing twice"
    whole, missing = (
        sum(held.records(gap.from_ns, gap.to_ns) for gap in some) for some in (own, lost)
    )
    assert abs(len(times) + missing - whole) <= 2 * len(own), (len(times), missing, whole)
    return missing


def lasting(method: Method) -> Method:
    """The device, scanned each second and slow to tell what it logged: reading takes seconds."""
    if method.name == LOCKED.name:
        return LOCKED
    if method.driver == "opcua":
        return replace(method, rig="{depth: 10m, clock: 90s, slow: 1s}")
    device = method.device.replace("scan: fast", "scan: normal")
    return replace(method, device=device, ends=GapState.FILLED)


LASTING = [lasting(method) for method in METHODS]
LATENCY_MS = 100
"""Of each answer of a Modbus device."""


async def all_read(main: PairNode) -> None:
    """Wait until a node is in the midst of reading the log of every device."""
    async with asyncio.timeout(20):
        while not all(each["reading"] for each in (await main.control.get("/windback")).values()):
            await asyncio.sleep(0.02)  # paces: the socket has no event for this


@pytest.mark.slow
async def test_a_main_that_dies_in_the_midst_of_reading_every_log(tmp_path: Path) -> None:
    slow = ", ".join(f"{m.name}: {LATENCY_MS}" for m in LASTING if m.driver == "modbus")
    async with windback_pair(tmp_path, LASTING, f"latency_ms: {{{slow}}}\n") as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        await plant.until_equal()
        await plant.settled(main, plant.born_ns, time.time_ns())
        began_ns = time.time_ns()
        await plant.unplug(4.0)
        to_ns = await plant.all_good(main)
        await all_read(main)
        await main.program.kill()
        killed_ns = time.time_ns()
        await plant.until_roles(**{standby.name: "main"})
        gaps = await plant.settled(standby, began_ns, to_ns, within_s=60)
        assert {gap.device for gap in gaps} == {method.name for method in LASTING}
        for method in LASTING:
            assert states(gaps, method.name) == {method.ends}, gaps
        await main.start()
        await plant.until_paired()
        await plant.until_equal()
        for name, rows in (await plant.both(began_ns, to_ns)).items():
            times = [row.time_ns for row in wound(rows)]
            assert times and times == sorted(set(times)), (name, times)
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]
        assert verdict.declared == 0, "no instant is left without a value"
        readers = await plant.readers(killed_ns)
        for method in LASTING:
            if method.driver == "modbus":
                before, after = readers[method.name]
                assert before and after and not before & after, method.name


@pytest.mark.slow
async def test_a_main_that_dies_in_the_midst_of_a_read_costs_no_more_than_what_it_took(
    tmp_path: Path,
) -> None:
    rig = f"latency_ms: {{{GIVER.name}: 100, {LOCKED.name}: 120}}\n"
    async with windback_pair(tmp_path, [LOCKED, GIVER], rig) as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        await plant.all_good(main)
        await plant.until_equal()
        began_ns = time.time_ns()
        await plant.unplug(6.0)
        to_ns = await plant.all_good(main)
        (held,) = await plant.held(GIVER.name, began_ns, to_ns)
        await in_the_midst(plant, main, began_ns)
        await main.program.kill()
        killed_ns = time.time_ns()
        assert await register(plant.ports_of[LOCKED.name], OWNER), "nobody gave it back"
        await plant.until_roles(**{standby.name: "main"})
        gaps = await plant.settled(standby, began_ns, to_ns)
        assert states(gaps, LOCKED.name) == {GapState.FILLED}, gaps
        point = f"{GIVER.name}/level"
        rows = await standby.control.history(point, began_ns, to_ns)
        assert gone(rows, gaps, held) > 0, "what was read and is not here is declared"

        await main.start()
        await plant.until_paired()
        await plant.until_equal()
        gaps = await plant.settled(standby, began_ns, to_ns)
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]
        rows = (await plant.both(began_ns, to_ns))[point]
        assert gone(rows, gaps, held) <= 2 * WINDOW, "one window, once the other's disk is back"
        assert {row.position.term.node for row in wound(rows)} == {main.name, standby.name}

        await plant.settled(standby, plant.born_ns, time.time_ns())
        assert await register(plant.ports_of[LOCKED.name], OWNER) == 0, "the lock was given back"
        (log,) = await plant.held(LOCKED.name, began_ns, to_ns)
        times = [
            row.time_ns
            for row in wound((await plant.both(began_ns, to_ns))[f"{LOCKED.name}/power"])
        ]
        own = [gap for gap in gaps if gap.device == LOCKED.name]
        assert times == sorted(set(times)), "nothing twice"
        records = sum(log.records(gap.from_ns, gap.to_ns) for gap in own)
        assert abs(len(times) - records) <= 2 * len(own), "every record"
        reads = await plant.log_reads(LOCKED)
        used_ns = max(poll.received_ns for poll in reads if poll.received_ns < killed_ns)
        taken = [p.received_ns for p in reads if p.address == SESSION and p.received_ns > killed_ns]
        assert taken, "the other node read it"
        assert min(taken) >= used_ns + UNLOCK_S * NS_PER_S, "nobody breaks a lock"
