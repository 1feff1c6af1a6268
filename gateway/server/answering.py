"""What goes out on a connection: responses, faults, the reason why it ends.

A client is sent no message and no more chunks than its Hello says it takes, and is cut off when it
does not take what it asked for. Long responses are encoded in stretches.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import MessageChunk, TransportLimits
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from gateway.server.context import Context
from gateway.server.sessions import PublishRequest
from gateway.server.wire import RequestHeader

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
STRETCH: Final = 100


class Answering(UaProcessor):  # type: ignore[misc]
    """The sending half of a connection; also the `Channel` of its sessions."""

    def __init__(self, context: Context, transport: Any, limits: TransportLimits) -> None:
        super().__init__(context.internal, transport, limits)
        self._context = context
        self._client_message_max = self._client_chunks_max = 0
        self.peer = str(self.name[0]) if self.name else ""

    @property
    def congested(self) -> bool:
        """Whether the client is slow to take what it was sent."""
        waiting: int = self._transport.get_write_buffer_size()
        return waiting > self._context.limits.congested_bytes

    def answer(self, request: PublishRequest, response: Any) -> None:
        """Send the response to a publish request."""
        self.send_response(request.handle, request.sequence_header, response)

    def send_response(
        self,
        requesthandle: int,
        seqhdr: Any,
        response: Any,
        msgtype: Any = ua.MessageType.SecureMessage,
    ) -> None:
        """Send a response; a client that does not take what it asked for is cut off."""
        if self._transport.is_closing():
            return
        response.ResponseHeader.RequestHandle = requesthandle
        self._send(struct_to_binary(response), requesthandle, seqhdr, response, msgtype)

    async def respond(self, header: RequestHeader, seqhdr: Any, response: Any) -> None:
        """Send a response; one with many results is encoded in stretches."""
        results = getattr(response, "Results", None)
        if results is None or len(results) <= STRETCH:
            self.send_response(header.handle, seqhdr, response)
            return
        response.ResponseHeader.RequestHandle = header.handle
        response.Results = []
        # The two lengths at its end are of results and diagnostics: there are none of the latter.
        body = struct_to_binary(response)
        parts = [body[:-8], len(results).to_bytes(4, "little")]
        for done, result in enumerate(results, 1):
            parts.append(struct_to_binary(result))
            if done % STRETCH == 0:
                await asyncio.sleep(0)
        parts.append(body[-4:])
        self._send(b"".join(parts), header.handle, seqhdr, response)

    def _send(
        self,
        body: bytes,
        requesthandle: int,
        seqhdr: Any,
        response: Any,
        msgtype: Any = ua.MessageType.SecureMessage,
    ) -> None:
        if self._transport.is_closing():
            return
        if self._too_large(len(body)) and not isinstance(response, ua.ServiceFault):
            self.fault(requesthandle, seqhdr, _CODES.BadResponseTooLarge)
            return
        self._transport.write(
            self._connection.message_to_binary(
                body, message_type=msgtype, request_id=seqhdr.RequestId
            )
        )
        if self._transport.get_write_buffer_size() > self._context.limits.max_output_bytes:
            _log.warning("closing the connection of %s: it does not take its answers", self.peer)
            self._transport.abort()

    def _too_large(self, size: int) -> bool:
        """Whether the client said in its Hello that it takes no such message."""
        if 0 < self._client_message_max < size:
            return True
        crypto = self._connection.security_policy.symmetric_cryptography
        chunk: int = MessageChunk.max_body_size(crypto, self._limits.max_send_buffer)
        return 0 < self._client_chunks_max < -(-size // chunk)

    def fault(self, handle: int, seqhdr: Any, status: int) -> None:
        """Answer that a request failed as a whole."""
        response = ua.ServiceFault()
        response.ResponseHeader.ServiceResult = ua.StatusCode(status)
        self.send_response(handle, seqhdr, response)

    def send_error(self, status: int, reason: str = "") -> None:
        """Say why the connection ends (OPC 10000-6 section 7.1.2.5)."""
        if not self._transport.is_closing():
            message = ua.ErrorMessage(ua.StatusCode(status), reason)
            self._transport.write(uatcp_to_binary(ua.MessageType.Error, message))
