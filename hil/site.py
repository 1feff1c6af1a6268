"""A site's files on disk, as the rig reads them: site.yaml, CSVs, profiles, rig.yaml, node.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from hil.plant import Plant, read_site
from hil.settings import Rig, SiteError, load_yaml, read_rig
from profiles.load import load_text, names, parse
from profiles.schema import Profile

RIG_FILE: Final = "rig.yaml"
_PORT: Final = re.compile(
    r"(?P<head>\bport:\s*|\b(?:127\.\d+\.\d+\.\d+|localhost):)(?P<port>\d{2,5})\b"
)


def find_profile(name: str, base: Path | None = None) -> Profile:
    """A shipped profile by name, or one from a file. Raises ConfigError or SiteError."""
    if name.endswith((".yaml", ".yml")):
        path = (base or Path()) / name
        return parse(path.read_text(encoding="utf-8"), str(path))
    if name not in names():
        raise SiteError(f"no profile {name}; there are {', '.join(names())}")
    return parse(load_text(name), f"{name}.yaml")


def localise(text: str, offset: int) -> str:
    """Move every port of a site.yaml or node.yaml on loopback by `offset`; nothing else changes."""

    def moved(match: re.Match[str]) -> str:
        return f"{match['head']}{int(match['port']) + offset}"

    return _PORT.sub(moved, text)


def ports_of(text: str) -> set[int]:
    """The ports of a site.yaml or node.yaml that `localise` moves."""
    return {int(match["port"]) for match in _PORT.finditer(text)}


def edit_yaml(path: Path, change: Callable[[Any], None]) -> None:
    """Change what a YAML file says, comments kept; made where there is none. Raises OSError."""
    yaml = YAML(typ="rt", pure=True)
    data = yaml.load(path.read_text(encoding="utf-8")) if path.exists() else {}
    data = {} if data is None else data
    change(data)
    out = StringIO()
    yaml.dump(data, out)
    path.write_text(out.getvalue(), encoding="utf-8")


def load_site(site: Path, port_offset: int = 0) -> Plant:
    """The plant of a site.yaml, its CSVs and the rig.yaml beside it. Raises SiteError, OSError."""
    base = site.parent
    rig_file = base / RIG_FILE
    rig = read_rig(rig_file.read_text(encoding="utf-8")) if rig_file.exists() else Rig()
    return read_site(
        localise(site.read_text(encoding="utf-8"), port_offset),
        lambda name: (base / name).read_text(encoding="utf-8"),
        lambda name: find_profile(name, base),
        rig,
    )


def serial_ports(*nodes: Path) -> dict[str, tuple[Path, ...]]:
    """Where node.yaml of each node says that the serial lines are, by line.

    Relative paths start at the file. Two nodes can't share a pty: each has its own end of the line.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for node in nodes:
        named: Mapping[str, str] = load_yaml(node.read_text(encoding="utf-8")).get("ports", {})
        for line, path in named.items():
            found[line] = (*found.get(line, ()), node.parent / path)
    return found
