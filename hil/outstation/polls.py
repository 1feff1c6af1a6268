"""What was asked of the outstations, and when it was answered: the evidence of who polls whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

KEPT: Final = 200_000
"""Polls held in memory; the oldest are forgotten first (the file keeps all)."""
FLUSH_EVERY: Final = 500


class Poll(msgspec.Struct, frozen=True, gc=False):
    """One request. Times in ns UTC; `answered_ns` is 0 when nothing was sent.

    `outcome` is "ok", "exception N", or the kind of fault that shaped the reply.
    """

    received_ns: int
    answered_ns: int
    device: str
    unit: int
    function: int
    area: str
    address: int
    count: int
    peer: str
    outcome: str


class PollLog:
    """The last polls in memory and, if a file is given, every poll as a line of JSON."""

    def __init__(self, path: Path | None = None, kept: int = KEPT) -> None:
        self.polls: deque[Poll] = deque(maxlen=kept)
        self._file: IO[bytes] | None = path.open("ab") if path is not None else None
        self._encoder = msgspec.json.Encoder()
        self._unflushed = 0
        self.count = 0

    def add(self, poll: Poll) -> None:
        """Remember a poll."""
        self.polls.append(poll)
        self.count += 1
        if self._file is not None:
            self._file.write(self._encoder.encode(poll) + b"\n")
            self._unflushed += 1
            if self._unflushed >= FLUSH_EVERY:
                self.flush()

    def flush(self) -> None:
        """Bring the file up to date."""
        self._unflushed = 0
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; the memory stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_polls(path: Path) -> Iterator[Poll]:
    """The polls of a file, oldest first. Raises msgspec.DecodeError for a damaged line."""
    decoder = msgspec.json.Decoder(Poll)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
