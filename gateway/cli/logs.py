"""How a node logs to stderr: text or JSON, with journald's priorities where journald listens."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO, Final

PRIORITIES: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""syslog's priorities, sd-daemon(3)."""

_LIBRARIES: Final = ("pymodbus", "asyncua", "uvicorn")
_NOTHING: Final = logging.CRITICAL + 1  # asyncua logs a server's refusal as critical


class LogFormat(StrEnum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


def is_journald(stream: IO[str], environment: Mapping[str, str]) -> bool:
    """Whether what is written there goes to journald: JOURNAL_STREAM of systemd.exec(5)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Lines(logging.Formatter):
    """A line a record; journald has the time and the level itself."""

    def __init__(self, for_journald: bool) -> None:
        form = "%(name)s: %(message)s"
        if not for_journald:
            form = f"%(asctime)s.%(msecs)03d %(levelname)s {form}"
        super().__init__(form, "%Y-%m-%dT%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON document a record: time in UTC, level, logger, message, and what was raised."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


class Prioritised(logging.Formatter):
    """Another's lines, each with its priority before it, as journald wants them."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in self._lines.format(record).split("\n"))


def set_up_logging(kind: LogFormat, verbose: bool) -> None:
    """Logs go to stderr, where journald and containers look; libraries speak when it's verbose."""
    journald = is_journald(sys.stderr, os.environ)
    lines: logging.Formatter = JsonLines() if kind is LogFormat.JSON else Lines(journald)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Prioritised(lines) if journald else lines)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    level = logging.DEBUG if verbose else logging.INFO
    for name in ("hotpair", "gateway", "drivers"):
        logging.getLogger(name).setLevel(level)
    silence_libraries(logging.WARNING if verbose else _NOTHING)


def silence_libraries(level: int = _NOTHING) -> None:
    """What a library would log below that level isn't: what failed is told once, in our words."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(level)
