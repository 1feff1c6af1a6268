"""What a server told of itself as a session began, for those who look on."""

from __future__ import annotations

from typing import Final

from drivers.opcua.points import Points
from drivers.opcua.session import Session
from drivers.opcua.wire import Wire
from gateway.model import NS_PER_MS, NS_PER_S

CLOCK_OFFSET_MAX_NS: Final = 2 * NS_PER_S


def introduce(session: Session, wire: Wire, points: Points) -> None:
    """Note what a server is like, and tell what a person should know."""
    diagnostics = wire.diagnostics
    diagnostics.connected = True
    diagnostics.notes["server"] = session.product
    diagnostics.notes["limits"] = (
        f"{session.limits.read} nodes a read, {session.limits.monitor} items a call"
    )
    if not session.device.protected:
        diagnostics.notes["security"] = "none (`insecure: true`)"
    for warning in session.warnings:
        points.tell(f"!{warning}", 400, warning)
    if (offset_ns := session.clock_offset_ns) is not None:
        diagnostics.notes["clock"] = f"{offset_ns / NS_PER_MS:+.0f} ms from ours"
        if abs(offset_ns) > CLOCK_OFFSET_MAX_NS:
            text = (
                f"the server's clock is {abs(offset_ns) / NS_PER_S:.0f} s "
                f"{'ahead of' if offset_ns > 0 else 'behind'} ours: source times that can't be "
                "true are replaced by the time of receipt"
            )
            points.tell("!clock", 500, text)
