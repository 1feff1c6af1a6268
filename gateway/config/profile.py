"""The profile of a device: shipped with us by name, or a file beside site.yaml."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pydantic import BaseModel, ValidationError

from gateway.config.drafts import DeviceDraft, LoadedProfile, PointDraft, Reading, path
from gateway.config.explain import Loc, Place, explain
from gateway.config.found import suggest
from gateway.config.yaml import Node

_SUFFIXES = (".yaml", ".yml")


def is_inside(name: str) -> bool:
    """Whether a relative path stays beside site.yaml: a revision carries every file it names."""
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in name and name != ""


class Profiles:
    """Loads each profile of a site once."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._loaded: dict[tuple[str, str], LoadedProfile | None] = {}

    def load(self, device: DeviceDraft, name: str) -> LoadedProfile | None:
        """The profile that a device names, or None when it can't be had."""
        key = (device.driver, name)
        if key not in self._loaded:
            self._loaded[key] = self._load(device, name)
        return self._loaded[key]

    def _load(self, device: DeviceDraft, name: str) -> LoadedProfile | None:
        place = device.place(("profile",))
        model = device.schema.profile
        if model is None:
            message = f"the driver {device.driver} has no profiles"
            self._reading.problem(place, message, "Remove `profile:`.")
            return None
        if name.endswith(_SUFFIXES):
            if not is_inside(name):
                message = f"`{name}` doesn't lie beside site.yaml"
                self._reading.problem(place, message, "Copy it there, and name it relatively.")
                return None
        elif name not in self._reading.source.shipped:
            remedy = suggest(name, self._reading.source.shipped, "profiles")
            own = "For a file of your own write its path, ending in .yaml."
            self._reading.problem(place, f"there is no profile `{name}`", f"{remedy} {own}")
            return None
        node = self._reading.tree(name, place)
        return None if node is None else self._validate(name, model, node)

    def _validate(self, name: str, model: type[BaseModel], node: Node) -> LoadedProfile:
        data = node.plain()
        points = node.child("points")
        raw = {key: point.plain() for key, point in points.mapping.items()} if points else {}
        windback = node.child("windback")
        log = windback.plain() if windback is not None and windback.mapping else {}
        file = self._reading.file_of(name)
        known = {key: point for key, point in raw.items() if isinstance(point, dict)}

        def locate(loc: Loc) -> Place:
            return Place(file, node.line_of(loc), path(*loc))

        try:
            return LoadedProfile(name, model.model_validate(data), known, log)
        except ValidationError as error:
            explain(error, model, data, locate, self._reading.found)
            return LoadedProfile(name, None, known, log)


def take_points(device: DeviceDraft, include: tuple[str, ...], reading: Reading) -> None:
    """Give a device the points of its profile, all of them or those that `include` names."""
    profile = device.profile
    if profile is None:
        return
    wanted: set[str] = set() if include else set(profile.points)
    for number, pattern in enumerate(include):
        hits = {name for name in profile.points if fnmatchcase(name, pattern)}
        if not hits and profile.model is not None:
            message = f"no point of {profile.name} is named `{pattern}`"
            remedy = suggest(pattern, profile.points, "points")
            reading.problem(device.place(("include", number)), message, remedy)
        wanted |= hits
    at = device.place(("profile",))
    for name in profile.points:
        if name in wanted:
            where = f"{at.where} ({profile.name}, point {name})"
            fallback = at._replace(where=where)
            device.points[name] = draft_of(device, name, fallback)


def draft_of(device: DeviceDraft, name: str, fallback: Place) -> PointDraft:
    """A point as the device's profile has it, or an empty one."""
    data = device.profile.points.get(name, {}) if device.profile is not None else {}
    return PointDraft(device.name, name, dict(data), fallback, frozenset(map(str, data)))
