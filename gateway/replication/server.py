"""Answers the peer's pull over a channel, with what the journal has and is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import HotpairError, PeerError
from gateway.journal.records import Record
from gateway.model import NS_PER_MS
from gateway.replication.effects import (
    Acked,
    Alarm,
    Load,
    LoadKept,
    PullStatus,
    Send,
    SenderEffect,
    Summarise,
)
from gateway.replication.frames import Ack, Assembler, encode
from gateway.replication.replica import Channel, Replica
from gateway.replication.sender import Sender

TICK_S: Final = 0.1
"""How often the Sender is asked when nothing happens; commits wake it at once."""


class Server:
    """The answering side of this node, for all its life; one pull at a time, the newest counts.

    `alarm(severity, text)`. `acked` is told what the peer has committed: the sync gate, a bench.
    """

    def __init__(
        self,
        journal: Replica,
        clock: Clock,
        alarm: Callable[[int, str], None],
        acked: Callable[[Acked], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._alarm = alarm
        self._acked = acked
        self._level_ns = clock.monotonic_ns()
        self._session: _Session | None = None
        self._last = PullStatus()
        journal.on_commit(self._committed)

    async def serve(self, channel: Channel) -> None:
        """Answer until the channel ends; never raises what the peer or the link did wrong."""
        if self._session is not None:
            self._session.channel.close()
        sender = Sender(self._journal, self._level_ns)
        session = _Session(sender, channel, self._journal, self._clock, self._alarm, self._acked)
        self._session = session
        try:
            await session.run()
        except PeerError:
            pass  # the links say why
        except Exception as error:  # whatever it is, the peer asks again
            self._alarm(700, f"the pull of node {channel.peer} was ended: {error!s}")
        finally:
            channel.close()
            self._level_ns = max(self._level_ns, sender.level_ns)
            if self._session is session:
                self._last = self._status_of(session)
                self._session = None

    def follows(self, within_ns: int = 50 * NS_PER_MS) -> bool:
        """Whether the peer commits FULL and has all but the records of the last moment."""
        session = self._session
        if session is None or not session.sender.peer or not session.sender.durable:
            return False
        return session.sender.pending_ns(self._clock.monotonic_ns()) <= within_ns

    def status(self) -> PullStatus:
        """How far the peer is."""
        if self._session is not None:
            return self._status_of(self._session)
        lag_ms = (self._clock.monotonic_ns() - self._level_ns) / NS_PER_MS
        return self._last._replace(connected=False, path="", lag_ms=lag_ms)

    def _status_of(self, session: _Session) -> PullStatus:
        sender = session.sender
        return PullStatus(
            True,
            session.channel.path,
            sender.records_behind,
            sender.samples_behind,
            sender.lag_ns(self._clock.monotonic_ns()) / NS_PER_MS,
            sender.percent,
            sender.equal,
            session.equal_at_ns or self._last.equal_at_ns,
            tuple(f"term {term}: skipped after a fault" for term in sorted(sender.faulted)),
        )

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        if stored and self._session is not None:
            self._session.sender.committed(records, self._clock.monotonic_ns())
            self._session.wake.set()


class _Session:
    """One channel: a task listens, `run` speaks."""

    def __init__(
        self,
        sender: Sender,
        channel: Channel,
        journal: Replica,
        clock: Clock,
        alarm: Callable[[int, str], None],
        acked: Callable[[Acked], None],
    ) -> None:
        self.sender = sender
        self.channel = channel
        self.wake = asyncio.Event()
        self.equal_at_ns = 0
        self._journal = journal
        self._clock = clock
        self._alarm = alarm
        self._acked = acked
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the channel ends: raises LinkClosed, or ReplicaError when the peer talks wrong."""
        listening = self._start(self._listen())
        try:
            while not listening.done():
                self.wake.clear()
                while (effect := self.sender.next(self._clock.monotonic_ns())) is not None:
                    await self._carry_out(effect)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self.wake.wait()
            listening.result()
        except PeerError:
            if listening.done():
                listening.result()  # the peer talked wrong, therefore the channel was closed
            raise
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        assembler = Assembler()
        while True:
            frame = assembler.take(await self.channel.receive())
            if frame is None:
                continue
            self.sender.heard(frame, self._clock.monotonic_ns())
            if isinstance(frame, Ack) and frame.equal:
                self.equal_at_ns = self._clock.utc_ns()
            self.wake.set()

    async def _carry_out(self, effect: SenderEffect) -> None:
        match effect:
            case Send(frame):
                for piece in encode(frame):
                    await self.channel.send(piece)
            case Load():
                self._start(self._load(effect))
            case Summarise():
                self._start(self._summarise())
            case LoadKept():
                self._start(self._load_kept(effect))
            case Acked():
                self._acked(effect)
            case Alarm(severity, text):
                self._alarm(severity, text)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="replication")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, HotpairError):
                self._alarm(700, f"the pull of node {self.channel.peer} fails: {error!s}")
            self.channel.close()

    async def _load(self, load: Load) -> None:
        try:
            rows = await self._journal.records(load.term, load.first, load.limit, load.size_max)
        except Exception as error:  # whatever the store says: both sides hear it, others go on
            self.sender.unreadable(load, str(error) or type(error).__name__)
            return
        self.sender.loaded(load, rows)

    async def _summarise(self) -> None:
        self.sender.summarised(await self._journal.kept_summary())

    async def _load_kept(self, load: LoadKept) -> None:
        self.sender.kept_loaded(load, await self._journal.kept_records(load.terms, load.after))
