"""Methods of the server itself: who may call them, with which arguments (OPC 10000-4 5.12.2)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from asyncua import ua

from gateway.server.settings import Role, User
from gateway.server.subscription import Subscription

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes


class Caller(Protocol):
    """A session, as far as a method needs it."""

    account: User | None
    subscriptions: dict[int, Subscription]


class CallRefused(Exception):
    """A call that comes to nothing; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class Call(NamedTuple):
    """A call that may be served: by whom, of which object, with which arguments."""

    caller: Caller
    user: User
    owner: ua.NodeId
    arguments: list[Any]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `serve` gives the output arguments, or raises CallRefused.

    `arguments` are the types of the input arguments, all of them scalars. `denied` hears who lacks
    the role.
    """

    serve: Callable[[Call], Awaitable[list[ua.Variant]]]
    role: Role
    arguments: tuple[ua.VariantType, ...] = ()
    executable: Callable[[], bool] = lambda: True
    """What the attribute says; `serve` itself refuses when it comes to it."""
    denied: Callable[[User], None] = lambda _user: None

    def allows(self, caller: Caller) -> bool:
        """Whether who calls has the role for it."""
        return caller.account is not None and caller.account.role >= self.role


class Methods:
    """The methods by object and method; few, and added at the start."""

    def __init__(self) -> None:
        self._by_id: dict[ua.NodeId, tuple[ua.NodeId | None, Method]] = {}

    def add(self, owner: ua.NodeId | None, method: ua.NodeId, what: Method) -> None:
        """Serve a method of an object from now on; None is any, which `serve` looks at."""
        self._by_id[method] = (owner, what)

    def find(self, method: ua.NodeId) -> Method | None:
        """The method of an id, if it is one of these."""
        found = self._by_id.get(method)
        return found[1] if found is not None else None

    async def call(self, caller: Caller, request: Any) -> ua.CallMethodResult | None:
        """What a call came to; None if it is none of these."""
        found = self._by_id.get(request.MethodId)
        if found is None:
            return None
        owner, method = found
        result = ua.CallMethodResult()
        if owner is not None and request.ObjectId != owner:
            result.StatusCode = ua.StatusCode(_CODES.BadMethodInvalid)
            return result
        given = request.InputArguments or []
        try:
            await self._serve(caller, method, request.ObjectId, given, result)
        except CallRefused as refused:
            result.StatusCode = ua.StatusCode(refused.status)
        except Exception:  # a fault of ours must reach the client as one
            _log.exception("a method failed: %s", request.MethodId)
            result.StatusCode = ua.StatusCode(_CODES.BadInternalError)
        return result

    async def _serve(
        self,
        caller: Caller,
        method: Method,
        owner: ua.NodeId,
        given: list[Any],
        result: ua.CallMethodResult,
    ) -> None:
        user = caller.account
        if user is None or not method.allows(caller):
            if user is not None:
                method.denied(user)
            raise CallRefused(_CODES.BadUserAccessDenied)
        if len(given) < len(method.arguments):
            raise CallRefused(_CODES.BadArgumentsMissing)
        if len(given) > len(method.arguments):
            raise CallRefused(_CODES.BadTooManyArguments)
        statuses = [
            _CODES.Good
            if (variant.VariantType == kind and not variant.is_array)
            # A null is how some clients say that they have nothing to say.
            or (variant.VariantType == ua.VariantType.Null and variant.Value is None)
            else _CODES.BadTypeMismatch
            for variant, kind in zip(given, method.arguments, strict=True)
        ]
        if any(statuses):
            # Without one that is wrong the list stays empty (OPC 10000-4 section 5.12.2.2).
            result.InputArgumentResults = [ua.StatusCode(status) for status in statuses]
            raise CallRefused(_CODES.BadInvalidArgument)
        call = Call(caller, user, owner, [variant.Value for variant in given])
        result.OutputArguments = await method.serve(call)
