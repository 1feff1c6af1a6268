"""`hotpair history`: a point's samples as a table, JSON, CSV, Parquet, or drawn."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import RenderableType
from rich.text import Text

from gateway.cli import plot
from gateway.cli.client import NodeClient
from gateway.cli.look import console, counted, instant, show, table
from gateway.config.cells import guarded
from gateway.errors import BadInput, ControlError, NotThere
from gateway.model import format_time, status_name

TABLE_ROWS: Final = 1_000
ROWS_MAX: Final = 1_000_000
PAGE: Final = 10_000
HEIGHT: Final = 12
LABEL: Final = 11
WIDTH_MAX: Final = 160
COLUMNS: Final = ("time", "value", "status", "origin", "received", "position")
_STYLES: Final = {plot.WOUND_BACK: "yellow", plot.GAP: "red", plot.LOST: "bold red"}


def read_history(
    client: NodeClient, point: str, from_ns: int, to_ns: int, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """The stored samples of a point, page by page, and whether there are more than `limit`."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None and len(rows) < limit:
        span = {"from": from_ns, "to": to_ns, "limit": min(PAGE, limit - len(rows))}
        page = client.get("/history", point=point, cursor=cursor, **span)
        rows += page["rows"]
        cursor = page["cursor"]
    return rows, cursor is not None


def history(
    node: Path,
    point: str,
    start: str,
    end: str,
    as_plot: bool,
    as_csv: bool,
    out: Path | None,
    as_json: bool,
    limit: int | None,
) -> None:
    """`hotpair history`. Raises BadInput, NotThere, ControlError."""
    if as_plot + as_csv + as_json + (out is not None) > 1:
        raise BadInput("--plot, --csv, --json and --out exclude one another", "Choose one")
    if out is not None and out.suffix not in WRITERS:
        known = " or ".join(WRITERS)
        raise BadInput(f"{out} is no file that can be written", f"Let its name end in {known}")
    from_ns, to_ns = instant(start), instant(end)
    if from_ns >= to_ns:
        raise BadInput("the stretch ends before it begins", "Write --from before --to")
    whole = as_plot or as_csv or out is not None
    limit = limit or (ROWS_MAX if whole else TABLE_ROWS)
    with NodeClient(node) as client:
        if as_plot:
            console().print(_plotted(client, point, from_ns, to_ns, limit))
            return
        found, more = read_history(client, point, from_ns, to_ns, limit)
    if more:
        print(f"hotpair: there is more: the first {limit} are shown (--limit)", file=sys.stderr)
    if as_csv:
        write_csv(found, sys.stdout)
    elif out is not None:
        try:
            WRITERS[out.suffix](found, out)
        except OSError as error:
            raise ControlError(f"{out} can't be written: {error.strerror}") from error
        print(f"{out}: {counted(found, 'sample')} of {point}")
    else:
        show(lambda: found, as_json, lambda rows: _drawn(point, rows))


def _drawn(point: str, found: Sequence[dict[str, Any]]) -> RenderableType:
    rows = (
        (
            format_time(r["time_ns"]),
            r["value"],
            status_name(r["status"]),
            r["origin"],
            r["position"],
        )
        for r in found
    )
    columns = ("time", "value", "status", "origin", "position")
    return table(f"{point}: {counted(found, 'sample')}", columns, rows)


# ------------------------------------------------------------------------------------ files


