"""How a reign begins to poll."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from gateway.acquisition.coverage import Key
from gateway.model import NS_PER_S

AHEAD_MAX_NS: Final = NS_PER_S
"""A grant that lies further ahead of this node's clock can't be waited for."""


class Begin(NamedTuple):
    """Where a reign takes up; all times in ns UTC.

    `granted_through_ns`: changeover; the old Main answered for every scan instant up to it, so the
    first later one is scanned first, and no polled class has a hole but those in `unanswered`,
    (device, scan class), which the old Main could not vouch for.
    `not_before_ns`: takeover; scans received before it end no hole (rules.md 3).
    `since_ns`: where the claims begin; when polling begins if None.
    """

    granted_through_ns: int | None = None
    not_before_ns: int = 0
    since_ns: int | None = None
    unanswered: Collection[Key] = ()

    def by(self, now_ns: int) -> Begin:
        """The same by a clock that shows `now_ns`.

        A grant far ahead of it is none: its instants would be waited for, for as long as the
        clocks are apart.
        """
        granted_ns = self.granted_through_ns
        if granted_ns is None or granted_ns <= now_ns + AHEAD_MAX_NS:
            return self
        return Begin(not_before_ns=max(granted_ns, self.not_before_ns), since_ns=self.since_ns)
