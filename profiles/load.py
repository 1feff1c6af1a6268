"""Profiles from YAML: the shipped ones by name, any by its text, mistakes told with file and line.

Only the YAML core schema of version 1.2 is taken: `on` and `1:30` are text, `010` is ten, a key
that occurs twice is an error, and neither anchors nor tags belong into a profile.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.errors import ConfigError, Problem
from profiles.schema import ModbusPoint, PointMap, Profile, resolve

Loc = tuple[int | str, ...]
Lines = dict[Loc, int]
"""Where in the file the value of each path begins, counted from 1."""

_HERE: Final = Path(__file__).parent
_SIZE_MAX: Final = 1 << 20
_DEPTH_MAX: Final = 12
_SCALARS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")
)


def names() -> list[str]:
    """The shipped profiles as `vendor/model`, sorted."""
    return sorted(
        path.relative_to(_HERE).with_suffix("").as_posix() for path in _HERE.glob("*/*.yaml")
    )


def load_text(name: str) -> str:
    """The text of a shipped profile. Raises ConfigError that suggests the nearest name."""
    shipped = names()
    # Only listed names are opened, so that a name can't lead out of this folder.
    if name not in shipped:
        near = difflib.get_close_matches(name, shipped, 3, 0.4)
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"Shipped: {', '.join(shipped)}"
        problem = Problem("profiles", 0, "profile", name, "no such profile is shipped", remedy)
        raise ConfigError([problem])
    return (_HERE / f"{name}.yaml").read_text(encoding="utf-8")


def load(name: str) -> Profile:
    """A shipped profile. Raises ConfigError."""
    return parse(load_text(name), f"{name}.yaml")


def parse(text: str, file: str) -> Profile:
    """The profile that a text holds. Raises ConfigError with every mistake, by line of `file`."""
    return parse_lines(text, file)[0]


def parse_lines(text: str, file: str) -> tuple[Profile, Lines]:
    """The profile that a text holds, and the line of each path in it. Raises ConfigError."""
    data, lines, problems = _read(text, file)
    if problems:
        raise ConfigError(problems)
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            sorted(_explain(error, file, lines), key=lambda problem: problem.line)
        ) from None
    found = [
        Problem(file, _line(path, lines), _where(path), None, message, remedy)
        for path, message, remedy in review(profile)
    ]
    if found:
        raise ConfigError(sorted(found, key=lambda problem: problem.line))
    return profile, lines


def review(profile: Profile) -> Iterator[tuple[Loc, str, str]]:
    """What no single model of a profile sees: (path, message, remedy) of every mistake."""
    maps: dict[str, PointMap] = {}
    for name, point in profile.points.items():
        try:
            maps[name] = resolve(name, point, profile.defaults)
        except ValueError as error:
            yield ("points", name), str(error), ""
    for name, point in profile.points.items():
        if point.sf is not None:
            yield from _review_factor(name, point, profile, maps)
        if point.model is not None and profile.sunspec is None:
            yield (
                ("points", name, "model"),
                "`model:` needs the profile to be a SunSpec one",
                "Add `sunspec: {}` to the profile",
            )
    for index, example in enumerate(profile.examples):
        for name in example.expect:
            if name not in profile.points:
                yield (
                    ("examples", index, "expect", name),
                    f"the example expects a value of {name}, which is no point",
                    _nearest(name, profile.points),
                )


def _review_factor(
    name: str, point: ModbusPoint, profile: Profile, maps: dict[str, PointMap]
) -> Iterator[tuple[Loc, str, str]]:
    path = ("points", name, "sf")
    factor = profile.points.get(point.sf or "")
    if factor is None:
        yield path, f"no point {point.sf} is there", _nearest(str(point.sf), profile.points)
        return
    own, other = maps.get(name), maps.get(str(point.sf))
    if own is not None and other is not None and own.area is not other.area:
        yield path, f"{point.sf} lies in another area", "Both are read by one request"
    if factor.model != point.model:
        yield path, f"{point.sf} belongs to another model", "Both are read by one request"
    if factor.type.value != "int16" or factor.sf is not None or factor.scale != 1:
        yield path, f"{point.sf} must be a plain int16", "A scale factor is an exponent"


# --------------------------------------------------------------------------------- text to data


def _read(text: str, file: str) -> tuple[Any, Lines, list[Problem]]:
    """The data of a text and the line of each path, or what is wrong with the text."""
    if len(text) > _SIZE_MAX:
        return None, {}, [Problem(file, 0, "", None, "more than 1 MiB", "Is this a profile?")]
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text.removeprefix("\ufeff"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        return None, {}, [Problem(file, line, "", None, str(error.problem), "Check the YAML")]
    except YAMLError as error:
        return None, {}, [Problem(file, 0, "", None, str(error).splitlines()[0], "Check the YAML")]
    if not isinstance(node, MappingNode):
        return None, {}, [Problem(file, 0, "", None, "a profile is a mapping", "Begin: `profile:`")]
    reader = _Reader(file, yaml)
    return reader.value(node, ()), reader.lines, reader.problems


class _Reader:
    """Turns nodes into plain data, remembering lines and complaining about equal keys."""

    def __init__(self, file: str, yaml: YAML) -> None:
        self.file = file
        self.lines: Lines = {}
        self.problems: list[Problem] = []
        self._yaml = yaml
        self._seen: set[int] = set()

    def value(self, node: Node, path: Loc) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        # An alias shows up as the same node a second time (or inside itself).
        if id(node) in self._seen or len(path) > _DEPTH_MAX:
            self._complain(node, path, "aliases and deep nesting don't belong into a profile")
            return None
        self._seen.add(id(node))
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, at)) for at, child in enumerate(node.value)]
        result: dict[Any, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(key_node, path, "a key must be a word or a number")
                continue
            key = self._scalar(key_node, path)
            if key in result:
                self._complain(key_node, (*path, key), f"the key {key} is there twice")
                continue
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.value(child, (*path, key))
        return result

    def _scalar(self, node: ScalarNode, path: Loc) -> Any:
        if node.tag not in _SCALARS:
            self._complain(node, path, f"the tag or form {node.value!r} is not taken")
            return None
        return self._yaml.constructor.construct_object(node)

    def _complain(self, node: Node, path: Loc, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(self.file, line, _where(path), None, message, ""))


# ------------------------------------------------------------------------------ mistakes in words


def _explain(error: ValidationError, file: str, lines: Lines) -> Iterator[Problem]:
    """The problems of a failed validation, in words for a person."""
    for detail in error.errors(include_url=False):
        path = _known(detail["loc"], lines)
        kind, value = detail["type"], detail["input"]
        shown = value if isinstance(value, str | int | float | bool) else None
        message, remedy = detail["msg"].removeprefix("Value error, "), ""
        if kind == "extra_forbidden":
            message, shown = f"unknown key `{detail['loc'][-1]}`", None
            remedy = "Remove it, or correct its spelling"
        elif kind == "missing":
            message = f"`{detail['loc'][-1]}:` is missing"
        elif kind == "union_tag_invalid":
            message = f"unknown method; there are {detail['ctx']['expected_tags']}"
        yield Problem(file, _line(path, lines), _where(path), shown, message, remedy)


def _known(loc: Sequence[int | str], lines: Lines) -> Loc:
    """The part of a location that is in the file; the names of union members are not."""
    path: Loc = ()
    for part in loc:
        for candidate in (part, int(part) if isinstance(part, str) and part.isdigit() else part):
            if (*path, candidate) in lines:
                path = (*path, candidate)
                break
    return path


def _line(path: Loc, lines: Lines) -> int:
    return lines.get(path, 0)


def _where(path: Loc) -> str:
    return ".".join(str(part) for part in path)


def _nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean {near[0]}?" if near else "Write the name of a point of this profile"
