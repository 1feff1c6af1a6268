"""What a site may say of an OPC UA device, and what is found wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drivers.opcua import driver
from drivers.opcua.settings import OpcUaDevice, OpcUaPoint, parse_type
from gateway.driver import DeviceSpec, LineSpec, PointSpec
from gateway.model import NS_PER_MS, NS_PER_S, DataType

SECURE = {"security": {}}


def device(**more: Any) -> OpcUaDevice:
    return OpcUaDevice.model_validate({"driver": "opcua", "endpoint": "opc.tcp://plc"} | more)


def point(**more: Any) -> OpcUaPoint:
    return OpcUaPoint.model_validate({"node": "ns=2;s=a", "type": "double"} | more)


def problems(settings: OpcUaDevice, **points: OpcUaPoint) -> list[tuple[str, str, str]]:
    specs = tuple(
        PointSpec(n, "plc", name, driver.schema.published_type(p), "x", p.access, p)
        for n, (name, p) in enumerate(points.items())
    )
    spec = DeviceSpec("plc", "opcua", "plc", settings, specs, {"x": NS_PER_S})
    found = driver.schema.review(LineSpec("plc", "opcua", None, (spec,)))
    assert all(message and remedy for *_, message, remedy in found)
    return [(name, where, key) for name, where, key, _, _ in found]


def test_the_defaults_are_those_of_a_cautious_subscription() -> None:
    settings = device(**SECURE)
    assert settings.mode == "subscribe"
    assert driver.schema.subscribed(settings)
    assert settings.publishing_interval_ns == settings.sampling_ns == 500 * NS_PER_MS
    assert settings.security is not None
    assert settings.security.policy == "Basic256Sha256"
    assert settings.security.mode == "SignAndEncrypt"
    assert driver.name == "opcua"
    assert problems(settings) == []


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("opc.tcp://plc", "opc.tcp://plc:4840"),
        ("opc.tcp://plc:4841/server", "opc.tcp://plc:4841/server"),
        ("opc.tcp://[::1]/x", "opc.tcp://[::1]:4840/x"),
    ],
)
def test_the_port_is_4840_when_none_is_given(endpoint: str, url: str) -> None:
    assert device(endpoint=endpoint).url == url


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://plc"},
        {"endpoint": "plc:4840"},
        {"endpoint": "opc.tcp://"},
        {"endpoint": "opc.tcp://me:secret@plc"},
        {"endpoint": "opc.tcp://plc:99999"},
        {"mode": "push"},
        {"publishing_interval": "1ms"},
        {"queue_size": 0},
        {"security": {"policy": "Basic128Rsa15"}},
        {"security": {"certificate": "a.der"}},
        {"security": {"password": {"file": "x"}}},
        {"security": {"trust_any": True, "trust": "pki"}},
    ],
)
def test_what_a_device_may_not_say(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        device(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": "Flow"},
        {"type": "complex"},
        {"type": 5},
        {"index": -1},
        {"range": {"raw": [0, 1], "eu": [0, 10]}},
    ],
)
def test_what_a_point_may_not_say(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        point(**wrong)


def test_types_go_by_our_names_and_by_those_of_opc_ua() -> None:
    assert parse_type("Double") is DataType.FLOAT64
    assert parse_type("SByte") is DataType.INT8
    assert point(type="UInt16").type is DataType.UINT16
    assert point(type="ByteString").type is DataType.BYTES
    assert point(range={"eu": [0, 10]}).range is not None


def test_a_connection_without_protection_must_be_asked_for() -> None:
    assert problems(device()) == [("plc", "", "security")]
    assert problems(device(security={"policy": "None"})) == [("plc", "", "security")]
    assert problems(device(insecure=True)) == []
    assert problems(device(insecure=True, **SECURE)) == [("plc", "", "insecure")]


def test_sampling_slower_than_publishing_is_a_mistake() -> None:
    assert problems(device(sampling_interval="1s", **SECURE)) == [("plc", "", "sampling_interval")]


def test_a_point_is_published_only_as_what_holds_every_value() -> None:
    settings = device(**SECURE)
    fine = point(type="int16", publish_as="float64")
    assert driver.schema.published_type(fine) is DataType.FLOAT64
    assert problems(settings, a=fine, b=point(publish_as="float32")) == [("plc", "b", "publish_as")]
