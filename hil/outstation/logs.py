"""The logs of one device: made from its profile, shown by a face, disturbed on command.

Pure: time is an argument. Whatever happens to the device (power, clock, a fault of its values) is
told here, too, so that its logs say what it held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.model import NS_PER_S
from hil.outstation.book import Book, lay_out
from hil.outstation.devicelog import DeviceLog, Held, Running, Zone
from hil.outstation.faces.clock import ClockFace
from hil.outstation.faces.enron import EnronFace, Event
from hil.outstation.faces.face import Face, Whims
from hil.outstation.faces.file_record import FileRecordFace
from hil.outstation.faces.pointer import PointerFace
from hil.outstation.faces.record_select import RecordSelectFace
from hil.outstation.faces.ring import RingFace
from hil.outstation.faces.time_select import TimeSelectFace
from hil.outstation.faces.window_session import WindowSessionFace
from hil.plant import PlantDevice, PlantPoint
from hil.settings import LogSettings, SiteError
from profiles.records import Column, Log
from profiles.registers import Area, WireType
from profiles.windback import (
    Enron,
    FileRecord,
    Pointer,
    RecordSelect,
    Ring,
    TimeSelect,
    Windback,
    WindowSession,
)

DEPTH: Final = 1000
"""Records of a log whose depth nobody says."""
IDENTIFIERS_MAX: Final = 117
"""Registers that a log of a window session can record (EIG)."""
SUMMER_S: Final = 3600

UNDONE: Final = {
    "stop": "go",
    "torn": "whole",
    "shrink": "grow",
    "hold": "free",
    "refuse": "answer",
}
"""What ends a disturbance, for those that last."""
ONCE: Final = ("clear", "overrun", "reconfigure", "not_ready", "wrong_index", "event")


class DeviceLogs:
    """What a device with `windback:` keeps and shows."""

    def __init__(self, device: PlantDevice, said: LogSettings, now_ns: int) -> None:
        """Raises SiteError for a log that can't be emulated."""
        method = device.windback
        assert method is not None
        self.whims = Whims()
        self.held = Held()
        drift_ppb = round(said.clock_drift_ppm * 1000)
        begun_ns = now_ns - said.age_ns
        self._clock = Running(begun_ns, said.clock_offset_ns, drift_ppb)
        points = {point.name: point for point in device.points}
        self.books = [
            self._book(method, log, points, said, begun_ns) for log in _logs(method, device.points)
        ]
        self._rooms = [book.log.capacity for book in self.books]
        faces = _faces(method, self.books, device.address_base, self.whims)
        if device.clock is not None:
            zone = method.zone if device.clock.zone == "local" else device.clock.zone
            faces.append(ClockFace(device.clock, self.books[0], Zone(zone), device.address_base))
        self.faces: tuple[Face, ...] = tuple(faces)

    def _book(
        self,
        method: Windback,
        log: Log,
        points: Mapping[str, PlantPoint],
        said: LogSettings,
        begun_ns: int,
    ) -> Book:
        record = None if isinstance(method, Ring) else getattr(method, "record", None)
        at = method.record.columns_at if hasattr(method, "record") else 0
        places = log.depth_records or getattr(method, "capacity", 0)
        places = places or getattr(method, "records", 0) or method.depth_records or 0
        capacity = said.capacity or places or DEPTH
        if not isinstance(method, Enron | FileRecord):
            places = capacity
        if capacity > places:
            raise SiteError(f"log {log.id}: {capacity} records, but there are {places} places")
        if isinstance(method, WindowSession) and method.discovers and not said_types(log):
            # The device logs registers: a value lies in a record as it does on the wire.
            record = None
        resolution_ns = log.resolution_ns or method.resolution_ns or NS_PER_S
        return Book(
            id=log.id,
            log=DeviceLog(resolution_ns, capacity, begun_ns, said.start, self._clock),
            held=self.held,
            zone=Zone(method.zone),
            cells=lay_out(log.columns, points, at, record),
            places=places,
            clock=self._clock,
            select=log.select,
            shift=log.shift,
        )

    # ------------------------------------------------------------------ what happens

    def power(self, on: bool, now_ns: int, keep: bool = True) -> None:
        """The device's power; without `keep` its logs are empty when it comes back."""
        for book in self.books:
            book.log.power(on, now_ns, keep)
        for face in self.faces:
            face.restart()

    def set_clock(self, said: Mapping[str, Any], now_ns: int) -> None:
        """`offset` and `step` in seconds, `drift_ppm`, and `dst` for an hour of summer time."""
        unknown = set(said) - {"offset", "step", "drift_ppm", "dst"}
        if unknown or not said:
            raise SiteError("a clock has offset, step (seconds), drift_ppm and dst (true, false)")
        old = self._clock
        offset_ns = old.device_at(now_ns) - now_ns
        if "offset" in said:
            offset_ns = round(float(said["offset"]) * NS_PER_S)
        offset_ns += round(float(said.get("step", 0)) * NS_PER_S)
        drift_ppb = old.drift_ppb
        if "drift_ppm" in said:
            drift_ppb = round(float(said["drift_ppm"]) * 1000)
        shift_s = old.shift_s
        if "dst" in said:
            shift_s = SUMMER_S if said["dst"] else 0
        self._clock = Running(now_ns, offset_ns, drift_ppb, shift_s)
        for book in self.books:
            book.clock = self._clock
            book.log.clock(self._clock, now_ns)

    def disturb(self, what: str, options: Mapping[str, Any], now_ns: int) -> None:
        """Carry out one disturbance of all logs of the device; hil/DESIGN.md lists them."""
        for book, room in zip(self.books, self._rooms, strict=True):
            if what == "clear":
                book.log.clear(now_ns)
            elif what == "reconfigure":
                book.log.reconfigure(now_ns)
            elif what in ("stop", "go"):
                book.log.logs(what == "go", now_ns)
            elif what in ("torn", "whole"):
                book.torn = what == "torn"
            elif what == "shrink":
                book.log.resize(int(options["capacity"]), now_ns)
            elif what == "overrun":
                book.log.resize(max(1, int(options.get("kept", 1))), now_ns)
                book.log.resize(room, now_ns)
            elif what == "grow":
                book.log.resize(room, now_ns)
        if what in ("hold", "free"):
            self.whims.held_by = int(options.get("port", 1)) if what == "hold" else 0
        elif what in ("refuse", "answer"):
            self.whims.code = int(options.get("code", 6)) if what == "refuse" else None
        elif what == "not_ready":
            self.whims.not_ready = int(options.get("times", 1))
        elif what == "wrong_index":
            self.whims.wrong_index = True
        elif what == "event":
            self._event(options, now_ns)
        elif what not in UNDONE and what not in UNDONE.values() and what not in ONCE:
            known = sorted({*UNDONE, *UNDONE.values(), *ONCE})
            raise SiteError(f"a log can't {what}; there are {', '.join(known)}")

    def _event(self, options: Mapping[str, Any], now_ns: int) -> None:
        faces = [face for face in self.faces if isinstance(face, EnronFace)]
        if not faces:
            raise SiteError("this device has no event log")
        faces[0].events.append(
            Event(
                now_ns,
                int(options.get("bits", 0x0200)),
                int(options.get("register", 0)),
                float(options.get("old", 0)),
                float(options.get("new", 0)),
            )
        )

    # ------------------------------------------------------------------ the truth of it

    def recorded(self, from_ns: int, to_ns: int, at_ns: int) -> dict[str, Any]:
        """What each log held at `at_ns` of [from, to): points, resolution, runs of records."""
        return {
            book.id: {
                "points": [cell.point.name for cell in book.cells],
                "resolution_ns": book.log.resolution_ns,
                "runs": [list(run) for run in book.log.recorded(from_ns, to_ns, at_ns)],
            }
            for book in self.books
        }


