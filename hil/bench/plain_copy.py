"""The floor of replication: the same bytes at the same pace over TLS 1.3, appended to a file.

One program a side. Nothing is decoded, stored in a database, acknowledged or asked for again. Each
message is its length, its number, and filler; the receiver notes when it was in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Final

HEAD: Final = struct.Struct(">IQ")
ROUNDS_S: Final = 0.05
"""The journal commits each 50 ms; so does this."""


def context(folder: Path, me: str, peer: str, server: bool) -> ssl.SSLContext:
    """Mutual TLS 1.3 with the pair's self-signed certificates."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(folder / f"{me}.crt", folder / f"{me}.key")
    made.load_verify_locations(folder / f"{peer}.crt")
    return made


def write(file: Path, stamps: list[tuple[int, int]]) -> None:
    """(number, ns) of each message, for whoever compares both sides."""
    file.write_text(json.dumps(stamps))


async def receive(given: argparse.Namespace) -> None:
    """Take one connection after the other; say after each how it went."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stamps: list[tuple[int, int]] = []
        with given.file.open("ab", buffering=0) as file:
            try:
                while True:
                    length, number = HEAD.unpack(await reader.readexactly(HEAD.size))
                    file.write(await reader.readexactly(length))
                    stamps.append((number, time.time_ns()))
            except asyncio.IncompleteReadError:
                os.fsync(file.fileno())
        writer.close()
        write(given.stamps, stamps)
        print(json.dumps({"received": len(stamps), "at_ns": time.time_ns()}), flush=True)

    tls = context(given.certificates, "b", "a", server=True)
    server = await asyncio.start_server(take, *given.place, ssl=tls, limit=1 << 20)
    print(json.dumps({"ready": True}), flush=True)
    async with server:
        await server.serve_forever()


async def send(given: argparse.Namespace) -> None:
    """Each line of standard input: {"messages", "size", "each_s"}; one connection each."""
    tls = context(given.certificates, "a", "b", server=False)
    print(json.dumps({"ready": True}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wanted = json.loads(line)
        filler = os.urandom(wanted["size"])
        _, writer = await asyncio.open_connection(*given.place, ssl=tls)
        stamps: list[tuple[int, int]] = []
        began_s, began_ns = loop.time(), time.time_ns()
        round_ = max(1, round(ROUNDS_S / wanted["each_s"])) if wanted["each_s"] else 100
        for first in range(0, wanted["messages"], round_):
            await asyncio.sleep(max(0.0, began_s + first * wanted["each_s"] - loop.time()))
            for number in range(first, min(first + round_, wanted["messages"])):
                stamps.append((number, time.time_ns()))
                writer.write(HEAD.pack(len(filler), number) + filler)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        write(given.stamps, stamps)
        print(json.dumps({"sent": len(stamps), "began_ns": began_ns}), flush=True)


def main() -> None:
    """The command line."""

    def place(text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        return host, int(port)

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("send", "receive"))
    parser.add_argument("--place", type=place, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    asyncio.run(send(given) if given.side == "send" else receive(given))


if __name__ == "__main__":
    main()
