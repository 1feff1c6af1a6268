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

import cryptography.exceptions
from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.crypto.uacrypto import InvalidSignature
from asyncua.ua.ua_binary import nodeid_from_binary, uatcp_to_binary

from gateway.model import NS_PER_MS
from gateway.server import decoding
from gateway.server.answering import Answering
from gateway.server.context import Context
from gateway.server.identity import Proof, identify
from gateway.server.services import BY_REQUEST, Service
from gateway.server.sessions import Session
from gateway.server.wire import LIST_MAX, RequestHeader, read_activation, read_header

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
_IDS = ua.ObjectIds
MIN_BUFFER: Final = 8192
ENDPOINT_URL_MAX: Final = 4096
GRACE: Final = 1.25
"""How long a channel lives that is not renewed, in its lifetimes (OPC 10000-4 section 5.5.2)."""
NONE_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#None"
_FORGED: Final = (InvalidSignature, cryptography.exceptions.InvalidSignature)
"""The library has its own exception for keyed hashes; of RSA it lets the other one through."""
SHOWN_MAX: Final = 200
_MALFORMED: Final = (NotEnoughData, ua.UaError, struct.error, ValueError, TypeError, LookupError)
"""What decoding raises when bytes are not what they should be; status errors come before."""


class Processor(Answering):
    """Serves one client connection."""

    def __init__(self, context: Context, transport: Any, limits: TransportLimits) -> None:
        super().__init__(context, transport, limits)
        self._greeted = False
        self._channel_until_ns = 0
        self._limits.max_message_size = context.limits.max_unproven_bytes
        self._slow: set[asyncio.Task[None]] = set()
        self.sent_certificate = b""

    @property
    def has_session(self) -> bool:
        """Whether somebody is logged in on this connection."""
        return any(s.channel is self and s.activated for s in self._context.sessions)

    # -------------------------------------------------------------------- transport messages

    async def process(self, header: Any, body: Buffer) -> bool:
        """Serve one message; False ends the connection. Whatever is wrong with it ends it too."""
        try:
            return await self._process_chunk(header, body)
        except (ua.UaStatusCodeError, ServiceError) as error:
            self.send_error(error.code)
        except _FORGED:
            self.send_error(_CODES.BadSecurityChecksFailed)
        except _MALFORMED as error:
            _log.info("malformed message from %s: %r", self.peer, str(error)[:SHOWN_MAX])
            self.send_error(_CODES.BadSecurityChecksFailed)
        return False

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
            await self._open(message)
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
        self._client_chunks_max = message.MaxChunkCount
        ours = self._limits.max_message_size, self._limits.max_chunk_count
        acknowledge = self._limits.create_acknowledge_and_set_limits(message)
        # The client's limits are for what it receives; what we receive keeps our own.
        self._limits.max_message_size, self._limits.max_chunk_count = ours
        acknowledge.MaxMessageSize = self._context.limits.max_message_bytes
        acknowledge.MaxChunkCount = self._limits.max_chunk_count
        self._transport.write(uatcp_to_binary(ua.MessageType.Acknowledge, acknowledge))

    async def _open(self, message: Any) -> None:
        body, algorithm = message.body(), message.SecurityHeader()
        nodeid_from_binary(body)
        header = read_header(body)
        params = _unproven(ua.OpenSecureChannelParameters, body)
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
            if not renew:
                self.sent_certificate = algorithm.SenderCertificate
            await self._admit()
        lifetime_ms = params.RequestedLifetime or limits.max_channel_ms
        params.RequestedLifetime = min(
            max(lifetime_ms, limits.min_channel_ms), limits.max_channel_ms
        )
        response = ua.OpenSecureChannelResponse()
        response.Parameters = connection.open(params, self.iserver)
        now_ns = self._context.clock.monotonic_ns()
        self._channel_until_ns = now_ns + int(params.RequestedLifetime * GRACE * NS_PER_MS)
        self.send_response(
            header.handle, message.SequenceHeader(), response, ua.MessageType.SecureOpen
        )

    def channel_expired(self, now_ns: int) -> bool:
        """Whether the channel was not renewed in its lifetime and the grace after it."""
        return 0 < self._channel_until_ns < now_ns

    async def _admit(self) -> None:
        """Let trusted clients in only, at each renewal, too (OPC 10000-6 section 6.7.4)."""
        status = await self._context.admission.check(self.sent_certificate, self.peer)
        if status:
            raise ua.UaStatusCodeError(status)

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
            self.fault(header.handle, seqhdr, error.code)
        except _FORGED:
            self.fault(header.handle, seqhdr, _CODES.BadApplicationSignatureInvalid)
        except _MALFORMED as error:
            _log.info("request of %s can't be read: %r", self.peer, str(error)[:SHOWN_MAX])
            self.fault(header.handle, seqhdr, _CODES.BadDecodingError)
        except RecursionError:
            self.fault(header.handle, seqhdr, _CODES.BadEncodingLimitsExceeded)
        except Exception:  # a fault of ours must not end a client's connection
            _log.exception("a request of %s failed", self.peer)
            self.fault(header.handle, seqhdr, _CODES.BadInternalError)
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
            data = body.read(len(body))
            params = decoding.read(ua.PublishParameters, data, self._context.limits.max_elements)
            monitoring = self._context.monitoring
            monitoring.publish(self._context, session, params, header, seqhdr)
            return
        service = BY_REQUEST.get(request)
        if service is None:
            raise ua.UaStatusCodeError(_CODES.BadServiceUnsupported)
        params = await self._in_stretches(service, body)
        if session.closed:
            raise ua.UaStatusCodeError(_CODES.BadSessionClosed)
        if not service.slow:
            response = await service.serve(self._context, session, params)
            await self.respond(header, seqhdr, response)
            return
        if len(self._slow) >= self._context.limits.max_slow_requests:
            raise ua.UaStatusCodeError(_CODES.BadTcpServerTooBusy)
        task = asyncio.create_task(self._serve_slowly(service, session, params, header, seqhdr))
        self._slow.add(task)
        task.add_done_callback(self._slow.discard)

    async def _in_stretches(self, service: Service, body: Buffer) -> Any:
        work = service.reading(body.read(len(body)), self._context.limits)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value
            await asyncio.sleep(0)

    async def _serve_slowly(
        self, service: Service, session: Session, params: Any, header: RequestHeader, seqhdr: Any
    ) -> None:
        """Beside the other requests of the connection: the field or the disk takes its time."""
        try:
            response = await service.serve(self._context, session, params)
            await self.respond(header, seqhdr, response)
        except (ua.UaStatusCodeError, ServiceError) as error:
            self.fault(header.handle, seqhdr, error.code)
        except Exception:  # a fault of ours must reach the client as one, not as silence
            _log.exception("a request of %s failed", self.peer)
            self.fault(header.handle, seqhdr, _CODES.BadInternalError)

    def _get_endpoints(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = _unproven(ua.GetEndpointsParameters, body)
        response = ua.GetEndpointsResponse()
        response.Endpoints = self._context.discovery.endpoints(params.EndpointUrl)
        self.send_response(header.handle, seqhdr, response)

    def _find_servers(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = _unproven(ua.FindServersParameters, body)
        params.ServerUris = [uri for uri in params.ServerUris if uri is not None]
        response = ua.FindServersResponse()
        wanted = params.ServerUris or ()
        response.Servers = self._context.discovery.servers(params.EndpointUrl, wanted)
        self.send_response(header.handle, seqhdr, response)

    # ------------------------------------------------------------------------------ sessions

    async def _create_session(self, header: RequestHeader, seqhdr: Any, body: Buffer) -> None:
        params = _unproven(ua.CreateSessionParameters, body)
        policy = self._connection.security_policy
        if self._secured:
            # With a chain, the whole of it may be said again (OPC 10000-4 section 5.7.2.2).
            if params.ClientCertificate not in (policy.peer_certificate, self.sent_certificate):
                raise ua.UaStatusCodeError(_CODES.BadCertificateInvalid)
            if len(params.ClientNonce or b"") < 32:
                raise ua.UaStatusCodeError(_CODES.BadNonceInvalid)
            uri = params.ClientDescription.ApplicationUri or ""
            status = self._context.admission.check_uri(policy.peer_certificate, uri, self.peer)
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
        proof = Proof(activation, signed, policy.AsymmetricSignatureURI, encrypted)
        account = await identify(self._context, session, proof, self.peer)
        if session.closed:
            raise ua.UaStatusCodeError(_CODES.BadSessionClosed)
        if moves and session.account != account:
            raise ua.UaStatusCodeError(_CODES.BadIdentityChangeNotSupported)
        self._context.sessions.activate(session, account, self)
        self._limits.max_message_size = self._context.limits.max_message_bytes
        _log.info("%s logged in as %s (%s)", self.peer, account.name, account.role.name.lower())
        response = ua.ActivateSessionResponse()
        response.Parameters.ServerNonce = session.nonce
        self.send_response(header.handle, seqhdr, response)

    async def close(self) -> None:
        """The connection is gone. Writes that are on their way to the field are not recalled."""
        self._context.sessions.channel_lost(self)


def _unproven(cls: Any, body: Buffer) -> Any:
    """Parameters from somebody who has not logged in."""
    return decoding.read(cls, body.read(len(body)), LIST_MAX)
