"""The other node: links to it, the pulls both ways, what it asks, and the witnesses.

Everything here is there in every role: each node pulls what the other wrote, and serves the
other's pull. Only what comes of it depends on the role: a Standby that has caught up is synced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from gateway import __version__
from gateway.clock import Clock
from gateway.config.node import Link
from gateway.config.site import PairSettings
from gateway.doors import Doors
from gateway.errors import ControlError
from gateway.journal.journal import Journal
from gateway.journal.records import Record
from gateway.model import Position, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.hello import LinkIdentity
from gateway.pair.keeper import Keeper
from gateway.pair.links import Links
from gateway.pair.witnesses import Witnesses
from gateway.pair.words import Identity, Role
from gateway.replication.effects import Acked
from gateway.replication.gate import SyncGate
from gateway.replication.held import HeldBack
from gateway.replication.puller import Puller
from gateway.replication.server import Server
from gateway.revisions import Revisions
from gateway.running import Running

Answer = Callable[[str, Any], Awaitable[Any]]
Ask = Callable[[str, Any, float], Awaitable[Any]]
REHEARSAL_S: Final = 3_600.0
PROBE_S: Final = 60.0
PACE_S: Final = 0.1
LAST_WORDS_S: Final = 0.02
LAST_WORDS_TRIES: Final = 15


class Peering:
    """All that leads to the peer; `start` once, `stop` once."""

    def __init__(
        self,
        identity: Identity,
        link: Link,
        clock: Clock,
        doors: Doors,
        journal: Journal,
        keeper: Keeper,
        revisions: Revisions,
        orders: tuple[str, ...],
        answer: Answer,
        running: Running,
    ) -> None:
        self._clock = clock
        self._doors = doors
        self._journal = journal
        self._keeper = keeper
        self._revisions = revisions
        self._orders = orders
        self._answer_order = answer
        self._running = running
        self.told: Callable[[], list[int]] = list
        self._held: HeldBack | None = None
        self._reigning = False
        self._tasks: set[asyncio.Task[None]] = set()
        me = LinkIdentity(identity.site, identity.node, identity.boot, __version__)
        self._server = Server(journal, clock, self._tell_replication, self._acknowledged)
        self.links = Links(
            me,
            link,
            clock,
            self._hear,
            self._refused,
            {"pull": self._server.serve},
            self._answer,
            lambda severity, text: doors.alarm("link", severity, text),
        )
        machine = keeper.machine
        others = {term.node for term in journal.holdings.terms} - {identity.node}
        self.witnesses = Witnesses(
            self._pair.witness,
            identity.node,
            min(others) < identity.node if others else None,
            machine.timing,
            clock,
            running.registers,
            keeper.feed,
            lambda severity, text: doors.alarm("witness", severity, text),
            site=identity.site,
            priority=identity.priority,
        )
        self._met: tuple[str, int] | None = None
        self._puller = Puller(
            self.links.dial,
            journal,
            clock,
            self._caught,
            self._tell_replication,
            lambda: self._sync,
        )

    async def start(self, listen: Callable[[Ask], Coroutine[Any, Any, None]]) -> None:
        """Listen and dial; `listen` hears how the peer's server stands. Raises ControlError."""
        await self.links.start()
        self._puller.start()
        await self.witnesses.start()
        self._spawn(self._pace(), "synced")
        self._spawn(listen(self.links.ask), "peer's server")

    async def stop(self) -> None:
        """Give the peer a moment to pull the last words of this node; then say nothing more."""
        for _ in range(LAST_WORDS_TRIES):
            status = self._server.status()
            if not status.connected or not status.records_behind:
                break
            await asyncio.sleep(LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.witnesses.stop()
        await self._puller.stop()
        await self.links.stop()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def has_all(self) -> bool:
        """Whether this node has, by now, all that the other one has."""
        return self._puller.caught is True

    def status(self) -> dict[str, Any]:
        """The links, and how far replication is in both directions."""
        sending, receiving = self._server.status(), self._puller.status()
        return {
            "links": self.links.status(),
            "witness": self.witnesses.status(),
            "replication": {
                "mode": self._pair.replication,
                "state": self._held.gate.state.value if self._held is not None else "async",
                "waiting_samples": self._held.gate.waiting if self._held is not None else 0,
                "equal": receiving.equal,
                "sending": sending._asdict(),
                "receiving": receiving._asdict(),
            },
        }

    # ------------------------------------------------------------------------------- hearing

    def _hear(self, path: str, heartbeat: Heartbeat) -> None:
        met = (heartbeat.node, heartbeat.priority)
        if met != self._met:
            self._met = met
            self.witnesses.peer_is(*met)
        self._keeper.feed(ev.Heard(path, heartbeat, self._clock.utc_ns()))

    def _refused(self, path: str) -> None:
        self._keeper.feed(ev.Refused(path))

    def _caught(self, caught: bool) -> None:
        self._keeper.feed(ev.Caught(caught and not self._revisions.not_able))

    async def _pace(self) -> None:
        """Tell again what was told before this node stood by; and that it can't run the head."""
        while True:
            await asyncio.sleep(PACE_S)
            machine, able = self._keeper.machine, not self._revisions.not_able
            role, heard = machine.role, machine.peer.heard(self._keeper.now_ns())
            self.witnesses.look(role is not Role.MAIN, not heard)
            caught = able and self._puller.caught is True
            if role is Role.SYNCED and not able:
                self._keeper.feed(ev.Caught(False))
            elif role is Role.SYNCING and caught:
                self._keeper.feed(ev.Caught(True))

    # --------------------------------------------------------------------- what clients see

    @property
    def _pair(self) -> PairSettings:
        """As the revision that runs has it."""
        return self._running.site.pair

    @property
    def _sync(self) -> bool:
        return self._pair.replication == "sync"

    def committed(self, records: Sequence[Record], stored: bool) -> None:
        """Records were committed: clients see them now, or in `sync` once the peer has them."""
        if self._held is None:
            self._running.committed(records, stored)
        else:
            self._held.committed(records, stored)

    def hold_back(self) -> None:
        """A reign begins."""
        self._reigning = True
        if self._sync:
            self._close_gate(fresh=True)

    def revised(self) -> None:
        """Another revision runs: in a reign, clients see values as it says from now on."""
        if self._held is not None:
            pair = self._pair
            self._held.gate.revise(self._sync, pair.sync_timeout_ns, pair.sync_fallback == "hold")
        elif self._sync and self._reigning:
            self._close_gate(fresh=False)

    def _close_gate(self, fresh: bool) -> None:
        hold, follows = self._pair.sync_fallback == "hold", self._server.follows()
        node = self._keeper.machine.identity.node
        gate = SyncGate(node, self._pair.sync_timeout_ns, hold, follows, fresh)
        self._held = HeldBack(
            gate,
            self._running.committed,
            self._doors.commit,
            self._server.follows,
            self._clock,
            self._tell_replication,
        )
        self._held.start()

    def let_go(self) -> None:
        """The reign is over."""
        self._reigning = False
        held, self._held = self._held, None
        if held is not None:
            self._spawn(held.stop(), "end of the sync gate")

    def _acknowledged(self, acked: Acked) -> None:
        if self._held is not None:
            self._held.acknowledged(acked)

    def _tell_replication(self, severity: int, text: str) -> None:
        self._doors.alarm("replication", severity, text)

    async def _answer(self, what: str, body: Any) -> Any:
        if what in self._orders:
            return await self._answer_order(what, body)
        if what == "standing":
            return self.told()
        if what == "durable":
            return await self._durable(body)
        if what in ("validate", "apply", "rollback"):
            return await self._revisions.answer(what, body)
        raise ControlError(f"this version knows no {what!r}", "Run the same version on both nodes")

    async def _durable(self, body: Any) -> bool:
        """Whether this node has a record of the peer's for good."""
        try:
            (number, node, nonce), seq = body
            position = Position(Term(number, node, nonce), seq)
        except (TypeError, ValueError) as error:
            raise ControlError(f"{body!r} is no position", "Run one version") from error
        if not self._journal.holdings.holds(position):
            return False
        await self._journal.make_durable()
        return True


async def look_at_field(keeper: Keeper, running: Running, doors: Doors) -> None:
    """As `standby_probe` has it: a Standby looks at the field of its own accord (rules.md 5)."""
    while True:
        how = running.site.pair.standby_probe
        if how != "off" and keeper.machine.role is Role.SYNCED:
            if how == "rehearse":
                for found in await running.field.rehearse():
                    if found.allowed and not found.reached:
                        text = f"rehearsal: {found.detail}. {found.remedy}"
                        doors.alarm(found.device, 600, text)
            reached = await running.field.probe()
            keeper.feed(ev.FieldSeen(reached))
        await asyncio.sleep(REHEARSAL_S if how == "rehearse" else PROBE_S)
