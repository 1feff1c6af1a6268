"""Points of a site as rows of a sheet, and the points_csv file that follows from changed rows.

Pure. A changed file keeps every record that nobody changed as it was written, comments included;
what can't be taken is named by the line of the file that it came from, and then nothing is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gateway.config.build import build_site
from gateway.config.cells import Unsayable, cells
from gateway.config.devices import columns, read_csv, read_devices
from gateway.config.drafts import DeviceDraft, PointDraft, Reading, Source, path
from gateway.config.explain import Place
from gateway.config.found import Found, suggest
from gateway.config.lines import Lines
from gateway.config.points_csv import RANGE_COLUMNS, Row, Table, dialect, is_row, parse, settings
from gateway.config.yaml import Node
from gateway.driver import Schema
from gateway.errors import Problem

FIRST_COLUMNS: Final = ("device", "point")
NEW_FILE: Final = "points.csv"


@dataclass(frozen=True, slots=True)
class Drafts:
    """The devices of a site as its files say them, before anything is judged."""

    devices: dict[str, DeviceDraft]
    csv_names: tuple[str, ...]
    root: Node | None


def drafts_of(site: Path, source: Source, drivers: Mapping[str, Schema]) -> Drafts:
    """Read a site as far as it can be read; what is wrong with it, `build_site` tells."""
    name = str(site)
    reading = Reading(site.parent, source, drivers, Found())
    root = reading.tree(site.name, Place(name, 0, ""))
    if root is None:
        return Drafts({}, (), None)
    devices = read_devices(
        reading, name, root.child("devices"), Lines(reading, name, root.child("lines"))
    )
    said = root.child("points_csv")
    names = [] if said is None or not isinstance(said.value, list) else said.plain()
    for number, csv_name in enumerate(names):
        if isinstance(csv_name, str):
            read_csv(reading, csv_name, Place(name, 0, path("points_csv", number)), devices)
    return Drafts(devices, tuple(n for n in names if isinstance(n, str)), root)


# ----------------------------------------------------------------------------------- export


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows under columns, and the points that no row can hold."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    problems: tuple[Problem, ...]


def sheet_of(drafts: Drafts, device: str, everything: bool) -> Sheet:
    """The points of a site, or of one device; `everything`: what only profiles say, too."""
    rows: list[dict[str, str]] = []
    problems: list[Problem] = []
    order: dict[str, None] = {}
    for draft in drafts.devices.values():
        if device and draft.name != device:
            continue
        order |= dict.fromkeys(columns([draft.schema]))
        for point in draft.points.values():
            said = point.node is not None or point.row is not None
            if not said and not everything:
                continue
            kept = {k: v for k, v in point.data.items() if everything or k not in point.inherited}
            try:
                found = cells(kept, draft.schema.point)
            except Unsayable as error:
                remedy = "Keep this point in site.yaml."
                problems.append(Problem(*point.own_place, None, str(error), remedy))
                continue
            rows.append({"device": draft.name, "point": point.name, **found})
    used = {column for row in rows for column in row}
    known = _ordered(drafts, used)
    return Sheet((*FIRST_COLUMNS, *known), tuple(rows), tuple(problems))


def _ordered(drafts: Drafts, used: set[str]) -> list[str]:
    """The used columns in the order in which the drivers' models have them."""
    from gateway.config.explain import known_keys

    found: dict[str, None] = {}
    for name in sorted({draft.driver for draft in drafts.devices.values()}, reverse=True):
        schema = next(d.schema for d in drafts.devices.values() if d.driver == name)
        own = [key for key in known_keys(schema.point) if key != "range"]
        found |= dict.fromkeys(own)
    found |= dict.fromkeys(("range", *RANGE_COLUMNS))
    first = [c for c in ("register", "node", "address", "type", "byte_order", "unit") if c in found]
    return [column for column in dict.fromkeys([*first, *found]) if column in used]


