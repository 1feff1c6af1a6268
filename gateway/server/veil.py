"""What clients see of the points: the live values, or in a Standby that serves none that there are
none (OPC 10000-4 section 6.6.2.4.5.3: a server that is not active answers Bad_NoCommunication).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.acquisition.live import Live, LiveTable
from gateway.model import Status


class Veil:
    """Stands where a live table is read; `get` costs nothing while it is up."""

    __slots__ = ("_down_ns", "get", "live")

    def __init__(self, live: LiveTable) -> None:
        self.live = live
        self._down_ns: int | None = None
        self.get: Callable[[int], Live] = live.get

    @property
    def is_down(self) -> bool:
        return self._down_ns is not None

    def drop(self, now_ns: int) -> None:
        """Show no values from now on, ns UTC."""
        self._down_ns = now_ns
        self.get = self._nothing

    def lift(self) -> None:
        """Show the live values."""
        self._down_ns = None
        self.get = self.live.get

    def follow(self, live: LiveTable) -> None:
        """Stand before another revision's values, up or down as before."""
        self.live = live
        if self._down_ns is None:
            self.get = live.get

    def _nothing(self, _point: int) -> Live:
        now_ns = self._down_ns or 0
        return Live(None, Status.BAD_NO_COMMUNICATION, now_ns, now_ns)
