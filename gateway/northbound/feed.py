"""One feed: from the journal, by position, to where it is wanted, over and over.

The loop reads a window of records, has the outlet hand it on, and notes it as delivered. It reads
the store and keeps no records, so an outlet that is slow, dead or drops costs nothing but time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.clock import Clock
from gateway.errors import UNDECODABLE, HotpairError
from gateway.journal.holdings import Holding, Holdings
from gateway.journal.records import Event, Record, decode
from gateway.model import NS_PER_S, Position, Term, format_duration, format_time
from gateway.northbound import windows as w
from gateway.northbound.observations import Names, Read, observe, time_of

log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 16 * 1024
"""Some 800 samples: what is encoded in a few ms, since the loop polls devices, too."""
PACE_S: Final = 0.1
"""What comes meanwhile goes together."""
IDLE_S: Final = 1.0
BACKOFF_S: Final = (0.5, 15.0)
PROVEN_S: Final = 30.0
"""A session that lasted so long begins the back-off anew."""
PROBE: Final = 20
"""Records that are read to find one that tells its time."""
UNKNOWN_S: Final = 10.0
"""Batches whose revision isn't there are looked at again after this."""


class SessionEnded(HotpairError):
    """The session has to begin anew, through no fault of the other side; the reason is told."""


@dataclass(frozen=True)
class Ports:
    """What a feed needs of the node.

    `since()` is the newest record that clients may have seen; `limit(term)` the seq up to which a
    term may be shown, None for all of it; `may_send()` is true of a Main whose reign holds.
    """

    clock: Clock
    held: Callable[[], Mapping[Term, Holding]]
    records: Callable[[Term, int, int, int], Awaitable[list[tuple[int, bytes, bytes]]]]
    names: Names
    since: Callable[[], Position]
    limit: Callable[[Term], int | None]
    may_send: Callable[[], bool]
    alarm: Callable[[int, str], None]


class Outlet(Protocol):
    """Where a feed leads."""

    name: str
    where: str
    state: str
    since: Position
    """What is written after this is live."""

    async def open(self) -> Holdings:
        """Connect; what was delivered before, by whichever node. Raises anything."""

    async def hand_on(self, window: w.Window, read: Read, done: Holdings) -> int:
        """Deliver a window, and keep that it was; how many samples went. Raises anything."""

    async def look_after(self, done: Holdings) -> None:
        """What is due beside: called before each round, each second at the latest."""

    async def close(self) -> None:
        """End the session in good order."""

    async def drop(self) -> None:
        """End the session at once; never raises."""


