"""What a client asks of its own subscriptions by method: `GetMonitoredItems` and `ResendData`.

OPC 10000-5 sections 9.1 and 9.2; what they are for: OPC 10000-4 sections 5.13.2.1 and 5.14.7. After
a broken connection a client learns which items it has, and has their values sent once more.
"""

from __future__ import annotations

from typing import Final

from asyncua import ua

from gateway.server.methods import Call, CallRefused, Method, Methods
from gateway.server.nodes import standard
from gateway.server.permissions import to_call
from gateway.server.publisher import Publisher
from gateway.server.subscription import Subscription

_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
_UINT32: Final = ua.VariantType.UInt32


class SubscriptionMethods:
    """The two methods; each serves the session that owns the subscription, and nobody else."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def add_to(self, methods: Methods) -> None:
        """Serve them from now on."""
        for serve, number, of_type in (
            (self._items, _IDS.Server_GetMonitoredItems, _IDS.ServerType_GetMonitoredItems),
            (self._resend, _IDS.Server_ResendData, _IDS.ServerType_ResendData),
        ):
            method = Method(serve, to_call(number), (_UINT32,))
            # Of an object a method may be called by its type's NodeId (OPC 10000-4 5.12.2.2).
            for identifier in (number, of_type):
                methods.add(standard(_IDS.Server), standard(identifier), method)

    async def _items(self, call: Call) -> list[ua.Variant]:
        items = owned(call, self._publisher).items.values()
        return [
            ua.Variant([item.item_id for item in items], _UINT32, is_array=True),
            ua.Variant([item.client_handle for item in items], _UINT32, is_array=True),
        ]

    async def _resend(self, call: Call) -> list[ua.Variant]:
        await self._publisher.resend(owned(call, self._publisher))
        return []


def owned(call: Call, publisher: Publisher) -> Subscription:
    """The subscription of the caller that the first argument names. Raises CallRefused."""
    number = call.arguments[0]
    found = call.caller.subscriptions.get(number) if number is not None else None
    if found is not None:
        found.touch()
        return found
    # As the standard has it, though it tells that somebody else has one of that number.
    others = number is not None and publisher.receiver_of(number) is not None
    raise CallRefused(_CODES.BadUserAccessDenied if others else _CODES.BadSubscriptionIdInvalid)
