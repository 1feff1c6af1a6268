"""The port that drivers fulfil: small, and the same for every protocol.

A *line* is what is shared: a serial bus, a socket behind which units sit, an OPC UA session. The
collector runs one task a line, so a driver never has two scans of one line at once; commands
(write, raw) come from other tasks, and the line serialises them with its own lock.

A driver holds no schedule and knows no journal: it is asked, and answers with observations. It
sends nothing when `may_send()` is false (the reign has ended), and asks that before every request.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, Field, model_validator

from gateway.clock import Clock
from gateway.model import Access, Cause, DataType, Duration, Settings, Value

# ---------------------------------------------------------------------------- what a site says


class Range(Settings):
    """Linear scaling between raw and engineering units; without `raw` it only declares the span."""

    raw: tuple[float, float] | None = None
    eu: tuple[float, float]

    @model_validator(mode="after")
    def _spans(self) -> Range:
        if self.raw is not None and self.raw[0] == self.raw[1]:
            raise ValueError("range.raw needs two different ends")
        if self.eu[0] == self.eu[1]:
            raise ValueError("range.eu needs two different ends")
        return self


class PointSettings(Settings):
    """What a point may say whatever its protocol; a driver's own model adds the address."""

    description: str = ""
    unit: str = Field("", description="engineering unit, such as m3/h")
    access: Access = Access.READ
    scan: str | None = Field(None, description="scan class; the device's when absent")
    range: Range | None = None
    deadband: float | str | None = Field(
        None, description="smallest change worth keeping: engineering units, or '1%' of range.eu"
    )
    max_interval_ns: Duration | None = Field(
        None, alias="max_interval", description="keep a sample this often though nothing changed"
    )
    min: float | None = Field(None, description="smallest value a client may write")
    max: float | None = Field(None, description="largest value a client may write")
    enum: dict[int, str] | None = None
    publish_as: DataType | None = Field(None, description="published type; must hold every value")
    renamed_from: str | None = Field(None, description="the name whose history goes on here")
    pulse_ns: Duration | None = Field(
        None, alias="pulse", description="a written true returns to false after this long"
    )


class DeviceSettings(Settings):
    """What a device may say whatever its protocol."""

    driver: str
    description: str = ""
    area: str = Field(
        "", description="folder path in the OPC UA address space, such as plant/intake"
    )
    enabled: bool = True
    scan: str = "normal"
    profile: str | None = None
    include: tuple[str, ...] = Field(
        (), max_length=1000, description="points of the profile to take, `*` allowed; all if absent"
    )
    windback: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PointSpec:
    """A point as the program uses it: all defaults applied, `number` valid in one revision.

    `deadband` is absolute in engineering units. `settings` is the driver's own point model.
    """

    number: int
    device: str
    name: str
    data_type: DataType
    scan_class: str
    access: Access
    settings: Any
    unit: str = ""
    description: str = ""
    eu_range: tuple[float, float] | None = None
    enum: Mapping[int, str] | None = None
    deadband: float = 0.0
    max_interval_ns: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    pulse_ns: int | None = None

    @property
    def id(self) -> str:
        return f"{self.device}/{self.name}"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device as the program uses it; `scan_classes` maps each class it uses to its period in ns.

    A subscribed device has the one class `subscription`; its period is the publishing interval.
    """

    name: str
    driver: str
    line: str
    settings: Any
    points: tuple[PointSpec, ...]
    scan_classes: Mapping[str, int]
    profile: Any = None
    subscribed: bool = False


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A line with the devices on it; `port` is where this node's serial port is, if it has one."""

    name: str
    driver: str
    settings: Any
    devices: tuple[DeviceSpec, ...]
    port: str | None = None


SUBSCRIPTION_CLASS = "subscription"


# ---------------------------------------------------------------------------- what a driver says


class Observation(NamedTuple):
    """One value as the device gave it: `point` is the PointSpec's number, time in ns UTC."""

    point: int
    time_ns: int
    value: Value
    status: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a device as a whole could not be read, and how long to leave it alone."""

    cause: Cause
    status: int
    detail: str
    retry_after_ns: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The outcome of one scan of one class of one device.

    `observations` holds every point of each block that changed since the last scan (all points on
    the first, and after `forget`); an unreadable point is an observation with a Bad status.
    With a `fault` nothing of the device could be read and there are no observations. `complete` is
    false when a part of the class could not be read for a reason that will pass: what there is is
    kept, but the instant is not covered.
    """

    requested_ns: int
    received_ns: int
    observations: Sequence[Observation] = ()
    fault: Fault | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a subscription brought: values, and the time up to which nothing was missed.

    `through_ns` advances with each publish response, keep-alives included. `complete` is false when
    values were dropped (overflow bit, missed sequence number): coverage has a hole ending here.
    """

    observations: Sequence[Observation]
    through_ns: int
    complete: bool = True
    fault: Fault | None = None


class WriteOutcome(NamedTuple):
    """What became of a write: its status, and the value read back (None if that failed)."""

    status: int
    read_back: Value
    detail: str = ""


class Rehearsal(NamedTuple):
    """What a Standby found when it knocked at a device once.

    `allowed` is false where it must not knock (a shared serial line); `detail` says what was found
    or why not, `remedy` what a person can do.
    """

    device: str
    allowed: bool
    reached: bool
    detail: str
    remedy: str = ""


class Frame(NamedTuple):
    """One frame on a line, for `hotpair trace`: raw bytes and what they mean."""

    time_ns: int
    device: str
    sent: bool
    data: bytes
    text: str


RTT_KEPT = 256


@dataclass(slots=True)
class Diagnostics:
    """What a device's counters say since the line was opened. Times in ns."""

    requests: int = 0
    replies: int = 0
    timeouts: int = 0
    invalid_replies: int = 0
    link_failures: int = 0
    exceptions: dict[int, int] = field(default_factory=dict)
    connected: bool = False
    consecutive_failures: int = 0
    last_error: str = ""
    last_error_ns: int = 0
    last_good_ns: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    _rtt_ns: list[int] = field(default_factory=list)

    def round_trip(self, rtt_ns: int) -> None:
        """Remember one round trip; the oldest of the last 256 is forgotten."""
        if len(self._rtt_ns) < RTT_KEPT:
            self._rtt_ns.append(rtt_ns)
        else:
            self._rtt_ns[self.replies % RTT_KEPT] = rtt_ns

    def percentile_ms(self, fraction: float) -> float | None:
        """The round trip that `fraction` of the remembered ones do not exceed, in ms."""
        if not self._rtt_ns:
            return None
        ordered = sorted(self._rtt_ns)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] / 1e6

    def failed(self, now_ns: int, detail: str) -> None:
        """Remember a failure; the caller counts its kind."""
        self.consecutive_failures += 1
        self.last_error = detail
        self.last_error_ns = now_ns


