"""Samples of one point as columns, and the packed form in which a segment stores them.

A point's history is read far more often along time than across points, so it is kept as arrays:
times, receipt times, sequence numbers, statuses, values. Regular series have nearly constant
differences, which zlib folds away; a read unpacks hundreds of samples in one go.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise, repeat
from operator import le, sub
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from gateway.model import HistoryRow, Origin, Position, Term, Value

FLOATS: Final = 0
INTS: Final = 1
BOOLS: Final = 2
MIXED: Final = 3

_LITTLE: Final = 1
_STATUSES: Final = 2
_ABSENT: Final = 4
_NATIVE: Final = _LITTLE if sys.byteorder == "little" else 0
_HEADER: Final = Struct("<BBBI")
_VERSION: Final = 1
_ZLIB_LEVEL: Final = 1
_MAX_BYTES: Final = 256 * 1024 * 1024


class Columns(NamedTuple):
    """The samples of one point, term and origin, ordered by time; all columns are equally long.

    `statuses` is None when all are Good (0). Times are ns UTC.
    """

    times: Sequence[int]
    received: Sequence[int]
    seqs: Sequence[int]
    statuses: Sequence[int] | None
    values: Sequence[Value]

    @property
    def first_ns(self) -> int:
        return self.times[0]

    @property
    def last_ns(self) -> int:
        return self.times[-1]


def in_order(columns: Columns) -> Columns:
    """The same samples ordered by (time, seq), equal keys in their old order."""
    times, received, seqs, statuses, values = columns
    if all(map(le, times, islice(times, 1, None))):
        return columns
    order = sorted(range(len(times)), key=lambda i: (times[i], seqs[i]))
    return Columns(
        [times[i] for i in order],
        [received[i] for i in order],
        [seqs[i] for i in order],
        None if statuses is None else [statuses[i] for i in order],
        [values[i] for i in order],
    )


def kind_of(values: Sequence[Value]) -> int:
    """The narrowest value column that gives every value back as it was; None fits everywhere."""
    types = {type(value) for value in values if value is not None}
    if types == {float}:
        return FLOATS
    if types == {bool}:
        return BOOLS
    if types == {int}:
        numbers = [v for v in values if v is not None]
        low, high = min(numbers), max(numbers)
        if low >= -(2**63) and high < 2**63:  # type: ignore[operator]
            return INTS
    return MIXED


def pack(columns: Columns) -> bytes:
    """The stored form of ordered columns (at least one sample)."""
    times, received, seqs, statuses, values = columns
    kind = kind_of(values)
    flags = _NATIVE
    parts = [_deltas(times), _deltas(received), _deltas(seqs)]
    if statuses is not None:
        flags |= _STATUSES
        parts.append(array("I", statuses).tobytes())
    if kind != MIXED and None in values:
        flags |= _ABSENT
        parts.append(bytes(value is None for value in values))
        values = [0 if value is None else value for value in values]
    parts.append(_pack_values(kind, values))
    head = _HEADER.pack(_VERSION, kind, flags, len(times))
    return head + zlib.compress(b"".join(parts), _ZLIB_LEVEL)


def unpack(packed: bytes) -> Columns:
    """The columns of a stored form. Raises ValueError if it isn't one."""
    try:
        version, kind, flags, count = _HEADER.unpack_from(packed)
        inflate = zlib.decompressobj()
        data = inflate.decompress(packed[_HEADER.size :], _MAX_BYTES)
        if not inflate.eof:
            raise ValueError("it is cut short")
        if version != _VERSION:
            raise ValueError(f"segment format {version} is not known")
        return _unpack(kind, flags, count, memoryview(data))
    except Exception as error:  # whatever a damaged blob trips over, the news is the same
        raise ValueError(f"damaged segment: {error}") from error


def rows(
    columns: Columns,
    term: Term,
    origin: Origin,
    from_ns: int,
    to_ns: int,
    most: int | None = None,
    reverse: bool = False,
) -> list[HistoryRow]:
    """The samples in [from, to) as rows, in order.

    With `most`, those at the first instant and so many more; the last ones with `reverse`.
    """
    times, received, seqs, statuses, values = columns
    low, high = bisect_left(times, from_ns), bisect_left(times, to_ns)
    if most is not None and reverse:
        low = max(low, bisect_left(times, to_ns - 1) - most)
    elif most is not None:
        high = min(high, bisect_right(times, from_ns) + most)
    if low or high < len(times):
        times, received, seqs = times[low:high], received[low:high], seqs[low:high]
        values = values[low:high]
        statuses = None if statuses is None else statuses[low:high]
    return list(
        map(
            HistoryRow,
            times,
            values,
            repeat(0) if statuses is None else statuses,
            received,
            repeat(origin),
            map(Position, repeat(term), seqs),
        )
    )


def _deltas(numbers: Sequence[int]) -> bytes:
    """The first number and the differences, modulo 2^64 (so no two times are too far apart)."""
    steps = array("q", numbers[:1])
    try:
        steps.extend(map(sub, numbers[1:], numbers))
    except OverflowError:
        del steps[1:]
        steps.extend(_signed(b - a) for a, b in pairwise(numbers))
    return steps.tobytes()


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def _pack_values(kind: int, values: Sequence[Any]) -> bytes:
    if kind == FLOATS:
        return array("d", values).tobytes()
    if kind == INTS:
        return array("q", values).tobytes()
    if kind == BOOLS:
        return bytes(values)
    return msgspec.msgpack.encode(list(values))


def _take(code: str, flags: int, data: memoryview) -> array[Any]:
    column = array(code)
    column.frombytes(data)
    if flags & _LITTLE != _NATIVE:
        column.byteswap()
    return column


def _unpack(kind: int, flags: int, count: int, data: memoryview) -> Columns:
    size = 8 * count
    numbers = [
        _sums(_take("q", flags, data[start : start + size])) for start in (0, size, 2 * size)
    ]
    at = 3 * size
    statuses: array[int] | None = None
    if flags & _STATUSES:
        statuses = _take("I", flags, data[at : at + 4 * count])
        at += 4 * count
    absent = b""
    if flags & _ABSENT:
        absent = bytes(data[at : at + count])
        at += count
    values: Sequence[Value]
    if kind == FLOATS:
        values = _take("d", flags, data[at:])
    elif kind == INTS:
        values = _take("q", flags, data[at:])
    elif kind == BOOLS:
        values = [byte != 0 for byte in data[at:]]
    else:
        values = msgspec.msgpack.decode(data[at:])
    if absent:
        values = [None if gone else value for value, gone in zip(values, absent, strict=True)]
    times, received, seqs = numbers
    lengths = {len(times), len(received), len(seqs), len(values)}
    if lengths != {count}:
        raise ValueError("its columns differ in length")
    return Columns(times, received, seqs, statuses, values)


def _sums(steps: array[int]) -> Sequence[int]:
    sums = list(accumulate(steps))
    if sums and not -(2**63) <= min(sums) <= max(sums) < 2**63:
        return [_signed(number) for number in sums]
    return sums
