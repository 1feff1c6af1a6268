"""The patterns of the Like operator (OPC 10000-4 section 7.7.3, Table 124). Pure.

`%` is any text, `_` any character, `[abc]` and `[a-f]` one of those, `[^…]` one of the others, and
a character after `\\` stands for itself. The time taken is at most text times pattern.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple


class _One(NamedTuple):
    """A place for one character: one of these, or with `others` one of all others."""

    characters: str
    ranges: tuple[tuple[str, str], ...] = ()
    others: bool = False

    def takes(self, character: str) -> bool:
        found = character in self.characters or any(
            low <= character <= high for low, high in self.ranges
        )
        return found != self.others


_ANY_TEXT: Final = None
_ANY_CHARACTER: Final = _One("", others=True)


def matches(text: str, pattern: str) -> bool:
    """Whether a whole text fits a pattern; a `[` that nothing ends stands for itself."""
    places = _places(pattern)
    at, place, size = 0, 0, len(places)
    back_place, back_at = -1, 0
    while at < len(text):
        found = places[place] if place < size else _END
        if found is _ANY_TEXT:
            back_place, back_at = place, at
            place += 1
        elif found.takes(text[at]):
            at, place = at + 1, place + 1
        elif back_place >= 0:  # the last `%` takes one character more
            back_at += 1
            at, place = back_at, back_place + 1
        else:
            return False
    return all(found is _ANY_TEXT for found in places[place:])


_END: Final = _One("")
"""After the last place: takes nothing."""


@lru_cache(maxsize=256)
def _places(pattern: str) -> tuple[_One | None, ...]:
    places: list[_One | None] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "%":
            if not places or places[-1] is not _ANY_TEXT:
                places.append(_ANY_TEXT)
        elif character == "_":
            places.append(_ANY_CHARACTER)
        elif character == "\\" and at < len(pattern):
            places.append(_One(pattern[at]))
            at += 1
        elif character == "[" and (end := pattern.find("]", at)) > at:
            places.append(_list(pattern[at:end]))
            at = end + 1
        else:
            places.append(_One(character))
    return tuple(places)


def _list(inside: str) -> _One:
    others = inside.startswith("^")
    inside = inside[others:]
    characters, ranges, at = "", [], 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            ranges.append((inside[at], inside[at + 2]))
            at += 3
        else:
            characters += inside[at]
            at += 1
    return _One(characters, tuple(ranges), others)
