"""The words of a timeline: what each is done to, which options it has, what may come of it. Pure.

A word of nodes, links or the pair is carried out by what `hil.acts` has under its name; a device's
word is a message to the outstations. Scenarios are read against the shapes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from gateway.model import parse_duration
from hil.outstation.faults import KINDS, OPCUA_KINDS

ReadOption = Callable[[Any], Any]
"""From what YAML holds to what the word is given; ValueError says what to write instead."""

MAIN: Final = "main"
STANDBY: Final = "standby"
NODES: Final = ("a", "b")
LINKS: Final = "links"
PAIR: Final = "pair"
TOGETHER: Final = "together"
"""Of a word of nodes, links or the pair: another strikes meanwhile. So both nodes may poll until
they are a pair again (unless a witness votes), and how long a takeover takes is not measured."""


class Target(StrEnum):
    """What a word is done to."""

    NODE = "node"
    LINKS = "links"
    PAIR = "pair"
    DEVICE = "device"


class Need(StrEnum):
    """What a pair must stand on before it starts; `hil.ground` lays it."""

    TAMPER = "tamper"
    DISK = "disk"


class Shape(NamedTuple):
    """What may be written of a word.

    `lasts_ns` is how long it lasts when no `for` is given: None means to the end of the timeline.
    `takeover` is what a takeover is called that it causes when it strikes the Main (or all links);
    empty: it causes none. `splits`: both nodes may poll until it is undone and one has yielded.
    `lab`: only machines of their own (`--lab`) can do it. `needs`: what must be there before the
    pair starts.
    """

    said: str
    targets: frozenset[Target]
    options: Mapping[str, ReadOption] = {}
    required: frozenset[str] = frozenset()
    lasts_ns: int | None = None
    takeover: str = ""
    splits: bool = False
    lab: bool = False
    needs: frozenset[Need] = frozenset()


def duration_ns(value: Any) -> int:
    """A duration such as 200ms, in ns. Raises ValueError."""
    return parse_duration(value)


def whole(value: Any) -> int:
    """A whole number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("write a whole number")
    return value


def positive(value: Any) -> int:
    """A whole number from 1 on. Raises ValueError."""
    if whole(value) < 1:
        raise ValueError("write a whole number from 1 on")
    return int(value)


def number(value: Any) -> float:
    """A number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("write a number")
    return float(value)


def flag(value: Any) -> bool:
    """true or false. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def one_of(*choices: str) -> ReadOption:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return str(value)

    return read


# ------------------------------------------------------------------------------ of devices

_DEVICE: Final = frozenset({Target.DEVICE})
_KINDS: Final = KINDS | OPCUA_KINDS
_MOMENTARY: Final = frozenset({"drop", "forget"})
"""They are over at once; nothing has to end them."""
_FAULT_OPTIONS: Final[Mapping[str, Mapping[str, ReadOption]]] = {
    "delay": {"ms": number, "jitter_ms": number},
    "late": {"ms": number},
    "exception": {"code": whole, "status": str},
    "limit": {"connections": whole, "evict": flag},
    "merged": {"count": positive},
    "nan": {"status": str},
    "wrong_tid": {"by": whole},
    "wrong_unit": {"by": whole},
    "split": {"bytes": whole, "ms": number},
    "garbage": {"then_reply": flag},
}
_LASTING: Final[Mapping[str, tuple[str, Mapping[str, ReadOption], frozenset[str]]]] = {
    "stop": ("go", {}, frozenset()),
    "shrink": ("grow", {"capacity": whole}, frozenset({"capacity"})),
    "torn": ("whole", {}, frozenset()),
    "hold": ("free", {"port": whole}, frozenset()),
    "refuse": ("answer", {"code": whole}, frozenset()),
}
"""Disturbances of a log that last, and what ends them."""
_ONCE: Final[Mapping[str, Mapping[str, ReadOption]]] = {
    "clear": {},
    "overrun": {"kept": positive},
    "reconfigure": {},
    "not_ready": {"times": whole},
    "wrong_index": {},
    "event": {"register": whole, "bits": whole, "old": number, "new": number},
}
_CLOCK: Final = {"step": number, "offset": number, "drift_ppm": number, "dst": flag}
_LOG: Final = "log_"
POWER: Final = "power_off"
CLOCK: Final = "clock"
ANY_CLOCK: Final = frozenset(_CLOCK)


def device_words() -> dict[str, Shape]:
    """Every word that is done to a device."""
    found = {
        kind: Shape(f"the device's fault `{kind}`", _DEVICE, _FAULT_OPTIONS.get(kind, {}))
        for kind in sorted(_KINDS)
    }
    for word in _MOMENTARY:
        found[word] = found[word]._replace(lasts_ns=0)
    log = {"log": one_of("keep", "lose")}
    found[POWER] = Shape("it has no power; its log is kept, or lost", _DEVICE, log)
    found[CLOCK] = Shape("its clock runs otherwise", _DEVICE, _CLOCK, lasts_ns=0)
    for what, (_, options, required) in _LASTING.items():
        said = f"its log: {what}"
        found[f"{_LOG}{what}"] = Shape(said, _DEVICE, options, required)
    for what, options in _ONCE.items():
        found[f"{_LOG}{what}"] = Shape(f"its log: {what}", _DEVICE, options, lasts_ns=0)
    return found


def is_reply_fault(word: str) -> bool:
    """Whether a device can have one of these words at a time only: the next ends the one before."""
    return word in _KINDS or word == POWER


def messages(
    word: str, device: str, options: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """What the outstations are told when a device's word begins, and when it ends (None: nothing).

    The messages are those of hil/DESIGN.md, "Control".
    """
    if word == POWER:
        kept = {"log": options["log"]} if "log" in options else {}
        off, on = {"power": "off", "device": device}, {"power": "on", "device": device}
        return off, {**on, **kept}
    if word == CLOCK:
        return {"clock": dict(options), "device": device}, None
    if word.startswith(_LOG):
        what = word.removeprefix(_LOG)
        begin = {"log": what, "device": device, **options}
        return begin, {"log": _LASTING[what][0], "device": device} if what in _LASTING else None
    begin = {"fault": word, "device": device, **options}
    return begin, None if word in _MOMENTARY else {"clear": device, "only": word}
