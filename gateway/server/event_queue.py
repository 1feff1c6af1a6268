"""A monitored item that watches events: its filter, and the events that wait to be sent.

Pure. A queue that is full loses its oldest or its newest event, as the client wishes, and says so
with one EventQueueOverflowEvent in the place of what was lost (OPC 10000-4 section 5.13.1.5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.server.content_filter import FieldOperand, Where
from gateway.server.encoding import array
from gateway.server.event_types import Event
from gateway.server.event_values import NULL

if TYPE_CHECKING:
    from gateway.server.subscription import Subscription

DISABLED: Final = 0
REPORTING: Final = 2


class EventFilter(NamedTuple):
    """What is sent of an event, field by field (None: nothing), and of which events."""

    select: Sequence[FieldOperand | None]
    where: Where


class EventItem:
    """One monitored item on the EventNotifier of a node.

    `device` is whose events it gets; empty for those of the whole site. `overflow` makes the event
    that tells of lost ones.
    """

    __slots__ = (
        "client_handle",
        "device",
        "discard_oldest",
        "filter",
        "item_id",
        "mode",
        "overflow",
        "overflowed",
        "queue",
        "queue_size",
        "subscription",
    )

    def __init__(
        self,
        item_id: int,
        device: str,
        subscription: Subscription,
        client_handle: int,
        mode: int,
        overflow: Callable[[], Event],
    ) -> None:
        self.item_id = item_id
        self.device = device
        self.subscription = subscription
        self.client_handle = client_handle
        self.mode = mode
        self.overflow = overflow
        self.filter = EventFilter((), Where())
        self.queue_size = 1
        self.discard_oldest = True
        self.queue: deque[Event] = deque()
        self.overflowed: Event | None = None

    def configure(self, event_filter: EventFilter, queue_size: int, discard_oldest: bool) -> None:
        """Take over revised parameters; what waits is cut to the new queue size."""
        self.filter = event_filter
        self.queue_size = queue_size
        self.discard_oldest = discard_oldest
        while len(self.queue) > queue_size:
            self._drop()

    def offer(self, event: Event, may_see_audit: bool) -> bool:
        """Queue an event if it is of this node, the user may see it and the filter lets it pass."""
        if self.mode == DISABLED:
            return False
        if not event.always:
            if self.device and event.device != self.device:
                return False
            if event.audit and not may_see_audit:
                return False
            if not self.filter.where.passes(event):
                return False
        if len(self.queue) >= self.queue_size:
            self._drop()
        self.queue.append(event)
        self._ready()
        return True

    def lost(self) -> None:
        """Events were given up before they were offered: the item says so."""
        if self.mode != DISABLED and self.overflowed is None:
            self.overflowed = self.overflow()
            self._ready()

    def _drop(self) -> None:
        if self.overflowed is None:
            self.overflowed = self.overflow()
        if self.discard_oldest:
            self.queue.popleft()
        else:
            self.queue.pop()

    def _ready(self) -> None:
        if self.mode == REPORTING:
            self.subscription.ready_events[self.item_id] = self

    def set_mode(self, mode: int) -> None:
        """Change the monitoring mode; a disabled item forgets what it had."""
        self.mode = mode
        if mode == DISABLED:
            self.queue.clear()
            self.overflowed = None
        if self.queue or self.overflowed is not None:
            self._ready()
        if mode != REPORTING:
            self.subscription.ready_events.pop(self.item_id, None)

    def take(self, parts: list[bytes], most: int) -> None:
        """Move up to `most` of what waits, encoded, to `parts`.

        That events were lost is told where they are missing: before the others if the oldest were
        given up, else after them. It bypasses the where clause.
        """
        end = len(parts) + most
        if self.overflowed is not None and self.discard_oldest:
            self._tell_overflow(parts)
        while self.queue and len(parts) < end:
            parts.append(self._encode(self.queue.popleft()))
        if self.overflowed is not None and not self.queue and len(parts) < end:
            self._tell_overflow(parts)

    @property
    def waits(self) -> bool:
        """Whether anything is left to send."""
        return bool(self.queue) or self.overflowed is not None

    def _tell_overflow(self, parts: list[bytes]) -> None:
        assert self.overflowed is not None
        parts.append(self._encode(self.overflowed))
        self.overflowed = None

    def _encode(self, event: Event) -> bytes:
        """An EventFieldList (OPC 10000-4 section 7.25.3)."""
        fields = [
            NULL if operand is None else event.encoded(*operand) for operand in self.filter.select
        ]
        return self.client_handle.to_bytes(4, "little") + array(fields, len(fields))
