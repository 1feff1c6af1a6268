"""The line before the journal: bodies taken back, and events while the store fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import StoreFull
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Event, Fact
from gateway.journal.waiting import WaitingLine


def event(number: int = 0) -> Event:
    return Event("a", 100, f"event {number}", number)


async def test_a_waiting_body_can_be_taken_back_and_one_under_way_cannot() -> None:
    line = WaitingLine(10)
    first, second = line.join(event(1)), line.join(event(2))
    assert line.withdraw(second)
    assert isinstance(second.exception(), StoreFull)
    assert len(line) == 1
    group = line.take(1)
    assert not line.withdraw(first)
    line.put_back(group)
    assert line.withdraw(first)
    assert line.joined == line.left == 2


async def test_few_events_wait_for_a_failing_store_so_that_others_find_room() -> None:
    line = WaitingLine(20_000)
    for number in range(1_000):
        line.join(event(number), failing=True)
    with pytest.raises(StoreFull):
        line.join(event(), failing=True)
    line.join(Fact("a", "key", 1, 0), failing=True)
    line.join(event())


async def test_commit_waits_for_the_disk(tmp_path: Path) -> None:
    journal = await Journal.open(
        tmp_path, "a", SystemClock(), HistorySettings(), lambda *_: None, random.Random(1)
    )
    try:
        record = await journal.commit(Fact("a", "key", 1, 0), 5.0)
        assert (record.position.seq, journal.facts) == (1, {("a", "key"): 1})
        assert not journal.task.done()
    finally:
        await journal.close()
