"""What goes into a PLC witness and what comes out of it: frozen data. Times in ns."""

from __future__ import annotations

from typing import NamedTuple


class Tick(NamedTuple):
    """Time passed."""


class Claim(NamedTuple):
    """The vote is wanted, and then kept."""


class Release(NamedTuple):
    """The vote is wanted no more."""


class Peer(NamedTuple):
    """Which register is whose, and who goes first when both claim at once."""

    mine_is_lower: bool
    gives_way: bool


class Reply(NamedTuple):
    """A request was carried out on that connection; `words` are what a read brought."""

    number: int
    connection: int
    words: tuple[int, ...] = ()


class Failure(NamedTuple):
    """A request was not answered: it may have been carried out. `refused`: the PLC said no."""

    number: int
    why: str
    refused: bool = False


Event = Tick | Claim | Release | Peer | Reply | Failure


class Read(NamedTuple):
    """Read the three registers."""

    number: int
    timeout_ns: int


class Write(NamedTuple):
    """Write one of the three registers."""

    number: int
    timeout_ns: int
    register: int
    word: int


class Vote(NamedTuple):
    """The vote holds until then (ns of this node's clock); 0: it is lost."""

    until_ns: int


Effect = Read | Write | Vote


class Trouble(NamedTuple):
    """What hinders the vote, for people; "" when nothing does."""

    text: str
    remedy: str = ""
