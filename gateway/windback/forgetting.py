"""Letting a device forget what it logged, once both nodes have it for good (rules.md 8).

A log that is acknowledged is gone. So the records must be durable on both nodes first; when the
other node is away for too long, or the log is about to overflow, this node's disk alone has to do,
and that is journalled. What is about to be sent is journalled before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gateway.clock import Clock
from gateway.driver import LogPage, LogSpec
from gateway.errors import DeviceError, JournalError
from gateway.journal.records import Audit, Body
from gateway.model import NS_PER_S, Position, format_time

ACK_PATIENCE_NS: Final = 3_600 * NS_PER_S
FULL: Final = 0.8
"""A log that is fuller than this is acknowledged without the other node…"""
FULL_PATIENCE_NS: Final = 10 * NS_PER_S
"""… that has not caught up in this time: nearly always it is a moment behind only."""
RETRY_NS: Final = NS_PER_S


Older = Callable[[str, LogPage], bool | None]
"""Whether an open gap needs what a log has from before a page; None: not known at present."""


@dataclass(frozen=True, slots=True)
class ForgetPorts:
    """What it takes: `safe(position, both)` tells whether a record outlives a loss of power.

    `commit` is for what must be durable before it is done; it raises JournalError.
    """

    clock: Clock
    node: str
    safe: Callable[[Position, bool], Awaitable[bool]]
    commit: Callable[[Body], Awaitable[object]]
    acknowledge: Callable[[str, LogPage], Awaitable[None]]
    alarm: Callable[[str, int, str], None]


@dataclass(slots=True)
class _Pending:
    page: LogPage
    position: Position
    since_ns: int
    ack: str
    retry_ns: int = 0


class Forgetting:
    """Acknowledgements that wait; one a log, since nothing more is read of it meanwhile."""

    def __init__(self, ports: ForgetPorts) -> None:
        self._ports = ports
        self._pending: dict[tuple[str, str], _Pending] = {}

    def add(self, device: str, log: LogSpec, page: LogPage, position: Position) -> None:
        """A page was committed; `position` is its last record's."""
        if log.ack != "never" and page.acknowledge is not None:
            now_ns = self._ports.clock.utc_ns()
            self._pending[device, log.name] = _Pending(page, position, now_ns, log.ack)

    def waits(self, device: str, log: str) -> bool:
        """Whether a log waits to be acknowledged: what it gives now was read already."""
        return (device, log) in self._pending

    def clear(self) -> None:
        """The reign is over: the next one reads again what was not acknowledged."""
        self._pending.clear()

    async def step(self, device: str, older: Older) -> int | None:
        """Acknowledge what may be; when to come again (ns UTC), or None where nothing waits.

        A device forgets all that is older, too: what a gap needs still is read first.
        """
        again_ns: int | None = None
        for key, pending in list(self._pending.items()):
            if key[0] != device:
                continue
            now_ns = self._ports.clock.utc_ns()
            if now_ns >= pending.retry_ns:
                pending.retry_ns = now_ns + RETRY_NS
                if await self._may(device, pending, now_ns):
                    needed = older(key[1], pending.page)
                    if needed or (needed is False and await self._send(*key, pending)):
                        self._pending.pop(key, None)
                        continue
            again_ns = min(again_ns or pending.retry_ns, pending.retry_ns)
        return again_ns

    async def _may(self, device: str, pending: _Pending, now_ns: int) -> bool:
        both = pending.ack == "both"
        if await self._ports.safe(pending.position, both):
            return True
        fullness = pending.page.fullness or 0.0
        patience_ns = FULL_PATIENCE_NS if fullness > FULL else ACK_PATIENCE_NS
        if not both or now_ns - pending.since_ns < patience_ns:
            return False
        if not await self._ports.safe(pending.position, False):
            return False
        why = f"it is {fullness:.0%} full" if fullness > FULL else "the other node is away too long"
        text = f"the log is acknowledged with its records on this node only: {why}"
        self._ports.alarm(device, 600, text)
        return True

    async def _send(self, device: str, log: str, pending: _Pending) -> bool:
        ports, page = self._ports, pending.page
        text = (
            f"{page.records} records through {format_time(page.through_ns)}, "
            f"stored up to {pending.position}"
        )
        entry = Audit(
            "acknowledge log", f"{device}/{log}", ports.clock.utc_ns(), ports.node, f"begun: {text}"
        )
        try:
            await ports.commit(entry)
            await ports.acknowledge(device, page)
        except (DeviceError, JournalError) as error:
            ports.alarm(device, 500, f"the log {log} could not be acknowledged: {error}")
            return isinstance(error, DeviceError)  # perhaps it was: the log is read again
        ports.alarm(device, 200, f"the log {log} was acknowledged: {text}")
        return True
