"""A node's disk made slow and its clock set, without the program knowing: a library before its own.

`tamper.c` is compiled by the machine's C compiler and put before the node by LD_PRELOAD; a mapped
file holds the orders. It works where a program asks the C library for the time and for its disk
(Linux, any Python that is linked dynamically) and needs no rights; `hindrance` says where not.
"""

from __future__ import annotations

import asyncio
import mmap
import shutil
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S
from hil.gateway import ProgramError

SOURCE: Final = Path(__file__).with_name("tamper.c")
LIBRARY: Final = "tamper.so"
COMPILE_S: Final = 60.0
_ORDERS: Final = struct.Struct("@3q")
_CLOCK_AT: Final = 0
_DISK: Final = struct.Struct("@2q")
_DISK_AT: Final = 24
_COUNTERS: Final = struct.Struct("@3q")
_COUNTERS_AT: Final = 40
_SIZE: Final = 64


class Felt(NamedTuple):
    """What a node's disk did since it was made slow or the counters were read."""

    syncs: int
    longest_sync_ms: float
    slow_writes: int


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


def hindrance() -> str:
    """Why this machine can't do it; empty where it can."""
    if sys.platform != "linux":
        return f"LD_PRELOAD is Linux's, this is {sys.platform}"
    if compiler() is None:
        return "there is no C compiler: install gcc"
    return ""


async def build(folder: Path) -> Path:
    """Compile the library into a folder, unless it is there. Raises ProgramError."""
    library = folder / LIBRARY
    if library.exists():
        return library
    if why := hindrance():
        raise ProgramError(f"a clock or a slow disk can't be forged here: {why}")
    made = await asyncio.create_subprocess_exec(
        *(str(compiler()), "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(SOURCE)),
        *("-ldl",),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMPILE_S):
        _, said = await made.communicate()
    if made.returncode != 0:
        raise ProgramError(f"{SOURCE} does not compile: {said.decode(errors='replace')}")
    return library


class Tamper:
    """The orders for one program, from before it starts; they outlive it."""

    def __init__(self, library: Path, orders: Path) -> None:
        self._library, self._file = library, orders
        orders.write_bytes(bytes(_SIZE))
        with orders.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    @property
    def before(self) -> Sequence[str]:
        """What to put before the command of the program."""
        return ("env", f"LD_PRELOAD={self._library}", f"HIL_TAMPER={self._file}")

    def clock(self, ahead_s: float, drift_ppm: float = 0.0) -> None:
        """Let the wall clock be ahead by so much, and run faster from now on."""
        ahead_ns, drift_ppb = round(ahead_s * NS_PER_S), round(drift_ppm * 1000)
        _ORDERS.pack_into(self._map, _CLOCK_AT, ahead_ns, drift_ppb, time.monotonic_ns())

    def ahead_s(self) -> float:
        """How far the wall clock is ahead now."""
        ahead_ns, drift_ppb, since_ns = _ORDERS.unpack_from(self._map, _CLOCK_AT)
        drifted_ns = (time.monotonic_ns() - since_ns) * drift_ppb / 1e9
        return float(ahead_ns + drifted_ns) / NS_PER_S

    def slow(self, sync_ms: float, write_ms: float = 0.0) -> None:
        """Let each fsync, and each write to a file, take so much longer; the counters begin anew.

        The longest one is counted by itself, a slow machine's too.
        """
        _COUNTERS.pack_into(self._map, _COUNTERS_AT, 0, 0, 0)
        sync_ns, write_ns = round(sync_ms * NS_PER_MS), round(write_ms * NS_PER_MS)
        _DISK.pack_into(self._map, _DISK_AT, sync_ns, write_ns)

    def felt(self) -> Felt:
        """What the disk did since `slow`."""
        syncs, longest_ns, writes = _COUNTERS.unpack_from(self._map, _COUNTERS_AT)
        return Felt(syncs, longest_ns / NS_PER_MS, writes)
