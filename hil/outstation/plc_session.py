"""The session of the emulated PLC: IndexRange on reads and writes, one user, writes reported.

Also what a PLC does wrong for every session: it refuses services, and is late.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager

from hil.outstation.historian import Historian, Points


class Owner(Protocol):
    """Who holds the values that clients write."""

    def splice(self, wanted: Any) -> Any:
        """The write to carry out instead, or the StatusCode that refuses it."""

    def wrote(self, wanted: Any) -> None:
        """A write was carried out."""

    @property
    def refusal(self) -> int | None:
        """The StatusCode by which it refuses services; None: it does its work."""

    @property
    def late_s(self) -> float:
        """How much later it answers and publishes."""

    async def speaks(self) -> None:
        """Wait until it is not silent."""

    @property
    def historian(self) -> Historian | None:
        """Who answers HistoryRead; None: the library does."""


class OneUser(UserManager):  # type: ignore[misc]
    """One user with a password, or everybody."""

    def __init__(self, user: str | None, password: str | None) -> None:
        self._user, self._password = user, password

    def get_user(
        self,
        iserver: Any,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> User | None:
        if self._user is None:
            return User(role=UserRole.User)
        if username == self._user and self._password in (None, password):
            return User(role=UserRole.User)
        return None


class PlcSession(InternalSession):  # type: ignore[misc]
    """A session that knows IndexRange, which asyncua's server ignores, and reports writes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.history_points: Points = OrderedDict()
        self.forgotten = False

    def is_activated(self) -> bool:
        """Whether it may be used. Raises ServiceError when the PLC knows it no more.

        Such a session is not `external` either, so that the end of its connection asks nothing.
        """
        if self.forgotten:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        return bool(super().is_activated())

    async def _befallen(self) -> None:
        """Be late as the PLC is. Raises ServiceError where it refuses."""
        plc: Owner | None = self.iserver.plc
        if not self.external or plc is None:
            return
        if plc.late_s:
            await asyncio.sleep(plc.late_s)
        if plc.refusal is not None:
            raise ServiceError(plc.refusal)

    async def create_subscription(
        self, params: Any, callback: Callable[..., Any], request_callback: Any = None
    ) -> Any:
        await self._befallen()

        async def later(*published: Any) -> None:
            plc: Owner | None = self.iserver.plc
            if plc is not None:
                await asyncio.sleep(plc.late_s)
                await plc.speaks()
            await callback(*published)

        return await super().create_subscription(params, later, request_callback)

    async def history_read(self, params: Any) -> list[Any]:
        await self._befallen()
        plc: Owner | None = self.iserver.plc
        if plc is None or plc.historian is None:
            return list(await super().history_read(params))
        return await plc.historian.read(params, self.history_points)

    async def read(self, params: Any) -> Any:
        await self._befallen()
        results = await super().read(params)
        if not self.external:
            return results
        cut = []
        for wanted, result in zip(params.NodesToRead, results, strict=True):
            cut.append(_cut(result, wanted.IndexRange) if wanted.IndexRange else result)
        return cut

    async def write(self, params: Any) -> Any:
        await self._befallen()
        plc: Owner | None = self.iserver.plc
        if not self.external or plc is None:
            return await super().write(params)
        results = []
        for wanted in params.NodesToWrite:
            spliced = plc.splice(wanted)
            if isinstance(spliced, ua.StatusCode):
                results.append(spliced)
                continue
            one = ua.WriteParameters()
            one.NodesToWrite = [spliced]
            outcome = (await super().write(one))[0]
            if outcome.is_good():
                plc.wrote(wanted)
            results.append(outcome)
        return results


def first_last(index_range: str) -> tuple[int, int]:
    """`2` or `2:4` of OPC 10000-4 section 7.27, as a slice."""
    first, _, last = index_range.partition(":")
    return int(first), int(last or first) + 1


def _cut(result: Any, index_range: str) -> Any:
    value = result.Value.Value if result.Value is not None else None
    try:
        first, end = first_last(index_range)
    except ValueError:
        return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeInvalid))
    if not isinstance(value, list) or first >= len(value):
        return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeNoData))
    return replace(result, Value=ua.Variant(value[first:end], result.Value.VariantType))


class PlcServer(InternalServer):  # type: ignore[misc]
    def __init__(self, users: UserManager) -> None:
        super().__init__(user_manager=users)
        self.plc: Owner | None = None

    def create_session(self, name: str, user: Any = None, external: bool = False) -> PlcSession:
        user = user or User(role=UserRole.Anonymous)
        return PlcSession(
            self, self.aspace, self.subscription_service, name, user=user, external=external
        )
