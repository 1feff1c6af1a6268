"""Points go out as a sheet and come back as they were, by CSV and by XLSX, whatever they hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app import schemas
from gateway.cli.workbook import read_workbook, write_workbook
from gateway.config import points_csv
from gateway.config.cells import FORMULA_SIGNS, Unsayable, cells
from gateway.config.found import Found
from gateway.config.points_sheet import Sheet, as_csv, table_of
from profiles.schema import ModbusPoint

DRIVERS = schemas()
# What XML can hold: a workbook has no way to say the others.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)
HARMFUL = ["=1+1", "+cmd|'/c calc'!A0", "-5", "@SUM(A1)", "'quoted", "=", "'"]
MISTAKEN = ["43001", "0x10", "1e5", "true", "", "1,5", "007", "#no comment"]
BROKEN = ["a,b;c\td", 'say "x"', "two\nlines", " lead"]
TRICKY = st.sampled_from([*HARMFUL, *MISTAKEN, *BROKEN])
SAID = TEXT | TRICKY
NUMBER = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
WORD = st.sampled_from(["A", "off", "x=y", "-", "=1", "42"])
POINT = st.fixed_dictionaries(
    {"address": st.integers(0, 65_535) | SAID},
    optional={
        "description": SAID,
        "unit": SAID,
        "scale": NUMBER,
        "type": st.sampled_from(["int16", "float32", "bool"]),
        "nan": st.lists(st.integers(-99, 99) | WORD, min_size=1, max_size=3),
        "enum": st.dictionaries(st.integers(-9, 9), WORD, min_size=1, max_size=3),
        "volatile": st.booleans(),
        "deadband": NUMBER | st.sampled_from(["1%"]),
        "max_interval": st.sampled_from(["60s", "200ms"]),
        "range": st.fixed_dictionaries(
            {"eu": st.tuples(NUMBER, NUMBER).map(list)},
            optional={"raw": st.tuples(NUMBER, NUMBER).map(list)},
        ),
    },
)


def read_back(table: points_csv.Table | None, found: Found) -> list[dict[str, Any]]:
    assert table is not None, found.problems()
    assert found.count == 0, found.problems()
    return [points_csv.settings(row, table, ModbusPoint) for row in table.rows]


@settings(max_examples=100, deadline=None)
@given(st.lists(POINT, min_size=1, max_size=4))
def test_points_come_back_as_they_were(points: list[dict[str, Any]]) -> None:
    rows, kept = [], []
    for number, point in enumerate(points):
        try:
            row = cells(point, ModbusPoint)
        except Unsayable as error:
            assert "`" in str(error), "it is told which part can't be said"
            continue
        for column, cell in row.items():
            number_cell = points_csv.cell_scalar(cell)
            harmless = isinstance(number_cell, int | float)
            assert harmless or not cell.startswith(FORMULA_SIGNS), (column, cell)
        rows.append({"device": "plc1", "point": f"p{number}", **row})
        kept.append(point)
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    if not rows:
        return
    sheet = Sheet(columns, tuple(rows), ())
    wanted = [typed(point) for point in kept]
    found = Found()
    assert [typed(p) for p in read_back(table_of(as_csv(sheet), "f", DRIVERS, found), found)] == (
        wanted
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "points.xlsx"
        file.write_bytes(write_workbook(sheet))
        found = Found()
        table = read_workbook(file, DRIVERS, found)
        assert [typed(point) for point in read_back(table, found)] == wanted


def typed(point: dict[str, Any]) -> dict[str, Any]:
    """A point so that 1 and True and "1" differ, and maps keep keys as their model reads them."""

    def one(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): one(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [one(part) for part in value]
        # A range and a deadband are floats, however they are spelt.
        return (type(value) is bool, str(value) if isinstance(value, str) else value)

    return {key: one(value) for key, value in point.items()}
