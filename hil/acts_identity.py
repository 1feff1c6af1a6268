"""What a timeline does with who a node is, and who comes to its doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from hil.acting import Entry, the_node
from hil.gateway import Program, ProgramError
from hil.identity import foreign_node, reissued, tls_files
from hil.pair import Pair, PairNode
from hil.ports import free_ports
from hil.settings import load_yaml
from hil.stopping import side_by_side
from hil.words import Shape, Target, one_of

EXPIRED_AGO: Final = timedelta(days=1)
RENEWED_FOR: Final = timedelta(days=90)
ANSWERS_S: Final = 30.0
"""So long a node may take from its start to its first answer, on a machine that is busy."""
DOORS: Final = ("link", "opcua", "web")


@asynccontextmanager
async def expire_certificate(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """The node's certificate ended yesterday, on both nodes; they read it when they start.

    So both are started again, the Standby first ended and last started. It is undone by a renewed
    one of the same key, and they are started once more.
    """
    struck = the_node(node)
    mine, others = tls_files(struck.file), tls_files(pair.other(struck).file)
    if not mine or not others:
        raise ProgramError("the links have no TLS: there is no certificate that could expire")
    places = (mine["cert"], others["peer_cert"])
    old, key = mine["cert"].read_bytes(), mine["key"].read_bytes()
    now = datetime.now(UTC)
    try:
        await _restarted(pair, dict.fromkeys(places, reissued(old, key, now - EXPIRED_AGO)))
        yield
    finally:
        await _restarted(pair, dict.fromkeys(places, reissued(old, key, now + RENEWED_FOR)))


async def _restarted(pair: Pair, files: Mapping[Path, bytes]) -> None:
    """End both nodes, write the files, start both nodes, who was Main a little before the other.

    Raises ProgramError for a node that didn't end as it must, or doesn't answer in time.
    """
    seen = await pair.statuses()
    order = sorted(pair.nodes, key=lambda name: seen[name].get("role") == "main")
    statuses = {name: await pair.nodes[name].program.stop() for name in order}
    for path, content in files.items():
        path.write_bytes(content)
    await side_by_side(pair.nodes[name].start() for name in reversed(order))
    await pair.until(lambda seen: all(seen.values()), ANSWERS_S)
    if odd := [f"node {n} ended with status {s} at SIGTERM" for n, s in statuses.items() if s]:
        raise ProgramError("; ".join(odd))


@asynccontextmanager
async def foreign_peer(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """A node of another site, with the peer's name and certificates, dials this one.

    Whether this one runs meanwhile is nothing to it.
    """
    struck = the_node(node)
    peer = pair.other(struck)
    listened = load_yaml(struck.file.read_text(encoding="utf-8"))["link"]["listen"]
    to = [listened] if isinstance(listened, str) else list(listened)
    folder = pair.folder / f"foreign-{peer.name}"
    *links, opcua = free_ports(len(to) + 1)
    file = foreign_node(folder, peer.file, to, links, opcua)
    program = Program(
        "the foreign node",
        ["run", str(file)],
        folder / "node.log",
        "is starting",
        before=pair.inside(peer.name),
    )
    try:
        await program.start()
        yield
    finally:
        await program.stop()


@asynccontextmanager
async def stranger(
    pair: Pair, node: PairNode | None, options: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Somebody without a certificate knocks at one `door` of the node, or at all; hil.stranger.

    Whether anybody is at home is nothing to him.
    """
    struck = the_node(node)
    doors = _doors(struck, options.get("door"))
    program = Program(
        "the stranger",
        doors,
        pair.folder / f"stranger-{struck.name}.log",
        "ready",
        runs=("-m", "hil.stranger"),
        before=pair.inside(struck.name),
    )
    try:
        await program.start()
        yield
    finally:
        await program.stop()


def _doors(node: PairNode, door: str | None) -> list[str]:
    """Where a node listens. Raises ProgramError when it has no such door."""
    said = load_yaml(node.file.read_text(encoding="utf-8"))
    found: list[str] = []
    for name in DOORS if door is None else (door,):
        listened = said.get(name, {}).get("listen", [])
        found += [listened] if isinstance(listened, str) else listened
    if not found:
        raise ProgramError(f"{node.file} opens no door `{door}`")
    return found


_NODE: Final = frozenset({Target.NODE})
IDENTITY_WORDS: Final[Mapping[str, Entry]] = {
    "expire_certificate": Entry(
        expire_certificate,
        Shape("its certificate ended yesterday", _NODE, splits=True),
    ),
    "foreign_peer": Entry(foreign_peer, Shape("a node of another site dials it", _NODE)),
    "stranger": Entry(
        stranger, Shape("somebody knocks at its doors", _NODE, {"door": one_of(*DOORS)})
    ),
}
