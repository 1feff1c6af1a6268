"""`hotpair export` and `import`: the points of a site as CSV or XLSX, for spreadsheets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from gateway.app import schemas
from gateway.cli.look import counted
from gateway.cli.new_files import replace_text, write_new
from gateway.cli.workbook import read_workbook, write_workbook
from gateway.config.files import read_text, source
from gateway.config.found import Found, suggest
from gateway.config.points_csv import Table
from gateway.config.points_sheet import (
    Plan,
    Sheet,
    as_csv,
    drafts_of,
    plan_import,
    sheet_of,
    table_of,
)
from gateway.config.text import Unreadable
from gateway.errors import BadInput, ConfigError, NotThere

FORMS: Final = (".csv", ".xlsx")
SHOWN: Final = 20


def _form(file: Path) -> str:
    if file.suffix.lower() not in FORMS:
        raise BadInput(f"{file} is neither CSV nor XLSX", "Let its name end in .csv or .xlsx")
    return file.suffix.lower()


def export_points(
    site: Path, file: Path, device: str, everything: bool, force: bool, as_json: bool
) -> None:
    """`hotpair export`. Raises BadInput, NotThere, ConfigError with what no cell can hold."""
    to_stdout = str(file) == "-"
    form = ".csv" if to_stdout else _form(file)
    drafts = drafts_of(site, source(), schemas())
    if drafts.root is None:
        raise NotThere(f"{site} can't be read", "Run `hotpair check` on it, or name it by --site")
    if device and device not in drafts.devices:
        raise NotThere(f"there is no device {device!r}", suggest(device, drafts.devices, "devices"))
    sheet = sheet_of(drafts, device, everything)
    if sheet.problems:
        raise ConfigError(list(sheet.problems))
    if to_stdout:
        print(as_csv(sheet), end="")
        return
    _write(sheet, file, form, force)
    told = {"file": str(file), "points": len(sheet.rows)}
    print(json.dumps(told) if as_json else f"{file}: {counted(sheet.rows, 'point')} of {site}")


def _write(sheet: Sheet, file: Path, form: str, force: bool) -> None:
    data = write_workbook(sheet) if form == ".xlsx" else ("\ufeff" + as_csv(sheet)).encode()
    write_new({file: (data, 0o644)}, force)


def import_points(
    site: Path, file: Path, into: str, prune: bool, dry_run: bool, as_json: bool
) -> int:
    """`hotpair import`; the exit status is 1 when a row can't be taken: then nothing is changed.

    Raises BadInput, NotThere.
    """
    form, found = _form(file), Found()
    if into and not into.endswith(".csv"):
        raise BadInput(f"{into} is no points file", "Name a .csv beside site.yaml")
    try:
        read_text(site)
        table = _table(file, form, found)
    except Unreadable as error:
        raise NotThere(error.message, error.remedy) from error
    plan = Plan(into)
    if table is not None and not found.count:
        plan = plan_import(site, source(), schemas(), table, into, prune)
    else:
        plan.problems = found.problems()
    if not plan.problems and not dry_run:
        replace_text(site.parent / plan.into, plan.text)
        if plan.site_text is not None:
            replace_text(site, plan.site_text)
    if as_json:
        print(json.dumps(_as_json(plan, dry_run)))
    _tell(plan, site, dry_run, as_json)
    return 1 if plan.problems else 0


def _table(file: Path, form: str, found: Found) -> Table | None:
    if form == ".xlsx":
        return read_workbook(file, schemas(), found)
    return table_of(read_text(file), str(file), schemas(), found)


def _as_json(plan: Plan, dry_run: bool) -> dict[str, Any]:
    return {
        "into": plan.into,
        "written": not plan.problems and not dry_run,
        "added": plan.added,
        "changed": plan.changed,
        "removed": plan.removed,
        "unchanged": plan.unchanged,
        "problems": [str(problem) for problem in plan.problems],
    }


def _tell(plan: Plan, site: Path, dry_run: bool, as_json: bool) -> None:
    for problem in plan.problems:
        print(problem, file=sys.stderr)
    if plan.problems:
        print(f"{len(plan.problems)} problem(s): nothing was changed", file=sys.stderr)
        return
    if as_json:
        return
    for word in ("added", "changed", "removed"):
        names = getattr(plan, word)
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            print(f"{word}: {len(names)}: {', '.join(names[:SHOWN])}{more}")
    print(f"unchanged: {plan.unchanged}")
    if plan.site_text is not None:
        print(f"{site}: points_csv names {plan.into}")
    if dry_run:
        print("dry run: nothing was changed")
    else:
        print(f"{site.parent / plan.into} is written; `hotpair apply {site}` puts it in force")
