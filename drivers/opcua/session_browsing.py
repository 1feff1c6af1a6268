"""A server looked at before it is in any site: its endpoints, and its tree of variables."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from asyncua import ua

from drivers.opcua.nodes import NodeText, node_text, parse_node, resolve
from drivers.opcua.observe import Reading
from drivers.opcua.pki import fingerprint
from drivers.opcua.session import Session
from drivers.opcua.session_client import HotpairClient, device_error
from drivers.opcua.settings import OpcUaDevice
from drivers.opcua.values import Builtin, natural, readable
from drivers.opcua.wire import Wire
from gateway.driver import DriverContext
from gateway.errors import NotThere
from gateway.model import DataType

REFERENCES_MAX: Final = 1_000
"""References asked for in one answer; the rest comes by continuation points."""
ASKED_AT_ONCE: Final = 50
PAGES_MAX: Final = 1_000
_ACCESS: Final = {(True, True): "rw", (False, True): "w"}


class Endpoint(NamedTuple):
    """One way to connect; `users` are the kinds of login it takes."""

    url: str
    policy: str
    mode: str
    users: tuple[str, ...]
    certificate: str


class Variable(NamedTuple):
    """A variable of the tree. `type` is None where no point can hold it; `why` says so then."""

    path: tuple[str, ...]
    node: str
    type: DataType | None
    access: str
    value: str
    array: int | None
    why: str


class Tree(NamedTuple):
    """What was found; `more` says that a bound ended the search."""

    variables: list[Variable]
    nodes: int
    more: bool


async def endpoints(device: OpcUaDevice, context: DriverContext) -> list[Endpoint]:
    """The ways to connect that a server tells everybody. Raises DeviceError."""
    wire = Wire("probe", context)
    client = HotpairClient(device.url, device.timeout_ns, wire, context.bind)
    try:
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        told = await client.get_endpoints()
        await client.close_secure_channel()
    except Exception as error:  # whatever it is, it is told in our words
        raise device_error(error, "the endpoints") from error
    finally:
        client.abort()
    return [
        Endpoint(
            str(end.EndpointUrl),
            end.SecurityPolicyUri.rpartition("#")[2],
            end.SecurityMode.name.rstrip("_"),
            tuple(dict.fromkeys(token.TokenType.name for token in end.UserIdentityTokens or ())),
            fingerprint(end.ServerCertificate) if end.ServerCertificate else "",
        )
        for end in told
    ]


class Visit:
    """A session of its own on a server; `close` it."""

    def __init__(self, device: OpcUaDevice, context: DriverContext) -> None:
        self._session = Session(device, Wire("probe", context), context)

    async def open(self) -> None:
        """Connect and log in. Raises DeviceError."""
        await self._session.open()

    async def close(self) -> None:
        """Free the session on the server."""
        await self._session.close()

    @property
    def about(self) -> dict[str, Any]:
        """What the server says of itself."""
        offset = self._session.clock_offset_ns
        return {
            "product": self._session.product,
            "namespaces": list(self._session.namespaces),
            "clock_offset_ms": None if offset is None else round(offset / 1e6, 1),
            "warnings": list(self._session.warnings),
        }

    async def browse(self, start: str, depth: int, limit: int, told: Callable[[int], None]) -> Tree:
        """The variables below a node, breadth first; `told` hears how many nodes were seen.

        Raises DeviceError, NotThere.
        """
        session = self._session
        found = resolve(parse_node(start), session.namespaces)
        if found is None:
            known = ", ".join(session.namespaces)
            raise NotThere(f"the server has no namespace of {start}", f"It has: {known}")
        waiting: deque[tuple[Any, tuple[str, ...], int]] = deque()
        waiting.append((session.node(*found), (), 0))
        seen: set[str] = {waiting[0][0].to_string()}
        variables: list[tuple[tuple[str, ...], Any]] = []
        more = False
        while waiting and not more:
            run = [waiting.popleft() for _ in range(min(ASKED_AT_ONCE, len(waiting)))]
            children = await self._children([node for node, _, _ in run])
            for (_, path, level), references in zip(run, children, strict=True):
                for reference in references:
                    node = reference.NodeId
                    key = node.to_string()
                    if key in seen or getattr(node, "ServerIndex", None):
                        continue
                    if len(seen) > limit:
                        more = True
                        break
                    seen.add(key)
                    there = (*path, readable(str(reference.BrowseName.Name)))
                    plain = session.node(node.Identifier, node.NamespaceIndex)
                    if reference.NodeClass == ua.NodeClass.Variable:
                        variables.append((there, plain))
                    if level + 1 < depth:
                        waiting.append((plain, there, level + 1))
            told(len(seen))
        return Tree(await self._described(variables), len(seen), more)

    async def _children(self, nodes: Sequence[Any]) -> list[list[Any]]:
        """The objects and variables that each node refers to downwards."""
        params = ua.BrowseParameters()
        params.RequestedMaxReferencesPerNode = ua.UInt32(REFERENCES_MAX)
        params.NodesToBrowse = [_description(node) for node in nodes]
        services = self._session.services
        try:
            results = await services.browse(params)
            found = [list(result.References or ()) for result in results]
            points = {at: result.ContinuationPoint for at, result in enumerate(results)}
            waiting = {at: point for at, point in points.items() if point}
            for _ in range(PAGES_MAX):
                if not waiting:
                    break
                following = ua.BrowseNextParameters()
                following.ReleaseContinuationPoints = False
                following.ContinuationPoints = list(waiting.values())
                pages = await services.browse_next(following)
                for at, page in zip(list(waiting), pages, strict=True):
                    found[at] += page.References or ()
                    waiting[at] = page.ContinuationPoint
                waiting = {at: point for at, point in waiting.items() if point}
        except Exception as error:  # parse errors of the library have no common base
            raise device_error(error, "browsing") from error
        return found

    async def _described(self, found: Sequence[tuple[tuple[str, ...], Any]]) -> list[Variable]:
        nodes = [node for _, node in found]
        session = self._session
        values = await session.read(nodes)
        access = await session.read(nodes, ua.AttributeIds.UserAccessLevel)
        kinds = await session.read(nodes, ua.AttributeIds.DataType)
        return [
            self._variable(path, node, value, level, kind)
            for (path, node), value, level, kind in zip(found, values, access, kinds, strict=True)
        ]

    def _variable(
        self, path: tuple[str, ...], node: Any, value: Reading, level: Reading, kind: Reading
    ) -> Variable:
        builtin = value.builtin if value.builtin is not Builtin.NULL else _declared(kind.value)
        bits = level.value if isinstance(level.value, int) else 1
        access = _ACCESS.get((bool(bits & 1), bool(bits & 2)), "r")
        text = node_text(node.Identifier, node.NamespaceIndex, self._session.namespaces)
        type_ = natural(builtin)
        why = "" if type_ is not None else f"no point holds a {builtin.name.lower()}"
        if value.rank > 1:
            type_, why = None, "an array of several dimensions"
        array = len(value.value) if value.rank == 1 and value.value is not None else None
        shown = "" if value.value is None else readable(str(value.value))
        return Variable(path, text, type_, access, shown, array, why)


def _declared(kind: Any) -> Builtin:
    """The built-in type that a DataType attribute names, NULL where it names a derived one."""
    text = str(kind)
    try:
        node: NodeText = parse_node(text)
        identifier = node.identifier
        if node.uri is None and node.index == 0 and isinstance(identifier, int):
            return Builtin(identifier)
    except ValueError:
        pass
    return Builtin.NULL


def _description(node: Any) -> Any:
    description = ua.BrowseDescription()
    description.NodeId = node
    description.BrowseDirection = ua.BrowseDirection.Forward
    description.ReferenceTypeId = ua.NodeId(ua.Int32(ua.ObjectIds.HierarchicalReferences))
    description.IncludeSubtypes = True
    description.NodeClassMask = ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable)
    description.ResultMask = ua.UInt32(ua.BrowseResultMask.All)
    return description
