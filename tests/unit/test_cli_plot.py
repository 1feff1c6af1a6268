"""A point drawn as text, its registers in every byte order, its samples as files."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import compile_block
from drivers.modbus.plan import plan
from gateway.cli import byte_orders, history, plot
from gateway.cli.plot import Dot, Stretch
from gateway.errors import ControlError
from profiles.schema import ByteOrder, Defaults, Limits, ModbusPoint, Quirks, resolve


def test_a_step_is_drawn_where_it_is() -> None:
    drawn = plot.draw([Dot(-5, 1.0), Dot(50, 3.0)], [], 0, 100, 4, 2)
    assert drawn is not None
    assert (drawn.low, drawn.high) == (1.0, 3.0)
    assert drawn.rows == ["⠀⠀⠉⠉", "⣀⣀⠀⠀"]
    assert drawn.strip == plot.POLLED * 4


def test_a_value_that_stays_is_a_line_in_the_middle() -> None:
    drawn = plot.draw([Dot(0, 7.0)], [], 0, 10, 3, 3)
    assert drawn is not None and drawn.rows == ["⠀⠀⠀", "⠤⠤⠤", "⠀⠀⠀"]


def test_gaps_are_blank_and_told_below_and_a_short_one_shows() -> None:
    gaps = [
        Stretch(20, 40, "open"),
        Stretch(40, 60, "lost"),
        Stretch(60, 80, "filled"),
        Stretch(95, 96, "coarse"),
    ]
    drawn = plot.draw([Dot(0, 1.0), Dot(61, 2.0)], gaps, 0, 100, 10, 1)
    assert drawn is not None
    assert drawn.strip == "██▒▒××▓▓█▓"
    assert [cell == "⠀" for cell in drawn.rows[0]] == [*[False] * 2, *[True] * 4, *[False] * 4]


def test_a_sample_inside_a_gap_is_shown_all_the_same() -> None:
    drawn = plot.draw([Dot(45, 1.0), Dot(46, None)], [Stretch(0, 100, "open")], 0, 100, 10, 1)
    assert drawn is not None
    assert [cell == "⠀" for cell in drawn.rows[0]].count(False) == 1


def test_before_the_first_sample_and_without_any_there_is_nothing() -> None:
    drawn = plot.draw([Dot(50, 1.0)], [], 0, 100, 10, 1)
    assert drawn is not None and drawn.strip == " " * 5 + "█" * 5
    assert drawn.rows[0][:5] == "⠀" * 5
    assert plot.draw([], [], 0, 100, 10, 1) is None
    assert plot.draw([Dot(0, None)], [], 0, 100, 10, 1) is None


@given(
    st.lists(st.tuples(st.integers(-10, 1_000), st.floats(-1e9, 1e9) | st.none()), max_size=30),
    st.integers(1, 40),
    st.integers(1, 12),
)
def test_every_value_lies_between_the_edges(
    samples: list[tuple[int, float | None]], width: int, height: int
) -> None:
    dots = [Dot(*sample) for sample in sorted(samples, key=lambda sample: sample[0])]
    drawn = plot.draw(dots, [], 0, 1_000, width, height)
    if drawn is None:
        return
    assert len(drawn.rows) == height
    assert {len(row) for row in drawn.rows} == {width} == {len(drawn.strip)}
    assert drawn.low <= drawn.high


@given(st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=2))
def test_the_four_orders_are_those_of_the_driver(words: list[int]) -> None:
    for kind in byte_orders.TYPES:
        shown = byte_orders.doubles(words, kind)[0]
        for order in ByteOrder:
            point = ModbusPoint(address=0, type=kind, byte_order=order)
            maps = [resolve("p", point, Defaults())]
            (request,) = plan(maps, Limits(), Quirks())
            ((_, value, _),) = compile_block(request, maps, [0])(struct.pack(">2H", *words))
            assert value is None or value == shown[order.value]


def test_single_registers_are_shown_signed_and_swapped() -> None:
    assert byte_orders.singles([0x1234, 0xFFFE]) == [
        {"uint16": 0x1234, "int16": 0x1234, "swapped": 0x3412},
        {"uint16": 0xFFFE, "int16": -2, "swapped": 0xFEFF},
    ]


# ------------------------------------------------------------------------------------- files


def row(value: object, status: int = 0) -> dict[str, object]:
    return {
        "time_ns": 1_700_000_000_000_000_001,
        "value": value,
        "status": status,
        "received_ns": 1_700_000_000_000_000_002,
        "origin": "poll",
        "position": "1.a.00/1",
    }


def test_csv_has_times_names_and_no_formula() -> None:
    out = io.StringIO()
    history.write_csv([row(1.5), row(None, 0x80310000), row("=1+1")], out)
    lines = out.getvalue().splitlines()
    assert lines[0] == "time,value,status,origin,received,position"
    assert lines[1].startswith("2023-11-14T22:13:20.000Z,1.5,Good,poll,")
    assert ",,BadNoCommunication," in lines[2] and ",'=1+1,Good," in lines[3]


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        ([1.5, 2, None], "double", [1.5, 2.0, None]),
        ([1, -2], "int64", [1, -2]),
        ([2**64 - 1], "uint64", [2**64 - 1]),
        ([2**64 - 1, -1], "string", [str(2**64 - 1), "-1"]),
        ([True, False], "bool", [True, False]),
        (["a", None], "string", ["a", None]),
        ([None], "double", [None]),
    ],
)
def test_parquet_keeps_values_times_and_types(
    values: list[object], kind: str, kept: list[object], tmp_path: Path
) -> None:
    assert history.column_type(values) == kind
    file = tmp_path / "x.parquet"
    history.WRITERS[".parquet"]([row(value) for value in values], file)
    table = pq.read_table(file)
    assert table.column("value").to_pylist() == kept
    assert table.column("time").cast("int64").to_pylist() == [1_700_000_000_000_000_001] * len(kept)
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"


def test_without_pyarrow_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ControlError, match=r"pip install 'hotpair\[parquet\]'"):
        history.WRITERS[".parquet"]([], tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
