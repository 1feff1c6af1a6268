"""Where clauses: checked once, then evaluated for each event (OPC 10000-4 section 7.7).

Pure. Every element is evaluated once for an event, from the last to the first: an element may only
refer to later ones, so a filter costs no more than its operands, however they refer to each other.
Null is the third truth value of AND, OR and NOT (Tables 127 and 128).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from gateway.server.event_values import Id, Moment, Plain
from gateway.server.wildcards import matches

GOOD: Final = 0
BAD_OPERAND_INVALID: Final = 0x80490000
BAD_OPERATOR_UNSUPPORTED: Final = 0x80C20000
BAD_OPERAND_COUNT: Final = 0x80C30000
BAD_ELEMENT_INVALID: Final = 0x80C40000
BAD_LITERAL_INVALID: Final = 0x80C50000
PATTERN_MAX: Final = 200
"""Characters of all Like patterns of a clause together; with the length of texts it bounds time."""

Path = tuple[tuple[int, str], ...]
"""Browse names from the event on: (namespace index, name)."""
FALSE_TEXTS: Final = frozenset({"false", "0"})
TRUE_TEXTS: Final = frozenset({"true", "1"})


class Operator(IntEnum):
    """The operators that are carried out; others are refused (OPC 10000-4 section 7.7.3)."""

    EQUALS = 0
    IS_NULL = 1
    GREATER_THAN = 2
    LESS_THAN = 3
    GREATER_THAN_OR_EQUAL = 4
    LESS_THAN_OR_EQUAL = 5
    LIKE = 6
    NOT = 7
    BETWEEN = 8
    IN_LIST = 9
    AND = 10
    OR = 11
    OF_TYPE = 14


class Seen(Protocol):
    """An event as filters see it."""

    def value(self, type_id: Id | None, path: Path) -> Plain:
        """A field; null where the event has none, or is not of the type."""

    def is_of(self, type_id: Id) -> bool:
        """Whether its type is this one or derived from it."""


class Literal(NamedTuple):
    """A value that the client gives."""

    value: Plain


class FieldOperand(NamedTuple):
    """A field of the event; `type_id` None takes events of every type."""

    type_id: Id | None
    path: Path


class Reference(NamedTuple):
    """What another element comes to."""

    element: int


class Refusal(NamedTuple):
    """An operand that was found wrong before: its StatusCode."""

    status: int


Operand = Literal | FieldOperand | Reference | Refusal


class Element(NamedTuple):
    """One element of a where clause; `operator` is a number of OPC 10000-4 section 7.7.3."""

    operator: int
    operands: Sequence[Operand]


class Finding(NamedTuple):
    """What is wrong with an element, and with its operands (empty: nothing is)."""

    status: int
    operands: tuple[int, ...]


_COUNTS: Final = {
    Operator.IS_NULL: 1,
    Operator.NOT: 1,
    Operator.OF_TYPE: 1,
    Operator.BETWEEN: 3,
}


def check(elements: Sequence[Element]) -> list[Finding]:
    """One finding an element, for a ContentFilterResult (OPC 10000-4 section 7.7.2)."""
    findings, room = [], PATTERN_MAX
    for index, element in enumerate(elements):
        findings.append(_check(element, index, len(elements), room))
        room -= _pattern_size(element)
    return findings


def _pattern_size(element: Element) -> int:
    if element.operator == Operator.LIKE:
        match element.operands:
            case [_, Literal(str(pattern))]:
                return len(pattern)
    return 0


def _check(element: Element, index: int, count: int, room: int) -> Finding:
    try:
        operator = Operator(element.operator)
    except ValueError:
        return Finding(BAD_OPERATOR_UNSUPPORTED, ())
    operands = element.operands
    size, wanted = len(operands), _COUNTS.get(operator, 2)
    if size < wanted or (size > wanted and operator is not Operator.IN_LIST):
        return Finding(BAD_OPERAND_COUNT, ())
    statuses = [_check_operand(operator, operand, index, count) for operand in operands]
    if operator is Operator.LIKE and statuses[1] == GOOD:
        statuses[1] = _check_pattern(operands[1], room)
    if any(statuses):
        return Finding(BAD_OPERAND_INVALID, tuple(statuses))
    return Finding(GOOD, ())


def _check_operand(operator: Operator, operand: Operand, index: int, count: int) -> int:
    match operand:
        case Refusal(status):
            return status
        case Reference(to):
            return GOOD if index < to < count else BAD_ELEMENT_INVALID
        case Literal(value) if operator is Operator.OF_TYPE and not isinstance(value, Id):
            return BAD_LITERAL_INVALID
    return GOOD


def _check_pattern(operand: Operand, room: int) -> int:
    """A pattern is given by the client: its length is known before any event is."""
    match operand:
        case Literal(str(pattern)):
            return GOOD if len(pattern) <= room else BAD_LITERAL_INVALID
        case Literal():
            return BAD_LITERAL_INVALID
    return BAD_OPERAND_INVALID


class Where:
    """A where clause that was found right; without elements every event passes."""

    def __init__(self, elements: Sequence[Element] = ()) -> None:
        self._elements = tuple(elements)

    def passes(self, event: Seen) -> bool:
        """Whether the first element is TRUE for the event."""
        elements = self._elements
        if not elements:
            return True
        results: list[Plain] = [None] * len(elements)
        for index in range(len(elements) - 1, -1, -1):
            element = elements[index]
            values = [_resolve(operand, event, results) for operand in element.operands]
            results[index] = _evaluate(Operator(element.operator), values, event)
        return results[0] is True


def _resolve(operand: Operand, event: Seen, results: Sequence[Plain]) -> Plain:
    match operand:
        case Literal(value):
            return value
        case FieldOperand(type_id, path):
            return event.value(type_id, path)
        case Reference(index):
            return results[index]
    raise AssertionError("a refused operand is evaluated")


def _evaluate(operator: Operator, values: Sequence[Plain], event: Seen) -> bool | None:
    first = values[0]
    match operator:
        case Operator.IS_NULL:
            return first is None
        case Operator.OF_TYPE:
            return isinstance(first, Id) and event.is_of(first)
        case Operator.NOT:
            known = _truth(first)
            return None if known is None else not known
        case Operator.AND:
            return _both(_truth(first), _truth(values[1]))
        case Operator.OR:
            return _either(_truth(first), _truth(values[1]))
        case Operator.LIKE:
            pattern = values[1]
            return isinstance(first, str) and isinstance(pattern, str) and matches(first, pattern)
        case Operator.IN_LIST:
            return any(_compare(first, other, _equal) for other in values[1:])
        case Operator.BETWEEN:
            low, high = values[1], values[2]
            return _compare(first, low, _at_least) and _compare(first, high, _at_most)
    return _compare(first, values[1], _COMPARISONS[operator])


def _truth(value: Plain) -> bool | None:
    """A Boolean, or what converts to one; null is neither true nor false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value)
    if isinstance(value, str):
        return _boolean(value)
    return None


