"""The exit statuses of `hotpair`, the same for every command."""

from __future__ import annotations

from typing import Final

from gateway.errors import BadInput, HotpairError, LinkError, NotThere, ReplyTimeout

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_THERE: Final = 3
BROKEN: Final = 70
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    FAILED: "refused, failed, or something wrong was found; nothing was changed unless it says so",
    BAD_INPUT: "bad usage, or input that can't be meant: nothing was tried",
    NOT_THERE: "what was named does not exist or does not answer: node, device, point, file",
    BROKEN: "`hotpair run`: a part of the node ended by a fault; it should be started again",
    INTERRUPTED: "interrupted by Ctrl-C",
}
"""What README and a test hold against each other."""


def status_of(error: HotpairError) -> int:
    """The exit status that an error ends a command with."""
    if isinstance(error, BadInput):
        return BAD_INPUT
    if isinstance(error, NotThere | LinkError | ReplyTimeout):
        return NOT_THERE
    return FAILED
