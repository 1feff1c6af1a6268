"""site.yaml as a model, and as the program uses it: the same for both nodes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from gateway.config.northbound import Northbound
from gateway.driver import DeviceSpec, LineSpec, PointSpec
from gateway.model import NS_PER_MS, NS_PER_S, Duration, Settings, Size

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
SCAN_CLASSES: Final[Mapping[str, int]] = {
    "fast": 200 * NS_PER_MS,
    "normal": NS_PER_S,
    "slow": 10 * NS_PER_S,
}
PERIOD_MIN_NS: Final = 10 * NS_PER_MS
PERIOD_MAX_NS: Final = 86_400 * NS_PER_S
_SPELT: Final = {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
_DAY_NS: Final = 86_400 * NS_PER_S


def better_name(name: str) -> str:
    """A name of our alphabet that looks like the one given."""
    for letter, ascii_ in _SPELT.items():
        name = name.replace(letter, ascii_)
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", bare).strip("_")[:64] or "name1"


def _is_name(text: str) -> str:
    if not NAME.match(text):
        raise ValueError(
            "names have 1 to 64 letters, digits, `_`, `.` or `-`: "
            f"write `{better_name(text)}` instead"
        )
    return text


Name = Annotated[str, AfterValidator(_is_name)]


def _period(ns: int) -> int:
    if not PERIOD_MIN_NS <= ns <= PERIOD_MAX_NS:
        raise ValueError("a scan class lasts 10ms to 1d: write a period in that range")
    return ns


def _at_least_10ms(ns: int) -> int:
    if ns < 10 * NS_PER_MS:
        raise ValueError("write a time of at least 10ms")
    return ns


Wait = Annotated[Duration, AfterValidator(_at_least_10ms)]


class ModbusWitness(Settings):
    """A PLC whose two registers, from `address` on, tell the nodes apart (rules.md 6)."""

    device: str
    register_: Literal["holding"] = Field("holding", alias="register")
    address: int = Field(ge=0, le=65_533, description="0-based; three registers are used")


class EtcdWitness(Settings):
    """An etcd cluster whose lease votes."""

    endpoints: tuple[str, ...] = Field(min_length=1, max_length=9)


class Witness(Settings):
    """Third parties whose vote settles who is Main; `hosts` can only veto."""

    modbus: tuple[ModbusWitness, ...] = Field((), max_length=9)
    etcd: EtcdWitness | None = None
    hosts: tuple[str, ...] = Field((), max_length=9)


class PairSettings(Settings):
    """How the two nodes watch each other, and what they promise (rules.md 5 to 7)."""

    heartbeat_ns: Wait = Field(100 * NS_PER_MS, alias="heartbeat")
    takeover_after_ns: Wait = Field(NS_PER_S, alias="takeover_after")
    startup_wait_ns: Wait = Field(3 * NS_PER_S, alias="startup_wait")
    field_lost_after_ns: Wait = Field(
        10 * NS_PER_S,
        alias="field_lost_after",
        description="a Main that reaches no device for this long hands over to one that does",
    )
    clock_apart_ns: Wait = Field(
        NS_PER_S,
        alias="clock_apart",
        description="clocks of the nodes that differ by more are an alarm",
    )
    replication: Literal["async", "sync"] = "async"
    sync_timeout_ns: Wait = Field(500 * NS_PER_MS, alias="sync_timeout")
    sync_fallback: Literal["async", "hold"] = "async"
    duty: Literal["merge", "discard"] = "merge"
    writes_alone: Literal["allow", "refuse"] = "allow"
    standby_endpoint: Literal["closed", "warm"] = Field(
        "closed",
        description="a Standby answers OPC UA clients without values (warm), or not at all",
    )
    server_uri_array: Literal["uris", "urls"] = Field(
        "uris",
        description="what ServerUriArray holds: ApplicationUris as OPC UA has it, or endpoint URLs "
        "for clients that connect to what they find there",
    )
    service_level_alone: Literal["healthy", "degraded"] = Field(
        "healthy",
        description="what a Main without a ready Standby says: 200 to 227, or below 200",
    )
    standby_probe: Literal["off", "on", "rehearse"] = Field(
        "off",
        description="a Standby looks at the field only when its Main lost it (off), each minute "
        "(on), or tries each device once an hour (rehearse)",
    )
    witness: Witness = Witness()

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> PairSettings:
        if self.takeover_after_ns < 3 * self.heartbeat_ns:
            raise ValueError(
                "takeover_after must last three heartbeats, or one lost packet would "
                "look like a dead node"
            )
        return self


class HistorySettings(Settings):
    """How long and how much history is kept; the older of the two limits drops whole days."""

    retention_ns: Duration = Field(30 * _DAY_NS, alias="retention")
    max_size_bytes: Size = Field(10 * 10**9, alias="max_size")

    @model_validator(mode="after")
    def _holds_something(self) -> HistorySettings:
        if self.retention_ns < _DAY_NS:
            raise ValueError("retention is counted in whole days: write at least 1d")
        if self.max_size_bytes < 64 * 2**20:
            raise ValueError("max_size must hold one day: write at least 64MiB")
        return self


def _is_hash(text: str) -> str:
    if not re.fullmatch(r"scrypt\$\d+\$\d+\$\d+\$[^$]+\$[^$]+", text):
        raise ValueError("this is no password hash: write what `hotpair password` prints")
    return text


class UserEntry(Settings):
    """One user of the OPC UA server and the page."""

    role: Literal["observer", "operator", "engineer", "admin"]
    password_hash: Annotated[str, AfterValidator(_is_hash)] = Field(
        "", description="as `hotpair password` prints it"
    )
    certificate: str = Field(
        "", description="SHA-256 thumbprint of the user's certificate, or a PEM file beside this"
    )

    @model_validator(mode="after")
    def _has_a_way_in(self) -> UserEntry:
        if not (self.password_hash or self.certificate):
            raise ValueError(
                "a user needs a password or a certificate: write `password_hash:` with what "
                "`hotpair password` prints, or `certificate: alice.pem`"
            )
        return self


class SiteFile(Settings):
    """site.yaml; devices, lines and points are checked by the drivers' own models."""

    site: Name = Field(examples=["pump-station-7"])
    namespace: str | None = Field(
        None,
        description="OPC UA namespace of the points; urn:hotpair:<site> when absent",
        pattern=r"^(urn:|https?://)\S+$",
    )
    pair: PairSettings = PairSettings()
    scan_classes: dict[Name, Annotated[Duration, AfterValidator(_period)]] = Field(
        {}, max_length=32, description="periods by name; fast, normal and slow exist already"
    )
    lines: dict[str, Any] = Field({}, max_length=2_000)
    devices: dict[str | int, Any]
    points_csv: tuple[str, ...] = Field((), max_length=100)
    history: HistorySettings = HistorySettings()
    users: dict[Name, UserEntry] = Field({}, max_length=1_000)
    northbound: Northbound = Northbound()


class User(NamedTuple):
    """A user as the server knows it; `certificate` is its SHA-256 in hex; empty is no way in."""

    name: str
    role: str
    password_hash: str
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """A site that passed every check. `points[i].number == i`, ordered by id on both nodes.

    `scan_classes` maps names to ns. `files` holds every text the revision consists of, by the name
    under which the site refers to it (site.yaml first).
    """

    site: str
    namespace: str
    lines: tuple[LineSpec, ...]
    devices: tuple[DeviceSpec, ...]
    points: tuple[PointSpec, ...]
    scan_classes: Mapping[str, int]
    history: HistorySettings
    users: Mapping[str, User]
    pair: PairSettings
    files: Mapping[str, str] = field(default_factory=dict)
    northbound: Northbound = field(default_factory=Northbound)
