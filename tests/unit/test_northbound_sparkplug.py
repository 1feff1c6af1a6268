"""Sparkplug payloads and sessions, as Google's protobuf parser reads them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparkplug_schema import Payload, parse, properties, value_of

from gateway.model import INTEGER_RANGES, NS_PER_MS, DataType, Status
from gateway.northbound.edge_node import (
    STATE_BYTES_MAX,
    EdgeNode,
    Host,
    HostState,
    host_state,
    state_topic,
)
from gateway.northbound.payload import TYPES, Metric, encode, payload, true_metrics

NOW = 1_790_000_000_123 * NS_PER_MS
INTEGERS = sorted(INTEGER_RANGES, key=lambda kind: kind.value)


def read(metric: Metric) -> Any:
    return parse(payload(NOW, 7, [encode(metric)])).metrics[0]


def metric(kind: DataType, value: Any, status: int = Status.GOOD) -> Metric:
    return Metric(5, TYPES[kind], NOW, value, status, name="level")


def test_a_birth_tells_name_alias_type_and_value() -> None:
    found = read(metric(DataType.FLOAT64, 1.5))
    assert (found.name, found.alias, found.datatype) == ("level", 5, 10)
    assert found.timestamp == NOW // NS_PER_MS and found.double_value == 1.5
    assert not found.HasField("is_null") and not found.HasField("is_historical")
    assert not found.HasField("properties"), "what is Good needs no quality"


def test_data_goes_by_alias_and_says_when_it_is_late() -> None:
    found = read(Metric(5, TYPES[DataType.UINT16], NOW, 9, historical=True))
    assert found.is_historical and found.int_value == 9 and found.alias == 5
    assert not found.HasField("name") and not found.HasField("datatype")


@given(kind=st.sampled_from(INTEGERS), data=st.data())
def test_integers_are_twos_complement(kind: DataType, data: st.DataObject) -> None:
    low, high = INTEGER_RANGES[kind]
    value = data.draw(st.integers(low, high))
    found = read(metric(kind, value))
    bits = 64 if kind in (DataType.INT64, DataType.UINT64) else 32
    assert found.WhichOneof("value") == ("long_value" if bits == 64 else "int_value")
    told = value_of(found)
    assert (told - 2**bits if low < 0 and told >= 2 ** (bits - 1) else told) == value


@given(st.floats())
def test_doubles_are_exact(value: float) -> None:
    told = value_of(read(metric(DataType.FLOAT64, value)))
    assert told == value or (math.isnan(told) and math.isnan(value))


@given(st.text(), st.binary())
def test_texts_and_bytes(text: str, data: bytes) -> None:
    assert value_of(read(metric(DataType.BYTES, data))) == data
    assert value_of(read(metric(DataType.STRING, text))) == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (DataType.BOOL, True, True),
        (DataType.BOOL, False, False),
        (DataType.FLOAT32, 0.5, 0.5),
        (DataType.DATETIME, NOW, NOW // NS_PER_MS),
        (DataType.STRING, "\ud800", "?"),
        (DataType.BYTES, "text", b"text"),
        (DataType.FLOAT32, 1e300, None),
        (DataType.INT16, "text", None),
        (DataType.INT16, math.inf, None),
        (DataType.FLOAT64, "text", None),
        (DataType.INT16, None, None),
    ],
)
def test_values_and_what_a_type_can_not_say(kind: DataType, value: Any, told: Any) -> None:
    found = read(metric(kind, value))
    assert value_of(found) == told
    assert found.is_null is (told is None)
    if told is None:
        assert properties(found) == {"Quality": 0, "StatusCode": Status.BAD_NO_DATA}


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (Status.BAD_NO_COMMUNICATION, 0),
        (Status.UNCERTAIN_LAST_USABLE, 500),
        (Status.UNCERTAIN_SUBSTITUTE_VALUE, 192),
    ],
)
def test_the_quality_is_one_of_three_and_the_status_goes_with_it(status: int, quality: int) -> None:
    found = read(metric(DataType.INT16, 3, status))
    assert properties(found) == {"Quality": quality, "StatusCode": status}
    assert [v.type for v in found.properties.values] == [3, 7]
    assert value_of(found) == 3


# ------------------------------------------------------------------------------- commands


def command(**metrics: bool) -> bytes:
    found = Payload(timestamp=1)
    for name, value in metrics.items():
        found.metrics.add(name=name.replace("__", "/").replace("_", " "), boolean_value=value)
    data: bytes = found.SerializeToString()
    return data


def test_a_rebirth_is_asked_for_by_name() -> None:
    node = EdgeNode("g", "e", 0)
    wanted = command(Node_Control__Rebirth=True)
    assert node.wants_rebirth("spBv1.0/g/NCMD/e", wanted, False)
    assert not node.wants_rebirth("spBv1.0/g/NCMD/e", wanted, True), "retained: an old one"
    assert not node.wants_rebirth("spBv1.0/g/NCMD/other", wanted, False)
    for data in (command(Node_Control__Rebirth=False), command(Reboot=True), b"", b"\xff\xff"):
        assert not node.wants_rebirth("spBv1.0/g/NCMD/e", data, False)


@given(st.binary())
def test_no_command_breaks_the_reader(data: bytes) -> None:
    assert isinstance(true_metrics(data), list)
    assert true_metrics(command(a=True) + data)[:1] in (["a"], [])


def test_other_fields_of_a_command_are_passed_over() -> None:
    found = Payload(timestamp=2**63, seq=5, uuid="x", body=b"y")
    other = found.metrics.add(name="double", double_value=1.0)
    other.properties.keys.append("k")
    other.properties.values.add(float_value=1.0)
    found.metrics.add(name="yes", boolean_value=True, alias=9)
    found.metrics.add(name="float", float_value=2.0)
    data = found.SerializeToString()
    assert true_metrics(data) == ["yes"]
    assert true_metrics(data[:-1]) == [] and true_metrics(b"\x0b") == []
    assert true_metrics(b"\x80" * 20) == [] and true_metrics(bytes(2**20 + 1)) == []


# ------------------------------------------------------------------------------- sessions


def test_births_come_in_order_and_a_rebirth_begins_anew() -> None:
    node = EdgeNode("plant", "pump", 257)
    points = {"plc1": [metric(DataType.INT16, 1)], "plc2": [metric(DataType.INT16, 2)]}
    will = node.death(NOW)
    assert will.topic == "spBv1.0/plant/NDEATH/pump"
    death = parse(will.payload)
    assert not death.HasField("seq") and [m.name for m in death.metrics] == ["bdSeq"]
    assert death.metrics[0].long_value == 1 and death.metrics[0].datatype == 4
    for _ in range(2):
        born = node.birth(NOW, {"Node Info/Node": "a"}, points, ["plc2"])
        assert [m.topic for m in born] == [
            "spBv1.0/plant/NBIRTH/pump",
            "spBv1.0/plant/DBIRTH/pump/plc1",
        ]
        told = parse(born[0].payload)
        assert {m.name: value_of(m) for m in told.metrics} == {
            "bdSeq": 1,
            "Node Control/Rebirth": False,
            "Node Info/Node": "a",
        }
        assert not any(m.HasField("alias") for m in told.metrics)
        assert [parse(m.payload).seq for m in born] == [0, 1]
        assert node.alive == {"plc1"}
    assert parse(node.device_birth(NOW, "plc2", points["plc2"]).payload).seq == 2
    gone = node.device_death(NOW, "plc1")
    assert gone.topic == "spBv1.0/plant/DDEATH/pump/plc1" and parse(gone.payload).seq == 3
    assert node.alive == {"plc2"}


def test_the_sequence_wraps_after_255() -> None:
    node = EdgeNode("g", "e", 0)
    node.birth(NOW, {}, {}, ())
    seen = [parse(node.data(NOW, "plc1", [Metric(1, 3, NOW, 1)]).payload).seq for _ in range(600)]
    assert seen == [(n + 1) % 256 for n in range(600)]


def test_of_two_states_of_a_host_the_later_one_holds() -> None:
    host = Host()
    assert not host.online and state_topic("scada") == "spBv1.0/STATE/scada"
    host.hear(b'{"online": true, "timestamp": 5}')
    assert host.online
    host.hear(b'{"online": false, "timestamp": 4}')
    assert host.online, "an old will"
    host.hear(b"OFFLINE")
    assert host.online
    host.hear(b'{"online": false, "timestamp": 5}')
    assert not host.online


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"ONLINE", b"[]", b"3", b"\xff", b"[" * STATE_BYTES_MAX),
        *(b'{"online": 1, "timestamp": 5}', b'{"online": true}'),
        *(b'{"online": true, "timestamp": true}', b'{"online": true, "timestamp": "5"}'),
    ],
)
def test_what_is_no_state_is_none(data: bytes) -> None:
    assert host_state(data) is None
    assert host_state(b'{"online": true, "timestamp": 7}') == HostState(True, 7)
