"""Five hundred outstations in one process, polled each second."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from hil.gateway import Program
from hil.outstation.polls import read_polls

from .many_outstations import poll_all, write
from .plant import free_ports

DEVICES, POINTS, SECONDS = 500, 20, 8


async def test_five_hundred_outstations_answer_in_time_from_one_process(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    registers = write(tmp_path, DEVICES, POINTS, port)
    arguments = ["outstation", "--site", str(tmp_path / "site.yaml")]
    arguments += ["--log", str(tmp_path / "polls.jsonl"), "--control", str(tmp_path / "rig.sock")]
    rig = Program("outstations", arguments, tmp_path / "outstations.log", "ready")
    began_s = time.monotonic()
    await rig.start()
    started_s = time.monotonic() - began_s
    process = psutil.Process(rig.pid)
    try:
        used = process.cpu_times()
        polled = await poll_all(DEVICES, port, registers, SECONDS)
        now = process.cpu_times()
        memory_mb = process.memory_info().rss / 1e6
    finally:
        await rig.stop()
    cpu = (now.user + now.system - used.user - used.system) / SECONDS
    print(
        f"{DEVICES} devices x {POINTS} points: started in {started_s:.1f} s, {100 * cpu:.0f} % of "
        f"a core, {memory_mb:.0f} MB, replies: half in {polled.share_ms(0.5):.1f} ms, "
        f"99 % in {polled.share_ms(0.99):.1f} ms, worst {polled.worst_ms:.0f} ms"
    )
    assert polled.failed == 0
    assert len(polled.took_s) == DEVICES * SECONDS
    logged = [poll.device for poll in read_polls(tmp_path / "polls.jsonl")]
    assert len(logged) == DEVICES * SECONDS and len(set(logged)) == DEVICES
    assert cpu < 1.0, "one core must do, with room for faults"
    assert memory_mb < 500
    assert polled.share_ms(0.99) < 1_000
