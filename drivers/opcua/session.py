"""One connection to one server: made whole or not at all, used, dropped, never repaired.

The supervisor makes a new `Session` for each attempt. What leaves this module is plain Python:
no type of the OPC UA library is known outside the session modules.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.crypto import security_policies, uacrypto

from drivers.opcua import pki
from drivers.opcua.nodes import Identifier, Limits
from drivers.opcua.observe import UNDECODABLE, Reading
from drivers.opcua.session_client import HotpairClient, Undecodable, device_error
from drivers.opcua.session_reading import to_reading
from drivers.opcua.settings import INSECURE_REMEDY, OpcUaDevice, Security
from drivers.opcua.values import Builtin, datetime_to_ns, readable, revised_ns
from drivers.opcua.wire import Wire
from gateway.driver import DriverContext
from gateway.errors import DeviceError, InvalidReply, Refused
from gateway.model import NS_PER_MS, NS_PER_S, Status, is_bad, status_name

log = logging.getLogger(__name__)
# The library logs each refusal and each lost connection, some as critical; we tell them, once.
logging.getLogger("asyncua.client").setLevel(logging.CRITICAL + 1)

POLICIES: Final = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
IDLE_MAX_NS: Final = 5 * NS_PER_S
PAUSE_MIN_NS: Final = NS_PER_S // 10
"""However short a life a server gives to a session or a channel."""
CHANNEL_LIFE_NS: Final = 3_600 * NS_PER_S  # what the library asks for
FAREWELL_S: Final = 0.5
RENEW_AT: Final = 0.75  # of the channel's life (OPC 10000-4 section 5.6.2)
_ABOUT: Final = (
    ua.ObjectIds.Server_NamespaceArray,
    ua.ObjectIds.Server_ServerStatus_CurrentTime,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
)
_TOO_MANY: Final = frozenset(
    {
        ua.StatusCodes.BadTooManyOperations,
        ua.StatusCodes.BadRequestTooLarge,
        ua.StatusCodes.BadResponseTooLarge,
        ua.StatusCodes.BadEncodingLimitsExceeded,
    }
)


class Session:
    """A session on a server: `open` first, then requests until one raises DeviceError."""

    def __init__(self, device: OpcUaDevice, wire: Wire, context: DriverContext) -> None:
        self.device = device
        self.wire = wire
        self.namespaces: list[str] = []
        self.limits = Limits()
        self.clock_offset_ns: int | None = None
        self.product = ""
        self.warnings: list[str] = []
        self._undecodable: set[tuple[Any, ua.AttributeIds]] = set()
        self._context = context
        self._client = self._new_client()
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    def _new_client(self) -> HotpairClient:
        device = self.device
        client = HotpairClient(device.url, device.timeout_ns, self.wire, self._context.bind)
        client.session_timeout = device.session_timeout_ns // NS_PER_MS
        return client

    @property
    def services(self) -> Any:
        """The library's session services, for the session modules only."""
        return self._client.uaclient.session

    @property
    def alive(self) -> bool:
        protocol = self._client.uaclient.protocol
        return not self._closed and protocol is not None and not protocol.is_closed

    # ------------------------------------------------------------------------------- opening

    async def open(self) -> None:
        """Connect, secure, log in and learn what the server allows. Raises DeviceError."""
        doing = "the connection"
        try:
            if self.device.protected:
                doing = "the certificates"
                await self._secure()
            elif not self.device.insecure:
                text = "nothing protects this connection"
                status = Status.BAD_CONFIGURATION_ERROR
                raise DeviceError(text, INSECURE_REMEDY, status)
            self._log_in()
            doing = "the connection"
            await self._client.connect_socket()
            self._tune_socket()
            await self._client.send_hello()
            doing = "the secure channel"
            await self._client.open_secure_channel()
            doing = "the session"
            await self._client.create_session()
            self._refuse_plain_password()
            doing = "the login"
            await self._activate()
            await self._look_around()
        except Exception as error:  # whatever it is, it must not leave half a connection open
            self.abort()
            failure = device_error(error, doing)
            self.wire.failed(failure)
            raise failure from error
        except asyncio.CancelledError:
            self.abort()
            raise
        self._upkeep = asyncio.create_task(self._keep_up(), name=f"upkeep {self.wire.device}")

    def _log_in(self) -> None:
        security = self.device.security
        if security is None or security.user is None:
            return
        self._client.set_user(security.user)
        password = pki.read_password(security, self._context.base_dir)
        self._client.set_password(password or "")

    async def _activate(self) -> None:
        client = self._client
        await client.activate_session(username=client._username, password=client._password)

    def _refuse_plain_password(self) -> None:
        security = self.device.security
        if security is None or security.password is None or self.device.insecure:
            return
        token = self._client.server_policy(ua.UserTokenType.UserName)
        plain = token.SecurityPolicyUri == security_policies.SecurityPolicyNone.URI
        if plain and security.mode != "SignAndEncrypt":
            text = "the server wants the password unencrypted on a channel that is only signed"
            raise pki.BadCredentials(text, "Use `mode: SignAndEncrypt`")

    async def _secure(self) -> None:
        security, context = self.device.security, self._context
        assert security is not None
        folders = (context.base_dir, context.data_dir)
        own = await asyncio.to_thread(pki.identity, security, *folders)
        if own.warning:
            self.warnings.append(own.warning)
        self._client.application_uri = own.application_uri
        der = await asyncio.to_thread(pki.pinned, security, context.base_dir)
        if der is None:
            der = await self._shown_certificate(security)
            warning = await asyncio.to_thread(pki.judge, der, security, *folders)
            if warning:
                self.warnings.append(warning)
        await self._client.set_security(
            POLICIES[security.policy],
            uacrypto.CertProperties(own.certificate, "der"),
            uacrypto.CertProperties(own.key, "pem"),
            server_certificate=uacrypto.CertProperties(der, "der"),
            mode=ua.MessageSecurityMode[security.mode],
        )

    async def _shown_certificate(self, security: Security) -> bytes:
        """Ask for the endpoints, unprotected, on a connection of its own.

        What is learned is only which certificate to judge; a forged answer can't lower the policy,
        since the site says it.
        """
        client = self._new_client()
        try:
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            endpoints = await client.get_endpoints()
            await client.close_secure_channel()
        finally:
            client.abort()
        mode, uri = ua.MessageSecurityMode[security.mode], POLICIES[security.policy].URI
        for endpoint in endpoints:
            same = endpoint.SecurityMode == mode and endpoint.SecurityPolicyUri == uri
            if same and endpoint.ServerCertificate:
                leaf = uacrypto.x509_from_der(endpoint.ServerCertificate)
                return bytes(uacrypto.der_from_x509(leaf))
        offered = {
            f"{e.SecurityPolicyUri.rpartition('#')[2]} {e.SecurityMode.name.rstrip('_')}"
            for e in endpoints
        }
        text = f"the server does not offer {security.policy} {security.mode}"
        remedy = f"It offers: {', '.join(sorted(offered)) or 'nothing'}"
        raise DeviceError(text, readable(remedy), Status.BAD_CONFIGURATION_ERROR)

    def _tune_socket(self) -> None:
        """Let unacknowledged bytes die with the time-out instead of minutes later (rules.md 5)."""
        protocol = self._client.uaclient.protocol
        assert protocol is not None and protocol.transport is not None
        sock = protocol.transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            reign_ns = self._context.reign_ns or self.device.timeout_ns
            timeout_ms = max(1, min(self.device.timeout_ns, reign_ns) // NS_PER_MS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

    async def _look_around(self) -> None:
        """Namespaces, operation limits and the server's clock, in one request.

        Small servers refuse five nodes at once; then each is asked for by itself.
        """
        clock = self._context.clock
        before_ns = clock.utc_ns()
        nodes = [ua.NodeId(ua.Int32(i)) for i in _ABOUT]
        try:
            about = await self._read_once(nodes)
        except Refused as error:
            if error.code not in _TOO_MANY:
                raise
            about = [(await self._read_once([node]))[0] for node in nodes]
        middle_ns = (before_ns + clock.utc_ns()) // 2
        uris, server_ns, reads, monitored, product = about
        if is_bad(uris.status):
            text = f"the server doesn't tell its namespaces: {status_name(uris.status)}"
            raise Refused(text, uris.status, status=uris.status)
        self.namespaces = _uris(uris)
        if (now_ns := datetime_to_ns(server_ns.value)) is not None:
            self.clock_offset_ns = now_ns - middle_ns
        self.limits = Limits.told(reads.value, monitored.value)
        self.product = readable(str(product.value or ""))

    async def look_for_namespaces(self) -> None:
        """Read the namespaces again: a server that starts adds its own. Raises DeviceError."""
        (uris,) = await self.read([ua.NodeId(ua.Int32(ua.ObjectIds.Server_NamespaceArray))])
        if not is_bad(uris.status):
            self.namespaces = _uris(uris)

    # ------------------------------------------------------------------------------- upkeep

    async def _keep_up(self) -> None:
        """Renew the channel in time, and keep a session alive that nobody uses."""
        clock, client = self._context.clock, self._client
        life_ns = revised_ns(client.secure_channel_timeout, CHANNEL_LIFE_NS)
        renew_ns = clock.monotonic_ns() + int(life_ns * RENEW_AT)
        left_alone_ns = revised_ns(client.session_timeout, self.device.session_timeout_ns)
        idle_ns = max(PAUSE_MIN_NS, min(IDLE_MAX_NS, left_alone_ns // 3))
        try:
            while True:
                await asyncio.sleep(min(idle_ns, max(life_ns // 10, PAUSE_MIN_NS)) / NS_PER_S)
                now_ns = clock.monotonic_ns()
                if now_ns >= renew_ns:
                    await client.open_secure_channel(renew=True)
                    client.uaclient.revolve_security_token()
                    life_ns = revised_ns(client.secure_channel_timeout, CHANNEL_LIFE_NS)
                    renew_ns = now_ns + int(life_ns * RENEW_AT)
                elif now_ns - self.wire.last_sent_ns >= idle_ns:
                    await self._read_once([ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)])
        except Exception as error:  # any failure here means that the connection is of no more use
            log.info("%s: upkeep failed: %s", self.wire.device, device_error(error, "upkeep"))
            self.abort()

    # ------------------------------------------------------------------------------ requests

    def node(self, identifier: Identifier, namespace: int) -> Any:
        """A NodeId for the other methods."""
        return ua.NodeId(identifier, ua.Int16(namespace))

    async def read(
        self, nodes: Sequence[Any], attribute: ua.AttributeIds = ua.AttributeIds.Value
    ) -> list[Reading]:
        """The values of nodes, in their order, in as many requests as the server needs.

        What the library can't decode is Bad_DecodingError, and read by itself from then on.
        Raises DeviceError when a request fails as a whole.
        """
        found: dict[int, Reading] = {}
        apart = self._undecodable
        alone = [at for at, node in enumerate(nodes) if apart and (node, attribute) in apart]
        together = [at for at in range(len(nodes)) if at not in alone]
        waiting = [[at] for at in alone] + [together]
        while waiting:
            last = waiting.pop()
            run, rest = last[: self.limits.read], last[self.limits.read :]
            waiting += [rest] if rest else []
            if not run:
                continue
            try:
                readings = await self._read_once([nodes[at] for at in run], attribute)
            except Undecodable as error:
                if not self.alive:
                    raise
                if len(run) > 1:  # one of them spoils the reply to all
                    waiting += [run[len(run) // 2 :], run[: len(run) // 2]]
                    continue
                readings = [self._not_decoded(nodes[run[0]], attribute, error)]
            except Refused as error:
                if error.code not in _TOO_MANY or len(run) == 1:
                    raise
                self.limits = Limits(len(run) // 2, self.limits.monitor)
                waiting.append(run)
                continue
            found.update(zip(run, readings, strict=True))
        return [found[at] for at in range(len(nodes))]

    def _not_decoded(self, node: Any, attribute: ua.AttributeIds, error: DeviceError) -> Reading:
        if (node, attribute) not in self._undecodable:
            self._undecodable.add((node, attribute))
            self.wire.failed(error)
        return UNDECODABLE

    async def _read_once(
        self,
        nodes: Sequence[Any],
        attribute: ua.AttributeIds = ua.AttributeIds.Value,
        index_range: str | None = None,
    ) -> list[Reading]:
        params = ua.ReadParameters()
        params.TimestampsToReturn = ua.TimestampsToReturn.Both
        params.NodesToRead = [
            ua.ReadValueId(NodeId=node, AttributeId=attribute, IndexRange=index_range)
            for node in nodes
        ]
        try:
            results = await self.services.read(params)
            readings = [to_reading(result) for result in results]
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "a read") from error
        if len(readings) != len(nodes):
            raise InvalidReply(f"{len(readings)} results for {len(nodes)} nodes")
        return readings

    async def honours_index(self, node: Any, index: int) -> bool:
        """Whether the server reads a single element by IndexRange; some give the whole array.

        Such a server would take the write of one element for a whole new array.
        """
        (whole,) = await self._read_once([node])
        (part,) = await self._read_once([node], index_range=str(index))
        if whole.rank != 1 or part.rank != 1 or whole.value is None or part.value is None:
            return False
        return len(part.value) == 1 and (len(whole.value) > 1 or index == 0)

    async def write(self, node: Any, value: Any, builtin: Builtin, index: int | None) -> int:
        """Write a value, or one element of an array; the server's StatusCode for it.

        Only the value is sent: many servers refuse timestamps (Bad_WriteNotSupported).
        """
        kind = ua.VariantType(builtin.value)
        if builtin is Builtin.LOCALIZEDTEXT:
            value = ua.LocalizedText(value)
        variant = ua.Variant(value if index is None else [value], kind)
        target = ua.WriteValue(
            NodeId=node,
            AttributeId=ua.AttributeIds.Value,
            IndexRange=None if index is None else str(index),
            Value=ua.DataValue(variant, StatusCode=None),
        )
        params = ua.WriteParameters()
        params.NodesToWrite = [target]
        try:
            (result,) = await self.services.write(params)
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "a write") from error
        return int(result.value)

    # ------------------------------------------------------------------------------- closing

    def abort(self) -> None:
        """Drop the connection at once, without a word."""
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.cancel()
        self._client.abort()

    async def close(self) -> None:
        """Free the session on the server, if that is quick and still allowed, and drop it.

        Small PLCs have few sessions: an orphan would block one until it times out.
        """
        if self.alive and self._context.may_send():
            self._closed = True
            try:
                async with asyncio.timeout(FAREWELL_S):
                    await self.services.close_session(True)
                    await self._client.close_secure_channel()
            except Exception as error:  # the connection goes either way
                log.debug("%s: farewell failed: %s", self.wire.device, error)
        self.abort()


def _uris(array: Reading) -> list[str]:
    return [readable(str(uri)) for uri in array.value or ()] if array.rank == 1 else []
