"""Packets by number: what packet `number` of a seed is, and what becomes of it.

The choices of a packet come of its seed and number alone, so that one that did harm can be sent
again; tokens, nonces and keys are those of the connection that it goes out on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.common.connection import MessageChunk
from asyncua.ua.ua_binary import struct_to_binary

from hil.fuzz import corpus
from hil.fuzz.mutate import BODY, bad_frame
from hil.fuzz.peer import FAULT, GOOD, SILENT, Ended, Keys, Peer, is_fault

SILENCE_S: Final = 0.1
"""So long an answer is awaited: a packet that is no whole message never gets one."""
SECURED: Final = 0.15
SUBSCRIBED: Final = 0.1
"""Shares of packets on a secured channel, and of sessions with a subscription."""
STAGES: Final = ("hello", "open", "channel", "channel", *["session"] * 6)
USER: Final = "fuzz"
PASSWORD: Final = "malformed"
PASSWORD_HASH: Final = (
    "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$n6smCzr6RJh6m8wxchERAa/dqDTl6jaTpdtPQhH6Xn4="
)


class Target(NamedTuple):
    """Whom the packets go to; `nodes` are points that exist."""

    port: int
    nodes: list[ua.NodeId]
    keys: Keys


class Sent(NamedTuple):
    """A packet's number, what it was, and what became of it."""

    number: int
    what: str
    outcome: str


def alteration(chance: Random) -> tuple[str, Callable[[list[MessageChunk]], list[MessageChunk]]]:
    """What is done to the chunks of a message before they are encrypted."""
    pick = chance.randrange(8)
    jump = chance.choice((-1000, -1, 1, 2, 2**31))

    def alter(chunks: list[MessageChunk]) -> list[MessageChunk]:
        some = chance.choice(chunks)
        if pick == 0:
            some.SequenceHeader.SequenceNumber = (some.SequenceHeader.SequenceNumber + jump) % 2**32
        elif pick == 1:
            chunks.insert(0, some)
        elif pick == 2:
            chunks.reverse()
        elif pick == 3:
            some.SequenceHeader.RequestId = (some.SequenceHeader.RequestId + jump) % 2**32
        elif pick == 4:
            some.MessageHeader.ChannelId = (some.MessageHeader.ChannelId + jump) % 2**32
        elif pick == 5:
            some.SecurityHeader.TokenId = (some.SecurityHeader.TokenId + jump) % 2**32
        elif pick == 6:
            chunks[-1].MessageHeader.ChunkType = ua.ChunkType.Abort
        else:
            chunks[-1].MessageHeader.ChunkType = ua.ChunkType.Intermediate
        return chunks

    names = ("sequence", "repeated", "reversed", "request", "channel", "token", "abort", "endless")
    return names[pick], alter


class Attacker:
    """Sends every n-th packet of a seed, on connections that it opens anew when they end."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._seed = seed
        self._peers: dict[tuple[str, bool], Peer] = {}
        services = corpus.services(target.nodes)
        self._requests = {"channel": [corpus.create_session(), *services], "session": services}

    async def send(self, number: int) -> Sent:
        """Make packet `number` and send it. Raises OSError when nobody listens any more."""
        chance = Random(f"{self._seed}/{number}")
        secured = chance.random() < SECURED
        stage = chance.choice(STAGES)
        subscribed = chance.random() < SUBSCRIBED
        try:
            peer = await self._peer(stage, secured, subscribed)
            what, data = self._packet(chance, stage, peer)
        except (Ended, TimeoutError, ua.UaError) as error:
            self._drop(stage, secured)
            # Many sessions of lost connections wait for their end: there is no room for more.
            await asyncio.sleep(SILENCE_S)
            return Sent(number, f"{stage}: {error!r}", "not sent")
        outcome = await self._outcome(peer, data, stage)
        if outcome not in (GOOD, FAULT) or stage in ("hello", "open"):
            self._drop(stage, secured)
        suffix = " (secured)" if secured else ""
        return Sent(number, f"{stage}: {what}{suffix}", outcome)

    def close(self) -> None:
        """Let go of every connection."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    def _drop(self, stage: str, secured: bool) -> None:
        peer = self._peers.pop((stage, secured), None)
        if peer is not None:
            peer.close()

    async def _peer(self, stage: str, secured: bool, subscribed: bool) -> Peer:
        peer = self._peers.get((stage, secured))
        if peer is not None:
            return peer
        keys = self._target.keys if secured else None
        peer = self._peers[stage, secured] = await Peer.connect(self._target.port, keys)
        if stage == "open":
            peer.send(peer.hello())
            await peer.frame()
        elif stage != "hello":
            await peer.greet()
        if stage == "session":
            await peer.log_in(USER, PASSWORD)
            if subscribed:
                await peer.ask(ua.CreateSubscriptionRequest())
        return peer

    def _packet(self, chance: Random, stage: str, peer: Peer) -> tuple[str, bytes]:
        if stage == "hello":
            return "hello", bad_frame(chance, peer.hello())
        if stage == "open":
            body, _ = peer.opening()
            if chance.random() < 0.5:
                body = chance.choice(BODY)(chance, body)
                return "body", peer.framed(body, ua.MessageType.SecureOpen)
            return "frame", bad_frame(chance, peer.framed(body, ua.MessageType.SecureOpen))
        draw = chance.random()
        if draw < 0.2:
            where, body = corpus.with_bomb(
                chance, self._target.nodes, peer.token, stage == "session"
            )
            return f"bomb in {where}", peer.framed(body)
        body = self._body(chance, stage, peer)
        if draw < 0.8:
            mutation = chance.choice(BODY)
            return mutation.__name__, peer.framed(mutation(chance, body))
        if draw < 0.9:
            name, alter = alteration(chance)
            return name, peer.framed(body, alter=alter, chunk_bytes=chance.choice((250, 65535)))
        kind = chance.choice((ua.MessageType.SecureMessage, ua.MessageType.SecureClose))
        return "frame", bad_frame(chance, peer.framed(body, kind))

    def _body(self, chance: Random, stage: str, peer: Peer) -> bytes:
        request = chance.choice(self._requests[stage])
        request.RequestHeader.AuthenticationToken = peer.token
        return bytes(struct_to_binary(request))

    async def _outcome(self, peer: Peer, data: bytes, stage: str) -> str:
        peer.send(data)
        try:
            if stage in ("hello", "open"):
                await peer.frame(SILENCE_S)
                return GOOD
            answer = await peer.answer(SILENCE_S)
        except TimeoutError:
            return SILENT
        except Ended as ended:
            return ended.how
        return FAULT if is_fault(answer) else GOOD


async def attack(
    target: Target, seed: int, malformed: int, attackers: int, told: Callable[[int], None]
) -> tuple[Counter[str], Counter[str]]:
    """Send packets until so many were not answered well: (outcomes, kinds).

    Raises OSError when the server is gone.
    """
    numbers: Iterator[int] = iter(range(100 * malformed))
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()

    def bad() -> int:
        return sum(outcomes.values()) - outcomes[GOOD] - outcomes["not sent"]

    async def work() -> None:
        attacker = Attacker(target, seed)
        with contextlib.closing(attacker):
            while bad() < malformed:
                sent = await attacker.send(next(numbers))
                outcomes[sent.outcome] += 1
                kinds[sent.what.partition(" (")[0]] += 1
                told(bad())

    async with asyncio.TaskGroup() as group:
        for _ in range(attackers):
            group.create_task(work())
    return outcomes, kinds


def known(value: Any) -> str:
    """A counter as one line, the most frequent first."""
    return ", ".join(f"{name} {count:,}" for name, count in value.most_common())
