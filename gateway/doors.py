"""The doors of the house: how every part of a node reaches the journal, and people.

`append` never raises: what finds no place in the journal is told, and declared as lost by the
collector. Alarms go to the log and to the journal; before the journal is open they wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import JournalError
from gateway.journal.journal import Journal
from gateway.journal.records import Audit, Batch, Body, Event, Record
from gateway.model import NS_PER_S, Origin

log = logging.getLogger("hotpair")

STORE_PATIENCE_S: Final = 5.0
"""How long a command, or a role, waits for a store that takes nothing."""
TOLD_TEXTS_MAX: Final = 100
TOLD_AGAIN_NS: Final = 60 * NS_PER_S
EARLY_MAX: Final = 100
_NO_WIRE: Final = (TypeError, ValueError, OverflowError)
"""What a body raises that can't be encoded: a text with lone surrogates, a number of 65 bits."""


class Doors:
    """The journal's door and an ear for alarms, for one node."""

    def __init__(self, node: str, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._journal: Journal | None = None
        self._lost: Callable[[int], None] = lambda _since_ns: None
        self._told: dict[str, int] = {}
        self._early: list[tuple[str, int, str]] = []

    def open(self, journal: Journal) -> None:
        """The journal is there: journal what was told before."""
        self._journal = journal
        early, self._early = self._early, []
        for source, severity, text in early:
            self._journalled(source, severity, text)

    def on_lost(self, lost: Callable[[int], None]) -> None:
        """Have `lost(since_ns)` called when a batch finds no place in the journal."""
        self._lost = lost

    def append(self, body: Body) -> Awaitable[Record]:
        """The door for who can't wait."""
        assert self._journal is not None, "the doors are opened after the journal"
        try:
            return self._journal.append(body)
        except (JournalError, *_NO_WIRE) as error:
            self.tell("journal", 800, f"a {type(body).__name__} was not journalled: {error}")
            if isinstance(body, Batch) and body.origin != Origin.WINDBACK:
                self._lost(body.requested_ns)  # what a log holds can be read again
            refused: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
            known = isinstance(error, JournalError)
            refused.set_exception(error if known else JournalError(f"it has no wire: {error}"))
            refused.exception()  # seen: few callers ask
            return refused

    async def commit(self, body: Body) -> Record:
        """For what must be durable before it is done. Raises JournalError."""
        assert self._journal is not None, "the doors are opened after the journal"
        try:
            return await self._journal.commit(body, STORE_PATIENCE_S)
        except _NO_WIRE as error:
            raise JournalError(f"a {type(body).__name__} has no wire: {error}") from error

    async def room(self) -> None:
        """Wait until the journal takes more."""
        assert self._journal is not None, "the doors are opened after the journal"
        await self._journal.room()

    def journal_event(self, severity: int, text: str) -> None:
        """What the journal tells of itself; the same text is journalled once a minute at most."""
        self.tell("journal", severity, text)
        now_ns = self._clock.utc_ns()
        if severity < 400 or now_ns - self._told.get(text, -TOLD_AGAIN_NS) < TOLD_AGAIN_NS:
            return
        if len(self._told) >= TOLD_TEXTS_MAX:
            self._told.clear()
        self._told[text] = now_ns
        self._journalled("journal", severity, text)

    def alarm(self, source: str, severity: int, text: str, kind: str = "") -> None:
        """Tell people: in the log, and in the journal."""
        text = text.encode(errors="replace").decode()  # a device's own words may be no UTF-8
        self.tell(source, severity, text)
        self._journalled(source, severity, text, kind)

    def record(
        self, action: str, target: str, who: str, outcome: str, detail: Mapping[str, Any]
    ) -> None:
        """Put on record who did what; the journal itself tells if it takes nothing."""
        self.append(Audit(action, target, self._clock.utc_ns(), who, outcome, dict(detail)))

    def _journalled(self, source: str, severity: int, text: str, kind: str = "") -> None:
        if self._journal is not None:
            now_ns = self._clock.utc_ns()
            self.append(Event(source or self._node, severity, text, now_ns, kind))
        elif len(self._early) < EARLY_MAX:
            self._early.append((source, severity, text))

    def tell(self, source: str, severity: int, text: str) -> None:
        """In the log only."""
        level = logging.ERROR if severity >= 700 else logging.WARNING
        log.log(logging.INFO if severity < 400 else level, "%s: %s", source or "node", text)
