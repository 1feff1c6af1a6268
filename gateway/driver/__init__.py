"""The port that drivers fulfil: small, and the same for every protocol.

A *line* is what is shared: a serial bus, a socket behind which units sit, an OPC UA session. The
collector runs one task a line, so a driver never has two scans of one line at once; commands
(write, raw) come from other tasks, and the line serialises them with its own lock.

A driver holds no schedule and knows no journal: it is asked, and answers with observations. It
sends nothing when `may_send()` is false (the reign has ended), and asks that before every request.
"""

from gateway.driver.log import (
    PAGE_RECORDS_MAX,
    PAGE_VALUES_MAX,
    ClockReading,
    DeviceEvent,
    Lacking,
    LogPage,
    LogSpec,
    LogWanted,
    Turn,
)
from gateway.driver.port import (
    RTT_KEPT,
    Delivery,
    Diagnostics,
    Driver,
    DriverContext,
    Fault,
    Frame,
    Line,
    Registers,
    Rehearsal,
    Scan,
    Schema,
    WriteOutcome,
)
from gateway.driver.spec import (
    SUBSCRIPTION_CLASS,
    DeviceSettings,
    DeviceSpec,
    LineSpec,
    Observation,
    PointSettings,
    PointSpec,
    Range,
)

__all__ = [
    "PAGE_RECORDS_MAX",
    "PAGE_VALUES_MAX",
    "RTT_KEPT",
    "SUBSCRIPTION_CLASS",
    "ClockReading",
    "Delivery",
    "DeviceEvent",
    "DeviceSettings",
    "DeviceSpec",
    "Diagnostics",
    "Driver",
    "DriverContext",
    "Fault",
    "Frame",
    "Lacking",
    "Line",
    "LineSpec",
    "LogPage",
    "LogSpec",
    "LogWanted",
    "Observation",
    "PointSettings",
    "PointSpec",
    "Range",
    "Registers",
    "Rehearsal",
    "Scan",
    "Schema",
    "Turn",
    "WriteOutcome",
]
