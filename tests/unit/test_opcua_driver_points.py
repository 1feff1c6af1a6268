"""Nodes, decoding, what is observed anew, and how long to wait: the pure half of the driver."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.backoff import Backoff, Failure
from drivers.opcua.nodes import (
    Limits,
    Member,
    NodeText,
    chunks,
    group,
    known_types,
    parse_node,
    resolve,
)
from drivers.opcua.observe import Decoder, Reading
from drivers.opcua.points import Moment, Points
from drivers.opcua.settings import OpcUaPoint
from drivers.opcua.values import Builtin
from drivers.opcua.wire import Wire
from gateway.clock import SystemClock
from gateway.driver import DeviceSpec, DriverContext, Frame, Observation, PointSpec
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_S, DataType, Status


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("ns=2;s=Flow", NodeText(None, 2, "Flow")),
        ("s=a;b=c", NodeText(None, 0, "a;b=c")),
        (" i=2258 ", NodeText(None, 0, 2258)),
        ("nsu=urn:plc:app;i=7", NodeText("urn:plc:app", 0, 7)),
        ("nsu=urn:a%3Bb%25c;s=x", NodeText("urn:a;b%c", 0, "x")),
        (f"ns=1;g={UUID(int=3)}", NodeText(None, 1, UUID(int=3))),
        ("b=" + base64.b64encode(b"\x00\xff").decode(), NodeText(None, 0, b"\x00\xff")),
    ],
)
def test_node_ids_are_read_as_the_specification_writes_them(text: str, parsed: NodeText) -> None:
    assert parse_node(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Flow",
        "ns=x;s=a",
        "ns=2;",
        "i=one",
        "i=-1",
        "i=4294967296",
        "g=no",
        "b=%",
        "ns=65536;i=1",
    ],
)
def test_what_is_no_node_id_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"NodeId|comes|above"):
        parse_node(text)


def test_a_namespace_uri_is_looked_up_and_an_index_taken_as_it_is() -> None:
    namespaces = ["http://opcfoundation.org/UA/", "urn:other", "urn:plc"]
    assert resolve(parse_node("nsu=urn:plc;s=a"), namespaces) == ("a", 2)
    assert resolve(parse_node("ns=9;s=a"), namespaces) == ("a", 9)
    assert resolve(parse_node("nsu=urn:gone;s=a"), namespaces) is None


def test_elements_of_one_array_share_a_node() -> None:
    members = [Member(n, f"p{n}", DataType.FLOAT64, n) for n in range(3)]
    items = group([("ns=2;s=A", members[0]), ("ns=2;s=B", members[1]), ("ns=2;s=A", members[2])])
    assert [item.text for item in items] == ["ns=2;s=A", "ns=2;s=B"]
    assert items[0].members == (members[0], members[2])


@given(st.integers(0, 500), st.integers(1, 50))
def test_chunks_cover_everything_once_and_are_never_too_long(total: int, limit: int) -> None:
    runs = [list(range(total))[run] for run in chunks(total, limit)]
    assert [n for run in runs for n in run] == list(range(total))
    assert all(0 < len(run) <= limit for run in runs)


def test_limits_are_the_servers_where_it_tells_some_and_ours_otherwise() -> None:
    assert Limits.told(5, 7) == Limits(5, 7)
    assert Limits.told(0, None) == Limits()
    assert Limits.told(10**9, "x") == Limits()


def test_the_fact_of_types_is_read_however_it_was_stored() -> None:
    assert known_types({"a": "Double"}) == {"a": "Double"}
    assert known_types(None) == {}


# ------------------------------------------------------------------------------------ decoding


def item_of(*members: Member) -> Decoder:
    (item,) = group([("ns=2;s=A", member) for member in members])
    return Decoder(item)


def reading(
    value: Any, builtin: Builtin = Builtin.DOUBLE, rank: int = 0, status: int = 0, at: int = 1
) -> Reading:
    return Reading(value, builtin, rank, status, at)


def test_an_array_feeds_its_elements_and_a_short_one_says_no_data() -> None:
    decoder = item_of(Member(0, "a", DataType.FLOAT64, 0), Member(1, "b", DataType.FLOAT64, 2))
    assert decoder.type_text is None
    assert list(decoder.decode(reading([1.0, 2.0], rank=1))) == [
        (0, 1.0, Status.GOOD),
        (1, None, Status.BAD_NO_DATA),
    ]
    assert next(decoder.decode(reading(None, rank=1))) == (0, None, Status.BAD_NO_DATA)
    assert decoder.type_text == "Double[]"
    assert decoder.problems == []


def test_a_list_in_the_place_of_an_element_is_no_data() -> None:
    decoder = item_of(*(Member(n, f"p{n}", DataType.FLOAT64, n) for n in (0, 2, 4)))
    filled_up = Reading([1.0, 2.0, [], []], Builtin.DOUBLE, 1, Status.GOOD, None)
    assert list(decoder.decode(filled_up)) == [
        (0, 1.0, Status.GOOD),
        (2, None, Status.BAD_NO_DATA),
        (4, None, Status.BAD_NO_DATA),
    ]


def test_a_change_of_type_is_noticed_and_a_return_too() -> None:
    decoder = item_of(Member(0, "a", DataType.FLOAT32, None))
    assert list(decoder.decode(reading(1.5, Builtin.FLOAT))) == [(0, 1.5, Status.GOOD)]
    assert list(decoder.decode(reading(1.5))) == [(0, None, Status.BAD_TYPE_MISMATCH)]
    assert "does not fit" in decoder.problems[0][1]
    assert list(decoder.decode(reading(1.5, Builtin.FLOAT, status=0x500))) == [(0, 1.5, 0x500)]
    assert decoder.problems == []


@pytest.mark.parametrize(
    ("index", "rank", "status", "part"),
    [
        (0, 2, Status.BAD_NOT_SUPPORTED, "matrix Double[,]"),
        (None, 1, Status.BAD_NOT_SUPPORTED, "by `index:`"),
        (0, 0, Status.BAD_CONFIGURATION_ERROR, "belongs to arrays"),
    ],
)
def test_a_shape_that_the_point_does_not_expect_is_refused_by_name(
    index: int | None, rank: int, status: int, part: str
) -> None:
    decoder = item_of(Member(0, "a", DataType.FLOAT64, index))
    assert list(decoder.decode(reading([1.0], rank=rank))) == [(0, None, status)]
    assert part in decoder.problems[0][1]


def test_nothing_and_bad_statuses_have_no_value() -> None:
    decoder = item_of(Member(0, "a", DataType.FLOAT64, None))
    assert list(decoder.decode(reading(None, Builtin.NULL))) == [(0, None, Status.BAD_NO_DATA)]
    bad = reading(1.0, status=Status.BAD_SENSOR_FAILURE)
    assert list(decoder.decode(bad)) == [(0, None, Status.BAD_SENSOR_FAILURE)]


# ---------------------------------------------------------------------------------- the points


class House:
    def __init__(self) -> None:
        self.alarms: list[str] = []
        self.facts: dict[tuple[str, str], Any] = {}
        self.allowed = True
        self.context = DriverContext(
            SystemClock(),
            random.Random(1),
            Path(),
            Path(),
            None,
            self.facts,
            lambda device, key, value: self.facts.update({(device, key): value}),
            lambda device, severity, text: self.alarms.append(text),
            lambda: self.allowed,
        )


def points_of(house: House, **settings: dict[str, Any]) -> Points:
    specs = []
    for number, (name, given_) in enumerate(settings.items()):
        point = OpcUaPoint.model_validate({"type": "double"} | given_)
        scan = point.scan or "normal"
        specs.append(PointSpec(number, "plc", name, point.type, scan, point.access, point))
    device = DeviceSpec("plc", "opcua", "plc", None, tuple(specs), {"normal": NS_PER_S})
    return Points(device, house.context)


def at(second: int, initial: bool = False) -> Moment:
    return Moment(second * NS_PER_S, second * NS_PER_S + 1_000, initial)


def good(value: Any, source_s: float | None) -> Reading:
    source_ns = None if source_s is None else int(source_s * NS_PER_S)
    return Reading(value, Builtin.DOUBLE, 0, Status.GOOD, source_ns)


def test_points_of_one_class_are_kept_together() -> None:
    points = points_of(
        House(),
        a={"node": "i=1"},
        b={"node": "i=1", "scan": "fast"},
        c={"node": "i=2", "scan": "fast"},
    )
    assert points.of_class == {"normal": [0], "fast": [1, 2]}
    assert points.place_of("c") == 2


def test_a_first_observation_stands_where_it_was_asked_for_unless_it_is_newer() -> None:
    for source, expected in ((None, 100), (5, 100), (100.0000005, 100.0000005), (5000, 100)):
        points = points_of(House(), a={"node": "i=1"})
        (seen,) = points.observe(0, good(1.0, source), at(100))
        assert seen == Observation(0, int(expected * NS_PER_S), 1.0, Status.GOOD)


def test_what_is_equal_is_not_observed_again_until_it_is_owed() -> None:
    points = points_of(House(), a={"node": "i=1"})
    assert len(list(points.observe(0, good(1.0, 5), at(100)))) == 1
    assert list(points.observe(0, good(1.0, 101), at(102))) == []
    points.owe_all()
    (again,) = points.observe(0, good(1.0, 101), at(103))
    assert again.time_ns == 103 * NS_PER_S
    (changed,) = points.observe(0, good(2.0, 104), at(105))
    assert changed.time_ns == 104 * NS_PER_S


def test_what_was_written_is_known_so_that_its_end_is_observed_and_stands_behind_it() -> None:
    points = points_of(House(), a={"node": "i=1"}, b={"node": "i=1"})
    list(points.observe(0, good(1.0, 5), at(100)))
    points.owe_all()
    points.read_back("b", 9.0, Status.GOOD, 90 * NS_PER_S, 110 * NS_PER_S)
    (kept, taken_back) = points.observe(0, good(1.0, 91), at(111))
    assert (kept.point, kept.value) == (0, 1.0)
    assert (taken_back.point, taken_back.value) == (1, 1.0)
    assert taken_back.time_ns > 110 * NS_PER_S


def test_an_initial_notification_older_than_what_was_read_is_dropped() -> None:
    points = points_of(House(), a={"node": "i=1"})
    list(points.observe(0, good(2.0, 99), at(100)))
    assert list(points.observe(0, good(1.0, 98), at(101, initial=True))) == []
    assert len(list(points.observe(0, good(3.0, 100.5), at(101, initial=True)))) == 1


def test_what_is_owed_is_restated_from_memory_but_only_once_known() -> None:
    points = points_of(House(), a={"node": "i=1"}, b={"node": "i=2"})
    list(points.observe(0, good(1.0, 5), at(100)))
    points.owe_all()
    assert points.restated(110 * NS_PER_S) == [Observation(0, 110 * NS_PER_S, 1.0, Status.GOOD)]
    assert points.restated(111 * NS_PER_S) == []


@pytest.mark.parametrize("source", [None, 4_000, 100.0000005, 99])
def test_after_our_clock_was_set_back_values_stand_where_it_now_says(source: float | None) -> None:
    points = points_of(House(), a={"node": "i=1"})
    list(points.observe(0, good(1.0, 3_700), at(3_700)))
    (seen,) = points.observe(0, good(2.0, source), at(100))
    assert 100 * NS_PER_S <= seen.time_ns <= at(100).received_ns
    (following,) = points.observe(0, good(3.0, None), at(101))
    assert following.time_ns == at(101).received_ns
    assert list(points.observe(0, good(3.0, None), at(90))) == [], "it is the same value still"


def test_what_is_owed_stands_where_our_clock_says_when_it_was_set_back() -> None:
    points = points_of(House(), a={"node": "i=1"}, b={"node": "i=2"})
    for where in (0, 1):
        list(points.observe(where, good(1.0, 5), at(3_700)))
    points.owe_all()
    set_back_meanwhile = Moment(3_701 * NS_PER_S, 100 * NS_PER_S)
    (seen,) = points.observe(0, good(1.0, None), set_back_meanwhile)
    assert seen.time_ns == 100 * NS_PER_S
    (restated,) = points.restated(101 * NS_PER_S)
    assert (restated.point, restated.time_ns) == (1, 101 * NS_PER_S)


def test_a_step_back_within_what_device_clocks_lead_keeps_the_order() -> None:
    points = points_of(House(), a={"node": "i=1"})
    list(points.observe(0, good(1.0, 101), at(100)))
    (seen,) = points.observe(0, good(2.0, None), at(100))
    assert seen.time_ns == 101 * NS_PER_S


def test_after_a_loss_everything_is_first_again() -> None:
    points = points_of(House(), a={"node": "i=1"})
    list(points.observe(0, good(1.0, 5), at(100)))
    points.lost()
    (seen,) = points.observe(0, good(1.0, 5), at(200))
    assert seen.time_ns == 200 * NS_PER_S


def test_a_failed_node_fails_its_points_once() -> None:
    points = points_of(House(), a={"node": "i=1"})
    (seen,) = points.fail(0, Status.BAD_NODE_ID_UNKNOWN, at(100))
    assert (seen.value, seen.status) == (None, Status.BAD_NODE_ID_UNKNOWN)
    assert list(points.fail(0, Status.BAD_NODE_ID_UNKNOWN, at(101))) == []


def test_a_missing_namespace_is_told_once_and_again_after_it_had_been_there() -> None:
    house = House()
    points = points_of(house, a={"node": "nsu=urn:x;s=a"})
    assert points.resolved([]) == points.resolved([]) == [None]
    assert len(house.alarms) == 1
    assert points.resolved(["urn:x"]) == [("a", 0)]
    seen = good(1.0, 5)
    assert points.news(0, seen)
    points.report(0, seen)
    assert not points.news(0, seen)
    points.resolved([])
    assert len(house.alarms) == 2


def test_a_misconfigured_node_is_told_once_for_all_reconnects() -> None:
    house = House()
    points = points_of(house, a={"node": "i=1"})
    unknown = Reading(None, Builtin.NULL, 0, Status.BAD_NODE_ID_UNKNOWN, None)
    sick = Reading(None, Builtin.NULL, 0, Status.BAD_SENSOR_FAILURE, None)
    assert not points.news(0, sick)
    points.report(0, unknown)
    points.report(0, unknown)
    assert len(house.alarms) == 1
    assert "BadNodeIdUnknown" in house.alarms[0]


def test_what_can_not_be_decoded_is_told_as_that() -> None:
    house = House()
    points = points_of(house, a={"node": "i=1"})
    points.report(0, Reading(None, Builtin.NULL, 0, Status.BAD_DECODING_ERROR, None))
    assert house.alarms == ["point a: what the server says of i=1 can't be decoded"]


def test_a_node_that_is_unknown_to_read_and_to_monitor_is_told_once() -> None:
    house = House()
    points = points_of(house, a={"node": "i=1"})
    points.report(0, Reading(None, Builtin.NULL, 0, Status.BAD_NODE_ID_UNKNOWN, None))
    points.report_unmonitored(0, Status.BAD_NODE_ID_UNKNOWN)
    assert house.alarms == ["point a: the server says BadNodeIdUnknown to i=1"]
    points.report_unmonitored(0, Status.BAD_NOT_SUPPORTED)
    assert len(house.alarms) == 2


def test_a_refused_type_is_told_with_the_servers_name_for_it() -> None:
    house = House()
    points = points_of(house, a={"node": "i=1"})
    structure = Reading(None, Builtin.EXTENSIONOBJECT, 0, Status.GOOD, 5)
    assert next(points.observe(0, structure, at(100))).status == Status.BAD_NOT_SUPPORTED
    assert points.news(0, structure)
    points.report(0, structure, "MotorType")
    assert house.alarms == ["point a: i=1 is a structure: not supported (its type is MotorType)"]
    points.report_unmonitored(0, Status.BAD_NOT_SUPPORTED)
    assert "does not monitor" in house.alarms[1]


def test_types_are_learned_once_and_used_by_the_next_node() -> None:
    house = House()
    points = points_of(house, a={"node": "i=1"}, b={"node": "i=2"})
    points.learn_types()
    assert house.facts == {}
    list(points.observe(0, good(1.0, 5), at(100)))
    points.learn_types()
    assert house.facts == {("plc", "types"): {"a": "Double"}}
    assert points.learned_type("a") is Builtin.DOUBLE
    heir = points_of(house, a={"node": "i=1"}, b={"node": "i=2"})
    assert heir.learned_type("a") is Builtin.DOUBLE
    assert heir.learned_type("b") is None


# ------------------------------------------------------------------------- pauses and counters


@given(st.sampled_from(Failure), st.integers(0, 40), st.randoms())
def test_pauses_grow_within_their_bounds(
    failure: Failure, failures: int, chance: random.Random
) -> None:
    backoff = Backoff(chance.uniform)
    first_ns, longest_ns = failure.value
    for _ in range(failures):
        backoff.pause_ns(failure)
    assert first_ns // 2 <= backoff.pause_ns(failure) <= longest_ns
    backoff.succeeded()
    assert backoff.pause_ns(failure) <= first_ns


def test_the_wire_counts_each_failure_once_by_its_kind() -> None:
    wire = Wire("plc", House().context)
    for error in (ReplyTimeout("a"), InvalidReply("b"), LinkError("c"), DeviceError("d")):
        wire.failed(error)
        wire.failed(error)
    wire.failed(Refused("e", 7))
    wire.failed(Refused("e", 7))
    counters = wire.diagnostics
    assert (counters.timeouts, counters.invalid_replies, counters.link_failures) == (1, 1, 1)
    assert counters.exceptions == {7: 2}
    assert counters.consecutive_failures == 6
    assert counters.last_error == "e"
    wire.answered("Read", wire.requested("Read"), timed=True)
    assert counters.consecutive_failures == 0
    assert (counters.requests, counters.replies) == (1, 1)


def test_the_wire_shows_frames_to_those_who_look_and_asks_before_it_sends() -> None:
    house = House()
    wire = Wire("plc", house.context)
    frames: list[Frame] = []
    assert not wire.traced
    stop = wire.trace(frames.append)
    assert wire.traced
    wire.answered("Read", wire.requested("Read i=1"), timed=False)
    assert [(f.sent, f.text.split()[0]) for f in frames] == [(True, "Read"), (False, "Read")]
    assert wire.diagnostics.percentile_ms(0.5) is None
    stop()
    stop()
    assert not wire.traced
    wire.ask()
    assert wire.last_sent_ns > 0
    house.allowed = False
    with pytest.raises(LinkError):
        wire.ask()
