"""JSON Schema of the files a user writes, so that an editor completes and checks while typing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway.config.node import NodeFile
from gateway.config.points_csv import RANGE_COLUMNS
from gateway.config.site import SiteFile
from gateway.driver import Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]


class _Definitions:
    """Schemas of models under names of their own; equal names of two drivers don't collide."""

    def __init__(self) -> None:
        self.all: Json = {}

    def add(self, model: type[BaseModel], prefix: str) -> Json:
        """The schema of a model, with what it refers to moved into the common definitions."""
        template = f"#/$defs/{prefix}{{model}}"
        schema = model.model_json_schema(by_alias=True, ref_template=template)
        for name, definition in schema.pop("$defs", {}).items():
            self.all[f"{prefix}{name}"] = definition
        return schema


def _document(schema: Json, title: str, definitions: _Definitions) -> Json:
    whole = {"$schema": _DIALECT, **schema, "title": title}
    if definitions.all:
        whole["$defs"] = dict(sorted(definitions.all.items()))
    return whole


def _device(name: str, schema: Schema, definitions: _Definitions) -> Json:
    device = definitions.add(schema.device, f"{name}.")
    point = definitions.add(schema.point, f"{name}.")
    # A point over a profile says only what differs, and `null` drops it: nothing is required here.
    point.pop("required", None)
    definitions.all[f"{name}.point"] = point
    properties = device["properties"]
    properties["driver"] = {"const": name}
    properties["points"] = {
        "type": "object",
        "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{name}.point"}, {"type": "null"}]},
    }
    if schema.line is not None:
        definitions.all[f"{name}.line"] = definitions.add(schema.line, f"{name}.")
        properties["line"] = {
            "description": "the name of a line under `lines:`, or a line",
            "anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{name}.line"}],
        }
    return device


def site_schema(drivers: Mapping[str, Schema]) -> Json:
    """JSON Schema of site.yaml, its devices by driver."""
    definitions = _Definitions()
    schema = definitions.add(SiteFile, "")
    devices, lines = [], []
    for name in sorted(drivers):
        definitions.all[f"{name}.device"] = _device(name, drivers[name], definitions)
        devices.append({"$ref": f"#/$defs/{name}.device"})
        if drivers[name].line is not None:
            lines.append({"$ref": f"#/$defs/{name}.line"})
    properties = schema["properties"]
    properties["devices"] = {"type": "object", "additionalProperties": {"oneOf": devices}}
    properties["lines"] = {"type": "object", "additionalProperties": {"oneOf": lines}}
    return _document(schema, "Hotpair site.yaml", definitions)


def node_schema(drivers: Mapping[str, Schema]) -> Json:
    """JSON Schema of node.yaml; drivers have no part in it."""
    definitions = _Definitions()
    return _document(definitions.add(NodeFile, ""), "Hotpair node.yaml", definitions)


def profile_schema(drivers: Mapping[str, Schema]) -> Json:
    """JSON Schema of a device profile of any driver that has profiles."""
    definitions = _Definitions()
    schemas = []
    for name in sorted(drivers):
        if (model := drivers[name].profile) is not None:
            definitions.all[f"{name}.profile"] = definitions.add(model, f"{name}.")
            schemas.append({"$ref": f"#/$defs/{name}.profile"})
    return _document({"oneOf": schemas}, "Hotpair device profile", definitions)


def points_schema(drivers: Mapping[str, Schema]) -> Json:
    """JSON Schema of one row of a points CSV, by column; every cell is written as text."""
    columns: Json = {
        "device": {"type": "string", "description": "name of the device in site.yaml"},
        "point": {"type": "string", "description": "name of the point; `name` means the same"},
    }
    for name in sorted(drivers):
        schema = drivers[name].point.model_json_schema(by_alias=True)
        for key, property_ in schema["properties"].items():
            about = property_.get("description", "")
            columns.setdefault(key, {"type": "string", **({"description": about} if about else {})})
    for key in RANGE_COLUMNS:
        columns[key] = {"type": "string", "description": "one end of `range`"}
    row = {
        "type": "object",
        "properties": columns,
        "required": ["device", "point"],
        "additionalProperties": False,
    }
    return _document(row, "Hotpair points CSV, one row", _Definitions())


SCHEMAS: Final[Mapping[str, Callable[[Mapping[str, Schema]], Json]]] = {
    "site": site_schema,
    "node": node_schema,
    "profile": profile_schema,
    "points": points_schema,
}
