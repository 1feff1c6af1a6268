"""The nemesis: carries out a schedule of faults against a running rig."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.model import NS_PER_S, parse_duration
from hil.outstation.control import send
from hil.settings import SiteError, load_yaml


class Stroke(NamedTuple):
    """One entry of a schedule: at `at_ns` after the start, send `message` to the rig."""

    at_ns: int
    message: Mapping[str, Any]


def read_schedule(text: str) -> tuple[Stroke, ...]:
    """The strokes of a `faults.yaml`, in order of time. Raises SiteError.

    An entry is `{at: 60s, device: plc1, fault: silence, for: 20s}` with the options of its fault,
    or `{at: 90s, device: plc1, power: "off", for: 30s}`: power comes back after `for`.
    """
    strokes = []
    for number, entry in enumerate(load_yaml(text).get("faults", ()), start=1):
        rest = dict(entry)
        try:
            at_ns = parse_duration(rest.pop("at"))
            for_ns = parse_duration(rest.pop("for")) if "for" in rest else None
            device = rest["device"]
        except (KeyError, ValueError) as error:
            raise SiteError(f"fault {number}: {error}") from error
        if "power" in rest:
            strokes.append(Stroke(at_ns, rest))
            if for_ns is not None:
                strokes.append(Stroke(at_ns + for_ns, {"power": "on", "device": device}))
        elif "fault" in rest:
            if for_ns is not None:
                rest["seconds"] = for_ns / NS_PER_S
            strokes.append(Stroke(at_ns, rest))
        else:
            raise SiteError(f"fault {number}: say `fault:` or `power:`")
    return tuple(sorted(strokes, key=lambda stroke: stroke.at_ns))


async def drive(
    schedule: Sequence[Stroke],
    control: Path,
    tell: Callable[[Stroke, Mapping[str, Any]], None] | None = None,
) -> None:
    """Carry out a schedule from now on; `tell` hears each stroke and the rig's answer.

    Raises SiteError when the rig refuses a stroke, OSError when it is gone.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for stroke in schedule:
        await asyncio.sleep(max(0.0, start_s + stroke.at_ns / NS_PER_S - loop.time()))
        answer = await send(control, stroke.message)
        if tell is not None:
            tell(stroke, answer)
        if not answer.get("ok"):
            raise SiteError(f"{dict(stroke.message)}: {answer.get('error')}")
