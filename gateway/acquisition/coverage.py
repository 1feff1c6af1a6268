"""What may be claimed: four times a second, through when scan classes are complete, and where not.

Pure. A key is (device, scan class). `through_ns` of a key is the first instant not yet answered
for: after a good scan that is its next scan instant. A record never claims what is not proven. It
claims up to now, and for a key that is late only as far as that key is complete; the next record
goes on from there. A key late for longer than its patience is declared as a hole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.journal.records import Behind, Coverage, Hole
from gateway.model import NS_PER_MS, NS_PER_S, Cause

Key = tuple[str, str]
PATIENCE_NS: Final = 3 * NS_PER_S
CLAIM_NS: Final = NS_PER_S // 4
"""From record to record: a takeover's gap begins with the last one, so it is shorter by that."""
BEHIND_MANY: Final = 4
"""While a record names more keys than that, the next one waits for the second: they add up."""
BEHIND_NS: Final = 100 * NS_PER_MS
"""A key that is less late is not named: the claims of all wait for it. Scans take such times."""
HOLES_KEPT_MAX: Final = 64
"""Closed holes of one key between two records; beyond that they are joined into one."""


@dataclass(slots=True)
class _State:
    claimed_ns: int
    """Up to when records told of it, as complete or as a hole."""
    through_ns: int
    patience_ns: int
    hole_from_ns: int | None = None
    cause: Cause = Cause.STARTING
    closed: list[tuple[int, int, Cause]] = field(default_factory=list)
    unheard: bool = False
    """No hole, though this term has no value of the key yet: the first scan brings it."""
    first_ns: int | None = None
    """When that first value came, until a record's claim reaches it."""

    def open(self, from_ns: int, cause: Cause) -> None:
        if self.hole_from_ns is None or from_ns < self.hole_from_ns:
            self.hole_from_ns = from_ns
        elif self.cause is not cause and from_ns > self.hole_from_ns:
            self.close(from_ns)
            self.hole_from_ns = from_ns
        self.cause = cause

    def close(self, to_ns: int) -> None:
        if self.hole_from_ns is None:
            return
        if to_ns > self.hole_from_ns:
            self.closed.append((self.hole_from_ns, to_ns, self.cause))
            if len(self.closed) > HOLES_KEPT_MAX:
                first, last = self.closed[0], self.closed[-1]
                self.closed = [(first[0], last[1], first[2])]
        self.hole_from_ns = None


