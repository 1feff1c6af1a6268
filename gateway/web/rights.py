"""Who may do what over REST, by one table; the roles are those of site.yaml. Pure.

Each role includes the ones before it, and what is not in the table nobody may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.server.permissions import TO_WRITE
from gateway.server.settings import Role

TOKEN_MARK: Final = " (token)"


class Act(StrEnum):
    """Something that a person, or a program for them, does."""

    READ = "read"
    WRITE = "write"
    SUBSTITUTE = "substitute"
    WINDBACK = "windback"
    DISABLE = "disable"
    RAW = "raw"
    TRACE = "trace"
    REHEARSE = "rehearse"
    REVISE = "revise"
    CHANGEOVER = "changeover"
    PAUSE = "pause"
    PEER = "peer"
    BACKUP = "backup"
    TRUST = "trust"
    USERS = "users"
    TOKENS = "tokens"


LEAST: Final[Mapping[Act, Role]] = {
    Act.READ: Role.OBSERVER,
    Act.WRITE: TO_WRITE,
    Act.SUBSTITUTE: Role.OPERATOR,
    Act.WINDBACK: Role.OPERATOR,
    Act.DISABLE: Role.ENGINEER,
    Act.RAW: Role.ENGINEER,
    Act.TRACE: Role.ENGINEER,
    Act.REHEARSE: Role.ENGINEER,
    Act.REVISE: Role.ENGINEER,
    Act.CHANGEOVER: Role.ADMIN,
    Act.PAUSE: Role.ADMIN,
    Act.PEER: Role.ADMIN,
    Act.BACKUP: Role.ADMIN,
    Act.TRUST: Role.ADMIN,
    Act.USERS: Role.ADMIN,
    Act.TOKENS: Role.ADMIN,
}
"""The least role for each act."""

OF_MAINTENANCE: Final[Mapping[str, Act]] = {
    "substitute": Act.SUBSTITUTE,
    "release": Act.SUBSTITUTE,
    "disable": Act.DISABLE,
    "enable": Act.DISABLE,
}
"""What each action of maintenance counts as."""


class Caller(NamedTuple):
    """Who asks: a user who logged in (`session` names the log-in), or a program with a token."""

    name: str
    role: Role
    session: str = ""

    @property
    def who(self) -> str:
        """The name for the audit."""
        return self.name if self.session else f"{self.name}{TOKEN_MARK}"

    def may(self, act: Act) -> bool:
        """Whether the role suffices."""
        return self.role >= LEAST[act]

    @property
    def acts(self) -> list[str]:
        """Everything the caller may do, in the order of the table."""
        return [act.value for act in Act if self.may(act)]
