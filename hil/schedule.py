"""Random schedules of faults: of a seed, a round and a site, the text of a scenario. Pure.

Three tracks run side by side. Along the first, one thing at a time happens to nodes, links or pair,
with a rest after it in which a pair can become whole again; along the second, things that only
disturb; along the third, each device has its own faults, and its log its own. What may be drawn,
how often and for how long are the rows of `DRAWS`: what the judges can't judge isn't there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Final, NamedTuple

BEGIN_S: Final = 4.0
"""The first fault of a track begins so long after the pair stands, at the earliest."""
END_S: Final = 2.0
"""Every fault ends so long before the round does."""
ROUND_MIN_S: Final = 45.0
ENTRIES_MAX: Final = 900
"""A scenario may have a thousand; very long rounds of very large sites get no more than this."""


class Track(StrEnum):
    """Along which track a thing happens."""

    PAIR = "pair"
    BESIDE = "beside"
    DEVICE = "device"
    LOG = "log"


class Wire(StrEnum):
    """How a device is reached: what may go wrong on the way depends on it."""

    TCP = "tcp"
    SERIAL = "serial"
    OPCUA = "opcua"


ANY: Final = frozenset(Wire)
MODBUS: Final = frozenset({Wire.TCP, Wire.SERIAL})
TCP: Final = frozenset({Wire.TCP})
SERIAL: Final = frozenset({Wire.SERIAL})


class Prone(NamedTuple):
    """A device that may be faulted; `logs` says that the gateway reads a log of it."""

    name: str
    wire: Wire
    logs: bool


class Draw(NamedTuple):
    """A row: a word, how likely it is in its track, its targets, how long it lasts, what it needs.

    `lasts_s` None: it takes no `for`. `rest_s` follows it. `needs` names what the ground must give.
    """

    track: Track
    word: str
    weight: int
    targets: tuple[str, ...] = ()
    lasts_s: tuple[float, float] | None = None
    rest_s: tuple[float, float] = (12.0, 30.0)
    options: Mapping[str, tuple[Any, ...]] = {}
    wires: frozenset[Wire] = ANY
    needs: str = ""


_NODES: Final = ("main", "standby")
_WAYS: Final = ("links", "links", "main", "standby")
_PART: Final = (3.0, 20.0)
_BRIEF: Final = (0.5, 8.0)
_DEVICE_REST: Final = (8.0, 60.0)
_LOG_REST: Final = (30.0, 120.0)


def _pair(
    word: str, weight: int, targets: tuple[str, ...], lasts_s: Any = _PART, **more: Any
) -> Draw:
    return Draw(Track.PAIR, word, weight, targets, lasts_s, **more)


def _device(word: str, weight: int, lasts_s: Any = _BRIEF, **more: Any) -> Draw:
    return Draw(Track.DEVICE, word, weight, (), lasts_s, _DEVICE_REST, **more)


def _log(word: str, weight: int, lasts_s: Any = None, **more: Any) -> Draw:
    return Draw(Track.LOG, word, weight, (), lasts_s, _LOG_REST, **more)


DRAWS: Final = (
    _pair("kill", 6, _NODES, (0.5, 12.0)),
    _pair("restart", 3, _NODES, None),
    _pair("freeze", 4, _NODES, (0.3, 8.0)),
    _pair("cut", 6, _WAYS, (0.3, 15.0)),
    _pair("changeover", 4, ("pair",), None),
    _pair("blackout", 2, ("pair",), (1.0, 8.0), rest_s=(15.0, 30.0)),
    _pair("flap", 2, ("links",), (4.0, 12.0), options={"every": ("300ms", "800ms", "2s")}),
    _pair("corrupt", 2, ("links",), (3.0, 10.0), options={"every": (10, 40)}),
    _pair("fill_disk", 2, _NODES, (5.0, 12.0), rest_s=(15.0, 30.0), needs="disk"),
    _pair("read_only_disk", 1, _NODES, (4.0, 8.0), rest_s=(20.0, 40.0), needs="disk"),
    Draw(Track.BESIDE, "delay", 3, ("links",), (3.0, 15.0), (5.0, 40.0),
         {"ms": (5, 20, 60), "jitter_ms": (0, 30)}),
    Draw(Track.BESIDE, "drop", 3, ("links", "link0"), None, (5.0, 40.0)),
    Draw(Track.BESIDE, "slow_disk", 2, ("a", "b"), (3.0, 12.0), (10.0, 60.0),
         {"ms": (50, 200)}, needs="tamper"),
    # Values of a device are right only while its faults are: what flips a data byte that no check
    # covers (bad_crc on TCP) makes a wrong value that no gateway can know of.
    _device("silence", 4, (1.0, 15.0)),
    _device("delay", 3, options={"ms": (20, 150), "jitter_ms": (0, 100)}, wires=ANY),
    _device("late", 2, options={"ms": (700, 1500)}, wires=MODBUS),
    _device("exception", 2, options={"code": (1, 2, 3, 4)}, wires=MODBUS),
    _device("busy", 2, wires=MODBUS),
    _device("gateway", 2, wires=MODBUS),
    _device("wrong_tid", 2, wires=TCP),
    _device("wrong_unit", 2, wires=MODBUS),
    _device("wrong_function", 2, wires=MODBUS),
    _device("short_count", 2, wires=MODBUS),
    _device("lying_length", 1, wires=MODBUS),
    _device("truncated", 2, wires=MODBUS),
    _device("split", 2, options={"bytes": (1, 3, 7), "ms": (1, 4)}, wires=MODBUS),
    _device("merged", 1, options={"count": (2, 3)}, wires=TCP),
    _device("garbage", 1, wires=MODBUS),
    _device("bad_crc", 2, wires=SERIAL),
    _device("twice", 1, wires=MODBUS),
    _device("hang_up", 2, wires=TCP),
    _device("limit", 1, options={"connections": (1,), "evict": (True, False)}, wires=TCP),
    _device("refuse", 2, (1.0, 12.0), wires=frozenset({Wire.TCP, Wire.OPCUA})),
    _device("drop", 2, None, wires=frozenset({Wire.TCP, Wire.OPCUA})),
    _device("nan", 1),
    _device("power_off", 2, (2.0, 15.0), options={"log": ("keep", "keep", "lose")}),
    _log("log_stop", 2, (3.0, 20.0), wires=MODBUS),
    _log("log_clear", 2, wires=MODBUS),
    _log("log_torn", 2, (2.0, 10.0), wires=MODBUS),
    _log("clock", 2, options={"step": (-60, -3, 5, 90)}, wires=MODBUS),
)  # fmt: skip
"""All that may be drawn."""


class Thing(NamedTuple):
    """One entry of a timeline: when it begins, how long it lasts (None: at once)."""

    at_s: float
    lasts_s: float | None
    word: str
    target: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        lasts = "" if self.lasts_s is None else f", for: {self.lasts_s:g}s"
        options = "".join(f", {key}: {value}" for key, value in self.options.items())
        return f"{{at: {self.at_s:g}s, {self.word}: {self.target}{options}{lasts}}}"


def scenario(
    seed: int,
    round_number: int,
    site: str,
    prone: Sequence[Prone],
    lasts_s: float,
    gives: Collection[str],
    title: str = "",
) -> str:
    """The text of a round: the same for the same arguments, byte for byte.

    `gives` names what the ground gives of `Draw.needs`. Raises ValueError for a round that is too
    short for anything to happen.
    """
    if lasts_s < ROUND_MIN_S:
        raise ValueError(f"a round of {lasts_s:g} s is too short: at least {ROUND_MIN_S:g} s")
    things = list(_things(seed, round_number, prone, lasts_s, gives))
    things = sorted(things, key=lambda thing: thing.at_s)[:ENTRIES_MAX]
    lines = [
        f"# Drawn of seed {seed}, round {round_number}; `hotpair hil run` plays it again.",
        f"scenario: {title or f'Campaign {seed}, round {round_number}'}",
        "promise: Whatever goes wrong at once, every instant is in both histories or declared.",
        f"site: {site}",
        f"lasts: {lasts_s:g}s",
        f"seed: {_random(seed, round_number, 'plant').randrange(1, 1 << 31)}",
        "timeline:",
        *(f"  - {thing}" for thing in things),
    ]
    return "\n".join(lines) + "\n"


def _random(*key: object) -> Random:
    """Its own stream for each track, so that a device more changes nothing of the others."""
    return Random("/".join(map(str, key)))


def _things(
    seed: int, round_number: int, prone: Sequence[Prone], lasts_s: float, gives: Collection[str]
) -> Iterator[Thing]:
    tracks = [(Track.PAIR, "", ANY), (Track.BESIDE, "", ANY)]
    for device in prone:
        wires = frozenset({device.wire})
        tracks.append((Track.DEVICE, device.name, wires))
        if device.logs:
            tracks.append((Track.LOG, device.name, wires))
    for track, name, wires in tracks:
        rows = [row for row in DRAWS if row.track is track and wires & row.wires]
        if not rows:
            continue
        for row, thing in _along(_random(seed, round_number, track, name), rows, name, lasts_s):
            # Left out only now: the others are the same on every machine.
            if not row.needs or row.needs in gives:
                yield thing


def _along(
    random: Random, rows: Sequence[Draw], name: str, lasts_s: float
) -> Iterator[tuple[Draw, Thing]]:
    """What happens along one track; ends before the round does."""
    first = rows[0]
    at_s = BEGIN_S + (0.0 if first.track is Track.PAIR else _drawn(random, (0.0, first.rest_s[1])))
    while True:  # ends: each turn goes on in time
        row = random.choices(rows, [row.weight for row in rows])[0]
        for_s = None if row.lasts_s is None else _drawn(random, row.lasts_s)
        target = name or random.choice(row.targets)
        options = {key: random.choice(values) for key, values in row.options.items()}
        ends_s = at_s + (for_s or 0.0)
        if ends_s > lasts_s - END_S:
            return
        yield row, Thing(round(at_s, 1), for_s, row.word, target, options)
        at_s = round(ends_s + _drawn(random, row.rest_s), 1)


def _drawn(random: Random, between: tuple[float, float]) -> float:
    return round(random.uniform(*between), 1)
