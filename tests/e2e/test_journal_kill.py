"""Kill -9 at random instants: all that was acknowledged is there, and the chains verify."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.model import HistoryRow, Origin, Term

ROUNDS = 10
SEED = 20_261_122
CHILD = Path(__file__).with_name("journal_child.py")
ROOT = Path(__file__).parents[2]


async def run_and_kill(folder: Path, first: int, after_s: float) -> tuple[Term, int, int]:
    """Let a child append, kill it, and return its term, last acknowledged seq and counter."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILD),
        str(folder),
        str(first),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    _, number, node, nonce = (await child.stdout.readline()).split()
    await child.stdout.readuntil(b"ack")
    await asyncio.sleep(after_s)  # paces: the random instant of the kill
    child.kill()
    lines = (b"ack" + await child.stdout.read()).split(b"\n")
    await child.wait()
    whole = [line.split() for line in lines[:-1] if line.startswith(b"ack")]
    _, seq, counter = whole[-1]
    return Term(int(number), node.decode(), int(nonce)), int(seq), int(counter)


async def read_all(journal: Journal, point: str) -> list[HistoryRow]:
    rows: list[HistoryRow] = []
    cursor = None
    while True:
        page = await journal.read(point, 0, 2**62, 500, cursor)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            return rows


async def test_whatever_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    events: list[tuple[int, str]] = []
    acknowledged: dict[Term, tuple[int, int, int]] = {}
    first = 0
    for _ in range(ROUNDS):
        term, seq, counter = await run_and_kill(tmp_path, first, rng.uniform(0.0, 0.6))
        assert term not in acknowledged
        acknowledged[term] = (first, seq, counter)
        first = counter + 1_000
        journal = await Journal.open(
            tmp_path,
            "a",
            SystemClock(),
            HistorySettings(ballast_bytes=65_536),
            lambda severity, text: events.append((severity, text)),
            rng,
        )
        try:
            for known, (_, last_seq, _) in acknowledged.items():
                holding = journal.holdings.of(known)
                assert holding is not None
                assert len(holding.stretches) == 1
                assert holding.stretches[0][0] == 1
                assert holding.last >= last_seq
            assert await journal.verify() == []
            assert journal.facts["plc1", "counter"] >= counter // 10 * 10
            for point in ("plc1/p0", "plc1/p19"):
                rows = await read_all(journal, point)
                values = [row.value for row in rows if row.origin is not Origin.GAP]
                assert values == sorted(set(values)), "each sample once, in order"
                held = set(values)
                for start, _, end in acknowledged.values():
                    assert held >= set(range(start, end + 1))
        finally:
            await journal.close()
    assert [text for severity, text in events if severity >= 500] == []
