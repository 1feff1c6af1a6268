"""What a site may say of an OPC UA device and its points, and the faults no single model sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from drivers.opcua.nodes import parse_node
from drivers.opcua.values import widens
from gateway.driver import DeviceSettings, LineSpec, PointSettings
from gateway.model import NS_PER_MS, NS_PER_S, DataType, Duration, Settings

Policy = Literal["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
Problem = tuple[str, str, str, str, str]

_SYNONYMS: Final = {
    "boolean": DataType.BOOL,
    "sbyte": DataType.INT8,
    "byte": DataType.UINT8,
    "float": DataType.FLOAT32,
    "real": DataType.FLOAT32,
    "double": DataType.FLOAT64,
    "lreal": DataType.FLOAT64,
    "text": DataType.STRING,
    "bytestring": DataType.BYTES,
    "utcdatetime": DataType.DATETIME,
    "utctime": DataType.DATETIME,
}


def parse_type(text: object) -> object:
    """A published type by its own name or by OPC UA's: `Double`, `SByte`, `ByteString`."""
    if not isinstance(text, str):
        return text
    name = text.strip().lower()
    return _SYNONYMS.get(name, name)


PointType = Annotated[
    DataType,
    BeforeValidator(parse_type),
    Field(json_schema_extra={"enum": [*(kind.value for kind in DataType), *_SYNONYMS]}),
]


class Secret(Settings):
    """A secret that lies in a file of its own, beside site.yaml, on each node."""

    file: str = Field(min_length=1)


