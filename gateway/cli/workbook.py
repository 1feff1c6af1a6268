"""XLSX: the one sheet of points, written and read through openpyxl."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config.cells import guarded
from gateway.config.devices import columns
from gateway.config.found import Found
from gateway.config.points import POINTS_MAX
from gateway.config.points_csv import (
    COLUMNS_MAX,
    Row,
    Table,
    cell_scalar,
    header_of,
    is_row,
    row_of,
)
from gateway.config.points_sheet import Sheet
from gateway.config.text import CSV_MAX_BYTES, Unreadable
from gateway.driver import Schema
from gateway.errors import ControlError, Problem

SHEET: Final = "points"
UNPACKED_MAX: Final = 20 * CSV_MAX_BYTES


def write_workbook(sheet: Sheet) -> bytes:
    """A workbook with one sheet; plain numbers are numbers, all else is text, never a formula.

    Raises ControlError for a text that no workbook can hold.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    for row in sheet.rows:
        for column, text in row.items():
            if ILLEGAL_CHARACTERS_RE.search(text):
                told = f"`{column}` of {row['device']}/{row['point']} holds a control character"
                raise ControlError(f"{told}, which no workbook can", "Write CSV instead")

    book = Workbook(write_only=True)
    page = book.create_sheet(SHEET)
    page.append(list(sheet.columns))
    for row in sheet.rows:
        cells = []
        for column in sheet.columns:
            cell = WriteOnlyCell(page, _value(row.get(column)))
            if isinstance(cell.value, str):
                cell.data_type = "s"
            cells.append(cell)
        page.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _value(text: str | None) -> str | int | float | None:
    """A cell as a number where spreadsheets (16 digits) keep all of it, else as text."""
    value = None if text is None else cell_scalar(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or repr(value) != text:
        return text
    return value if abs(value) < 2**53 and float(f"{value:.16g}") == value else text


def read_workbook(file: Path, drivers: Mapping[str, Schema], found: Found) -> Table | None:
    """The rows of the sheet `points`, or of the first one. Raises Unreadable.

    Cells that a spreadsheet changed (formulas, dates, errors) are problems of their line.
    """
    from openpyxl import load_workbook

    try:
        if file.stat().st_size > CSV_MAX_BYTES:
            raise Unreadable(f"{file} is larger than 32 MiB", "Split it.")
        with zipfile.ZipFile(file) as packed:
            if sum(part.file_size for part in packed.infolist()) > UNPACKED_MAX:
                raise Unreadable(f"{file} unpacks to more than can be points", "Split it.")
        book = load_workbook(file, read_only=True)
    except FileNotFoundError as error:
        raise Unreadable(f"there is no file {file}", "Check the name.") from error
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        remedy = "Save it as .xlsx, or as CSV."
        raise Unreadable(f"{file} is no XLSX workbook: {error}", remedy) from error
    try:
        page = book[SHEET] if SHEET in book.sheetnames else book.worksheets[0]
        if len(book.sheetnames) > 1:
            print(f"hotpair: of {file} the sheet {page.title} is read", file=sys.stderr)
        return _rows(page, str(file), columns(list(drivers.values())), found)
    finally:
        book.close()


def _rows(page: Any, file: str, known: frozenset[str], found: Found) -> Table | None:
    header: list[str] | None = None
    rows: list[Row] = []
    for line, row in enumerate(page.iter_rows(max_col=COLUMNS_MAX + 1), start=1):
        if line > POINTS_MAX + 1:
            found.add(Problem(file, line, "", None, f"more than {POINTS_MAX} rows", "Split it."))
            break
        cells = [_text(cell, file, line, found) for cell in row]
        if not is_row(cells):
            continue
        if header is None:
            header = header_of(cells, file, line, known, found)
            if header is None:
                return None
        elif (taken := row_of(cells, header, file, line, ",", found)) is not None:
            rows.append(taken)
    if header is None:
        remedy = "The first row names the columns: device, point, register, address, type, …"
        found.add(Problem(file, 0, "", None, "the sheet has no header", remedy))
        return None
    return Table(file, tuple(rows), False, tuple(header))


def _text(cell: Any, file: str, line: int, found: Found) -> str:
    """A cell as CSV would have it."""
    value = cell.value
    if value is None:
        return ""
    where = f"cell {cell.coordinate}"

    def wrong(message: str) -> str:
        remedy = "Format the column as text, and type the value anew."
        found.add(Problem(file, line, where, None, message, remedy))
        return ""

    if cell.data_type == "f":
        return wrong("a formula, where a value belongs")
    if cell.data_type == "e":
        return wrong(f"the spreadsheet's error {value}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, str):
        return _kept(value)
    return wrong(f"the spreadsheet made a date of it: {value}")


def _kept(text: str) -> str:
    """A text as it is; one that a number format hid behind an apostrophe is still text."""
    return guarded(text) if text[:1].isspace() and text.strip() else text
