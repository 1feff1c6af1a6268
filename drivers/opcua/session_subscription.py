"""A subscription on an open session: monitored items, and one publish request at a time.

One request is outstanding, so that what a response proves is plain: the server sent it after our
request left, hence whatever it sampled before `sent_ns` is in this response or an earlier one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.uaerrors import UaStructParsingError

from drivers.opcua.nodes import chunks
from drivers.opcua.observe import Reading
from drivers.opcua.session import Session
from drivers.opcua.session_client import device_error
from drivers.opcua.session_reading import to_reading
from drivers.opcua.values import clean_status, revised_ns
from gateway.clock import Clock
from gateway.driver import DriverContext
from gateway.errors import InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_MS, NS_PER_S, is_bad, status_name

KEEP_ALIVE_NS: Final = NS_PER_S
"""A quiet server speaks this often; until then its silence proves nothing."""
LIFETIME_MAX_COUNT: Final = 10_000
NOTIFICATIONS_MAX: Final = 10_000
SHOWN_MAX: Final = 10
"""Of the values of one notification, how many a trace shows."""
SHOWN_CHARS_MAX: Final = 60
SEQUENCE_MAX: Final = 2**32 - 1  # then 1 again (OPC 10000-4 section 7.31)


class Accepted(NamedTuple):
    """What became of one monitored item: its status, and how often it is really sampled."""

    status: int
    sampling_ns: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One publish response; `changes` are (handle, reading) in the server's order.

    `missed`: an earlier response was lost. `overflow`: a queue dropped values. `more`: the server
    has more to say of the same moment, so nothing is proven complete yet.
    """

    sent_ns: int
    received_ns: int
    changes: Sequence[tuple[int, Reading]]
    missed: bool
    overflow: bool
    more: bool


