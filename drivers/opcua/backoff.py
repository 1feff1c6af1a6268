"""How long to leave a server alone after a failed attempt. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S


class Failure(Enum):
    """What kind of failure it was: (first pause, longest pause) in ns."""

    REFUSED = (100 * NS_PER_MS, 800 * NS_PER_MS)
    """Costs nothing to try again, and the server may be back at any moment."""
    SILENT = (250 * NS_PER_MS, 2 * NS_PER_S)
    """Each attempt already takes a time-out."""
    UNWANTED = (2 * NS_PER_S, 30 * NS_PER_S)
    """A login or certificate that is refused stays so until a person acts; PLCs lock users out."""


DOUBLINGS_MAX: Final = 16


class Backoff:
    """Doubling pauses with jitter, from the failure's first pause to its longest.

    `uniform(low, high)` is the source of chance.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._failures = 0

    def succeeded(self) -> None:
        """The server works: the next pause is a first one."""
        self._failures = 0

    def pause_ns(self, failure: Failure) -> int:
        """The pause before the next attempt, between half and all of its nominal length."""
        first_ns, longest_ns = failure.value
        nominal_ns = min(longest_ns, first_ns << min(self._failures, DOUBLINGS_MAX))
        self._failures += 1
        return int(nominal_ns * self._uniform(0.5, 1.0))
