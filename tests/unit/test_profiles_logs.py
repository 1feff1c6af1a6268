"""The worked examples of logs, decoded by hand as their profiles say: layout against document."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from profiles.load import load
from profiles.records import Record, Word
from profiles.registers import WireType, parse_address
from profiles.schema import Example
from profiles.windback import (
    Enron,
    Pointer,
    RecordSelect,
    TimeFormat,
    Windback,
    WindowSession,
    effective,
)

Row = tuple[int, datetime, list[float]]


def example_of(name: str) -> tuple[Windback, Example]:
    profile = load(name)
    (example,) = profile.examples
    log = effective(profile, example.site)
    assert log is not None
    return log, example


def words_at(example: Example, address: int, count: int) -> list[int]:
    memory = {
        start + at: word
        for start, stretch in example.registers.items()
        for at, word in enumerate(stretch)
    }
    return [memory.get(address + at, 0xFFFF) for at in range(count)]


def number(words: Sequence[int], wire: WireType) -> float:
    form = {
        WireType.UINT16: ">H",
        WireType.UINT32: ">I",
        WireType.INT32: ">i",
        WireType.FLOAT32: ">f",
    }[wire]
    size = struct.calcsize(form)
    found: float = struct.unpack(form, struct.pack(f">{len(words)}H", *words)[:size])[0]
    return found


def moment(words: Sequence[int], time: Word) -> datetime:
    at = words[time.at :]
    if time.format is TimeFormat.UNIX_S:
        found = datetime.fromtimestamp(number(at[:2], WireType.UINT32), UTC)
    elif time.format is TimeFormat.FLOAT_MMDDYY_HHMMSS:
        date, clock = int(number(at[:2], WireType.FLOAT32)), int(number(at[2:4], WireType.FLOAT32))
        found = datetime.strptime(f"{date:06d}{clock:06d}+0000", "%m%d%y%H%M%S%z")
    else:
        pairs = [(word >> 8, word & 0xFF) for word in at[:3]]
        (year, month), (day, hour), (minute, second) = pairs
        found = datetime(2000 + year, month, day, hour & 0x1F, minute, second, tzinfo=UTC)
        if time.format is TimeFormat.PACKED_YMDHMS_MS:
            found += timedelta(milliseconds=at[3])
    if time.fraction is not None:
        fraction = number(words[time.fraction.at :][:2], time.fraction.type)
        found += timedelta(microseconds=fraction * (1000 if time.fraction.unit == "ms" else 1))
    return found


def row(words: Sequence[int], record: Record, types: Sequence[WireType], seq: int = 0) -> Row:
    if record.key is not None:
        seq = int(number(words[record.key.at :][:2], record.key.type))
    at, values = record.columns_at, []
    for wire in types:
        values.append(number(words[at:][:2], wire))
        at += 2
    return seq, moment(words, record.time), values


def expected(example: Example) -> list[Row]:
    return [
        (
            record.seq,
            datetime.fromisoformat(record.time),
            [pytest.approx(value, rel=1e-7) for value in record.values.values()],  # type: ignore[misc]
        )
        for record in example.records
    ]


def test_ion_recorder() -> None:
    log, example = example_of("schneider/ion-recorder")
    assert isinstance(log, RecordSelect)

    def status(key: str) -> int:
        register = log.status[key]  # type: ignore[index]
        at, _ = parse_address(register.address, 0)
        return int(number(words_at(example, at, 2), register.type))

    assert [status(k) for k in ("columns", "available", "oldest", "newest")] == [1, 2, 100, 70001]
    size = log.header_words + status("columns") * log.column_words
    at, _ = parse_address(log.data.address, 0)
    data = words_at(example, at, 16)
    found = [row(data[n * size :], log.record, [WireType.FLOAT32]) for n in range(2)]
    assert found == expected(example)
    assert log.data_words // size == 14, "the manual: 14 records of one input"
    assert log.data_words // (6 + 16 * 2) == 3, "and 3 of sixteen"


def test_cet_recorder() -> None:
    log, example = example_of("cet/pmc-53a")
    assert isinstance(log, RecordSelect)
    start, data = (int(r.address) for r in (log.select["start"], log.data))
    shift = log.logs[0].shift
    pointer = words_at(example, start + shift["select"], 2)
    seq = int(number(pointer, WireType.UINT32))
    words = words_at(example, data + shift["data"], log.data_words)
    assert [row(words, log.record, [WireType.FLOAT32] * 2, seq)] == expected(example)


def test_shark_window() -> None:
    log, example = example_of("electro-industries/shark-200")
    assert isinstance(log, WindowSession)
    assert log.settings is not None
    status = {
        key: number(words_at(example, int(register.address), 2), register.type)
        for key, register in log.status.items()
        if register.format is None
    }
    assert status == {"capacity": 256, "used": 100, "record_bytes": 18}
    assert log.owner is not None
    assert words_at(example, int(log.owner.address), 1) == [2]
    settings = words_at(example, int(log.settings.address), 8)
    count = settings[log.settings.count_at] >> 8
    assert 6 + 2 * count == status["record_bytes"]
    points = load("electro-industries/shark-200").points
    listed = settings[log.settings.identifiers_at :][:count]
    assert [n for n, p in points.items() if p.address in listed] == list(example.records[0].values)
    window = words_at(example, int(log.window.address), log.window_words)
    assert window[:2] == [0, 0]
    size = int(status["record_bytes"]) // 2
    filler, first = window[2 : 2 + size], window[2 + size :]
    assert set(filler[log.record.columns_at :]) == {0xFFFF}
    assert [row(first, log.record, [WireType.FLOAT32] * 3, 1)] == expected(example)


def test_enron_frame() -> None:
    log, example = example_of("cameron/scanner-2000")
    assert isinstance(log, Enron)
    (exchange,) = example.exchanges
    asked, said = bytes.fromhex(exchange.request), bytes.fromhex(exchange.reply)
    archive = log.archive + log.logs[0].shift["archive"]
    assert asked == struct.pack(">BBHH", 1, 3, archive, 10)
    assert said[2] == len(said) - 3
    words = struct.unpack(">10H", said[3:])
    assert [row(words, log.record, [WireType.FLOAT32] * 3, 10)] == expected(example)


def test_satec_window() -> None:
    log, example = example_of("satec/pm172")
    assert isinstance(log, Pointer)
    control = {"unread": 1, "next": 0, "oldest": 100, "pointer": 65535}
    for key, value in control.items():
        assert words_at(example, int(getattr(log, key).address), 1) == [value]
    words = words_at(example, int(log.data.address), log.data_words)
    assert words[0] & log.record.last_bits
    assert not words[0] & log.record.bad_bits
    assert [row(words, log.record, [WireType.INT32, WireType.UINT32])] == expected(example)
