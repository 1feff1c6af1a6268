"""What to ask of which log next: a function of the gaps, what the logs can do, and the time.

Pure. Data that a log is about to overwrite comes first; then as the device's `order` says. What is
asked is bounded, so that nothing else waits long for its turn, and a read that broke off goes on
where it stopped. A log that can't be read now is left alone for a while, never given up; a log that
was read through and ends before the gap does is asked again a few times, then what it lacks is
lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.driver.log import LogSpec, LogWanted
from gateway.errors import BadInput
from gateway.model import NS_PER_MS, NS_PER_S, Cause, Gap, GapState, format_time

Stretch = tuple[int, int]
"""[from, to) in ns UTC."""

SLICE_RECORDS: Final = 10_000
"""Records that one read may bring."""
SLICE_NS: Final = 3_600 * NS_PER_S
"""The same for a log whose resolution is not known."""
DANGER_SHARE: Final = 10
DANGER_MIN_NS: Final = 600 * NS_PER_S
"""Data is in danger in the last tenth of the log's depth, or ten minutes before it is gone."""
BACKOFF_MIN_NS: Final = 2 * NS_PER_S
BACKOFF_MAX_NS: Final = 60 * NS_PER_S
ENDED_TRIES: Final = 4
"""How often a log that ends too early is asked whether it went on."""
NOT_LOGGED: Final = "the device's log has no such point"
AHEAD_NS: Final = 60 * NS_PER_S
"""How far the clock of who asks may be ahead of this node's."""
ASKED_BY_HAND: Final = frozenset({Cause.DISABLED})
"""Gaps that somebody wanted: they are filled only when somebody asks."""
NEVER: Final = frozenset({Cause.RETENTION})


