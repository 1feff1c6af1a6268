"""`hotpair backup` and `restore`: a copy with a manifest, and the way back, proven by digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.cli.client import NodeClient, socket_of
from gateway.cli.new_files import write
from gateway.cli.options import tell
from gateway.errors import ControlError, NotThere
from gateway.journal.proof import FOLDER, Proof, files_of, prove
from gateway.journal.state import FILE_NAME
from gateway.lock import lock
from gateway.model import format_time

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
TIMEOUT_S: Final = 4 * 3_600.0
"""A journal of many GB is copied by the node while it polls."""
STAYS: Final = frozenset({"lock", "pki", "ballast", "control.sock", "backups"})
"""What an empty data directory may hold: nothing of it is the node's history."""


def backup(node: Path, folder: Path, as_json: bool) -> None:
    """`hotpair backup`. Raises ControlError, NotThere."""
    folder = folder.resolve()
    with NodeClient(node) as client:
        status = client.get("/status")
        client.post("/backup", {"path": str(folder)}, TIMEOUT_S)
    if not os.access(folder, os.F_OK):
        raise ControlError(
            f"the node made {folder} where only the node sees it",
            f"A service has a /tmp of its own: name {socket_of(node).parent}/backups/NAME",
        )
    proof = _proven(folder)
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "site": status["site"],
        "node": status["node"],
        "made": format_time(time.time_ns()),
        "files": {str(path.relative_to(folder)): digest(path) for path in files_of(folder)},
        "terms": proof.terms,
        "records": proof.records,
    }
    try:
        write(folder / MANIFEST, json.dumps(manifest, indent=1).encode(), 0o640)
    except OSError as error:
        raise ControlError(
            f"the copy in {folder} is whole, but its manifest can't be written: {error.strerror}",
            "Run this as the user whose node it is",
        ) from error
    done = f"{folder}: {proof.records} records of node {status['node']}, proven by their digests"
    tell({"done": done, "folder": str(folder), "records": proof.records}, as_json)


def restore(node: Path, folder: Path, as_json: bool) -> None:
    """`hotpair restore`. Raises ControlError, NotThere."""
    manifest = _manifest(folder)
    data_dir = socket_of(node).parent
    handle = lock(data_dir)
    try:
        _hand_over(data_dir, data_dir / "lock")
        there = sorted(p.name for p in data_dir.iterdir() if p.name not in STAYS)
        if there:
            raise ControlError(
                f"{data_dir} is not empty: it holds {', '.join(there[:5])}",
                "Move it away; a backup is never put over a journal",
            )
        _check(folder, manifest)
        _copy(folder, data_dir, manifest)
    finally:
        os.close(handle)
    done = (
        f"{data_dir}: {manifest['records']} records of node {manifest['node']} as of "
        f"{manifest['made']}, proven by their digests"
    )
    tell({"done": done, "data_dir": str(data_dir), "records": manifest["records"]}, as_json)


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _proven(folder: Path) -> Proof:
    try:
        proof = prove(folder)
    except (sqlite3.Error, OSError) as error:
        raise ControlError(
            f"the copy in {folder} can't be read: {error}", "Make another one, on another disk"
        ) from error
    if proof.wrong:
        raise ControlError(
            f"record {proof.wrong[0]} of the copy does not follow from the one before it",
            "Make another one; if that fails alike, look at `hotpair events` of the node",
        )
    return proof


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise NotThere(
            f"{folder} holds no {MANIFEST}", "Name the folder that `hotpair backup` made"
        ) from error
    except (OSError, ValueError) as error:
        raise ControlError(f"{folder / MANIFEST} can't be read: {error}") from error
    if found.get("format") != FORMAT:
        raise ControlError(f"{folder} is of another version", "Restore it with that version")
    return found


def _check(folder: Path, manifest: dict[str, Any]) -> None:
    """Whether a backup is still what its manifest says. Raises ControlError."""
    here = {str(path.relative_to(folder)) for path in files_of(folder)}
    if here != set(manifest["files"]):
        changed = min(here ^ set(manifest["files"]))
        raise ControlError(f"{folder}: {changed} is not as the manifest says", "Take another copy")
    for name, said in manifest["files"].items():
        if not (folder / name).is_file() or digest(folder / name) != said:
            raise ControlError(
                f"{folder / name} is damaged: its SHA-256 is not the manifest's",
                "Take another copy of the backup",
            )
    proof = _proven(folder)
    if {term: [list(part) for part in parts] for term, parts in proof.terms.items()} != manifest[
        "terms"
    ]:
        raise ControlError(f"{folder}: its records are not those of the manifest", "Take another")


def _copy(folder: Path, data_dir: Path, manifest: dict[str, Any]) -> None:
    """Copy beside the place, check what arrived, and move it in. Raises ControlError."""
    arriving = data_dir / "restore.partial"
    try:
        (arriving / FOLDER).mkdir(parents=True)
        for name, said in manifest["files"].items():
            shutil.copyfile(folder / name, arriving / name)
            with (arriving / name).open("rb+") as file:
                os.fsync(file.fileno())
            if digest(arriving / name) != said:
                raise ControlError(f"{name} arrived damaged", "Look at the disk of the data_dir")
        _hand_over(data_dir, *arriving.iterdir(), *(arriving / FOLDER).iterdir())
        (arriving / FILE_NAME).replace(data_dir / FILE_NAME)
        (arriving / FOLDER).replace(data_dir / FOLDER)
        arriving.rmdir()
    except OSError as error:
        raise ControlError(
            f"the backup can't be copied to {data_dir}: {error}", "Look for room and rights"
        ) from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _hand_over(data_dir: Path, *paths: Path) -> None:
    """Give what root makes to the user of the service: the folder's owner. Raises OSError."""
    if os.geteuid() == 0:
        owner = data_dir.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)
