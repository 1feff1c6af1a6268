"""A node that can't start says so in one line; one whose disk is full goes on and can be told."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client

from gateway.model import Cause
from hil.gateway import Control, Program

from .plant import small_plant

SITE = """\
site: alone
devices:
  plc1:
    driver: modbus
    line: {tcp: {host: 127.0.0.1, port: 9}}
    windback: {method: ring, address: 1000, columns: [level]}
    points:
      level: {register: holding, address: 0, type: uint16, access: rw}
"""
DISK = "size=20m"


def lay_out(folder: Path, port: int, data_dir: str = "data") -> Path:
    (folder / "site.yaml").write_text(SITE)
    node = folder / "node.yaml"
    node.write_text(
        f"node: a\ndata_dir: {data_dir}\n"
        f"opcua: {{listen: 127.0.0.1:{port}, advertise: [127.0.0.1], insecure: true}}\n"
    )
    return node


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def hotpair(*arguments: str) -> tuple[int, list[str]]:
    """Run a command: its status, and what of stderr is no log line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [line for line in err.decode().splitlines() if not line.startswith("20")]
    return process.returncode or 0, lines


async def test_a_taken_port_an_unusable_folder_and_a_long_path_are_one_line_each(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("port", "file", "long")]
    for folder in folders:
        folder.mkdir()
    with socket.socket() as taken, socket.socket() as device:
        for listening in (taken, device):
            listening.bind(("127.0.0.1", 0))
            listening.listen()
        port = lay_out(folders[0], taken.getsockname()[1])
        (folders[1] / "data").write_text("a file where a folder should be")
        file = lay_out(folders[1], free_port())
        long = lay_out(folders[2], free_port(), "d" * 120)
        for folder in folders:
            polled = SITE.replace("port: 9}", f"port: {device.getsockname()[1]}}}")
            (folder / "site.yaml").write_text(polled)
        found = [await hotpair("run", str(node)) for node in (port, file, long)]
        device.setblocking(False)
        with pytest.raises(BlockingIOError):  # a node that can't serve never spoke to the field
            device.accept()
    assert [status for status, _ in found] == [1, 1, 1]
    assert all(len(lines) == 1 and lines[0].startswith("hotpair: ") for _, lines in found), found
    assert "Address already in use" in found[0][1][0]
    assert "can't be written" in found[1][1][0]
    assert "Choose a shorter data_dir" in found[2][1][0]


async def test_a_node_told_to_stop_while_it_starts_stops(tmp_path: Path) -> None:
    for attempt in range(5):  # a busy machine may see the file late
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if await told_as_it_starts(folder) == b"":
            return
    raise AssertionError("it was Main each time before it was told to stop")


