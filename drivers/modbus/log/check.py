"""What is wrong with a device's `windback:` that neither its own model nor a point shows. Pure.

Gives (key, message, remedy); `warning: ` as in gateway.driver.Schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drivers.modbus.log.file_record import REPLY_WORDS_MAX
from drivers.modbus.log.methods import METHODS, points_of
from drivers.modbus.log.records import Points, RecordForm
from drivers.modbus.log.times import zone_of
from drivers.modbus.settings import effective
from gateway.driver import DeviceSpec
from profiles.records import Column, Log, Record
from profiles.windback import FileRecord, NoLog, RecordSelect, Ring, TimeSelect, Windback
from profiles.windback import effective as section_of

Finding = tuple[str, str, str]


def check(device: DeviceSpec) -> Iterator[Finding]:
    """Every finding of a device's log; what its models refuse is told by configuration."""
    try:
        section = section_of(device.profile, device.settings.windback)
        points = points_of(device)
    except ValueError:
        return
    if section is None or isinstance(section, NoLog):
        return
    if section.method not in METHODS:
        yield (
            "windback.method",
            f"warning: `{section.method}` is no way to read the log of a Modbus device: its gaps "
            "are never filled",
            "Choose another method, or `windback: {method: none}`",
        )
        return
    clock = device.profile.clock if device.profile is not None else None
    zones = {"windback.zone": section.zone} | ({"clock.zone": clock.zone} if clock else {})
    for key, zone in zones.items():
        try:
            zone_of(zone)
        except ValueError as error:
            yield key, str(error), "Write utc, local, or a zone such as Europe/Prague"
    words_max = effective(device).limits.max_read_words
    for log in section.logs or (None,):
        columns = (log.columns if log is not None else ()) or getattr(section, "columns", ())
        if columns:  # else the device itself tells
            yield from _log(section, log, columns, points, words_max)


def _log(
    section: Windback, log: Log | None, columns: Sequence[Column], points: Points, words_max: int
) -> Iterator[Finding]:
    name = log.id if log is not None else section.method
    try:
        size = _form(section, columns, points).words
    except ValueError as error:
        yield "windback", f"log {name}: {error}", "Correct `columns:` or `record:`"
        return
    room = _room(section, words_max)
    if room is not None and size > room:
        yield (
            "windback",
            f"log {name}: its records have {size} words, one request brings {room}",
            "Correct `columns:`, or what the profile says of the record",
        )
    if isinstance(section, TimeSelect):
        yield from _block(section, name, size, words_max)
    named = {column.point for column in columns}
    for column in columns:
        factor = points.maps[column.point].point.sf
        if factor is not None and factor not in named:
            yield (
                "windback",
                f"warning: log {name} has {column.point} without its scale factor {factor}: its "
                "logged values can't be told",
                f"Add `{factor}` to `columns:` if it is logged, or leave {column.point} out",
            )
    chosen = isinstance(section, RecordSelect) and "log" in section.select
    chosen = chosen or (isinstance(section, TimeSelect) and section.channel is not None)
    if chosen and (log is None or log.select is None):
        yield (
            "windback",
            f"log {name} has no `select:`, so it can't be chosen",
            "Write the device's number of it: `logs: [{id: …, select: 1, …}]`",
        )
    if (log is None or log.resolution_ns is None) and section.resolution_ns is None:
        yield (
            "windback.resolution",
            f"warning: nobody says how often log {name} is written: where the device recorded "
            "nothing, its last value is taken to have lasted",
            "Write `resolution:`, such as 1s or 15m",
        )


def _block(section: TimeSelect, name: str, size: int, words_max: int) -> Iterator[Finding]:
    many = section.data_words // size
    if many * size > words_max:
        yield (
            "windback.data_words",
            f"log {name}: a block has {many * size} words, one request brings {words_max}",
            "Correct `data_words:` or `limits: {max_read_words: …}`",
        )
    if many == 1 and section.next is None:
        yield (
            "windback.next",
            f"log {name}: a block has one record, and nothing leads to the next one",
            "Write `next:`, or `data_words:` for more records",
        )


def _form(section: Windback, columns: Sequence[Column], points: Points) -> RecordForm:
    """Raises ValueError when the columns don't fit in a record."""
    if isinstance(section, Ring):
        at = section.record
        head = {"time": {"at": at.time_at, "format": "unix_s"}, "columns_at": at.columns_at}
        return RecordForm.of(Record.model_validate(head), columns, points, own_types=True)
    record = getattr(section, "record", None)
    assert isinstance(record, Record)
    words = None
    if isinstance(section, RecordSelect) and section.header_words:
        words = section.header_words + section.column_words * len(columns)
    return RecordForm.of(record, columns, points, words=words)


def _room(section: Windback, words_max: int) -> int | None:
    """The words of one request; None where a record may take several."""
    if isinstance(section, FileRecord):
        return REPLY_WORDS_MAX
    block: int | None = getattr(section, "data_words", None)
    return None if block is None else min(block, words_max)
