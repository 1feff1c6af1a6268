"""What changes, to whoever listens: each listener has what it has not been told yet, bounded.

Of a point only the newest value waits, of events the newest hundreds; what was passed over is
counted and told, so that a slow listener knows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

LISTENERS_MAX: Final = 48
LISTENERS_PER_CALLER_MAX: Final = 8
EVENTS_WAITING_MAX: Final = 500

T = TypeVar("T", bound="Listener")


class Changes(NamedTuple):
    """Points by number that changed, and how many changes newer ones replaced meanwhile."""

    points: list[int]
    skipped: int


class Listener(Protocol):
    """Somebody with a stream."""

    owner: str


class LiveListener:
    """Wants some points; `numbers` gives them by number in the revision that runs."""

    def __init__(self, owner: str, numbers: Callable[[], Iterable[int]]) -> None:
        self.owner = owner
        self._numbers = numbers
        self._wanted: set[int] | None = None
        self._waiting: set[int] = set()
        self._skipped = 0
        self.anew = True
        self.news = asyncio.Event()
        self.news.set()

    def hear(self, points: Sequence[int] | None) -> None:
        """Points changed; None: numbers mean other points from now on."""
        if points is None:
            self._wanted, self.anew = None, True
            self._waiting.clear()
        elif self._wanted is None:
            return  # all of them will be told anew
        else:
            hit = self._wanted.intersection(points)
            if not hit:
                return
            self._skipped += len(hit & self._waiting)
            self._waiting |= hit
        self.news.set()

    def take(self) -> Changes:
        """What changed since this was asked last; `anew`: everything that is wanted.

        Which numbers those are is looked up here, not in the turn in which a revision is swapped.
        """
        if self._wanted is None:
            self._wanted = set(self._numbers())
        found = Changes(sorted(self._wanted if self.anew else self._waiting), self._skipped)
        self._waiting.clear()
        self._skipped, self.anew = 0, False
        self.news.clear()
        return found


class EventListener:
    """Wants events as they are journalled."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._waiting: deque[dict[str, Any]] = deque(maxlen=EVENTS_WAITING_MAX)
        self._lost = 0
        self.news = asyncio.Event()

    def hear(self, event: dict[str, Any]) -> None:
        """An event was journalled."""
        self._lost += len(self._waiting) == EVENTS_WAITING_MAX
        self._waiting.append(event)
        self.news.set()

    def take(self) -> tuple[list[dict[str, Any]], int]:
        """The events since this was asked last, and how many older ones were dropped."""
        found, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._lost = 0
        self.news.clear()
        return found, lost


class Audience(Generic[T]):
    """The listeners of one kind, no more than a bound, and no more than a few of one caller."""

    def __init__(self) -> None:
        self._listeners: list[T] = []

    def __iter__(self) -> Any:
        return iter(tuple(self._listeners))

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self, listener: T) -> bool:
        """Take one in; False when there are too many."""
        own = sum(other.owner == listener.owner for other in self._listeners)
        if len(self._listeners) >= LISTENERS_MAX or own >= LISTENERS_PER_CALLER_MAX:
            return False
        self._listeners.append(listener)
        return True

    def leave(self, listener: T) -> None:
        """It went away."""
        self._listeners.remove(listener)
