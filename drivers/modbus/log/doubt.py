"""Whether to believe a log that lacks what it had: a PLC in download refuses it, too. Pure.

What is said to be lacking is lost for good, and a download ends. So the log is asked again, until
it has been seen like that for longer than a download lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drivers.modbus.download import PATIENCE_NS
from gateway.model import NS_PER_S

STEP_MAX_NS: Final = 120 * NS_PER_S
"""Counted between two looks at most: while nobody looked it may have been otherwise."""


@dataclass(slots=True)
class Signs:
    """What one look at a log shows beside its records, where only those tell whether it is empty.

    `answered`: a place was; `found`: one had a record; `named`: a register names one that has.
    """

    answered: bool = False
    found: bool = False
    named: bool = False

    @property
    def of_records(self) -> bool:
        """Whether something tells that there are records, though none may be found."""
        return self.found or (self.named and not self.answered)


class Doubt:
    """For how long one log was seen to lack what it had; kept from read to read, in memory only."""

    def __init__(self) -> None:
        self._seen_ns = 0
        self._last_ns: int | None = None

    def lasts(self, now_ns: int) -> bool:
        """It was seen so once more, at `now_ns` UTC: whether that is still to be doubted."""
        if self._last_ns is not None:
            self._seen_ns += min(max(now_ns - self._last_ns, 0), STEP_MAX_NS)
        self._last_ns = now_ns
        return self._seen_ns < PATIENCE_NS

    def over(self) -> None:
        """The log was read to the end."""
        self._seen_ns, self._last_ns = 0, None
