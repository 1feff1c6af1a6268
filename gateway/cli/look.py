"""Commands that look at a running node: status, points, read, gaps, events."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.client import NodeClient
from gateway.config.found import suggest
from gateway.errors import BadInput, NotThere
from gateway.model import format_time, parse_duration, parse_time

STATE_STYLES = {
    "up": "green",
    "down": "bold red",
    "disabled": "yellow",
    "starting": "cyan",
    "idle": "dim",
}
GAP_STYLES = {
    "open": "bold red",
    "lost": "red",
    "coarse": "yellow",
    "filled": "green",
}
DIFFERENCES_SHOWN = 3
POINTS_SHOWN = 4
TOLD_FROM_NS = 100_000_000
BEHIND_SHOWN = 3
EXPIRY_SHOWN_NS = 30 * 86_400 * 10**9
SILENT_MS = 1_000
PIPE_WIDTH = 1_000
"""Characters: in a pipe each row is one line, for grep."""
UNBROKEN = frozenset(["device", "scan", "from", "to", "time", "since", "length", "cause", "state"])
"""Columns that a narrow terminal leaves whole, at the cost of the others."""


def console() -> Console:
    """The terminal, or a wide plain page in a pipe."""
    plain = partial(Console, markup=False, emoji=False)  # texts come from devices and people
    found = plain()
    return found if found.is_terminal else plain(width=PIPE_WIDTH)


def instant(text: str) -> int:
    """An ISO 8601 time, or a duration back from now, in ns UTC. Raises BadInput."""
    try:
        return time.time_ns() - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        remedy = "Write 2026-11-22T09:30:00Z, or how far back: 15m, 2h, 1d"
        raise BadInput(f"{text!r} is no time", remedy) from None


def show(make: Callable[[], Any], as_json: bool, draw: Callable[[Any], RenderableType]) -> None:
    """Print once."""
    found = make()
    if as_json:
        print(json.dumps(found))
    else:
        console().print(draw(found))


def renew(make: Callable[[], Any], draw: Callable[[Any], RenderableType]) -> None:
    """Print again each second until interrupted."""
    with Live(draw(make()), console=console(), refresh_per_second=4, screen=True) as screen:
        while True:
            time.sleep(1)
            screen.update(draw(make()))


def counted(found: Sized, noun: str) -> str:
    """How many there are, in words: `1 point`, `2 points`."""
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> RenderableType:
    """A plain table under a line of its own; numbers come already formatted."""
    found = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        found.add_column(column, overflow="fold", no_wrap=column in UNBROKEN)
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return Group(title, found) if found.row_count else title


def link_state(path: dict[str, Any]) -> str:
    """How a link fares, in words."""
    why = f": {path['refused_why']}" if path["refused_why"] else ""
    if not path["up"]:
        return f"DOWN{why}"
    age_ms = path["last_heard_age_ms"]
    if age_ms is None or age_ms > SILENT_MS:
        return f"SILENT{why}" if age_ms is None else f"SILENT for {age_ms / 1e3:.1f} s{why}"
    return f"up{why}"


def draw_pair(found: dict[str, Any]) -> list[str]:
    """The lines about the other node: its role, the links, how far replication is."""
    if not found["linked"]:
        return ["no link is configured: a lone node"]
    peer = found["peer"]
    known = f"{found['peer_view']}, links {found['links_carry']}"
    lines = [f"peer: {known}"]
    if peer is not None:
        heard = f"heard {peer['heard_ms_ago']} ms ago"
        heard_as = peer["role_shown"]
        if found["peer_view"] not in ("main", "standby", "starting"):
            heard_as = f"{found['peer_view']}, was {heard_as}"
        lines = [f"peer {peer['node']}: {heard_as}, links {found['links_carry']}, {heard}"]
        lines[0] += (
            f", clock {found['clock_ahead_ms']:+.1f} ms, round trip {found['rtt_ms']:.1f} ms"
        )
    for path in found["links"]:
        lines.append(f"  link {path['name']} {link_state(path)}")
    for way in ("sending", "receiving"):
        pull = found["replication"][way]
        equal = {None: "not compared yet", True: "equal", False: "NOT EQUAL"}[pull["equal"]]
        proven = f" (proven {format_time(pull['equal_at_ns'])})" if pull["equal_at_ns"] else ""
        lines.append(
            f"  {way} {pull['percent']:.1f} %: {pull['records_behind']} records, "
            f"{pull['samples_behind']} samples, {pull['lag_ms']:.0f} ms behind; {equal}{proven}"
        )
        lines += [f"    {text}" for text in pull["differences"][:DIFFERENCES_SHOWN]]
    flags = {
        "PAUSED: no automatic change of roles": found["paused"],
        "the peer counts as absent": found["peer_absent"],
        "CLOCKS APART": found["clocks_apart"],
        "vetoed by the witness hosts": found["vetoed"],
        f"handing over: {found['handing_over']}": found["handing_over"],
    }
    return lines + [f"  {text}" for text, holds in flags.items() if holds]


def complete(found: dict[str, Any]) -> str:
    """How far history is complete, in words."""
    if found["claimed_through"] is None:
        return "nothing was polled yet"
    return f"complete through {found['claimed_through']}{but_behind(found)}"


def draw_northbound(feeds: dict[str, Any]) -> list[str]:
    """A line a northbound feed: how far it is, and what hinders it."""
    lines = []
    for name, feed in feeds.items():
        line = f"northbound {name} {feed['where']}: {feed['state']}"
        if feed["records_behind"] is not None:
            line += f", {feed['samples']} samples delivered"
            lag = "" if feed["lag_s"] is None else f" and {feed['lag_s']:.1f} s"
            line += f", {feed['records_behind']} records{lag} behind"
        if feed["state"] == "failing":
            line += f": {feed['last_error']}"
        if feed["skipped"]:
            line += f"  {feed['skipped']} RECORDS SKIPPED"
        lines.append(line + ("  INSECURE: without TLS" if feed["insecure"] else ""))
    return lines


def but_behind(found: dict[str, Any]) -> str:
    """The classes that are complete less far than the others."""
    names = list(found["behind"])
    more = f" and {len(names) - BEHIND_SHOWN} more" if len(names) > BEHIND_SHOWN else ""
    if not names:
        return ""
    through = found["complete_through"] or "nothing yet"
    return f", {', '.join(names[:BEHIND_SHOWN])}{more} behind: all through {through}"


def _certificate(expires: str | None) -> list[str]:
    """A line about the OPC UA server's certificate in its last 30 days."""
    if expires is None or time.time_ns() + EXPIRY_SHOWN_NS < parse_time(expires):
        return []
    return [f"  THE OPC UA SERVER'S CERTIFICATE EXPIRES {expires}"]


