"""Who is logged in at this node's page, by the digest of a secret cookie. Pure.

Each request asks the users of the revision that runs: who is no user any more, or has another
password, is logged out, and a changed role holds at once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from gateway.model import NS_PER_S
from gateway.server.settings import User
from gateway.web.rights import Caller

IDLE_NS: Final = 12 * 3_600 * NS_PER_S
"""A shift: who was not heard for so long is logged out."""
LONGEST_NS: Final = 7 * 86_400 * NS_PER_S
SESSIONS_MAX: Final = 500
SESSIONS_PER_USER_MAX: Final = 20


def digest(secret: str) -> str:
    """What is kept of a secret of 256 random bits: nobody finds it again from this."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


class Kept(NamedTuple):
    """A session as it outlives the program: `secrets` is a digest, `begun_ns` is UTC."""

    key: str
    name: str
    secrets: str
    begun_ns: int


@dataclass(slots=True)
class _Session:
    name: str
    secrets: tuple[str, str]
    begun_ns: int
    heard_ns: int


class Sessions:
    """The log-ins; times are monotonic ns. Beyond its bounds the one heard longest ago ends."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, secret: str, user: User, now_ns: int) -> None:
        """A user logged in and was given the secret."""
        own = [key for key, session in self._sessions.items() if session.name == user.name]
        if len(own) >= SESSIONS_PER_USER_MAX:
            del self._sessions[own[0]]
        elif len(self._sessions) >= SESSIONS_MAX:
            self._sessions.popitem(last=False)
        self._sessions[digest(secret)] = _Session(user.name, user.secrets, now_ns, now_ns)

    def find(self, secret: str, users: Mapping[str, User], now_ns: int) -> Caller | None:
        """Who sent this secret; None when nobody is logged in by it (any more)."""
        return self.still(digest(secret), users, now_ns, heard=True)

    def still(
        self, key: str, users: Mapping[str, User], now_ns: int, heard: bool = False
    ) -> Caller | None:
        """Who is logged in by the session of a caller; `heard` when it is heard of just now."""
        session = self._sessions.get(key)
        if session is None:
            return None
        user = users.get(session.name)
        old = now_ns - session.heard_ns > IDLE_NS or now_ns - session.begun_ns > LONGEST_NS
        if old or user is None or user.secrets != session.secrets:
            del self._sessions[key]
            return None
        if heard:
            session.heard_ns = now_ns
            self._sessions.move_to_end(key)
        return Caller(user.name, user.role, key)

    def end(self, key: str) -> None:
        """Log out."""
        self._sessions.pop(key, None)

    def kept(self, now_ns: int, utc_ns: int) -> list[Kept]:
        """All of them, as `take_up` takes them after a restart; `utc_ns` is the same instant."""
        return [
            Kept(key, session.name, _of(session.secrets), utc_ns - (now_ns - session.begun_ns))
            for key, session in self._sessions.items()
        ]

    def take_up(
        self, kept: Iterable[Kept], users: Mapping[str, User], now_ns: int, utc_ns: int
    ) -> None:
        """Go on with sessions of before a restart, of users who have the same password still.

        The time without the program does not count as silence.
        """
        for key, name, secrets, begun_ns in islice(kept, SESSIONS_MAX):
            user, age_ns = users.get(name), utc_ns - begun_ns
            if user and _of(user.secrets) == secrets and 0 <= age_ns <= LONGEST_NS:
                self._sessions[key] = _Session(name, user.secrets, now_ns - age_ns, now_ns)


def _of(secrets: tuple[str, str]) -> str:
    return digest("\n".join(secrets))
