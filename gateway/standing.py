"""How this node and its peer stand, for the OPC UA server and for the peer's.

Reads the role machine, the field's health and what the journal knows of both servers; decides
nothing. What it told last is pushed to clients as soon as it changes (`look`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.clock import Clock
from gateway.config.site import PairSettings
from gateway.errors import ControlError, HotpairError
from gateway.journal.records import Fact
from gateway.model import NS_PER_S
from gateway.orders import Orders
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.keeper import Keeper
from gateway.pair.words import Field, Role
from gateway.running import Running
from gateway.server.alarms import Watched, lost
from gateway.server.discovery import Member
from gateway.server.redundancy import UNHEARD, Standing, Told
from gateway.server.service_level import Backup, Duty, Situation
from gateway.server.settings import STATE_RUNNING, STATE_SUSPENDED

log = logging.getLogger("hotpair")

Ask = Callable[[str, Any, float], Awaitable[Any]]
SERVER: Final = "opcua/"
"""Before a node's name: the fact that tells where its OPC UA server is found."""
ASK_S: Final = 1.0
FRESH_NS: Final = 3 * NS_PER_S
"""What the peer said of itself holds for this long."""
_CLOSED: Final = Told(1, STATE_SUSPENDED)
_STARTING: Final = Standing(Situation(Role.STARTING))


class NodeStanding:
    """The `Pair` of the OPC UA server; `begin` once both are there."""

    def __init__(self, node: str, clock: Clock, pair: PairSettings, linked: bool) -> None:
        self._node = node
        self._clock = clock
        self._linked = linked
        self._warm = pair.standby_endpoint == "warm"
        degraded = pair.service_level_alone == "degraded"
        self._alone = Backup.ABSENT_DEGRADED if degraded else Backup.ABSENT
        self._running: Running
        self._keeper: Keeper | None = None
        self._orders: Orders
        self._heard: tuple[int, Role, Told] | None = None

    def begin(self, running: Running, keeper: Keeper, orders: Orders) -> None:
        """The node has its parts; tell the peer, by the journal, where this server is found."""
        self._running, self._keeper, self._orders = running, keeper, orders
        own, key = running.server.own, ("", SERVER + self._node)
        told = [own.application_uri, own.name, list(own.urls)]
        if running.facts.get(key) != told:
            running.facts[key] = told
            running.house.append(Fact(*key, told, self._clock.utc_ns()))

    # ---------------------------------------------------------------------- as the server's pair

    def standing(self) -> Standing:
        """Both servers now."""
        keeper = self._keeper
        if keeper is None:
            return _STARTING
        machine, now_ns = keeper.machine, keeper.now_ns()
        if machine.role is not Role.MAIN:
            ready = machine.role is Role.SYNCED and not machine.paused
            backup = Backup.READY if ready else Backup.ABSENT
            return Standing(Situation(machine.role, backup=backup), peer=self._peer(keeper))
        backup = Backup.NO_PAIR
        if self._linked:
            ready = machine.ready_standby(now_ns) is not None and not machine.paused
            backup = Backup.READY if ready else self._alone
        handing = machine.handing
        duty = Duty.SERVING if handing is None else Duty.LEAVING
        answering, devices = self._field()
        return Standing(
            Situation(machine.role, duty, backup, answering, devices),
            handing.why if handing is not None else "",
            self._peer(keeper),
        )

    def refusal(self) -> str:
        """Why no changeover is possible now, or nothing."""
        return self._orders.refusal()

    async def failover(self, who: str) -> None:
        """Hand the reign over, or have it handed here. Raises ControlError."""
        # The Main puts a changeover on record; what doesn't get there is put on record here.
        if refused := self.refusal():
            self.audit("Failover", who, f"refused: {refused}")
            raise ControlError(refused)
        await self._orders.changeover(who)

    def audit(self, action: str, who: str, outcome: str) -> None:
        """Journal who asked for what by OPC UA, and what came of it."""
        self._orders.note(action, who, outcome)

    # ------------------------------------------------------------------------------- the field

    def _field(self) -> tuple[int, int]:
        """How many devices answer, of how many that are in service."""
        collector = self._running.field.collector
        disabled, states = collector.maintenance.disabled, collector.states
        faults = [states[name].fault for name in collector.devices if name not in disabled]
        return faults.count(None), len(faults)

    def watched(self) -> Watched | None:
        """The devices in service that don't answer; None while others may poll them."""
        if self._keeper is None or self._keeper.machine.role is not Role.MAIN:
            return None
        collector = self._running.field.collector
        disabled, states = collector.maintenance.disabled, collector.states
        found = [
            lost(name, states[name].down_since_ns, fault.detail)
            for name in collector.devices
            if name not in disabled and (fault := states[name].fault) is not None
        ]
        return Watched(found, frozenset(disabled))

    # -------------------------------------------------------------------------------- the peer

    def _peer(self, keeper: Keeper) -> Told:
        peer, now_ns = keeper.machine.peer, keeper.now_ns()
        last = peer.last
        if last is None or not peer.heard(now_ns):
            return UNHEARD
        if last.role is not Role.MAIN and not self._warm:
            return _CLOSED
        if self._heard is not None:
            at_ns, role, told = self._heard
            if role is last.role and now_ns - at_ns <= FRESH_NS:
                return told
        ready = last.role is Role.SYNCED or keeper.machine.role is Role.SYNCED
        backup = Backup.READY if ready and not last.paused else self._alone
        answering = 0 if last.field is Field.LOST else 1
        level = Situation(last.role, backup=backup, answering=answering, devices=1).level
        return Told(level, STATE_SUSPENDED if last.role is Role.STARTING else STATE_RUNNING)

    def told(self) -> list[int]:
        """What this server says of itself, for the peer's RedundantServerArray."""
        shown = self._running.server.shown
        return [shown.level, shown.state]

    async def listen(self, ask: Ask) -> None:
        """Ask the peer's server how it stands, each second, while it answers clients."""
        while True:
            await asyncio.sleep(ASK_S)
            assert self._keeper is not None, "begun before"
            peer, now_ns = self._keeper.machine.peer, self._keeper.now_ns()
            last = peer.last
            if last is None or not peer.heard(now_ns) or not (self._warm or last.role is Role.MAIN):
                continue
            try:
                level, state = await ask("standing", None, ASK_S)
                self._heard = (now_ns, last.role, Told(int(level), int(state)))
            except (HotpairError, OSError, TypeError, ValueError) as error:
                log.debug("the peer's server did not say how it stands: %s", error)

    # -------------------------------------------------------------------------------- telling

    def look(self) -> None:
        """Something may have changed: tell clients what did."""
        if self._keeper is not None:
            self._running.server.other_is(self._other(self._keeper.machine.peer.last))
            self._running.server.look()

    def _other(self, last: Heartbeat | None) -> Member | None:
        """The other server as it introduced itself: still known when its node is dead."""
        facts = self._running.facts
        if last is not None:
            return _member(last.node, facts.get(("", SERVER + last.node)))
        # Not heard since this process began: whoever was there before, if that is one.
        names = [key.removeprefix(SERVER) for device, key in facts if _is_server(device, key)]
        others = [name for name in names if name != self._node]
        return _member(others[0], facts["", SERVER + others[0]]) if len(others) == 1 else None


def _is_server(device: str, key: str) -> bool:
    return not device and key.startswith(SERVER)


def _member(node: str, told: Any) -> Member | None:
    try:
        uri, name, urls = told
        return Member(node, str(uri), str(name), tuple(map(str, urls))) if urls else None
    except (TypeError, ValueError):
        return None  # not introduced yet, or by another version
