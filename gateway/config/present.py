"""A revision checked for this node: its ports, and what it must have for itself.

node.yaml is read again each time: a port may be added to it while the node runs, before the
revision that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.config.build import Loaded, NodeDraft
from gateway.config.explain import Place
from gateway.config.files import node_of
from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig
from gateway.config.texts import build_texts, root_of
from gateway.config.yaml import parse
from gateway.driver import Schema
from gateway.errors import ConfigError, Problem


class Checked(NamedTuple):
    """What one node finds in the texts of a revision; `site` is None when they are wrong."""

    site: SiteConfig | None
    problems: list[Problem]
    warnings: list[Problem]


class Here:
    """Builds and checks revisions for one node. Its methods block: call them in a thread."""

    def __init__(self, node: NodeConfig, schemas: Mapping[str, Schema]) -> None:
        self._node = node
        self._schemas = schemas

    def build(self, files: Mapping[str, str]) -> Loaded:
        """A revision that is to run: what can't be mended by a person now doesn't hinder it."""
        try:
            _, draft = node_of(self._node.node_file)
        except ConfigError:  # broken since the start: what was read then still holds
            file = str(self._node.node_file)
            draft = NodeDraft(file, self._node.ports, {}, Place(file, 0, "site"))
        return build_texts(files, self._schemas, draft)

    def check(self, files: Mapping[str, str]) -> Checked:
        """A revision that is proposed: node.yaml must be right, and secrets be there."""
        try:
            _, draft = node_of(self._node.node_file)
        except ConfigError as error:
            return Checked(None, error.problems, [])
        built = build_texts(files, self._schemas, draft)
        if built.site is None:
            return Checked(None, list(built.problems), list(built.warnings))
        lacking = missing_files(built.site, self._schemas, self._node.base_dir)
        ports = absent_ports(built.site, self._node.node_file)
        return Checked(built.site, lacking, [*built.warnings, *ports])


def missing_files(site: SiteConfig, drivers: Mapping[str, Schema], base_dir: Path) -> list[Problem]:
    """The secrets and certificates that the site names and this node lacks."""
    named: list[tuple[tuple[str, ...], str]] = [
        (("devices", device, *key.split(".")), path)
        for line in site.lines
        if (files := drivers[line.driver].files) is not None
        for device, key, path in files(line)
    ]
    for feed, settings in site.northbound.feeds():
        named += [(("northbound", feed, *k.split(".")), path) for k, path in settings.files()]
    lacking = [(loc, path) for loc, path in named if not (base_dir / path).exists()]
    if not lacking:
        return []
    root = root_of(site.files)
    tree, _ = parse(site.files[root], root)
    return [
        Problem(
            root,
            tree.line_of(loc) if tree is not None else 0,
            ".".join(loc),
            path,
            f"there is no {base_dir / path} on this node",
            "Put the file there: secrets and certificates are no part of a revision.",
        )
        for loc, path in lacking
    ]


def absent_ports(site: SiteConfig, node_file: Path) -> list[Problem]:
    """Serial ports that are named but not there now: perhaps an adapter is unplugged."""
    return [
        Problem(
            str(node_file),
            0,
            f"ports.{line.name}",
            line.port,
            "there is no such port now",
            "Plug the adapter in, or correct the name.",
        )
        for line in site.lines
        if line.port is not None and "://" not in line.port and not Path(line.port).exists()
    ]