class Feed:
    """Feeds one outlet while this node is Main; `run` until cancelled."""

    def __init__(self, outlet: Outlet, ports: Ports, backlog_ns: int | None) -> None:
        self.outlet = outlet
        self._ports = ports
        self._backlog_ns = backlog_ns
        self._news = asyncio.Event()
        self._done = Holdings()
        self._unknown = Holdings()
        self._unknown_until_ns = 0
        self._backoff_s = BACKOFF_S[0]
        self._failing = False
        self._through_ns = 0
        self._counts = {"samples": 0, "records": 0, "skipped": 0, "sessions": 0, "failures": 0}
        self._last_error = ("", 0)

    def hear(self) -> None:
        """Something was committed."""
        self._news.set()

    async def run(self) -> None:
        """Feed; whatever goes wrong is told, and tried again."""
        while True:
            if not self._ports.may_send():
                self.outlet.state = "standby"
                await asyncio.sleep(PACE_S)
                continue
            began_ns = self._ports.clock.monotonic_ns()
            wait_s = BACKOFF_S[0]
            try:
                await self._session()
                continue
            except SessionEnded as ended:
                log.info("%s: %s", self.outlet.name, ended)
            except Exception as error:  # a feed never harms the node, whatever a library raises
                if not self._ports.may_send():
                    log.info("%s: %r as the reign ended", self.outlet.name, error)
                else:
                    self._failed(error)
                    if self._ports.clock.monotonic_ns() - began_ns > PROVEN_S * NS_PER_S:
                        self._backoff_s = BACKOFF_S[0]
                    wait_s = self._backoff_s
                    self._backoff_s = min(2 * wait_s, BACKOFF_S[1])
            await self.outlet.drop()
            await asyncio.sleep(wait_s)

    async def stop(self) -> None:
        """Say good-bye where that takes no longer than a moment."""
        for act in (self.outlet.close, self.outlet.drop):
            try:
                async with asyncio.timeout(IDLE_S):
                    await act()
            except Exception as error:  # it is over in any case
                log.info("%s: %r", self.outlet.name, error)

    async def _session(self) -> None:
        self.outlet.state = "connecting"
        self._done = await self.outlet.open()
        self._counts["sessions"] += 1
        self.outlet.state = "delivering"
        if self._failing:
            self._failing = False
            self._ports.alarm(300, f"{self.outlet.name}: {self.outlet.where} takes samples again")
        await self._tell_dropped()
        while self._ports.may_send():
            self._news.clear()
            await self.outlet.look_after(self._done)
            if not await self._round():
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._news.wait()
                except TimeoutError:
                    continue
            await asyncio.sleep(PACE_S)
        await self.outlet.close()
        await self.outlet.drop()

    def _failed(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        self.outlet.state = "failing"
        self._counts["failures"] += 1
        self._last_error = (text, self._ports.clock.utc_ns())
        if not self._failing:
            self._failing = True
            self._ports.alarm(
                600,
                f"{self.outlet.name}: {self.outlet.where} takes no samples: {text}. They wait in "
                "the journal",
            )
        expected = isinstance(error, OSError | HotpairError)
        log.info("%s: %s", self.outlet.name, text, exc_info=None if expected else error)

    # ------------------------------------------------------------------------------- a round

    async def _round(self) -> bool:
        """Hand on until nothing is left but what can't be yet; whether anything went."""
        went = False
        clock = self._ports.clock
        while self._ports.may_send():
            now_ns = clock.monotonic_ns()
            if now_ns > self._unknown_until_ns:
                self._unknown = Holdings()
            found = [*self._windows()]
            sent = [await self._window(window) for window in found]
            if not any(sent):
                return went
            went = True
            await self.outlet.look_after(self._done)
            if not any(not window.live for window in found):
                return True
            # Catching up leaves the loop as much time as it takes.
            await asyncio.sleep((clock.monotonic_ns() - now_ns) / NS_PER_S)
        return went

    def _windows(self) -> list[w.Window]:
        held = self._ports.held()
        found = w.windows(held, self._seen(), self.outlet.since, self._ports.limit)
        return [*found]

    def _seen(self) -> Holdings:
        """What was delivered, or can't be understood yet."""
        if not self._unknown.terms:
            return self._done
        both = Holdings()
        for each in (self._done, self._unknown):
            for term, holding in each.terms.items():
                for first, last in holding.stretches:
                    w.deliver(both, term, first, last)
        return both

    async def _window(self, window: w.Window) -> bool:
        records = await self._read(window)
        if not records:
            return False
        if not window.live and await self._skip(window, records):
            return True
        read = observe(records, self._ports.names)
        for seq in read.unknown:
            w.deliver(self._unknown, window.term, seq, seq)
            self._unknown_until_ns = self._ports.clock.monotonic_ns() + int(UNKNOWN_S * NS_PER_S)
        first, bodies = window.first, read.bodies
        for seq in (*read.unknown, read.through + 1):
            if first < seq:
                part = window._replace(first=first, last=seq - 1)
                within = [o for o in read.observations if first <= o.position.seq < seq]
                piece, bodies = Read(within, bodies, seq - 1, []), []
                self._counts["samples"] += await self.outlet.hand_on(part, piece, self._done)
                self._counts["records"] += seq - first
            first = seq + 1
        self._through_ns = next((t for r in reversed(records) if (t := time_of(r.body))), 0)
        return True

    async def _read(self, window: w.Window) -> list[Record]:
        size = window.last - window.first + 1
        rows = await self._ports.records(window.term, window.first, size, WINDOW_BYTES)
        found = []
        for seq, wire, digest in rows:
            if seq > window.last:
                break
            try:
                body = decode(wire)
            except UNDECODABLE as error:
                self._ports.alarm(700, f"{self.outlet.name}: record {seq} is passed over: {error}")
                body = Event("", 1, "", 0)
            found.append(Record(Position(window.term, seq), wire, digest, body))
        return found

    # ------------------------------------------------------------------------------ too old

    async def _skip(self, window: w.Window, records: list[Record]) -> bool:
        """Pass over what is older than the feed's backlog, which is told; whether anything was."""
        if self._backlog_ns is None:
            return False
        cutoff_ns = self._ports.clock.utc_ns() - self._backlog_ns
        oldest_ns = next((t for r in records if (t := time_of(r.body))), cutoff_ns)
        if oldest_ns >= cutoff_ns:
            return False
        held = self._ports.held()[window.term]
        end = next(last for first, last in held.stretches if last >= window.first)
        low, high = window.first + 1, max(window.first + 1, end)
        while low < high:  # the first record that is not too old, or the last one of all
            middle = (low + high) // 2
            if await self._time_at(window.term, middle, cutoff_ns) < cutoff_ns:
                low = middle + 1
            else:
                high = middle
        through = low - 1
        passed = window._replace(last=through)
        await self.outlet.hand_on(passed, Read([], [], through, []), self._done)
        self._counts["skipped"] += through - window.first + 1
        self._ports.alarm(
            600,
            f"{self.outlet.name}: {through - window.first + 1} records from "
            f"{format_time(oldest_ns)} on are skipped: older than its backlog of "
            f"{format_duration(self._backlog_ns)}",
        )
        return True

    async def _time_at(self, term: Term, seq: int, otherwise_ns: int) -> int:
        for _, wire, _ in await self._ports.records(term, seq, PROBE, WINDOW_BYTES):
            with suppress(*UNDECODABLE):  # `_read` tells of it
                if time_ns := time_of(decode(wire)):
                    return time_ns
        return otherwise_ns

    async def _tell_dropped(self) -> None:
        """What history let go of before it was delivered, told once."""
        gone = w.dropped(self._ports.held(), self._done)
        if not gone:
            return
        known = bool(self._done.terms)
        for term, holding in [*self._ports.held().items()]:
            if term in gone:
                window = w.Window(term, 1, holding.floor - 1, False)
                await self.outlet.hand_on(window, Read([], [], window.last, []), self._done)
        count = sum(gone.values())
        self._counts["skipped"] += count
        self._ports.alarm(
            600 if known else 300,
            f"{self.outlet.name}: {count} records are skipped: history no longer has them",
        )

    # ------------------------------------------------------------------------------ showing

    def status(self) -> dict[str, Any]:
        """How it goes, for people and programs."""
        behind = w.outstanding(self._ports.held(), self._done, self._ports.limit)
        now_ns = self._ports.clock.utc_ns()
        # `run` may be waiting to try again while the reign ended.
        state = self.outlet.state if self._ports.may_send() else "standby"
        delivering = state != "standby"
        known = delivering and bool(self._through_ns or not behind)
        lag_ns = max(0, now_ns - self._through_ns) if behind else 0
        text, at_ns = self._last_error
        return {
            "where": self.outlet.where,
            "state": state,
            "records_behind": behind if delivering else None,
            "lag_s": round(lag_ns / NS_PER_S, 3) if known else None,
            **self._counts,
            "last_error": text,
            "last_error_at": format_time(at_ns) if at_ns else None,
        }
