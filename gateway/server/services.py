"""Which request is which service, how many operations it may hold, and who serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from gateway.server import attributes, history_request, views
from gateway.server.context import Context
from gateway.server.sessions import Session
from gateway.server.settings import Limits

_CODES = ua.StatusCodes
Serve = Callable[[Context, Session, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Service:
    """One service that needs a session.

    `operations` names the list whose length `limit`, a field of Limits, bounds. A `slow` service
    waits for the field or the disk, and is served beside the other requests of its connection.
    """

    name: str
    serve: Serve
    operations: str = ""
    limit: str = ""
    slow: bool = False
    parameters: str = ""
    read: Callable[[Buffer], Any] | None = None

    def decode(self, body: Buffer) -> Any:
        """The parameters of a request, by `read` where the library's own decoding won't do."""
        if self.read is not None:
            return self.read(body)
        return struct_from_binary(getattr(ua, self.parameters or f"{self.name}Parameters"), body)

    def check_count(self, params: Any, limits: Limits) -> None:
        """Refuse a request without operations, and one with too many. Raises UaStatusCodeError."""
        if not self.operations:
            return
        count = len(getattr(params, self.operations) or ())
        if count == 0:
            raise ua.UaStatusCodeError(_CODES.BadNothingToDo)
        if count > getattr(limits, self.limit):
            raise ua.UaStatusCodeError(_CODES.BadTooManyOperations)


def _monitoring(method: str) -> Serve:
    async def serve(context: Context, session: Session, params: Any) -> Any:
        return await getattr(context.monitoring, method)(context, session, params)

    return serve


_ITEMS = "max_items_per_call"
_SUBSCRIPTIONS = "max_subscriptions"
_ALL: Final = (
    Service("Read", attributes.read, "NodesToRead", "max_nodes_per_read"),
    Service("Write", attributes.write, "NodesToWrite", "max_nodes_per_write", slow=True),
    Service(
        "HistoryRead",
        attributes.history_read,
        "NodesToRead",
        "max_nodes_per_history_read",
        slow=True,
        read=history_request.decode,
    ),
    Service("Browse", views.browse, "NodesToBrowse", "max_nodes_per_browse"),
    Service("BrowseNext", views.browse_next, "ContinuationPoints", "max_nodes_per_browse"),
    Service(
        "TranslateBrowsePathsToNodeIds",
        views.translate,
        "BrowsePaths",
        "max_nodes_per_translate",
    ),
    Service("RegisterNodes", views.register, "NodesToRegister", "max_nodes_per_register"),
    Service("UnregisterNodes", views.unregister, "NodesToUnregister", "max_nodes_per_register"),
    Service("Call", views.call, "MethodsToCall", "max_nodes_per_call", slow=True),
    Service("CreateSubscription", _monitoring("create_subscription")),
    Service("ModifySubscription", _monitoring("modify_subscription")),
    Service(
        "DeleteSubscriptions",
        _monitoring("delete_subscriptions"),
        "SubscriptionIds",
        _SUBSCRIPTIONS,
    ),
    Service(
        "SetPublishingMode", _monitoring("set_publishing_mode"), "SubscriptionIds", _SUBSCRIPTIONS
    ),
    Service("TransferSubscriptions", _monitoring("transfer"), "SubscriptionIds", _SUBSCRIPTIONS),
    Service("Republish", _monitoring("republish")),
    Service("CreateMonitoredItems", _monitoring("create_items"), "ItemsToCreate", _ITEMS),
    Service("ModifyMonitoredItems", _monitoring("modify_items"), "ItemsToModify", _ITEMS),
    Service("SetMonitoringMode", _monitoring("set_monitoring_mode"), "MonitoredItemIds", _ITEMS),
    Service("DeleteMonitoredItems", _monitoring("delete_items"), "MonitoredItemIds", _ITEMS),
)
BY_REQUEST: Final[dict[int, Service]] = {
    getattr(ua.ObjectIds, f"{service.name}Request_Encoding_DefaultBinary"): service
    for service in _ALL
}
