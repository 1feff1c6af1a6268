"""Runs what stands in `console` blocks of a document, as who reads it would, and compares.

A block is commands after `$ ` with what they print; `...` stands for anything in a line, a line of
it for any lines. A document is one session of one shell in an empty folder, with a loopback of its
own, so that its ports are free. A comment before a block says how it differs:

    <!-- slow: why -->       it is run by `make campaign` only
    <!-- not run: why -->    it needs what a test has not
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

APART: Final = ("unshare", "--map-root-user", "--net")
MARK: Final = "-- the command has ended: "
ENDED: Final = re.compile(r"bash: line \d+: +\d+ (?:Killed|Terminated) ")
"""How the shell tells of a job that was ended; it comes when it comes."""
PATIENCE_S: Final = 40.0
AGAIN_S: Final = 0.3
LOOKING: Final = (
    "probe",
    "status",
    "points",
    "read",
    "gaps",
    "events",
    "roles",
    "history",
    "windback",
)
"""Commands that are given again until they say what is expected: a reader waits, too."""
_BLOCK: Final = re.compile(r"(?:<!-- (?P<how>[^>]*) -->\n)?```console\n(?P<text>.*?)```", re.DOTALL)


class Step(NamedTuple):
    """A command, where it stands, and what it prints."""

    line: int
    command: str
    prints: str
    how: str

    @property
    def looks(self) -> bool:
        words = self.command.split()
        return words[0] in ("curl", "cat", "tail", "grep") or (
            words[0] == "hotpair" and words[1] in LOOKING and "--from" not in words[:2]
        )


def steps(text: str) -> Iterator[Step]:
    """The commands of a document, in their order."""
    for block in _BLOCK.finditer(text):
        first = text[: block.start("text")].count("\n") + 1
        lines = block["text"].splitlines()
        at = 0
        while at < len(lines):
            assert lines[at].startswith("$ "), f"line {first + at} is no command: {lines[at]}"
            begun, command = at, lines[at][2:]
            at += 1
            if end := re.search(r"<<'(\w+)'", command):
                while not command.endswith(f"\n{end[1]}"):
                    command += f"\n{lines[at]}"
                    at += 1
            while command.endswith("\\"):
                command += f"\n{lines[at]}"
                at += 1
            printed = at
            while at < len(lines) and not lines[at].startswith("$ "):
                at += 1
            yield Step(first + begun, command, "\n".join(lines[printed:at]), block["how"] or "")


def fits(expected: str, printed: str) -> bool:
    """Whether this was printed; blanks at the end of lines don't count."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.rstrip().split("..."))) + r"[ \t]*\n"
    text = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, text) is not None


def can_be_played() -> bool:
    """Whether this machine lets us have a loopback of our own."""
    try:
        return subprocess.run([*APART, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


class Shell:
    """One shell in a folder, with a loopback of its own."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._process = subprocess.Popen(
            [*APART, "bash", "--norc"],
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.run("ip link set lo up")

    def run(self, command: str) -> str:
        """What a command prints."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho '{MARK}'\n")
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line.endswith(f"{MARK}\n"):
                printed.append(line.removesuffix(f"{MARK}\n"))
                return "".join(printed)
            if not ENDED.match(line):
                printed.append(line)
        raise AssertionError(f"the shell ended: {''.join(printed)}")

    def close(self) -> None:
        """End all that was begun in it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def play(document: Path, folder: Path, slow: bool) -> int:
    """Run a document; how many commands were. Raises AssertionError at the first that differs."""
    shell, count = Shell(folder), 0
    try:
        for step in steps(document.read_text()):
            if step.how.startswith("not run: ") or (step.how.startswith("slow: ") and not slow):
                continue
            count += 1
            until_s = time.monotonic() + PATIENCE_S
            while not fits(step.prints, printed := shell.run(step.command)):
                if not step.looks or time.monotonic() > until_s:
                    raise AssertionError(
                        f"{document.name}:{step.line}: $ {step.command}\n"
                        f"--- stands there\n{step.prints}\n--- was printed\n{printed}"
                    )
                time.sleep(AGAIN_S)  # paces: it is looked again
    finally:
        shell.close()
    return count
