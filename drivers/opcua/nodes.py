"""NodeIds as text, and the points of a device grouped by node. Pure.

The text form is OPC 10000-6 section 5.3.1.10 (`ns=2;s=Flow`), with `nsu=<uri>;` for a namespace by
its URI, since a PLC may number its namespaces anew after each download.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.model import DataType

Identifier = int | str | bytes | UUID

_TEXT: Final = re.compile(
    r"(?:nsu=(?P<uri>[^;]+);|ns=(?P<index>\d+);)?(?P<id>[isgb]=.+)", re.DOTALL
)
HELP: Final = "write ns=2;s=Flow, nsu=urn:plc:app;s=Flow, ns=2;i=1001 or i=2258"


@dataclass(frozen=True, slots=True)
class NodeText:
    """A NodeId before its namespace is known: `uri` wins over `index`."""

    uri: str | None
    index: int
    identifier: Identifier


def parse_node(text: str) -> NodeText:
    """The parts of a NodeId's text. Raises ValueError telling what to write."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no NodeId: {HELP}")
    uri = match["uri"]
    if uri is not None:
        uri = uri.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
    index = int(match["index"] or 0)
    if index > 0xFFFF:
        raise ValueError(f"namespace {index} is above 65535")
    return NodeText(uri, index, _identifier(match["id"][0], match["id"][2:]))


def _identifier(kind: str, text: str) -> Identifier:
    try:
        match kind:
            case "i":
                number = int(text)
                if not 0 <= number <= 0xFFFFFFFF:
                    raise ValueError
                return number
            case "g":
                return UUID(text)
            case "b":
                return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        what = {"i": "a number of 32 bits", "g": "a GUID", "b": "base64"}[kind]
        raise ValueError(f"{kind}={text}: after `{kind}=` comes {what}") from None
    return text


def node_text(identifier: Identifier, index: int, namespaces: Sequence[str]) -> str:
    """A NodeId as `parse_node` reads it, its namespace by URI where that is known."""
    kinds = {int: "i", str: "s", UUID: "g", bytes: "b"}
    kind = next(letter for type_, letter in kinds.items() if isinstance(identifier, type_))
    shown = base64.b64encode(identifier).decode() if isinstance(identifier, bytes) else identifier
    text = f"{kind}={shown}"
    if index == 0:
        return text
    if index < len(namespaces):
        uri = namespaces[index].replace("%", "%25").replace(";", "%3B")
        return f"nsu={uri};{text}"
    return f"ns={index};{text}"


def resolve(node: NodeText, namespaces: Sequence[str]) -> tuple[Identifier, int] | None:
    """Identifier and namespace index on a server with these namespaces; None if it lacks the URI.

    An index given as a number is taken as it is: the server judges it.
    """
    if node.uri is None:
        return node.identifier, node.index
    try:
        return node.identifier, list(namespaces).index(node.uri)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Member:
    """A point that takes its value, or the element `index` of it, from a node."""

    number: int
    name: str
    data_type: DataType
    index: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """A node with all the points that live on it: read once, monitored once."""

    text: str
    node: NodeText
    members: tuple[Member, ...]


def group(points: Iterable[tuple[str, Member]]) -> tuple[Item, ...]:
    """The items of (node text, member) pairs, in their order.

    Elements of one array share an item, since many servers can't monitor a single element.
    """
    members: dict[str, list[Member]] = {}
    for text, member in points:
        members.setdefault(text.strip(), []).append(member)
    return tuple(Item(text, parse_node(text), tuple(found)) for text, found in members.items())


def chunks(total: int, limit: int) -> list[slice]:
    """Slices that cut `total` things into runs of at most `limit`."""
    return [slice(start, min(start + limit, total)) for start in range(0, total, limit)]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one service call may carry: the server's own limits, under ours.

    Servers that tell nothing (0) get ours: 1,000 nodes fit any message size met so far.
    """

    read: int = 1_000
    monitor: int = 1_000

    @staticmethod
    def told(read: object, monitor: object) -> Limits:
        """Our limits narrowed by what a server's OperationLimits say; anything odd is no limit."""
        ours = Limits()

        def narrow(own: int, told: object) -> int:
            return min(own, told) if isinstance(told, int) and told > 0 else own

        return Limits(narrow(ours.read, read), narrow(ours.monitor, monitor))


def known_types(fact: object) -> dict[str, str]:
    """The fact `types` of a device, point name to type name, however it was stored."""
    return {str(k): str(v) for k, v in fact.items()} if isinstance(fact, Mapping) else {}