def as_csv(sheet: Sheet) -> str:
    """A sheet as CSV text."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, sheet.columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sheet.rows)
    return out.getvalue()


# ----------------------------------------------------------------------------------- import


@dataclass(slots=True)
class Plan:
    """What an import would do: the texts that change, and each point that does.

    With `problems` nothing may be written. `site_text` is None where site.yaml stays as it is.
    """

    into: str
    text: str = ""
    site_text: str | None = None
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)


def plan_import(
    site: Path,
    source: Source,
    drivers: Mapping[str, Schema],
    incoming: Table,
    into: str = "",
    prune: bool = False,
) -> Plan:
    """Take rows into a points_csv file of a site, and check the site that comes of it."""
    drafts = drafts_of(site, source, drivers)
    plan = Plan(into or next(iter(drafts.csv_names), NEW_FILE))
    named = plan.into in drafts.csv_names
    target = str(site.parent / plan.into)
    rows = _usable(incoming, drafts, target, plan)
    text = source.read(site.parent / plan.into) if named else ""
    lines = _merge(text, rows, incoming, plan, prune)
    overlay = {site.parent / plan.into: plan.text}
    if not named:
        plan.site_text = _named(source.read(site), plan.into, drafts)
        overlay[site] = plan.site_text

    def read(file: Path) -> str:
        return overlay[file] if file in overlay else source.read(file)

    found = Found()
    build_site(site, replace(source, read=read), drivers, found)
    plan.problems += [_back(problem, target, lines, incoming.file) for problem in found.problems()]
    return plan


def _usable(
    incoming: Table, drafts: Drafts, target: str, plan: Plan
) -> dict[tuple[str, str], tuple[Row, dict[str, str]]]:
    """The rows as cells in our own spelling; those that can't be taken are problems."""
    found: dict[tuple[str, str], tuple[Row, dict[str, str]]] = {}

    def problem(row: Row, column: str, message: str, remedy: str) -> None:
        where = f"column {column}" if column else ""
        plan.problems.append(Problem(incoming.file, row.line, where, None, message, remedy))

    for row in incoming.rows:
        device = drafts.devices.get(row.device)
        key = (row.device, row.point)
        if device is None:
            remedy = suggest(row.device, drafts.devices, "devices")
            problem(row, "device", f"the site has no device `{row.device}`", remedy)
            continue
        if key in found:
            first = found[key][0].line
            problem(row, "point", f"the point is in line {first}, too", "Remove one.")
            continue
        known = device.points.get(row.point)
        if known is not None and (place := _elsewhere(known, target)) is not None:
            message = f"`{row.device}/{row.point}` is defined in {place.file}:{place.line}"
            problem(row, "point", message, "Change it there, or remove it there first.")
            continue
        try:
            said = cells(settings(row, incoming, device.schema.point), device.schema.point)
        except Unsayable as error:
            problem(row, "", str(error), "Write it as `gateway/config` has it.")
            continue
        found[key] = (row, said)
    return found


def _elsewhere(known: PointDraft, target: str) -> Place | None:
    """Where a point is said, if that is another file than the one to change."""
    if known.row is not None and known.table is not None:
        return known.own_place if known.table.file != target else None
    return known.own_place if known.node is not None else None


def _named(text: str, into: str, drafts: Drafts) -> str:
    """site.yaml with a further points_csv file."""
    if not drafts.csv_names:
        return f"{text.rstrip()}\npoints_csv: [{into}]\n"
    lines = text.splitlines(keepends=True)
    assert drafts.root is not None
    at = drafts.root.line_of(("points_csv",)) - 1
    names = ", ".join((*drafts.csv_names, into))
    last = max(at, drafts.root.line_of(("points_csv", len(drafts.csv_names) - 1)) - 1)
    return "".join([*lines[:at], f"points_csv: [{names}]\n", *lines[last + 1 :]])


