"""The first words on every connection between the nodes, and what may be wrong with them: pure.

Both sides say `MAGIC` and a `Hello` frame, the dialling one first. Both judge what they got by the
same function, so that both know, log and show the same refusal. The form of a hello is for ever:
fields are added at its end only, and whoever doesn't know them passes them over.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from gateway.errors import UNDECODABLE, PeerError

MAGIC: Final = b"HOTP"
PROTOCOL_OLDEST: Final = 1
PROTOCOL_NEWEST: Final = 1
HELLO_SIZE_MAX: Final = 4_096
HEARTBEATS: Final = "heartbeat"
"""The kind of a connection that carries heartbeats; every other kind is a channel."""
_TEXT_MAX: Final = 300
_TLS_HANDSHAKE: Final = 0x16
_TLS_ALERT: Final = 0x15


class LinkIdentity(NamedTuple):
    """Who speaks: site, node, a random 63-bit number of this process, the program's version."""

    site: str
    node: str
    boot: int
    version: str


class Hello(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Who speaks, which protocol versions it can, and what the connection is to carry.

    `path` is the address that was dialled. The answering side may refuse for reasons of its own
    (`refusal`, and in `remedy` what to do about it); then the connection ends.
    """

    oldest: int
    newest: int
    site: str
    node: str
    boot: int
    kind: str
    path: str = ""
    version: str = ""
    refusal: str = ""
    remedy: str = ""


class HelloRefused(PeerError):
    """What answered or dialled is not this node's peer, or can't speak with it.

    `stranger`: it is no node at all, as far as one can tell.
    """

    def __init__(self, message: str, remedy: str = "", stranger: bool = False) -> None:
        super().__init__(message, remedy)
        self.stranger = stranger


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Hello)


def hello_of(me: LinkIdentity, kind: str, path: str = "") -> Hello:
    """What this node says."""
    return Hello(
        PROTOCOL_OLDEST, PROTOCOL_NEWEST, me.site, me.node, me.boot, kind, path, me.version
    )


NOBODY: Final = LinkIdentity("", "", 0, "")
"""Who refuses without a word about itself, since the other side proved nothing."""


def refusal_of(me: LinkIdentity, why: HelloRefused) -> Hello:
    """What this node answers to a connection that it does not take."""
    said = hello_of(me, "")
    return msgspec.structs.replace(
        said, refusal=why.message[:_TEXT_MAX], remedy=why.remedy[:_TEXT_MAX]
    )


def encode_hello(hello: Hello) -> bytes:
    """The MessagePack form."""
    return _encoder.encode(hello)


def decode_hello(wire: bytes) -> Hello:
    """The hello of its MessagePack form. Raises HelloRefused."""
    try:
        return _decoder.decode(wire)
    except UNDECODABLE as error:
        raise HelloRefused("its first words can't be read", _UPDATE) from error


_UPDATE: Final = "Run the same version of Hotpair on both nodes"


def judge(mine: Hello, theirs: Hello) -> int:
    """The highest protocol version that both can. Raises HelloRefused, on both sides alike."""
    if theirs.refusal and not theirs.node:
        raise HelloRefused(f"the node there refuses: {theirs.refusal}", theirs.remedy)
    if theirs.boot == mine.boot:
        raise HelloRefused(
            "this node dials itself", "Write in `link: peer:` where the other node listens"
        )
    if theirs.site != mine.site:
        raise HelloRefused(
            f"the node there is of another site: `{theirs.site}`, this one of `{mine.site}`",
            "Correct `link: peer:`, or give both nodes the same site",
        )
    if theirs.node == mine.node:
        raise HelloRefused(
            f"the node there has the id of this one, `{mine.node}`",
            "Give one of them another `node:` in its node.yaml",
        )
    protocol = min(mine.newest, theirs.newest)
    if protocol < max(mine.oldest, theirs.oldest):
        raise HelloRefused(
            f"no common protocol version: node {theirs.node} (Hotpair {theirs.version}) speaks "
            f"{theirs.oldest} to {theirs.newest}, this one {mine.oldest} to {mine.newest}",
            _UPDATE,
        )
    if theirs.refusal:
        raise HelloRefused(f"node {theirs.node} refuses: {theirs.refusal}", theirs.remedy)
    return protocol


def check_dialler(first: bytes, secured: bool) -> None:
    """Look at the first bytes of a connection that came in. Raises HelloRefused."""
    looks_secured = first[0] == _TLS_HANDSHAKE
    if secured and MAGIC.startswith(first[: len(MAGIC)]):
        raise HelloRefused(
            "one side of the link has no TLS: the node that dials", "Give both nodes `link: tls:`"
        )
    if not secured and looks_secured:
        raise HelloRefused(
            "one side of the link has no TLS: the node that listens", "Give both nodes `link: tls:`"
        )
    expected = looks_secured if secured else MAGIC.startswith(first[: len(MAGIC)])
    if not expected:
        raise HelloRefused(f"bytes that are no Hotpair node's: {shown(first)}", stranger=True)


def check_answer(first: bytes) -> None:
    """Look at the first bytes that a dialled connection answered in clear. Raises HelloRefused."""
    if first[0] in (_TLS_HANDSHAKE, _TLS_ALERT):
        raise HelloRefused(
            "one side of the link has no TLS: the node that dials", "Give both nodes `link: tls:`"
        )
    if not MAGIC.startswith(first[: len(MAGIC)]):
        raise HelloRefused(
            f"what answers there is no Hotpair node: {shown(first)}", "Correct `link: peer:`"
        )


def shown(data: bytes) -> str:
    """The beginning of unknown bytes, safe for a log."""
    return repr(data[:16])[1:] + ("…" if len(data) > 16 else "")
