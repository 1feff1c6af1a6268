"""Points by CSV, as spreadsheets write it: one row a point, the columns named as in YAML.

Read by `device` and `point` (or `name`); an empty cell says nothing. A cell that starts with an
apostrophe is text (`'43001` is a Modicon number). Lists and maps are parted by `|`:
`nan` = `32768|65535`, `enum` = `0=off|1=on`. A range is `raw_min`, `raw_max`, `eu_min`, `eu_max`,
or `range` = `4000..20000 -> 0..10`. Rows whose first cell starts with `#` are comments.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from gateway.config.explain import known_keys
from gateway.config.found import Found, suggest
from gateway.config.yaml import resolve
from gateway.driver import PointSettings
from gateway.errors import Problem

CELL_MAX: Final = 10_000
COLUMNS_MAX: Final = 100
DELIMITERS: Final = (";", "\t", ",")
RANGE_COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "raw_min": ("raw", 0),
    "raw_max": ("raw", 1),
    "eu_min": ("eu", 0),
    "eu_max": ("eu", 1),
}
_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)"
_SPAN = rf"\s*{_NUMBER}\s*\.\.\s*{_NUMBER}\s*"
_RANGE = re.compile(rf"(?:{_SPAN}->)?{_SPAN}\Z")
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+([eE][-+]?[0-9]+)?\Z")

Convert = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line, the point it means, and its filled cells by column."""

    line: int
    device: str
    point: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows. With `;` as delimiter numbers may have a decimal comma."""

    file: str
    rows: tuple[Row, ...]
    decimal_comma: bool
    columns: tuple[str, ...] = ()


def is_row(cells: list[str]) -> bool:
    """Whether a record says something: it is neither blank nor a comment."""
    return bool(cells) and not is_row_comment(cells[0]) and any(map(str.strip, cells))


def is_row_comment(text: str) -> bool:
    """Whether a line, or the first cell of a row, begins a comment."""
    return text.lstrip().startswith("#")


def sniff(header: str) -> str:
    """The delimiter of a header line: the one that parts it into most cells."""
    return max(DELIMITERS, key=lambda delimiter: (header.count(delimiter), delimiter == ","))


def dialect(text: str) -> tuple[str, int]:
    """The delimiter of a file, and how many lines say nothing else (Excel's `sep=;`)."""
    declared = re.fullmatch(r'"?sep=([;,\t|])"?[;,]*', text.partition("\n")[0].strip("\r "))
    if declared is not None:
        return declared[1], 1
    said = (line for line in io.StringIO(text) if line.strip() and not is_row_comment(line))
    return sniff(next(said, "")), 0


def parse(text: str, file: str, columns: frozenset[str], found: Found) -> Table | None:
    """The rows of a file; what is wrong is reported to `found`. None without a usable header.

    `columns` are the keys that the points of this site may have.
    """
    delimiter, lines_before = dialect(text)
    if lines_before:
        text = text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[Row] = []
    line = 1 + lines_before
    try:
        for cells in reader:
            if is_row(cells):
                if header is None:
                    header = header_of(cells, file, line, columns, found)
                    if header is None:
                        return None
                elif (row := row_of(cells, header, file, line, delimiter, found)) is not None:
                    rows.append(row)
            line = reader.line_num + 1 + lines_before
    except csv.Error as error:
        remedy = 'Close the quotes (`"`), and write a quote inside a quoted text twice.'
        found.add(Problem(file, line, "", None, f"the row can't be read: {error}", remedy))
    if header is None:
        found.add(Problem(file, 0, "", None, "the file has no header", _HEADER_REMEDY))
        return None
    return Table(file, tuple(rows), delimiter == ";", tuple(header))


_HEADER_REMEDY: Final = "The first row names the columns: device, point, register, address, type, …"


def header_of(
    cells: list[str], file: str, line: int, columns: frozenset[str], found: Found
) -> list[str] | None:
    """The columns of a header row; None when rows can't be read by it."""
    names = [cell.strip().lower() for cell in cells]
    while names and not names[-1]:
        names.pop()
    names = ["point" if name == "name" else name for name in names]
    known = columns | RANGE_COLUMNS.keys() | {"device", "point"}

    def problem(where: str, message: str, remedy: str) -> None:
        found.add(Problem(file, line, where, None, message, remedy))

    if len(names) > COLUMNS_MAX:
        problem("", f"more than {COLUMNS_MAX} columns", "Remove the superfluous ones.")
        return None
    for number, name in enumerate(names, start=1):
        where = f"column {number}"
        if not name:
            problem(where, "the column has no name", "Name it, or remove it.")
        elif name not in known:
            problem(where, f"unknown column `{name}`", suggest(name, known, "columns"))
        elif names.index(name) != number - 1:
            problem(where, f"the column `{name}` appears twice", "Remove one.")
    missing = [name for name in ("device", "point") if name not in names]
    for name in missing:
        problem("", f"the column `{name}` is missing", _HEADER_REMEDY)
    return None if missing else [name if name in known else "" for name in names]


def row_of(
    cells: list[str], header: list[str], file: str, line: int, delimiter: str, found: Found
) -> Row | None:
    """A row by its columns; None when it can't be used."""
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        found.add(
            Problem(
                file,
                line,
                "",
                None,
                f"the row has {len(cells)} cells, the header has {len(header)}",
                f'Put a text that holds `{delimiter}` in quotes (`"`).',
            )
        )
        return None
    filled: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=False):
        if name and (text := cell.strip()):
            filled[name] = text[:CELL_MAX]
    device, point = filled.pop("device", ""), filled.pop("point", "")
    for name, given in (("device", device), ("point", point)):
        if not given:
            message = f"the cell `{name}` is empty"
            found.add(Problem(file, line, f"column {name}", None, message, "Fill it in."))
    return Row(line, device, point, filled) if device and point else None