@dataclass(slots=True)
class LogMemory:
    """What is remembered of one log: when to try again, and where it ended last.

    `learned`: it just told what it records, and is read at once; that is no failure.
    """

    retry_ns: int = 0
    learned: bool = False
    failures: int = 0
    ended_ns: int | None = None
    ended_tries: int = 0
    why: str = ""

    def failed(self, now_ns: int, why: str, retry_after_ns: int | None = None) -> None:
        """It could not be read: leave it alone for a while, twice as long each time.

        A log that may be read at once has only told what it records, unless it says so twice.
        """
        self.learned = retry_after_ns == 0 and not self.learned
        if self.learned:
            self.retry_ns, self.why = 0, ""
            return
        wait_ns = min(BACKOFF_MAX_NS, BACKOFF_MIN_NS << min(self.failures, 10))
        self.failures += 1
        self.retry_ns = now_ns + (retry_after_ns or wait_ns)
        self.why = why

    def read(self, now_ns: int, wanted: LogWanted, through_ns: int, resolution_ns: int) -> bool:
        """It was read through `through_ns`; whether what is lacking after that is lost."""
        self.failures, self.retry_ns, self.why, self.learned = 0, 0, "", False
        if through_ns >= wanted.to_ns:
            self.ended_ns, self.ended_tries = None, 0
            return False
        again = self.ended_ns == through_ns
        self.ended_tries = self.ended_tries + 1 if again else 1
        self.ended_ns = through_ns
        if self.ended_tries >= ENDED_TRIES:
            self.ended_ns, self.ended_tries = None, 0
            return True
        wait_ns = max(resolution_ns, NS_PER_S) << (self.ended_tries - 1)
        self.retry_ns = now_ns + min(BACKOFF_MAX_NS * 60, wait_ns)
        self.why = "the log has not come that far yet"
        return False


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What the planner knows of a device: its logs, the points of each class, its gaps.

    `forced` are stretches that somebody asked for by hand; `resume` tells where the read of a log
    broke off, by (log, the time that it had come to). Logs that are `waiting` are not read now:
    what they would give was read, and is yet to be acknowledged.
    """

    name: str
    logs: Sequence[LogSpec]
    classes: Mapping[str, Sequence[str]]
    gaps: Sequence[Gap]
    memory: Mapping[str, LogMemory]
    forced: Sequence[Stretch] = ()
    resume: Mapping[tuple[str, int], int] = field(default_factory=dict)
    waiting: Collection[str] = ()


class Ask(NamedTuple):
    """Read this stretch of a log; `span` is the whole stretch that it is part of."""

    device: str
    log: LogSpec
    wanted: LogWanted
    span: Stretch


class Declare(NamedTuple):
    """No log of the device has these points of the class: the gap is lost for them."""

    device: str
    scan_class: str
    stretch: Stretch
    points: tuple[str, ...]


class Rest(NamedTuple):
    """Nothing to do before `until_ns`, or before something changes (None)."""

    until_ns: int | None


Decision = Ask | Declare | Rest


def wanted_gaps(device: DeviceView) -> list[Gap]:
    """The gaps to be filled: open ones, and by hand any but the filled ones."""
    return [
        gap
        for gap in device.gaps
        if gap.cause not in NEVER
        and (
            (gap.state is GapState.OPEN and gap.cause not in ASKED_BY_HAND)
            or (gap.state is not GapState.FILLED and _within(gap, device.forced))
        )
    ]


def _within(gap: Gap, stretches: Iterable[Stretch]) -> bool:
    return any(gap.from_ns < end and gap.to_ns > start for start, end in stretches)


def check_asked(from_ns: int, to_ns: int, now_ns: int) -> None:
    """Refuse a stretch that nobody can mean. Raises BadInput."""
    if from_ns >= to_ns:
        raise BadInput(
            f"the stretch ends at {format_time(to_ns)}, before it begins at {format_time(from_ns)}",
            "Write --from before --to",
        )
    if from_ns < 0:
        raise BadInput("the stretch begins before 1970", "Ask for what a journal can hold")
    if to_ns > now_ns + AHEAD_NS:
        raise BadInput(
            f"{format_time(to_ns)} is in the future: here it is {format_time(now_ns)}",
            "Ask for what has passed",
        )


def decide(
    now_ns: int, devices: Sequence[DeviceView], stateful_refused: str | None = None
) -> Decision:
    """What to do next for the devices of one line.

    `stateful_refused` says why no log may be read that changes by reading (rules.md 8).
    """
    best: tuple[tuple[int, int], Ask] | None = None
    wake_ns: int | None = None
    for device in devices:
        wanted = wanted_gaps(device)
        if (lost := _not_logged(device, wanted)) is not None:
            return lost
        for log in device.logs:
            if log.name in device.waiting or (log.stateful and stateful_refused is not None):
                continue
            stretches = list(_stretches(device, log, wanted))
            if not stretches:
                continue
            memory = device.memory.get(log.name)
            if memory is not None and memory.retry_ns > now_ns:
                wake_ns = min(wake_ns or memory.retry_ns, memory.retry_ns)
                continue
            for stretch in stretches:
                ranked = _ranked(now_ns, device, log, stretch)
                if best is None or ranked[0] < best[0]:
                    best = ranked
    return best[1] if best is not None else Rest(wake_ns)


def _not_logged(device: DeviceView, gaps: Sequence[Gap]) -> Declare | None:
    """A gap of a class that no log of the device has a point of.

    Of a device without any log nothing is declared: it shows as lost, and is filled if a server
    that has stopped keeping history begins again.
    """
    if not device.logs:
        return None
    logged = {point for log in device.logs for point in log.points}
    for gap in gaps:
        points = device.classes.get(gap.scan_class, ())
        if gap.state is GapState.OPEN and points and logged.isdisjoint(points):
            stretch = (gap.from_ns, gap.to_ns)
            return Declare(device.name, gap.scan_class, stretch, tuple(points))
    return None


def needed(device: DeviceView, log: LogSpec) -> list[Stretch]:
    """What a log is still to be read for; in order."""
    return list(_stretches(device, log, wanted_gaps(device)))


def _stretches(device: DeviceView, log: LogSpec, gaps: Sequence[Gap]) -> Iterator[Stretch]:
    """What a log could fill, classes together: they are in the same records."""
    own = set(log.points)
    spans = sorted(
        (gap.from_ns, gap.to_ns)
        for gap in gaps
        if not own.isdisjoint(gap.points or device.classes.get(gap.scan_class, ()))
    )
    merged: list[Stretch] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    yield from merged


def _ranked(
    now_ns: int, device: DeviceView, log: LogSpec, stretch: Stretch
) -> tuple[tuple[int, int], Ask]:
    start, end = stretch
    slice_ns = SLICE_RECORDS * log.resolution_ns if log.resolution_ns else SLICE_NS
    depth_ns = log.depth_ns
    if depth_ns is None and log.depth_records and log.resolution_ns:
        depth_ns = log.depth_records * log.resolution_ns
    left_ns = None if depth_ns is None else start + depth_ns - now_ns
    endangered = left_ns is not None and left_ns < max(
        (depth_ns or 0) // DANGER_SHARE, DANGER_MIN_NS
    )
    newest = log.order == "newest" and not endangered
    if newest:
        part = (max(start, end - slice_ns), end)
        key = (1, -end)
    else:
        part = (start, min(end, start + slice_ns))
        key = (0, left_ns or 0) if endangered else (1, start)
    resume = device.resume.get((log.name, part[0]))
    return key, Ask(device.name, log, LogWanted(log.name, *part, resume), stretch)


def estimate_ms(left_ns: int, done_ns: int, took_ns: int) -> float | None:
    """How long the rest takes, at the pace so far; None while nothing was read."""
    if done_ns <= 0 or took_ns <= 0:
        return None
    return left_ns / done_ns * took_ns / NS_PER_MS
