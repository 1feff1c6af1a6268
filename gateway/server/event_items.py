"""Monitored items on EventNotifier: what a client asks for, checked and answered.

Each select clause and each element of the where clause has its own result. A field that no event
will ever have is sent as null; a where clause that can't be carried out refuses the item
(OPC 10000-4 section 7.22.3).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from gateway.server import content_filter
from gateway.server.content_filter import (
    BAD_LITERAL_INVALID,
    BAD_OPERAND_INVALID,
    Element,
    FieldOperand,
    Literal,
    Operand,
    Reference,
    Refusal,
    Where,
)
from gateway.server.encoding import from_ticks
from gateway.server.event_nodes import SUBSCRIBE_TO_EVENTS, Fields
from gateway.server.event_queue import EventFilter, EventItem
from gateway.server.event_types import BASE, SERVER, SITE_NODE
from gateway.server.event_values import Id, Moment, Plain
from gateway.server.items import ItemRefused
from gateway.server.settings import Limits
from gateway.server.subscription import Subscription

if TYPE_CHECKING:
    from gateway.server.context import Context

_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
_A = ua.AttributeIds


def _decoded(identifier: int) -> Any:
    """The decoder's own class: the library exports another one under the same name."""
    return ua.extension_objects_by_typeid[ua.NodeId(identifier)]


_EVENT_FILTER: Final = _decoded(_IDS.EventFilter_Encoding_DefaultBinary)
_SIMPLE: Final = _decoded(_IDS.SimpleAttributeOperand_Encoding_DefaultBinary)
_ELEMENT: Final = _decoded(_IDS.ElementOperand_Encoding_DefaultBinary)
_LITERAL: Final = _decoded(_IDS.LiteralOperand_Encoding_DefaultBinary)
_CONDITION_ID: Final = FieldOperand(Id(0, _IDS.ConditionType), ())
"""The NodeId of a condition: a field without a path, of which our events have none."""
QUEUE_DEFAULT: Final = 0


def create(context: Context, subscription: Subscription, asked: Any, item_id: int) -> Any:
    """A new item, served from now on, or the reasons why not. Raises ItemRefused."""
    feed = context.publisher.events
    if len(feed) >= context.limits.max_event_items:
        raise ItemRefused(_CODES.BadTooManyMonitoredItems)
    parameters = asked.RequestedParameters
    item = EventItem(
        item_id,
        _device(context, asked.ItemToMonitor),
        subscription,
        parameters.ClientHandle,
        int(asked.MonitoringMode),
        feed.overflow,
    )
    result = ua.MonitoredItemCreateResult()
    configure(context, item, parameters, result)
    if result.StatusCode.is_good():
        result.MonitoredItemId = item_id
        context.publisher.add_item(item)
    return result


def _device(context: Context, item: Any) -> str:
    """The device that a notifier stands for; empty for the whole site. Raises ItemRefused."""
    if item.IndexRange:
        raise ItemRefused(_CODES.BadIndexRangeInvalid)
    data = context.space.get(item.NodeId)
    if data is None:
        raise ItemRefused(_CODES.BadNodeIdUnknown)
    found = data.attributes.get(_A.EventNotifier)
    if found is None:
        raise ItemRefused(_CODES.BadAttributeIdInvalid)
    if not found.value.Value.Value & SUBSCRIBE_TO_EVENTS:
        raise ItemRefused(_CODES.BadNotSupported)
    whole = Id(item.NodeId.NamespaceIndex, item.NodeId.Identifier) in (SERVER, SITE_NODE)
    return "" if whole else str(item.NodeId.Identifier)


def configure(context: Context, item: EventItem, parameters: Any, result: Any) -> None:
    """Take over the parameters of a request; the result says what is wrong. Raises ItemRefused."""
    limits = context.limits
    asked = parameters.Filter
    if asked is None or (isinstance(asked, ua.ExtensionObject) and not asked):
        raise ItemRefused(_CODES.BadEventFilterInvalid)
    if not isinstance(asked, _EVENT_FILTER):
        raise ItemRefused(_CODES.BadFilterNotAllowed)
    found, result.FilterResult = read_filter(asked, context.event_fields, limits)
    result.RevisedSamplingInterval = 0.0
    if found is None:
        result.StatusCode = ua.StatusCode(_CODES.BadEventFilterInvalid)
        return
    size = min(parameters.QueueSize, limits.max_event_queue)
    result.RevisedQueueSize = limits.max_event_queue if size == QUEUE_DEFAULT else size
    item.configure(found, result.RevisedQueueSize, parameters.DiscardOldest)
    item.client_handle = parameters.ClientHandle


