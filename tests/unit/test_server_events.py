"""The pure parts of events: fields, patterns, where clauses, queues."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary
from hypothesis import given
from hypothesis import strategies as st

from gateway.server import content_filter as cf
from gateway.server import event_types as types
from gateway.server.content_filter import (
    Element,
    FieldOperand,
    Literal,
    Operator,
    Reference,
    Refusal,
    Where,
)
from gateway.server.encoding import event_list
from gateway.server.event_queue import EventFilter, EventItem
from gateway.server.event_types import Event, own_path, standard_path
from gateway.server.event_values import (
    ANY,
    BOOLEAN,
    BYTE_STRING,
    DATE_TIME,
    LOCALIZED_TEXT,
    NODE_ID,
    STATUS_CODE,
    STRING,
    UINT16,
    UINT32,
    Field,
    Id,
    Moment,
    Plain,
)
from gateway.server.settings import Limits
from gateway.server.subscription import DISABLED, REPORTING, SAMPLING, Pace, Subscription
from gateway.server.wildcards import matches

TEXT, NUMBER = standard_path("Message"), standard_path("Severity")


def event(text: str = "hello", severity: int = 500, **more: Any) -> Event:
    fields = [(TEXT, Field(LOCALIZED_TEXT, text)), (NUMBER, Field(UINT16, severity))]
    return Event(types.GAP_OPENED.ids, fields, **more)


# ----------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        (Field(BOOLEAN, True), ua.VariantType.Boolean, True),
        (Field(UINT16, 1000), ua.VariantType.UInt16, 1000),
        (Field(UINT32, 70_000), ua.VariantType.UInt32, 70_000),
        (
            Field(STATUS_CODE, 0x40900000),
            ua.VariantType.StatusCode,
            ua.StatusCode(0x40900000),
        ),
        (Field(STRING, "grün"), ua.VariantType.String, "grün"),
        (Field(BYTE_STRING, b"\x00\xff"), ua.VariantType.ByteString, b"\x00\xff"),
        (Field(LOCALIZED_TEXT, "x"), ua.VariantType.LocalizedText, ua.LocalizedText("x")),
        (Field(NODE_ID, Id(0, 85)), ua.VariantType.NodeId, ua.NodeId(85)),
        (Field(NODE_ID, Id(0, 2041)), ua.VariantType.NodeId, ua.NodeId(2041)),
        (Field(NODE_ID, Id(2, "plc1")), ua.VariantType.NodeId, ua.NodeId("plc1", 2)),
        (
            Field(DATE_TIME, Moment(0)),
            ua.VariantType.DateTime,
            ua.win_epoch_to_datetime(116_444_736_000_000_000),
        ),
        (Field(ANY, True), ua.VariantType.Boolean, True),
        (Field(ANY, 7), ua.VariantType.Int64, 7),
        (Field(ANY, 2.5), ua.VariantType.Double, 2.5),
        (Field(ANY, "auto"), ua.VariantType.String, "auto"),
        (Field(ANY, b"x"), ua.VariantType.ByteString, b"x"),
        (Field(STRING, None), ua.VariantType.Null, None),
    ],
)
def test_a_field_is_a_variant_of_its_type(field: Field, kind: Any, value: Any) -> None:
    found = variant_from_binary(Buffer(field.encoded()))
    assert found.VariantType == kind
    assert found.Value == value


def test_node_ids_have_the_text_of_the_standard() -> None:
    assert [str(Id(0, 85)), str(Id(2, "plc1"))] == ["i=85", "ns=2;s=plc1"]


def test_an_event_gives_its_fields_to_who_asks_for_its_type() -> None:
    found = event()
    assert found.is_of(types.GAP.type_id) and found.is_of(types.SYSTEM) and found.is_of(types.BASE)
    assert not found.is_of(types.AUDIT)
    assert found.value(None, TEXT) == found.value(types.GAP.type_id, TEXT) == "hello"
    assert found.value(types.AUDIT, TEXT) is None and found.value(None, own_path("x")) is None
    assert found.encoded(types.AUDIT, TEXT) == found.encoded(None, own_path("x")) == b"\x00"
    assert found.encoded(None, TEXT) is found.encoded(types.BASE, TEXT)


def test_every_type_of_ours_follows_the_one_above_it_and_has_a_name_of_its_own() -> None:
    seen = set()
    for found in types.ALL:
        assert found.above is None or found.above.type_id in seen
        assert found.parent in found.ids and types.BASE in found.ids
        assert found.type_id not in seen
        seen.add(found.type_id)


# --------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("text", "pattern", "fits"),
    [
        ("main", "main", True),
        ("main", "Main", False),
        ("maintenance", "main%", True),
        ("the main", "%main", True),
        ("a main b", "%main%", True),
        ("", "%", True),
        ("", "", True),
        ("x", "", False),
        ("bit", "b_t", True),
        ("bt", "b_t", False),
        ("abc5", "abc[13-68]", True),
        ("abc2", "abc[13-68]", False),
        ("abc2", "abc[^13-5]", True),
        ("abc4", "abc[^13-5]", False),
        ("5%", "5\\%", True),
        ("5x", "5\\%", False),
        ("a\\", "a\\", True),
        ("a[b", "a[b", True),
        ("a]", "a[]]", False),
        ("-", "[a-]", True),
        ("aab", "%a%a%a", False),
        ("aba", "ab%ba", False),
        ("line\nnext", "line%next", True),
        ("line\nnext", "line_next", True),
        ("x", "[^]", True),
        ("^", "[\\]", False),
        ("c", "[z-a]", False),
        ("c", "[^z-a]", True),
        ("5", "[*-9]", True),
    ],
)
def test_patterns_mean_what_the_standard_says(text: str, pattern: str, fits: bool) -> None:
    assert matches(text, pattern) is fits


def slow_match(text: str, pattern: str) -> bool:
    """The two wildcards by the book, without any thought of time."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(slow_match(text[n:], pattern[1:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and slow_match(text[1:], pattern[1:])


