"""What REST answers about the node and its pair: the models that OpenAPI shows. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Scalar = bool | int | float | str | None
"""A value of a point: bytes as hexadecimal text; what no number of JSON is, as text."""
RoleName = Literal["observer", "operator", "engineer", "admin"]


class Trouble(BaseModel):
    """Why a request was refused, and what to do."""

    detail: str
    remedy: str = ""
    status: str = ""


class Done(BaseModel):
    """What was done, in words."""

    done: str


class Health(BaseModel):
    """Whether the node counts as what it was asked for; if not, why."""

    ok: bool
    node: str
    role: str
    why: str


class LogIn(BaseModel):
    """Name and password of a user of site.yaml."""

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1_024)


class Me(BaseModel):
    """Who is asking, and what they may do."""

    user: str
    role: RoleName
    acts: list[str]
    token: bool
    node: str
    site: str
    peer_page: str


class Peer(BaseModel):
    """The other node, as it last told of itself; None where nothing was heard."""

    node: str
    role: str
    role_shown: str
    term: str | None
    field: str
    priority: int
    able: bool
    hears_this_node: bool
    heard_ms_ago: int


class Link(BaseModel):
    """A path between the nodes."""

    name: str
    kind: Literal["tcp", "serial"]
    up: bool
    since: str | None
    last_heard_age_ms: int | None
    rtt_ms: float | None
    refused_why: str
    peer_version: str | None
    garbled: int
    doubled: int
    strangers: int
    certificate_until: str | None = None
    peer_certificate_until: str | None = None


class Witness(BaseModel):
    """A third party; `votes` None for one that can only veto."""

    name: str
    kind: Literal["modbus", "etcd", "host"]
    votes: bool | None
    trouble: str
    remedy: str
    owner: str | None = None
    registers: list[int] | None = None
    endpoint: str | None = None
    answers: bool | None = None
    vetoes: bool | None = None


class Pull(BaseModel):
    """How far one direction of replication is."""

    connected: bool
    path: str
    records_behind: int
    samples_behind: int
    lag_ms: float
    percent: float
    equal: bool | None
    equal_at_ns: int
    differences: list[str]


class Replication(BaseModel):
    """Both directions; `state` is what holds now of `mode`."""

    mode: Literal["async", "sync"]
    state: str
    waiting_samples: int
    equal: bool | None
    sending: Pull
    receiving: Pull


class SystemClock(BaseModel):
    """The clock of the node's machine, as its kernel says; null where it says nothing."""

    synchronised: bool | None
    error_max_ms: float


class RunningRevision(BaseModel):
    """Which revision of the configuration is the head, which one runs, and what is amiss."""

    number: int | None
    running: int
    at: str | None
    who: str
    term: str | None
    differs: str
    diverged: int
    not_able: str


class Device(BaseModel):
    """How a device fares; `state` is up, down, starting, disabled, or idle on a Standby."""

    state: Literal["up", "down", "starting", "disabled", "idle"]
    driver: str
    line: str
    points: int
    scans: int
    samples: int
    overruns: int
    last_scan_age_ms: int | None
    open_gaps: int
    open_gaps_ms: float
    down_since: str | None
    why: str
    status: str
    requests: int
    replies: int
    timeouts: int
    invalid_replies: int
    link_failures: int
    exceptions: dict[str, int]
    last_error: str
    last_error_at: str | None
    rtt_p50_ms: float | None
    rtt_p95_ms: float | None
    notes: dict[str, str]


class NorthboundFeed(BaseModel):
    """A broker or database that gets the samples; only the Main says how far it is behind.

    `lag_s` is None, too, until something was delivered.
    """

    where: str
    state: Literal["standby", "connecting", "waiting for host", "delivering", "failing"]
    insecure: bool
    records_behind: int | None
    lag_s: float | None
    samples: int
    records: int
    skipped: int
    sessions: int
    failures: int
    last_error: str
    last_error_at: str | None


class NodeStatus(BaseModel):
    """One screen's worth: the node and its peer, the journal, each device."""

    version: str
    site: str
    node: str
    role: Literal["starting", "syncing", "synced", "main"]
    role_shown: str
    why: str
    role_age_ms: int
    term: str
    may_send: bool
    reign_left_ms: int
    proven: bool
    paused: bool
    vetoed: bool
    able: bool
    field: str
    priority: int
    arbitrations: int
    patience_ms: int
    handing_over: str | None
    granted: str | None
    stopping: bool
    peer_view: str
    peer_absent: bool
    peer: Peer | None
    clock_ahead_ms: float
    rtt_ms: float
    clocks_apart: bool
    links_carry: str
    witness_vote: str
    now: str
    since: str
    linked: bool
    late_max_ms: float
    endpoint: str
    endpoint_open: bool
    insecure: bool
    clients_trusted: int | None
    certificate_expires: str | None
    points: int
    complete_through: str | None
    claimed_through: str | None
    behind: dict[str, str]
    storing: bool
    conflicts: int
    clock: SystemClock
    revision: RunningRevision
    devices: dict[str, Device]
    substituted: list[str]
    disabled: list[str]
    links: list[Link]
    witness: list[Witness]
    replication: Replication | None
    northbound: dict[str, NorthboundFeed]


class Point(BaseModel):
    """A point now: source time of the last change, server time of the last good poll."""

    point: str
    value: Scalar
    unit: str
    type: str
    access: Literal["r", "w", "rw"]
    scan: str
    status: str
    source_time_ns: int
    server_time_ns: int
    label: str | None = None


class Event(BaseModel):
    """An alarm or a notable event; severity 1 to 1000."""

    time: str
    source: str
    severity: int
    text: str


class AuditEntry(BaseModel):
    """Who did or tried what."""

    time: str
    action: str
    target: str
    who: str
    outcome: str
    detail: dict[str, object]
    position: str


class RoleTaken(BaseModel):
    """A change of a node's role."""

    time: str
    node: str
    role: str
    why: str
    term: str | None
    position: str


class Reign(BaseModel):
    """Who was Main; `to_ns` None while it lasts."""

    node: str
    term: str | None
    from_ns: int
    to_ns: int | None
    from_: str = Field(alias="from")
    to: str | None
    why: str
    ended: str


class Roles(BaseModel):
    """The newest role changes of both nodes, and the reigns they add up to."""

    roles: list[RoleTaken]
    reigns: list[Reign]
