"""Ends what a run started, should whoever started it be gone without having done so.

    python -m hil.warden FOLDER

waits for the end of its standard input. After a line `done` it does nothing; without one, because
the other end died, it kills every process that names a file of the folder in its command line: all
programs of a run do, also those that were started again. Linux, and the standard library alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

DONE = b"done"


def of(folder: str) -> list[int]:
    """The processes that name a file of a folder in their command line; this one not."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            with suppress(OSError):
                words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if any(word.startswith(f"{folder}/") for word in words):
                    found.append(int(place.name))
    return found


def end(folder: str) -> list[int]:
    """Kill them; who they were."""
    found = of(folder)
    for pid in found:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return found


class Warden:
    """The same as a process beside the one that runs a pair."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        # A session of its own: Ctrl-C in the terminal must not end it before the others.
        self._process = subprocess.Popen(
            (sys.executable, "-m", "hil.warden", self._folder),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def release(self) -> list[int]:
        """It is not needed any more; what still ran is killed, and returned."""
        left = end(self._folder)
        self._process.communicate(DONE, timeout=10)
        return left


def main(arguments: list[str]) -> int:
    """The program; its exit status."""
    if len(arguments) != 1:
        print("python -m hil.warden FOLDER", file=sys.stderr)
        return 2
    if sys.stdin.buffer.read().strip() != DONE:
        end(arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
