"""Bytes of a configuration file as text, with the mistakes that editors and spreadsheets make."""

from __future__ import annotations

from typing import Final

from gateway.errors import HotpairError

YAML_MAX_BYTES: Final = 4 * 2**20
CSV_MAX_BYTES: Final = 32 * 2**20
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class Unreadable(HotpairError):
    """A file that can't be had as text; `line` counts from 1, 0 means the file as a whole."""

    def __init__(self, message: str, remedy: str, line: int = 0) -> None:
        super().__init__(message, remedy)
        self.line = line


def size_limit(name: str) -> int:
    """How many bytes a file of this name may have: points come by CSV, so that may be larger."""
    return CSV_MAX_BYTES if name.lower().endswith(".csv") else YAML_MAX_BYTES


def decode(data: bytes, name: str) -> str:
    """The text of a file, without its byte order mark. Raises Unreadable."""
    limit = size_limit(name)
    if len(data) > limit:
        raise Unreadable(
            f"the file is larger than {limit // 2**20} MiB",
            "Split it: points may lie in several files named under `points_csv:`.",
        )
    if data.startswith(_UTF16_MARKS):
        raise Unreadable("the file is UTF-16", "Save it as UTF-8 (Excel: `CSV UTF-8`).", 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            f"byte 0x{data[error.start]:02X} is not UTF-8", "Save the file as UTF-8.", line
        ) from error
    if not text.strip():
        raise Unreadable("the file is empty", "Write the configuration into it.")
    return text
