"""A scenario as an integrator writes it: read from YAML, or every mistake with its line. Pure.

What runs (`site`), for how long, what is done to it when (`timeline`), and what is expected beyond
the promises that every run is judged by (`expect`). hil/DESIGN.md describes the file.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.model import format_duration, parse_duration
from hil import real
from hil.expect import EXPECTATIONS, Expectation, device_of
from hil.scenario import Entry, Ground, Mistake, Scenario, ScenarioError
from hil.settings import SiteError
from hil.words import (
    ANY_CLOCK,
    CLOCK,
    LINKS,
    MAIN,
    NODES,
    PAIR,
    STANDBY,
    Shape,
    Target,
    device_words,
    is_reply_fault,
    whole,
)

CLIENTS: Final = ("node-opcua",)
ENTRIES_MAX: Final = 1_000
_KEYS: Final = {
    "scenario": "a name, such as `The Main dies`",
    "promise": "what this shows, in a sentence",
    "site": "a shipped site such as `demo`, or a folder beside this file",
    "lasts": "how long the timeline is, such as `30s`",
    "seed": "a whole number: of the plant",
    "client": f"one of {', '.join(CLIENTS)}: a client that follows the pair beside the rig's own",
    "pair": "settings that replace those under `pair:` in site.yaml",
    "outstation": "`real`, or `{real: [plc1, …]}`: devices that the rig does not emulate",
    "pattern": "points of real devices that the rig steps, such as `{plc1/setpoint: counter}`",
    "timeline": "a list such as `- {at: 10s, kill: main, for: 5s}`",
    "expect": "a list such as `- {takeover: 1s}`",
}
_REQUIRED: Final = ("scenario", "promise", "site", "lasts")
_TARGETS: Final = {
    Target.NODE: "main, standby, a or b",
    Target.LINKS: "links, link0, link1 …",
    Target.PAIR: "pair",
    Target.DEVICE: "a device of the site",
}


FindGround = Callable[[str], Ground]
"""The site of a name; raises SiteError that says which there are."""


def read_scenario(
    text: str, file: str, words: Mapping[str, Shape], ground: FindGround, lab: bool = False
) -> Scenario:
    """The scenario of a file. `words` are those of nodes, links and the pair.

    With `lab` words that need machines of their own can be played. Raises ScenarioError.
    """
    yaml = YAML(typ="rt", pure=True)
    try:
        data = yaml.load(io.StringIO(text))
    except YAMLError as error:
        raise ScenarioError([_of_yaml(file, error)]) from error
    if not isinstance(data, CommentedMap):
        remedy = "Write `scenario:`, `promise:`, `site:`, `lasts:` and a `timeline:`."
        raise ScenarioError([Mistake(file, 1, "this is no scenario", remedy)])
    reading = _Reading(file, words, lab)
    found = reading.scenario(data, ground)
    if reading.mistakes:
        raise ScenarioError(sorted(reading.mistakes, key=lambda mistake: mistake.line))
    return found


def _of_yaml(file: str, error: YAMLError) -> Mistake:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    line = mark.line + 1 if mark is not None else 1
    if isinstance(error, DuplicateKeyError):
        words = str(error.problem).split('"')
        name = words[1] if len(words) > 1 else "a key"
        return Mistake(file, line, f"`{name}` is there twice", "Keep one of them.")
    problem = error.problem if isinstance(error, MarkedYAMLError) else error
    return Mistake(file, line, f"not YAML: {problem}", "Mend the line, or the one before it.")


class _Reading:
    """One file while it is read; mistakes gather."""

    def __init__(self, file: str, words: Mapping[str, Shape], lab: bool) -> None:
        self.mistakes: list[Mistake] = []
        self._file = file
        self._pair_words = words
        self._device_words = device_words()
        self._words = {*self._pair_words, *self._device_words}
        self._lab = lab
        self._ground: Ground | None = None
        self._lasts_ns = 0
        self._real: frozenset[str] = frozenset()

    def wrong(self, line: int, said: str, remedy: str) -> None:
        self.mistakes.append(Mistake(self._file, line, said, remedy))

    def scenario(self, data: CommentedMap, ground: FindGround) -> Scenario:
        for key in data:
            if key not in _KEYS:
                known = _nearest(str(key), _KEYS) or f"There are {', '.join(_KEYS)}."
                self.wrong(_line(data, key), f"`{key}` is no part of a scenario", known)
        for key in _REQUIRED:
            if data.get(key) in (None, ""):
                self.wrong(1, f"`{key}` is missing", f"Add it: {_KEYS[key]}.")
        site = str(data.get("site") or "")
        if site:
            try:
                self._ground = ground(site)
            except SiteError as error:
                self.wrong(_line(data, "site"), f"site `{site}` can't be run: {error}",
                           f"Write {_KEYS['site']}.")  # fmt: skip
        self._lasts_ns = self._duration(data, "lasts") or 0
        self._real = self._read(data, "outstation", self._read_outstation) or frozenset()
        pattern = self._pattern(data)
        seed = self._read(data, "seed", whole)
        client = str(data.get("client") or "")
        if client and client not in CLIENTS:
            self.wrong(_line(data, "client"), f"no client `{client}`", f"Write {_KEYS['client']}.")
        pair = data.get("pair") or {}
        if not isinstance(pair, CommentedMap | dict):
            self.wrong(_line(data, "pair"), f"`pair` is {pair!r}", f"Write {_KEYS['pair']}.")
            pair = {}
        timeline = [self._entry(item, line) for item, line in self._list(data, "timeline")]
        entries = [entry for entry in timeline if entry is not None]
        self._overlaps(entries)
        expect = [self._expectation(item, line) for item, line in self._list(data, "expect")]
        return Scenario(
            str(data.get("scenario") or "").strip(),
            " ".join(str(data.get("promise") or "").split()),
            site,
            self._lasts_ns,
            seed,
            client,
            _plain(pair),
            self._real,
            pattern,
            tuple(sorted(entries, key=lambda entry: entry.at_ns)),
            tuple(one for one in expect if one is not None),
        )

    def _read_outstation(self, value: Any) -> frozenset[str]:
        plant = self._ground.plant if self._ground is not None else None
        return frozenset() if plant is None else real.read_real(value, plant)

    def _pattern(self, data: CommentedMap) -> dict[str, int]:
        """The points to step, and how often."""
        said = data.get("pattern")
        if said is None:
            return {}
        if not isinstance(said, CommentedMap):
            self.wrong(_line(data, "pattern"), "`pattern` is no mapping",
                       f"Write {_KEYS['pattern']}.")  # fmt: skip
            return {}
        found = {}
        for name in said:
            plant = self._ground.plant if self._ground is not None else None
            if plant and (why := real.refused_pattern(plant, self._real, str(name))):
                self.wrong(_line(said, name), f"`{name}: {said[name]}`: {why[0]}", why[1])
            period_ns = self._read(said, name, real.read_period)
            found[str(name)] = period_ns or 0
        return found

    def _list(self, data: CommentedMap, key: str) -> Iterator[tuple[CommentedMap, int]]:
        """The entries of a list of mappings, each with its line."""
        items = data.get(key)
        if items is None:
            return
        if not isinstance(items, CommentedSeq):
            self.wrong(_line(data, key), f"`{key}` is no list", f"Write {_KEYS[key]}.")
            return
        if len(items) > ENTRIES_MAX:
            self.wrong(_line(data, key), f"`{key}` has {len(items)} entries",
                       f"At most {ENTRIES_MAX} can be played.")  # fmt: skip
            return
        for number, item in enumerate(items):
            line = items.lc.item(number)[0] + 1
            if isinstance(item, CommentedMap):
                yield item, line
            else:
                self.wrong(line, f"`{item}` is no entry of `{key}`", f"Write {_KEYS[key]}.")

    # ------------------------------------------------------------------------------ timeline

    def _entry(self, item: CommentedMap, line: int) -> Entry | None:
        named = [key for key in item if key in self._words]
        others = [key for key in item if key not in (*self._words, "at", "for")]
        # `delay` may be an option, too: the first word of the entry is the word.
        if not named:
            self._no_word(item, others, line)
            return None
        word = str(named[0])
        shape = self._shape(word, str(item[word]))
        at_ns = self._duration(item, "at")
        if "at" not in item:
            self.wrong(line, "`at` is missing", "Say when it begins: `at: 10s`.")
        elif at_ns is not None and self._lasts_ns and at_ns >= self._lasts_ns:
            self.wrong(line, f"`at: {item['at']}` is after the end",
                       f"The timeline lasts {format_duration(self._lasts_ns)}.")  # fmt: skip
        device, path = self._target(word, shape, item, line)
        options = self._options(word, shape, item, [*named[1:], *others], line) | path
        until_ns = self._until(item, shape, at_ns or 0, line)
        return Entry(at_ns or 0, until_ns, word, str(item[word]), options, device, line)

    def _shape(self, word: str, target: str) -> Shape:
        """What may be written of a word; some are of devices and of the pair, as `delay` is."""
        if target in self._real and word in real.REAL_WORDS:
            return real.REAL_WORDS[word]
        of_device = self._ground is not None and target in self._ground.devices
        tables = [self._pair_words, self._device_words]
        table = next(t for t in (tables[::-1] if of_device else tables) if word in t)
        return table[word]

    def _no_word(self, item: CommentedMap, others: list[Any], line: int) -> None:
        if not others:
            self.wrong(line, "nothing is done here", f"Write {_KEYS['timeline']}.")
            return
        known = _nearest(str(others[0]), self._words)
        words = ", ".join(sorted(self._words))
        self.wrong(line, f"`{others[0]}` is no word of a timeline", known or f"There are {words}.")

    def _target(
        self, word: str, shape: Shape, item: CommentedMap, line: int
    ) -> tuple[bool, dict[str, Any]]:
        """Whether the target is a device, and the path that it means."""
        target = str(item[word])
        wanted = " or ".join(_TARGETS[kind] for kind in Target if kind in shape.targets)
        if shape.lab and not self._lab:
            self.wrong(line, f"`{word}` needs machines of its own", "Run it with --lab, as root.")
        if target in self._real:
            self._of_real(word, target, line)
            return True, {}
        if Target.DEVICE in shape.targets:
            if self._ground is not None and target not in self._ground.devices:
                there = ", ".join(sorted(self._ground.devices))
                remedy = _nearest(target, self._ground.devices) or f"The site has {there}."
                self.wrong(line, f"`{word}: {target}`: no device `{target}`", remedy)
            return True, {}
        number = target.removeprefix("link")
        if Target.LINKS in shape.targets and target != number and number.isdigit():
            if self._ground is not None and int(number) >= self._ground.links:
                self.wrong(line, f"`{word}: {target}`: no such link",
                           f"The nodes of the site have {self._ground.links}.")  # fmt: skip
            return False, {"path": int(number)}
        allowed = {
            *((MAIN, STANDBY, *NODES) if Target.NODE in shape.targets else ()),
            *((LINKS,) if Target.LINKS in shape.targets else ()),
            *((PAIR,) if Target.PAIR in shape.targets else ()),
        }
        if target not in allowed:
            self.wrong(line, f"`{word}: {target}` can't be done", f"It is done to {wanted}.")
        return False, {}

    def _of_real(self, word: str, device: str, line: int) -> None:
        """What can't be done to a real device is told."""
        assert self._ground is not None and self._ground.plant is not None
        if why := real.refused_word(self._ground.plant, word, device):
            self.wrong(line, f"`{word}: {device}`: {why[0]}", why[1])

    def _options(
        self, word: str, shape: Shape, item: CommentedMap, keys: list[Any], line: int
    ) -> dict[str, Any]:
        found = {}
        for key in keys:
            if key not in shape.options:
                own = ", ".join((*shape.options, "at", "for"))
                self.wrong(line, f"`{word}` has no option `{key}`", f"It has {own}.")
                continue
            value = self._read(item, key, shape.options[key])
            if value is not None:
                found[str(key)] = value
        for key in sorted(shape.required - set(item)):
            self.wrong(line, f"`{word}` needs `{key}`", f"Add it: `{key}: …`.")
        if word == CLOCK and not ANY_CLOCK & set(item):
            self.wrong(line, "this clock does nothing", f"Add one of {', '.join(shape.options)}.")
        return found

    def _until(self, item: CommentedMap, shape: Shape, at_ns: int, line: int) -> int:
        """When an entry ends: after `for`, at once, or with the timeline."""
        for_ns = self._duration(item, "for")
        if for_ns is None:
            return self._lasts_ns if shape.lasts_ns is None else at_ns + shape.lasts_ns
        if at_ns + for_ns > self._lasts_ns:
            self.wrong(line, f"`for: {item['for']}` goes on after the end",
                       f"The timeline lasts {format_duration(self._lasts_ns)}.")  # fmt: skip
        return at_ns + for_ns

    def _overlaps(self, timeline: list[Entry]) -> None:
        """A device has one fault at a time: a second would end the first."""
        last: dict[str, Entry] = {}
        for entry in sorted(timeline, key=lambda entry: entry.at_ns):
            if not entry.device or not is_reply_fault(entry.word):
                continue
            before = last.get(entry.target)
            if before is not None and entry.at_ns < before.until_ns:
                self.wrong(
                    entry.line,
                    f"`{entry.word}: {entry.target}` begins while `{before.word}` of line "
                    f"{before.line} lasts",
                    f"A device has one fault at a time: begin at "
                    f"{format_duration(before.until_ns)} or later.",
                )
            last[entry.target] = entry

    # ------------------------------------------------------------------------------ expect

    def _expectation(self, item: CommentedMap, line: int) -> Expectation | None:
        named = [str(key) for key in item if key in EXPECTATIONS]
        if len(named) != 1 or len(item) != 1:
            first = str(next(iter(item), ""))
            known = _nearest(first, EXPECTATIONS) if not named else ""
            remedy = (
                known or f"Write one of {', '.join(EXPECTATIONS)}, each in an entry of its own."
            )
            self.wrong(line, f"`{first}` is no expectation by itself", remedy)
            return None
        kind, value = named[0], _plain(item[named[0]])
        try:
            found = EXPECTATIONS[kind].read(value)
        except ValueError as error:
            self.wrong(line, f"`{kind}: {_shown(value)}`", f"{_sentence(str(error))}")
            return None
        for device in map(device_of, found.devices):
            if self._ground is not None and device not in self._ground.devices:
                there = ", ".join(sorted(self._ground.devices))
                remedy = _nearest(device, self._ground.devices) or f"The site has {there}."
                self.wrong(line, f"`{kind}`: no device `{device}`", remedy)
        if found.word and found.word not in self._words:
            remedy = _nearest(found.word, self._words) or "Name what the timeline does."
            self.wrong(line, f"`{kind}`: no word `{found.word}`", remedy)
        return found

    # ------------------------------------------------------------------------------ values

    def _duration(self, data: CommentedMap, key: str) -> int | None:
        found: int | None = self._read(data, key, parse_duration)
        return found

    def _read(self, data: CommentedMap, key: str, read: Callable[[Any], Any]) -> Any:
        """A value, None where there is none or it is wrong."""
        if data.get(key) is None:
            return None
        value = _plain(data[key])
        try:
            return read(value)
        except ValueError as error:
            self.wrong(_line(data, key), f"`{key}: {_shown(value)}`", _sentence(str(error)))
            return None


def _line(data: CommentedMap, key: Any) -> int:
    """The line of a key, counted from 1."""
    return int(data.lc.key(key)[0]) + 1


def _plain(value: Any) -> Any:
    """A value without what the reader of YAML remembers of its form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _nearest(word: str, known: Collection[str]) -> str:
    """`Did you mean …?`, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean `{found[0]}`?" if found else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _shown(value: Any) -> str:
    return str(value)
