"""What `hotpair demo` draws: who is Main, what happened, coverage and values of the whole pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.model import NS_PER_S, Gap, GapState, format_time

BAR_CELLS: Final = 60
BAR_S: Final = 60
HAPPENED_SHOWN: Final = 8
SETTLING_NS: Final = 4 * NS_PER_S
"""What is younger is not claimed yet, so no hole in it says anything."""
SILENT: Final = "silent"
CELLS: Final = {
    "main": ("█", "bold green"),
    "synced": ("─", "cyan"),
    "syncing": ("┄", "yellow"),
    "starting": ("·", "yellow"),
    SILENT: ("×", "red"),
}
LEGEND: Final = "█ Main  ─ Standby, in step  ┄ Standby, catching up  · starting  × silent"
COVERED: Final = {
    GapState.OPEN: ("▒", "red"),
    GapState.FILLING: ("▒", "yellow"),
    GapState.LOST: ("×", "bold red"),
    GapState.COARSE: ("▓", "yellow"),
    GapState.FILLED: ("▓", "cyan"),
}
"""Worst first: what a cell of the coverage bar shows where nobody polled."""
COVERED_LEGEND: Final = "█ polled  ▓ wound back from the device's own log  ▒ gap  × lost"
_CELL_NS: Final = BAR_S * NS_PER_S // BAR_CELLS


@dataclass(slots=True)
class Seen:
    """What was seen of the pair so far, and last of the node that could tell."""

    since_ns: int
    page: str = ""
    roles: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By node: (when, role) of each look, oldest first, a minute long."""
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    def note(self, now_ns: int, statuses: Mapping[str, dict[str, Any]]) -> None:
        """Remember the role of each node; one that doesn't answer is silent."""
        first_ns = now_ns - BAR_S * NS_PER_S
        for name, status in statuses.items():
            kept = [look for look in self.roles.get(name, ()) if look[0] >= first_ns]
            self.roles[name] = [*kept, (now_ns, status.get("role", SILENT))]
        self.statuses = dict(statuses)

    @property
    def told(self) -> dict[str, Any]:
        """The status of the Main, or of any node that answers; {} of none."""
        answered = [status for status in self.statuses.values() if status]
        mains = [status for status in answered if status["role"] == "main"]
        return (mains or answered or [{}])[0]


def role_bar(looks: Sequence[tuple[int, str]], now_ns: int) -> Text:
    """The last minute of a node, oldest first, a cell a second."""
    bar = Text()
    first_ns = now_ns - BAR_S * NS_PER_S
    for index in range(BAR_CELLS):
        from_ns = first_ns + index * _CELL_NS
        inside = [role for at_ns, role in looks if from_ns <= at_ns < from_ns + _CELL_NS]
        bar.append(*(CELLS[inside[-1]] if inside else (" ", "")))
    return bar


def coverage_bar(gaps: Sequence[Gap], device: str, now_ns: int, since_ns: int) -> Text:
    """The last minute of a device, oldest first: polled, what became of a gap, not known (yet)."""
    bar = Text()
    first_ns = now_ns - BAR_S * NS_PER_S
    mine = [gap for gap in gaps if gap.device == device]
    for index in range(BAR_CELLS):
        from_ns = first_ns + index * _CELL_NS
        to_ns = from_ns + _CELL_NS
        if to_ns <= since_ns or to_ns > now_ns - SETTLING_NS:
            bar.append("·", "dim")
            continue
        here = {gap.state for gap in mine if gap.from_ns < to_ns and from_ns < gap.to_ns}
        worst = next((state for state in COVERED if state in here), None)
        bar.append(*(("█", "green") if worst is None else COVERED[worst]))
    return bar


def table(*columns: str) -> Table:
    """A plain table."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column, no_wrap=True)
    return found


def draw(seen: Seen, now_ns: int) -> RenderableType:
    """The live view."""
    told = seen.told
    if not told:
        return Group(_roles(seen, now_ns), Text("no node answers", "red"))
    head = Text.assemble(
        ("Hotpair demo ", "bold"),
        f"site {told['site']}, node {told['node']} is {told['role_shown']} since "
        f"{told['since'][11:23]} ({told['why']})\n",
        f"OPC UA at {told['endpoint']} ",
        ("open without encryption or users: loopback only\n", "yellow"),
        f"{seen.page}\n",
        f"replication: {_replication(seen.statuses)}; complete through "
        f"{(told['complete_through'] or 'nothing yet')[11:23]}",
    )
    happened = Text("\n".join(seen.happened[-HAPPENED_SHOWN:]), "bold")
    parts = (head, _roles(seen, now_ns), happened, _devices(seen, told, now_ns), _values(seen))
    return Group(*(item for part in parts for item in (part, Text())))


def _replication(statuses: Mapping[str, dict[str, Any]]) -> str:
    words = []
    for name, status in statuses.items():
        if not status or not status["replication"]:
            continue
        pull = status["replication"]["receiving"]
        equal = {None: "not compared", True: "equal", False: "NOT EQUAL"}[pull["equal"]]
        words.append(f"{name} is {pull['samples_behind']} samples behind, {equal}")
    return "; ".join(words) or "no node answers"


def _roles(seen: Seen, now_ns: int) -> RenderableType:
    shown = table("node", f"role, last {BAR_S} s", "now")
    for name, looks in seen.roles.items():
        role = looks[-1][1]
        word = Text("Main" if role == "main" else role, CELLS[role][1])
        shown.add_row(name, role_bar(looks, now_ns), word)
    shown.add_row("", Text(LEGEND, "dim"))
    return shown


def _devices(seen: Seen, told: Mapping[str, Any], now_ns: int) -> RenderableType:
    shown = table("device", f"coverage, last {BAR_S} s", "state", "rtt ms", "note")
    for name, device in told["devices"].items():
        style = {"up": "green", "down": "bold red"}.get(device["state"], "cyan")
        rtt = f"{device['rtt_p50_ms']:.1f}" if device["rtt_p50_ms"] is not None else ""
        bar = coverage_bar(seen.gaps, name, now_ns, seen.since_ns)
        shown.add_row(name, bar, Text(device["state"], style), rtt, device["why"])
    shown.add_row("", Text(COVERED_LEGEND, "dim"))
    return shown


def _values(seen: Seen) -> RenderableType:
    shown = table("point", "value", "unit", "status", "changed")
    for point in seen.points:
        value = point["value"]
        number = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
        label = f" {point['label']}" if point["label"] else ""
        status = Text(point["status"], "" if point["status"] == "Good" else "red")
        changed = format_time(point["source_time_ns"])[11:23] if point["source_time_ns"] else ""
        shown.add_row(point["point"], number + label, point["unit"], status, changed)
    return shown
