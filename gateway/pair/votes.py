"""How long a witness's vote lasts, and how the votes of several are counted (rules.md 6). Pure.

All times of a witness are derived here, from the pair's `takeover_after` (T), so that one number
tunes everything. With T = 1 s: R = 200 ms, tau = 200 ms, L = 1 s, G = 100 ms, W = 1.103 s.

Takeover with PLC registers: the other node may claim once the beat stood still for W. It watches
all the time, so that this runs beside the silence: the beat's last change is seen R + tau after it
at the latest, and the claim costs three more requests. T = 1 s: 1.2 s where the PLC answers within
milliseconds, 2.1 s at most where every answer takes all of its time-out (`takeover_max_ns`).
With etcd: what is left of the lease's whole seconds, and half a second until etcd notices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.model import NS_PER_S

DRIFT: Final = (1, 1_000)
"""rho: how far a clock may run fast or slow, as a fraction."""
_SLOW: Final = DRIFT[1] - DRIFT[0]
_FAST: Final = DRIFT[1] + DRIFT[0]
TTL_MIN_S: Final = 2
"""etcd lets no lease be shorter than one and a half of its elections, 2 s as it is delivered."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """R, tau, L, G and W of rules.md 6, in ns. Raises ValueError where the proof would not hold."""

    renew_ns: int
    timeout_ns: int
    lease_ns: int
    flight_ns: int
    watch_ns: int

    def __post_init__(self) -> None:
        if min(self.renew_ns, self.timeout_ns, self.flight_ns) <= 0:
            raise ValueError("R, tau and G are positive")
        if self.timeout_ns > self.renew_ns:
            raise ValueError("tau <= R: one lost request and a new connection must fit into L")
        if self.lease_ns < 2 * self.renew_ns + 3 * self.timeout_ns:
            raise ValueError("L >= 2 R + 3 tau: one lost renewal must not cost the reign")
        if self.watch_ns < _outlasts(self.lease_ns) + self.flight_ns:
            raise ValueError("W >= L (1 + rho) / (1 - rho) + G: a claim must outlast every lease")

    @classmethod
    def of(cls, takeover_after_ns: int) -> LeaseTiming:
        """The timing that follows from the pair's `takeover_after`."""
        fifth_ns = takeover_after_ns // 5
        lease_ns, flight_ns = 5 * fifth_ns, max(1, takeover_after_ns // 10)
        return cls(fifth_ns, fifth_ns, lease_ns, flight_ns, _outlasts(lease_ns) + flight_ns)

    @property
    def takeover_max_ns(self) -> int:
        """From the last beat to the lease of the other node, if each request is answered in time.

        One poll and its answer, W, then three requests: look, write, look again.
        """
        return self.renew_ns + self.watch_ns + 4 * self.timeout_ns


def _outlasts(lease_ns: int) -> int:
    """What a fast clock must count until a slow one has counted `lease_ns`."""
    return -(-lease_ns * _FAST // _SLOW)


def ttl_s(takeover_after_ns: int) -> int:
    """The time to live of an etcd lease, in whole seconds: two takeover times, at least 2.

    Long enough for four renewals, so that a lost member of the cluster costs nothing; what a
    longer one would add comes on top of each takeover.
    """
    return max(TTL_MIN_S, -(-2 * takeover_after_ns // NS_PER_S))


def etcd_lease_ns(ttl: int, flight_ns: int) -> int:
    """How long a vote of etcd counts from the sending, in ns of a clock that may be slow."""
    return ttl * NS_PER_S * _SLOW // _FAST - flight_ns


def etcd_renew_ns(ttl: int) -> int:
    """How often an etcd lease is renewed: five times in its life."""
    return ttl * NS_PER_S // 5


HOSTS_SLOW_NS: Final = 5 * NS_PER_S
"""How often hosts are asked while all is well; tau is the pace of tries that matter."""


class Votes:
    """The votes of all witnesses: the reign holds until the majority-th latest of their ends.

    Two sets of a majority share a voter, and no voter votes for two at once. Times are ns of the
    node's monotonic clock, 0 for a vote that is not there.
    """

    def __init__(self, voters: Iterable[str]) -> None:
        self._until_ns = dict.fromkeys(voters, 0)

    def __len__(self) -> int:
        return len(self._until_ns)

    @property
    def majority(self) -> int:
        """How many must agree."""
        return len(self._until_ns) // 2 + 1

    @property
    def until_ns(self) -> int:
        """Until when a majority agrees; 0 without one."""
        latest = sorted(self._until_ns.values(), reverse=True)
        return latest[self.majority - 1] if latest else 0

    def tell(self, voter: str, until_ns: int) -> bool:
        """One witness's vote. True when the count says something else now."""
        before_ns = self.until_ns
        self._until_ns[voter] = until_ns
        return self.until_ns != before_ns

    def held(self, voter: str, now_ns: int) -> bool:
        """Whether that witness votes for this node now."""
        return now_ns < self._until_ns[voter]
