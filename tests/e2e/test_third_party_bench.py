"""The benches run, small and short: what they print is whole. Nothing here is timed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.bench.process import Spawned, python

from .third_party.rig import need_libmodbus, need_npm

pytestmark = [pytest.mark.external, pytest.mark.timeout(60), pytest.mark.slow]

SHORT = ("--json", "--seconds", 1, "--warmup", 0.5)


async def rows(name: str, folder: Path, *options: object) -> dict[str, Any]:
    """The rows of the one table of a bench, by party."""
    place = folder / name
    place.mkdir()
    command = python(f"hil.bench.{name}", *SHORT, "--keep", place / "work", *options)
    said: dict[str, Any] = {}
    async with Spawned(name, command, place) as bench:
        async with asyncio.timeout(50):
            await bench.ended()
        said = bench.latest
        assert said, bench.last_words()
    [table] = said.values()
    found: dict[str, Any] = table["rows"]
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets' paths are short enough for the kernel (unix(7): 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


async def test_each_bench_runs_beside_its_parties(short_path: Path) -> None:
    need_libmodbus()
    need_npm("node-opcua")
    acquired, served, history = await asyncio.gather(
        rows("acquire", short_path, "--case", "small"),
        rows("serve", short_path, "--points", 200),
        rows("history", short_path, "--points", 3, "--scans", 150),
    )
    assert list(acquired) == ["hotpair", "pymodbus", "libmodbus"]
    assert all(row["scans done"] > 0 for row in acquired.values())
    assert acquired["hotpair"]["samples kept / s"] > 0
    assert list(served) == ["hotpair", "naive"]
    assert all(row["values / s"] > 0 and row["bad"] == 0 for row in served.values())
    assert all(row["values"] == 450 for row in history.values())
    assert all(row.get("lost", 0) == 0 for row in history.values())
    assert all(row.get("unordered", 0) == 0 for row in history.values())
