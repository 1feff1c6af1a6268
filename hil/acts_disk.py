"""What a timeline does to the disk of a node: full, read-only, slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from hil.acting import Entry, running, the_node
from hil.disk import Disk
from hil.gateway import ProgramError
from hil.pair import Pair, PairNode
from hil.words import Need, Shape, Target, number

WRITE_MS: Final = 0.0


def _disk(node: PairNode) -> Disk:
    if node.disk is None:
        raise ProgramError(f"node {node.name} has no disk of its own: start the pair on one")
    return node.disk


@asynccontextmanager
async def fill_disk(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Something else fills the node's disk to its last block; the room is given back."""
    disk = _disk(running(node))
    await asyncio.to_thread(disk.fill)
    try:
        yield
    finally:
        disk.free()


@asynccontextmanager
async def read_only_disk(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """The kernel finds an error on the node's disk and lets nobody write to it any more.

    It is undone as people do it: the node is ended, the disk checked, the node started again.
    """
    struck = running(node)
    disk = _disk(struck)
    if pair.lab is not None:
        raise ProgramError("a lab's machines hold the disk too: run it without the lab")
    disk.fail()
    try:
        yield
    finally:
        await struck.program.stop()
        await asyncio.to_thread(disk.repair)
        await struck.start()


@asynccontextmanager
async def slow_disk(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Each fsync of the node takes `ms` more, each write to a file `write_ms`."""
    struck = the_node(node)
    if struck.tamper is None:
        raise ProgramError(f"node {struck.name} was not started to be tampered with")
    struck.tamper.slow(options["ms"], options.get("write_ms", WRITE_MS))
    try:
        yield
    finally:
        struck.tamper.slow(0)


_NODE: Final = frozenset({Target.NODE})
_DISK: Final = frozenset({Need.DISK})
DISK_WORDS: Final[Mapping[str, Entry]] = {
    "fill_disk": Entry(fill_disk, Shape("its disk is full", _NODE, needs=_DISK)),
    "read_only_disk": Entry(
        read_only_disk, Shape("nothing can be written to its disk", _NODE, needs=_DISK)
    ),
    "slow_disk": Entry(
        slow_disk,
        Shape(
            "each fsync takes longer",
            _NODE,
            {"ms": number, "write_ms": number},
            frozenset({"ms"}),
            needs=frozenset({Need.TAMPER}),
        ),
    ),
}
