"""Commands that act through a running node: raw, trace, write, maintenance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.client import NodeClient, who
from gateway.cli.look import console, table
from gateway.cli.options import tell
from gateway.errors import BadInput


def value_of(text: str) -> bool | int | float | str:
    """A value as typed: true and false, numbers, else text (quotes keep a number a text)."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if not math.isfinite(number):
            raise BadInput(f"{text} is no value to write", "Give a finite number")
        return number
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def raw(node: Path, device: str, area: str, address: str, count: int, as_json: bool) -> None:
    """`hotpair raw`."""
    with NodeClient(node) as client:
        values: list[Any] = client.get(
            f"/raw/{device}/{area}/{quote(address, safe='')}", count=count
        )["values"]
    if as_json:
        print(json.dumps(values))
        return
    first = int(address, 0) if address[:1].isdigit() and not address.startswith("0o") else None
    rows = []
    for offset, value in enumerate(values):
        place = str(first + offset) if first is not None else f"{address} +{offset}"
        word = isinstance(value, int) and not isinstance(value, bool)
        signed = value - 0x10000 if word and value > 0x7FFF else value
        rows.append((place, value, f"0x{value:04X}" if word else "", signed if word else ""))
    console().print(table(f"{device} {area}", ("address", "value", "hex", "int16"), rows))


def trace(node: Path, device: str, seconds: float, as_json: bool) -> None:
    """`hotpair trace`."""
    with NodeClient(node) as client:
        for frame in client.lines(f"/trace/{device}", seconds=seconds):
            if as_json:
                print(json.dumps(frame), flush=True)
            else:
                arrow = "->" if frame["sent"] else "<-"
                data = f"  [{frame['data']}]" if frame["data"] else ""
                print(f"{frame['time']} {arrow} {frame['text']}{data}", flush=True)


def write(node: Path, point: str, value: str, as_json: bool) -> int:
    """`hotpair write`; the exit status is 1 when the value did not get there."""
    body = {"point": point, "value": value_of(value), "who": who()}
    with NodeClient(node) as client:
        outcome = client.post("/write", body)
    if as_json:
        print(json.dumps(outcome))
    else:
        detail = f" ({outcome['detail']})" if outcome["detail"] else ""
        print(f"{point}: {outcome['status']}, read back {outcome['read_back']}{detail}")
    return 0 if outcome["status"].startswith("Good") else 1


def maintain(
    node: Path, action: str, target: str, value: str | None, why: str, as_json: bool
) -> None:
    """`hotpair disable | enable | substitute | release`."""
    body: dict[str, Any] = {"action": action, "target": target, "who": who(), "why": why}
    if value is not None:
        body["value"] = value_of(value)
    with NodeClient(node) as client:
        tell(client.post("/maintenance", body), as_json)