def _clock(clock: dict[str, Any]) -> list[str]:
    """A line about a system clock that nobody sets; None is a kernel that says nothing."""
    free = clock["synchronised"] is False
    return ["  THE CLOCK OF THIS MACHINE IS NOT SYNCHRONISED: times wander"] if free else []


def draw_status(found: dict[str, Any]) -> RenderableType:
    """The one screen of `hotpair status`."""
    insecure = ""
    if found["insecure"]:
        insecure = "  INSECURE: open to all on loopback"
    elif found["clients_trusted"] is None:
        insecure = "  EVERY CLIENT'S CERTIFICATE IS TRUSTED"
    closed = "" if found["endpoint_open"] else " (closed)"
    storing = "" if found["storing"] else "  THE STORE IS FULL OR BROKEN: history pauses"
    revision = found["revision"]
    lines = [
        f"{found['site']}  node {found['node']}  {found['role_shown']} since {found['since']}"
        f" ({found['why']})  term {found['term']}",
        f"{found['endpoint']}{closed}{insecure}",
        *_certificate(found["certificate_expires"]),
        *_clock(found["clock"]),
        f"{found['points']} points, revision {revision['running']}, {complete(found)}{storing}",
        *draw_pair(found),
        *draw_northbound(found["northbound"]),
        *(text for text in (revision["differs"], revision["not_able"]) if text),
    ]
    head = "\n".join(lines)
    rows, notes = [], []
    for name, device in found["devices"].items():
        state = Text(device["state"], STATE_STYLES.get(device["state"], ""))
        p50, p95 = device["rtt_p50_ms"], device["rtt_p95_ms"]
        rtt = f"{p50:.1f}/{p95:.1f}" if p50 is not None else ""
        errors = device["timeouts"] + device["invalid_replies"] + device["link_failures"]
        refused = sum(device["exceptions"].values())
        if note := device["why"] or "; ".join(f"{k}: {v}" for k, v in device["notes"].items()):
            notes.append(f"{name}: {note}")
        numbers = (device["points"], device["scans"], device["samples"], device["requests"])
        gaps = f"{device['open_gaps']} ({device['open_gaps_ms'] / 1e3:.1f} s)"
        gaps = gaps if device["open_gaps"] else ""
        rows.append((name, state, *numbers, errors, refused, device["overruns"], gaps, rtt))
    columns = ("device", "state", "points", "scans", "samples", "requests", "errors")
    more = ("exceptions", "overruns", "open gaps", "rtt p50/p95 ms")
    return Group(table(head, columns + more, rows), *notes)


