"""What is kept and shown of what a node says of itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hil.recording import Look

Status = Mapping[str, Any]


def look_of(at_ns: int, node: str, status: Status) -> Look:
    """What a node said of itself, as a recording keeps it."""
    if not status:
        return Look(at_ns, node)
    pulls, devices = status["replication"]["receiving"], status["devices"]
    return Look(
        at_ns,
        node,
        status["role"],
        status["role_shown"] + (", paused" if status.get("paused") else ""),
        pulls["samples_behind"],
        pulls["lag_ms"],
        pulls["equal_at_ns"],
        sum(device["state"] == "up" for device in devices.values()),
        len(devices),
    )


def shown(seen: Mapping[str, Status]) -> str:
    """Roles, what is down, how far the Standby is behind."""
    roles = ", ".join(f"{n} {s['role_shown'] if s else 'silent'}" for n, s in seen.items())
    mains = [status for status in seen.values() if status and status["role"] == "main"]
    if not mains:
        return f"{roles}; no Main"
    devices = mains[0]["devices"].items()
    down = [name for name, device in devices if device["state"] != "up"]
    pull = mains[0]["replication"]["sending"]
    return (
        f"{roles}; down: {', '.join(down) or 'none'}; Standby {pull['samples_behind']} samples, "
        f"{pull['lag_ms']:.0f} ms behind"
    )
