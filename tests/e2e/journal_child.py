"""A process that appends to a journal as fast as it can and says what was acknowledged.

Usage: journal_child.py FOLDER FIRST. Prints `term NUMBER NODE NONCE`, then `ack SEQ N` a commit,
where N is the last counter value in it. It is killed by whoever started it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Batch, Coverage, Fact, Record, Revision

POINTS = tuple((f"plc1/p{i}", "int64") for i in range(20))
BASE_NS = 1_800_000_000_000_000_000


async def main(folder: Path, first: int) -> None:
    settings = HistorySettings(tail_samples_max=2_000, ballast_bytes=65_536, commit_interval_ms=5)
    journal = await Journal.open(
        folder, "a", SystemClock(), settings, lambda *_: None, random.Random()
    )
    term = await journal.begin_term()
    print("term", term.number, term.node, term.nonce, flush=True)

    def acknowledge(records: Sequence[Record], stored: bool) -> None:
        batches = [record for record in records if isinstance(record.body, Batch)]
        if batches:
            last = batches[-1]
            assert isinstance(last.body, Batch)
            print("ack", last.position.seq, last.body.samples[0][2], flush=True)

    journal.on_commit(acknowledge)
    journal.append(Revision(1, b"", 0, "test", {}, POINTS))
    counter = first
    while True:
        time_ns = BASE_NS + counter
        samples = tuple((i, time_ns, counter, 0) for i in range(len(POINTS)))
        journal.append(Batch("plc1", "normal", 1, 0, time_ns, time_ns, samples))
        if counter % 10 == 0:
            journal.append(Coverage(1, time_ns - 10, time_ns))
            journal.append(Fact("plc1", "counter", counter, time_ns))
        counter += 1
        await journal.room()
        await asyncio.sleep(0.0005)  # paces: an endless producer


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
