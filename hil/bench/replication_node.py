"""One node's journal, links and replication alone: no field, no server, no roles.

With `journal_inserts` the only programs of the rig that import parts of the gateway: the instant of
a commit is known to nobody outside. Each command is a JSON object a line on standard input, each
answer a line on standard output; `stamps` writes (seq, ns) of the commits of polled batches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.clock import SystemClock
from gateway.config.node import HostPort, Link, LinkTls, parse_host_port
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import EMPTY_DIGEST, Batch, Coverage, Record, Revision
from gateway.model import NS_PER_MS, Origin, Status
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.hello import LinkIdentity
from gateway.pair.links import Links
from gateway.replication.gate import SyncGate
from gateway.replication.held import HeldBack
from gateway.replication.puller import Puller
from gateway.replication.server import Server

DEVICES: Final = 100
POINTS: Final = 100
"""Points a device, all of which change with each scan: one batch."""
SYNC_TIMEOUT_NS: Final = 500 * NS_PER_MS


def ignore(*_: object) -> None:
    """Nobody listens to heartbeats here."""


class Node:
    """One side; it polls when told to."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._clock = SystemClock()
        self._stamps: list[tuple[int, int]] = []
        self._shown_ms: list[float] = []
        self._held: HeldBack | None = None
        self._scan = 0
        self._journal: Journal
        self._server: Server
        self._puller: Puller
        self._commands: Mapping[str, Callable[[Any], Awaitable[dict[str, Any]]]] = {
            "poll": self._poll,
            "fill": self._fill,
            "sync": self._sync,
            "stamps": self._write_stamps,
            "status": self._status,
            "wire": self._wire,
        }

    async def run(self) -> None:
        """Until standard input ends."""
        given = self._given
        settings = HistorySettings(max_size_bytes=10**11)
        given.data_dir.mkdir(parents=True, exist_ok=True)
        self._journal = await Journal.open(
            given.data_dir, given.node, self._clock, settings, self._tell, random.Random()
        )
        self._journal.on_commit(self._committed)
        self._server = Server(self._journal, self._clock, self._tell, self._acknowledged)
        folder, me, peer = given.certificates, given.node, given.peer_node
        names = (f"{me}.crt", f"{me}.key", f"{peer}.crt")
        cert, key, peer_cert = (folder / name for name in names)
        tls = LinkTls(cert=cert, key=key, peer_cert=peer_cert)
        identity = LinkIdentity("bench", me, random.getrandbits(62) | 1, "1")
        links = Links(
            identity,
            Link(listen=(given.listen,), peer=(given.peer,), tls=tls),
            self._clock,
            hear,
            ignore,
            {"pull": self._server.serve},
            answer,
            self._tell,
        )
        self._puller = Puller(
            links.dial, self._journal, self._clock, self._caught, self._tell, lambda: True
        )
        await links.start()
        self._puller.start()
        if given.writes:
            await self._begin()
        self._say({"ready": True})
        await self._listen()
        await self._puller.stop()
        await links.stop()
        await self._journal.close()

    async def _begin(self) -> None:
        await self._journal.begin_term()
        names = tuple((f"d{d}/p{n}", "float64") for d in range(DEVICES) for n in range(POINTS))
        revision = Revision(1, EMPTY_DIGEST, self._clock.utc_ns(), "bench", {}, names)
        await self._journal.append(revision)

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            self._say(await self._commands[command["do"]](command))

    def _say(self, said: Mapping[str, Any]) -> None:
        print(json.dumps(said), flush=True)

    def _tell(self, severity: int, text: str) -> None:
        print(f"{severity}: {text}", file=sys.stderr, flush=True)

    # -------------------------------------------------------------------------- what happens

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        now_ns = time.time_ns()
        self._stamps += [(r.position.seq, now_ns) for r in records if isinstance(r.body, Batch)]
        if self._held is not None:
            self._held.committed(records, stored)
        else:
            self._show(records, stored)

    def _acknowledged(self, acked: Any) -> None:
        if self._held is not None:
            self._held.acknowledged(acked)

    def _show(self, records: Sequence[Record], stored: bool) -> None:
        now_ns = self._clock.utc_ns()
        for record in records:
            if isinstance(record.body, Batch):
                self._shown_ms.append((now_ns - record.body.received_ns) / NS_PER_MS)

    def _caught(self, caught: bool) -> None:
        self._say({"caught" if caught else "behind": time.time_ns()})

    # ------------------------------------------------------------------------------ commands

    def _batch(self) -> Batch:
        device, round_ = self._scan % DEVICES, self._scan // DEVICES
        self._scan += 1
        now_ns = self._clock.utc_ns()
        first = device * POINTS
        rows = tuple(
            (first + n, now_ns, float(round_ * 7 % 1000 + n / 8), Status.GOOD)
            for n in range(POINTS)
        )
        return Batch(f"d{device}", "normal", 1, Origin.POLL, now_ns, now_ns, rows, round_ == 0)

    async def _poll(self, command: Any) -> dict[str, Any]:
        """Poll at the pace of a plant: each device once a second, spread over it."""
        self._shown_ms.clear()
        loop = asyncio.get_running_loop()
        began_s, since_ns = loop.time(), self._clock.utc_ns()
        count = int(command["seconds"] * DEVICES)
        for number in range(count):
            await asyncio.sleep(began_s + number / DEVICES - loop.time())
            self._journal.append(self._batch())
            if number % DEVICES == DEVICES - 1:
                through_ns = self._clock.utc_ns()
                self._journal.append(Coverage(1, since_ns, through_ns))
                since_ns = through_ns
            await self._journal.room()
        await asyncio.sleep(0.5)
        return {"polled": count * POINTS, "shown_ms": self._shown_ms}

    async def _fill(self, command: Any) -> dict[str, Any]:
        """Append as fast as the journal takes it."""
        began_s = time.monotonic()
        last = None
        for _ in range(command["batches"]):
            last = self._journal.append(self._batch())
            await self._journal.room()
        if last is not None:
            await last
        self._stamps.clear()
        return {"filled": command["batches"] * POINTS, "seconds": time.monotonic() - began_s}

    async def _sync(self, command: Any) -> dict[str, Any]:
        """Commit FULL from now on; who polls also shows values only once the peer has them."""
        self._journal.set_durable(True)
        if self._given.writes:
            gate = SyncGate(self._given.node, SYNC_TIMEOUT_NS, False, self._server.follows())
            self._held = HeldBack(
                gate,
                self._show,
                self._journal.append,
                self._server.follows,
                self._clock,
                self._tell,
            )
            self._held.start()
        return {"sync": True}

    async def _write_stamps(self, command: Any) -> dict[str, Any]:
        stamps, self._stamps = self._stamps, []
        write(Path(command["path"]), stamps)
        return {"stamps": len(stamps)}

    async def _status(self, command: Any) -> dict[str, Any]:
        status, gate = self._server.status(), self._held
        return {
            "records_behind": status.records_behind if status.connected else -1,
            "equal": bool(status.equal),
            "gate": gate.gate.state.value if gate is not None else "",
        }

    async def _wire(self, command: Any) -> dict[str, Any]:
        """Bytes of the newest batch as it travels, digest included."""
        term = self._journal.term
        last = self._journal.holdings.terms[term].last
        rows = await self._journal.records(term, max(1, last - 9), 10)
        return {"wire": max(len(wire) + len(digest) for _, wire, digest in rows)}


def write(file: Path, stamps: list[tuple[int, int]]) -> None:
    """(seq, ns) of each commit, for whoever compares both sides."""
    file.write_text(json.dumps(stamps))


def hear(path: str, heartbeat: Heartbeat) -> None:
    """There are none."""


async def answer(what: str, body: Any) -> Any:
    """Nobody asks."""
    return None


def main() -> None:
    """The command line."""

    def place(text: str) -> HostPort:
        return parse_host_port(text)

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--peer-node", required=True)
    parser.add_argument("--listen", type=place, required=True)
    parser.add_argument("--peer", type=place, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--writes", action="store_true", help="this one polls")
    asyncio.run(Node(parser.parse_args()).run())


if __name__ == "__main__":
    main()
