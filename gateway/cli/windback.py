"""Commands about devices' own logs: read a stretch again, hold one against history."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType

from gateway.cli.client import NodeClient, who
from gateway.cli.look import console, counted, instant, show, table
from gateway.model import NS_PER_S, format_time
from gateway.windback.planner import check_asked

PIECE_NS: Final = 600 * NS_PER_S
"""What is verified in one request."""


def windback(node: Path, device: str, start: str, end: str, as_json: bool) -> None:
    """`hotpair windback`: ask for a stretch of a device, or show what is read now."""
    span = {"from_ns": instant(start), "to_ns": instant(end)}
    with NodeClient(node) as client:
        if not device:
            show(lambda: client.get("/windback"), as_json, draw)
            return
        done = client.post("/windback", {"device": device, "who": who(), **span})
    print(json.dumps(done) if as_json else done["done"])


def draw(found: dict[str, Any]) -> RenderableType:
    """What each device's windback does."""
    if not found:
        return "this node reads no logs: only the Main does, of devices with `windback:`"
    return table(
        f"{counted(found, 'device')} with a log",
        ("device", "logs", "open gaps", "length", "records", "samples", "reading", "left", "waits"),
        (_row(device, state) for device, state in found.items()),
    )


def _row(device: str, state: dict[str, Any]) -> tuple[Any, ...]:
    reading, left = state["reading"], ""
    shown = ""
    if reading is not None:
        whole_ns = max(1, reading["to_ns"] - reading["from_ns"])
        part = (reading["through_ns"] - reading["from_ns"]) / whole_ns
        shown = f"{format_time(reading['from_ns'])} {part:.0%}"
        left = "" if reading["left_ms"] is None else f"{reading['left_ms'] / 1000:.1f} s"
    return (
        device,
        ", ".join(state["logs"]),
        state["open_gaps"],
        f"{state['open_ms'] / 1000:.1f} s",
        state["records"],
        state["samples"],
        shown,
        left,
        state["waits"],
    )


def verify(node: Path, device: str, log: str, start: str, end: str, as_json: bool) -> int:
    """`hotpair verify`; the exit status is 1 where log and history differ."""
    from_ns, to_ns = instant(start), instant(end)
    check_asked(from_ns, to_ns, time.time_ns())
    total: dict[str, Any] = {"compared": 0, "equal": 0, "in_gaps": 0, "different": 0}
    differences: list[Any] = []
    with NodeClient(node) as client:
        for at_ns in range(from_ns, to_ns, PIECE_NS):
            span = {"from_ns": at_ns, "to_ns": min(to_ns, at_ns + PIECE_NS)}
            body = {"device": device, "log": log, "who": who(), **span}
            found = client.post("/verify", body)
            for key in total:
                total[key] += found[key]
            differences += found["differences"]
            if sys.stderr.isatty():
                print(f"\rverified through {format_time(span['to_ns'])}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if as_json:
        print(json.dumps(total | {"differences": differences}))
    else:
        rows = (
            (point, format_time(time_ns), logged, ", ".join(map(str, held)) or "nothing")
            for point, time_ns, logged, held in differences
        )
        head = (
            f"{device}: {total['compared']} logged values, {total['equal']} as in history, "
            f"{total['in_gaps']} in gaps, {total['different']} different"
        )
        console().print(table(head, ("point", "time", "log", "history"), rows))
    return 1 if total["different"] else 0
