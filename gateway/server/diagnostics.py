"""The diagnostic variables of devices and of the node: by table, so that both nodes have the same.

The application supplies a mapping of these names; one it does not supply reads Bad_NoData, so that
a client sees a hole and not a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gateway.clock import Clock
from gateway.model import NS_PER_S, DataType, Status
from gateway.server.encoding import Stamped

Supply = Callable[[], Mapping[str, Mapping[str, Any]]]
"""device -> name -> value; the node's own under the empty name."""
NODE: Final = ""
FRESH_NS: Final = NS_PER_S


class Counter(NamedTuple):
    """One diagnostic variable."""

    name: str
    data_type: DataType
    description: str


DEVICE: Final = (
    Counter("Connected", DataType.BOOL, "The device answers."),
    Counter("Enabled", DataType.BOOL, "The device is polled; false while under maintenance."),
    Counter("CoverageOk", DataType.BOOL, "Every scan class is complete through now."),
    Counter("Requests", DataType.INT64, "Requests sent since the line was opened."),
    Counter("Replies", DataType.INT64, "Valid replies."),
    Counter("Errors", DataType.INT64, "Requests that did not succeed, of any kind."),
    Counter("Timeouts", DataType.INT64, "Requests without an answer in time."),
    Counter("InvalidReplies", DataType.INT64, "Answers that were not to the question."),
    Counter("LinkFailures", DataType.INT64, "Times the connection failed."),
    Counter("Exceptions", DataType.INT64, "Answers that were a protocol exception or Bad status."),
    Counter("Overruns", DataType.INT64, "Scans that did not end before the next was due."),
    Counter("RoundTripP50", DataType.FLOAT64, "Median round trip of recent requests in ms."),
    Counter("RoundTripP95", DataType.FLOAT64, "95th percentile of recent round trips in ms."),
    Counter("LastError", DataType.STRING, "What went wrong last."),
    Counter("LastErrorTime", DataType.DATETIME, "When that was."),
    Counter("LastGoodTime", DataType.DATETIME, "When the device last answered well."),
)
NODE_COUNTERS: Final = (
    Counter("Name", DataType.STRING, "The name of this node."),
    Counter("Role", DataType.STRING, "starting, standby or main."),
    Counter("Term", DataType.STRING, "The reign under which values are stamped."),
    Counter("Revision", DataType.INT64, "The configuration revision that runs."),
    Counter("Version", DataType.STRING, "The version of the program."),
    Counter("StartTime", DataType.DATETIME, "When the node started."),
    Counter("JournalOk", DataType.BOOL, "The journal takes records."),
    Counter("SamplesPerSecond", DataType.FLOAT64, "Samples kept a second, of late."),
    Counter("OpenGaps", DataType.INT64, "Gaps that may yet be filled, of late."),
)


class DiagnosticsTable:
    """Asks the application at most once a second, however many variables are read."""

    def __init__(self, supply: Supply, clock: Clock) -> None:
        self._supply = supply
        self._clock = clock
        self._values: Mapping[str, Mapping[str, Any]] = {}
        self._asked_ns: int | None = None
        self._utc_ns = 0

    def read(self, device: str, name: str) -> Stamped:
        """A variable now; `device` is empty for the node's own."""
        now_ns = self._clock.monotonic_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= FRESH_NS:
            self._values = self._supply()
            self._asked_ns = now_ns
            self._utc_ns = self._clock.utc_ns()
        value = self._values.get(device, {}).get(name)
        status = Status.BAD_NO_DATA if value is None else Status.GOOD
        return Stamped(value, status, self._utc_ns, self._utc_ns)
