"""`hotpair schema site|node|profile|points`: JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from gateway.config.editor import SCHEMAS
from gateway.config.found import suggest
from gateway.driver import Schema


def schema(what: str, drivers: Mapping[str, Schema], out: Callable[[str], None] = print) -> int:
    """Print the JSON Schema of one kind of file; the exit status is 1 when there is no such."""
    make = SCHEMAS.get(what)
    if make is None:
        out(f"There is no schema `{what}`. {suggest(what, SCHEMAS, 'schemas')}")
        return 1
    out(json.dumps(make(drivers), indent=2, ensure_ascii=False))
    return 0