def read_filter(
    asked: Any, fields: Fields, limits: Limits
) -> tuple[EventFilter | None, ua.EventFilterResult]:
    """A filter and its results; None when it can't be carried out.

    Raises ItemRefused when it is larger than the server advertises, or selects nothing.
    """
    clauses = asked.SelectClauses or []
    elements = asked.WhereClause.Elements or []
    operands = sum(len(element.FilterOperands or ()) for element in elements)
    if not clauses or len(clauses) > limits.max_select_clauses:
        raise ItemRefused(_CODES.BadEventFilterInvalid)
    if max(len(elements), operands) > limits.max_where_operands:
        raise ItemRefused(_CODES.BadEventFilterInvalid)
    select = [_field(clause, fields) for clause in clauses]
    where = [
        Element(
            int(element.FilterOperator),
            [_operand(operand, fields) for operand in element.FilterOperands or ()],
        )
        for element in elements
    ]
    findings = content_filter.check(where)
    result = ua.EventFilterResult()
    result.SelectClauseResults = [
        ua.StatusCode(found.status if isinstance(found, Refusal) else _CODES.Good)
        for found in select
    ]
    result.WhereClauseResult.ElementResults = [
        ua.ContentFilterElementResult(
            StatusCode=ua.StatusCode(finding.status),
            OperandStatusCodes=[ua.StatusCode(status) for status in finding.operands],
        )
        for finding in findings
    ]
    if any(finding.status for finding in findings):
        return None, result
    selected = [None if isinstance(found, Refusal) else found for found in select]
    return EventFilter(selected, Where(where)), result


def _field(clause: Any, fields: Fields) -> FieldOperand | Refusal:
    """The field that a SimpleAttributeOperand names (OPC 10000-4 section 7.7.4.5)."""
    type_id = _id(clause.TypeDefinitionId)
    if type_id is None or type_id == Id(0, 0):
        type_id = BASE  # some clients name no type
    if type_id not in fields:
        return Refusal(_CODES.BadTypeDefinitionInvalid)
    names: Sequence[Any] = clause.BrowsePath or ()
    if any(not name.Name for name in names):
        return Refusal(_CODES.BadBrowseNameInvalid)
    if not names:
        is_id = clause.AttributeId == _A.NodeId
        return _CONDITION_ID if is_id else Refusal(_CODES.BadAttributeIdInvalid)
    path = tuple((name.NamespaceIndex, name.Name) for name in names)
    if path not in fields[type_id]:
        return Refusal(_CODES.BadNodeIdUnknown)
    if clause.AttributeId != _A.Value:
        return Refusal(_CODES.BadAttributeIdInvalid)
    if clause.IndexRange:
        return Refusal(_CODES.BadIndexRangeInvalid)
    return FieldOperand(None if type_id == BASE else type_id, path)


def _operand(operand: Any, fields: Fields) -> Operand:
    if isinstance(operand, _SIMPLE):
        return _field(operand, fields)
    if isinstance(operand, _ELEMENT):
        return Reference(operand.Index)
    if isinstance(operand, _LITERAL):
        return _literal(operand.Value)
    return Refusal(BAD_OPERAND_INVALID)


def _literal(found: ua.Variant) -> Operand:
    if found.is_array:
        return Refusal(BAD_LITERAL_INVALID)
    value = found.Value
    plain: Plain
    if isinstance(value, ua.NodeId):
        plain = _id(value)
        if plain is None:
            return Refusal(BAD_LITERAL_INVALID)
    elif isinstance(value, datetime.datetime):
        plain = Moment(from_ticks(ua.datetime_to_win_epoch(value)))
    elif isinstance(value, ua.LocalizedText):
        plain = value.Text
    elif isinstance(value, ua.QualifiedName):
        plain = value.Name
    elif isinstance(value, ua.StatusCode):
        plain = int(value.value)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        plain = value
    else:
        return Refusal(BAD_LITERAL_INVALID)
    return Literal(plain)


def _id(found: ua.NodeId) -> Id | None:
    """A NodeId that is a number or a string; events have no others."""
    if isinstance(found.Identifier, int | str):
        return Id(found.NamespaceIndex, found.Identifier)
    return None
