"""Random schedules of faults: of a seed, a round and a site, the text of a scenario. Pure.

Three tracks run side by side. Along the first, one thing at a time happens to nodes, links or pair,
or two of `TWOS` at once, with a rest after it in which a pair can become whole again; along the
second, things that only disturb; along the third, each device has its own faults, and its log its
own. What may be drawn, how often and for how long are the rows of `DRAWS` and `TWOS`: what the
judges can't judge isn't there. Of a Main whose clock is set by more than a second nobody can say
what its stamps must be, so only a Standby's is, while nothing can make it Main.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Final, NamedTuple

from hil.words import TOGETHER

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


class Two(NamedTuple):
    """Two things of the pair: the second begins while the first lasts, and may outlast it.

    `together` says that both strike it: then who may poll, and how long a takeover takes, is told
    by neither alone, and the scenario says so.
    """

    weight: int
    first: Draw
    second: Draw
    together: bool = True


_NODES: Final = ("main", "standby")
_EITHER: Final = ("a", "b")
"""In two at once: while there are two Mains, or none, nobody is meant by `main`."""
OTHER: Final = "the other"
"""The node that the first of two is not done to."""
TWO_SHARE: Final = 0.25
"""So many of what strikes the pair are two at once."""
TWO_REST_S: Final = (18.0, 32.0)
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
    _pair("corrupt", 2, ("links",), (3.0, 10.0), options={"every": (10, 40)}, needs="proxies"),
    _pair("fill_disk", 2, _NODES, (5.0, 12.0), rest_s=(15.0, 30.0), needs="disk"),
    _pair("read_only_disk", 1, _NODES, (4.0, 8.0), rest_s=(20.0, 40.0), needs="disk"),
    _pair("expire_certificate", 2, _EITHER, (4.0, 15.0), rest_s=(25.0, 45.0), needs="tls"),
    _pair("step_clock", 2, ("standby",), (3.0, 12.0), options={"seconds": (-90, -3, 5, 3600)},
          needs="tamper"),
    # Less than a second is slewed, at most 500 ppm (rules.md 4): nothing is stamped wrongly.
    _pair("step_clock", 1, _NODES, (3.0, 12.0), options={"seconds": (-0.4, 0.4)}, needs="tamper"),
    Draw(Track.BESIDE, "delay", 3, ("links",), (3.0, 15.0), (5.0, 40.0),
         {"ms": (5, 20, 60), "jitter_ms": (0, 30)}, needs="proxies"),
    Draw(Track.BESIDE, "drop", 3, ("links", "link0"), None, (5.0, 40.0), needs="proxies"),
    Draw(Track.BESIDE, "slow_disk", 2, ("a", "b"), (3.0, 12.0), (10.0, 60.0),
         {"ms": (50, 200)}, needs="tamper"),
    Draw(Track.BESIDE, "stranger", 2, _EITHER, (3.0, 15.0), (5.0, 40.0)),
    Draw(Track.BESIDE, "stranger", 2, _EITHER, (3.0, 15.0), (5.0, 40.0),
         {"door": ("link", "opcua")}),
    Draw(Track.BESIDE, "foreign_peer", 2, _EITHER, (4.0, 12.0), (10.0, 60.0)),
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
    _device("forget", 1, None, wires=frozenset({Wire.OPCUA})),
    _device("nan", 1),
    _device("stuck", 2),
    _device("power_off", 2, (2.0, 15.0), options={"log": ("keep", "keep", "lose")}),
    _log("log_stop", 2, (3.0, 20.0), wires=MODBUS),
    _log("log_clear", 2, wires=MODBUS),
    _log("log_torn", 2, (2.0, 10.0), wires=MODBUS),
    # By 1, 2 and 3 a device says that this log is not there: it is asked again ten minutes later,
    # one that is locked (`log_hold`) after five. So long no round waits.
    _log("log_refuse", 2, (2.0, 15.0), options={"code": (4, 6)}, wires=MODBUS),
    _log("log_shrink", 2, (3.0, 20.0), options={"capacity": (2, 30)}, wires=MODBUS),
    _log("log_overrun", 1, options={"kept": (1, 10)}, wires=MODBUS),
    _log("log_wrong_index", 1, wires=MODBUS),
    _log("clock", 2, options={"step": (-60, -3, 5, 90)}, wires=MODBUS),
)  # fmt: skip
"""All that may be drawn alone."""


_CUT: Final = _pair("cut", 0, ("links", "links", *_EITHER), (3.0, 15.0))
_FLAP: Final = _pair("flap", 0, ("links",), (4.0, 12.0), options={"every": ("300ms", "800ms")})
_CORRUPT: Final = _pair(
    "corrupt", 0, ("links",), (4.0, 10.0), options={"every": (10, 40)}, needs="proxies"
)
_KILL: Final = _pair("kill", 0, _EITHER, (2.0, 12.0))
_FREEZE: Final = _pair("freeze", 0, _EITHER, (1.0, 8.0))
_SLOW: Final = _pair(
    "slow_disk", 0, _EITHER, (5.0, 12.0), options={"ms": (50, 200)}, needs="tamper"
)
_FULL: Final = _pair("fill_disk", 0, _EITHER, (5.0, 12.0), needs="disk")
_KILLED: Final = _pair("kill", 0, _EITHER, (0.5, 8.0))
_RESTARTED: Final = _pair("restart", 0, _EITHER, None)
_FROZEN: Final = _pair("freeze", 0, _EITHER, (0.3, 6.0))
_BLACK: Final = _pair("blackout", 0, ("pair",), (1.0, 5.0))
_TO_OTHER: Final = (OTHER,)
TWOS: Final = (
    *(Two(2, links, struck) for links in (_CUT, _FLAP) for struck in (_KILLED, _RESTARTED)),
    *(Two(1, links, struck) for links in (_CUT, _FLAP) for struck in (_FROZEN, _BLACK)),
    Two(1, _CORRUPT, _KILLED),
    Two(1, _CORRUPT, _RESTARTED),
    *(Two(1, one, other._replace(targets=_TO_OTHER))
      for one in (_KILL, _FREEZE) for other in (_KILLED, _RESTARTED, _FROZEN)),
    Two(2, _KILL, _CUT._replace(lasts_s=(1.0, 8.0))),
    Two(1, _FULL, _KILLED._replace(targets=_TO_OTHER)),
    Two(1, _FULL, _CUT._replace(targets=("links",), lasts_s=(1.0, 8.0))),
    # A disk that is only slow excuses nothing of what strikes meanwhile.
    Two(3, _SLOW, _pair("changeover", 0, ("pair",), None), together=False),
    Two(2, _SLOW, _KILLED._replace(targets=_NODES), together=False),
    Two(1, _SLOW, _CUT._replace(targets=("links",)), together=False),
)  # fmt: skip
"""What may be drawn at once. Never both of one node: a start of one would undo the other's."""


