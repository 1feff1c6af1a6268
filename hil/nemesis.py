"""The nemesis: carries out a schedule of faults against running outstations and a running pair."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_S, parse_duration
from hil.gateway import ProgramError
from hil.outstation.control import send
from hil.pair import Pair, PairNode
from hil.recording import Switch
from hil.settings import SiteError, load_yaml
from hil.truth import Span


class Stroke(NamedTuple):
    """One entry of a schedule: at `at_ns` after the start, send `message` to the rig."""

    at_ns: int
    message: Mapping[str, Any]


def read_schedule(text: str) -> tuple[Stroke, ...]:
    """The strokes of a `faults.yaml`, in order of time. Raises SiteError.

    An entry is `{at: 60s, device: plc1, fault: silence, for: 20s}` with the options of its fault,
    or `{at: 90s, device: plc1, power: "off", for: 30s}`: power comes back after `for` (`log: lose`:
    with an empty log). `log: stop` and `clock: {step: -60}` disturb what the device records.
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
                again = {"power": "on", "device": device}
                if "log" in rest:
                    again["log"] = rest["log"]
                strokes.append(Stroke(at_ns + for_ns, again))
        elif "fault" in rest or "log" in rest or "clock" in rest:
            if for_ns is not None:
                rest["seconds"] = for_ns / NS_PER_S
            strokes.append(Stroke(at_ns, rest))
        else:
            raise SiteError(f"fault {number}: say `fault:`, `power:`, `log:` or `clock:`")
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


# ---------------------------------------------------------------------------------- the pair


class Blow(NamedTuple):
    """One entry of `pair:` in a schedule: at `at_ns` after the start, do something to a node.

    `who` is main or standby (for `cut`: whose words no longer arrive; empty: both ways).
    """

    at_ns: int
    do: str
    who: str = ""
    for_ns: int = 0

    def __str__(self) -> str:
        lasts = f" for {self.for_ns / NS_PER_S:g} s" if self.for_ns else ""
        return f"{self.do}{' ' if self.who else ''}{self.who}{lasts}"


class Struck(NamedTuple):
    """What a blow came to."""

    blow: Blow
    switch: Switch | None = None
    split: Span | None = None
    failed: str = ""


def read_blows(text: str) -> tuple[Blow, ...]:
    """The `pair:` entries of a `faults.yaml`, in order of time. Raises SiteError.

    An entry is `{at: 110s, do: kill, who: main, for: 12s}`.
    """
    blows = []
    for number, entry in enumerate(load_yaml(text).get("pair", ()), start=1):
        rest = dict(entry)
        try:
            at_ns, for_ns = parse_duration(rest.pop("at")), parse_duration(rest.pop("for", "0s"))
            blow = Blow(at_ns, rest.pop("do"), rest.pop("who", ""), for_ns)
        except (KeyError, ValueError) as error:
            raise SiteError(f"pair fault {number}: {error}") from error
        if blow.do not in _BLOWS:
            raise SiteError(f"pair fault {number}: `do` is one of {', '.join(sorted(_BLOWS))}")
        if blow.who not in _BLOWS[blow.do][1]:
            raise SiteError(f"pair fault {number}: `who` is one of {_BLOWS[blow.do][1]}")
        if rest:
            raise SiteError(f"pair fault {number}: unknown keys {sorted(rest)}")
        blows.append(blow)
    return tuple(sorted(blows))


async def strike(
    blows: Sequence[Blow],
    pair: Pair,
    told: Callable[[Struck | str], None],
) -> None:
    """Carry out a schedule from now on; after each blow the pair must be whole again.

    `told` hears what begins, and what came of it; a blow that ends badly doesn't end the others.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for blow in blows:
        await asyncio.sleep(max(0.0, start_s + blow.at_ns / NS_PER_S - loop.time()))
        told(str(blow))
        act, _ = _BLOWS[blow.do]
        try:
            struck = await act(pair, blow)
            await pair.until_paired()
            await pair.until_equal()
        except ProgramError as error:
            struck = Struck(blow, failed=str(error))
        told(struck)


async def _lasts(blow: Blow, since_ns: int) -> None:
    await asyncio.sleep(max(0.0, (since_ns + blow.for_ns - time.time_ns()) / NS_PER_S))


async def _node(pair: Pair, who: str) -> PairNode:
    main = await pair.main()
    return main if who == "main" else pair.other(main)


async def _changeover(pair: Pair, blow: Blow) -> Struck:
    return Struck(blow, await pair.changeover())


async def _kill(pair: Pair, blow: Blow) -> Struck:
    node, switch = await _node(pair, blow.who), None
    at_ns = time.time_ns()
    if blow.who == "main":
        switch = await pair.kill_main()
    else:
        await node.program.kill()
    await _lasts(blow, at_ns)
    await node.start()
    return Struck(blow, switch)


async def _restart(pair: Pair, blow: Blow) -> Struck:
    node, switch = await _node(pair, blow.who), None
    at_ns = time.time_ns()
    stopping = asyncio.create_task(node.program.stop())
    if blow.who == "main":
        switch = await pair.fresh("SIGTERM", node, at_ns)
    if (status := await stopping) != 0:
        raise ProgramError(f"node {node.name} ended with status {status} at SIGTERM")
    await _lasts(blow, at_ns)
    await node.start()
    return Struck(blow, switch)


async def _freeze(pair: Pair, blow: Blow) -> Struck:
    node, switch = await _node(pair, blow.who), None
    at_ns = time.time_ns()
    node.signal(signal.SIGSTOP)
    try:
        if blow.who == "main":
            switch = await pair.fresh("SIGSTOP", node, at_ns)
        await _lasts(blow, at_ns)
    finally:
        node.signal(signal.SIGCONT)
    return Struck(blow, switch)


async def _cut(pair: Pair, blow: Blow) -> Struck:
    main = await pair.main()
    sender = (await _node(pair, blow.who)).name if blow.who else ""
    at_ns = time.time_ns()
    await pair.cut(sender)
    switch = None
    try:
        if blow.who != "standby":
            kind = "links cut one way" if sender else "links cut"
            switch = await pair.fresh(kind, main, at_ns)
        await _lasts(blow, at_ns)
    finally:
        await pair.heal()
    return Struck(blow, switch, Span(at_ns, await pair.until_paired(), None))


async def _blackout(pair: Pair, blow: Blow) -> Struck:
    at_ns = time.time_ns()
    await asyncio.gather(*(node.program.kill() for node in pair.nodes.values()))
    await _lasts(blow, at_ns)
    await asyncio.gather(*(node.start() for node in pair.nodes.values()))
    return Struck(blow)


_EITHER: Final = ("main", "standby")
_BLOWS: Final[Mapping[str, tuple[Callable[[Pair, Blow], Awaitable[Struck]], Sequence[str]]]] = {
    "changeover": (_changeover, ("",)),
    "kill": (_kill, _EITHER),
    "restart": (_restart, _EITHER),
    "freeze": (_freeze, _EITHER),
    "cut": (_cut, ("", *_EITHER)),
    "blackout": (_blackout, ("",)),
}
