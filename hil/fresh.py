"""A client that follows a pair: the moment when an endpoint serves what was polled since."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from asyncua import Client, ua

from hil.gateway import ProgramError, ticks
from hil.visitor import Visitor, introduce

RETRY_S: Final = 0.02
"""How often a client that follows the pair tries an endpoint that is closed."""
OPENING_S: Final = 3.0
LEAVING_S: Final = 1.0
FRESH_S: Final = 30.0
Wanted = tuple[str, str, list[str], int, float, Visitor | None]
"""The arguments of `first_fresh_ns`."""


async def first_fresh_ns(
    endpoint: str,
    namespace: str,
    points: list[str],
    after_ns: int,
    within_s: float = FRESH_S,
    visitor: Visitor | None = None,
) -> int:
    """The moment (ns UTC) when a client of an endpoint sees a Good value polled after `after_ns`.

    The client retries each 20 ms; a node stamps ServerTimestamp with its last good poll. Without a
    visitor it is unsecured. Raises ProgramError when there is none in time.
    """
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await _first_fresh(endpoint, namespace, points, after_ns, visitor)
                except (OSError, TimeoutError, ua.UaError):  # closed, or closed meanwhile
                    await asyncio.sleep(RETRY_S)
    except TimeoutError:
        raise ProgramError(f"no fresh value at {endpoint} within {within_s:g} s") from None


async def _first_fresh(
    endpoint: str, namespace: str, points: list[str], after_ns: int, visitor: Visitor | None
) -> int:
    client = Client(endpoint, timeout=OPENING_S)
    client.session_timeout = 10_000
    await introduce(client, visitor)
    await client.connect()
    try:
        index = await client.get_namespace_index(namespace)
        asked = ua.ReadParameters(
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[
                ua.ReadValueId(NodeId=ua.NodeId(point, index), AttributeId=ua.AttributeIds.Value)
                for point in points
            ],
        )
        while True:
            for found in await client.uaclient.read(asked):
                stamp = found.ServerTimestamp
                if found.StatusCode.is_good() and stamp and ticks(stamp) > after_ns:
                    return time.time_ns()
            await asyncio.sleep(RETRY_S)
    finally:
        try:
            async with asyncio.timeout(LEAVING_S):
                await client.disconnect()
        except (OSError, TimeoutError, ua.UaError):
            pass  # it went before we did
