"""Brings events to the monitored items that watch them, in slices: a burst stalls nobody.

Events wait as what makes them, so that taking ten thousand from a commit costs no more than a
queue; a tick of the publisher makes and offers as many as its share of time allows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.journal.records import Coverage, Record
from gateway.model import NS_PER_MS
from gateway.server.address_space import SiteTree
from gateway.server.alarms import Trouble, open_gap
from gateway.server.event_queue import EventItem
from gateway.server.event_types import Event
from gateway.server.nodes import node_id
from gateway.server.notices import TOLD, Notices, overflow_event
from gateway.server.settings import Limits

SLICE_NS: Final = 2 * NS_PER_MS
SHARE_NS: Final = 20 * NS_PER_MS
"""Of a tick, which is 50 ms: data goes on beside a burst of events."""
_NAME_BYTES: Final = 16

Make = Callable[[], Iterable[Event]]
Only = Callable[[EventItem], bool]
"""Whether events are for an item."""


def everybody(_item: EventItem) -> bool:
    """Events are for every item there is."""
    return True


class EventFeed:
    """Owns the event items of all subscriptions, and the events that were not offered yet."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._items: dict[EventItem, None] = {}
        self._backlog: deque[tuple[Make, Only]] = deque()
        self._most = limits.max_event_backlog
        self._lost = False
        self._work: Iterator[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_idle(self) -> bool:
        """Whether every item was offered all that was told."""
        return not self._backlog and self._work is None

    def add(self, item: EventItem) -> None:
        """Offer events to an item from now on."""
        self._items[item] = None

    def remove(self, item: EventItem) -> None:
        """Offer it no more; without items nothing waits."""
        self._items.pop(item, None)
        if not self._items:
            self._backlog.clear()
            self._lost, self._work = False, None

    def tell(self, make: Make, only: Only = everybody) -> None:
        """Something happened; the oldest that waits is given up beyond the bound."""
        if not self._items:
            return
        if len(self._backlog) >= self._most:
            self._backlog.popleft()
            self._lost = True
        self._backlog.append((make, only))

    def overflow(self) -> Event:
        """What tells a client that its queue lost events."""
        return overflow_event(secrets.token_bytes(_NAME_BYTES), self._clock.utc_ns())

    async def deliver(self, may_see_audit: Callable[[EventItem], bool]) -> None:
        """Offer what waits, for at most one share of time; the rest waits for the next tick."""
        if self._lost:
            self._lost = False
            for item in self._items:
                item.lost()
        began_ns = slice_ns = now_ns = self._clock.monotonic_ns()
        while now_ns - began_ns < SHARE_NS:
            if self._work is None:
                if not self._backlog:
                    return
                self._work = self._offers(*self._backlog.popleft(), may_see_audit)
            if next(self._work, self) is self:
                self._work = None
            now_ns = self._clock.monotonic_ns()
            if now_ns - slice_ns >= SLICE_NS:
                await asyncio.sleep(0)
                slice_ns = self._clock.monotonic_ns()

    def _offers(
        self, make: Make, only: Only, may_see_audit: Callable[[EventItem], bool]
    ) -> Iterator[None]:
        """Offer the events to each item they are for, and pause after each offer."""
        for event in make():
            for item in list(self._items):
                if item in self._items and only(item):
                    item.offer(event, may_see_audit(item))
                yield


class EventSource:
    """Committed records on their way to the feed. `server_id` is the ApplicationUri."""

    def __init__(self, feed: EventFeed, server_id: str, tree: SiteTree, clock: Clock) -> None:
        self._feed = feed
        self._tree = tree
        self._clock = clock
        self._notices = Notices(server_id, self._has_device)
        self._knows_gaps = False

    def committed(self, records: Sequence[Record], own: Callable[[Record], bool]) -> None:
        """Tell of records who subscribed to events; `own` says whether this node wrote one.

        They are looked at when there is time, but for coverage: where gaps are open is known
        whether or not anybody listens.
        """
        feed, notices, now_ns = self._feed, self._notices, self._clock.utc_ns()
        for record in records:
            body, position = record.body, record.position
            if isinstance(body, Coverage):
                if not own(record):
                    continue
                self._knows_gaps = True
                if gaps := notices.gaps(body, position):
                    feed.tell(partial(notices.gap_events, gaps, position, now_ns))
            elif len(feed) and isinstance(body, TOLD):
                feed.tell(partial(notices.of, record, own(record), now_ns))

    def rest(self) -> None:
        """This node is Main no more: where gaps are open it learns when it is Main again."""
        self._knows_gaps = False

    def troubles(self) -> list[Trouble]:
        """The gaps that are open now."""
        if not self._knows_gaps:
            return []
        return [
            open_gap(device, scan_class, found.from_ns, found.cause)
            for (device, scan_class), found in self._notices.open_gaps.items()
        ]

    def _has_device(self, name: str) -> bool:
        return "/" not in name and "#" not in name and self._tree.exists(node_id(name))
