"""The configuration reference of the manual, from the models: `python -m gateway.cli.reference`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.config.editor import SCHEMAS
from gateway.driver import Schema

Json = Mapping[str, Any]
FILES: Final = {
    "node": ("node.yaml", "What belongs to one machine only. Paths start at the file."),
    "site": ("site.yaml", "The same for both nodes. The Main owns it; a change is a revision."),
    "profile": ("A profile", "A device family as data: see [profiles.md](profiles.md)."),
}
HEAD: Final = """\
# Configuration reference

Made from the models that read the files, by `python -m gateway.cli.reference`; a test holds that it
is current. `hotpair check` tells every mistake with its line, `hotpair schema node` (or `site`,
`profile`, `points`) prints JSON Schema for editors.

A duration is written `200ms`, `1s`, `30d`; a size `500MB`, `10GB`. Unknown keys are
errors. What may be left out and has no default is then not there.
"""
_UNITS: Final = (("d", 86_400 * 10**9), ("h", 3_600 * 10**9), ("min", 60 * 10**9))
_SMALL: Final = (("s", 10**9), ("ms", 10**6), ("us", 10**3))
_SIZES: Final = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def reference(drivers: Mapping[str, Schema]) -> str:
    """The whole chapter."""
    parts = [HEAD]
    for name, (title, told) in FILES.items():
        schema = SCHEMAS[name](drivers)
        parts.append(f"\n## {title}\n\n{told}\n")
        known = schema.get("$defs", {})
        parts += _table(schema, title, known)
        for definition, content in known.items():
            if "properties" in content:
                parts.append(f"\n### {title}: {definition}\n")
                parts += _table(content, title, known)
    return "\n".join(parts) + "\n"


def _table(schema: Json, file: str, known: Json) -> Iterator[str]:
    told = " ".join(str(schema.get("description", "")).split())
    if told and "$schema" not in schema:
        yield f"{told}\n"
    required = schema.get("required", ())
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for key, content in schema.get("properties", {}).items():
        default = "must be there" if key in required else _default(content)
        meaning = " ".join(str(content.get("description", "")).split())
        yield f"| `{key}` | {_value(content, file, known)} | {default} | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _value(content: Json, file: str, known: Json) -> str:
    """What may be written, in words."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        if "properties" not in known[name]:
            return _value(known[name], file, known)
        anchor = f"{file}: {name}".lower().replace(" ", "-").replace(".", "").replace(":", "")
        return f"[{name}](#{anchor})"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in content:
            found = [_value(one, file, known) for one in content[word] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(found))
    if "const" in content:
        return f"`{content['const']}`"
    if "enum" in content:
        return ", ".join(f"`{one}`" for one in content["enum"])
    kind = content.get("type", "")
    if kind == "array":
        items = content.get("items") or {"anyOf": content.get("prefixItems", [])}
        return f"list of {_value(items, file, known) or 'values'}"
    if kind == "object":
        more = content.get("additionalProperties")
        return (
            f"map of {_value(more, file, known)}" if isinstance(more, Mapping) and more else "map"
        )
    if _is_duration(content):
        return "duration"
    if _is_size(content):
        return "size"
    low = content.get("minimum", content.get("exclusiveMinimum"))
    high = content.get("maximum", content.get("exclusiveMaximum"))
    bounds = f" {low if low is not None else ''} to {high if high is not None else ''}".rstrip()
    return f"{kind}{bounds if low is not None or high is not None else ''}" or "any"


def _is_duration(content: Json) -> bool:
    return "us|ms|s" in str(content.get("pattern", ""))


def _is_size(content: Json) -> bool:
    return "kKMGT" in str(content.get("pattern", ""))


def _default(content: Json) -> str:
    found = content.get("default")
    if found is None or found in ({}, [], ""):
        return ""
    if isinstance(found, Mapping):
        return "as below"
    if isinstance(found, int) and not isinstance(found, bool):
        if _is_duration(content):
            return f"`{_scaled(found, (*_UNITS, *_SMALL))}`"
        if _is_size(content):
            return f"`{_scaled(found, _SIZES)}`"
    if isinstance(found, list) and "$ref" not in content and len(found) == 2:
        return f"`{found[0]}:{found[1]}`"
    return f"`{found if isinstance(found, str) else json.dumps(found)}`"


def _scaled(number: int, units: tuple[tuple[str, int], ...]) -> str:
    for unit, factor in units:
        if number and number % factor == 0:
            return f"{number // factor}{unit}"
    return str(number)


if __name__ == "__main__":
    from gateway.app import schemas

    print(reference(schemas()), end="")
