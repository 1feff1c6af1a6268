"""Heartbeats over a null-modem cable: the way that is left when all networks are gone.

Frames are those of heartbeat.py. The port is opened for this process alone, and opened again after
it was unplugged. Frames go out no faster than the line carries them, so that none grows old in the
kernel's queue; only the newest waits.
"""

from __future__ import annotations

import asyncio
import termios
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import serial
import serial_asyncio

from gateway.clock import Clock
from gateway.config.node import LinkSerial
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.heartbeat import Frame, FrameDecoder, Garbled, Heartbeat, encode_frame
from gateway.pair.stream import words

NAME: Final = "serial"
GOODBYES: Final = 3
REOPEN_S: Final = 1.0
LEAVING_MAX_NS: Final = 600 * NS_PER_MS
_BITS_PER_BYTE: Final = 10
_READ_MAX: Final = 1 << 16


class SerialLink(asyncio.Protocol):
    """The line, open or not."""

    def __init__(
        self,
        settings: LinkSerial,
        clock: Clock,
        hear: Callable[[Heartbeat], None],
        changed: Callable[[str], None],
    ) -> None:
        """`changed` is told why the line is down, and "" when it is open."""
        self._settings = settings
        self._clock = clock
        self._hear = hear
        self._changed = changed
        self._decoder = FrameDecoder()
        self._unheard: deque[Heartbeat] = deque()
        self._transport: serial_asyncio.SerialTransport | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: Heartbeat | None = None
        self._free_ns = 0
        self._sequence = 0
        self._last_sequence: int | None = None
        self.since_ns = 0
        self.sent = 0
        self.doubled = 0

    @property
    def up(self) -> bool:
        """Whether the port is open."""
        return self._transport is not None

    @property
    def garbled(self) -> int:
        """Frames that arrived damaged."""
        return self._decoder.garbled

    def start(self) -> None:
        """Open the port, now and whenever it was lost."""
        self._task = asyncio.create_task(self._keep_open(), name="serial link")

    async def stop(self) -> None:
        """Close it, after what was said last had its time to leave."""
        for _ in range(2):  # What is under way, then what waits: a goodbye, as a rule.
            if self._transport is not None:
                left_ns = min(self._free_ns - self._clock.monotonic_ns(), LEAVING_MAX_NS)
                await asyncio.sleep(max(0, left_ns) / NS_PER_S)
                self._go_on()
        for running in (self._task, self._timer):
            if running is not None:
                running.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self._drop()

    async def _keep_open(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._lost.clear()
                await serial_asyncio.create_serial_connection(
                    loop,
                    lambda: self,
                    self._settings.port,
                    baudrate=self._settings.baudrate,
                    exclusive=True,
                )
                await self._lost.wait()
            except (OSError, ValueError, termios.error) as error:
                self._changed(f"{self._settings.port} can't be opened: {words(error)}")
            await asyncio.sleep(REOPEN_S)

    # ------------------------------------------------------------------- asyncio's callbacks

    def connection_made(self, transport: Any) -> None:
        """The port is open."""
        self._transport = transport
        self._decoder.feed(b"\0")  # What was cut off when it was lost ends here.
        self._free_ns = 0
        self.since_ns = self._clock.monotonic_ns()
        self._changed("")

    def connection_lost(self, exc: Exception | None) -> None:
        """The port is gone."""
        if self._transport is not None:
            self._transport = None
            self._changed(f"{self._settings.port} was lost: {words(exc) if exc else 'closed'}")
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._take(data)
        self._tell()

    def _take(self, data: bytes) -> None:
        for item in self._decoder.feed(data):
            if isinstance(item, Garbled):
                continue
            if self._is_doubled(item):
                self.doubled += 1
            self._unheard.append(item.heartbeat)

    def _is_doubled(self, item: Frame) -> bool:
        last, self._last_sequence = self._last_sequence, item.sequence
        # Counted modulo 2^32: what is not ahead is behind.
        return last is not None and not 0 < (item.sequence - last) & 0xFFFFFFFF < 1 << 31

    def _tell(self) -> None:
        while self._unheard:
            self._hear(self._unheard.popleft())

    # --------------------------------------------------------------------------- speaking

    def send(self, heartbeat: Heartbeat) -> None:
        """Send now, or as the newest as soon as the line is free; a goodbye leaves three times."""
        if self._transport is None:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._free_ns or self._transport.get_write_buffer_size():
            self._waiting = heartbeat
            if self._timer is None:
                wait_ns = max(self._free_ns - now_ns, NS_PER_MS)
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait_ns / NS_PER_S, self._go_on)
            return
        stamped = msgspec.structs.replace(heartbeat, utc_ns=self._clock.utc_ns())
        wire = b"".join(self._frame(stamped) for _ in range(GOODBYES if heartbeat.goodbye else 1))
        self._free_ns = now_ns + len(wire) * _BITS_PER_BYTE * NS_PER_S // self._settings.baudrate
        self.sent += 1
        self._transport.write(wire)

    def _frame(self, heartbeat: Heartbeat) -> bytes:
        self._sequence += 1
        return encode_frame(self._sequence, heartbeat)

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.send(waiting)

    # ---------------------------------------------------------------------------- draining

    def drain(self) -> None:
        """Tell every heartbeat that lies unread, here or in the kernel."""
        try:
            while self._transport is not None:
                port: serial.Serial = self._transport.serial
                if not (size := port.in_waiting):
                    break
                self._take(port.read(min(size, _READ_MAX)))
        except OSError:
            pass  # The loop's reader will find it lost, and say so.
        self._tell()

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
