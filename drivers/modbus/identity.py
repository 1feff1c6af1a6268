"""Who a device says it is: FC43/14, FC17 and the SunSpec common model, as bytes and words. Pure.

Source: Modbus Application Protocol V1.1b3 sections 6.13 (Report Server ID) and 6.21 (Read Device
Identification); SunSpec model 1 ("Common") of the SunSpec Information Model Reference.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from gateway.errors import InvalidReply

REPORT_SERVER_ID: Final = 17
ENCAPSULATED: Final = 43
READ_DEVICE_ID: Final = 14
BASIC: Final = 1
REGULAR: Final = 2
ROUNDS_MAX: Final = 16
"""Replies of one identification: `more follows` ends it sooner in any sane device."""
NAMES: Final = {
    0: "vendor",
    1: "product_code",
    2: "revision",
    3: "url",
    4: "product",
    5: "model",
    6: "application",
}
_COMMON: Final = (
    ("vendor", 2, 16),
    ("model", 18, 16),
    ("options", 34, 8),
    ("revision", 42, 8),
    ("serial_number", 50, 16),
)
"""Name, offset from the id register and registers of the common model's texts."""


class Page(NamedTuple):
    """One reply to FC43/14; `next_object` is None when that was all."""

    conformity: int
    objects: dict[str, str]
    next_object: int | None


def question(code: int, first: int) -> bytes:
    """What follows function 43: MEI type, read device id code, object to begin with."""
    return bytes((READ_DEVICE_ID, code, first))


def answer(data: bytes) -> Page:
    """The objects in what follows function 43 in a reply. Raises InvalidReply."""
    if len(data) < 6 or data[0] != READ_DEVICE_ID:
        raise InvalidReply("the answer to FC43/14 is no device identification")
    conformity, more, following, count = data[2], data[3], data[4], data[5]
    objects, at = {}, 6
    for _ in range(count):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise InvalidReply("the answer to FC43/14 ends inside an object")
        text = data[at + 2 : at + 2 + data[at + 1]]
        objects[NAMES.get(data[at], f"object_{data[at]}")] = printable(text)
        at += 2 + data[at + 1]
    return Page(conformity, objects, following if more else None)


def identify() -> Generator[bytes, bytes, dict[str, str]]:
    """Ask for all basic and regular objects; yields questions, is sent answers. InvalidReply."""
    page = answer((yield question(BASIC, 0)))
    found = dict(page.objects)
    code = BASIC
    for _ in range(ROUNDS_MAX):
        if page.next_object is not None:
            page = answer((yield question(code, page.next_object)))
        elif code == BASIC and page.conformity & 0x7F >= REGULAR:
            code = REGULAR
            page = answer((yield question(code, 0)))
        else:
            break
        found |= page.objects
    return {name: text for name, text in found.items() if text}


def server_id(data: bytes) -> str:
    """What follows function 17 in a reply, as text where it is text. Raises InvalidReply."""
    if not data or len(data) != data[0] + 1:
        raise InvalidReply("the answer to FC17 has another length than it says")
    told = data[1:]
    text = printable(told)
    return f"{text} ({told.hex(' ')})" if len(text) > 2 else told.hex(" ")


def common_model(words: Sequence[int]) -> dict[str, str]:
    """The texts of SunSpec model 1, whose id register is the first of `words`."""
    found = {}
    for name, offset, count in _COMMON:
        raw = b"".join(word.to_bytes(2, "big") for word in words[offset : offset + count])
        if text := printable(raw):
            found[name] = text
    return found


def printable(raw: bytes) -> str:
    """The ASCII text at the beginning of bytes, without padding and what can't be printed."""
    text = raw.split(b"\0", 1)[0] if raw[:1] != b"\0" else raw.strip(b"\0")
    return "".join(chr(byte) for byte in text if 0x20 <= byte < 0x7F).strip()
