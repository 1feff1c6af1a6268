"""The programs of a bench: started, heard through JSON lines on standard output, and ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from hil.child import Child

T = TypeVar("T")

HERE: Final = Path(__file__).resolve().parent
NODE_MODULES: Final = Path(
    os.environ.get("HOTPAIR_NODE_MODULES", HERE.parents[1] / ".ci" / "node_modules")
)
"""Where npm put node-opcua; the variable is for a run from an installed wheel."""
READY_S: Final = 60.0


class BenchError(RuntimeError):
    """A party could not take part; the message holds its last words or what to install."""


def python(module: str, *arguments: object) -> list[str]:
    """The command line of one of our modules, in the interpreter that runs the bench."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def hotpair(*arguments: object) -> list[str]:
    """The command line of the gateway as an installed program."""
    return python("gateway.cli", *arguments)


def node_js(script: Path, *arguments: object) -> list[str]:
    """The command line of a script for node. Raises BenchError without node or its packages."""
    program = shutil.which("node")
    if program is None:
        raise BenchError("`node` is not installed: .ci/run installs it")
    if not (NODE_MODULES / "node-opcua").is_dir():
        raise BenchError("node-opcua is not installed: run `npm install --prefix .ci`")
    return [program, str(script), *map(str, arguments)]


def compile_c(source: Path, folder: Path, *flags: str) -> Path:
    """Compile one C file into a folder; the program. Raises BenchError with the reason."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler: install gcc")
    program = folder / source.stem
    command = [compiler, "-O2", "-Wall", "-o", str(program), str(source), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
    return program


async def cleaning_up(work: Awaitable[T]) -> T:
    """Await some work; SIGTERM cancels it, so that it ends what it started before we end."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that were free a moment ago, all different."""
    with ExitStack() as probes:
        found = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(int(probe.getsockname()[1]))
        return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def environment(folder: Path) -> dict[str, str]:
    """Variables of a party: modules are found, and nothing is kept outside the bench's folder."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    mine = {
        "NODE_PATH": str(NODE_MODULES),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }
    return {**os.environ, **mine}


class Spawned(Child):
    """A process whose standard output is JSON lines; other lines are passed over.

    `latest` holds what it printed last under each key. Its standard error goes to a file in the
    folder it is started in, `<name>.log`.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        super().__init__(name, command, folder / f"{name}.log")
        self.latest: dict[str, Any] = {}
        self.folder = folder
        self._heard = asyncio.Condition()
        self._lines = 0

    async def start(self, variables: Mapping[str, str] | None = None) -> None:
        """Start; what it says is awaited by `hear`."""
        variables = {**environment(self.folder), **(variables or {})}
        output = await self._launch(variables, self.folder, asked=True)
        self._pump = asyncio.create_task(self._listen(output))

    async def _listen(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            try:
                said = json.loads(line)
            except ValueError:
                said = {"text": line.decode(errors="replace").strip()}
            async with self._heard:
                self.latest.update(said if isinstance(said, dict) else {"text": str(said)})
                self._lines += 1
                self._heard.notify_all()
        async with self._heard:
            self._heard.notify_all()

    async def hear(self, key: str, within_s: float = READY_S, part: str = "") -> dict[str, Any]:
        """What it said, once a key is in it (a text: that holds `part`). Raises BenchError."""

        def said() -> bool:
            return key in self.latest and part in str(self.latest[key])

        def arrived() -> bool:
            ended = self._pump is None or self._pump.done()
            return said() or ended or not self.running

        try:
            async with asyncio.timeout(within_s), self._heard:
                await self._heard.wait_for(arrived)
        except TimeoutError as error:
            raise BenchError(f"{self.name} said no `{key}`:\n{self.last_words()}") from error
        if not said():
            raise BenchError(f"{self.name} ended:\n{self.last_words()}")
        return self.latest

    async def ask(self, question: str, key: str, within_s: float = READY_S) -> dict[str, Any]:
        """Write a line to its standard input, and hear the answer."""
        assert self._process is not None and self._process.stdin is not None
        self.latest = {}
        self._process.stdin.write(question.encode() + b"\n")
        await self._process.stdin.drain()
        return await self.hear(key, within_s)

    async def ended(self) -> int:
        """Wait until it ends by itself and all it said was heard; the exit status."""
        assert self._process is not None and self._pump is not None
        await asyncio.wait({self._pump})  # whoever gives up waiting must not end it
        return await self._process.wait()

    def last_words(self) -> str:
        """The end of its log, and the last it said."""
        return f"{super().last_words()}\n{json.dumps(self.latest)}"

    async def __aenter__(self) -> Spawned:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
