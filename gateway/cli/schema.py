"""`hotpair schema site|node|profile|points`: JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from gateway.config.editor import SCHEMAS
from gateway.config.found import suggest
from gateway.driver import Schema
from gateway.errors import BadInput


def schema(what: str, drivers: Mapping[str, Schema], out: Callable[[str], None] = print) -> None:
    """Print the JSON Schema of one kind of file. Raises BadInput when there is no such."""
    make = SCHEMAS.get(what)
    if make is None:
        raise BadInput(f"there is no schema `{what}`", suggest(what, SCHEMAS, "schemas"))
    out(json.dumps(make(drivers), indent=2, ensure_ascii=False))
