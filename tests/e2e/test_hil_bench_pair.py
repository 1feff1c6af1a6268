"""The pair's benches run, small and short: what they print is whole. Nothing here is timed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.bench.process import Spawned, python

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]


async def tables(name: str, folder: Path, *options: object) -> list[dict[str, Any]]:
    """The rows of each table that a bench prints, by party."""
    command = python("hil.bench", name, "--json", "--keep", folder / "work", *options)
    async with Spawned(name, command, folder) as bench:
        async with asyncio.timeout(110):
            await bench.ended()
        said = bench.latest
        assert said and "text" not in said, bench.last_words()
    return [table["rows"] for table in said.values()]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets' paths are short enough for the kernel (unix(7): 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


async def test_a_takeover_is_measured_at_a_client_and_judged_by_the_outstations(
    short_path: Path,
) -> None:
    options = ("--loopback", "--runs", 1, "--naive-runs", 0, "--kinds", "changeover", "kill")
    taken, steps = await tables("failover", short_path, *options)
    assert list(taken) == ["changeover, hotpair", "kill, hotpair"]
    assert all(row["median ms"] > 0 and row["wrong values"] == 0 for row in taken.values())
    handed = taken["changeover, hotpair"]
    assert (handed["scans lost"], handed["doubled"]) == (0, 0)
    assert steps["changeover"]["gone"] is None
    assert steps["kill"]["gone"] > 0
    for row in steps.values():
        assert 0 < row["is Main"] <= row["first poll"] <= row["fresh value"]


async def test_replication_is_measured_from_commit_to_commit_beside_a_plain_copy(
    short_path: Path,
) -> None:
    options = ("--seconds", 1, "--warmup", 0.5, "--minutes", 0.05)
    paced, caught = await tables("replication", short_path, *options)
    assert list(paced) == ["async", "sync", "two whole nodes, told", "plain TLS copy"]
    assert all(paced[party]["lags"] == 100 for party in ("async", "sync", "plain TLS copy"))
    assert all(row["lag p99 ms"] > 0 for row in paced.values())
    assert list(caught) == ["hotpair", "plain TLS copy"]
    assert all(row["samples / s"] > 0 for row in caught.values())


async def test_winding_back_is_measured_beside_bare_loops_that_read_the_same(
    short_path: Path,
) -> None:
    options = ("--seconds", 30, "--warmup", 0.5, "--runs", 1, "--cases", "ring", "opcua")
    ring, beside, opcua, _ = await tables("windback", short_path, *options)
    assert list(ring) == ["hotpair", "socket", "pymodbus"]
    assert list(opcua) == ["hotpair", "asyncua"]
    assert ring["hotpair"]["values"] >= 20 * 29
    assert all(read["hotpair"]["requests"] > 0 for read in (ring, opcua))
    assert ring["socket"]["seconds"] > 0
    assert beside["the same device"]["missed"] <= beside["the same device"]["scans due"]
