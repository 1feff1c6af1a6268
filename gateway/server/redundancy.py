"""The redundant set as OPC UA tells of it (OPC 10000-5 sections 6.3.7 to 6.3.15, 12.44).

Everything here is computed when it is read, so it is never older than what the application knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from asyncua import ua
from asyncua.server.address_space import AddressSpace, NodeData

from gateway.pair.words import Role
from gateway.server.alarms import Watched
from gateway.server.discovery import Member
from gateway.server.nodes import TreeBuilder, computed, standard
from gateway.server.service_level import Duty, Mode, Situation
from gateway.server.settings import (
    STATE_RUNNING,
    STATE_SHUTDOWN,
    STATE_SUSPENDED,
    STATE_UNKNOWN,
    OpcUaSettings,
    Redundancy,
)

_IDS = ua.ObjectIds
_V = ua.VariantType
OBJECT: Final = standard(_IDS.Server_ServerRedundancy)
FAILOVER: Final = standard(_IDS.NonTransparentBackupRedundancyType_Failover)


class Told(NamedTuple):
    """What RedundantServerArray says of a server."""

    level: int
    state: int


UNHEARD: Final = Told(1, STATE_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the application knows of both servers now; `reason` tells why this one leaves."""

    situation: Situation
    reason: str = ""
    peer: Told = UNHEARD


ALONE: Final = Standing(Situation(Role.MAIN))


class Pair(Protocol):
    """The pair as the server sees it."""

    def standing(self) -> Standing:
        """Both servers now."""

    def refusal(self) -> str:
        """Why no changeover is possible now, or nothing."""

    def watched(self) -> Watched | None:
        """The field as this node sees it; None where it doesn't poll it."""

    async def failover(self, who: str) -> None:
        """Hand the reign over, or have it handed here. Raises ControlError."""

    def audit(self, action: str, who: str, outcome: str) -> None:
        """Journal who asked for what, and what came of it."""


@dataclass(slots=True)
class Outage:
    """This server was taken out of service by an administrator, or will be at `at_ns`.

    Until then it serves as ever; it `leaves` once it hands over. `at_ns` is of the monotonic
    clock; `returns_ns` UTC, 0 when nobody said.
    """

    state: int = STATE_RUNNING
    reason: str = ""
    returns_ns: int = 0
    at_ns: int | None = None
    leaves: bool = False

    @property
    def duty(self) -> Duty:
        if self.leaves:
            return Duty.LEAVING
        out = self.state != STATE_RUNNING and self.at_ns is None
        return Duty.OUT_OF_SERVICE if out else Duty.SERVING


class Shown(NamedTuple):
    """What the Server object says of itself."""

    level: int
    state: int
    reason: str
    mode: Mode


@dataclass(slots=True)
class RedundantSet:
    """Both servers of the set, this one first, and how this one stands."""

    settings: OpcUaSettings
    pair: Pair | None
    own: Member
    other: Member | None = None
    outage: Outage = field(default_factory=Outage)
    closed: str | None = "not open yet"
    """Why the endpoint is closed; None while it is open."""

    @property
    def standing(self) -> Standing:
        """Both servers now; without a pair a Main that nobody could take over from."""
        return self.pair.standing() if self.pair is not None else ALONE

    @property
    def shown(self) -> Shown:
        """What clients are told now."""
        standing, outage = self.standing, self.outage
        situation, reason = standing.situation, standing.reason
        if situation.duty is Duty.SERVING:
            situation, reason = replace(situation, duty=outage.duty), outage.reason or reason
        if self.closed is not None:
            # Who hears this is about to be disconnected; only an ordered outage keeps it away.
            ordered = outage.duty is not Duty.SERVING
            duty = Duty.OUT_OF_SERVICE if ordered else Duty.CLOSING
            situation, reason = replace(situation, duty=duty), self.closed
        return Shown(situation.level, self._state(situation), reason, situation.mode)

    def _state(self, situation: Situation) -> int:
        if self.closed is not None:
            return STATE_SHUTDOWN
        if self.outage.state != STATE_RUNNING:
            # An order that was accepted shows at once, though it is announced only
            # (OPC 10000-5 section 9.4).
            return self.outage.state
        if situation.role is Role.STARTING:
            return STATE_SUSPENDED
        leaves = situation.duty is Duty.LEAVING and not self.settings.is_warm
        return STATE_SHUTDOWN if leaves else STATE_RUNNING

    @property
    def members(self) -> list[Member]:
        """Both servers, this one first."""
        return [self.own] if self.other is None else [self.own, self.other]

    def _in_order(self) -> list[Member]:
        # RedundantServerArray has the order of ServerUriArray, the same on both nodes.
        return sorted(self.members, key=lambda member: member.node)

    def uris(self) -> list[str]:
        """ServerUriArray: ApplicationUris as OPC 10000-5 section 6.3.9 has it, or URLs."""
        if self.settings.server_uri_array == "urls":
            return [self._paths(member)[0] for member in self._in_order()]
        return [member.application_uri for member in self._in_order()]

    def servers(self) -> list[Any]:
        """RedundantServerArray; a server is named by its ApplicationUri in both forms."""
        shown = self.shown
        told = {self.own.node: Told(shown.level, shown.state)}
        if self.other is not None:
            told[self.other.node] = self.standing.peer
        return [
            ua.RedundantServerDataType(
                ServerId=member.application_uri,
                ServiceLevel=told[member.node].level,
                ServerState=ua.ServerState(told[member.node].state),
            )
            for member in self._in_order()
        ]

    def _paths(self, member: Member) -> Sequence[str]:
        """The URLs that lead to this server only: a floating address is advertised by both."""
        others = {url for other in self.members if other is not member for url in other.urls}
        return tuple(url for url in member.urls if url not in others) or member.urls

    @property
    def has_paths(self) -> bool:
        """Whether a server is reached by several addresses of its own."""
        return any(len(self._paths(member)) > 1 for member in self.members)

    def networks(self) -> list[Any]:
        """ServerNetworkGroups: the addresses of each server (OPC 10000-5 section 6.3.10)."""
        return [
            ua.NetworkGroupDataType(
                ServerUri=member.application_uri,
                NetworkPaths=[
                    ua.EndpointUrlListDataType(EndpointUrlList=[url]) for url in self._paths(member)
                ],
            )
            for member in self._in_order()
        ]


