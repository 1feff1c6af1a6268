"""Points by CSV, as the rig reads them: the same columns as the gateway's, read on its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

FLAT_RANGE: Final = ("raw_min", "raw_max", "eu_min", "eu_max")


def read_csv(text: str) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """(device, point, settings) of each row of a points CSV: BOM, and comma, semicolon or tab."""
    text = text.removeprefix("\ufeff")
    head, _, rest = text.partition("\n")
    if head.lower().startswith("sep="):
        head, text = rest.partition("\n")[0], rest
    delimiter = max(",;\t", key=head.count)
    for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
        cells = ((key.strip().lower(), value.strip()) for key, value in row.items() if value)
        given = {key: value for key, value in cells if value}
        if not given or next(iter(row.values()), "").startswith("#"):
            continue
        device, name = given.pop("device"), given.pop("point", "") or given.pop("name", "")
        settings: dict[str, Any] = {key: _cell(key, value) for key, value in given.items()}
        ends = [settings.pop(key, None) for key in FLAT_RANGE]
        if ends[2] is not None:
            raw = None if ends[0] is None else [float(ends[0]), float(ends[1])]
            settings["range"] = {"raw": raw, "eu": [float(ends[2]), float(ends[3])]}
        yield device, name, settings


def _cell(key: str, text: str) -> Any:
    if key == "address":
        return _address(text)
    if key in ("enum", "bits"):
        pairs = (pair.partition("=") for pair in text.split("|"))
        return {int(number, 0): label.strip() for number, _, label in pairs}
    if key == "nan":
        return [_address(part.strip()) for part in text.split("|")]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _address(text: str) -> int | str:
    """A wire address, decimal or hex; anything else (`4x3001`, `nan`) stays text."""
    try:
        return int(text, 0)
    except ValueError:
        return text