class Thing(NamedTuple):
    """One entry of a timeline: when it begins, how long it lasts (None: at once)."""

    at_s: float
    lasts_s: float | None
    word: str
    target: str
    options: Mapping[str, Any]

    @property
    def ends_s(self) -> float:
        """When it is over."""
        return self.at_s + (self.lasts_s or 0.0)

    def __str__(self) -> str:
        lasts = "" if self.lasts_s is None else f", for: {self.lasts_s:g}s"
        # As JSON: what YAML, too, takes for a number, a flag or a word.
        options = "".join(f", {key}: {json.dumps(value)}" for key, value in self.options.items())
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
    pair, beside = ([row for row in DRAWS if row.track is t] for t in (Track.PAIR, Track.BESIDE))
    tracks = [(Track.PAIR, "", pair), (Track.BESIDE, "", beside)]
    for device in prone:
        rows = [row for row in DRAWS if device.wire in row.wires]
        tracks.append((Track.DEVICE, device.name, [r for r in rows if r.track is Track.DEVICE]))
        if device.logs:
            tracks.append((Track.LOG, device.name, [r for r in rows if r.track is Track.LOG]))
    for track, name, rows in tracks:
        if not rows:
            continue
        for needs, things in _along(_random(seed, round_number, track, name), rows, name, lasts_s):
            # Left out only now: the others are the same on every machine.
            if needs <= set(gives):
                yield from things


def _along(
    random: Random, rows: Sequence[Draw], name: str, lasts_s: float
) -> Iterator[tuple[set[str], Sequence[Thing]]]:
    """What happens along one track, and what it needs; ends before the round does."""
    first = rows[0]
    at_s = BEGIN_S + (0.0 if first.track is Track.PAIR else _drawn(random, (0.0, first.rest_s[1])))
    while True:  # ends: each turn goes on in time
        drawn: tuple[Draw, ...]
        if first.track is Track.PAIR and random.random() < TWO_SHARE:
            two = random.choices(TWOS, [two.weight for two in TWOS])[0]
            drawn, things, rest_s = (two.first, two.second), _both(random, two, at_s), TWO_REST_S
        else:
            row = random.choices(rows, [row.weight for row in rows])[0]
            drawn, things, rest_s = (row,), (_thing(random, row, at_s, name),), row.rest_s
        ends_s = max(thing.ends_s for thing in things)
        if ends_s > lasts_s - END_S:
            return
        yield {row.needs for row in drawn if row.needs}, things
        at_s = round(ends_s + _drawn(random, rest_s), 1)


def _both(random: Random, two: Two, at_s: float) -> Sequence[Thing]:
    """Two things, the second begun while the first lasts."""
    one = _thing(random, two.first, at_s, "")
    begins_s = at_s + _drawn(random, (0.2, (one.lasts_s or 0.0) - 0.2))
    name = _EITHER[_EITHER[0] == one.target] if two.second.targets == (OTHER,) else ""
    other = _thing(random, two.second, begins_s, name)
    if not two.together:
        return one, other
    return tuple(
        thing._replace(options={**thing.options, TOGETHER: True}) for thing in (one, other)
    )


def _thing(random: Random, row: Draw, at_s: float, name: str) -> Thing:
    """One thing of a row; `name` is what it is done to, where that isn't drawn."""
    for_s = None if row.lasts_s is None else _drawn(random, row.lasts_s)
    target = name or random.choice(row.targets)
    options = {key: random.choice(values) for key, values in row.options.items()}
    return Thing(round(at_s, 1), for_s, row.word, target, options)


def _drawn(random: Random, between: tuple[float, float]) -> float:
    return round(random.uniform(*between), 1)
