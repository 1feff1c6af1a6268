"""What a node tells its machine: the supervisor, commands at a change of the role, its clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.cli.logs import JsonLines, Lines, Prioritised, is_journald
from gateway.clock import SystemClock
from gateway.config.node import NodeFile, RoleCommand, node_config
from gateway.model import NS_PER_S
from gateway.notify import STATUS_MAX, Notifier
from gateway.pair.words import Role
from gateway.role_commands import RoleCommands, word_of
from gateway.timekeeping import (
    GRACE_S,
    SYNCHRONISED,
    UNSYNCHRONISED,
    KernelClock,
    Timekeeper,
    kernel_clock,
)

# ------------------------------------------------------------------------------- the supervisor


@pytest.mark.parametrize("abstract", [False, True])
async def test_a_supervisor_hears_all_of_it(tmp_path: Path, abstract: bool) -> None:
    where = f"@hotpair-{os.getpid()}" if abstract else str(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": where, "WATCHDOG_USEC": "200000", "HOME": "/"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(where.replace("@", "\0"))
        supervisor.setblocking(False)
        notifier = Notifier.from_environment(environment)
        assert environment == {"HOME": "/"}, "no child may speak for the node"
        notifier.status("main:\nb is  dead" + "x" * STATUS_MAX)
        notifier.ready()
        notifier.stopping()
        heard = [supervisor.recv(1000).decode() for _ in range(3)]
        assert heard[0].startswith("STATUS=main: b is dead") and len(heard[0]) == 7 + STATUS_MAX
        assert heard[1:] == ["READY=1", "STOPPING=1"]
        living = asyncio.create_task(notifier.keep_alive())
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(3):
            assert await loop.sock_recv(supervisor, 1000) == b"WATCHDOG=1"
        assert 0.19 < loop.time() - began_s < 2
        living.cancel()
        notifier.close()
        notifier.ready()


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}]
)
async def test_without_a_watchdog_nothing_is_told(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environment)
    notifier.ready()
    assert notifier.watchdog_s == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await notifier.keep_alive()


def test_a_supervisor_that_is_gone_is_no_fault_of_the_node(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.ready()
    notifier.close()


# ------------------------------------------------------------------------ on_role_change


class Commands:
    """Role commands, what they wrote, and what was told of them."""

    def __init__(self, folder: Path, *texts: str, timeout_ns: int = 10 * NS_PER_S) -> None:
        self.out = folder / "out"
        self.told: list[str] = []
        self.news = asyncio.Event()
        commands = [
            RoleCommand.model_validate(
                {"run": ["/bin/sh", "-c", text, "sh"], "timeout": f"{timeout_ns // 10**6}ms"}
            )
            for text in texts
        ]
        names = {"OUT": str(self.out), "HOTPAIR_NODE": "a"}
        self.commands = RoleCommands(commands, names, self._alarm)
        self.task = asyncio.create_task(self.commands.run())

    def _alarm(self, severity: int, text: str) -> None:
        assert severity == 600
        self.told.append(text)
        self.news.set()

    async def written(self, lines: int) -> list[str]:
        async with asyncio.timeout(10):
            while not self.out.exists() or self.out.read_text().count("\n") < lines:
                await asyncio.sleep(0.01)  # paces: the file is written by another program
        return self.out.read_text().splitlines()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_commands_run_in_their_order_with_role_and_reason(tmp_path: Path) -> None:
    says = 'echo "$1|$2|$HOTPAIR_ROLE|$HOTPAIR_WHY|$HOTPAIR_NODE" >> $OUT'
    world = Commands(tmp_path, f"sleep 0.1; {says}", 'echo "second $1" >> $OUT')
    world.commands.tell("main", "b is dead")
    assert await world.written(2) == ["main|b is dead|main|b is dead|a", "second main"]
    world.commands.tell("main", "a new term is no new role")
    world.commands.tell("standby", "handed over")
    assert (await world.written(4))[2:] == [
        "standby|handed over|standby|handed over|a",
        "second standby",
    ]
    await world.end()
    await world.commands.stop()
    assert (await world.written(6))[4].startswith("stopped|the node stops|")
    assert not world.told


async def test_the_last_role_counts_and_what_ran_for_another_is_ended(tmp_path: Path) -> None:
    hangs = 'echo "$1" >> $OUT; [ "$1" = main ] || sleep 60 & wait'
    world = Commands(tmp_path, hangs, 'echo "after $1" >> $OUT')
    world.commands.tell("standby", "")
    await world.written(1)
    for word in ("starting", "standby", "main"):
        world.commands.tell(word, "")
    assert await world.written(3) == ["standby", "main", "after main"]
    await world.end()
    assert not world.told


async def test_a_command_that_fails_hangs_or_is_missing_is_told(tmp_path: Path) -> None:
    world = Commands(tmp_path, "echo no such; echo device; exit 3")
    world.commands.tell("main", "")
    async with asyncio.timeout(10):
        await world.news.wait()
    failed = "on_role_change: /bin/sh main: ended with status 3: no such | device"
    assert world.told == [failed]
    await world.end()
    world = Commands(tmp_path, "trap '' TERM; sleep 60", timeout_ns=50_000_000)
    world.commands.tell("main", "")
    async with asyncio.timeout(10):
        await world.news.wait()
    assert world.told == ["on_role_change: /bin/sh main: ended after 0.05 s, its time-out"]
    await world.end()
    told: list[str] = []
    missing = RoleCommand.model_validate("/nowhere/vip eth0")
    commands = RoleCommands([missing], {}, lambda severity, text: told.append(text))
    commands.tell("main", "")
    await commands.stop()
    assert told == ["on_role_change: /nowhere/vip stopped can't be run: No such file or directory"]


async def test_what_can_not_be_begun_is_told(tmp_path: Path) -> None:
    world = Commands(tmp_path, 'echo "$1" >> $OUT')
    world.commands.tell("standby", "by \0")
    async with asyncio.timeout(10):
        await world.news.wait()
    assert "can't be run: embedded null byte" in world.told[0]
    world.news.clear()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        world.commands.tell("main", "")
        async with asyncio.timeout(10):
            await world.news.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)
    assert "can't be run: Too many open files" in world.told[1]
    await world.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user and back")
async def test_a_command_that_became_another_user_is_left_behind() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, sleep = Path(name), f"{name}/sleep"
        shutil.copy(shutil.which("sleep") or "", sleep)
        os.chmod(name, 0o755)  # noqa: PTH101
        os.chmod(sleep, 0o4755)  # noqa: PTH101
        os.setresuid(65534, 65534, 0)
        try:
            world = Commands(folder, f"exec {sleep} 1", timeout_ns=50_000_000)
            world.commands.tell("main", "")
            async with asyncio.timeout(10):
                await world.news.wait()
            assert "ended after 0.05 s, its time-out" in world.told[0]
            assert not world.task.done()
            await world.end()
        finally:
            os.setresuid(0, 0, 0)


async def test_a_command_that_leaves_something_running_does_not_hold_the_next(
    tmp_path: Path,
) -> None:
    world = Commands(tmp_path, "sleep 5 & echo begun", 'echo "$1" >> $OUT')
    world.commands.tell("main", "")
    assert await world.written(1) == ["main"]
    await world.end()


def test_a_command_is_a_line_a_list_or_has_a_time_out(tmp_path: Path) -> None:
    said = ["vip eth0", ["./vip", "a b"], {"run": ["/bin/vip"], "timeout": "2s"}]
    model = NodeFile.model_validate({"node": "a", "data_dir": "d", "on_role_change": said})
    commands = node_config(tmp_path / "node.yaml", model).on_role_change
    assert [command.run for command in commands] == [
        ("vip", "eth0"),
        (f"{tmp_path}/./vip", "a b"),
        ("/bin/vip",),
    ]
    assert [command.timeout_ns // NS_PER_S for command in commands] == [10, 10, 2]
    assert {word_of(role) for role in Role} == {"starting", "standby", "main"}


# ---------------------------------------------------------------------------------- the clock


def test_a_clock_that_nobody_sets_is_told_after_a_while_and_when_it_is_set_again() -> None:
    told: list[str] = []
    states = [False, False, False, None, True, True, False]
    kernel = iter([KernelClock(state, 5) for state in states])
    clock = SystemClock()
    keeper = Timekeeper(
        clock, lambda _: None, lambda _, text: told.append(text), lambda: next(kernel)
    )
    began_ns = clock.monotonic_ns()
    keeper.look(began_ns)
    assert not told and keeper.known.synchronised is False, "it may still be set by its server"
    late_ns = began_ns + (GRACE_S + 1) * NS_PER_S
    for _ in range(5):
        keeper.look(late_ns)
    assert told == [UNSYNCHRONISED, SYNCHRONISED, UNSYNCHRONISED]


def test_the_kernel_says_how_it_stands() -> None:
    found = kernel_clock()
    assert found.synchronised in (True, False, None)
    assert found.error_max_us >= 0


# ------------------------------------------------------------------------------------- the log


def record(level: int, text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("hotpair", level, "f.py", 1, text, arguments, None)


def test_a_line_for_journald_has_a_priority_and_no_time() -> None:
    form = Prioritised(Lines(True))
    assert form.format(record(logging.ERROR, "a %s\nb", 1)) == "<3>hotpair: a 1\n<3>b"
    assert form.format(record(logging.INFO, "x")) == "<6>hotpair: x"
    assert " WARNING hotpair: x" in Lines(False).format(record(logging.WARNING, "x"))


def test_json_is_one_document_a_record() -> None:
    told = record(logging.WARNING, "%s is „out“", "plc1")
    try:
        raise ValueError("no\nvalue")
    except ValueError:
        told.exc_info = sys.exc_info()
    line = JsonLines().format(told)
    assert "\n" not in line
    found = json.loads(line)
    assert found["message"] == "plc1 is „out“"
    assert (found["level"], found["logger"]) == ("warning", "hotpair")
    assert found["time"].endswith("+00:00") and "ValueError: no\nvalue" in found["exception"]


def test_journald_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        there = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_journald(stream, there)
        assert not is_journald(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journald(stream, {})
    assert not is_journald(stream, there), "closed"
