"""A revision's texts as a site: exactly as from the disk, but nothing is read from it.

The profiles are those of the revision, not those installed, so that a revision means the same on
both nodes and after an upgrade of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Final

from gateway.config.build import Loaded, NodeDraft, build_site, loaded
from gateway.config.drafts import Source
from gateway.config.found import Found
from gateway.config.text import Unreadable, size_limit
from gateway.config.users import CERTIFICATE_FILES
from gateway.driver import Schema

_FILES: Final = (".yaml", ".yml", ".csv", *CERTIFICATE_FILES)


def root_of(files: Mapping[str, str]) -> str:
    """The name of the site's own file: it comes first. Raises ValueError without any file."""
    for name in files:
        return name
    raise ValueError("a revision has at least the text of site.yaml")


def shipped_in(files: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the profiles that came with the program when the revision was made."""
    return tuple(name for name in list(files)[1:] if not name.lower().endswith(_FILES))


def build_texts(
    files: Mapping[str, str], drivers: Mapping[str, Schema], node: NodeDraft | None = None
) -> Loaded:
    """Check the texts of a revision for a node; problems name its files as it names them."""
    by_path = {Path(name): text for name, text in files.items()}
    root = root_of(files)

    def read(path: Path) -> str:
        text = by_path.get(path)
        if text is None:
            remedy = "Apply the site with all files that it names."
            raise Unreadable(f"the revision has no file {path}", remedy)
        if len(text.encode()) > (limit := size_limit(path.name)):
            message = f"the file is larger than {limit // 2**20} MiB"
            raise Unreadable(message, "Split it: points may lie in several CSV files.")
        return text

    source = Source(read, lambda name: files[name], shipped_in(files))
    found = Found()
    site = build_site(Path(root), source, drivers, found, node)
    return loaded(None, site, found)


def first_difference(one: str, other: str) -> int:
    """The first line, from 1, in which two texts differ; 0 when they are equal."""
    if one == other:
        return 0
    lines = zip_longest(one.split("\n"), other.split("\n"))
    return next(number for number, (a, b) in enumerate(lines, 1) if a != b)
