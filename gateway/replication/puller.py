"""Pulls what the peer has, again and again over whatever path stands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.errors import PeerError, ReplicaError, StoreFull
from gateway.model import NS_PER_MS
from gateway.replication.effects import (
    Adopt,
    Alarm,
    CaughtUp,
    Forgo,
    Keep,
    Proven,
    PullStatus,
    ReceiverEffect,
    Send,
    Summarise,
)
from gateway.replication.frames import Ack, Assembler, Frame, encode
from gateway.replication.receiver import Receiver
from gateway.replication.replica import Channel, Replica

TICK_S: Final = 0.1
RETRY_S: Final = 0.2
"""After a channel that ended, or when no link stands."""
WRONG_S: Final = 5.0
"""After something that trying again at once would not mend."""
KIND: Final = "pull"


class Puller:
    """The dialling side of this node, from `start` to `stop`.

    `dial` gives a channel of a kind, or raises LinkDown. `on_caught` is told when this node has
    all that the peer has, and when no longer, while a channel stands. `durable` says whether the
    journal commits FULL.
    """

    def __init__(
        self,
        dial: Callable[[str], Awaitable[Channel]],
        journal: Replica,
        clock: Clock,
        on_caught: Callable[[bool], None],
        alarm: Callable[[int, str], None],
        durable: Callable[[], bool] = lambda: False,
    ) -> None:
        self._dial = dial
        self._journal = journal
        self._clock = clock
        self._on_caught = on_caught
        self._alarm = alarm
        self._durable = durable
        self._task: asyncio.Task[None] | None = None
        self._session: _Session | None = None
        self._connected = False
        self._equal_at_ns = 0
        self._differences: tuple[str, ...] = ()
        self._told: str = ""

    def start(self) -> None:
        """Begin to pull."""
        self._task = asyncio.create_task(self._run(), name="puller")

    async def stop(self) -> None:
        """End it; what was given to the journal is committed all the same."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def caught(self) -> bool | None:
        """What the channel that stands has judged; None before that, and without a channel."""
        return self._session.receiver.caught if self._session and self._connected else None

    def status(self) -> PullStatus:
        """How far this node is, by what it last heard."""
        if self._session is None:
            return PullStatus()
        receiver = self._session.receiver
        return PullStatus(
            self._connected,
            self._session.channel.path if self._connected else "",
            receiver.records_behind,
            receiver.samples_behind,
            receiver.lag_ns(self._clock.monotonic_ns()) / NS_PER_MS,
            receiver.percent,
            receiver.equal,
            self._equal_at_ns,
            self._differences,
        )

    async def _run(self) -> None:
        while True:
            wait_s = RETRY_S
            try:
                await self._pull(await self._dial(KIND))
            except PeerError:
                pass  # the links say why
            except Exception as error:  # whatever it is, the node pulls for as long as it lives
                self._complain(f"the pull from the peer was ended: {error!s}")
                wait_s = WRONG_S
            await asyncio.sleep(wait_s)

    async def _pull(self, channel: Channel) -> None:
        """Pull until the channel ends, which is always by an error."""
        receiver = Receiver(self._journal, self._durable())
        self._session = _Session(receiver, channel, self._journal, self._clock, self._judged)
        self._connected = True
        try:
            await self._session.run(self._durable)
        finally:
            self._connected = False
            channel.close()

    def _judged(self, effect: CaughtUp | Proven | Alarm) -> None:
        match effect:
            case CaughtUp(caught):
                self._on_caught(caught)
            case Proven(differences):
                self._differences = differences
                if not differences:
                    self._equal_at_ns = self._clock.utc_ns()
                    self._told = ""
            case Alarm(severity, text):
                self._alarm(severity, text)

    def _complain(self, text: str) -> None:
        if text != self._told:  # once, however often it is tried again
            self._told = text
            self._alarm(700, text)


class _Session:
    """One channel: a task listens, `run` speaks and keeps time."""

    def __init__(
        self,
        receiver: Receiver,
        channel: Channel,
        journal: Replica,
        clock: Clock,
        judged: Callable[[CaughtUp | Proven | Alarm], None],
    ) -> None:
        self.receiver = receiver
        self.channel = channel
        self._journal = journal
        self._clock = clock
        self._judged = judged
        self._outbox: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ended = False

    async def run(self, durable: Callable[[], bool]) -> None:
        """Until the channel ends, or the store or the peer fails: raises what it was."""
        listening = asyncio.create_task(self._listen(), name="replication")
        listening.add_done_callback(lambda _: self._wake.set())
        try:
            await self._ask()
            while not listening.done() and self._failure is None:
                self._wake.clear()
                self.receiver.durable = durable()
                self._now(self.receiver.tick(self._clock.monotonic_ns()))
                while self._outbox:
                    for piece in encode(self._outbox.popleft()):
                        await self.channel.send(piece)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._wake.wait()
            self._raise(listening)
        except PeerError:
            self._raise(listening)
            raise
        finally:
            self._ended = True
            tasks = [task for task in (listening, self._asking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _raise(self, listening: asyncio.Task[None]) -> None:
        """Why it ended: what went wrong here comes before the link's own end."""
        if self._failure is not None:
            raise self._failure
        if listening.done():
            listening.result()

    async def _listen(self) -> None:
        assembler = Assembler()
        while True:
            frame = assembler.take(await self.channel.receive())
            if frame is None:
                continue
            for effect in self.receiver.heard(frame, self._clock.monotonic_ns()):
                match effect:
                    case Adopt(ticket, records):
                        await self._give(ticket, partial(self._journal.adopt, records))
                        await asyncio.sleep(0)  # frames that wait are not decoded all in one turn
                    case Keep(ticket, records):
                        await self._give(ticket, partial(self._journal.keep, records))
                    case Forgo(term, through_seq, before_ns):
                        await self._journal.forgo(term, through_seq, before_ns)
                    case _:
                        self._now([effect])

    async def _give(self, ticket: int, take: Callable[[], asyncio.Future[int]]) -> None:
        """Hand records to the journal; while it is full nothing more is read from the peer."""
        while True:
            try:
                take().add_done_callback(partial(self._settled, ticket))
                return
            except StoreFull:
                await self._journal.adopt_room()

    def _settled(self, ticket: int, future: asyncio.Future[int]) -> None:
        error = None if future.cancelled() else future.exception()
        if self._ended:
            return
        now_ns = self._clock.monotonic_ns()
        if isinstance(error, ReplicaError):
            self._now(self.receiver.failed(ticket, str(error), now_ns))
        elif error is not None or future.cancelled():
            self._failure = error or ReplicaError("the journal took back what it was given")
            self._wake.set()
        else:
            self._now(self.receiver.done(ticket, now_ns))

    def _now(self, effects: Sequence[ReceiverEffect]) -> None:
        for effect in effects:
            match effect:
                case Send(frame):
                    if (
                        isinstance(frame, Ack)
                        and self._outbox
                        and isinstance(self._outbox[-1], Ack)
                    ):
                        self._outbox.pop()  # the newer one says it too
                    self._outbox.append(frame)
                    self._wake.set()
                case Summarise():
                    self._asking = asyncio.create_task(self._ask(), name="replication")
                    self._asking.add_done_callback(self._asked)
                case CaughtUp() | Proven() | Alarm():
                    self._judged(effect)

    async def _ask(self) -> None:
        """Ask for what is missing here."""
        kept = await self._journal.kept_summary()
        self._now(self.receiver.begin(kept, self._clock.monotonic_ns()))

    def _asked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._wake.set()
