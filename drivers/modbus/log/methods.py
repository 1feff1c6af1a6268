"""Which module reads which `method:`, and what logs a device has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from drivers.modbus.log import (
    addressed,
    enron,
    enron_events,
    file_record,
    pointer,
    record_select,
    ring,
    time_select,
    window_session,
)
from drivers.modbus.log.doubt import Doubt
from drivers.modbus.log.job import Job
from drivers.modbus.log.ops import Reading
from drivers.modbus.log.records import Points
from drivers.modbus.settings import effective
from gateway.driver import DeviceSpec, LogPage, LogSpec, LogWanted
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_S
from profiles.records import Log
from profiles.schema import PointMap, Profile, resolve
from profiles.windback import Enron, NoLog, Pointer, Windback
from profiles.windback import effective as section_of

METHODS: Final[Mapping[str, Callable[[Job], Reading]]] = {
    "ring": ring.read,
    "record_select": record_select.read,
    "time_select": time_select.read,
    "enron": enron.read,
    "file_record": file_record.read,
    "pointer": pointer.read,
    "window_session": window_session.read,
}
"""`method:` to what reads it."""
LOOKS: Final[Mapping[str, Callable[[Job], Reading]]] = {
    **dict.fromkeys(frozenset(METHODS) - {"time_select"}, addressed.look),
    "ring": ring.look,
}
"""`method:` to what only reads the clock, where records are placed by what is known of that."""
ACKNOWLEDGE: Final[Mapping[str, Callable[[Job, Any], Reading]]] = {
    "enron": enron_events.acknowledge,
}
"""`method:` to what lets the device forget; it is given a page's `acknowledge`."""

FACT: Final = "log "
"""What was learned of a log is the device's fact of this name and the log's."""
_UNREADABLE_NS: Final = 3600 * NS_PER_S


class Logs:
    """The logs of one device; an impossible `windback:` is told by review, and has none here."""

    def __init__(self, device: DeviceSpec) -> None:
        self._device = device
        self._profile: Profile | None = device.profile
        self._holds = effective(device)
        self.section: Windback | None = None
        self.problem = ""
        self._doubts: dict[str, Doubt] = {}
        try:
            found = section_of(device.profile, device.settings.windback)
            self._points = points_of(device)
        except ValueError as error:
            self.problem = str(error)
        else:
            self.section = None if isinstance(found, NoLog) else found

    def specs(self, facts: Mapping[tuple[str, str], Any]) -> tuple[LogSpec, ...]:
        """What can be read; a log whose points the device must tell has those it told last."""
        section = self.section
        if section is None or section.method not in METHODS:
            return ()
        return tuple(
            self._spec(section, name, log, facts.get((self._device.name, FACT + name)) or {})
            for name, log in self._named(section)
        )

    def job(
        self, wanted: LogWanted, fact: Mapping[str, Any] | None, now_ns: int, clock_run: str = ""
    ) -> Job:
        """What a method is given. Raises LogUnavailable when there is no such log."""
        section = self.section
        names = {} if section is None else dict(self._named(section))
        if section is None or wanted.log not in names:
            detail = self.problem or f"{self._device.name} has no log `{wanted.log}`"
            raise LogUnavailable(detail, _UNREADABLE_NS, "See `hotpair check`")
        return Job(
            section,
            names[wanted.log],
            wanted,
            self._points,
            self._holds.limits,
            self._profile.clock if self._profile is not None else None,
            self._holds.defaults.address_base,
            fact or {},
            now_ns,
            clock_run=clock_run,
            doubt=self._doubts.setdefault(wanted.log, Doubt()),
        )

    def looks(
        self, facts: Mapping[tuple[str, str], Any], now_ns: int, clock_run: str
    ) -> list[tuple[str, Reading]]:
        """What learns the clock before anything is set there, by the facts that it adds to."""
        section, profile = self.section, self._profile
        if section is None or section.method not in LOOKS:
            return []
        if section.method != "ring" and (profile is None or profile.clock is None):
            return []
        found = []
        for log, _ in self._named(section):
            if log == enron_events.NAME:
                continue
            fact = facts.get((self._device.name, FACT + log))
            job = self.job(LogWanted(log, now_ns, now_ns), fact, now_ns, clock_run)
            found.append((FACT + log, LOOKS[section.method](job)))
        return found

    def read(self, job: Job) -> Reading:
        """The method at work."""
        return METHODS[job.section.method](job)

    def acknowledge(self, page: LogPage, now_ns: int) -> Reading | None:
        """What lets the device forget a page; None where there is nothing of the kind to do."""
        section = self.section
        if section is None or page.acknowledge is None or section.method not in ACKNOWLEDGE:
            return None
        # Which log it was is in `acknowledge`, if the method has several.
        name = self._named(section)[0][0]
        job = self.job(LogWanted(name, page.from_ns, page.through_ns), None, now_ns)
        return ACKNOWLEDGE[section.method](job, page.acknowledge)

    def _named(self, section: Windback) -> list[tuple[str, Log | None]]:
        """The logs by name; the only one of a section without `logs:` has the method's."""
        if not section.logs:
            return [(section.method, None)]
        found: list[tuple[str, Log | None]] = [(log.id, log) for log in section.logs]
        if _has_events(section):
            found.append((enron_events.NAME, None))
        return found

    def _spec(
        self, section: Windback, name: str, log: Log | None, fact: Mapping[str, Any]
    ) -> LogSpec:
        if log is None and _has_events(section):
            return LogSpec(
                name,
                section.method,
                (),
                stateful=True,
                destructive=True,
                ack=section.ack if section.destructive == "ack" else "never",
                share=section.budget_percent / 100,
                order=section.order,
                events=True,
            )
        columns = (log.columns if log is not None else ()) or getattr(section, "columns", ())
        # Until the device has told them, it may be any: nothing is declared lost for that.
        named = [column.point for column in columns] or fact.get("points", self._points.numbers)
        return LogSpec(
            name,
            section.method,
            tuple(dict.fromkeys(point for point in named if point in self._points.numbers)),
            (log.resolution_ns if log is not None else None)
            or section.resolution_ns
            or fact.get("resolution_ns"),
            (log.depth_records if log is not None else None)
            or section.depth_records
            or fact.get("depth_records"),
            section.depth_ns,
            stateful=not section.idempotent,
            # What Enron's modified Modbus acknowledges are events, not records.
            destructive=section.destructive != "no" and not isinstance(section, Enron),
            ack=section.ack,
            share=section.budget_percent / 100,
            # What reading moves past is gone: nothing older may be passed over.
            order="oldest" if _consumes(section) else section.order,
        )


def _has_events(section: Windback) -> bool:
    return isinstance(section, Enron) and section.event_register is not None


def _consumes(section: Windback) -> bool:
    return isinstance(section, Pointer) and not section.settable


def points_of(device: DeviceSpec) -> Points:
    """The points that columns of a device can name; the profile's too, though a site left them out.

    Raises ValueError for a point that contradicts itself.
    """
    defaults = effective(device).defaults
    profile: Profile | None = device.profile
    maps: dict[str, PointMap] = {}
    if profile is not None:
        maps = {name: resolve(name, point, defaults) for name, point in profile.points.items()}
    maps |= {spec.name: resolve(spec.name, spec.settings, defaults) for spec in device.points}
    return Points(maps, {spec.name: spec.number for spec in device.points})
