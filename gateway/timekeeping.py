"""This machine's clock: steered to each second, and watched for being set by a time server.

The kernel knows whether somebody disciplines it (adjtimex(2)); chronyd, ntpd and
systemd-timesyncd all tell it. A clock that nobody sets wanders by seconds a day, and with it every
time in history: that is said, never refused.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.clock import SystemClock
from gateway.model import NS_PER_S

LOOK_EVERY_S: Final = 10
GRACE_S: Final = 60
"""A machine that has just started needs this long until its time server has set it."""
SEVERITY: Final = 500
UNSYNCHRONISED: Final = (
    "the clock of this machine is not synchronised: set up chrony or systemd-timesyncd"
)
SYNCHRONISED: Final = "the clock of this machine is synchronised again"
_STA_UNSYNC: Final = 0x40
_TIME_ERROR: Final = 5


class KernelClock(NamedTuple):
    """What the kernel says of its clock; `synchronised` is None where it says nothing."""

    synchronised: bool | None
    error_max_us: int


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, adjtimex(2)."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance")),
        *((name, ctypes.c_long) for name in ("seconds", "microseconds")),
        *((name, ctypes.c_long) for name in ("tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("spare", ctypes.c_int * 11),
    ]


def kernel_clock() -> KernelClock:
    """Ask the kernel, which needs no right: nothing is set."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):  # another system than Linux
        return KernelClock(None, 0)
    found = _Timex(modes=0)
    state = ask(ctypes.byref(found))
    if state < 0:
        return KernelClock(None, 0)
    unsynchronised = state == _TIME_ERROR or bool(found.status & _STA_UNSYNC)
    return KernelClock(not unsynchronised, int(found.maxerror))


class Timekeeper:
    """Steers the node's clock; `stepped(ns)` hears of a clock that was set."""

    def __init__(
        self,
        clock: SystemClock,
        stepped: Callable[[int], None],
        alarm: Callable[[int, str], None],
        kernel: Callable[[], KernelClock] = kernel_clock,
    ) -> None:
        self.known = kernel()
        self._clock = clock
        self._stepped = stepped
        self._alarm = alarm
        self._kernel = kernel
        self._began_ns = clock.monotonic_ns()
        self._told = False

    async def run(self) -> None:
        """Steer each second, look each tenth."""
        count = 0
        while True:
            await asyncio.sleep(1)
            count += 1
            step_ns = self._clock.discipline()
            if step_ns:
                self._stepped(step_ns)
            if count % LOOK_EVERY_S == 0:
                self.look(self._clock.monotonic_ns())

    def look(self, now_ns: int) -> None:
        """Tell what has changed about the kernel's clock."""
        self.known = self._kernel()
        fresh = now_ns - self._began_ns < GRACE_S * NS_PER_S
        if self.known.synchronised is False and not self._told and not fresh:
            self._told = True
            self._alarm(SEVERITY, UNSYNCHRONISED)
        elif self.known.synchronised and self._told:
            self._told = False
            self._alarm(SEVERITY, SYNCHRONISED)
