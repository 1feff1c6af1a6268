"""Every error that Hotpair raises on purpose, as one tree.

HotpairError                 carries a remedy: what the person who reads it should do
├── ConfigError              a file is wrong; carries every Problem found, not just the first
├── DeviceError              a request to a field device did not succeed; carries a StatusCode
│   ├── LinkError            the line or connection itself failed: the session must be reopened
│   ├── ReplyTimeout         no answer in time: the line must be drained or reopened
│   ├── InvalidReply         an answer that cannot be the answer to the question
│   ├── Refused              the device answered with an exception or a Bad status
│   └── LogUnavailable       its log can't be read now: locked, disabled, of another shape
├── WriteRefused             a write was refused by the gateway itself; carries a StatusCode
├── JournalError             the store failed
│   └── StoreFull            no room on the disk
├── ReplicaError             what the peer sent can't be what it wrote
├── PeerError                the other node of the pair
│   ├── LinkDown             no link to it stands
│   ├── LinkClosed           the channel to it ended
│   └── AskRefused           it refused what it was asked
└── ControlError             a command to the running node could not be carried out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.model import Status

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding foreign bytes raises: msgspec lets the errors of text and of depth through."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    where: str
    value: Any
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f" {self.where}:" if self.where else ""
        shown = "" if self.value is None else f" (found {self.value!r})"
        return f"{place}:{where} {self.message}{shown}. {self.remedy}".rstrip()


class HotpairError(Exception):
    """The base: a message for a person, and what that person can do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class ConfigError(HotpairError):
    """A configuration that can't be used; `problems` holds all that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s) in the configuration")
        self.problems = problems


class DeviceError(HotpairError):
    """A request to a field device did not succeed; `status` is what its points now read."""

    status = Status.BAD_COMMUNICATION_ERROR

    def __init__(self, message: str, remedy: str = "", status: int | None = None) -> None:
        super().__init__(message, remedy)
        if status is not None:
            self.status = status


class LinkError(DeviceError):
    """The line or the connection failed: nothing more is said on it before it is reopened."""

    status = Status.BAD_NO_COMMUNICATION


class ReplyTimeout(DeviceError):
    """No answer within the device's time-out."""

    status = Status.BAD_NO_COMMUNICATION


class InvalidReply(DeviceError):
    """An answer that can't be the answer to the question (wrong unit, function, length, echo)."""

    status = Status.BAD_COMMUNICATION_ERROR


class Refused(DeviceError):
    """The device answered with an exception; `code` is the protocol's own number for it."""

    status = Status.BAD_DEVICE_FAILURE

    def __init__(
        self, message: str, code: int, remedy: str = "", status: int | None = None
    ) -> None:
        super().__init__(message, remedy, status)
        self.code = code


class LogUnavailable(DeviceError):
    """The device answers, but its log can't be read now; worth trying `retry_after_ns` later.

    0: the log only told what it records, and is read at once. None: nobody knows when.
    """

    status = Status.BAD_RESOURCE_UNAVAILABLE

    def __init__(self, message: str, retry_after_ns: int | None, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.retry_after_ns = retry_after_ns


class WriteRefused(HotpairError):
    """A write that the gateway did not send; `status` tells a client why."""

    def __init__(self, message: str, status: int, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status


class JournalError(HotpairError):
    """The store failed; what was committed before stays readable."""


class StoreFull(JournalError):
    """No room on the disk: history pauses under a declared gap, live values go on."""


class ReplicaError(HotpairError):
    """Records of the peer that break their chain or can't be decoded: none of them is taken."""


class PeerError(HotpairError):
    """Something with the other node of the pair did not succeed."""


class LinkDown(PeerError):
    """No link to the peer stands."""


class LinkClosed(PeerError):
    """The channel to the peer ended: what was sent last may not have arrived."""


class AskRefused(PeerError):
    """The peer refused what it was asked."""


class ControlError(HotpairError):
    """A command to a running node could not be carried out."""


class BadInput(ControlError):
    """What was typed, or a file that was named, can't be meant: nothing was tried."""


class NotThere(ControlError):
    """What was named does not exist, or does not answer."""
