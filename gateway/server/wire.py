"""The parts of a request that are read before anybody has logged in, read by hand.

The library's decoder follows extension objects into any type it knows, and an array of nulls with a
length of two thousand million costs sixteen bytes to send. So whatever comes before a log-in is
taken apart here, where nothing is built that was not sent (OPC 10000-4 sections 5.7.3, 7.33).
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary

from gateway.server import decoding

ANONYMOUS: Final = ua.ObjectIds.AnonymousIdentityToken_Encoding_DefaultBinary
USER_NAME: Final = ua.ObjectIds.UserNameIdentityToken_Encoding_DefaultBinary
CERTIFICATE: Final = ua.ObjectIds.X509IdentityToken_Encoding_DefaultBinary
_HEADER: Final = struct.Struct("<qII")
_TYPES: Final = {
    ANONYMOUS: ua.AnonymousIdentityToken,
    USER_NAME: ua.UserNameIdentityToken,
    CERTIFICATE: ua.X509IdentityToken,
}
LIST_MAX: Final = 100


class RequestHeader(NamedTuple):
    """What is used of a RequestHeader."""

    token: ua.NodeId
    handle: int
    timeout_hint_ms: int


class Activation(NamedTuple):
    """What is used of an ActivateSession request; `identity` is None if it is of a strange kind.

    `user_signature` and `user_algorithm` prove that the client has the key of a user's certificate.
    """

    signature: bytes
    identity: Any | None
    user_algorithm: str = ""
    user_signature: bytes = b""


def read_header(body: Buffer) -> RequestHeader:
    """The header of a request; `body` stands at its parameters afterwards."""
    token = nodeid_from_binary(body)
    _, handle, _ = _HEADER.unpack(body.read(_HEADER.size))
    _skip_bytes(body)
    (timeout_hint_ms,) = struct.unpack("<I", body.read(4))
    _read_extension(body)
    return RequestHeader(token, handle, timeout_hint_ms)


def read_activation(body: Buffer) -> Activation:
    """The parameters of an ActivateSession request."""
    _skip_bytes(body)
    signature = _read_bytes(body)
    for _ in range(_length(body)):
        _skip_bytes(body)
        _skip_bytes(body)
    for _ in range(_length(body)):
        _skip_bytes(body)
    type_id, content = _read_extension(body)
    if type_id.is_null():
        # An empty token means anonymous (OPC 10000-4 section 5.7.3.2).
        return Activation(signature, ua.AnonymousIdentityToken())
    kind = _TYPES.get(type_id.Identifier) if type_id.NamespaceIndex == 0 else None
    if kind is None:
        return Activation(signature, None)
    identity = decoding.read(kind, content, elements_max=0)
    if kind is not ua.X509IdentityToken:
        return Activation(signature, identity)
    algorithm = _read_bytes(body).decode(errors="replace")
    return Activation(signature, identity, algorithm, _read_bytes(body))


def _read_extension(body: Buffer) -> tuple[ua.NodeId, bytes]:
    type_id = nodeid_from_binary(body)
    encoding = body.read(1)[0]
    return type_id, _read_bytes(body) if encoding & 3 else b""


def _length(body: Buffer) -> int:
    (length,) = struct.unpack("<i", body.read(4))
    if length > LIST_MAX:
        raise ua.UaStatusCodeError(ua.StatusCodes.BadDecodingError)
    return max(0, int(length))


def _read_bytes(body: Buffer) -> bytes:
    (length,) = struct.unpack("<i", body.read(4))
    return bytes(body.read(length)) if length > 0 else b""


_skip_bytes = _read_bytes
