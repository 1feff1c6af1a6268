"""What is looked after each second while the endpoint is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.model import NS_PER_S
from gateway.server.certificate import Identity, expiry_warning
from gateway.server.context import Context
from gateway.server.transport import Listener
from gateway.server.trust import SECURITY_CHECKS_FAILED

_log: Final = logging.getLogger(__name__)
PERIOD_S: Final = 1.0
WARNED_EACH_NS: Final = 86_400 * NS_PER_S
EXPIRY_SEVERITY: Final = 600


class Upkeep:
    """Ends what has timed out, follows the trust list, and warns of a certificate's end."""

    def __init__(
        self, context: Context, identity: Identity, alarm: Callable[[int, str], None]
    ) -> None:
        self._context = context
        self._identity = identity
        self._alarm = alarm
        self._warned_ns: int | None = None

    async def run(self, listener: Listener) -> None:
        """Go on until cancelled; a fault in one round must not end the others."""
        while True:
            try:
                self._warn()
                self._context.sessions.sweep()
                listener.close_expired()
                self._context.audit.flush()
                if await self._context.admission.changed():
                    await self._cut_off(listener)
            except Exception:  # whatever it was, sessions must still time out
                _log.exception("upkeep failed")
            await asyncio.sleep(PERIOD_S)

    async def _cut_off(self, listener: Listener) -> None:
        """End the connections of clients that are trusted no more."""
        sessions = self._context.sessions
        for client in list(listener.clients):
            processor = client.processor
            if not processor or not processor.sent_certificate:
                continue
            if await self._context.admission.still(processor.sent_certificate):
                continue
            for session in sessions:
                if session.channel is processor:
                    sessions.close(session, status=SECURITY_CHECKS_FAILED)
            processor.send_error(SECURITY_CHECKS_FAILED)
            client.transport.close()

    def _warn(self) -> None:
        """Warn of the certificate's end, once a day."""
        clock = self._context.clock
        now_ns = clock.monotonic_ns()
        if self._warned_ns is not None and now_ns - self._warned_ns < WARNED_EACH_NS:
            return
        self._warned_ns = now_ns
        now = datetime.fromtimestamp(clock.utc_ns() / NS_PER_S, UTC)
        if text := expiry_warning(self._identity, now):
            self._alarm(EXPIRY_SEVERITY, text)
