"""Whether a device that refuses everything is in download, or was made otherwise. Pure.

A PLC in download or start-up answers exceptions 1 to 3 to whatever is asked, for seconds or
minutes, and then gives again what it gave before. That is a fault, and history has a gap there; a
register that is gone is a matter of configuration. The device tells which: by what else it gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.model import NS_PER_S

PATIENCE_NS: Final = 600 * NS_PER_S
"""So long everything may be refused until each address is looked at by itself."""


class Download:
    """What one unit gave and refused, by scan class; times are monotonic.

    `given` are the classes that it is known to have answered once: the device fact `given`.
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        self._given = set(given)
        self._given_ns = -1
        self._refusing_ns: dict[str, int] = {}
        self._told = False

    @property
    def given(self) -> list[str]:
        """As a device fact."""
        return sorted(self._given)

    def gave(self, scan_class: str, now_ns: int) -> bool:
        """At least one block of a scan was answered with data; whether that is new."""
        is_new = scan_class not in self._given
        self._given.add(scan_class)
        self._given_ns = now_ns
        self._refusing_ns.pop(scan_class, None)
        self._told = False
        return is_new

    def lasts(self, scan_class: str, now_ns: int) -> bool:
        """Every block of a scan was refused: whether the device as a whole is not ready."""
        if scan_class not in self._given:
            return False
        since_ns = self._refusing_ns.setdefault(scan_class, now_ns)
        # Another class was answered meanwhile: only these addresses are refused.
        return self._given_ns < since_ns and now_ns - since_ns < PATIENCE_NS

    def is_news(self) -> bool:
        """Whether it has not been told yet, since the device gave something last."""
        told, self._told = self._told, True
        return not told
