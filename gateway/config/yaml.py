"""YAML as a tree that remembers lines: the core schema of YAML 1.2 and nothing more.

The parser's events are composed here, since the usual loaders lose what matters to a person who
made a mistake: the line, the second of two equal keys, and `010` or `on` as they were written.
`010` is ten, `0x10` is sixteen, `on`, `yes` and `1:30` are text (YAML 1.2.2 section 10.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gateway.errors import Problem

NODES_MAX: Final = 500_000
DEPTH_MAX: Final = 40

Scalar = str | int | float | bool | None
Loc = Sequence[int | str]

_INT = re.compile(r"[-+]?[0-9]{1,40}\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,32}\Z")
_OCTAL = re.compile(r"0o[0-7]{1,40}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?\Z")
_WORDS: Final[dict[str, Scalar]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    ".inf": float("inf"),
    "+.inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}
_NUMERIC_START: Final = frozenset("+-.0123456789")


def resolve(text: str) -> Scalar:
    """The value of a plain scalar by the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _HEX.match(text):
        return int(text, 16)
    if _OCTAL.match(text):
        return int(text, 0)
    return text


@dataclass(slots=True)
class Node:
    """A value and where it stands. `line` is that of its key, if it has one, counted from 1.

    `value` is a scalar, a list of nodes, or a dict from keys *as written* to nodes. `size` counts
    the nodes beneath with every alias expanded, so that an alias bomb is seen before it goes off.
    """

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    size: int = 1

    @property
    def mapping(self) -> dict[str, Node]:
        """Its entries, or none when it isn't a mapping."""
        return self.value if isinstance(self.value, dict) else {}

    def child(self, key: int | str) -> Node | None:
        """The node under a key or an index, or None."""
        if isinstance(self.value, dict):
            if (found := self.value.get(str(key))) is not None:
                return found
            return next((node for k, node in self.value.items() if resolve(k) == key), None)
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None

    def line_of(self, loc: Loc) -> int:
        """The line of the deepest node that exists on the way along `loc`."""
        node: Node | None = self
        line = self.line
        for key in loc:
            node = node.child(key) if node is not None else None
            line = node.line if node is not None else line
        return line

    def plain(self) -> Any:
        """Python data; keys are resolved by the core schema only where they are whole numbers."""
        if isinstance(self.value, dict):
            return {_plain_key(key): node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def _plain_key(text: str) -> int | str:
    key = resolve(text)
    return key if isinstance(key, int) and not isinstance(key, bool) else text


class _Refused(Exception):
    """Well-formed YAML that we do not take."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.line, self.message, self.remedy = line, message, remedy


@dataclass(slots=True)
class _Composer:
    file: str
    events: Iterator[Any]
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    open_anchors: set[str] = field(default_factory=set)

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if event.version not in (None, (1, 2)):
                    raise _Refused(_line(event), "only YAML 1.2 is read", "Remove `%YAML`.")
                if documents > 1:
                    raise _Refused(
                        _line(event), "a second document begins here", "Remove the `---`."
                    )
                root = self.node(next(self.events), 0)
        return root

    def node(self, event: Any, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > DEPTH_MAX:
            raise _Refused(line, f"nested deeper than {DEPTH_MAX} levels", "Flatten it.")
        anchor = None if event.anchor is None else str(event.anchor)
        if anchor is not None:
            self.open_anchors.add(anchor)
        if isinstance(event, ScalarEvent):
            node = Node(_scalar(event), line)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(line, depth)
        else:
            node = self._mapping(line, depth)
        if node.size > NODES_MAX:
            raise _Refused(line, f"more than {NODES_MAX} values", "Use fewer aliases (`*name`).")
        if anchor is not None:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node
        return node

    def _alias(self, name: str, line: int) -> Node:
        if name in self.open_anchors:
            raise _Refused(line, f"`*{name}` refers to itself", "Remove the alias.")
        if name not in self.anchors:
            raise _Refused(
                line, f"`*{name}` has no `&{name}` before it", "Define the anchor first."
            )
        target = self.anchors[name]
        return Node(target.value, target.line, target.size)

    def _sequence(self, line: int, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(event := next(self.events), SequenceEndEvent):
            item = self.node(event, depth + 1)
            items.append(item)
            size += item.size
        return Node(items, line, size)

    def _mapping(self, line: int, depth: int) -> Node:
        entries: dict[str, Node] = {}
        seen: dict[Any, int] = {}
        merged: list[Node] = []
        size = 1
        while not isinstance(event := next(self.events), MappingEndEvent):
            at = _line(event)
            if not isinstance(event, ScalarEvent):
                raise _Refused(at, "a key must be a single word or number", "Quote it.")
            key = event.value
            value = self.node(next(self.events), depth + 1)
            size += 1 + value.size
            if key == "<<" and event.style is None:
                merged += self._merge_sources(value, at)
                continue
            # Under an alias the lines beneath stay those of the anchor, where the text is.
            value.line = at
            identity = (_plain_key(key),)
            if identity in seen:
                self._problem(
                    at,
                    f"the key `{key}` appears twice",
                    f"Remove one; the first is in line {seen[identity]}.",
                )
                continue
            seen[identity] = at
            entries[key] = value
        for source in merged:
            for key, value in source.mapping.items():
                entries.setdefault(key, value)
        return Node(entries, line, size)

    def _merge_sources(self, value: Node, line: int) -> list[Node]:
        sources = value.value if isinstance(value.value, list) else [value]
        if any(not isinstance(source.value, dict) for source in sources):
            raise _Refused(line, "`<<` merges mappings only", "Write `<<: *name`.")
        return sources

    def _problem(self, line: int, message: str, remedy: str) -> None:
        self.problems.append(Problem(self.file, line, "", None, message, remedy))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> Scalar:
    if event.tag is None:
        return resolve(event.value) if event.style is None else str(event.value)
    tag = str(event.tag)
    if tag in ("!", "tag:yaml.org,2002:str"):
        return str(event.value)
    raise _Refused(_line(event), f"the tag `{tag}` is not known here", "Remove the tag.")


class _Mistake(NamedTuple):
    """A known complaint of the parser; `opened` tells that it is best shown where it began."""

    sign: str
    message: str
    remedy: str
    opened: bool = False


_MISTAKES: Final = (
    _Mistake("'\\t'", "a tab can't indent YAML", "Indent with blanks."),
    _Mistake(
        "mapping values are not allowed",
        "mapping values are not allowed here",
        "Quote a text that holds `: `, or check the indentation.",
    ),
    _Mistake(
        "expected <block end>",
        "the indentation doesn't fit",
        "Align this line with its siblings.",
    ),
    _Mistake("expected ',' or ']'", "a list isn't closed", "Add the missing `,` or `]`.", True),
    _Mistake("expected ',' or '}'", "a mapping isn't closed", "Add the missing `,` or `}`.", True),
    _Mistake("unexpected end of stream", "a quoted text isn't closed", "Add the quote.", True),
    _Mistake("could not find expected ':'", "a key has no `:`", "Write `key: value`.", True),
    _Mistake("that cannot start any token", "a text can't begin so", "Quote the text."),
)


def _syntax_problem(file: str, text: str, error: YAMLError) -> Problem:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(file, line, "", None, "a control character", "Remove it.")
    if not isinstance(error, MarkedYAMLError):  # pragma: no cover - the parser raises no other
        return Problem(file, 0, "", None, str(error), "Check the syntax.")
    problem = str(error.problem)
    for sign, message, remedy, opened in _MISTAKES:
        if sign in problem:
            mark = error.context_mark if opened else error.problem_mark
            return Problem(file, _mark_line(mark), "", None, message, remedy)
    line = _mark_line(error.problem_mark)
    return Problem(file, line, "", None, problem, "Check the syntax here and in the line above.")


def _mark_line(mark: Any) -> int:
    return 0 if mark is None else int(mark.line) + 1


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of a text and what is wrong with it; the tree is None when nothing can be said."""
    composer = _Composer(file, iter(YAML(typ="safe", pure=True).parse(text)))
    try:
        root = composer.document()
    except _Refused as error:
        problem = Problem(file, error.line, "", None, error.message, error.remedy)
        return None, [*composer.problems, problem]
    except YAMLError as error:
        return None, [*composer.problems, _syntax_problem(file, text, error)]
    if root is None or not isinstance(root.value, dict):
        line = 1 if root is None else root.line
        remedy = "Write `key: value` lines."
        return None, [Problem(file, line, "", None, "the file holds no keys", remedy)]
    return root, composer.problems
