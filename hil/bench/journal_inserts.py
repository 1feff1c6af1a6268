"""How fast the journal takes batches, and the history that `hil.bench.history` then reads.

It is run as a program of its own: the only one of the rig that imports a part of the gateway, for
there is no other door through which batches come in faster than devices give them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import EMPTY_DIGEST, Batch, Coverage, Revision
from gateway.model import NS_PER_S, Origin, Status

PERIOD_NS: Final = NS_PER_S
HISTORY: Final = HistorySettings(retention_ns=30 * 86_400 * NS_PER_S, max_size_bytes=10**10)


def batch(scan: int, points: int, at_ns: int) -> Batch:
    """One poll in which every point of the device changed."""
    samples = tuple(
        (number, at_ns, 100.0 * math.sin(scan / 50 + number), Status.GOOD)
        for number in range(points)
    )
    return Batch("d0", "normal", 1, Origin.POLL, at_ns, at_ns, samples, complete=scan == 0)


def tell(severity: int, text: str) -> None:
    """What the journal has to say."""
    print(f"{severity}: {text}", file=sys.stderr)


async def insert(
    data_dir: Path, node: str, points: int, scans: int, site: Sequence[Path]
) -> dict[str, float]:
    """Append, wait for the last commit, close; what all that took, less making the batches."""
    clock = SystemClock()
    journal = await Journal.open(data_dir, node, clock, HISTORY, tell, random.Random(1))
    await journal.begin_term()
    names = tuple((f"d0/r{number}", "float64") for number in range(points))
    now_ns = clock.utc_ns()
    files = {path.name: path.read_text(encoding="utf-8") for path in site}
    await journal.append(Revision(1, EMPTY_DIGEST, now_ns, "bench", files, names))
    first_ns = now_ns - scans * PERIOD_NS
    making_s = making_cpu_s = 0.0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for scan in range(scans):
        moment_s, moment_cpu_s = time.perf_counter(), time.process_time()
        at_ns = first_ns + scan * PERIOD_NS
        made = batch(scan, points, at_ns)
        making_s += time.perf_counter() - moment_s
        making_cpu_s += time.process_time() - moment_cpu_s
        journal.append(made)
        last = journal.append(Coverage(1, at_ns, at_ns + PERIOD_NS))
        await journal.room()
    await last
    await journal.close()
    ended_s, ended_cpu_s = time.perf_counter(), time.process_time()
    return {
        "inserts": points * scans,
        "seconds": ended_s - began_s - making_s,
        "cpu_s": ended_cpu_s - began_cpu_s - making_cpu_s,
        "first_ns": first_ns,
        "last_ns": first_ns + scans * PERIOD_NS,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--node", default="a")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--scans", type=int, default=10_000)
    parser.add_argument("site", type=Path, nargs="+", help="site.yaml and the files it names")
    given = parser.parse_args()
    given.data_dir.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(insert(given.data_dir, given.node, given.points, given.scans, given.site))
    found["bytes"] = sum(path.stat().st_size for path in given.data_dir.rglob("*.sqlite*"))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
