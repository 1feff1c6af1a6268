"""What a method is given: the device's section of the log, its points, and what is wanted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from drivers.modbus.log.clock import read_clock
from drivers.modbus.log.ops import Asking
from drivers.modbus.log.paging import Pager
from drivers.modbus.log.places import Place, place_of
from drivers.modbus.log.records import Points, RecordForm
from drivers.modbus.log.times import zone_of
from gateway.driver import PAGE_RECORDS_MAX, ClockReading, LogWanted
from profiles.schema import Limits
from profiles.windback import Clock, Column, Log, Record, Register, Windback


@dataclass(frozen=True, slots=True)
class Job:
    """One read of one log of one device.

    `section` is the device's `windback:` with site and profile united, `log` the one of its `logs:`
    (None where the method has one log without a name). `fact` is what `Learn` told last, {} before.
    `now_ns` is this node's time when the read began.
    """

    section: Windback
    log: Log | None
    wanted: LogWanted
    points: Points
    limits: Limits
    clock: Clock | None
    base: int
    fact: Mapping[str, Any]
    now_ns: int
    page_records: int = PAGE_RECORDS_MAX

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that site or profile name; none where the device itself must tell."""
        if self.log is not None and self.log.columns:
            return self.log.columns
        own: tuple[Column, ...] = getattr(self.section, "columns", ())
        return own

    @property
    def zone(self) -> tzinfo | None:
        return zone_of(self.section.zone)

    def place(self, register: Register) -> Place:
        """Where a register of the section lies on the wire. Raises ValueError."""
        return place_of(register, self.base)

    def form(self, record: Record, *, words: int | None = None) -> RecordForm:
        """The layout of records with the named columns. Raises ValueError."""
        return RecordForm.of(record, self.columns, self.points, words=words)

    def pager(self, clock: ClockReading | None) -> Pager:
        """Pages for what is wanted."""
        return Pager(
            self.wanted,
            self.zone,
            self.section.resolution_ns,
            clock,
            self.now_ns,
            self.page_records,
        )

    def read_clock(self) -> Asking[ClockReading | None]:
        """The device's clock as its profile says it is read."""
        return (yield from read_clock(self.clock, self.base))
