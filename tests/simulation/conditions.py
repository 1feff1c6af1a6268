"""What a seed means: how the pair is configured, how bad its surroundings are, which faults come.

Each kind of fault is in a third of the worlds (swarm testing: a world with all of them is always
the same mess, one with few of them goes deep).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gateway.model import NS_PER_MS, NS_PER_S
from tests.simulation.logs import LogKept

MS = NS_PER_MS
SHARED_FAULTS = (
    "kill",
    "power",
    "freeze",
    "nap",
    "crash",
    "blackout",
    "stop",
    "changeover",
    "pause",
    "field",
    "device",
    "disk",
    "follow",
    "revision",
    "slow",
    "wipe",
    "restore",
    "step",
)
SPLIT_FAULTS = ("cut", "blink", "one_way", "firewall", "cut_link")
LOG_FAULTS = ("log_clear",)
LOGS_EACH, LOGS_IN = 11, (0, 3, 5, 6)
"""Worlds whose seed leaves such a rest have logs: none of those that failed before there were any,
so that these stay the worlds that they were."""
LAG_NS = 2_600 * MS
"""Longer than any period, and shorter than the patience of coverage."""
WITNESS_FAULTS = ("plc_restart", "plc_away", "absent")


@dataclass(slots=True)
class Conditions:
    """The knobs of a world; probabilities are for each message."""

    seed: int
    witness: str = "none"
    sync: bool = False
    hold: bool = False
    duty: str = "merge"
    links: tuple[str, ...] = ("tcp1",)
    delay_ns: int = MS
    jitter_ns: int = 0
    loss: float = 0.0
    twice: float = 0.0
    drift_ppm: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    error_ns: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    commit_ns: dict[str, int] = field(default_factory=lambda: {"a": 2 * MS, "b": 2 * MS})
    priority: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    field_delay_ns: int = 3 * MS
    field_loss: float = 0.0
    lag_ns: dict[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    pace_ns: int = 3 * NS_PER_S
    safety_ns: int = 25 * NS_PER_S
    calm: bool = False
    logs: dict[str, LogKept] = field(default_factory=dict)

    @property
    def splits(self) -> bool:
        """Whether the nodes may lose each other while both live."""
        return any(fault in SPLIT_FAULTS for fault in self.faults)


def drawn(seed: int) -> Conditions:
    """The conditions of a seed."""
    dice = random.Random(f"conditions {seed}")
    some = _calm(seed, dice) if seed % 10 == 0 else _any(seed, dice)
    if seed % LOGS_EACH in LOGS_IN:
        _keep_logs(some, random.Random(f"logs {seed}"))
    return some


def _keep_logs(some: Conditions, dice: random.Random) -> None:
    """The devices keep logs, and now and then lose what is in them."""
    for device in dice.choice([("pump",), ("tank",), ("pump", "tank")]):
        some.logs[device] = LogKept(
            dice.choice([250, 500, 1_000]) * MS,
            dice.choice([8, 20, 60, 400]),
            dice.choice([0, 0, dice.randrange(-90_000, 90_001)]) * MS,
            dice.choice([0, 0, dice.randrange(-300, 301)]),
            dice.choice([2, 5, 2_000]),
        )
    if "tank" in some.logs and dice.random() < 0.4:
        some.logs["tank"] = some.logs["tank"]._replace(forgets=True)
    if not some.calm:
        # Where a log paused, nobody sees that its clock was set back by less than that.
        spoiler = dice.choice(["log_clock", "log_stop"])
        some.faults += tuple(k for k in (*LOG_FAULTS, spoiler) if dice.random() < 0.3)


def _any(seed: int, dice: random.Random) -> Conditions:
    """Anything may be bad."""
    some = Conditions(seed)
    some.witness = dice.choice(["none", "none", "none", "plc", "plc", "plc3", "etcd"])
    some.sync = dice.random() < 0.3
    some.duty = dice.choice(["merge", "merge", "discard"])
    some.links = dice.choice(
        [("tcp1",), ("tcp1",), ("tcp1", "tcp2"), ("tcp1", "serial"), ("tcp1", "tcp2", "serial")]
    )
    some.delay_ns = dice.choice([100_000, MS, 5 * MS, 20 * MS, 60 * MS])
    some.jitter_ns = dice.choice([0, MS, 20 * MS, 80 * MS])
    some.loss = dice.choice([0.0, 0.0, 0.02, 0.1])
    some.twice = dice.choice([0.0, 0.0, 0.2])
    for node in "ab":
        some.drift_ppm[node] = dice.choice([0, dice.randrange(-1_000, 1_001)])
        some.error_ns[node] = dice.choice([0, dice.randrange(-400, 401) * MS])
        some.commit_ns[node] = dice.choice([MS, 4 * MS, 30 * MS, 100 * MS])
        some.priority[node] = dice.choice([0, 0, 0, 1])
    some.field_delay_ns = dice.choice([MS, 5 * MS, 15 * MS])
    some.field_loss = dice.choice([0.0, 0.0, 0.0, 0.02])
    kinds = [*SHARED_FAULTS]
    if dice.random() < 0.6:
        kinds += SPLIT_FAULTS
    if some.witness != "none":
        kinds += WITNESS_FAULTS
    some.faults = tuple(kind for kind in kinds if dice.random() < 0.33)
    some.pace_ns = dice.choice([800 * MS, 2 * NS_PER_S, 4 * NS_PER_S])
    some.safety_ns = dice.choice([12, 20, 30]) * NS_PER_S
    some.hold = some.sync and dice.random() < 0.3
    some.lag_ns = _lag(seed)
    return some


def _lag(seed: int) -> dict[str, int]:
    """A quarter of the worlds has a device that at times takes long to answer; dice of its own."""
    dice = random.Random(f"lag {seed}")
    return {dice.choice(["pump", "tank"]): LAG_NS} if dice.random() < 0.25 else {}


def _calm(seed: int, dice: random.Random) -> Conditions:
    """A good network and one kind of fault, so that takeover can be measured."""
    some = Conditions(seed, calm=True)
    some.links = dice.choice([("tcp1",), ("tcp1", "tcp2"), ("tcp1", "serial")])
    some.sync = dice.random() < 0.3
    kind = dice.choice(["kill", "power", "freeze", "changeover", "stop", "cut", "none", "cut_link"])
    some.faults = () if kind == "none" else (kind,)
    some.pace_ns = 6 * NS_PER_S
    some.safety_ns = 26 * NS_PER_S
    if kind in ("kill", "power"):  # a drain would wait for it
        some.lag_ns = {"tank": LAG_NS}
    return some
