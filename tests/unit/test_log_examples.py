"""The worked examples of logs in profiles, read by the method that reads the device."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import pytest
from log_device import Device, a_device, joined, read_known, rows

from drivers.modbus.log.methods import Logs
from drivers.modbus.log.ops import Write
from gateway.driver import DeviceSpec, LogWanted
from gateway.model import NS_PER_S
from profiles.load import load, names
from profiles.schema import Example, Profile
from profiles.windback import Enron, Pointer, RecordSelect, Windback, WindowSession, effective


def dumb(section: Windback, example: Example) -> Device:
    """The registers of an example as they are."""
    device = Device()
    for address, words in example.registers.items():
        device.put(address, *words)
    return device


def recorder(section: Windback, example: Example) -> Device:
    """A device whose block shows the records from the one that was selected on."""
    assert isinstance(section, RecordSelect)
    device = dumb(section, example)
    log = section.logs[0]
    data = address_of(section.data.address) + log.shift.get("data", 0)
    start = address_of(section.select["start"].address) + log.shift.get("select", 0)
    size = section.record.words or section.header_words + section.column_words * len(log.columns)
    numbers = [record.seq for record in example.records]
    block = [device.words.get(data + at, 0xFFFF) for at in range(size * len(numbers))]

    def selected(write: Write) -> int | None:
        if write.address + len(write.words) == start + 2:
            number = write.words[-2] << 16 | write.words[-1]
            if number not in numbers:
                return 3
            shown = block[numbers.index(number) * size :]
            device.put(data, *shown, *[0xFFFF] * (125 - len(shown)))
        return None

    device.written = selected
    return device


def address_of(address: int | str) -> int:
    return address if isinstance(address, int) else int(address[1:]) - 1


def archive(section: Windback, example: Example) -> Device:
    """A flow computer that answers the example's exchanges; its pointer says the newest record."""
    assert isinstance(section, Enron)
    assert section.pointer is not None
    pointer = address_of(section.pointer.address) + section.logs[0].shift.get("pointer", 0)
    said = struct.pack(">HH", pointer, 1), struct.pack(">Bf", 4, example.records[-1].seq)
    known = dict([said])
    for exchange in example.exchanges:
        known[bytes.fromhex(exchange.request)[2:]] = bytes.fromhex(exchange.reply)[2:]
    device = dumb(section, example)
    device.calls = lambda call: known.get(call.payload, 3)
    return device


def pointed(section: Windback, example: Example) -> Device:
    """A meter whose pointer takes only the number of the example's record."""
    assert isinstance(section, Pointer)
    device = dumb(section, example)
    data = address_of(section.data.address)
    for at in range(section.data_words):
        device.words.setdefault(data + at, 0)
    numbers = [(record.seq,) for record in example.records]
    device.written = lambda write: None if write.words in numbers else 3
    return device


def window(section: Windback, example: Example) -> Device:
    """A meter that is free until it is engaged, then by its own port; it has one window."""
    assert isinstance(section, WindowSession)
    assert section.owner is not None
    assert section.own_port is not None
    device = dumb(section, example)
    owner, used = address_of(section.owner.address), address_of(section.status["used"].address)
    port = device.words[owner]
    start = address_of(section.window.address)
    for at in range(section.window_words):
        device.words.setdefault(start + at, 0xFFFF)
    settings = section.settings
    assert settings is not None
    for at in range(settings.words):
        device.words.setdefault(address_of(settings.address) + at, 0)
    device.put(used, 0, example.records[-1].seq + 1)
    device.put(owner, 0)
    device.put(address_of(section.own_port.address), port)
    session, control = (address_of(r.address) for r in (section.session, section.control))
    block = {start + at: device.words[start + at] for at in range(section.window_words)}
    size = device.words[address_of(section.status["record_bytes"].address)] // 2

    def written(write: Write) -> int | None:
        if write.address == session:
            device.put(owner, port if write.words[0] & 0xFF == section.engage else 0)
        elif write.address == control:
            # The index itself is written where the window shows it.
            for at in range(2, section.window_words):
                device.put(start + at, block.get(start + at + write.words[2] * size, 0xFFFF))
        return None

    device.written = written
    return device


RIGS = {
    "ring": dumb,
    "record_select": recorder,
    "enron": archive,
    "pointer": pointed,
    "window_session": window,
}
EXAMPLES = [
    (name, at)
    for name in names()
    for at, example in enumerate(load(name).examples)
    if example.records and getattr(load(name).windback, "method", "") in RIGS
]


def spec_of(profile: Profile, example: Example, section: Windback) -> DeviceSpec:
    """A site as the example has it; a column that is no point of the profile is a float there."""
    columns = (*getattr(section, "columns", ()), *(c for log in section.logs for c in log.columns))
    points: dict[str, Any] = {
        column.point: profile.points.get(column.point, {"address": 1, "type": "float32"})
        for column in columns
    }
    # Where the device tells what it records.
    points |= {name: profile.points[name] for name in example.records[0].values if not columns}
    return a_device(example.site or {}, points, profile)


def test_there_are_examples_of_each() -> None:
    assert {load(name).windback.method for name, _ in EXAMPLES} == set(RIGS)  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_a_worked_example_is_read_right(name: str, at: int) -> None:
    profile = load(name)
    example = profile.examples[at]
    section = effective(profile, example.site)
    assert section is not None
    spec = spec_of(profile, example, section)
    device = RIGS[section.method](section, example)
    times = [
        round(datetime.fromisoformat(record.time).timestamp() * 1000) * NS_PER_S // 1000
        for record in example.records
    ]
    device.now_ns = times[-1] + NS_PER_S // 10
    log, *_ = Logs(spec).specs({})
    wanted = LogWanted(log.name, times[0], times[-1] + 1)
    pages = read_known(spec, device, wanted)
    assert joined(pages, wanted)
    numbers = {point.name: point.number for point in spec.points}
    assert rows(pages) == [
        (numbers[point], time_ns, pytest.approx(value, rel=1e-7))
        for time_ns, record in zip(times, example.records, strict=True)
        for point, value in record.values.items()
    ]
    assert pages[0].first_record == example.records[0].seq
    assert set(log.points) == set(example.records[0].values)