@given(st.text("ab", max_size=8), st.text("ab%_", max_size=6))
def test_a_match_is_what_trying_everything_finds(text: str, pattern: str) -> None:
    assert matches(text, pattern) == slow_match(text, pattern)


def test_a_hostile_pattern_takes_no_time() -> None:
    text = "a" * 2_000
    for pattern in ("%a" * 100 + "b", "%" + "_" * 99 + "b%", "%" + "[a-z]" * 39 + "b%"):
        began_ns = time.perf_counter_ns()
        assert not matches(text, pattern)
        assert time.perf_counter_ns() - began_ns < 100_000_000  # by trying: longer than the world


# ------------------------------------------------------------------------------ where clauses


def passes(*elements: tuple[Operator, list[Any]], of: Event | None = None) -> bool:
    made = [Element(operator, operands) for operator, operands in elements]
    assert all(finding.status == cf.GOOD for finding in cf.check(made))
    return Where(made).passes(of or event())


def compares(a: Plain, b: Plain) -> list[bool]:
    """Less, equal, greater."""
    operators = (Operator.LESS_THAN, Operator.EQUALS, Operator.GREATER_THAN)
    return [passes((operator, [Literal(a), Literal(b)])) for operator in operators]


LESS, EQUAL, GREATER, NEVER = (
    [True, False, False],
    [False, True, False],
    [False, False, True],
    [False, False, False],
)


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        (1, 2.5, LESS),
        (2**63, 2**63 - 1, GREATER),
        (True, 1, EQUAL),
        ("a", "b", LESS),
        (Moment(1), Moment(2), LESS),
        (Moment(1), 1, NEVER),
        (b"x", b"x", EQUAL),
        (b"x", b"y", NEVER),
        (Id(2, "a"), Id(2, "a"), EQUAL),
        (Id(2, "a"), Id(2, "b"), NEVER),
        (Id(2, "a"), "ns=2;s=a", EQUAL),
        ("12", 12, EQUAL),
        (12, "12.5", LESS),
        ("x", 12, NEVER),
        ("+-1", 12, NEVER),
        ("TRUE", True, EQUAL),
        ("0", False, EQUAL),
        ("yes", True, NEVER),
        ("x", Moment(1), NEVER),
        ("x", None, NEVER),
        (None, None, NEVER),
        (float("nan"), float("nan"), NEVER),
    ],
)
def test_values_of_different_types_are_compared_where_one_becomes_the_other(
    a: Plain, b: Plain, order: list[bool]
) -> None:
    assert compares(a, b) == order
    assert compares(b, a) == order[::-1]