def _back(problem: Problem, target: str, lines: Mapping[int, int], file: str) -> Problem:
    """A problem of a row that was taken over, at the line where it came from."""
    if problem.file != target or problem.line not in lines:
        return problem
    return replace(problem, file=file, line=lines[problem.line])


# ------------------------------------------------------------------------- the file in the site


@dataclass(slots=True)
class _Record:
    """A record of a CSV file: its text as it stands, and its cells."""

    text: str
    cells: list[str]


def _records(text: str, delimiter: str, lines_before: int) -> list[_Record]:
    lines = list(io.StringIO(text, newline=""))
    found = [_Record(line, []) for line in lines[:lines_before]]
    lines = lines[lines_before:]
    reader = csv.reader(lines, delimiter=delimiter)
    begin = 0
    for row in reader:
        found.append(_Record("".join(lines[begin : reader.line_num]), row))
        begin = reader.line_num
    return found


def _merge(
    text: str,
    rows: Mapping[tuple[str, str], tuple[Row, dict[str, str]]],
    incoming: Table,
    plan: Plan,
    prune: bool,
) -> dict[int, int]:
    """Change the records that rows speak of; where each row came to lie, by line."""
    delimiter, lines_before = dialect(text)
    records = _records(text, delimiter, lines_before)
    at = next((n for n, record in enumerate(records) if is_row(record.cells)), None)
    if at is None:
        header = list(FIRST_COLUMNS)
        records.append(_Record("", header))
        at = len(records) - 1
    header = [cell.strip().lower() for cell in records[at].cells]
    header = ["point" if name == "name" else name for name in header]
    wanted = dict.fromkeys(c for _, said in rows.values() for c in said)
    new = [column for column in wanted if column not in header]
    if new or not records[at].text:
        records[at] = _Record("", [*records[at].cells, *new])
    header += new
    clears = set(incoming.columns) - set(FIRST_COLUMNS)
    if clears & {"range", *RANGE_COLUMNS}:
        clears |= {"range", *RANGE_COLUMNS}
    left = dict(rows)
    origin: list[tuple[_Record, int]] = []
    kept = records[: at + 1]
    for record in records[at + 1 :]:
        known = dict(zip(header, record.cells, strict=False)) if is_row(record.cells) else {}
        key = (known.get("device", "").strip(), known.get("point", "").strip())
        taken = left.pop(key, None)
        if taken is not None:
            row, said = taken
            before = {c: v.strip() for c, v in known.items() if v.strip()}
            after = {c: v for c, v in before.items() if c not in clears} | said
            if after != before:
                plan.changed.append("/".join(key))
                record = _Record("", [after.get(column, "") for column in header])
            else:
                plan.unchanged += 1
            origin.append((record, row.line))
        elif prune and known and any(device == key[0] for device, _ in rows):
            plan.removed.append("/".join(key))
            continue
        kept.append(record)
    for (device, point), (row, said) in left.items():
        plan.added.append(f"{device}/{point}")
        whole = {"device": device, "point": point, **said}
        record = _Record("", [whole.get(column, "") for column in header])
        origin.append((record, row.line))
        kept.append(record)
    plan.text, begins = _written(kept, delimiter)
    return {begins[id(record)]: line for record, line in origin}


def _written(records: Iterable[_Record], delimiter: str) -> tuple[str, dict[int, int]]:
    """The text of records, and the line on which each begins."""
    parts: list[str] = []
    begins: dict[int, int] = {}
    line = 1
    for record in records:
        text = record.text or _line(record.cells, delimiter)
        if not text.endswith(("\n", "\r")):
            text += "\n"
        begins[id(record)] = line
        line += len(list(io.StringIO(text, newline="")))
        parts.append(text)
    return "".join(parts), begins


def _line(row: Sequence[str], delimiter: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow(row)
    return out.getvalue()


def table_of(text: str, file: str, drivers: Mapping[str, Schema], found: Found) -> Table | None:
    """The rows of a CSV text with the columns that any driver's points may have."""
    return parse(text, file, columns(list(drivers.values())), found)
