"""What administrators order by OPC UA: `Failover` and `RequestServerStateChange`.

Both go the way of `hotpair changeover`, are refused for the same reasons, and are audited
(OPC 10000-4 section 6.6.5, OPC 10000-5 sections 6.3.15 and 9.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua

from gateway.clock import Clock
from gateway.errors import ControlError
from gateway.model import NS_PER_S
from gateway.pair.words import Role as PairRole
from gateway.server.encoding import from_ticks
from gateway.server.methods import Call, CallRefused, Method, Methods
from gateway.server.nodes import standard
from gateway.server.permissions import to_call
from gateway.server.redundancy import FAILOVER, OBJECT, Outage, Pair, RedundantSet
from gateway.server.service_level import Duty
from gateway.server.settings import User

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
_V = ua.VariantType
_STATES = ua.ServerState
NOTICE_MAX_S: Final = 3_600
REASON_MAX: Final = 256
FAILOVER_NAME: Final = "Failover"
CHANGE_NAME: Final = "RequestServerStateChange"


class PairMethods:
    """The two methods; `tell` lets subscribers hear at once what an order changed."""

    def __init__(
        self, found: RedundantSet, pair: Pair, clock: Clock, tell: Callable[[], None]
    ) -> None:
        self._set = found
        self._pair = pair
        self._clock = clock
        self._tell = tell
        self._notice: asyncio.Task[None] | None = None

    def add_to(self, methods: Methods) -> None:
        """Serve them from now on."""
        if self._set.settings.is_warm:
            methods.add(
                OBJECT,
                FAILOVER,
                Method(
                    self._failover,
                    to_call(_IDS.NonTransparentBackupRedundancyType_Failover),
                    executable=self.can_fail_over,
                    denied=lambda user: self._denied(FAILOVER_NAME, user),
                ),
            )
        change = Method(
            self._change,
            to_call(_IDS.Server_RequestServerStateChange),
            (_V.Int32, _V.DateTime, _V.UInt32, _V.LocalizedText, _V.Boolean),
            denied=lambda user: self._denied(CHANGE_NAME, user),
        )
        owner, method = standard(_IDS.Server), standard(_IDS.Server_RequestServerStateChange)
        methods.add(owner, method, change)

    def can_fail_over(self) -> bool:
        """Executable: a backup is ready, or this server is that backup."""
        return not self._pair.refusal()

    def look(self) -> None:
        """A server that became Main is in service, whatever was ordered before."""
        outage = self._set.outage
        if outage.duty is Duty.OUT_OF_SERVICE and self._is_main():
            self._set.outage = Outage()

    async def stop(self) -> None:
        """Forget a shutdown that was announced."""
        notice, self._notice = self._notice, None
        if notice is not None:
            notice.cancel()
            await asyncio.gather(notice, return_exceptions=True)

    # ------------------------------------------------------------------------------- orders

    async def _failover(self, call: Call) -> list[ua.Variant]:
        await self._hand_over(call.user, _CODES.BadNotExecutable)
        return []

    async def _change(self, call: Call) -> list[ua.Variant]:
        await self._ordered(call.user, call.arguments)
        return []

    async def _ordered(self, user: User, arguments: list[Any]) -> None:
        state, returns, seconds, reason, restart = arguments
        outage = Outage(
            int(state if state is not None else -1),
            ((reason.Text if reason is not None else None) or f"asked by {user.name}")[:REASON_MAX],
            _utc_ns(returns),
        )
        if restart or outage.state not in (_STATES.Running, _STATES.Suspended, _STATES.Shutdown):
            what = "a restart" if restart else f"state {outage.state}"
            self._audit(user, f"refused: {what} can't be asked for by OPC UA")
            raise CallRefused(_CODES.BadInvalidState)
        if outage.state == _STATES.Running:
            await self._back_in_service(user)
            return
        notice_s = int(seconds or 0) if outage.state == _STATES.Shutdown else 0
        if notice_s > NOTICE_MAX_S:
            self._audit(user, f"refused: {notice_s} s are more than {NOTICE_MAX_S}")
            raise CallRefused(_CODES.BadOutOfRange)
        await self.stop()
        if notice_s:
            self._announce(user, outage, notice_s)
        else:
            await self._take_out(user, outage)

    def _announce(self, user: User, outage: Outage, notice_s: int) -> None:
        if self._is_main() and (refused := self._pair.refusal()):
            self._audit(user, f"refused: {refused}")
            raise CallRefused(_CODES.BadInvalidState)
        outage.at_ns = self._clock.monotonic_ns() + notice_s * NS_PER_S
        self._set.outage = outage
        self._audit(user, f"{_STATES(outage.state).name} in {notice_s} s: {outage.reason}")
        self._notice = asyncio.create_task(self._later(user, outage, notice_s), name="opcua-notice")
        self._tell()

    async def _later(self, user: User, outage: Outage, notice_s: int) -> None:
        await asyncio.sleep(notice_s)
        try:
            await self._take_out(user, outage)
        except CallRefused:
            _log.warning("%s by %s came to nothing", CHANGE_NAME, user.name)
            self._tell()

    async def _take_out(self, user: User, outage: Outage) -> None:
        """Out of service: a Main hands over first."""
        if self._is_main():
            outage.leaves = True
            self._set.outage = outage
            self._tell()
            try:
                await self._hand_over(user, _CODES.BadInvalidState)
            except CallRefused:
                self._set.outage = Outage()
                raise
        outage.at_ns, outage.leaves = None, False
        self._set.outage = outage
        self._audit(user, f"{_STATES(outage.state).name}: {outage.reason}")
        self._tell()

    async def _back_in_service(self, user: User) -> None:
        await self.stop()
        self._set.outage = Outage()
        self._audit(user, "Running")
        self._tell()

    async def _hand_over(self, user: User, refused_as: int) -> None:
        try:
            await self._pair.failover(user.name)
        except ControlError as refused:
            _log.warning("a changeover asked for by %s was refused: %s", user.name, refused)
            raise CallRefused(refused_as) from None

    def _is_main(self) -> bool:
        return self._set.standing.situation.role is PairRole.MAIN

    def _denied(self, what: str, user: User) -> None:
        self._pair.audit(what, user.name, f"refused: {user.role.name.lower()} may not")

    def _audit(self, user: User, outcome: str) -> None:
        self._pair.audit(CHANGE_NAME, user.name, outcome)


def _utc_ns(moment: Any) -> int:
    """A moment as ns UTC; 0 for the null that says nothing (OPC 10000-6 section 5.2.2.5)."""
    ticks = 0 if moment is None else ua.datetime_to_win_epoch(moment)
    return from_ticks(ticks) if ticks > 0 else 0
