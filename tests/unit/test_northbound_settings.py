"""`northbound:` of site.yaml: what is taken, and what is said of what isn't."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config.northbound import Endpoint, MqttFeed, Northbound, PostgresFeed


def mqtt(**more: object) -> MqttFeed:
    return MqttFeed.model_validate({"broker": "mqtts://broker", "group": "g", **more})


def postgres(**more: object) -> PostgresFeed:
    return PostgresFeed.model_validate({"server": "db", "database": "d", "user": "u", **more})


def test_the_port_that_is_not_named_is_that_of_the_protocol() -> None:
    assert mqtt().endpoint == Endpoint("broker", 8883, True)
    assert mqtt(broker="mqtt://b", insecure=True).endpoint == Endpoint("b", 1883, False)
    assert mqtt(broker="mqtts://[::1]:9").endpoint == Endpoint("::1", 9, True)
    assert postgres().endpoint == Endpoint("db", 5432, True)
    assert postgres(insecure=True, server="db:1").endpoint == Endpoint("db", 1, False)
    assert str(postgres().endpoint) == "db:5432"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"broker": "broker:8883"}, "mqtts://broker.plant:8883"),
        ({"broker": "mqtts://user:secret@broker"}, "mqtts://broker.plant:8883"),
        ({"broker": "mqtts://broker:99999"}, "mqtts://broker.plant:8883"),
        ({"broker": "mqtt://broker"}, "insecure: true"),
        ({"insecure": True}, "mqtts"),
        ({"broker": "mqtt://b", "insecure": True, "ca": "x"}, "without TLS"),
        ({"cert": "x"}, "both or neither"),
        ({"password": {"file": "x"}}, "needs a user"),
        ({"group": "a+b"}, "without"),
        ({"edge_node": ""}, "without"),
        ({"password": "secret"}, "password"),
        ({"broker": "mqtts://b:0"}, "mqtts://broker.plant:8883"),
    ],
)
def test_what_can_not_be_meant_is_said(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        mqtt(**more)


@pytest.mark.parametrize("server", ["", "db:x", "db/history", "u:p@db"])
def test_a_server_is_a_host_and_a_port(server: str) -> None:
    with pytest.raises(ValidationError, match="write an address"):
        postgres(server=server)


@pytest.mark.parametrize("schema", ["Hot", "a-b", "1a", "", "a" * 64, "a; drop table x"])
def test_a_schema_is_a_plain_name(schema: str) -> None:
    with pytest.raises(ValidationError, match="lower-case"):
        postgres(schema=schema)


def test_the_files_that_a_node_must_have_are_named() -> None:
    feed = mqtt(user="u", password={"file": "p"}, ca="a", cert="c", key="k")
    assert feed.files() == [("ca", "a"), ("cert", "c"), ("key", "k"), ("password.file", "p")]
    both = Northbound(mqtt=feed, postgres=postgres())
    assert [name for name, _ in both.feeds()] == ["mqtt", "postgres"]
    assert Northbound().feeds() == []
