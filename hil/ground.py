"""What a pair must stand on before it starts, so that some words can be done to it.

A disk of a node's own and a library before its program can't be slipped under a node that runs: who
plays a timeline collects what its words need (`Shape.needs`) and starts the pair `on` that ground.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager

from hil.disk import own_disk
from hil.gateway import ProgramError
from hil.pair import Pair
from hil.tamper import Tamper, build
from hil.words import Need


@asynccontextmanager
async def on(pair: Pair, needs: Collection[Need]) -> AsyncIterator[Pair]:
    """The pair, not started yet, on this ground; it must have ended when this is left.

    Raises ProgramError where the machine can't give it.
    """
    with ExitStack() as stack:
        if Need.DISK in needs:
            for node in pair.nodes.values():
                if node.data.is_mount():
                    raise ProgramError(f"{node.data} is a file system of its own already")
                node.disk = stack.enter_context(own_disk(node.data))
        if Need.TAMPER in needs:
            library = await build(pair.folder)
            for node in pair.nodes.values():
                node.tamper = Tamper(library, pair.folder / f"orders-{node.name}")
        yield pair
