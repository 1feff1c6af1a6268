"""Who is asked after a run, and for what: both nodes, the outstations, files.

`gather` asks through this port, so that the same questions can be put to a pair that still stands
and to what was kept of one (hil.kept): canaries alter what is kept, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from gateway.model import Gap, HistoryRow
from hil.follower import CLIENT_FILE
from hil.gateway import ProgramError
from hil.journals import read_journal
from hil.judges_journal import Journal
from hil.outstation.control import send
from hil.outstation.polls import Poll, read_polls
from hil.pair import Pair
from hil.plant import Plant
from hil.settings import load_yaml

FLUSHED_S: Final = 1.2
"""The log of polls is flushed each second."""
REIGNS_MAX: Final = 1_000


class Asked(Protocol):
    """Everybody who knows something of a run; `node` is a or b, times are ns UTC.

    What can't be got raises what a door raises that nobody answers: httpx.HTTPError, OSError,
    ProgramError, TimeoutError; `journal` raises sqlite3.Error.
    """

    @property
    def plant(self) -> Plant:
        """The site as the rig reads it."""

    @property
    def born_ns(self) -> int:
        """When the nodes were started."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What site.yaml says under `pair:`."""

    @property
    def askers(self) -> Mapping[str, str]:
        """Nodes by the address or the serial port that they ask devices from."""

    async def gaps(self, node: str, from_ns: int, to_ns: int) -> list[Gap]:
        """All gaps of all devices."""

    async def history(self, node: str, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """All samples of a point."""

    async def reigns(self, node: str) -> list[dict[str, Any]]:
        """Who was Main when."""

    async def events(self, node: str, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        """What the node told in its journal."""

    async def outstations(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What the outstations answer on their control socket."""

    async def until_equal(self, within_s: float) -> None:
        """Wait until both journals are proven equal."""

    def log(self, node: str) -> str | None:
        """The text of a node's log; None where there is none."""

    def client(self) -> str | None:
        """What the rig's client wrote."""

    async def polls(self) -> list[Poll] | None:
        """Every request that the outstations had, and that went to real devices."""

    def journal(self, node: str) -> Journal:
        """A journal as its files hold it."""


class AskedPair:
    """A pair that stands, its outstations, and the files of its folder."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.plant = pair.plant
        self.born_ns = pair.born_ns
        self.settings = pair_settings(pair)
        self.askers = {node.bind: name for name, node in pair.nodes.items()}
        for name, node in pair.nodes.items():
            self.askers |= {str(path): name for path in node.ports}

    async def gaps(self, node: str, from_ns: int, to_ns: int) -> list[Gap]:
        """All gaps of all devices."""
        return await self._pair.nodes[node].control.gaps(from_ns, to_ns)

    async def history(self, node: str, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """All samples of a point, page by page."""
        return await self._pair.nodes[node].control.history(point, from_ns, to_ns)

    async def reigns(self, node: str) -> list[dict[str, Any]]:
        """Who was Main when."""
        found = await self._pair.nodes[node].control.get("/roles", limit=REIGNS_MAX)
        return list(found["reigns"])

    async def events(self, node: str, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        """What the node told in its journal."""
        span = {"from": from_ns, "to": to_ns}
        return list(await self._pair.nodes[node].control.get("/events", **span))

    async def outstations(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What the outstations answer on their control socket."""
        return await send(self._pair.rig_socket, message)

    async def until_equal(self, within_s: float) -> None:
        """Wait until both journals are proven equal."""
        await self._pair.until_equal(within_s)

    def log(self, node: str) -> str | None:
        """The text of a node's log; None where there is none."""
        path = self._pair.folder / f"node-{node}.log"
        return path.read_text(errors="replace") if path.exists() else None

    def client(self) -> str | None:
        """What the rig's client wrote."""
        path = self._pair.folder / CLIENT_FILE
        return path.read_text(encoding="utf-8") if path.exists() else None

    async def polls(self) -> list[Poll] | None:
        """Every request that the outstations had, and that went to real devices."""
        pair = self._pair
        await asyncio.sleep(FLUSHED_S)
        with suppress(OSError, ProgramError):  # there is none, or it ended: then no poll is known
            await pair.tell_field(flush=True)
        files = [file for file in (pair.polls_file, pair.field_file) if file.exists()]
        if not files:
            return None
        return await asyncio.to_thread(lambda: [p for file in files for p in read_polls(file)])

    def journal(self, node: str) -> Journal:
        """A journal as its files hold it."""
        return read_journal(self._pair.nodes[node].data)


def pair_settings(pair: Pair) -> Mapping[str, Any]:
    """What site.yaml says under `pair:`."""
    found: Mapping[str, Any] = load_yaml((pair.folder / "site.yaml").read_text()).get("pair") or {}
    return found
