"""The client of another vendor beside a run: node-opcua follows it, and reads history back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.model import NS_PER_S, format_time
from hil.bench.process import BenchError, Spawned, node_js
from hil.expect import finding, unknown
from hil.gateway import ProgramError
from hil.pair import Pair
from hil.recording import Finding

CLIENTS: Final = Path(__file__).parent / "bench"
PUBLISHING_MS: Final = 500
READ_S: Final = 300
JUDGE: Final = "node-opcua reads the whole history back"


class Foreign:
    """node-opcua, subscribed to every point at whichever endpoint is open."""

    def __init__(self, pair: Pair, say: Callable[[str], None]) -> None:
        self._pair = pair
        self._say = say
        self._nodes = pair.folder / "nodes.txt"
        ids = [f"ns=2;s={point.id}" for point in pair.plant.points() if point.access.readable]
        self._nodes.write_text("\n".join(ids) + "\n", encoding="utf-8")
        self._client: Spawned | None = None

    async def start(self) -> None:
        """Subscribe. Raises ProgramError."""
        ends = ",".join(node.endpoint for node in self._pair.nodes.values())
        try:
            command = node_js(CLIENTS / "follower.js", ends, self._nodes, PUBLISHING_MS)
            self._client = Spawned("node-opcua", command, self._pair.folder)
            await self._client.start()
            heard = await self._client.hear("monitored")
        except BenchError as error:
            raise ProgramError(str(error)) from error
        self._say(f"node-opcua client subscribed to {heard['monitored']} points at {ends}")

    async def stop(self) -> None:
        """End it."""
        if self._client is not None:
            await self._client.stop()

    async def report(self) -> str:
        """What it saw since the last report."""
        assert self._client is not None
        try:
            heard = await self._client.ask("report", "values")
        except BenchError as error:
            return f"client: {error}"
        p50, p95, away = heard["age_p50_ms"], heard["age_p95_ms"], heard["switches"]
        moved = f", changed endpoint after {away} ms without values" if away else ""
        return f"client got {heard['values']} values, age p50/p95 {p50}/{p95} ms{moved}"

    async def read_back(self, to_ns: int, stored: int) -> Finding:
        """Read the whole history of the run by HistoryRead, and count."""
        pair = self._pair
        begin, end = format_time(pair.born_ns - NS_PER_S), format_time(to_ns)
        try:
            endpoint = (await pair.main()).endpoint
            command = node_js(
                CLIENTS / "history_reader.js", endpoint, self._nodes, begin, end, 0, 100
            )
            reader = Spawned("history", command, pair.folder)
            await reader.start()
            try:
                found = await reader.hear("seconds", READ_S)
            finally:
                await reader.stop()
        except (BenchError, ProgramError) as error:
            return unknown(JUDGE, str(error)[:500])
        judged = read_back(found, stored, to_ns)
        self._say(f"node-opcua HistoryRead: {judged.said}")
        return judged


def read_back(found: Mapping[str, Any], stored: int, to_ns: int) -> Finding:
    """Whether what a client was given by HistoryRead is all that the journal holds, in order."""
    rate = found["values"] / found["seconds"]
    said = (
        f"{found['values']} values in {found['calls']} calls, {rate:.0f} values/s, "
        f"{found['unordered']} out of order, {found['same_time']} of equal time, "
        f"{found['refused']} refused; the journal holds {stored} for the same time"
    )
    if not stored:
        return unknown(JUDGE, f"{found['values']} values, and no history was judged beside them")
    good = found["values"] == stored and not found["unordered"] and not found["refused"]
    return finding(JUDGE, good, said, () if good else [(said, to_ns)])
