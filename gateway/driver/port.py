"""What a driver says to the house: the line that it opens, and what lines answer."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from gateway.clock import Clock
from gateway.driver.log import LogPage, LogSpec, LogWanted, Turn
from gateway.driver.spec import (
    DeviceSettings,
    DeviceSpec,
    LineSpec,
    Observation,
    PointSettings,
    PointSpec,
)
from gateway.model import NS_PER_MS, Cause, DataType, Value


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
    """What became of a write: its status, and the value read back (None if that failed) when.

    `read_back_ns` is this node's clock as the value came; 0 where none did.
    """

    status: int
    read_back: Value
    detail: str = ""
    read_back_ns: int = 0


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
RTT_BOUNDS_NS = tuple(
    ms * NS_PER_MS for ms in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
)
"""Upper bounds of the counts of round trips, for percentiles over any time and many devices."""


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
    rtt_counts: list[int] = field(default_factory=lambda: [0] * (len(RTT_BOUNDS_NS) + 1))
    rtt_sum_ns: int = 0
    _rtt_ns: list[int] = field(default_factory=list)

    def round_trip(self, rtt_ns: int) -> None:
        """Count one round trip and remember it; the oldest of the last 256 is forgotten."""
        self.rtt_counts[bisect_left(RTT_BOUNDS_NS, rtt_ns)] += 1
        self.rtt_sum_ns += rtt_ns
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
        """Write one point in engineering units and read it back. Raises DeviceError.

        A device may take back what was written, so the point is observed anew at the next scan,
        though it then reads as before the write; a subscription looks at it once more.
        """

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        """Read raw registers or nodes, for commissioning. Raises DeviceError."""

    def logs(self, device: str) -> Sequence[LogSpec]:
        """The logs that a device keeps and this driver can read; none: nothing to wind back."""

    def read_log(self, device: str, wanted: LogWanted, turn: Turn) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of a device's own log, oldest page first, connecting first if need be.

        Each request waits for its `turn`. Closing the generator, or an error in it, gives back
        what was locked. Raises DeviceError; LogUnavailable when the log can't be read now.
        """

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Let the device forget what a page with `acknowledge` holds. Raises DeviceError."""

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
    `clock_run` names a run of this node's clock: as long as it is the same, nobody set that.
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
    clock_run: Callable[[], str] = lambda: ""


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
