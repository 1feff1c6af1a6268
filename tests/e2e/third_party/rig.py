"""A node on a site of a few lines, beside programs that we did not write.

The Modbus outstations all have this map, unit 1: holding 0 counts tenths of a second, 1-2 hold the
float 12.5, 10 holds 7 until written, 100-224 hold their own address; input 0 holds 4242, 1 holds
-7; coil 0 is off until written, coil 9 is on; discrete input 3 is on.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hil.bench.process import NODE_MODULES, Spawned, hotpair, node_js
from hil.gateway import Control

HERE = Path(__file__).resolve().parent
WITHIN_S = 10.0
LOOK_AGAIN_S = 0.05

MODBUS_POINTS = """
      count: {register: holding, address: 0, type: uint16}
      float: {register: holding, address: 1, type: float32}
      setpoint: {register: holding, address: 10, type: uint16, access: rw, min: 0, max: 1000}
      last: {register: holding, address: 224, type: uint16}
      first: {register: holding, address: 100, type: uint16}
      word: {register: input, address: 0, type: uint16}
      negative: {register: input, address: 1, type: int16}
      switch: {register: coil, address: 0, type: bool, access: rw}
      lamp: {register: coil, address: 9, type: bool}
      contact: {register: discrete, address: 3, type: bool}
"""
MODBUS_CONSTANTS = {
    "float": 12.5,
    "setpoint": 7,
    "last": 224,
    "first": 100,
    "word": 4242,
    "negative": -7,
    "switch": False,
    "lamp": True,
    "contact": True,
}


def need(condition: object, what: str) -> None:
    """Skip what can't be tried on this machine; where everything was installed, fail instead."""
    if condition:
        return
    if os.environ.get("HOTPAIR_CI") == "1":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing; .ci/run installs it")


def need_program(*names: str) -> None:
    """Skip, or fail, without these programs."""
    for name in names:
        need(shutil.which(name), name)


def need_libmodbus() -> None:
    """Skip, or fail, without a C compiler and libmodbus."""
    need_program("gcc")
    need(Path("/usr/include/modbus/modbus.h").exists(), "libmodbus-dev")


def need_npm(package: str) -> None:
    """Skip, or fail, without this npm package."""
    need_program("node")
    need((NODE_MODULES / package).is_dir(), f"npm package {package}")


def need_package(name: str) -> None:
    """Skip, or fail, without this Python package."""
    need(find_spec(name), f"PyPI package {name}")


def script(name: str, *arguments: object) -> list[str]:
    """The command line of one of the scripts here."""
    return node_js(HERE / name, *arguments)


async def until(look: Callable[[], Awaitable[Any]], what: str, within_s: float = WITHIN_S) -> Any:
    """What `look` returns once it is true."""
    try:
        async with asyncio.timeout(within_s):
            while not (found := await look()):
                await asyncio.sleep(LOOK_AGAIN_S)  # paces: a foreign program gives no event
            return found
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


class Node:
    """A running `hotpair run`."""

    def __init__(self, folder: Path, endpoint: str, process: Spawned, control: Control) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.process = process
        self.control = control

    async def points(self, pattern: str = "*") -> dict[str, dict[str, Any]]:
        """Live values by point."""
        found = await self.control.get("/points", pattern=pattern)
        return {point["point"]: point for point in found}

    async def value(self, point: str) -> Any:
        """The live value of one point, or None while it is not Good."""
        found = (await self.points(point))[point]
        return found["value"] if found["status"] == "Good" else None

    async def becomes(self, point: str, value: Any, within_s: float = WITHIN_S) -> None:
        """Wait until a point is Good and has a value."""

        async def same() -> bool:
            found = await self.value(point)
            return found is not None and found == value

        try:
            await until(same, f"{point} = {value}", within_s)
        except AssertionError as error:
            found = (await self.points(point))[point]
            why = (await self.control.get("/status"))["devices"]
            raise AssertionError(f"{error}: {found}; {why}") from None

    async def goes_bad(self, point: str, within_s: float = WITHIN_S) -> str:
        """Wait until the status of a point is bad; its name."""

        async def bad() -> str | None:
            status: str = (await self.points(point))[point]["status"]
            return status if status.startswith("Bad") else None

        found: str = await until(bad, f"{point} goes bad", within_s)
        return found

    async def command(self, *arguments: object, json_output: bool = True) -> tuple[int, Any]:
        """Run `hotpair ... --json` against the node: exit status and what it printed."""
        words = [*map(str, arguments), "--node", str(self.folder / "node.yaml")]
        words += ["--json"] if json_output else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *hotpair(*words)[1:],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        if output and json_output:
            return process.returncode, json.loads(output)
        return process.returncode, output.decode() or errors.decode()


def write_files(folder: Path, site: str, opcua_port: int, more: str, insecure: bool) -> None:
    """Write site.yaml and node.yaml; `more` is added to the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.yaml").write_text(site)
    listen = f"listen: 127.0.0.1:{opcua_port}, advertise: [127.0.0.1]"
    opened = ", insecure: true" if insecure else ""
    (folder / "node.yaml").write_text(
        f"node: a\ndata_dir: data\nsite: site.yaml\nopcua: {{{listen}{opened}}}\n{more}"
    )


@asynccontextmanager
async def running_node(
    folder: Path, site: str, opcua_port: int, more: str = "", insecure: bool = True
) -> AsyncIterator[Node]:
    """A node on a site; `more` is added to node.yaml."""
    write_files(folder, site, opcua_port, more, insecure)
    process = Spawned("hotpair", hotpair("run", "node.yaml"), folder)
    control = Control(folder / "data")
    try:
        await process.start()
        await process.hear("text", 30, "is Main")
        yield Node(folder, f"opc.tcp://127.0.0.1:{opcua_port}", process, control)
        assert process.running, "the node ended by itself"
    except BaseException as error:  # a time-out of pytest, too: whatever it was, the node saw it
        error.add_note(f"The node's last words:\n{process.last_words()}")
        raise
    finally:
        await control.close()
        status = await process.stop()
    assert status == 0, process.last_words()


def pki(tmp_path: Path) -> Path:
    """Where node-opcua keeps its keys: one folder for a whole run, as making them takes seconds."""
    folder = tmp_path.parent / "third-party-pki"
    folder.mkdir(exist_ok=True)
    return folder


async def opcua_tasks(
    tmp_path: Path,
    tasks: Sequence[dict[str, Any]],
    meanwhile: Callable[[], Awaitable[object]] | None = None,
) -> list[dict[str, Any]]:
    """What a node-opcua client finds, in a session for each task.

    `meanwhile` is done once it watches events.
    """
    need_npm("node-opcua")
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(tasks))
    command = script("opcua_client.js", file, pki(tmp_path))
    async with Spawned("client", command, tmp_path) as client:
        if meanwhile is not None:
            await client.hear("watches")
            await meanwhile()
        said = await client.hear("found")
    found: list[dict[str, Any]] = said["found"]
    return found
