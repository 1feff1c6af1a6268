"""One read of a device's log while it is under way: pages into the journal, and how far it came.

While a page is committed the next one is read, so that a line doesn't wait for a disk: one page at
most is under way. A log that changes by reading is read only as far as it is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.clock import Clock
from gateway.driver import DeviceSpec, LogPage, LogSpec, LogWanted
from gateway.errors import LogUnavailable
from gateway.journal.records import Body, Fill, Record
from gateway.model import NS_PER_S, Gap, Position, format_time
from gateway.windback.filling import Target, fill
from gateway.windback.planner import Ask, LogMemory, Stretch, estimate_ms

RESUMES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Ports:
    """What the runner needs of the house.

    `answers(device)`: it is polled, and answers. `refused()` says why no log may be read that
    changes by reading. `append` puts a record into the journal's queue; what it gives ends with
    the commit. `gaps` and `fills` ask the journal for a device and a stretch.
    """

    clock: Clock
    devices: Callable[[], Mapping[str, DeviceSpec]]
    revision: Callable[[], int]
    answers: Callable[[str], bool]
    logs: Callable[[str], Sequence[LogSpec]]
    read_log: Callable[[str, LogWanted, float], AsyncGenerator[LogPage, None]]
    gaps: Callable[[str, int, int], Awaitable[list[Gap]]]
    fills: Callable[[str, int, int], Awaitable[Sequence[Fill]]]
    floor_ns: Callable[[], int]
    append: Callable[[Body], Awaitable[Record]]
    room: Callable[[], Awaitable[None]]
    alarm: Callable[[str, int, str], None]
    refused: Callable[[], str | None]


class Progress(NamedTuple):
    """What is read now: of which log, for which stretch, and how far it came."""

    device: str
    log: str
    from_ns: int
    to_ns: int
    through_ns: int
    records: int
    samples: int
    left_ms: float | None


@dataclass(slots=True)
class DeviceState:
    """What is known of one device during a reign."""

    name: str
    since_ns: int
    dirty: bool = True
    gaps: list[Gap] = field(default_factory=list)
    memory: dict[str, LogMemory] = field(default_factory=dict)
    forced: list[Stretch] = field(default_factory=list)
    resume: dict[tuple[str, int], int] = field(default_factory=dict)
    progress: Progress | None = None
    samples: int = 0
    records: int = 0


class _Appended(NamedTuple):
    """A page in the journal's queue; `commits` ends with what came of each of its records."""

    page: LogPage
    samples: int
    commits: Awaitable[list[Record | BaseException]]


class Reading:
    """One read of a log: what it brought, and where it is.

    `stored` gets each page that is committed, with the position of its last record.
    """

    def __init__(
        self,
        ports: Ports,
        device: DeviceState,
        ask: Ask,
        stored: Callable[[LogPage, Position], None],
    ) -> None:
        self._ports = ports
        self._device = device
        self._ask = ask
        self._stored = stored
        self._appended: _Appended | None = None
        self._began_ns = ports.clock.monotonic_ns()
        self.through_ns = ask.wanted.from_ns
        self.resolution_ns: int | None = None
        self._records = self._samples = 0
        self._lost: dict[str, int] = {}
        self._show()

    async def take_all(
        self, pages: AsyncGenerator[LogPage, None], target: Callable[[], Target]
    ) -> None:
        """Journal all pages, each for the target of its moment. Raises DeviceError, JournalError.

        Whatever ends the read but a cancellation: what came before is committed on return, so that
        nobody takes it for a gap still.
        """
        try:
            async with aclosing(pages):
                async for page in pages:
                    await self._settle()
                    self._append(target(), page)
                    if self._ask.log.stateful or page.acknowledge is not None:
                        await self._settle()
                    await self._ports.room()
        except Exception:  # a driver may fail in any way: what it gave before is kept
            await self._settle()
            raise
        await self._settle()

    async def take(self, target: Target, page: LogPage) -> None:
        """Journal one page. Raises JournalError."""
        self._append(target, page)
        await self._settle()

    def _append(self, target: Target, page: LogPage) -> None:
        filled = fill(target, page, self._ports.clock.utc_ns())
        # In one turn of the loop, so that all of it is of one term.
        commits: list[Awaitable[Record]] = []
        for body in filled.bodies:
            commits.append(commit := self._ports.append(body))
            if isinstance(commit, asyncio.Future) and commit.done() and commit.exception():
                break  # refused at once: nothing is filled without its samples
        results = asyncio.gather(*commits, return_exceptions=True)
        self._appended = _Appended(page, filled.samples, results)

    async def _settle(self) -> None:
        """Wait until what was appended last is committed, and count it. Raises JournalError."""
        appended, self._appended = self._appended, None
        if appended is None:
            return
        records: list[Record] = []
        for result in await appended.commits:
            if isinstance(result, BaseException):
                raise result
            records.append(result)
        self._count(appended)
        if records:
            self._stored(appended.page, records[-1].position)

    def _count(self, appended: _Appended) -> None:
        page, device = appended.page, self._device
        self.resolution_ns = page.resolution_ns or self.resolution_ns
        self.through_ns = max(self.through_ns, page.through_ns)
        self._records += page.records
        self._samples += appended.samples
        device.records += page.records
        device.samples += appended.samples
        if page.next_record is not None:
            if len(device.resume) >= RESUMES_MAX:
                device.resume.clear()
            device.resume[self._ask.log.name, page.through_ns] = page.next_record
        for part in page.lacking:
            self._lost[part.why] = self._lost.get(part.why, 0) + part.to_ns - part.from_ns
        self._show()

    def _show(self) -> None:
        wanted = self._ask.wanted
        done_ns = self.through_ns - wanted.from_ns
        took_ns = self._ports.clock.monotonic_ns() - self._began_ns
        left_ms = estimate_ms(wanted.to_ns - self.through_ns, done_ns, took_ns)
        self._device.progress = Progress(
            self._ask.device,
            self._ask.log.name,
            wanted.from_ns,
            wanted.to_ns,
            self.through_ns,
            self._records,
            self._samples,
            left_ms,
        )

    def tell(self) -> None:
        """One event a read: which stretch was filled, and what is lost."""
        wanted = self._ask.wanted
        if self.through_ns <= wanted.from_ns and not self._lost:
            return
        text = (
            f"windback: {format_time(wanted.from_ns)} to {format_time(self.through_ns)}: "
            f"{self._records} records, {self._samples} samples"
        )
        for why, lost_ns in self._lost.items():
            text += f"; lost {lost_ns / NS_PER_S:.1f} s: {why}"
        self._ports.alarm(self._ask.device, 400 if self._lost else 200, text)


async def read_aside(
    ports: Ports, device: str, wanted: LogWanted, share: float
) -> AsyncGenerator[LogPage, None]:
    """The pages of a log, for somebody else. Raises DeviceError."""
    given = again = False
    while True:  # bounded: at most twice
        try:
            async with aclosing(ports.read_log(device, wanted, share)) as pages:
                async for page in pages:
                    given = True
                    yield page
            return
        except LogUnavailable as error:
            # A log that has only told what it records is read at once.
            if error.retry_after_ns != 0 or given or again:
                raise
            again = True