class RedundancyNodes:
    """The ServerRedundancy object, made what the set is."""

    def __init__(self, space: AddressSpace, found: RedundantSet, answer: Any) -> None:
        self._space = space
        self._set = found
        self._answer = answer
        self._type = _IDS.ServerRedundancyType

    def install(self) -> None:
        """Bind the nodes; a server that is no part of a pair says that there is no redundancy."""
        found, answer = self._set, self._answer
        support = found.settings.redundancy.support
        answer(_IDS.Server_ServerRedundancy_RedundancySupport, lambda: support, _V.Int32)
        # Only a server of a transparent set has one.
        del self._space._nodes[standard(_IDS.Server_ServerRedundancy_CurrentServerId)]
        if found.settings.redundancy is Redundancy.NONE:
            answer(_IDS.Server_ServerRedundancy_RedundantServerArray, list, _V.ExtensionObject)
            return
        for identifier, ask, kind in (
            (_IDS.Server_ServerRedundancy_ServerUriArray, found.uris, _V.String),
            (_IDS.Server_ServerRedundancy_RedundantServerArray, found.servers, _V.ExtensionObject),
            (_IDS.Server_ServerRedundancy_ServerNetworkGroups, found.networks, _V.ExtensionObject),
        ):
            answer(identifier, ask, kind)
        self._refer(standard(_IDS.Server_ServerRedundancy_ServerUriArray), _IDS.HasProperty)
        if found.settings.is_warm:
            # An instance may refer to the method of its type (OPC 10000-3 section 6.2.6).
            self._refer(FAILOVER, _IDS.HasComponent)
        self.retype()

    def retype(self) -> None:
        """Tell the type by what is known of both servers."""
        found = self._set
        if found.settings.redundancy is Redundancy.NONE:
            return
        if found.has_paths:
            groups = standard(_IDS.Server_ServerRedundancy_ServerNetworkGroups)
            self._refer(groups, _IDS.HasProperty)
        if found.settings.is_warm:
            kind = _IDS.NonTransparentBackupRedundancyType
        elif found.has_paths:
            kind = _IDS.NonTransparentNetworkRedundancyType
        else:
            kind = _IDS.NonTransparentRedundancyType
        if kind == self._type:
            return
        self._type = kind
        data = self._space[OBJECT]
        for reference in data.references:
            if reference.ReferenceTypeId == standard(_IDS.HasTypeDefinition):
                _point(reference, self._space[standard(kind)])
        for reference in self._space[standard(_IDS.Server)].references:
            if reference.NodeId == OBJECT:
                reference.TypeDefinition = standard(kind)

    def add_mode(self, builder: TreeBuilder) -> None:
        """Mode, which has no NodeId of its own in the standard: made with the site's nodes."""
        if not self._set.settings.is_warm:
            return

        def read(_nodeid: ua.NodeId, _attribute: int) -> ua.DataValue:
            return ua.DataValue(ua.Variant(int(self._set.shown.mode), _V.Int32))

        owner = self._space[OBJECT]
        builder.property(owner, "Mode", computed(read), standard(_IDS.RedundantServerMode))

    def _refer(self, target: ua.NodeId, reference: int) -> None:
        """Make a node that the standard has a part of the object."""
        data, child = self._space[OBJECT], self._space[target]
        if any(known.NodeId == target for known in data.references):
            return
        for source, other, forward in ((data, child, True), (child, data, False)):
            found = ua.ReferenceDescription(ReferenceTypeId=standard(reference), IsForward=forward)
            _point(found, other)
            source.references.append(found)


def _point(reference: ua.ReferenceDescription, target: NodeData) -> None:
    def held(attribute: ua.AttributeIds) -> Any:
        return target.attributes[attribute].value.Value.Value

    reference.NodeId = target.nodeid
    reference.BrowseName = held(ua.AttributeIds.BrowseName)
    reference.DisplayName = held(ua.AttributeIds.DisplayName)
    reference.NodeClass = held(ua.AttributeIds.NodeClass)
    reference.TypeDefinition = next(
        (
            known.NodeId
            for known in target.references
            if known.IsForward and known.ReferenceTypeId == standard(_IDS.HasTypeDefinition)
        ),
        ua.NodeId(),
    )
