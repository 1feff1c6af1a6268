"""`hotpair support-bundle`: what a helper needs, and no secret.

Configuration goes in by structure: only keys that the models know, only values of the type that
they ask for, and never the key of a secret. Comments, unknown keys and files that are named for
their content (passwords, private keys) stay out. What is known to be secret (each hash in the
configuration, each password and key in a file that it names) is also struck out of every text that
others wrote: logs, events, errors.
"""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.app import schemas
from gateway.cli.client import NodeClient, socket_of
from gateway.cli.new_files import write_new
from gateway.cli.secrets import REMOVED, kept, known_secrets, struck
from gateway.config.editor import node_schema, site_schema
from gateway.config.files import check_node, read_text
from gateway.config.text import Unreadable
from gateway.config.yaml import parse
from gateway.driver import Schema
from gateway.errors import HotpairError, NotThere
from gateway.journal.proof import FOLDER
from gateway.model import NS_PER_S, format_time

LOG_MAX_BYTES: Final = 2_000_000
DAY_NS: Final = 86_400 * NS_PER_S
EVENTS_MAX: Final = 20_000
JOURNALCTL_S: Final = 20


def support_bundle(node: Path, out: Path, logs: list[Path], journald: str, as_json: bool) -> None:
    """`hotpair support-bundle`. Raises ControlError, NotThere."""
    missing = [log for log in logs if not log.is_file()]
    if missing:
        raise NotThere(f"there is no file {missing[0]}", "Name the node's log by --log")
    parts: dict[str, str] = {"versions.json": _dumped(_versions())}
    parts |= _configuration(node)
    parts |= _running(node)
    parts["journal.json"] = _dumped(_journal(node))
    for log in logs:
        parts[f"logs/{log.name}"] = _tail(log)
    if journald:
        parts["logs/journald.txt"] = _journald(journald)
    secrets = known_secrets(node)
    parts = {name: struck(text, secrets) for name, text in parts.items()}
    write_new({out: (_packed(parts), 0o600)})
    told = {"file": str(out), "parts": sorted(parts)}
    if as_json:
        print(json.dumps(told))
        return
    print(f"{out}: {', '.join(sorted(parts))}")
    print("Secrets are left out; names, addresses and texts are in it: look before you send it")


def _dumped(found: Any) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False, default=str)


def _packed(parts: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in sorted(parts.items()):
            data = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"hotpair-support/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _versions() -> dict[str, Any]:
    return {
        "hotpair": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "made": format_time(time.time_ns()),
        "packages": {d.metadata["Name"]: d.version for d in distributions()},
    }


# ------------------------------------------------------------------------------ configuration


def _configuration(node: Path) -> dict[str, str]:
    """node.yaml and site.yaml as far as the models know them, and what `check` says."""
    if not node.is_file():
        return {"config/README.txt": f"{node} is no node.yaml: no configuration was read"}
    drivers = schemas()
    found = {"config/node.json": _file(node, node_schema(drivers))}
    loaded = check_node(node, drivers)
    site = node.parent / _site_name(node)
    found["config/site.json"] = _file(site, site_schema(drivers))
    # A message may quote what was written; where and at which line is what helps.
    places = [f"{p.file}:{p.line}: {p.where}" for p in (*loaded.problems, *loaded.warnings)]
    found["config/check.json"] = _dumped({"ok": not loaded.problem_count, "places": places})
    return found | _points(site, drivers)


def _site_name(node: Path) -> str:
    try:
        tree, _ = parse(read_text(node), str(node))
    except Unreadable:
        return "site.yaml"
    said = tree.child("site") if tree is not None else None
    return said.value if said is not None and isinstance(said.value, str) else "site.yaml"


def _file(file: Path, schema: Mapping[str, Any]) -> str:
    try:
        tree, _ = parse(read_text(file), file.name)
    except Unreadable as error:
        return _dumped({"unreadable": error.message})
    if tree is None:
        return _dumped({"unreadable": "it is no YAML mapping"})
    return _dumped(kept(tree.plain(), schema, schema))


def _points(site: Path, drivers: Mapping[str, Schema]) -> dict[str, str]:
    """The points as a sheet: its columns are those of the models, so that nothing else is in it."""
    from gateway.config.files import source
    from gateway.config.points_sheet import as_csv, drafts_of, sheet_of

    sheet = sheet_of(drafts_of(site, source(), drivers), "", False)
    return {"config/points.csv": as_csv(sheet)} if sheet.rows else {}


# ---------------------------------------------------------------------------------- the node


def _running(node: Path) -> dict[str, str]:
    """What a running node says of itself; what it can't say is told instead."""
    now_ns = time.time_ns()
    day, week = {"from": now_ns - DAY_NS, "to": now_ns}, {"from": now_ns - 7 * DAY_NS, "to": now_ns}
    asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("status", "/status", {}),
        ("points", "/points", {}),
        ("events", "/events", week),
        ("gaps", "/gaps", day),
        ("roles", "/roles", {"limit": 1_000}),
        ("audit", "/audit", {"limit": 10_000}),
        ("windback", "/windback", {}),
        ("revisions", "/revisions", {"limit": 100}),
    )
    found: dict[str, str] = {}
    try:
        with NodeClient(node) as client:
            for name, path, params in asked:
                try:
                    told = client.get(path, **params)
                except HotpairError as error:
                    told = {"error": error.message}
                if isinstance(told, list):
                    told = told[-EVENTS_MAX:]
                found[f"node/{name}.json"] = _dumped(told)
    except HotpairError as error:
        found["node/README.txt"] = f"the node was not asked: {error.message}"
    return found


def _journal(node: Path) -> dict[str, Any]:
    """The files of the data directory, by name, size and time: the outline of the journal."""
    try:
        folder = socket_of(node).parent
    except HotpairError as error:
        return {"error": error.message}
    return {
        "data_dir": str(folder),
        "files": [
            {
                "name": str(path.relative_to(folder)),
                "bytes": path.stat().st_size,
                "written": format_time(path.stat().st_mtime_ns),
            }
            for path in _sorted((folder / FOLDER).glob("*"), folder.glob("*"))
        ],
    }


def _sorted(*found: Iterable[Path]) -> list[Path]:
    return sorted({path for paths in found for path in paths if path.is_file()})


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_MAX_BYTES))
        return file.read(LOG_MAX_BYTES).decode(errors="replace")


def _journald(unit: str) -> str:
    command = ["journalctl", "--no-pager", "--output=short-iso", "--lines=20000", "--unit", unit]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=JOURNALCTL_S, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"journalctl can't be asked: {error}"
    return (done.stdout or done.stderr)[-LOG_MAX_BYTES:]


__all__ = ["REMOVED", "support_bundle"]