# ---------------------------------------------------------------------------- cells to values


def _types(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """The JSON types that a property may have."""
    if "$ref" in schema:
        yield from _types(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for part in schema.get("anyOf", ()):
        yield from _types(part, definitions)
    if "type" in schema:
        yield schema["type"]
    elif "enum" in schema or "const" in schema:  # pragma: no cover - choices carry a type today
        yield "string"


@cache
def kinds(model: type[PointSettings]) -> Mapping[str, str]:
    """How the cells of each column are read: text, scalar, list, map or object."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    result = {}
    for name in known_keys(model):
        types = set(_types(schema["properties"][name], definitions))
        if "array" in types:
            result[name] = "list"
        elif "object" in types:
            result[name] = "map"
        elif types & {"integer", "number", "boolean"}:
            result[name] = "scalar"
        else:
            result[name] = "text"
    return result


def _text(cell: str) -> str:
    return cell.removeprefix("'")


def cell_scalar(cell: str) -> Any:
    """A cell as the scalar that YAML would read, or the text that it is."""
    if cell.startswith("'"):
        return cell[1:]
    if cell in ("TRUE", "FALSE") or cell[0] in "+-.0123456789":
        return resolve(cell)
    return resolve(cell) if cell in ("true", "false") else cell


def _comma_scalar(cell: str) -> Any:
    return cell_scalar(cell.replace(",", ".") if _DECIMAL_COMMA.match(cell) else cell)


def _parts(cell: str, scalar: Convert) -> list[Any]:
    return [scalar(part.strip()) for part in cell.split("|") if part.strip()]


def _map(cell: str, scalar: Convert) -> dict[Any, str] | str:
    entries: dict[Any, str] = {}
    for part in filter(str.strip, cell.split("|")):
        key, separator, text = part.partition("=")
        if not separator or not key.strip():
            return cell
        entries[scalar(key.strip())] = text.strip()
    return entries


def _range(cell: str) -> dict[str, list[float]] | str:
    match = _RANGE.match(cell)
    if match is None:
        return cell
    raw_low, raw_high, eu_low, eu_high = match.groups()
    span = {"eu": [float(eu_low), float(eu_high)]}
    return span if raw_low is None else {"raw": [float(raw_low), float(raw_high)], **span}


def settings(row: Row, table: Table, model: type[PointSettings]) -> dict[str, Any]:
    """A row as the mapping that a YAML point would be; what can't be read stays text."""
    scalar = _comma_scalar if table.decimal_comma else cell_scalar
    by_column = kinds(model)
    result: dict[str, Any] = {}
    for column, cell in row.cells.items():
        kind = by_column.get(column, "text")
        if column in RANGE_COLUMNS:
            side, end = RANGE_COLUMNS[column]
            span = result.setdefault("range", {})
            if isinstance(span, dict):
                span.setdefault(side, [None, None])[end] = scalar(cell)
        elif column == "range":
            comma_free = cell.replace(",", ".") if table.decimal_comma else cell
            result["range"] = _range(comma_free)
        elif kind == "scalar":
            result[column] = scalar(cell)
        elif kind == "list":
            result[column] = _parts(cell, scalar)
        elif kind == "map":
            result[column] = _map(cell, scalar)
        else:
            result[column] = _text(cell)
    return result


def column_of(loc: tuple[int | str, ...], row: Row) -> str:
    """The column that a place in the mapping of a row came from."""
    if loc[:1] == ("range",) and "range" not in row.cells:
        for column, (side, end) in RANGE_COLUMNS.items():
            if loc[1:2] in ((), (side,)) and loc[2:3] in ((), (end,)):
                return column
    return str(loc[0]) if loc else ""
