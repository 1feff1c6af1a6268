"""What a timeline does to nodes, links and the pair: each word an async context manager.

Entering it does it, leaving it undoes it. A word is given the pair, the node that its target means
at that moment (None: the links or the pair) and its options as `hil.words` read them; it raises
ProgramError for what can't be done. Words of a family of their own lie in `acts_*.py` and are
entered in `WORDS`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from hil.acting import Entry, running
from hil.acts_clock import CLOCK_WORDS
from hil.acts_disk import DISK_WORDS
from hil.acts_identity import IDENTITY_WORDS
from hil.acts_links import LINK_WORDS
from hil.gateway import ProgramError
from hil.pair import Pair, PairNode
from hil.words import TOGETHER, Need, Shape, Target, flag, whole

HAND_OVER_S: Final = 10.0
"""How long a changeover by hand waits for a synced Standby."""


async def start_again(node: PairNode) -> None:
    """Start a node that was ended, unless somebody else did. Raises ProgramError."""
    if not node.program.running:
        await node.start()


@asynccontextmanager
async def kill(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """kill -9; it is started again."""
    struck = running(node)
    await struck.program.kill()
    yield
    await start_again(struck)


@asynccontextmanager
async def restart(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """SIGTERM, as a service manager stops it; it is started again."""
    struck = running(node)
    if (status := await struck.program.stop()) != 0:
        raise ProgramError(f"node {struck.name} ended with status {status} at SIGTERM")
    yield
    await start_again(struck)


@asynccontextmanager
async def freeze(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """SIGSTOP: it does nothing more, and nobody is told; SIGCONT."""
    struck = running(node)
    struck.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if struck.program.running:
            struck.signal(signal.SIGCONT)


@asynccontextmanager
async def cut(pair: Pair, node: PairNode | None, options: Mapping[str, Any]) -> AsyncIterator[None]:
    """What a node sends (None: what either sends) no longer arrives, on one `path` or on all."""
    sender, path = node.name if node is not None else "", options.get("path")
    await pair.cut(sender, path)
    try:
        yield
    finally:
        await pair.mend(sender, path)


@asynccontextmanager
async def changeover(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """`hotpair changeover` at the Main, once there is somebody synced to hand over to."""
    with suppress(ProgramError):  # then the node says why it refuses
        await pair.until_paired(HAND_OVER_S)
    await (await pair.main()).order("/changeover")
    yield


@asynccontextmanager
async def blackout(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Both nodes lose their power at once; both are started again."""
    nodes = [one for one in pair.nodes.values() if one.program.running]
    await asyncio.gather(*(one.program.kill() for one in nodes))
    yield
    await asyncio.gather(*(start_again(one) for one in nodes))


_NODE: Final = frozenset({Target.NODE})
_PAIR: Final = frozenset({Target.PAIR})
_WIRES: Final = frozenset({Target.LINKS, Target.NODE})
_OWN: Final[Mapping[str, Entry]] = {
    "kill": Entry(kill, Shape("kill -9", _NODE, takeover="kill -9")),
    "restart": Entry(restart, Shape("SIGTERM, and a start", _NODE, lasts_ns=0, takeover="SIGTERM")),
    "freeze": Entry(freeze, Shape("it stands still", _NODE, takeover="SIGSTOP")),
    "cut": Entry(
        cut,
        Shape(
            "nothing arrives, nobody is told",
            _WIRES,
            {"path": whole},
            takeover="links cut",
            splits=True,
        ),
    ),
    "changeover": Entry(
        changeover, Shape("hand over by hand", _PAIR, lasts_ns=0, takeover="changeover")
    ),
    "blackout": Entry(blackout, Shape("both nodes are killed", _PAIR)),
    **LINK_WORDS,
    **DISK_WORDS,
    **CLOCK_WORDS,
    **IDENTITY_WORDS,
}
WORDS: Final[Mapping[str, Entry]] = {
    word: Entry(done, shape._replace(options={**shape.options, TOGETHER: flag}))
    for word, (done, shape) in _OWN.items()
}
"""All of them; each may be said to be done together with another."""


def needs_of(words: Iterable[str]) -> frozenset[Need]:
    """What a pair must stand on before it starts, for some words of nodes, links and the pair.

    Raises ValueError for a word that there isn't.
    """
    found: frozenset[Need] = frozenset()
    for word in words:
        if word not in WORDS:
            raise ValueError(f"no word {word!r}; there are {', '.join(sorted(WORDS))}")
        found |= WORDS[word].shape.needs
    return found