def _both(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _either(a: bool | None, b: bool | None) -> bool | None:
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


Comparison = Callable[[int], bool]
"""What an order (-1, 0, 1) of two values means."""


def _equal(order: int) -> bool:
    return order == 0


def _at_least(order: int) -> bool:
    return order >= 0


def _at_most(order: int) -> bool:
    return order <= 0


_COMPARISONS: Final[dict[Operator, Comparison]] = {
    Operator.EQUALS: _equal,
    Operator.GREATER_THAN: lambda order: order > 0,
    Operator.LESS_THAN: lambda order: order < 0,
    Operator.GREATER_THAN_OR_EQUAL: _at_least,
    Operator.LESS_THAN_OR_EQUAL: _at_most,
}


def _compare(a: Plain, b: Plain, means: Comparison) -> bool:
    """FALSE where the two can't be compared: a null, a failed conversion, no order."""
    a, b = _common(a, b)
    if a is None or b is None:
        return False
    if isinstance(a, int | float) and isinstance(b, int | float):
        if a != a or b != b:
            return False
        return means((a > b) - (a < b))
    if isinstance(a, str) and isinstance(b, str):
        return means((a > b) - (a < b))
    if isinstance(a, Moment) and isinstance(b, Moment):
        return means((a > b) - (a < b))
    # Neither NodeIds nor bytes have an order; but each is as great as itself.
    return type(a) is type(b) and (a == b) and means(0)


def _common(a: Plain, b: Plain) -> tuple[Plain, Plain]:
    """Both as the type that comes first (OPC 10000-4 section 7.7.3, Tables 125 and 126).

    Text becomes the number or the Boolean that it is compared with, a NodeId its text.
    """
    if isinstance(a, str) and not isinstance(b, str):
        return _from_text(a, b), _as_text(b)
    if isinstance(b, str) and not isinstance(a, str):
        return _as_text(a), _from_text(b, a)
    return a, b


def _from_text(text: str, other: Plain) -> Plain:
    if isinstance(other, bool):
        return _boolean(text)
    if isinstance(other, int | float):
        return _number(text)
    return text if isinstance(other, Id) else None


def _as_text(value: Plain) -> Plain:
    return str(value) if isinstance(value, Id) else value


def _boolean(text: str) -> bool | None:
    lower = text.lower()
    if lower in TRUE_TEXTS:
        return True
    return False if lower in FALSE_TEXTS else None


def _number(text: str) -> int | float | None:
    try:
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return None