def test_operators_do_what_they_are_called() -> None:
    severity, text = FieldOperand(None, NUMBER), FieldOperand(None, TEXT)
    five, nine = Literal(500), Literal(900)
    assert passes((Operator.GREATER_THAN_OR_EQUAL, [severity, five]))
    assert passes((Operator.LESS_THAN_OR_EQUAL, [severity, five]))
    assert passes((Operator.BETWEEN, [severity, Literal(1), five]))
    assert not passes((Operator.BETWEEN, [severity, Literal(501), nine]))
    assert passes((Operator.IN_LIST, [severity, nine, five]))
    assert not passes((Operator.IN_LIST, [severity, nine, Literal(None)]))
    assert passes((Operator.LIKE, [text, Literal("h%")]))
    assert not passes((Operator.LIKE, [severity, Literal("5%")]))
    assert passes((Operator.IS_NULL, [FieldOperand(types.AUDIT, TEXT)]))
    assert not passes((Operator.IS_NULL, [text]))
    assert passes((Operator.OF_TYPE, [Literal(types.GAP.type_id)]))
    assert not passes((Operator.OF_TYPE, [Literal(types.AUDIT)]))
    assert not passes((Operator.OF_TYPE, [text]))
    assert Where().passes(event())


LOGIC = {True: Literal(True), False: Literal("false"), None: Literal(None)}


@pytest.mark.parametrize("a", LOGIC)
@pytest.mark.parametrize("b", LOGIC)
def test_null_is_the_third_truth(a: bool | None, b: bool | None) -> None:
    def is_null(operator: Operator, *operands: Any) -> bool:
        return passes((Operator.IS_NULL, [Reference(1)]), (operator, list(operands)))

    both, either = (Operator.AND, [LOGIC[a], LOGIC[b]]), (Operator.OR, [LOGIC[a], LOGIC[b]])
    assert passes(both) is (a is True and b is True)
    assert is_null(*both[:1], *both[1]) is (None in (a, b) and False not in (a, b))
    assert passes(either) is (a is True or b is True)
    assert is_null(*either[:1], *either[1]) is (None in (a, b) and True not in (a, b))
    assert passes((Operator.NOT, [LOGIC[a]])) is (a is False)
    assert is_null(Operator.NOT, LOGIC[a]) is (a is None)


def test_a_number_is_a_truth_and_a_moment_is_none() -> None:
    assert passes((Operator.AND, [Literal(1), Literal(2.5)]))
    assert not passes((Operator.OR, [Literal(Moment(1)), Literal(0)]))


def test_what_is_wrong_with_a_clause_is_told_element_by_element() -> None:
    one, wrong = Literal(1), Refusal(cf.BAD_ELEMENT_INVALID)
    found = cf.check(
        [
            Element(Operator.EQUALS, [one, Reference(1)]),
            Element(12, [one, one]),
            Element(Operator.EQUALS, [one]),
            Element(Operator.NOT, [one, one]),
            Element(Operator.IN_LIST, [one]),
            Element(Operator.BETWEEN, [one, one]),
            Element(Operator.OR, [Reference(6), Reference(9)]),
            Element(Operator.OF_TYPE, [one]),
            Element(Operator.LIKE, [one, one]),
            Element(Operator.LIKE, [one, FieldOperand(None, TEXT)]),
            Element(Operator.LIKE, [one, wrong]),
            Element(Operator.LIKE, [one]),
            Element(Operator.LIKE, [one, Literal("x" * (cf.PATTERN_MAX - 1))]),
            Element(Operator.LIKE, [one, Literal("x")]),
            Element(Operator.LIKE, [one, Literal("x")]),
            Element(Operator.IS_NULL, [wrong]),
        ]
    )
    invalid, element, literal = (
        cf.BAD_OPERAND_INVALID,
        cf.BAD_ELEMENT_INVALID,
        cf.BAD_LITERAL_INVALID,
    )
    assert found == [
        (cf.GOOD, ()),
        (cf.BAD_OPERATOR_UNSUPPORTED, ()),
        *[(cf.BAD_OPERAND_COUNT, ())] * 4,
        (invalid, (element, cf.GOOD)),
        (invalid, (literal,)),
        (invalid, (cf.GOOD, literal)),
        (invalid, (cf.GOOD, invalid)),
        (invalid, (cf.GOOD, element)),
        (cf.BAD_OPERAND_COUNT, ()),
        *[(cf.GOOD, ())] * 2,
        (invalid, (cf.GOOD, literal)),
        (invalid, (element,)),
    ]


