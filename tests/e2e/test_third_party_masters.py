"""mbpoll, a master by libmodbus, asks what `hotpair outstation` emulates."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from hil.bench.process import Spawned, free_port, hotpair

from .third_party.rig import need_program

pytestmark = [pytest.mark.external, pytest.mark.timeout(60)]

PROFILE = """
profile: third/party
version: 1
vendor: Third
models: [P1]
status: manual
source: "made for this test, and for nothing else"
points:
  word: {address: 0, type: uint16, min: 0, max: 60000, access: rw}
  level: {address: 2, type: float32, access: rw}
  input: {register: input, address: 7, type: int16}
  lamp: {register: coil, address: 3, type: bool, access: rw}
  contact: {register: discrete, address: 5, type: bool}
"""
UNIT = 7


async def mbpoll(where: list[str], *options: object, write: object = None) -> tuple[int, str]:
    """Ask once, by wire addresses: exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll",
        *where[:-1],
        *("-a", str(UNIT), "-0", "-1", "-q", "-o", "2", *map(str, options)),
        where[-1],
        *(() if write is None else (str(write),)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(10):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def values(output: str) -> list[str]:
    """The values that mbpoll printed, in order."""
    return re.findall(r"^\[\d+\]:\s+(\S+)", output, re.MULTILINE)


async def everything_is_answered(where: list[str]) -> None:
    word, lamp, level = ("-r", 0), ("-t", 0, "-r", 3), ("-t", "4:float", "-B", "-r", 2)
    for place in (word, level, ("-t", 3, "-r", 7), lamp, ("-t", 1, "-r", 5)):
        status, output = await mbpoll(where, *place)
        assert (status, len(values(output))) == (0, 1), output
    for place, value in ((word, "4711"), (level, "12.5"), (lamp, "1"), (lamp, "0")):
        status, output = await mbpoll(where, *place, write=value)
        assert status == 0, output
        assert values((await mbpoll(where, *place))[1]) == [value]
    status, output = await mbpoll(where, "-r", 5000)
    assert status != 0
    assert "Illegal data address" in output


async def test_mbpoll_reads_and_writes_over_tcp(tmp_path: Path) -> None:
    need_program("mbpoll")
    profile, port = tmp_path / "profile.yaml", free_port()
    profile.write_text(PROFILE)
    options = ("--listen", f"tcp:127.0.0.1:{port}", "--unit", UNIT)
    command = hotpair("outstation", profile, *options)
    async with Spawned("outstation", command, tmp_path) as outstation:
        await outstation.hear("text")
        await everything_is_answered(["-p", str(port), "127.0.0.1"])


async def test_mbpoll_reads_and_writes_over_a_serial_line(tmp_path: Path) -> None:
    need_program("mbpoll")
    profile, port = tmp_path / "profile.yaml", tmp_path / "port"
    profile.write_text(PROFILE)
    command = hotpair("outstation", profile, "--listen", f"rtu:{port}", "--unit", UNIT)
    async with Spawned("outstation", command, tmp_path) as outstation:
        await outstation.hear("text")
        await everything_is_answered(["-m", "rtu", "-b", "19200", "-P", "even", str(port)])