class Line(Protocol):
    """An open line. A device that does not answer a scan raises nothing: that is a Scan."""

    @property
    def spec(self) -> LineSpec: ...

    def prepare(self, device: str) -> None:
        """Work out now what the first scan of a device would have to; nothing is sent.

        Takes milliseconds; done while idle, so that a takeover only opens sockets. Idempotent.
        """

    async def scan(self, device: str, scan_class: str) -> Scan:
        """Read one class of one device, connecting first if need be."""

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        """Subscribe to a device and deliver until cancelled; reconnects by itself."""

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point in engineering units and read it back. Raises DeviceError."""

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        """Read raw registers or nodes, for commissioning. Raises DeviceError."""

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Send each frame of a device to `sink` until the returned function is called."""

    def diagnostics(self, device: str) -> Diagnostics:
        """The device's counters, alive."""

    def forget(self, device: str) -> None:
        """Drop the last raw blocks of a device, so that its next scan observes every point."""

    async def withdraw(self, device: str) -> None:
        """Say nothing more to a device until its next scan; close what no other device needs."""

    async def rehearse(self, device: str) -> Rehearsal:
        """Connect once on a connection of its own, ask one harmless thing, disconnect.

        Asked on a Standby, so `may_send` is not asked. Never raises DeviceError: that is a reason.
        """

    async def close(self) -> None:
        """Send nothing more, close what is open. Idempotent."""


class Registers(Protocol):
    """Three registers of a PLC that serve as witness, on a small connection of their own.

    Not gated by `may_send`: a Standby speaks to witnesses too. Each request raises DeviceError;
    after an error or a cancelled request the connection is thrown away, and made anew by the next.
    """

    @property
    def connection(self) -> int:
        """Another number each time the connection was made anew."""

    async def read(self, address: int, count: int) -> list[int]:
        """`count` holding registers from `address` on."""

    async def write(self, address: int, values: Sequence[int]) -> None:
        """Write holding registers; sent once, never repeated."""

    def close(self) -> None:
        """Throw the connection away. Idempotent; the next request makes it anew."""


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver gets from the house; `facts` maps (device, key) to what was learned before.

    `learned` takes (device, key, value): a JSON-like value that is journalled and replicated.
    `alarm` takes (device, severity 0..1000 as OPC UA has it, text). `reign_ns` is how long a reign
    outlasts its last heartbeat: no field socket may hold unsent bytes longer (0: no bound).
    """

    clock: Clock
    rng: random.Random
    base_dir: Path
    data_dir: Path
    bind: str | None
    facts: Mapping[tuple[str, str], Any]
    learned: Callable[[str, str, Any], None]
    alarm: Callable[[str, int, str], None]
    may_send: Callable[[], bool]
    reign_ns: int = 0


@dataclass(frozen=True, slots=True)
class Schema:
    """The models with which configuration checks what a site says to a driver.

    `published_type` gives the type of a point after scaling. `review` finds what no single model
    sees: it takes a line with its devices and yields (device, point or "", key, message, remedy);
    a message that begins with `warning: ` hinders no start. `requests` foretells how many requests
    one scan of a class takes, for the summary of `hotpair check`. `files` yields (device, key, path
    beside site.yaml) of what each node must have for itself: secrets, certificates.
    """

    device: type[DeviceSettings]
    point: type[PointSettings]
    line: type[BaseModel] | None
    profile: type[BaseModel] | None
    published_type: Callable[[Any], DataType]
    subscribed: Callable[[Any], bool]
    review: Callable[[LineSpec], Sequence[tuple[str, str, str, str, str]]]
    requests: Callable[[DeviceSpec, str], int] | None = None
    files: Callable[[LineSpec], Sequence[tuple[str, str, str]]] | None = None


class Driver(Protocol):
    """What a folder under drivers/ exports as `driver`."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> Schema: ...

    def open_line(self, line: LineSpec, context: DriverContext) -> Line:
        """A line ready to be scanned; it connects on its first scan, never here."""
