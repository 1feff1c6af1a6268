"""Small parts of a node: work in order, and the doors to the journal."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from fastapi import FastAPI

from gateway.clock import SystemClock
from gateway.doors import Doors
from gateway.errors import JournalError
from gateway.journal.journal import HistorySettings, Journal
from gateway.lane import WORK_MAX, Lane
from gateway.model import Origin
from gateway.web.listener import UnixListener


async def test_a_lane_does_one_piece_after_the_other_and_is_idle_when_all_is_done() -> None:
    lane, done = Lane("field"), []
    go = asyncio.Event()

    async def slow() -> None:
        await go.wait()
        done.append("slow")

    async def quick() -> None:
        done.append("quick")

    assert not lane.busy
    await lane.idle()
    lane.put(slow)
    lane.put(quick)
    assert lane.busy
    go.set()
    await lane.idle()
    assert done == ["slow", "quick"] and not lane.busy
    lane.put(quick)
    await lane.idle()
    assert done[-1] == "quick"


async def test_a_lane_that_hangs_takes_no_endless_work() -> None:
    lane, go = Lane("field"), asyncio.Event()

    async def hangs() -> None:
        await go.wait()

    with pytest.raises(RuntimeError, match="wait"):
        for _ in range(WORK_MAX + 2):
            lane.put(hangs)
    go.set()
    await lane.idle()


async def test_what_a_piece_raises_shows_in_the_lane_s_task() -> None:
    lane = Lane("field")

    async def breaks() -> None:
        raise OSError("broken")

    lane.put(breaks)
    await lane.idle()
    assert lane.task is not None and isinstance(lane.task.exception(), OSError)


async def test_alarms_before_the_journal_is_open_are_journalled_when_it_is(tmp_path: Path) -> None:
    clock = SystemClock()
    doors = Doors("a", clock)
    for _ in range(3):
        doors.journal_event(500, "the same")
    doors.journal_event(300, "only for the log")
    doors.alarm("", 700, "early")
    journal = await Journal.open(
        tmp_path, "a", clock, HistorySettings(), doors.journal_event, random.Random(1)
    )
    try:
        doors.open(journal)
        await doors.append(_an_event())
        found = await journal.events(0, clock.utc_ns() + 1)
        assert [(e.source, e.text) for e in found][:2] == [("journal", "the same"), ("a", "early")]
    finally:
        await journal.close()


async def test_a_batch_that_finds_no_place_is_declared_as_lost(tmp_path: Path) -> None:
    from gateway.journal.records import Batch

    clock = SystemClock()
    doors, lost = Doors("a", clock), []
    journal = await Journal.open(
        tmp_path, "a", clock, HistorySettings(), doors.journal_event, random.Random(1)
    )
    doors.open(journal)
    doors.on_lost(lost.append)
    await journal.close()
    refused = doors.append(Batch("plc1", "fast", 1, 0, 77, 88, ()))
    assert lost == [77]
    doors.append(Batch("plc1", "", 1, Origin.WINDBACK, 99, 99, ()))
    assert lost == [77], "it is in the log still"
    with pytest.raises(Exception, match="closed"):
        await refused


async def test_what_has_no_wire_ends_nobody_and_a_device_s_own_words_are_kept(
    tmp_path: Path,
) -> None:
    from gateway.journal.records import Audit, Batch

    clock = SystemClock()
    doors, lost = Doors("a", clock), []
    journal = await Journal.open(
        tmp_path, "a", clock, HistorySettings(), doors.journal_event, random.Random(1)
    )
    try:
        doors.open(journal)
        doors.on_lost(lost.append)
        await journal.begin_term(1)
        for value in ("21,5 \udcb0C", 2**64):
            refused = doors.append(Batch("plc1", "fast", 1, 0, 77, 88, ((0, 77, value, 0),)))
            with pytest.raises(JournalError, match="no wire"):
                await refused
        assert lost == [77, 77]
        with pytest.raises(JournalError, match="no wire"):
            await doors.commit(Audit("write", "plc1/text", 1, "\udcb0", "intent"))
        doors.alarm("plc1", 500, "it says \udcb0C")
        await doors.append(_an_event())
        found = await journal.events(0, clock.utc_ns() + 1)
        assert [e.text for e in found] == ["it says ?C", "last"]
    finally:
        await journal.close()


def _an_event() -> object:
    from gateway.journal.records import Event

    return Event("a", 300, "last", SystemClock().utc_ns())


async def test_a_local_socket_that_can_not_be_removed_does_not_stop_the_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "control.sock"
    listener = UnixListener(FastAPI(), path)
    await listener.start()
    path.unlink()
    path.mkdir()  # an unlink fails, as on a disk that became read-only
    await listener.stop()
    path.rmdir()
