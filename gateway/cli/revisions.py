"""`hotpair apply`, `revisions` and `rollback`: the configuration of a running pair."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType

from gateway.cli.client import NodeClient, who
from gateway.cli.look import counted, show, table
from gateway.config.files import check_site
from gateway.driver import Schema
from gateway.errors import ControlError

TIMEOUT_S: Final = 180.0
"""Both nodes check a revision, one after the other, and then it is put in force."""


def apply(
    node: Path,
    site: Path,
    drivers: Mapping[str, Schema],
    alone: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """`hotpair apply`; the exit status is 1 when the revision was refused."""
    loaded = check_site(site, drivers)
    if loaded.site is None:
        for problem in loaded.problems:
            print(problem, file=sys.stderr)
        if as_json:
            print(json.dumps({"number": 0, "problems": list(map(str, loaded.problems))}))
        print(f"{site}: {loaded.problem_count} problem(s): nothing was sent", file=sys.stderr)
        return 1
    body = {"files": dict(loaded.site.files), "alone": alone, "dry_run": dry_run}
    return _propose(node, "/revisions/apply", body, as_json)


def rollback(node: Path, reference: str, alone: bool, dry_run: bool, as_json: bool) -> int:
    """`hotpair rollback`; the exit status is 1 when the revision was refused."""
    body = {"reference": reference, "alone": alone, "dry_run": dry_run}
    return _propose(node, "/revisions/rollback", body, as_json)


def _propose(node: Path, path: str, body: dict[str, Any], as_json: bool) -> int:
    with NodeClient(node) as client:
        found = client.post(path, {**body, "who": who()}, TIMEOUT_S)
    if as_json:
        print(json.dumps(found))
    else:
        _tell(found, body["dry_run"])
    return 1 if found["problems"] else 0


def _tell(found: dict[str, Any], dry_run: bool) -> None:
    for problem in found["problems"]:
        print(problem, file=sys.stderr)
    for warning in found["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    for change in found["changes"]:
        print(change)
    if found["problems"]:
        print(f"{len(found['problems'])} problem(s): nothing was changed", file=sys.stderr)
        return
    if not found["changes"] and found["number"]:
        print(f"nothing changes in operation: revision {found['number']} has this text, and runs")
        return
    checked = f", {found['peer']}" if found["peer"] else ""
    if dry_run:
        print(f"dry run at node {found['node']}{checked}: nothing was changed")
        return
    state = "runs" if found["in_force"] else "is not in force yet: look at `hotpair status`"
    print(f"revision {found['number']} {state} on node {found['node']}{checked}")


def draw(found: list[dict[str, Any]]) -> RenderableType:
    """The revisions as a table."""

    def row(entry: dict[str, Any]) -> tuple[Any, ...]:
        state = " ".join(
            word for word in ("running" if entry["running"] else "", entry["state"]) if word
        )
        number = entry["reference"] if entry["state"] == "diverged" else entry["number"]
        return (number, entry["at"], entry["who"], entry["term"], state, entry["changed"])

    columns = ("revision", "when", "who", "term", "state", "changed")
    return table(counted(found, "revision"), columns, map(row, found))


def revisions(node: Path, reference: str, save: Path | None, limit: int, as_json: bool) -> None:
    """`hotpair revisions`: the list, or the files of one written to a folder."""
    with NodeClient(node) as client:
        if save is None:
            show(lambda: client.get("/revisions", limit=limit), as_json, draw)
            return
        files = client.get("/revisions/files", reference=reference)
    _write(save, files)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write a revision's own files; a profile of the program is not one of them."""
    for name, text in files.items():
        target = folder / name
        if not target.suffix:
            continue
        if not target.resolve().is_relative_to(folder.resolve()):
            raise ControlError(f"{name} does not lie in {folder}", "Look at who wrote it")
        if target.exists() and target.read_text() != text:
            raise ControlError(f"{target} exists and differs", "Choose an empty folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        print(target)
