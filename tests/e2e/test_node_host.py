"""A node under a supervisor: what systemd hears of it, what is run when its role changes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .plant import free_offset

WATCHDOG_S = 0.5
SITE = """\
site: lone
devices:
  plc1:
    driver: modbus
    line: {tcp: {host: 127.0.0.1, port: 1}}
    points: {level: {register: holding, address: 0, type: uint16}}
"""
NODE = """\
node: a
data_dir: data
opcua: {{listen: "127.0.0.1:{port}", insecure: true}}
on_role_change:
  - ["./role.sh", "eth0"]
"""
SCRIPT = """\
#!/bin/sh
echo "$1 $2 $HOTPAIR_NODE ${NOTIFY_SOCKET:-unheard}$PYTHONFAULTHANDLER: $3" >> roles.txt
"""


class Supervised:
    """A node with a supervisor's socket at its ear."""

    def __init__(self, folder: Path, ear: socket.socket, process: asyncio.subprocess.Process):
        self.folder = folder
        self.process = process
        self._ear = ear

    async def hears(self, begins: str, within_s: float = 20) -> str:
        """The next message that begins so; others are passed over."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s):
            while True:
                message = (await loop.sock_recv(self._ear, 1000)).decode()
                if message.startswith(begins):
                    return message

    def forget(self) -> None:
        """Pass over what was told until now."""
        while True:
            try:
                self._ear.recv(1000)
            except BlockingIOError:
                return

    def roles(self) -> list[str]:
        found = self.folder / "roles.txt"
        return found.read_text().splitlines() if found.exists() else []


@asynccontextmanager
async def supervised(folder: Path, *options: str) -> AsyncIterator[Supervised]:
    (folder / "site.yaml").write_text(SITE)
    (folder / "node.yaml").write_text(NODE.format(port=4840 + free_offset()))
    (folder / "role.sh").write_text(SCRIPT)
    (folder / "role.sh").chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(folder / "notify"))
        ear.setblocking(False)
        watchdog = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", "run", "node.yaml", *options),
            cwd=folder,
            env={
                **os.environ,
                **watchdog,
                "NOTIFY_SOCKET": str(folder / "notify"),
                "PYTHONFAULTHANDLER": "1",  # as the unit sets it; a command is not to hear of it
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield Supervised(folder, ear, process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_a_supervisor_hears_when_the_node_runs_lives_hangs_and_stops(tmp_path: Path) -> None:
    async with supervised(tmp_path, "--log-format", "json") as node:
        await node.hears("READY=1")
        assert "main: " in await node.hears("STATUS=main")
        await node.hears("WATCHDOG=1")
        node.process.send_signal(signal.SIGSTOP)
        node.forget()
        try:
            message = await node.hears("WATCHDOG=1", 2 * WATCHDOG_S)
        except TimeoutError:
            message = ""
        assert not message, "a node that hangs says that it lives"
        node.process.send_signal(signal.SIGCONT)
        await node.hears("WATCHDOG=1")
        node.process.terminate()
        await node.hears("STOPPING=1")
        out, err = await node.process.communicate()
        assert node.process.returncode == 0
        roles = node.roles()
        assert roles[-1] == "eth0 stopped a unheard: the node stops"
        assert "eth0 main a unheard: no link is configured" in roles
    told = [json.loads(line) for line in err.decode().splitlines()]
    assert not out, "in JSON all that a node says is its log"
    assert any("is Main" in line["message"] for line in told)
