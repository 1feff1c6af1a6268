"""Open gaps are counted when somebody looks, and not more often than that is worth."""

from __future__ import annotations

import asyncio

from gateway.errors import JournalError
from gateway.model import NS_PER_S, Cause, Gap, GapState
from gateway.open_gaps import FRESH_NS, Open, OpenGaps


class Clock:
    def __init__(self) -> None:
        self.now_ns = 100 * NS_PER_S

    def utc_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class Journal:
    """Two gaps of a device, one of them lost; each question takes its time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, int, int]] = []
        self.takes_ns = 0
        self.fails = False

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        self.asked.append((device, from_ns, to_ns))
        self.clock.now_ns += self.takes_ns
        if self.fails:
            raise JournalError("gone")
        lost = Gap(device, "fast", 1, 5, Cause.LINK, GapState.LOST)
        return [lost, Gap(device, "slow", 1, 4, Cause.LINK)] if device == "plc1" else []


async def test_a_count_holds_for_a_while_and_is_made_anew_when_asked_for() -> None:
    clock = Clock()
    journal = Journal(clock)
    counts = OpenGaps(journal.gaps, lambda: ["plc1", "plc2"], lambda: 7, clock)
    await counts.counted()
    assert counts.known == {"plc1": Open(1, 3), "plc2": Open(0, 0)}
    assert journal.asked == [("plc1", 7, 100 * NS_PER_S), ("plc2", 7, 100 * NS_PER_S)]
    await counts.counted()
    clock.now_ns += FRESH_NS - 1
    assert counts.known and counts._counting is not None and counts._counting.done()
    clock.now_ns += 1
    journal.takes_ns = NS_PER_S
    assert counts.known == {"plc1": Open(1, 3), "plc2": Open(0, 0)}, "meanwhile the last one"
    await asyncio.wait([counts._counting])
    assert len(journal.asked) == 4
    clock.now_ns += 90 * NS_PER_S
    assert counts.known and len(journal.asked) == 4, "what took 2 s holds for 100 s"


async def test_a_journal_that_fails_leaves_what_was_counted() -> None:
    clock = Clock()
    journal = Journal(clock)
    counts = OpenGaps(journal.gaps, lambda: ["plc1"], lambda: 7, clock)
    await counts.counted()
    journal.fails = True
    clock.now_ns += FRESH_NS
    assert counts.known == {"plc1": Open(1, 3)}
    assert counts._counting is not None
    await asyncio.wait([counts._counting])
    assert counts._counting.exception() is None
    assert counts.known == {"plc1": Open(1, 3)}
