"""Tokens of programs: made by an admin, good on both nodes, for a time. Pure.

A token is a fact in the journal, so that the other node knows it as well and a revocation reaches
both. Only the SHA-256 of its 256 random bits is kept, which tells nobody the token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.errors import ControlError
from gateway.model import NS_PER_S
from gateway.server.settings import Role
from gateway.web.rights import Caller
from gateway.web.sessions import digest

FACT: Final = "token/"
"""Before a token's name: the key of its fact, which belongs to no device."""
PREFIX: Final = "hotpair_"
"""Before the random part, so that scanners for secrets find tokens that were published."""
TOKENS_MAX: Final = 100
DAYS_MAX: Final = 3_650
DAY_NS: Final = 86_400 * NS_PER_S
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class Token(NamedTuple):
    """A token as it is kept; times are ns UTC."""

    name: str
    role: Role
    digest: str
    made_by: str
    made_ns: int
    expires_ns: int

    @property
    def fact(self) -> dict[str, Any]:
        """The value of its fact."""
        return {**self._asdict(), "role": self.role.name.lower()}


def tokens_of(facts: Mapping[tuple[str, str], Any]) -> dict[str, Token]:
    """The tokens among the facts, by digest; what a newer version wrote otherwise is none."""
    found = {}
    for (device, key), value in facts.items():
        if device == "" and key.startswith(FACT) and isinstance(value, dict):
            try:
                token = Token(**{**value, "role": Role.parse(value["role"])})
            except (KeyError, TypeError, ValueError):
                continue
            found[token.digest] = token
    return found


def new_token(
    name: str, role: str, days: int, kept: str, who: str, now_ns: int, known: Mapping[str, Token]
) -> Token:
    """A token, `kept` as its digest. Raises ControlError with what to write instead."""
    if not _NAME.match(name):
        raise ControlError(
            f"{name[:64]!r} is no name for a token",
            "Use 1 to 64 letters, digits, `_`, `.` or `-`",
        )
    live = [token for token in known.values() if token.expires_ns > now_ns]
    if any(token.name == name for token in live):
        raise ControlError(
            f"there is a token {name} already", f"Revoke it: `hotpair token revoke {name}`"
        )
    if len(live) >= TOKENS_MAX:
        raise ControlError(f"there are {TOKENS_MAX} tokens", "Revoke those that nobody uses")
    if not 1 <= days <= DAYS_MAX:
        raise ControlError(f"a token can't last {days} days", f"Give 1 to {DAYS_MAX}")
    try:
        least = Role.parse(role)
    except ValueError as error:
        raise ControlError(f"there is no role {role!r}", f"{error}".capitalize()) from error
    return Token(name, least, kept, who, now_ns, now_ns + days * DAY_NS)


def caller_of(secret: str, known: Mapping[str, Token], now_ns: int) -> Caller | None:
    """Who sends this token; None when it is none, or expired."""
    token = known.get(digest(secret))
    if token is None or token.expires_ns <= now_ns:
        return None
    return Caller(token.name, token.role)
