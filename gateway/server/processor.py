"""One connection: the secure channel, and the requests that come through it.

What the library leaves open is closed here (DESIGN.md): nothing is served before the channel is
open, every request shows the token of a session of this channel, a refused activation changes
nothing, and only discovery is possible without security.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.crypto.uacrypto import InvalidSignature
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import (
    nodeid_from_binary,
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
)

from gateway.server.context import Context
from gateway.server.identity import identify
from gateway.server.services import BY_REQUEST, Service
from gateway.server.sessions import PublishRequest, Session
from gateway.server.wire import RequestHeader, read_activation, read_header

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
MIN_BUFFER: Final = 8192
ENDPOINT_URL_MAX: Final = 4096
NONE_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#None"
_MALFORMED: Final = (NotEnoughData, ua.UaError, struct.error, ValueError, TypeError, LookupError)
"""What decoding raises when bytes are not what they should be; status errors come before."""


class Processor(UaProcessor):  # type: ignore[misc]
    """Serves one client connection; also the `Channel` of its sessions."""

    def __init__(self, context: Context, transport: Any, limits: TransportLimits) -> None:
        super().__init__(context.internal, transport, limits)
        self._context = context
        self._greeted = False
        self._client_message_max = 0
        self._slow: set[asyncio.Task[None]] = set()
        self.peer = str(self.name[0]) if self.name else ""

    # ------------------------------------------------------------------------ as a Channel

    @property
    def congested(self) -> bool:
        """Whether the client is slow to take what it was sent."""
        waiting: int = self._transport.get_write_buffer_size()
        return waiting > self._context.limits.congested_bytes

    def answer(self, request: PublishRequest, response: Any) -> None:
        """Send the response to a publish request."""
        self.send_response(request.handle, request.sequence_header, response)

    @property
    def has_session(self) -> bool:
        """Whether somebody is logged in on this connection."""
        return any(s.channel is self and s.activated for s in self._context.sessions)

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
        body = struct_to_binary(response)
        most = self._client_message_max
        if most and len(body) > most and not isinstance(response, ua.ServiceFault):
            self._fault(requesthandle, seqhdr, _CODES.BadResponseTooLarge)
            return
        self._transport.write(
            self._connection.message_to_binary(
                body, message_type=msgtype, request_id=seqhdr.RequestId
            )
        )
        if self._transport.get_write_buffer_size() > self._context.limits.max_output_bytes:
            _log.warning("closing the connection of %s: it does not take its answers", self.peer)
            self._transport.abort()

    def _fault(self, handle: int, seqhdr: Any, status: int) -> None:
        response = ua.ServiceFault()
        response.ResponseHeader.ServiceResult = ua.StatusCode(status)
        self.send_response(handle, seqhdr, response)

    # -------------------------------------------------------------------- transport messages

    async def process(self, header: Any, body: Buffer) -> bool:
        """Serve one message; False ends the connection. Whatever is wrong with it ends it too."""
        try:
            return await self._process_chunk(header, body)
        except (ua.UaStatusCodeError, ServiceError) as error:
            self.send_error(error.code)
        except InvalidSignature:
            self.send_error(_CODES.BadSecurityChecksFailed)
        except _MALFORMED as error:
            _log.info("malformed message from %s: %s", self.peer, error)
            self.send_error(_CODES.BadSecurityChecksFailed)
        return False

    def send_error(self, status: int, reason: str = "") -> None:
        """Say why the connection ends (OPC 10000-6 section 7.1.2.5)."""
        if not self._transport.is_closing():
            message = ua.ErrorMessage(ua.StatusCode(status), reason)
            self._transport.write(uatcp_to_binary(ua.MessageType.Error, message))

    async def _process_chunk(self, header: Any, body: Buffer) -> bool:
        kind = header.MessageType
        if kind == ua.MessageType.Hello:
            self._hello(header, body)
            return True
        if not self._greeted or kind not in (
            ua.MessageType.SecureOpen,
            ua.MessageType.SecureMessage,
            ua.MessageType.SecureClose,
        ):
            raise ua.UaStatusCodeError(_CODES.BadTcpMessageTypeInvalid)
        if kind != ua.MessageType.SecureOpen and not self._connection.is_open():
            raise ua.UaStatusCodeError(_CODES.BadTcpSecureChannelUnknown)
        message = self._connection.receive_from_header_and_body(header, body)
        if message is None:
            return True
        if kind == ua.MessageType.SecureOpen:
            self._open(message)
            return True
        if kind == ua.MessageType.SecureClose:
            return False
        return await self.process_message(message.SequenceHeader(), message.body())

    def _hello(self, header: Any, body: Buffer) -> None:
        if self._greeted:
            raise ua.UaStatusCodeError(_CODES.BadTcpMessageTypeInvalid)
        message = self._connection.receive_from_header_and_body(header, body)
        if len(message.EndpointUrl or "") > ENDPOINT_URL_MAX:
            raise ua.UaStatusCodeError(_CODES.BadTcpEndpointUrlInvalid)
        if min(message.ReceiveBufferSize, message.SendBufferSize) < MIN_BUFFER:
            raise ua.UaStatusCodeError(_CODES.BadTcpNotEnoughResources)
        self._greeted = True
        self._client_message_max = message.MaxMessageSize
        ours = self._limits.max_message_size, self._limits.max_chunk_count
        acknowledge = self._limits.create_acknowledge_and_set_limits(message)
        # The client's limits are for what it receives; what we receive keeps our own.
        self._limits.max_message_size, self._limits.max_chunk_count = ours
        acknowledge.MaxMessageSize, acknowledge.MaxChunkCount = ours
        self._transport.write(uatcp_to_binary(ua.MessageType.Acknowledge, acknowledge))

    def _open(self, message: Any) -> None:
        body, algorithm = message.body(), message.SecurityHeader()
        nodeid_from_binary(body)
        header = read_header(body)
        params = struct_from_binary(ua.OpenSecureChannelParameters, body)
        connection, limits = self._connection, self._context.limits
        renew = int(params.RequestType) == int(ua.SecurityTokenRequestType.Renew)
        if renew != connection.is_open():
            raise ua.UaStatusCodeError(_CODES.BadRequestTypeInvalid)
        if not renew:
            uri, certificate = algorithm.SecurityPolicyURI, algorithm.SenderCertificate
            connection.select_policy(uri, certificate, params.SecurityMode)
        elif algorithm.SecurityPolicyURI != connection.security_policy.URI:
            raise ua.UaStatusCodeError(_CODES.BadSecurityPolicyRejected)
        elif params.SecurityMode != connection.security_policy.Mode:
            raise ua.UaStatusCodeError(_CODES.BadSecurityModeRejected)
        if self._secured:
            length = connection.security_policy.secure_channel_nonce_length
            if len(params.ClientNonce or b"") != length:
                raise ua.UaStatusCodeError(_CODES.BadNonceInvalid)
        lifetime_ms = params.RequestedLifetime or limits.max_channel_ms
        params.RequestedLifetime = min(
            max(lifetime_ms, limits.min_channel_ms), limits.max_channel_ms
        )
        response = ua.OpenSecureChannelResponse()
        response.Parameters = connection.open(params, self.iserver)
        self.send_response(
            header.handle, message.SequenceHeader(), response, ua.MessageType.SecureOpen
        )

    @property
    def _secured(self) -> bool:
        return bool(self._connection.security_policy.URI != NONE_URI)

    # ------------------------------------------------------------------------------ services

    async def process_message(self, seqhdr: Any, body: Buffer) -> bool:
        """Serve one request, answering with a fault if need be. False ends the connection."""
        typeid = nodeid_from_binary(body)
        header = read_header(body)
        try:
            return await self._serve(typeid, header, seqhdr, body)
        except (ua.UaStatusCodeError, ServiceError) as error:
            self._fault(header.handle, seqhdr, error.code)
        except InvalidSignature:
            self._fault(header.handle, seqhdr, _CODES.BadApplicationSignatureInvalid)
        except _MALFORMED as error:
            _log.info("request of %s can't be read: %s", self.peer, error)
            self._fault(header.handle, seqhdr, _CODES.BadDecodingError)
        except RecursionError:
            self._fault(header.handle, seqhdr, _CODES.BadEncodingLimitsExceeded)
        except Exception:  # a fault of ours must not end a client's connection
            _log.exception("a request of %s failed", self.peer)
            self._fault(header.handle, seqhdr, _CODES.BadInternalError)
        return True

    async def _serve(
        self, typeid: ua.NodeId, header: RequestHeader, seqhdr: Any, body: Buffer
    ) -> bool:
        request = typeid.Identifier if typeid.NamespaceIndex == 0 else None
        if request == _IDS.GetEndpointsRequest_Encoding_DefaultBinary:
            self._get_endpoints(header, seqhdr, body)
            return True
        if request == _IDS.FindServersRequest_Encoding_DefaultBinary:
            self._find_servers(header, seqhdr, body)
            return True
        if not self._secured and not self._context.settings.insecure:
            raise ua.UaStatusCodeError(_CODES.BadSecurityPolicyRejected)
        if request == _IDS.CreateSessionRequest_Encoding_DefaultBinary:
            await self._create_session(header, seqhdr, body)
        elif request == _IDS.ActivateSessionRequest_Encoding_DefaultBinary:
            await self._activate_session(header, seqhdr, body)
        elif request == _IDS.CloseSessionRequest_Encoding_DefaultBinary:
            session = self._context.sessions.on(self, header.token)
            self._context.sessions.close(session, delete_subscriptions=body.read(1) != b"\x00")
            self.send_response(header.handle, seqhdr, ua.CloseSessionResponse())
        else:
            await self._serve_session(request, header, seqhdr, body)
        return True

    async def _serve_session(
        self, request: Any, header: RequestHeader, seqhdr: Any, body: Buffer
    ) -> None:
        session = self._context.sessions.on(self, header.token)
        if not session.activated:
            # An unactivated session that is used is closed (OPC 10000-4 section 5.7.2.1).
            self._context.sessions.close(session)
            raise ua.UaStatusCodeError(_CODES.BadSessionNotActivated)
        session.touch()
        if request == _IDS.PublishRequest_Encoding_DefaultBinary:
            params = struct_from_binary(ua.PublishParameters, body)
            monitoring = self._context.monitoring
            monitoring.publish(self._context, session, params, header, seqhdr)
            return
        service = BY_REQUEST.get(request)
        if service is None:
            raise ua.UaStatusCodeError(_CODES.BadServiceUnsupported)
        params = service.decode(body)
        service.check_count(params, self._context.limits)
        if not service.slow:
            response = await service.serve(self._context, session, params)
            self.send_response(header.handle, seqhdr, response)
            return
        if len(self._slow) >= self._context.limits.max_slow_requests:
            raise ua.UaStatusCodeError(_CODES.BadTcpServerTooBusy)
        task = asyncio.create_task(self._serve_slowly(service, session, params, header, seqhdr))
        self._slow.add(task)
        task.add_done_callback(self._slow.discard)

    async def _serve_slowly(
        self, service: Service, session: Session, params: Any, header: RequestHeader, seqhdr: Any
    ) -> None:
        """Beside the other requests of the connection: the field or the disk takes its time."""
        try:
            response = await service.serve(self._context, session, params)
        except (ua.UaStatusCodeError, ServiceError) as error:
            self._fault(header.handle, seqhdr, error.code)
        except Exception:  # a fault of ours must reach the client as one, not as silence
            _log.exception("a request of %s failed", self.peer)
            self._fault(header.handle, seqhdr, _CODES.BadInternalError)
        else:
            self.send_response(header.handle, seqhdr, response)

    def _get_endpoints(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = struct_from_binary(ua.GetEndpointsParameters, body)
        response = ua.GetEndpointsResponse()
        response.Endpoints = self._context.discovery.endpoints(params.EndpointUrl)
        self.send_response(header.handle, seqhdr, response)

    def _find_servers(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = struct_from_binary(ua.FindServersParameters, body)
        response = ua.FindServersResponse()
        wanted = params.ServerUris or ()
        response.Servers = self._context.discovery.servers(params.EndpointUrl, wanted)
        self.send_response(header.handle, seqhdr, response)

    # ------------------------------------------------------------------------------ sessions

    async def _create_session(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = struct_from_binary(ua.CreateSessionParameters, body)
        policy = self._connection.security_policy
        if self._secured:
            if params.ClientCertificate != policy.peer_certificate:
                raise ua.UaStatusCodeError(_CODES.BadCertificateInvalid)
            if len(params.ClientNonce or b"") < 32:
                raise ua.UaStatusCodeError(_CODES.BadNonceInvalid)
            status = self._context.accept_client(policy.peer_certificate, params.ClientDescription)
            if status:
                raise ua.UaStatusCodeError(status)
        session = self._context.sessions.create(
            params.SessionName or "",
            params.RequestedSessionTimeout,
            policy.peer_certificate,
            self,
        )
        response = ua.CreateSessionResponse()
        result = response.Parameters
        result.SessionId = session.session_id
        result.AuthenticationToken = ua.NodeId(session.token, 0, ua.NodeIdType.ByteString)
        result.RevisedSessionTimeout = session.timeout_ns / 1e6
        result.MaxRequestMessageSize = self._context.limits.max_message_bytes
        result.ServerNonce = session.nonce
        result.ServerEndpoints = self._context.discovery.endpoints(params.EndpointUrl)
        result.ServerCertificate = policy.host_certificate
        signed = (policy.peer_certificate or b"") + (params.ClientNonce or b"")
        result.ServerSignature.Signature = policy.asymmetric_cryptography.signature(signed)
        result.ServerSignature.Algorithm = policy.AsymmetricSignatureURI
        self.send_response(header.handle, seqhdr, response)

    async def _activate_session(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        session = self._context.sessions.find(header.token)
        if session is None:
            raise ua.UaStatusCodeError(_CODES.BadSessionIdInvalid)
        policy = self._connection.security_policy
        moves = session.channel is not self
        if moves and (not session.activated or session.certificate != policy.peer_certificate):
            raise ua.UaStatusCodeError(_CODES.BadSecurityChecksFailed)
        activation = read_activation(body)
        signed = (policy.host_certificate or b"") + session.nonce
        policy.asymmetric_cryptography.verify(signed, activation.signature)
        encrypted = policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
        account = await identify(self._context, session, activation.identity, encrypted, self.peer)
        if session.closed:
            raise ua.UaStatusCodeError(_CODES.BadSessionClosed)
        if moves and session.account != account:
            raise ua.UaStatusCodeError(_CODES.BadIdentityChangeNotSupported)
        self._context.sessions.activate(session, account, self)
        _log.info("%s logged in as %s (%s)", self.peer, account.name, account.role.name.lower())
        response = ua.ActivateSessionResponse()
        response.Parameters.ServerNonce = session.nonce
        self.send_response(header.handle, seqhdr, response)

    async def close(self) -> None:
        """The connection is gone. Writes that are on their way to the field are not recalled."""
        self._context.sessions.channel_lost(self)
