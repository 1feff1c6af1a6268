"""Where browsing and reads of history go on: continuation points (OPC 10000-4 section 7.9).

A continuation point is a random name for where an answer stopped; it belongs to one session, is
used once, and dies with the session, when released, or after a while. What all of them hold
together is bounded in bytes.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any, Final, NamedTuple

_NAME_BYTES: Final = 16
REST_BYTES: Final = 1_000
"""What a continuation point takes beside what it holds many of."""
REFERENCE_BYTES: Final = 8
"""Of a list of references, which the address space has anyhow."""


class Room:
    """Room for what all sessions hold, in bytes, as it is estimated by who holds it."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self.taken = 0

    @property
    def left(self) -> int:
        """What nobody has taken."""
        return self._most - self.taken

    def take(self, size: int) -> bool:
        """Take room; False when there isn't so much."""
        if size > self.left:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give it back."""
        self.taken -= size


class _Kept(NamedTuple):
    """What is left of a request, and the bytes it takes; `until_ns` None is as the session."""

    rest: Any
    size: int
    request: int
    until_ns: int | None


class ContinuationPoints:
    """Those of one session and of one service: `most` of them, for `lifetime_ns` or for ever."""

    def __init__(self, room: Room, most: int, lifetime_ns: int | None = None) -> None:
        self._room = room
        self._most = most
        self._lifetime_ns = lifetime_ns
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._requests = 0

    def __len__(self) -> int:
        return len(self._kept)

    def request(self) -> Request:
        """A request that begins: what earlier ones left makes room for what it leaves."""
        self._requests += 1
        return Request(self, self._requests)

    def keep(self, rest: Any, size: int, request: int, now_ns: int) -> bytes | None:
        """As `Request.keep`."""
        self.expire(now_ns)
        size += REST_BYTES
        if size > self._room.left + sum(k.size for k in self._kept.values() if k.request < request):
            return None  # nothing is given up in vain
        while len(self._kept) >= self._most or not self._room.take(size):
            oldest = next(iter(self._kept), None)
            if oldest is None or self._kept[oldest].request >= request:
                return None
            self.release(oldest)
        name = secrets.token_bytes(_NAME_BYTES)
        until_ns = None if self._lifetime_ns is None else now_ns + self._lifetime_ns
        self._kept[name] = _Kept(rest, size, request, until_ns)
        return name

    def take(self, name: bytes, now_ns: int) -> Any:
        """As `Request.take`."""
        self.expire(now_ns)
        kept = self._kept.get(name)
        self.release(name)
        return None if kept is None else kept.rest

    def release(self, name: bytes) -> bool:
        """Forget a continuation point; False when it isn't there."""
        kept = self._kept.pop(name, None)
        if kept is None:
            return False
        self._room.give(kept.size)
        return True

    def expire(self, now_ns: int) -> None:
        """Forget those that are too old."""
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if kept.until_ns is None or kept.until_ns > now_ns:
                return
            self.release(name)

    def clear(self) -> None:
        """Forget them all: the session ends."""
        for name in list(self._kept):
            self.release(name)


class Request:
    """One request, and the continuation points of its session."""

    def __init__(self, points: ContinuationPoints, number: int) -> None:
        self._points = points
        self._number = number

    def keep(self, rest: Any, size: int, now_ns: int) -> bytes | None:
        """A name for where its answer goes on; None when there is no room for it.

        Those of earlier requests of the session are given up for it, the oldest first; `size` is
        what `rest` takes beside REST_BYTES.
        """
        return self._points.keep(rest, size, self._number, now_ns)

    def take(self, name: bytes, now_ns: int) -> Any:
        """Where a named answer goes on; the name is used up. None if unknown or too old."""
        return self._points.take(name, now_ns)

    def release(self, name: bytes) -> bool:
        """Forget a continuation point; False when it isn't there."""
        return self._points.release(name)
