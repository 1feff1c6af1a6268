"""Where reads of history go on: the continuation points of a session (OPC 10000-11 6.3).

A continuation point is a random name for where a read stopped; it belongs to one session, is used
once, and dies with the session, when released, or after a while.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.model import NS_PER_MS
from gateway.server.settings import Limits

_NAME_BYTES: Final = 16


@dataclass(slots=True)
class ContinuationPoints:
    """The continuation points of one session: what is left of a read, and until when (ns)."""

    kept: OrderedDict[bytes, tuple[Any, int]] = field(default_factory=OrderedDict)

    def keep(self, rest: Any, now_ns: int, limits: Limits) -> bytes | None:
        """A name for where a read goes on; None when the session has too many already."""
        while self.kept and next(iter(self.kept.values()))[1] <= now_ns:
            self.kept.popitem(last=False)
        if len(self.kept) >= limits.max_history_points:
            return None
        name = secrets.token_bytes(_NAME_BYTES)
        self.kept[name] = (rest, now_ns + limits.history_point_ms * NS_PER_MS)
        return name

    def take(self, name: bytes, now_ns: int) -> Any:
        """Where a named read goes on; the name is used up. None if unknown or too old."""
        rest, until_ns = self.kept.pop(name, (None, 0))
        return rest if until_ns > now_ns else None

    def release(self, name: bytes) -> bool:
        """Forget a continuation point; False when it isn't there."""
        return self.kept.pop(name, None) is not None

    def clear(self) -> None:
        """Forget them all: the session ends."""
        self.kept.clear()
