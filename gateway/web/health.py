"""Health by status code, as load balancers ask for it; what Patroni's REST API does. Pure.

    live      this node's loop runs
    ready     it is Main, or a Standby that has caught up, and its store takes records
    main      it is Main and its reign holds: where clients belong
    standby   it is a Standby that has caught up; with `lag`, one whose history is at most so old

(https://patroni.readthedocs.io/en/latest/rest_api.html, "Health check endpoints")
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["live", "ready", "main", "standby"]
KINDS: Final[tuple[Kind, ...]] = ("live", "ready", "main", "standby")
MAIN: Final = "main"
SYNCED: Final = "synced"
SYNCING: Final = "syncing"


class Stand(NamedTuple):
    """How a node stands; `role` is starting, syncing, synced or main.

    `reigns` while its reign holds, `lag_ns` is how old the end of its history is.
    """

    node: str
    role: str
    reigns: bool
    storing: bool
    lag_ns: int


def complaint(kind: Kind, stand: Stand, lag_ns: int | None = None) -> str:
    """Why a node does not count as this, or nothing; `lag_ns` is what a Standby may lag."""
    if kind == "live":
        return ""
    if kind == "main":
        if stand.role != MAIN:
            return f"it is {stand.role}"
        return "" if stand.reigns else "its reign is not proven"
    if kind == "standby":
        if stand.role not in (SYNCED, SYNCING):
            return f"it is {stand.role}"
        if lag_ns is None:
            return "" if stand.role == SYNCED else "it is syncing"
        return "" if stand.lag_ns <= lag_ns else f"it lags {stand.lag_ns / 1e9:.1f} s"
    if stand.role not in (MAIN, SYNCED):
        return f"it is {stand.role}"
    return "" if stand.storing else "its store takes no records"