class CoverageTracker:
    """The claims of one node about the devices of one revision since `start_ns`."""

    def __init__(self, keys: Iterable[tuple[Key, int]], revision: int, start_ns: int) -> None:
        self._revision = revision
        self._since_ns = start_ns
        self._named = 0
        self._states = {
            key: _State(start_ns, start_ns, patience_ns, start_ns) for key, patience_ns in keys
        }

    @property
    def through_ns(self) -> int:
        """The end of the last record: every key that is not behind was told of up to it."""
        return self._since_ns

    @property
    def complete_ns(self) -> int:
        """Up to when records told of every key."""
        return min((self._since_ns, *(state.claimed_ns for state in self._states.values())))

    def wait_ns(self, now_ns: int) -> int:
        """From now until the next record is due."""
        pace_ns = NS_PER_S if self._named > BEHIND_MANY else CLAIM_NS
        return pace_ns - now_ns % pace_ns

    def succeed(
        self, keys: Iterable[tuple[Key, int]], revision: int, kept: Collection[Key]
    ) -> CoverageTracker:
        """The tracker of another revision: its claims begin where the last record of this ended.

        What is known of the keys in `kept` holds on; every other key waits for a good scan, and has
        a hole from where this one told of it last.
        """
        after = CoverageTracker(keys, revision, self._since_ns)
        for key, state in after._states.items():
            if key in self._states:
                state.claimed_ns = state.hole_from_ns = self._states[key].claimed_ns
        for key in kept:
            after._states[key] = self._states[key]
        return after

    def vouched(self, key: Key, through_ns: int) -> None:
        """Another node answered for this key until `through_ns`: no hole before its first scan."""
        state = self._states[key]
        state.hole_from_ns = None
        state.through_ns = through_ns
        state.unheard = True

    def scanned(self, key: Key, at_ns: int, through_ns: int) -> bool:
        """A good scan at `at_ns` makes the key complete through `through_ns`.

        True when it ends a hole: the scan must then be kept whole, for a stream to start with.
        """
        state = self._states[key]
        if at_ns > state.through_ns + state.patience_ns and state.hole_from_ns is None:
            state.open(state.through_ns, Cause.OVERRUN)
        opened = state.hole_from_ns is not None
        state.close(at_ns)
        # A delivery that was asked for before the clock was set proves no more than its own moment.
        proven_ns = at_ns if opened else 0
        if state.unheard:  # the claim must reach the first value, which holds for what is before it
            proven_ns = at_ns + 1
            state.unheard, state.first_ns = False, at_ns
        state.through_ns = max(state.through_ns, through_ns, proven_ns)
        return opened

    def failed(self, key: Key, cause: Cause, at_ns: int) -> None:
        """Nothing is complete from where the key was complete through, and from `at_ns` at latest.

        At latest, because from then on history holds Bad samples, though the next instant of a
        slow class may be far away.
        """
        state = self._states[key]
        known = state.hole_from_ns is not None
        state.open(at_ns if known else min(at_ns, state.through_ns), cause)

    def skipped(self, key: Key, from_ns: int, to_ns: int, cause: Cause) -> None:
        """The stretch [from, to) holds scan instants that nobody answered for.

        The instant before it was answered late; that is right only where a value from before holds.
        """
        state = self._states[key]
        if state.unheard:
            from_ns = min(from_ns, state.through_ns)
        if state.hole_from_ns is None and to_ns > from_ns:
            state.closed.append((from_ns, to_ns, cause))

    def failed_all(self, cause: Cause, at_ns: int) -> None:
        """No class is complete from `at_ns`: the store failed, or the clock was set."""
        for key in self._states:
            self.failed(key, cause, at_ns)

    @property
    def classes(self) -> tuple[Key, ...]:
        """All (device, scan class), in the order of the site."""
        return tuple(self._states)

    def told_ns(self, key: Key) -> int:
        """Up to when records told of the key, as complete or as a hole."""
        return self._states[key].claimed_ns

    def in_hole(self, key: Key) -> bool:
        """Whether the key waits for a good scan."""
        return self._states[key].hole_from_ns is not None

    def record(self, now_ns: int, last: Cause | None = None) -> Coverage | None:
        """The next record, up to now or nearly so; None when time did not move.

        With `last`, for the last of a term, it waits for nobody: who is late has a hole of that
        cause.
        """
        through_ns = now_ns
        for state in self._states.values():
            if state.hole_from_ns is None and state.through_ns < through_ns:
                if last is not None:
                    state.open(state.through_ns, last)
                elif state.through_ns < now_ns - state.patience_ns:
                    state.open(state.through_ns, Cause.OVERRUN)
                elif state.through_ns >= now_ns - BEHIND_NS:
                    through_ns = min(through_ns, state.through_ns)
        return self._through(through_ns)

    def turn(self, now_ns: int) -> Coverage | None:
        """The last record of a term, up to now: from now on another term of this node claims.

        Who is late is the new term's to claim from where it was complete through.
        """
        record = self._through(now_ns)
        for state in self._states.values():
            if state.hole_from_ns is None:  # what was complete is in the old stream
                state.unheard = True
            if state.first_ns is not None:  # but not what a first value at this very moment proved
                state.through_ns, state.first_ns = state.claimed_ns, None
        return record

    def _through(self, through_ns: int) -> Coverage | None:
        if through_ns <= self._since_ns:
            return None
        holes: list[Hole] = []
        behind: list[Behind] = []
        for (device, scan_class), state in self._states.items():
            since_ns, end_ns = state.claimed_ns, through_ns
            if state.hole_from_ns is None:
                end_ns = max(since_ns, min(state.through_ns, through_ns))
            if state.first_ns is not None:
                if state.first_ns < end_ns:
                    state.first_ns = None
                else:  # before its first value nothing is known
                    end_ns = since_ns
            if (since_ns, end_ns) != (self._since_ns, through_ns):
                behind.append(Behind(device, scan_class, since_ns, end_ns))
            state.claimed_ns = end_ns
            if not state.closed and state.hole_from_ns is None:
                continue
            stretches = list(state.closed)
            if state.hole_from_ns is not None:
                stretches.append((state.hole_from_ns, end_ns, state.cause))
            for from_ns, to_ns, cause in stretches:
                start_ns, stop_ns = max(from_ns, since_ns), min(to_ns, end_ns)
                if start_ns < stop_ns:
                    holes.append(Hole(device, scan_class, start_ns, stop_ns, cause.value))
            state.closed = [closed for closed in state.closed if closed[1] > end_ns]
        record = Coverage(self._revision, self._since_ns, through_ns, tuple(holes), tuple(behind))
        self._since_ns, self._named = through_ns, len(behind)
        return record
