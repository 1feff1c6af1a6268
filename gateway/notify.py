"""What a node tells its supervisor: ready, alive, its role; systemd's sd_notify(3) protocol.

One datagram a message to the socket that NOTIFY_SOCKET names. Nothing is told where there is none,
and a supervisor that doesn't listen is no fault of the node's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final

log = logging.getLogger(__name__)

STATUS_MAX: Final = 300
"""Characters of a status: `systemctl status` shows one line."""
_US_PER_S: Final = 1_000_000


class Notifier:
    """The way to a supervisor; `watchdog_s` is how long it lets a node be silent, 0 for ever."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """What systemd says in the environment, taken out of it: no child may speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period_us = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        given = watched and period_us.isascii() and period_us.isdigit()
        return cls(address, int(period_us) / _US_PER_S if given else 0.0)

    def ready(self) -> None:
        """The node runs."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The node ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people."""
        self._send(f"STATUS={' '.join(text.split())[:STATUS_MAX]}")

    async def keep_alive(self) -> None:
        """Tell twice a period that the loop lives: a loop that hangs is silent, and started anew.

        Without a watchdog this waits for ever.
        """
        if not self.watchdog_s:
            await asyncio.Event().wait()
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def close(self) -> None:
        """Nothing more is told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            log.debug("the supervisor was not told %s: %s", message, error)