class Subscription:
    """Made by `create`, filled by `monitor`, then asked for `next` for ever."""

    def __init__(self, session: Session, context: DriverContext) -> None:
        self._session = session
        self._clock: Clock = context.clock
        self._id = 0
        self._sequence: int | None = None
        self._acks: list[ua.SubscriptionAcknowledgement] = []
        self._patience_s = 0.0
        self._nodes: dict[int, Any] = {}
        self._items: dict[int, int] = {}
        """The server's number of the item of each handle."""

    async def create(self) -> None:
        """Create the subscription. Raises DeviceError."""
        device = self._session.device
        interval_ms = device.publishing_interval_ns / NS_PER_MS
        keep_alive = max(1, math.ceil(KEEP_ALIVE_NS / device.publishing_interval_ns))
        lifetime = math.ceil(device.session_timeout_ns / device.publishing_interval_ns)
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval_ms,
            RequestedLifetimeCount=min(max(lifetime, 3 * keep_alive), LIFETIME_MAX_COUNT),
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=NOTIFICATIONS_MAX,
            PublishingEnabled=True,
        )
        try:
            made = await self._session.services.create_subscription(params, lambda _: None)
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "a subscription") from error
        self._id = made.SubscriptionId
        publishing_ns = revised_ns(made.RevisedPublishingInterval, device.publishing_interval_ns)
        quiet_ns = publishing_ns * made.RevisedMaxKeepAliveCount
        self._patience_s = (quiet_ns + device.timeout_ns) / NS_PER_S

    @property
    def patience_s(self) -> float:
        """How long a response may be awaited before the subscription is taken for dead."""
        return self._patience_s

    async def monitor(self, handles: Sequence[tuple[int, Any]]) -> list[Accepted]:
        """Monitor nodes under our handles, those that were monitored anew; what became of each.

        Raises DeviceError.
        """
        await self.unmonitor([handle for handle, _ in handles])
        accepted: list[Accepted] = []
        for run in chunks(len(handles), self._session.limits.monitor):
            accepted += await self._monitor_once(handles[run])
        return accepted

    async def _monitor_once(self, handles: Sequence[tuple[int, Any]]) -> list[Accepted]:
        device = self._session.device
        params = ua.CreateMonitoredItemsParameters()
        params.SubscriptionId = self._id
        params.TimestampsToReturn = ua.TimestampsToReturn.Both
        params.ItemsToCreate = [
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
                MonitoringMode=ua.MonitoringMode.Reporting,
                RequestedParameters=ua.MonitoringParameters(
                    ClientHandle=handle,
                    SamplingInterval=device.sampling_ns / NS_PER_MS,
                    QueueSize=device.queue_size,
                    DiscardOldest=True,
                ),
            )
            for handle, node in handles
        ]
        try:
            results = await self._session.services.create_monitored_items(params)
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "the monitored items") from error
        if len(results) != len(handles):
            raise InvalidReply(f"{len(results)} results for {len(handles)} monitored items")
        for (handle, node), result in zip(handles, results, strict=True):
            self._nodes[handle] = node
            if not is_bad(result.StatusCode.value):
                self._items[handle] = result.MonitoredItemId
        return [
            Accepted(r.StatusCode.value, revised_ns(r.RevisedSamplingInterval, device.sampling_ns))
            for r in results
        ]

    async def unmonitor(self, handles: Sequence[int]) -> None:
        """Delete the items of nodes; the server may have lost some itself. Raises DeviceError."""
        items = [self._items.pop(handle) for handle in handles if handle in self._items]
        for run in chunks(len(items), self._session.limits.monitor):
            params = ua.DeleteMonitoredItemsParameters()
            params.SubscriptionId, params.MonitoredItemIds = self._id, items[run]
            try:
                await self._session.services.delete_monitored_items(params)
            except Exception as error:  # parse errors of the library have no common base
                raise device_error(error, "the end of monitored items") from error

    async def next(self) -> Notice:
        """The next publish response. Raises DeviceError when the subscription is no more."""
        sent_ns = self._clock.utc_ns()
        acks, self._acks = self._acks, []
        try:
            async with asyncio.timeout(self._patience_s):
                response = await self._session.services.publish(acks)
        except TimeoutError:
            text = f"no keep-alive within {self._patience_s:.1f} s"
            raise ReplyTimeout(text) from None
        except UaStructParsingError:
            # One message that can't be parsed is a lost one; its number is not known either.
            self._sequence = None
            return Notice(sent_ns, self._clock.utc_ns(), (), True, False, True)
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "a publish request") from error
        return self._taken(response, sent_ns)

    def _taken(self, response: Any, sent_ns: int) -> Notice:
        code = response.ResponseHeader.ServiceResult.value
        if code & 0x80000000:
            raise Refused("the server ended publishing", code, status=code)
        result = response.Parameters
        message = result.NotificationMessage
        if result.SubscriptionId != self._id:
            raise LinkError("the server answered for a subscription that is not ours")
        changes: list[tuple[int, Reading]] = []
        overflow = False
        for part in message.NotificationData or ():
            if isinstance(part, ua.StatusChangeNotification):
                code = part.Status.value
                raise Refused("the server ended the subscription", code, status=code)
            if isinstance(part, ua.DataChangeNotification):
                for item in part.MonitoredItems:
                    reading = to_reading(item.Value)
                    if reading.status & 0x0480:
                        status, dropped = clean_status(reading.status)
                        overflow |= dropped
                        reading = reading._replace(status=status)
                    changes.append((item.ClientHandle, reading))
        if self._session.wire.traced and changes:
            self._session.wire.show(False, self._told(changes))
        missed = bool(message.NotificationData) and self._gap(message.SequenceNumber)
        now_ns = self._clock.utc_ns()
        return Notice(sent_ns, now_ns, changes, missed, overflow, bool(result.MoreNotifications))

    def _told(self, changes: Sequence[tuple[int, Reading]]) -> str:
        """What a notification brought, for those who look on."""
        shown = [
            f"{self._nodes[handle].to_string()} = {repr(reading.value)[:SHOWN_CHARS_MAX]} "
            f"{status_name(reading.status)}"
            for handle, reading in changes[:SHOWN_MAX]
            if handle in self._nodes
        ]
        more = len(changes) - len(shown)
        return "; ".join(shown) + (f" and {more} more" if more else "")

    def _gap(self, sequence: int) -> bool:
        """Note and acknowledge a message's number; whether one before it is missing."""
        last, self._sequence = self._sequence, sequence
        ack = ua.SubscriptionAcknowledgement()
        ack.SubscriptionId, ack.SequenceNumber = self._id, sequence
        self._acks = [ack]
        return last is not None and sequence != (1 if last == SEQUENCE_MAX else last + 1)
