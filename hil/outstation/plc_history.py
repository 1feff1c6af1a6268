"""What an OPC UA PLC recorded by itself: a pure function of the truth and of what befell it.

A record is made at each instant at which the value of a node became another, and when the PLC came
up; none while it had no power. So the history of any stretch is the same whoever asks, and when.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gateway.model import Value
from hil.truth import Signal

KEPT_MAX: Final = 10_000


class Entry(NamedTuple):
    """A record: the value of a node from this instant on; None: it held none (Bad)."""

    time_ns: int
    value: Any


class Stretch(NamedTuple):
    """Something that lasted from here on, until `to_ns` (None: it still does)."""

    from_ns: int
    to_ns: int | None
    value: Value = None

    def holds(self, time_ns: int) -> bool:
        """Whether it lasted at an instant."""
        return self.from_ns <= time_ns and (self.to_ns is None or time_ns < self.to_ns)


Place = tuple[Hashable, int | None]
"""A node, and which element of it."""


@dataclass(slots=True)
class Diary:
    """What befell a PLC since `begun_ns`, the beginning of its history."""

    begun_ns: int
    off: deque[Stretch] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    faults: dict[str, deque[Stretch]] = field(
        default_factory=lambda: {kind: deque(maxlen=KEPT_MAX) for kind in ("nan", "stuck")}
    )
    written: dict[Place, deque[Stretch]] = field(default_factory=dict)

    def power(self, on: bool, now_ns: int, volatile: bool = False) -> None:
        """Its power came or went; a `volatile` history begins anew when it comes."""
        self.fault(None, now_ns)
        _end(self.off, now_ns)
        if not on:
            self.off.append(Stretch(now_ns, None))
        elif volatile:
            self.begun_ns = now_ns

    def fault(self, kind: str | None, now_ns: int) -> None:
        """A fault began; whatever other there was has ended."""
        for stretches in self.faults.values():
            _end(stretches, now_ns)
        if kind in self.faults:
            self.faults[kind].append(Stretch(now_ns, None))

    def wrote(self, place: Place, value: Value, now_ns: int) -> None:
        """A client wrote an element."""
        stretches = self.written.setdefault(place, deque(maxlen=KEPT_MAX))
        _end(stretches, now_ns)
        stretches.append(Stretch(now_ns, None, value))

    def reset(self, now_ns: int) -> None:
        """What was written is forgotten."""
        for stretches in self.written.values():
            _end(stretches, now_ns)

    @property
    def up_ns(self) -> int:
        """When it came up last."""
        return max([self.begun_ns, *(s.to_ns for s in self.off if s.to_ns is not None)])

    def powered(self, time_ns: int) -> bool:
        """Whether it had power at an instant."""
        return time_ns >= self.begun_ns and not any(s.holds(time_ns) for s in self.off)


def _end(stretches: deque[Stretch], now_ns: int) -> None:
    if stretches and stretches[-1].to_ns is None:
        stretches[-1] = stretches[-1]._replace(to_ns=now_ns)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A node that is recorded: the signals of its elements (None: it is a scalar).

    `blank` is held by elements of an array without a signal.
    """

    node: Hashable
    signals: Mapping[int | None, Signal]
    diary: Diary
    blank: Value = 0

    def entries(self, from_ns: int, to_ns: int, reverse: bool = False) -> Iterator[Entry]:
        """The records in [from, to), oldest first, or newest first with `reverse`."""
        from_ns = max(from_ns, self.diary.begun_ns)
        if to_ns <= from_ns:
            return
        for time_ns, _ in itertools.groupby(self._instants(from_ns, to_ns, reverse)):
            if not self.diary.powered(time_ns):
                continue
            value = self._held(time_ns)
            if self.diary.powered(time_ns - 1) and self._held(time_ns - 1) == value:
                continue
            yield Entry(time_ns, value)

    def _instants(self, from_ns: int, to_ns: int, reverse: bool) -> Iterator[int]:
        """When the value may have become another, in order; twice if for two reasons."""
        ways: list[Iterable[int]] = [sorted(self._edges(from_ns, to_ns), reverse=reverse)]
        for signal in self.signals.values():
            first, last = signal.index_at(from_ns - 1) + 1, signal.index_at(to_ns - 1)
            steps = range(first, last + 1)
            ways.append(map(signal.starts_at, reversed(steps) if reverse else steps))
        return heapq.merge(*ways, reverse=reverse)

    def _edges(self, from_ns: int, to_ns: int) -> set[int]:
        found = {self.diary.begun_ns}
        own = (self.diary.written.get((self.node, index), ()) for index in self.signals)
        for stretch in itertools.chain(self.diary.off, *self.diary.faults.values(), *own):
            found |= {stretch.from_ns, to_ns if stretch.to_ns is None else stretch.to_ns}
        return {edge_ns for edge_ns in found if from_ns <= edge_ns < to_ns}

    def _held(self, time_ns: int) -> Any:
        if any(s.holds(time_ns) for s in self.diary.faults["nan"]):
            return None
        if None in self.signals:
            return self._element(None, time_ns)
        size = max(index for index in self.signals if index is not None) + 1
        values = {index: self._element(index, time_ns) for index in self.signals}
        return [values.get(index, self.blank) for index in range(size)]

    def _element(self, index: int | None, time_ns: int) -> Value:
        for stuck in self.diary.faults["stuck"]:
            if stuck.holds(time_ns):
                time_ns = stuck.from_ns
        for stretch in self.diary.written.get((self.node, index), ()):
            if stretch.holds(time_ns):
                return stretch.value
        return self.signals[index].value_at(time_ns)
