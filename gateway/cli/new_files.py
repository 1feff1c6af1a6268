"""Files that commands write: complete or not at all, and nothing is overwritten unasked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import ControlError


def write_new(
    files: Mapping[Path, tuple[bytes, int]], force: bool = False, remedy: str = ""
) -> None:
    """Write files with their modes, all of them or, when one exists already, none.

    Raises ControlError.
    """
    there = [path for path in files if path.exists() or path.is_symlink()]
    if there and not force:
        text = f"{there[0]} exists: nothing was written"
        raise ControlError(text, remedy or "Choose another name, or replace it with --force")
    try:
        for path, (data, mode) in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, data, mode)
    except OSError as error:
        raise ControlError(f"{error.filename} can't be written: {error.strerror}") from error


def replace_text(path: Path, text: str) -> None:
    """Put a new text in the place of a file, whose mode it keeps. Raises ControlError."""
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        write(path, text.encode(), mode)
    except OSError as error:
        raise ControlError(f"{path} can't be written: {error.strerror}") from error


def write(path: Path, data: bytes, mode: int) -> None:
    """Write a file. Raises OSError.

    Complete or not at all, and a key is never readable by others, not even for a moment.
    """
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
