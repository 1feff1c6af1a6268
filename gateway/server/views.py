"""Browse, BrowseNext, TranslateBrowsePathsToNodeIds, RegisterNodes (OPC 10000-4 section 5.9)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace, ViewService

from gateway.server.context import Context
from gateway.server.continuation import REFERENCE_BYTES, Request
from gateway.server.rights import may_call
from gateway.server.sessions import Session

_CODES = ua.StatusCodes
STRETCH: Final = 20


class QuickViewService(ViewService):  # type: ignore[misc]
    """Finds the subtypes of a reference type once; the library does for every reference."""

    def __init__(self, space: AddressSpace) -> None:
        super().__init__(space)
        self._subtypes: dict[ua.NodeId, frozenset[ua.NodeId]] = {}

    def _suitable_reftype(self, ref1: ua.NodeId, ref2: ua.NodeId, subtypes: bool) -> bool:
        if ref1.is_null() or ref1 == ref2:
            return True
        if not subtypes:
            return False
        known = self._subtypes.get(ref1)
        if known is None:
            known = frozenset(self._get_sub_ref(ref1))
            if known:  # only types that exist are kept: a client can't fill this with its own
                self._subtypes[ref1] = known
        return ref2 in known


async def browse(context: Context, session: Session, params: Any) -> Any:
    """The references of nodes, in pages of what the client asks and the server allows."""
    if not params.View.ViewId.is_null():
        raise ua.UaStatusCodeError(_CODES.BadViewIdUnknown)
    most = context.limits.max_references_per_node
    if params.RequestedMaxReferencesPerNode:
        most = min(most, params.RequestedMaxReferencesPerNode)
    request = session.browse_points.request()
    results = []
    for done, description in enumerate(params.NodesToBrowse, 1):
        results.append(_browse(context, description, most, request))
        if done % STRETCH == 0:
            await asyncio.sleep(0)
    response = ua.BrowseResponse()
    response.Results = results
    return response


def _browse(context: Context, description: Any, most: int, request: Request) -> ua.BrowseResult:
    if description.NodeId not in context.space:
        return _refused(_CODES.BadNodeIdUnknown)
    direction = int(description.BrowseDirection)
    if not 0 <= direction <= 2:
        return _refused(_CODES.BadBrowseDirectionInvalid)
    wanted = description.ReferenceTypeId
    if not wanted.is_null() and wanted not in context.space:
        return _refused(_CODES.BadReferenceTypeIdInvalid)
    view = context.internal.view_service
    found = view.browse(ua.BrowseParameters(NodesToBrowse=[description]))[0]
    return _page(context, found.References, most, request)


def _page(context: Context, references: list[Any], most: int, request: Request) -> ua.BrowseResult:
    result = ua.BrowseResult()
    result.References = references[:most]
    if len(references) > most:
        left = references[most:]
        now_ns = context.clock.monotonic_ns()
        name = request.keep((most, left), REFERENCE_BYTES * len(left), now_ns)
        if name is None:
            return _refused(_CODES.BadNoContinuationPoints)
        result.ContinuationPoint = name
    return result


def _refused(status: int) -> ua.BrowseResult:
    return ua.BrowseResult(StatusCode=ua.StatusCode(status))


async def browse_next(context: Context, session: Session, params: Any) -> Any:
    """The next pages, or the release of what is left."""
    request, now_ns = session.browse_points.request(), context.clock.monotonic_ns()
    results = []
    for name in params.ContinuationPoints:
        kept = request.take(name, now_ns)
        if kept is None:
            results.append(_refused(_CODES.BadContinuationPointInvalid))
        elif params.ReleaseContinuationPoints:
            results.append(ua.BrowseResult())
        else:
            most, left = kept
            results.append(_page(context, left, most, request))
    response = ua.BrowseNextResponse()
    response.Parameters.Results = results
    return response


async def translate(context: Context, _session: Session, params: Any) -> Any:
    """The nodes at the ends of paths of browse names."""
    results = []
    for done, path in enumerate(params.BrowsePaths, 1):
        if not path.RelativePath.Elements:
            results.append(ua.BrowsePathResult(ua.StatusCode(_CODES.BadNothingToDo)))
        else:
            view = context.internal.view_service
            results.extend(view.translate_browsepaths_to_nodeids([path]))
        if done % STRETCH == 0:
            await asyncio.sleep(0)
    response = ua.TranslateBrowsePathsToNodeIdsResponse()
    response.Results = results
    return response


async def register(_context: Context, _session: Session, params: Any) -> Any:
    """Registered nodes are used by the ids they have: there is nothing faster to hand out."""
    response = ua.RegisterNodesResponse()
    response.Parameters.RegisteredNodeIds = params.NodesToRegister
    return response


async def unregister(_context: Context, _session: Session, _params: Any) -> Any:
    """Nothing was handed out, nothing is taken back."""
    return ua.UnregisterNodesResponse()


async def call(context: Context, session: Session, params: Any) -> Any:
    """Call methods one after the other, as far as the user's role allows; each has its status."""
    response = ua.CallResponse()
    response.Results = []
    for request in params.MethodsToCall:
        result = await context.methods.call(session, request)
        if result is not None:
            response.Results.append(result)
        elif may_call(session, request.MethodId):
            response.Results += await context.internal.method_service.call([request])
        else:
            denied = ua.StatusCode(_CODES.BadUserAccessDenied)
            response.Results.append(ua.CallMethodResult(StatusCode=denied))
    return response
