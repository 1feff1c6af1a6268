"""Configuration without its secrets, decided by the models and not by how a text looks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config.files import read_text
from gateway.config.text import Unreadable
from gateway.config.yaml import parse

REMOVED: Final = "(left out)"
SECRET_KEYS: Final = frozenset({"password_hash", "password", "token", "secret", "passphrase"})
"""Keys whose plain value is a secret; a mapping under them says where the secret is."""
SECRET_FILES: Final = frozenset({"password", "key", "token", "secret"})
"""Keys that name a file whose content is a secret."""
STRUCK_MIN: Final = 4
"""Shorter secrets are not struck out of texts: they would take half of the text with them."""
SECRET_FILE_MAX: Final = 64 * 1024
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_DEPTH_MAX: Final = 40


def kept(data: Any, schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """The part of `data` that a JSON Schema knows; everything else is `(left out)`."""
    if depth > _DEPTH_MAX or not isinstance(schema, Mapping):
        return REMOVED
    options = list(_options(schema, root, depth))
    if isinstance(data, dict):
        objects = [option for option in options if _is_object(option)]
        if not objects:
            return REMOVED
        chosen = max(objects, key=lambda option: _fit(data, option, root))
        return {
            str(key) if known else REMOVED: value
            for key, value, known in _entries(data, chosen, root, depth)
        }
    if isinstance(data, list):
        items = next((o["items"] for o in options if isinstance(o.get("items"), Mapping)), None)
        if items is None:
            prefix = next((o["prefixItems"] for o in options if "prefixItems" in o), None)
            if prefix is None:
                return REMOVED
            return [
                kept(item, part, root, depth + 1) for item, part in zip(data, prefix, strict=False)
            ]
        return [kept(item, items, root, depth + 1) for item in data]
    if not any(_is_of(data, option) for option in options):
        return REMOVED
    return _without_login(data) if isinstance(data, str) else data


def _without_login(text: str) -> str:
    """A URL without the user and password that it may carry; any other text as it is."""
    scheme, mark, rest = text.partition("://")
    login, at, host = rest.partition("@")
    return f"{scheme}://{REMOVED}@{host}" if mark and at and "/" not in login else text


def _entries(
    data: Mapping[Any, Any], schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> Iterator[tuple[Any, Any, bool]]:
    """(key, what is kept of its value, whether the key is known)."""
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    for key, value in data.items():
        if key in properties:
            secret = key in SECRET_KEYS and not isinstance(value, dict)
            shown = REMOVED if secret else kept(value, properties[key], root, depth + 1)
            yield key, shown, True
        elif isinstance(more, Mapping):
            yield key, kept(value, more, root, depth + 1), True
        elif more is True and not isinstance(value, dict | list):
            yield key, REMOVED, True
        else:
            yield key, REMOVED, False


def _options(
    schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> Iterator[Mapping[str, Any]]:
    """A schema without references and choices: every form that it allows."""
    if depth > _DEPTH_MAX:
        return
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from _options(root.get("$defs", {}).get(name, {}), root, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(word, ()):
            yield from _options(option, root, depth + 1)
    yield schema


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or "properties" in schema


def _fit(data: Mapping[Any, Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> int:
    """How well a form fits: a wrong constant (`driver:`) rules it out."""
    properties = schema.get("properties", {})
    score = 0
    for key, value in data.items():
        known = properties.get(key)
        if known is None:
            continue
        if "const" in known and known["const"] != value:
            return -1
        score += 1
    return score


def _is_of(data: Any, schema: Mapping[str, Any]) -> bool:
    if "const" in schema:
        return bool(schema["const"] == data)
    if "enum" in schema:
        return data in schema["enum"]
    types = schema.get("type")
    if isinstance(data, bool):
        return types == "boolean"
    return isinstance(data, _TYPES.get(str(types), ()))


# ------------------------------------------------------------------------------- known secrets


def known_secrets(node: Path) -> list[str]:
    """Every secret that the files of a node hold or name, the longest first."""
    found: set[str] = set()
    for file in (node, node.parent / "site.yaml", *_named(node)):
        try:
            tree, _ = parse(read_text(file), file.name)
        except (Unreadable, OSError):
            continue
        if tree is not None:
            found |= set(_secrets(tree.plain(), file.parent))
    return sorted((text for text in found if len(text) >= STRUCK_MIN), key=len, reverse=True)


def _named(node: Path) -> list[Path]:
    try:
        tree, _ = parse(read_text(node), node.name)
    except (Unreadable, OSError):
        return []
    said = tree.child("site") if tree is not None else None
    named = said is not None and isinstance(said.value, str)
    return [node.parent / str(said.value)] if said is not None and named else []


def _secrets(data: Any, folder: Path, depth: int = 0) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(data, list):
        for item in data:
            yield from _secrets(item, folder, depth + 1)
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        if key in SECRET_KEYS and isinstance(value, str | int):
            yield str(value)
        if key in SECRET_FILES:
            name = value.get("file") if isinstance(value, dict) else value
            if isinstance(name, str):
                yield from _content(folder / name)
        yield from _secrets(value, folder, depth + 1)


def _content(file: Path) -> Iterator[str]:
    """What a file of a secret holds: as a whole, and line by line."""
    try:
        if not file.is_file() or file.stat().st_size > SECRET_FILE_MAX:
            return
        text = file.read_text(errors="replace").strip()
    except OSError:
        return
    yield text
    # The lines that frame a key are the same in every key.
    yield from (line.strip() for line in text.splitlines() if not line.startswith("-----"))


def struck(text: str, secrets: Iterable[str]) -> str:
    """A text without known secrets, however a JSON text would have escaped them."""
    for secret in secrets:
        escaped = [json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False)]
        for form in (secret, *escaped):
            text = text.replace(form, REMOVED)
    return text
