"""Who may log in: verified once at full cost, then from a keyed cache; failures slow a peer down.

Each peer has a few failures free; then it waits, twice as long after each further one. That it
begins, that it has reached its longest, and then each hour of it is told to people.

The cache holds only HMACs under a key of this process, so that memory reveals no password.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.server.passwords import NOBODY, verify_password
from gateway.server.settings import User

FREE_FAILURES: Final = 3
BACKOFF_MAX_NS: Final = 60 * NS_PER_S
FORGOTTEN_NS: Final = 900 * NS_PER_S
"""Failures older than this count no more: a typing error a month is no attack."""
TOLD_EACH: Final = 60
"""Of the failures under the longest wait, how many pass between two alarms: an hour's."""
REMEMBERED_MAX: Final = 1_000
PASSWORD_MAX: Final = 1_024
WAITING_MAX: Final = 20
NAME_SHOWN_MAX: Final = 64
LOCKED_SEVERITY: Final = 600


class LoginThrottled(Exception):
    """Too many failures from this peer or for this user, or too many logins at once: try later."""


class Logins:
    """Checks user names and passwords without stalling the loop."""

    def __init__(
        self,
        users: Mapping[str, User],
        clock: Clock,
        alarm: Callable[[int, str], None] = lambda _severity, _text: None,
    ) -> None:
        self._users = users
        self._clock = clock
        self._alarm = alarm
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    @property
    def users(self) -> Mapping[str, User]:
        """Who may log in, by name."""
        return self._users

    def replace(self, users: Mapping[str, User]) -> None:
        """Another revision names the users: passwords verified before count for equal hashes."""
        self._users = users

    async def check(self, name: str, password: str, peer: str) -> User | None:
        """The user, or None if name and password don't fit. Raises LoginThrottled."""
        user = self._users.get(name)
        if len(password) > PASSWORD_MAX:
            self.refuse_if_throttled(peer)
            self.failed(peer, name)
            return None
        mark = self._mark(name, password, user)
        if user is not None and mark in self._verified:
            self._verified.move_to_end(mark)
            return user
        self.refuse_if_throttled(peer)
        stored = NOBODY if user is None else user.password_hash or NOBODY
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                # Asked again: many attempts may have queued up before the first one failed, or, as
                # after a takeover, before the first one of the same user was verified.
                if user is not None and mark in self._verified:
                    return user
                self.refuse_if_throttled(peer)
                fits = await asyncio.to_thread(verify_password, password, stored)
                if not fits or user is None or not user.password_hash:
                    self.failed(peer, name)
                    return None
        finally:
            self._waiting -= 1
        self._failures.pop(peer, None)
        self._verified[mark] = None
        while len(self._verified) > REMEMBERED_MAX:
            self._verified.popitem(last=False)
        return user

    def _mark(self, name: str, password: str, user: User | None) -> bytes:
        # Length before content: no two different triples give the same text. surrogateescape:
        # the wire may carry any bytes as a name.
        parts = (name, password, "" if user is None else user.password_hash)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._key, text.encode(errors="surrogateescape"), hashlib.sha256)

    def of_certificate(self, fingerprint: str) -> User | None:
        """The user whose certificate has this SHA-256; who has its key is for others to check."""
        return next((u for u in self._users.values() if u.certificate == fingerprint), None)

    def refuse_if_throttled(self, peer: str) -> None:
        """Hear nobody who waits after failures. Raises LoginThrottled."""
        if self._waiting >= WAITING_MAX:
            raise LoginThrottled
        _, until_ns = self._failures.get(peer, (0, 0))
        if self._clock.monotonic_ns() < until_ns:
            raise LoginThrottled

    def failed(self, peer: str, name: str) -> None:
        """A log-in of this peer failed, as whom it said."""
        now_ns = self._clock.monotonic_ns()
        count, until_ns = self._failures.pop(peer, (0, now_ns))
        count = 1 if now_ns - until_ns > FORGOTTEN_NS else count + 1
        over = count - FREE_FAILURES
        wait_ns = _wait_ns(over)
        self._failures[peer] = (count, now_ns + wait_ns)
        longest = wait_ns == BACKOFF_MAX_NS
        begins = over == 1 or (longest and _wait_ns(over - 1) < BACKOFF_MAX_NS)
        if begins or (longest and over % TOLD_EACH == 0):
            self._alarm(
                LOCKED_SEVERITY,
                f"{count} log-ins from {peer} failed, the last one as {name[:NAME_SHOWN_MAX]!r}: "
                f"the next is heard after {wait_ns // NS_PER_S} s",
            )
        while len(self._failures) > REMEMBERED_MAX:
            self._failures.popitem(last=False)


def _wait_ns(over: int) -> int:
    """How long a peer waits after so many failures beyond the free ones."""
    return 0 if over <= 0 else min(BACKOFF_MAX_NS, NS_PER_S << min(over - 1, 10))
