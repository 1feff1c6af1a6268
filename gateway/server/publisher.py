"""Tells subscribers what changed, and nobody anything else (design.md section 3).

One task for all subscriptions, alive while there are any. Each tick it (1) walks the points that
were marked dirty and have monitored items, offering each item the reading, and (2) sends what is
due. A value is encoded once it is really sent. Between stretches of work it yields, so that ten
thousand items never hold the loop for longer than a stretch.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from asyncua import ua

from gateway.clock import Clock
from gateway.driver import PointSpec
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.server.encoding import data_change, event_list
from gateway.server.event_feed import EventFeed
from gateway.server.event_queue import EventItem
from gateway.server.items import PointTarget
from gateway.server.settings import Limits
from gateway.server.subscription import DISABLED, REPORTING, Item, Outcome, Subscription
from gateway.server.veil import Veil

_log: Final = logging.getLogger(__name__)
STRETCH: Final = 500
NODE_PERIOD_NS: Final = NS_PER_S
_K = TypeVar("_K", int, str)
_DATA_CHANGE: Final = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
_EVENTS: Final = ua.NodeId(ua.ObjectIds.EventNotificationList_Encoding_DefaultBinary)
_STATUS_CHANGE: Final = ua.NodeId(ua.ObjectIds.StatusChangeNotification_Encoding_DefaultBinary)


class Receiver(Protocol):
    """A session as the publisher sees it."""

    def may_publish(self) -> bool:
        """Whether a publish request waits and the client takes what it is sent."""

    def send(self, response: ua.PublishResponse) -> None:
        """Answer the oldest publish request."""

    def forget(self, subscription_id: int) -> None:
        """The subscription expired."""

    def may_see_audit(self) -> bool:
        """Whether its user is told who did what."""


class Publisher:
    """Owns the items of all subscriptions and the task that serves them."""

    def __init__(self, live: Veil, clock: Clock, limits: Limits) -> None:
        self._live = live
        self._clock = clock
        self._limits = limits
        self._subscriptions: dict[int, tuple[Subscription, Receiver]] = {}
        self._by_point: dict[int, tuple[Item, ...]] = {}
        self._vanished: dict[str, tuple[Item, ...]] = {}
        self._by_node: dict[Item, None] = {}
        self._dirty: set[int] = set()
        self._later: list[tuple[int, int, Item]] = []
        self._waiting: set[Item] = set()
        self._asking: dict[Receiver, None] = {}
        self._order = 0
        self._node_due_ns = 0
        self._task: asyncio.Task[None] | None = None
        self.events = EventFeed(clock, limits)
        self.item_count = 0
        self.notifications = 0

    def mark(self, points: Iterable[int]) -> None:
        """Points changed; a set update and nothing more, and not even that without items."""
        if self._by_point:
            self._dirty.update(points)

    # ------------------------------------------------------------------ subscriptions and items

    @property
    def subscription_count(self) -> int:
        return len(self._subscriptions)

    def receiver_of(self, subscription_id: int) -> Receiver | None:
        """Who is told of a subscription; None if there is no such subscription."""
        found = self._subscriptions.get(subscription_id)
        return None if found is None else found[1]

    def add(self, subscription: Subscription, receiver: Receiver) -> None:
        """Serve a subscription from now on, or hand it over to another session."""
        self._subscriptions[subscription.subscription_id] = (subscription, receiver)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="opcua-publisher")

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription and its items."""
        self._subscriptions.pop(subscription.subscription_id, None)
        for item in list(subscription.items.values()):
            self.remove_item(item)
        if not self._subscriptions:
            self._dirty.clear()
            if self._task is not None:
                self._task.cancel()
                self._task = None

    def add_item(self, item: Item | EventItem) -> None:
        """Serve an item; one that isn't of events begins with its present value."""
        item.subscription.items[item.item_id] = item
        self.item_count += 1
        if isinstance(item, EventItem):
            self.events.add(item)
            return
        target = item.target
        if isinstance(target, PointTarget):
            number = target.spec.number
            self._by_point[number] = (*self._by_point.get(number, ()), item)
        else:
            self._by_node[item] = None
        self._offer(item)

    def remove_item(self, item: Item | EventItem) -> None:
        """Forget an item and what waits of it."""
        subscription = item.subscription
        if subscription.items.pop(item.item_id, None) is None:
            return
        self.item_count -= 1
        if isinstance(item, EventItem):
            item.set_mode(DISABLED)
            self.events.remove(item)
            return
        subscription.ready.pop(item.item_id, None)
        self._waiting.discard(item)
        item.mode = DISABLED
        target = item.target
        if not isinstance(target, PointTarget):
            del self._by_node[item]
        elif target.spec.id in self._vanished:
            _without(self._vanished, target.spec.id, item)
        else:
            _without(self._by_point, target.spec.number, item)

    def resample(self, item: Item | EventItem) -> None:
        """Offer an item its present value: it was just enabled, or moved to another session."""
        if isinstance(item, Item):  # events have none
            self._offer(item)

    async def resend(self, subscription: Subscription) -> None:
        """Have the items that report say again what they last said, or what waits of them.

        As OPC 10000-4 section 5.14.7 has it of initial values; in stretches.
        """
        for done, item in enumerate(list(subscription.items.values()), 1):
            if isinstance(item, Item) and item.mode == REPORTING and not item.queue:
                item.last = None
                self._offer(item)
            if done % STRETCH == 0:
                await asyncio.sleep(0)

    def follow(self, point: Callable[[str], PointSpec | None]) -> None:
        """Another revision is served: items go on with the points of their names.

        Those of a point that is there no more say so, and go on when it is there again. A point
        whose type changed is another one: a client's item was made for the old type.
        """
        groups = [*self._by_point.values(), *self._vanished.values()]
        self._by_point, self._vanished = {}, {}
        now_ns = self._clock.utc_ns()
        for group in groups:
            was = group[0].target.spec
            spec = point(was.id)
            if spec is not None and spec.data_type is not was.data_type:
                spec = None
            for item in group:
                item.target.follow(spec, now_ns)
            if spec is None:
                self._vanished[was.id] = group
                for item in group:
                    self._offer(item)
            else:
                self._by_point[spec.number] = group
        # Values may have changed with the revision: filters compare with what was reported last.
        self.retell()

    def retell(self) -> None:
        """Offer every point anew: all of them may read otherwise now."""
        self._dirty = set(self._by_point)

    def tell_server(self) -> None:
        """Say at once what changed of the Server object: whoever hears it may have to move.

        Sent beside the publishing interval, to the publish request that waits or to the next one.
        Never waits itself.
        """
        told: dict[int, None] = {}
        for item in list(self._by_node):
            if item.mode != DISABLED and item.target.is_standard:
                item.offer(item.target.read())
                told[item.subscription.subscription_id] = None
        for subscription_id in told:
            subscription, receiver = self._subscriptions[subscription_id]
            if subscription.has_notifications:
                waits = receiver.may_publish()
                subscription.late = self.send_one(subscription, receiver) if waits else True

    def clear(self) -> None:
        """Forget everything: the endpoint closes."""
        for subscription, _ in list(self._subscriptions.values()):
            self.remove(subscription)
        self._later.clear()
        self._waiting.clear()

    # ------------------------------------------------------------------------------- the task

    async def _run(self) -> None:
        tick_ns = self._limits.min_sampling_ms * NS_PER_MS
        next_ns = self._clock.monotonic_ns()
        while True:
            next_ns = max(next_ns + tick_ns, self._clock.monotonic_ns())
            await asyncio.sleep((next_ns - self._clock.monotonic_ns()) / NS_PER_S)
            try:
                await self._sample()
                await self.events.deliver(self._may_see_audit)
                await self._publish()
            except Exception:  # one broken value must not silence every subscriber for good
                _log.exception("publishing failed for one tick")

    async def _sample(self) -> None:
        now_ns = self._clock.monotonic_ns()
        dirty, self._dirty = self._dirty, set()
        by_point, get = self._by_point, self._live.get
        done = 0
        for number in dirty:
            items = by_point.get(number)
            if items is None:
                continue
            reading = get(number)
            for item in items:
                if item.throttled and item.due_ns > now_ns:
                    self._postpone(item)
                else:
                    item.due_ns = now_ns + item.sampling_ns
                    item.offer(reading)
            done += len(items)
            if done >= STRETCH:
                done = 0
                await asyncio.sleep(0)
                if self._by_point is not by_point:
                    return  # another revision is served: its points are all dirty
        while self._later and self._later[0][0] <= now_ns:
            item = heapq.heappop(self._later)[2]
            if item in self._waiting:
                self._waiting.discard(item)
                self._offer(item)
        if now_ns >= self._node_due_ns and self._by_node:
            self._node_due_ns = now_ns + NODE_PERIOD_NS
            await self._sample_nodes()

    def _postpone(self, item: Item) -> None:
        if item not in self._waiting:
            self._waiting.add(item)
            self._order += 1
            heapq.heappush(self._later, (item.due_ns, self._order, item))
            if len(self._later) > 2 * len(self._waiting) + STRETCH:
                # Removed items stay in the heap until they are due: not for ever, and not many.
                self._later = [entry for entry in self._later if entry[2] in self._waiting]
                heapq.heapify(self._later)

    def _offer(self, item: Item) -> None:
        item.due_ns = self._clock.monotonic_ns() + item.sampling_ns
        item.offer(item.target.read())

    def _may_see_audit(self, item: EventItem) -> bool:
        receiver = self.receiver_of(item.subscription.subscription_id)
        return receiver is not None and receiver.may_see_audit()

    async def _sample_nodes(self) -> None:
        for done, item in enumerate(list(self._by_node), 1):
            if item in self._by_node and item.mode != DISABLED:
                item.offer(item.target.read())
            if done % STRETCH == 0:
                await asyncio.sleep(0)

    async def _publish(self) -> None:
        now_ns = self._clock.monotonic_ns()
        due = [pair for pair in self._subscriptions.values() if pair[0].next_ns <= now_ns]
        due.sort(key=lambda pair: -pair[0].pace.priority)
        for subscription, receiver in due:
            if subscription.subscription_id not in self._subscriptions:
                continue
            outcome = subscription.cycle(now_ns)
            if outcome is Outcome.EXPIRED:
                _log.info("subscription %d expired", subscription.subscription_id)
                receiver.forget(subscription.subscription_id)
                self.remove(subscription)
            elif outcome is Outcome.SEND:
                await self._send(subscription, receiver)

    async def _send(self, subscription: Subscription, receiver: Receiver) -> None:
        while subscription.subscription_id in self._subscriptions:
            if not receiver.may_publish():
                subscription.late = True
                return
            more = self.send_one(subscription, receiver)
            await asyncio.sleep(0)
            if not more:
                return

    def send_late(self, receiver: Receiver) -> None:
        """A publish request arrived: a subscription that waits for one is served, soon.

        One message in a turn of the loop: the requests of twenty clients come in one.
        """
        if self._late_of(receiver):
            if not self._asking:
                asyncio.get_running_loop().call_soon(self._serve_late)
            self._asking[receiver] = None

    def _late_of(self, receiver: Receiver) -> list[Subscription]:
        return [
            subscription
            for subscription, of in self._subscriptions.values()
            if of is receiver and subscription.late
        ]

    def _serve_late(self) -> None:
        receiver = next(iter(self._asking))
        del self._asking[receiver]
        try:
            late = self._late_of(receiver)
            if late and receiver.may_publish():
                subscription = max(late, key=lambda found: found.pace.priority)
                # What is left over waits for the next request, not for the next interval.
                subscription.late = self.send_one(subscription, receiver)
                if self._late_of(receiver):
                    self._asking[receiver] = None
        except Exception:  # one broken value must not silence every subscriber for good
            _log.exception("publishing to one client failed")
        if self._asking:
            asyncio.get_running_loop().call_soon(self._serve_late)

    def send_one(self, subscription: Subscription, receiver: Receiver) -> bool:
        """Send one message; whether more waits."""
        parts, more = subscription.take()
        events, more_events = subscription.take_events(len(parts))
        more = more or more_events
        self.notifications += len(parts) + len(events)
        message = ua.NotificationMessage()
        if parts:
            body = ua.ExtensionObject(_DATA_CHANGE, data_change(parts))
            message.NotificationData = [body]
        if events:
            body = ua.ExtensionObject(_EVENTS, event_list(events))
            message.NotificationData = [*message.NotificationData, body]
        is_told = bool(message.NotificationData)
        message.SequenceNumber = subscription.number(message if is_told else None)
        receiver.send(_response(subscription, message, more))
        return more

    def send_status(self, subscription: Subscription, receiver: Receiver, status: int) -> None:
        """Tell a client that its subscription ended here, if it waits for an answer."""
        if not receiver.may_publish():
            return
        message = ua.NotificationMessage()
        body = status.to_bytes(4, "little") + b"\x00"
        message.NotificationData = [ua.ExtensionObject(_STATUS_CHANGE, body)]
        message.SequenceNumber = subscription.number(message)
        receiver.send(_response(subscription, message, False))


def _without(groups: dict[_K, tuple[Item, ...]], key: _K, item: Item) -> None:
    if len(groups[key]) == 1:
        del groups[key]
    else:
        groups[key] = tuple(other for other in groups[key] if other is not item)


def _response(
    subscription: Subscription, message: ua.NotificationMessage, more: bool
) -> ua.PublishResponse:
    response = ua.PublishResponse()
    result = response.Parameters
    result.SubscriptionId = subscription.subscription_id
    result.AvailableSequenceNumbers = list(subscription.unacknowledged)
    result.MoreNotifications = more
    result.NotificationMessage = message
    return response
