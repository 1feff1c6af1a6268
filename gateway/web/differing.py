"""What one revision's texts change of another's; and whether that touches the users. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from gateway.config.texts import root_of
from gateway.config.yaml import parse

LINES_MAX: Final = 5_000
"""Of one file's difference; what is longer is cut, and says so."""


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, str]]:
    """A unified diff of each file that differs, the site's own file first."""
    found = []
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name, ""), new.get(name, "")
        if before == after:
            continue
        lines = list(
            difflib.unified_diff(
                before.splitlines(), after.splitlines(), f"old/{name}", f"new/{name}", lineterm=""
            )
        )
        if len(lines) > LINES_MAX:
            lines[LINES_MAX:] = [f"... {len(lines) - LINES_MAX} more lines"]
        found.append({"file": name, "difference": "\n".join(lines)})
    return found


def changes_users(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether a proposal changes who may do what: users, or the certificates they are known by.

    What can't be read changes nobody: no node takes such a proposal.
    """
    before, after = _users(old), _users(new)
    return after is not None and before != after


def _users(files: Mapping[str, str]) -> Any:
    root = root_of(files)
    node, _ = parse(files[root], root)
    if node is None:
        return None
    users = node.plain().get("users")
    entries = users.values() if isinstance(users, dict) else ()
    named = [entry.get("certificate") for entry in entries if isinstance(entry, dict)]
    return users or {}, {name: files.get(str(name), "") for name in named if name}