def status(node: Path, as_json: bool, watch: bool) -> None:
    """`hotpair status`."""
    with NodeClient(node) as client:
        if watch:
            renew(lambda: client.get("/status"), draw_status)
        show(lambda: client.get("/status"), as_json, draw_status)


def draw_points(found: list[dict[str, Any]]) -> RenderableType:
    """Live values as a table; how old they are counts from the last good poll."""
    now_ns = time.time_ns()

    def row(point: dict[str, Any]) -> tuple[Any, ...]:
        value = point["value"]
        shown = f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
        label = f" ({point['label']})" if point["label"] else ""
        style = "" if point["status"] == "Good" else "red"
        age_s = (now_ns - point["server_time_ns"]) / 1e9 if point["server_time_ns"] else None
        age = "" if age_s is None else f"{age_s:.1f} s"
        status = Text(point["status"], style)
        return (point["point"], shown + label, point["unit"], status, age, point["scan"])

    columns = ("point", "value", "unit", "status", "age", "scan")
    return table(counted(found, "point"), columns, map(row, found))


def points(node: Path, pattern: str, bad: bool, writable: bool, as_json: bool, watch: bool) -> None:
    """`hotpair points`."""
    with NodeClient(node) as client:

        def found() -> list[dict[str, Any]]:
            return [
                point
                for point in client.get("/points", pattern=pattern)
                if not (bad and point["status"] == "Good")
                and not (writable and "w" not in point["access"])
            ]

        if watch:
            renew(found, draw_points)
        show(found, as_json, draw_points)


def read(node: Path, names: Sequence[str], as_json: bool) -> int:
    """`hotpair read`; the exit status is 1 when a value is Bad. Raises NotThere."""
    with NodeClient(node) as client:
        live = {point["point"]: point for point in client.get("/points")}
    if unknown := [name for name in names if name not in live]:
        raise NotThere(f"there is no point {unknown[0]!r}", suggest(unknown[0], live, "points"))
    found = [live[name] for name in names]
    if as_json:
        print(json.dumps(found))
    for point in () if as_json else found:
        value = "" if point["value"] is None else str(point["value"])
        print(" ".join(filter(None, (point["point"], value, point["unit"], point["status"]))))
    return 1 if any(point["status"].startswith("Bad") for point in found) else 0


def draw_gaps(found: list[dict[str, Any]]) -> RenderableType:
    """Gaps as a table, under a line that says what became of them."""
    states = Counter(gap["state"] for gap in found)
    told = ", ".join(f"{states[state]} {state}" for state in GAP_STYLES if states[state])

    def row(gap: dict[str, Any]) -> tuple[Any, ...]:
        length = f"{(gap['to_ns'] - gap['from_ns']) / 1e9:.3f} s"
        state = Text(gap["state"], GAP_STYLES[gap["state"]])
        place = (gap["device"], gap["scan_class"], format_time(gap["from_ns"]))
        which = ", ".join(gap["points"][:POINTS_SHOWN])
        if (more := len(gap["points"]) - POINTS_SHOWN) > 0:
            which += f" and {more} more"
        whys = [f"{which}: {gap['why']}" if which else gap["why"]]
        if gap["uncertainty_ns"] >= TOLD_FROM_NS:
            whys.append(f"times ± {gap['uncertainty_ns'] / 1e9:.1f} s")
        why = "; ".join(filter(None, whys))
        return (*place, length, gap["cause"], state, why)

    columns = ("device", "scan", "from", "length", "cause", "state", "why")
    head = counted(found, "gap") + (f": {told}" if told else "")
    return table(head, columns, map(row, found))


def gaps(node: Path, device: str, start: str, end: str, state: str, as_json: bool) -> None:
    """`hotpair gaps`."""
    span = {"from": instant(start), "to": instant(end), "device": device}
    with NodeClient(node) as client:
        asked = {"state": state} if state else {}
        show(lambda: client.get("/gaps", **span, **asked), as_json, draw_gaps)


def events(node: Path, start: str, end: str, as_json: bool) -> None:
    """`hotpair events`."""

    def draw(found: list[dict[str, Any]]) -> RenderableType:
        rows = ((e["time"], e["severity"], e["source"], e["text"]) for e in found)
        return table(counted(found, "event"), ("time", "severity", "source", "text"), rows)

    span = {"from": instant(start), "to": instant(end)}
    with NodeClient(node) as client:
        show(lambda: client.get("/events", **span), as_json, draw)
