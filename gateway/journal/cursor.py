"""Where a page ends and the next one goes on: (time, term number, nonce, seq, index). Pure.

The first four are the key of the last row given; the index counts the rows of that same key that
were given, since a batch may hold a point twice. So a cursor stays good whatever is added later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = tuple[int, int, int, int]
Cursor = tuple[int, ...]
Item = TypeVar("Item")


def beyond(
    part: list[Item], cursor: Cursor, reverse: bool, key_of: Callable[[Item], Key]
) -> list[Item]:
    """What of an ordered part was not given yet."""
    key, given = cursor[:4], cursor[4]
    kept: list[Item] = []
    for index, item in enumerate(part):
        own = key_of(item)
        if own[0] != key[0]:
            return kept + part[index:]
        if own == key:
            given -= 1
            if given < 0:
                kept.append(item)
        elif (own < key) if reverse else (own > key):
            kept.append(item)
    return kept


def after(given: list[Item], before: Cursor | None, key_of: Callable[[Item], Key]) -> Cursor:
    """The cursor behind these rows (at least one), which were read on from `before`."""
    key = key_of(given[-1])
    count = 0
    for item in reversed(given):
        if key_of(item) != key:
            break
        count += 1
    if count == len(given) and before is not None and before[:4] == key:
        count += before[4]
    return (*key, count)
