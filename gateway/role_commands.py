"""Commands that people want run when this node's role changes: `on_role_change` in node.yaml.

They move a floating address, switch a lamp, tell a pager. The role never waits for them: it is told
and goes on. They run one after the other, each in a process group of its own and for a bounded
time. When the role changes again meanwhile, what still runs is ended and what waits is left out,
as Patroni does it: the last role counts, and its commands run last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.config.node import RoleCommand
from gateway.model import NS_PER_S
from gateway.pair.words import Role

log = logging.getLogger("hotpair")

SEVERITY: Final = 600
KILL_AFTER_S: Final = 1.0
"""How long a command that is told to end has for it."""
OUTPUT_MAX: Final = 4_096
"""Bytes of a command's output that are logged; the rest is read and dropped."""
READ_MAX: Final = 65_536
STOPPED: Final = "stopped"
STOP_S: Final = 5.0
"""The commands of a node that ends have this long altogether."""


def word_of(role: Role) -> str:
    """The role as commands hear it: a Standby is one, in step or not."""
    return "standby" if role in (Role.SYNCING, Role.SYNCED) else role.name.lower()


class Told(NamedTuple):
    """A role, and why it was taken."""

    word: str
    why: str


class RoleCommands:
    """Runs the commands of one node; `alarm(severity, text)` tells what went wrong."""

    def __init__(
        self,
        commands: Sequence[RoleCommand],
        names: Mapping[str, str],
        alarm: Callable[[int, str], None],
    ) -> None:
        self._commands = commands
        self._names = names
        self._alarm = alarm
        self._told = Told("", "")
        self._news = asyncio.Event()

    def tell(self, word: str, why: str) -> None:
        """The node has this role now. Returns at once."""
        if word == self._told.word or not self._commands:
            return
        self._told = Told(word, why)
        self._news.set()

    async def run(self) -> None:
        """Run what each change of the role calls for."""
        while True:
            await self._news.wait()
            self._news.clear()
            told = self._told
            for command in self._commands:
                if self._news.is_set():
                    break  # what waits is left out
                await self._one(command, told)

    async def stop(self) -> None:
        """The node ends and `run` has ended: the commands hear of it, within STOP_S altogether."""
        if not self._told.word:
            return  # they never heard of a role
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                for command in self._commands:
                    await self._one(command, Told(STOPPED, "the node stops"))

    async def _one(self, command: RoleCommand, told: Told) -> None:
        name = f"on_role_change: {command.run[0]} {told.word}"
        # Where the gateway's own Python finds its libraries is no matter of a command.
        given = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
        environment = {
            **given,
            **self._names,
            "HOTPAIR_ROLE": told.word,
            "HOTPAIR_WHY": told.why,
        }
        output: _Output | None = None
        try:
            output = _Output()
            process = await asyncio.create_subprocess_exec(
                *(*command.run, told.word, told.why),
                stdin=DEVNULL,
                stdout=output.end,
                stderr=STDOUT,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in what somebody gave as `why`
            if output is not None:
                output.close()
            self._alarm(SEVERITY, f"{name} can't be run: {getattr(error, 'strerror', error)}")
            return
        try:
            ended = await self._until_it_ends(process, command.timeout_ns / NS_PER_S)
        finally:
            await _end(process)
            output.close()
        text = f"{name}: {ended}{': ' if output.text else ''}{output.text}"
        if ended in ("done", "ended, since the role changed again"):
            log.info(text)
        else:
            self._alarm(SEVERITY, text)

    async def _until_it_ends(self, process: Process, timeout_s: float) -> str:
        """What became of a command: done, or why not."""
        exiting = asyncio.create_task(process.wait(), name="command")
        news = asyncio.create_task(self._news.wait(), name="next role")
        try:
            await asyncio.wait(
                {exiting, news}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if exiting.done():
                return f"ended with status {process.returncode}" if process.returncode else "done"
            if news.done():
                return "ended, since the role changed again"
            return f"ended after {timeout_s:g} s, its time-out"
        finally:
            for task in (exiting, news):
                task.cancel()
            await asyncio.gather(exiting, news, return_exceptions=True)


class _Output:
    """The first of what a command prints. What it leaves running may hold `end` open for ever."""

    def __init__(self) -> None:
        self._from, self.end = os.pipe()
        os.set_blocking(self._from, False)
        self._kept = b""
        asyncio.get_running_loop().add_reader(self._from, self._read)

    @property
    def text(self) -> str:
        """On one line."""
        return " | ".join(self._kept.decode(errors="replace").split("\n")).strip(" |")

    def _read(self) -> None:
        try:
            part = os.read(self._from, READ_MAX)
        except BlockingIOError:
            return
        self._kept += part[: OUTPUT_MAX - len(self._kept)]
        if not part:
            asyncio.get_running_loop().remove_reader(self._from)

    def close(self) -> None:
        """Take what is there, and no more."""
        os.close(self.end)
        self._read()
        asyncio.get_running_loop().remove_reader(self._from)
        os.close(self._from)


async def _end(process: Process) -> None:
    """End a command that still runs, with what it has begun."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # or it became another user
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_AFTER_S):
                await process.wait()
