"""What one revision of a site changes of another, and what may not be changed while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from gateway.config.site import PairSettings, SiteConfig
from gateway.config.texts import root_of
from gateway.config.yaml import Node, parse
from gateway.driver import DeviceSpec, LineSpec, PointSpec
from gateway.errors import Problem

LIVE: Final = frozenset({"replication", "sync_timeout_ns", "sync_fallback", "duty", "writes_alone"})
"""Of `pair:`, what holds at once. The rest holds from the next start of each node."""
SHARED: Final = frozenset({"heartbeat_ns", "takeover_after_ns", "startup_wait_ns", "witness"})
"""Of `pair:`, what both nodes must agree on, or two of them could poll at once (rules.md 5)."""
_NAMED_MAX: Final = 12


class Changes(NamedTuple):
    """Names of what differs, in order; `sections` are keys of site.yaml other than devices.

    `lines_reopened` are those that the field loses for a moment; every other line goes on.
    `from_start` are the keys that hold from the next start of a node only.
    """

    devices_added: tuple[str, ...] = ()
    devices_removed: tuple[str, ...] = ()
    devices_changed: tuple[str, ...] = ()
    points_added: tuple[str, ...] = ()
    points_removed: tuple[str, ...] = ()
    points_changed: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    lines_opened: tuple[str, ...] = ()
    lines_closed: tuple[str, ...] = ()
    lines_reopened: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    from_start: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """A line a kind of change, for people; empty when nothing changes."""
        return [
            f"{_WORDS[kind]}: {_some(names)}"
            for kind, names in zip(self._fields, self, strict=True)
            if names
        ]


_WORDS: Final = {
    "devices_added": "devices added",
    "devices_removed": "devices removed (their history stays)",
    "devices_changed": "devices changed",
    "points_added": "points added",
    "points_removed": "points removed (their history stays)",
    "points_changed": "points changed",
    "renamed": "points renamed, with their history",
    "lines_opened": "lines opened",
    "lines_closed": "lines closed",
    "lines_reopened": "lines closed and opened again",
    "sections": "settings changed",
    "from_start": "in force from the next start of each node",
}


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{len(names)}: {', '.join(names[:_NAMED_MAX])}{more}"


def changes(old: SiteConfig, new: SiteConfig) -> Changes:
    """What `new` changes of `old`; point numbers are no part of it."""
    devices = _compare(*({d.name: unnumbered(d) for d in s.devices} for s in (old, new)))
    points = _compare(*({p.id: replace(p, number=0) for p in s.points} for s in (old, new)))
    lines = _compare(*({i.name: _unnumbered_line(i) for i in s.lines} for s in (old, new)))
    renamed = tuple(
        f"{former} -> {point.id}"
        for point in new.points
        if (former := _former(point)) is not None and former in points.removed
    )
    pair = _pair_keys(old.pair, new.pair)
    sections = [f"pair.{_alias(key)}" for key in pair]
    others = ("history", "users", "scan_classes", "northbound")
    sections += [key for key in others if getattr(old, key) != getattr(new, key)]
    return Changes(
        *devices,
        *points,
        renamed,
        *lines,
        tuple(sections),
        tuple(f"pair.{_alias(key)}" for key in pair if key not in LIVE),
    )


class _Compared(NamedTuple):
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> _Compared:
    return _Compared(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
        tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
    )


def unnumbered(device: DeviceSpec) -> DeviceSpec:
    """A device without the numbers of its points, which belong to a revision."""
    return replace(device, points=tuple(replace(p, number=0) for p in device.points))


def _unnumbered_line(line: LineSpec) -> LineSpec:
    return replace(line, devices=tuple(map(unnumbered, line.devices)))


def _former(point: PointSpec) -> str | None:
    old: str | None = point.settings.renamed_from
    return old if old is None or "/" in old else f"{point.device}/{old}"


def _pair_keys(old: PairSettings, new: PairSettings) -> list[str]:
    return [key for key in type(new).model_fields if getattr(old, key) != getattr(new, key)]


def _alias(key: str) -> str:
    return PairSettings.model_fields[key].alias or key


def shared_changes(old: PairSettings, new: PairSettings) -> list[str]:
    """The keys of `pair:` that differ and on which both nodes must agree, as a file writes them."""
    return [_alias(key) for key in _pair_keys(old, new) if key in SHARED]


def forbidden(old: SiteConfig, new: SiteConfig) -> list[Problem]:
    """What can't be changed by a revision while the site runs, each with its remedy."""
    root = root_of(new.files)
    tree, _ = parse(new.files[root], root)

    def problem(loc: tuple[str, ...], value: object, message: str, remedy: str) -> Problem:
        return Problem(root, _line_of(tree, loc), ".".join(loc), value, message, remedy)

    found = []
    if new.site != old.site:
        remedy = "Another site is another pair of nodes, each with a data_dir of its own."
        found.append(problem(("site",), new.site, f"the site is `{old.site}`", remedy))
    elif new.namespace != old.namespace:
        message = f"the namespace of the points is `{old.namespace}`: clients know them by it"
        remedy = "Keep it, or begin with another data_dir."
        found.append(problem(("namespace",), new.namespace, message, remedy))
    types = {point.id: point.data_type for point in old.points}
    for point in new.points:
        was = types.get(point.id, point.data_type)
        if was is not point.data_type:
            loc = ("devices", point.device, "points", point.name)
            message = f"`{point.id}` is published as {was.value}: a type never changes"
            remedy = f"Give it a new name, and `renamed_from: {point.name}`, or set `publish_as`."
            found.append(problem(loc, point.data_type.value, message, remedy))
    return found


def _line_of(tree: Node | None, loc: Iterable[str]) -> int:
    return 0 if tree is None else tree.line_of(tuple(loc))


def brief(old_files: Mapping[str, str], new_files: Mapping[str, str]) -> str:
    """Which files of a revision differ from those of the one before, in a line."""
    words = [f"{name} added" for name in new_files if name not in old_files]
    words += [f"{name} removed" for name in old_files if name not in new_files]
    both = [name for name in new_files if name in old_files]
    words += [f"{name} changed" for name in both if old_files[name] != new_files[name]]
    return ", ".join(words)
