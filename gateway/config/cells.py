"""Points as cells of a spreadsheet: the way back of `points_csv`, so that nothing is lost on it.

A cell that a spreadsheet would take for a formula, or would turn into a number, begins with an
apostrophe, which `points_csv` reads as: this is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.config.points_csv import CELL_MAX, RANGE_COLUMNS, cell_scalar, kinds
from gateway.driver import PointSettings

FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet calculate, or run, a cell (OWASP, CSV Injection)."""


class Unsayable(ValueError):
    """A value that no cell can hold; the message says why."""


def guarded(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula, nor a reader for an empty one."""
    marked = not text or text[:1].isspace() or text.startswith((*FORMULA_SIGNS, "'"))
    return f"'{text}" if marked else text


def cells(data: Mapping[str, Any], model: type[PointSettings]) -> dict[str, str]:
    """A point as YAML says it, as cells by column. Raises Unsayable."""
    by_column = kinds(model)
    found: dict[str, str] = {}
    for key, value in data.items():
        if key == "range" and isinstance(value, Mapping):
            found |= _range(value)
        elif key not in by_column:
            raise Unsayable(f"`{key}` is no key of a point here")
        elif value is not None:
            found[key] = _checked(key, _cell(key, value, by_column[key]))
    return found


def _checked(key: str, cell: str) -> str:
    if len(cell) > CELL_MAX:
        raise Unsayable(f"`{key}` is longer than {CELL_MAX} characters")
    if not cell or cell != cell.strip():
        raise Unsayable(f"`{key}` is empty or ends in a blank, which a cell can't hold")
    return cell


def _cell(key: str, value: Any, kind: str) -> str:
    if kind == "list":
        if not isinstance(value, list | tuple) or not value:
            raise Unsayable(f"`{key}` is no list with entries")
        return _led("|".join(_part(key, part) for part in value))
    if kind == "map":
        if not isinstance(value, Mapping) or not value:
            raise Unsayable(f"`{key}` is no mapping with entries")
        return _map(key, value)
    if isinstance(value, list | tuple | Mapping):
        raise Unsayable(f"`{key}` is a list or a mapping")
    if kind == "scalar":
        return _scalar(value)
    return guarded(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _scalar(value: Any) -> str:
    """A number or truth as it is; a text that would be read as one is marked."""
    text = _plain(value)
    if not isinstance(value, str):
        return text
    marked = not text or text.startswith((*FORMULA_SIGNS, "'")) or cell_scalar(text) != text
    return f"'{text}" if marked else text


def _part(key: str, value: Any) -> str:
    text = _scalar(value)
    if "|" in text or text != text.strip():
        raise Unsayable(f"`{key}` has an entry with `|` or outer blanks: {value!r}")
    return text


def _map(key: str, value: Mapping[Any, Any]) -> str:
    parts = []
    for name, text in value.items():
        plain = _plain(text)
        if "|" in plain or plain != plain.strip():
            raise Unsayable(f"`{key}` has a text with `|` or outer blanks: {text!r}")
        parts.append(f"{_plain(name)}={plain}")
    return _led("|".join(parts))


def _led(entries: str) -> str:
    """Entries that no spreadsheet takes for a formula: an empty one before them says nothing."""
    return f"|{entries}" if entries.startswith(FORMULA_SIGNS) else entries


def _range(value: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for column, (side, end) in RANGE_COLUMNS.items():
        span = value.get(side)
        if span is not None:
            if not isinstance(span, list | tuple) or len(span) != 2:
                raise Unsayable(f"`range.{side}` is no pair")
            found[column] = _scalar(span[end])
    return found
