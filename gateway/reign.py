"""What this node does when its role machine says so: the acts of a reign.

Order is everything here. The last claim of a reign is sealed in its term, so the next term waits
until the field is closed; the endpoint opens and closes in the order it was told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from gateway.acquisition.field import Begin
from gateway.clock import Clock
from gateway.config.node import NodeConfig
from gateway.doors import Doors
from gateway.errors import JournalError
from gateway.journal.journal import Journal
from gateway.journal.records import Fact, Ruling
from gateway.journal.records import Role as RoleTaken
from gateway.lane import Lane
from gateway.model import NS_PER_MS, NS_PER_S, Term, format_time
from gateway.pair import events as ev
from gateway.pair.heartbeat import DUES_MAX, Due, Heartbeat
from gateway.pair.keeper import Keeper
from gateway.pair.links import Links
from gateway.pair.words import Role
from gateway.revisions import Revisions
from gateway.running import Running

STOP_DRAIN_S: Final = 1.0
"""A stop without anybody to hand over to doesn't wait longer for a device that hangs."""
DRAIN_MAX_S: Final = 5.0
"""How long a device may take to answer before a hand-over declares a hole for it."""
SLOW_TERM_NS: Final = NS_PER_S // 4
"""A takeover waits until its term is on the disk: one that takes longer is told."""
AGAIN_S: Final = 1.0
PAUSE: Final = ("", "pause")
"""The fact that keeps `hotpair pause` over restarts: [paused, version]."""
GRANTED: Final = ""
"""The name of the one due time in a grant: scan instants are a common grid, so one says all.

Other names in a grant are `device/class`: classes that the old Main had a hole in."""


class Voters(Protocol):
    """The witnesses, as far as a reign needs them."""

    def claim(self) -> None: ...
    def release(self) -> None: ...


