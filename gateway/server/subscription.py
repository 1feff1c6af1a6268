"""A subscription and its monitored items (OPC 10000-4 sections 5.13 and 5.14), without I/O.

Time is an argument, in ns of the monotonic clock. The publisher offers readings to items, asks
`cycle` at each publishing interval, and takes encoded notifications when somebody waits for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from gateway.model import NS_PER_MS
from gateway.server.event_queue import EventItem
from gateway.server.filters import DEFAULT, Filter, Reading
from gateway.server.settings import Limits

DISABLED: Final = 0
SAMPLING: Final = 1
REPORTING: Final = 2
"""MonitoringMode (OPC 10000-4 section 7.23)."""
SEQUENCE_MAX: Final = 2**32 - 1

Encode = Callable[[int, Any, bool], bytes]
"""(client handle, reading, overflow) -> the bytes of a MonitoredItemNotification."""


class Item:
    """One monitored item: what was last reported of it, and what waits to be sent."""

    __slots__ = (
        "client_handle",
        "discard_oldest",
        "due_ns",
        "encode",
        "filter",
        "item_id",
        "last",
        "mode",
        "overflowed",
        "queue",
        "queue_size",
        "sampling_ns",
        "subscription",
        "target",
        "throttled",
    )

    def __init__(
        self,
        item_id: int,
        target: Any,
        encode: Encode,
        subscription: Subscription,
        client_handle: int,
        mode: int,
    ) -> None:
        self.item_id = item_id
        self.target = target
        self.encode = encode
        self.subscription = subscription
        self.client_handle = client_handle
        self.mode = mode
        self.filter: Filter = DEFAULT
        self.queue_size = 1
        self.discard_oldest = True
        self.queue: deque[Any] = deque()
        self.overflowed = False
        self.last: Reading | None = None
        self.sampling_ns = 0
        self.due_ns = 0
        self.throttled = False

    def configure(
        self, item_filter: Filter, sampling_ms: float, queue_size: int, discard_oldest: bool
    ) -> None:
        """Take over revised parameters; what waits is cut to the new queue size.

        Sampling needs a throttle only where it is slower than publishing or values are queued:
        otherwise the newest value replaces the one that waits, and publishing sets the pace.
        """
        self.filter = item_filter
        self.queue_size = queue_size
        self.discard_oldest = discard_oldest
        while len(self.queue) > queue_size:
            self._drop()
        interval_ms = self.subscription.interval_ms
        self.throttled = sampling_ms > interval_ms or (queue_size > 1 and sampling_ms > 0)
        self.sampling_ns = int(sampling_ms * NS_PER_MS)

    def offer(self, reading: Reading) -> bool:
        """Queue a reading if the filter lets it pass; whether it did."""
        if self.mode == DISABLED or not self.filter.passes(self.last, reading):
            return False
        self.last = reading
        queue = self.queue
        if len(queue) >= self.queue_size:
            self._drop()
        queue.append(reading)
        if self.mode == REPORTING:
            self.subscription.ready[self.item_id] = self
        return True

    def _drop(self) -> None:
        # A queue of one just shows the newest: no overflow (OPC 10000-4 section 5.13.1.5).
        self.overflowed = self.queue_size > 1
        if self.discard_oldest:
            self.queue.popleft()
        else:
            self.queue.pop()

    def set_mode(self, mode: int) -> None:
        """Change the monitoring mode; a disabled item forgets what it had."""
        self.mode = mode
        if mode == DISABLED:
            self.queue.clear()
            self.last = None
            self.overflowed = False
        if mode == REPORTING and self.queue:
            self.subscription.ready[self.item_id] = self
        elif mode != REPORTING:
            self.subscription.ready.pop(self.item_id, None)

    def take(self, parts: list[bytes]) -> None:
        """Move what waits, encoded, to `parts`; the overflow bit goes where values are missing."""
        queue, encode, handle = self.queue, self.encode, self.client_handle
        flagged = -1
        if self.overflowed:
            flagged = 0 if self.discard_oldest else len(queue) - 1
            self.overflowed = False
        for index, reading in enumerate(queue):
            parts.append(encode(handle, reading, index == flagged))
        queue.clear()


class Outcome(Enum):
    """What a publishing cycle came to."""

    NOTHING = "nothing"
    SEND = "send"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Pace:
    """The revised parameters of a subscription: interval in ms, counts in publishing intervals."""

    interval_ms: float
    keep_alive_count: int
    lifetime_count: int
    notifications_max: int
    events_max: int
    priority: int

    @classmethod
    def revise(
        cls,
        interval_ms: float,
        keep_alive_count: int,
        lifetime_count: int,
        notifications_max: int,
        priority: int,
        limits: Limits,
    ) -> Pace:
        """Bring what a client asks for within the limits; NaN and 0 become the fastest."""
        if not interval_ms > limits.min_publishing_ms:
            interval_ms = float(limits.min_publishing_ms)
        interval_ms = min(interval_ms, float(limits.max_publishing_ms))
        keep_alive_max = max(1, int(limits.max_keep_alive_ms / interval_ms))
        keep_alive = min(max(keep_alive_count, 1), keep_alive_max)
        # At least three keep-alives before a subscription dies (OPC 10000-4 section 5.14.2).
        least = max(3 * keep_alive, int(limits.min_lifetime_ms / interval_ms))
        lifetime = max(least, min(lifetime_count, 10 * keep_alive_max))
        most = limits.max_notifications_per_publish
        most = min(notifications_max, most) if notifications_max else most
        events = min(most, limits.max_events_per_publish)
        return cls(interval_ms, keep_alive, lifetime, most, events, priority)


class Subscription:
    """Items, what of them is ready, and the counters of the publishing state machine."""

    def __init__(
        self, subscription_id: int, pace: Pace, enabled: bool, now_ns: int, unacknowledged_max: int
    ) -> None:
        self.subscription_id = subscription_id
        self.pace = pace
        self.enabled = enabled
        self.items: dict[int, Item | EventItem] = {}
        self.ready: dict[int, Item] = {}
        self.ready_events: dict[int, EventItem] = {}
        self.late = False
        self.unacknowledged: dict[int, Any] = {}
        self.next_ns = now_ns + self.interval_ns
        self._sequence = 1
        self._sent_first = False
        self._keep_alive = 0
        self._lifetime = 0
        self._unacknowledged_max = unacknowledged_max

    @property
    def interval_ms(self) -> float:
        return self.pace.interval_ms

    @property
    def interval_ns(self) -> int:
        return int(self.pace.interval_ms * NS_PER_MS)

    def modify(self, pace: Pace, now_ns: int) -> None:
        """Take over new parameters; the next cycle is one new interval away at most."""
        self.pace = pace
        self.next_ns = min(self.next_ns, now_ns + self.interval_ns)
        self.touch()

    def touch(self) -> None:
        """A client spoke of this subscription: its life starts anew."""
        self._lifetime = 0

    @property
    def has_notifications(self) -> bool:
        return self.enabled and bool(self.ready or self.ready_events)

    def cycle(self, now_ns: int) -> Outcome:
        """The publishing interval has passed: is something to be sent?

        After `SEND` the caller sends, or sets `late` when nobody waits for a response.
        """
        self.next_ns += self.interval_ns
        if self.next_ns <= now_ns:
            self.next_ns = now_ns + self.interval_ns
        self._lifetime += 1
        if self._lifetime > self.pace.lifetime_count:
            return Outcome.EXPIRED
        self._keep_alive += 1
        alive = self._keep_alive >= self.pace.keep_alive_count
        if self.late or alive or not self._sent_first or self.has_notifications:
            return Outcome.SEND
        return Outcome.NOTHING

    def take(self) -> tuple[list[bytes], bool]:
        """The encoded notifications of the next message, and whether more of them wait.

        Empty for a keep-alive. An item whose whole queue would not fit goes into the next message,
        unless it is the first.
        """
        parts: list[bytes] = []
        self.late = False
        self._sent_first = True
        self._keep_alive = 0
        self._lifetime = 0
        if not self.enabled:
            return parts, False
        most = self.pace.notifications_max
        taken = 0
        for item in self.ready.values():
            if parts and len(parts) + len(item.queue) > most:
                break
            item.take(parts)
            taken += 1
            if len(parts) >= most:
                break
        if taken == len(self.ready):
            self.ready.clear()
        else:
            for item_id in list(self.ready)[:taken]:
                del self.ready[item_id]
        return parts, bool(self.ready)

    def take_events(self, taken: int) -> tuple[list[bytes], bool]:
        """The same of events, for a message that holds `taken` notifications already."""
        parts: list[bytes] = []
        room = min(self.pace.notifications_max - taken, self.pace.events_max)
        while self.enabled and self.ready_events and len(parts) < room:
            item_id, item = next(iter(self.ready_events.items()))
            item.take(parts, room - len(parts))
            if not item.waits:
                del self.ready_events[item_id]
        return parts, self.enabled and bool(self.ready_events)

    def number(self, message: Any | None) -> int:
        """The sequence number of a message; None, a keep-alive, announces the next one.

        A message is kept until it is acknowledged; the oldest is forgotten beyond the bound.
        """
        number = self._sequence
        if message is not None:
            self._sequence = 1 if number == SEQUENCE_MAX else number + 1
            self.unacknowledged[number] = message
            while len(self.unacknowledged) > self._unacknowledged_max:
                del self.unacknowledged[next(iter(self.unacknowledged))]
        return number

    def acknowledge(self, number: int) -> bool:
        """Forget a message; False when it isn't there."""
        return self.unacknowledged.pop(number, None) is not None
