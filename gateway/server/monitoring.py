"""Subscriptions, monitored items and Publish (OPC 10000-4 sections 5.13 and 5.14)."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from gateway.model import NS_PER_MS
from gateway.server import event_items, rights
from gateway.server.event_queue import EventItem
from gateway.server.identity import GUEST
from gateway.server.items import (
    Encoders,
    ItemRefused,
    PointTarget,
    Target,
    find_target,
    read_filter,
    revised_sampling,
)
from gateway.server.sessions import PublishRequest, Session
from gateway.server.subscription import DISABLED, REPORTING, Encode, Item, Pace, Subscription

if TYPE_CHECKING:
    from gateway.server.context import Context

_CODES = ua.StatusCodes
STRETCH: Final = 100


class Monitoring:
    """The services around subscriptions, of all sessions."""

    def __init__(self) -> None:
        self._subscription_ids = itertools.count(1)
        self._item_ids = itertools.count(1)
        self._encoders = Encoders()

    def owned(self, session: Session, subscription_id: int) -> Subscription:
        """A subscription of this session. Raises UaStatusCodeError."""
        found = session.subscriptions.get(subscription_id)
        if found is None:
            raise ua.UaStatusCodeError(_CODES.BadSubscriptionIdInvalid)
        found.touch()
        return found

    async def create_subscription(self, context: Context, session: Session, params: Any) -> Any:
        """A new subscription with revised parameters."""
        limits = context.limits
        if context.publisher.subscription_count >= limits.max_subscriptions:
            raise ua.UaStatusCodeError(_CODES.BadTooManySubscriptions)
        if len(session.subscriptions) >= limits.max_subscriptions_per_session:
            raise ua.UaStatusCodeError(_CODES.BadTooManySubscriptions)
        subscription = Subscription(
            next(self._subscription_ids),
            _pace(params, context),
            params.PublishingEnabled,
            context.clock.monotonic_ns(),
            limits.max_unacknowledged,
        )
        session.subscriptions[subscription.subscription_id] = subscription
        context.publisher.add(subscription, session)
        response = ua.CreateSubscriptionResponse()
        response.Parameters.SubscriptionId = subscription.subscription_id
        _say_pace(response.Parameters, subscription.pace)
        return response

    async def modify_subscription(self, context: Context, session: Session, params: Any) -> Any:
        """New parameters for a subscription."""
        subscription = self.owned(session, params.SubscriptionId)
        subscription.modify(_pace(params, context), context.clock.monotonic_ns())
        response = ua.ModifySubscriptionResponse()
        _say_pace(response.Parameters, subscription.pace)
        return response

    async def delete_subscriptions(self, context: Context, session: Session, params: Any) -> Any:
        """End subscriptions; each has its own status."""
        response = ua.DeleteSubscriptionsResponse()
        for subscription_id in params.SubscriptionIds:
            found = session.subscriptions.get(subscription_id)
            if found is not None:
                # It stays the session's until the end: a connection may be lost in the midst.
                for done, item in enumerate(list(found.items.values()), 1):
                    context.publisher.remove_item(item)
                    if done % STRETCH == 0:
                        await asyncio.sleep(0)
                session.subscriptions.pop(subscription_id, None)
                context.publisher.remove(found)
            response.Results.append(_known(found is not None, _CODES.BadSubscriptionIdInvalid))
        if not session.subscriptions:
            session.drop_requests(_CODES.BadNoSubscription)
        return response

    async def set_publishing_mode(self, _context: Context, session: Session, params: Any) -> Any:
        """Switch publishing on or off; each has its own status."""
        response = ua.SetPublishingModeResponse()
        for subscription_id in params.SubscriptionIds:
            found = session.subscriptions.get(subscription_id)
            if found is not None:
                found.enabled = params.PublishingEnabled
                found.touch()
            status = _known(found is not None, _CODES.BadSubscriptionIdInvalid)
            response.Parameters.Results.append(status)
        return response

    async def create_items(self, context: Context, session: Session, params: Any) -> Any:
        """New monitored items; each begins with its present value and has its own status."""
        subscription = self.owned(session, params.SubscriptionId)
        response = ua.CreateMonitoredItemsResponse()
        for done, asked in enumerate(params.ItemsToCreate, 1):
            try:
                result = self._create_item(
                    context, subscription, asked, int(params.TimestampsToReturn)
                )
            except ItemRefused as refused:
                result = ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(refused.status))
            response.Results.append(result)
            if done % STRETCH == 0:
                await asyncio.sleep(0)
                self.owned(session, params.SubscriptionId)
        return response

    def _create_item(
        self, context: Context, subscription: Subscription, asked: Any, which: int
    ) -> ua.MonitoredItemCreateResult:
        limits = context.limits
        if context.publisher.item_count >= limits.max_items:
            raise ItemRefused(_CODES.BadTooManyMonitoredItems)
        if len(subscription.items) >= limits.max_items_per_subscription:
            raise ItemRefused(_CODES.BadTooManyMonitoredItems)
        mode = int(asked.MonitoringMode)
        if not DISABLED <= mode <= REPORTING:
            raise ItemRefused(_CODES.BadMonitoringModeInvalid)
        if asked.ItemToMonitor.AttributeId == ua.AttributeIds.EventNotifier:
            return event_items.create(context, subscription, asked, next(self._item_ids))
        number = subscription.subscription_id

        def ask(nodeid: ua.NodeId, attribute: int) -> ua.DataValue:
            # Whoever is told of it now: a subscription moves, and a user's role changes.
            owner = context.publisher.receiver_of(number)
            assert isinstance(owner, Session), "of a subscription there is somebody to tell"
            return rights.shown(context, owner, nodeid, attribute)

        target = find_target(asked.ItemToMonitor, which, context.tree, context.live, ask)
        parameters = asked.RequestedParameters
        item = Item(
            next(self._item_ids),
            target,
            self._encoder(target, which),
            subscription,
            parameters.ClientHandle,
            mode,
        )
        result = ua.MonitoredItemCreateResult()
        result.MonitoredItemId = item.item_id
        _configure(context, item, parameters, result)
        context.publisher.add_item(item)
        return result

    async def modify_items(self, context: Context, session: Session, params: Any) -> Any:
        """New parameters for items; each has its own status."""
        subscription = self.owned(session, params.SubscriptionId)
        which = int(params.TimestampsToReturn)
        if not 0 <= which <= 3:
            raise ua.UaStatusCodeError(_CODES.BadTimestampsToReturnInvalid)
        response = ua.ModifyMonitoredItemsResponse()
        for done, asked in enumerate(params.ItemsToModify, 1):
            result = ua.MonitoredItemModifyResult()
            item = subscription.items.get(asked.MonitoredItemId)
            if item is None:
                result.StatusCode = ua.StatusCode(_CODES.BadMonitoredItemIdInvalid)
            else:
                try:
                    self._modify(context, item, asked.RequestedParameters, which, result)
                except ItemRefused as refused:
                    result.StatusCode = ua.StatusCode(refused.status)
            response.Results.append(result)
            if done % STRETCH == 0:
                await asyncio.sleep(0)
        return response

    def _modify(
        self, context: Context, item: Item | EventItem, asked: Any, which: int, result: Any
    ) -> None:
        if isinstance(item, EventItem):
            event_items.configure(context, item, asked, result)
            return
        _configure(context, item, asked, result)
        item.client_handle = asked.ClientHandle
        item.encode = self._encoder(item.target, which)

    def _encoder(self, target: Target, which: int) -> Encode:
        if isinstance(target, PointTarget):
            return self._encoders.for_point(target.spec.data_type, which)
        return self._encoders.for_node(which)

    async def set_monitoring_mode(self, context: Context, session: Session, params: Any) -> Any:
        """Disable, sample or report items; each has its own status."""
        subscription = self.owned(session, params.SubscriptionId)
        mode = int(params.MonitoringMode)
        if not DISABLED <= mode <= REPORTING:
            raise ua.UaStatusCodeError(_CODES.BadMonitoringModeInvalid)
        response = ua.SetMonitoringModeResponse()
        for done, item_id in enumerate(params.MonitoredItemIds, 1):
            item = subscription.items.get(item_id)
            if item is not None:
                was = item.mode
                item.set_mode(mode)
                if was == DISABLED:
                    context.publisher.resample(item)
            status = _known(item is not None, _CODES.BadMonitoredItemIdInvalid)
            response.Parameters.Results.append(status)
            if done % STRETCH == 0:
                await asyncio.sleep(0)
        return response

    async def delete_items(self, context: Context, session: Session, params: Any) -> Any:
        """End items; each has its own status."""
        subscription = self.owned(session, params.SubscriptionId)
        response = ua.DeleteMonitoredItemsResponse()
        for done, item_id in enumerate(params.MonitoredItemIds, 1):
            item = subscription.items.get(item_id)
            if item is not None:
                context.publisher.remove_item(item)
            response.Results.append(_known(item is not None, _CODES.BadMonitoredItemIdInvalid))
            if done % STRETCH == 0:
                await asyncio.sleep(0)
        return response

    def publish(
        self, context: Context, session: Session, params: Any, header: Any, sequence_header: Any
    ) -> None:
        """Take acknowledgements and keep the request until there is something to tell.

        Raises UaStatusCodeError when the session has no subscription to tell of.
        """
        if not session.subscriptions:
            raise ua.UaStatusCodeError(_CODES.BadNoSubscription)
        results = [
            _acknowledge(session, found.SubscriptionId, found.SequenceNumber)
            for found in params.SubscriptionAcknowledgements
        ]
        hint_ns = header.timeout_hint_ms * NS_PER_MS
        expires_ns = context.clock.monotonic_ns() + hint_ns if hint_ns else 0
        request = PublishRequest(header.handle, sequence_header, results, expires_ns)
        session.enqueue(request, context.limits.max_publish_requests)
        context.publisher.send_late(session)

    async def republish(self, _context: Context, session: Session, params: Any) -> Any:
        """A message that was not yet acknowledged, once more."""
        subscription = self.owned(session, params.SubscriptionId)
        message = subscription.unacknowledged.get(params.RetransmitSequenceNumber)
        if message is None:
            raise ua.UaStatusCodeError(_CODES.BadMessageNotAvailable)
        response = ua.RepublishResponse()
        response.NotificationMessage = message
        return response

    async def transfer(self, context: Context, session: Session, params: Any) -> Any:
        """Take over subscriptions of another session of the same user."""
        response = ua.TransferSubscriptionsResponse()
        for subscription_id in params.SubscriptionIds:
            result = ua.TransferResult()
            try:
                found = self._transfer(context, session, subscription_id)
            except ua.UaStatusCodeError as error:
                result.StatusCode = ua.StatusCode(error.code)
            else:
                result.AvailableSequenceNumbers = list(found.unacknowledged)
                if params.SendInitialValues:
                    await context.publisher.resend(found)
            response.Parameters.Results.append(result)
        return response

    def _transfer(self, context: Context, session: Session, number: int) -> Subscription:
        if number in session.subscriptions:
            raise ua.UaStatusCodeError(_CODES.BadNothingToDo)
        owner = context.publisher.receiver_of(number)
        if not isinstance(owner, Session):
            raise ua.UaStatusCodeError(_CODES.BadSubscriptionIdInvalid)
        mine, theirs = session.account, owner.account
        same_user = mine is not None and theirs is not None and mine.name == theirs.name
        # Who says nobody's name is known by a certificate, or by nothing (Part 4 section 5.14.7).
        nobody = mine is GUEST and not session.certificate
        if not same_user or nobody or owner.certificate != session.certificate:
            raise ua.UaStatusCodeError(_CODES.BadUserAccessDenied)
        if len(session.subscriptions) >= context.limits.max_subscriptions_per_session:
            raise ua.UaStatusCodeError(_CODES.BadTooManySubscriptions)
        found = owner.subscriptions.pop(number)
        context.publisher.send_status(found, owner, _CODES.GoodSubscriptionTransferred)
        session.subscriptions[number] = found
        context.publisher.add(found, session)
        found.touch()
        return found


def _pace(params: Any, context: Context) -> Pace:
    return Pace.revise(
        params.RequestedPublishingInterval,
        params.RequestedMaxKeepAliveCount,
        params.RequestedLifetimeCount,
        params.MaxNotificationsPerPublish,
        params.Priority,
        context.limits,
    )


def _say_pace(result: Any, pace: Pace) -> None:
    result.RevisedPublishingInterval = pace.interval_ms
    result.RevisedLifetimeCount = pace.lifetime_count
    result.RevisedMaxKeepAliveCount = pace.keep_alive_count


def _configure(context: Context, item: Item, asked: Any, result: Any) -> None:
    limits = context.limits
    item_filter = read_filter(item.target, asked.Filter)
    interval_ms = item.subscription.interval_ms
    sampling_ms = revised_sampling(
        asked.SamplingInterval, interval_ms, limits.min_sampling_ms, limits.max_sampling_ms
    )
    queue_size = min(max(asked.QueueSize, 1), limits.max_queue)
    item.configure(item_filter, sampling_ms, queue_size, asked.DiscardOldest)
    result.RevisedSamplingInterval = sampling_ms
    result.RevisedQueueSize = queue_size


def _acknowledge(session: Session, subscription_id: int, number: int) -> ua.StatusCode:
    found = session.subscriptions.get(subscription_id)
    if found is None:
        return ua.StatusCode(_CODES.BadSubscriptionIdInvalid)
    return _known(found.acknowledge(number), _CODES.BadSequenceNumberUnknown)


def _known(known: bool, otherwise: int) -> ua.StatusCode:
    return ua.StatusCode(_CODES.Good if known else otherwise)