def test_the_codes_are_those_of_the_library() -> None:
    codes = ua.StatusCodes
    assert codes.BadFilterOperandInvalid == cf.BAD_OPERAND_INVALID
    assert codes.BadFilterOperatorUnsupported == cf.BAD_OPERATOR_UNSUPPORTED
    assert codes.BadFilterOperandCountMismatch == cf.BAD_OPERAND_COUNT
    assert codes.BadFilterElementInvalid == cf.BAD_ELEMENT_INVALID
    assert codes.BadFilterLiteralInvalid == cf.BAD_LITERAL_INVALID
    for operator in Operator:
        assert ua.FilterOperator[operator.name.title().replace("_", "")] == operator


def test_a_refused_operand_is_never_evaluated() -> None:
    with pytest.raises(AssertionError):
        Where([Element(Operator.NOT, [Refusal(1)])]).passes(event())


def test_shared_elements_are_evaluated_once() -> None:
    """Each element refers twice to the next: 2^400 ways through it."""
    chain = [Element(Operator.AND, [Reference(n + 1), Reference(n + 1)]) for n in range(400)]
    assert Where([*chain, Element(Operator.EQUALS, [Literal(1), Literal(1)])]).passes(event())


# The model: evaluated by recursion, in SQL's terms, over numbers and truths only.

OPERANDS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 2]).map(Literal),
    st.just(FieldOperand(None, NUMBER)),
    st.just(FieldOperand(types.AUDIT, NUMBER)),
)
ARITY = {
    Operator.EQUALS: 2,
    Operator.GREATER_THAN: 2,
    Operator.LESS_THAN_OR_EQUAL: 2,
    Operator.IS_NULL: 1,
    Operator.NOT: 1,
    Operator.AND: 2,
    Operator.OR: 2,
    Operator.BETWEEN: 3,
    Operator.IN_LIST: 3,
}


@st.composite
def clauses(draw: st.DrawFn) -> list[Element]:
    count = draw(st.integers(1, 6))
    made = []
    for index in range(count):
        operator = draw(st.sampled_from(list(ARITY)))
        later = st.integers(index + 1, count - 1).map(Reference)
        operand = OPERANDS if index == count - 1 else st.one_of(OPERANDS, later)
        size = ARITY[operator]
        made.append(Element(operator, draw(st.lists(operand, min_size=size, max_size=size))))
    return made


def model(elements: list[Element], index: int, severity: int) -> Any:
    def value(operand: Any) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Reference):
            return model(elements, operand.element, severity)
        return severity if operand.type_id is None else None

    operator, operands = elements[index]
    values = [value(operand) for operand in operands]
    first = values[0]
    known = all(v is not None for v in values[:2])
    truths = [None if v is None else bool(v) for v in values]
    match operator:
        case Operator.EQUALS:
            return known and first == values[1]
        case Operator.GREATER_THAN:
            return known and first > values[1]
        case Operator.LESS_THAN_OR_EQUAL:
            return known and first <= values[1]
        case Operator.IS_NULL:
            return first is None
        case Operator.NOT:
            return None if first is None else not first
        case Operator.AND:
            return False if False in truths else None if None in truths else True
        case Operator.OR:
            return True if True in truths else None if None in truths else False
        case Operator.BETWEEN:
            return None not in values and values[1] <= first <= values[2]
        case _:
            return first is not None and first in [v for v in values[1:] if v is not None]


@given(clauses(), st.integers(0, 3))
def test_a_clause_passes_what_the_dumb_model_passes(elements: list[Element], severity: int) -> None:
    assert all(finding.status == cf.GOOD for finding in cf.check(elements))
    expected = model(elements, 0, severity) is True
    assert Where(elements).passes(event(severity=severity)) is expected


# ------------------------------------------------------------------------------------ queues


class Watched:
    """A subscription with one event item."""

    def __init__(
        self, size: int = 3, oldest: bool = True, mode: int = REPORTING, device: str = ""
    ) -> None:
        pace = Pace.revise(100.0, 10, 100, 5, 0, Limits())
        self.subscription = Subscription(1, pace, True, 0, 20)
        self.overflows = 0
        self.item = EventItem(9, device, self.subscription, 77, mode, self._overflow)
        self.item.configure(EventFilter([FieldOperand(None, TEXT), None], Where()), size, oldest)
        self.subscription.items[9] = self.item

    def _overflow(self) -> Event:
        self.overflows += 1
        return event("lost")

    def offer(self, *texts: str) -> None:
        for text in texts:
            assert self.item.offer(event(text), False)

    def take(self, taken: int = 0) -> list[str]:
        """The texts of the next message; they are decoded as a client does."""
        parts, more = self.subscription.take_events(taken)
        assert more is bool(self.subscription.ready_events)
        body = event_list(parts)
        found = struct_from_binary(ua.EventNotificationList, Buffer(body)).Events
        assert all(events.ClientHandle == 77 for events in found)
        assert all(events.EventFields[1].Value is None for events in found)
        return [events.EventFields[0].Value.Text for events in found]


