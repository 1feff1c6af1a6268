"""What a method is given: the device's section of the log, its points, and what is wanted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from drivers.modbus.log.clock import read_clock
from drivers.modbus.log.doubt import Doubt
from drivers.modbus.log.ops import Asking, Refusal
from drivers.modbus.log.paging import Pager
from drivers.modbus.log.places import Place, place_of
from drivers.modbus.log.records import Points, RecordForm
from drivers.modbus.log.times import zone_of
from gateway.driver import PAGE_RECORDS_MAX, ClockReading, LogWanted
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_S
from profiles.records import Clock, Column, Log, Record, Register
from profiles.schema import Limits
from profiles.windback import Windback

MISFIT: Final = None
"""When to try again a log that is not as site and profile say: soon, then later and later.

A person has to do something; but a PLC in download, too, refuses what it has or shows zeros, and a
small ring is overwritten in minutes.
"""
SOON_NS: Final = 5 * NS_PER_S
"""When to try again what passes by itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """One read of one log of one device.

    `section` is the device's `windback:` with site and profile united, `log` the one of its `logs:`
    (None where the method has one log without a name). `fact` is what `Learn` told last, {} before.
    `now_ns` is this node's time when the read began; `clock_run` is another once that was set.
    `doubt` is the same for every read of this log.
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
    clock_run: str = ""
    doubt: Doubt = field(default_factory=Doubt)

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

    @property
    def resolution_ns(self) -> int | None:
        """The interval of this log's records."""
        own = None if self.log is None else self.log.resolution_ns
        return own or self.section.resolution_ns

    def shift(self, key: str) -> int:
        """How much further than the section tells this log has what `key` names."""
        return 0 if self.log is None else self.log.shift.get(key, 0)

    def place(self, register: Register, key: str = "") -> Place:
        """Where a register of the section lies for this log. Raises LogUnavailable for nowhere."""
        try:
            place = place_of(register, self.base)
        except ValueError as error:
            raise LogUnavailable(str(error), MISFIT, "Correct `windback:`") from None
        return place._replace(address=place.address + self.shift(key))

    def form(
        self, record: Record, *, words: int | None = None, own_types: bool = False
    ) -> RecordForm:
        """The layout of records with the named columns, as `RecordForm.of` has it.

        Raises LogUnavailable when they don't fit.
        """
        try:
            return RecordForm.of(
                record, self.columns, self.points, words=words, own_types=own_types
            )
        except ValueError as error:
            raise LogUnavailable(str(error), MISFIT, "Correct `columns:`") from None

    def pager(self, clock: ClockReading | None, wanted: LogWanted | None = None) -> Pager:
        """Pages for what is wanted, or for another stretch."""
        return Pager(
            wanted or self.wanted,
            self.zone,
            self.resolution_ns,
            clock,
            self.now_ns,
            self.page_records,
        )

    def read_clock(self) -> Asking[ClockReading | None]:
        """The device's clock as its profile says it is read; a local one is in the log's zone."""
        return (yield from read_clock(self.clock, self.base, self.section.zone))


def refused(what: str, refusal: Refusal, remedy: str = "") -> LogUnavailable:
    """A refusal that is no answer of the log: unknown registers, or a device that is busy."""
    passes = refusal.code not in (1, 2, 3)
    remedy = remedy or "Check `select:` and the addresses of `windback:`"
    return LogUnavailable(
        f"{what} was refused: exception {refusal.code}",
        SOON_NS if passes else MISFIT,
        "" if passes else remedy,
    )
