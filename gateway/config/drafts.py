"""What is known of a device and a point while a site is being read, and where it was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config.explain import Loc, Place
from gateway.config.found import Found, shown
from gateway.config.points_csv import Row, Table, column_of
from gateway.config.text import Unreadable
from gateway.config.yaml import Node, parse
from gateway.driver import DeviceSettings, Schema
from gateway.errors import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts come from. Both functions raise Unreadable.

    `read` gives the text of a file, `profile` that of a profile in `shipped`.
    """

    read: Callable[[Path], str]
    profile: Callable[[str], str]
    shipped: Sequence[str]


@dataclass(slots=True)
class Reading:
    """One reading of the files in a folder: what it may use, and what it found.

    `files` keeps every text read by the name under which it was asked for.
    """

    folder: Path
    source: Source
    drivers: Mapping[str, Schema]
    found: Found
    files: dict[str, str] = field(default_factory=dict)

    def file_of(self, name: str) -> str:
        """A file as a problem names it: where the person who runs the check finds it."""
        return name if name in self.source.shipped else str(self.folder / name)

    def text(self, name: str, asked_at: Place) -> str | None:
        """The text of a file that the site names; what hinders it is a problem found."""
        if name in self.files:
            return self.files[name]
        try:
            if name in self.source.shipped:
                text = self.source.profile(name)
            else:
                text = self.source.read(self.folder / name)
        except Unreadable as error:
            place = Place(self.file_of(name), error.line, "") if error.line else asked_at
            self.found.add(Problem(*place, None, error.message, error.remedy))
            return None
        self.files[name] = text
        return text

    def tree(self, name: str, asked_at: Place) -> Node | None:
        """The tree of a YAML file that the site names."""
        text = self.text(name, asked_at)
        if text is None:
            return None
        node, problems = parse(text, self.file_of(name))
        for problem in problems:
            self.found.add(problem)
        return node

    def problem(self, place: Place, message: str, remedy: str, value: Any = None) -> None:
        """Report a mistake."""
        self.found.add(Problem(*place, shown(value), message, remedy))

    def warn(self, place: Place, message: str, remedy: str) -> None:
        """Report something doubtful."""
        self.found.warn(Problem(*place, None, message, remedy))


def path(*keys: int | str) -> str:
    """A place inside a YAML file as a person reads it: `devices.plc1.points.level`."""
    return ".".join(str(key) for key in keys)


@dataclass(slots=True)
class PointDraft:
    """A point as raw data, and its sources: YAML or a CSV row, perhaps over a profile's point.

    `inherited` are the keys that only its profile says; `fallback` is where the profile is named.
    """

    device: str
    name: str
    data: dict[str, Any]
    fallback: Place
    inherited: frozenset[str] = frozenset()
    file: str = ""
    node: Node | None = None
    row: Row | None = None
    table: Table | None = None

    def over(self, said: Mapping[str, Any]) -> None:
        """Let keys of the site win over those of the profile, key by key."""
        self.data = {**self.data, **said}
        self.inherited -= said.keys()

    def place(self, loc: Loc) -> Place:
        """Where a value of this point was said: its own entry first, else its profile."""
        if not loc or loc[0] not in self.inherited:
            if self.row is not None and self.table is not None:
                column = column_of(loc, self.row)
                where = f"{self.device}/{self.name}" + (f", column {column}" if column else "")
                return Place(self.table.file, self.row.line, where)
            if self.node is not None:
                where = path("devices", self.device, "points", self.name, *loc)
                return Place(self.file, self.node.line_of(loc), where)
        return self.fallback._replace(where=path(self.fallback.where, *loc))

    @property
    def own_place(self) -> Place:
        """Where the point as such was said."""
        return self.place(())


@dataclass(slots=True)
class LoadedProfile:
    """A profile: its model, or None when it is wrong, and its points and log as raw data."""

    name: str
    model: Any
    points: Mapping[str, dict[str, Any]]
    windback: dict[str, Any]


@dataclass(slots=True)
class DeviceDraft:
    """A device while it is being read; `settings` is None when they are wrong."""

    name: str
    file: str
    node: Node
    driver: str
    schema: Schema
    settings: DeviceSettings | None = None
    line: str | None = None
    profile: LoadedProfile | None = None
    points: dict[str, PointDraft] = field(default_factory=dict)

    @property
    def lacks_profile(self) -> bool:
        """Whether it names a profile that can't be used: then its points are known in part only."""
        named = self.node.child("profile") is not None
        return named and (self.profile is None or self.profile.model is None)

    def place(self, loc: Loc) -> Place:
        """Where a value of this device was said."""
        where = path("devices", self.name, *loc)
        return Place(self.file, self.node.line_of(loc), where)
