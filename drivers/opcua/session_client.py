"""asyncua's client, fitted to ours by subclasses: gate, counters, bounds, local address.

Private names of asyncua 2.1.0 that are used here: `UaClient._set_state`, `UaClient._send_request`,
`UaSession._send_request`, `UASocketProtocol._connection` with its `_limits`. A contract test guards
them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from asyncua import Client, ua
from asyncua.client.ua_client import UaClient, UaClientState, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer

from drivers.opcua.wire import Wire
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_S, Status

CONNECT_TIMEOUT_MAX_S: Final = 1.5
"""A host that is back must be noticed soon, and SYNs are repeated only after 1, 3 and 7 s."""
CHUNK_HELD_MAX: Final = 1_000_000
MESSAGE_MAX: Final = 64_000_000
LOGIN_REFUSED: Final = frozenset(
    {
        ua.StatusCodes.BadUserAccessDenied,
        ua.StatusCodes.BadIdentityTokenRejected,
        ua.StatusCodes.BadIdentityTokenInvalid,
    }
)
SECURITY_REFUSED: Final = frozenset(
    {
        ua.StatusCodes.BadSecurityChecksFailed,
        ua.StatusCodes.BadCertificateUntrusted,
        ua.StatusCodes.BadCertificateInvalid,
        ua.StatusCodes.BadCertificateUriInvalid,
        ua.StatusCodes.BadCertificateTimeInvalid,
        ua.StatusCodes.BadSecurityPolicyRejected,
        ua.StatusCodes.BadSecurityModeRejected,
    }
)


def status_text(code: int) -> str:
    """A StatusCode by the name that OPC UA gives it."""
    return str(ua.StatusCode(ua.UInt32(code & 0xFFFF0000)).name)


class Undecodable(InvalidReply):
    """The library could make nothing of a reply."""


def device_error(error: BaseException, doing: str) -> DeviceError:
    """What went wrong, in our words, while `doing` something."""
    if isinstance(error, DeviceError):
        return error
    if isinstance(error, TimeoutError):
        return ReplyTimeout(f"no answer to {doing}")
    if isinstance(error, ua.UaStatusCodeError):
        return _refused(error.code, doing)
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        return LinkError(f"{doing}: {what}")
    return Undecodable(f"{doing}: {error or type(error).__name__}")


def _refused(code: int, doing: str) -> DeviceError:
    text = f"the server refused {doing}: {status_text(code)}"
    if code in LOGIN_REFUSED:
        remedy = "Check `user:` and the password file under `security:`"
        return Refused(text, code, remedy, Status.BAD_USER_ACCESS_DENIED)
    if code in SECURITY_REFUSED:
        remedy = "Let the server trust our certificate (data_dir/pki/own/client.der)"
        return Refused(text, code, remedy, Status.BAD_CONFIGURATION_ERROR)
    return Refused(text, code, status=code)


class _Protocol(UASocketProtocol):  # type: ignore[misc]
    """Refuses to gather more than a chunk can be."""

    def data_received(self, data: bytes) -> None:
        if self.receive_buffer is not None and len(self.receive_buffer) > CHUNK_HELD_MAX:
            self.disconnect_socket()
            return
        super().data_received(data)


class _Session(UaSession):  # type: ignore[misc]
    """Publishes when we ask for it: asyncua's own loop retries on dead connections."""

    def ensure_publish_loop(self) -> None:
        return

    async def history_answer(self, params: ua.HistoryReadParameters) -> Buffer:
        """The answer to a HistoryRead as it came: to decode it is most of what a read costs."""
        request = ua.HistoryReadRequest()
        request.Parameters = params
        return await self._send_request(request)


class _Channel(UaClient):  # type: ignore[misc]
    """A transport whose every request asks the wire first."""

    def __init__(self, timeout_s: float, wire: Wire, bind: str | None) -> None:
        super().__init__(timeout_s)
        self.session = _Session(self)
        self._wire = wire
        self._bind = bind
        self.pre_request_hook = self._ask

    async def _ask(self) -> None:
        self._wire.ask()

    def _make_protocol(self) -> UASocketProtocol:
        protocol = _Protocol(self._timeout, security_policy=self.security_policy)
        protocol.pre_request_hook = self._ask
        protocol.on_connection_lost = self._on_transport_lost
        protocol.is_session_closing = lambda: True  # late answers are no news
        self.protocol = protocol
        return protocol

    async def connect_socket(self, host: str, port: int) -> None:
        self._wire.ask()
        self._set_state(UaClientState.CONNECTING)
        local = (self._bind, 0) if self._bind else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(self._timeout, CONNECT_TIMEOUT_MAX_S)):
                await loop.create_connection(self._make_protocol, host, port, local_addr=local)
        except TimeoutError:
            self._set_state(UaClientState.DISCONNECTED)
            raise LinkError(f"{host}:{port} does not answer a connection attempt") from None
        except BaseException:  # cancelled or failed, the state must say so
            self._set_state(UaClientState.DISCONNECTED)
            raise
        self._set_state(UaClientState.SOCKET_OPEN)

    async def send_hello(
        self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0
    ) -> ua.Acknowledge:
        self._wire.ask()
        self._wire.show(True, f"Hello {url}")
        ack = await super().send_hello(url, max_messagesize, max_chunkcount)
        assert self.protocol is not None
        # Zero means no limit: what a device may make us gather has one all the same.
        limits = self.protocol._connection._limits
        limits.max_message_size = min(limits.max_message_size or MESSAGE_MAX, MESSAGE_MAX)
        return ack

    async def open_secure_channel(self, params: ua.OpenSecureChannelParameters) -> Any:
        self._wire.ask()
        self._wire.show(True, f"OpenSecureChannel {params.RequestType.name}")
        return await super().open_secure_channel(params)

    async def _send_request(
        self,
        request: Any,
        timeout: float | None = None,
        message_type: ua.MessageType = ua.MessageType.SecureMessage,
    ) -> Buffer:
        name = type(request).__name__.removesuffix("Request")
        text = _described(name, request) if self._wire.traced else name
        started_ns = self._wire.requested(text)
        try:
            data = await super()._send_request(request, timeout, message_type)
        except (OSError, ua.UaError, TimeoutError, DeviceError) as error:
            failure = device_error(error, name)
            self._wire.failed(failure)
            raise failure from error
        self._wire.answered(name, started_ns, name != "Publish")
        return data


_LISTS: Final = (
    ("NodesToRead", "NodeId"),
    ("NodesToWrite", "NodeId"),
    ("ItemsToCreate", "ItemToMonitor"),
)


def _described(name: str, request: Any) -> str:
    for field, inner in _LISTS:
        nodes = getattr(request.Parameters, field, None)
        if nodes:
            first = getattr(nodes[0], inner)
            node = getattr(first, "NodeId", first)
            more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
            return f"{name} {node.to_string()}{more}"
    return name


class HotpairClient(Client):  # type: ignore[misc]
    """One attempt at one connection. `Client.connect` is never called: we supervise ourselves."""

    def __init__(self, url: str, timeout_ns: int, wire: Wire, bind: str | None) -> None:
        timeout_s = timeout_ns / NS_PER_S
        super().__init__(url, timeout_s)
        self.uaclient: UaClient = _Channel(timeout_s, wire, bind)
        self.nodes = Shortcuts(self.uaclient.session)
        self.name = self.description = "Hotpair"
        self.product_uri = "urn:hotpair"

    def abort(self) -> None:
        """Drop the socket at once; nothing more is sent."""
        protocol = self.uaclient.protocol
        self.uaclient.request_disconnect()
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()
        self.uaclient.mark_disconnected()
