"""Commands about the pair: who was Main, hand over, pause, a peer under repair, a rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from gateway.cli.client import NodeClient, who
from gateway.cli.look import console, show, table
from gateway.cli.options import tell
from gateway.errors import BadInput


def draw_roles(found: dict[str, Any]) -> RenderableType:
    """Who was Main, oldest first."""
    rows = (
        (
            span["node"],
            span["from"],
            span["to"] or "now",
            f"{(span['to_ns'] - span['from_ns']) / 1e9:.3f} s" if span["to_ns"] else "",
            span["term"] or "",
            span["why"],
            span["ended"],
        )
        for span in found["reigns"]
    )
    columns = ("Main", "from", "to", "length", "term", "why", "ended")
    count = len(found["reigns"])
    return table(f"{count} reign{'' if count == 1 else 's'}", columns, rows)


def roles(node: Path, as_json: bool, limit: int) -> None:
    """`hotpair roles`."""
    with NodeClient(node) as client:
        show(lambda: client.get("/roles", limit=limit), as_json, draw_roles)


def command(node: Path, path: str, as_json: bool) -> None:
    """`hotpair changeover | pause | resume`."""
    with NodeClient(node) as client:
        tell(client.post(path, {"who": who()}), as_json)


def peer(node: Path, state: str, as_json: bool) -> None:
    """`hotpair peer absent | present`."""
    if state not in ("absent", "present"):
        raise BadInput(f"{state!r} is no state of a peer", "Write absent or present")
    with NodeClient(node) as client:
        tell(client.post("/peer", {"absent": state == "absent", "who": who()}), as_json)


def rehearse(node: Path, as_json: bool) -> int:
    """`hotpair rehearse`; the exit status is 1 when a device that allows it refused."""
    with NodeClient(node) as client:
        found = client.post("/rehearse", {"who": who()})
    if as_json:
        print(json.dumps(found))
    else:
        rows = ((item["device"], _outcome(item), item["detail"], item["remedy"]) for item in found)
        console().print(table("rehearsal", ("device", "outcome", "detail", "remedy"), rows))
    return 1 if any(item["allowed"] and not item["reached"] for item in found) else 0


def _outcome(item: dict[str, Any]) -> Text:
    if not item["allowed"]:
        return Text("not tried", "yellow")
    return Text("answers", "green") if item["reached"] else Text("refused", "bold red")