class Deeds:
    """The acts of `gateway.pair.keeper.Acts` on a real node."""

    def __init__(
        self,
        node: NodeConfig,
        clock: Clock,
        doors: Doors,
        journal: Journal,
        running: Running,
        revisions: Revisions,
        say: Callable[[str], None],
        since_ns: int,
    ) -> None:
        self.links: Links | None = None
        self.witnesses: Voters | None = None
        self.keeper: Keeper
        self.began: Callable[[], None] = lambda: None
        self.ended: Callable[[], None] = lambda: None
        self.look: Callable[[], None] = lambda: None
        self.changed: Callable[[Role, str], None] = lambda role, why: None
        self._node = node
        self._clock = clock
        self._doors = doors
        self._journal = journal
        self._running = running
        self._revisions = revisions
        self._say = say
        self._field = Lane("field")
        self._endpoint = Lane("endpoint")
        self._beginning = False
        self._leaving = False
        self._answers = 0
        self._since_ns: int | None = since_ns
        self._pause_kept = self._kept_pause()[1]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """What works beside the loop: the node watches it."""
        return (self._field, self._endpoint)

    # ---------------------------------------------------------------------------- the reign

    async def begin_term(self, number: int) -> Term:
        """Commit a term, after all of the reign before it. Raises JournalError."""
        if self._beginning:
            raise JournalError("the store has not committed the term before this one yet")
        self._beginning = True
        try:
            await self._field.idle()
            # What is appended up to here is sealed in the old term.
            if self._running.field.polling:
                self._running.field.turn(f"term {number} begins")
            began_ns = self._clock.monotonic_ns()
            term = await self._journal.begin_term(number)
            self._running.reigns(term)
            took_ns = self._clock.monotonic_ns() - began_ns
            if took_ns >= SLOW_TERM_NS:
                text = f"the disk took {took_ns / NS_PER_S:.2f} s to store term {term.number}"
                self._doors.tell("journal", 600, text)
            return term
        finally:
            self._beginning = False

    def unused_term(self) -> None:
        """Go back to the diary."""
        self._field.put(self._rest)

    def new_term(self, term: Term, why: str) -> None:
        """The reign goes on in a new term; `begin_term` saw to the streams."""
        self._doors.alarm("pair", 400, f"new term {term}: {why}")

    def journal_role(self, role: Role, term: Term | None, why: str) -> None:
        """Journal a role and its reason."""
        at_ns = self._clock.utc_ns()
        self._doors.append(RoleTaken(self._node.node, role.shown, at_ns, why, term))
        self._doors.tell("pair", 300, f"{role.shown}: {why}")

    def journal_ruling(self, ruling: ev.JournalRuling) -> None:
        """Journal how Main-Main was settled."""
        now_ns = self._clock.utc_ns()
        from_ns = now_ns - ruling.both_ns
        duty = self._running.site.pair.duty
        self._doors.append(
            Ruling(ruling.winner, ruling.loser, from_ns, now_ns, duty, ruling.why, now_ns)
        )

    def open_field(self, term: Term, next_due: tuple[Due, ...]) -> None:
        """Poll: at once when nothing of the reign before is left to do."""
        begin = self._begin(next_due)
        if self._field.busy or not self._running.number:
            self._field.put(partial(self._open_later, term, begin))
        else:
            self._open(term, begin)

    async def _open_later(self, term: Term, begin: Begin) -> None:
        while not self._running.number and self.keeper.machine.term == term:
            try:
                self._running.numbered(await self._revisions.first())
            except JournalError as error:
                self._doors.tell("journal", 900, f"the first revision is not stored: {error}")
                await asyncio.sleep(AGAIN_S)
        self._open(term, begin)

    def _open(self, term: Term, begin: Begin) -> None:
        machine, running = self.keeper.machine, self._running
        if machine.role is not Role.MAIN or machine.term != term:
            return  # The reign ended while the field was being closed.
        if running.field.polling:
            running.field.open(begin)
            running.windback.begin()
            return
        self.began()
        if begin.granted_through_ns is None:
            running.doubt()
        running.renew_maintenance()
        running.field.open(begin)
        running.windback.begin()
        running.field.writer.tell_unfinished(running.facts)

    def _begin(self, next_due: tuple[Due, ...]) -> Begin:
        dues = dict(next_due)
        if GRANTED in dues:
            unanswered = [(d, c) for d, _, c in (name.partition("/") for name in dues) if d]
            return Begin(granted_through_ns=dues[GRANTED], unanswered=unanswered)
        if self._node.link is None:
            since_ns, self._since_ns = self._since_ns, None
            return Begin(since_ns=since_ns)
        # The other node's stamps are by its clock, known to half the round trip. Where it is ahead,
        # what it stamped last lies in this node's future.
        peer = self.keeper.machine.peer
        now_ns, covered_ns = self._clock.utc_ns(), self._journal.coverage_end_ns
        unsure_ns = max(0, peer.clock_ahead_ns) + peer.round_trip_ns // 2 + NS_PER_MS
        if covered_ns > now_ns + unsure_ns:
            behind_s = (covered_ns - now_ns) / NS_PER_S
            self._doors.alarm(
                "pair",
                800,
                f"the clock of this node is {behind_s:.3f} s behind what was replicated (through "
                f"{format_time(covered_ns)}): until it is past that, history keeps a gap",
            )
        return Begin(not_before_ns=max(now_ns + unsure_ns, covered_ns))

    async def drain(self) -> tuple[Due, ...]:
        """Stop at a scan boundary; through when every scan was answered for."""
        # Twice the patience is the most that a drain takes, and twice takeover_after the machine's.
        stopping, timing = self.keeper.machine.stopping, self.keeper.machine.timing
        patience_s = min(DRAIN_MAX_S, 0.9 * timing.takeover_after_ns / NS_PER_S)
        # A lock of a device's log is given back while this node may still speak.
        released = asyncio.ensure_future(self._running.windback.end(patience_s))
        draining = asyncio.ensure_future(self._drain_field(released, patience_s))
        done, _ = await asyncio.wait({draining}, timeout=STOP_DRAIN_S if stopping else None)
        if not done:
            return ()
        # What this node can't vouch for is named; where that is too much, nothing is granted but
        # the reign, and the hand-over is a declared hole.
        coverage, through_ns = self._running.field.collector.coverage, draining.result()
        holes = [(f"{d}/{c}", through_ns) for d, c in coverage.classes if coverage.in_hole((d, c))]
        return ((GRANTED, through_ns), *holes) if len(holes) < DUES_MAX else ()

    async def _drain_field(self, released: asyncio.Future[None], patience_s: float) -> int:
        through_ns = await self._running.field.drain(patience_s)
        await released
        return through_ns

    def close_field(self) -> None:
        """Send nothing more, at once; close what is open in the background."""
        self._running.windback.halt()
        self._running.field.halt()
        self.ended()
        self._field.put(self._close_field)

    async def _close_field(self) -> None:
        await self._running.field.close()
        await self._rest()

    async def _rest(self) -> None:
        while not self._beginning:
            try:
                await self._journal.rest()
                return
            except JournalError as error:
                self._doors.tell("journal", 800, f"no diary yet: {error}")
                await asyncio.sleep(AGAIN_S)

    # --------------------------------------------------------------------------- the endpoint

    def stand_by(self) -> None:
        """Answer clients from the start, without values, where the site has it so (`warm`)."""
        if self._running.server.is_warm:
            self._running.server.serve_values(False)
            self._endpoint.put(partial(self._open_while, lambda: not self.keeper.machine.ended))

    def open_endpoint(self) -> None:
        """Open the OPC UA endpoint, or give values; tried again each second while it can't be."""
        server = self._running.server
        if server.serve_values(True) or not server.is_open or self._endpoint.busy:
            self._endpoint.put(self._open_endpoint)

    async def _open_endpoint(self) -> None:
        machine, server = self.keeper.machine, self._running.server
        await self._open_while(lambda: machine.role is Role.MAIN)
        if machine.role is Role.MAIN:
            self._say(f"is Main, {server.endpoint}")

    async def _open_while(self, wanted: Callable[[], bool]) -> None:
        told = False
        while wanted():
            try:
                await self._running.server.open()
                return
            except OSError as error:
                if not told:
                    told = True
                    listen = self._node.opcua.listen
                    self._doors.alarm("opcua", 900, f"OPC UA can't listen on {listen}: {error}")
                await asyncio.sleep(AGAIN_S)

    def close_endpoint(self, reason: str) -> None:
        """Close the endpoint and keep its address, or (`warm`) give no more values."""
        server = self._running.server
        if server.is_warm and not self.keeper.machine.ended:
            server.serve_values(False)
            return
        self._endpoint.put(partial(self._close_endpoint, reason))

    async def _close_endpoint(self, reason: str) -> None:
        server = self._running.server
        await server.close(reason)
        if self.keeper.machine.ended:
            return
        try:
            await server.reserve()
        except OSError as error:
            self._doors.alarm("opcua", 800, f"the endpoint's address was lost: {error}")

    # ---------------------------------------------------------------------------- the others

    def send(self, heartbeat: Heartbeat) -> None:
        """Tell the peer."""
        if self.links is not None:
            self.links.send(heartbeat)

    def drain_links(self) -> None:
        """Hear all that lies unread."""
        if self.links is not None:
            self.links.drain()

    async def probe(self) -> bool | None:
        """Whether any device answers this node."""
        return await self._running.field.probe()

    def claim_witness(self) -> None:
        """Ask for the witness's vote and keep it."""
        if self.witnesses is not None:
            self.witnesses.claim()

    def release_witness(self) -> None:
        """Let the witness's vote go."""
        if self.witnesses is not None:
            self.witnesses.release()

    def alarm(self, text: str) -> None:
        """Tell people what the role machine has to say."""
        self._doors.alarm("pair", 700, text)

    def progress(self) -> ev.Progress:
        """How far history is complete, and whether a device answered lately."""
        self.look()
        answers = self._running.field.collector.answers
        collected, self._answers = answers != self._answers, answers
        return ev.Progress(self._journal.coverage_end_ns, collected and self.keeper.is_main)

    def stepped(self, role_before: Role) -> None:
        """Keep what must outlive this process, and tell which role this is."""
        machine = self.keeper.machine
        leaving = machine.handing is not None
        if machine.role is not role_before or leaving is not self._leaving:
            self._leaving = leaving
            self.look()
        if machine.role is Role.MAIN and machine.pause_version > self._pause_kept:
            self._pause_kept = machine.pause_version
            value = [machine.paused, machine.pause_version]
            self._doors.append(Fact(*PAUSE, value, self._clock.utc_ns()))
        if machine.role is role_before or machine.ended:
            return
        self.changed(machine.role, machine.why)
        if machine.role is not Role.MAIN:
            self._say(f"is {machine.role.shown}")

    # ------------------------------------------------------------------------------- the pause

    def _kept_pause(self) -> tuple[bool, int]:
        value: Any = self._running.facts.get(PAUSE)
        if isinstance(value, list | tuple) and len(value) == 2:
            return bool(value[0]), int(value[1])
        return False, 0

    def restore_pause(self) -> None:
        """A pause outlives restarts."""
        machine = self.keeper.machine
        machine.paused, machine.pause_version = self._kept_pause()