def write_csv(rows: Iterable[dict[str, Any]], file: TextIO) -> None:
    """CSV with ISO 8601 times; a text that a spreadsheet would take for a formula is disarmed."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        value = row["value"]
        shown = guarded(value) if isinstance(value, str) else "" if value is None else value
        writer.writerow(
            (
                format_time(row["time_ns"]),
                shown,
                status_name(row["status"]),
                row["origin"],
                format_time(row["received_ns"]),
                row["position"],
            )
        )


def _csv_file(rows: Iterable[dict[str, Any]], out: Path) -> None:
    with out.open("x", encoding="utf-8", newline="") as file:
        write_csv(rows, file)


def column_type(values: Iterable[Any]) -> str:
    """The Parquet type that holds all values: bool, int64, uint64, double or string."""
    there = [value for value in values if value is not None]
    kinds = set(map(type, there))
    if kinds <= {bool}:
        return "bool" if kinds else "double"
    if kinds == {int}:
        low, high = min(there), max(there)
        if high < 2**63 and low >= -(2**63):
            return "int64"
        return "uint64" if low >= 0 else "string"
    return "double" if kinds <= {int, float} else "string"


def _parquet_file(rows: Sequence[dict[str, Any]], out: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ControlError(
            "Parquet needs pyarrow, which is not installed",
            "Install it with `pip install 'hotpair[parquet]'`, or write CSV: --out file.csv",
        ) from None
    kind = column_type(row["value"] for row in rows)
    values = [row["value"] for row in rows]
    if kind == "string":
        values = [None if value is None else str(value) for value in values]
    types = {"bool": pa.bool_(), "double": pa.float64(), "string": pa.string()}
    types |= {"int64": pa.int64(), "uint64": pa.uint64()}
    stamp = pa.timestamp("ns", tz="UTC")
    columns = {
        "time": pa.array([row["time_ns"] for row in rows], stamp),
        "value": pa.array(values, types[kind]),
        "status": pa.array([row["status"] for row in rows], pa.uint32()),
        "origin": pa.array([row["origin"] for row in rows], pa.string()),
        "received": pa.array([row["received_ns"] for row in rows], stamp),
        "position": pa.array([row["position"] for row in rows], pa.string()),
    }
    with out.open("xb") as file:
        pq.write_table(pa.table(columns), file)


WRITERS: Final = {".csv": _csv_file, ".parquet": _parquet_file}


# ------------------------------------------------------------------------------------- plot


def _number(row: dict[str, Any], point: str) -> float | None:
    value = row["value"]
    if row["status"] & 0x80000000 or value is None:
        return None
    if isinstance(value, str):
        raise BadInput(f"{point} holds text, which can't be drawn", "Leave --plot out")
    return float(value) if math.isfinite(value) else None


def _plotted(
    client: NodeClient, point: str, from_ns: int, to_ns: int, limit: int
) -> RenderableType:
    """The point drawn over its strip, with its values and times at the edges."""
    before = client.get("/history", point=point, limit=1, reverse="true", to=from_ns, **{"from": 0})
    rows, more = read_history(client, point, from_ns, to_ns, limit)
    dots = [plot.Dot(r["time_ns"], _number(r, point)) for r in (*before["rows"], *rows)]
    gaps = _gaps(client, point, from_ns, to_ns)
    screen = console()
    width = max(20, min(screen.width, WIDTH_MAX) - LABEL)
    drawn = plot.draw(dots, gaps, from_ns, to_ns, width, HEIGHT)
    if drawn is None:
        told = f"{point}: no value between {format_time(from_ns)} and {format_time(to_ns)}"
        raise NotThere(told, "Give a longer stretch with --from")
    head = f"{point}: {counted(rows, 'sample')}, {drawn.low:g} to {drawn.high:g}"
    text = Text(f"{head}; there are more\n" if more else f"{head}\n")
    for number, row in enumerate(drawn.rows):
        label = f"{drawn.high:g}" if number == 0 else ""
        label = f"{drawn.low:g}" if number == HEIGHT - 1 else label
        text.append(f"{label:>{LABEL - 1}} ")
        for mark, cell in zip(drawn.strip, row, strict=True):
            text.append(cell, _STYLES.get(mark, ""))
        text.append("\n")
    text.append(" " * LABEL)
    for mark in drawn.strip:
        text.append(mark, _STYLES.get(mark, "green"))
    began, ended = format_time(from_ns), format_time(to_ns)
    blank = max(1, width - len(began) - len(ended))
    text.append(f"\n{'':{LABEL}}{began}{'':{blank}}{ended}\n{'':{LABEL}}{plot.LEGEND}")
    return text


def _gaps(client: NodeClient, point: str, from_ns: int, to_ns: int) -> list[plot.Stretch]:
    """The gaps of the point's scan class; a gap whose worst points are others is taken as it is."""
    device, _, name = point.partition("/")
    live = client.get("/points", pattern=point)
    scan_class = live[0]["scan"] if live else None
    found = client.get("/gaps", device=device, to=to_ns, **{"from": from_ns})
    return [
        plot.Stretch(gap["from_ns"], gap["to_ns"], _state(gap, name))
        for gap in found
        if gap["scan_class"] == scan_class
    ]


def _state(gap: dict[str, Any], name: str) -> str:
    """What became of a gap for one point: better than the worst where others are named."""
    if gap["points"] and name not in gap["points"] and gap["state"] in ("lost", "coarse"):
        return "filled"
    return str(gap["state"])