def test_events_wait_in_order_and_make_the_subscription_speak() -> None:
    watched = Watched()
    assert not watched.subscription.has_notifications
    watched.offer("a", "b")
    assert watched.subscription.has_notifications
    assert watched.take() == ["a", "b"]
    assert not watched.subscription.has_notifications and watched.take() == []


def test_what_is_always_told_passes_every_filter_but_not_a_disabled_item() -> None:
    watched = Watched(device="plc1")
    nothing = Where([Element(Operator.EQUALS, [Literal(1), Literal(2)])])
    watched.item.configure(EventFilter([FieldOperand(None, TEXT), None], nothing), 3, True)
    assert not watched.item.offer(event("a", device="plc1"), True)
    assert watched.item.offer(event("b", audit=True, always=True), False)
    assert watched.take() == ["b"]
    watched.item.set_mode(DISABLED)
    assert not watched.item.offer(event("c", always=True), True)


def test_a_full_queue_gives_up_the_oldest_and_says_so_before_the_rest() -> None:
    watched = Watched()
    watched.offer("a", "b", "c", "d", "e")
    assert watched.take() == ["lost", "c", "d", "e"] and watched.overflows == 1
    watched.offer("f")
    assert watched.take() == ["f"]


def test_a_full_queue_gives_up_the_newest_and_says_so_after_the_rest() -> None:
    watched = Watched(oldest=False)
    watched.offer("a", "b", "c", "d", "e")
    assert watched.take(taken=2) == ["a", "b", "e"]
    assert watched.take() == ["lost"]


def test_a_message_holds_no_more_than_the_client_asked_for() -> None:
    watched = Watched(size=20)
    watched.offer(*"abcdefgh")
    assert watched.take() == list("abcde")
    assert watched.take(taken=3) == ["f", "g"]
    assert watched.take(taken=5) == []
    assert watched.take() == ["h"]


def test_a_message_holds_no_more_events_than_are_encoded_at_once() -> None:
    watched = Watched(size=500)
    limits = Limits(max_events_per_publish=3)
    watched.subscription.modify(Pace.revise(100.0, 10, 100, 0, 0, limits), 0)
    watched.offer(*"abcdefgh")
    assert [watched.take() for _ in range(3)] == [list("abc"), list("def"), list("gh")]


def test_lost_before_they_were_offered_is_told_too() -> None:
    watched = Watched()
    watched.item.lost()
    watched.item.lost()
    watched.offer("a")
    assert watched.take() == ["lost", "a"]
    watched.item.set_mode(DISABLED)
    watched.item.lost()
    assert watched.take() == [] and watched.overflows == 1


def test_modes_say_what_is_kept_and_what_is_told() -> None:
    watched = Watched(mode=DISABLED)
    assert not watched.item.offer(event("nobody is told"), True)
    watched.item.set_mode(SAMPLING)
    watched.offer("a")
    assert watched.take() == []
    watched.item.set_mode(REPORTING)
    assert watched.take() == ["a"]
    watched.offer("b")
    watched.item.set_mode(SAMPLING)
    assert watched.take() == []
    watched.item.set_mode(DISABLED)
    watched.item.set_mode(REPORTING)
    assert watched.take() == []


def test_an_item_gets_what_is_of_its_device_and_for_its_user() -> None:
    watched = Watched(device="plc1")
    assert not watched.item.offer(event("of plc2", device="plc2"), True)
    assert not watched.item.offer(event("of none"), True)
    assert not watched.item.offer(event("who did it", device="plc1", audit=True), False)
    assert watched.item.offer(event("who did it", device="plc1", audit=True), True)
    nothing = Where([Element(Operator.EQUALS, [Literal(1), Literal(2)])])
    watched.item.configure(EventFilter((), nothing), 3, True)
    assert not watched.item.offer(event("x", device="plc1"), True)


def test_a_smaller_queue_is_cut_at_once() -> None:
    watched = Watched()
    watched.offer("a", "b", "c")
    watched.item.configure(watched.item.filter, 1, True)
    assert watched.take() == ["lost", "c"]


def test_the_body_of_a_notification_counts_its_events() -> None:
    assert event_list([]) == struct.pack("<i", 0)
