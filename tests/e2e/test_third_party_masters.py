"""mbpoll, a master by libmodbus, asks what `hotpair outstation` emulates."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from hil.bench.process import Spawned, free_port, hotpair

from .third_party.rig import need_program, until

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


async def mbpoll(where: list[str], *arguments: object) -> tuple[int, str]:
    """Ask once, by wire addresses: exit status and what it printed."""
    words = ["-a", str(UNIT), "-0", "-1", "-q", "-o", "2", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        "mbpoll",
        *where[:-1],
        *words[:],
        where[-1],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(10):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def write(where: list[str], *arguments: object) -> str:
    """Write: the values come after the place."""
    *options, value = map(str, arguments)
    process = await asyncio.create_subprocess_exec(
        "mbpoll",
        *where[:-1],
        *("-a", str(UNIT), "-0", "-1", "-q", "-o", "2", *options),
        where[-1],
        value,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(10):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def values(output: str) -> list[str]:
    """The values that mbpoll printed, in order."""
    return re.findall(r"^\[\d+\]:\s+(\S+)", output, re.MULTILINE)


async def everything_is_answered(where: list[str]) -> None:
    for kind in ((), ("-t", "3:hex", "-r", 7), ("-t", 0, "-r", 3), ("-t", 1, "-r", 5)):
        status, output = await mbpoll(where, *(kind or ("-r", 0)))
        assert status == 0, output
        assert len(values(output)) == 1, output

    assert "Written 1" in await write(where, "-r", 0, 4711)
    assert values((await mbpoll(where, "-r", 0))[1]) == ["4711"]
    await write(where, "-t", "4:float", "-B", "-r", 2, 12.5)
    assert values((await mbpoll(where, "-t", "4:float", "-B", "-r", 2))[1]) == ["12.5"]
    for value in (1, 0):
        await write(where, "-t", 0, "-r", 3, value)
        assert values((await mbpoll(where, "-t", 0, "-r", 3))[1]) == [str(value)]

    status, output = await mbpoll(where, "-r", 5000)
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
    need_program("mbpoll", "socat")
    profile, ours, theirs = tmp_path / "profile.yaml", tmp_path / "ours", tmp_path / "theirs"
    profile.write_text(PROFILE)
    ends = [f"pty,raw,echo=0,link={end}" for end in (ours, theirs)]
    async with Spawned("cable", ["socat", *ends], tmp_path):

        async def plugged() -> bool:
            return ours.exists() and theirs.exists()

        await until(plugged, "socat links the ptys")
        options = ("--listen", f"rtu:{ours}", "--unit", UNIT)
        command = hotpair("outstation", profile, *options)
        async with Spawned("outstation", command, tmp_path) as outstation:
            await outstation.hear("text")
            line = ["-m", "rtu", "-b", "19200", "-P", "none", str(theirs)]
            await everything_is_answered(line)
