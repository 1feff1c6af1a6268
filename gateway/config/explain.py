"""What pydantic found, said for people: what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.config.found import Found, shown, suggest
from gateway.errors import Problem
from gateway.model import format_duration

Loc = tuple[int | str, ...]


class Place(NamedTuple):
    """Where a value stands, and what a person calls it."""

    file: str
    line: int
    where: str


Locate = Callable[[Loc], Place]

EXAMPLES: Final[Mapping[str, str]] = {
    "address": "address: 0",
    "cert": "cert: node.crt",
    "data_dir": "data_dir: ./data",
    "device": "device: plc1",
    "devices": "devices: {plc1: {driver: modbus, line: {tcp: {host: 10.0.0.11}}}}",
    "driver": "driver: modbus",
    "endpoint": "endpoint: opc.tcp://10.0.0.12:4840",
    "eu": "eu: [0, 10]",
    "host": "host: 10.0.0.11",
    "hosts": "hosts: [10.0.0.11]",
    "key": "key: node.key",
    "line": "line: {tcp: {host: 10.0.0.11, port: 502}}",
    "listen": "listen: 0.0.0.0:4840",
    "node": 'node: "nsu=urn:plc:app;s=Flow"',
    "password_hash": 'password_hash: "scrypt$…"',
    "peer": "peer: [10.0.9.2:7700]",
    "peer_cert": "peer_cert: peer.crt",
    "port": "port: /dev/ttyUSB0",
    "register": "register: holding",
    "role": "role: operator",
    "site": "site: pump-station-7",
    "type": "type: uint16",
}
_QUOTED = re.compile(r"'([^']*)'")
_BACKTICKS_FIRST = ("write ", "give ", "use ", "name ", "remove ", "set ")
_WANTED: Final[Mapping[str, tuple[str, str]]] = {
    "model_type": ("must be a mapping", "Write `{key: value, …}`."),
    "model_attributes_type": ("must be a mapping", "Write `{key: value, …}`."),
    "dict_type": ("must be a mapping", "Write `{key: value, …}`."),
    "tuple_type": ("must be a list", "Write `[first, second]`."),
    "list_type": ("must be a list", "Write `[first, second]`."),
    "string_type": ("must be text", "Put it in quotes."),
    "path_type": ("must be the name of a file or folder", "Write `./data`."),
    "int_type": ("must be a whole number", "Write it without a unit and without quotes."),
    "int_parsing": ("must be a whole number", "Write it without a unit and without quotes."),
    "int_from_float": ("must be a whole number", "Write it without decimals."),
    "float_type": ("must be a number", "Write it without a unit and without quotes."),
    "float_parsing": ("must be a number", "Write it without a unit and without quotes."),
    "finite_number": ("must be a finite number", "Write a number."),
    "bool_type": ("must be true or false", "Write `true` or `false`."),
    "bool_parsing": ("must be true or false", "Write `true` or `false`."),
}
_BOUNDS: Final = ("greater_than_equal", "less_than_equal", "greater_than", "less_than")
_LENGTHS: Final = {
    "too_short": ("has too few values", "Write at least {min_length}."),
    "too_long": ("has too many values", "Write at most {max_length}."),
    "string_too_short": ("is too short", "Write at least {min_length} characters."),
    "string_too_long": ("is too long", "Write at most {max_length} characters."),
}


# ---------------------------------------------------------------------------- walking the models


def _unwrap(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without None."""
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _unwrap(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _unwrap(annotation.__origin__)
    elif annotation is not NoneType:
        yield annotation


class _Field(NamedTuple):
    name: str
    info: FieldInfo


def _fields(model: type[BaseModel]) -> dict[str, _Field]:
    fields = model.model_fields.items()
    return {info.alias or name: _Field(name, info) for name, info in fields}


def known_keys(model: type[BaseModel]) -> list[str]:
    """The keys of a model as a file writes them."""
    return list(_fields(model))


def _step(annotation: Any, key: int | str) -> Iterator[Any]:
    """Where one step of a loc leads from an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if (known := _fields(annotation).get(str(key))) is not None:
            yield from _unwrap(known.info.annotation)
        elif key == annotation.__name__:
            yield annotation
        return
    arguments = [part for part in get_args(annotation) if part is not Ellipsis]
    if get_origin(annotation) is dict and len(arguments) == 2:
        yield from _unwrap(arguments[1])
    elif get_origin(annotation) in (list, tuple):
        for part in arguments:
            yield from _unwrap(part)


def _models_at(model: type[BaseModel], loc: Loc) -> list[type[BaseModel]]:
    """The models that may stand at a loc; names of union members on the way are passed over."""
    places: list[Any] = [model]
    for key in loc:
        after = [found for place in places for found in _step(place, key)]
        places = after or places
    return [p for p in places if isinstance(p, type) and issubclass(p, BaseModel)]


def _field_at(model: type[BaseModel], loc: Loc) -> _Field | None:
    """The field that a loc names, where it names one."""
    for length in range(len(loc), 0, -1):
        for owner in _models_at(model, loc[: length - 1]):
            if (known := _fields(owner).get(str(loc[length - 1]))) is not None:
                return known
    return None


def _strip(loc: Loc, data: Any) -> Loc:
    """The part of a loc that exists in the data: what follows names members of a union."""
    kept: list[int | str] = []
    for key in loc:
        inside = (isinstance(data, Mapping) and key in data) or (
            isinstance(data, Sequence)
            and not isinstance(data, str)
            and isinstance(key, int)
            and key < len(data)
        )
        if inside:
            data = data[key]
            kept.append(key)
        elif not isinstance(data, Mapping | list | tuple):
            break
    return tuple(kept)


# ---------------------------------------------------------------------------- saying it


def _range_of(known: _Field | None) -> str:
    """`from 1 to 247`, as far as a field bounds its numbers."""
    low = high = None
    for bound in known.info.metadata if known is not None else ():
        low = getattr(bound, "ge", getattr(bound, "gt", low))
        high = getattr(bound, "le", getattr(bound, "lt", high))
    if known is not None and known.name.endswith("_ns"):
        low, high = (None if ns is None else format_duration(int(ns)) for ns in (low, high))
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"of at least {low}" if low is not None else f"of at most {high}"


def _choices(expected: str, value: Any) -> str:
    choices = _QUOTED.findall(expected) or [part.strip() for part in expected.split(" or ")]
    near = suggest(str(value), choices, "values")
    listed = f"Choose one of: {', '.join(choices)}."
    return f"{near} {listed}" if near.startswith("Did") else listed


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."


def _said_by_model(text: str) -> tuple[str, str]:
    """A validator's own words as message and remedy: an imperative is the remedy."""
    if text.startswith(_BACKTICKS_FIRST):
        return "can't be read", _sentence(text)
    head, separator, tail = text.partition(": ")
    if separator and tail.startswith(_BACKTICKS_FIRST):
        return head, _sentence(tail)
    return text, ""


def _missing(key: str, known: _Field | None) -> tuple[str, str]:
    info = known.info if known is not None else None
    examples = info.examples if info is not None and info.examples else ()
    example = f"{key}: {examples[0]}" if examples else EXAMPLES.get(key, f"{key}: …")
    about = f" ({info.description})" if info is not None and info.description else ""
    return f"`{key}` is missing", f"Add it, such as `{example}`{about}."


def say(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """The message and the remedy of one error that a model found."""
    kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
    key = str(loc[-1]) if loc else ""
    field = _field_at(model, loc)
    if kind == "extra_forbidden":
        known = {name for owner in _models_at(model, loc[:-1]) for name in _fields(owner)}
        return f"unknown key `{key}`", suggest(key, known, "keys")
    if kind == "missing":
        if loc and isinstance(loc[-1], int):
            return "has too few values", "Write `[first, second]`."
        return _missing(key, field)
    if kind in ("enum", "literal_error"):
        return "is not one of the choices", _choices(str(context["expected"]), error["input"])
    if kind in _BOUNDS:
        return "is out of range", f"Write a value {_range_of(field)}."
    if kind in ("value_error", "assertion_error"):
        return _said_by_model(str(context["error"]))
    if kind in _WANTED:
        return _WANTED[kind]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        expected = str(context.get("expected_tags", ""))
        tag = str(context["discriminator"]).strip("'")
        if not expected:
            return f"`{tag}` is missing", f"Add `{tag}:`."
        return f"`{tag}` is not one of the choices", _choices(expected, context["tag"])
    if kind == "string_pattern_mismatch":
        return "has a form that is not taken", f"It must match {context['pattern']}."
    if kind in _LENGTHS:
        message, remedy = _LENGTHS[kind]
        return message, remedy.format_map(context)
    return error["msg"][:1].lower() + error["msg"][1:], ""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    locate: Locate,
    found: Found,
    partial: bool = False,
) -> set[int | str]:
    """Report what a model found wrong with `data`; returns the top-level keys concerned.

    Several members of a union that all refuse one value become one problem. With `partial` what is
    missing isn't said: it may be in a file that could not be read.
    """
    by_place: dict[Loc, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        loc = details["loc"]
        if details["type"] == "too_short" and details["input"]:
            continue  # members that are wrong aren't counted: they are reported themselves
        if partial and details["type"] == "missing":
            continue
        if details["type"] == "missing":
            stripped = (*_strip(loc[:-1], data), *loc[-1:])
        else:
            stripped = _strip(loc, data)
        by_place.setdefault(stripped, []).append(details)
    for loc, all_details in by_place.items():
        place = locate(loc)
        if found.full(place.file):
            found.add(Problem(*place, None, "", ""))
            continue
        said = [say(details, model) for details in all_details]
        message = " or ".join(dict.fromkeys(text for text, _ in said))
        remedy = " Or: ".join(dict.fromkeys(text for _, text in said if text))
        first = all_details[0]
        # What is wrong with a secret may be that it is one, in plain words.
        hidden = first["type"] in ("extra_forbidden", "missing") or loc[-1:] == ("password_hash",)
        value = None if hidden else shown(first["input"])
        found.add(Problem(*place, value, message, remedy))
    return {loc[0] for loc in by_place if loc}
