"""An OPC UA client of the rig's own: follows a pair, and notes each value of every point.

    python -m hil.follower --points points.txt --out client.jsonl --namespace URI URL URL

It signs, encrypts and logs in where a `visitor.json` lies beside what it writes (hil.visitor).
`--machine` for each URL names the network namespace whose loopback it is on.

It is at whichever endpoint is open; when that closes or says nothing for a second, it goes to the
other. Each value is a line: [received ns, endpoint, point, source ns, value, status]. What was lost
in a queue of the server isn't seen; what was seen is evidence (hil.judges_client).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from asyncua import Client, ua

from hil.gateway import Program, ticks
from hil.laying import go_to
from hil.pair import Pair
from hil.visitor import Visitor, introduce, visitor_of

CLIENT_FILE: Final = "client.jsonl"
PUBLISHING_MS: Final = 200
QUEUE: Final = 100
ITEMS_A_CALL: Final = 500
LOOK_S: Final = 0.25
RETRY_S: Final = 0.05
ANSWER_S: Final = 1.5
OPENING_S: Final = 5.0
SESSION_MS: Final = 10_000


class Notes:
    """Values as they come, each a line of the file."""

    def __init__(self, file: IO[str], names: Sequence[str]) -> None:
        self._file = file
        self._names = names
        self.endpoint = ""
        self.values = 0

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        """Called by asyncua for each notification."""
        found = data.monitored_item.Value
        moment = found.SourceTimestamp
        stamp_ns = ticks(moment) if moment is not None else 0
        held = value if isinstance(value, bool | int | float | str) or value is None else str(value)
        name = node.nodeid.Identifier
        line = [time.time_ns(), self.endpoint, name, stamp_ns, held, found.StatusCode.value]
        self._file.write(json.dumps(line) + "\n")
        self.values += 1

    def status_change_notification(self, status: Any) -> None:
        """A subscription that the server ended: the next look finds out."""


async def follow(
    endpoint: str, namespace: str, names: Sequence[str], notes: Notes, visitor: Visitor | None
) -> None:
    """Be subscribed at one endpoint until it is silent. Raises OSError, TimeoutError, UaError."""
    client = Client(endpoint, timeout=OPENING_S)
    client.session_timeout = SESSION_MS
    async with asyncio.timeout(OPENING_S):
        await introduce(client, visitor)
        await client.connect()
    try:
        index = await client.get_namespace_index(namespace)
        subscription = await client.create_subscription(PUBLISHING_MS, notes)
        notes.endpoint = endpoint
        nodes = [client.get_node(ua.NodeId(name, index)) for name in names]
        for at in range(0, len(nodes), ITEMS_A_CALL):
            await subscription.subscribe_data_change(
                nodes[at : at + ITEMS_A_CALL], queuesize=QUEUE, sampling_interval=0
            )
        print(f"subscribed to {len(nodes)} points at {endpoint}", flush=True)
        state = client.get_node(ua.ObjectIds.Server_ServiceLevel)
        while True:
            async with asyncio.timeout(ANSWER_S):
                await state.read_value()
            await asyncio.sleep(LOOK_S)
    finally:
        with contextlib.suppress(Exception):  # whatever is wrong with it, we leave
            async with asyncio.timeout(ANSWER_S):
                await client.disconnect()


async def run(options: argparse.Namespace) -> None:
    """Follow until SIGTERM. Raises OSError when the file can't be written."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    names = options.points.read_text(encoding="utf-8").split()
    with options.out.open("a", encoding="utf-8", buffering=1 << 16) as file:
        notes = Notes(file, names)
        visitor = visitor_of(options.out.parent)

        async def always() -> None:
            while True:
                for at, endpoint in enumerate(options.endpoints):
                    if options.machines:
                        go_to(options.machines[at])
                    with contextlib.suppress(Exception):  # a client of a plant tries again
                        await follow(endpoint, options.namespace, names, notes, visitor)
                    file.flush()
                    await asyncio.sleep(RETRY_S)

        following = asyncio.create_task(always())
        await ended.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def client_of(pair: Pair) -> Program:
    """This program for a pair, with a file of all its points that can be read."""
    points, out = pair.folder / "points.txt", pair.folder / CLIENT_FILE
    names = [point.id for point in pair.plant.points() if point.access.readable]
    points.write_text("\n".join(names) + "\n", encoding="utf-8")
    ends = [node.endpoint for node in pair.nodes.values()]
    files = ["--points", str(points), "--out", str(out)]
    arguments = [*files, "--namespace", pair.namespace, *ends]
    if pair.lab is not None:
        arguments += [f"--machine={pair.lab.namespace(name)}" for name in pair.nodes]
    log = pair.folder / "client.log"
    return Program("client", arguments, log, "subscribed", ("-m", "hil.follower"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="hil.follower", description="a client of a pair")
    parser.add_argument("endpoints", nargs="+")
    parser.add_argument("--points", type=Path, required=True, help="a point a line")
    parser.add_argument("--out", type=Path, required=True, help="where values are written")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--machine", dest="machines", action="append", default=[],
                        help="of a lab: where each endpoint is")  # fmt: skip
    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(run(parser.parse_args(arguments)))
    except OSError as error:
        print(f"hil.follower: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
