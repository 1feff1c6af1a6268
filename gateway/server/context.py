"""What the services of one server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_server import InternalServer

from gateway.clock import Clock
from gateway.driver import PointSpec
from gateway.model import Value
from gateway.server.address_space import SiteTree
from gateway.server.admission import Admission
from gateway.server.audit import Audit
from gateway.server.discovery import Discovery
from gateway.server.event_nodes import Fields
from gateway.server.history import History
from gateway.server.logins import Logins
from gateway.server.methods import Methods
from gateway.server.monitoring import Monitoring
from gateway.server.publisher import Publisher
from gateway.server.sessions import Sessions
from gateway.server.settings import Limits, OpcUaSettings
from gateway.server.veil import Veil

Write = Callable[[str, PointSpec, Value], Awaitable[int]]
"""(user, point, value) -> StatusCode; the field has answered when it returns."""


@dataclass(slots=True)
class Context:
    """The parts that services need, made once."""

    settings: OpcUaSettings
    limits: Limits
    clock: Clock
    internal: InternalServer
    space: AddressSpace
    tree: SiteTree
    live: Veil
    publisher: Publisher
    monitoring: Monitoring
    sessions: Sessions
    history: History
    logins: Logins
    write: Write
    admission: Admission
    audit: Audit
    discovery: Discovery
    methods: Methods
    event_fields: Fields = field(default_factory=dict)
