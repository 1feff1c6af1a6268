"""One question and its answer, on a channel of their own: each in pieces, up to 64 MiB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.errors import HotpairError
from gateway.pair.channel import Channel
from gateway.pair.wire import (
    Answer,
    Pieces,
    decode_answer,
    decode_question,
    encode_answer,
    pieces,
)


async def ask_one(channel: Channel, question: bytes) -> Answer:
    """Ask and close. Raises LinkClosed, WireError."""
    try:
        for piece in pieces(question):
            await channel.send(piece)
        return decode_answer(await _whole(channel))
    finally:
        channel.close()


async def answer_one(channel: Channel, answer: Callable[[str, Any], Awaitable[Any]]) -> None:
    """Answer one question and close. Raises LinkClosed, WireError."""
    question = decode_question(await _whole(channel))
    try:
        wire = encode_answer(Answer(True, await answer(question.what, question.body)))
    except HotpairError as error:
        wire = encode_answer(Answer(False, None, error.message, error.remedy))
    for piece in pieces(wire):
        await channel.send(piece)
    await channel.finish()


async def _whole(channel: Channel) -> bytes:
    parts = Pieces()
    while (body := parts.add(await channel.receive())) is None:
        pass
    return body