def said_types(log: Log) -> bool:
    """Whether the site says of a column how it lies in a record."""
    return any(column.type is not None for column in log.columns)


def _logs(method: Windback, points: Sequence[PlantPoint]) -> list[Log]:
    """The logs with their columns; where the device chooses them, it is all it has room for."""
    if isinstance(method, Ring) and not method.logs:
        return [Log(id="ring", columns=method.columns)]
    return [
        log if log.columns else log.model_copy(update={"columns": _chosen(points)})
        for log in method.logs
    ]


def _chosen(points: Sequence[PlantPoint]) -> tuple[Column, ...]:
    """The points whose registers a log by register numbers can have."""
    found: list[Column] = []
    room = IDENTIFIERS_MAX
    for point in points:
        place = point.place
        plain = place.area is Area.HOLDING and place.type not in (WireType.BOOL, WireType.STRING)
        if plain and place.words <= room:
            found.append(Column(point=point.name))
            room -= place.words
    return tuple(found)


def _faces(method: Windback, books: Sequence[Book], base: int, whims: Whims) -> list[Face]:
    """The face of a method; logs with registers of their own have one each."""
    match method:
        case Ring():
            return [RingFace(method, book, base, whims) for book in books]
        case RecordSelect() if "log" not in method.select:
            return [RecordSelectFace(method, [book], base, whims) for book in books]
        case RecordSelect():
            return [RecordSelectFace(method, books, base, whims)]
        case Pointer():
            return [PointerFace(method, book, base, whims) for book in books]
        case WindowSession():
            return [WindowSessionFace(method, books, base, whims)]
        case Enron():
            return [EnronFace(method, books, base, whims)]
        case FileRecord():
            return [FileRecordFace(method, books, base, whims)]
        case TimeSelect():
            return [TimeSelectFace(method, books, base, whims)]
    raise SiteError(f"the rig shows no log by {method.method}")
