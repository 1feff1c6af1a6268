"""A device looked at before it is in any site: which units answer, and who they are.

One connection, one request at a time, nothing is written and nothing repeated. What is silent costs
one time-out.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from drivers.modbus import frames
from drivers.modbus.identity import (
    ENCAPSULATED,
    REPORT_SERVER_ID,
    common_model,
    identify,
    server_id,
)
from drivers.modbus.pdu import RawCall, RawRequest, data_of
from drivers.modbus.session import Session
from drivers.modbus.settings import ModbusLine
from drivers.modbus.sunspec import Fact, discover
from gateway.driver import DriverContext
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout
from profiles.schema import Area, SunSpec

_T = TypeVar("_T")
COMMON_WORDS = 66
"""Registers of the common model with its head, without the trailing pad."""


class Unit(NamedTuple):
    """A unit that answered: how, and what it told of itself. `models` are SunSpec's."""

    unit_id: int
    answer: str
    identity: dict[str, str]
    server_id: str
    base: int | None
    models: tuple[int, ...]


class Surveyor:
    """Asks on a connection of its own; `close` it."""

    def __init__(
        self, settings: ModbusLine, port: str | None, context: DriverContext, timeout_ns: int
    ) -> None:
        self._timeout_ns = timeout_ns
        self._session = Session(
            settings, port, context.clock, context.base_dir, context.bind, lambda: True
        )

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._session.close()

    async def _ask(self, request: RawRequest, size: int | None) -> bytes:
        session = self._session
        if not session.connected:
            await session.open(self._timeout_ns)
        answered = False
        try:
            reply = await session.transact(request, size, self._timeout_ns)
            data = data_of(request, size, reply)
            answered = True
        except Refused:
            answered = True
            raise
        except InvalidReply:
            session.distrust()
            raise
        finally:
            if not answered:
                session.recover()
        return data

    async def words(self, unit_id: int, area: Area, address: int, count: int) -> list[int]:
        """Registers, or bits as 0 and 1. Raises DeviceError."""
        function = frames.READ_FUNCTION[area]
        request = RawRequest(unit_id, function, frames.read_payload(address, count))
        data = await self._ask(request, frames.read_size(function, count))
        if area.is_bits:
            packed = int.from_bytes(data, "little")
            return [packed >> at & 1 for at in range(count)]
        return list(struct.unpack(f">{count}H", data))

    async def answers(self, unit_id: int) -> str:
        """How a unit answers one read of holding register 0; "" when it doesn't.

        Raises LinkError when the line itself fails.
        """
        try:
            (word,) = await self.words(unit_id, Area.HOLDING, 0, 1)
        except Refused as refused:
            return "" if refused.code in frames.DEAD_TARGET else refused.message
        except ReplyTimeout:
            return ""
        except InvalidReply as error:
            return f"not as expected: {error.message}"
        return f"holding register 0 is {word}"

    async def describe(self, unit_id: int, answer: str) -> Unit:
        """Who a unit is, by every way that it takes. Raises LinkError."""
        objects = await self._quietly(self._identity(unit_id)) or {}
        told = await self._quietly(self._server_id(unit_id)) or ""
        fact = await self._quietly(self._sunspec(unit_id))
        base, models = (fact["base"], tuple(map(int, fact["models"]))) if fact else (None, ())
        if fact and "1" in fact["models"]:
            at = fact["models"]["1"][0][0]
            words = await self._quietly(self.words(unit_id, Area.HOLDING, at, COMMON_WORDS))
            objects = common_model(words or []) | objects
        return Unit(unit_id, answer, objects, told, base, models)

    async def _quietly(self, asking: Awaitable[_T]) -> _T | None:
        """What a question gives, or None where the device does not know it. Raises LinkError."""
        try:
            return await asking
        except LinkError:
            # Some devices close the connection when they are asked what they don't know.
            if not self._session.generation:
                raise
        except DeviceError:
            pass
        return None

    async def _identity(self, unit_id: int) -> dict[str, str]:
        asking = identify()
        question = next(asking)
        while True:  # bounded by the generator
            data = await self._ask(RawCall(unit_id, ENCAPSULATED, question), None)
            try:
                question = asking.send(data)
            except StopIteration as done:
                found: dict[str, str] = done.value
                return found

    async def _server_id(self, unit_id: int) -> str:
        return server_id(await self._ask(RawCall(unit_id, REPORT_SERVER_ID, b""), None))

    async def _sunspec(self, unit_id: int) -> Fact | None:
        walk = discover(SunSpec())
        asked = next(walk)
        while True:  # bounded by the walk: at most 100 models
            words = await self._quietly(self.words(unit_id, Area.HOLDING, *asked))
            try:
                asked = walk.send(words)
            except StopIteration as done:
                fact: Fact | None = done.value
                return fact