class Security(Settings):
    """How a connection is protected, and how the server is known.

    The server's certificate is pinned by `server_certificate`, or must lie in (or be issued by a
    certificate in) the directory `trust`. Without either, `data_dir/pki/trusted` is used.
    """

    policy: Policy = "Basic256Sha256"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    user: str | None = Field(None, min_length=1)
    password: Secret | None = None
    certificate: str | None = Field(None, description="own certificate, .der or .pem")
    key: str | None = Field(None, description="its private key, .pem or .der")
    server_certificate: str | None = Field(None, description="the server's, pinned")
    trust: str | None = Field(None, description="directory of trusted certificates")
    trust_any: bool = Field(False, description="accept any server certificate: not for a plant")

    @model_validator(mode="after")
    def _consistent(self) -> Security:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate:` and `key:` belong together")
        if self.password is not None and self.user is None:
            raise ValueError("`password:` needs `user:`")
        ways = (self.server_certificate is not None, self.trust is not None, self.trust_any)
        if sum(ways) > 1:
            raise ValueError("give one of `server_certificate:`, `trust:` and `trust_any:`")
        return self


class OpcUaDevice(DeviceSettings):
    """An OPC UA server that the gateway reads; its endpoint's host is used as it stands here."""

    endpoint: str = Field(description="such as opc.tcp://10.0.0.12:4840")
    mode: Literal["subscribe", "poll"] = "subscribe"
    publishing_interval_ns: Duration = Field(
        500 * NS_PER_MS, alias="publishing_interval", ge=10 * NS_PER_MS, le=60 * NS_PER_S
    )
    sampling_interval_ns: Duration | None = Field(
        None, alias="sampling_interval", description="publishing_interval when absent"
    )
    queue_size: int = Field(10, ge=1, le=10_000)
    timeout_ns: Duration = Field(
        4 * NS_PER_S, alias="timeout", ge=100 * NS_PER_MS, le=60 * NS_PER_S
    )
    session_timeout_ns: Duration = Field(
        30 * NS_PER_S, alias="session_timeout", ge=5 * NS_PER_S, le=3600 * NS_PER_S
    )
    security: Security | None = None
    insecure: bool = Field(False, description="talk without signature or encryption")

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, text: str) -> str:
        parts = urlsplit(text)
        example = "write opc.tcp://host:4840"
        if parts.scheme != "opc.tcp" or not parts.hostname:
            raise ValueError(example)
        if "@" in parts.netloc:
            raise ValueError(f"name the user under `security:`, and {example}")
        _ = parts.port  # raises ValueError when it is no port number
        return text

    @property
    def url(self) -> str:
        """The endpoint with its port, 4840 when none is given (OPC 10000-6 section 7.4)."""
        parts = urlsplit(self.endpoint)
        port = "" if parts.port else ":4840"
        return f"opc.tcp://{parts.netloc.rstrip(':')}{port}{parts.path}"

    @property
    def protected(self) -> bool:
        """Whether messages are signed."""
        return self.security is not None and self.security.policy != "None"

    @property
    def sampling_ns(self) -> int:
        return self.sampling_interval_ns or self.publishing_interval_ns


class OpcUaPoint(PointSettings):
    """A point on an OPC UA server."""

    node: str = Field(description="NodeId: nsu=urn:plc:app;s=Flow, ns=2;s=Flow or i=2258")
    type: PointType
    index: int | None = Field(None, ge=0, le=1_000_000, description="element of an array")

    @field_validator("node")
    @classmethod
    def _node(cls, text: str) -> str:
        parse_node(text)
        return text

    @model_validator(mode="after")
    def _unscaled(self) -> OpcUaPoint:
        if self.range is not None and self.range.raw is not None:
            raise ValueError("an OPC UA server scales by itself: give `range.eu` only")
        return self


def published_type(point: Any) -> DataType:
    """The published type: the node's, unless `publish_as` widens it."""
    kind: DataType = point.publish_as or point.type
    return kind


def subscribed(device: Any) -> bool:
    """Whether a device delivers by itself."""
    return bool(device.mode == "subscribe")


def files(line: LineSpec) -> list[tuple[str, str, str]]:
    """The secrets and certificates that devices name: each node has its own."""
    found = []
    for spec in line.devices:
        security: Security | None = spec.settings.security
        if security is None:
            continue
        password = security.password.file if security.password is not None else None
        named = (
            ("password.file", password),
            ("certificate", security.certificate),
            ("key", security.key),
            ("server_certificate", security.server_certificate),
            ("trust", security.trust),
        )
        found += [(spec.name, f"security.{key}", path) for key, path in named if path]
    return found


METHODS: Final = ("opcua_history", "none")
"""What `windback:` may say of an OPC UA device."""
INSECURE_REMEDY: Final = (
    "Add `security: {policy: Basic256Sha256, mode: SignAndEncrypt, user: …, password: {file: …}}`, "
    "or, only if everyone on that network may read and write this device, `insecure: true`"
)


def review(line: LineSpec) -> Sequence[Problem]:
    """What is wrong with a line: (device, point or "", key, message, remedy) of each problem."""
    problems: list[Problem] = []
    for spec in line.devices:
        device: OpcUaDevice = spec.settings
        if not device.protected and not device.insecure:
            text = "nothing protects this connection: `security:` is missing"
            if device.security is not None:
                text = "nothing protects this connection: `security.policy` is None"
            problems.append((spec.name, "", "security", text, INSECURE_REMEDY))
        if device.protected and device.insecure:
            text = "`insecure: true` contradicts `security:`"
            problems.append((spec.name, "", "insecure", text, "Remove one of the two"))
        method = (device.windback or {}).get("method", METHODS[0])
        if method not in METHODS:
            text = f"an OPC UA server has no log for the method {method}"
            remedy = f"Write one of {', '.join(METHODS)}"
            problems.append((spec.name, "", "windback", text, remedy))
        if device.sampling_ns > device.publishing_interval_ns:
            text = "sampling is slower than publishing"
            remedy = "Make sampling_interval at most publishing_interval"
            problems.append((spec.name, "", "sampling_interval", text, remedy))
        for point in spec.points:
            kind, wanted = point.settings.type, point.settings.publish_as
            if wanted is not None and not widens(kind, wanted):
                text = f"not every {kind.value} is a {wanted.value}"
                remedy = "Publish it as a type that holds every value, or leave `publish_as` out"
                problems.append((spec.name, point.name, "publish_as", text, remedy))
    return problems
