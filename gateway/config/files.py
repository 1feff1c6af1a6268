"""Configuration from the disk: the only module here that opens a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.config.build import Loaded, NodeDraft, build, build_node, build_site, loaded
from gateway.config.drafts import Source
from gateway.config.found import Found
from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig
from gateway.config.text import Unreadable, decode, size_limit
from gateway.config.yaml import parse
from gateway.driver import Schema
from gateway.errors import BadInput, ConfigError, NotThere
from profiles.load import load_text, names


def read_text(file: Path) -> str:
    """The text of a file. Raises Unreadable."""
    try:
        with file.open("rb") as stream:
            data = stream.read(size_limit(file.name) + 1)
    except FileNotFoundError as error:
        remedy = "Check the name, and the folder it is looked for in."
        raise Unreadable(f"there is no file {file}", remedy) from error
    except IsADirectoryError as error:
        raise Unreadable(f"{file} is a folder", "Name the file in it.") from error
    except OSError as error:
        remedy = "Check the permissions of the file."
        raise Unreadable(f"{file} can't be read: {error.strerror}", remedy) from error
    return decode(data, file.name)


def _shipped(name: str) -> str:
    try:
        return load_text(name)
    except (OSError, ConfigError) as error:  # pragma: no cover - a broken installation
        raise Unreadable(f"the profile {name} can't be read", "Install Hotpair anew.") from error


def source() -> Source:
    """The disk, and the profiles that come with us."""
    return Source(read_text, _shipped, tuple(names()))


def check_node(node_file: Path, drivers: Mapping[str, Schema]) -> Loaded:
    """Check a node file and its site, and keep what was found."""
    return build(node_file, source(), drivers)


def check_site(site_file: Path, drivers: Mapping[str, Schema]) -> Loaded:
    """Check a site without a node, and keep what was found."""
    found = Found()
    return loaded(None, build_site(site_file, source(), drivers, found), found)


def load(node_file: Path, drivers: Mapping[str, Schema]) -> tuple[NodeConfig, SiteConfig]:
    """A node and its site, ready for use. Raises ConfigError with every problem found."""
    result = check_node(node_file, drivers)
    if result.node is None or result.site is None:
        raise ConfigError(list(result.problems))
    return result.node, result.site


def load_node(node_file: Path) -> NodeConfig:
    """A node file alone: its site may come from the journal. Raises ConfigError."""
    node, _ = node_of(node_file)
    return node


def node_of(node_file: Path) -> tuple[NodeConfig, NodeDraft]:
    """A node file, and what a site is checked against. Raises ConfigError."""
    found = Found()
    node, draft = build_node(node_file, source(), found)
    if node is None or draft is None or found.count:
        raise ConfigError(found.problems())
    return node, draft


def disk_text(site_file: Path, name: str, shipped: bool) -> str | None:
    """What the disk, or this program's profiles, now have under a name of a revision."""
    try:
        if shipped:
            return _shipped(name) if name in names() else None
        return read_text(site_file.parent / name)
    except Unreadable:
        return None


def stamp(file: Path) -> tuple[int, int]:
    """What tells that a file was written: its time in ns and its size; zeros without a file."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def load_site(site_file: Path, drivers: Mapping[str, Schema]) -> SiteConfig:
    """A site for itself. Raises ConfigError with every problem found."""
    result = check_site(site_file, drivers)
    if result.site is None:
        raise ConfigError(list(result.problems))
    return result.site


def data_dir_of(node_file: Path) -> Path:
    """Where a node keeps its data, for commands to it. Raises NotThere, BadInput.

    Only this one key is looked at: a running node can be asked though its file was since broken.
    """
    try:
        tree, _ = parse(read_text(node_file), str(node_file))
    except Unreadable as error:
        raise NotThere(error.message, error.remedy) from error
    said = tree.child("data_dir") if tree is not None else None
    if said is None or not isinstance(said.value, str):
        raise BadInput(f"{node_file} names no data_dir", "Run `hotpair check` on it.")
    return node_file.parent / said.value
