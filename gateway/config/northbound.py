"""`northbound:` of site.yaml: who gets the samples, and how each is reached."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.model import NS_PER_S, Duration, Settings

_HOUR_NS: Final = 3_600 * NS_PER_S
_PORTS: Final = {"mqtts": 8883, "mqtt": 1883, "postgres": 5432}
_RESERVED: Final = frozenset("+/#\x00")
_FILES: Final = ("ca", "cert", "key")


def _topic_part(text: str) -> str:
    if not text or len(text) > 255 or set(text) & _RESERVED:
        raise ValueError("write 1 to 255 characters without `+`, `/` and `#`")
    return text


TopicPart = Annotated[str, AfterValidator(_topic_part)]
"""An id of Sparkplug: no character that MQTT reserves (Sparkplug 3.0.0, section 4.1)."""


def _identifier(text: str) -> str:
    if not text.isidentifier() or not text.isascii() or len(text) > 63 or text != text.lower():
        raise ValueError("write a name of lower-case letters, digits and `_`")
    return text


class Endpoint(NamedTuple):
    """Where a server listens, and whether by TLS."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _split(url: str, schemes: tuple[str, ...], example: str) -> Endpoint:
    """The parts of an address. Raises ValueError."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in schemes or not parts.hostname or port == 0 or not bare:
        raise ValueError(f"write an address such as `{example}`")
    return Endpoint(parts.hostname, port or _PORTS[parts.scheme], parts.scheme != "mqtt")


class SecretFile(Settings):
    """A secret that lies in a file of its own, beside site.yaml, on each node."""

    file: str = Field(min_length=1)


class Reached(Settings):
    """What both kinds of feeds have in common: log-in, TLS, and how much may be outstanding."""

    user: str = Field("", max_length=256)
    password: SecretFile | None = None
    ca: str | None = Field(
        None,
        description="PEM file of who issued the server's certificate; the system's when absent",
    )
    cert: str | None = Field(None, description="PEM file of the node's certificate for this server")
    key: str | None = Field(None, description="PEM file of its key")
    insecure: bool = Field(False, description="speak without TLS: everybody on the way can listen")

    @model_validator(mode="after")
    def _fits_together(self) -> Reached:
        if (self.cert is None) != (self.key is None):
            raise ValueError("`cert` and `key` go together: write both or neither")
        if self.password is not None and not self.user:
            raise ValueError("a password needs a user: write `user: …`")
        if self.insecure and (self.ca or self.cert):
            raise ValueError("`insecure` speaks without TLS: remove it, or `ca`, `cert` and `key`")
        return self

    def files(self) -> list[tuple[str, str]]:
        """(key, name) of each file that a node must have."""
        named = [(key, name) for key in _FILES if (name := getattr(self, key)) is not None]
        if self.password is not None:
            named.append(("password.file", self.password.file))
        return named


class MqttFeed(Reached):
    """A Sparkplug B edge node on an MQTT broker."""

    broker: str = Field(examples=["mqtts://broker.plant:8883"])
    group: TopicPart = Field(examples=["plant-7"], description="Sparkplug group_id")
    edge_node: TopicPart | None = Field(
        None, description="Sparkplug edge_node_id; the site's name when absent"
    )
    primary_host: TopicPart | None = Field(
        None, description="sparkplug_host_id: nothing is sent while this application is offline"
    )
    backlog_ns: Duration = Field(
        24 * _HOUR_NS,
        alias="backlog",
        description="samples older than this are not caught up with, and that is told",
    )

    @model_validator(mode="after")
    def _is_reachable(self) -> MqttFeed:
        endpoint = self.endpoint
        if endpoint.tls is self.insecure:
            raise ValueError(
                "`mqtts://` speaks TLS and `mqtt://` doesn't: "
                "write `mqtts://…`, or `mqtt://…` and `insecure: true`"
            )
        return self

    @property
    def endpoint(self) -> Endpoint:
        return _split(self.broker, ("mqtts", "mqtt"), "mqtts://broker.plant:8883")


class PostgresFeed(Reached):
    """Tables of a PostgreSQL database, hypertables where TimescaleDB is there."""

    server: str = Field(examples=["db.plant:5432"])
    database: str = Field(min_length=1, max_length=63, examples=["history"])
    user: str = Field(min_length=1, max_length=63, examples=["hotpair"])
    schema_: Annotated[str, AfterValidator(_identifier)] = Field(
        "hotpair", alias="schema", description="where the tables are; made when it isn't there"
    )
    backlog_ns: Duration | None = Field(
        None,
        alias="backlog",
        description="samples older than this are not caught up with; none is too old when absent",
    )

    @model_validator(mode="after")
    def _is_reachable(self) -> PostgresFeed:
        _ = self.endpoint
        return self

    @property
    def endpoint(self) -> Endpoint:
        """Where it is; `tls` as asked for."""
        found = _split(f"postgres://{self.server}", ("postgres",), "db.plant:5432")
        return found._replace(tls=not self.insecure)


class Northbound(Settings):
    """Who gets every sample of the journal, beside the clients of OPC UA and REST."""

    mqtt: MqttFeed | None = None
    postgres: PostgresFeed | None = None

    def feeds(self) -> list[tuple[str, Reached]]:
        """(key, settings) of those that are configured."""
        both: tuple[tuple[str, Reached | None], ...] = (
            ("mqtt", self.mqtt),
            ("postgres", self.postgres),
        )
        return [(name, feed) for name, feed in both if feed is not None]
