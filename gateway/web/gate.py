"""Who is at the door: users by cookie, programs by token; log-ins as the OPC UA server has them.

Names, passwords and the waiting after failures are those of `gateway.server.logins`, with a memory
of its own: whoever locks the page does not lock the plant's clients.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.server.audit import LOGIN, LOGIN_REFUSED, Audit
from gateway.server.logins import Logins, LoginThrottled
from gateway.web.rights import Caller
from gateway.web.session_file import SessionFile
from gateway.web.sessions import Sessions
from gateway.web.tokens import PREFIX, Token, caller_of

SECRET_BYTES: Final = 32
_BEARER: Final = "bearer "
_NAME_MAX: Final = 64


class Gate:
    """Knows callers; `cookie` is the name of the page's cookie on this node.

    Without a file log-ins end with the program.
    """

    def __init__(
        self,
        logins: Logins,
        tokens: Callable[[], Mapping[str, Token]],
        audit: Audit,
        clock: Clock,
        cookie: str,
        file: SessionFile | None = None,
    ) -> None:
        self._logins = logins
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._sessions = Sessions()
        self._file = file
        self.cookie = cookie

    @property
    def sessions(self) -> int:
        """How many are logged in."""
        return len(self._sessions)

    async def recall(self) -> None:
        """Go on with the log-ins of before a restart."""
        kept = await self._file.read() if self._file else []
        now_ns = self._clock.monotonic_ns()
        self._sessions.take_up(kept, self._logins.users, now_ns, self._clock.utc_ns())

    async def _keep(self) -> None:
        if self._file is not None:
            now_ns = self._clock.monotonic_ns()
            await self._file.write(self._sessions.kept(now_ns, self._clock.utc_ns()))

    def caller(self, cookie: str, authorization: str) -> Caller | None:
        """Who sends these headers; a token goes before a cookie."""
        if authorization[: len(_BEARER)].lower() == _BEARER:
            token = authorization[len(_BEARER) :].strip()
            return caller_of(token, self._tokens(), self._clock.utc_ns())
        secret = self._secret(cookie)
        if not secret:
            return None
        return self._sessions.find(secret, self._logins.users, self._clock.monotonic_ns())

    def still(self, caller: Caller) -> bool:
        """Whether a caller of a moment ago may still ask, with the same role."""
        if not caller.session:
            now_ns = self._clock.utc_ns()
            return any(
                (token.name, token.role) == caller[:2] and token.expires_ns > now_ns
                for token in self._tokens().values()
            )
        now_ns = self._clock.monotonic_ns()
        return self._sessions.still(caller.session, self._logins.users, now_ns) == caller

    async def log_in(self, name: str, password: str, peer: str) -> str | None:
        """A secret for the cookie, None when name and password don't fit. Raises LoginThrottled."""
        told = name[:_NAME_MAX]
        try:
            user = await self._logins.check(name, password, peer)
        except LoginThrottled:
            self._audit.put(LOGIN_REFUSED, peer, told, "too many log-ins failed", on="web")
            raise
        if user is None:
            self._audit.put(LOGIN_REFUSED, peer, told, "wrong name or password", on="web")
            return None
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._sessions.begin(secret, user, self._clock.monotonic_ns())
        await self._keep()
        self._audit.put(LOGIN, peer, user.name, "logged in", on="web", role=user.role.name.lower())
        return secret

    async def log_out(self, caller: Caller) -> None:
        """End the session of a caller."""
        self._sessions.end(caller.session)
        await self._keep()

    def _secret(self, cookie: str) -> str:
        """The value of our cookie, whatever other programs of this machine put beside it."""
        pairs = (part.strip().partition("=") for part in cookie.split(";"))
        return next((value for name, _, value in pairs if name == self.cookie), "")


def new_secret() -> str:
    """A token of 256 random bits, as its owner is told it once."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)
