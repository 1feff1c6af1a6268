"""One connection of one line: opened, asked one question at a time, drained or thrown away.

A session schedules nothing and retries nothing. After a time-out, a wrong answer or a cancelled
request it is *dirty*: a network session is aborted, so that its late bytes have nowhere to
arrive; a serial one is drained until the line is quiet.
"""

from __future__ import annotations

import asyncio
import logging
import termios
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusUdpClient
from pymodbus.exceptions import ModbusException, ModbusIOException

from drivers.modbus.frames import describe_request
from drivers.modbus.pdu import (
    Framer,
    RawReply,
    RawRequest,
    RtuFramer,
    SocketFramer,
    received_text,
    reply_of,
)
from drivers.modbus.serial import character_ns, drive_rs485, frame_gap_ns
from drivers.modbus.settings import ModbusLine, Rtu
from drivers.modbus.sockets import discard, tune
from drivers.modbus.tls import client_context, remedy
from gateway.clock import Clock
from gateway.errors import InvalidReply, LinkError, ReplyTimeout
from gateway.model import NS_PER_MS, NS_PER_S, format_duration

FRAME_BYTES: Final = 4
"""The shortest RTU frame: fewer bytes while listening are noise, not another master."""
DRAIN_QUIET_NS: Final = 20 * NS_PER_MS
"""Longer than the 16 ms for which USB adapters hold bytes back."""
DRAIN_MAX_NS: Final = 2 * NS_PER_S
SILENT_MAX: Final = 10
"""After so many time-outs in a row a serial port is reopened: an adapter may have hung."""

Sink = Callable[[bool, bytes, str], None]
"""Takes (sent, frame, text)."""


class OtherMaster(LinkError):
    """Somebody else is asking on this line: two masters would corrupt each other's frames."""


