"""The library that is put before a program: its clock, its disk, and nothing else."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from hil import tamper
from hil.gateway import ProgramError
from hil.tamper import Tamper, build

needs_compiler = pytest.mark.skipif(bool(tamper.hindrance()), reason=tamper.hindrance())
CHILD = """
import datetime, os, sys, time
def answer(line):
    if line == "clock":
        return time.time_ns(), time.time(), datetime.datetime.now().timestamp(), time.monotonic()
    file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    began = time.monotonic()
    os.write(file, b"x")
    wrote = time.monotonic()
    os.pwrite(file, b"y", 1)
    os.fsync(file)
    os.fdatasync(file)
    os.close(file)
    return wrote - began, time.monotonic() - wrote
for line in sys.stdin:
    print(*answer(line.strip()), flush=True)
"""


class Asked:
    """A program that says its time, and what its disk takes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, line: str) -> list[float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(10):
            return [float(word) for word in (await self._process.stdout.readline()).split()]


@needs_compiler
async def test_clock_and_disk_of_a_program_obey_and_recover(tmp_path: Path) -> None:
    forged = Tamper(await build(tmp_path), tmp_path / "orders")
    process = await asyncio.create_subprocess_exec(
        *(*forged.before, sys.executable, "-c", CHILD, str(tmp_path / "file")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    child = Asked(process)
    try:
        for ahead_s in (0, 3600, -7200, 0):
            forged.clock(ahead_s)
            assert forged.ahead_s() == ahead_s
            now_s = time.time()
            wall_ns, wall_s, date_s, monotonic_s = await child.says("clock")
            for said_s in (wall_ns / 1e9, wall_s, date_s):
                assert said_s == pytest.approx(now_s + ahead_s, abs=2)
            assert monotonic_s == pytest.approx(time.monotonic(), abs=2), "that is never set"
        forged.clock(0, drift_ppm=500_000)
        begun = await child.says("clock")
        await asyncio.sleep(0.2)  # paces: the clock drifts meanwhile
        ended = await child.says("clock")
        ran_s = ended[3] - begun[3]
        assert ended[1] - begun[1] == pytest.approx(1.5 * ran_s, abs=0.02)
        forged.slow(sync_ms=80, write_ms=40)
        wrote_s, rest_s = await child.says("disk")
        assert wrote_s >= 0.04 and rest_s >= 0.2
        felt = forged.felt()
        assert (felt.syncs, felt.slow_writes) == (2, 2)
        assert felt.longest_sync_ms >= 80
        forged.slow(0)
        assert forged.felt().syncs == 0
        await child.says("disk")
        assert forged.felt().slow_writes == 0, "it is not slow any more"
        assert forged.felt().syncs == 2
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0
    assert await build(tmp_path) == tmp_path / "tamper.so", "made once"


async def test_a_machine_without_a_compiler_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="install gcc"):
        await build(tmp_path)
