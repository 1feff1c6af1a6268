"""Two real journals in folders of their own, joined by channels that a test can cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from gateway.clock import SystemClock
from gateway.errors import LinkClosed, LinkDown
from gateway.journal.holdings import difference
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Batch, Coverage, Event, Fact, Revision
from gateway.replication.effects import Acked
from gateway.replication.puller import Puller
from gateway.replication.server import Server

POINTS = tuple((f"plc1/p{number}", "float64") for number in range(100))
QUEUE_MAX = 64
T = TypeVar("T")


class ShiftedClock(SystemClock):
    """A clock of which days can pass."""

    shift_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.shift_ns


class LocalChannel:
    """One end of a channel inside this process; messages arrive `delay_s` late."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.path = "local"
        self.other: LocalChannel
        self.delay_s = 0.0
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_MAX)
        self._closed = asyncio.Event()

    async def send(self, frame: bytes) -> None:
        self._must_be_open()
        due_s = asyncio.get_running_loop().time() + self.delay_s
        await self._unless_closed(self.other._queue.put((due_s, frame)))

    async def receive(self) -> bytes:
        self._must_be_open()
        due_s, frame = await self._unless_closed(self._queue.get())
        late_s = due_s - asyncio.get_running_loop().time()
        if late_s > 0:
            await asyncio.sleep(late_s)  # paces: the way takes this long
        self._must_be_open()
        return frame

    def close(self) -> None:
        for end in (self, self.other):
            end._closed.set()

    def _must_be_open(self) -> None:
        if self._closed.is_set():
            raise LinkClosed("cut")

    async def _unless_closed(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
            self._must_be_open()
            return task.result()
        finally:
            task.cancel()
            closed.cancel()


class Side:
    """One node's journal, its server and its puller."""

    def __init__(self, pair: Pair, name: str, folder: Path) -> None:
        self.pair, self.name, self.folder = pair, name, folder
        self.events: list[str] = []
        self.caught: list[bool] = []
        self.acked: list[Acked] = []
        self.up = False
        self.journal: Journal
        self.server: Server
        self.puller: Puller

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.journal = await Journal.open(
            self.folder,
            self.name,
            self.pair.clock,
            self.pair.history,
            self._alarm,
            random.Random(self.pair.random.getrandbits(32)),
        )
        clock = self.pair.clock
        self.caught.clear()
        self.server = Server(self.journal, clock, self._alarm, self.acked.append)
        self.puller = Puller(
            self._dial, self.journal, clock, self.caught.append, self._alarm, lambda: True
        )
        self.puller.start()
        self.up = True

    async def stop(self) -> None:
        self.up = False
        await self.puller.stop()
        self.pair.cut()
        await self.journal.close()

    def _alarm(self, severity: int, text: str) -> None:
        self.events.append(text)

    async def _dial(self, kind: str) -> LocalChannel:
        assert kind == "pull"
        return self.pair.dial(self)

    def revise(self) -> None:
        files = {"site.yaml": "site: x"}
        self.journal.append(Revision(1, b"", self.pair.clock.utc_ns(), "test", files, POINTS))

    def poll(self, number: int, points: int = 100) -> None:
        now_ns = self.pair.clock.utc_ns()
        rows = tuple((point, now_ns, float(number), 0) for point in range(points))
        self.journal.append(Batch("plc1", "normal", 1, 0, now_ns, now_ns, rows))

    def learn(self, number: int) -> None:
        fact = Fact("plc1", f"key{number}", number, self.pair.clock.utc_ns())
        self.journal.append(fact)

    def cover(self, since_ns: int) -> None:
        self.journal.append(Coverage(1, since_ns, self.pair.clock.utc_ns()))


class Pair:
    """Both sides; `cut` and `heal` are the cable."""

    def __init__(self, folder: Path, **history: Any) -> None:
        self.clock = ShiftedClock()
        self.history = HistorySettings(ballast_bytes=65_536, **history)
        self.random = random.Random(5)
        self.whole = True
        self.channels: list[tuple[LocalChannel, LocalChannel]] = []
        self.serving: set[asyncio.Task[None]] = set()
        self.a, self.b = Side(self, "a", folder / "a"), Side(self, "b", folder / "b")

    async def __aenter__(self) -> Pair:
        await asyncio.gather(self.a.start(), self.b.start())
        return self

    async def __aexit__(self, *_: object) -> None:
        for side in (self.a, self.b):
            await side.stop()
        await asyncio.gather(*self.serving)

    def dial(self, side: Side) -> LocalChannel:
        peer = self.b if side is self.a else self.a
        if not self.whole or not peer.up:
            raise LinkDown("the cable is cut, or nobody is there")
        ends = LocalChannel(peer.name), LocalChannel(side.name)
        ends[0].other, ends[1].other = ends[1], ends[0]
        self.channels.append(ends)
        task = asyncio.create_task(peer.server.serve(ends[1]))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        return ends[0]

    def pull_of(self, side: Side) -> tuple[LocalChannel, LocalChannel]:
        """Both ends of the pull that a side dialled last."""
        return next(ends for ends in reversed(self.channels) if ends[1].peer == side.name)

    def cut(self) -> None:
        for ends in self.channels:
            ends[0].close()
        self.channels.clear()

    def unplug(self) -> None:
        self.whole = False
        self.cut()

    def plug(self) -> None:
        self.whole = True

    def differences(self) -> list[str]:
        return difference(self.a.journal.holdings.terms, self.b.journal.holdings.terms)

    async def quiet(self, patience_s: float = 30.0) -> None:
        """Until both directions have everything that was appended, and prove it."""
        sides = (self.a, self.b)
        mark = [side.journal.append(Event(side.name, 1, "mark", 1)) for side in sides]
        await asyncio.gather(*mark)

        def settled() -> bool:
            return (
                not self.differences()
                and all(side.caught[-1:] == [True] for side in sides)
                and all(side.puller.status().equal for side in sides)
                and all(side.server.status().equal for side in sides)
                and all(side.server.status().records_behind == 0 for side in sides)
            )

        await until(settled, patience_s)


async def until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait for something that tasks do by themselves."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.005)  # paces: the poll of a condition