class Session:
    """A connection as `open`, `transact` and `close`; the caller serialises them."""

    def __init__(
        self,
        settings: ModbusLine,
        port: str | None,
        clock: Clock,
        base_dir: Path,
        bind: str | None,
        may_send: Callable[[], bool],
        reign_ns: int = 0,
    ) -> None:
        self._settings = settings
        self._port = port
        self._clock = clock
        self._base_dir = base_dir
        self._bind = bind
        self._may_send = may_send
        self._reign_ns = reign_ns
        self._client: Any = None
        self._framer: Framer = SocketFramer()
        self._host = 0
        self._dirty = False
        self._answered = False
        self._awaiting = False
        self._silent = 0
        self._heard = 0
        self._listens = True
        self._received = b""
        self._sink: Sink | None = None
        self._sent_text = ""
        self._active_ns = 0
        rtu = settings.rtu
        self._char_ns = character_ns(rtu) if rtu else 0
        self._gap_ns = settings.gap_ns or (frame_gap_ns(rtu) if rtu else 0)
        self.generation = 0
        """How often it was opened: what was learned in an earlier one may be outdated."""
        # Every failure reaches the caller as an error of ours; pymodbus would log each again.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

    @property
    def connected(self) -> bool:
        """Whether a question may be asked without opening first."""
        return self._client is not None and self._client.connected and not self._must_reopen

    @property
    def _must_reopen(self) -> bool:
        return self._dirty and self._settings.rtu is None

    @property
    def peer(self) -> str:
        """The host or port that is spoken to, or tried next."""
        network = self._settings.network
        if network is None:
            return self._port or "no port"
        return f"{network.addresses[self._host]}:{network.port}"

    # ------------------------------------------------------------------------------ open and close

    async def open(self, timeout_ns: int) -> None:
        """Connect, to each host in turn; on a serial line listen first.

        Raises LinkError when no host answers, OtherMaster when the line is in use.
        """
        self.close()
        self._answered = False
        network = self._settings.network
        reasons: list[str] = []
        for _ in range(len(network.addresses) if network else 1):
            if not self._may_send():
                raise LinkError("this node may not speak to the field now")
            reason = await self._try_open(timeout_ns)
            if reason is None:
                break
            reasons.append(f"{self.peer}: {reason}")
            self._next_host()
        else:
            raise self._lost("; ".join(reasons))
        self._dirty = False
        self._silent = 0
        self.generation += 1
        listens, self._listens = self._listens, True
        if self._settings.rtu is not None and listens:
            await self._listen()

    async def _try_open(self, timeout_ns: int) -> str | None:
        """Connect to the present host; why it failed, or None."""
        try:
            create = self._creator(timeout_ns)
        except OSError as error:
            return f"certificate or key can't be used ({error})"
        reason = f"no answer within {format_duration(timeout_ns)}"

        async def noted() -> Any:
            nonlocal reason
            try:
                return await create()
            except termios.error as error:
                rtu = self._settings.rtu or Rtu()
                said = f"{rtu.baudrate} baud {rtu.bytesize}{rtu.parity}{rtu.stopbits}"
                reason = f"it can't do {said} ({error}); a pseudo terminal needs `parity: N`"
                # The frames hold the open port, and its lock, until a collector comes by.
                traceback.clear_frames(error.__traceback__)
                raise OSError(str(error)) from None
            except (OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
                raise OSError(reason) from error

        client = self._client
        client.ctx.call_create = noted
        try:
            if not await client.connect():
                self.close()
                return reason
            if self._settings.rtu is not None:
                drive_rs485(client.ctx.transport.sync_serial, self._settings.rtu)
        except (OSError, ValueError) as error:
            self.close()
            return f"RS-485 can't be set: {error}; set `rs485: false` if the adapter does it itself"
        except asyncio.CancelledError:
            self.close()
            raise
        try:
            tune(client.ctx.transport, min(timeout_ns, self._reign_ns or timeout_ns))
        except OSError as error:
            self.close()
            return f"the connection was closed as soon as it stood ({error})"
        return None

    def _creator(self, timeout_ns: int) -> Callable[[], Awaitable[Any]]:
        """Make the client and return what connects it. Raises OSError for unusable files."""
        settings, network = self._settings, self._settings.network
        shared = {
            "timeout": timeout_ns / NS_PER_S,
            "retries": 0,
            "reconnect_delay": 0,
            "trace_packet": self._on_packet,
            "trace_connect": self._on_connect,
        }
        loop = asyncio.get_running_loop()
        if network is None:
            rtu = settings.rtu or Rtu()
            if self._port is None:
                raise FileNotFoundError("node.yaml names no port for this line")
            client: Any = AsyncModbusSerialClient(
                self._port,
                baudrate=rtu.baudrate,
                parity=rtu.parity,
                stopbits=rtu.stopbits,
                bytesize=rtu.bytesize,
                handle_local_echo=rtu.echo,
                **shared,
            )
            create = client.ctx.call_create
        else:
            host, port = network.addresses[self._host], network.port
            local = (self._bind, 0) if self._bind else None
            if settings.udp is not None:
                client = AsyncModbusUdpClient(host, port=port, **shared)
                make: Callable[..., Awaitable[Any]] = partial(
                    loop.create_datagram_endpoint, remote_addr=(host, port)
                )
            else:
                client = AsyncModbusTcpClient(host, port=port, **shared)
                make = partial(loop.create_connection, host=host, port=port)
            if settings.tls is not None:
                name = settings.tls.server_name or host
                context = client_context(settings.tls, self._base_dir)
                make = partial(make, ssl=context, server_hostname=name)
            create = partial(make, client.ctx.handle_new_connection, local_addr=local)
        self._framer = RtuFramer() if settings.is_rtu_framed else SocketFramer()
        client.ctx.framer = self._framer
        self._client = client
        return create  # type: ignore[no-any-return]

    async def _listen(self) -> None:
        """Wait for silence on a serial line. Raises OtherMaster when frames are heard."""
        self._heard = 0
        await asyncio.sleep(self._settings.listen_ns / NS_PER_S)
        if self._heard >= FRAME_BYTES:
            heard = self._heard
            self.close()
            raise OtherMaster(
                f"{heard} bytes were heard on {self.peer} before our first request",
                "Another master polls this line: stop it, or take the line out of this site",
            )

    def _next_host(self) -> None:
        network = self._settings.network
        if network is not None:
            self._host = (self._host + 1) % len(network.addresses)

    def abort(self) -> None:
        """Throw the connection away: unsent bytes die, and the device's socket is free at once."""
        client = self._client
        if client is not None and client.ctx.transport is not None:
            discard(client.ctx.transport)
            client.ctx.transport.abort()
            if not self._answered:
                # Two hosts: one that takes connections but never answers isn't the good one.
                self._next_host()
        self.close()

    def close(self) -> None:
        """Close what is open. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # ------------------------------------------------------------------------------ ask and answer

    async def transact(
        self,
        request: RawRequest,
        size: int | None,
        timeout_ns: int,
        gap_ns: int = 0,
        ignore_tid: bool = False,
        sink: Sink | None = None,
    ) -> RawReply:
        """Send one request and wait for its reply, which may be an exception.

        `size` is the data bytes that a read must bring, None otherwise. Raises LinkError,
        ReplyTimeout or InvalidReply; after each of them, and when cancelled, the session is dirty.
        """
        await self._settle(gap_ns)
        client = self._client
        if client is None or not client.connected:
            raise LinkError(f"the connection to {self.peer} is gone")
        if not self._may_send():
            raise LinkError("this node may not speak to the field now")
        ctx = client.ctx
        wire_ns = self._char_ns * (13 + len(request.payload) + (size or 0))
        ctx.comm_params.timeout_connect = (timeout_ns + wire_ns) / NS_PER_S
        # An echo that never came must not be searched for in this answer.
        ctx.sent_buffer = b""
        self._framer.expect(request, size, ignore_tid)
        self._received = b""
        self._dirty = self._awaiting = True
        self._sent_text = ""
        if sink is not None:
            self._sink = sink
            self._sent_text = describe_request(
                request.dev_id, request.function_code, request.payload
            )
        reply: RawReply | None = None
        try:
            reply = reply_of(await client.execute(False, request))
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # wait_for before 3.12 drops one that meets an answer
        except ModbusIOException:
            raise self._unanswered(timeout_ns) from None
        except (ModbusException, OSError) as error:
            self.close()
            raise self._lost(f"{self.peer}: {error}") from error
        finally:
            self._awaiting = False
            self._active_ns = self._clock.monotonic_ns()
            if sink is not None and self._received:
                sink(False, self._received, received_text(self._framer, request, reply))
        if reply.dev_id != request.dev_id or reply.function_code & 0x7F != request.function_code:
            raise InvalidReply(
                f"asked unit {request.dev_id} function {request.function_code}, "
                f"answered unit {reply.dev_id} function {reply.function_code & 0x7F}"
            )
        if reply.transaction_id != request.transaction_id and not ignore_tid:
            raise InvalidReply("the answer carries transaction 0")
        self._dirty = False
        self._answered = True
        self._silent = 0
        return reply

    def distrust(self) -> None:
        """The last answer was no answer to its question: what follows may be shifted."""
        self._dirty = True

    def recover(self) -> None:
        """After a failed request: abort a network session, keep a serial one for draining."""
        if self._settings.rtu is None:
            self.abort()
        elif self._silent >= SILENT_MAX:
            self.close()
            # We were just speaking: what is heard now are late answers, not another master.
            self._listens = False

    def _lost(self, reason: str) -> LinkError:
        """What to say of a connection; before its first answer certificates may be why."""
        tls = self._settings.tls
        return LinkError(reason, remedy(tls, reason) if tls and not self._answered else "")

    def _unanswered(self, timeout_ns: int) -> LinkError | InvalidReply | ReplyTimeout:
        """What a time-out means, by what came instead of the answer."""
        if self._client is None or not self._client.connected:
            return self._lost(f"{self.peer} closed the connection")
        self._silent += 1
        if self._framer.rejected:
            return InvalidReply(self._framer.rejected)
        if self._received:
            shown = self._received[:16].hex(" ")
            return InvalidReply(f"{len(self._received)} bytes came that are no answer ({shown})")
        return ReplyTimeout(f"no answer within {format_duration(timeout_ns)}")

    async def _settle(self, gap_ns: int) -> None:
        """Wait until the line was silent for the gap; a dirty one until it is drained."""
        quiet_ns = max(self._gap_ns, gap_ns)
        if self._dirty:
            quiet_ns = max(quiet_ns, DRAIN_QUIET_NS)
        if quiet_ns == 0:
            return
        started_ns = self._clock.monotonic_ns()
        while (now_ns := self._clock.monotonic_ns()) - self._active_ns < quiet_ns:
            if now_ns - started_ns > DRAIN_MAX_NS + quiet_ns:
                self.close()
                raise LinkError(f"{self.peer} does not become quiet")
            await asyncio.sleep((quiet_ns - (now_ns - self._active_ns)) / NS_PER_S)

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        if sending:
            if self._sink is not None and self._sent_text:
                self._sink(True, data, self._sent_text)
        else:
            # pymodbus shows all that is still unread, so this is the reply so far.
            self._received = data
            self._heard = max(self._heard, len(data))
            self._active_ns = self._clock.monotonic_ns()
        return data

    def _on_connect(self, connected: bool) -> None:
        if not connected and self._awaiting and self._client is not None:
            answer = self._client.ctx.response_future
            if not answer.done():
                # pymodbus would let the request wait for its time-out.
                answer.set_exception(ConnectionResetError("the connection was closed"))