async def told_as_it_starts(folder: Path) -> bytes:
    """Stop a node as soon as it has a store; what it said until then."""
    node = lay_out(folder, free_port())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "run", str(node)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(20):
        while not (folder / "data" / "state.sqlite").exists():
            await asyncio.sleep(0.01)  # paces: a file appears
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 5) == 0
    assert process.stdout is not None
    return await process.stdout.read()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder on a disk of its own; skipped where mounting is not permitted."""
    data = tmp_path / "data"
    data.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(data)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield data
    subprocess.run(["umount", "-l", str(data)], check=True)


def fill(file: Path) -> None:
    """Write until the disk is full."""
    try:
        with file.open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                continue
    except OSError:
        return


async def storing(control: Control, wanted: bool) -> None:
    async with asyncio.timeout(15):
        while (await control.get("/status"))["storing"] is not wanted:
            await asyncio.sleep(0.1)  # paces: the socket has no event for this


class Heard:
    """Counts what a subscription brings."""

    def __init__(self) -> None:
        self.values = 0
        self.bad = 0

    def datachange_notification(self, _: Any, value: Any, data: Any) -> None:
        self.values += 1
        self.bad += not data.monitored_item.Value.StatusCode.is_good()

    async def more(self, count: int) -> None:
        """Wait until so many more values came."""
        wanted = self.values + count
        async with asyncio.timeout(20):
            while self.values < wanted:
                await asyncio.sleep(0.05)  # paces: a callback of the client counts


async def test_a_full_disk_is_loud_refuses_commands_in_time_and_ends_by_itself(
    tmp_path: Path, small_disk: Path
) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        from_ns = time.time_ns()
        heard = Heard()
        async with Client(plant.endpoint, timeout=10) as client:
            subscription = await client.create_subscription(100, heard)
            ids = [point["point"] for point in await plant.control.get("/points")]
            await subscription.subscribe_data_change([client.get_node(f"ns=2;s={i}") for i in ids])
            await heard.more(100)
            fill(small_disk / "filler")
            await storing(plant.control, False)
            fill(small_disk / "more")  # the room that the ballast gave
            await heard.more(50)  # live values go on
            status, _, err = await plant.hotpair("disable", "plc1/level", "--why", "test")
            assert status == 1
            assert err == "hotpair: the store takes no records. Make room on the disk, try again\n"
            for name in ("filler", "more"):
                (small_disk / name).unlink()
            await storing(plant.control, True)
            assert heard.bad == 0
        await plant.all_good()
        to_ns = time.time_ns()
        causes = {gap.cause for gap in await plant.gaps(from_ns, to_ns)}
        assert Cause.STORE in causes
        assert causes <= {Cause.STORE, Cause.OVERRUN}, "a busy machine scans late, no more"
        found = await plant.verdict(from_ns, to_ns)
        assert found.passed, "\n".join(
            [f"{found.missing} of {found.expected} are missing", *map(str, found.evidence[:10])]
            + [str(gap) for gap in await plant.gaps(from_ns, to_ns)]
            + [plant.node.last_words()]
        )
        seen = await plant.control.get("/status")
        assert seen["disabled"] == [], "what was refused does not come into force later"
        events = await plant.control.get("/events", **{"from": 0, "to": 2**62})
        assert "the disk is full" in json.dumps(events)


async def test_a_stop_cuts_a_hanging_write_and_says_so_to_whoever_waits(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        await plant.rig(fault="silence", device="plc1")
        writing = asyncio.create_task(plant.control.write("plc1/setpoint", 2.0))
        await asyncio.wait({writing}, timeout=0.2)  # it hangs: the outstation is silent
        began = time.monotonic()
        assert await plant.node.stop() == 0
        assert time.monotonic() - began < 2.0
        answer = await writing
        assert answer["status"] in ("BadShutdown", "BadNoCommunication")
        assert "may have executed" in answer["detail"]


async def test_the_diagnostics_that_opc_ua_clients_read_are_what_the_node_counts(
    tmp_path: Path,
) -> None:
    port = free_port()
    node = lay_out(tmp_path, port)
    program = Program("node", ["run", str(node)], tmp_path / "node.log", "is Main")
    control = Control(tmp_path / "data")
    try:
        await program.start()
        async with asyncio.timeout(10):
            while (await control.get("/status"))["devices"]["plc1"]["state"] != "down":
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
        async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=10) as client:

            async def read(name: str) -> Any:
                return await client.get_node(f"ns=2;s={name}").read_value()

            assert await read("plc1#Diagnostics.Connected") is False
            assert await read("plc1#Diagnostics.Enabled") is True
            assert await read("plc1#Diagnostics.CoverageOk") is False
            assert await read("plc1#Diagnostics.LinkFailures") >= 1
            assert "127.0.0.1:9" in await read("plc1#Diagnostics.LastError")
            assert await read("#Node.Role") == "main"
            async with asyncio.timeout(10):
                while await read("#Node.OpenGaps") < 1:
                    await asyncio.sleep(0.2)  # paces: gaps are counted every few seconds
            assert await read("#Node.JournalOk") is True
    finally:
        await control.close()
        await program.stop()
