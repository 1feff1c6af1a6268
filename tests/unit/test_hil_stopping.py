"""Signals while something is played: the first ends it in order, no other changes anything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from hil.stopping import SIGNALS, Stopping, side_by_side, to_its_end


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """As a shell starts a program in front: in the background some signals are ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_cancels_what_is_played_and_is_the_exit_status(
    number: signal.Signals,
) -> None:
    said: list[str] = []
    ended = []

    async def played() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # who is impatient interrupts nothing
            await asyncio.sleep(0)
            ended.append(True)

    before = signal.getsignal(number)
    with Stopping(said.append) as stopping:
        assert (stopping.name, stopping.status) == ("", 0)
        with pytest.raises(asyncio.CancelledError):
            stopping.run(played())
        assert ended == [True]
        assert (stopping.name, stopping.status) == (number.name, 128 + number)
        with pytest.raises(asyncio.CancelledError):
            stopping.run(played())
        assert ended == [True], "nothing more is begun"
    assert [text.partition(":")[0] for text in said] == [number.name]
    assert signal.getsignal(number) is before


def test_what_ends_all_the_same_has_its_result() -> None:
    async def played() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 7

    with Stopping(lambda _: None) as stopping:
        assert stopping.run(played()) == 7
        assert stopping.name == "SIGTERM"


def test_a_signal_that_is_to_be_ignored_is() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopping(lambda _: None) as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping.name
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_what_must_not_be_left_half_done_is_done() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), []

    async def ends() -> str:
        begun.set()
        await go_on.wait()
        done.append(True)
        return "ended"

    task = asyncio.ensure_future(to_its_end(ends()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]
    assert await to_its_end(ends()) == "ended"


class Works:
    """One waits and takes its time to undo what it did, another ends when it is let."""

    def __init__(self) -> None:
        self.begun, self.let = asyncio.Event(), asyncio.Event()
        self.undone = False

    async def lasts(self) -> None:
        try:
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.undone = True

    async def fails(self) -> None:
        await self.let.wait()
        raise OSError("it failed")


async def test_of_works_side_by_side_all_are_undone_before_who_waits_goes_on() -> None:
    works = Works()
    task = asyncio.ensure_future(side_by_side([works.lasts(), works.let.wait()]))
    await works.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert works.undone


async def test_the_first_failure_is_raised_when_the_others_are_undone() -> None:
    works = Works()
    task = asyncio.ensure_future(side_by_side([works.lasts(), works.fails()]))
    await works.begun.wait()
    works.let.set()
    with pytest.raises(OSError, match="it failed"):
        await task
    assert works.undone
