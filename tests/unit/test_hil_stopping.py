"""Signals while something is played: the first ends it in order, no other changes anything."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from hil.stopping import Stopping, to_its_end


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
    assert [text.partition(":")[0] for text in said] == [number.name] * 2
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
