"""What a timeline does to the links beyond a cut: late, damaged, flapping, dropped connections.

All of it is done by the proxies that stand on the links (`hil.proxy`): in a lab there are none, and
what a kernel does to frames (netem) would be mended by TCP before a node could notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.model import NS_PER_S, parse_duration
from hil.acting import Entry
from hil.gateway import ProgramError
from hil.pair import Pair, PairNode
from hil.words import Shape, Target, duration_ns, number, positive, whole

EVERY: Final = 20
"""Of so many pieces that pass one is damaged, when a scenario doesn't say."""
FLAP_NS: Final = parse_duration("2s")


def _behind_proxies(pair: Pair) -> None:
    if pair.lab is not None:
        raise ProgramError("a lab's cables can't do this: run it without the lab, behind proxies")


def _where(node: PairNode | None, options: Mapping[str, Any]) -> tuple[str, int | None]:
    """Whose words are meant (empty: both nodes'), on which path (None: on all)."""
    return node.name if node is not None else "", options.get("path")


@asynccontextmanager
async def delay(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """What passes arrives `ms` later, and up to `jitter_ms` more; in its order."""
    _behind_proxies(pair)
    sender, path = _where(node, options)
    ms, jitter_ms = options["ms"], options.get("jitter_ms", 0)
    await pair.tell_proxy(delay=sender, path=path, ms=ms, jitter_ms=jitter_ms)
    try:
        yield
    finally:
        await pair.tell_proxy(delay=sender, path=path, ms=0)


@asynccontextmanager
async def corrupt(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """In one of `every` pieces that pass a byte is flipped: TLS ends the connection."""
    _behind_proxies(pair)
    sender, path = _where(node, options)
    await pair.tell_proxy(corrupt=sender, path=path, every=options.get("every", EVERY))
    try:
        yield
    finally:
        await pair.tell_proxy(corrupt=sender, path=path, every=0)


@asynccontextmanager
async def drop(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Every connection of the links, or of one `path`, ends at once; the nodes dial again."""
    _behind_proxies(pair)
    await pair.tell_proxy(drop=True, path=options.get("path"))
    yield


@asynccontextmanager
async def flap(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """The links are cut and mended in turns, `every` so long."""
    sender, path = _where(node, options)
    every_s = options.get("every", FLAP_NS) / NS_PER_S
    flapping = asyncio.create_task(_flap(pair, sender, path, every_s))
    try:
        yield
    finally:
        flapping.cancel()
        await asyncio.wait({flapping})
    if not flapping.cancelled() and (failed := flapping.exception()) is not None:
        raise failed


async def _flap(pair: Pair, sender: str, path: int | None, every_s: float) -> None:
    while True:
        await pair.cut(sender, path)
        try:
            await asyncio.sleep(every_s)
        finally:
            await pair.mend(sender, path)
        await asyncio.sleep(every_s)


_LINKS: Final = frozenset({Target.LINKS})
_WIRES: Final = frozenset({Target.LINKS, Target.NODE})
LINK_WORDS: Final[Mapping[str, Entry]] = {
    "delay": Entry(
        delay,
        Shape(
            "what passes arrives later",
            _WIRES,
            {"path": whole, "ms": number, "jitter_ms": number},
            frozenset({"ms"}),
            splits=True,
        ),
    ),
    "corrupt": Entry(
        corrupt,
        Shape("bytes are damaged", _WIRES, {"path": whole, "every": positive}, splits=True),
    ),
    "flap": Entry(
        flap,
        Shape(
            "cut and mended in turns", _WIRES, {"path": whole, "every": duration_ns}, splits=True
        ),
    ),
    "drop": Entry(drop, Shape("connections end", _LINKS, {"path": whole}, lasts_ns=0)),
}
