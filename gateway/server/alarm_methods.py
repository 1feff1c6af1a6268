"""What clients do with alarms: they have them told anew, acknowledge them, comment on them.

The conditions are not in the address space: an ObjectId is a ConditionId, and the methods are those
of the standard's types (OPC 10000-9 sections 5.5.3 to 5.5.8, 5.7.3).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from asyncua import ua

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.server import event_types as types
from gateway.server.alarms import (
    AlarmRefused,
    Alarms,
    AlreadyAcknowledged,
    Trouble,
    bracket,
    is_condition,
)
from gateway.server.audit import ACKNOWLEDGE, COMMENT, Audit
from gateway.server.event_queue import EventItem
from gateway.server.event_types import Event
from gateway.server.event_values import Id
from gateway.server.methods import Call, CallRefused, Method, Methods
from gateway.server.nodes import standard
from gateway.server.permissions import to_call
from gateway.server.publisher import Publisher
from gateway.server.subscription_methods import owned

_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
_V = ua.VariantType
NAME_BYTES: Final = 16
REFRESH_NS: Final = 10 * NS_PER_S
"""A refresh that was not delivered by then is in progress no more: its events were given up."""


class AlarmService:
    """The alarms of a site, told to who watches events; `troubles` is None where nobody watches."""

    def __init__(
        self,
        troubles: Callable[[], Iterable[Trouble] | None],
        publisher: Publisher,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._troubles = troubles
        self._publisher = publisher
        self._audit = audit
        self._clock = clock
        self._alarms = Alarms(_name)
        self._refreshing: dict[int, int] = {}

    def add_to(self, methods: Methods) -> None:
        """Serve the methods from now on."""
        condition = standard(_IDS.ConditionType)
        said = (_V.ByteString, _V.LocalizedText)
        for owner, number, serve, arguments in (
            (condition, _IDS.ConditionType_ConditionRefresh, self._refresh, (_V.UInt32,)),
            (
                condition,
                _IDS.ConditionType_ConditionRefresh2,
                self._refresh,
                (_V.UInt32, _V.UInt32),
            ),
            (None, _IDS.AcknowledgeableConditionType_Acknowledge, self._acknowledge, said),
            (None, _IDS.ConditionType_AddComment, self._comment, said),
            (None, _IDS.ConditionType_Enable, self._enable, ()),
            (None, _IDS.ConditionType_Disable, self._disable, ()),
        ):
            methods.add(owner, standard(number), Method(serve, to_call(number), arguments))

    def look(self) -> None:
        """What is wrong may have changed. Cheap."""
        for event in self._alarms.look(self._troubles(), self._clock.utc_ns()):
            self._tell(event)

    def _tell(self, event: Event) -> None:
        self._publisher.events.tell(lambda: (event,))

    # ----------------------------------------------------------------------------- the refresh

    async def _refresh(self, call: Call) -> list[ua.Variant]:
        subscription = owned(call, self._publisher)
        items = [item for item in subscription.items.values() if isinstance(item, EventItem)]
        if len(call.arguments) > 1:
            items = [item for item in items if item.item_id == call.arguments[1]]
            if not items:
                raise CallRefused(_CODES.BadMonitoredItemIdInvalid)
        if not items:
            raise CallRefused(_CODES.BadNothingToDo)
        number, now_ns = subscription.subscription_id, self._clock.monotonic_ns()
        under_way = {n: until for n, until in self._refreshing.items() if until > now_ns}
        if number in under_way:
            raise CallRefused(_CODES.BadRefreshInProgress)
        self._refreshing = {**under_way, number: now_ns + REFRESH_NS}
        only = set(items)
        self._publisher.events.tell(partial(self._refreshed, number), only.__contains__)
        return []

    def _refreshed(self, number: int) -> Iterator[Event]:
        """What an item is told when its turn has come: the conditions as they are then."""
        for type_id, text, conditions in (
            (types.REFRESH_START, "refresh begins", self._alarms.retained()),
            (types.REFRESH_END, "refresh ends", []),
        ):
            yield bracket(type_id, _name(), text, self._clock.utc_ns())
            yield from conditions
        self._refreshing.pop(number, None)

    # ------------------------------------------------------------------------- what people say

    async def _acknowledge(self, call: Call) -> list[ua.Variant]:
        return self._said(call, self._alarms.acknowledge, ACKNOWLEDGE, "acknowledged")

    async def _comment(self, call: Call) -> list[ua.Variant]:
        return self._said(call, self._alarms.comment, COMMENT, "commented")

    def _said(
        self, call: Call, say: Callable[..., Event], action: str, outcome: str
    ) -> list[ua.Variant]:
        event_id, given = call.arguments
        comment, condition = _text(given), _condition(call.owner)
        try:
            event = say(condition, event_id, call.user.name, comment, self._clock.utc_ns())
        except AlarmRefused as refused:
            raise CallRefused(_status(refused)) from None
        target = str(condition.identifier)
        self._audit.put(action, target, call.user.name, outcome, comment=comment or "")
        self._tell(event)
        return []

    async def _enable(self, call: Call) -> list[ua.Variant]:
        _condition(call.owner)
        raise CallRefused(_CODES.BadConditionAlreadyEnabled)

    async def _disable(self, call: Call) -> list[ua.Variant]:
        # A device is taken out of service as a whole, by `hotpair disable`.
        _condition(call.owner)
        raise CallRefused(_CODES.BadNotSupported)


def _name() -> bytes:
    return secrets.token_bytes(NAME_BYTES)


def _condition(found: ua.NodeId) -> Id:
    """The ConditionId that was called. Raises CallRefused where it can't be one."""
    condition = Id(found.NamespaceIndex, found.Identifier)
    if not is_condition(condition):
        raise CallRefused(_CODES.BadNodeIdInvalid)
    return condition


def _text(given: Any) -> str | None:
    """A comment; neither text nor locale leaves the one there is (5.5.6)."""
    if given is None or not (given.Text or given.Locale):
        return None
    return given.Text or ""


def _status(refused: AlarmRefused) -> int:
    if isinstance(refused, AlreadyAcknowledged):
        return int(_CODES.BadConditionBranchAlreadyAcked)
    # Of a condition that is over nothing is known, so its events aren't, either.
    return int(_CODES.BadEventIdUnknown)
