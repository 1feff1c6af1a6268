"""A client that keeps to the protocol until it is told not to, with keys or without."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.common.connection import MessageChunk, SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto import uacrypto
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.ua.ua_binary import (
    header_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
)

from hil.fuzz.corpus import create_session

WAIT_S: Final = 5.0
GOOD, FAULT, ERROR, CLOSED, SILENT = "good", "fault", "ERR", "closed", "silent"
"""What became of a packet."""


class Keys(NamedTuple):
    """What a secured peer needs of its own, and the server's certificate."""

    certificate: Any
    private_key: Any
    server_certificate: Any

    @classmethod
    async def load(cls, certificate: Path, private_key: Path, server_certificate: Path) -> Keys:
        """The same from files."""
        return cls(
            await uacrypto.load_certificate(certificate),
            await uacrypto.load_private_key(private_key),
            await uacrypto.load_certificate(server_certificate),
        )


class Ended(Exception):
    """The connection is over; `how` is ERR or closed."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


def _policy(keys: Keys | None) -> Any:
    if keys is None:
        return SecurityPolicyNone()
    mode = ua.MessageSecurityMode.SignAndEncrypt
    return SecurityPolicyBasic256Sha256(
        keys.server_certificate, keys.certificate, keys.private_key, mode
    )


class Peer:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        keys: Keys | None,
        policy: Any,
    ) -> None:
        self._reader, self._writer, self._keys = reader, writer, keys
        self.connection = SecureConnection(policy, TransportLimits())
        self.token = ua.NodeId()
        self._request = 0

    @classmethod
    async def connect(cls, port: int, keys: Keys | None = None) -> Peer:
        """A connection on which nothing was said yet. Raises OSError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer, keys, _policy(keys))

    def close(self) -> None:
        """Let go of the socket, at once."""
        self._writer.transport.abort()

    def pause(self) -> None:
        """Take nothing more from the socket."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def send(self, data: bytes) -> None:
        """Put bytes on the wire, whatever they are."""
        self._writer.write(data)

    async def frame(self, within_s: float = WAIT_S) -> tuple[bytes, Buffer]:
        """The next frame: kind and bytes. Raises Ended, TimeoutError."""
        try:
            async with asyncio.timeout(within_s):
                head = await self._reader.readexactly(8)
                kind, size = struct.unpack("<4sI", head)
                rest = await self._reader.readexactly(size - 8)
        except TimeoutError:  # an OSError, too
            raise
        except (asyncio.IncompleteReadError, OSError):
            raise Ended(CLOSED) from None
        if kind[:3] == b"ERR":
            raise Ended(ERROR)
        return kind, Buffer(head + rest)

    async def answer(self, within_s: float = WAIT_S) -> bytes:
        """The body of the next message. Raises Ended, TimeoutError."""
        while True:
            _, buffer = await self.frame(within_s)
            header = header_from_binary(buffer)
            message = self.connection.receive_from_header_and_body(header, buffer)
            if message is not None:
                return bytes(message.body())

    @staticmethod
    def hello() -> bytes:
        """The bytes of a Hello."""
        message = ua.Hello(
            ProtocolVersion=0,
            ReceiveBufferSize=65535,
            SendBufferSize=65535,
            EndpointUrl="opc.tcp://127.0.0.1",
        )
        return bytes(uatcp_to_binary(ua.MessageType.Hello, message))

    def opening(self) -> tuple[bytes, bytes]:
        """The bytes of an OpenSecureChannel request, and its nonce."""
        nonce = bytes(range(32)) if self._keys is not None else b""
        request = ua.OpenSecureChannelRequest()
        request.Parameters.RequestType = ua.SecurityTokenRequestType.Issue
        request.Parameters.SecurityMode = self.connection.security_policy.Mode
        request.Parameters.RequestedLifetime = 60_000
        request.Parameters.ClientNonce = nonce
        return bytes(struct_to_binary(request)), nonce

    def framed(
        self,
        body: bytes,
        kind: Any = ua.MessageType.SecureMessage,
        alter: Callable[[list[MessageChunk]], list[MessageChunk]] | None = None,
        chunk_bytes: int = 65535,
    ) -> bytes:
        """A message as it goes over the wire, its chunks altered before they are encrypted."""
        connection = self.connection
        self._request += 1
        token = connection.security_token
        chunks = MessageChunk.message_to_chunks(
            connection.security_policy, body, chunk_bytes, kind, token.ChannelId, self._request,
            token.TokenId,
        )  # fmt: skip
        for chunk in chunks:
            connection._sequence_number += 1
            chunk.SequenceHeader.SequenceNumber = connection._sequence_number
        if alter is not None:
            chunks = alter(chunks)
        return b"".join(chunk.to_binary() for chunk in chunks)

    async def greet(self) -> None:
        """Say Hello and open the channel. Raises Ended, TimeoutError."""
        self.send(self.hello())
        await self.frame()
        body, nonce = self.opening()
        self.send(self.framed(body, ua.MessageType.SecureOpen))
        response = struct_from_binary(ua.OpenSecureChannelResponse, Buffer(await self.answer()))
        self.connection.set_channel(response.Parameters, ua.SecurityTokenRequestType.Issue, nonce)

    async def ask(self, request: Any) -> Any:
        """A request that is right, and its response. Raises Ended, TimeoutError, UaError."""
        request.RequestHeader.AuthenticationToken = self.token
        self.send(self.framed(struct_to_binary(request)))
        data = await self.answer()
        name = ua.ObjectIdNames[nodeid_from_binary(Buffer(data)).Identifier]
        cls = getattr(ua, name.removesuffix("_Encoding_DefaultBinary"))
        response = struct_from_binary(cls, Buffer(data))
        response.ResponseHeader.ServiceResult.check()
        return response

    async def log_in(self, user: str, password: str, timeout_ms: float = 5_000.0) -> None:
        """Create and activate a session.

        Without keys anybody is who nobody says to be. Raises Ended, TimeoutError, UaError.
        """
        policy = self.connection.security_policy
        created = (await self.ask(create_session(policy.host_certificate, timeout_ms))).Parameters
        self.token = created.AuthenticationToken
        request = ua.ActivateSessionRequest()
        identity: Any = ua.AnonymousIdentityToken("anonymous")
        if self._keys is not None:
            identity = ua.UserNameIdentityToken("username", user, password.encode(), None)
            signed = (policy.peer_certificate or b"") + created.ServerNonce
            signature = policy.asymmetric_cryptography.signature(signed)
            request.Parameters.ClientSignature.Signature = signature
            request.Parameters.ClientSignature.Algorithm = policy.AsymmetricSignatureURI
        request.Parameters.UserIdentityToken = identity
        await self.ask(request)


def is_fault(data: bytes) -> bool:
    """Whether a response says that the whole request failed."""
    body = Buffer(data)
    nodeid_from_binary(body)
    body.skip(12)
    (status,) = struct.unpack("<I", body.read(4))
    return bool(status)
