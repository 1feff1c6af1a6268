"""What the OPC UA server is told: where it listens, who may do what, and every bound it keeps."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final, Literal


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address: 127.0.0.0/8, ::1 or `localhost`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


STATE_RUNNING: Final = 0
STATE_SUSPENDED: Final = 3
STATE_SHUTDOWN: Final = 4
STATE_UNKNOWN: Final = 7
"""ServerState (OPC 10000-5 section 12.6)."""


class Role(IntEnum):
    """What a user may do; each role includes the ones before it."""

    OBSERVER = 1
    OPERATOR = 2
    ENGINEER = 3
    ADMIN = 4

    @classmethod
    def parse(cls, text: str) -> Role:
        """The role of that name in a site file. Raises ValueError."""
        try:
            return cls[text.upper()]
        except KeyError:
            names = ", ".join(role.name.lower() for role in cls)
            raise ValueError(f"write one of {names}") from None


class Redundancy(StrEnum):
    """What of a pair this server is part of, by what its Standby does."""

    NONE = "none"
    COLD = "closed"
    WARM = "warm"

    @property
    def support(self) -> int:
        """RedundancySupport (OPC 10000-5 section 12.5)."""
        return (Redundancy.NONE, Redundancy.COLD, Redundancy.WARM).index(self)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in, by password, by certificate or by either.

    `password_hash` as `passwords.hash_password` makes it, `certificate` the SHA-256 of its DER
    bytes in hex; what is empty is no way in.
    """

    name: str
    role: Role
    password_hash: str
    certificate: str = ""

    @property
    def secrets(self) -> tuple[str, str]:
        """By what the user is known: who has others is somebody else."""
        return self.password_hash, self.certificate


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the server. What is advertised of them is enforced.

    Chunk and message sizes are bytes, intervals ms, counts per what the name says. Before a log-in
    a message has `max_unproven_bytes`; all arrays of a request together have `max_elements`, all
    continuation points of all sessions `max_continuation_bytes`.
    """

    max_connections: int = 100
    max_sessions: int = 100
    max_sessions_per_connection: int = 5
    activation_ms: int = 10_000
    min_session_ms: int = 5_000
    max_session_ms: int = 60_000
    min_channel_ms: int = 10_000
    max_channel_ms: int = 3_600_000
    max_chunk_bytes: int = 65_535
    max_message_bytes: int = 4 * 1024 * 1024
    max_unproven_bytes: int = 128 * 1024
    max_elements: int = 100_000
    max_output_bytes: int = 8 * 1024 * 1024
    congested_bytes: int = 1024 * 1024
    max_pending_messages: int = 64
    max_slow_requests: int = 16
    max_nodes_per_read: int = 10_000
    max_nodes_per_write: int = 1_000
    max_nodes_per_browse: int = 1_000
    max_nodes_per_history_read: int = 1_000
    max_nodes_per_register: int = 10_000
    max_nodes_per_translate: int = 1_000
    max_nodes_per_call: int = 100
    max_items_per_call: int = 10_000
    max_references_per_node: int = 1_000
    max_browse_points: int = 20
    max_subscriptions: int = 200
    max_subscriptions_per_session: int = 50
    max_items: int = 200_000
    max_items_per_subscription: int = 50_000
    max_queue: int = 100
    max_event_items: int = 1_000
    max_event_queue: int = 1_000
    max_event_backlog: int = 10_000
    max_select_clauses: int = 500
    max_where_operands: int = 1_000
    max_unacknowledged: int = 20
    max_publish_requests: int = 50
    max_notifications_per_publish: int = 1_000
    max_events_per_publish: int = 100
    min_publishing_ms: int = 50
    max_publishing_ms: int = 3_600_000
    min_sampling_ms: int = 50
    max_sampling_ms: int = 3_600_000
    max_keep_alive_ms: int = 3_600_000
    min_lifetime_ms: int = 10_000
    max_history_values: int = 10_000
    max_history_values_per_request: int = 50_000
    max_history_samples_per_request: int = 200_000
    max_history_intervals: int = 100_000
    max_history_times: int = 10_000
    max_history_points: int = 100
    history_point_ms: int = 120_000
    max_continuation_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpcUaSettings:
    """Where and how the server listens; `host` and `port` are the socket, 0 takes a free port.

    `insecure` opens the door to anybody, reading and writing, without encryption: for a
    demonstration on the loopback interface. `advertise` names go into certificate and endpoints.
    With `trust_any` every client's certificate is as good as another.
    `ignore_write_timestamps` accepts writes whose client adds a timestamp, and drops it.
    `server_uri_array` is `uris`, or `urls` for clients that connect to what they find there.
    """

    node: str
    host: str = "0.0.0.0"
    port: int = 4840
    advertise: tuple[str, ...] = ()
    pki_dir: Path = Path("pki")
    insecure: bool = False
    trust_any: bool = False
    ignore_write_timestamps: bool = False
    namespace_uri: str | None = None
    application_uri: str | None = None
    redundancy: Redundancy = Redundancy.NONE
    server_uri_array: Literal["uris", "urls"] = "uris"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"opcua without security listens on loopback only, not on {self.host}: "
                "use 127.0.0.1, or leave `insecure` off"
            )

    @property
    def trusts_listed(self) -> bool:
        """Whether a client's certificate must be trusted; no lock helps beside an open door."""
        return not (self.trust_any or self.insecure)

    @property
    def is_warm(self) -> bool:
        """Whether this server answers in a Standby, too."""
        return self.redundancy is Redundancy.WARM

    def namespace(self, site: str) -> str:
        """The namespace of points, the same on both nodes: always index 2."""
        return self.namespace_uri or f"urn:hotpair:{site}"

    def application(self, site: str) -> str:
        """The ApplicationUri, different on each node: always index 1."""
        return self.application_uri or f"urn:hotpair:{site}:{self.node}"
